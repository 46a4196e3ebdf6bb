//! The traces of the cluster: spans of all its processes, put together by the trace they belong to
//! and kept in memory within limits.
//!
//! [`Traces`] is a plain value. It has no clock and no lock: who uses it says what time it is, and
//! shares it. Spans come in any order, from any process, more than once, or not at all; a trace is
//! whatever of it has arrived. When there is too much, the traces that began to arrive first are
//! forgotten, whole. Whatever is not kept is counted.
//!
//! What is absent: links and trace states of spans, addresses of schemas, and anything on disk.

mod export;
mod forward;
mod held;
mod ids;
mod list;
mod outcome;
mod own;
mod packer;
mod receiver;
mod record;
mod view;
mod weight;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, ResourceSpans};

use held::{Held, Kept};
use outcome::{Checked, Rate, Refusal};
use packer::Packer;
use record::{OriginRecord, Record};
use words::{Word, Words};

pub use export::Download;
pub use forward::{DEADLINE, Forwarded, Forwarder, QUEUE_BYTES};
pub use ids::{NoTraceId, SpanId, TraceId};
pub use list::{Filter, LIST_LIMIT};
pub use outcome::{Flaw, Limits, Outcome, Stats};
pub(crate) use own::Own;
pub use receiver::{Limited, Receiver};
pub use view::{Event, Span, Summary, Trace};

/// Bytes that a trace costs in the tree that finds it.
const FINDING_BYTES: u64 = 64;

/// Where spans come from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The process.
    pub resource: Option<&'a Resource>,
    /// The part of the program.
    pub scope: Option<&'a InstrumentationScope>,
}

/// Spans by their traces.
#[derive(Debug)]
pub struct Traces {
    limits: Limits,
    /// The one that began to arrive first comes first.
    held: VecDeque<Held>,
    /// How many have been forgotten: the number of the first that is held.
    forgotten: u64,
    /// The number of every trace that is held, in order of arrival.
    numbers: BTreeMap<TraceId, u64>,
    words: Words<str>,
    /// Records of where spans come from.
    origins: Words<[u8]>,
    /// Bytes of all spans.
    bytes: u64,
    counts: Stats,
    rate: Rate,
}

