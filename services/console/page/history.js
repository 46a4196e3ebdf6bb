// What the page shows: the live state, or a moment of a tape. Pausing, scrubbing, playing, going
// live, saving and opening are here; drawing them is the top bar's.

import { ask } from "./ask.js";
import { Stream } from "./stream.js";
import { ACTS_LIMIT, EVENTS_LIMIT, advanced, nothing, restored } from "./state.js";
import { Tape, asFrame, opened } from "./tape.js";
import { Terms } from "./terms.js";
import { clamp, number, record } from "./values.js";

const BACKFILL_MS = 5 * 60_000;

export class History {
  /** `changed(jumped)` is called whenever there is something else to show. */
  constructor(changed, locked) {
    this.changed = changed;
    this.live = nothing();
    this.liveTerms = new Terms();
    this.tape = null;
    this.file = null;
    this.mode = "live";
    this.at = 0;
    this.speed = 1;
    this.next = 0;
    this.offset = 0;
    this.stream = new Stream({
      snapshot: (data) => this.snapshot(data),
      frame: (data) => this.frame(data),
      locked,
    });
  }

  get state() {
    return this.mode === "live" ? this.live : (this.past ?? this.live);
  }

  get terms() {
    return this.mode === "live" || !this.pastTerms ? this.liveTerms : this.pastTerms;
  }

  /** The tape that is scrubbed: the file's, or what was seen by this page. */
  get shown() {
    return this.file?.tape ?? this.tape;
  }

  /** The moment that is shown, by the console's clock. */
  now() {
    return this.mode === "live" ? Date.now() + this.offset : this.at;
  }

  snapshot(data) {
    const first = this.tape === null;
    if (first) this.tape = new Tape(data);
    else this.tape.record(asFrame(this.live, data));
    this.live = restored(this.live, data);
    this.hear(!first);
    if (first) this.backfill();
  }

  frame(data) {
    if (this.tape === null) return;
    this.tape.record(data);
    this.live = advanced(this.live, data);
    this.hear(false);
  }

  hear(jumped) {
    this.offset = this.live.at - Date.now();
    this.liveTerms.observe(this.live);
    if (this.mode === "live") this.changed(jumped);
  }

  /** Fetches what was seen before this page was opened. */
  async backfill() {
    const start = this.tape.from;
    const from = Math.max(number(this.live.oldest, start), start - BACKFILL_MS);
    if (start - from < 1000) return;
    try {
      const seen = record(await ask(`/history?from=${Math.floor(from)}&to=${Math.floor(start)}`));
      this.tape.precede({ at: from, ...record(seen.snapshot) }, seen.frames);
      this.liveTerms = this.observed(this.tape);
      // What happened and was done in the minutes before belongs to the story of the live page.
      const before = this.tape.stateAt(start - 1);
      this.live = {
        ...this.live,
        events: [...before.events, ...this.live.events].slice(-EVENTS_LIMIT),
        acts: [...before.acts, ...this.live.acts].slice(-ACTS_LIMIT),
      };
      if (this.mode === "live") this.changed(true);
    } catch {
      // Without it the page scrubs over what it saw itself.
    }
  }

  observed(tape) {
    const terms = new Terms();
    let state = tape.marks[0];
    terms.observe(state);
    for (const frame of tape.frames) {
      state = advanced(state, frame);
      terms.observe(state);
    }
    return terms;
  }

  /** Stops at a moment of the tape. */
  seek(at) {
    const tape = this.shown;
    if (!tape) return;
    if (this.mode === "live") this.pastTerms = this.liveTerms;
    this.mode = this.mode === "playing" ? "playing" : "paused";
    this.at = clamp(at, tape.from, tape.to);
    this.past = tape.stateAt(this.at);
    this.changed(true);
  }

  pause() {
    if (this.mode === "live") this.seek(this.live.at);
    this.mode = "paused";
    this.changed(true);
  }

  play() {
    if (!this.shown) return;
    if (this.mode === "live") return;
    if (this.at >= this.shown.to) this.seek(this.shown.from);
    this.mode = "playing";
    let last = performance.now();
    const step = (time) => {
      if (this.mode !== "playing") return;
      const before = this.shown.countAt(this.at);
      this.at = Math.min(this.at + (time - last) * this.speed, this.shown.to);
      last = time;
      if (this.shown.countAt(this.at) !== before) this.past = this.shown.stateAt(this.at);
      if (this.at >= this.shown.to) this.mode = "paused";
      this.changed(false);
      this.next = requestAnimationFrame(step);
    };
    // One that was paused a moment ago may be due yet.
    cancelAnimationFrame(this.next);
    this.next = requestAnimationFrame(step);
  }

  goLive() {
    this.mode = "live";
    this.file = null;
    this.past = null;
    this.pastTerms = null;
    this.changed(true);
  }

  /** What is to be written to a file, or null when nothing was seen. */
  saved() {
    return this.shown ? JSON.stringify(this.shown.saved()) : null;
  }

  /** Shows a file's tape; throws when it holds none. */
  open(name, content) {
    const tape = opened(content);
    this.file = { name, tape };
    this.mode = "paused";
    this.pastTerms = this.observed(tape);
    this.seek(tape.from);
  }
}
