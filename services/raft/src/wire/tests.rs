//! Every message there and back, and what is refused, by field.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consensus::store::{
    self, Action, Answer, Command, Condition, Event, Item, LeaseId, Ordinal, Part, Session,
    SessionId,
};
use consensus::{
    Change, Configuration, Entry, Index, Member, Message, Mismatch, Payload, Piece, Refusal,
    Standing, Term, Time,
};
use prost::Message as _;
use proto::ensemble::raft::v1 as pb;
use protocols::{NodeId, Ticket, Trace};

use super::entry::{decode_configuration, decode_ordinal};
use super::refusal::Texts;
use super::*;

const PEER: NodeId = NodeId(2);

/// Through the very bytes.
fn there_and_back(message: &Message) {
    let bytes = encode(message, PEER).encode_to_vec();
    let back = decode(pb::LinkRequest::decode(&bytes[..]).unwrap(), PEER).unwrap();
    assert!(back == *message, "{message:?} came back as {back:?}");
}

fn command(action: Action) -> Command {
    Command { ordinal: None, action, trace: Trace::default() }
}

fn put(key: &[u8], value: &[u8], condition: Condition) -> Action {
    Action::Put { key: key.into(), value: value.into(), lease: None, condition }
}

fn entry(index: u64, payload: Payload) -> Arc<Entry> {
    Arc::new(Entry { index: Index(index), term: Term(3), time: Time(7), payload })
}

fn members() -> Arc<Configuration> {
    let member = |standing| Member { address: "raft-1:50071".into(), standing };
    let standings = [Standing::Voter, Standing::Joining, Standing::Learner];
    let members = (1..).map(NodeId).zip(standings.map(member)).collect();
    Arc::new(Configuration { members })
}

fn every_action() -> Vec<Action> {
    let lease = Some(LeaseId(4));
    let condition = Condition::Version(Index(9));
    vec![
        put(b"k", b"", Condition::Always),
        put(b"k", b"v", Condition::Absent),
        put(b"k", &vec![7; store::VALUE_LIMIT], Condition::Value(b"old"[..].into())),
        Action::Put { key: b"\xff\0"[..].into(), value: b"v"[..].into(), lease, condition },
        Action::Delete { key: vec![1; store::KEY_LIMIT].into(), condition: Condition::Always },
        Action::Delete { key: b"k"[..].into(), condition: Condition::Value(b""[..].into()) },
        Action::Grant(Duration::from_millis(100)),
        Action::KeepAlive(LeaseId(1)),
        Action::Revoke(LeaseId(2)),
        Action::OpenSession,
        Action::CloseSession(SessionId(3)),
    ]
}

fn item(lease: Option<LeaseId>) -> Item {
    Item { value: b"value"[..].into(), version: Index(8), created: Index(5), lease }
}

fn every_answer() -> Vec<Answer> {
    let (version, ttl) = (Index(7), Duration::from_secs(60));
    vec![
        Answer::Put { version, previous: None },
        Answer::Put { version, previous: Some(Index(6)) },
        Answer::Deleted { version, previous: None },
        Answer::Deleted { version, previous: Some(Index(6)) },
        Answer::Unmet(None),
        Answer::Unmet(Some(item(Some(LeaseId(1))))),
        Answer::Granted(LeaseId(1), ttl),
        Answer::KeptAlive(LeaseId(1), ttl),
        Answer::Revoked(3),
        Answer::Opened(SessionId(1)),
        Answer::Closed,
        Answer::NoLease(LeaseId(5)),
        Answer::NoSession(SessionId(5)),
        Answer::Forgotten,
    ]
}

