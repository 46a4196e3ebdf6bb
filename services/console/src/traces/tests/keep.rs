//! Spans that make sense are put together.

use serde_json::json;

use super::*;
use crate::traces::Summary;

fn summary(traces: &Traces) -> Summary {
    let list = traces.list(&crate::traces::Filter::default());
    assert_eq!(1, list.len(), "{list:?}");
    list.into_iter().next().expect("there is one")
}

#[test]
fn a_trace_is_put_together_from_several_services_in_any_order() {
    let mut traces = Traces::default();
    let late = of_service("overlay-worker", vec![failed(span(7, 3, 2, 12, 18), "no room")]);
    let early = of_service("overlay-leader", vec![span(7, 2, 1, 10, 20), span(7, 1, 0, 5, 25)]);
    traces.add(NOW, &[late]);
    assert!(!summary(&traces).complete);
    traces.add(NOW, &[early]);
    let expected = json!({
        "trace_id": "00000000000000000000000000000007", "name": "span 1",
        "service": "overlay-leader", "node": null, "start": 1_764_000_000_005.0,
        "duration_us": 20_000, "spans": 3, "services": ["overlay-leader", "overlay-worker"],
        "errors": 1, "complete": true,
    });
    assert_eq!(expected, json!(summary(&traces)));
    let trace = traces.trace(trace_id(7)).expect("it is kept");
    assert!(trace.complete);
    let names: Vec<_> = trace.spans.iter().map(|span| (&*span.name, &*span.service)).collect();
    let (leader, worker) = ("overlay-leader", "overlay-worker");
    assert_eq!(vec![("span 1", leader), ("span 2", leader), ("span 3", worker)], names);
    check(&traces);
}

#[test]
fn a_span_is_shown_as_the_page_expects_it() {
    let mut one = span(7, 0xab, 0xcd, 1, 3);
    one.start_time_unix_nano += 250_999;
    one.kind = 3;
    one.attributes = vec![
        attribute("rpc.method", text("raft.Raft/Append")),
        attribute("ensemble.node", text("2")),
        attribute("id", Value::IntValue((1 << 53) - 1)),
        attribute("large", Value::IntValue(-(1 << 53))),
        attribute("ratio", Value::DoubleValue(0.5)),
        attribute("nothing", Value::DoubleValue(f64::NAN)),
        attribute("bytes", Value::BytesValue(vec![0xff])),
    ];
    one.events = vec![opentelemetry_proto::tonic::trace::v1::span::Event {
        time_unix_nano: at(2),
        name: "voted".to_owned(),
        ..Default::default()
    }];
    let traces = holding(vec![failed(one, "")]);
    let expected = json!({
        "trace_id": "00000000000000000000000000000007",
        "complete": false,
        "spans": [{
            "span_id": "00000000000000ab", "parent_id": "00000000000000cd", "name": "span 171",
            "kind": "client", "service": "raft-node", "node": "2",
            "start": 1_764_000_000_001.25, "duration_us": 1_749, "error": "failed",
            "attributes": {
                "rpc.method": "raft.Raft/Append", "ensemble.node": "2",
                "id": 9_007_199_254_740_991_u64, "large": "-9007199254740992", "ratio": 0.5,
                "nothing": "NaN", "bytes": "/w==",
            },
            "events": [{"at": 1_764_000_000_002.0, "name": "voted"}],
            "orphan": true,
        }],
    });
    assert_eq!(expected, json!(traces.trace(trace_id(7))));
}

#[test]
fn the_same_span_twice_is_kept_once_and_the_later_counts() {
    let mut traces = holding(vec![span(7, 1, 0, 5, 25)]);
    let again = Span { name: "again".to_owned(), ..span(7, 1, 0, 5, 30) };
    add(&mut traces, vec![again.clone(), again]);
    let summary = summary(&traces);
    assert_eq!(("again", 1, 25_000), (&*summary.name, summary.spans, summary.duration_us));
    let stats = check(&traces);
    assert_eq!((3, 1, 2, 0), (stats.received, stats.kept, stats.repeated, stats.dropped));
}

#[test]
fn a_span_is_an_orphan_until_its_parent_comes() {
    let mut traces = holding(vec![span(7, 1, 0, 0, 9), span(7, 3, 2, 2, 3)]);
    let orphans = |traces: &Traces| {
        let trace = traces.trace(trace_id(7)).expect("it is kept");
        (trace.spans.iter().filter(|span| span.orphan).count(), trace.complete)
    };
    assert_eq!((1, false), orphans(&traces));
    add(&mut traces, vec![span(7, 2, 1, 1, 4)]);
    assert_eq!((0, true), orphans(&traces));
}

#[test]
fn the_earliest_span_without_a_parent_is_the_root() {
    let mut traces = holding(vec![span(7, 4, 9, 0, 9), span(7, 3, 9, 1, 9)]);
    assert_eq!("span 4", summary(&traces).name);
    add(&mut traces, vec![span(7, 1, 0, 6, 9)]);
    assert_eq!("span 1", summary(&traces).name);
    add(&mut traces, vec![span(7, 2, 0, 5, 9)]);
    assert_eq!("span 2", summary(&traces).name);
}

