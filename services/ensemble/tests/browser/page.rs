//! What a user of the page does and sees. Waits are on what he would see, with patience.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::browser::Browser;

/// How long a user waits for something, in milliseconds.
const PATIENCE_MS: u64 = 60_000;
/// Asks again and again whether something is so, in the page itself: that costs nearly nothing.
const UNTIL: &str = "
    const done = arguments[arguments.length - 1];
    const given = [...arguments].slice(1, -1);
    const end = performance.now() + arguments[0];
    const look = () => {
      let value = null;
      try { value = (function () { BODY }).apply(null, given); } catch { value = null; }
      if (value || performance.now() > end) done(value || null);
      else setTimeout(look, 40);
    };
    look();";
/// The name that WebDriver gives to elements in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The page in a browser.
pub(crate) struct Page {
    browser: Browser,
    /// What the console's log may say, since the test has caused it.
    excused: Vec<&'static str>,
}

impl Page {
    /// The page at an address.
    pub(crate) fn open(browser: Browser, address: &str) -> Self {
        let page = Self { browser, excused: Vec::new() };
        page.browser.open(&format!("http://{address}/"));
        page
    }

    /// Opens it anew.
    pub(crate) fn reload(&self) {
        self.browser.post("/refresh", &json!({}));
    }

    /// Where downloads go.
    pub(crate) fn downloads(&self) -> &Path {
        self.browser.downloads()
    }

    /// Complaints of the browser with this text are what the test is about.
    pub(crate) fn excuse(&mut self, text: &'static str) {
        self.excused.push(text);
    }

