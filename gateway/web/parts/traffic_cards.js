// The four cards: all bytes, and those of the tunnel, each way.

import { fill, h } from "../lib/dom.js";
import { sizeParts } from "../lib/format.js";
import { t } from "../lib/i18n.js";

const CARDS = [
  ["card.total_sent", "sent", (data) => data.total_sent],
  ["card.total_received", "received", (data) => data.total_received],
  ["card.tunnel_sent", "sent", (data) => data.tunnel.bytes_sent],
  ["card.tunnel_received", "received", (data) => data.tunnel.bytes_received],
];

/** Make the cards; `take` shows an answer of /api/stats/traffic. */
export function trafficCards() {
  const numbers = CARDS.map(() => h("dd.number", {}, "–"));
  const node = h(
    "div.grid.cards",
    {},
    CARDS.map(([key, colour], i) =>
      h(
        "dl.card.figure",
        { title: t(`${key}.hint`) },
        h("dt", {}, h(`span.dot.${colour}`), t(key)),
        numbers[i],
      ),
    ),
  );
  return {
    node,
    take(data) {
      CARDS.forEach(([, , pick], i) => {
        const [value, unit] = sizeParts(pick(data));
        const said = `${value}${unit}`;
        if (numbers[i].textContent !== said) {
          fill(numbers[i], value, h("small", {}, unit));
        }
      });
    },
  };
}
