// The Break menu of a node: suspend, crash, cut, delay, drop, heal. What is broken is told above
// it until it is healed. Only a node that was started with faults on can be broken.

import { tell } from "./ask.js";
import { element, field, icon, say, set } from "./dom.js";
import { marks, nodesOf } from "./state.js";
import { list, record, text } from "./values.js";

const input = (id, value, least, most, step = 1) =>
  element("input", {
    id,
    type: "number",
    value,
    min: least,
    max: most,
    step,
    required: true,
    inputmode: "decimal",
  });

export class Breaks {
  constructor(app) {
    this.app = app;
    this.note = element("p", { class: "soft", id: "break-note" });
    this.marks = element("ul", { class: "marks", id: "break-marks" });
    this.heal = element(
      "button",
      { id: "break-heal", type: "button", onclick: () => this.send({ fault: "heal" }) },
      "Heal everything",
    );
    this.result = element("p", { id: "break-result", role: "status" });
    this.peers = element("div", { class: "peers", id: "break-peers" });
    const seconds = input("break-seconds", 5, 0.1, 600, "any");
    const direction = element(
      "select",
      { id: "break-direction" },
      element("option", { value: "both" }, "both ways"),
      element("option", { value: "out" }, "what it sends"),
      element("option", { value: "in" }, "what it receives"),
    );
    const least = input("break-least", 50, 0, 60000);
    const most = input("break-most", 200, 0, 60000);
    const part = input("break-percent", 20, 1, 100);
    this.menu = element(
      "div",
      { class: "breaks", id: "break-menu" },
      this.form(
        "suspend",
        "Suspend",
        "The process stops and later goes on, as in a long pause.",
        [field("Seconds", seconds)],
        () => ({ fault: "suspend", for_ms: Math.round(Number(seconds.value) * 1000) }),
      ),
      this.crash(),
      this.form(
        "cut",
        "Cut from peers",
        "Messages between it and these peers are lost.",
        [
          element("fieldset", {}, element("legend", {}, "Peers"), this.peers),
          field("Direction", direction),
        ],
        () => this.severed(direction.value),
      ),
      this.form(
        "delay",
        "Delay",
        "Each message waits a random time before it goes.",
        [field("Least ms", least), field("Most ms", most)],
        () => ({
          fault: "delay",
          least_ms: Number(least.value),
          most_ms: Math.max(Number(least.value), Number(most.value)),
        }),
      ),
      this.form(
        "drop",
        "Drop",
        "Each message is lost with this chance.",
        [field("Percent", part)],
        () => ({ fault: "drop", probability: Number(part.value) / 100 }),
      ),
    );
    this.element = element(
      "section",
      { class: "break-section", "aria-label": "Break it" },
      element("h3", {}, "Break it"),
      this.note,
      this.marks,
      this.heal,
      this.menu,
      this.result,
    );
  }

  form(fault, name, why, fields, body) {
    return element(
      "details",
      { name: "break", "data-fault": fault },
      element("summary", { id: `break-${fault}-open` }, name),
      element(
        "form",
        {
          class: "stack",
          onsubmit: (event) => {
            event.preventDefault();
            const wanted = body();
            if (wanted) this.send(wanted);
          },
        },
        element("p", { class: "soft" }, why),
        element("div", { class: "row" }, fields),
        element("button", { id: `break-${fault}` }, name),
      ),
    );
  }

  crash() {
    const sure = element(
      "div",
      { class: "row", hidden: true },
      element("span", {}, "Really kill the process?"),
      element(
        "button",
        {
          class: "danger",
          id: "break-crash-yes",
          type: "button",
          onclick: () => {
            sure.hidden = true;
            this.send({ fault: "crash" });
          },
        },
        "Yes, crash it",
      ),
      element(
        "button",
        {
          class: "quiet",
          id: "break-crash-no",
          type: "button",
          onclick: () => {
            sure.hidden = true;
          },
        },
        "No",
      ),
    );
    return element(
      "details",
      { name: "break", "data-fault": "crash" },
      element("summary", { id: "break-crash-open" }, "Crash"),
      element(
        "div",
        { class: "stack" },
        element(
          "p",
          { class: "soft" },
          "The process ends at once, without a word. ",
          element("code", {}, "ensemble up"),
          " starts it again.",
        ),
        element(
          "button",
          {
            id: "break-crash",
            type: "button",
            onclick: () => {
              sure.hidden = false;
              sure.querySelector("button").focus();
            },
          },
          "Crash",
        ),
        sure,
      ),
    );
  }

  severed(direction) {
    const peers = [...this.peers.querySelectorAll("input:checked")].map((box) => box.value);
    if (peers.length === 0) {
      this.told("Choose at least one peer to cut it from.", "error");
      return null;
    }
    return { fault: "cut", peers, direction };
  }

  async send(body) {
    const node = this.key;
    this.told("…");
    try {
      await tell("/break", { node, ...body });
      // Whom it is to be cut from is chosen anew.
      if (body.fault === "heal") this.names = null;
      this.told(
        body.fault === "heal" ? `${node} is healed.` : `Done: ${body.fault} at ${node}.`,
        "done",
      );
    } catch (error) {
      this.told(error.message, "error");
    }
  }

  told(words, kind = "soft") {
    this.result.className = kind;
    say(this.result, words);
  }

  update(app, node, now) {
    if (this.key !== node.key) {
      this.key = node.key;
      this.told("");
      this.names = null;
    }
    const broken = marks(node, now);
    const heard = broken.map(([, words]) => words).join("|");
    if (heard !== this.heard) {
      this.heard = heard;
      this.marks.replaceChildren(
        ...broken.map(([picture, words]) => element("li", {}, icon(picture), ` ${words}`)),
      );
    }
    const can = node.faultsOn && app.live;
    this.marks.hidden = broken.length === 0;
    this.heal.hidden = broken.length === 0 || !can;
    this.menu.hidden = !can;
    this.note.hidden = can;
    say(
      this.note,
      !app.live
        ? "You are looking at the past: go live to break something."
        : "It was started without faults. To break it here, start it with CHASSIS_FAULTS=on.",
    );
    const peers = nodesOf(app.state, node.system).filter(
      (each) => each.key !== node.key && !each.role.includes("registry"),
    );
    const names = peers.map((each) => each.name).join("|");
    if (names !== this.names) {
      this.names = names;
      const cut = list(node.faults.cut)
        .flatMap((each) => list(record(each).peers))
        .map((each) => text(each));
      this.peers.replaceChildren(
        ...peers.map((each) =>
          element(
            "label",
            { class: "check" },
            element("input", {
              type: "checkbox",
              value: each.name,
              "data-peer": each.name,
              checked: cut.includes(each.name),
            }),
            each.name,
          ),
        ),
      );
    }
    set(this.element, { "data-can": can });
  }
}
