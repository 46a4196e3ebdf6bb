// Traces: what was received, newest first, with filters; and one trace when its id is in the address.

import { ask } from "./ask.js";
import { Keyed, element, field, lead, page, say, set } from "./dom.js";
import { bytes, clock, count, cut, some, span } from "./format.js";
import { byName, list, number, record, text } from "./values.js";
import { Waterfall, colour } from "./waterfall.js";

const REFRESH_MS = 2000;

export class TracesView {
  constructor(app) {
    this.app = app;
    this.service = element(
      "select",
      { id: "trace-service" },
      element("option", { value: "" }, "all"),
    );
    this.names = element("datalist", { id: "trace-nodes" });
    this.node = element("input", {
      id: "trace-node",
      type: "search",
      list: "trace-nodes",
      autocomplete: "off",
      spellcheck: "false",
    });
    this.text = element("input", {
      id: "trace-text",
      type: "search",
      autocomplete: "off",
      spellcheck: "false",
    });
    this.least = element("input", {
      id: "trace-least",
      type: "number",
      min: 0,
      step: "any",
      inputmode: "decimal",
    });
    this.errors = element("input", { id: "trace-errors", type: "checkbox" });
    this.auto = element("input", { id: "trace-auto", type: "checkbox", checked: true });
    this.export = element(
      "a",
      { id: "traces-export", class: "button", download: "traces.otlp.json" },
      "Export as OTLP JSON",
    );
    this.stats = element("p", { class: "soft numbers", id: "trace-stats" });
    this.wrong = element("p", { class: "error", id: "trace-error", role: "alert" });
    const rows = element("ol", { class: "traces", id: "trace-list" });
    this.rows = new Keyed(rows, (key) => row(key), drawRow).inOrder();
    this.empty = element("div", { class: "empty", id: "traces-empty" });
    const filter = element(
      "form",
      {
        class: "row fields",
        id: "trace-filters",
        role: "search",
        onsubmit: (event) => {
          event.preventDefault();
          this.load();
        },
      },
      field("Service", this.service),
      field("Node", this.node),
      this.names,
      field("Text", this.text),
      field("At least ms", this.least),
      element("label", { class: "check" }, this.errors, "only errors"),
      element("label", { class: "check" }, this.auto, "refresh"),
      this.export,
    );
    for (const each of [this.service, this.errors])
      each.addEventListener("change", () => this.load());
    for (const each of [this.node, this.text, this.least]) {
      each.addEventListener("input", () => {
        clearTimeout(this.typing);
        this.typing = setTimeout(() => this.load(), 250);
      });
    }
    this.whole = element(
      "div",
      { class: "stack" },
      filter,
      this.wrong,
      this.empty,
      rows,
      this.stats,
    );
    this.waterfall = new Waterfall(app);
    this.lead = lead(
      "What one request did, across processes: ",
      "each span is one piece of work, told by the process that did it.",
    );
    this.element = page("Traces", this.lead, this.whole, this.waterfall.element);
    this.heading = this.element.firstElementChild;
    this.services = new Set();
    this.timer = setInterval(() => {
      if (this.id === "" && this.auto.checked && !document.hidden) this.load();
    }, REFRESH_MS);
  }

  route(rest) {
    const asked = rest.startsWith("?") || rest === "";
    this.id = asked ? "" : rest;
    this.whole.hidden = !asked;
    this.lead.hidden = !asked;
    this.heading.hidden = !asked;
    if (asked) {
      const query = new URLSearchParams(rest);
      const service = query.get("service");
      if (service !== null) {
        this.know([service]);
        this.service.value = service;
        this.node.value = query.get("node") ?? "";
      }
      this.waterfall.close();
      this.load();
    } else {
      this.waterfall.open(this.id);
    }
  }

  query() {
    const query = new URLSearchParams();
    if (this.service.value) query.set("service", this.service.value);
    if (this.node.value.trim()) query.set("node", this.node.value.trim());
    if (this.text.value.trim()) query.set("text", this.text.value.trim());
    if (Number(this.least.value) > 0) query.set("least_ms", this.least.value);
    if (this.errors.checked) query.set("errors", "1");
    return query;
  }

  know(names) {
    for (const name of names) {
      if (name === "" || this.services.has(name)) continue;
      this.services.add(name);
      this.service.append(element("option", { value: name }, cut(name, 40)));
    }
  }

  /** Offers the names of the nodes that have the chosen role. */
  offer(nodes) {
    const role = this.service.value;
    const fit = nodes.filter((each) => role === "" || each.role === role);
    const names = [...new Set(fit.map((each) => each.name))].sort(byName);
    const key = names.join("\n");
    if (key === this.offered) return;
    this.offered = key;
    this.names.replaceChildren(...names.map((name) => element("option", { value: name })));
  }

