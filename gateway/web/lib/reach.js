// Whether the gateway answers, and when the next attempt is due.

const FIRST_SECONDS = 1;
const LONGEST_SECONDS = 15;

let failures = 0;
let nextAt = 0;
let timer = null;
const watchers = new Set();
const waiting = new Set();

/** Tell whether the last request got no answer at all. */
export function isLost() {
  return failures > 0;
}

/** Return the seconds until the next attempt. */
export function secondsLeft() {
  return Math.max(0, Math.ceil((nextAt - performance.now()) / 1000));
}

/** Call back when the gateway is lost and when it is there again. */
export function watch(watcher) {
  watchers.add(watcher);
}

/** Note that the gateway answered, whatever it said. */
export function answered() {
  if (failures === 0) {
    return;
  }
  failures = 0;
  release();
  watchers.forEach((watcher) => watcher(false));
}

/** Note that it did not. */
export function silent() {
  if (failures > 0 && performance.now() < nextAt) {
    return; // several requests failed for one reason
  }
  failures += 1;
  const pause = Math.min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** (failures - 1));
  nextAt = performance.now() + pause * 1000 * (0.8 + 0.4 * Math.random());
  clearTimeout(timer);
  timer = setTimeout(release, nextAt - performance.now());
  watchers.forEach((watcher) => watcher(true));
}

/** Try again now. */
export function hurry() {
  nextAt = 0;
  release();
}

function release() {
  clearTimeout(timer);
  const due = [...waiting];
  waiting.clear();
  due.forEach((go) => go());
}

/** Wait until an attempt is due; at once while the gateway answers. */
export function turn() {
  if (failures === 0 || performance.now() >= nextAt) {
    return Promise.resolve();
  }
  return new Promise((resolve) => waiting.add(resolve));
}
