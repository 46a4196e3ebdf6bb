//! The way of a lookup, told as spans: one at every node that is asked on it, under that of the
//! node that was asked first, or, when the lookup is passed on, under that of the node before.
//!
//! What is absent: lookups for a node's own ends, and the copying of what was saved.

use std::sync::Arc;

use chassis::telemetry::{Spans, Telemetry};
use hashring::{Answer, Body, Id, Message, Outcome, Question};
use opentelemetry::trace::SpanKind;
use protocols::Ticket;

/// What this node was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// A question of this node.
    Question(Id, Ticket),
    /// A lookup of this node, which somebody passed on.
    Route(Id, Ticket),
}

/// The spans of one node.
#[derive(Debug)]
pub(super) struct Hops {
    telemetry: Arc<Telemetry>,
    spans: Spans<Work>,
}

impl Hops {
    pub(super) fn new(telemetry: &Arc<Telemetry>) -> Self {
        Self { telemetry: telemetry.clone(), spans: Spans::default() }
    }

    /// A node asks something: it is done under its own span.
    pub(super) fn hear(&self, message: &mut Message) {
        let asks = message.from.id;
        let (name, work, trace) = match &mut message.body {
            Body::Question(ticket, Question::Step(_, _, trace)) => {
                ("chord step", Work::Question(asks, *ticket), trace)
            }
            Body::Question(ticket, Question::Perform(_, operation)) => {
                ("chord perform", Work::Question(asks, *ticket), &mut operation.trace)
            }
            Body::Route(route) => {
                let work = Work::Route(route.origin.id, route.ticket);
                ("chord route", work, &mut route.operation.trace)
            }
            Body::Question(..) | Body::Answer(..) | Body::Routed(..) | Body::Census(_) => return,
        };
        let span = self.telemetry.span_under(name, SpanKind::Server, *trace);
        if !span.is_none() {
            *trace = span.trace();
            self.spans.hold(work, span);
        }
    }

    /// This node says something, perhaps what it was asked.
    pub(super) fn say(&self, message: &Message) {
        if !self.telemetry.traces() {
            return;
        }
        let (work, outcome) = match &message.body {
            Body::Answer(ticket, Answer::Stepped(_)) => {
                (Work::Question(message.to.id, *ticket), None)
            }
            Body::Answer(ticket, Answer::Performed(outcome)) => {
                (Work::Question(message.to.id, *ticket), Some(outcome))
            }
            Body::Route(route) => (Work::Route(route.origin.id, route.ticket), None),
            Body::Routed(ticket, outcome, _) => {
                (Work::Route(message.to.id, *ticket), Some(outcome))
            }
            Body::Question(..) | Body::Answer(..) | Body::Census(_) => return,
        };
        self.spans.end(work, |span| {
            if let Some(Outcome::Declined(reason)) = outcome {
                span.fail(format!("declined: {reason:?}"));
            }
        });
    }
}
