//! Answers, and what came of operations.

use chassis::status::Parsed;
use hashring::{Answer, Body, Decline, Description, Outcome, PAGE_STAMPS};
use proto::ensemble::chord::v1 as pb;
use protocols::Ticket;

use super::{item, list, path, there, within};
use crate::identity::Ring;

pub(super) fn encode(ticket: Ticket, answer: &Answer) -> pb::Answer {
    use pb::answer::What as Wire;
    let what = match answer {
        Answer::Described(description) => Wire::Described(pb::Description {
            member: description.member,
            predecessor: description.predecessor.as_ref().map(path::encode_peer),
            successors: path::encode_peers(&description.successors),
            room: description.room,
        }),
        Answer::Stepped(step) => {
            let hop = step.as_ref().map(|(peer, reason)| path::encode_step(peer, *reason));
            Wire::Stepped(pb::StepAnswer { hop })
        }
        Answer::Performed(outcome) => Wire::Performed(encode_outcome(outcome)),
        Answer::Kept(kept) => Wire::Kept(*kept),
        Answer::Compared(parts) => {
            let some = parts.iter().flatten();
            let some =
                some.map(|(part, fingerprint)| item::encode_fingerprint(*part, *fingerprint));
            Wire::Compared(pb::CompareAnswer { same: parts.is_none(), parts: some.collect() })
        }
        Answer::Reconciled(wants, news, more) => Wire::Reconciled(pb::ReconcileAnswer {
            wants: wants.iter().map(|(id, key)| item::encode_place(*id, key)).collect(),
            news: item::encode_items(news),
            more: *more,
        }),
    };
    pb::Answer { ticket: ticket.0, what: Some(what) }
}

pub(super) fn decode(answer: pb::Answer, ring: &Ring) -> Parsed<Body> {
    use pb::answer::What as Wire;
    let what = match there("what", answer.what)? {
        Wire::Described(description) => {
            Answer::Described(within("described", decode_description(description, ring))?)
        }
        Wire::Stepped(step) => {
            let hop = step.hop.map(|hop| within("stepped.hop", path::step(hop, ring)));
            Answer::Stepped(hop.transpose()?)
        }
        Wire::Performed(wire) => Answer::Performed(within("performed", outcome(wire, ring))?),
        Wire::Kept(kept) => Answer::Kept(kept),
        Wire::Compared(compared) if compared.same => Answer::Compared(None),
        Wire::Compared(compared) => {
            Answer::Compared(Some(within("compared", item::parts(compared.parts))?))
        }
        Wire::Reconciled(answer) => within("reconciled", decode_reconciled(answer, ring))?,
    };
    Ok(Body::Answer(Ticket(answer.ticket), what))
}

fn decode_description(description: pb::Description, ring: &Ring) -> Parsed<Description> {
    Ok(Description {
        member: description.member,
        predecessor: path::optional_peer("predecessor", description.predecessor, ring)?,
        successors: path::successors(description.successors, ring)?,
        room: description.room,
    })
}

fn decode_reconciled(answer: pb::ReconcileAnswer, ring: &Ring) -> Parsed<Answer> {
    let wants = list("wants", answer.wants, PAGE_STAMPS, |place| item::place(&place, ring))?;
    Ok(Answer::Reconciled(wants, item::items("news", answer.news, ring)?, answer.more))
}

pub(super) fn encode_outcome(outcome: &Outcome) -> pb::Outcome {
    use pb::outcome::What as Wire;
    let nothing = pb::Nothing {};
    let what = match outcome {
        Outcome::Located => Wire::Located(nothing),
        Outcome::Found(value) => Wire::Found(item::shared(value)),
        Outcome::Missing => Wire::Missing(nothing),
        Outcome::Saved => Wire::Saved(nothing),
        Outcome::Exists => Wire::Exists(nothing),
        Outcome::Removed => Wire::Removed(nothing),
        Outcome::Declined(Decline::NotMine(peer)) => Wire::NotMine(path::encode_peer(peer)),
        Outcome::Declined(Decline::Unready) => Wire::Unready(nothing),
        Outcome::Declined(Decline::Busy) => Wire::Busy(nothing),
        Outcome::Declined(Decline::Full) => Wire::Full(nothing),
    };
    pb::Outcome { what: Some(what) }
}

pub(super) fn outcome(outcome: pb::Outcome, ring: &Ring) -> Parsed<Outcome> {
    use pb::outcome::What as Wire;
    Ok(match there("what", outcome.what)? {
        Wire::Located(pb::Nothing {}) => Outcome::Located,
        Wire::Found(bytes) => Outcome::Found(item::value("found", &bytes)?),
        Wire::Missing(pb::Nothing {}) => Outcome::Missing,
        Wire::Saved(pb::Nothing {}) => Outcome::Saved,
        Wire::Exists(pb::Nothing {}) => Outcome::Exists,
        Wire::Removed(pb::Nothing {}) => Outcome::Removed,
        Wire::NotMine(peer) => {
            Outcome::Declined(Decline::NotMine(path::peer("not_mine", Some(peer), ring)?))
        }
        Wire::Unready(pb::Nothing {}) => Outcome::Declined(Decline::Unready),
        Wire::Busy(pb::Nothing {}) => Outcome::Declined(Decline::Busy),
        Wire::Full(pb::Nothing {}) => Outcome::Declined(Decline::Full),
    })
}
