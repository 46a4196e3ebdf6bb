// The links between peers: as wide as their traffic, flowing the way that more of it goes, with
// the number where one points or an end is chosen; marked where a fault cuts them.

import { Keyed, iconPath, say, set, svg, unit } from "./dom.js";
import { count } from "./format.js";
import { severed } from "./state.js";

const FLOWING_LIMIT = 20;

export class Links {
  constructor() {
    this.layer = svg("g", { class: "links" });
    this.keyed = new Keyed(this.layer, make, (made, each) => this.draw(made, each));
  }

  /** Draws the pairs [one, other, forth, back] between places; numbers at the chosen node. */
  show(pairs, places, chosen = null) {
    this.places = places;
    this.chosen = chosen;
    set(this.layer, { "data-flowing": pairs.size <= FLOWING_LIMIT });
    this.keyed.show(
      [...pairs].filter(([, [one, other]]) => places.has(one.key) && places.has(other.key)),
    );
  }

  draw(made, [one, other, forth, back]) {
    set(made.node, { "data-told": one.key === this.chosen || other.key === this.chosen });
    const [a, b] = [this.places.get(one.key), this.places.get(other.key)];
    if (
      made.one === one &&
      made.other === other &&
      made.a === a &&
      made.b === b &&
      made.forth === forth &&
      made.back === back
    )
      return;
    Object.assign(made, { one, other, a, b, forth, back });
    const line = { x1: a.x, y1: a.y, x2: b.x, y2: b.y };
    const reverse = { x1: b.x, y1: b.y, x2: a.x, y2: a.y };
    set(made.base, line);
    set(made.hit, line);
    set(made.flow, forth >= back ? line : reverse);
    const rate = forth + back;
    const cut = severed(one, other);
    const dead = one.health === "unreachable" || other.health === "unreachable";
    set(made.node, { "data-cut": cut, "data-dead": dead, "data-busy": rate > 0 && !dead });
    const width = (1.6 + Math.min(3.4, Math.log2(1 + rate) * 0.42)).toFixed(1);
    if (made.width !== width) {
      made.width = width;
      made.node.style.setProperty("--width", width);
    }
    const [x, y] = [(a.x + b.x) / 2, (a.y + b.y) / 2];
    set(made.mark, { transform: `translate(${x} ${y}) scale(${unit() / 15})` });
    // Off the line that it is about, and nearer to the lower end: words stand under a node.
    const part = Math.abs(a.y - b.y) < unit() ? 0.5 : a.y < b.y ? 0.62 : 0.38;
    set(made.rate, { x: a.x + (b.x - a.x) * part, y: a.y + (b.y - a.y) * part - unit() * 0.45 });
    say(made.rate, rate > 0 && !dead ? `${count(rate)}/s` : "");
    const label = words(made, cut, dead);
    say(made.title, label);
    set(made.node, { "aria-label": label });
  }
}

function make(id) {
  const made = {
    title: svg("title"),
    base: svg("line", { class: "link-base" }),
    flow: svg("line", { class: "link-flow" }),
    hit: svg("line", { class: "link-hit" }),
    rate: svg("text", { class: "link-rate", "text-anchor": "middle" }),
    mark: svg(
      "g",
      { class: "link-mark" },
      svg("circle", { r: 10 }),
      svg("g", { transform: "translate(-6.5 -6.5) scale(0.54)" }, iconPath("cut")),
    ),
  };
  return {
    ...made,
    node: svg(
      "g",
      { class: "link", role: "img", "data-link": id },
      made.title,
      made.base,
      made.flow,
      made.hit,
      made.mark,
      made.rate,
    ),
  };
}

/** A link as a sentence. */
function words({ one, other, forth, back }, cut, dead) {
  const way = (rate, from, to) => `${count(rate)} from ${from.name} to ${to.name}`;
  const traffic =
    forth + back === 0
      ? "no messages"
      : `messages a second: ${way(forth, one, other)}, ${way(back, other, one)}`;
  return [
    `${one.name} – ${other.name}: ${traffic}`,
    cut ? "cut by a fault" : "",
    dead ? "one end is unreachable" : "",
  ]
    .filter(Boolean)
    .join(", ");
}
