// Makes and changes elements. Text is always a text node: no function here takes markup, so that
// a hostile string in any field stays a string.

const SVG = "http://www.w3.org/2000/svg";

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style")
      for (const [property, to] of Object.entries(value)) made.style.setProperty(property, to);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(
    ...children
      .flat(Infinity)
      .filter((child) => child !== null && child !== undefined && child !== false),
  );
  return made;
}

/** An HTML element: attributes, `on…` listeners, children that are nodes or text. */
export const element = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);

/** The same for SVG. */
export const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** Sets text only if it differs. */
export function say(made, text) {
  const to = String(text);
  if (made.textContent !== to) made.textContent = to;
  return made;
}

/** Sets attributes only if they differ; null takes one away. */
export function set(made, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) {
      if (made.hasAttribute(name)) made.removeAttribute(name);
    } else {
      const to = value === true ? "" : String(value);
      if (made.getAttribute(name) !== to) made.setAttribute(name, to);
    }
  }
  return made;
}

/** Keeps children of a parent by key: `make` for those that come, `update` for all, in order. */
export class Keyed {
  constructor(parent, make, update, leave = (made) => made.remove()) {
    Object.assign(this, { parent, make, update, leave, made: new Map() });
  }

  show(items) {
    const there = new Set();
    let before = null;
    for (const [key, item] of items) {
      there.add(key);
      let child = this.made.get(key);
      if (!child) {
        child = this.make(key, item);
        this.made.set(key, child);
      }
      const node = child.node ?? child;
      const next = before === null ? this.parent.firstChild : before.nextSibling;
      if (node.parentNode !== this.parent || (this.ordered && next !== node))
        this.parent.insertBefore(node, next);
      before = node;
      this.update(child, item, key);
    }
    for (const [key, child] of this.made) {
      if (there.has(key)) continue;
      this.made.delete(key);
      this.leave(child.node ?? child);
    }
    return this;
  }

  /** Forgets all children, so that they are made anew. */
  reset() {
    for (const child of this.made.values()) (child.node ?? child).remove();
    this.made.clear();
  }

  inOrder() {
    this.ordered = true;
    return this;
  }
}

/** A view of the page: its heading, and what stands below. */
export const page = (heading, ...below) =>
  element(
    "section",
    { class: "view", "aria-labelledby": "view-title" },
    element("h1", { id: "view-title" }, heading),
    below,
  );

/** What a view says of what it shows. */
export const lead = (...words) => element("p", { class: "lead" }, words);

/** What stands in place of a system that is not seen. */
export const unseen = (who, command) =>
  element(
    "p",
    { class: "empty" },
    `${who} not seen. Start it with `,
    element("code", {}, command),
    ".",
  );

/** A labelled form field. */
export function field(label, input) {
  return element(
    "label",
    { class: "field" },
    element("span", { class: "field-label" }, label),
    input,
  );
}

/** Whether the viewer asked for less motion. */
const still = window.matchMedia("(prefers-reduced-motion: reduce)");
export const reduced = () => still.matches;

// Sizes are looked up when they change: a look after a change of anything else has the browser work
// out all styles and lay out the page anew.
const widths = new WeakMap();
const ruler = element("div", {
  "aria-hidden": "true",
  style: { position: "absolute", width: "1rem", visibility: "hidden" },
});
let rem = null;
const watching = new ResizeObserver((changed) => {
  for (const { target } of changed) {
    if (target === ruler) rem = null;
    else widths.set(target, target.clientWidth);
  }
  // Whoever draws listens for this already.
  window.dispatchEvent(new Event("resize"));
});
document.body.append(ruler);
watching.observe(ruler);

/** The size of 1rem in px: layouts are in it, so that they grow with the page. */
export function unit() {
  rem ??= parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
  return rem;
}

/** How wide an element is within, in whole px. */
export function widthOf(made) {
  if (!widths.has(made)) {
    watching.observe(made);
    widths.set(made, made.clientWidth);
  }
  return widths.get(made);
}

const PATHS = {
  pause: "M6 4h4v16H6zM14 4h4v16h-4z",
  play: "M7 4l13 8-13 8z",
  cut: "M4 4l16 16M20 4L4 20",
  delay: "M12 7v6l4 2M12 3a9 9 0 1 0 .01 0",
  drop: "M4 12h3m3 0h2m3 0h1m3 0h1M9 6l6 12",
  crown: "M3 18V7l5 4 4-7 4 7 5-4v11z",
  check: "M4 13l5 5L20 6",
  cross: "M5 5l14 14M19 5L5 19",
  dots: "M5 12h.01M12 12h.01M19 12h.01",
  close: "M6 6l12 12M18 6L6 18",
  warn: "M12 8v5M12 16.5v.01M12 3l10 18H2z",
  live: "M12 8a4 4 0 1 0 .01 0",
  save: "M12 4v11m-5-5l5 5 5-5M5 20h14",
  open: "M12 20V8m-5 5l5-5 5 5M5 4h14",
};
const SOLID = new Set(["pause", "play", "crown", "live"]);

/** An icon of 24 units that takes the colour of the text around it. */
export function icon(name, size = "1em") {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", width: size, height: size, class: "icon", "aria-hidden": "true" },
    iconPath(name),
  );
}

/** The same as a path, to be placed within an SVG. */
export const iconPath = (name) =>
  svg("path", {
    d: PATHS[name] ?? PATHS.dots,
    class: SOLID.has(name) ? "icon-solid" : "icon-line",
  });
