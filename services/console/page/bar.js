// The top bar: what this is, whether it is live, whether promises hold, the tabs of the systems
// that are seen, and the tape on which one goes back.

import { Keyed, element, icon, say, set } from "./dom.js";
import { age, clock, some, title } from "./format.js";

export class Bar {
  constructor(root, app) {
    this.app = app;
    this.last = {};
    this.state = element(
      "span",
      { id: "connection", class: "pill" },
      element("i", { class: "dot" }),
    );
    this.stateText = element("span");
    this.state.append(this.stateText);
    this.promises = element("a", { id: "promise-summary", class: "pill", href: "#/promises" });
    this.promiseIcon = element("span");
    this.promiseText = element("span");
    this.promises.append(this.promiseIcon, this.promiseText);
    const tabs = element("ul", { id: "tabs" });
    this.tabs = new Keyed(
      tabs,
      (key) =>
        element(
          "li",
          {},
          element("a", {
            href: key === "plan" ? "#/" : `#/${encodeURIComponent(key)}`,
            "data-tab": key,
          }),
        ),
      (made, item) => this.tab(made.firstChild, item),
    ).inOrder();
    root.append(
      element(
        "div",
        { class: "bar" },
        element(
          "a",
          { class: "brand", href: "#/", "aria-label": "Ensemble console, floor plan" },
          mark(),
          element("span", {}, "Ensemble"),
        ),
        element("nav", { "aria-label": "Views" }, tabs),
        element("div", { class: "pills" }, this.promises, this.state),
      ),
      this.transport(app.history),
    );
    // The panel stands under the bar, which is as high as its lines are many.
    new ResizeObserver(() =>
      document.documentElement.style.setProperty("--top", `${root.offsetHeight}px`),
    ).observe(root);
  }

  transport(history) {
    const button = (id, label, picture, act) =>
      element(
        "button",
        { id, class: "quiet", title: label, "aria-label": label, onclick: act },
        icon(picture),
      );
    this.playing = button("play", "Pause", "pause", () => {
      if (history.mode === "paused") history.play();
      else history.pause();
    });
    this.range = element("input", {
      id: "scrubber",
      type: "range",
      min: 0,
      max: 1000,
      step: 1,
      value: 1000,
      "aria-label": "Moment that is shown",
      title: "Drag to see an earlier moment",
    });
    this.range.addEventListener("input", () => {
      const tape = history.shown;
      if (!tape) return;
      if (history.mode === "playing") history.mode = "paused";
      history.seek(tape.from + (this.range.value / 1000) * (tape.to - tape.from));
    });
    this.moment = element("output", { id: "moment", class: "numbers" });
    this.goLive = element(
      "button",
      { id: "go-live", class: "quiet", onclick: () => history.goLive() },
      "Go live",
    );
    this.speed = element(
      "select",
      {
        id: "speed",
        "aria-label": "Speed of playing",
        onchange: () => {
          history.speed = Number(this.speed.value);
        },
      },
      ...[
        ["0.25", "¼×"],
        ["1", "1×"],
        ["4", "4×"],
        ["16", "16×"],
      ].map(([value, label]) => element("option", { value, selected: value === "1" }, label)),
    );
    const chooser = element("input", {
      id: "open-file",
      type: "file",
      accept: ".json,application/json",
      hidden: true,
    });
    chooser.addEventListener("change", () => this.read(chooser, history));
    this.wrong = element("p", {
      class: "error bar-error",
      id: "history-error",
      role: "alert",
      hidden: true,
    });
    return element(
      "div",
      { class: "tape", role: "group", "aria-label": "History" },
      this.playing,
      this.range,
      this.moment,
      this.speed,
      this.goLive,
      button("save-file", "Save what was seen to a file", "save", () => this.save(history)),
      button("open-saved", "Open a saved file", "open", () => chooser.click()),
      chooser,
      this.wrong,
    );
  }

