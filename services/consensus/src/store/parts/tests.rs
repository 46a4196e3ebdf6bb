//! Stores in pieces and out of them, and everything that is refused on the way.

use std::collections::BTreeMap;

use protocols::Trace;

use super::super::{Action, Answer, Command, Compacted, Condition, Ordinal, Value};
use super::*;

fn bytes(text: &str) -> Key {
    text.as_bytes().into()
}

fn put(key: &str, value: Value, lease: Option<LeaseId>) -> Action {
    Action::Put { key: bytes(key), value, lease, condition: Condition::Always }
}

/// A store with so many of everything that each kind takes several pieces.
fn large() -> (Store, Index) {
    let mut store = Store::default();
    let mut last = Index(0);
    let mut act = |time, ordinal, action| {
        last = last.next();
        store
            .apply(last, Time(time), Some(&Command { ordinal, action, trace: Trace::default() }))
            .0
            .unwrap()
    };
    for time in 0..2_500 {
        act(time, None, Action::Grant(TTL_LIMITS.1));
    }
    for time in 2_500..3_000 {
        let Answer::Opened(session) = act(time, None, Action::OpenSession) else { panic!() };
        for sequence in 1..=5 {
            let lease = time.is_multiple_of(2).then_some(LeaseId(time - 2_000));
            let size = if time.is_multiple_of(100) { 2 * PART_BYTES } else { 300 };
            let value = vec![b'x'; size].into();
            let ordinal = Some(Ordinal { session, sequence, acknowledged: sequence / 3 });
            act(time, ordinal, put(&format!("key {time} {sequence}"), value, lease));
        }
    }
    (store, last)
}

fn assembled(parts: impl IntoIterator<Item = Part>) -> Result<Store, &'static str> {
    let mut assembly = Assembly::default();
    parts.into_iter().try_for_each(|part| assembly.add(part))?;
    assembly.finish()
}

fn kind(part: &Part) -> &'static str {
    match part {
        Part::Head { .. } => "head",
        Part::Items(_) => "items",
        Part::Leases(_) => "leases",
        Part::Sessions(_) => "sessions",
        Part::History(_) => "history",
    }
}

#[test]
fn the_pieces_of_a_store_make_the_same_store() {
    let (store, _) = large();
    assert!(store.history.earliest() != Index(0), "its history is not whole");
    let mut pieces = BTreeMap::<_, u32>::new();
    store.parts().for_each(|part| *pieces.entry(kind(&part)).or_default() += 1);
    assert_eq!((pieces.len(), pieces["head"]), (5, 1));
    assert!(pieces.values().filter(|count| 1 < **count).count() == 4, "{pieces:?}");
    let copy = assembled(store.parts()).unwrap();
    assert!(copy == store);
    assert_eq!(copy.counts(), store.counts());
}

#[test]
fn an_empty_store_is_one_piece() {
    let parts: Vec<_> = Store::default().parts().collect();
    assert!(parts == [Part::Head { time: Time(0), earliest: Index(0) }]);
    assert!(assembled(parts) == Ok(Store::default()));
}

#[test]
fn no_piece_is_longer_than_its_limit_unless_it_is_one_entry() {
    let (store, _) = large();
    for part in store.parts() {
        let item_bytes =
            |key: &Key, item: Option<&Item>| key.len() + item.map_or(0, |item| item.value.len());
        let (count, bytes) = match &part {
            Part::Items(items) => {
                (items.len(), items.iter().map(|(key, it)| item_bytes(key, Some(it))).sum())
            }
            Part::History(events) => {
                let bytes = events.iter().map(|it| item_bytes(&it.key, it.item.as_ref()));
                (events.len(), bytes.sum::<usize>())
            }
            Part::Leases(leases) => (leases.len(), 24 * leases.len()),
            Part::Sessions(sessions) => (sessions.len(), 24 * sessions.len()),
            Part::Head { .. } => continue,
        };
        assert!(count == 1 || bytes <= PART_BYTES, "{count} entries of {bytes} bytes");
        assert!(count != 0, "an empty piece of {}", kind(&part));
    }
}

