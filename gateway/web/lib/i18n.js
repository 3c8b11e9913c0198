// Texts in the reader's language.

import { en } from "../texts/en.js";
import { zh } from "../texts/zh.js";
import * as kept from "./kept.js";

export const LANGUAGES = { en: "English", zh: "中文" };
const TEXTS = { en, zh };

let now = kept.language.get() ?? preferred();
if (!(now in TEXTS)) {
  now = "en";
}

function preferred() {
  for (const tag of navigator.languages ?? [navigator.language]) {
    const known = tag.toLowerCase().split("-")[0];
    if (known in TEXTS) {
      return known;
    }
  }
  return "en";
}

/** Return the language in use: "en" or "zh". */
export function language() {
  return now;
}

/** Use a language from now on, and remember it. */
export function choose(wanted) {
  now = wanted;
  kept.language.set(wanted);
}

/** Return a text; `{name}` in it stands for `given.name`. */
export function t(key, given = {}) {
  const text = TEXTS[now][key];
  if (text === undefined) {
    console.error(`no text ${key}`);
    return key;
  }
  return text.replaceAll(/\{(\w+)\}/g, (_, name) => given[name] ?? "");
}

/** Tell whether there is a text of that key. */
export function has(key) {
  return key in TEXTS[now];
}
