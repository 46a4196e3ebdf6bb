// A system that the page has no picture for: its nodes as a list, each with its panel.

import { Keyed, element, page, say, set } from "./dom.js";
import { cut, title, words } from "./format.js";
import { nodesOf, roleOf } from "./state.js";

export class OtherView {
  constructor(app, name) {
    this.system = name;
    const rows = element("ul", { class: "plain-nodes" });
    this.empty = element(
      "p",
      { class: "empty" },
      "Nothing of this name is seen. ",
      element("a", { href: "#/" }, "To the floor plan"),
    );
    this.element = page(cut(title(name), 60), this.empty, rows);
    this.rows = new Keyed(
      rows,
      (key) => {
        const button = element("button", { "data-node": key, onclick: () => app.choose(key) });
        return { node: element("li", {}, button), button };
      },
      (made, node) => {
        say(made.button, `${node.name} · ${words(roleOf(node))} · ${words(node.health)}`);
        set(made.button, { "data-health": node.health });
      },
    ).inOrder();
  }

  update(app) {
    const nodes = nodesOf(app.state, this.system);
    this.empty.hidden = nodes.length > 0;
    this.rows.show(nodes.map((node) => [node.key, node]));
  }
}
