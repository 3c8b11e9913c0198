// The list of mappings, kept fresh for whoever shows it.

import * as api from "./api.js";
import { listen } from "./live.js";
import { poll } from "./poll.js";

const SECONDS = 4;
const SOON_MS = 250; // several events in a row cause one request
const BYTES_PER_MS = 100; // and long lists fewer

/**
 * Call back with the list now and after changes.
 *
 * @param {(list: {mappings: object[], count: number, use_tunnel: boolean}) => void} take
 * @param {(fault: Error) => void} failed
 * @returns {{stop: () => void, now: () => void}}
 */
export function watchMappings(take, failed, seconds = SECONDS) {
  let weight = 0;
  const polling = poll(
    seconds,
    async (signal) => {
      const list = await api.get("/api/mapping/list", {}, signal);
      weight = list.weight;
      take(list);
      return list;
    },
    failed,
  );
  let timer = null;

  function refresh() {
    timer = null;
    polling.now();
  }

  const deaf = listen(["mapping"], () => {
    timer ??= setTimeout(refresh, Math.max(SOON_MS, weight / BYTES_PER_MS));
  });
  return {
    now: () => polling.now(),
    stop() {
      clearTimeout(timer);
      deaf();
      polling.stop();
    },
  };
}
