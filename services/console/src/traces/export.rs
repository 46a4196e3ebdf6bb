//! Traces as OTLP/JSON, as other tools read them: ids are hexadecimal, names are in camel case,
//! integers of 64 bits are texts, enumerations are numbers, and what has its usual value is left
//! out (OpenTelemetry protocol, "JSON Protobuf Encoding"; Protocol Buffers, "ProtoJSON Format").

use std::collections::BTreeMap;
use std::vec;

use serde::Serialize;

use super::held::{Held, Kept};
use super::record::{Attributes, Event, OriginRecord, Record, Value};
use super::words::{Word, Words};
use super::{SpanId, TraceId, Traces};

/// A document of some traces, written piece by piece: whoever shares the store need not hold it for
/// the whole document, nor hold the whole document. A trace that is forgotten meanwhile is left
/// out.
#[derive(Debug)]
pub struct Download {
    ids: vec::IntoIter<TraceId>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Beginning,
    First,
    Further,
    Ended,
}

impl Download {
    /// The document of these traces.
    pub fn new(ids: Vec<TraceId>) -> Self {
        Self { ids: ids.into_iter(), stage: Stage::Beginning }
    }

    /// The next piece of the text: of one trace at most. None at the end.
    pub fn next(&mut self, traces: &Traces) -> Option<String> {
        let separator = match self.stage {
            Stage::Beginning => {
                self.stage = Stage::First;
                return Some(r#"{"resourceSpans":["#.to_owned());
            }
            Stage::First => "",
            Stage::Further => ",",
            Stage::Ended => return None,
        };
        let Some(trace) = self.ids.find_map(|id| traces.find(id)) else {
            self.stage = Stage::Ended;
            return Some("]}".to_owned());
        };
        self.stage = Stage::Further;
        Some(format!("{separator}{}", traces.resource_spans(trace)))
    }
}

impl Traces {
    /// The OTLP/JSON document of some traces; those that are not kept are left out.
    pub fn otlp(&self, ids: Vec<TraceId>) -> String {
        let mut download = Download::new(ids);
        std::iter::from_fn(|| download.next(self)).collect()
    }

    /// The items of `resourceSpans` of one trace, with commas between them.
    fn resource_spans(&self, held: &Held) -> String {
        let mut origins = BTreeMap::<Word, Vec<SpanText<'_>>>::new();
        for span in &held.spans {
            origins.entry(span.origin).or_default().push(self.span_text(held.id, span));
        }
        let mut items = Vec::new();
        for (origin, spans) in origins {
            let record = OriginRecord::read(self.origins.get(origin));
            let (attributes, dropped_attributes_count) = self.pairs(record.resource);
            let resource = ResourceText { attributes, dropped_attributes_count };
            let (attributes, dropped_attributes_count) = self.pairs(record.scope_attributes);
            let (name, version) = (record.scope, record.version);
            let scope = ScopeText { name, version, attributes, dropped_attributes_count };
            let item =
                ResourceSpansText { resource, scope_spans: [ScopeSpansText { scope, spans }] };
            items.push(serde_json::to_string(&item).expect("all keys are texts"));
        }
        items.join(",")
    }

    fn span_text<'a>(&'a self, trace_id: TraceId, span: &'a Kept) -> SpanText<'a> {
        let record = Record::read(&span.record, span.start);
        let (attributes, dropped_attributes_count) = self.pairs(record.attributes);
        SpanText {
            trace_id,
            span_id: span.id,
            parent_span_id: span.parent,
            flags: record.flags,
            name: self.words.get(span.name),
            kind: span.kind as i32,
            start_time_unix_nano: span.start.to_string(),
            end_time_unix_nano: span.end.to_string(),
            attributes,
            dropped_attributes_count,
            events: record.events.into_iter().map(|event| self.event_text(event)).collect(),
            dropped_events_count: record.dropped_events,
            dropped_links_count: record.dropped_links,
            status: StatusText { message: record.message, code: span.status as i32 },
        }
    }

