// Curves over time, by uPlot, in the colours of the theme.

import uPlot from "../vendor/uplot.js";
import { fill, h, mark, write } from "./dom.js";
import { clock } from "./format.js";
import { language } from "./i18n.js";

const alive = new Set();

/** Return a colour of the theme as the browser paints it now. */
function colour(name) {
  const probe = h("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function faded(rgb, alpha) {
  const numbers = rgb.match(/[\d.]+/g).slice(0, 3).join(" ");
  return `rgb(${numbers} / ${alpha})`;
}

const PAD = (number) => String(number).padStart(2, "0");

function tick(unix, step) {
  const date = new Date(unix * 1000);
  const hours = `${PAD(date.getHours())}:${PAD(date.getMinutes())}`;
  if (step < 60) {
    return `${hours}:${PAD(date.getSeconds())}`;
  }
  if (step < 86400) {
    const midnight = date.getHours() === 0 && date.getMinutes() === 0;
    return midnight ? dayOf(date) : hours;
  }
  return dayOf(date);
}

function dayOf(date) {
  const locale = language() === "zh" ? "zh-CN" : "en-GB";
  return date.toLocaleDateString(locale, { month: "short", day: "numeric" });
}

/** Steps of 1, 2, 5 in powers of 1024, so that byte axes have round labels. */
const BYTE_STEPS = [];
for (let power = 1; power < 2 ** 60; power *= 1024) {
  for (const step of [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]) {
    BYTE_STEPS.push(step * power);
  }
}
const COUNT_STEPS = [];
for (let power = 1; power < 1e12; power *= 10) {
  COUNT_STEPS.push(power, 2 * power, 5 * power);
}

/**
 * A chart with its legend.
 *
 * @param {object} wish
 * @param {string} wish.title what the chart shows, for those who do not see it.
 * @param {{label: string, colour: string}[]} wish.series
 * @param {(value: number) => string} wish.say how a value is written.
 * @param {boolean} wish.bytes whether values are bytes (a second).
 * @param {(unix: number) => string} wish.sayTime how a moment is written.
 */
export function timeChart({ title, series, say, bytes = true, sayTime = clock }) {
  const area = h("div.chart-area", { "aria-hidden": "true" });
  const time = h("span.number");
  const values = series.map(() => h("b"));
  const legend = h(
    "ul.legend",
    {},
    series.map(({ label, colour: name }, i) =>
      h("li", {}, h(`span.dot.${name}`), label, values[i]),
    ),
    h("li", {}, time),
  );
  const node = h("div.chart", { role: "group", "aria-label": title }, legend, area);
  let plot = null;
  let points = [[], ...series.map(() => [])];
  let range = null;

  function tell(at) {
    const column = at ?? points[0].length - 1;
    write(time, points[0].length ? sayTime(points[0][column]) : "");
    values.forEach((value, i) => {
      const found = points[i + 1][column];
      write(value, found === undefined || found === null ? "–" : say(found));
    });
  }

  function axis(extra) {
    return {
      stroke: colour("muted"),
      font: `11px ${getComputedStyle(document.body).fontFamily}`,
      grid: { stroke: colour("grid"), width: 1 },
      ticks: { show: false },
      ...extra,
    };
  }

  function options(width, height) {
    return {
      width,
      height,
      legend: { show: false },
      padding: [10, 26, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { range: (_, low, high) => range ?? [low, high] },
        y: { range: (_, __, high) => [0, top(high)] },
      },
      axes: [
        axis({
          space: 58,
          size: 30,
          values: (_, splits, __, ___, step) => splits.map((at) => tick(at, step)),
        }),
        axis({
          size: 76,
          space: 36,
          incrs: bytes ? BYTE_STEPS : COUNT_STEPS,
          values: (_, splits) => splits.map((value) => say(value)),
        }),
      ],
      series: [
        {},
        ...series.map(({ label, colour: name }) => {
          const ink = colour(name);
          return {
            label,
            stroke: ink,
            width: 1.75,
            fill: (self) => shade(self, ink),
            points: { show: false },
          };
        }),
      ],
      hooks: { setCursor: [(self) => tell(self.cursor.idx)] },
    };
  }

  function top(high) {
    const least = bytes ? 1024 : 4;
    return Math.max(least, (high ?? 0) * 1.1);
  }

  function shade(self, ink) {
    const { top: from, height } = self.bbox;
    const gradient = self.ctx.createLinearGradient(0, from, 0, from + height);
    gradient.addColorStop(0, faded(ink, 0.22));
    gradient.addColorStop(1, faded(ink, 0.02));
    return gradient;
  }

  function draw() {
    const { clientWidth, clientHeight } = area;
    if (!clientWidth || !clientHeight || !node.isConnected) {
      return;
    }
    plot?.destroy();
    fill(area);
    plot = new uPlot(options(clientWidth, clientHeight), points, area);
  }

  const sizes = new ResizeObserver(() => {
    const { clientWidth: width, clientHeight: height } = area;
    if (plot === null) {
      draw();
    } else if (width && height && (plot.width !== width || plot.height !== height)) {
      plot.setSize({ width, height });
    }
  });
  sizes.observe(area);
  const chart = {
    node,
    /** Show other points: [times, values...], all of one length. */
    set(wanted, shownRange = null) {
      points = wanted;
      range = shownRange;
      if (plot === null) {
        draw();
      } else {
        plot.setData(points);
      }
      tell(plot?.cursor.idx);
      mark(node, "aria-label", spoken());
    },
    redraw: draw,
    stop() {
      sizes.disconnect();
      alive.delete(chart);
      plot?.destroy();
    },
  };

  function spoken() {
    const said = series.map(({ label }, i) => {
      const most = points[i + 1].reduce((high, value) => Math.max(high, value ?? 0), 0);
      return `${label}: ${say(points[i + 1].at(-1) ?? 0)} (max ${say(most)})`;
    });
    return `${title}. ${said.join(", ")}`;
  }

  alive.add(chart);
  return chart;
}

/** Draw all charts in the colours of a theme that has changed. */
export function repaint() {
  alive.forEach((chart) => chart.redraw());
}
