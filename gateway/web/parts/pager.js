// Page through many rows: where one is, how to go on, how many at once.

import { h, write } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { t } from "../lib/i18n.js";

export const PAGE_SIZES = [25, 50, 100];

/**
 * Make a pager.
 *
 * @param {{offset: number, size: number}} start
 * @param {(offset: number, size: number) => void} turn
 */
export function pager({ offset, size }, turn) {
  let total = 0;
  const said = h("span.number");
  const spoken = h("span.hidden-text", { role: "status" }); // when somebody turns the page
  let turned = false;
  const back = h("button.button.little", { type: "button" }, t("pager.back"));
  const on = h("button.button.little", { type: "button" }, t("pager.on"));
  const sizes = h(
    "select",
    { "aria-label": t("pager.size") },
    PAGE_SIZES.map((some) =>
      h("option", { value: String(some) }, t("pager.rows", { count: some })),
    ),
  );
  sizes.value = String(size);
  const node = h(
    "div.pager.wide",
    {},
    h("div", {}, said, spoken),
    h("div.pager-buttons", {}, sizes, back, on),
  );

  function move(to) {
    offset = Math.max(0, to);
    turned = true;
    turn(offset, size);
  }

  back.addEventListener("click", () => move(offset - size));
  on.addEventListener("click", () => move(offset + size));
  sizes.addEventListener("change", () => {
    size = Number(sizes.value);
    move(0);
  });

  return {
    node,
    /** Say where we are. */
    tell(newOffset, newTotal) {
      offset = newOffset;
      total = newTotal;
      const last = Math.min(total, offset + size);
      const range = { first: count(offset + 1), last: count(last), total: count(total) };
      const text = total ? t("pager.range", range) : t("pager.none");
      write(said, text);
      if (turned) {
        turned = false;
        write(spoken, text);
      }
      back.disabled = offset === 0;
      on.disabled = last >= total;
    },
  };
}
