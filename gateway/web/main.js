// The page: which view stands at which place, and who may see it.

import * as api from "./lib/api.js";
import { repaint } from "./lib/chart.js";
import { fill, h } from "./lib/dom.js";
import { language, t } from "./lib/i18n.js";
import * as live from "./lib/live.js";
import * as place from "./lib/place.js";
import { poll } from "./lib/poll.js";
import * as session from "./lib/session.js";
import { frame } from "./parts/frame.js";
import { failed, toasts, warnOpen } from "./parts/notices.js";
import { onLanguage } from "./parts/settings.js";
import { loading } from "./parts/table.js";
import { agents } from "./views/agents.js";
import { audit } from "./views/audit.js";
import { bans } from "./views/bans.js";
import { connections } from "./views/connections.js";
import { events } from "./views/events.js";
import { fitness } from "./views/fitness.js";
import { mapping } from "./views/mapping.js";
import { createMapping, editMapping } from "./views/mapping_form.js";
import { mappings } from "./views/mappings.js";
import { overview } from "./views/overview.js";
import { signin } from "./views/signin.js";
import { traffic } from "./views/traffic.js";

const VIEWS = {
  overview,
  create: createMapping,
  mappings,
  traffic,
  connections,
  agents,
  events,
  fitness,
  bans,
  audit,
};
const PATHS = {
  "/admin": "mappings",
  "/dashboard": "overview",
  "/api/stats/monitor": "traffic",
};
const WARN_SECONDS = 10;

const root = h("div", { id: "root" });
let around = null; // the frame, while somebody is let in
let current = { stop: () => {} };
let guard = { stop: () => {} };

function viewOf({ parts }) {
  const [name, port, act] = parts;
  if (name === "mappings" && port) {
    return act === "edit" ? editMapping : mapping;
  }
  return VIEWS[name] ?? overview;
}

function show({ focus }) {
  const here = place.read();
  current.stop();
  const view = viewOf(here)(here);
  current = view;
  fill(around.content, view.node);
  around.tell(here.parts[0] in VIEWS ? here.parts[0] : "overview");
  document.title = `${view.title} · gotunnel`;
  if (focus) {
    window.scrollTo(0, 0);
    if (!around.content.contains(document.activeElement)) {
      around.content.querySelector("h1")?.focus();
    }
  }
}

function enter() {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  around = frame(() => {
    session.use(null);
    leave(null);
  });
  fill(root, around.node);
  guard.stop();
  guard = poll(WARN_SECONDS, async (signal) => {
    warnOpen((await api.get("/api/stats", {}, signal)).open_to_all);
  });
  show({ focus: false });
}

function leave(said) {
  current.stop();
  guard.stop();
  current = guard = { stop: () => {} };
  around = null;
  live.reset();
  session.use(null);
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  document.title = `${t("signin.title")} · gotunnel`;
  const view = signin({ said, entered: enter });
  fill(root, view.node);
  view.focus();
}

function draw() {
  if (around === null) {
    leave(null);
  } else {
    live.reset();
    enter();
  }
}

async function start() {
  document.body.append(root, toasts());
  fill(root, h("main.content", {}, loading()));
  if (!location.hash && location.pathname in PATHS) {
    place.note(PATHS[location.pathname]);
  }
  api.onSignedOut((said) => {
    const wasIn = around !== null && session.credential() !== null;
    leave(wasIn ? t("signin.again", { said: said || t("signin.expired") }) : null);
  });
  onLanguage(draw);
  window.addEventListener("hashchange", () => {
    if (around !== null) {
      show({ focus: true });
    }
  });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", repaint);
  document.addEventListener("keydown", focusSearch);
  const asked = poll(
    1,
    async (signal) => {
      await api.get("/api/stats", {}, signal);
      asked.stop();
      enter();
    },
    (fault) => {
      if (fault.status === 401) {
        asked.stop(); // the sign-in goes on from here
      } else {
        failed(fault);
      }
    },
  );
}

/** "/" leads to the search field, as in most programs. */
function focusSearch(event) {
  const typing = event.target.closest("input, textarea, select, dialog");
  const search = document.getElementById("search");
  if (event.key === "/" && !typing && search) {
    event.preventDefault();
    search.focus();
  }
}

start();
