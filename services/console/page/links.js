// The links between peers: as wide as their traffic, marked where a fault cuts them.

import { Keyed, iconPath, say, set, svg, unit } from "./dom.js";
import { count } from "./format.js";
import { severed } from "./state.js";

const FLOWING_LIMIT = 20;

export class Links {
  constructor() {
    this.layer = svg("g", { class: "links" });
    this.keyed = new Keyed(this.layer, (id) => {
      const title = svg("title");
      const base = svg("line", { class: "link-base" });
      const flow = svg("line", { class: "link-flow" });
      const mark = svg("g", { class: "link-mark" }, svg("circle", { r: 10 }),
        svg("g", { transform: "translate(-6.5 -6.5) scale(0.54)" }, iconPath("cut")));
      return { node: svg("g", { class: "link", "data-link": id }, title, base, flow, mark), title, base, flow, mark };
    }, (made, each) => this.draw(made, each));
  }

  /** Draws the pairs [one, other, rate] between places. */
  show(pairs, places) {
    this.places = places;
    set(this.layer, { "data-flowing": pairs.size <= FLOWING_LIMIT });
    this.keyed.show([...pairs].filter(([, [one, other]]) => places.has(one.key) && places.has(other.key)));
  }

  draw(made, [one, other, rate]) {
    const [a, b] = [this.places.get(one.key), this.places.get(other.key)];
    if (made.one === one && made.other === other && made.a === a && made.b === b && made.rate === rate) return;
    Object.assign(made, { one, other, a, b, rate });
    const line = { x1: a.x, y1: a.y, x2: b.x, y2: b.y };
    set(made.base, line);
    set(made.flow, line);
    const cut = severed(one, other);
    const dead = one.health === "unreachable" || other.health === "unreachable";
    set(made.node, { "data-cut": cut, "data-dead": dead, "data-busy": rate > 0 && !dead });
    const width = (1.6 + Math.min(3.4, Math.log2(1 + rate) * 0.42)).toFixed(1);
    if (made.width !== width) {
      made.width = width;
      made.node.style.setProperty("--width", width);
    }
    set(made.mark, { transform: `translate(${(a.x + b.x) / 2} ${(a.y + b.y) / 2}) scale(${unit() / 15})` });
    say(made.title, `${one.name} – ${other.name}: ${count(rate)} messages a second${cut ? ", cut by a fault" : ""}${dead ? ", one end is unreachable" : ""}`);
  }
}
