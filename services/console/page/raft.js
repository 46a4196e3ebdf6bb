// Raft: nodes around a ring with term, role and vote; their logs as blocks; votes and entries that
// fly when the views say so; the history of terms; and the store's put, get and delete.

import { acts } from "./acts.js";
import { Keyed, element, field, lead, page, say, set, svg, unit, unseen, widthOf } from "./dom.js";
import { Feed } from "./feed.js";
import { Flights, edge } from "./flights.js";
import { age, count, cut, some, words } from "./format.js";
import { Links } from "./links.js";
import { Log, logLegend } from "./log.js";
import { links, nodesOf } from "./state.js";
import { Strip } from "./strip.js";
import { leaderOf, moves, stands, viewOf, votersOf } from "./terms.js";
import { Timers } from "./timers.js";
import { Token, enter, leave, walk } from "./token.js";
import { clamp, record, text } from "./values.js";

/** A silence of so many ms closes the arc around a node. */
const SILENCE_MS = 1000;
/** When each kind of thing flies in an election that is over between two looks, and how long. */
const FLIGHTS = { ask: [0, 420], vote: [340, 520], entry: [0, 480] };
const ELECTION_MS = 760;

export class RaftView {
  constructor(app) {
    this.flights = new Flights();
    this.links = new Links();
    this.tokens = svg("g");
    this.arcs = svg("g", { class: "silences", "aria-hidden": "true" });
    this.timers = new Timers();
    this.term = svg("text", { class: "big", "text-anchor": "middle" });
    this.under = svg("text", { class: "big-under", "text-anchor": "middle" });
    this.picture = svg(
      "svg",
      {
        id: "raft-ring",
        class: "picture",
        role: "group",
        "aria-label": "Raft's nodes: arrow keys walk among them",
      },
      this.links.layer,
      this.term,
      this.under,
      this.arcs,
      this.timers.layer,
      this.flights.layer,
      this.tokens,
    );
    this.frame = element("div", { class: "frame" }, this.picture);
    this.keyed = new Keyed(
      this.tokens,
      (_key, node) =>
        new Token(node, (key, byKeyboard) => app.choose(key, byKeyboard), {
          radius: unit() * (this.many > 12 ? 1.2 : 1.8),
          detail: this.many <= 12,
          gap: 0.55,
        }),
      (token, node) => {
        token.place(this.places.get(node.key));
        const view = viewOf(node);
        const was = node.health === "unreachable" ? "was " : "";
        token.update(node, app.now, app.chosen === node.key, {
          role: this.many > 12 ? "" : was + words(view.role),
          detail: view.seen ? `t${view.term}${ballot(view)}` : "",
        });
      },
      leave,
    );
    this.keyedArcs = new Keyed(
      this.arcs,
      () => svg("circle", { fill: "none", pathLength: 100 }),
      (made, item) => arc(made, item),
    );
    walk(this.picture, () => [...this.keyed.made.values()]);
    this.log = new Log(app);
    this.strip = new Strip(app);
    this.facts = element("p", { class: "soft numbers", id: "raft-facts" });
    this.feed = new Feed({ heading: "What happens in Raft", most: 8, id: "raft-feed" });
    this.empty = unseen("Raft is", "ensemble up raft");
    this.whole = element(
      "div",
      { class: "stack" },
      element(
        "div",
        { class: "halves" },
        element("div", { class: "stack" }, this.frame, ringLegend()),
        element(
          "section",
          { class: "stack", "aria-label": "Logs" },
          element("h3", {}, "Logs, aligned by index"),
          this.log.element,
          logLegend(),
          this.facts,
          this.form(app),
        ),
      ),
      this.strip.element,
      this.feed.element,
    );
    this.element = page(
      "Raft",
      lead(
        "One node leads in a term. It sends its log to the others; ",
        "what a majority has is committed and never changes. ",
        "When the leader falls silent, another asks for votes in a higher term.",
      ),
      this.empty,
      this.whole,
    );
    this.before = new Map();
  }

