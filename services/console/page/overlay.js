// The overlay: the graph of A–F as its nodes tell it, with queues and limits, dead edges, parts
// that are missing, and requests as they move along the edges.

import { acts } from "./acts.js";
import { ask } from "./ask.js";
import {
  Keyed,
  element,
  field,
  iconPath,
  lead,
  page,
  say,
  set,
  svg,
  unit,
  unseen,
  widthOf,
} from "./dom.js";
import { Feed } from "./feed.js";
import { count, cut, span, words } from "./format.js";
import { Flights } from "./flights.js";
import { graph } from "./layout.js";
import { extent, path, tree, visited } from "./spans.js";
import { marks, nodesOf, roleOf, severed } from "./state.js";
import { clamp, list, number, record, text } from "./values.js";
import { enter, leave, walk } from "./token.js";

const HOP_MS = 480;

export class OverlayView {
  constructor(app) {
    this.app = app;
    this.flights = new Flights();
    this.edges = svg("g");
    this.cards = svg("g");
    this.picture = svg(
      "svg",
      {
        id: "overlay-graph",
        class: "picture",
        role: "group",
        "aria-label": "The overlay's graph: arrow keys walk among the processes",
      },
      this.edges,
      this.flights.layer,
      this.cards,
    );
    this.frame = element("div", { class: "frame" }, this.picture);
    this.keyedEdges = new Keyed(
      this.edges,
      (id) => edgeMade(id),
      (made, pair) => this.drawEdge(made, pair),
    );
    this.keyed = new Keyed(
      this.cards,
      (_key, node) => this.card(node),
      (made, node) => this.draw(made, node),
      leave,
    );
    walk(this.picture, () => [...this.keyed.made.values()]);
    this.feed = new Feed({ heading: "What happens in the overlay", most: 8, id: "overlay-feed" });
    this.empty = unseen("The overlay is", "ensemble up");
    this.whole = element(
      "div",
      { class: "columns" },
      element("div", { class: "stack" }, this.frame, legend(), this.feed.element),
      this.form(app),
    );
    this.element = page(
      "Overlay",
      lead(
        "A request enters at A, waits in its queue if it must, fans out to both teams, ",
        "and comes back as one answer that names who did what, and who is missing.",
      ),
      this.empty,
      this.whole,
    );
    this.acted = null;
    this.seen = new Set();
  }

  form(app) {
    const payload = element("textarea", { id: "forward-payload", rows: 3 });
    payload.value = "the quick brown fox";
    const operation = element(
      "select",
      { id: "forward-operation" },
      [
        ["text", "text"],
        ["count", "word count"],
        ["digest", "digest"],
      ].map(([value, label]) => element("option", { value }, label)),
    );
    this.at = element("select", { id: "forward-at" });
    return element(
      "div",
      { class: "side" },
      acts(app, {
        id: "forward-form",
        heading: "Forward a request",
        why: "The payload is split among the workers; watch it move.",
        fields: [
          field("Payload", payload),
          field("Operation", operation),
          field("Enter at", this.at),
        ],
        verbs: [
          [
            "forward",
            "Forward",
            "/act/overlay/forward",
            () => ({
              payload: payload.value,
              operation: operation.value,
              ...(this.at.value ? { at: this.at.value } : {}),
            }),
          ],
        ],
        told,
      }),
    );
  }

