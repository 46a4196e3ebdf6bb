//! Traces from the page through real processes and back.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::collector::Collector;
use crate::console::Console;
use crate::site::{SERVICES, Site, eventually};

/// The nodes of the store.
const NODES: usize = 5;

/// A trace that the console keeps, as soon as it is as it should be.
fn trace(console: &Console, id: &str, so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    eventually("the trace is there", || {
        let (status, body) = console.get(&format!("/traces/{id}"));
        let trace: Value = serde_json::from_str(&body).expect("JSON");
        let spans = trace["spans"].as_array()?;
        (status == 200 && so(spans)).then(|| spans.clone())
    })
}

#[test]
fn a_write_on_the_page_is_one_trace_of_the_console_and_the_cluster() {
    let mut site = Site::new();
    site.up(&["raft"]);
    let console = Console::of(&site);
    let put = json!({ "key": "greeting", "value": "hello" });
    let answer = eventually("it is put", || {
        let (status, answer) = console.post("/act/raft/put", &put);
        (status == 200).then_some(answer)
    });
    let id = answer["trace_id"].as_str().expect("a trace");
    let appended = |spans: &[Value]| {
        let appends = spans.iter().filter(|span| span["name"] == "raft append");
        appends.filter_map(|span| span["node"].as_str()).collect::<BTreeSet<_>>().len() == NODES
    };
    let spans = trace(&console, id, appended);
    let root = &spans[0];
    assert_eq!((&root["name"], &root["service"]), (&json!("raft put"), &json!("console")));
    assert_eq!(root["attributes"]["ensemble.act"], "put greeting");
    assert!(root["parent_id"].is_null() && root["error"].is_null(), "{root}");
    let asked = |span: &&Value| {
        let name = span["name"] == "ensemble.raft.v1.StoreService/Put";
        name && span["error"].is_null() && span["parent_id"] == root["span_id"]
    };
    let asked = spans.iter().find(asked).expect("a node was asked");
    // One clock: the call lies within the act.
    let times = |span: &Value| {
        let start = span["start"].as_f64().expect("a time");
        (start, start + span["duration_us"].as_f64().expect("a time") / 1e3)
    };
    let ((from, to), (began, ended)) = (times(root), times(asked));
    assert!(from <= began && began <= ended && ended <= to + 0.01, "{spans:#?}");
    let commit = spans.iter().find(|span| span["name"] == "raft commit").expect("a commit");
    assert_eq!((&commit["parent_id"], &commit["node"]), (&asked["span_id"], &asked["node"]));
    // Who leads is known from then on; another may be elected on a busy machine.
    let redirected = (0..8).filter(|_| {
        let (status, answer) = console.post("/act/raft/put", &put);
        assert_eq!(status, 200, "{answer}");
        let id = answer["trace_id"].as_str().expect("a trace");
        let spans = trace(&console, id, appended);
        spans.iter().any(|span| !span["error"].is_null())
    });
    assert!(redirected.count() <= 2, "whoever does not lead is asked");
    // Every page is told which trace it was, and who looks back too.
    eventually("it is history", || console.get("/history?from=0").1.contains(id).then_some(()));
    // What fails has a trace as well.
    let (status, answer) = console.post("/act/chord/find", &json!({ "key": "k" }));
    assert_eq!(status, 502, "{answer}");
    let failed = answer["trace_id"].as_str().expect("a trace");
    let spans = trace(&console, failed, |spans| spans.len() == 1);
    assert_eq!((&spans[0]["name"], &spans[0]["error"]), (&json!("chord find"), &answer["error"]));
}

/// A collector, and what it runs in.
fn collector() -> (Runtime, Collector) {
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
    let collector = runtime.block_on(async { Collector::start() });
    (runtime, collector)
}

#[test]
fn another_collector_is_told_everything_once() {
    let (_runtime, collector) = collector();
    let mut site = Site::new();
    site.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.url()));
    site.up(&[]);
    let console = Console::of(&site);
    let forward = || {
        let answer = eventually("it is forwarded", || {
            let payload = json!({ "payload": "hello" });
            let (status, answer) = console.post("/act/overlay/forward", &payload);
            (status == 200).then_some(answer)
        });
        let id = answer["trace_id"].as_str().expect("a trace").to_owned();
        eventually("the console and all six have told", || {
            let spans = collector.trace(&id);
            let services = spans.iter().map(|span| (span.service.clone(), span.node().to_owned()));
            let told = services.collect::<BTreeSet<_>>().len() > SERVICES.len();
            told.then_some(())
        });
        id
    };
    // What would be told twice of the first would have been by the end of the others.
    let [first, ..] = [forward(), forward(), forward()];
    let spans = collector.trace(&first);
    let different: BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(different.len(), spans.len(), "{spans:#?}");
}

#[test]
fn spans_come_by_tls_and_are_passed_on() {
    let (_runtime, collector) = collector();
    let mut site = Site::new();
    site.succeed(&["certs"]);
    site.variables.push(("CONSOLE_FORWARD".to_owned(), collector.url()));
    site.up(&["--tls"]);
    site.succeed(&["overlay", "forward", "hello"]);
    eventually("all six have told", || {
        let spans = collector.spans();
        let nodes: BTreeSet<_> = spans.iter().map(|span| span.node().to_owned()).collect();
        (nodes.len() == SERVICES.len()).then_some(())
    });
}
