// Starts the page: the history, the top bar, the views by hash routes, the panel. It draws at most
// once a frame of the screen, and only the view that is open.

import { ask, whenLocked } from "./ask.js";
import { Bar } from "./bar.js";
import { say } from "./dom.js";
import { History } from "./history.js";
import { login } from "./login.js";
import { Panel } from "./panel.js";
import { ChordView } from "./chord.js";
import { OtherView } from "./other.js";
import { OverlayView } from "./overlay.js";
import { PlanView } from "./plan.js";
import { PromisesView } from "./promises.js";
import { RaftView } from "./raft.js";
import { TracesView } from "./traces.js";
import { systems } from "./state.js";

const main = document.getElementById("main");
const heard = document.getElementById("heard");
const VIEWS = {
  plan: PlanView,
  overlay: OverlayView,
  raft: RaftView,
  chord: ChordView,
  traces: TracesView,
  promises: PromisesView,
};

class App {
  constructor() {
    this.chosen = null;
    this.view = null;
    this.due = false;
    this.jumped = false;
    this.dialog = login(() => this.history.stream.start());
    whenLocked(() => this.dialog.open());
    this.history = new History(
      (jumped) => this.draw(jumped),
      () => this.dialog.open(),
    );
    this.bar = new Bar(document.getElementById("top"), this);
    this.panel = new Panel(document.getElementById("panel"), this);
  }

  get state() {
    return this.history.state;
  }

  get now() {
    return this.history.now();
  }

  /** Whether what is shown is the present: only the present can be acted on. */
  get live() {
    return this.history.mode === "live";
  }

  async start() {
    await this.dialog.bring();
    window.addEventListener("hashchange", async () => {
      await this.dialog.bring();
      this.route();
    });
    window.addEventListener("resize", () => this.draw(false));
    window.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.chosen !== null && !event.defaultPrevented)
        this.choose(null);
    });
    document.getElementById("skip").addEventListener("click", (event) => {
      event.preventDefault();
      main.focus();
    });
    this.route();
    this.begin();
    // Ages and countdowns go on when nothing else changes.
    setInterval(() => this.draw(false), 1000);
  }

  /** Opens the stream, or asks for the token first where one is wanted. */
  async begin() {
    try {
      const session = await ask("/session");
      if (session.needs_token === true && session.authorized !== true) {
        this.history.stream.locked = true;
        this.dialog.open();
        return;
      }
    } catch {
      // The stream tells what is wrong, and begins again by itself.
    }
    this.history.stream.start();
  }

  route() {
    const [, name = "", id = ""] = location.hash.split("/");
    const wanted = name === "" ? "plan" : decode(name);
    const rest = decode(id);
    if (!this.view || this.view.name !== wanted) {
      this.view?.close?.();
      const View = Object.hasOwn(VIEWS, wanted) ? VIEWS[wanted] : OtherView;
      this.view = new View(this, wanted);
      this.view.name = wanted;
      main.dataset.view = wanted;
      main.replaceChildren(this.view.element);
      window.scrollTo(0, 0);
    }
    this.view.route?.(rest);
    this.draw(true);
  }

  /** Draws at the next frame of the screen. */
  draw(jumped) {
    this.jumped ||= jumped;
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      const jump = this.jumped;
      this.jumped = false;
      this.bar.update(this, systems(this.state));
      this.view?.update(this, jump);
      this.panel.update(this);
    });
  }

  /** Chooses a node and opens its panel; null closes it. */
  choose(key, byKeyboard = false) {
    const before = this.chosen;
    this.chosen = key;
    if (key !== null) {
      this.panel.open(this, byKeyboard);
    } else {
      this.panel.close();
      if (before !== null) main.querySelector(`[data-node="${CSS.escape(before)}"]`)?.focus();
    }
    this.draw(false);
  }

  /** Says something to those who listen to the page. */
  announce(text) {
    say(heard, text);
  }
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

new App().start();
