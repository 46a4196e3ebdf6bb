//! Between the messages of `ensemble.raft.v1` and those of the protocol, for the wire and for the
//! disk.
//!
//! What comes from outside is refused with the name of the field that is wrong. Whether what it
//! says is true is left to the protocol.

pub(crate) mod entry;
pub(crate) mod refusal;
pub(crate) mod state;
#[cfg(test)]
mod tests;

use chassis::status::{Parsed, wrong};
use consensus::{Change, Index, Message, Mismatch, Standing};
use proto::ensemble::raft::v1 as pb;
use protocols::{NodeId, Ticket};

pub(crate) use self::entry::{ENTRIES_LIMIT, decode_entries, encode_entries, encode_lasting};
use self::entry::{address, decode_command, encode_command, index, term};
pub(crate) use self::refusal::{decode_refusal, encode_refusal};
pub(crate) use self::state::{decode_answer, decode_piece, encode_answer, encode_piece};

/// Writes a message of this node for a peer.
pub(crate) fn encode(message: &Message, me: NodeId) -> pb::LinkRequest {
    use pb::link_request::Message as Wire;
    let message = match message {
        Message::RequestVote { .. } => Wire::RequestVote(encode_request_vote(message, me)),
        Message::Vote { .. } => Wire::Vote(encode_vote(message)),
        Message::AppendEntries { .. } => Wire::AppendEntries(encode_append(message, me)),
        Message::Appended { .. } => Wire::Appended(encode_appended(message)),
        Message::InstallSnapshot { term, last, number, piece, done } => {
            Wire::InstallSnapshot(pb::InstallSnapshot {
                term: term.0,
                last_index: last.0.0,
                last_term: last.1.0,
                number: *number,
                piece: Some(encode_piece(piece)),
                done: *done,
            })
        }
        Message::Installing { term, last, wanted } => {
            Wire::Installing(pb::Installing { term: term.0, last_index: last.0, wanted: *wanted })
        }
        Message::TimeoutNow { term } => Wire::TimeoutNow(pb::TimeoutNow { term: term.0 }),
        Message::Propose(term, ticket, command) => Wire::Propose(pb::Propose {
            term: term.0,
            ticket: ticket.0,
            command: Some(encode_command(command)),
        }),
        Message::ReadIndex(ticket) => Wire::ReadIndex(pb::ReadIndex { ticket: ticket.0 }),
        Message::Administer(ticket, change) => Wire::Administer(pb::Administer {
            ticket: ticket.0,
            change: Some(encode_change(change)),
        }),
        Message::Proposed(ticket, outcome) => {
            let outcome = outcome.as_ref().map(encode_answer);
            Wire::Proposed(encode_outcome(*ticket, outcome.map(pb::outcome::Outcome::Answer)))
        }
        Message::Readable(ticket, outcome) => {
            let outcome = outcome.as_ref().map(|index| pb::outcome::Outcome::Index(index.0));
            Wire::Readable(encode_outcome(*ticket, outcome))
        }
        Message::Administered(ticket, outcome) => {
            let outcome = outcome.as_ref().map(|()| pb::outcome::Outcome::Done(pb::Nothing {}));
            Wire::Administered(encode_outcome(*ticket, outcome))
        }
    };
    pb::LinkRequest { message: Some(message) }
}

/// Reads a message of this peer.
pub(crate) fn decode(message: pb::LinkRequest, from: NodeId) -> Parsed<Message> {
    use pb::link_request::Message as Wire;
    match message.message.ok_or_else(|| wrong("message", "missing"))? {
        Wire::RequestVote(request) => {
            speaks("candidate_id", from, request.candidate_id)?;
            decode_request_vote(&request)
        }
        Wire::Vote(vote) => decode_vote(&vote),
        Wire::AppendEntries(append) => {
            speaks("leader_id", from, append.leader_id)?;
            decode_append(append)
        }
        Wire::Appended(appended) => decode_appended(&appended),
        Wire::InstallSnapshot(install) => decode_install(install),
        Wire::Installing(installing) => Ok(Message::Installing {
            term: term("term", installing.term)?,
            last: index("last_index", installing.last_index)?,
            wanted: installing.wanted,
        }),
        Wire::TimeoutNow(now) => Ok(Message::TimeoutNow { term: term("term", now.term)? }),
        Wire::Propose(propose) => {
            let command = propose.command.ok_or_else(|| wrong("command", "missing"))?;
            let term = term("term", propose.term)?;
            Ok(Message::Propose(term, Ticket(propose.ticket), decode_command(command)?))
        }
        Wire::Proposed(outcome) => {
            let (ticket, outcome) = decode_outcome(outcome, |outcome| {
                if let pb::outcome::Outcome::Answer(answer) = outcome {
                    Some(decode_answer(answer))
                } else {
                    None
                }
            })?;
            Ok(Message::Proposed(ticket, outcome))
        }
        Wire::ReadIndex(read) => Ok(Message::ReadIndex(Ticket(read.ticket))),
        Wire::Readable(outcome) => {
            let (ticket, outcome) = decode_outcome(outcome, |outcome| {
                if let pb::outcome::Outcome::Index(number) = outcome {
                    Some(index("index", number))
                } else {
                    None
                }
            })?;
            Ok(Message::Readable(ticket, outcome))
        }
        Wire::Administer(administer) => {
            let change = administer.change.ok_or_else(|| wrong("change", "missing"))?;
            Ok(Message::Administer(Ticket(administer.ticket), decode_change(change)?))
        }
        Wire::Administered(outcome) => {
            let (ticket, outcome) = decode_outcome(outcome, |outcome| {
                if let pb::outcome::Outcome::Done(pb::Nothing {}) = outcome {
                    Some(Ok(()))
                } else {
                    None
                }
            })?;
            Ok(Message::Administered(ticket, outcome))
        }
    }
}