  card(node) {
    const size = unit();
    const parts = {
      name: svg("text", { class: "card-name" }),
      role: svg("text", { class: "card-role" }),
      queue: bar("queue"),
      active: bar("active"),
      rect: svg("rect", { class: "card-body", rx: 10 }),
      team: svg("rect", { class: "card-team", rx: 2 }),
      fault: svg("text", { class: "token-fault" }),
      mark: svg("g", { class: "token-mark" }, svg("circle", { r: 10 })),
      title: svg("title"),
    };
    const group = svg(
      "g",
      { class: "card-group" },
      parts.rect,
      parts.team,
      parts.name,
      parts.role,
      parts.queue.node,
      parts.active.node,
      parts.fault,
      parts.mark,
    );
    const made = svg(
      "g",
      { class: "card token", role: "button", tabindex: -1, "data-node": node.key },
      parts.title,
      group,
    );
    made.addEventListener("click", () => this.app.choose(node.key));
    made.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.app.choose(node.key, true);
    });
    return { node: made, size, ...parts };
  }

  draw(made, node) {
    const spot = this.layout.places.get(node.key);
    const { width, height } = this.layout.card;
    const broken = marks(node, this.app.now);
    const marked = broken.map(([, words_]) => words_).join("; ");
    const chosen = this.app.chosen === node.key;
    if (
      made.shown === node &&
      made.spot === spot &&
      made.marked === marked &&
      made.chosen === chosen &&
      made.wide === width
    )
      return;
    Object.assign(made, { shown: node, spot, marked, chosen, wide: width });
    if (!spot) return;
    const view = record(node.view);
    const size = unit();
    const [left, top] = [-width / 2, -height / 2];
    const tight = width < size * 9;
    made.node.style.setProperty("transform", `translate(${spot.x}px, ${spot.y}px)`);
    set(made.rect, { x: left, y: top, width, height });
    set(made.team, { x: left + size * 0.7, y: top + size * 0.8, width: 4, height: size * 2 });
    set(made.name, { x: left + size * 1.4, y: top + size * 1.75 });
    set(made.role, { x: left + size * 1.4, y: top + size * 2.85 });
    say(made.name, cut(node.name, tight ? 5 : 9));
    say(
      made.role,
      cut(
        tight ? words(roleOf(node)) : `${words(roleOf(node))} · ${text(view.team, "no team")}`,
        tight ? 12 : Math.floor(width / (size * 0.5)),
      ),
    );
    fillBar(
      made.queue,
      "queue",
      view.queued,
      view.queue_limit,
      left + size * 0.7,
      top + size * 4.3,
      width - size * 1.4,
      size,
    );
    fillBar(
      made.active,
      "active",
      view.active,
      view.active_limit,
      left + size * 0.7,
      top + size * (number(view.queue_limit) > 0 || number(view.queued) > 0 ? 6 : 4.9),
      width - size * 1.4,
      size,
    );
    set(made.fault, { x: 0, y: -top + size * 1.1, "text-anchor": "middle" });
    say(made.fault, broken.length > 1 ? `${broken.length} faults` : cut(broken[0]?.[1] ?? "", 26));
    set(made.mark, {
      transform: `translate(${-left - size * 0.5} ${top + size * 0.5}) scale(${size / 15})`,
      visibility: broken.length > 0 ? "visible" : "hidden",
    });
    const icons = broken.map(([name]) => name).join();
    if (made.icons !== icons) {
      made.icons = icons;
      made.mark.replaceChildren(
        svg("circle", { r: 10 }),
        ...(broken.length > 0
          ? [svg("g", { transform: "translate(-6.5 -6.5) scale(0.54)" }, iconPath(broken[0][0]))]
          : []),
      );
    }
    const load = `${count(view.queued)} queued, ${count(view.active)} active`;
    const label = `overlay ${node.name}, ${words(roleOf(node))}, ${words(node.health)}, ${load}`;
    set(made.node, {
      "data-health": node.health,
      "data-team": text(view.team),
      "data-chosen": chosen,
      "data-broken": broken.length > 0,
      "aria-label": `${label}${marked ? `, ${marked}` : ""}`,
    });
    say(
      made.title,
      `${node.name}: ${words(node.health)}\n${node.address}${marked ? `\n${marked}` : ""}`,
    );
  }

  drawEdge(made, [one, other]) {
    const [a, b] = [this.layout.places.get(one.key), this.layout.places.get(other.key)];
    if (made.one === one && made.other === other && made.a === a) return;
    Object.assign(made, { one, other, a });
    if (!a || !b) return;
    set(made.line, { x1: a.x, y1: a.y, x2: b.x, y2: b.y });
    const silent = (from, to) =>
      list(record(from.view).neighbours).some(
        (each) => Array.isArray(each) && text(each[0]) === to.name && each[1] === false,
      );
    const dead =
      silent(one, other) ||
      silent(other, one) ||
      one.health === "unreachable" ||
      other.health === "unreachable";
    const broken = severed(one, other);
    set(made.node, { "data-dead": dead && !broken, "data-cut": broken });
    set(made.mark, {
      transform: `translate(${(a.x + b.x) / 2} ${(a.y + b.y) / 2}) scale(${unit() / 15})`,
    });
    const life = dead ? "no signs of life" : "both show signs of life";
    say(made.title, `${one.name} – ${other.name}: ${broken ? "cut by a fault" : life}`);
  }

  update(app, jumped) {
    const nodes = nodesOf(app.state, "overlay");
    this.empty.hidden = nodes.length > 0;
    this.whole.hidden = nodes.length === 0;
    if (nodes.length === 0) return;
    const width = widthOf(this.frame);
    const size = unit();
    const key = `${width} ${size} ${nodes
      .map(
        (each) =>
          each.key +
          roleOf(each) +
          list(record(each.view).neighbours).map((peer) => text(list(peer)[0])),
      )
      .join()}`;
    if (key !== this.laid) {
      this.laid = key;
      this.layout = graph(nodes, width, size);
      set(this.picture, {
        viewBox: `0 0 ${width} ${this.layout.height}`,
        width,
        height: this.layout.height,
      });
      this.at.replaceChildren(
        element("option", { value: "" }, "the leader"),
        ...nodes.map((each) => element("option", { value: each.name }, cut(each.name, 20))),
      );
    }
    const byKey = new Map(nodes.map((each) => [each.key, each]));
    this.keyedEdges.show(
      [...this.layout.edges].map(([id, [one, other]]) => [
        id,
        [byKey.get(one.key) ?? one, byKey.get(other.key) ?? other],
      ]),
    );
    this.keyed.show(nodes.map((each) => [each.key, each]));
    enter(this.keyed.made.values());
    const wanted = (_key, system) => system === "overlay";
    wanted.id = "overlay";
    this.feed.update(app.state, wanted);
    if (jumped) this.flights.clear();
    this.react(app, jumped);
  }

  /** Lets fly what acts and traces show. */
  react({ state, live }, jumped) {
    if (this.acted !== state.acts) {
      const known = new Set(this.acted ?? state.acts);
      this.acted = state.acts;
      for (const act of jumped ? [] : state.acts) {
        if (known.has(act) || act.system !== "overlay") continue;
        if (act.traceId) this.seen.add(act.traceId);
        this.fly(visited(act.answer));
      }
    }
    // The first look is for what there was before: that does not fly.
    const received = number(state.stats?.received);
    if (!live || this.polling || this.received === received) return;
    this.received = received;
    this.poll();
  }

  /** Requests of others are known by their traces: the newest are fetched and flown once. */
  async poll() {
    if (document.hidden) return;
    this.polling = true;
    try {
      const found = list(record(await ask("/traces?service=overlay-leader&limit=3")).traces).map(
        record,
      );
      const fresh = found
        .map((each) => text(each.trace_id))
        .filter((id) => id && !this.seen.has(id));
      for (const id of fresh) this.seen.add(id);
      if (this.seen.size > 500) this.seen = new Set([...this.seen].slice(-100));
      if (this.begun) for (const id of fresh.slice(0, 2)) await this.trace(id);
      this.begun = true;
    } catch {
      // What cannot be fetched does not fly.
    }
    setTimeout(() => {
      this.polling = false;
    }, 1500);
  }

  async trace(id) {
    const spans = tree(record(await ask(`/traces/${encodeURIComponent(id)}`)).spans);
    if (extent(spans).took <= 0) return;
    const name = (key) => (key === null ? null : key.split("/").slice(1).join("/"));
    const depth = new Map();
    this.fly(
      path(spans, this.app.state)
        .filter(([, to]) => to.startsWith("overlay/"))
        .map(([from, to]) => {
          const deep = from !== null && depth.has(from) ? depth.get(from) + 1 : 0;
          depth.set(to, deep);
          return [name(from), name(to), deep];
        }),
    );
  }

  /** Hops [from, to, depth] go down one after another and the answers come back. */
  fly(steps) {
    const spot = (name) => this.layout?.places.get(`overlay/${name}`);
    const deepest = Math.max(0, ...steps.map((step) => step[2]));
    for (const [from, to, depth] of steps) {
      const at = spot(to);
      const start = from === null ? at && { x: at.x, y: 0 } : spot(from);
      this.flights.launch({
        from: start,
        to: at,
        kind: "request",
        after: depth * HOP_MS,
        lasts: HOP_MS,
      });
      this.flights.launch({
        from: at,
        to: start,
        kind: "answer",
        radius: 5,
        after: (2 * deepest + 2 - depth) * HOP_MS,
        lasts: HOP_MS,
      });
    }
  }

  close() {
    this.flights.clear();
  }
}