impl Default for Traces {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Traces {
    /// No spans yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: VecDeque::new(),
            forgotten: 0,
            numbers: BTreeMap::new(),
            words: Words::default(),
            origins: Words::default(),
            bytes: 0,
            counts: Stats::default(),
            rate: Rate::default(),
        }
    }

    /// The most that it keeps.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes all spans of a message; `now` is the time since 1970.
    pub fn add(&mut self, now: Duration, message: &[ResourceSpans]) -> Outcome {
        let mut outcome = Outcome::default();
        for process in message {
            for part in &process.scope_spans {
                let origin =
                    Origin { resource: process.resource.as_ref(), scope: part.scope.as_ref() };
                outcome.add(self.add_from(now, origin, &part.spans));
            }
        }
        outcome
    }

    /// Takes spans that come from the same place; `now` is the time since 1970.
    pub fn add_from(&mut self, now: Duration, origin: Origin<'_>, spans: &[otlp::Span]) -> Outcome {
        let mut outcome = Outcome::default();
        let before = self.shared_bytes();
        let origin = self.acquire_origin(origin);
        // The trace that comes first answers for what they share.
        let mut brought = self.shared_bytes() - before;
        for span in spans {
            outcome.count(self.take(now, origin, span, &mut brought));
        }
        self.release_origin(origin);
        self.counts.received += spans.len() as u64;
        self.counts.invalid += outcome.invalid;
        self.counts.dropped += outcome.hasty + outcome.crowded;
        outcome
    }

    /// How many spans came, and what became of them; `now` is the time since 1970.
    pub fn stats(&self, now: Duration) -> Stats {
        Stats {
            bytes: self.all_bytes(),
            traces: self.held.len() as u64,
            per_second: self.rate.last(now),
            ..self.counts
        }
    }

    fn take(
        &mut self,
        now: Duration,
        origin: Word,
        span: &otlp::Span,
        brought: &mut u64,
    ) -> Result<(), Refusal> {
        if self.rate.count(now) > self.limits.per_second {
            return Err(Refusal::Hasty);
        }
        let checked = Checked::of(span, now).map_err(Refusal::Invalid)?;
        let at = self.place(checked.trace);
        let held = &mut self.held[at];
        let position = held.position(checked.id);
        let full = held.bytes() + held.brought >= self.limits.trace_bytes
            || (position.is_err() && held.spans.len() >= self.limits.trace_spans);
        // A trace that is held has a span, whatever the limits are.
        if full && !held.spans.is_empty() {
            held.cropped = true;
            return Err(Refusal::Crowded);
        }
        let before = self.shared_bytes();
        let kept = self.keep(&checked, origin, span);
        let growth = self.shared_bytes() - before;
        let held = &mut self.held[at];
        held.brought += growth + std::mem::take(brought);
        self.bytes -= held.bytes();
        match position {
            Ok(position) => {
                let old = held.replace(position, kept);
                self.bytes += held.bytes();
                self.release(old);
                self.counts.repeated += 1;
            }
            Err(position) => {
                held.insert(position, kept);
                self.bytes += held.bytes();
                self.counts.kept += 1;
            }
        }
        self.make_room();
        Ok(())
    }

    /// Where a trace is held, from its first span on.
    fn place(&mut self, trace: TraceId) -> usize {
        let next = self.forgotten + self.held.len() as u64;
        let number = *self.numbers.entry(trace).or_insert(next);
        if number == next {
            let spans = Vec::new();
            self.held.push_back(Held {
                id: trace,
                spans,
                records_bytes: 0,
                brought: 0,
                cropped: false,
            });
        }
        usize::try_from(number - self.forgotten).expect("so many are in memory")
    }

    fn keep(&mut self, checked: &Checked, origin: Word, span: &otlp::Span) -> Kept {
        self.origins.refer(origin);
        let code = span.status.as_ref().map_or(StatusCode::Unset, otlp::Status::code);
        Kept {
            id: checked.id,
            parent: checked.parent,
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            name: self.words.acquire(&*packer::name(&span.name)).0,
            origin,
            kind: span.kind(),
            status: code,
            record: Packer::new(&mut self.words).span(span),
        }
    }

    fn release(&mut self, span: Kept) {
        for word in Record::read(&span.record, span.start).words() {
            self.words.release(word);
        }
        self.words.release(span.name);
        self.release_origin(span.origin);
    }

    fn acquire_origin(&mut self, origin: Origin<'_>) -> Word {
        let record = Packer::new(&mut self.words).origin(origin);
        let (word, is_first) = self.origins.acquire(&*record);
        if !is_first {
            self.release_words_of_origin(&record);
        }
        word
    }

    fn release_origin(&mut self, origin: Word) {
        if let Some(record) = self.origins.release(origin) {
            self.release_words_of_origin(&record);
        }
    }

    fn release_words_of_origin(&mut self, record: &[u8]) {
        for word in OriginRecord::read(record).words() {
            self.words.release(word);
        }
    }

    fn make_room(&mut self) {
        while self.all_bytes() > self.limits.bytes
            || self.held.len() > self.limits.traces
            || self.counts.kept > self.limits.spans as u64
        {
            let Some(oldest) = self.held.pop_front() else { return };
            self.forgotten += 1;
            self.numbers.remove(&oldest.id);
            self.bytes -= oldest.bytes();
            self.counts.kept -= oldest.spans.len() as u64;
            self.counts.dropped += oldest.spans.len() as u64;
            for span in oldest.spans {
                self.release(span);
            }
        }
    }

    fn all_bytes(&self) -> u64 {
        let traces = (self.held.capacity() * size_of::<Held>()) as u64
            + self.held.len() as u64 * FINDING_BYTES;
        self.bytes + traces + self.words.bytes() + self.origins.bytes()
    }

    /// Bytes of what spans share.
    fn shared_bytes(&self) -> u64 {
        self.words.contents_bytes() + self.origins.contents_bytes()
    }

    fn find(&self, trace: TraceId) -> Option<&Held> {
        let number = self.numbers.get(&trace)? - self.forgotten;
        self.held.get(usize::try_from(number).ok()?)
    }
}

#[cfg(test)]
mod tests;