/// Nobody speaks for another.
fn speaks(field: &str, from: NodeId, says: u64) -> Parsed<()> {
    if NodeId(says) == from {
        return Ok(());
    }
    Err(wrong(field, format!("{says}, but it is {} who speaks", from.0)))
}

/// Writes a [`Message::RequestVote`].
pub(crate) fn encode_request_vote(message: &Message, me: NodeId) -> pb::RequestVoteRequest {
    let Message::RequestVote { term, last, pre, transfer } = message else {
        unreachable!("the caller has a request for a vote")
    };
    pb::RequestVoteRequest {
        term: term.0,
        candidate_id: me.0,
        last_log_index: last.0.0,
        last_log_term: last.1.0,
        pre_vote: *pre,
        transfer: *transfer,
    }
}

/// Reads a request for a vote. Whose it is stands in it.
pub(crate) fn decode_request_vote(request: &pb::RequestVoteRequest) -> Parsed<Message> {
    let of = term("term", request.term)?;
    let last = term("last_log_term", request.last_log_term)?;
    if of < last {
        return Err(wrong("last_log_term", format!("{last:?} is after {of:?}")));
    }
    Ok(Message::RequestVote {
        term: of,
        last: (index("last_log_index", request.last_log_index)?, last),
        pre: request.pre_vote,
        transfer: request.transfer,
    })
}

/// Writes a [`Message::Vote`].
pub(crate) fn encode_vote(message: &Message) -> pb::RequestVoteResponse {
    let Message::Vote { term, granted, pre } = message else {
        unreachable!("the caller has a vote")
    };
    pb::RequestVoteResponse { term: term.0, result: *granted, pre_vote: *pre }
}

pub(crate) fn decode_vote(vote: &pb::RequestVoteResponse) -> Parsed<Message> {
    let term = term("term", vote.term)?;
    Ok(Message::Vote { term, granted: vote.result, pre: vote.pre_vote })
}

/// Writes a [`Message::AppendEntries`].
pub(crate) fn encode_append(message: &Message, me: NodeId) -> pb::AppendEntriesRequest {
    let Message::AppendEntries { term, previous, entries, commit, round } = message else {
        unreachable!("the caller has entries")
    };
    pb::AppendEntriesRequest {
        term: term.0,
        leader_id: me.0,
        previous_log_index: previous.0.0,
        previous_log_term: previous.1.0,
        entries: encode_entries(entries),
        leader_commit: commit.0,
        round: *round,
    }
}

/// Reads the leader's entries. Whose they are stands in them.
pub(crate) fn decode_append(append: pb::AppendEntriesRequest) -> Parsed<Message> {
    let of = term("term", append.term)?;
    let previous = (
        index("previous_log_index", append.previous_log_index)?,
        term("previous_log_term", append.previous_log_term)?,
    );
    let entries = decode_entries(append.entries)?;
    if let Some(first) = entries.first() {
        if first.index != previous.0.next() {
            let reason = format!("{} after {}", first.index, previous.0);
            return Err(wrong("entries[0].index", reason));
        }
        if first.term < previous.1 {
            let reason = format!("{:?} after {:?}", first.term, previous.1);
            return Err(wrong("entries[0].term", reason));
        }
    }
    let newest = entries.last().map_or(previous.1, |last| last.term);
    if of < newest {
        return Err(wrong("term", format!("{of:?} has entries of {newest:?}")));
    }
    Ok(Message::AppendEntries {
        term: of,
        previous,
        entries,
        commit: index("leader_commit", append.leader_commit)?,
        round: append.round,
    })
}