    /// Runs the body of a function in the page; what it returns.
    pub(crate) fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.browser.run(script, arguments)
    }

    /// A command of Chromium's own protocol.
    pub(crate) fn chromium(&self, command: &str, parameters: &Value) -> Value {
        self.browser.chromium(command, parameters)
    }

    /// Waits until the body of a function returns something that is so.
    pub(crate) fn until(&self, what: &str, body: &str, arguments: &[Value]) -> Value {
        self.until_within(PATIENCE_MS, what, body, arguments)
    }

    /// The same with another patience.
    pub(crate) fn until_within(
        &self,
        patience_ms: u64,
        what: &str,
        body: &str,
        arguments: &[Value],
    ) -> Value {
        let arguments = [&[json!(patience_ms)], arguments].concat();
        let value = self.browser.run_later(&UNTIL.replace("BODY", body), &arguments);
        if value.is_null() {
            self.give_up(&format!("{what} is not seen in time: {body} {arguments:?}"));
        }
        value
    }

    /// Runs the body of a function that calls its only argument with what it has found.
    pub(crate) fn until_later(&self, script: &str) -> Value {
        self.browser.run_later(script, &[])
    }

    /// Waits until something is there and can be seen.
    pub(crate) fn sees(&self, css: &str) {
        self.until(
            css,
            "return document.querySelector(arguments[0])?.checkVisibility();",
            &[json!(css)],
        );
    }

    /// Waits until nothing is left of something.
    pub(crate) fn misses(&self, css: &str) {
        self.until(
            &format!("no {css}"),
            "return !document.querySelector(arguments[0])?.checkVisibility();",
            &[json!(css)],
        );
    }

    /// Waits until something says these words; the whole of what it says.
    pub(crate) fn reads(&self, css: &str, words: &str) -> String {
        let text = self.until(
            &format!("{css} with “{words}”"),
            "const text = document.querySelector(arguments[0])?.textContent ?? '';
             return text.includes(arguments[1]) ? text : null;",
            &[json!(css), json!(words)],
        );
        text.as_str().expect("text").to_owned()
    }

    /// How many of something there are.
    pub(crate) fn count(&self, css: &str) -> u64 {
        let count =
            self.run("return document.querySelectorAll(arguments[0]).length;", &[json!(css)]);
        count.as_u64().expect("a count")
    }

    /// Clicks on something as soon as it can be clicked.
    pub(crate) fn click(&self, css: &str) {
        self.sees(css);
        self.touch(css, "click", &json!({}));
    }

    /// Writes into a field, after what is in it.
    pub(crate) fn write(&self, css: &str, text: &str) {
        self.sees(css);
        self.touch(css, "value", &json!({ "text": text }));
    }

    /// Writes into a field instead of what is in it.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        self.sees(css);
        self.touch(css, "clear", &json!({}));
        self.write(css, text);
    }

    /// Does something with an element, again when the page has just put another in its place.
    fn touch(&self, css: &str, what: &str, body: &Value) {
        for attempt in 0.. {
            let found = json!({ "using": "css selector", "value": css });
            let done = self.browser.try_post("/element", &found).and_then(|found| {
                let id = found[ELEMENT].as_str().expect("an element");
                self.browser.try_post(&format!("/element/{id}/{what}"), body)
            });
            let Err(refusal) = done else { return };
            let moved = ["stale element reference", "element click intercepted", "no such element"];
            let again = attempt < 50
                && (moved.contains(&&*refusal.error)
                    || refusal.error == "element not interactable");
            if !again {
                self.give_up(&format!("{what} {css}: {refusal:?}"));
            }
            // A frame of the screen later it may lie still.
            self.run_frames(1);
        }
    }

    /// Gives a file to a field that takes one; it may be hidden behind a button.
    pub(crate) fn upload(&self, css: &str, path: &Path) {
        let found = json!({ "using": "css selector", "value": css });
        let found = self.browser.post("/element", &found);
        let id = found[ELEMENT].as_str().expect("an element");
        let path = json!({ "text": path.to_str().expect("text") });
        self.browser.post(&format!("/element/{id}/value"), &path);
    }

    /// Lets the page draw so many frames.
    pub(crate) fn run_frames(&self, frames: u32) {
        self.browser.run_later(
            "let left = arguments[0];
             const step = () => (left-- > 0 ? requestAnimationFrame(step) : arguments[1]());
             step();",
            &[json!(frames)],
        );
    }

    /// Chooses an option of a list.
    pub(crate) fn choose(&self, css: &str, value: &str) {
        self.sees(css);
        self.touch(&format!("{css} option[value=\"{value}\"]"), "click", &json!({}));
    }

    /// Presses keys one after another wherever the focus is. Named ones are of `keys`.
    pub(crate) fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            let key = key.to_string();
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        });
        let strokes = strokes.collect::<Vec<_>>();
        let keyboard = json!({ "type": "key", "id": "keys", "actions": strokes });
        self.browser.post("/actions", &json!({ "actions": [keyboard] }));
    }

    /// Goes to a view by its tab.
    pub(crate) fn visit(&self, tab: &str) {
        self.click(&format!("[data-tab=\"{tab}\"]"));
        self.sees(&format!("main[data-view=\"{tab}\"] #view-title"));
    }

    /// Makes the screen as large as this.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        self.chromium(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
        self.until("its width", "return innerWidth === arguments[0];", &[json!(width)]);
    }

    /// Writes what is shown, the whole of it, to a file of its own; where.
    pub(crate) fn photograph(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("{name}.png"));
        let parameters = json!({ "format": "png", "optimizeForSpeed": true });
        let shot = self.chromium("Page.captureScreenshot", &parameters);
        let bytes = BASE64_STANDARD.decode(shot["data"].as_str().expect("text")).expect("base64");
        fs::write(&path, bytes).expect("written");
        path
    }

    /// Tells what is shown, and fails.
    fn give_up(&self, why: &str) -> ! {
        let shown = self.run("return `${location.hash}\\n${document.body.innerText}`;", &[]);
        let shown = shown.as_str().unwrap_or_default().chars().take(3_000).collect::<String>();
        let complaints = self.browser.complaints();
        let path = self.photograph(&format!("failure-{}", std::process::id()));
        panic!("{why}\n{complaints:#?}\n{shown}\nits picture: {}", path.display());
    }

    /// Fails if the browser has complained of anything that was not excused.
    pub(crate) fn was_sound(self) {
        let complaints = self.browser.complaints();
        let wrong = complaints
            .iter()
            .filter(|complaint| !self.excused.iter().any(|excused| complaint.contains(excused)));
        let wrong = wrong.collect::<Vec<_>>();
        assert!(wrong.is_empty(), "the browser complains: {wrong:#?}");
    }
}

/// Keys that have no letter, as WebDriver writes them.
pub(crate) mod keys {
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const ESCAPE: &str = "\u{e00c}";
    pub(crate) const TAB: &str = "\u{e004}";
    pub(crate) const RIGHT: &str = "\u{e014}";
    pub(crate) const LEFT: &str = "\u{e012}";
    pub(crate) const UP: &str = "\u{e013}";
    pub(crate) const DOWN: &str = "\u{e015}";
    pub(crate) const HOME: &str = "\u{e011}";
    pub(crate) const END: &str = "\u{e010}";
    pub(crate) const PAGE_UP: &str = "\u{e00e}";
}