fn every_refusal() -> Vec<Refusal> {
    vec![
        Refusal::NotLeader(None),
        Refusal::NotLeader(Some(NodeId(3))),
        Refusal::Busy,
        Refusal::Full,
        Refusal::HandingOver,
        Refusal::Overwritten,
        Refusal::Unknown,
        Refusal::ChangePending,
        Refusal::NoMember(NodeId(9)),
        Refusal::AlreadyVoter(NodeId(9)),
        Refusal::Behind(NodeId(9), 1_000),
        Refusal::LastVoter,
        Refusal::NoHeir,
        Refusal::TooManyMembers,
        Refusal::Invalid("key", "empty"),
    ]
}

fn every_piece() -> Vec<Piece> {
    let answers: BTreeMap<_, _> = (1..).zip(every_answer()).collect();
    let session = Session { id: SessionId(1), used: Time(2), forgotten: 3, answers };
    let event = |item: Option<Item>, expired| {
        Arc::new(Event { version: Index(8), key: b"k"[..].into(), item, expired })
    };
    let events = vec![event(Some(item(None)), false), event(None, false), event(None, true)];
    let leases = vec![(LeaseId(1), Duration::from_secs(1), Time(1_007))];
    let items = vec![(b"a"[..].into(), item(None)), (b"b"[..].into(), item(Some(LeaseId(1))))];
    vec![
        Piece::Configuration(members()),
        Piece::Store(Part::Head { time: Time(9), earliest: Index(4) }),
        Piece::Store(Part::Items(items)),
        Piece::Store(Part::Leases(leases)),
        Piece::Store(Part::Sessions(vec![session])),
        Piece::Store(Part::History(events)),
    ]
}

#[test]
fn every_message_survives_the_wire() {
    let (term, index, ticket) = (Term(5), Index(4), Ticket(u64::MAX));
    for (pre, transfer) in [(false, false), (true, false), (false, true)] {
        there_and_back(&Message::RequestVote { term, last: (index, Term(3)), pre, transfer });
        there_and_back(&Message::Vote { term, granted: transfer, pre });
    }
    let (round, commit) = (u64::MAX, Index(2));
    for entries in [vec![], vec![entry(5, Payload::Nothing), entry(6, Payload::Nothing)]] {
        let previous = (index, Term(3));
        there_and_back(&Message::AppendEntries { term, previous, entries, commit, round });
    }
    there_and_back(&Message::Appended { term, round, outcome: Ok(index) });
    for of in [None, Some(Term(2))] {
        let mismatch = Mismatch { previous: index, term: of, first: Index(1) };
        there_and_back(&Message::Appended { term, round, outcome: Err(mismatch) });
    }
    for (number, piece) in (0..).zip(every_piece()) {
        let last = (index, Term(3));
        let done = number == 5;
        there_and_back(&Message::InstallSnapshot { term, last, number, piece, done });
    }
    there_and_back(&Message::Installing { term, last: index, wanted: 6 });
    there_and_back(&Message::TimeoutNow { term });
    for action in every_action() {
        there_and_back(&Message::Propose(term, ticket, command(action)));
    }
    for answer in every_answer() {
        there_and_back(&Message::Proposed(ticket, Ok(answer)));
    }
    for refusal in every_refusal() {
        there_and_back(&Message::Proposed(ticket, Err(refusal.clone())));
        there_and_back(&Message::Readable(ticket, Err(refusal.clone())));
        there_and_back(&Message::Administered(ticket, Err(refusal)));
    }
    there_and_back(&Message::ReadIndex(ticket));
    there_and_back(&Message::Readable(ticket, Ok(index)));
    there_and_back(&Message::Administered(ticket, Ok(())));
    for change in [
        Change::Add(NodeId(4), "raft-4:50074".into(), Standing::Joining),
        Change::Add(NodeId(4), "raft-4:50074".into(), Standing::Learner),
        Change::Promote(NodeId(4)),
        Change::Remove(NodeId(4)),
        Change::Transfer(None),
        Change::Transfer(Some(NodeId(4))),
    ] {
        there_and_back(&Message::Administer(ticket, change));
    }
}

