// The election timers of Raft's nodes: arcs that run down. While heartbeats set a timer again and
// again its arc is whole and rests; when they fail it runs between what the views say, and never
// further than they can mean. One loop moves all arcs, and it rests when none runs.

import { Keyed, reduced, set, svg } from "./dom.js";
import { timerOf } from "./terms.js";

export class Timers {
  constructor() {
    this.layer = svg("g", { class: "timers", "aria-hidden": "true" });
    this.keyed = new Keyed(
      this.layer,
      () => svg("circle", { fill: "none", pathLength: 100 }),
      (made, item) => this.draw(made, item),
    );
    this.items = [];
    this.running = false;
  }

  /** Draws the timers of [key, {node, spot, radius}] at a moment that `app` tells. */
  show(app, items) {
    this.app = app;
    this.items = items;
    this.step();
  }

  step() {
    this.now = this.app.now;
    this.runs = false;
    this.keyed.show(this.items.filter(([, { node }]) => timerOf(node, this.now) !== null));
    // Of the past there is another picture only when another moment is shown.
    if (!this.runs || this.running || !this.app.live || document.hidden) return;
    this.running = true;
    requestAnimationFrame(() => {
      this.running = false;
      if (this.layer.isConnected) this.step();
    });
  }

  draw(made, { node, spot, radius }) {
    const { left, runs, state } = timerOf(node, this.now, reduced());
    this.runs ||= runs;
    set(made, {
      cx: spot.x,
      cy: spot.y,
      r: radius,
      transform: `rotate(-90 ${spot.x} ${spot.y})`,
      "stroke-dasharray": `${(left * 100).toFixed(1)} 100`,
      "data-timer": node.key,
      "data-state": state,
    });
  }
}
