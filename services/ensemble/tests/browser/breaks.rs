//! The menu by which a process is broken and healed, by keys alone; and a console that dies.

use serde_json::json;

use crate::page::{Page, keys};
use crate::stage::Stage;

/// Breaks processes of the overlay and heals them, on the floor plan.
pub(crate) fn by_keys(stage: &Stage, page: &Page) {
    menu(page);
    cut(stage, page);
    delay_and_drop(page);
    crash(page);
}

/// Where the focus is, as the accessible name or the id of what has it.
fn focus(page: &Page) -> String {
    let focus = page.run(
        "const it = document.activeElement;
         return it.dataset.node ?? it.dataset.peer ?? (it.id || it.ariaLabel || it.textContent);",
        &[],
    );
    focus.as_str().expect("text").to_owned()
}

/// Presses a key until the focus is where it is wanted.
fn walk(page: &Page, key: &str, wanted: &str) {
    let mut way = Vec::new();
    while focus(page) != wanted {
        way.push(focus(page));
        assert!(way.len() < 60, "{wanted} is not reached: {way:?}");
        page.press(key);
    }
}

/// From the top of the page to the menu of B, and back.
fn menu(page: &Page) {
    page.press(keys::TAB);
    assert_eq!(focus(page), "skip");
    page.press(keys::ENTER);
    assert_eq!(focus(page), "main");
    // One process is in the order of tabs; from there arrows lead to every other.
    while !focus(page).starts_with("overlay/") {
        page.press(keys::TAB);
    }
    walk(page, keys::UP, "overlay/A");
    page.press(keys::DOWN);
    let below = focus(page);
    assert!(["overlay/B", "overlay/E"].contains(&&*below), "{below}");
    page.press(keys::LEFT);
    assert_eq!(focus(page), "overlay/B");
    page.press(keys::RIGHT);
    assert_eq!(focus(page), "overlay/E");
    page.press(keys::ENTER);
    page.sees("#panel");
    assert_eq!(focus(page), "panel-title");
    page.press(keys::ESCAPE);
    page.misses("#panel");
    assert_eq!(focus(page), "overlay/E", "the focus returns to where it was");
    page.press(keys::LEFT);
    page.press(keys::ENTER);
    page.reads("#panel-title", "Overlay B");
}

fn cut(stage: &Stage, page: &Page) {
    walk(page, keys::TAB, "break-cut-open");
    page.press(keys::ENTER);
    walk(page, keys::TAB, "C");
    page.press(" ");
    walk(page, keys::TAB, "break-cut");
    page.press(keys::ENTER);
    page.reads("#break-result", "Done: cut at overlay/B.");
    page.reads("#break-marks", "cut from C");
    page.sees("#plan [data-node='overlay/B'][data-broken] .token-mark");
    page.sees("#plan [data-link='overlay/B|overlay/C'][data-cut]");
    page.reads("#plan-summary", "1 broken on purpose");
    let answer = stage.site.run(&["overlay", "forward", "hello"]);
    let told = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert!(told.contains("missing"), "{told}");
}

fn delay_and_drop(page: &Page) {
    page.click("#break-delay-open");
    page.fill("#break-least", "1");
    page.fill("#break-most", "9");
    page.click("#break-delay");
    page.reads("#break-marks", "delayed 1–9 ms");
    page.click("#break-drop-open");
    page.fill("#break-percent", "30");
    page.click("#break-drop");
    page.reads("#break-marks", "drops 30 %");
    page.reads("#plan [data-node='overlay/B'] .token-fault", "3 faults");
    // It stays so for whoever looks later.
    page.reload();
    page.reads("#plan [data-node='overlay/B'] .token-fault", "3 faults");
    page.click("#plan [data-node='overlay/B']");
    page.click("#break-heal");
    page.reads("#break-result", "overlay/B is healed.");
    page.misses("#break-marks li");
    page.misses("#plan [data-broken]");
    page.misses("#plan [data-cut]");
    page.reads("#feed", "heal overlay/B");
    // A cut needs to know from whom.
    page.click("#break-cut-open");
    page.click("#break-cut");
    page.reads("#break-result", "Choose at least one peer");
}

fn crash(page: &Page) {
    page.click("#plan [data-node='overlay/F']");
    page.reads("#panel-title", "Overlay F");
    page.run(
        "const health = document.getElementById('panel-health');
         window.seen = [];
         new MutationObserver(() => window.seen.push(health.dataset.health))
           .observe(health, { attributes: true });",
        &[],
    );
    page.click("#break-crash-open");
    page.click("#break-crash");
    page.click("#break-crash-no");
    page.misses("#break-crash-yes");
    page.click("#break-crash");
    page.click("#break-crash-yes");
    page.until(
        "it was gone, and is back",
        "return window.seen.includes('unreachable') && window.seen.at(-1) === 'serving';",
        &[],
    );
    page.reads("#panel-health", "Serving");
    page.reads("#feed", "crash overlay/F");
    page.click("#panel-close");
}

/// A console that is gone is told of, and found again by the page itself.
pub(crate) fn stale(stage: &mut Stage, page: &mut Page) {
    // The browser logs every attempt that finds nobody.
    page.excuse("net::ERR_CONNECTION_REFUSED");
    page.excuse("net::ERR_INCOMPLETE_CHUNKED_ENCODING");
    page.excuse("net::ERR_CONNECTION_RESET");
    page.visit("overlay");
    stage.console.kill();
    page.reads("#connection", "Stale for");
    page.sees("html[data-connection=stale]");
    page.click("#forward");
    page.reads("#forward-form-result", "The console does not answer");
    stage.show();
    page.reads("#connection", "Live");
    page.until(
        "all serve",
        "return document.querySelectorAll('#overlay-graph .card[data-health=serving]').length
           === arguments[0];",
        &[json!(6)],
    );
    page.click("#forward");
    page.reads("#forward-form-result", "Answered:");
}
