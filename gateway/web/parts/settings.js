// The reader's own settings: language and theme.

import { repaint } from "../lib/chart.js";
import { choose, language, LANGUAGES, t } from "../lib/i18n.js";
import * as kept from "../lib/kept.js";
import { choice, field } from "./fields.js";

let relabel = () => {};

/** Name what is called after the language has changed. */
export function onLanguage(callback) {
  relabel = callback;
}

/** Return the choice of the language. */
export function languageField() {
  const select = choice(Object.entries(LANGUAGES), language(), { name: "language" });
  select.addEventListener("change", () => {
    choose(select.value);
    relabel();
  });
  return field(t("settings.language"), select);
}

/** Return the choice of the theme. */
export function themeField() {
  const select = choice(
    ["system", "light", "dark"].map((name) => [name, t(`theme.${name}`)]),
    kept.theme.get() ?? "system",
    { name: "theme" },
  );
  select.addEventListener("change", () => {
    const chosen = select.value === "system" ? null : select.value;
    kept.theme.set(chosen);
    if (chosen === null) {
      delete document.documentElement.dataset.theme;
    } else {
      document.documentElement.dataset.theme = chosen;
    }
    repaint();
  });
  return field(t("settings.theme"), select);
}
