// The model: what was seen of the cluster, made of one snapshot and the frames after it.
// Pure: the same function serves the live stream and the play-back of history, and a state that
// was made is never changed, so that views compare nodes by identity.

import { byName, list, number, record, text } from "./values.js";

export const EVENTS_LIMIT = 400;
export const ACTS_LIMIT = 40;
const KNOWN = ["overlay", "raft", "chord"];

/** The state before anything was seen. */
export const nothing = () => ({
  at: 0,
  number: 0,
  oldest: 0,
  nodes: new Map(),
  promises: new Map(),
  logs: new Map(),
  stats: null,
  events: [],
  acts: [],
});

/** A node with every field that the page relies on; null for what cannot be one. */
export function node(raw) {
  const given = record(raw);
  const key = text(given.key);
  if (key === "") return null;
  const [system, ...rest] = key.split("/");
  const health = ["serving", "not_serving", "unreachable"].includes(given.health)
    ? given.health
    : "unknown";
  return {
    key,
    system: text(given.system, system || "?"),
    role: text(given.role),
    name: text(given.name, rest.join("/") || key),
    address: text(given.address),
    host: text(given.host, "unknown host"),
    health,
    since: number(given.since),
    started: typeof given.started === "number" ? given.started : null,
    faultsOn: given.faults_on === true,
    faults: record(given.faults),
    traffic: record(given.traffic),
    view: given.view !== null && typeof given.view === "object" ? given.view : null,
    viewed: number(given.viewed),
  };
}

function promise(raw) {
  const given = record(raw);
  const id = text(given.id);
  if (id === "") return null;
  return {
    id,
    system: text(given.system),
    title: text(given.title, id),
    holds: typeof given.holds === "boolean" ? given.holds : null,
    since: number(given.since),
    checked: number(given.checked),
    evidence: list(given.evidence)
      .map((line) => text(line))
      .filter(Boolean),
  };
}

const put = (map, made) => {
  if (made !== null) map.set(made.key ?? made.id, made);
};

/** The state that a snapshot tells; what was heard before stays. */
export function restored(state, raw) {
  const given = record(raw);
  const nodes = new Map();
  for (const each of list(given.nodes)) put(nodes, node(each));
  const promises = new Map();
  for (const each of list(given.promises)) put(promises, promise(each));
  return {
    ...state,
    at: number(given.at, state.at),
    oldest: number(given.oldest, number(given.at)),
    nodes,
    promises,
    logs: newest(given.logs),
    stats: given.spans ? record(given.spans) : state.stats,
  };
}

/** The number of the newest line of each log. */
const newest = (logs) =>
  new Map(Object.entries(record(logs)).map(([key, last]) => [key, number(last)]));

/** The state after a frame. */
export function advanced(state, raw) {
  const given = record(raw);
  const next = {
    ...state,
    at: number(given.at, state.at),
    number: number(given.number, state.number),
  };
  const changed = list(given.nodes);
  const gone = list(given.gone);
  if (changed.length > 0 || gone.length > 0) {
    next.nodes = new Map(state.nodes);
    for (const each of changed) put(next.nodes, node(each));
    for (const key of gone) next.nodes.delete(text(key));
  }
  if (list(given.promises).length > 0) {
    next.promises = new Map(state.promises);
    for (const each of list(given.promises)) put(next.promises, promise(each));
  }
  if (list(given.events).length > 0) {
    const heard = list(given.events)
      .map(record)
      .map((event) => ({
        at: number(event.at, next.at),
        node: text(event.node),
        text: text(event.text),
      }));
    next.events = [...state.events, ...heard].slice(-EVENTS_LIMIT);
  }
  if (list(given.acts).length > 0) {
    const done = list(given.acts)
      .map(record)
      .map((act) => ({
        at: number(act.at, next.at),
        text: text(act.text),
        ok: act.ok !== false,
        traceId: text(act.trace_id) || null,
        system: text(act.system),
        answer: record(act.answer),
      }));
    next.acts = [...state.acts, ...done].slice(-ACTS_LIMIT);
  }
  if (given.logs) next.logs = new Map([...state.logs, ...newest(given.logs)]);
  if (given.spans) next.stats = record(given.spans);
  return next;
}

