// Tables that change in place: rows are known by a key, and only what differs is written.

import { fill, h, mark, newId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {string} label
 * @property {(row: object) => string|number|boolean|null} value what the cell depends on.
 * @property {(cell: HTMLElement, row: object) => void} [show] writes it; else as text.
 * @property {string} [style] classes of its cells.
 * @property {string} [sort] name to sort by.
 */

/**
 * Make a table.
 *
 * @param {object} wish
 * @param {string} wish.caption
 * @param {Column[]} wish.columns
 * @param {(row: object) => string|number} wish.key
 * @param {{by: string, order: "asc"|"desc"}} [wish.sorted] as it is sorted now.
 * @param {(by: string, order: string) => void} [wish.sort] called to sort otherwise.
 */
export function table({ caption, columns, key, sorted = null, sort = () => {} }) {
  const body = h("tbody", { role: "rowgroup" });
  const heads = columns.map((column) => head(column));
  const id = newId("caption");
  const node = h(
    "div.table-scroll.wide",
    { role: "region", "aria-labelledby": id, tabindex: "0" },
    h(
      "table.cards-when-narrow",
      { role: "table" },
      h("caption.hidden-text", { id }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
      body,
    ),
  );
  const rows = new Map(); // key -> {line, cells, shown}

  function head(column) {
    const given = { role: "columnheader", scope: "col", class: column.style ?? null };
    if (!column.sort) {
      const label = column.quiet ? h("span.hidden-text", {}, column.label) : column.label;
      return h("th", given, label);
    }
    const button = h(
      "button.sort",
      { type: "button", on: { click: () => turn(column) } },
      column.label,
    );
    return h("th", given, button);
  }

  function turn(column) {
    const again = sorted?.by === column.sort;
    const order = again && sorted.order === "desc" ? "asc" : "desc";
    tellSorted(column.sort, again || !column.ascendingFirst ? order : "asc");
    sort(sorted.by, sorted.order);
  }

  function tellSorted(by, order) {
    sorted = { by, order };
    columns.forEach((column, i) => {
      const mine = column.sort && column.sort === by;
      const word = order === "asc" ? "ascending" : "descending";
      mark(heads[i], "aria-sort", mine ? word : null);
    });
  }

  function make() {
    const cells = columns.map((column) =>
      h("td", {
        role: "cell",
        class: column.style ?? null,
        dataset: { label: column.label },
      }),
    );
    return { line: h("tr", { role: "row" }, cells), cells, shown: [] };
  }

  function write(entry, row) {
    columns.forEach((column, i) => {
      const value = column.value(row);
      if (entry.shown[i] === value) {
        return;
      }
      entry.shown[i] = value;
      if (column.show) {
        column.show(entry.cells[i], row);
      } else {
        entry.cells[i].textContent = value ?? "";
      }
    });
  }

  /** Show these rows, in this order. */
  function update(wanted) {
    const kept = new Set();
    let at = body.firstElementChild;
    for (const row of wanted) {
      const name = key(row);
      kept.add(name);
      let entry = rows.get(name);
      if (!entry) {
        entry = make();
        rows.set(name, entry);
      }
      write(entry, row);
      if (entry.line === at) {
        at = at.nextElementSibling;
      } else {
        body.insertBefore(entry.line, at);
      }
    }
    for (const [name, entry] of rows) {
      if (!kept.has(name)) {
        entry.line.remove();
        rows.delete(name);
      }
    }
  }

  if (sorted) {
    tellSorted(sorted.by, sorted.order);
  }
  return { node, update, tellSorted };
}

/** Return two lines for a cell: the main one and a smaller one below. */
export function twoLines(cell, main, below) {
  fill(cell, h("div", {}, main, below ? h("span.sub", {}, below) : null));
}

/** Return what stands where a list is empty. */
export function empty(picture, title, text, ...actions) {
  return h("div.empty.wide", {}, picture, h("strong", {}, title), h("p", {}, text), actions);
}

/** Return what stands where an answer has not come yet. */
export function loading() {
  return h(
    "div.loading",
    { role: "status" },
    h("span", { class: "bone" }),
    h("span", { class: "bone" }),
    h("span", { class: "bone" }),
    h("div.hidden-text", {}, t("state.loading")),
  );
}
