// The frame around every view: where one can go, and the reader's settings.

import { h, icon, mark, sign } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import * as place from "../lib/place.js";
import * as session from "../lib/session.js";
import { badge } from "./badges.js";
import { lostBanner, openWarning } from "./notices.js";
import { languageField, themeField } from "./settings.js";

const LINKS = [
  "overview",
  "create",
  "mappings",
  "traffic",
  "connections",
  "agents",
  "events",
  "fitness",
  "bans",
  "audit",
];
const FIRST_OF_GROUP = new Set(["connections", "fitness"]);

/**
 * Make the frame.
 *
 * @param {() => void} signOut
 */
export function frame(signOut) {
  const content = h("main.content", { id: "content", tabindex: "-1" });
  const links = new Map(LINKS.map((name) => [name, link(name)]));
  const nav = h("nav.nav", { "aria-label": t("nav.label") }, [...links.values()]);
  const side = h("header.side", { id: "side" }, brand(), nav, foot(signOut));
  const menu = h(
    "button.button.quiet.square",
    {
      type: "button",
      "aria-label": t("nav.menu"),
      "aria-expanded": "false",
      "aria-controls": "side",
    },
    icon("menu"),
  );

  function turn(open) {
    side.classList.toggle("open", open);
    mark(menu, "aria-expanded", String(open));
  }

  menu.addEventListener("click", () => turn(!side.classList.contains("open")));
  side.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && side.classList.contains("open")) {
      turn(false);
      menu.focus();
    }
  });
  const skip = h("a.skip", { href: "#content" }, t("nav.skip"));
  skip.addEventListener("click", (event) => {
    event.preventDefault(); // the fragment is the place
    content.focus();
  });
  const node = h(
    "div",
    {},
    skip,
    h(
      "div.frame",
      {},
      side,
      h(
        "div.page",
        {},
        h("div.top", {}, brand(), menu),
        lostBanner(),
        openWarning(),
        content,
      ),
    ),
  );
  return {
    node,
    content,
    /** Mark where we are. */
    tell(name) {
      turn(false);
      links.forEach((one, key) => mark(one, "aria-current", key === name ? "page" : null));
    },
  };
}

function link(name) {
  const tag = FIRST_OF_GROUP.has(name) ? "a.first-of-group" : "a";
  return h(tag, { href: place.write(name) }, icon(name), t(`nav.${name}`));
}

function brand() {
  return h("a.brand", { href: place.write("overview") }, sign(), "gotunnel");
}

function foot(signOut) {
  const name = session.name();
  const reader = session.mayChange() ? null : badge("reader", "info", t("reader.badge"));
  const out = session.credential()
    ? h(
        "button.button",
        { type: "button", id: "sign-out", on: { click: signOut } },
        icon("leave"),
        t("signin.out"),
      )
    : null;
  return h(
    "div.side-foot",
    {},
    name ? h("div.small.muted", {}, t("signin.as", { name })) : null,
    reader,
    languageField().node,
    themeField().node,
    out,
  );
}
