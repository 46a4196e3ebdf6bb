// Raft as the page infers it from changes of views: what moved, whose timer runs, who led when,
// which part of a log is in which state. Pure; nothing is invented: an entry moved when a
// follower's `last` grew.

import { clamp, list, number, record, text } from "./values.js";

const SEGMENTS_LIMIT = 600;

/** What was read of nodes as they were: another frame has another node. */
const known = new WeakMap();

/** A node's raft view with every field that the page relies on. */
export function viewOf(node) {
  let view = known.get(node);
  if (view === undefined) {
    view = read(node);
    known.set(node, view);
  }
  return view;
}

function read(node) {
  const view = record(node.view);
  return {
    seen: node.view !== null,
    id: text(view.id, node.name),
    role: text(view.role, node.view === null ? "unknown" : "?"),
    term: number(view.term),
    vote: text(view.vote) || null,
    leader: text(view.leader) || null,
    first: number(view.first, 1),
    last: number(view.last),
    commit: number(view.commit),
    applied: number(view.applied),
    snapshot: number(view.snapshot),
    keys: number(record(view.store).keys),
    members: list(view.members).map(record),
    votes: list(view.votes).map((id) => text(id)),
    timeout: number(record(view.election).timeout_ms),
  };
}

/** The node that leads by the highest term, or null. */
export function leaderOf(nodes) {
  let best = null;
  for (const node of nodes) {
    const view = viewOf(node);
    if (view.role !== "leader" || node.health === "unreachable") continue;
    if (best === null || view.term > viewOf(best).term) best = node;
  }
  return best;
}

/** Whether a node asks for votes, or asks how they would be given. */
export const stands = (view) => view.role === "candidate" || view.role === "pre_candidate";

/** The voters of a node's configuration, by their ids. */
export const votersOf = (view) =>
  view.members.filter((member) => member.standing === "voter").map((member) => text(member.id));

/**
 * The election timer of a node at a moment, or null where there is none: which part of it is left,
 * whether that becomes less as time goes by, and how it is to be drawn. A view says how long the
 * node heard nothing, in whole heartbeats; between two views at most one more has gone by, and none
 * at a node that is suspended. `still` draws what the views say, and nothing between.
 */
export function timerOf(node, now, still = false) {
  const election = record(record(node.view).election);
  const timeout = number(election.timeout_ms);
  if (timeout <= 0 || node.health === "unreachable") return null;
  const quiet = number(election.quiet_ms);
  const stopped = number(node.faults.suspended_until) > now;
  // Who stands for election waits for no heartbeat: its timer runs as soon as it is set.
  const calm = quiet <= 0 && !stands(viewOf(node));
  const most = stopped || still || calm ? 0 : number(election.heartbeat_ms);
  const since = clamp(now - node.viewed, 0, most);
  const left = clamp(1 - (quiet + since) / timeout, 0, 1);
  const state = stopped ? "stopped" : calm ? "calm" : "runs";
  return { left, runs: since < most && left > 0, state };
}

/** What a node's standing for election lets fly: a question to each other voter. */
function asks(node, was, is, byId) {
  const again = is.role !== was.role || is.term !== was.term || is.timeout !== was.timeout;
  // Who was elected between two looks has stood, too: it has its own vote.
  const stood = stands(is) ? again : is.vote === is.id && is.term > was.term;
  if (!stood) return [];
  const term = is.role === "pre_candidate" ? is.term + 1 : is.term;
  return votersOf(is)
    .map((id) => byId.get(id))
    .filter((other) => other && other !== node)
    .map((other) => ["ask", node.key, other.key, `t${term}?`]);
}

/** What moved between two views of the same nodes: [kind, from, to, label]. */
export function moves(before, after) {
  const leader = leaderOf(after);
  const byId = new Map(after.map((node) => [viewOf(node).id, node]));
  const found = [];
  for (const node of after) {
    const old = before.get(node.key);
    if (!old || old === node || !old.view) continue;
    const [was, is] = [viewOf(old), viewOf(node)];
    if (leader && node !== leader && is.last > was.last) {
      const many = is.last - was.last;
      found.push(["entry", leader.key, node.key, many > 1 ? `${many}` : `${is.last}`]);
    }
    if (is.vote !== null && is.vote !== is.id && (is.vote !== was.vote || is.term !== was.term)) {
      const to = byId.get(is.vote);
      if (to) found.push(["vote", node.key, to.key, `t${is.term}`]);
    }
    found.push(...asks(node, was, is, byId));
    // What a vote would be is told by none but who asked for it.
    for (const id of is.role === "pre_candidate" ? is.votes : []) {
      const from = byId.get(id);
      if (from && from !== node && !was.votes.includes(id)) {
        found.push(["vote", from.key, node.key, "yes"]);
      }
    }
  }
  return found;
}

/** The state of one entry in one log. */
export function cell(view, index) {
  if (index <= view.snapshot && index < view.first) return "snapshot";
  if (index > view.last || index < 1) return "absent";
  if (index <= view.applied) return "applied";
  return index <= view.commit ? "committed" : "appended";
}

/** The columns that the log blocks show: the newest indices that fit. */
export function columns(views, fit) {
  const last = Math.max(0, ...views.map((view) => Math.max(view.last, view.commit)));
  const to = Number.isSafeInteger(last) ? last : 0;
  return { from: Math.max(1, to - fit + 1), to };
}

/** Who was what when: segments a node, taken up frame by frame. */
export class Terms {
  constructor() {
    this.lanes = new Map();
    this.at = 0;
  }

  /** Takes up the state at a time; only nodes whose value changed cost anything. */
  observe(state) {
    this.at = Math.max(this.at, state.at);
    for (const node of state.nodes.values()) {
      if (node.system !== "raft") continue;
      const lane = this.lanes.get(node.key);
      if (lane && lane.node === node) continue;
      const view = viewOf(node);
      const role = node.health === "unreachable" ? "unreachable" : view.role;
      const segments = lane ? lane.segments : [];
      const open = segments.at(-1);
      if (!open || open.role !== role || open.term !== view.term) {
        segments.push({ from: state.at, role, term: view.term, leader: view.leader });
        if (segments.length > SEGMENTS_LIMIT) segments.shift();
      }
      this.lanes.set(node.key, { node, segments, gone: null });
    }
    for (const [key, lane] of this.lanes) {
      if (!state.nodes.has(key) && lane.gone === null) {
        lane.gone = state.at;
        lane.segments.push({ from: state.at, role: "gone", term: 0, leader: null });
      }
    }
  }

  /** The bands that lie in a time: [key, [{from, to, role, term}]]. */
  between(from, to) {
    return [...this.lanes].map(([key, lane]) => [
      key,
      lane.segments
        .map((each, index) => ({
          ...each,
          to: lane.segments[index + 1]?.from ?? Math.max(this.at, to),
        }))
        .filter((each) => each.to > from && each.from < to),
    ]);
  }

  get from() {
    return Math.min(
      this.at,
      ...[...this.lanes.values()].map((lane) => number(lane.segments[0]?.from, this.at)),
    );
  }
}
