// Overview: counts, the four cards, the live curve, agents, busy mappings, last events.

import * as api from "../lib/api.js";
import { fill, h, icon, write } from "../lib/dom.js";
import { count, duration, milliseconds, rate } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { listen } from "../lib/live.js";
import * as place from "../lib/place.js";
import { poll } from "../lib/poll.js";
import * as session from "../lib/session.js";
import { badge } from "../parts/badges.js";
import { eventLine } from "../parts/event_line.js";
import { liveChart } from "../parts/live_chart.js";
import { warnOpen } from "../parts/notices.js";
import { empty, loading, table, twoLines } from "../parts/table.js";
import { trafficCards } from "../parts/traffic_cards.js";
import { card, heading, toldOnce } from "../parts/view.js";

const EVENTS = 8;

/** Show the overview. */
export function overview() {
  const told = toldOnce();
  const cards = trafficCards();
  const chart = liveChart();
  const counts = countsCard();
  const agents = agentsCard();
  const events = eventsCard();
  const polls = [
    poll(
      1,
      async (signal) => {
        const stats = await api.get("/api/stats", {}, signal);
        counts.take(stats);
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
        return data;
      },
      told,
    ),
    poll(3, async (signal) => agents.take(await api.get("/api/agents", {}, signal)), told),
  ];
  const fit = h("a.fitness", { href: place.write("fitness") });
  polls.push(
    poll(
      5,
      async (signal) => {
        const { status } = await api.health(signal);
        if (fit.dataset.status !== status) {
          fit.dataset.status = status;
          fill(fit, badge(status));
        }
      },
      told,
    ),
  );
  const deaf = listen(["link"], () => polls[2].now());
  const create = session.mayChange()
    ? h("a.button.first", { href: place.write("create") }, icon("create"), t("nav.create"))
    : null;
  return {
    title: t("nav.overview"),
    node: [
      heading(t("nav.overview"), fit, create),
      counts.node,
      cards.node,
      chart.node,
      h("div.grid.halves", {}, agents.node, events.node),
    ],
    stop() {
      polls.forEach((one) => one.stop());
      deaf();
      chart.stop();
      events.stop();
    },
  };
}

function countsCard() {
  const cells = new Map();
  const cell = (name, term) => {
    const value = h("dd", {}, "–");
    cells.set(name, value);
    return h("div", {}, h("dt", {}, term), value);
  };
  const node = h(
    "section.card",
    { "aria-label": t("overview.counts") },
    h(
      "dl.counts",
      {},
      cell("mappings", t("count.mappings")),
      cell("tunnel", t("count.tunnel")),
      cell("direct", t("count.direct")),
      cell("state", t("count.state")),
      cell("active", t("count.active")),
      cell("rate", t("count.rate")),
      cell("uptime", t("count.uptime")),
    ),
  );
  let tunnel = "";
  return {
    node,
    take(stats) {
      const say = (name, text) => write(cells.get(name), text);
      say("mappings", count(stats.mappings.total));
      say("tunnel", count(stats.mappings.tunnel));
      say("direct", count(stats.mappings.direct));
      say("active", count(stats.connections.active));
      say("rate", rate(stats.rate.sent + stats.rate.received));
      say("uptime", duration(stats.uptime_seconds));
      const state = tunnelState(stats);
      if (state !== tunnel) {
        tunnel = state;
        const kind = { connected: "good", off: "", apart: "bad" }[state];
        fill(cells.get("state"), badge(state, kind, t(`tunnel.${state}`)));
      }
    },
  };
}

function tunnelState(stats) {
  if (!stats.tunnel_enabled) {
    return "off";
  }
  return stats.tunnel_connected ? "connected" : "apart";
}

function agentsCard() {
  const rows = table({
    caption: t("nav.agents"),
    key: (row) => `${row.name} ${row.instance}`,
    columns: [
      {
        name: "name",
        label: t("word.agent"),
        value: (row) => `${row.name} ${row.address}`,
        show: (cell, row) => twoLines(cell, row.name, row.address),
      },
      {
        name: "rtt",
        label: t("agent.rtt"),
        style: "right",
        value: (row) => milliseconds(row.rtt_seconds),
      },
      {
        name: "uptime",
        label: t("agent.uptime"),
        style: "right",
        value: (row) => duration(Date.now() / 1000 - row.connected_at_unix),
      },
      {
        name: "streams",
        label: t("agent.streams"),
        style: "right",
        value: (row) => count(row.streams),
      },
    ],
  });
  const nobody = empty(
    icon("agents"),
    t("agents.empty"),
    t("agents.empty.text"),
    h("code", {}, "gotunnel agent --server HOST:9000"),
  );
  const content = h("div.wide", {}, loading());
  let shown = null;
  const more = h("a.small", { href: place.write("agents") }, t("action.all"));
  return {
    node: card(t("nav.agents"), { flush: true, actions: [more] }, content),
    take(data) {
      const wanted = data.agents.length ? rows.node : nobody;
      if (wanted !== shown) {
        shown = wanted;
        fill(content, wanted);
      }
      rows.update(data.agents.slice(0, 20));
    },
  };
}

function eventsCard() {
  const list = h("ol.feed.wide", { "aria-label": t("overview.events") });
  const nothing = empty(icon("events"), t("events.quiet"), t("events.quiet.text"));
  const take = (event) => {
    nothing.hidden = true;
    list.prepend(eventLine(event));
    while (list.children.length > EVENTS) {
      list.lastElementChild.remove();
    }
  };
  const deaf = listen(["mapping", "link", "reload", "ban", "gateway"], take, EVENTS);
  const more = h("a.small", { href: place.write("events") }, t("action.all"));
  const node = card(t("overview.events"), { flush: true, actions: [more] }, list, nothing);
  return { node, stop: deaf };
}
