// Numbers for people: with units, in the language in use.

import { language, t } from "./i18n.js";

const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"];
const made = new Map();

function locale() {
  return language() === "zh" ? "zh-CN" : "en-GB";
}

function once(kind, make) {
  const key = `${locale()} ${kind}`;
  let found = made.get(key);
  if (!found) {
    found = make(locale());
    made.set(key, found);
  }
  return found;
}

/** 12345 -> "12,345". */
export function count(value) {
  return once("count", (where) => new Intl.NumberFormat(where)).format(value);
}

function decimal(value, digits) {
  return once(
    `decimal ${digits}`,
    (where) =>
      new Intl.NumberFormat(where, {
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      }),
  ).format(value);
}

/** 1536 -> ["1.50", "KB"]; a KB is 1024 bytes. */
export function sizeParts(bytes) {
  let value = Math.max(0, bytes ?? 0);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return [decimal(value, digits), UNITS[unit]];
}

/** 1536 -> "1.50 KB". */
export function size(bytes) {
  return sizeParts(bytes).join(" ");
}

/** 1536 -> "1.50 KB/s". */
export function rate(bytes) {
  return `${size(bytes)}/s`;
}

/** 0.0213 -> "21.3 ms"; null -> a dash. */
export function milliseconds(seconds) {
  if (seconds === null || seconds === undefined) {
    return "–";
  }
  const value = seconds * 1000;
  return `${decimal(value, value >= 100 ? 0 : value >= 10 ? 1 : 2)} ms`;
}

const STEPS = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

/** 7512 -> "2 h 5 min": the two largest units. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) {
    return "–";
  }
  let left = Math.max(0, Math.floor(seconds));
  const said = [];
  for (const [unit, length] of STEPS) {
    const whole = Math.floor(left / length);
    if (whole > 0 || (unit === "s" && said.length === 0)) {
      said.push(`${whole} ${t(`unit.${unit}`)}`);
      left -= whole * length;
    }
    if (said.length === 2 || (said.length === 1 && whole === 0)) {
      break;
    }
  }
  return said.join(" ");
}

/** Unix seconds -> date and time of this browser's zone. */
export function moment(unix) {
  return once(
    "moment",
    (where) =>
      new Intl.DateTimeFormat(where, { dateStyle: "medium", timeStyle: "medium" }),
  ).format(unix * 1000);
}

/** Unix seconds -> time of day. */
export function clock(unix) {
  return once(
    "clock",
    (where) =>
      new Intl.DateTimeFormat(where, {
        hour: "2-digit",
        minute: "2-digit",
        second: "2-digit",
        hourCycle: "h23",
      }),
  ).format(unix * 1000);
}

/** The answer's "2024-01-01 12:00:00" (UTC) -> date and time here; null -> null. */
export function utc(text) {
  return text ? moment(Date.parse(`${text.replace(" ", "T")}Z`) / 1000) : null;
}

/** 0.256 -> "26%". */
export function share(value) {
  return once("share", (where) => new Intl.NumberFormat(where, { style: "percent" })).format(
    value,
  );
}
