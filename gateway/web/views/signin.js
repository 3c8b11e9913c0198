// Sign in by a token or by the API key.

import * as api from "../lib/api.js";
import { fill, h, sign } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { looksLikeToken } from "../lib/session.js";
import { field } from "../parts/fields.js";
import { languageField, themeField } from "../parts/settings.js";
import { lostBanner } from "../parts/notices.js";

/**
 * Show the sign-in.
 *
 * @param {{said: string|null, entered: () => void}} wish what to say first; what to do when
 *     the gateway has let the caller in.
 */
export function signin({ said, entered }) {
  const secret = h("input", {
    type: "password",
    autocomplete: "current-password",
    required: true,
    id: "secret",
    name: "secret",
    spellcheck: "false",
  });
  const token = radio("token", t("signin.token"), true);
  const key = radio("key", t("signin.key"), false);
  const fault = h("p.fault", { role: "alert", id: "signin-fault" }, said);
  const go = h("button.button.first", { type: "submit" }, t("signin.go"));
  secret.addEventListener("paste", () => setTimeout(guess, 0));

  function guess() {
    const isToken = looksLikeToken(secret.value.trim());
    token.control.checked = isToken;
    key.control.checked = !isToken;
  }

  const form = h(
    "form.card.form",
    { novalidate: true, "aria-label": t("signin.title") },
    h("p.muted", {}, t("signin.text")),
    h(
      "div.ticks",
      { role: "radiogroup", "aria-label": t("signin.kind") },
      token.node,
      key.node,
    ),
    field(t("signin.secret"), secret, { hint: t("signin.hint") }).node,
    fault,
    go,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = secret.value.trim();
    if (!given) {
      fault.textContent = t("signin.empty");
      secret.focus();
      return;
    }
    go.disabled = true;
    fault.textContent = "";
    try {
      await api.enter({ kind: key.control.checked ? "key" : "token", secret: given });
      entered();
    } catch (error) {
      const advice = error.status === 401 ? `. ${t("error.401")}` : "";
      fault.textContent = `${error.message}${advice}`;
      secret.focus();
      secret.select();
    } finally {
      go.disabled = false;
    }
  });
  const node = h(
    "div.signin",
    {},
    h(
      "main",
      { id: "content" },
      h("div.brand", {}, sign(), "gotunnel"),
      h("h1.hidden-text", { tabindex: "-1" }, t("signin.title")),
      form,
      h("div.signin-foot", {}, languageField().node, themeField().node),
    ),
  );
  return { node: fill(h("div"), lostBanner(), node), focus: () => secret.focus() };
}

function radio(value, label, checked) {
  const control = h("input", { type: "radio", name: "kind", value, checked });
  return { control, node: h("label.tick", {}, control, label) };
}
