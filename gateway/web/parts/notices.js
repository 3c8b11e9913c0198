// What stands around views: messages that pass, the lost connection, standing warnings.

import { fill, h, icon, mark, write } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import * as reach from "../lib/reach.js";

const GOOD_MS = 6_000;
const BAD_MS = 20_000;
const MOST = 4;

const good = h("div.toasts-list", { role: "status" });
const bad = h("div.toasts-list", { role: "alert" });
const place = h("div.toasts", {}, bad, good);

/** Return where messages appear; it stays when views change. */
export function toasts() {
  return place;
}

function show(list, kind, message, milliseconds) {
  const toast = h(`div.toast.${kind}`, {}, h("div", {}, message));
  const close = h(
    "button.button.quiet.square.little",
    { type: "button", "aria-label": t("action.close"), on: { click: () => toast.remove() } },
    icon("close"),
  );
  toast.append(close);
  list.append(toast);
  while (list.children.length > MOST) {
    list.firstElementChild.remove();
  }
  const leave = () => {
    if (toast.matches(":hover, :focus-within")) {
      setTimeout(leave, 1_000);
    } else {
      toast.remove();
    }
  };
  setTimeout(leave, milliseconds);
}

/** Say that something was done. */
export function done(message) {
  show(good, "good", message, GOOD_MS);
}

/** Say what went wrong, and what to do. */
export function failed(fault) {
  show(bad, "bad", fault.message ?? String(fault), BAD_MS);
}

/** Return the banner that shows while the gateway does not answer. */
export function lostBanner() {
  const said = h("p", {}, h("strong", {}, t("lost.title")), " ", t("lost.text"));
  const left = h("span.muted.number");
  const banner = h(
    "div.banner.bad",
    { hidden: true, id: "lost" },
    icon("lost"),
    said,
    left,
    h(
      "button.button.little",
      { type: "button", on: { click: () => reach.hurry() } },
      t("lost.now"),
    ),
  );
  const live = h("div", { role: "alert" }, banner);
  let timer = null;
  const change = (lost) => {
    banner.hidden = !lost;
    clearInterval(timer);
    if (lost) {
      const tell = () => {
        if (!live.isConnected) {
          clearInterval(timer);
        }
        write(left, t("lost.left", { seconds: reach.secondsLeft() }));
      };
      mark(left, "aria-live", "off");
      tell();
      timer = setInterval(tell, 1_000);
    }
  };
  reach.watch(change);
  change(reach.isLost());
  return live;
}

const openBanner = h("div", { role: "note" });

/** Return the place of the warning about agents without credential. */
export function openWarning() {
  return openBanner;
}

/** Show or hide the warning that anybody may connect as an agent. */
export function warnOpen(open) {
  if (open === (openBanner.childElementCount > 0) && openBanner.lang === t("lang")) {
    return;
  }
  openBanner.lang = t("lang");
  fill(
    openBanner,
    open &&
      h(
        "div.banner.warn",
        { id: "open-to-all" },
        icon("warning"),
        h("p", {}, h("strong", {}, t("open.title")), " ", t("open.text")),
        h("code", {}, "gotunnel agent-key create NAME"),
      ),
  );
}
