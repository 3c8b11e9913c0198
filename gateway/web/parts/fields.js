// Labelled fields.

import { h, mark, newId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/**
 * A field: label, control, hint, and room for what is wrong with it.
 *
 * @param {string} label
 * @param {HTMLElement} control
 * @param {{hint?: string, unit?: HTMLElement, whole?: boolean}} [more]
 */
export function field(label, control, { hint = "", unit = null, whole = false } = {}) {
  const id = control.id || newId("field");
  control.id = id;
  const said = hint ? h("div.hint", { id: `${id}-hint` }, hint) : null;
  const wrong = h("div.fault", { id: `${id}-fault`, hidden: true });
  const described = [said && `${id}-hint`, `${id}-fault`].filter(Boolean).join(" ");
  control.setAttribute("aria-describedby", described);
  const node = h(
    `div.field${whole ? ".whole" : ""}`,
    {},
    h("label", { for: id }, label),
    unit ? h("div.with-unit", {}, control, unit) : control,
    said,
    wrong,
  );
  return {
    node,
    control,
    /** Say what is wrong; empty takes it back. */
    blame(message) {
      wrong.textContent = message;
      wrong.hidden = !message;
      mark(control, "aria-invalid", message ? "true" : null);
    },
  };
}

/** A line of text. */
export function textInput(value = "", given = {}) {
  return h("input", {
    type: "text",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    ...given,
    value: value ?? "",
  });
}

/** A whole number. */
export function numberInput(value, given = {}) {
  return h("input", {
    type: "number",
    inputmode: "numeric",
    step: "1",
    autocomplete: "off",
    ...given,
    value: value ?? "",
  });
}

/** A choice among options: [value, label]. */
export function choice(options, value, given = {}) {
  const select = h(
    "select",
    given,
    options.map(([name, label]) => h("option", { value: name }, label)),
  );
  select.value = value;
  return select;
}

/** A box to tick, with its label. */
export function tick(label, checked, given = {}) {
  const box = h("input", { type: "checkbox", ...given, checked });
  return { node: h("label.tick", {}, box, label), control: box };
}

/** Buttons of which one is pressed. */
export function segments(label, options, value, choose) {
  const buttons = options.map(([name, said]) =>
    h(
      "button",
      { type: "button", "aria-pressed": String(name === value), dataset: { name } },
      said,
    ),
  );
  const node = h("div.segments", { role: "group", "aria-label": label }, buttons);
  node.addEventListener("click", (event) => {
    const pressed = event.target.closest("button");
    if (pressed) {
      buttons.forEach((one) => mark(one, "aria-pressed", String(one === pressed)));
      choose(pressed.dataset.name);
    }
  });
  return node;
}

/** Split lines or a list by commas into words. */
export function words(text) {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** A number of the form, or null where it is empty. */
export function numberOf(control) {
  const text = control.value.trim();
  return text === "" ? null : Number(text);
}

/** Return the options of how long something is to last. */
export function lifetimes(forever) {
  return [
    ["600", t("lasts.10min")],
    ["3600", t("lasts.hour")],
    ["86400", t("lasts.day")],
    ["604800", t("lasts.week")],
    ["", forever],
  ];
}
