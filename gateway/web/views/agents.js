// Agents: who is connected, how far away, how busy; and how to send one away.

import * as api from "../lib/api.js";
import { fill, h, icon, write } from "../lib/dom.js";
import { count, duration, milliseconds, moment, size } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { listen } from "../lib/live.js";
import * as place from "../lib/place.js";
import { poll } from "../lib/poll.js";
import * as session from "../lib/session.js";
import { ask } from "../parts/dialog.js";
import { done, warnOpen } from "../parts/notices.js";
import { empty, linkLines, loading, table } from "../parts/table.js";
import { heading, toldOnce } from "../parts/view.js";

/** Show the agents. */
export function agents() {
  const list = table({
    caption: t("nav.agents"),
    key: (row) => `${row.name} ${row.instance}`,
    columns: columns(() => polling.now()),
  });
  const nobody = empty(
    icon("agents"),
    t("agents.empty"),
    t("agents.empty.text"),
    h("code", {}, "gotunnel agent --server HOST:9000"),
  );
  const content = h("div.wide", {}, loading());
  const polling = poll(
    2,
    async (signal) => {
      const data = await api.get("/api/agents", {}, signal);
      const wanted = data.agents.length ? list.node : nobody;
      if (content.firstElementChild !== wanted) {
        fill(content, wanted);
      }
      list.update(data.agents);
      warnOpen(data.open_to_all);
      return data;
    },
    toldOnce(),
  );
  const deaf = listen(["link"], () => polling.now());
  return {
    title: t("nav.agents"),
    node: [
      heading(t("nav.agents")),
      h("section.card.flush", { "aria-label": t("nav.agents") }, content),
    ],
    stop() {
      polling.stop();
      deaf();
    },
  };
}

function columns(refresh) {
  return [
    {
      name: "name",
      label: t("word.agent"),
      value: (row) => `${row.name} ${row.software}`,
      show: (cell, row) =>
        linkLines(
          cell,
          place.write("connections", { agent: row.name }),
          row.name,
          row.software || t("agent.legacy"),
        ),
    },
    {
      name: "address",
      label: t("agent.address"),
      style: "mono address",
      value: (row) => row.address,
    },
    right("rtt", t("agent.rtt"), (row) => milliseconds(row.rtt_seconds)),
    {
      ...right("uptime", t("agent.uptime"), (row) =>
        duration(Date.now() / 1000 - row.connected_at_unix),
      ),
      show(cell, row) {
        write(cell, duration(Date.now() / 1000 - row.connected_at_unix));
        cell.title = moment(row.connected_at_unix);
      },
    },
    right("links", t("agent.links"), (row) => count(row.links)),
    right("streams", t("agent.streams"), (row) => count(row.streams)),
    right("total", t("agent.total"), (row) => count(row.connections_total ?? 0)),
    right("sent", t("word.sent"), (row) => size(row.bytes_sent)),
    right("received", t("word.received"), (row) => size(row.bytes_received)),
    {
      name: "actions",
      label: t("word.actions"),
      quiet: true,
      style: "right actions",
      value: (row) => `${session.mayChange()} ${row.name}`,
      show: (cell, row) => fill(cell, session.mayChange() && actions(row, refresh)),
    },
  ];
}

function right(name, label, value) {
  return { name, label, style: "right", value };
}

function actions(row, refresh) {
  return h(
    "button.button.quiet.little",
    {
      type: "button",
      "aria-label": `${t("agent.disconnect")}: ${row.name}`,
      dataset: { act: "disconnect" },
      on: { click: () => disconnect(row, refresh) },
    },
    t("agent.disconnect"),
  );
}

function disconnect(row, refresh) {
  ask({
    title: t("agent.disconnect.title", row),
    body: [h("p", {}, t("agent.disconnect.text", { count: count(row.streams) }))],
    action: t("agent.disconnect"),
    async perform() {
      await api.post(`/api/agents/${encodeURIComponent(row.name)}/disconnect`);
      done(t("agent.disconnected", row));
      refresh();
    },
  });
}