  form(app) {
    const key = element("input", {
      id: "put-key",
      required: true,
      value: "greeting",
      autocomplete: "off",
      spellcheck: "false",
    });
    const value = element("input", {
      id: "put-value",
      value: "hello",
      autocomplete: "off",
      spellcheck: "false",
    });
    return acts(app, {
      id: "raft-form",
      heading: "Use the store",
      why: "A put is done when a majority of logs hold it: watch the entry fly.",
      fields: [field("Key", key), field("Value", value)],
      verbs: [
        ["put", "Put", "/act/raft/put", () => ({ key: key.value, value: value.value })],
        ["get", "Get", "/act/raft/get", () => ({ key: key.value })],
        ["delete", "Delete", "/act/raft/delete", () => ({ key: key.value })],
      ],
      told: (answer, path, sent) => {
        const verb = path.split("/").at(-1);
        const name = cut(sent.key, 400);
        const held = record(answer.item).value ?? null;
        const before = text(answer.previous);
        if (verb === "get" ? held === null : verb === "delete" && before === "")
          return `${name} ${verb === "get" ? "holds" : "held"} nothing.`;
        if (verb === "get") return `${name} is ${cut(text(held), 400) || "(empty)"}`;
        return `${verb === "put" ? "Put" : "Deleted"}: version ${text(answer.version, "?")}, ${
          before === "" ? "there was none before" : `after ${before}`
        }.`;
      },
    });
  }

  lay(nodes, width, size) {
    this.many = nodes.length;
    const side = Math.min(width + size * 2, size * (nodes.length > 12 ? 44 : 34));
    const radius = Math.min(
      side / 2 - size * (nodes.length > 12 ? 2.5 : 4.9),
      width / 2 - size * 3.6,
    );
    const middle = { x: width / 2, y: side / 2 - size * 0.6 };
    this.middle = middle;
    this.places = new Map(
      nodes.map((node, at) => {
        const turn = (at / nodes.length) * 2 * Math.PI;
        const many = nodes.length > 1 ? radius : 0;
        return [
          node.key,
          { x: middle.x + Math.sin(turn) * many, y: middle.y - Math.cos(turn) * many },
        ];
      }),
    );
    set(this.picture, { viewBox: `0 0 ${width} ${side}`, width, height: side });
    set(this.picture, { "data-tight": width < size * 28 });
    set(this.term, { x: middle.x, y: middle.y + size * 0.2 });
    set(this.under, { x: middle.x, y: middle.y + size * 2.1 });
  }

  update(app, jumped) {
    const nodes = nodesOf(app.state, "raft");
    // Even if it cannot be drawn yet: nothing flies from another time to this one.
    if (jumped) {
      this.flights.clear();
      this.before.clear();
    }
    this.empty.hidden = nodes.length > 0;
    this.whole.hidden = nodes.length === 0;
    if (nodes.length === 0) return;
    const width = widthOf(this.frame);
    if (width === 0) return;
    const size = unit();
    const key = `${width} ${size} ${nodes.map((each) => each.key).join()}`;
    if (key !== this.laid) {
      this.laid = key;
      const [before, was] = [this.size, this.many > 12];
      this.size = size;
      this.lay(nodes, width, size);
      if (before !== size || was !== this.many > 12) this.keyed.reset();
      this.drawn = null;
    }
    const leader = leaderOf(nodes);
    const term = Math.max(...nodes.map((each) => viewOf(each).term));
    say(this.term, `term ${cut(String(term), 9)}`);
    say(this.under, leader ? `${cut(leader.name, 12)} leads` : "nobody leads");
    set(this.under, { "data-none": leader === null });
    if (this.drawn !== app.state.nodes || this.chosen !== app.chosen) {
      Object.assign(this, { drawn: app.state.nodes, chosen: app.chosen });
      const own = [...links(app.state)].filter(([, [one]]) => one.system === "raft");
      this.links.show(new Map(own), this.places, app.chosen);
      this.keyedArcs.show(silences(nodes, leader, this.places, size, this.many));
    }
    const radius = size * (this.many > 12 ? 1.2 : 1.8) + size * 0.62;
    this.timers.show(
      app,
      nodes.map((node) => [node.key, { node, spot: this.places.get(node.key), radius }]),
    );
    this.keyed.show(nodes.map((each) => [each.key, each]));
    enter(this.keyed.made.values());
    this.move(nodes, size);
    this.log.update(nodes, leader);
    this.strip.update(app);
    const view = leader ? viewOf(leader) : null;
    say(
      this.facts,
      view
        ? `Committed ${count(view.commit)} of ${count(view.last)} entries, applied ` +
            `${count(view.applied)}; ${some(view.keys, "key")} in the store.`
        : "While nobody leads nothing can be committed.",
    );
    const wanted = (_key, system) => system === "raft";
    wanted.id = "raft";
    this.feed.update(app.state, wanted);
  }