  save(history) {
    const content = history.saved();
    if (content === null) return;
    const url = URL.createObjectURL(new Blob([content], { type: "application/json" }));
    const day = new Date(history.shown.to).toISOString().slice(0, 19).replaceAll(":", "-");
    element("a", { href: url, download: `ensemble-${day}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  async read(chooser, history) {
    const [file] = chooser.files;
    chooser.value = "";
    if (!file) return;
    this.wrong.hidden = true;
    try {
      history.open(file.name, await file.text());
    } catch (error) {
      this.wrong.hidden = false;
      say(this.wrong, `${file.name}: ${error.message}`);
    }
  }

  tab(link, { label, active, alarm }) {
    say(link, label);
    set(link, { "aria-current": active ? "page" : null, "data-alarm": alarm });
  }

  update(app, seen) {
    const name = app.view?.name;
    const broken = [...app.state.promises.values()].filter((each) => each.holds === false).length;
    const tabs = [
      ["plan", "Floor plan"],
      ...seen.map((each) => [each, title(each)]),
      ["traces", "Traces"],
      ["promises", "Promises"],
    ];
    this.tabs.show(
      tabs.map(([key, label]) => [
        key,
        { label, active: key === name, alarm: key === "promises" && broken > 0 },
      ]),
    );
    this.connection(app);
    this.promise(app, broken);
    this.tape(app.history);
    const view = tabs.find(([key]) => key === name)?.[1] ?? "Ensemble";
    document.title = `${broken > 0 ? "● " : ""}${view} · Ensemble console`;
  }

  connection({ history, announce }) {
    const { stream } = history;
    let [state, text] = ["live", "Live"];
    if (history.file) [state, text] = ["past", `File ${history.file.name}`];
    else if (history.mode === "playing") [state, text] = ["past", "Playing"];
    else if (history.mode === "paused") [state, text] = ["past", "Paused"];
    else if (stream.locked) [state, text] = ["stale", "Needs the token"];
    else if (stream.heard === 0) [state, text] = ["waiting", "Connecting…"];
    else if (stream.stale || (!stream.connected && stream.silence() > 2500)) {
      [state, text] = ["stale", `Stale for ${age(stream.silence())}`];
    }
    set(this.state, { "data-state": state });
    say(this.stateText, text);
    document.documentElement.dataset.connection = state;
    if (this.last.state !== undefined && this.last.state !== state) {
      announce(
        {
          live: "The page is live again.",
          stale: "The connection is lost: what is shown is old.",
          past: "The page shows the past.",
          waiting: "Connecting.",
        }[state],
      );
    }
    this.last.state = state;
  }

  promise(app, broken) {
    const all = [...app.state.promises.values()];
    const judged = all.filter((each) => each.holds !== null);
    const state = broken > 0 ? "broken" : judged.length > 0 ? "holds" : "none";
    set(this.promises, { "data-state": state });
    if (this.last.promise !== state) {
      this.promiseIcon.replaceChildren(
        icon(state === "broken" ? "cross" : state === "holds" ? "check" : "dots"),
      );
      if (state === "broken" && this.last.promise !== undefined) {
        const first = all.find((each) => each.holds === false);
        app.announce(`A promise is broken: ${first.title}.`);
      }
      this.last.promise = state;
    }
    say(
      this.promiseText,
      broken > 0
        ? `${some(broken, "promise")} broken`
        : judged.length > 0
          ? `${judged.length} ${judged.length === 1 ? "promise holds" : "promises hold"}`
          : "No promises judged",
    );
  }

  tape(history) {
    const tape = history.shown;
    const live = history.mode === "live";
    // Where nothing changes nothing is told: time goes on while the connection lives.
    const goesOn = live && this.last.state === "live";
    const at = goesOn ? history.now() : live ? (tape?.to ?? 0) : history.at;
    if (tape) {
      const part = !live && tape.to > tape.from ? (at - tape.from) / (tape.to - tape.from) : 1;
      if (document.activeElement !== this.range || !this.range.matches(":active")) {
        this.range.value = String(Math.round(part * 1000));
      }
      this.range.style.setProperty("--part", `${part * 100}%`);
      set(this.range, { "aria-valuetext": clock(at) });
    }
    set(this.range, { disabled: !tape });
    const ago = tape && !live ? tape.to - at : 0;
    say(this.moment, tape ? `${clock(at)}${ago > 500 ? ` · ${age(ago)} back` : ""}` : "–");
    const picture = history.mode === "paused" ? "play" : "pause";
    if (this.last.picture !== picture) {
      this.last.picture = picture;
      this.playing.replaceChildren(icon(picture));
      set(this.playing, {
        "aria-label": picture === "play" ? "Play" : "Pause",
        title: picture === "play" ? "Play" : "Pause",
      });
    }
    this.goLive.hidden = live;
    this.speed.hidden = live;
  }
}

function mark() {
  const image = element("img", { src: "/page/favicon.svg", alt: "", width: 22, height: 22 });
  return image;
}
