//! The floor plan: every process, where it is and how it is.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::breaks;
use crate::browser::Browser;
use crate::page::Page;
use crate::site::{Site, send};
use crate::stage::{CHORD, OVERLAY, Stage};

/// How long a process that is gone is shown, and some patience: in milliseconds.
const FORGOTTEN_MS: u64 = 110_000;

/// Waits until exactly these processes are shown to serve.
fn all_serve(page: &Page, keys: &[&str]) {
    page.until(
        "all serve",
        "const serving = [...document.querySelectorAll('#plan .token[data-health=serving]')]
           .filter((each) => !each.classList.contains('leaving'));
         const keys = serving.map((each) => each.dataset.node).sort().join();
         return keys === arguments[0].sort().join();",
        &[json!(keys)],
    );
}

/// Waits until a process is drawn within the box of its system, and that within the room of its
/// host.
fn lies_at_home(page: &Page, key: &str, system: &str) {
    page.until(
        "it is within its system",
        "const box = (css) => document.querySelector(css).getBoundingClientRect();
         const inside = (a, b) => a.left >= b.left && a.right <= b.right && a.top >= b.top
           && a.bottom <= b.bottom;
         const group = box(`[data-box='group 127.0.0.1 ${arguments[1]}'] > rect`);
         const room = box(`[data-box='room 127.0.0.1'] > rect`);
         const body = box(`#plan [data-node='${arguments[0]}'] .token-body`);
         return inside(body, group) && inside(group, room);",
        &[json!(key), json!(system)],
    );
}

#[test]
fn every_process_is_on_the_floor_plan_and_is_broken_there_by_keys_alone() {
    let Some(browser) = Browser::start() else { return };
    let mut stage = Stage::set(&[OVERLAY, CHORD], &[]);
    let mut page = Page::open(browser, &stage.console.address);
    page.reads("#plan-empty", "ensemble up");
    page.until(
        "time goes on where nothing happens",
        "const shown = document.getElementById('moment').textContent;
         window.began ??= shown.includes(':') ? shown : undefined;
         return window.began && shown !== window.began;",
        &[],
    );
    stage.site.up(&["overlay"]);
    let overlay = ["overlay/A", "overlay/B", "overlay/C", "overlay/D", "overlay/E", "overlay/F"];
    all_serve(&page, &overlay);
    assert_eq!(page.count("[data-tab=chord]"), 0, "a system that does not run has no tab");
    // Others come.
    let mut later = Site::new();
    later.variables.clone_from(&stage.site.variables);
    later.up(&["chord"]);
    let ring = ["2", "16", "24", "25", "26", "31", "registry"].map(|id| format!("chord/{id}"));
    let all = overlay.into_iter().chain(ring.iter().map(String::as_str)).collect::<Vec<_>>();
    all_serve(&page, &all);
    page.reads("#plan-summary", "13 nodes on 1 host, all serving");
    page.sees("[data-tab=chord]");
    for key in all {
        let (system, _) = key.split_once('/').expect("a system");
        lies_at_home(&page, key, system);
    }
    badges(&page);
    killed(&stage, &page);
    // Who has gone is shown to be gone, and then is no more.
    later.succeed(&["down"]);
    page.until(
        "seven are unreachable",
        "return document.querySelectorAll('#plan .token[data-health=unreachable]').length === 7;",
        &[],
    );
    page.reads("#plan-summary", "13 nodes on 1 host, 6 serving");
    breaks::by_keys(&stage, &page);
    page.until_within(
        FORGOTTEN_MS,
        "they are forgotten",
        "return document.querySelectorAll('#plan .token').length === 6
           && !document.querySelector('[data-tab=chord]');",
        &[],
    );
    breaks::stale(&mut stage, &mut page);
    page.was_sound();
}

/// What a process is stands under it.
fn badges(page: &Page) {
    for (key, role) in [
        ("overlay/A", "leader"),
        ("overlay/B", "team leader"),
        ("overlay/C", "worker"),
        ("chord/31", "member"),
        ("chord/registry", "registry"),
    ] {
        page.reads(&format!("#plan [data-node='{key}'] .token-role"), role);
    }
    page.sees("#plan [data-node='overlay/A'][data-leads] .token-crown");
    let crowned = page.run(
        "return [...document.querySelectorAll('#plan .token-crown')]
           .filter((each) => getComputedStyle(each).visibility === 'visible').length;",
        &[],
    );
    assert_eq!(crowned, 1, "A leads, and nobody else");
}

/// A process that is killed is marked, and returns.
fn killed(stage: &Stage, page: &Page) {
    // It is back in no time: what is seen meanwhile is written down.
    page.run(
        "const token = document.querySelector(`#plan [data-node='overlay/E']`);
         window.seen = [];
         const body = token.querySelector('.token-body');
         new MutationObserver(() => window.seen.push([token.dataset.health,
           getComputedStyle(token.querySelector('.token-ill')).visibility,
           getComputedStyle(body).strokeDasharray])).observe(token, { attributes: true,
           attributeFilter: ['data-health'] });",
        &[],
    );
    send(stage.site.pids()["overlay-e"], Signal::KILL);
    let seen = page.until(
        "it is gone and returns",
        "return window.seen.at(-1)?.[0] === 'serving' ? window.seen : null;",
        &[],
    );
    let gone =
        |seen: &&Value| seen[0] == "unreachable" && seen[1] == "visible" && seen[2] != "none";
    assert!(seen.as_array().is_some_and(|all| all.iter().any(|seen| gone(&seen))), "{seen}");
    page.reads("#plan-summary", "all serving");
}