#[test]
fn every_entry_survives_the_wire() {
    let ordinal = Ordinal { session: SessionId(1), sequence: 2, acknowledged: 1 };
    let mut payloads = vec![Payload::Nothing, Payload::Configuration(members())];
    for action in every_action() {
        payloads.push(Payload::Command(command(action.clone())));
        payloads.push(Payload::Command(Command {
            ordinal: Some(ordinal),
            action,
            trace: Trace::default(),
        }));
    }
    let entries: Vec<_> =
        (1..).zip(payloads).map(|(index, payload)| entry(index, payload)).collect();
    assert_eq!(decode_entries(encode_entries(&entries)).unwrap(), entries);
}

fn field<T: std::fmt::Debug>(outcome: Parsed<T>) -> String {
    outcome.unwrap_err().0
}

fn link(message: pb::link_request::Message) -> Parsed<Message> {
    decode(pb::LinkRequest { message: Some(message) }, PEER)
}

#[test]
fn hostile_messages_are_refused_by_field() {
    use pb::link_request::Message as Wire;
    assert_eq!(field(decode(pb::LinkRequest::default(), PEER)), "message");
    for beyond in [1 << 63, u64::MAX] {
        let (term, candidate_id) = (7, PEER.0);
        let good = pb::RequestVoteRequest { term, candidate_id, ..<_>::default() };
        for (request, wrong) in [
            (pb::RequestVoteRequest { term: beyond, ..good }, "term"),
            (pb::RequestVoteRequest { last_log_index: beyond, ..good }, "last_log_index"),
            (pb::RequestVoteRequest { last_log_term: beyond, ..good }, "last_log_term"),
            (pb::RequestVoteRequest { last_log_term: 8, ..good }, "last_log_term"),
            (pb::RequestVoteRequest { candidate_id: 3, ..good }, "candidate_id"),
        ] {
            assert_eq!(field(link(Wire::RequestVote(request))), wrong);
        }
        let vote = pb::RequestVoteResponse { term: beyond, ..<_>::default() };
        assert_eq!(field(link(Wire::Vote(vote))), "term");
        for (appended, wrong) in [
            (pb::AppendEntriesResponse { term: beyond, ..<_>::default() }, "term"),
            (
                pb::AppendEntriesResponse { success: true, match_index: beyond, ..<_>::default() },
                "match_index",
            ),
            (
                pb::AppendEntriesResponse { conflict_term: Some(beyond), ..<_>::default() },
                "conflict_term",
            ),
            (
                pb::AppendEntriesResponse { conflict_index: beyond, ..<_>::default() },
                "conflict_index",
            ),
        ] {
            assert_eq!(field(link(Wire::Appended(appended))), wrong);
        }
        let installing = pb::Installing { last_index: beyond, ..<_>::default() };
        assert_eq!(field(link(Wire::Installing(installing))), "last_index");
        let now = pb::TimeoutNow { term: beyond };
        assert_eq!(field(link(Wire::TimeoutNow(now))), "term");
    }
    assert_eq!(field(link(Wire::Propose(<_>::default()))), "command");
    assert_eq!(field(link(Wire::Administer(<_>::default()))), "change");
    let nothing = pb::Administer { change: Some(<_>::default()), ticket: 1 };
    assert_eq!(field(link(Wire::Administer(nothing))), "change");
}