#[test]
fn pieces_tell_the_store_as_it_was_when_they_were_begun() {
    let (mut store, mut last) = large();
    let before = store.clone();
    let parts = store.parts();
    let mut told = Vec::new();
    for part in parts {
        told.push(part);
        last = last.next();
        let (time, action) = match last.0 % 4 {
            0 => (TTL_LIMITS.1.as_millis() as u64 + last.0 % 1_000, Action::OpenSession),
            1 => (0, Action::Delete { key: bytes("key 2600 1"), condition: Condition::Always }),
            2 => (0, put(&format!("key {}", last.0), bytes("another"), None)),
            _ => (0, Action::Revoke(LeaseId(900))),
        };
        store.apply(
            last,
            Time(time),
            Some(&Command { ordinal: None, action, trace: Trace::default() }),
        );
    }
    assert!(store != before);
    assert!(assembled(told) == Ok(before));
}

fn item(value: usize) -> Item {
    let value = vec![b'x'; value].into();
    Item { value, version: Index(7), created: Index(5), lease: None }
}

fn items(keys: &[&str]) -> Part {
    Part::Items(keys.iter().map(|key| (bytes(key), item(3))).collect())
}

fn leases(ids: &[u64]) -> Part {
    let ttl = Duration::from_millis(1_000);
    Part::Leases(ids.iter().map(|id| (LeaseId(*id), ttl, Time(2_000))).collect())
}

fn session(id: u64) -> Session {
    let answers = [(4, Answer::Closed)].into_iter().collect();
    Session { id: SessionId(id), used: Time(1_000), forgotten: 3, answers }
}

fn event(version: u64) -> Event {
    let version = Index(version);
    let item = Item { version, created: Index(2), ..item(3) };
    Event { version, key: bytes("key"), item: Some(item), expired: false }
}

fn history(events: impl IntoIterator<Item = Event>) -> Part {
    Part::History(events.into_iter().map(Arc::new).collect())
}

const HEAD: Part = Part::Head { time: Time(1_000), earliest: Index(4) };

/// What is said of these pieces behind a head.
fn objection(parts: impl IntoIterator<Item = Part>) -> &'static str {
    assembled([HEAD].into_iter().chain(parts)).map_or_else(|error| error, |_| "")
}

#[test]
fn pieces_come_in_their_order() {
    let all = [HEAD, items(&["a"]), leases(&[1]), Part::Sessions(vec![session(1)])];
    let all = [&all[..], &[history([event(8)])]].concat();
    assert!(assembled(all.clone()).is_ok());
    for first in 1..all.len() {
        for second in 1..first {
            assert_eq!(
                objection([all[first].clone(), all[second].clone()]),
                "the pieces are out of order"
            );
        }
        let missing = Err("the head is missing");
        assert!(assembled(all[first..].iter().cloned()) == missing);
        assert_eq!(objection([all[first].clone(), HEAD]), "there is a second head");
    }
    assert!(assembled([]) == Err("the head is missing"));
    assert_eq!(objection([HEAD]), "there is a second head");
}

#[test]
fn no_item_is_taken_that_no_store_has() {
    let one = |key: Key, item: Item| objection([Part::Items(vec![(key, item)])]);
    assert_eq!(one(bytes("a"), item(3)), "");
    assert_eq!(one(vec![b'k'; KEY_LIMIT].into(), item(VALUE_LIMIT)), "");
    assert_eq!(one(bytes(""), item(3)), "a key is empty");
    assert_eq!(one(vec![b'k'; KEY_LIMIT + 1].into(), item(3)), "a key is too long");
    assert_eq!(one(bytes("a"), item(VALUE_LIMIT + 1)), "a value is too long");
    let early = Item { version: Index(4), ..item(3) };
    assert_eq!(one(bytes("a"), early), "a key was created after its version");
    let out_of_order = "the keys are out of order";
    assert_eq!(objection([items(&["a", "b"]), items(&["c"])]), "");
    assert_eq!(objection([items(&["b", "a"])]), out_of_order);
    assert_eq!(objection([items(&["a", "b"]), items(&["b"])]), out_of_order);
}

