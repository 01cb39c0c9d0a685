// How numbers, times and types are written.

import { h } from "./dom.js";

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** A time as `<time>`; takes ms since 1970 or RFC 3339. */
export function time(at, format = DAY) {
  const date = new Date(at);
  return h("time", { datetime: date.toISOString() }, format.format(date));
}

export const clock = (at) => time(at, CLOCK);

export const fixed = (number, digits = 0) => number.toFixed(digits);

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1e6) return `${fixed(count / 1e3)} kB`;
  return `${fixed(count / 1e6, 1)} MB`;
}

export function duration(seconds) {
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = parts.findIndex(([, length]) => seconds >= length);
  if (first < 0) return "0 s";
  let rest = Math.floor(seconds);
  return parts.slice(first, first + 2).map(([unit, length]) => {
    const count = Math.floor(rest / length);
    rest -= count * length;
    return `${count} ${unit}`;
  }).join(" ");
}

/** `1` to `type 1`, `1-2` to `type 1-2`, `indeterminate` as it is. */
export const typeName = (pattern) => (pattern === "indeterminate" ? pattern : `type ${pattern}`);

/** The number or letter that stands for a type where there is little room. */
export const typeSign = (pattern) => (pattern === "indeterminate" ? "?" : pattern);

/** Colour of a pattern: that of its first, larger part. These are CSS variables, see base.css. */
export const typeColour = (pattern) => `var(--type-${pattern === "indeterminate" ? 4 : pattern[0]})`;

/** A type as its chip; `label` stands beside it. */
export function typeChip(pattern, label = typeName(pattern)) {
  const sign = h("i", { "aria-hidden": "true", style: { "--type": typeColour(pattern) } }, typeSign(pattern));
  return h("span", { class: "type" }, sign, label);
}
