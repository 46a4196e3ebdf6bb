//! How a command comes into the logs of a majority, told as spans: what a follower passes on, what
//! a leader has committed, and what every member writes to its disk.
//!
//! What is absent: reads, of which a follower asks about many at once, and changes of members.

use std::sync::Arc;

use chassis::telemetry::{Span, Spans, Telemetry, names};
use consensus::store::Command;
use consensus::{Index, Message, Payload, Record};
use opentelemetry::trace::SpanKind;
use protocols::{NodeId, Ticket, Trace};

/// Spans of what is written at once; more are left out.
const APPENDING_LIMIT: usize = 64;

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// A command that this member passed on.
    Proposal(NodeId, Ticket),
    /// An entry that is in the log.
    Commit(Index),
}

/// The spans of one node.
#[derive(Debug)]
pub(super) struct Progress {
    telemetry: Arc<Telemetry>,
    spans: Spans<Work>,
}

impl Progress {
    pub(super) fn new(telemetry: &Arc<Telemetry>) -> Self {
        Self { telemetry: telemetry.clone(), spans: Spans::default() }
    }

    /// A member says something: what it passes on is done under its own span.
    pub(super) fn hear(&self, from: NodeId, message: &mut Message) {
        let Message::Propose(_, ticket, Command { trace, .. }) = message else { return };
        let span = self.telemetry.span_under("raft propose", SpanKind::Server, *trace);
        if !span.is_none() {
            *trace = span.trace();
            self.spans.hold(Work::Proposal(from, *ticket), span);
        }
    }

    /// Something is said to a member, perhaps what became of what it passed on.
    pub(super) fn say(&self, to: NodeId, message: &Message) {
        if self.telemetry.traces()
            && let Message::Proposed(ticket, outcome) = message
        {
            self.spans.end(Work::Proposal(to, *ticket), |span| {
                if let Err(refusal) = outcome {
                    span.fail(format!("{refusal:?}"));
                }
            });
        }
    }

    /// A command is in this leader's log.
    pub(super) fn logged(&self, index: Index, trace: Trace) {
        let span = self.telemetry.span_under("raft commit", SpanKind::Internal, trace);
        note(&span, index);
        self.spans.hold(Work::Commit(index), span);
    }

    /// It is committed.
    pub(super) fn committed(&self, index: Index) {
        self.spans.end(Work::Commit(index), |_| ());
    }

    /// Spans of the commands that are about to be written, which end with the writing.
    pub(super) fn appending(&self, records: &[Record]) -> Vec<Span> {
        if !self.telemetry.traces() {
            return Vec::new();
        }
        let entries = records.iter().flat_map(|record| match record {
            Record::Append(entries) => &entries[..],
            Record::Ballot(..) | Record::Compact(_) | Record::Install(_) => &[],
        });
        let spans = entries.filter_map(|entry| {
            let Payload::Command(command) = &entry.payload else { return None };
            let kind = SpanKind::Internal;
            let span = self.telemetry.span_under("raft append", kind, command.trace);
            note(&span, entry.index);
            (!span.is_none()).then_some(span)
        });
        spans.take(APPENDING_LIMIT).collect()
    }
}

fn note(span: &Span, index: Index) {
    span.note(names::RAFT_INDEX, i64::try_from(index.0).unwrap_or(i64::MAX));
}
