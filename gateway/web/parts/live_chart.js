// The curve of what passes now, one point a second.

import * as api from "../lib/api.js";
import { timeChart } from "../lib/chart.js";
import { rate } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { segments } from "./fields.js";
import { card } from "./view.js";

const LONGEST_SECONDS = 300;
const GAP_SECONDS = 4; // without samples for longer, the past is asked for

/** Make the card; `take` adds an answer of /api/stats. */
export function liveChart() {
  const chart = timeChart({
    title: t("chart.live"),
    series: [
      { label: t("word.sent"), colour: "sent" },
      { label: t("word.received"), colour: "received" },
    ],
    say: rate,
  });
  let shown = LONGEST_SECONDS;
  let points = [[], [], []];
  let filling = null;
  const windows = segments(
    t("chart.window"),
    [
      ["60", t("chart.minute")],
      ["300", t("chart.five_minutes")],
    ],
    String(shown),
    (name) => {
      shown = Number(name);
      show();
    },
  );

  function show() {
    const last = points[0].at(-1);
    if (last !== undefined) {
      chart.set(points, [last - shown, last]);
    }
  }

  function add(at, sent, received) {
    if (at - (points[0].at(-1) ?? 0) < 0.5) {
      return;
    }
    [at, sent, received].forEach((value, i) => points[i].push(value));
    while (points[0][0] < at - LONGEST_SECONDS - 2) {
      points.forEach((column) => column.shift());
    }
  }

  async function past() {
    const { samples } = await api.get("/api/stats/recent");
    points = [[], [], []];
    for (const { at_unix: at, sent, received } of samples) {
      add(at, sent, received);
    }
  }

  return {
    node: card(t("chart.live"), { actions: [windows] }, chart.node),
    async take(stats) {
      const at = stats.started_at_unix + stats.uptime_seconds;
      const gap = at - (points[0].at(-1) ?? 0) > GAP_SECONDS;
      if (gap && filling === null) {
        filling = past();
        try {
          await filling;
        } finally {
          filling = null;
        }
      }
      add(at, stats.rate.sent, stats.rate.received);
      show();
    },
    stop: () => chart.stop(),
  };
}
