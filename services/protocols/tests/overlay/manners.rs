//! What a network of honest processes never shows: lies, strangers, and odd topologies.

use std::time::Duration;

use protocols::overlay::{
    Config, Message, Notice, Operation, Overlay, Part, Place, Report, Request, Role, Task, Team,
    Teams, Topology,
};
use protocols::{Effect, Input, NodeId, Outbox, Protocol, Ticket, Trace};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::ms;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const E: NodeId = NodeId(5);

fn process(me: NodeId, topology: Topology) -> Overlay {
    let (heartbeat, patience) = (ms(500), ms(2_000));
    let config = Config { me, active_limit: 100, queue_limit: 200, heartbeat, patience };
    Overlay::new(config, topology, &mut StdRng::seed_from_u64(7))
}

fn task(operation: Operation, budget: Duration) -> Task {
    let part = Part::whole(b"three short words"[..].into());
    Task { operation, teams: Teams::BOTH, detour: true, part, budget, trace: Trace::default() }
}

fn step(process: &mut Overlay, input: Input<Overlay>) -> Vec<Effect<Overlay>> {
    let mut out = Outbox::default();
    process.step(ms(1_000), input, &mut out);
    out.drain().collect()
}

fn asks(process: &mut Overlay, task: Task) -> Vec<(NodeId, Ticket)> {
    let request = Request::Forward(Ticket(1), task, Vec::new());
    let effects = step(process, Input::Request(request)).into_iter();
    let questions = effects.filter_map(|effect| match effect {
        Effect::Send(to, Message::Question(ticket, ..)) => Some((to, ticket)),
        Effect::Send(..)
        | Effect::Arm(..)
        | Effect::Disarm(_)
        | Effect::Notify(_)
        | Effect::Persist(_) => None,
    });
    questions.collect()
}

#[test]
fn only_who_was_asked_can_answer_or_cancel() {
    let mut leader = process(A, Topology::two_hosts());
    let asked = asks(&mut leader, task(Operation::Process, ms(1_000)));
    let [(B, of_b), (E, of_e)] = asked[..] else { panic!("{asked:?}") };
    let ignored = leader.view().totals.ignored;
    for (from, ticket) in [(B, of_e), (E, of_b), (C, of_b), (B, Ticket(of_b.0 ^ 1))] {
        let answer = Message::Answer(ticket, Ok(Report::default()));
        assert!(step(&mut leader, Input::Message(from, answer)).is_empty(), "{from} {ticket:?}");
        assert!(step(&mut leader, Input::Message(from, Message::Cancel(Ticket(1)))).is_empty());
    }
    assert_eq!(leader.view().totals.ignored, ignored + 8);
    assert_eq!(leader.view().active, 1);
    for (from, ticket) in asked {
        step(&mut leader, Input::Message(from, Message::Answer(ticket, Ok(Report::default()))));
    }
    assert_eq!(leader.view().totals.answered, 1);
}

#[test]
fn strangers_are_not_served() {
    let mut leader = process(A, Topology::two_hosts());
    let question =
        Message::Question(Ticket(1), task(Operation::Process, ms(1_000)), vec![NodeId(9)]);
    for message in [question, Message::Pulse { hears_you: false }] {
        assert!(step(&mut leader, Input::Message(NodeId(9), message)).is_empty());
    }
    assert!(step(&mut leader, Input::Unreachable(NodeId(9))).is_empty());
    assert_eq!((leader.view().active, leader.view().totals.ignored), (0, 3));
}

#[test]
fn a_budget_may_be_endless() {
    let mut leader = process(A, Topology::two_hosts());
    assert_eq!(asks(&mut leader, task(Operation::Process, Duration::MAX)).len(), 2);
}

#[test]
fn a_team_leader_without_workers_admits_that_nobody_worked() {
    let place = |name: &str, role, neighbours: &[NodeId]| Place {
        name: name.into(),
        role,
        team: Team::Green,
        neighbours: neighbours.to_vec(),
    };
    let leader = place("A", Role::Leader, &[B]);
    let alone = place("B", Role::TeamLeader, &[A]);
    let mut alone = process(B, Topology { places: [(A, leader), (B, alone)].into() });
    let task = task(Operation::WordCount, ms(1_000));
    let range = task.part.range();
    let request = Request::Forward(Ticket(1), task, Vec::new());
    let effects = step(&mut alone, Input::Request(request));
    let answered = effects.iter().any(|effect| match effect {
        Effect::Notify(Notice::Answered(_, report)) => {
            report.missing.len() == 1 && report.missing[0].part == Some(range)
        }
        Effect::Notify(_)
        | Effect::Send(..)
        | Effect::Arm(..)
        | Effect::Disarm(_)
        | Effect::Persist(_) => false,
    });
    assert!(answered, "{effects:?}");
}
