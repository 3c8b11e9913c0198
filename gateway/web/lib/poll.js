// Ask again and again: only while somebody looks, and never faster than is decent.

import { ApiError } from "./api.js";
import * as reach from "./reach.js";

const DECENT_BYTES_PER_SECOND = 30_000; // of one poll; a page has two or three

/** Resolve when the tab is looked at. */
export function seen() {
  if (!document.hidden) {
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    const check = () => {
      if (!document.hidden) {
        document.removeEventListener("visibilitychange", check);
        resolve();
      }
    };
    document.addEventListener("visibilitychange", check);
  });
}

/**
 * Do work at once and then again after each pause.
 *
 * The pause grows with the weight of the answer, so that long lists are asked for more
 * seldom.  Work that fails for lack of an answer is tried again when `reach` says so.
 *
 * @param {number} seconds least pause.
 * @param {(signal: AbortSignal) => Promise<object|void>} work returns what it fetched.
 * @param {(fault: Error) => void} failed told of refusals.
 * @returns {{stop: () => void, now: () => void}}
 */
export function poll(seconds, work, failed = () => {}) {
  const ended = new AbortController();
  let wake = () => {};
  let wanted = false; // now() was called while work was under way

  async function once() {
    let pause = seconds;
    try {
      const found = await work(ended.signal);
      pause = Math.max(pause, (found?.weight ?? 0) / DECENT_BYTES_PER_SECOND);
    } catch (fault) {
      if (ended.signal.aborted) {
        return 0;
      }
      if (!(fault instanceof ApiError)) {
        console.error(fault);
      } else if (fault.status !== 0) {
        pause = Math.max(pause * 2, 3, fault.wait);
        failed(fault);
      }
    }
    return pause;
  }

  async function run() {
    while (!ended.signal.aborted) {
      await seen();
      await reach.turn();
      if (ended.signal.aborted) {
        break;
      }
      const started = performance.now();
      const pause = (await once()) * 1000 - (performance.now() - started);
      if (!wanted && !ended.signal.aborted) {
        await new Promise((resolve) => {
          const timer = setTimeout(resolve, Math.max(50, pause));
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      wanted = false;
    }
  }

  run();
  return {
    stop() {
      ended.abort();
      wake();
    },
    now() {
      wanted = true;
      wake();
    },
  };
}
