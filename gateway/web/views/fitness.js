// Health and limits: what the gateway says of itself, and how much room is left.

import * as api from "../lib/api.js";
import { fill, h } from "../lib/dom.js";
import { count, duration, milliseconds, moment, share, size } from "../lib/format.js";
import { has, t } from "../lib/i18n.js";
import { poll } from "../lib/poll.js";
import { badge } from "../parts/badges.js";
import { warnOpen } from "../parts/notices.js";
import { loading, table, twoLines } from "../parts/table.js";
import { card, facts, heading, toldOnce } from "../parts/view.js";

/** Show health and limits. */
export function fitness() {
  const told = toldOnce();
  const state = h("div");
  const checks = checkTable();
  const limits = limitTable();
  const gateway = h("div", {}, loading());
  const banned = h("p.muted.small.number");
  const polls = [
    poll(
      5,
      async (signal) => {
        const health = await api.health(signal);
        fill(state, badge(health.status));
        checks.update(health.checks);
      },
      told,
    ),
    poll(
      3,
      async (signal) => {
        const data = await api.get("/api/limits", {}, signal);
        limits.update(data.limits);
        banned.textContent = t("limits.banned", { count: count(data.banned) });
        return data;
      },
      told,
    ),
    poll(
      2,
      async (signal) => {
        const stats = await api.get("/api/stats", {}, signal);
        warnOpen(stats.open_to_all);
        fill(gateway, facts(lines(stats)));
      },
      told,
    ),
  ];
  return {
    title: t("nav.fitness"),
    node: [
      heading(t("nav.fitness")),
      card(t("fitness.checks"), { flush: true, actions: [state] }, checks.node),
      card(t("fitness.limits"), { flush: true, actions: [banned] }, limits.node),
      card(t("fitness.gateway"), {}, gateway),
    ],
    stop: () => polls.forEach((one) => one.stop()),
  };
}

function lines(stats) {
  const { connections, lifetime, memory, descriptors } = stats;
  const of = (used, limit, say) =>
    limit ? t("fitness.of", { used: say(used), limit: say(limit) }) : say(used);
  return [
    [t("fitness.version"), stats.version],
    [t("fitness.started"), moment(stats.started_at_unix)],
    [t("count.uptime"), duration(stats.uptime_seconds)],
    [t("fitness.draining"), t(stats.draining ? "word.yes" : "word.no")],
    [t("fitness.resident"), size(memory.resident)],
    [t("fitness.held"), of(memory.held, memory.limit, size)],
    [t("fitness.descriptors"), of(descriptors.open, descriptors.limit, count)],
    [t("fitness.cpu"), duration(stats.cpu_seconds)],
    [t("fitness.lag"), milliseconds(stats.loop_lag_seconds)],
    [
      t("fitness.connections"),
      t("fitness.connections.text", {
        active: count(connections.active),
        pending: count(connections.pending),
        total: count(connections.total),
      }),
    ],
    [
      t("fitness.failed"),
      t("fitness.failed.text", {
        rejected: count(connections.rejected),
        errors: count(connections.errors),
      }),
    ],
    ...(lifetime ? ever(lifetime) : []),
    [
      t("fitness.links"),
      t("fitness.links.text", { links: count(stats.links), streams: count(stats.streams) }),
    ],
  ];
}

function ever(lifetime) {
  return [
    [t("fitness.lifetime"), count(lifetime.connections)],
    [
      t("fitness.lifetime_bytes"),
      t("fitness.lifetime_bytes.text", {
        sent: size(lifetime.bytes_sent),
        received: size(lifetime.bytes_received),
      }),
    ],
  ];
}

function checkTable() {
  return table({
    caption: t("fitness.checks"),
    key: (row) => row.name,
    columns: [
      { name: "name", label: t("fitness.check"), value: (row) => row.name },
      {
        name: "status",
        label: t("word.state"),
        value: (row) => row.status,
        show: (cell, row) => fill(cell, badge(row.status)),
      },
      {
        name: "message",
        label: t("fitness.message"),
        style: "long",
        value: (row) => row.message || "–",
      },
      {
        name: "duration",
        label: t("fitness.took"),
        style: "right",
        value: (row) => milliseconds(row.duration),
      },
    ],
  });
}

function limitTable() {
  return table({
    caption: t("fitness.limits"),
    key: (row) => row.name,
    columns: [
      {
        name: "name",
        label: t("limits.name"),
        value: (row) => row.name,
        show: (cell, row) => {
          const said = has(`limit.${row.name}`) ? t(`limit.${row.name}`) : row.name;
          twoLines(cell, said, said === row.name ? null : row.name);
        },
      },
      {
        name: "used",
        label: t("limits.used"),
        value: (row) => `${row.active} ${row.limit}`,
        show: (cell, row) => fill(cell, h("div", {}, gauge(row))),
      },
      {
        name: "active",
        label: t("limits.active"),
        style: "right",
        value: (row) => amount(row, row.active),
      },
      {
        name: "limit",
        label: t("limits.limit"),
        style: "right",
        value: (row) => (row.limit ? amount(row, row.limit) : t("rule.unlimited")),
      },
      right("total", t("limits.total"), (row) => count(row.total)),
      right("rejected", t("limits.rejected"), (row) => count(row.rejected)),
    ],
  });
}

function right(name, label, value) {
  return { name, label, style: "right", value };
}

function amount(row, value) {
  return row.name === "limits.memory" ? size(value) : count(value);
}

function gauge(row) {
  if (!row.limit) {
    return "–";
  }
  const used = row.active / row.limit;
  return [
    h("meter", {
      min: 0,
      max: 1,
      low: 0.7,
      high: 0.9,
      optimum: 0,
      value: Math.min(1, used),
      "aria-label": `${row.name}: ${share(used)}`,
    }),
    h("span.sub", { "aria-hidden": "true" }, share(used)),
  ];
}