#[test]
fn a_node_is_named_by_its_span_its_process_or_its_instance() {
    let node = |key: &str, name: &str| attribute(key, text(name));
    let named = |resource: Vec<KeyValue>, own: Vec<KeyValue>| {
        let mut traces = Traces::default();
        traces.add(NOW, &[from(resource, vec![with(span(7, 1, 0, 0, 1), own)])]);
        let shown = traces.trace(trace_id(7)).expect("it is kept").spans[0].node.clone();
        assert_eq!(shown, summary(&traces).node);
        shown
    };
    let instance = node("service.instance.id", "i");
    let process = node("ensemble.node", "p");
    assert_eq!(None, named(vec![], vec![]));
    assert_eq!(Some("i"), named(vec![instance.clone()], vec![]).as_deref());
    assert_eq!(Some("p"), named(vec![instance.clone(), process.clone()], vec![]).as_deref());
    let own = vec![attribute("ensemble.node", Value::IntValue(4))];
    assert_eq!(Some("4"), named(vec![instance, process], own).as_deref());
}

#[test]
fn the_trace_that_began_to_arrive_first_is_forgotten_first() {
    let mut traces = Traces::new(Limits { traces: 3, ..Limits::default() });
    for trace in 1..=3 {
        add(&mut traces, vec![span(trace, 1, 0, 100 - trace as u64, 200)]);
    }
    add(&mut traces, vec![span(1, 2, 1, 0, 200), span(4, 1, 0, 0, 1)]);
    assert!(traces.trace(trace_id(1)).is_none());
    assert!((2..=4).all(|trace| traces.trace(trace_id(trace)).is_some()));
    let stats = check(&traces);
    assert_eq!((3, 2, 3), (stats.kept, stats.dropped, stats.traces));
    // What comes of it afterwards is a trace of its own.
    add(&mut traces, vec![span(1, 3, 1, 0, 1)]);
    assert!(!traces.trace(trace_id(1)).expect("it came last").complete);
    assert!(traces.trace(trace_id(2)).is_none());
    check(&traces);
}

#[test]
fn spans_over_the_limit_of_all_are_dropped_with_their_trace() {
    let mut traces = Traces::new(Limits { spans: 10, ..Limits::default() });
    for trace in 1..=5 {
        add(&mut traces, (1..=4).map(|id| span(trace, id, 0, 0, 1)).collect());
    }
    let stats = check(&traces);
    assert_eq!((8, 2, 12), (stats.kept, stats.traces, stats.dropped));
}

#[test]
fn a_full_trace_refuses_further_spans_and_is_not_complete() {
    let mut traces = Traces::new(Limits { trace_spans: 2, ..Limits::default() });
    let spans = vec![span(7, 1, 0, 0, 9), span(7, 2, 1, 0, 9), span(7, 3, 1, 0, 9)];
    let outcome = add(&mut traces, spans);
    assert_eq!((2, 1, 1), (outcome.taken, outcome.crowded, outcome.refused()));
    assert!(!traces.trace(trace_id(7)).expect("it is kept").complete);
    assert_eq!(1, check(&traces).dropped);
    // Another copy takes no more room.
    assert_eq!(0, add(&mut traces, vec![span(7, 2, 1, 0, 8)]).refused());
}

#[test]
fn spans_faster_than_the_limit_are_dropped_until_the_next_second() {
    let mut traces = Traces::new(Limits { per_second: 5, ..Limits::default() });
    let spans: Vec<_> = (1..=8).map(|id| span(7, id, 0, 0, 1)).collect();
    let outcome = add(&mut traces, spans.clone());
    assert_eq!((5, 3), (outcome.taken, outcome.hasty));
    let stats = check(&traces);
    assert_eq!((5, 3, 0), (stats.kept, stats.dropped, stats.per_second));
    let later = NOW + Duration::from_secs(1);
    assert_eq!(8, traces.stats(later).per_second);
    traces.add(later, &[of_service("raft-node", spans[5..].to_vec())]);
    assert_eq!(8, check(&traces).kept);
    assert_eq!(8, traces.stats(later).per_second);
    assert_eq!(3, traces.stats(NOW + Duration::from_secs(2)).per_second);
    assert_eq!(0, traces.stats(NOW + Duration::from_secs(3)).per_second);
}

#[test]
fn nothing_is_left_of_what_is_forgotten() {
    let mut random = Random(3);
    let mut traces = Traces::new(Limits { traces: 1, ..Limits::default() });
    add(&mut traces, (0..200).map(|_| random.span(1, 50)).collect());
    assert!(traces.words.iter().count() > 50);
    traces.add(NOW, &[from(vec![], vec![span(9, 1, 0, 0, 1)])]);
    let words: Vec<_> = traces.words.iter().map(|(_, word)| word.to_owned()).collect();
    assert_eq!(vec!["span 1"], words);
    assert_eq!(1, traces.origins.iter().count());
    check(&traces);
}