/** The nodes of a system, as a person would order them. */
export function nodesOf(state, system) {
  return [...state.nodes.values()]
    .filter((each) => each.system === system)
    .sort((a, b) => byName(a.name, b.name));
}

/** The systems that are seen, the known ones first. */
export function systems(state) {
  const seen = new Set([...state.nodes.values()].map((each) => each.system));
  return [
    ...KNOWN.filter((each) => seen.has(each)),
    ...[...seen].filter((each) => !KNOWN.includes(each)).sort(byName),
  ];
}

/** What a node is at this moment, in its own system's words. */
export function roleOf(each) {
  const view = record(each.view);
  if (text(view.role) !== "") return text(view.role);
  if (text(view.phase) !== "") return text(view.phase);
  return each.role.replace(/^(overlay|raft|chord)-/, "");
}

/** Whether a node leads its system, or is where requests enter it. */
export const leads = (each) => record(each.view).role === "leader";

/** What is broken at a node, as [icon, words]; empty when nothing is. */
export function marks(each, now) {
  const faults = each.faults;
  const all = [];
  const until = number(faults.suspended_until);
  if (until > now) {
    all.push(["pause", `suspended, ${Math.ceil((until - now) / 1000)} s more`]);
  }
  for (const severed of list(faults.cut).map(record)) {
    const peers =
      list(severed.peers)
        .map((peer) => text(peer, "?"))
        .join(", ") || "all";
    const way =
      { in: "hears nothing from", out: "cannot speak to" }[severed.direction] ?? "cut from";
    all.push(["cut", `${way} ${peers}`]);
  }
  if (list(faults.delay).length === 2) {
    all.push(["delay", `delayed ${number(faults.delay[0])}–${number(faults.delay[1])} ms`]);
  }
  if (number(faults.drop) > 0) {
    all.push(["drop", `drops ${Math.round(number(faults.drop) * 100)} %`]);
  }
  return all;
}

/** Whether the link between two nodes is cut by a fault at either of them. */
export function severed(one, other) {
  const by = (from, to) =>
    list(from.faults.cut).some((each) => {
      const peers = list(record(each).peers).map((peer) => text(peer));
      return peers.includes(to.name) || peers.includes(to.key);
    });
  return by(one, other) || by(other, one);
}

/**
 * Pairs of nodes that are peers by their traffic or their views: [one, other, forth, back], the
 * messages a second from the one to the other and back.
 */
export function links(state) {
  const pairs = new Map();
  const bySystem = new Map();
  for (const each of state.nodes.values()) {
    if (!bySystem.has(each.system)) bySystem.set(each.system, new Map());
    bySystem.get(each.system).set(each.name, each);
  }
  const join = (one, name, rate) => {
    const other = bySystem.get(one.system)?.get(text(name));
    if (!other || other === one) return;
    const [first, second] = one.key < other.key ? [one, other] : [other, one];
    const id = `${first.key}|${second.key}`;
    const pair = pairs.get(id);
    const made = pair ?? [first, second, 0, 0];
    made[first === one ? 2 : 3] += rate;
    if (!pair) pairs.set(id, made);
  };
  for (const one of state.nodes.values()) {
    for (const [name, rate] of Object.entries(one.traffic)) join(one, name, number(rate));
    const view = record(one.view);
    for (const each of list(view.neighbours)) if (Array.isArray(each)) join(one, each[0], 0);
    for (const each of list(view.successors).slice(0, 1)) join(one, record(each).id, 0);
    if (view.leader !== null && view.leader !== undefined) join(one, view.leader, 0);
    for (const each of list(one.faults.cut)) {
      for (const peer of list(record(each).peers)) join(one, peer, 0);
    }
  }
  return pairs;
}
