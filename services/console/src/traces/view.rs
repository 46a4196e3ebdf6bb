//! Traces as the page is told of them.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::held::{Held, Kept};
use super::record::{Attributes, OriginRecord, Record, Value};
use super::words::{Word, Words};
use super::{SpanId, TraceId, Traces, export};
use crate::limits::EXACT;

/// The process within its system, of a span or of a resource.
const NODE: &str = "ensemble.node";
/// The process, of a resource.
const INSTANCE: &str = "service.instance.id";
/// The program, of a resource.
const SERVICE: &str = "service.name";
/// As OpenTelemetry says it.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// A trace in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Its id.
    pub trace_id: TraceId,
    /// The name of its root: the earliest span without a parent, or the earliest of all.
    pub name: String,
    /// The service of its root.
    pub service: String,
    /// The node of its root.
    pub node: Option<String>,
    /// When its first span starts: milliseconds after 1970.
    pub start: f64,
    /// Microseconds from there to the end of its last span.
    pub duration_us: u64,
    /// How many spans there are.
    pub spans: u64,
    /// The services of all spans, in alphabetical order.
    pub services: Vec<String>,
    /// How many spans failed.
    pub errors: u64,
    /// Whether there is a root and nothing is known to be missing.
    pub complete: bool,
}

/// All that is kept of a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// Its id.
    pub trace_id: TraceId,
    /// Its spans, in the order of their starts. Parents may form a cycle, if a process says so.
    pub spans: Vec<Span>,
    /// Whether there is a root and nothing is known to be missing.
    pub complete: bool,
}

/// A span of a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Its id.
    pub span_id: SpanId,
    /// The id of the span that it belongs under.
    pub parent_id: Option<SpanId>,
    /// What was done.
    pub name: String,
    /// `server`, `client`, `internal`, `producer` or `consumer`.
    pub kind: &'static str,
    /// The program that did it.
    pub service: String,
    /// The process that did it.
    pub node: Option<String>,
    /// When it starts: milliseconds after 1970, to the microsecond.
    pub start: f64,
    /// Microseconds that it took.
    pub duration_us: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// Its attributes. Whole numbers that a page would round are texts.
    pub attributes: Map<String, Json>,
    /// What happened meanwhile.
    pub events: Vec<Event>,
    /// Whether its parent is not kept.
    pub orphan: bool,
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When: milliseconds after 1970.
    pub at: f64,
    /// What.
    pub name: String,
}

/// Where spans come from, as it is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) service: String,
    pub(super) node: Option<String>,
}

impl Traces {
    /// All that is kept of a trace.
    pub fn trace(&self, id: TraceId) -> Option<Trace> {
        let held = self.find(id)?;
        let mut places = BTreeMap::new();
        let mut kept: Vec<&Kept> = held.spans.iter().collect();
        kept.sort_by_key(|span| (span.start, span.id));
        let mut spans = Vec::with_capacity(kept.len());
        for span in kept {
            let place = places.entry(span.origin).or_insert_with(|| self.origin_place(span.origin));
            spans.push(self.span(held, span, place));
        }
        Some(Trace { trace_id: id, spans, complete: held.is_complete() })
    }

    fn span(&self, held: &Held, span: &Kept, place: &Place) -> Span {
        let record = Record::read(&span.record, span.start);
        let attributes = record.attributes.kept.iter();
        let event = |event: &super::record::Event<'_>| Event {
            at: milliseconds(event.at),
            name: self.words.get(event.name).to_owned(),
        };
        Span {
            span_id: span.id,
            parent_id: span.parent,
            name: self.words.get(span.name).to_owned(),
            kind: kind(span.kind),
            service: place.service.clone(),
            node: self.node(&record).or_else(|| place.node.clone()),
            start: milliseconds(span.start),
            duration_us: (span.end - span.start) / 1_000,
            error: self.error(span, &record),
            attributes: attributes
                .map(|(key, value)| (self.words.get(*key).to_owned(), json(&self.words, value)))
                .collect(),
            events: record.events.iter().map(event).collect(),
            orphan: held.is_orphan(span),
        }
    }

    fn error(&self, span: &Kept, record: &Record<'_>) -> Option<String> {
        if span.status != StatusCode::Error {
            return None;
        }
        if !record.message.is_empty() {
            return Some(record.message.to_owned());
        }
        let kind = text(&self.words, &record.attributes, "error.type");
        Some(kind.unwrap_or_else(|| "failed".to_owned()))
    }

    /// The node that a span itself says it is of.
    pub(super) fn node(&self, record: &Record<'_>) -> Option<String> {
        text(&self.words, &record.attributes, NODE)
    }

    pub(super) fn origin_place(&self, origin: Word) -> Place {
        let record = OriginRecord::read(self.origins.get(origin));
        let resource = |key| text(&self.words, &record.resource, key);
        Place {
            service: resource(SERVICE).unwrap_or_else(|| UNKNOWN_SERVICE.to_owned()),
            node: resource(NODE).or_else(|| resource(INSTANCE)),
        }
    }

    pub(super) fn summary(&self, held: &Held) -> Option<Summary> {
        let root = held.root()?;
        let place = self.origin_place(root.origin);
        let origins: BTreeSet<Word> = held.spans.iter().map(|span| span.origin).collect();
        let services: BTreeSet<String> =
            origins.iter().map(|origin| self.origin_place(*origin).service).collect();
        let errors = held.spans.iter().filter(|span| span.status == StatusCode::Error);
        let start = held.start();
        Some(Summary {
            trace_id: held.id,
            name: self.words.get(root.name).to_owned(),
            service: place.service,
            node: self.node(&Record::read(&root.record, root.start)).or(place.node),
            start: milliseconds(start),
            duration_us: (held.end() - start) / 1_000,
            spans: held.spans.len() as u64,
            services: services.into_iter().collect(),
            errors: errors.count() as u64,
            complete: held.is_complete(),
        })
    }
}

/// What is not said to be anything is internal.
fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified | SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

/// To the microsecond: a number holds no more of today's times.
fn milliseconds(nanoseconds: u64) -> f64 {
    (nanoseconds / 1_000) as f64 / 1_000.0
}

/// The first attribute of this name, if it is a text that is not empty, or a whole number.
fn text(words: &Words<str>, attributes: &Attributes<'_>, key: &str) -> Option<String> {
    let (_, value) = attributes.kept.iter().find(|(word, _)| words.get(*word) == key)?;
    let text = match value {
        Value::Text(text) => (*text).to_owned(),
        Value::Known(word) => words.get(*word).to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Absent
        | Value::Flag(_)
        | Value::Double(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn json(words: &Words<str>, value: &Value<'_>) -> Json {
    match value {
        Value::Absent => Json::Null,
        Value::Text(text) => (*text).into(),
        Value::Known(word) => words.get(*word).into(),
        Value::Flag(flag) => (*flag).into(),
        Value::Integer(number) if number.unsigned_abs() > EXACT => number.to_string().into(),
        Value::Integer(number) => (*number).into(),
        Value::Double(number) if number.is_finite() => (*number).into(),
        Value::Double(number) => export::infinite(*number).into(),
        Value::Bytes(bytes) => export::base64(bytes).into(),
        Value::List(items) => items.iter().map(|item| json(words, item)).collect(),
        Value::Map(items) => {
            items.iter().map(|(key, item)| ((*key).to_owned(), json(words, item))).collect()
        }
    }
}
