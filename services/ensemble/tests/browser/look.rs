//! How the page looks: on a telephone, a laptop and a wall, by day and by night; whether it can be
//! read, heard and keeps up. Pictures of every view go to a folder that is printed.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::page::Page;
use crate::site::eventually;
use crate::stage::{CHORD, OVERLAY, RAFT, Stage};

/// Texts that are too pale against what is behind them: for each its words, its two colours and
/// their contrast. What is behind a text of a picture is the first shape under its middle.
const PALE: &str = include_str!("pale.js");
/// Things that can be pressed or filled in, by their role.
const CONTROLS: [&str; 10] = [
    "button",
    "link",
    "textbox",
    "searchbox",
    "combobox",
    "slider",
    "checkbox",
    "spinbutton",
    "DisclosureTriangle",
    "radio",
];
/// Width and height of a telephone, a laptop and a wall.
const SCREENS: [(u32, u32); 3] = [(360, 740), (1400, 900), (3840, 2160)];

#[test]
fn every_view_fits_every_screen_and_can_be_read_and_heard() {
    let Some(browser) = Browser::start() else { return };
    let mut stage = Stage::set(&[OVERLAY, RAFT, CHORD], &[]);
    stage.site.up(&["overlay", "raft", "chord"]);
    let page = Page::open(browser, &stage.console.address);
    page.reads("#plan-summary", "18 nodes on 1 host, all serving");
    use_everything(&page);
    promises(&stage, &page);
    let mut wrong = String::new();
    for (width, height) in SCREENS {
        page.resize(width, height);
        for scheme in ["light", "dark"] {
            let feature = json!([{ "name": "prefers-color-scheme", "value": scheme },
                { "name": "prefers-reduced-motion", "value": "reduce" }]);
            page.chromium("Emulation.setEmulatedMedia", &json!({ "features": feature }));
            for view in ["plan", "overlay", "raft", "chord", "traces", "promises", "trace", "panel"]
            {
                visit(&page, view);
                inspect(&page, &format!("{view}-{width}-{scheme}"), &mut wrong);
                picture(&page, &format!("{view}-{width}-{scheme}"), (width, height));
            }
        }
    }
    forced_colours(&page);
    page.chromium("Emulation.setEmulatedMedia", &json!({ "features": [] }));
    keeps_up(&page);
    assert!(wrong.is_empty(), "{wrong}");
    page.was_sound();
}

/// All promises that can be judged so early hold.
fn promises(stage: &Stage, page: &Page) {
    const HOLD: &str = "
        const all = [...document.querySelectorAll('#promises > li')];
        const of = (system) => all.filter((each) => each.dataset.state === 'holds'
          && each.querySelector('.tag').textContent === system).length;
        return of('Overlay') >= 1 && of('Raft') >= 5 && of('Chord') >= 1
          && all.every((each) => each.dataset.state !== 'broken');";
    page.visit("promises");
    eventually("those of the overlay and of the store hold, and none is broken", || {
        // What a process says is compared once it has lived for a while: something must happen.
        stage.site.succeed(&["raft", "put", "promise", "kept"]);
        (page.run(HOLD, &[]) == true).then_some(())
    });
    page.reads("#promise-summary", "promises hold");
}

/// Leaves something to be seen in every view.
fn use_everything(page: &Page) {
    page.visit("overlay");
    page.click("#forward");
    page.reads("#forward-form-result", "Answered:");
    page.visit("raft");
    page.click("#put");
    page.reads("#raft-form-result", "Put:");
    page.visit("chord");
    page.click("#save");
    page.reads("#chord-form-result", "saved");
    page.visit("traces");
    page.reads("#trace-list", "overlay forward");
}

fn visit(page: &Page, view: &str) {
    page.run("document.getElementById('panel-close').click();", &[]);
    match view {
        "trace" => {
            page.visit("traces");
            page.click("#trace-list a");
            page.sees("#waterfall .span-row");
            page.click("#waterfall .span-row");
        }
        "panel" => {
            page.visit("plan");
            page.click("#plan [data-node='raft/1']");
            page.run("document.querySelector('[data-fault=cut]').open = true;", &[]);
            page.sees("#break-direction");
        }
        "chord" => {
            page.visit("chord");
            page.click("#find");
            page.reads("#chord-form-result", "found");
            page.click("#chord-table tr:last-child button");
            page.sees("#chord-circle .finger");
        }
        "overlay" | "raft" => {
            page.visit(view);
            page.click(if view == "raft" { "#get" } else { "#forward" });
            page.sees(".result .done");
        }
        other => page.visit(other),
    }
    page.run_frames(3);
}

