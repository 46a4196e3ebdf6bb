// Things that move along edges: votes, entries, requests, hops. One loop moves them all, and it
// rests when none is under way. Who prefers less motion sees a dot at the end of the way instead.

import { reduced, svg, unit } from "./dom.js";

/** At once: nobody tells more apart, and where no graphics card helps more cannot be drawn. */
const LIMIT = 48;

export class Flights {
  constructor() {
    this.layer = svg("g", { class: "flights", "aria-hidden": "true" });
    this.all = new Set();
    this.running = false;
  }

  /** Lets one fly from one point to another: {from, to, kind, label, after, lasts, radius, done}. */
  launch(flight) {
    if (this.all.size >= LIMIT || document.hidden || !flight.from || !flight.to) return;
    const radius = (flight.radius ?? 6) * (unit() / 15);
    const dot = svg(
      "g",
      { class: `flight flight-${flight.kind}`, visibility: "hidden" },
      svg("circle", { r: radius }),
    );
    if (flight.label) {
      const label = svg("text", { y: -radius - 4, class: "flight-label" });
      label.textContent = flight.label;
      dot.append(label);
    }
    this.layer.append(dot);
    this.all.add({
      ...flight,
      dot,
      start: performance.now() + (flight.after ?? 0),
      lasts: flight.lasts ?? 520,
    });
    if (!this.running) {
      this.running = true;
      requestAnimationFrame((time) => this.step(time));
    }
  }

  step(time) {
    const calm = reduced();
    for (const flight of this.all) {
      const part = (time - flight.start) / flight.lasts;
      if (part < 0) continue;
      if (part >= 1 || !flight.dot.isConnected) {
        flight.dot.remove();
        this.all.delete(flight);
        if (part >= 1) flight.done?.();
        continue;
      }
      const eased = calm ? 0.72 : part < 0.5 ? 2 * part * part : 1 - (2 - 2 * part) ** 2 / 2;
      const x = flight.from.x + (flight.to.x - flight.from.x) * eased;
      const y = flight.from.y + (flight.to.y - flight.from.y) * eased;
      flight.dot.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
      flight.dot.setAttribute("visibility", "visible");
    }
    if (this.all.size > 0) requestAnimationFrame((next) => this.step(next));
    else this.running = false;
  }

  clear() {
    for (const flight of this.all) flight.dot.remove();
    this.all.clear();
  }
}

/** The point where a line from one centre to another leaves a circle of a radius. */
export function edge(from, to, radius) {
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  return {
    x: from.x + ((to.x - from.x) / length) * radius,
    y: from.y + ((to.y - from.y) / length) * radius,
  };
}
