// One event as a line of the log.

import { h } from "../lib/dom.js";
import { clock, moment, size } from "../lib/format.js";
import { has, t } from "../lib/i18n.js";

const KINDS = {
  created: "good",
  enabled: "good",
  up: "good",
  arrived: "good",
  started: "good",
  opened: "info",
  reloaded: "info",
  removed: "warn",
  disabled: "warn",
  expired: "warn",
  draining: "warn",
  down: "warn",
  left: "bad",
  refused: "bad",
  failed: "bad",
  error: "bad",
  lost: "bad",
};
const BYTES = new Set(["bytes_sent", "bytes_received"]);
// what says little to people, or is said by the action
const LEFT_OUT = new Set(["protocol", "use_tunnel", "source", "state", "id", "version"]);

/** Return an event's line. */
export function eventLine({ topic, facts }) {
  const { at_unix: at, action = "", ...rest } = facts;
  const said = has(`topic.${topic}`) ? t(`topic.${topic}`) : topic;
  const done = has(`did.${action}`) ? t(`did.${action}`) : action;
  const when = at ?? Date.now() / 1000;
  const kind = KINDS[action] ? `.${KINDS[action]}` : "";
  return h(
    "li",
    {},
    h("time.muted.small", { title: moment(when) }, clock(when)),
    h("div", {}, h(`span.badge${kind}`, {}, said)),
    h("div", {}, h("strong", {}, done), " ", h("span.muted", {}, told(rest))),
  );
}

/** Return an event's facts as text: "port 10022, visitor 192.0.2.1:5000". */
export function told(facts) {
  return Object.entries(facts)
    .filter(([name, value]) => !LEFT_OUT.has(name) && value !== null && value !== "")
    .map(([name, value]) => {
      const label = has(`fact.${name}`) ? t(`fact.${name}`) : name;
      return `${label} ${shown(name, value)}`;
    })
    .join(", ");
}

function shown(name, value) {
  if (BYTES.has(name)) {
    return size(value);
  }
  if (name === "until_unix") {
    return moment(value);
  }
  if (typeof value === "number" && !Number.isInteger(value)) {
    return Math.round(value * 1000) / 1000;
  }
  return typeof value === "object" ? JSON.stringify(value) : value;
}
