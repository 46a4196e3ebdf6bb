// Chord: the circle to scale, each node at its place, the interval that it answers for as an arc,
// the fingers of the chosen node as chords, and a lookup's path hop by hop.

import { acts } from "./acts.js";
import { angle, arc, bent, fingers, point, ring, spread } from "./circle.js";
import { Keyed, element, field, lead, page, say, set, svg, unit, unseen, widthOf } from "./dom.js";
import { Feed } from "./feed.js";
import { Flights } from "./flights.js";
import { count, cut, short, some, span, words } from "./format.js";
import { nodesOf } from "./state.js";
import { Token, enter, leave, walk } from "./token.js";
import { clamp, list, number, place, record, text } from "./values.js";

const HOP_MS = 800;

export class ChordView {
  constructor(app) {
    this.app = app;
    this.flights = new Flights();
    this.under = svg("g");
    this.arcs = svg("g", { class: "arcs" });
    this.fingerLayer = svg("g", { class: "fingers" });
    this.pathLayer = svg("g", { class: "lookup" });
    this.tokens = svg("g");
    this.labels = svg("g", { "aria-hidden": "true" });
    this.picture = svg(
      "svg",
      {
        id: "chord-circle",
        class: "picture",
        role: "group",
        "aria-label": "The circle of Chord: arrow keys walk among the nodes",
      },
      this.under,
      this.arcs,
      this.fingerLayer,
      this.pathLayer,
      this.labels,
      this.flights.layer,
      this.tokens,
    );
    this.frame = element("div", { class: "frame" }, this.picture);
    this.keyed = new Keyed(
      this.tokens,
      (_key, { node }) =>
        new Token(node, (key, byKeyboard) => app.choose(key, byKeyboard), {
          radius: this.radius,
          label: false,
        }),
      (token, member) => {
        token.place(member.spot);
        token.update(member.node, app.now, app.chosen === member.node.key);
      },
      leave,
    );
    this.keyedArcs = new Keyed(
      this.arcs,
      () => svg("path", {}, svg("title")),
      (made, item) => this.drawArc(made, item),
    );
    this.keyedLabels = new Keyed(
      this.labels,
      () => {
        const parts = {
          dot: svg("circle", { class: "place-dot", r: 3.5 }),
          stem: svg("line", { class: "stem" }),
          words: svg("text", { class: "token-role", "text-anchor": "middle", dy: "0.35em" }),
        };
        return { node: svg("g", {}, parts.stem, parts.dot, parts.words), ...parts };
      },
      (made, item) => this.drawLabel(made, item),
    );
    walk(this.picture, () => [...this.keyed.made.values()]);
    this.rows = element("tbody", { id: "chord-table" });
    this.keyedRows = new Keyed(this.rows, (key) => row(key, app), drawRow).inOrder();
    this.hops = element("ol", { class: "hops", id: "chord-path" });
    this.feed = new Feed({ heading: "What happens on the ring", most: 8, id: "chord-feed" });
    this.empty = unseen("Chord is", "ensemble up chord");
    this.whole = element(
      "div",
      { class: "stack" },
      element(
        "div",
        { class: "halves" },
        element("div", { class: "stack" }, this.frame, legend()),
        this.side(app),
      ),
      this.feed.element,
    );
    this.element = page(
      "Chord",
      lead(
        "Nodes and keys have places on one circle; ",
        "a key belongs to the first node at or after its place. ",
        "Each node knows its successors, and fingers that reach farther and farther: ",
        "choose a node to see its own.",
      ),
      this.empty,
      this.whole,
    );
  }

  side(app) {
    const key = element("input", {
      id: "chord-key",
      required: true,
      value: "Minsk",
      autocomplete: "off",
      spellcheck: "false",
    });
    const value = element("input", {
      id: "chord-value",
      value: "Belarus",
      autocomplete: "off",
      spellcheck: "false",
    });
    const keyed = () => ({ key: key.value });
    return element(
      "div",
      { class: "stack" },
      acts(app, {
        id: "chord-form",
        heading: "Look up a key",
        why: "The path is drawn on the circle, hop by hop.",
        fields: [field("Key", key), field("Value", value)],
        verbs: [
          ["find", "Find", "/act/chord/find", keyed],
          ["save", "Save", "/act/chord/save", () => ({ ...keyed(), value: value.value })],
          ["remove", "Remove", "/act/chord/remove", keyed],
          ["locate", "Locate", "/act/chord/locate", keyed],
        ],
        told: (answer, _path, sent) => {
          const held =
            answer.value === null || answer.value === undefined
              ? ""
              : `: ${cut(text(answer.value), 300) || "(empty)"}`;
          const by = short(record(answer.by).id, 20);
          const what = `${cut(sent.key, 60)} ${outcome(text(answer.outcome, "done"))}${held}`;
          return `${what}, at node ${by}; its place is ${short(answer.id, 20)}.`;
        },
        done: (answer) => this.look(answer),
      }),
      this.hops,
      element(
        "section",
        { "aria-label": "Nodes of the ring" },
        element("h3", {}, "Nodes"),
        element(
          "div",
          { class: "scroll" },
          element(
            "table",
            { class: "small" },
            element(
              "thead",
              {},
              element(
                "tr",
                {},
                ["Node", "Answers for", "Keys", "Successors", "Predecessor"].map((head) =>
                  element("th", { scope: "col" }, head),
                ),
              ),
            ),
            this.rows,
          ),
        ),
      ),
    );
  }

