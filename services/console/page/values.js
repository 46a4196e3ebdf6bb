// Reads of untrusted JSON: each answers something that can be drawn, whatever is there.
// Pure; nothing here throws.

/** A number that is finite, else `fallback`. */
export const number = (value, fallback = 0) =>
  typeof value === "number" && Number.isFinite(value) ? value : fallback;

/** Text of what is scalar, else `fallback`. */
export const text = (value, fallback = "") =>
  typeof value === "string"
    ? value
    : typeof value === "number" || typeof value === "boolean"
      ? String(value)
      : fallback;

/** The array, else an empty one. */
export const list = (value) => (Array.isArray(value) ? value : []);

/** The object that is no array, else an empty one. */
export const record = (value) =>
  value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};

/** A place of the circle as BigInt, or null: ids come as numbers or as decimal strings. */
export function place(value) {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  if (typeof value === "string" && /^\d{1,20}$/.test(value)) return BigInt(value);
  return null;
}

/** Orders names as a person does: 2 before 10, A before B. */
export function byName(a, b) {
  const [left, right] = [place(a), place(b)];
  if (left !== null && right !== null) return left < right ? -1 : left > right ? 1 : 0;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Keeps a value between two others. */
export const clamp = (value, least, most) => Math.max(least, Math.min(most, value));