function told(answer, _path, sent) {
  const missing = list(answer.missing).map(record);
  const visits = list(answer.visits).map(record);
  return [
    element(
      "p",
      {},
      element("b", {}, answer.complete === false ? "Answered, but not whole: " : "Answered: "),
      cut(answer.result, 300) || "(empty)",
      sent.operation === "count" ? " (lines, words, bytes)" : "",
    ),
    missing.length > 0
      ? element(
          "ul",
          { class: "missing" },
          missing.map((each) =>
            element(
              "li",
              {},
              `${text(each.process ?? each.process_id, "?")} is missing: `,
              text(each.reason, "no reason given"),
            ),
          ),
        )
      : null,
    list(answer.detours)
      .map(record)
      .map((each) =>
        element("p", {}, `Team ${text(each.team)} was served through ${text(each.through)}.`),
      ),
    element(
      "table",
      { class: "small" },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          ["Who", "Asked by", "Queued", "Took"].map((head) =>
            element("th", { scope: "col" }, head),
          ),
        ),
      ),
      element(
        "tbody",
        {},
        visits
          .slice(0, 80)
          .map((visit) =>
            element(
              "tr",
              {},
              element("td", {}, text(visit.process ?? visit.process_id, "?")),
              element("td", {}, text(visit.asked_by) || "client"),
              element("td", { class: "numbers" }, span(visit.queued_us)),
              element("td", { class: "numbers" }, span(visit.total_us)),
            ),
          ),
      ),
    ),
  ];
}