  lay(circle, width) {
    const size = unit();
    this.side_ = Math.min(width, size * 44);
    this.middle = this.side_ / 2;
    this.radius = size * (circle.members.length > 16 ? 1.1 : 1.35);
    const crowded = circle.members.length > 16;
    const narrow = this.side_ < size * 28;
    const beside = narrow ? 0.9 : 1.5;
    this.rim = Math.max(40, this.middle - size * (crowded ? 6 : narrow ? 7.1 : 7.8));
    const out = this.rim + this.radius + size * (crowded ? 2.6 : 1.1);
    const turns = spread(
      circle.members.map((each) => each.angle),
      (this.radius * 2 + size * 0.5) / out,
    );
    circle.members.forEach((member, at) => {
      member.turn = turns[at];
      member.spot = point(this.middle, out, turns[at]);
      member.dot = point(this.middle, this.rim, member.angle);
      const away = this.radius + size * (1 + beside * Math.abs(Math.sin(turns[at])));
      member.label = point(this.middle, out + away, turns[at]);
    });
    set(this.picture, {
      viewBox: `0 0 ${this.side_} ${this.side_}`,
      width: this.side_,
      height: this.side_,
    });
    const ticks = circle.bits <= 6 ? 2 ** circle.bits : 64;
    const marks = Array.from({ length: ticks }, (_, at) => {
      const turn = (at / ticks) * 2 * Math.PI;
      const [a, b] = [
        point(this.middle, this.rim - 9, turn),
        point(this.middle, this.rim - (at % (ticks / 4) === 0 ? 17 : 13), turn),
      ];
      return svg("line", { class: "tick", x1: a.x, y1: a.y, x2: b.x, y2: b.y });
    });
    const named =
      this.rim > size * 7
        ? [
            ["0", 0],
            ["¼", 0.25],
            ["½", 0.5],
            ["¾", 0.75],
          ].map(([name, part]) => {
            const at = point(this.middle, this.rim - 17 - size * 0.8, part * 2 * Math.PI);
            return say(
              svg("text", {
                class: "log-head",
                x: at.x,
                y: at.y,
                dy: "0.35em",
                "text-anchor": "middle",
              }),
              name,
            );
          })
        : [];
    this.under.replaceChildren(
      svg("circle", { class: "rim", cx: this.middle, cy: this.middle, r: this.rim }),
      ...marks,
      ...named,
      say(
        svg("text", {
          class: "big-under",
          x: this.middle,
          y: this.middle,
          dy: "0.35em",
          "text-anchor": "middle",
        }),
        `2${String(circle.bits).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])} places`,
      ),
    );
  }

  update(app, jumped) {
    const nodes = nodesOf(app.state, "chord").filter((each) => !each.role.includes("registry"));
    this.empty.hidden = nodes.length > 0;
    this.whole.hidden = nodes.length === 0;
    if (nodes.length === 0) return;
    const width = widthOf(this.frame);
    if (width === 0) return;
    if (app.state.nodes !== this.shown || width !== this.width || unit() !== this.size) {
      const circle = ring(nodes);
      const places = circle.members.map((each) => `${each.node.key} ${each.at}`).join();
      const key = `${width} ${unit()} ${circle.bits} ${places}`;
      if (key !== this.laid) {
        this.laid = key;
        const before = this.radius;
        this.lay(circle, width);
        // Tokens are as large as the circle allowed when they were made.
        if (this.radius !== before) this.keyed.reset();
        this.byPlace = new Map(circle.members.map((each) => [each.at, each]));
        this.spots = new Map(circle.members.map((each) => [each.node.key, each]));
        this.placed = false;
      } else {
        for (const each of circle.members) {
          const { turn, spot, dot, label } = this.spots.get(each.node.key);
          Object.assign(each, { turn, spot, dot, label });
        }
        this.spots = new Map(circle.members.map((each) => [each.node.key, each]));
        this.byPlace = new Map(circle.members.map((each) => [each.at, each]));
      }
      Object.assign(this, { circle, shown: app.state.nodes, width, size: unit() });
      this.keyedRows.show(circle.members.map((each) => [each.node.key, { member: each, circle }]));
    }
    if (!this.placed) this.drawPath(false);
    const { members } = this.circle;
    this.keyedArcs.show(
      members
        .filter((each) => each.from !== null)
        .map((each, at) => [
          each.node.key,
          { member: each, at, chosen: app.chosen === each.node.key },
        ]),
    );
    this.keyedLabels.show(members.map((each) => [each.node.key, each]));
    this.keyed.show(members.map((each) => [each.node.key, each]));
    enter(this.keyed.made.values());
    this.drawFingers(members.find((each) => each.node.key === app.chosen));
    if (jumped) this.flights.clear();
    this.react(app.state, jumped);
    const wanted = (_key, system) => system === "chord";
    wanted.id = "chord";
    this.feed.update(app.state, wanted);
  }

