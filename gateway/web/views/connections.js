// Live connections: who is here, what passes, why somebody waits; and how to end it.

import * as api from "../lib/api.js";
import { fill, h, icon, mark, write } from "../lib/dom.js";
import { duration, moment, rate, size } from "../lib/format.js";
import { has, t } from "../lib/i18n.js";
import * as place from "../lib/place.js";
import { poll } from "../lib/poll.js";
import * as session from "../lib/session.js";
import { askBan } from "../parts/ban_dialog.js";
import { ask } from "../parts/dialog.js";
import { choice, field, numberInput, textInput } from "../parts/fields.js";
import { done } from "../parts/notices.js";
import { PAGE_SIZES, pager } from "../parts/pager.js";
import { badgeLines, empty, linkLines, loading, table, twoLines } from "../parts/table.js";
import { heading, settled, toldOnce } from "../parts/view.js";

const SECONDS = 2;
const STATES = ["pending", "active", "closing"];
const SORTS = ["age", "sent", "received", "rate", "visitor", "port", "agent"];

/** Show the connections that are open; the gateway sorts, filters and pages. */
export function connections({ query }) {
  let offset = Number(query.offset) || 0;
  let pageSize = PAGE_SIZES.includes(Number(query.count)) ? Number(query.count) : 50;
  let sorted = {
    by: SORTS.includes(query.sort) ? query.sort : "age",
    order: query.order === "desc" ? "desc" : "asc",
  };
  const filters = makeFilters(query);
  const list = table({
    caption: t("nav.connections"),
    key: (row) => row.id,
    sorted,
    sort(by, order) {
      sorted = { by, order };
      changed();
    },
    columns: columns((event) => {
      const row = list.rowOf(event.currentTarget);
      const refresh = () => polling.now();
      if (event.currentTarget.dataset.act === "kill") {
        kill(row, refresh);
      } else {
        askBan(hostOf(row.visitor), refresh);
      }
    }),
  });
  const pages = pager({ offset, size: pageSize }, (to, many) => {
    [offset, pageSize] = [to, many];
    changed(offset);
  });
  const content = h("div.wide", {}, loading());
  const nobody = empty(
    icon("connections"),
    t("connections.empty"),
    t("connections.empty.text"),
  );
  const unmatched = empty(icon("search"), t("filter.nothing"), t("filter.nothing.text"));

  const sorting = choice(
    SORTS.map((name) => [name, t(`sort.${name}`)]),
    sorted.by,
  );
  sorting.addEventListener("change", () => {
    sorted = { by: sorting.value, order: sorting.value === "age" ? "asc" : "desc" };
    list.tellSorted(sorted.by, sorted.order);
    changed();
  });

  function asked() {
    return {
      ...filters.read(),
      sort: sorted.by,
      order: sorted.order,
      offset,
      count: pageSize,
    };
  }

  function changed(to = 0) {
    offset = to;
    sorting.value = sorted.by;
    place.note("connections", asked());
    polling.now();
  }

  async function fetchPage(signal) {
    const query_ = asked();
    const data = await api.get("/api/connections", query_, signal);
    if (JSON.stringify(query_) !== JSON.stringify(asked())) {
      return data; // another page was asked for meanwhile
    }
    if (data.connections.length === 0 && data.total > 0 && offset > 0) {
      changed(Math.floor((data.total - 1) / pageSize) * pageSize);
      return data;
    }
    show(data);
    return data;
  }

  function show(data) {
    let wanted = [list.node, pages.node];
    if (data.total === 0) {
      wanted = [filters.any() ? unmatched : nobody];
    }
    if (content.firstElementChild !== wanted[0]) {
      fill(content, wanted);
    }
    pages.tell(offset, data.total);
    list.update(data.connections);
  }

  filters.onChange(settled(250, () => changed()));
  const polling = poll(SECONDS, fetchPage, toldOnce());
  return {
    title: t("nav.connections"),
    node: [
      heading(t("nav.connections")),
      h(
        "section.card.flush",
        { "aria-label": t("nav.connections") },
        h(
          "div.filters",
          { role: "search" },
          filters.nodes,
          h("div.field.narrow-only", {}, field(t("sort.label"), sorting).node),
        ),
        content,
      ),
    ],
    stop: () => polling.stop(),
  };
}

