// What can be done to a mapping: change, switch off and on, remove.

import * as api from "../lib/api.js";
import { h, icon } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import * as place from "../lib/place.js";
import * as session from "../lib/session.js";
import { ask } from "./dialog.js";
import { choice, field } from "./fields.js";
import { done, failed } from "./notices.js";

/** Return the buttons of one mapping. */
export function mappingActions(row, refresh, { words = false } = {}) {
  if (!session.mayChange() || row.source !== "stored") {
    const note = row.source === "stored" ? null : t("mapping.agents_own");
    return h("span.muted.small", {}, note);
  }
  const off = row.state === "disabled";
  const look = words ? "" : ".quiet.square.little";
  const button = (name, label, act) =>
    h(
      `button.button${look}`,
      {
        type: "button",
        title: words ? null : label,
        "aria-label": words ? null : `${label}: ${row.port}`,
        dataset: { act: name },
        on: { click: act },
      },
      icon(name),
      words ? label : null,
    );
  return h(
    "div.row-actions",
    {},
    h(
      `a.button${look}`,
      {
        href: place.write(`mappings/${row.port}/edit`),
        title: words ? null : t("action.edit"),
        "aria-label": words ? null : `${t("action.edit")}: ${row.port}`,
      },
      icon("edit"),
      words ? t("action.edit") : null,
    ),
    button("power", t(off ? "action.enable" : "action.disable"), () =>
      switchMapping(row, off, refresh),
    ),
    button("remove", t("action.remove"), () => removeMapping(row, refresh)),
  );
}

function named(row) {
  return { port: row.port, protocol: row.protocol };
}

async function switchMapping(row, on, refresh) {
  const perform = async () => {
    await api.post(`/api/mapping/${on ? "enable" : "disable"}`, named(row));
    done(t(on ? "mapping.enabled" : "mapping.disabled", row));
    refresh();
  };
  if (on) {
    await perform().catch(failed);
    return;
  }
  ask({
    title: t("mapping.disable.title", row),
    body: [h("p", {}, t("mapping.disable.text"))],
    action: t("action.disable"),
    perform,
  });
}

function removeMapping(row, refresh) {
  const drain = choice(
    [
      ["0", t("drain.none")],
      ["30", t("drain.some", { seconds: 30 })],
      ["300", t("drain.some", { seconds: 300 })],
    ],
    "0",
  );
  ask({
    title: t("mapping.remove.title", row),
    body: [
      h("p", {}, t("mapping.remove.text", { count: row.connections })),
      field(t("drain.label"), drain).node,
    ],
    action: t("action.remove"),
    async perform() {
      const seconds = Number(drain.value);
      await api.post("/api/mapping/remove", { ...named(row), drain: seconds });
      done(t("mapping.removed", row));
      refresh();
    },
  });
}
