// The fields of a mapping: from a row of the API into the form, and back into a body.

import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { choice, field, numberInput, numberOf, textInput, tick, words } from "./fields.js";

const BANDWIDTHS = [
  ["1", "B/s"],
  ["1024", "KB/s"],
  ["1048576", "MB/s"],
];
const TIMES = [
  ["60", "time.minutes"],
  ["3600", "time.hours"],
  ["86400", "time.days"],
];

/** What a new mapping starts from. */
export const BLANK = {
  port: null,
  name: "",
  use_tunnel: true,
  target_host: "",
  target_port: null,
  agent: null,
  listen: "",
  labels: {},
  expected: false,
  access_rule: "disabled",
  access_ips: [],
  max_connections: 0,
  max_connections_per_ip: 0,
  bandwidth_limit: 0,
  connection_bandwidth_limit: 0,
  idle_timeout: 0,
  proxy_protocol: "off",
  trusted_proxies: [],
  expires_at_unix: null,
};

/**
 * Make the fields.
 *
 * @param {object} row a mapping, or BLANK.
 * @param {{fresh: boolean, agents: string[]}} more whether it is a new one; whose names to
 *     offer.
 * @returns {{nodes: Node[], fields: Map, body: () => object}}
 */
export function mappingFields(row, { fresh, agents }) {
  const fields = new Map();
  const add = (name, control, more = {}) => {
    const made = field(t(`field.${name}`), control, { hint: hint(name), ...more });
    control.name = name;
    fields.set(name, made);
    return made.node;
  };
  const readers = [];
  const reads = (name, read) => readers.push([name, read]);

  const main = mainFields(row, { fresh, agents, add, reads });
  const visitors = ruleFields(row, { add, reads });
  const rest = restFields(row, { fresh, add, reads });
  return {
    nodes: [
      group(t("form.main"), main),
      group(t("form.visitors"), visitors),
      group(t("form.rest"), rest),
    ],
    fields,
    body() {
      const found = readers.map(([name, read]) => [name, read()]);
      return Object.fromEntries(found.filter(([, value]) => value !== undefined));
    },
  };
}

function hint(name) {
  const text = t(`field.${name}.hint`);
  return text === "-" ? "" : text;
}

function group(title, nodes) {
  return h("fieldset.card", {}, h("legend", {}, title), h("div.fields", {}, nodes));
}

function mainFields(row, { fresh, agents, add, reads }) {
  const port = numberInput(row.port, { min: 0, max: 65535, required: true });
  port.disabled = !fresh;
  const name = textInput(row.name, { maxlength: 100 });
  const tunnel = tick(t("field.use_tunnel"), row.use_tunnel, { name: "use_tunnel" });
  const host = textInput(row.target_host, { maxlength: 253 });
  const targetPort = numberInput(row.target_port, { min: 1, max: 65535 });
  const known = h(
    "datalist",
    { id: "agents-known" },
    agents.map((one) => h("option", { value: one })),
  );
  const agent = textInput(row.agent, { maxlength: 100, list: "agents-known" });
  const listen = textInput(row.listen);
  listen.disabled = !fresh;

  reads("port", () => (fresh ? numberOf(port) : row.port));
  reads("name", () => name.value.trim());
  reads("use_tunnel", () => tunnel.control.checked);
  reads("target_host", () => host.value.trim() || (fresh ? undefined : null));
  reads("target_port", () => numberOf(targetPort) ?? undefined);
  reads("agent", () => (tunnel.control.checked ? agent.value.trim() || null : null));
  reads("listen", () => (fresh ? listen.value.trim() || undefined : undefined));

  const nodes = [
    add("port", port, fresh ? {} : { hint: "" }),
    add("name", name),
    add("listen", listen, fresh ? {} : { hint: "" }),
    h("div.field.whole", {}, tunnel.node, h("div.hint", {}, hint("use_tunnel"))),
    add("target_host", host),
    add("target_port", targetPort),
    add("agent", agent),
    known,
  ];
  const turn = () => {
    agent.disabled = !tunnel.control.checked;
  };
  tunnel.control.addEventListener("change", turn);
  turn();
  return nodes;
}

