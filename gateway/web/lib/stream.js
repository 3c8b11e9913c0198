// The gateway's event stream, read with fetch so that the credential travels in a header.

import { commonHeaders, expire } from "./api.js";
import { seen } from "./poll.js";
import * as reach from "./reach.js";

const BEAT_MS = 40_000; // the gateway sends something every 15 s
const HIDDEN_MS = 5_000; // a tab that nobody looks at gives its connection back
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/** Cuts the text of an event stream into events. */
export class EventCutter {
  constructor() {
    this._rest = "";
    this._clear();
  }

  _clear() {
    this._event = { id: null, topic: "message", lines: [] };
  }

  /**
   * Take the next piece and return the events that it completes.
   *
   * One without a topic only says where the stream stands.
   */
  feed(piece) {
    const lines = (this._rest + piece).split(/\r\n|\n|\r(?!$)/);
    this._rest = lines.pop();
    const events = [];
    for (const line of lines) {
      if (line === "") {
        const { id, topic, lines: data } = this._event;
        if (id !== null || data.length) {
          events.push({ id, topic: data.length ? topic : null, data: data.join("\n") });
        }
        this._clear();
      } else {
        this._line(line);
      }
    }
    return events;
  }

  _line(line) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "id") {
      this._event.id = value;
    } else if (field === "event") {
      this._event.topic = value;
    } else if (field === "data") {
      this._event.lines.push(value);
    }
  }
}

/**
 * Follow topics until stopped; connections that break are taken up where they ended.
 *
 * @param {string[]} topics
 * @param {number} recent with how many of the last events to begin.
 * @param {(event: {id: string|null, topic: string, facts: object}) => void} take
 * @returns {() => void} ends it.
 */
export function follow(topics, recent, take) {
  const ended = new AbortController();
  let last = null;
  let pause = FIRST_PAUSE_MS;

  function deliver(event) {
    last = event.id ?? last;
    if (event.topic === null) {
      return;
    }
    let facts = {};
    try {
      facts = JSON.parse(event.data || "{}");
    } catch {
      console.warn(`not JSON: ${event.data.slice(0, 200)}`);
    }
    take({ id: event.id, topic: event.topic, facts });
  }

  async function read(response, cut) {
    const cutter = new EventCutter();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let timer = setTimeout(cut, BEAT_MS);
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) {
          return;
        }
        clearTimeout(timer);
        timer = setTimeout(cut, BEAT_MS);
        pause = FIRST_PAUSE_MS;
        cutter.feed(value).forEach(deliver);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async function once() {
    const broken = new AbortController();
    const cut = () => broken.abort();
    const unwatch = cutWhenHidden(cut);
    try {
      const headers = { ...commonHeaders(), Accept: "text/event-stream" };
      const query = new URLSearchParams({ topics: topics.join(",") });
      if (last !== null) {
        headers["Last-Event-ID"] = last;
      } else if (recent > 0) {
        query.set("recent", recent);
      }
      const response = await fetch(`/api/events?${query}`, {
        headers,
        cache: "no-store",
        credentials: "omit",
        signal: AbortSignal.any([ended.signal, broken.signal]),
      });
      if (response.status === 401) {
        expire(null);
        ended.abort();
      } else if (response.ok) {
        await read(response, cut);
      } else {
        pause = LONGEST_PAUSE_MS; // no room, say
      }
    } finally {
      unwatch();
    }
  }

  async function run() {
    while (!ended.signal.aborted) {
      await seen();
      await reach.turn();
      try {
        await once();
      } catch {
        // broken off: the polls find out whether the gateway is there
      }
      if (!ended.signal.aborted) {
        const spread = pause * (0.5 + Math.random());
        await new Promise((resolve) => setTimeout(resolve, spread));
        pause = Math.min(LONGEST_PAUSE_MS, pause * 2);
      }
    }
  }

  run();
  return () => ended.abort();
}

function cutWhenHidden(cut) {
  let timer = null;
  const check = () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(cut, HIDDEN_MS);
    }
  };
  document.addEventListener("visibilitychange", check);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", check);
  };
}
