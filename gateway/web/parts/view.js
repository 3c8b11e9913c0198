// What all views share: the heading, actions beside it, and how things are fetched.

import { h } from "../lib/dom.js";
import { failed } from "./notices.js";

/** Return the head of a view. */
export function heading(title, ...actions) {
  return h(
    "div.head",
    {},
    h("h1", { tabindex: "-1" }, title),
    h("div.head-actions", {}, actions),
  );
}

/** Return a card with a title. */
export function card(title, given = {}, ...children) {
  const { actions = [], flush = false, ...more } = given;
  return h(
    `section.card${flush ? ".flush" : ""}`,
    { "aria-label": title, ...more },
    h("div.card-head", {}, h("h2", {}, title), actions),
    children,
  );
}

const AGAIN_MS = 60_000;

/** Return a report of faults that does not repeat itself at each poll. */
export function toldOnce() {
  const told = new Map(); // message -> when
  return (fault) => {
    const now = performance.now();
    const before = told.get(fault.message);
    if (fault.status === 401 || (before !== undefined && now - before < AGAIN_MS)) {
      return; // the sign-in tells of 401
    }
    told.set(fault.message, now);
    failed(fault);
  };
}

/** Return a list of facts: [term, value]. */
export function facts(pairs, style = "facts") {
  return h(
    `dl.${style}`,
    {},
    pairs.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
}

/** Call at most once after calls have ceased for so many milliseconds. */
export function settled(milliseconds, act) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };
}