function ruleFields(row, { add, reads }) {
  const rule = choice(
    ["disabled", "whitelist", "blacklist"].map((one) => [one, t(`access.${one}`)]),
    row.access_rule,
  );
  const addresses = h("textarea", { rows: 3, spellcheck: "false" });
  addresses.value = row.access_ips.join("\n");
  const most = numberInput(row.max_connections || "", { min: 0 });
  const each = numberInput(row.max_connections_per_ip || "", { min: 0 });
  const idle = numberInput(row.idle_timeout || "", { min: 0, step: "any" });
  const header = choice(
    ["off", "v1", "v2"].map((one) => [one, t(`proxy.${one}`)]),
    row.proxy_protocol,
  );
  const proxies = h("textarea", { rows: 2, spellcheck: "false" });
  proxies.value = row.trusted_proxies.join("\n");
  const all = bandwidth(row.bandwidth_limit, t("field.bandwidth_limit"));
  const one = bandwidth(
    row.connection_bandwidth_limit,
    t("field.connection_bandwidth_limit"),
  );

  reads("access_rule", () => rule.value);
  reads("access_ips", () => words(addresses.value));
  reads("max_connections", () => numberOf(most) ?? 0);
  reads("max_connections_per_ip", () => numberOf(each) ?? 0);
  reads("bandwidth_limit", all.read);
  reads("connection_bandwidth_limit", one.read);
  reads("idle_timeout", () => numberOf(idle) ?? 0);
  reads("proxy_protocol", () => header.value);
  reads("trusted_proxies", () => words(proxies.value));
  return [
    add("access_rule", rule),
    add("access_ips", addresses, { whole: true }),
    add("max_connections", most),
    add("max_connections_per_ip", each),
    add("bandwidth_limit", all.control, { unit: all.unit }),
    add("connection_bandwidth_limit", one.control, { unit: one.unit }),
    add("idle_timeout", idle),
    add("proxy_protocol", header),
    add("trusted_proxies", proxies, { whole: true }),
  ];
}

function restFields(row, { fresh, add, reads }) {
  const lasting = row.expires_at_unix ? "keep" : "";
  const ends = choice(
    [
      ...(lasting ? [["keep", t("expiry.keep")]] : []),
      ["", t("expiry.never")],
      ["in", t("expiry.in")],
    ],
    lasting,
  );
  const amount = numberInput("", { min: 1, step: "any", "aria-label": t("expiry.in") });
  const unit = choice(
    TIMES.map(([seconds, key]) => [seconds, t(key)]),
    "3600",
    { "aria-label": t("field.unit", { field: t("expiry.in") }) },
  );
  const labels = h("textarea", { rows: 3, spellcheck: "false" });
  labels.value = Object.entries(row.labels)
    .map(([key, value]) => `${key}=${value}`)
    .join("\n");
  const time = h("div.with-unit", {}, amount, unit);
  const expected = tick(t("field.expected"), row.expected, { name: "expected" });
  const turn = () => {
    time.hidden = ends.value !== "in";
  };
  ends.addEventListener("change", turn);
  turn();
  reads("expires_in", () => {
    if (ends.value === "keep" || (fresh && ends.value === "")) {
      return undefined;
    }
    const many = numberOf(amount);
    return ends.value === "in" && many !== null ? many * Number(unit.value) : null;
  });
  reads("expected", () => expected.control.checked);
  reads("labels", () => readLabels(labels.value));
  return [
    h("div.form", {}, add("expires_in", ends), time),
    add("labels", labels),
    h("div.field.whole", {}, expected.node, h("div.hint", {}, hint("expected"))),
  ];
}

function readLabels(text) {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.indexOf("=");
      return at < 0 ? [line, ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }),
  );
}

function bandwidth(bytes, label) {
  const [factor] = BANDWIDTHS.findLast(([one]) => bytes && bytes % Number(one) === 0) ?? [
    "1024",
  ];
  const control = numberInput(bytes ? bytes / Number(factor) : "", {
    min: 0,
    step: "any",
  });
  const unit = choice(BANDWIDTHS, factor, { "aria-label": t("field.unit", { field: label }) });
  return {
    control,
    unit,
    read: () => Math.round((numberOf(control) ?? 0) * Number(unit.value)),
  };
}
