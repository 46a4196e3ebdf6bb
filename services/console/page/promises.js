// The promises: what each system guarantees, whether what was observed keeps it, and the evidence.

import { Keyed, element, icon, lead, page, say, set } from "./dom.js";
import { age, clock, some, title } from "./format.js";

const STATES = {
  holds: ["check", "Holds"],
  broken: ["cross", "Broken"],
  none: ["dots", "Nothing to judge yet"],
};

export class PromisesView {
  constructor() {
    const rows = element("ul", { class: "promises", id: "promises" });
    this.empty = element(
      "p",
      { class: "empty", id: "promises-empty" },
      "No promises are known yet: they come with the first systems that are seen.",
    );
    this.element = page(
      "Promises",
      lead(
        "Each system promises something about what can be observed from outside. ",
        "The console judges every observation. A promise that was broken once stays broken, with its evidence.",
      ),
      this.empty,
      rows,
    );
    this.rows = new Keyed(rows, (key) => make(key), draw).inOrder();
  }

  update(app) {
    const all = [...app.state.promises.values()];
    this.empty.hidden = all.length > 0;
    const weight = (each) => (each.holds === false ? 0 : 1);
    all.sort(
      (a, b) => weight(a) - weight(b) || (a.system < b.system ? -1 : a.system > b.system ? 1 : 0),
    );
    this.rows.show(all.map((each) => [each.id, { each, now: app.now }]));
  }
}

function make(key) {
  const parts = {
    state: element("span", { class: "promise-state" }),
    title: element("h2"),
    system: element("span", { class: "tag" }),
    checked: element("p", { class: "soft numbers" }),
    evidence: element("ol", { class: "evidence" }),
  };
  const node = element(
    "li",
    { "data-promise": key },
    parts.state,
    element(
      "div",
      {},
      element("div", { class: "row" }, parts.title, parts.system),
      parts.checked,
      parts.evidence,
    ),
  );
  return { node, ...parts };
}

function draw(made, { each, now }) {
  const state = each.holds === null ? "none" : each.holds ? "holds" : "broken";
  const since =
    each.holds === false
      ? `since ${clock(each.since)}, ${age(now - each.since)} ago`
      : `watched for ${age(now - each.since)}`;
  say(
    made.checked,
    `${STATES[state][1]} · ${some(each.checked, "observation")} judged${each.since > 0 ? ` · ${since}` : ""}`,
  );
  if (made.shown === each) return;
  made.shown = each;
  set(made.node, { "data-state": state });
  made.state.replaceChildren(icon(STATES[state][0], "1.2em"));
  say(made.title, each.title);
  say(made.system, title(each.system));
  made.evidence.replaceChildren(...each.evidence.map((line) => element("li", {}, line)));
  made.evidence.hidden = each.evidence.length === 0;
}
