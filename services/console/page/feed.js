// What happened, newest first unless it is to be read beside a log: the events that nodes told and
// what users of any page did.

import { Keyed, element } from "./dom.js";
import { clock, title } from "./format.js";

/** A list of events; `wanted` says which nodes' and systems' are in it. */
export class Feed {
  constructor({
    heading = "What happens",
    empty = "Nothing yet.",
    most = 12,
    id = "feed",
    newestLast = false,
  } = {}) {
    Object.assign(this, { most, newestLast });
    this.list = element("ol", { class: "feed", id });
    this.empty = element("p", { class: "soft" }, empty);
    this.element = element(
      "section",
      { class: "feed-section", "aria-label": heading },
      element("h3", {}, heading),
      this.empty,
      this.list,
    );
    this.keyed = new Keyed(
      this.list,
      (_key, item) => row(item),
      () => {},
    ).inOrder();
    this.numbers = new WeakMap();
    this.next = 0;
  }

  update(state, wanted = () => true) {
    if (state.events === this.events && state.acts === this.acts && wanted.id === this.wanted)
      return;
    Object.assign(this, { events: state.events, acts: state.acts, wanted: wanted.id });
    const all = [
      ...state.events.filter((event) => wanted(event.node, event.node.split("/")[0])),
      ...state.acts.filter((act) => wanted(null, act.system)),
    ]
      .reverse()
      .sort((a, b) => b.at - a.at)
      .slice(0, this.most);
    if (this.newestLast) all.reverse();
    this.empty.hidden = all.length > 0;
    this.keyed.show(all.map((item) => [this.number(item), item]));
  }

  number(item) {
    if (!this.numbers.has(item)) this.numbers.set(item, this.next++);
    return this.numbers.get(item);
  }
}

function row(item) {
  const time = element("time", { class: "numbers soft" }, clock(item.at));
  if (item.system === undefined) {
    const [system, ...name] = item.node.split("/");
    return element(
      "li",
      { "data-kind": "event" },
      time,
      element("span", {}, element("b", {}, `${title(system)} ${name.join("/")} `), item.text),
    );
  }
  return element(
    "li",
    { "data-kind": item.ok ? "act" : "act-failed" },
    time,
    element(
      "span",
      {},
      element("b", {}, "A user: "),
      item.text,
      item.ok ? "" : " (failed)",
      item.traceId
        ? [" ", element("a", { href: `#/traces/${encodeURIComponent(item.traceId)}` }, "trace")]
        : null,
    ),
  );
}
