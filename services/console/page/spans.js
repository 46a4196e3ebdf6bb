// A trace as a tree: which span is under which, where its bar lies, which nodes it passed. Pure.

import { list, number, record, text } from "./values.js";

const SPANS_LIMIT = 5000;

/** The spans with depth, in the order of a waterfall; cycles and strangers become roots. */
export function tree(rawSpans) {
  const spans = list(rawSpans)
    .slice(0, SPANS_LIMIT)
    .map(record)
    .map((raw, index) => ({
      id: text(raw.span_id, `#${index}`),
      parent: text(raw.parent_id) || null,
      name: text(raw.name, "?"),
      kind: text(raw.kind),
      service: text(raw.service, "?"),
      node: text(raw.node) || null,
      start: number(raw.start),
      took: Math.max(0, number(raw.duration_us)),
      error: raw.error === null || raw.error === undefined ? null : text(raw.error, "error"),
      attributes: record(raw.attributes),
      events: list(raw.events).map(record),
      orphan: raw.orphan === true,
      depth: 0,
    }));
  const byId = new Map(spans.map((span) => [span.id, span]));
  const children = new Map();
  const roots = [];
  for (const span of spans) {
    const parent =
      span.parent !== null && span.parent !== span.id ? byId.get(span.parent) : undefined;
    if (!parent) roots.push(span);
    else if (children.has(parent.id)) children.get(parent.id).push(span);
    else children.set(parent.id, [span]);
  }
  const ordered = [];
  const seen = new Set();
  const walk = (start) => {
    const stack = [[start, 0]];
    while (stack.length > 0) {
      const [span, depth] = stack.pop();
      if (seen.has(span)) continue;
      seen.add(span);
      span.depth = depth;
      ordered.push(span);
      const below = (children.get(span.id) ?? []).sort((a, b) => b.start - a.start);
      for (const child of below) stack.push([child, depth + 1]);
    }
  };
  roots.sort((a, b) => a.start - b.start).forEach(walk);
  spans
    .filter((span) => !seen.has(span))
    .forEach((span) => {
      if (!seen.has(span)) walk(span);
    });
  return ordered;
}

/** The time that the spans take up: its start in ms and its length in µs. */
export function extent(spans) {
  let [from, to] = [Infinity, -Infinity];
  for (const span of spans) {
    from = Math.min(from, span.start);
    to = Math.max(to, span.start + span.took / 1000);
  }
  return spans.length === 0
    ? { from: 0, took: 1 }
    : { from, took: Math.max(1, (to - from) * 1000) };
}

/** The key of the node that a span ran at, if the state knows it. */
export function nodeOf(span, state) {
  if (span.node === null) return null;
  for (const node of state.nodes.values()) {
    if (node.role === span.service && node.name === span.node) return node.key;
  }
  return null;
}

/** The path of a trace over nodes: [from key or null, to key, ms after the start, depth], in order. */
export function path(spans, state) {
  const at = new Map(spans.map((span) => [span.id, nodeOf(span, state)]));
  const byId = new Map(spans.map((span) => [span.id, span]));
  const { from } = extent(spans);
  const steps = [];
  for (const span of spans) {
    const here = at.get(span.id);
    if (here === null) continue;
    let above = span.parent;
    let guard = 0;
    while (above && byId.has(above) && at.get(above) === null && guard < 100) {
      above = byId.get(above).parent;
      guard += 1;
    }
    const before = above ? (at.get(above) ?? null) : null;
    if (before !== here) steps.push([before, here, span.start - from, span.depth]);
  }
  return steps.sort((a, b) => a[2] - b[2]);
}

/** The visits of an overlay's answer as hops: [from name or null, to name, depth]. */
export function visited(answer) {
  const visits = list(record(answer).visits)
    .map(record)
    .map((visit) => ({
      name: text(visit.process ?? visit.process_id),
      by: text(visit.asked_by) || null,
    }));
  const depth = new Map();
  const steps = [];
  for (const visit of visits) {
    const deep = visit.by !== null && depth.has(visit.by) ? depth.get(visit.by) + 1 : 0;
    depth.set(visit.name, deep);
    steps.push([visit.by, visit.name, deep]);
  }
  return steps;
}
