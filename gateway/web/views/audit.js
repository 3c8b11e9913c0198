// The audit log: who changed what, the newest first.

import * as api from "../lib/api.js";
import { fill, h, icon } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { failed } from "../parts/notices.js";
import { empty, loading, table, twoLines } from "../parts/table.js";
import { heading } from "../parts/view.js";

const COUNT = 50;

/** Show changes that callers of the API made. */
export function audit() {
  const ended = new AbortController();
  let rows = [];
  const list = table({
    caption: t("nav.audit"),
    key: (row) => row.id,
    columns: [
      {
        name: "at",
        label: t("audit.at"),
        style: "nowrap",
        value: (row) => moment(row.at_unix),
      },
      {
        name: "who",
        label: t("audit.who"),
        value: (row) => `${row.who} ${row.address}`,
        show: (cell, row) => twoLines(cell, row.who, row.address),
      },
      {
        name: "action",
        label: t("audit.action"),
        value: (row) => `${row.action} ${row.subject}`,
        show: (cell, row) => twoLines(cell, row.action, row.subject),
      },
      {
        name: "change",
        label: t("audit.change"),
        style: "long",
        value: (row) => row.id,
        show: (cell, row) => fill(cell, h("div.small", {}, difference(row))),
      },
    ],
  });
  const nothing = empty(icon("audit"), t("audit.empty"), t("audit.empty.text"));
  const content = h("div.wide", {}, loading());
  const older = h("button.button", { type: "button" }, t("audit.older"));
  const foot = h("div.pager.wide", {}, h("span"), older);

  async function more(before) {
    older.disabled = true;
    try {
      const data = await api.get("/api/audit", { before, count: COUNT }, ended.signal);
      rows = before ? [...rows, ...data.entries] : data.entries;
      fill(content, rows.length ? [list.node, foot] : nothing);
      list.update(rows);
      older.disabled = data.entries.length < COUNT;
    } catch (fault) {
      if (!ended.signal.aborted) {
        older.disabled = false;
        failed(fault);
      }
    }
  }

  older.addEventListener("click", () => more(rows.at(-1)?.id));
  more(null);
  const again = h(
    "button.button",
    { type: "button", on: { click: () => more(null) } },
    t("action.refresh"),
  );
  return {
    title: t("nav.audit"),
    node: [
      heading(t("nav.audit"), again),
      h("section.card.flush", { "aria-label": t("nav.audit") }, content),
    ],
    stop: () => ended.abort(),
  };
}

/** Return what an entry changed, key by key. */
function difference({ before, after }) {
  const [old, now] = [plain(before), plain(after)];
  const keys = [...new Set([...Object.keys(old), ...Object.keys(now)])].filter(
    (key) =>
      JSON.stringify(old[key]) !== JSON.stringify(now[key]) &&
      !(isEmpty(old[key]) && isEmpty(now[key])),
  );
  if (keys.length === 0) {
    return "–";
  }
  return keys.map((key) =>
    h("div", {}, h("span.muted", {}, `${key}: `), change(old[key], now[key])),
  );
}

function isEmpty(value) {
  return [undefined, "null", '""', "{}", "[]"].includes(JSON.stringify(value));
}

function plain(value) {
  return value !== null && typeof value === "object" ? value : {};
}

function change(old, now) {
  const said = (value) => (value === undefined ? null : JSON.stringify(value));
  if (old === undefined) {
    return said(now);
  }
  return now === undefined ? h("s", {}, said(old)) : `${said(old)} → ${said(now)}`;
}
