// Questions that must be answered before something is done.

import { h, newId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { failed } from "./notices.js";

/**
 * Ask, do, and close; what fails is said.
 *
 * @param {object} wish
 * @param {string} wish.title
 * @param {(Node|string)[]} wish.body
 * @param {string} wish.action label of the button that does it.
 * @param {boolean} [wish.danger]
 * @param {() => Promise<void>} wish.perform
 */
export function ask({ title, body, action, danger = true, perform }) {
  const id = newId("title");
  const before = document.activeElement;
  const go = h(`button.button.${danger ? "danger" : "first"}`, { type: "submit" }, action);
  const stay = h("button.button", { type: "button" }, t("action.cancel"));
  const form = h(
    "form",
    { novalidate: true },
    h("h2", { id }, title),
    body,
    h("div.dialog-actions", {}, stay, go),
  );
  const dialog = h("dialog", { "aria-labelledby": id }, form);
  stay.addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      await perform();
    } catch (fault) {
      failed(fault);
    } finally {
      dialog.close(); // messages lie below it
    }
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    const home = before?.isConnected ? before : document.querySelector("main h1");
    home?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  (form.querySelector("input, select, textarea") ?? (danger ? stay : go)).focus();
}
