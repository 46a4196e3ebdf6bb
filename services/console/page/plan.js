// The floor plan: hosts as rooms, systems as groups in them, every node with its health and role,
// the links between peers, and what just happened.

import { Keyed, element, page, say, set, svg, unit, widthOf } from "./dom.js";
import { Feed } from "./feed.js";
import { cut, title } from "./format.js";
import { plan } from "./layout.js";
import { Links } from "./links.js";
import { links } from "./state.js";
import { Token, enter, leave, walk } from "./token.js";

/** What a system is, for who meets it for the first time. */
const ABOUT = {
  overlay: "work fans out to two teams",
  raft: "one store, kept by all",
  chord: "keys spread over a ring",
};

const known = (system) => (Object.hasOwn(ABOUT, system) ? ABOUT[system] : "");

/** The picture alone; the traces' view uses it too. */
export class PlanPicture {
  constructor(app, id = "plan") {
    this.rooms = svg("g");
    this.links = new Links();
    this.tokens = svg("g");
    this.over = svg("g");
    this.picture = svg(
      "svg",
      {
        id,
        class: "picture",
        role: "group",
        "aria-label": "Floor plan: arrow keys walk among the nodes",
      },
      this.rooms,
      this.links.layer,
      this.over,
      this.tokens,
    );
    this.element = element("div", { class: "frame" }, this.picture);
    this.keyedRooms = new Keyed(
      this.rooms,
      (key) => box(key),
      (made, item) => place(made, item),
    );
    this.keyed = new Keyed(
      this.tokens,
      (_key, node) =>
        new Token(node, (key, byKeyboard) => app.choose(key, byKeyboard), { radius: unit() * 1.5 }),
      (token, node) => {
        token.place(this.layout.places.get(node.key));
        token.update(node, app.now, app.chosen === node.key);
      },
      leave,
    );
    walk(this.picture, () => [...this.keyed.made.values()]);
  }

  update(app) {
    const { state } = app;
    const width = widthOf(this.element);
    if (width === 0) return;
    const size = unit();
    const key = `${width} ${size} ${[...state.nodes.values()]
      .map((each) => `${each.key}@${each.host}`)
      .sort()
      .join()}`;
    if (key !== this.laid) {
      this.laid = key;
      this.layout = plan(state, width, size);
      // Tokens are as large as the text was when they were made.
      if (this.size !== size) this.keyed.reset();
      this.size = size;
      const { height, rooms } = this.layout;
      set(this.picture, { viewBox: `0 0 ${width} ${height}`, width, height });
      this.keyedRooms.show(
        rooms.flatMap((room) => [
          [`room ${room.host}`, { box: room, label: room.host, kind: "room", size }],
          ...room.groups.map((group) => [
            `group ${room.host} ${group.system}`,
            {
              box: { ...group, x: room.x + group.x, y: room.y + group.y },
              label: title(group.system),
              kind: "group",
              size,
              about: known(group.system),
            },
          ]),
        ]),
      );
      this.drawn = null;
    }
    if (this.drawn !== state.nodes || this.chosen !== app.chosen) {
      Object.assign(this, { drawn: state.nodes, chosen: app.chosen });
      this.links.show(links(state), this.layout.places, app.chosen);
    }
    this.keyed.show(state.nodes);
    enter(this.keyed.made.values());
  }
}

function box(key) {
  const made = { rect: svg("rect"), label: svg("text") };
  return { node: svg("g", { "data-box": key }, made.rect, made.label), ...made };
}

function place(made, { box: at, label, kind, size, about = "" }) {
  set(made.node, { class: kind });
  set(made.rect, {
    x: at.x,
    y: at.y,
    width: at.width,
    height: at.height,
    rx: kind === "room" ? 14 : 10,
  });
  set(made.label, { x: at.x + size, y: at.y + size * (kind === "room" ? 1.9 : 1.7) });
  const fit = Math.max(6, Math.floor((at.width - size * 2) / (size * 0.52)));
  const whole = `${label} · ${about}`;
  say(made.label, cut(about !== "" && whole.length <= fit ? whole : label, fit));
}

const LEGEND = [
  ["serving", "serving"],
  ["not_serving", "alive, not serving"],
  ["unreachable", "unreachable"],
];

/** What colours and marks mean. */
export function legend() {
  return element(
    "ul",
    { class: "legend", "aria-label": "Legend" },
    LEGEND.map(([health, words]) =>
      element("li", {}, element("i", { class: "swatch", "data-health": health }), words),
    ),
    element("li", {}, element("i", { class: "swatch", "data-leads": true }), "leads"),
    element("li", {}, element("i", { class: "swatch", "data-broken": true }), "broken on purpose"),
  );
}

export class PlanView {
  constructor(app) {
    this.plan = new PlanPicture(app);
    this.feed = new Feed({
      most: 14,
      empty: "Elections, crashes and what users do are told here as they happen.",
    });
    this.summary = element("p", { class: "lead", id: "plan-summary" });
    this.empty = element(
      "div",
      { class: "empty", id: "plan-empty" },
      element("h2", {}, "No nodes are seen yet"),
      element("p", {}, "Start a system in a terminal and it appears here by itself:"),
      element("pre", {}, "ensemble up"),
      element(
        "p",
        { class: "soft" },
        "For the others: ",
        element("code", {}, "ensemble up raft"),
        ", ",
        element("code", {}, "ensemble up chord"),
        ", or several together: ",
        element("code", {}, "ensemble up overlay raft chord"),
        ".",
      ),
    );
    this.whole = element("div", { class: "stack" }, this.plan.element, legend(), this.feed.element);
    this.element = page("Floor plan", this.summary, this.empty, this.whole);
  }

  update(app) {
    const nodes = [...app.state.nodes.values()];
    this.empty.hidden = nodes.length > 0 || app.state.at === 0;
    this.whole.hidden = nodes.length === 0;
    const serving = nodes.filter((each) => each.health === "serving").length;
    const hosts = new Set(nodes.map((each) => each.host)).size;
    const broken = nodes.filter((each) => Object.keys(each.faults).length > 0).length;
    const breakable = nodes.some((each) => each.faultsOn);
    say(
      this.summary,
      app.state.at === 0
        ? "Waiting for the console…"
        : nodes.length === 0
          ? ""
          : `${nodes.length} nodes on ${hosts} ${hosts === 1 ? "host" : "hosts"}, ` +
            (serving === nodes.length ? "all serving" : `${serving} serving`) +
            `${broken > 0 ? `, ${broken} broken on purpose` : ""}. ` +
            `Choose a node to see what it says of itself${breakable ? ", or to break it" : ""}.`,
    );
    if (nodes.length > 0) this.plan.update(app);
    this.feed.update(app.state);
  }
}
