// Tables that change in place: rows are known by a key, and only what differs is written.

import { fill, h, mark, newId, write } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { badge } from "./badges.js";

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

  /** Return a row's elements, of one that is gone if there is one: that costs less. */
  function make(spare) {
    const again = spare.pop();
    if (again) {
      return again;
    }
    const cells = columns.map((column) =>
      h("td", {
        role: "cell",
        class: column.style ?? null,
        dataset: { label: column.label },
      }),
    );
    return { line: h("tr", { role: "row" }, cells), cells, shown: [], row: null };
  }

  function show(entry, row) {
    entry.row = row;
    columns.forEach((column, i) => {
      const value = column.value(row);
      if (entry.shown[i] === value) {
        return;
      }
      entry.shown[i] = value;
      if (column.show) {
        column.show(entry.cells[i], row);
      } else {
        write(entry.cells[i], value ?? "");
      }
    });
  }

  /** Show these rows, in this order. */
  function update(wanted) {
    const kept = new Set(wanted.map(key));
    const focused = document.activeElement;
    const spare = [];
    for (const [name, entry] of rows) {
      if (!kept.has(name)) {
        rows.delete(name);
        entry.line.remove();
        if (!entry.line.contains(focused)) {
          spare.push(entry);
        }
      }
    }
    let at = body.firstElementChild;
    for (const row of wanted) {
      const name = key(row);
      let entry = rows.get(name);
      if (!entry) {
        entry = make(spare);
        rows.set(name, entry);
      }
      show(entry, row);
      if (entry.line === at) {
        at = at.nextElementSibling;
      } else {
        body.insertBefore(entry.line, at);
      }
    }
    if (focused !== document.activeElement && body.contains(focused)) {
      focused.focus({ preventScroll: true }); // a row that moves loses it
    }
  }

  if (sorted) {
    tellSorted(sorted.by, sorted.order);
  }
  /** Return the row that an element in the table belongs to now. */
  function rowOf(element) {
    const line = element.closest("tr");
    return [...rows.values()].find((entry) => entry.line === line)?.row ?? null;
  }

  return { node, update, tellSorted, rowOf };
}

/** Return the two lines of a cell; they stay when what they say changes. */
function linesOf(cell) {
  if (!cell.firstElementChild) {
    cell.append(h("div", {}, h("span"), h("span.sub")));
  }
  return cell.firstElementChild.children;
}

function below(line, text) {
  write(line, text ?? "");
  line.hidden = !text;
}

/** Write two lines into a cell: the main one and a smaller one below. */
export function twoLines(cell, main, more) {
  const [first, second] = linesOf(cell);
  if (main instanceof Node) {
    fill(first, main);
  } else {
    write(first, main);
  }
  below(second, more);
}

/** The same, where the main line is a link. */
export function linkLines(cell, href, text, more) {
  const [first, second] = linesOf(cell);
  if (!first.firstElementChild) {
    first.append(h("a"));
  }
  mark(first.firstElementChild, "href", href);
  write(first.firstElementChild, text);
  below(second, more);
}

/** The same, where the main line is the badge of a state. */
export function badgeLines(cell, state, more) {
  const [first, second] = linesOf(cell);
  if (first.dataset.state !== state) {
    first.dataset.state = state;
    fill(first, badge(state));
  }
  below(second, more);
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
