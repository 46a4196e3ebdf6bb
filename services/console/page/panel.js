// The panel of the chosen node: its health, address and traffic, what it says of itself, what
// happened to it, its log and its traces, and how to break it.

import { Breaks } from "./breaks.js";
import { element, icon, say, set } from "./dom.js";
import { Feed } from "./feed.js";
import { age, count, cut, title, words } from "./format.js";
import { Lines } from "./lines.js";
import { roleOf } from "./state.js";
import { Tree } from "./tree.js";
import { byName, number } from "./values.js";

const PEERS_LIMIT = 12;

const HEALTH = {
  serving: "Serving",
  not_serving: "Alive, but not serving",
  unreachable: "Unreachable",
  unknown: "Unknown",
};

export class Panel {
  constructor(root, app) {
    this.root = root;
    this.heading = element("h2", { id: "panel-title", tabindex: "-1" });
    this.role = element("p", { class: "soft" });
    this.health = element("span", { class: "health", id: "panel-health" });
    this.since = element("span", { class: "soft" });
    this.address = element("code", { id: "panel-address" });
    this.started = element("span");
    this.traces = element("a", { id: "panel-traces", href: "#/traces" }, "Its traces");
    this.breaks = new Breaks(app);
    this.tree = new Tree();
    this.traffic = element("span", { class: "numbers", id: "panel-traffic" });
    this.feed = new Feed({
      heading: "Its recent events",
      most: 8,
      id: "panel-events",
      empty: "None were told yet.",
      newestLast: true,
    });
    this.lines = new Lines(app);
    this.body = element(
      "div",
      { class: "panel-body stack" },
      element(
        "dl",
        { class: "facts" },
        element(
          "div",
          {},
          element("dt", {}, "Health"),
          element("dd", {}, this.health, " ", this.since),
        ),
        element("div", {}, element("dt", {}, "Address"), element("dd", {}, this.address)),
        element("div", {}, element("dt", {}, "Process"), element("dd", {}, this.started)),
        element("div", {}, element("dt", {}, "Sends"), element("dd", {}, this.traffic)),
      ),
      element("p", {}, this.traces),
      this.breaks.element,
      element(
        "section",
        { "aria-label": "What it says of itself" },
        element("h3", {}, "What it says of itself"),
        this.tree.element,
      ),
      this.feed.element,
      this.lines.element,
    );
    root.append(
      element(
        "div",
        { class: "panel-head" },
        element("div", {}, this.heading, this.role),
        element(
          "button",
          {
            class: "quiet",
            id: "panel-close",
            "aria-label": "Close the panel",
            title: "Close (Escape)",
            onclick: () => app.choose(null),
          },
          icon("close", "1.25em"),
        ),
      ),
      this.body,
    );
  }

  open(app, byKeyboard) {
    this.root.hidden = false;
    document.body.dataset.panel = "open";
    this.drawn = 0;
    this.root.scrollTop = 0;
    this.update(app);
    if (byKeyboard) this.heading.focus();
  }

  close() {
    this.root.hidden = true;
    delete document.body.dataset.panel;
  }

  update(app) {
    if (this.root.hidden) return;
    const node = app.state.nodes.get(app.chosen);
    const now = app.now;
    set(this.root, { "data-panel-node": app.chosen });
    if (!node) {
      say(this.heading, app.chosen);
      say(this.role, "Not there at this moment");
      this.body.hidden = true;
      return;
    }
    this.body.hidden = false;
    say(this.heading, `${title(node.system)} ${node.name}`);
    say(this.role, `${words(roleOf(node))} · ${node.role} on ${node.host}`);
    say(this.health, HEALTH[node.health]);
    set(this.health, { "data-health": node.health });
    say(this.since, node.since > 0 ? `for ${age(now - node.since)}` : "");
    say(this.address, node.address || "unknown");
    say(
      this.started,
      node.started === null ? "start unknown" : `running for ${age(now - node.started)}`,
    );
    say(this.traffic, sends(node.traffic));
    const query = new URLSearchParams({ service: node.role, node: node.name });
    set(this.traces, { href: `#/traces/?${query}` });
    this.breaks.update(app, node, now);
    // Four times a second is as fast as anybody reads.
    if (performance.now() - this.drawn > 250) {
      this.drawn = performance.now();
      this.tree.update(node.view ?? { view: "none was read yet" });
    }
    const key = node.key;
    const wanted = (from) => from === key;
    wanted.id = key;
    this.feed.update(app.state, wanted);
    this.lines.update(app, node);
  }
}

/** To whom a node sends how much. */
function sends(traffic) {
  const peers = Object.entries(traffic)
    .filter(([, rate]) => number(rate) > 0)
    .sort(([a], [b]) => byName(a, b));
  if (peers.length === 0) return "no messages to peers";
  const told = peers
    .slice(0, PEERS_LIMIT)
    .map(([name, rate]) => `${count(rate)} to ${cut(name, 20)}`);
  const more = peers.length - told.length;
  return `messages a second: ${told.join(", ")}${more > 0 ? `, and to ${more} more` : ""}`;
}
