// Bans: who is kept out, until when and why.

import * as api from "../lib/api.js";
import { fill, h, icon } from "../lib/dom.js";
import { utc } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { listen } from "../lib/live.js";
import { poll } from "../lib/poll.js";
import * as session from "../lib/session.js";
import { askBan } from "../parts/ban_dialog.js";
import { ask } from "../parts/dialog.js";
import { done } from "../parts/notices.js";
import { pager } from "../parts/pager.js";
import { empty, loading, table } from "../parts/table.js";
import { heading, toldOnce } from "../parts/view.js";

/** Show the bans that are on. */
export function bans() {
  let rows = [];
  let offset = 0;
  let pageSize = 50;
  const refresh = () => polling.now();
  const list = table({
    caption: t("nav.bans"),
    key: (row) => row.network,
    columns: columns(refresh),
  });
  const pages = pager({ offset, size: pageSize }, (to, many) => {
    [offset, pageSize] = [to, many];
    show();
  });
  const nobody = empty(icon("bans"), t("bans.empty"), t("bans.empty.text"));
  const content = h("div.wide", {}, loading());

  function show() {
    if (offset >= rows.length) {
      offset = 0;
    }
    const wanted = rows.length ? [list.node, pages.node] : [nobody];
    if (content.firstElementChild !== wanted[0]) {
      fill(content, wanted);
    }
    pages.tell(offset, rows.length);
    list.update(rows.slice(offset, offset + pageSize));
  }

  const polling = poll(
    5,
    async (signal) => {
      const data = await api.get("/api/ban/list", {}, signal);
      rows = data.bans;
      show();
      return data;
    },
    toldOnce(),
  );
  const deaf = listen(["ban"], refresh);
  const add = h(
    "button.button.first",
    { type: "button", on: { click: () => askBan("", refresh) } },
    icon("create"),
    t("ban.action"),
  );
  return {
    title: t("nav.bans"),
    node: [
      heading(t("nav.bans"), session.mayChange() ? add : null),
      h("section.card.flush", { "aria-label": t("nav.bans") }, content),
    ],
    stop() {
      polling.stop();
      deaf();
    },
  };
}

function columns(refresh) {
  return [
    { name: "network", label: t("ban.network"), style: "mono", value: (row) => row.network },
    {
      name: "until",
      label: t("ban.until"),
      value: (row) => utc(row.until) ?? t("lasts.forever"),
    },
    {
      name: "reason",
      label: t("ban.reason"),
      style: "long",
      value: (row) => row.reason || "–",
    },
    {
      name: "stored",
      label: t("ban.by"),
      value: (row) => t(row.stored ? "ban.by_hand" : "ban.by_itself"),
    },
    {
      name: "actions",
      label: t("word.actions"),
      quiet: true,
      style: "right actions",
      value: (row) => `${session.mayChange()} ${row.network}`,
      show: (cell, row) => fill(cell, session.mayChange() && lift(row, refresh)),
    },
  ];
}

function lift(row, refresh) {
  return h(
    "button.button.quiet.little",
    {
      type: "button",
      "aria-label": `${t("ban.lift")}: ${row.network}`,
      on: {
        click: () =>
          ask({
            title: t("ban.lift.title", row),
            body: [h("p", {}, t("ban.lift.text"))],
            action: t("ban.lift"),
            danger: false,
            async perform() {
              await api.post("/api/ban/remove", { network: row.network });
              done(t("ban.lifted", row));
              refresh();
            },
          }),
      },
    },
    t("ban.lift"),
  );
}
