// Traffic: the four cards, the live curve, history, and what each mapping carries.

import * as api from "../lib/api.js";
import { fill, h, icon } from "../lib/dom.js";
import { rate, size } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { watchMappings } from "../lib/mappings.js";
import * as place from "../lib/place.js";
import { poll } from "../lib/poll.js";
import { historyCard } from "../parts/history_card.js";
import { liveChart } from "../parts/live_chart.js";
import { warnOpen } from "../parts/notices.js";
import { pager } from "../parts/pager.js";
import { empty, linkLines, loading, table } from "../parts/table.js";
import { trafficCards } from "../parts/traffic_cards.js";
import { card, heading, toldOnce } from "../parts/view.js";

/** Show what passes and what has passed. */
export function traffic({ query }) {
  const told = toldOnce();
  const cards = trafficCards();
  const chart = liveChart();
  const ports = portsCard();
  const history = historyCard({ port: query.port, range: query.range }, (port, range) =>
    place.note("traffic", { port, range }),
  );
  const polls = [
    poll(
      1,
      async (signal) => {
        const stats = await api.get("/api/stats", {}, signal);
        warnOpen(stats.open_to_all);
        await chart.take(stats);
      },
      told,
    ),
    poll(
      3,
      async (signal) => {
        const data = await api.get("/api/stats/traffic", {}, signal);
        cards.take(data);
        ports.take(data);
        return data;
      },
      told,
    ),
    watchMappings(
      ({ mappings }) => {
        ports.name(mappings);
        history.offer(mappings);
      },
      told,
      30,
    ),
  ];
  return {
    title: t("traffic.title"),
    node: [heading(t("traffic.title")), cards.node, chart.node, history.node, ports.node],
    stop() {
      polls.forEach((one) => one.stop());
      chart.stop();
      history.stop();
    },
  };
}

function portsCard() {
  let names = new Map();
  let before = new Map(); // port -> [sent, received]
  let beforeAt = 0;
  let rows = [];
  let offset = 0;
  let pageSize = 25;
  const list = table({
    caption: t("traffic.ports"),
    key: (row) => row.port,
    columns: [
      {
        name: "port",
        label: t("word.mapping"),
        value: (row) => `${row.port} ${names.get(row.port) ?? ""}`,
        show: (cell, row) =>
          linkLines(
            cell,
            place.write(`mappings/${row.port}`),
            row.port,
            names.get(row.port),
          ),
      },
      column("sent", t("word.sent"), (row) => size(row.bytes_sent)),
      column("received", t("word.received"), (row) => size(row.bytes_received)),
      column("sent_now", t("word.sent_now"), (row) => rate(row.rate[0])),
      column("received_now", t("word.received_now"), (row) => rate(row.rate[1])),
    ],
  });
  const nothing = empty(icon("mappings"), t("mappings.empty"), t("mappings.empty.text"));
  const content = h("div.wide", {}, loading());
  const pages = pager({ offset, size: pageSize }, (to, many) => {
    [offset, pageSize] = [to, many];
    show();
  });

  function show() {
    pages.tell(offset, rows.length);
    list.update(rows.slice(offset, offset + pageSize));
  }

  return {
    node: card(t("traffic.ports"), { flush: true }, content),
    name(mappings) {
      names = new Map(mappings.map((one) => [one.port, one.name]));
      show();
    },
    take({ mappings }) {
      const now = performance.now() / 1000; // the answer's own time is in whole seconds
      const seconds = Math.max(0.5, now - beforeAt);
      rows = mappings
        .map((row) => {
          const [sent, received] = before.get(row.port) ?? [
            row.bytes_sent,
            row.bytes_received,
          ];
          const rates = [
            Math.max(0, row.bytes_sent - sent) / seconds,
            Math.max(0, row.bytes_received - received) / seconds,
          ];
          return { ...row, rate: rates };
        })
        .sort(
          (one, other) =>
            other.bytes_sent +
              other.bytes_received -
              one.bytes_sent -
              one.bytes_received || one.port - other.port,
        );
      before = new Map(
        mappings.map((row) => [row.port, [row.bytes_sent, row.bytes_received]]),
      );
      beforeAt = now;
      const wanted = rows.length ? [list.node, pages.node] : [nothing];
      if (content.firstElementChild !== wanted[0]) {
        fill(content, wanted);
      }
      show();
    },
  };
}

function column(name, label, value) {
  return { name, label, style: "right", value };
}