#[test]
fn hostile_outcomes_are_refused_by_field() {
    use pb::link_request::Message as Wire;
    let outcome = |outcome| pb::Outcome { ticket: 1, outcome };
    for wire in [Wire::Proposed, Wire::Readable, Wire::Administered] {
        assert_eq!(field(link(wire(outcome(None)))), "outcome");
        for reason in [0, 15, -1] {
            let refusal = pb::Refusal { reason, ..<_>::default() };
            let refusal = Some(pb::outcome::Outcome::Refusal(refusal));
            assert_eq!(field(link(wire(outcome(refusal)))), "reason");
        }
        let refusal = pb::Refusal { reason: pb::refusal::Reason::Behind.into(), ..<_>::default() };
        let refusal = Some(pb::outcome::Outcome::Refusal(refusal));
        assert_eq!(field(link(wire(outcome(refusal)))), "member");
    }
    let index = Some(pb::outcome::Outcome::Index(u64::MAX));
    assert_eq!(field(link(Wire::Readable(outcome(index.clone())))), "index");
    assert_eq!(field(link(Wire::Proposed(outcome(index)))), "outcome");
    let done = Some(pb::outcome::Outcome::Done(pb::Nothing {}));
    assert_eq!(field(link(Wire::Readable(outcome(done)))), "outcome");
    let answer = Some(pb::outcome::Outcome::Answer(<_>::default()));
    assert_eq!(field(link(Wire::Administered(outcome(answer.clone())))), "outcome");
    assert_eq!(field(link(Wire::Proposed(outcome(answer)))), "answer");
}

#[test]
fn texts_of_refusals_do_not_fill_the_memory() {
    let mut texts = Texts::none();
    assert_eq!(texts.keep("empty"), Some("empty"));
    assert_eq!(texts.keep(&"x".repeat(1 << 20)), None);
    let kept = (0..1_000).filter_map(|number| texts.keep(&format!("hostile {number}")));
    assert!(kept.count() < 100);
    assert_eq!(texts.keep("empty"), Some("empty"));
}

#[test]
fn hostile_entries_are_refused_by_field() {
    let good = |index| pb::Entry { index, term: 3, time_ms: 7, payload: None };
    let after = |second| decode_entries(vec![good(1), second]);
    assert_eq!(field(after(good(1))), "entries[1].index");
    assert_eq!(field(after(good(3))), "entries[1].index");
    assert_eq!(field(after(pb::Entry { term: 2, ..good(2) })), "entries[1].term");
    assert_eq!(field(after(pb::Entry { term: 1 << 63, ..good(2) })), "entries[1].term");
    assert_eq!(field(after(pb::Entry { time_ms: 6, ..good(2) })), "entries[1].time_ms");
    assert_eq!(field(after(pb::Entry { time_ms: u64::MAX, ..good(2) })), "entries[1].time_ms");
    assert_eq!(field(decode_entries(vec![good(0)])), "entries[0].index");
    assert_eq!(field(decode_entries(vec![good(u64::MAX)])), "entries[0].index");
    assert_eq!(field(decode_entries(vec![pb::Entry { term: 0, ..good(1) }])), "entries[0].term");
    assert!(decode_entries((1..=100_000).map(good).collect()).is_ok());
    assert_eq!(field(decode_entries((1..=100_001).map(good).collect())), "entries");

    let append = |first, term, previous_log_term| {
        let mut append = pb::AppendEntriesRequest { term, leader_id: PEER.0, ..<_>::default() };
        (append.previous_log_index, append.previous_log_term) = (4, previous_log_term);
        append.entries = vec![good(first)];
        append
    };
    let read = |append| field(link(pb::link_request::Message::AppendEntries(append)));
    assert_eq!(read(append(6, 3, 3)), "entries[0].index");
    assert_eq!(read(append(5, 4, 4)), "entries[0].term");
    assert_eq!(read(append(5, 2, 2)), "term");
    assert_eq!(read(pb::AppendEntriesRequest { leader_id: 3, ..append(5, 3, 3) }), "leader_id");
    for beyond in [1 << 63, u64::MAX] {
        let commit = pb::AppendEntriesRequest { leader_commit: beyond, ..append(5, 3, 3) };
        assert_eq!(read(commit), "leader_commit");
        let previous = pb::AppendEntriesRequest { previous_log_index: beyond, ..append(5, 3, 3) };
        assert_eq!(read(previous), "previous_log_index");
    }
}

