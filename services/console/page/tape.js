// A tape of what was seen: a state at its start and the frames after it. It is recorded while the
// stream runs, played back when the viewer pauses, saved to a file and read from one. Pure.

import { advanced, nothing, restored } from "./state.js";
import { list, number, record } from "./values.js";

const KEPT_MS = 15 * 60_000;
const FRAMES_LIMIT = 20_000;
const STRIDE = 200;
/** Of what takes memory, as many are kept: processes and events of all frames. */
const WEIGHT_LIMIT = 60_000;
/** Milliseconds that frames span which were made coarser once, and twice. */
const COARSE_MS = [500, 2000];
/** The newest frames are never made coarser. */
const FINE = 600;

const weight = (frame) => 1 + list(frame.nodes).length + list(frame.events).length / 4;

/** Frames that follow each other as one: what holds after them, and all that happened in them. */
export function merged(frames) {
  const last = frames.at(-1);
  const [nodes, promises, gone] = [new Map(), new Map(), new Set()];
  for (const frame of frames) {
    for (const each of list(frame.nodes)) {
      nodes.set(record(each).key, each);
      gone.delete(record(each).key);
    }
    for (const key of list(frame.gone)) gone.add(key);
    for (const each of list(frame.promises)) promises.set(record(each).id, each);
  }
  const all = (name) => frames.flatMap((frame) => list(frame[name]));
  return {
    ...Object.assign({}, ...frames),
    at: last.at,
    number: last.number,
    nodes: [...nodes.values()],
    gone: [...gone],
    promises: [...promises.values()],
    events: all("events"),
    acts: all("acts"),
  };
}

/** What a snapshot in mid-stream says, as a frame: so a tape has one snapshot, at its start. */
export function asFrame(state, snapshot) {
  const given = record(snapshot);
  const there = new Set(list(given.nodes).map((each) => record(each).key));
  return {
    at: given.at,
    number: state.number,
    nodes: list(given.nodes),
    gone: [...state.nodes.keys()].filter((key) => !there.has(key)),
    promises: list(given.promises),
    spans: given.spans,
  };
}

/** Makes a tape that starts with a snapshot. */
export class Tape {
  constructor(snapshot, frames = []) {
    this.snapshot = record(snapshot);
    this.frames = [];
    this.marks = [restored(nothing(), this.snapshot)];
    this.trimmed = false;
    this.weight = 0;
    this.coarse = { level: 0, next: 0 };
    for (const frame of frames) this.record(frame);
  }

  get from() {
    return number(this.marks[0].at);
  }

  get to() {
    return number(this.frames.at(-1)?.at, this.from);
  }

  /** Takes the next frame; the oldest go when the tape is full. */
  record(frame) {
    this.frames.push(record(frame));
    this.weight += weight(this.frames.at(-1));
    while (this.weight > WEIGHT_LIMIT && this.makeCoarser());
    if (
      this.weight > WEIGHT_LIMIT ||
      this.frames.length > FRAMES_LIMIT ||
      this.to - number(this.frames[0].at) > KEPT_MS + 30_000
    ) {
      this.trim();
    }
  }

  /** Makes one frame of the next few that are of one time; false when all old ones are coarse. */
  makeCoarser() {
    const { coarse } = this;
    const end = this.frames.length - FINE;
    while (coarse.level < COARSE_MS.length) {
      const step = (at) => Math.floor(number(this.frames[at].at) / COARSE_MS[coarse.level]);
      for (; coarse.next < end; coarse.next += 1) {
        let to = coarse.next + 1;
        while (to < end && step(to) === step(coarse.next)) to += 1;
        if (to - coarse.next < 2) continue;
        const few = this.frames.slice(coarse.next, to);
        const one = merged(few);
        this.frames.splice(coarse.next, few.length, one);
        this.weight += weight(one) - few.reduce((sum, frame) => sum + weight(frame), 0);
        this.marks.length = Math.min(this.marks.length, Math.floor(coarse.next / STRIDE) + 1);
        return true;
      }
      Object.assign(coarse, { level: coarse.level + 1, next: 0 });
    }
    // What has become old since is fine yet.
    Object.assign(coarse, { level: 0, next: 0 });
    return false;
  }