  move(nodes, size) {
    if (this.before.size > 0) {
      const moved = moves(this.before, nodes);
      // First the questions, then the votes, then the entries of who was elected by them.
      const asked = moved.some(([kind]) => kind === "ask");
      for (const [kind, from, to, label] of moved) {
        const [a, b] = [this.places.get(from), this.places.get(to)];
        if (!a || !b) continue;
        const rim = size * (this.many > 12 ? 1.2 : 1.8);
        const [later, lasts] = FLIGHTS[kind];
        const after = !asked ? 0 : kind === "entry" ? ELECTION_MS : later;
        this.flights.launch({
          from: edge(a, b, rim),
          to: edge(b, a, rim),
          kind,
          after,
          lasts,
          label: this.many > 12 ? "" : label,
        });
      }
    }
    this.before = new Map(nodes.map((each) => [each.key, each]));
  }

  close() {
    this.flights.clear();
  }
}

/** For whom a node has voted, or how many would elect it. */
function ballot(view) {
  if (stands(view)) return ` · ${view.votes.length} of ${votersOf(view).length} votes`;
  return view.vote ? ` · voted ${view.vote === view.id ? "itself" : view.vote}` : "";
}

/** What arcs and things that fly mean. */
function ringLegend() {
  const item = (words, attributes) =>
    element("li", {}, element("i", { class: "swatch", ...attributes }), words);
  return element(
    "ul",
    { class: "legend", "aria-label": "Legend of the ring" },
    item("election timer: whole while heartbeats come", { "data-timer": "calm" }),
    item("running down", { "data-timer": "runs" }),
    item("the leader does not hear it", { "data-timer": "silent" }),
    item("asks for votes", { "data-flight": "ask" }),
    item("vote", { "data-flight": "vote" }),
    item("entry", { "data-flight": "entry" }),
  );
}

/** How long the leader has not heard each follower, as an arc that closes at one second. */
function silences(nodes, leader, places, size, many) {
  if (!leader) return [];
  const byId = new Map(nodes.map((each) => [viewOf(each).id, each]));
  return viewOf(leader)
    .members.map((member) => [byId.get(text(member.id)), member.silent_ms])
    .filter(([node, silent]) => node && node !== leader && typeof silent === "number")
    .map(([node, silent]) => [
      node.key,
      { spot: places.get(node.key), silent, radius: size * (many > 12 ? 1.2 : 1.8) + size * 0.95 },
    ]);
}

function arc(made, { spot, silent, radius }) {
  if (!spot) return;
  const part = clamp((silent / SILENCE_MS) * 100, 0, 100);
  set(made, {
    cx: spot.x,
    cy: spot.y,
    r: radius,
    "stroke-dasharray": `${part.toFixed(0)} 100`,
    transform: `rotate(-90 ${spot.x} ${spot.y})`,
    "data-long": part >= 100,
    "data-silent": age(silent, 1),
  });
}
