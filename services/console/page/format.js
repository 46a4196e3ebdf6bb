// How numbers, times and long names are written. Pure.

import { number, text } from "./values.js";

const TWO = (value) => String(value).padStart(2, "0");

/** The time of day of a unix time in ms, to the second or to the millisecond. */
export function clock(ms, fine = false) {
  const date = new Date(number(ms));
  if (Number.isNaN(date.getTime())) return "–";
  const time = `${TWO(date.getHours())}:${TWO(date.getMinutes())}:${TWO(date.getSeconds())}`;
  return fine ? `${time}.${String(date.getMilliseconds()).padStart(3, "0")}` : time;
}

/** A length of time in microseconds, in the unit a person would use. */
export function span(us) {
  const value = number(us);
  if (value < 1000) return `${Math.round(value)} µs`;
  if (value < 1e6) return `${(value / 1000).toFixed(value < 1e4 ? 2 : 1)} ms`;
  return age(value / 1000, 1);
}

/** A length of time in milliseconds, coarse. */
export function age(ms, digits = 0) {
  const seconds = Math.max(0, number(ms)) / 1000;
  if (seconds < 60) return `${seconds.toFixed(digits)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400)
    return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

/** A count, with thin spaces up to a million and with a letter above. */
export function count(value) {
  const whole = number(value);
  if (Math.abs(whole) >= 1e15) return whole.toExponential(1);
  for (const [size, letter] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
  ]) {
    if (Math.abs(whole) >= size) return `${(whole / size).toFixed(1)} ${letter}`;
  }
  const shown = Number.isInteger(whole) ? String(whole) : whole.toFixed(1);
  return shown.replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, "\u202f");
}

/** So many of something that has a plural with an s. */
export function some(value, word) {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}

/** Bytes in binary units. */
export function bytes(value) {
  let left = number(value);
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (left < 1024) return `${unit === "B" ? left : left.toFixed(1)} ${unit}`;
    left /= 1024;
  }
  return `${count(left)} TiB`;
}

/** A long name with its middle left out: ids near 2^64 differ at their ends. */
export function short(value, most = 9) {
  const whole = [...text(value, "?")];
  if (whole.length <= most) return whole.join("");
  const head = Math.ceil((most - 1) / 2);
  return `${whole.slice(0, head).join("")}…${whole.slice(whole.length - (most - 1 - head)).join("")}`;
}

/** A name with its end left out. */
export function cut(value, most) {
  const whole = [...text(value)];
  return whole.length <= most ? whole.join("") : `${whole.slice(0, most - 1).join("")}…`;
}

/** A field's or role's name as words: `team_leader` is "team leader". */
export const words = (value) => text(value).replace(/[_-]+/g, " ");

/** The name of a system as a heading. */
export function title(system) {
  const known = { overlay: "Overlay", raft: "Raft", chord: "Chord" };
  return Object.hasOwn(known, system) ? known[system] : text(system, "?");
}