  async load() {
    this.abort?.abort();
    this.abort = new AbortController();
    const query = this.query();
    const filtered = query.size > 0;
    set(this.export, { href: `/traces.otlp?${query}` });
    query.set("limit", "100");
    try {
      const found = record(await ask(`/traces?${query}`, this.abort.signal));
      say(this.wrong, "");
      const traces = list(found.traces)
        .map(record)
        .filter((each) => text(each.trace_id) !== "");
      const nodes = [...this.app.state.nodes.values()];
      this.know(nodes.map((each) => each.role));
      this.offer(nodes);
      this.know(traces.flatMap((each) => list(each.services).map((name) => text(name))));
      this.rows.show(
        traces.map((each) => [
          text(each.trace_id),
          { each, longest: Math.max(...traces.map((one) => number(one.duration_us)), 1) },
        ]),
      );
      this.nothing(traces.length === 0, filtered);
      this.tell(record(found.stats));
    } catch (error) {
      if (error.name !== "AbortError") say(this.wrong, error.message);
    }
  }

  nothing(is, filtered) {
    this.empty.hidden = !is;
    const kind = filtered ? "filtered" : "none";
    if (!is || this.emptied === kind) return;
    this.emptied = kind;
    this.empty.replaceChildren(
      ...(filtered
        ? [element("p", {}, "No trace matches. Widen the filters.")]
        : [
            element("h2", {}, "No traces were received yet"),
            element(
              "p",
              {},
              "Every process of Ensemble sends its spans here (the console's CONSOLE_TRACES) ",
              "when this is set before it starts:",
            ),
            element(
              "pre",
              {},
              `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://${location.hostname || "HOST"}:4317`,
            ),
            element(
              "p",
              { class: "soft" },
              "Then forward a request or put a key, and its trace is the first in this list.",
            ),
          ]),
    );
  }

  tell(stats) {
    say(
      this.stats,
      `${count(stats.received)} spans received, ` +
        `${count(stats.kept)} kept in ${some(stats.traces, "trace")} (${bytes(stats.bytes)}), ` +
        `${count(stats.dropped)} dropped, ${count(stats.invalid)} invalid, ` +
        `${count(stats.per_second)} a second` +
        (number(stats.forwarded) + number(stats.not_forwarded) === 0
          ? ""
          : `; ${count(stats.forwarded)} passed on, ${count(stats.not_forwarded)} not`),
    );
    set(this.stats, { "data-dropped": number(stats.dropped) + number(stats.not_forwarded) > 0 });
  }

  update(app) {
    if (this.id !== "") this.waterfall.update(app);
  }

  close() {
    clearInterval(this.timer);
    clearTimeout(this.typing);
    this.abort?.abort();
    this.waterfall.close();
  }
}

function row(key) {
  const parts = {
    name: element("b"),
    who: element("span", { class: "soft" }),
    at: element("time", { class: "numbers soft" }),
    took: element("span", { class: "numbers" }),
    bar: element("i", { class: "took-bar" }),
    services: element("span", { class: "services" }),
    spans: element("span", { class: "numbers soft" }),
    errors: element("span", { class: "error numbers" }),
  };
  const link = element(
    "a",
    { href: `#/traces/${encodeURIComponent(key)}`, "data-trace": key },
    parts.at,
    element("span", { class: "trace-name" }, parts.name, parts.who),
    parts.services,
    parts.spans,
    parts.errors,
    element("span", { class: "took" }, parts.took, parts.bar),
  );
  return { node: element("li", {}, link), ...parts };
}

function drawRow(made, { each, longest }) {
  const name = text(each.name, "?");
  say(made.name, cut(name.split("/").at(-1) || name, 60));
  say(
    made.who,
    ` ${cut(text(each.service), 30)}${text(each.node) ? ` ${cut(text(each.node), 14)}` : ""}`,
  );
  set(made.name, { title: name });
  say(made.at, clock(each.start, true));
  say(made.took, span(each.duration_us));
  made.bar.style.width = `${Math.max(1, (number(each.duration_us) / longest) * 100)}%`;
  say(made.spans, `${some(each.spans, "span")}${each.complete === false ? ", incomplete" : ""}`);
  say(made.errors, number(each.errors) > 0 ? some(each.errors, "error") : "");
  const services = list(each.services)
    .map((one) => text(one))
    .join("|");
  if (made.known !== services) {
    made.known = services;
    made.services.replaceChildren(
      ...services
        .split("|")
        .filter(Boolean)
        .slice(0, 8)
        .map((one) => element("i", { class: `service service-${colour(one)}`, title: one })),
    );
  }
}
