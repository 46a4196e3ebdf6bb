//! Between the messages of `ensemble.overlay.v1` and those of the protocol.

use std::time::Duration;

use bytes::Bytes;
use chassis::status::{Parsed, wrong};
use chassis::telemetry::{decode_trace, encode_trace};
use proto::ensemble::overlay::v1 as pb;
use protocols::overlay::{
    Detour, Message, Missing, Operation, Part, Piece, Range, Reason, Report, Task, Team, Teams,
    Topology, Visit, WordCount,
};
use protocols::{NodeId, Ticket};

/// The most time that an answer may take.
pub(crate) const BUDGET_LIMIT: Duration = Duration::from_secs(60);

/// The operation that a number means.
pub(crate) fn operation(number: i32) -> Parsed<Operation> {
    match pb::Operation::try_from(number) {
        Ok(pb::Operation::Unspecified | pb::Operation::Process) => Ok(Operation::Process),
        Ok(pb::Operation::WordCount) => Ok(Operation::WordCount),
        Ok(pb::Operation::Digest) => Ok(Operation::Digest),
        Err(_) => {
            Err(wrong("operation", format!("{number} is none; use PROCESS, WORD_COUNT or DIGEST")))
        }
    }
}

/// The team that a number means; nothing for all.
pub(crate) fn team(number: i32) -> Parsed<Option<Team>> {
    match pb::Team::try_from(number) {
        Ok(pb::Team::Unspecified) => Ok(None),
        Ok(pb::Team::Green) => Ok(Some(Team::Green)),
        Ok(pb::Team::Pink) => Ok(Some(Team::Pink)),
        Err(_) => Err(wrong("team", format!("{number} is none; use GREEN, PINK or neither"))),
    }
}

/// The processes that a request says it has passed.
pub(crate) fn hops(names: &[String], topology: &Topology) -> Parsed<Vec<NodeId>> {
    let most = topology.places.len();
    if names.len() > most {
        let reason = format!("{} of them, but there are only {most} processes", names.len());
        return Err(wrong("hops", reason));
    }
    let known = |(index, name): (usize, &String)| {
        let short: String = name.chars().take(40).collect();
        let unknown = || wrong(&format!("hops[{index}]"), format!("there is no process {short}"));
        topology.named(name).ok_or_else(unknown)
    };
    names.iter().enumerate().map(known).collect()
}

