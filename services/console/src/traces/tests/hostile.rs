//! Spans that make no sense, or too much of it.

use opentelemetry_proto::tonic::common::v1::ArrayValue;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

use super::*;
use crate::traces::packer::RECORD_BYTES;
use crate::traces::{Filter, Flaw};

/// What a span may add to the end of a record: the last counts.
const SLACK: usize = 64;

fn record_bytes(traces: &Traces) -> usize {
    let held = traces.held.iter().flat_map(|held| &held.spans);
    held.map(|span| span.record.len()).max().unwrap_or(0)
}

#[test]
fn what_makes_no_sense_is_counted_and_said() {
    let good = span(7, 1, 0, 0, 1);
    let flawed = [
        (Flaw::TraceId, Span { trace_id: vec![], ..good.clone() }),
        (Flaw::TraceId, Span { trace_id: vec![1; 15], ..good.clone() }),
        (Flaw::TraceId, Span { trace_id: vec![1; 1 << 20], ..good.clone() }),
        (Flaw::TraceId, Span { trace_id: vec![0; 16], ..good.clone() }),
        (Flaw::SpanId, Span { span_id: vec![], ..good.clone() }),
        (Flaw::SpanId, Span { span_id: vec![1; 9], ..good.clone() }),
        (Flaw::SpanId, Span { span_id: vec![0; 8], ..good.clone() }),
        (Flaw::ParentId, Span { parent_span_id: vec![1; 7], ..good.clone() }),
        (Flaw::ParentId, Span { parent_span_id: vec![1; 16], ..good.clone() }),
        (Flaw::Order, Span { end_time_unix_nano: at(0) - 1, ..good.clone() }),
        (Flaw::Order, Span { end_time_unix_nano: 0, ..good.clone() }),
        (Flaw::Time, Span { start_time_unix_nano: 0, ..good.clone() }),
        (Flaw::Time, Span { start_time_unix_nano: 1_000, ..good.clone() }),
        (Flaw::Time, Span { end_time_unix_nano: u64::MAX, ..good.clone() }),
        (Flaw::Time, Span { end_time_unix_nano: at(24 * 3_600_000) + 1, ..good.clone() }),
        (Flaw::Time, Span { start_time_unix_nano: u64::MAX, end_time_unix_nano: u64::MAX, ..good }),
    ];
    for (flaw, span) in flawed {
        let mut traces = Traces::default();
        let outcome = add(&mut traces, vec![span]);
        assert_eq!((0, 1, Some(flaw)), (outcome.taken, outcome.invalid, outcome.flaw));
        let stats = check(&traces);
        assert_eq!((1, 1, 0, 0), (stats.received, stats.invalid, stats.kept, stats.traces));
    }
}

#[test]
fn a_parent_of_zeros_is_no_parent() {
    let traces = holding(vec![Span { parent_span_id: vec![0; 8], ..span(7, 1, 0, 0, 1) }]);
    assert!(traces.trace(trace_id(7)).expect("it is kept").complete);
}

#[test]
fn a_million_bytes_of_attribute_are_cut() {
    let long = "中".repeat(350_000);
    let attributes = vec![
        attribute("text", text(&long)),
        attribute("bytes", Value::BytesValue(vec![7; 1 << 20])),
        attribute(&long, text("value")),
    ];
    let named = Span { name: long.clone(), ..with(span(7, 1, 0, 0, 1), attributes) };
    let traces = holding(vec![failed(named, &long)]);
    assert!(check(&traces).bytes < 16 << 10);
    let shown = &traces.trace(trace_id(7)).expect("it is kept").spans[0];
    assert!(shown.name.starts_with('中') && shown.name.ends_with("中…"), "{}", shown.name);
    assert!(shown.error.as_ref().is_some_and(|error| error.ends_with("中…")));
    let cut = shown.attributes["text"].as_str().expect("it is a text");
    assert!(cut.len() > 500 && cut.ends_with("中…"));
    assert!(shown.attributes.values().any(|value| value == "value"));
}

