// The live stream: reads `/events`, begins again by itself with longer and longer pauses, and
// knows how long nothing was heard. It reads the response as text, because EventSource would
// hide the `: alive` comments by which a quiet cluster differs from a dead connection.

import { reader } from "./sse.js";

const STALE_MS = 12_000;
const PAUSES_MS = [300, 700, 1500, 3000, 6000, 10_000];

export class Stream {
  /** `on` has snapshot(data), frame(data), locked(). */
  constructor(on) {
    Object.assign(this, { on, heard: 0, connected: false, attempt: 0, locked: false });
    this.timer = null;
    this.abort = null;
    setInterval(() => this.watch(), 1000);
    // A page that comes back from sleep or from the background should not wait out its pause.
    window.addEventListener("online", () => this.start());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.connected) this.start();
    });
  }

  /** Milliseconds since anything was heard. */
  silence() {
    return this.heard === 0 ? Infinity : Date.now() - this.heard;
  }

  /** Whether what is shown may be old. */
  get stale() {
    return this.heard !== 0 && this.silence() > STALE_MS;
  }

  watch() {
    // A connection that is open and silent is dead: the other end would have said `: alive`.
    if (this.connected && this.silence() > STALE_MS + 3000) {
      this.connected = false;
      this.start();
    }
  }

  start() {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.abort = new AbortController();
    this.read(this.abort.signal);
  }

  async read(signal) {
    try {
      const response = await fetch("/events", {
        signal,
        cache: "no-store",
        headers: { accept: "text/event-stream" },
      });
      if (response.status === 401) {
        this.locked = true;
        this.on.locked();
        return;
      }
      if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
      this.locked = false;
      const parser = reader();
      const decoder = new TextDecoder();
      const body = response.body.getReader();
      for (;;) {
        const { done, value } = await body.read();
        if (done) break;
        this.heard = Date.now();
        this.connected = true;
        for (const event of parser.feed(decoder.decode(value, { stream: true }))) this.take(event);
      }
    } catch {
      // Whatever ended it, it is begun again below.
    }
    if (signal.aborted) return;
    this.connected = false;
    const pause = PAUSES_MS[Math.min(this.attempt, PAUSES_MS.length - 1)];
    this.attempt += 1;
    this.timer = setTimeout(() => this.start(), pause * (0.8 + Math.random() * 0.4));
  }

  take(event) {
    let data;
    try {
      data = JSON.parse(event.data);
    } catch {
      return;
    }
    if (event.kind === "snapshot") {
      this.attempt = 0;
      this.on.snapshot(data);
    } else if (event.kind === "frame") {
      this.on.frame(data);
    }
  }
}
