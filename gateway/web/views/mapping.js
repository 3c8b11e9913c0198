// One mapping: its live curve, its settings, its history, whom it turned away.

import * as api from "../lib/api.js";
import { timeChart } from "../lib/chart.js";
import { fill, h, icon, write } from "../lib/dom.js";
import { count, duration, moment, rate } from "../lib/format.js";
import { has, t } from "../lib/i18n.js";
import * as place from "../lib/place.js";
import { poll } from "../lib/poll.js";
import { badge } from "../parts/badges.js";
import { historyCard } from "../parts/history_card.js";
import { mappingActions } from "../parts/mapping_actions.js";
import { empty } from "../parts/table.js";
import { card, facts, heading, toldOnce } from "../parts/view.js";
import { rules, target, way } from "./mappings.js";

const SHOWN_SECONDS = 300;

/** Show the mapping on a port. */
export function mapping({ parts: [, port] }) {
  const told = toldOnce();
  const title = t("mapping.title", { port });
  const chart = timeChart({
    title: t("mapping.live"),
    series: [
      { label: t("word.sent"), colour: "sent" },
      { label: t("word.received"), colour: "received" },
    ],
    say: rate,
  });
  const actions = h("div");
  const settings = h("div");
  const history = historyCard({ port, mappings: null });
  const content = h(
    "div.form",
    {},
    card(t("mapping.live"), {}, chart.node),
    settings,
    history.node,
  );
  const numbers = {
    connections: h("a", { href: place.write("connections", { port }) }),
    rejected: h("span"),
    failed: h("span"),
  };
  const points = [[], [], []];
  let before = null;
  let shown = "";

  function take(data) {
    const row = data.mappings.find((one) => String(one.port) === port);
    if (!row) {
      return;
    }
    const at = Date.now() / 1000; // the answer's own time is in whole seconds
    if (before && at > before.at) {
      const seconds = at - before.at;
      const per = (name) => Math.max(0, row[name] - before.row[name]) / seconds;
      [at, per("bytes_sent"), per("bytes_received")].forEach((value, i) =>
        points[i].push(value),
      );
      if (points[0].length > SHOWN_SECONDS) {
        points.forEach((column) => column.shift());
      }
      chart.set(points, [at - SHOWN_SECONDS, at]);
    }
    before = { at, row };
  }

  const traffic = poll(
    1,
    async (signal) => {
      const data = await api.get("/api/stats/traffic", {}, signal);
      take(data);
      return data;
    },
    told,
  );
  const details = poll(
    3,
    async (signal) => {
      const row = await api.get(`/api/mapping/${encodeURIComponent(port)}`, {}, signal);
      const { connections, connections_total: total, ...others } = row;
      const { rejected, failed, ...lasting } = others;
      const said = JSON.stringify(lasting);
      if (said !== shown) {
        shown = said;
        fill(settings, settingsCard(row, numbers));
        fill(actions, mappingActions(row, () => details.now(), { words: true }));
      }
      const both = { now: count(connections), total: count(total) };
      write(numbers.connections, t("mapping.now_of", both));
      write(numbers.rejected, causes(rejected) || "0");
      write(numbers.failed, outcomes(failed) || "0");
    },
    (fault) => {
      if (fault.status === 404) {
        stop();
        fill(actions);
        fill(content, gone(port));
      } else {
        told(fault);
      }
    },
  );

  function stop() {
    traffic.stop();
    details.stop();
    history.stop();
    chart.stop();
  }

  return { title, node: [heading(title, actions), content], stop };
}

function gone(port) {
  const back = h("a.button", { href: place.write("mappings") }, t("nav.mappings"));
  return empty(icon("mappings"), t("mapping.gone", { port }), t("mapping.gone.text"), back);
}

/** Return whom a mapping turned away, by the setting that was the cause. */
function causes(rejected) {
  return Object.entries(rejected)
    .filter(([, many]) => many)
    .map(([cause, many]) => {
      const said = has(`field.${cause}`) ? t(`field.${cause}`) : cause;
      return `${said}: ${count(many)}`;
    })
    .join(", ");
}

/** Return the connections of a mapping that failed, by how they ended. */
function outcomes(failed) {
  return Object.entries(failed)
    .map(([outcome, many]) => `${t(`outcome.${outcome}`)}: ${count(many)}`)
    .join(", ");
}

/** Return why a mapping does not serve, and since when. */
function why(row) {
  const since = row.unreachable_since_unix;
  const when = since ? ` (${t("mapping.since", { when: moment(since) })})` : "";
  return `${row.error ?? ""}${when}`;
}

function settingsCard(row, numbers) {
  const lines = [
    [t("word.state"), h("span", {}, badge(row.state), ` ${why(row)}`)],
    [t("field.name"), row.name || "–"],
    [t("word.target"), target(row)],
    [t("mapping.way"), way(row)],
    [t("field.listen"), row.listen || t("mapping.all_interfaces")],
    [t("mapping.connections"), numbers.connections],
    [t("mapping.rules"), rules(row).join(" · ") || t("rule.none")],
    [t("field.access_ips"), row.access_ips.join(", ") || "–"],
    [t("field.bandwidth_limit"), limit(row.bandwidth_limit)],
    [t("field.connection_bandwidth_limit"), limit(row.connection_bandwidth_limit)],
    [
      t("field.idle_timeout"),
      row.idle_timeout ? duration(row.idle_timeout) : t("expiry.never"),
    ],
    [t("field.trusted_proxies"), row.trusted_proxies.join(", ") || "–"],
    [
      t("field.expires_in"),
      row.expires_at_unix ? moment(row.expires_at_unix) : t("expiry.never"),
    ],
    [t("mapping.rejected"), numbers.rejected],
    [t("mapping.failed"), numbers.failed],
    [t("field.expected"), t(row.expected ? "word.yes" : "word.no")],
    [
      t("field.labels"),
      Object.entries(row.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(", ") || "–",
    ],
    [t("mapping.created_at"), moment(row.created_at_unix)],
    [t("mapping.updated_at"), moment(row.updated_at_unix)],
  ];
  return card(t("mapping.settings"), {}, facts(lines));
}

function limit(bytes) {
  return bytes ? rate(bytes) : t("rule.unlimited");
}
