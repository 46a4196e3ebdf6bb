// One trace as a waterfall: the tree of its spans over time, what each says of itself, and its path
// over the floor plan.

import { ask } from "./ask.js";
import { element, say, svg } from "./dom.js";
import { Flights } from "./flights.js";
import { clock, count, cut, some, span as length, words } from "./format.js";
import { PlanPicture } from "./plan.js";
import { extent, nodeOf, path, tree } from "./spans.js";
import { list, record, text } from "./values.js";

const COLOURS = 8;
const ROWS = 400;
const FRESH_MS = 10_000;
const QUIET = 9;
const KNOWN = [
  "overlay-leader",
  "overlay-team-leader",
  "overlay-worker",
  "raft-node",
  "chord-node",
  "chord-registry",
];

/** The number of a service's colour: the known ones have their own, others by their name. */
export function colour(service) {
  const known = KNOWN.indexOf(service);
  if (known >= 0) return known;
  let sum = 0;
  for (const letter of text(service)) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  return sum % COLOURS;
}

export class Waterfall {
  constructor(app) {
    this.app = app;
    this.plan = new PlanPicture(app, "trace-plan");
    this.flights = new Flights();
    this.lines = svg("g", { class: "trace-path" });
    this.plan.over.append(this.lines, this.flights.layer);
    this.heading = element("h1", { id: "trace-title", tabindex: "-1" }, "Trace");
    this.lead = element("p", { class: "lead numbers", id: "trace-lead" });
    this.export = element(
      "a",
      { id: "trace-export", class: "button", download: "trace.otlp.json" },
      "Export as OTLP JSON",
    );
    this.services = element("ul", { class: "legend", "aria-label": "Services" });
    this.axis = element("div", { class: "axis numbers soft", "aria-hidden": "true" });
    this.rows = element("ol", { class: "waterfall", id: "waterfall" });
    this.detail = element(
      "section",
      { class: "span-detail", id: "span-detail", "aria-label": "The chosen span" },
      element("p", { class: "soft" }, "Choose a span to see its attributes."),
    );
    this.wrong = element("p", { class: "error", role: "alert" });
    this.again = element(
      "button",
      { class: "quiet", id: "trace-play", onclick: () => this.fly() },
      "Play its path",
    );
    this.element = element(
      "div",
      { class: "stack", hidden: true },
      element("p", {}, element("a", { href: "#/traces" }, "← All traces")),
      this.heading,
      this.lead,
      this.wrong,
      element(
        "div",
        { class: "row between" },
        this.services,
        element("div", { class: "row" }, this.again, this.export),
      ),
      element(
        "div",
        { class: "waterfall-columns" },
        element("div", { class: "scroll" }, this.axis, this.rows),
        this.detail,
      ),
      element("h3", {}, "Its path on the floor plan"),
      this.plan.element,
    );
    this.rows.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const all = [...this.rows.querySelectorAll("button")];
      all[all.indexOf(document.activeElement) + step]?.focus();
    });
  }

  async open(id) {
    this.close();
    this.element.hidden = false;
    this.id = id;
    const opened = (this.opened = Symbol(id));
    say(this.wrong, "");
    say(this.heading, "Trace");
    say(this.lead, "Waiting for its spans…");
    this.export.setAttribute("href", `/traces/${encodeURIComponent(id)}/otlp`);
    // Spans are sent in batches: those of a request just made come some seconds after its answer.
    // Nobody says how many there are: the trace is whole when nothing has come for a while.
    let quiet = 0;
    for (let attempt = 0; attempt < 20 && this.opened === opened; attempt += 1) {
      try {
        const answer = await ask(`/traces/${encodeURIComponent(id)}`);
        if (this.opened !== opened) return;
        if (answer === null && attempt >= 12) {
          say(this.lead, "None of its spans has come, or they made room for later ones.");
          return;
        }
        const trace = record(answer);
        const many = list(trace.spans).length;
        quiet = many === this.many ? quiet + 1 : 0;
        if (answer !== null && many !== this.many) {
          this.many = many;
          this.show(trace);
        }
        say(this.wrong, "");
        const whole = answer !== null && trace.complete !== false;
        if (whole && (quiet >= QUIET || !this.isFresh())) return;
      } catch (error) {
        if (this.opened !== opened) return;
        say(this.lead, "");
        say(this.wrong, error.message);
        return;
      }
      await new Promise((done) => {
        setTimeout(done, 700);
      });
    }
  }

  /** Whether it has ended so lately that some of its spans may still be on their way. */
  isFresh() {
    const { from, took } = extent(this.spans);
    return Math.abs(Date.now() - (from + took / 1000)) < FRESH_MS;
  }

  show(trace) {
    this.spans = tree(trace.spans);
    const whole = extent(this.spans);
    const root = this.spans[0];
    const errors = this.spans.filter((each) => each.error !== null).length;
    say(this.heading, root ? cut(root.name.split("/").at(-1) || root.name, 80) : "An empty trace");
    say(
      this.lead,
      [
        length(whole.took),
        some(this.spans.length, "span"),
        root && clock(root.start, true),
        errors > 0 && `${errors} with errors`,
        trace.complete === false && "incomplete: some spans have not come or were dropped",
        cut(this.id, 40),
      ]
        .filter(Boolean)
        .join(" · "),
    );
    const services = [...new Set(this.spans.map((each) => each.service))];
    this.services.replaceChildren(
      ...services
        .slice(0, 12)
        .map((each) =>
          element(
            "li",
            {},
            element("i", { class: `service service-${colour(each)}` }),
            cut(each, 40),
          ),
        ),
    );
    this.axis.replaceChildren(
      ...[0, 0.25, 0.5, 0.75, 1].map((part) => {
        const tick = element("span", {}, length(whole.took * part));
        tick.style.left = `${part * 100}%`;
        return tick;
      }),
    );
    this.rows.replaceChildren(...this.spans.slice(0, ROWS).map((each) => this.row(each, whole)));
    if (this.spans.length > ROWS)
      this.rows.append(
        element(
          "li",
          { class: "soft" },
          `${count(this.spans.length - ROWS)} more spans are in the export.`,
        ),
      );
    this.pathed = null;
    this.update(this.app);
    this.fly();
  }

  row(each, whole) {
    const bar = element("i", { class: `bar service-${colour(each.service)}` });
    const begin = ((each.start - whole.from) * 1000) / whole.took;
    const part = each.took / whole.took;
    bar.style.left = `${begin * 100}%`;
    bar.style.width = `${Math.max(0.2, part * 100)}%`;
    const took = element("span", { class: "bar-time numbers" }, length(each.took));
    if (begin + part < 0.82) took.style.left = `calc(${(begin + part) * 100}% + 6px)`;
    else if (begin > 0.18) took.style.right = `calc(${(1 - begin) * 100}% + 6px)`;
    else {
      took.style.right = `calc(${(1 - begin - part) * 100}% + 6px)`;
      took.classList.add("inside");
    }
    const name = element(
      "span",
      { class: "span-name" },
      element("i", { class: `service service-${colour(each.service)}` }),
      element("b", {}, each.node === null ? each.service : each.node),
      ` ${each.name.split("/").at(-1) || each.name}`,
      each.orphan ? element("span", { class: "tag" }, "parent not kept") : null,
      each.error === null ? null : element("span", { class: "tag bad" }, "error"),
    );
    name.style.paddingInlineStart = `${Math.min(each.depth, 14) * 0.9}rem`;
    const who = `${each.service} ${each.node ?? ""} ${each.name}`;
    const button = element(
      "button",
      {
        class: "span-row",
        "data-span": each.id,
        "aria-pressed": "false",
        "aria-label": `${who}, ${length(each.took)}${each.error === null ? "" : ", error"}`,
        onclick: () => this.tell(each, button),
      },
      name,
      element("span", { class: "lane" }, bar, took),
    );
    if (each.error !== null) button.dataset.error = "";
    return element("li", {}, button);
  }

  tell(each, button) {
    for (const one of this.rows.querySelectorAll('[aria-pressed="true"]'))
      one.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", "true");
    const key = nodeOf(each, this.app.state);
    const pair = (name, value) =>
      element("div", { class: "leaf" }, element("dt", {}, name), element("dd", {}, value));
    this.detail.replaceChildren(
      element("h3", {}, cut(each.name, 120)),
      each.error === null ? "" : element("p", { class: "error" }, each.error),
      element(
        "div",
        { class: "tree" },
        element(
          "dl",
          {},
          pair("service", each.service),
          pair("node", each.node ?? "not told"),
          pair("kind", words(each.kind) || "not told"),
          pair("start", clock(each.start, true)),
          pair("took", length(each.took)),
          pair("span", each.id),
          Object.entries(each.attributes)
            .slice(0, 60)
            .map(([name, value]) => pair(name, text(value, JSON.stringify(value) ?? ""))),
        ),
      ),
      each.events.length === 0 ? "" : element("h3", {}, "Events"),
      element(
        "ol",
        { class: "feed" },
        each.events
          .slice(0, 60)
          .map((event) =>
            element(
              "li",
              {},
              element("time", { class: "numbers soft" }, clock(event.at, true)),
              element("span", {}, text(event.name, "?")),
            ),
          ),
      ),
      key === null
        ? ""
        : element(
            "button",
            { id: "span-node", onclick: () => this.app.choose(key, true) },
            `Open ${key}`,
          ),
    );
  }

  update(app) {
    if (this.element.hidden || !this.spans) return;
    this.plan.update(app);
    const { layout } = this.plan;
    if (!layout || this.pathed === layout) return;
    this.pathed = layout;
    this.lines.replaceChildren(
      ...this.steps().map(([from, to]) =>
        svg("line", { x1: from.x, y1: from.y, x2: to.x, y2: to.y }),
      ),
    );
  }

  /** The steps of the path as points. */
  steps() {
    const places = this.plan.layout?.places;
    if (!places) return [];
    return path(this.spans, this.app.state)
      .slice(0, 120)
      .map(([from, to, at, depth]) => [places.get(from), places.get(to), at, depth])
      .filter(([from, to]) => from && to);
  }

  fly() {
    this.flights.clear();
    if (!this.spans) return;
    this.steps().forEach(([from, to, , depth], index) => {
      this.flights.launch({
        from,
        to,
        kind: "request",
        after: Math.max(0, depth) * 420 + (index % 3) * 40,
        lasts: 520,
      });
    });
  }

  close() {
    this.opened = null;
    this.many = -1;
    this.spans = null;
    this.pathed = null;
    this.element.hidden = true;
    this.flights.clear();
    for (const each of [this.lines, this.services, this.axis, this.rows]) each.replaceChildren();
    this.detail.replaceChildren(
      element("p", { class: "soft" }, "Choose a span to see its attributes."),
    );
  }
}
