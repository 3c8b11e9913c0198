// Mappings: the list, with what can be done to each.

import { fill, h, icon } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { watchMappings } from "../lib/mappings.js";
import * as place from "../lib/place.js";
import * as session from "../lib/session.js";
import { choice, field, textInput } from "../parts/fields.js";
import { mappingActions } from "../parts/mapping_actions.js";
import { pager } from "../parts/pager.js";
import { badgeLines, empty, linkLines, loading, table, twoLines } from "../parts/table.js";
import { heading, settled, toldOnce } from "../parts/view.js";

const STATES = ["listening", "unreachable", "disabled", "draining", "error"];

/** Show all mappings. */
export function mappings({ query }) {
  let rows = [];
  let offset = 0;
  let pageSize = 50;
  let sorted = { by: query.sort ?? "port", order: query.order ?? "asc" };
  const search = textInput(query.search, {
    type: "search",
    placeholder: t("mappings.search"),
    id: "search",
  });
  const state = choice(
    [["", t("filter.any")], ...STATES.map((name) => [name, t(`state.${name}`)])],
    query.state ?? "",
  );
  const list = table({
    caption: t("nav.mappings"),
    key: (row) => `${row.port}/${row.protocol}`,
    sorted,
    sort(by, order) {
      sorted = { by, order };
      offset = 0;
      show();
    },
    columns: columns(() => watch.now()),
  });
  const pages = pager({ offset, size: pageSize }, (to, many) => {
    [offset, pageSize] = [to, many];
    show();
  });
  const none = empty(
    icon("mappings"),
    t("mappings.empty"),
    t("mappings.empty.text"),
    session.mayChange()
      ? h("a.button.first", { href: place.write("create") }, t("nav.create"))
      : null,
  );
  const unmatched = empty(icon("search"), t("filter.nothing"), t("filter.nothing.text"));
  const content = h("div.wide", {}, loading());

  function matching() {
    const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    return rows
      .filter((row) => !state.value || row.state === state.value)
      .filter((row) => words.every((word) => haystack(row).includes(word)))
      .sort(by(sorted));
  }

  function show() {
    const found = matching();
    if (offset >= found.length) {
      offset = 0;
    }
    pages.tell(offset, found.length);
    list.update(found.slice(offset, offset + pageSize));
    let wanted = [list.node, pages.node];
    if (rows.length === 0) {
      wanted = [none];
    } else if (found.length === 0) {
      wanted = [unmatched];
    }
    if (content.firstElementChild !== wanted[0]) {
      fill(content, wanted);
    }
  }

  const changed = settled(150, () => {
    place.note("mappings", { search: search.value, state: state.value });
    offset = 0;
    show();
  });
  search.addEventListener("input", changed);
  state.addEventListener("change", changed);
  const watch = watchMappings((found) => {
    rows = found.mappings;
    show();
  }, toldOnce());
  const create = session.mayChange()
    ? h("a.button.first", { href: place.write("create") }, icon("create"), t("nav.create"))
    : null;
  return {
    title: t("nav.mappings"),
    node: [
      heading(t("nav.mappings"), create),
      h(
        "section.card.flush",
        { "aria-label": t("nav.mappings") },
        h(
          "div.filters",
          { role: "search" },
          field(t("word.search"), search).node,
          field(t("word.state"), state).node,
        ),
        content,
      ),
    ],
    stop: () => watch.stop(),
  };
}

function columns(refresh) {
  return [
    {
      name: "port",
      label: t("mapping.port"),
      sort: "port",
      ascendingFirst: true,
      value: (row) => `${row.port} ${row.protocol} ${row.name}`,
      show: (cell, row) =>
        linkLines(cell, place.write(`mappings/${row.port}`), row.port, row.name),
    },
    {
      name: "target",
      label: t("word.target"),
      style: "long",
      value: (row) => `${target(row)} ${row.use_tunnel} ${row.agent}`,
      show: (cell, row) => twoLines(cell, target(row), way(row)),
    },
    {
      name: "state",
      label: t("word.state"),
      sort: "state",
      ascendingFirst: true,
      style: "long",
      value: (row) => `${row.state} ${row.error}`,
      show: (cell, row) => badgeLines(cell, row.state, row.error),
    },
    {
      name: "connections",
      label: t("mapping.connections"),
      style: "right",
      sort: "connections",
      value: (row) => `${row.port} ${row.connections} ${row.connections_total}`,
      show: (cell, row) =>
        linkLines(
          cell,
          place.write("connections", { port: row.port }),
          count(row.connections),
          t("mapping.of_total", { total: count(row.connections_total) }),
        ),
    },
    {
      name: "rules",
      label: t("mapping.rules"),
      value: (row) => rules(row).join(" · "),
      show: (cell, row) =>
        fill(cell, h("div.small.muted", {}, rules(row).join(" · ") || "–")),
    },
    {
      name: "actions",
      label: t("word.actions"),
      quiet: true,
      style: "right actions",
      value: (row) => `${row.port} ${row.state} ${row.source} ${session.mayChange()}`,
      show: (cell, row) => fill(cell, mappingActions(row, refresh)),
    },
  ];
}

/** Return where a mapping leads, as text. */
export function target(row) {
  return `${row.target_host || t("mapping.own_machine")}:${row.target_port}`;
}

/** Return by which way. */
export function way(row) {
  if (!row.use_tunnel) {
    return t("way.direct");
  }
  return row.agent ? t("way.agent", { agent: row.agent }) : t("way.any_agent");
}

/** Return the rules that a mapping has, in short. */
export function rules(row) {
  const found = [];
  if (row.access_rule !== "disabled") {
    found.push(t(`rule.${row.access_rule}`, { count: row.access_ips.length }));
  }
  if (row.max_connections) {
    found.push(t("rule.max", { count: count(row.max_connections) }));
  }
  if (row.max_connections_per_ip) {
    found.push(t("rule.max_each", { count: count(row.max_connections_per_ip) }));
  }
  if (row.bandwidth_limit || row.connection_bandwidth_limit) {
    found.push(t("rule.bandwidth"));
  }
  if (row.idle_timeout) {
    found.push(t("rule.idle", { seconds: row.idle_timeout }));
  }
  if (row.proxy_protocol !== "off") {
    found.push(`PROXY ${row.proxy_protocol}`);
  }
  if (row.expires_at_unix) {
    found.push(t("rule.expires"));
  }
  return found;
}

function haystack(row) {
  const labels = Object.entries(row.labels).flat().join(" ");
  return `${row.port} ${row.name} ${target(row)} ${row.agent ?? ""} ${labels}`.toLowerCase();
}

function by({ by: name, order }) {
  const turn = order === "asc" ? 1 : -1;
  return (one, other) => {
    const [a, b] = [one[name], other[name]];
    const difference = typeof a === "string" ? a.localeCompare(b) : a - b;
    return difference * turn || one.port - other.port;
  };
}
