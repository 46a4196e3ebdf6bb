// The log of the chosen node: its last lines, the newest at the bottom. The console says that
// there are more, and this fetches those that are wanted; of the past it shows what was written
// until then.

import { ask } from "./ask.js";
import { element, say } from "./dom.js";
import { clock } from "./format.js";
import { list, number, record, text } from "./values.js";

const LINES_LIMIT = 500;
const LEVELS = ["error", "warn", "info", "debug", "trace"];
/** What can be asked for: the console is told nothing that is less grave than details. */
const NAMES = {
  error: "errors",
  warn: "warnings and graver",
  info: "information and graver",
  debug: "everything",
};
const TRACE = /^[0-9a-f]{32}$/;

export class Lines {
  constructor(app) {
    this.app = app;
    this.level = element(
      "select",
      {
        id: "log-level",
        "aria-label": "Least grave lines",
        onchange: () => {
          this.forget();
          app.draw(false);
        },
      },
      Object.entries(NAMES).map(([level, name]) =>
        element("option", { value: level, selected: level === "info" }, name),
      ),
    );
    this.rows = element("ol", {
      class: "log-lines",
      id: "panel-log",
      tabindex: 0,
      "aria-label": "Log, the newest line at the bottom",
    });
    this.said = element("p", { class: "soft", id: "log-said" });
    this.element = element(
      "section",
      { class: "log-section", "aria-label": "Its log" },
      element("div", { class: "row between" }, element("h3", {}, "Its log"), this.level),
      this.rows,
      this.said,
    );
    this.forget();
  }

  /** Begins anew, as for another node. */
  forget() {
    this.abort?.abort();
    Object.assign(this, { abort: null, lines: [], asked: -1, after: 0, moment: null });
    this.rows.replaceChildren();
    say(this.said, "");
  }

  update(app, node) {
    if (this.key !== node.key) {
      this.key = node.key;
      this.forget();
    }
    const file = app.history.file !== null;
    const newest = app.history.live.logs.get(node.key) ?? 0;
    if (!file && this.abort === null && this.asked !== newest) this.load(newest);
    this.show(app.live ? Infinity : file ? -Infinity : app.now);
    say(
      this.said,
      this.wrong ??
        (this.rows.childElementCount > 0
          ? ""
          : file
            ? "A saved file holds no logs."
            : "It has written no such lines."),
    );
  }

  async load(newest) {
    const abort = (this.abort = new AbortController());
    this.asked = newest;
    const query = new URLSearchParams({ node: this.key, level: this.level.value });
    query.set("after", String(this.after));
    try {
      const found = record(await ask(`/logs?${query}`, abort.signal));
      if (abort.signal.aborted) return;
      const fresh = list(found.lines).map(record);
      this.lines = [...this.lines, ...fresh].slice(-LINES_LIMIT);
      this.after = number(found.last, this.after);
      this.wrong = null;
      this.moment = null;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.wrong = error.message;
    }
    this.abort = null;
    this.app.draw(false);
  }

  /** Shows the lines that were written until a moment, and stays at the bottom if it is there. */
  show(moment) {
    if (this.moment === moment) return;
    const many = this.lines.filter((line) => number(line.at) <= moment).length;
    const first = number(this.lines[0]?.number);
    this.moment = moment;
    if (many === this.many && first === this.first && this.rows.childElementCount === many) return;
    const { scrollTop, scrollHeight, clientHeight } = this.rows;
    const bottom =
      this.rows.childElementCount === 0 || scrollTop + clientHeight >= scrollHeight - 24;
    Object.assign(this, { many, first });
    this.arrange(this.lines.slice(0, many));
    if (bottom) this.rows.scrollTop = this.rows.scrollHeight;
  }

  /** Makes the rows those of these lines: old ones go at the top, new ones come at the bottom. */
  arrange(lines) {
    const first = number(lines[0]?.number, Infinity);
    const rows = [...this.rows.children];
    const kept = rows.filter((made) => Number(made.dataset.number) >= first).slice(0, lines.length);
    for (const made of rows) if (!kept.includes(made)) made.remove();
    this.rows.append(...lines.slice(kept.length).map(row));
  }
}

function row(line) {
  const level = LEVELS.includes(line.level) ? line.level : "info";
  const fields = Object.entries(record(line.fields)).map(([name, value]) => field(name, value));
  return element(
    "li",
    { "data-level": level, "data-number": number(line.number) },
    element("time", { class: "numbers soft", title: text(line.target) }, clock(line.at, true)),
    " ",
    element("b", {}, level === "info" ? "" : `${level} `),
    text(line.message),
    " ",
    element("span", { class: "soft" }, fields),
    line.cut === true ? " (cut)" : "",
  );
}

function field(name, value) {
  const told = typeof value === "object" ? JSON.stringify(value) : text(value);
  const linked = name === "trace_id" && TRACE.test(told);
  return element(
    "span",
    {},
    `${name}=`,
    linked ? element("a", { href: `#/traces/${told}` }, told) : told,
    " ",
  );
}
