// The logs of Raft's nodes as blocks, aligned by index: what is applied, committed, only appended,
// kept in a snapshot, or missing.

import { element, say, set, svg, unit, widthOf } from "./dom.js";
import { count, cut } from "./format.js";
import { cell, columns, viewOf } from "./terms.js";
import { clamp } from "./values.js";

const WORDS = {
  applied: "applied",
  committed: "committed, not applied yet",
  appended: "in the log, not committed",
  snapshot: "in the snapshot",
  absent: "not in the log",
};

export class Log {
  constructor(app) {
    this.app = app;
    this.picture = svg("svg", {
      id: "raft-log",
      class: "picture log",
      role: "img",
      "aria-label": "Logs by node and index",
    });
    this.element = element("div", { class: "frame" }, this.picture);
    this.rows = [];
    // A block says what it is to whom points at it: there are a thousand, and they change often.
    this.picture.addEventListener("pointerover", (event) => this.tell(event.target));
  }

  update(nodes, leader) {
    const width = widthOf(this.element);
    if (width === 0) return;
    const size = unit();
    const step = size * 1.35;
    const longest = Math.max(...nodes.map((each) => [...each.name].length));
    const left = size * (1.1 + 0.58 * Math.min(longest, width < size * 30 ? 4 : 7));
    const earlier = size * 5.2;
    const fit = clamp(Math.floor((width - left - earlier - size * 3.2) / step), 4, 60);
    const views = nodes.map(viewOf);
    const window = columns(views, fit);
    const high = size * 2;
    const key = `${width} ${size} ${nodes.map((each) => each.key).join()}`;
    if (key !== this.laid) {
      this.laid = key;
      this.build(nodes, { width, size, step, left, earlier, fit, high });
    }
    this.heads.forEach((head, at) =>
      say(head, (window.from + at) % 5 === 0 ? count(window.from + at) : ""),
    );
    nodes.forEach((node, at) => {
      const row = this.rows[at];
      const isLeader = node === leader;
      if (row.node === node && row.from === window.from && row.leads === isLeader) return;
      Object.assign(row, { node, from: window.from, leads: isLeader });
      const view = views[at];
      set(row.name, {
        class: isLeader ? "log-name leads" : "log-name",
        "data-health": node.health,
      });
      say(row.name, cut(node.name, width < size * 30 ? 4 : 7));
      say(row.end, view.seen ? count(view.last) : "–");
      const before = Math.min(window.from - 1, view.last);
      const inSnapshot = view.snapshot > 0;
      set(row.early, {
        class: `cell ${before < 1 || !view.seen ? "absent" : inSnapshot ? "snapshot" : "applied"}`,
      });
      say(
        row.earlyText,
        before < 1 || !view.seen
          ? ""
          : inSnapshot
            ? `snap ${cut(String(view.snapshot), 6)}`
            : `1–${cut(String(before), 6)}`,
      );
      say(
        row.earlyTitle,
        inSnapshot
          ? `the snapshot holds 1 to ${view.snapshot}; the log begins at ${view.first}`
          : `entries up to ${before}`,
      );
      row.cells.forEach((rect, column) => {
        const index = window.from + column;
        const is = view.seen && index <= window.to ? cell(view, index) : "absent";
        if (row.kinds[column] === is) return;
        row.kinds[column] = is;
        rect.setAttribute("class", `cell ${is}`);
      });
    });
  }

  tell(rect) {
    for (const row of this.rows) {
      const column = row.cells.indexOf(rect);
      if (column < 0) continue;
      say(
        rect.firstChild,
        `${row.node.name}: entry ${row.from + column} is ${WORDS[row.kinds[column]]}`,
      );
    }
  }

  build(nodes, { width, size, step, left, earlier, fit, high }) {
    const top = size * 1.6;
    const height = top + nodes.length * high + size * 0.4;
    set(this.picture, { viewBox: `0 0 ${width} ${height}`, width, height });
    const start = left + earlier;
    const heads = Array.from({ length: fit }, (_, at) =>
      svg("text", {
        class: "log-head",
        x: start + at * step + step / 2,
        y: size,
        "text-anchor": "middle",
      }),
    );
    this.rows = nodes.map((node, at) => {
      const y = top + at * high;
      const tall = high - size * 0.5;
      const middle = y + tall / 2;
      const row = {
        name: svg("text", { class: "log-name", x: 0, y: middle, dy: "0.35em" }),
        early: svg("rect", { x: left, y, width: earlier - size * 0.5, height: tall, rx: 3 }),
        earlyText: svg("text", {
          class: "log-early",
          x: left + (earlier - size * 0.5) / 2,
          y: middle,
          dy: "0.35em",
          "text-anchor": "middle",
        }),
        earlyTitle: svg("title"),
        end: svg("text", {
          class: "log-head",
          x: start + fit * step + size * 0.4,
          y: middle,
          dy: "0.35em",
        }),
        kinds: [],
        cells: Array.from({ length: fit }, (_, column) =>
          svg(
            "rect",
            { x: start + column * step, y, width: step - 3, height: tall, rx: 3 },
            svg("title"),
          ),
        ),
      };
      row.early.append(row.earlyTitle);
      row.group = svg(
        "g",
        { "data-log": node.key },
        row.name,
        row.early,
        row.earlyText,
        row.cells,
        row.end,
      );
      return row;
    });
    this.heads = heads;
    this.picture.replaceChildren(svg("g", {}, heads), ...this.rows.map((row) => row.group));
  }
}

/** What the blocks mean. */
export const logLegend = () =>
  element(
    "ul",
    { class: "legend", "aria-label": "Legend of the logs" },
    Object.entries(WORDS)
      .filter(([kind]) => kind !== "absent")
      .map(([kind, words]) =>
        element("li", {}, element("i", { class: `swatch block ${kind}` }), words),
      ),
  );
