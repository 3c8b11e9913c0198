// One event stream for the whole page: browsers open few connections to one place.

import { follow } from "./stream.js";

const listeners = new Map(); // take -> {topics, recent}
let followed = "";
let end = () => {};
let planned = false;

function refresh() {
  planned = false;
  const all = [...listeners.values()];
  const topics = [...new Set(all.flatMap((one) => one.topics))].sort();
  const recent = Math.max(0, ...all.map((one) => one.recent));
  all.forEach((one) => {
    one.recent = 0; // it is told of the past once
  });
  if (topics.join() === followed && recent === 0) {
    return;
  }
  end();
  end = () => {};
  followed = topics.join();
  if (topics.length) {
    end = follow(topics, recent, deliver);
  }
}

function plan() {
  if (!planned) {
    planned = true;
    setTimeout(refresh, 0); // a view that follows another asks for much the same
  }
}

function deliver(event) {
  for (const [take, { topics }] of listeners) {
    if (event.topic === "gap" || topics.includes(event.topic)) {
      take(event);
    }
  }
}

/**
 * Take events of topics, and `gap` when some were missed.
 *
 * @param {string[]} topics
 * @param {(event: {id: string|null, topic: string, facts: object}) => void} take
 * @param {number} recent with how many of the last events to begin.
 * @returns {() => void} ends it.
 */
export function listen(topics, take, recent = 0) {
  listeners.set(take, { topics, recent });
  plan();
  return () => {
    listeners.delete(take);
    plan();
  };
}

/** Forget everything, as when somebody else signs in. */
export function reset() {
  listeners.clear();
  refresh();
}