#[test]
fn hostile_commands_are_refused_by_field() {
    use pb::command::Action as Wire;
    let read = |action| field(decode_command(pb::Command { action, ..<_>::default() }));
    let put = |key: &[u8], length: usize| pb::Put {
        key: key.to_vec().into(),
        value: vec![0; length].into(),
        ..<_>::default()
    };
    assert_eq!(read(None), "action");
    assert_eq!(read(Some(Wire::Put(put(b"", 1)))), "key");
    assert_eq!(read(Some(Wire::Put(put(&[1; store::KEY_LIMIT + 1], 1)))), "key");
    assert_eq!(read(Some(Wire::Put(put(b"k", store::VALUE_LIMIT + 1)))), "value");
    assert_eq!(read(Some(Wire::Delete(<_>::default()))), "key");
    let condition = |condition| Some(pb::Condition { condition: Some(condition) });
    let version = condition(pb::condition::Condition::Version(u64::MAX));
    let unlikely = pb::Put { condition: version, ..put(b"k", 1) };
    assert_eq!(read(Some(Wire::Put(unlikely))), "condition.version");
    let huge = vec![0; store::VALUE_LIMIT + 1].into();
    let huge = condition(pb::condition::Condition::Value(huge));
    let huge = pb::Delete { key: b"k"[..].into(), condition: huge };
    assert_eq!(read(Some(Wire::Delete(huge))), "condition.value");
    assert_eq!(read(Some(Wire::GrantMs(u64::MAX))), "grant_ms");
    assert_eq!(read(Some(Wire::KeepAlive(u64::MAX))), "lease");
    assert_eq!(read(Some(Wire::Revoke(u64::MAX))), "lease");
    assert_eq!(read(Some(Wire::CloseSession(u64::MAX))), "session");
    let ordinal = |session, sequence, acknowledged| {
        field(decode_ordinal(pb::Ordinal { session, sequence, acknowledged }))
    };
    assert_eq!(ordinal(u64::MAX, 1, 0), "session");
    assert_eq!(ordinal(1, 0, 0), "sequence");
    assert_eq!(ordinal(1, u64::MAX, 0), "sequence");
    assert_eq!(ordinal(1, 1, u64::MAX), "acknowledged");
}

#[test]
fn hostile_members_are_refused_by_field() {
    let member = |id, address: &str, standing| pb::Member { id, address: address.into(), standing };
    let read = |members| field(decode_configuration(pb::Configuration { members }));
    assert_eq!(read(vec![]), "members");
    assert_eq!(read(vec![member(1, "a:1", 1); 2_000]), "members");
    assert_eq!(read(vec![member(1, "", 1)]), "members[0].address");
    assert_eq!(read(vec![member(1, &"a".repeat(10_000), 1)]), "members[0].address");
    for standing in [0, 4, -1] {
        assert_eq!(read(vec![member(1, "a:1", standing)]), "members[0].standing");
    }
    assert_eq!(read(vec![member(2, "a:1", 1), member(1, "b:1", 1)]), "members[1].id");
    assert_eq!(read(vec![member(2, "a:1", 1), member(2, "b:1", 1)]), "members[1].id");
}