/// Where colours are the viewer's own, what says something by colours alone keeps its own.
fn forced_colours(page: &Page) {
    let feature = json!([{ "name": "forced-colors", "value": "active" }]);
    page.chromium("Emulation.setEmulatedMedia", &json!({ "features": feature }));
    page.visit("raft");
    let told = page.run(
        "const of = (css, name) => getComputedStyle(document.querySelector(css))[name];
         const [tab, flies] = ['borderBottomColor', 'backgroundColor'];
         return of('#tabs [aria-current]', tab) !== of('#tabs a:not([aria-current])', tab)
           && of('[data-flight=vote].swatch', flies) !== of('[data-flight=entry].swatch', flies);",
        &[],
    );
    assert_eq!(told, true, "which tab is open, and what flies");
}

/// Writes down what is wrong with what is shown.
fn inspect(page: &Page, name: &str, wrong: &mut String) {
    let mut complain = |what: String| writeln!(wrong, "{name}: {what}").expect("a string");
    let sizes = page.run(
        "window.scrollTo(0, 0);
         return [document.scrollingElement.scrollWidth, innerWidth];",
        &[],
    );
    if sizes[0].as_u64() > sizes[1].as_u64() {
        complain(format!("wider than the screen: {sizes}"));
    }
    list(&page.run(CUT, &[])).iter().for_each(|cut| complain(format!("cut off: {cut}")));
    // The colours and the names on a wall are those on a laptop.
    if !name.contains("3840") {
        list(&page.run(PALE, &[])).iter().for_each(|pale| complain(format!("pale: {pale}")));
    }
    if name.contains("light") && !name.contains("3840") {
        nameless(page).iter().for_each(|control| complain(format!("without a name: {control}")));
    }
}

/// Takes a picture of the whole page, however long it is.
fn picture(page: &Page, name: &str, (width, height): (u32, u32)) {
    let whole = page.run("return Math.min(document.scrollingElement.scrollHeight, 6000);", &[]);
    let whole = whole.as_u64().and_then(|whole| u32::try_from(whole).ok()).expect("a height");
    page.resize(width, height.max(whole));
    page.run_frames(2);
    let path = page.photograph(name);
    page.resize(width, height);
    if name == "plan-360-light" {
        println!("pictures are in {}", path.parent().expect("a folder").display());
    }
}

/// Controls that a screen reader could not tell apart.
fn nameless(page: &Page) -> Vec<Value> {
    let tree = page.chromium("Accessibility.getFullAXTree", &json!({}));
    let mut nodes = list(&tree["nodes"]);
    nodes.retain(|node| {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let is_named = node["name"]["value"].as_str().is_some_and(|name| !name.trim().is_empty());
        node["ignored"] == false && CONTROLS.contains(&role) && !is_named
    });
    nodes
}

/// Texts of pictures that reach beyond their picture, and so are cut off.
const CUT: &str = "
    const cut = [];
    for (const picture of document.querySelectorAll('main svg.picture')) {
      const frame = picture.closest('.frame').getBoundingClientRect();
      for (const text of picture.querySelectorAll('text')) {
        const box = text.getBoundingClientRect();
        if (box.width === 0 || getComputedStyle(text).visibility === 'hidden') continue;
        if (box.left < frame.left - 2 || box.right > frame.right + 2 || box.top < frame.top - 2
          || box.bottom > frame.bottom + 2) cut.push(`${picture.id}: ${text.textContent}`);
      }
    }
    return cut;";

/// How often it draws with three systems to show.
fn keeps_up(page: &Page) {
    page.resize(1400, 900);
    for view in ["plan", "overlay", "raft", "chord"] {
        page.visit(view);
        let frames = page.until_later(
            "const done = arguments[0];
             const end = performance.now() + 2000;
             let frames = 0;
             const step = (time) => {
               frames += 1;
               if (time < end) requestAnimationFrame(step);
               else done(frames / 2);
             };
             requestAnimationFrame(step);",
        );
        println!("{view}: {frames} frames a second");
        // A browser that shares two cores with twenty processes draws when it is let.
        assert!(frames.as_f64().is_some_and(|frames| 5.0 < frames), "{view}: {frames}");
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().expect("a list").clone()
}
