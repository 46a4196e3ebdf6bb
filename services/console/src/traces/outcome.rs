//! What is let in, and what becomes of it.

use std::fmt;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1 as otlp;
use serde::Serialize;

use super::{SpanId, TraceId};

/// Nothing began before the year 2000: nanoseconds after 1970.
const EARLIEST: u64 = 946_684_800_000_000_000;
/// How far the clock of another process may be ahead.
const AHEAD: Duration = Duration::from_hours(24);

/// The most that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of everything, as far as it can be counted.
    pub bytes: u64,
    /// Traces.
    pub traces: usize,
    /// Spans of all traces.
    pub spans: usize,
    /// Spans of one trace; further ones are refused.
    pub trace_spans: usize,
    /// Bytes of one trace, with the names that it brings; it may exceed this by one span.
    pub trace_bytes: u64,
    /// Spans that are taken in one second.
    pub per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 4 << 20,
            traces: 5_000,
            spans: 25_000,
            trace_spans: 2_000,
            trace_bytes: 1 << 20,
            per_second: 20_000,
        }
    }
}

/// Counts of spans, since the beginning but for `kept`, and what they take.
/// Always `received = kept + repeated + dropped + invalid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// All that arrived.
    pub received: u64,
    /// Those that are there.
    pub kept: u64,
    /// Those whose place another of the same name took.
    pub repeated: u64,
    /// Those that were over a limit, or forgotten to make room.
    pub dropped: u64,
    /// Those that make no sense.
    pub invalid: u64,
    /// Bytes of memory, as far as it can be counted.
    pub bytes: u64,
    /// Traces that are there.
    pub traces: u64,
    /// How many arrived in the last whole second.
    pub per_second: u64,
    /// Those that another collector has taken, if they are passed on.
    pub forwarded: u64,
    /// Those that it has not, and will not.
    pub not_forwarded: u64,
}

/// What makes no sense in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The trace id is not 16 bytes, or zero.
    TraceId,
    /// The span id is not 8 bytes, or zero.
    SpanId,
    /// The id of the parent is neither empty nor 8 bytes.
    ParentId,
    /// It ends before it starts.
    Order,
    /// It starts before the year 2000, or ends later than a day ahead.
    Time,
}

impl fmt::Display for Flaw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::TraceId => "a trace id is not 16 bytes, or zero",
            Self::SpanId => "a span id is not 8 bytes, or zero",
            Self::ParentId => "the id of a parent is neither empty nor 8 bytes",
            Self::Order => "a span ends before it starts",
            Self::Time => "a span starts before 2000 or ends later than a day from now",
        })
    }
}

/// What became of spans that arrived together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// They were taken; some may have replaced others.
    pub taken: u64,
    /// They make no sense.
    pub invalid: u64,
    /// They came faster than is allowed.
    pub hasty: u64,
    /// Their trace is full.
    pub crowded: u64,
    /// The first that made no sense.
    pub flaw: Option<Flaw>,
}

impl Outcome {
    /// How many were not taken.
    pub fn refused(&self) -> u64 {
        self.invalid + self.hasty + self.crowded
    }

    pub(super) fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.invalid += other.invalid;
        self.hasty += other.hasty;
        self.crowded += other.crowded;
        self.flaw = self.flaw.or(other.flaw);
    }

    pub(super) fn count(&mut self, result: Result<(), Refusal>) {
        match result {
            Ok(()) => self.taken += 1,
            Err(Refusal::Hasty) => self.hasty += 1,
            Err(Refusal::Crowded) => self.crowded += 1,
            Err(Refusal::Invalid(flaw)) => {
                self.invalid += 1;
                self.flaw.get_or_insert(flaw);
            }
        }
    }
}

pub(super) enum Refusal {
    Hasty,
    Crowded,
    Invalid(Flaw),
}

/// The names and times of a span that makes sense.
pub(super) struct Checked {
    pub(super) trace: TraceId,
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
}

impl Checked {
    pub(super) fn of(span: &otlp::Span, now: Duration) -> Result<Self, Flaw> {
        let trace = TraceId::from_bytes(&span.trace_id).ok_or(Flaw::TraceId)?;
        let id = SpanId::from_bytes(&span.span_id).ok_or(Flaw::SpanId)?;
        let parent = SpanId::from_bytes(&span.parent_span_id);
        if parent.is_none() && ![0, 8].contains(&span.parent_span_id.len()) {
            return Err(Flaw::ParentId);
        }
        if span.end_time_unix_nano < span.start_time_unix_nano {
            return Err(Flaw::Order);
        }
        let latest = (now + AHEAD).as_nanos();
        if span.start_time_unix_nano < EARLIEST || u128::from(span.end_time_unix_nano) > latest {
            return Err(Flaw::Time);
        }
        Ok(Self { trace, id, parent })
    }
}

/// How many arrive in a second.
#[derive(Debug, Default)]
pub(super) struct Rate {
    second: u64,
    arrived: u64,
    before: u64,
}

impl Rate {
    /// How many have arrived in this second, with this one.
    pub(super) fn count(&mut self, now: Duration) -> u64 {
        let second = now.as_secs();
        if second != self.second {
            self.before = self.last(now);
            (self.second, self.arrived) = (second, 0);
        }
        self.arrived += 1;
        self.arrived
    }

    /// How many arrived in the last whole second.
    pub(super) fn last(&self, now: Duration) -> u64 {
        match now.as_secs().checked_sub(self.second) {
            Some(0) => self.before,
            Some(1) => self.arrived,
            Some(_) | None => 0,
        }
    }
}
