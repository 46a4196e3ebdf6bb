// Any JSON as a readable tree. The same shape is written over in place, so that a view that changes
// ten times a second neither flickers nor closes what the reader opened.

import { element, say } from "./dom.js";
import { span, words } from "./format.js";

const DEPTH_LIMIT = 6;
const ITEMS_LIMIT = 60;

function shape(value, depth = 0) {
  if (value === null || typeof value !== "object") return "·";
  if (depth >= DEPTH_LIMIT) return "…";
  return `{${Object.entries(value)
    .slice(0, ITEMS_LIMIT)
    .map(([key, each]) => `${key}:${shape(each, depth + 1)}`)
    .join()}}`;
}

const scalar = (value) => value === null || typeof value !== "object";

/** What is written in one line: a scalar, a few scalars, a peer with its id and address. */
function flat(value, depth = 0) {
  if (scalar(value)) return true;
  const inner = Object.values(value);
  const most = Array.isArray(value) && inner.every(scalar) ? ITEMS_LIMIT : 4;
  return (
    depth < 2 &&
    inner.length <= most &&
    inner.every((each) => flat(each, depth + 1)) &&
    (depth > 0 ||
      inner.every(scalar) ||
      (Array.isArray(value) && !inner.every((each) => !scalar(each))))
  );
}

function written(value) {
  if (value === null || value === undefined) return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "object") return String(value);
  if (typeof value.secs === "number" && typeof value.nanos === "number") {
    return span(value.secs * 1e6 + value.nanos / 1000);
  }
  const parts = Array.isArray(value)
    ? value.map(written)
    : Object.entries(value).map(([key, each]) =>
        key === "id" || key === "address" ? written(each) : `${words(key)} ${written(each)}`,
      );
  return parts.join(" · ") || "none";
}

export class Tree {
  constructor() {
    this.element = element("div", { class: "tree" });
    this.leaves = [];
    this.shape = null;
  }

  update(value) {
    if (value === this.value) return;
    this.value = value;
    const is = shape(value);
    if (is !== this.shape) {
      this.shape = is;
      this.leaves = [];
      this.element.replaceChildren(this.build(value, [], 0));
    }
    for (const [path, leaf] of this.leaves) {
      let at = value;
      for (const step of path) at = at?.[step];
      say(leaf, written(at));
    }
  }

  build(value, path, depth) {
    const entries = Object.entries(value ?? {}).slice(0, ITEMS_LIMIT);
    return element(
      "dl",
      {},
      entries.map(([key, each]) => {
        const here = [...path, key];
        const name = words(key) || key;
        if (flat(each) || depth >= DEPTH_LIMIT) {
          const leaf = element("dd", {});
          this.leaves.push([here, leaf]);
          return element("div", { class: "leaf" }, element("dt", {}, name), leaf);
        }
        const many = Array.isArray(each) ? ` (${each.length})` : "";
        return element(
          "div",
          {},
          element("dt", { class: "unseen" }, name),
          element(
            "dd",
            {},
            element(
              "details",
              { open: depth === 0 && Object.keys(each).length <= 6 },
              element("summary", {}, name + many),
              this.build(each, here, depth + 1),
            ),
          ),
        );
      }),
    );
  }
}
