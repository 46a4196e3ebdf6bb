//! Questions.

use chassis::status::Parsed;
use chassis::telemetry::{decode_trace, encode_trace};
use hashring::{AVOID_LIMIT, Body, Question, WriteId};
use proto::ensemble::chord::v1 as pb;
use protocols::Ticket;

use super::{item, list, path, there, within};
use crate::identity::Ring;

pub(super) fn encode(ticket: Ticket, question: &Question) -> pb::Question {
    use pb::question::What as Wire;
    let what = match question {
        Question::Describe => Wire::Describe(pb::Nothing {}),
        Question::Notify => Wire::Notify(pb::Nothing {}),
        Question::Step(place, avoid, trace) => Wire::Step(pb::StepQuestion {
            id: place.0,
            avoid: avoid.iter().map(|id| id.0).collect(),
            trace: encode_trace(*trace),
        }),
        Question::Perform(write, operation) => Wire::Perform(pb::PerformQuestion {
            origin: write.origin.0,
            ticket: write.ticket.0,
            operation: Some(item::encode_operation(operation)),
        }),
        Question::Keep(items) => Wire::Keep(pb::Items { items: item::encode_items(items) }),
        Question::Compare(interval, fingerprint) => Wire::Compare(pb::CompareQuestion {
            after: interval.after.0,
            to: interval.to.0,
            fingerprint: Some(item::encode_fingerprint(0, *fingerprint)),
        }),
        Question::Reconcile(page) => Wire::Reconcile(item::encode_page(page)),
        Question::Leave(predecessor, successors) => Wire::Leave(pb::LeaveQuestion {
            predecessor: predecessor.as_ref().map(path::encode_peer),
            successors: path::encode_peers(successors),
        }),
    };
    pb::Question { ticket: ticket.0, what: Some(what) }
}

pub(super) fn decode(question: pb::Question, ring: &Ring) -> Parsed<Body> {
    use pb::question::What as Wire;
    let what = match there("what", question.what)? {
        Wire::Describe(pb::Nothing {}) => Question::Describe,
        Wire::Notify(pb::Nothing {}) => Question::Notify,
        Wire::Step(step) => within("step", decode_step(step, ring))?,
        Wire::Perform(perform) => within("perform", decode_perform(perform, ring))?,
        Wire::Keep(items) => {
            Question::Keep(within("keep", item::items("items", items.items, ring))?)
        }
        Wire::Compare(compare) => within("compare", decode_compare(&compare, ring))?,
        Wire::Reconcile(page) => Question::Reconcile(within("reconcile", item::page(page, ring))?),
        Wire::Leave(leave) => within("leave", decode_leave(leave, ring))?,
    };
    Ok(Body::Question(Ticket(question.ticket), what))
}

fn decode_step(step: pb::StepQuestion, ring: &Ring) -> Parsed<Question> {
    let place = path::place("id", step.id, ring.circle)?;
    let avoid = list("avoid", step.avoid, AVOID_LIMIT, |id| path::place("", id, ring.circle))?;
    Ok(Question::Step(place, avoid, decode_trace(&step.trace)?))
}

fn decode_perform(perform: pb::PerformQuestion, ring: &Ring) -> Parsed<Question> {
    let origin = path::place("origin", perform.origin, ring.circle)?;
    let operation = there("operation", perform.operation)?;
    let operation = within("operation", item::operation(operation, ring))?;
    Ok(Question::Perform(WriteId { origin, ticket: Ticket(perform.ticket) }, operation))
}

fn decode_compare(compare: &pb::CompareQuestion, ring: &Ring) -> Parsed<Question> {
    let interval = item::interval(compare.after, compare.to, ring)?;
    let fingerprint = there("fingerprint", compare.fingerprint)?;
    let fingerprint = within("fingerprint", item::fingerprint(&fingerprint))?;
    Ok(Question::Compare(interval, fingerprint))
}

fn decode_leave(leave: pb::LeaveQuestion, ring: &Ring) -> Parsed<Question> {
    let predecessor = path::optional_peer("predecessor", leave.predecessor, ring)?;
    Ok(Question::Leave(predecessor, path::successors(leave.successors, ring)?))
}