#[test]
fn hostile_pieces_are_refused_by_field() {
    use pb::snapshot_piece::Piece as Wire;
    let read = |piece| field(decode_piece(pb::SnapshotPiece { piece }));
    assert_eq!(read(None), "piece");
    let head = |time_ms, earliest| Some(Wire::Head(pb::SnapshotHead { time_ms, earliest }));
    assert_eq!(read(head(u64::MAX, 1)), "time_ms");
    assert_eq!(read(head(1, u64::MAX)), "earliest");
    let item = pb::Item { key: b"k"[..].into(), version: 2, created: 1, ..<_>::default() };
    let items = |item| Some(Wire::Items(pb::Items { items: vec![item] }));
    assert_eq!(read(items(pb::Item { key: <_>::default(), ..item.clone() })), "key");
    assert_eq!(read(items(pb::Item { version: u64::MAX, ..item.clone() })), "version");
    assert_eq!(read(items(pb::Item { created: 3, ..item.clone() })), "created");
    assert_eq!(read(items(pb::Item { lease: Some(u64::MAX), ..item.clone() })), "lease");
    let lease = |id, ttl_ms, deadline_ms| {
        let lease = pb::leases::Lease { id, ttl_ms, deadline_ms };
        Some(Wire::Leases(pb::Leases { leases: vec![lease] }))
    };
    assert_eq!(read(lease(u64::MAX, 1, 1)), "lease");
    assert_eq!(read(lease(1, u64::MAX, 1)), "ttl_ms");
    assert_eq!(read(lease(1, 1, u64::MAX)), "deadline_ms");
    let session = |answers: u64| {
        let answers = (0..answers).map(|number| (number, pb::Answer::default())).collect();
        let session = pb::sessions::Session { id: 1, answers, ..<_>::default() };
        Some(Wire::Sessions(pb::Sessions { sessions: vec![session] }))
    };
    assert_eq!(read(session(1)), "answer");
    assert_eq!(read(session(1_000)), "answers");
    let history = |event| Some(Wire::History(pb::History { events: vec![event] }));
    let event = pb::Event { version: 2, item: Some(item), ..<_>::default() };
    assert_eq!(read(history(pb::Event { item: None, ..event.clone() })), "item");
    assert_eq!(read(history(pb::Event { version: u64::MAX, ..event.clone() })), "version");
    assert_eq!(read(history(pb::Event { expired: true, ..event })), "expired");

    let install = |last_index, last_term, term| {
        let piece = Some(encode_piece(&Piece::Configuration(members())));
        let install = pb::InstallSnapshot { term, last_index, last_term, piece, ..<_>::default() };
        field(link(pb::link_request::Message::InstallSnapshot(install)))
    };
    assert_eq!(install(0, 1, 1), "last_index");
    assert_eq!(install(u64::MAX, 1, 1), "last_index");
    assert_eq!(install(1, 2, 1), "last_term");
    let bare = pb::InstallSnapshot { term: 1, last_index: 1, ..<_>::default() };
    assert_eq!(field(link(pb::link_request::Message::InstallSnapshot(bare))), "piece");
}

/// A leader that took what its peers or its own disk refuse would never commit anything again.
#[test]
fn what_may_be_proposed_can_be_read_back_and_nothing_else_can() {
    let (least, most) = store::TTL_LIMITS;
    let numbers = [0, 1, (1 << 63) - 1, 1 << 63, u64::MAX];
    let lengths = |limit| [0, 1, limit, limit + 1].map(|length: usize| vec![b'x'; length]);
    let mut actions = every_action();
    for number in numbers {
        let (lease, session) = (LeaseId(number), SessionId(number));
        let (key, value) = (b"k"[..].into(), b"v"[..].into());
        let condition = Condition::Version(Index(number));
        actions.extend([
            Action::Put { key, value, lease: Some(lease), condition: Condition::Always },
            Action::Delete { key: b"k"[..].into(), condition },
            Action::KeepAlive(lease),
            Action::Revoke(lease),
            Action::CloseSession(session),
        ]);
    }
    for key in lengths(store::KEY_LIMIT) {
        actions.push(put(&key, b"v", Condition::Always));
        actions.push(Action::Delete { key: key[..].into(), condition: Condition::Always });
    }
    for value in lengths(store::VALUE_LIMIT) {
        actions.push(put(b"k", &value, Condition::Always));
        actions.push(put(b"k", b"v", Condition::Value(value[..].into())));
    }
    let millisecond = Duration::from_millis(1);
    let times = [Duration::ZERO, least - millisecond, least, most, most + millisecond];
    actions.extend(times.map(Action::Grant));
    let mut refused = 0;
    for action in actions {
        let allowed = store::check(&action);
        let back = decode_command(encode_command(&command(action.clone())));
        assert_eq!(allowed.is_ok(), back.is_ok(), "{action:?}: {allowed:?}, {back:?}");
        refused += usize::from(allowed.is_err());
    }
    assert!(refused > 10, "{refused}");
}
