// The strip of Raft's history: for each node a lane, coloured by what it was; who leads is a band
// in the colour of its term. It can be scrolled back, and a click shows the whole page as of then.

import { element, say, set, svg, unit, widthOf } from "./dom.js";
import { clock, cut } from "./format.js";
import { clamp } from "./values.js";

const SPANS = [
  ["30000", "30 s"],
  ["120000", "2 min"],
  ["600000", "10 min"],
];
// None is that of who stands for election.
const COLOURS = 5;

export class Strip {
  constructor(app) {
    this.app = app;
    this.length = 120_000;
    this.end = null;
    this.picture = svg("svg", { id: "raft-strip", class: "picture strip", role: "img" });
    this.frame = element(
      "div",
      { class: "frame", title: "Click to see that moment" },
      this.picture,
    );
    this.picture.addEventListener("click", (event) => this.click(event));
    const zoom = element(
      "select",
      {
        id: "strip-length",
        "aria-label": "Length of the strip",
        onchange: () => {
          this.length = Number(zoom.value);
          this.drawn = 0;
          app.draw(false);
        },
      },
      SPANS.map(([value, label]) =>
        element("option", { value, selected: value === "120000" }, label),
      ),
    );
    const pan = (part) => () => {
      const to = this.to();
      this.end = to + part * this.length;
      if (this.end >= this.app.now) this.end = null;
      const oldest = this.app.history.terms.from + this.length / 2;
      if (this.end !== null && this.end < oldest) this.end = oldest;
      this.drawn = 0;
      app.draw(false);
    };
    this.nowButton = element(
      "button",
      {
        class: "quiet",
        id: "strip-now",
        onclick: () => {
          this.end = null;
          this.drawn = 0;
          app.draw(false);
        },
      },
      "Newest",
    );
    this.element = element(
      "section",
      { "aria-label": "Terms and leaders over time" },
      element(
        "div",
        { class: "row between" },
        element("h3", {}, "Terms and leaders over time"),
        element(
          "div",
          { class: "row" },
          element(
            "button",
            { class: "quiet", id: "strip-earlier", "aria-label": "Earlier", onclick: pan(-0.5) },
            "← Earlier",
          ),
          element(
            "button",
            { class: "quiet", id: "strip-later", "aria-label": "Later", onclick: pan(0.5) },
            "Later →",
          ),
          this.nowButton,
          zoom,
        ),
      ),
      this.frame,
      element(
        "ul",
        { class: "legend", "aria-label": "Legend of the strip" },
        element(
          "li",
          {},
          element("i", { class: "swatch block lead-0" }),
          "leads (coloured by term)",
        ),
        element("li", {}, element("i", { class: "swatch block band-follower" }), "follows"),
        element(
          "li",
          {},
          element("i", { class: "swatch block band-candidate" }),
          "stands for election",
        ),
        element("li", {}, element("i", { class: "swatch block band-unreachable" }), "unreachable"),
      ),
    );
  }

  to() {
    if (this.end !== null) return this.end;
    const { history } = this.app;
    return history.mode === "live"
      ? this.app.now
      : Math.max(this.app.now, Math.min(this.app.now + this.length * 0.25, history.shown?.to ?? 0));
  }

  click(event) {
    const box = this.picture.getBoundingClientRect();
    const part = (event.clientX - box.left - this.left) / Math.max(1, box.width - this.left);
    if (part < 0 || part > 1) return;
    this.end = this.to();
    this.app.history.seek(this.end - this.length * (1 - part));
    this.end = null;
    this.app.history.pause();
  }

  update(app) {
    const width = widthOf(this.frame);
    const time = performance.now();
    if (width === 0 || (time - this.drawn < 200 && this.width === width)) return;
    Object.assign(this, { drawn: time, width });
    const size = unit();
    const to = this.to();
    const from = to - this.length;
    const left = (this.left = size * 3);
    const lane = size * (app.history.terms.lanes.size > 10 ? 0.9 : 1.35);
    const x = (at) => left + clamp((at - from) / this.length, 0, 1) * (width - left);
    const bands = app.history.terms
      .between(from, to)
      .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
    const top = size * 1.7;
    const height = top + bands.length * lane + size * 1.6;
    const made = [];
    const terms = new Map();
    bands.forEach(([key, segments], at) => {
      const y = top + at * lane;
      made.push(text(cut(key.split("/").slice(1).join("/"), 5), 0, y + lane / 2, "log-name"));
      for (const each of segments) {
        if (each.role === "gone") continue;
        const kind =
          each.role === "leader"
            ? `lead-${Math.abs(each.term) % COLOURS}`
            : each.role.endsWith("candidate")
              ? "band-candidate"
              : each.role === "unreachable"
                ? "band-unreachable"
                : "band-follower";
        const [x1, x2] = [x(each.from), x(each.to)];
        if (each.role === "leader") {
          const known = terms.get(each.term);
          terms.set(each.term, known ? [Math.min(known[0], x1), Math.max(known[1], x2)] : [x1, x2]);
        }
        made.push(
          svg("rect", {
            class: kind,
            x: x1,
            y,
            width: Math.max(1, x2 - x1),
            height: lane - 3,
            rx: 2,
          }),
        );
      }
    });
    let free = 0;
    for (const [term, [x1]] of [...terms].sort((a, b) => a[1][0] - b[1][0])) {
      const label = `t${cut(String(term), 8)}`;
      if (x1 < free) continue;
      free = x1 + label.length * size * 0.7 + 6;
      made.push(
        svg("line", { class: "strip-term", x1, x2: x1, y1: size * 0.4, y2: height - size * 1.4 }),
        text(label, Math.min(x1 + 4, width - label.length * size * 0.5), size * 0.9, "log-head"),
      );
    }
    const many = width > size * 40 ? 6 : 3;
    for (let at = 0; at < many; at += 1) {
      made.push(
        text(
          clock(from + (this.length * at) / many),
          x(from + (this.length * at) / many),
          height - size * 0.5,
          "log-head",
        ),
      );
    }
    if (!app.live)
      made.push(
        svg("line", {
          class: "strip-now",
          x1: x(app.now),
          x2: x(app.now),
          y1: 0,
          y2: height - size * 1.4,
        }),
      );
    const who = [...terms.keys()].map((term) => `term ${term}`).join(", ") || "nobody";
    set(this.picture, {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      "aria-label": `Who led from ${clock(from)} to ${clock(to)}: ${who}`,
    });
    this.picture.replaceChildren(...made);
    this.nowButton.hidden = this.end === null;
  }
}

const text = (words, x, y, kind) => say(svg("text", { class: kind, x, y, dy: "0.35em" }), words);
