// A node as it is drawn in every view: a circle coloured by health, its name, its role under it,
// a crown if it leads, and the mark of what was broken. And the walk among nodes by arrow keys.

import { iconPath, say, set, svg, unit } from "./dom.js";
import { cut, short, words } from "./format.js";
import { leads, marks, roleOf } from "./state.js";

const HEALTH = {
  serving: "serving",
  not_serving: "not serving",
  unreachable: "unreachable",
  unknown: "unknown health",
};

export class Token {
  /** `open(key)` is called when the node is chosen; `gap` is what words stand off by, in rem. */
  constructor(node, open, { radius, label = true, detail = false, gap = 0 } = {}) {
    this.radius = radius;
    const size = unit();
    const below = radius + size * gap;
    const grown = size / 15;
    this.name = svg("text", { class: "token-name", "text-anchor": "middle", dy: "0.35em" });
    this.role = svg("text", { class: "token-role", "text-anchor": "middle", y: below + size });
    this.detail = svg("text", {
      class: "token-detail",
      "text-anchor": "middle",
      y: below + size * 2,
    });
    this.fault = svg("text", {
      class: "token-fault",
      "text-anchor": "middle",
      y: below + size * (detail ? 3 : 2),
    });
    this.body = svg("circle", { class: "token-body", r: radius });
    this.crown = svg(
      "g",
      {
        class: "token-crown",
        transform: `translate(${-9 * grown} ${-radius - 18 * grown}) scale(${0.75 * grown})`,
      },
      iconPath("crown"),
    );
    this.mark = svg("g", {
      class: "token-mark",
      transform: `translate(${radius * 0.72} ${-radius * 0.72}) scale(${grown})`,
    });
    this.ill = svg(
      "g",
      {
        class: "token-ill",
        transform: `translate(${-radius * 0.72} ${-radius * 0.72}) scale(${grown})`,
      },
      svg("circle", { r: 9 }),
      svg("g", { transform: "translate(-6 -6) scale(0.5)" }, iconPath("cross")),
    );
    this.title = svg("title");
    this.group = svg(
      "g",
      { class: "token-body-group" },
      svg("circle", { class: "token-ring", r: radius + size * 0.33 }),
      this.body,
      this.crown,
      this.name,
      label ? this.role : null,
      label && detail ? this.detail : null,
      label ? this.fault : null,
      this.ill,
      this.mark,
    );
    this.node = svg(
      "g",
      { class: "token", role: "button", tabindex: -1, "data-node": node.key },
      this.title,
      this.group,
    );
    this.key = node.key;
    this.node.addEventListener("click", () => open(this.key));
    this.node.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        open(this.key, true);
      }
    });
  }

  place(spot) {
    if (!spot) return;
    this.spot = spot;
    this.node.style.setProperty("transform", `translate(${spot.x}px, ${spot.y}px)`);
  }

  /** Draws the node as it is; costs nothing if neither it nor its marks changed. */
  update(node, now, chosen, { role = roleOf(node), detail = "" } = {}) {
    const broken = marks(node, now);
    const marked = broken.map(([, text]) => text).join("; ");
    const same =
      this.shown === node &&
      this.marked === marked &&
      this.chosen === chosen &&
      this.roleText === role &&
      this.detailText === detail;
    if (same) return;
    Object.assign(this, { shown: node, marked, chosen, roleText: role, detailText: detail });
    say(this.name, short(node.name, 8));
    set(this.name, { "data-long": [...node.name].length > 3 ? "" : null });
    say(this.role, short(words(role), 16));
    say(this.detail, short(detail, 20));
    say(this.fault, broken.length > 1 ? `${broken.length} faults` : cut(broken[0]?.[1] ?? "", 24));
    set(this.node, {
      "data-health": node.health,
      "data-role": role,
      "data-leads": leads(node) && node.health !== "unreachable",
      "data-broken": broken.length > 0,
      "data-chosen": chosen,
      "aria-pressed": chosen ? "true" : "false",
      "aria-label": [`${node.system} ${node.name}`, words(role), HEALTH[node.health], marked]
        .filter(Boolean)
        .join(", "),
    });
    say(
      this.title,
      [
        `${node.system} ${node.name}`,
        `${words(role)}, ${HEALTH[node.health]}`,
        node.address,
        marked,
      ]
        .filter(Boolean)
        .join("\n"),
    );
    const icons = broken.map(([icon]) => icon).join();
    if (this.icons !== icons) {
      this.icons = icons;
      this.mark.replaceChildren(
        ...(broken.length === 0
          ? []
          : [
              svg("circle", { r: 10 }),
              svg("g", { transform: "translate(-6.5 -6.5) scale(0.54)" }, iconPath(broken[0][0])),
            ]),
      );
    }
  }
}

/** Lets arrow keys walk among the tokens of an SVG; one of them is in the tab order. */
export function walk(root, tokens) {
  root.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    const here = [...tokens()].find((token) => token.node === document.activeElement);
    if (!way || !here || !here.spot) return;
    event.preventDefault();
    let [best, least] = [null, Infinity];
    for (const token of tokens()) {
      if (token === here || !token.spot) continue;
      const [dx, dy] = [token.spot.x - here.spot.x, token.spot.y - here.spot.y];
      const along = dx * way[0] + dy * way[1];
      const across = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      if (along <= 1) continue;
      const cost = along + across * 2;
      if (cost < least) [best, least] = [token, cost];
    }
    if (best) focus(best, tokens());
  });
}

function focus(token, all) {
  for (const each of all) each.node.setAttribute("tabindex", each === token ? "0" : "-1");
  token.node.focus();
}

/** Puts one token, the first if none is, into the tab order. */
export function enter(tokens) {
  const all = [...tokens];
  if (all.length > 0 && !all.some((each) => each.node.getAttribute("tabindex") === "0")) {
    all[0].node.setAttribute("tabindex", "0");
  }
}

/** Lets a token fade away. */
export function leave(node) {
  node.classList.add("leaving");
  setTimeout(() => node.remove(), 260);
}