#[test]
fn no_lease_is_taken_that_no_store_has() {
    let leased = || Part::Items(vec![(bytes("a"), Item { lease: Some(LeaseId(2)), ..item(3) })]);
    assert_eq!(objection([leased(), leases(&[1, 2])]), "");
    assert_eq!(objection([leased(), leases(&[1, 3])]), "the lease of a key is missing");
    assert_eq!(objection([leases(&[1, 2]), leases(&[2])]), "the leases are out of order");
    assert_eq!(objection([leases(&[2, 1])]), "the leases are out of order");
    let one = |ttl, deadline| objection([Part::Leases(vec![(LeaseId(1), ttl, Time(deadline))])]);
    let outside = "the time to live of a lease is outside the limits";
    assert_eq!(one(TTL_LIMITS.0, 1_100), "");
    assert_eq!(one(TTL_LIMITS.0, 1_101), "a lease ends later than its time to live allows");
    assert_eq!(one(TTL_LIMITS.0 - Duration::from_millis(1), 1_001), outside);
    assert_eq!(one(TTL_LIMITS.1 + Duration::from_millis(1), 1_001), outside);
}

#[test]
fn no_session_is_taken_that_no_store_has() {
    let all = |sessions| objection([Part::Sessions(sessions)]);
    assert_eq!(all(vec![session(1), session(2)]), "");
    assert_eq!(all(vec![session(2), session(1)]), "the sessions are out of order");
    assert_eq!(all(vec![session(2), session(2)]), "the sessions are out of order");
    let limit = SESSIONS_LIMIT as u64;
    assert_eq!(all((1..=limit).map(session).collect()), "");
    assert_eq!(all((0..=limit).map(session).collect()), "there are too many sessions");
    let late = Session { used: Time(1_001), ..session(1) };
    assert_eq!(all(vec![late]), "a session was used later than the store's time");
    let forgotten = Session { forgotten: 4, ..session(1) };
    assert_eq!(all(vec![forgotten]), "a session has an answer that it has forgotten");
    let with = |answers: u64| {
        let answers = (4..4 + answers).map(|number| (number, Answer::Closed)).collect();
        all(vec![Session { answers, ..session(1) }])
    };
    assert_eq!(with(ANSWERS_LIMIT as u64), "");
    assert_eq!(with(ANSWERS_LIMIT as u64 + 1), "a session has too many answers");
    let long = [(4, Answer::Unmet(Some(item(VALUE_LIMIT + 1))))].into_iter().collect();
    assert_eq!(all(vec![Session { answers: long, ..session(1) }]), "a value is too long");
}

#[test]
fn no_event_is_taken_that_no_store_has() {
    let one = |event| objection([history([event])]);
    assert_eq!(one(event(5)), "");
    assert_eq!(one(Event { item: None, expired: true, ..event(5) }), "");
    assert_eq!(one(event(4)), "the events are out of order");
    assert_eq!(objection([history([event(6), event(6)]), history([event(6)])]), "");
    assert_eq!(
        objection([history([event(6)]), history([event(5)])]),
        "the events are out of order"
    );
    let contradicts = "an event contradicts its item";
    assert_eq!(one(Event { version: Index(8), ..event(6) }), contradicts);
    assert_eq!(one(Event { expired: true, ..event(6) }), contradicts);
    assert_eq!(one(Event { key: bytes(""), ..event(6) }), "a key is empty");
}

#[test]
fn more_history_than_the_limit_is_shortened() {
    let long = |version| Event {
        item: Some(Item { created: Index(2), version: Index(version), ..item(VALUE_LIMIT) }),
        ..event(version)
    };
    let store = assembled([HEAD, history((5..10).map(long))]).unwrap();
    let earliest = Index(6);
    assert_eq!(store.history(Index(5)), Err(Compacted { earliest }));
    assert_eq!(store.history(earliest).unwrap().len(), 3);
}
