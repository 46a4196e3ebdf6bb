//! The view of the overlay: a request is forwarded and seen to move; and the traces of requests.

use std::fs;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::hostile;
use crate::page::Page;
use crate::site::eventually;
use crate::stage::{OVERLAY, Stage};

/// Writes down where each thing that moves along an edge is, frame by frame.
const WATCH_FLIGHTS: &str = "
    window.flights = new Map();
    const look = () => {
      for (const dot of document.querySelectorAll('#overlay-graph .flight')) {
        if (dot.getAttribute('visibility') !== 'visible') continue;
        if (!window.flights.has(dot)) window.flights.set(dot, new Set());
        window.flights.get(dot).add(dot.getAttribute('transform'));
      }
      if (window.flights) requestAnimationFrame(look);
    };
    look();";
/// How many of a kind have moved.
const FLOWN: &str = "
    const flown = [...window.flights].filter(([dot, places]) => places.size > 2
      && dot.classList.contains(`flight-${arguments[0]}`)).length;
    return flown >= arguments[1];";

#[test]
fn a_request_is_forwarded_on_the_page_and_its_trace_is_read() {
    let Some(browser) = Browser::start() else { return };
    let mut stage = Stage::set(&[OVERLAY], &[]);
    stage.site.up(&["overlay"]);
    let page = Page::open(browser, &stage.console.address);
    page.visit("overlay");
    page.until(
        "six cards and six edges",
        "return document.querySelectorAll('#overlay-graph .card[data-health=serving]').length === 6
           && document.querySelectorAll('#overlay-graph .edge').length === 6;",
        &[],
    );
    forward(&stage, &page);
    missing(&stage, &page);
    traces(&stage, &page);
    page.was_sound();
}

fn forward(stage: &Stage, page: &Page) {
    page.run(WATCH_FLIGHTS, &[]);
    page.fill("#forward-payload", "one two three");
    page.choose("#forward-operation", "count");
    page.click("#forward");
    let expected =
        stage.site.succeed(&["overlay", "forward", "--operation", "word-count", "one two three"]);
    let expected = format!("Answered: {} (lines, words, bytes)", expected.trim());
    page.reads("#forward-form-result", &expected);
    let visits = page.count("#forward-form-result tbody tr");
    assert!(visits >= 4, "{visits} have worked on it");
    // Nothing is a text, too.
    page.fill("#forward-payload", "");
    page.click("#forward");
    page.reads("#forward-form-result", "Answered: 0 0 0");
    // Down five edges, and up again; in from outside, and out.
    page.until("requests move", FLOWN, &[json!("request"), json!(5)]);
    page.until("answers move", FLOWN, &[json!("answer"), json!(5)]);
    page.reads("#overlay-feed", "forward one two three");
    // What others ask is known by its trace.
    page.run("window.flights.clear();", &[]);
    stage.site.succeed(&["overlay", "forward", "hello"]);
    page.until("requests of others move", FLOWN, &[json!("request"), json!(5)]);
    // Whatever is sent is text.
    page.choose("#forward-operation", "text");
    page.fill("#forward-payload", hostile::TEXT);
    page.click("#forward");
    page.reads("#overlay-feed", hostile::TEXT);
    hostile::nothing_was_made(page);
    // Who opens the page later reads what was done.
    page.reload();
    page.reads("#overlay-feed", "forward one two three");
}

/// An answer that is not whole says who is missing.
fn missing(stage: &Stage, page: &Page) {
    broken(stage, &json!({ "node": "overlay/B", "fault": "cut", "peers": ["C"] }));
    page.sees("#overlay-graph [data-edge='B–C'][data-cut]");
    page.click("#forward");
    page.reads("#forward-form-result", "Answered, but not whole");
    page.reads("#forward-form-result .missing", "C is missing");
    broken(stage, &json!({ "node": "overlay/B", "fault": "heal" }));
    page.misses("#overlay-graph [data-edge='B–C'][data-cut]");
    // So does one whose part came another way.
    broken(stage, &json!({ "node": "overlay/A", "fault": "cut", "peers": ["E"] }));
    eventually("its team is served through another", || {
        page.click("#forward");
        let text = "return document.getElementById('forward-form-result').textContent;";
        let text = page.run(text, &[]);
        let text = text.as_str().expect("text");
        text.contains("Team pink was served through B.").then_some(())
    });
    broken(stage, &json!({ "node": "overlay/A", "fault": "heal" }));
}

