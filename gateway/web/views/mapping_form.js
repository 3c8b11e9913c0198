// The form of a mapping: to create one, or to change what one is like.

import * as api from "../lib/api.js";
import { fill, h, icon } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import * as place from "../lib/place.js";
import * as session from "../lib/session.js";
import { BLANK, mappingFields } from "../parts/mapping_fields.js";
import { done } from "../parts/notices.js";
import { empty, loading } from "../parts/table.js";
import { heading } from "../parts/view.js";

/** Show the empty form. */
export function createMapping() {
  return form(t("nav.create"), async () => BLANK, {
    fresh: true,
    submit: t("form.create"),
    home: place.write("mappings"),
    async send(body) {
      const made = await api.post("/api/mapping/create", body);
      const way = made.use_tunnel && !made.tunnel_connected ? "mapping.created_apart" : "";
      done(t(way || "mapping.created", made));
      place.go(`mappings/${made.port}`);
    },
  });
}

/** Show the form of the mapping on a port. */
export function editMapping({ parts: [, port] }) {
  const read = () => api.get(`/api/mapping/${encodeURIComponent(port)}`);
  return form(t("form.edit.title", { port }), read, {
    fresh: false,
    submit: t("form.save"),
    home: place.write(`mappings/${port}`),
    async send(body, before) {
      const changed = Object.entries(body).filter(
        ([key, value]) => JSON.stringify(value) !== JSON.stringify(before[key]),
      );
      if (changed.length) {
        await api.post("/api/mapping/update", {
          ...Object.fromEntries(changed),
          port: Number(port),
          protocol: "tcp",
        });
        done(t("mapping.updated", { port }));
      }
      place.go(`mappings/${port}`);
    },
  });
}

function form(title, read, { fresh, submit, home, send }) {
  const content = h("div.form", {}, loading());
  const ended = new AbortController();

  async function start() {
    let row;
    let agents = [];
    try {
      [row, { agents }] = await Promise.all([
        read(),
        api.get("/api/agents", {}, ended.signal),
      ]);
    } catch (fault) {
      if (!ended.signal.aborted) {
        fill(content, empty(icon("warning"), t("state.failed"), fault.message));
      }
      return;
    }
    const names = [...new Set(agents.map((one) => one.name))];
    const { nodes, fields, body } = mappingFields(row, { fresh, agents: names });
    const before = body();
    const fault = h("p.fault", { role: "alert" });
    const go = h("button.button.first", { type: "submit" }, submit);
    const node = h(
      "form.form",
      { novalidate: true, "aria-label": title },
      nodes,
      fault,
      h("div.form-actions", {}, go, h("a.button", { href: home }, t("action.cancel"))),
    );
    node.addEventListener("submit", async (event) => {
      event.preventDefault();
      fault.textContent = "";
      const wrong = check(fields);
      if (wrong) {
        wrong.focus();
        return;
      }
      go.disabled = true;
      try {
        await send(body(), before);
      } catch (error) {
        blame(error, fields, fault);
      } finally {
        go.disabled = false;
      }
    });
    fill(content, session.mayChange() ? node : readOnly());
    if (fresh) {
      fields.get("port").control.focus({ preventScroll: true });
    }
  }

  start();
  return { title, node: [heading(title), content], stop: () => ended.abort() };
}

function readOnly() {
  return empty(icon("warning"), t("reader.title"), t("reader.text"));
}

/** Blame what the browser sees to be wrong; return the first such control. */
function check(fields) {
  let first = null;
  for (const { control, blame: say } of fields.values()) {
    const good = control.disabled || control.checkValidity();
    say(good ? "" : t("form.invalid", { detail: control.validationMessage }));
    first ??= good ? null : control;
  }
  return first;
}

/** Show a refusal at the field that it names, else below the form. */
function blame(error, fields, fault) {
  for (const [, name] of error.message.matchAll(/\b([a-z]+(?:_[a-z]+)*)\b/g)) {
    const { control, blame: say } = fields.get(name) ?? {};
    if (control) {
      say(error.message);
      control.focus();
      return;
    }
  }
  fault.textContent = error.message;
}