  drawArc(made, { member, at, chosen }) {
    const key = `${member.after} ${member.at} ${this.rim} ${chosen} ${at % 2} ${member.node.health}`;
    if (made.key === key) return;
    made.key = key;
    const kind =
      member.node.health === "unreachable"
        ? "arc lost"
        : chosen
          ? "arc chosen"
          : `arc arc-${at % 2}`;
    set(made, { class: kind, d: arc(this.middle, this.rim, member.from, member.angle) });
    say(
      made.firstChild,
      `Node ${member.node.name} answers for the places after ${member.after} up to ${member.at}`,
    );
  }

  drawLabel(made, member) {
    if (made.member === member && made.spot === member.spot) return;
    Object.assign(made, { member, spot: member.spot });
    set(made.dot, { cx: member.dot.x, cy: member.dot.y });
    set(made.stem, { x1: member.dot.x, y1: member.dot.y, x2: member.spot.x, y2: member.spot.y });
    set(made.words, { x: member.label.x, y: member.label.y });
    const phase = text(member.view.phase);
    say(
      made.words,
      this.circle?.members.length > 16
        ? ""
        : member.node.view === null
          ? ""
          : phase !== "" && phase !== "member"
            ? cut(phase, 10)
            : some(member.view.keys, "key"),
    );
  }

  drawFingers(member) {
    if (member?.node === this.fingered && member?.spot === this.fingerSpot) return;
    Object.assign(this, { fingered: member?.node, fingerSpot: member?.spot });
    if (!member) {
      this.fingerLayer.replaceChildren();
      return;
    }
    const line = (to, kind, name) => {
      const made = svg(
        "path",
        { class: kind, d: bent(this.middle, this.rim, member.angle, to) },
        say(svg("title"), name),
      );
      return made;
    };
    const known = fingers(member).map((each) =>
      line(
        angle(each.at, this.circle.bits),
        "finger",
        `finger ${each.first}${each.many > 1 ? `–${each.first + each.many - 1}` : ""}: node ${each.at}`,
      ),
    );
    const next = list(member.view.successors)
      .slice(0, 1)
      .map((each) => place(record(each).id))
      .filter((each) => each !== null)
      .map((each) =>
        line(angle(each, this.circle.bits), "finger successor", `successor: node ${each}`),
      );
    const before = place(record(member.view.predecessor).id);
    const back =
      before === null
        ? []
        : [
            line(
              angle(before, this.circle.bits),
              "finger predecessor",
              `predecessor: node ${before}`,
            ),
          ];
    const lost = list(member.view.lost)
      .map((each) => place(record(each).id))
      .filter((each) => each !== null)
      .map((each) =>
        line(angle(each, this.circle.bits), "finger lost", `thinks that node ${each} is lost`),
      );
    this.fingerLayer.replaceChildren(...known, ...next, ...back, ...lost);
  }

  /** Draws the lookups that users of any page run. */
  react(state, jumped) {
    if (this.acted === state.acts) return;
    const known = new Set(this.acted ?? state.acts);
    this.acted = state.acts;
    const fresh = state.acts.filter((act) => !known.has(act) && act.system === "chord");
    if (!jumped && fresh.length > 0) this.look(fresh.at(-1).answer);
  }