/// Breaks a process, or heals it.
fn broken(stage: &Stage, how: &Value) {
    let how = Some(how.to_string());
    let done = crate::wire::ask(&stage.console.address, "POST", "/break", how.as_deref());
    assert_eq!(done.expect("an answer").0, 200);
}

fn traces(stage: &Stage, page: &Page) {
    page.visit("traces");
    page.sees("#trace-list a");
    page.reads("#trace-stats", "0 dropped");
    page.write("#trace-text", "nothing has this name");
    page.reads("#traces-empty", "No trace matches");
    page.misses("#trace-list a");
    page.fill("#trace-text", "Forward");
    page.choose("#trace-service", "overlay-worker");
    page.until(
        "one of the console and all six",
        "const row = [...document.querySelectorAll('#trace-list a')]
           .find((each) => each.textContent.includes('7 spans'));
         row?.setAttribute('id', 'whole-trace');
         return row;",
        &[],
    );
    page.click("#whole-trace");
    page.until(
        "a waterfall of the console and all six",
        "const names = [...document.querySelectorAll('#waterfall .span-name b')]
           .map((each) => each.textContent).sort().join('');
         return names === 'ABCDEFconsole';",
        &[],
    );
    page.click("#waterfall li:nth-child(3) .span-row");
    page.reads("#span-detail", "overlay-team-leader");
    page.click("#trace-export");
    let trace = downloaded(page, "trace-");
    assert_eq!(spans(&trace), 7, "{trace}");
    page.click("a[href='#/traces']");
    page.click("#traces-export");
    let all = downloaded(page, "traces");
    assert!(spans(&all) > 7, "{all}");
    // A trace that is not there yet is waited for without complaint, and then told of.
    let none = "0123456789abcdef0123456789abcdef";
    page.run("location.hash = `#/traces/${arguments[0]}`;", &[json!(none)]);
    page.reads("#trace-lead", "Waiting for its spans");
    assert_eq!(page.count("main .axis span, #trace-lead ~ .row .legend li"), 0, "of another one");
    // The panel leads to the traces of a process, and a span to its process.
    page.visit("plan");
    page.click("#plan [data-node='overlay/F']");
    page.click("#panel-traces");
    page.sees("#trace-list a");
    for (filter, value) in [("service", "overlay-worker"), ("node", "F")] {
        let script = "return document.getElementById(`trace-${arguments[0]}`).value;";
        assert_eq!(page.run(script, &[json!(filter)]), value);
    }
    page.write("#trace-node", "nobody");
    page.reads("#traces-empty", "No trace matches");
    let (status, _) =
        crate::wire::ask(&stage.console.address, "GET", "/traces/zz", None).expect("an answer");
    assert_eq!(status, 400);
}

/// The content of a file that the browser was to download.
fn downloaded(page: &Page, prefix: &str) -> Value {
    let text = eventually("it is downloaded", || {
        let files = fs::read_dir(page.downloads()).expect("a folder").flatten();
        let file = files.map(|file| file.path()).find(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(prefix) && name.ends_with(".json")
        })?;
        fs::read_to_string(file).ok().filter(|text| !text.is_empty())
    });
    serde_json::from_str(&text).expect("JSON")
}

/// Spans of a file in OTLP's JSON.
fn spans(file: &Value) -> usize {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let resources = list(&file["resourceSpans"]);
    let scopes = resources.iter().flat_map(|resource| list(&resource["scopeSpans"]));
    let spans = scopes.flat_map(|scope| list(&scope["spans"]));
    spans.filter(|span| span["traceId"].as_str().is_some_and(|id| id.len() == 32)).count()
}
