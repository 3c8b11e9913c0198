// Words with a colour, for states.

import { h } from "../lib/dom.js";
import { has, t } from "../lib/i18n.js";

const KINDS = {
  listening: "good",
  unreachable: "bad",
  draining: "warn",
  error: "bad",
  disabled: "",
  active: "good",
  pending: "info",
  closing: "warn",
  healthy: "good",
  ok: "good",
  degraded: "warn",
  unhealthy: "bad",
};

/** Return a badge of a state's word. */
export function badge(state, kind = KINDS[state] ?? "", label = null) {
  const said = label ?? (has(`state.${state}`) ? t(`state.${state}`) : state);
  return h(`span.badge${kind ? `.${kind}` : ""}`, {}, said);
}
