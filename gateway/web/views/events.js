// The event log: what happens, as it happens.

import { fill, h, icon } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { listen } from "../lib/live.js";
import * as place from "../lib/place.js";
import { field, textInput, tick } from "../parts/fields.js";
import { eventLine, told } from "../parts/event_line.js";
import { empty } from "../parts/table.js";
import { heading, settled } from "../parts/view.js";

const TOPICS = ["mapping", "link", "connection", "refusal", "reload", "ban", "gateway"];
const USUAL = TOPICS.filter((topic) => topic !== "connection"); // there may be thousands
const KEPT = 1000;
const SHOWN = 200;
const RECENT = 300; // of those before the view was opened

/** Show events as they come. */
export function events({ query }) {
  const chosen = new Set(query.topics ? query.topics.split(" ") : USUAL);
  let halted = false;
  let missed = 0;
  let drawn = 0; // of a frame that is planned
  const kept = []; // the newest last
  const waiting = []; // for that frame
  const list = h("ol.feed.wide", { "aria-label": t("nav.events"), id: "event-log" });
  const nothing = empty(icon("events"), t("events.quiet"), t("events.quiet.text"));
  const halt = h("button.button", { type: "button", "aria-pressed": "false" });
  const search = textInput("", { type: "search", id: "search" });
  let deaf = () => {};

  function matches({ topic, facts }) {
    const wanted = search.value.trim().toLowerCase();
    const about = `${topic} ${facts.action ?? ""} ${told(facts)}`.toLowerCase();
    return (topic === "gap" || chosen.has(topic)) && about.includes(wanted);
  }

  function redraw() {
    const found = kept.filter(matches).slice(-SHOWN).reverse();
    fill(list, found.map(eventLine));
    nothing.hidden = found.length > 0;
  }

  function take(event) {
    kept.push(event);
    if (kept.length > KEPT) {
      kept.splice(0, kept.length - KEPT);
    }
    if (halted) {
      missed += 1;
      label();
    } else {
      waiting.push(event);
      if (waiting.length > SHOWN) {
        waiting.shift();
      }
      drawn ||= requestAnimationFrame(draw);
    }
  }

  function draw() {
    drawn = 0;
    const fresh = waiting.splice(0).filter(matches).reverse();
    list.prepend(...fresh.map(eventLine));
    while (list.children.length > SHOWN) {
      list.lastElementChild.remove();
    }
    nothing.hidden = list.children.length > 0;
  }

  function label() {
    const said = missed ? t("events.go_on_missed", { count: count(missed) }) : "";
    halt.textContent = halted ? said || t("events.go_on") : t("events.halt");
    halt.setAttribute("aria-pressed", String(halted));
  }

  halt.addEventListener("click", () => {
    halted = !halted;
    missed = 0;
    label();
    if (!halted) {
      redraw();
    }
  });

  function follow() {
    deaf();
    kept.length = waiting.length = 0;
    redraw();
    deaf = listen([...chosen], take, RECENT);
  }

  const ticks = TOPICS.map((topic) => {
    const { node, control } = tick(t(`topic.${topic}`), chosen.has(topic), { name: topic });
    control.addEventListener("change", () => {
      if (control.checked) {
        chosen.add(topic);
      } else {
        chosen.delete(topic);
      }
      place.note("events", { topics: [...chosen].join(" ") });
      follow();
    });
    return node;
  });
  search.addEventListener("input", settled(150, redraw));
  label();
  follow();
  return {
    title: t("nav.events"),
    node: [
      heading(t("nav.events"), halt),
      h(
        "section.card.flush",
        { "aria-label": t("nav.events") },
        h(
          "div.filters",
          { role: "search" },
          field(t("word.search"), search).node,
          h(
            "div",
            { role: "group", "aria-label": t("events.topics") },
            h("div.ticks", {}, ticks),
          ),
        ),
        h("div.wide", {}, list, nothing),
      ),
    ],
    stop() {
      deaf();
      cancelAnimationFrame(drawn);
    },
  };
}
