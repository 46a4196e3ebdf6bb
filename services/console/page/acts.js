// A form by which a user acts on a system: its fields, its buttons, and what came of it.

import { tell } from "./ask.js";
import { element, say } from "./dom.js";
import { span } from "./format.js";
import { record, text } from "./values.js";

/** A link to the trace of what was done; nothing without one. */
const traced = (trace) =>
  trace
    ? element(
        "a",
        { href: `#/traces/${encodeURIComponent(trace)}`, "data-trace": trace },
        "See its trace",
      )
    : null;

/** Makes it: `verbs` are [id, label, path, () => body]; `told(answer, path, sent)` answers text or elements. */
export function acts(app, { id, heading, why, fields, verbs, told, done = () => {} }) {
  const result = element("div", { class: "result", id: `${id}-result`, role: "status" });
  const buttons = verbs.map(([verb, label, path, body], index) =>
    element(
      "button",
      {
        id: verb,
        class: index === 0 ? "primary" : null,
        type: index === 0 ? "submit" : "button",
        onclick: index === 0 ? null : () => form.reportValidity() && send(path, body),
      },
      label,
    ),
  );
  const form = element(
    "form",
    {
      class: "act",
      id,
      onsubmit: (event) => {
        event.preventDefault();
        send(verbs[0][2], verbs[0][3]);
      },
    },
    element("h3", {}, heading),
    why ? element("p", { class: "soft" }, why) : null,
    element("div", { class: "row fields" }, fields),
    element("div", { class: "row" }, buttons),
    result,
  );

  async function send(path, body) {
    if (!app.live) {
      result.replaceChildren(
        element("p", { class: "error" }, "You are looking at the past: go live to act."),
      );
      return;
    }
    for (const button of buttons) button.disabled = true;
    say(result, "…");
    try {
      const sent = body();
      const answer = record(await tell(path, sent));
      result.replaceChildren(
        element(
          "div",
          { class: answer.ok === false ? "error" : "done" },
          told(record(answer.answer), path, sent),
        ),
        element(
          "p",
          { class: "soft numbers" },
          `took ${span(answer.took_us)} `,
          traced(text(answer.trace_id)),
        ),
      );
      done(record(answer.answer), path);
    } catch (error) {
      result.replaceChildren(
        element("p", { class: "error" }, error.message, " ", traced(error.traceId)),
      );
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }
  return form;
}