function bar(kind) {
  const parts = {
    label: svg("text", { class: "bar-label" }),
    value: svg("text", { class: "bar-value", "text-anchor": "end" }),
    track: svg("rect", { class: "bar-track", rx: 2.5 }),
    fill: svg("rect", { class: "bar-fill", rx: 2.5 }),
  };
  return {
    node: svg(
      "g",
      { class: `bar-of bar-${kind}` },
      parts.label,
      parts.value,
      parts.track,
      parts.fill,
    ),
    ...parts,
  };
}

function fillBar(made, label, value, limit, x, y, width, size) {
  const [is, most] = [number(value), number(limit)];
  const part = most > 0 ? clamp(is / most, 0, 1) : 0;
  set(made.node, {
    visibility: most > 0 || is > 0 ? "visible" : "hidden",
    "data-full": part > 0.8,
  });
  set(made.label, { x, y });
  set(made.value, { x: x + width, y });
  say(made.label, label);
  say(made.value, width < size * 7 ? count(is) : `${count(is)} of ${count(most)}`);
  set(made.track, { x, y: y + size * 0.33, width: Math.max(0, width), height: size * 0.33 });
  set(made.fill, { x, y: y + size * 0.33, width: Math.max(0, width * part), height: size * 0.33 });
}

function edgeMade(id) {
  const parts = {
    line: svg("line"),
    title: svg("title"),
    mark: svg(
      "g",
      { class: "link-mark" },
      svg("circle", { r: 10 }),
      svg("g", { transform: "translate(-6.5 -6.5) scale(0.54)" }, iconPath("cross")),
    ),
  };
  return {
    node: svg("g", { class: "edge", "data-edge": id }, parts.title, parts.line, parts.mark),
    ...parts,
  };
}

function legend() {
  return element(
    "ul",
    { class: "legend", "aria-label": "Legend" },
    element("li", {}, element("i", { class: "swatch", "data-team": "green" }), "team green"),
    element("li", {}, element("i", { class: "swatch", "data-team": "pink" }), "team pink"),
    element("li", {}, element("i", { class: "swatch", "data-flight": "request" }), "a request"),
    element("li", {}, element("i", { class: "swatch", "data-flight": "answer" }), "its answer"),
    element("li", {}, element("i", { class: "swatch dashed" }), "no signs of life"),
  );
}