#[test]
fn a_million_events_are_cut_and_counted() {
    let mut one = span(7, 1, 0, 0, 1);
    one.events = vec![Event { name: "e".to_owned(), ..Event::default() }; 1_000_000];
    one.links = vec![Link::default(); 1_000];
    let traces = holding(vec![one]);
    let kept = traces.trace(trace_id(7)).expect("it is kept").spans[0].events.len();
    assert_eq!(64, kept);
    assert!(traces.otlp(vec![trace_id(7)]).contains(r#""droppedEventsCount":999936"#));
    assert!(traces.otlp(vec![trace_id(7)]).contains(r#""droppedLinksCount":1000"#));
    check(&traces);
}

#[test]
fn many_large_attributes_and_events_fit_into_a_record() {
    let attributes: Vec<_> =
        (0..1_000).map(|key| attribute(&format!("key {key}"), text(&"x".repeat(500)))).collect();
    let event = Event { attributes: attributes.clone(), ..Event::default() };
    let mut one = with(span(7, 1, 0, 0, 1), attributes);
    one.events = vec![event; 100];
    one.dropped_attributes_count = u32::MAX;
    let traces = holding(vec![one]);
    assert!(record_bytes(&traces) <= RECORD_BYTES + SLACK, "{}", record_bytes(&traces));
    let shown = &traces.trace(trace_id(7)).expect("it is kept").spans[0];
    assert!(!shown.attributes.is_empty() && !shown.events.is_empty());
    assert!(traces.otlp(vec![trace_id(7)]).contains(r#""droppedAttributesCount":4294967295"#));
    check(&traces);
}

#[test]
fn wide_and_deep_values_are_cut() {
    let wide = |inner: Value| Value::ArrayValue(ArrayValue { values: vec![value(inner); 200] });
    let deep = (0..90).fold(text("core"), |inner, _| {
        Value::ArrayValue(ArrayValue { values: vec![value(inner)] })
    });
    let attributes = vec![
        attribute("huge", wide(wide(wide(Value::BoolValue(true))))),
        attribute("wide", wide(Value::IntValue(1))),
        attribute("deep", deep),
    ];
    let traces = holding(vec![with(span(7, 1, 0, 0, 1), attributes)]);
    check(&traces);
    let shown = &traces.trace(trace_id(7)).expect("it is kept").spans[0].attributes;
    assert!(!shown.contains_key("huge"));
    assert_eq!(65, shown["wide"].as_array().map_or(0, Vec::len));
    assert_eq!("[[[[null]]]]", shown["deep"].to_string());
    assert!(record_bytes(&traces) < RECORD_BYTES);
}

#[test]
fn a_trace_does_not_outgrow_its_limit_by_larger_copies() {
    let mut traces = Traces::new(Limits { trace_bytes: 100_000, ..Limits::default() });
    add(&mut traces, (1..=1_000).map(|id| span(7, id, 0, 0, 1)).collect());
    let large: Vec<_> =
        (0..6).map(|key| attribute(&key.to_string(), text(&"x".repeat(400)))).collect();
    let copies = (1..=1_000).map(|id| with(span(7, id, 0, 0, 1), large.clone()));
    assert!(add(&mut traces, copies.collect()).crowded > 900);
    check(&traces);
    assert!(traces.held[0].bytes() < 110_000);
}

/// Sends a trace whose every span is different in this, and sees that others stay.
fn bounded(different: impl Fn(u64) -> (Vec<KeyValue>, Vec<KeyValue>)) {
    let mut traces = holding((1..=500).map(|trace| span(trace, 1, 0, 0, 1)).collect());
    for id in 1..=1_500 {
        let (origin, attributes) = different(id);
        traces.add(NOW, &[from(origin, vec![with(span(1_000, id, 0, 0, 1), attributes)])]);
    }
    let stats = check(&traces);
    assert_eq!(501, stats.traces);
    assert!(stats.bytes < 2 << 20, "{stats:?}");
}

#[test]
fn a_trace_of_unique_names_does_not_push_out_others() {
    let long = "k".repeat(100);
    let keys = |id| (0..60).map(move |key| format!("{id} {key}"));
    bounded(|id| {
        let named = keys(id).map(|key| attribute(&format!("{key}{long}"), text("x")));
        (vec![], named.collect())
    });
}

#[test]
fn a_trace_of_unique_origins_does_not_push_out_others() {
    let long = "o".repeat(500);
    bounded(|id| {
        let origin =
            ["a", "b", "c", "d", "e"].map(|key| attribute(key, text(&format!("{id}{long}"))));
        (origin.to_vec(), vec![])
    });
}

#[test]
fn cycles_of_parents_are_shown_as_they_are() {
    let spans = vec![span(7, 1, 2, 3, 4), span(7, 2, 3, 2, 4), span(7, 3, 1, 5, 6)];
    let mut traces = holding(spans);
    add(&mut traces, vec![span(8, 1, 1, 0, 1)]);
    for (trace, root) in [(7, "span 2"), (8, "span 1")] {
        let shown = traces.trace(trace_id(trace)).expect("it is kept");
        assert!(!shown.complete && shown.spans.iter().all(|span| !span.orphan));
        let list = traces.list(&Filter::default());
        assert!(list.iter().any(|one| one.trace_id == trace_id(trace) && one.name == root));
    }
    check(&traces);
}

#[test]
fn times_of_events_are_kept_however_absurd() {
    for time in [0, 1, at(0) - 1, at(0), u64::MAX / 2, u64::MAX] {
        let mut one = span(7, 1, 0, 0, 1);
        one.events = vec![Event { time_unix_nano: time, ..Event::default() }];
        let traces = holding(vec![one]);
        let text = traces.otlp(vec![trace_id(7)]);
        assert!(text.contains(&format!(r#""timeUnixNano":"{time}""#)), "{text}");
    }
}

#[test]
fn an_enormous_origin_is_cut() {
    let long = "o".repeat(1 << 20);
    let resource: Vec<_> =
        (0..100).map(|key| attribute(&format!("{key}{long}"), text(&long))).collect();
    let mut traces = Traces::default();
    traces.add(NOW, &[from(resource, vec![span(7, 1, 0, 0, 1)])]);
    assert!(check(&traces).bytes < 16 << 10);
    assert_eq!("unknown_service", traces.list(&Filter::default())[0].service);
}

#[test]
fn kinds_and_codes_that_are_not_known_are_the_usual_ones() {
    let mut one = span(7, 1, 0, 0, 1);
    one.kind = 77;
    one.status = Some(Status { code: -3, ..Status::default() });
    let traces = holding(vec![one]);
    let shown = &traces.trace(trace_id(7)).expect("it is kept").spans[0];
    assert_eq!(("internal", None), (shown.kind, shown.error.as_ref()));
}

#[test]
fn limits_of_nothing_keep_nothing() {
    let nothing =
        Limits { bytes: 0, traces: 0, spans: 0, trace_spans: 0, trace_bytes: 0, per_second: 1_000 };
    let mut traces = Traces::new(nothing);
    add(&mut traces, (1..=100).map(|id| span(7, id, 0, 0, 1)).collect());
    let stats = check(&traces);
    assert_eq!((0, 100), (stats.kept, stats.dropped));
}