  /** Draws a lookup's path and lets it move. */
  look(answer) {
    const path = list(answer.path).map(record).slice(0, 64);
    const key = JSON.stringify([answer.id, path]);
    // The form's answer and the frame that tells every page of it are the same lookup.
    if (key === this.path && performance.now() - this.lookedAt < 4000) return;
    Object.assign(this, { path: key, lookedAt: performance.now() });
    this.flights.clear();
    this.hops.replaceChildren(
      ...path.map((hop, at) =>
        element(
          "li",
          { "data-hop": at, "data-answered": hop.answered !== false ? "yes" : "no" },
          element("b", {}, short(text(hop.id, "?"), 22)),
          ` ${reason(hop.reason)}`,
          element(
            "span",
            { class: "soft numbers" },
            hop.answered === false
              ? " did not answer"
              : typeof hop.took_us === "number"
                ? ` ${span(hop.took_us)}`
                : "",
          ),
        ),
      ),
    );
    Object.assign(this, { answer, hopsOf: path });
    this.drawPath(true);
  }

  /** Draws the last lookup where the nodes are; `moving` lets it go step by step. */
  drawPath(moving) {
    if (!this.circle) return;
    this.placed = true;
    if (!this.answer) return;
    const { answer, hopsOf: path } = this;
    this.flights.clear();
    const where = path.map((hop) => this.byPlace.get(place(hop.id))?.dot);
    const at = place(answer.id);
    const goal = at === null ? null : point(this.middle, this.rim, angle(at, this.circle.bits));
    const drawn = [];
    for (let step = 1; step < where.length; step += 1) {
      const [from, to] = [where[step - 1], where[step]];
      if (!from || !to || from === to) continue;
      const line = svg("line", {
        class: path[step].answered === false ? "hop hop-lost" : "hop",
        x1: from.x,
        y1: from.y,
        x2: to.x,
        y2: to.y,
        visibility: moving ? "hidden" : "visible",
      });
      drawn.push(line);
      if (!moving) continue;
      this.flights.launch({
        from,
        to,
        kind: "request",
        radius: 7,
        label: String(step),
        after: (step - 1) * HOP_MS,
        lasts: HOP_MS,
        done: () => line.setAttribute("visibility", "visible"),
      });
    }
    if (goal)
      drawn.push(
        svg(
          "g",
          {
            class: "key-place",
            transform: `translate(${goal.x} ${goal.y}) scale(${this.size / 15})`,
          },
          svg("path", { d: "M0-8 8 0 0 8-8 0Z" }),
          say(svg("title"), `the key's place: ${at}`),
        ),
      );
    this.pathLayer.replaceChildren(...drawn);
  }

  close() {
    this.flights.clear();
  }
}

/** What came of a lookup, where one word says too little. */
function outcome(name) {
  const known = { exists: "was there already and is left as it was", missing: "is not there" };
  return Object.hasOwn(known, name) ? known[name] : name;
}

function reason(value) {
  const known = {
    "was asked": "was asked first",
    responsible: "is responsible",
    redirected: "took it over",
  };
  const name = text(value);
  return Object.hasOwn(known, name) ? known[name] : `is ${words(name)} of the one before`;
}

function row(key, app) {
  const parts = {
    button: element("button", {
      class: "link",
      "data-row": key,
      onclick: () => app.choose(key, true),
    }),
    range: element("td", { class: "numbers" }),
    keys: element("td", { class: "numbers" }),
    next: element("td", { class: "numbers" }),
    before: element("td", { class: "numbers" }),
  };
  return {
    node: element(
      "tr",
      {},
      element("td", {}, parts.button),
      parts.range,
      parts.keys,
      parts.next,
      parts.before,
    ),
    ...parts,
  };
}

function drawRow(made, { member }) {
  if (made.member === member.node) return;
  made.member = member.node;
  const { view } = member;
  say(made.button, short(member.node.name, 12));
  set(made.node, { "data-health": member.node.health });
  say(
    made.range,
    member.after === null
      ? "–"
      : `(${short(String(member.after), 9)}, ${short(String(member.at), 9)}]`,
  );
  say(made.keys, count(clamp(number(view.keys), 0, Number.MAX_SAFE_INTEGER)));
  say(
    made.next,
    list(view.successors)
      .slice(0, 4)
      .map((each) => short(record(each).id, 9))
      .join(" ") || "–",
  );
  say(made.before, view.predecessor ? short(record(view.predecessor).id, 9) : "–");
}

function legend() {
  return element(
    "ul",
    { class: "legend", "aria-label": "Legend" },
    element("li", {}, element("i", { class: "swatch line-finger" }), "finger of the chosen node"),
    element("li", {}, element("i", { class: "swatch line-successor" }), "its successor"),
    element("li", {}, element("i", { class: "swatch line-predecessor" }), "its predecessor"),
    element("li", {}, element("i", { class: "swatch line-hop" }), "a lookup's hop"),
    element("li", {}, element("i", { class: "swatch diamond" }), "a key's place"),
  );
}