  trim() {
    const keep = this.frames.findIndex((frame) => number(frame.at) >= this.to - KEPT_MS);
    const over = this.weight > WEIGHT_LIMIT ? STRIDE : this.frames.length - FRAMES_LIMIT + STRIDE;
    const many = Math.min(Math.max(keep, over, 1), this.frames.length - 1);
    let state = this.marks[0];
    for (const frame of this.frames.slice(0, many)) {
      state = advanced(state, frame);
      this.weight -= weight(frame);
    }
    this.coarse.next = Math.max(0, this.coarse.next - many);
    this.frames = this.frames.slice(many);
    this.marks = [state];
    this.trimmed = true;
  }

  /** Puts what was seen before this tape in front of it. */
  precede(snapshot, frames) {
    const start = this.from;
    const now = { at: start, ...this.snapshot };
    const earlier = new Tape(
      snapshot,
      list(frames).filter((each) => number(record(each).at) < start),
    );
    if (earlier.from >= start || this.trimmed) return;
    const last = earlier.stateAt(Infinity);
    const own = this.frames;
    this.snapshot = earlier.snapshot;
    this.frames = [...earlier.frames, asFrame(last, now), ...own];
    this.weight = this.frames.reduce((sum, frame) => sum + weight(frame), 0);
    this.coarse = { level: 0, next: 0 };
    this.marks = earlier.marks.slice(0, 1);
  }

  /** How many frames are at or before a time. */
  countAt(at) {
    let [low, high] = [0, this.frames.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (number(this.frames[middle].at) <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The state at a time, replayed from the nearest mark before it. */
  stateAt(at) {
    const count = this.countAt(at);
    const whole = Math.floor(count / STRIDE);
    for (let mark = this.marks.length; mark <= whole; mark += 1) {
      let state = this.marks[mark - 1];
      for (const frame of this.frames.slice((mark - 1) * STRIDE, mark * STRIDE)) {
        state = advanced(state, frame);
      }
      this.marks.push(state);
    }
    let state = this.marks[whole];
    for (const frame of this.frames.slice(whole * STRIDE, count)) state = advanced(state, frame);
    return state;
  }

  /** What is written to a file. */
  saved() {
    const start = this.marks[0];
    const snapshot = this.trimmed
      ? {
          at: start.at,
          oldest: start.at,
          spans: start.stats,
          nodes: [...start.nodes.values()].map(({ faultsOn, ...each }) => ({
            ...each,
            faults_on: faultsOn,
          })),
          promises: [...start.promises.values()],
        }
      : this.snapshot;
    return {
      kind: "ensemble-console-history",
      version: 1,
      from: this.from,
      to: this.to,
      snapshot,
      frames: this.frames,
    };
  }
}

/** The tape that a file's text holds; throws an Error that says what is wrong with it. */
export function opened(textOfFile) {
  let given;
  try {
    given = JSON.parse(textOfFile);
  } catch (error) {
    throw new Error(
      `This is no JSON (${error.message}): choose a file that was saved by this page.`,
    );
  }
  const whole = record(given);
  const snapshot = record(whole.snapshot);
  const missing = !Array.isArray(snapshot.nodes)
    ? "snapshot.nodes"
    : typeof snapshot.at !== "number"
      ? "snapshot.at"
      : !Array.isArray(whole.frames)
        ? "frames"
        : null;
  if (missing !== null) {
    throw new Error(
      `This is no saved history: it has no ${missing}. Choose a file that was saved by this page.`,
    );
  }
  if (whole.version !== 1) {
    throw new Error(
      `This file is of version ${number(whole.version)}, and this page reads version 1: open it with the console that saved it.`,
    );
  }
  let last = -Infinity;
  for (const [index, frame] of whole.frames.entries()) {
    const at = record(frame).at;
    if (typeof at !== "number" || at < last) {
      throw new Error(
        `This is no saved history: frame ${index} has no time after the one before it.`,
      );
    }
    last = at;
  }
  return new Tape(snapshot, whole.frames);
}
