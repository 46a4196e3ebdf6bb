//! The store against what it promises, with honest and with hostile senders.

mod export;
mod flood;
mod forward;
mod hostile;
mod keep;
mod list;
mod receiver;

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::held::{Held, allocated};
use super::record::{OriginRecord, Record};
use super::words::Word;
use super::{FINDING_BYTES, Limits, Outcome, Stats, TraceId, Traces};

const NOW: Duration = Duration::from_secs(1_764_000_000);
const MILLISECOND: u64 = 1_000_000;

/// Milliseconds after `NOW`, in nanoseconds after 1970.
fn at(milliseconds: u64) -> u64 {
    1_764_000_000_000_000_000 + milliseconds * MILLISECOND
}

fn trace_id(number: u128) -> TraceId {
    TraceId::from_bytes(&number.to_be_bytes()).expect("not zero")
}

/// A span from one millisecond to another.
fn span(trace: u128, id: u64, parent: u64, from: u64, to: u64) -> Span {
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        name: format!("span {id}"),
        kind: 2,
        start_time_unix_nano: at(from),
        end_time_unix_nano: at(to),
        ..Span::default()
    }
}

fn failed(span: Span, message: &str) -> Span {
    let status = Status { message: message.to_owned(), code: StatusCode::Error as i32 };
    Span { status: Some(status), ..span }
}

fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn attribute(key: &str, given: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value(given)), ..KeyValue::default() }
}

fn with(span: Span, attributes: Vec<KeyValue>) -> Span {
    Span { attributes, ..span }
}

fn from(attributes: Vec<KeyValue>, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn of_service(service: &str, spans: Vec<Span>) -> ResourceSpans {
    from(vec![attribute("service.name", text(service))], spans)
}

fn add(traces: &mut Traces, spans: Vec<Span>) -> Outcome {
    traces.add(NOW, &[of_service("raft-node", spans)])
}

fn holding(spans: Vec<Span>) -> Traces {
    let mut traces = Traces::default();
    let count = spans.len() as u64;
    assert_eq!(Outcome { taken: count, ..Outcome::default() }, add(&mut traces, spans));
    traces
}

/// Counts everything again, and compares.
fn check(traces: &Traces) -> Stats {
    let mut words = BTreeMap::<Word, u32>::new();
    let mut origins = BTreeMap::<Word, u32>::new();
    let (mut bytes, mut spans) = (0, 0);
    for (number, held) in (traces.forgotten..).zip(&traces.held) {
        assert_eq!(Some(&number), traces.numbers.get(&held.id));
        assert!(held.spans.is_sorted_by_key(|span| span.id));
        assert!(held.spans.windows(2).all(|pair| pair[0].id != pair[1].id));
        assert!(!held.spans.is_empty());
        bytes += (held.spans.capacity() * 64) as u64;
        for span in &held.spans {
            spans += 1;
            bytes += allocated(span.record.len());
            *origins.entry(span.origin).or_default() += 1;
            let record = Record::read(&span.record, span.start);
            for word in record.words().chain([span.name]) {
                *words.entry(word).or_default() += 1;
            }
        }
    }
    for (_, record) in traces.origins.iter() {
        for word in OriginRecord::read(record).words() {
            *words.entry(word).or_default() += 1;
        }
    }
    assert_eq!(words, traces.words.references());
    assert_eq!(origins, traces.origins.references());
    assert_eq!(traces.held.len(), traces.numbers.len());
    bytes += traces.words.recount() + traces.origins.recount();
    bytes += (traces.held.capacity() * size_of::<Held>()) as u64;
    bytes += traces.held.len() as u64 * FINDING_BYTES;
    let stats = traces.stats(NOW);
    assert_eq!(bytes, stats.bytes);
    assert_eq!(spans, stats.kept);
    assert_eq!(stats.received, stats.kept + stats.repeated + stats.dropped + stats.invalid);
    stats
}

/// SplitMix64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn text(&mut self, most: u64) -> String {
        let count = self.below(most + 1);
        (0..count)
            .map(|_| ['a', 'ß', '中', '"', '\\', '\0', '😀'][self.below(7) as usize])
            .collect()
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 5 } else { 7 }) {
            0 => Value::StringValue(self.text(20)),
            1 => Value::BoolValue(self.below(2) == 0),
            2 => Value::IntValue(self.next().cast_signed() >> self.below(64)),
            // Few digits: serde_json reads long ones a little differently.
            3 => Value::DoubleValue(self.below(1 << 30) as f64 / 8.0),
            4 => Value::BytesValue(self.text(5).into_bytes()),
            5 => {
                let values = (0..self.below(4)).map(|_| value(self.value(depth - 1))).collect();
                Value::ArrayValue(opentelemetry_proto::tonic::common::v1::ArrayValue { values })
            }
            _ => {
                let values = self.attributes(3, depth - 1);
                Value::KvlistValue(opentelemetry_proto::tonic::common::v1::KeyValueList { values })
            }
        }
    }

    fn attributes(&mut self, most: u64, depth: u32) -> Vec<KeyValue> {
        let count = self.below(most + 1);
        (0..count)
            .map(|_| attribute(&format!("key {}", self.below(50)), self.value(depth)))
            .collect()
    }

    /// A span of one of so many traces, of one of so many ids.
    fn span(&mut self, traces: u64, ids: u64) -> Span {
        let (trace, id) = (u128::from(self.below(traces)) + 1, self.below(ids) + 1);
        let (parent, from) = (self.below(ids + 1), self.below(1_000));
        let mut span = span(trace, id, parent, from, from + self.below(50));
        span.attributes = self.attributes(6, 3);
        for _ in 0..self.below(3) {
            span.events.push(opentelemetry_proto::tonic::trace::v1::span::Event {
                time_unix_nano: self.next(),
                name: format!("event {}", self.below(9)),
                attributes: self.attributes(3, 1),
                ..Default::default()
            });
        }
        span.flags = self.below(1_000) as u32;
        if self.below(4) == 0 { failed(span, &self.text(9)) } else { span }
    }
}
