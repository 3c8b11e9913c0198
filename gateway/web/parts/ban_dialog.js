// Ban a network or an address.

import * as api from "../lib/api.js";
import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { ask } from "./dialog.js";
import { choice, field, lifetimes, textInput } from "./fields.js";
import { done } from "./notices.js";

/** Ask whom to ban, for how long and why. */
export function askBan(network, refresh) {
  const whom = textInput(network, { required: true, maxlength: 100 });
  const lasts = choice(lifetimes(t("lasts.forever")), "3600");
  const reason = textInput("", { maxlength: 200 });
  ask({
    title: t("ban.title"),
    body: [
      h("p", {}, t("ban.text")),
      field(t("ban.network"), whom).node,
      field(t("ban.lasts"), lasts).node,
      field(t("ban.reason"), reason).node,
    ],
    action: t("ban.action"),
    async perform() {
      const duration = lasts.value ? Number(lasts.value) : null;
      const body = { network: whom.value.trim(), duration, reason: reason.value.trim() };
      const ban = await api.post("/api/ban/add", body);
      done(t("ban.added", ban));
      refresh();
    },
  });
}