/// Writes a [`Message::Appended`].
pub(crate) fn encode_appended(message: &Message) -> pb::AppendEntriesResponse {
    let Message::Appended { term, round, outcome } = message else {
        unreachable!("the caller has what became of entries")
    };
    let answer = pb::AppendEntriesResponse { term: term.0, round: *round, ..<_>::default() };
    match outcome {
        Ok(matched) => {
            pb::AppendEntriesResponse { success: true, match_index: matched.0, ..answer }
        }
        Err(mismatch) => pb::AppendEntriesResponse {
            previous_log_index: mismatch.previous.0,
            conflict_term: mismatch.term.map(|term| term.0),
            conflict_index: mismatch.first.0,
            ..answer
        },
    }
}

pub(crate) fn decode_appended(appended: &pb::AppendEntriesResponse) -> Parsed<Message> {
    let outcome = if appended.success {
        Ok(index("match_index", appended.match_index)?)
    } else {
        let conflict = appended.conflict_term.map(|number| term("conflict_term", number));
        Err(Mismatch {
            previous: index("previous_log_index", appended.previous_log_index)?,
            term: conflict.transpose()?,
            first: index("conflict_index", appended.conflict_index)?,
        })
    };
    let term = term("term", appended.term)?;
    Ok(Message::Appended { term, round: appended.round, outcome })
}

fn decode_install(install: pb::InstallSnapshot) -> Parsed<Message> {
    let of = term("term", install.term)?;
    let last = (index("last_index", install.last_index)?, term("last_term", install.last_term)?);
    if last.0 == Index(0) {
        return Err(wrong("last_index", "a snapshot contains one entry at least"));
    }
    if of < last.1 {
        return Err(wrong("last_term", format!("{:?} is after {of:?}", last.1)));
    }
    let piece = decode_piece(install.piece.ok_or_else(|| wrong("piece", "missing"))?)?;
    Ok(Message::InstallSnapshot {
        term: of,
        last,
        number: install.number,
        piece,
        done: install.done,
    })
}

/// Writes a change of members or of leaders.
pub(crate) fn encode_change(change: &Change) -> pb::Change {
    use pb::change::Change as Wire;
    let change = match change {
        Change::Add(id, address, standing) => Wire::Add(pb::AddMemberRequest {
            id: id.0,
            address: address.to_string(),
            learner: *standing == Standing::Learner,
            ..<_>::default()
        }),
        Change::Promote(id) => {
            Wire::Promote(pb::PromoteMemberRequest { id: id.0, ..<_>::default() })
        }
        Change::Remove(id) => Wire::Remove(pb::RemoveMemberRequest { id: id.0, ..<_>::default() }),
        Change::Transfer(to) => Wire::Transfer(pb::TransferLeadershipRequest {
            to: to.map(|to| to.0),
            ..<_>::default()
        }),
    };
    pb::Change { change: Some(change) }
}

/// Reads a change of members or of leaders. Whoever is to vote joins first.
pub(crate) fn decode_change(change: pb::Change) -> Parsed<Change> {
    use pb::change::Change as Wire;
    Ok(match change.change.ok_or_else(|| wrong("change", "missing"))? {
        Wire::Add(add) => {
            let standing = if add.learner { Standing::Learner } else { Standing::Joining };
            Change::Add(NodeId(add.id), address(&add.address)?, standing)
        }
        Wire::Promote(promote) => Change::Promote(NodeId(promote.id)),
        Wire::Remove(remove) => Change::Remove(NodeId(remove.id)),
        Wire::Transfer(transfer) => Change::Transfer(transfer.to.map(NodeId)),
    })
}

fn encode_outcome(
    ticket: Ticket,
    outcome: Result<pb::outcome::Outcome, &consensus::Refusal>,
) -> pb::Outcome {
    let outcome =
        outcome.unwrap_or_else(|refusal| pb::outcome::Outcome::Refusal(encode_refusal(refusal)));
    pb::Outcome { ticket: ticket.0, outcome: Some(outcome) }
}

/// Reads what became of something, with a way to read the outcome of its kind.
fn decode_outcome<T>(
    outcome: pb::Outcome,
    read: impl FnOnce(pb::outcome::Outcome) -> Option<Parsed<T>>,
) -> Parsed<(Ticket, Result<T, consensus::Refusal>)> {
    let ticket = Ticket(outcome.ticket);
    let outcome = outcome.outcome.ok_or_else(|| wrong("outcome", "missing"))?;
    if let pb::outcome::Outcome::Refusal(refusal) = &outcome {
        return Ok((ticket, Err(decode_refusal(refusal)?)));
    }
    let read = read(outcome).ok_or_else(|| wrong("outcome", "answers something else"))?;
    Ok((ticket, Ok(read?)))
}
