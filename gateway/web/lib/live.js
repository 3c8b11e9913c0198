// One event stream for the whole page: browsers open few connections to one place.

import { follow } from "./stream.js";

const listeners = new Map(); // take -> topics
let followed = "";
let last = null;
let end = () => {};
let planned = false;

function refresh() {
  planned = false;
  const topics = [...new Set([...listeners.values()].flat())].sort();
  if (topics.join() === followed) {
    return;
  }
  end();
  end = () => {};
  followed = topics.join();
  if (topics.length) {
    end = follow(topics, last, deliver);
  }
}

function plan() {
  if (!planned) {
    planned = true;
    setTimeout(refresh, 0); // a view that follows another asks for much the same
  }
}

function deliver(event) {
  last = event.id ?? last;
  for (const [take, topics] of listeners) {
    if (event.topic === "gap" || topics.includes(event.topic)) {
      take(event);
    }
  }
}

/** Take events of topics, and `gap` when some were missed; returns how to stop. */
export function listen(topics, take) {
  listeners.set(take, topics);
  plan();
  return () => {
    listeners.delete(take);
    plan();
  };
}

/** Forget everything, as when somebody else signs in. */
export function reset() {
  listeners.clear();
  last = null;
  refresh();
}