    fn event_text<'a>(&'a self, event: Event<'a>) -> EventText<'a> {
        let (attributes, dropped_attributes_count) = self.pairs(event.attributes);
        EventText {
            time_unix_nano: event.at.to_string(),
            name: self.words.get(event.name),
            attributes,
            dropped_attributes_count,
        }
    }

    fn pairs<'a>(&'a self, attributes: Attributes<'a>) -> (Vec<Pair<'a>>, u32) {
        let kept = attributes.kept.into_iter();
        let pairs = kept.map(|(key, value)| Pair {
            key: self.words.get(key),
            value: value_text(&self.words, value),
        });
        (pairs.collect(), attributes.dropped)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpansText<'a> {
    resource: ResourceText<'a>,
    scope_spans: [ScopeSpansText<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceText<'a> {
    attributes: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "is_usual")]
    dropped_attributes_count: u32,
}

#[derive(Serialize)]
struct ScopeSpansText<'a> {
    scope: ScopeText<'a>,
    spans: Vec<SpanText<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeText<'a> {
    #[serde(skip_serializing_if = "is_usual")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_usual")]
    version: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "is_usual")]
    dropped_attributes_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanText<'a> {
    trace_id: TraceId,
    span_id: SpanId,
    #[serde(skip_serializing_if = "is_usual")]
    parent_span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "is_usual")]
    flags: u32,
    name: &'a str,
    kind: i32,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "is_usual")]
    dropped_attributes_count: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<EventText<'a>>,
    #[serde(skip_serializing_if = "is_usual")]
    dropped_events_count: u32,
    #[serde(skip_serializing_if = "is_usual")]
    dropped_links_count: u32,
    #[serde(skip_serializing_if = "is_usual")]
    status: StatusText<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventText<'a> {
    time_unix_nano: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "is_usual")]
    dropped_attributes_count: u32,
}

#[derive(Default, PartialEq, Serialize)]
struct StatusText<'a> {
    #[serde(skip_serializing_if = "is_usual")]
    message: &'a str,
    #[serde(skip_serializing_if = "is_usual")]
    code: i32,
}

#[derive(Serialize)]
struct Pair<'a> {
    key: &'a str,
    value: ValueText<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum ValueText<'a> {
    StringValue(&'a str),
    BoolValue(bool),
    IntValue(String),
    DoubleValue(f64),
    #[serde(rename = "doubleValue")]
    InfiniteValue(&'static str),
    BytesValue(String),
    ArrayValue(Items<Self>),
    KvlistValue(Items<Pair<'a>>),
    #[serde(untagged)]
    Absent {},
}

#[derive(Serialize)]
struct Items<T> {
    values: Vec<T>,
}

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn value_text<'a>(words: &'a Words<str>, value: Value<'a>) -> ValueText<'a> {
    match value {
        Value::Absent => ValueText::Absent {},
        Value::Text(text) => ValueText::StringValue(text),
        Value::Known(word) => ValueText::StringValue(words.get(word)),
        Value::Flag(flag) => ValueText::BoolValue(flag),
        Value::Integer(number) => ValueText::IntValue(number.to_string()),
        Value::Double(number) if number.is_finite() => ValueText::DoubleValue(number),
        Value::Double(number) => ValueText::InfiniteValue(infinite(number)),
        Value::Bytes(bytes) => ValueText::BytesValue(base64(bytes)),
        Value::List(items) => {
            let values = items.into_iter().map(|item| value_text(words, item));
            ValueText::ArrayValue(Items { values: values.collect() })
        }
        Value::Map(items) => {
            let pair = |(key, item)| Pair { key, value: value_text(words, item) };
            ValueText::KvlistValue(Items { values: items.into_iter().map(pair).collect() })
        }
    }
}

/// A number that JSON cannot say, as ProtoJSON says it.
pub(super) fn infinite(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// The usual alphabet, with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (digit, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let is_padding = digit > group.len();
            let digit = char::from(DIGITS[(bits >> shift & 63) as usize]);
            text.push(if is_padding { '=' } else { digit });
        }
    }
    text
}
