//! What is exported is read by others as it was sent.

use opentelemetry_proto::tonic::common::v1::{ArrayValue, InstrumentationScope, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use serde_json::json;

use super::*;
use crate::traces::Download;
use crate::traces::export::base64;

fn exported(traces: &Traces, ids: &[u128]) -> TracesData {
    let text = traces.otlp(ids.iter().copied().map(trace_id).collect());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_document_is_written_as_the_mapping_says() {
    let mut one = failed(span(7, 0xab, 0xcd, 0, 1), "broken");
    one.flags = 0x101;
    one.attributes = vec![
        attribute("count", Value::IntValue(-9_007_199_254_740_993)),
        attribute("ratio", Value::DoubleValue(0.25)),
        attribute("most", Value::DoubleValue(f64::INFINITY)),
        attribute("bytes", Value::BytesValue(b"raft".to_vec())),
        attribute("yes", Value::BoolValue(true)),
        attribute("list", Value::ArrayValue(ArrayValue { values: vec![AnyValue::default()] })),
        attribute(
            "map",
            Value::KvlistValue(KeyValueList { values: vec![attribute("term", text("5"))] }),
        ),
        KeyValue { key: "nothing".to_owned(), ..KeyValue::default() },
    ];
    one.events = vec![Event { time_unix_nano: at(1), name: "e".to_owned(), ..Event::default() }];
    let traces = holding(vec![one]);
    let document: serde_json::Value =
        serde_json::from_str(&traces.otlp(vec![trace_id(7)])).expect("it is JSON");
    let expected = json!({"resourceSpans": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "raft-node"}},
        ]},
        "scopeSpans": [{"scope": {}, "spans": [{
            "traceId": "00000000000000000000000000000007",
            "spanId": "00000000000000ab",
            "parentSpanId": "00000000000000cd",
            "flags": 257,
            "name": "span 171",
            "kind": 2,
            "startTimeUnixNano": "1764000000000000000",
            "endTimeUnixNano": "1764000000001000000",
            "attributes": [
                {"key": "count", "value": {"intValue": "-9007199254740993"}},
                {"key": "ratio", "value": {"doubleValue": 0.25}},
                {"key": "most", "value": {"doubleValue": "Infinity"}},
                {"key": "bytes", "value": {"bytesValue": "cmFmdA=="}},
                {"key": "yes", "value": {"boolValue": true}},
                {"key": "list", "value": {"arrayValue": {"values": [{}]}}},
                {"key": "map", "value": {"kvlistValue": {"values": [
                    {"key": "term", "value": {"stringValue": "5"}},
                ]}}},
                {"key": "nothing", "value": {}},
            ],
            "events": [{"timeUnixNano": "1764000000001000000", "name": "e"}],
            "status": {"message": "broken", "code": 2},
        }]}],
    }]});
    assert_eq!(expected, document);
}

#[test]
fn what_was_sent_is_what_others_read() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let mut traces = Traces::default();
        let spans: Vec<_> = (1..20)
            .map(|id| Span { span_id: id_bytes(id), trace_id: trace(7), ..random.span(1, 30) })
            .collect();
        let scope = InstrumentationScope {
            name: random.text(9),
            version: "1".to_owned(),
            attributes: random.attributes(3, 2),
            dropped_attributes_count: 4,
        };
        let mut sent = from(random.attributes(9, 2), spans);
        sent.scope_spans[0].scope = Some(scope);
        traces.add(NOW, std::slice::from_ref(&sent));
        assert!(vec![sent] == exported(&traces, &[7]).resource_spans, "seed {seed}");
    }
}

fn id_bytes(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

fn trace(id: u128) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

#[test]
fn what_is_imported_again_is_exported_the_same() {
    let mut random = Random(5);
    let mut traces = Traces::default();
    for service in ["raft-node", "chord-node", ""] {
        let spans = (0..300).map(|_| random.span(4, 200)).collect();
        traces.add(NOW, &[of_service(service, spans)]);
    }
    let mut again = Traces::default();
    let data = exported(&traces, &[1, 2, 3, 4]);
    assert_eq!(0, again.add(NOW, &data.resource_spans).refused());
    assert_eq!(check(&traces).kept, check(&again).kept);
    for id in 1..=4 {
        assert!(traces.trace(trace_id(id)) == again.trace(trace_id(id)), "trace {id}");
    }
}

#[test]
fn a_download_leaves_out_what_is_forgotten_meanwhile() {
    let mut traces = Traces::new(Limits { traces: 2, ..Limits::default() });
    add(&mut traces, vec![span(1, 1, 0, 0, 1), span(2, 1, 0, 0, 1)]);
    let mut download = Download::new(vec![trace_id(1), trace_id(2), trace_id(9)]);
    let mut text = String::new();
    for _ in 0..2 {
        text += &download.next(&traces).expect("there is more");
    }
    add(&mut traces, vec![span(3, 1, 0, 0, 1), span(4, 1, 0, 0, 1)]);
    while let Some(piece) = download.next(&traces) {
        text += &piece;
    }
    let data: TracesData = serde_json::from_str(&text).expect("it is whole");
    assert_eq!(1, data.resource_spans.len());
    assert_eq!(None, download.next(&traces));
}

#[test]
fn no_traces_are_an_empty_document() {
    assert_eq!(r#"{"resourceSpans":[]}"#, Traces::default().otlp(vec![trace_id(7)]));
}

#[test]
fn base64_is_as_in_its_standard() {
    let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
    for (bytes, text) in pairs {
        assert_eq!(text, base64(bytes.as_bytes()));
    }
    assert_eq!("+/+/", base64(&[0xfb, 0xff, 0xbf]));
}