fn names(ids: &[NodeId], topology: &Topology) -> Vec<String> {
    ids.iter().map(|&id| topology.place(id).name.clone()).collect()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Writes a message for a neighbour.
pub(crate) fn encode(message: Message, topology: &Topology) -> pb::LinkRequest {
    use pb::link_request::Message as Wire;
    let message = match message {
        Message::Question(ticket, task, hops) => Wire::Question(pb::Question {
            ticket: ticket.0,
            hops: names(&hops, topology),
            operation: match task.operation {
                Operation::Process => pb::Operation::Process,
                Operation::WordCount => pb::Operation::WordCount,
                Operation::Digest => pb::Operation::Digest,
            }
            .into(),
            teams: task.teams.iter().map(|team| i32::from(wire_team(team))).collect(),
            budget_us: micros(task.budget),
            offset: task.part.offset,
            total: task.part.total,
            part: Bytes::copy_from_slice(&task.part.bytes),
            trace: encode_trace(task.trace),
            detour: task.detour,
        }),
        Message::Answer(ticket, outcome) => Wire::Answer(pb::Answer {
            ticket: ticket.0,
            refusal: outcome.as_ref().err().map_or(0, |&reason| wire_reason(reason).into()),
            report: outcome.ok().map(|report| encode_report(report, topology)),
        }),
        Message::Cancel(ticket) => Wire::Cancel(pb::Cancel { ticket: ticket.0 }),
        Message::Pulse { hears_you } => Wire::Pulse(pb::Pulse { hears_you }),
        Message::Leaving => Wire::Leaving(pb::Leaving {}),
    };
    pb::LinkRequest { message: Some(message) }
}

/// Reads a message of a neighbour.
pub(crate) fn decode(message: pb::LinkRequest, topology: &Topology) -> Parsed<Message> {
    use pb::link_request::Message as Wire;
    match message.message.ok_or_else(|| wrong("message", "missing"))? {
        Wire::Question(question) => {
            let hops = hops(&question.hops, topology)?;
            Ok(Message::Question(Ticket(question.ticket), decode_task(&question)?, hops))
        }
        Wire::Answer(answer) => {
            let outcome = match answer.report {
                Some(report) => Ok(decode_report(report, topology)?),
                None => Err(decode_reason(answer.refusal)?),
            };
            Ok(Message::Answer(Ticket(answer.ticket), outcome))
        }
        Wire::Cancel(cancel) => Ok(Message::Cancel(Ticket(cancel.ticket))),
        Wire::Pulse(pulse) => Ok(Message::Pulse { hears_you: pulse.hears_you }),
        Wire::Leaving(pb::Leaving {}) => Ok(Message::Leaving),
    }
}

fn decode_task(question: &pb::Question) -> Parsed<Task> {
    let length = question.part.len() as u64;
    if question.offset.checked_add(length).is_none_or(|end| end > question.total) {
        return Err(wrong("part", "does not lie within the payload"));
    }
    let operation = operation(question.operation)?;
    let chunk = blake3::CHUNK_LEN as u64;
    let end = question.offset + length;
    let is_subtree = question.offset.is_multiple_of(chunk)
        && (end.is_multiple_of(chunk) || end == question.total);
    if operation == Operation::Digest && !is_subtree {
        return Err(wrong("part", "does not lie along the tree of the hash"));
    }
    let teams = question.teams.iter().map(|&number| team(number));
    let teams = teams.collect::<Parsed<Vec<_>>>()?.into_iter().flatten().collect::<Teams>();
    let trace = decode_trace(&question.trace)?;
    Ok(Task {
        operation,
        teams,
        detour: question.detour,
        part: Part {
            offset: question.offset,
            total: question.total,
            bytes: question.part[..].into(),
        },
        budget: Duration::from_micros(question.budget_us).min(BUDGET_LIMIT),
        trace,
    })
}

/// Writes the work of a process and of all that it asked.
fn encode_report(report: Report, topology: &Topology) -> pb::Report {
    pb::Report {
        text: report.text,
        word_count: Some(encode_count(report.count)),
        pieces: (report.pieces.iter())
            .map(|piece| pb::Piece {
                offset: piece.range.offset,
                length: piece.range.length,
                value: Bytes::copy_from_slice(&piece.value),
            })
            .collect(),
        visits: report.visits.iter().map(|visit| encode_visit(visit, topology)).collect(),
        missing: report.missing.iter().map(|missing| encode_missing(missing, topology)).collect(),
        detours: report.detours.iter().map(|detour| encode_detour(*detour, topology)).collect(),
    }
}

fn decode_report(report: pb::Report, topology: &Topology) -> Parsed<Report> {
    let process = |name: &str| {
        topology.named(name).ok_or_else(|| wrong("process_id", "there is no such process"))
    };
    let piece = |piece: pb::Piece| {
        let value = piece.value[..].try_into().map_err(|_| wrong("value", "not 32 bytes"))?;
        Ok(Piece { range: Range { offset: piece.offset, length: piece.length }, value })
    };
    let visit = |visit: pb::Visit| {
        Ok(Visit {
            process: process(&visit.process_id)?,
            asked_by: topology.named(&visit.asked_by),
            queued: Duration::from_micros(visit.queued_us),
            total: Duration::from_micros(visit.total_us),
            part: visit.part.map(decode_range),
        })
    };
    let missing = |missing: pb::Missing| {
        Ok(Missing {
            process: process(&missing.process_id)?,
            reason: decode_reason(missing.reason)?,
            part: missing.part.map(decode_range),
        })
    };
    let detour = |detour: pb::Detour| {
        let team = crate::config::team(&detour.team).ok_or_else(|| wrong("team", "unknown"))?;
        Ok(Detour { team, through: process(&detour.through)? })
    };
    // Nobody is twice in a report.
    let most = topology.places.len();
    if report.visits.len() > most || report.missing.len() > 2 * most {
        return Err(wrong("visits", format!("more than the {most} processes")));
    }
    let count = report.word_count.unwrap_or_default();
    Ok(Report {
        text: report.text,
        count: WordCount { lines: count.lines, words: count.words, bytes: count.bytes },
        pieces: report.pieces.into_iter().map(piece).collect::<Parsed<_>>()?,
        visits: report.visits.into_iter().map(visit).collect::<Parsed<_>>()?,
        missing: report.missing.into_iter().map(missing).collect::<Parsed<_>>()?,
        detours: report.detours.into_iter().map(detour).collect::<Parsed<_>>()?,
    })
}

fn wire_team(team: Team) -> pb::Team {
    match team {
        Team::Green => pb::Team::Green,
        Team::Pink => pb::Team::Pink,
    }
}

fn wire_reason(reason: Reason) -> pb::missing::Reason {
    match reason {
        Reason::Unreachable => pb::missing::Reason::Unreachable,
        Reason::Late => pb::missing::Reason::Late,
        Reason::Busy => pb::missing::Reason::Busy,
        Reason::Visited => pb::missing::Reason::Visited,
    }
}

fn decode_reason(number: i32) -> Parsed<Reason> {
    match pb::missing::Reason::try_from(number) {
        Ok(pb::missing::Reason::Unreachable) => Ok(Reason::Unreachable),
        Ok(pb::missing::Reason::Late) => Ok(Reason::Late),
        Ok(pb::missing::Reason::Busy) => Ok(Reason::Busy),
        Ok(pb::missing::Reason::Visited) => Ok(Reason::Visited),
        Ok(pb::missing::Reason::Unspecified) | Err(_) => Err(wrong("reason", "unknown")),
    }
}

pub(crate) fn encode_count(count: WordCount) -> pb::WordCount {
    pb::WordCount { lines: count.lines, words: count.words, bytes: count.bytes }
}

fn encode_range(range: Range) -> pb::Part {
    pb::Part { offset: range.offset, length: range.length }
}

fn decode_range(part: pb::Part) -> Range {
    Range { offset: part.offset, length: part.length }
}

pub(crate) fn encode_visit(visit: &Visit, topology: &Topology) -> pb::Visit {
    let place = topology.place(visit.process);
    pb::Visit {
        process_id: place.name.clone(),
        role: place.role.name().into(),
        team: place.team.name().into(),
        asked_by: visit.asked_by.map(|id| topology.place(id).name.clone()).unwrap_or_default(),
        queued_us: micros(visit.queued),
        total_us: micros(visit.total),
        part: visit.part.map(encode_range),
    }
}

pub(crate) fn encode_missing(missing: &Missing, topology: &Topology) -> pb::Missing {
    pb::Missing {
        process_id: topology.place(missing.process).name.clone(),
        reason: wire_reason(missing.reason).into(),
        part: missing.part.map(encode_range),
    }
}

pub(crate) fn encode_detour(detour: Detour, topology: &Topology) -> pb::Detour {
    pb::Detour {
        team: detour.team.name().into(),
        through: topology.place(detour.through).name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(message: Message) {
        let topology = Topology::two_hosts();
        let text = format!("{message:?}");
        let back = decode(encode(message, &topology), &topology).unwrap();
        assert_eq!(format!("{back:?}"), text);
    }

    #[test]
    fn every_message_survives_the_wire() {
        let range = Range { offset: 1, length: 2 };
        let task = Task {
            operation: Operation::Digest,
            teams: Teams::BOTH,
            detour: true,
            part: Part { offset: 1024, total: 1027, bytes: b"abc"[..].into() },
            budget: Duration::from_millis(7),
            trace: protocols::Trace(Some([9; 25])),
        };
        let (a, b) = (NodeId(1), NodeId(2));
        let visit = Visit {
            process: b,
            asked_by: Some(a),
            queued: Duration::from_micros(1),
            total: Duration::from_micros(2),
            part: Some(range),
        };
        let report = Report {
            text: "B|".into(),
            count: WordCount { lines: 1, words: 2, bytes: 3 },
            pieces: vec![Piece { range, value: [4; 32] }],
            visits: vec![visit],
            missing: vec![Missing { process: b, reason: Reason::Late, part: Some(range) }],
            detours: vec![Detour { team: Team::Pink, through: b }],
        };
        there_and_back(Message::Question(Ticket(u64::MAX), task, vec![a, b]));
        there_and_back(Message::Answer(Ticket(1), Ok(report)));
        for reason in [Reason::Unreachable, Reason::Late, Reason::Busy, Reason::Visited] {
            there_and_back(Message::Answer(Ticket(1), Err(reason)));
        }
        there_and_back(Message::Cancel(Ticket(2)));
        there_and_back(Message::Pulse { hears_you: true });
        there_and_back(Message::Leaving);
    }

    #[test]
    fn hostile_messages_are_refused_by_field() {
        let topology = Topology::two_hosts();
        let digest = pb::Operation::Digest.into();
        for question in [
            pb::Question { offset: u64::MAX, ..<_>::default() },
            pb::Question { offset: 1, total: 10, operation: digest, ..<_>::default() },
        ] {
            let question = pb::Question { part: b"x"[..].into(), ..question };
            let message = pb::link_request::Message::Question(question);
            let message = pb::LinkRequest { message: Some(message) };
            assert_eq!(decode(message, &topology).unwrap_err().0, "part");
        }
        assert_eq!(decode(pb::LinkRequest::default(), &topology).unwrap_err().0, "message");
        assert_eq!(hops(&vec!["A".into(); 10_000], &topology).unwrap_err().0, "hops");
        assert_eq!(hops(&["A".into(), "Q".into()], &topology).unwrap_err().0, "hops[1]");
        assert_eq!(operation(99).unwrap_err().0, "operation");
        assert_eq!(team(99).unwrap_err().0, "team");
    }
}
