//! What others write is text wherever it is shown: it makes no element, and nothing of it runs.

use std::fs;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::page::{Page, keys};
use crate::stage::{OVERLAY, Stage};

/// Markup with a script, a mark that turns the direction of writing, and an ampersand.
pub(crate) const TEXT: &str = "<img src=x onerror=ran=1>\u{202e}&amp;'\"";

/// Fails if any of it became part of the page, or ran.
pub(crate) fn nothing_was_made(page: &Page) {
    let made = page.run(
        "return [...document.querySelectorAll('main *, #panel *, dialog *')]
           .filter((each) => ['IMG', 'SCRIPT', 'IFRAME', 'B2'].includes(each.tagName.toUpperCase())
             || [...each.attributes].some(({ name }) => name.startsWith('on')))
           .map((each) => each.outerHTML).concat(window.ran ? ['it ran'] : []);",
        &[],
    );
    assert_eq!(made, json!([]));
}

/// Processes, promises and what was done, told by an enemy: a file that the page opens.
fn file() -> Value {
    let long = "w".repeat(20_000);
    let node = |key: &str, role: &str, view: Value| {
        json!({
            "key": key, "system": key.split('/').next(), "role": role, "name": TEXT,
            "address": TEXT, "host": TEXT, "health": TEXT, "since": TEXT, "started": -1,
            "faults_on": true, "faults": { "cut": [{ "peers": [TEXT, long], "direction": TEXT }],
                "delay": [TEXT, null], "drop": 1e308 }, "traffic": { TEXT: { "sent": 1e308 } },
            "view": view,
        })
    };
    let endless =
        json!({ "a": { "a": { "a": { "a": { "a": { "a": { "a": { "a": TEXT } } } } } } } });
    let nodes = json!([
        node(
            "overlay/x",
            "overlay-leader",
            json!({ "role": TEXT, "team": long, "queued": -1,
            "queue_limit": 1e308, "neighbours": [[TEXT, false], TEXT, null, 7] })
        ),
        node(
            "raft/x",
            "raft-node",
            json!({ "id": TEXT, "role": "leader", "term": 9e99,
            "vote": TEXT, "last": 1e15, "commit": -5, "members": [TEXT, { "id": TEXT }],
            "store": TEXT })
        ),
        node("raft/y", "raft-node", json!({ "role": TEXT, "term": TEXT, "last": null })),
        node(
            "chord/x",
            "chord-node",
            json!({ "bits": 1e9, "node": { "id": "9".repeat(60) },
            "fingers": [[TEXT, 1e308, { "id": TEXT }], null], "successors": TEXT, "keys": "many",
            "phase": TEXT })
        ),
        node(
            "chord/5",
            "chord-node",
            json!({ "bits": 160, "node": { "id": 5 },
            "successors": [{ "id": "18446744073709551615" }], "predecessor": { "id": TEXT } })
        ),
        node(&format!("{TEXT}/z"), TEXT, endless),
        null_node(),
        json!(7),
        json!(null),
        json!([]),
    ]);
    let promise = json!({ "id": TEXT, "system": TEXT, "title": TEXT, "holds": false, "since": 1,
        "checked": 1e308, "evidence": [TEXT, long, null, 7] });
    let event = json!({ "at": 2, "node": format!("raft/{TEXT}"), "text": TEXT });
    let act = json!({ "at": 2, "system": "overlay", "text": TEXT, "ok": false, "trace_id": TEXT,
        "answer": { "visits": [{ "process": TEXT, "asked_by": TEXT }], "path": TEXT } });
    json!({
        "kind": "ensemble-console-history", "version": 1, "from": 1, "to": 3,
        "snapshot": { "at": 1, "nodes": nodes, "promises": [promise, 7], "spans": TEXT },
        "frames": [{ "at": 2, "nodes": TEXT, "gone": [7, null], "events": [event, 7],
            "acts": [act, null] }, { "at": 3 }],
    })
}

fn null_node() -> Value {
    json!({ "key": "raft/null", "view": null, "faults": null, "traffic": [], "name": null })
}

#[test]
fn what_an_enemy_writes_is_shown_as_text_in_every_view() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::set(&[OVERLAY], &[]);
    let page = Page::open(browser, &stage.console.address);
    page.reads("#connection", "Live");
    let path = page.downloads().join(format!("{}.json", "<b2>"));
    fs::write(&path, file().to_string()).expect("written");
    page.upload("#open-file", &path);
    page.reads("#connection", "File <b2>.json");
    page.run("document.getElementById('scrubber').focus();", &[]);
    page.press(keys::END);
    page.reads("#promise-summary", "1 promise broken");
    page.reads("#feed", TEXT);
    let views = ["plan", "overlay", "raft", "chord", "promises", "%3Cimg%20src=x%3E"];
    for view in views {
        page.run(
            "location.hash = `#/${arguments[0] === 'plan' ? '' : arguments[0]}`;",
            &[json!(view)],
        );
        page.sees("#view-title");
        page.run_frames(3);
        nothing_was_made(&page);
        let many = page.count("main .token");
        for at in 0..many {
            page.run(
                "document.querySelectorAll('main .token')[arguments[0]]
                   .dispatchEvent(new MouseEvent('click', { bubbles: true }));",
                &[json!(at)],
            );
            page.sees("#panel");
            page.run_frames(2);
            nothing_was_made(&page);
        }
        let wide = page.run("return document.scrollingElement.scrollWidth <= innerWidth;", &[]);
        assert_eq!(wide, true, "{view} is wider than the screen");
    }
    page.was_sound();
}
