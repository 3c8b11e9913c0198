// Curves over the last hour, day or month: of everything, or of one mapping.

import * as api from "../lib/api.js";
import { timeChart } from "../lib/chart.js";
import { h, icon, write } from "../lib/dom.js";
import { count, moment, rate, size } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { poll } from "../lib/poll.js";
import { choice, segments } from "./fields.js";
import { empty } from "./table.js";
import { card } from "./view.js";

const RANGES = { hour: 3600, day: 86_400, month: 30 * 86_400 };
const POINTS = 360;

/**
 * Make the card.
 *
 * @param {{port?: number|null, mappings?: object[]|null, range?: string}} start `mappings`
 *     offers a choice of mappings; null shows that of `port` alone.
 * @param {(port: string, range: string) => void} [moved] told what is chosen.
 */
export function historyCard(start, moved = () => {}) {
  let range = start.range in RANGES ? start.range : "hour";
  let port = start.port ? String(start.port) : "";
  const bytes = timeChart({
    title: t("history.bytes"),
    series: [
      { label: t("word.sent"), colour: "sent" },
      { label: t("word.received"), colour: "received" },
    ],
    say: rate,
    sayTime: moment,
  });
  const visitors = timeChart({
    title: t("history.connections"),
    series: [
      { label: t("history.active"), colour: "third" },
      { label: t("history.new"), colour: "sent" },
    ],
    say: (value) => count(Math.round(value * 100) / 100),
    bytes: false,
    sayTime: moment,
  });
  const sum = h("p.muted.small.number");
  const nothing = empty(icon("traffic"), t("history.empty"), t("history.empty.text"));
  const charts = h("div.grid.halves", {}, bytes.node, visitors.node);
  const ranges = segments(
    t("history.range"),
    Object.keys(RANGES).map((name) => [name, t(`history.${name}`)]),
    range,
    (name) => {
      range = name;
      change();
    },
  );
  const ports = choice([["", t("history.all")]], "", { "aria-label": t("word.mapping") });
  ports.addEventListener("change", () => {
    port = ports.value;
    change();
  });
  const polling = poll(30, fetchPoints, (fault) => write(sum, fault.message));

  function change() {
    moved(port, range);
    polling.now();
  }

  async function fetchPoints(signal) {
    const now = Date.now() / 1000;
    const asked = `${port} ${range}`;
    const query = { port, since: Math.floor(now - RANGES[range]), limit: POINTS };
    const data = await api.get("/api/stats/history", query, signal);
    if (asked === `${port} ${range}`) {
      show(data, now);
    }
    return data;
  }

  function show({ points, step_seconds: step }, now) {
    const last = points.at(-1)?.at_unix ?? 0; // the end of a step that goes on
    const shown = [now - RANGES[range], Math.max(now, last)];
    const rows = whole(points, step, shown);
    const column = (pick) => rows.map(pick);
    const times = column((row) => row.at_unix);
    const per = Math.max(1, step);
    nothing.hidden = points.length > 0;
    charts.hidden = points.length === 0;
    if (points.length) {
      bytes.set(
        [
          times,
          column((row) => row.bytes_sent / per),
          column((row) => row.bytes_received / per),
        ],
        shown,
      );
      const active = column((row) => row.active);
      visitors.set([times, active, column((row) => row.connections)], shown);
    }
    const total = (name) => points.reduce((all, row) => all + row[name], 0);
    write(
      sum,
      t("history.sum", {
        sent: size(total("bytes_sent")),
        received: size(total("bytes_received")),
        connections: count(total("connections")),
      }),
    );
  }

  nothing.hidden = true;
  const actions = h(
    "div.head-actions",
    {},
    start.mappings === null ? null : h("div", {}, ports),
    ranges,
  );
  return {
    node: card(t("history.title"), { actions: [actions] }, sum, charts, nothing),
    /** Offer these mappings. */
    offer(mappings) {
      const wanted = ["", ...mappings.map((one) => String(one.port))];
      if (port && !wanted.includes(port)) {
        wanted.push(port);
      }
      const names = new Map(mappings.map((one) => [String(one.port), one.name]));
      if ([...ports.options].map((one) => one.value).join() !== wanted.join()) {
        ports.replaceChildren(
          ...wanted.map((one) =>
            h("option", { value: one }, one ? label(one, names) : t("history.all")),
          ),
        );
      }
      ports.value = port;
    },
    stop() {
      polling.stop();
      bytes.stop();
      visitors.stop();
    },
  };
}

/** Return points with nothing where nothing was recorded, so that curves fall to zero. */
function whole(points, step, [since, now]) {
  const found = [];
  let last = since;
  const nothing = (at) => {
    const row = { at_unix: at, bytes_sent: 0, bytes_received: 0, connections: 0, active: 0 };
    found.push(row);
  };
  const gap = (to) => {
    if (to - last > 1.5 * step) {
      nothing(Math.min(last + step, to - step));
      nothing(to - step);
    }
  };
  for (const row of points) {
    gap(row.at_unix);
    found.push(row);
    last = row.at_unix;
  }
  gap(now);
  return found;
}

function label(port, names) {
  return names.get(port) ? `${port} · ${names.get(port)}` : port;
}