function makeFilters(query) {
  const visitor = textInput(query.visitor, { type: "search", id: "search" });
  const port = numberInput(query.port, { min: 1, max: 65535 });
  const agent = textInput(query.agent, { type: "search" });
  const state = choice(
    [["", t("filter.any")], ...STATES.map((name) => [name, t(`state.${name}`)])],
    STATES.includes(query.state) ? query.state : "",
  );
  const controls = { visitor, port, agent, state };
  const read = () =>
    Object.fromEntries(
      Object.entries(controls).map(([name, control]) => [name, control.value.trim()]),
    );
  return {
    nodes: Object.entries(controls).map(
      ([name, control]) => field(t(`connection.${name}`), control).node,
    ),
    read,
    any: () => Object.values(read()).some(Boolean),
    onChange(act) {
      Object.values(controls).forEach((control) => control.addEventListener("input", act));
    },
  };
}

function columns(act) {
  return [
    {
      name: "visitor",
      label: t("connection.visitor"),
      sort: "visitor",
      ascendingFirst: true,
      style: "mono address",
      value: (row) => row.visitor,
    },
    {
      name: "port",
      label: t("word.mapping"),
      sort: "port",
      ascendingFirst: true,
      style: "named",
      value: (row) => `${row.port} ${row.mapping_name}`,
      show: (cell, row) =>
        linkLines(cell, place.write(`mappings/${row.port}`), row.port, row.mapping_name),
    },
    {
      name: "agent",
      label: t("connection.way"),
      sort: "agent",
      ascendingFirst: true,
      style: "long",
      value: (row) => `${row.agent} ${row.target} ${row.use_tunnel}`,
      show: (cell, row) =>
        twoLines(
          cell,
          targetOf(row),
          row.use_tunnel ? t("way.agent", { agent: row.agent ?? "–" }) : t("way.direct"),
        ),
    },
    {
      name: "state",
      label: t("word.state"),
      style: "long",
      value: (row) => `${row.state} ${row.waits_for}`,
      show: (cell, row) => badgeLines(cell, row.state, waits(row)),
    },
    {
      name: "age",
      label: t("connection.age"),
      sort: "age",
      ascendingFirst: true,
      style: "right",
      value: (row) => duration(row.age_seconds),
      show(cell, row) {
        write(cell, duration(row.age_seconds));
        cell.title = moment(row.started_at_unix);
      },
    },
    number("sent", t("word.sent"), (row) => size(row.bytes_sent)),
    number("received", t("word.received"), (row) => size(row.bytes_received)),
    number("rate", t("connection.rate"), (row) =>
      rate(row.rate_sent + row.rate_received),
    ),
    {
      name: "actions",
      label: t("word.actions"),
      quiet: true,
      style: "right actions",
      value: (row) => `${session.mayChange()} ${row.visitor}`,
      show: (cell, row) => showActions(cell, row, act),
    },
  ];
}

function number(name, label, value) {
  return { name, label, sort: name, style: "right", value };
}

function targetOf({ target }) {
  return target.startsWith(":") ? `${t("mapping.own_machine")}${target}` : target || "–";
}

function waits(row) {
  if (!row.waits_for) {
    return null;
  }
  const key = `waits.${row.waits_for}`;
  return t("connection.waits", { what: has(key) ? t(key) : row.waits_for });
}

/** Write the buttons once; they act on whichever row they stand in. */
function showActions(cell, row, act) {
  if (!session.mayChange()) {
    fill(cell);
    return;
  }
  if (!cell.firstElementChild) {
    const button = (name) =>
      h(
        "button.button.quiet.little",
        { type: "button", dataset: { act: name }, on: { click: act } },
        t(`connection.${name}`),
      );
    cell.append(h("div.row-actions", {}, button("kill"), button("ban")));
  }
  for (const button of cell.querySelectorAll("button")) {
    mark(button, "aria-label", `${button.textContent}: ${row.visitor}`);
  }
}

function kill(row, refresh) {
  ask({
    title: t("connection.kill.title"),
    body: [
      h(
        "p",
        {},
        t("connection.kill.text", { visitor: row.visitor, port: row.port }),
      ),
    ],
    action: t("connection.kill"),
    async perform() {
      await api.remove(`/api/connections/${encodeURIComponent(row.id)}`);
      done(t("connection.killed", row));
      refresh();
    },
  });
}

/** "192.0.2.1:5000" -> "192.0.2.1"; "[2001:db8::1]:5000" -> "2001:db8::1". */
export function hostOf(visitor) {
  const found = /^\[([^\]]+)\]|^([^:]+)(?::\d+)?$/.exec(visitor);
  return found ? (found[1] ?? found[2]) : visitor;
}
