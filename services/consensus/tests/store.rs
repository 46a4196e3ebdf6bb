//! The replicated store against a naive one: the same random entries must give the same answers,
//! events, queries, history, counts and deadlines, whatever is copied, cut into pieces and put
//! together meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consensus::store::{
    ANSWER_BYTES_LIMIT, ANSWERS_LIMIT, Action, Answer, Assembly, Command, Compacted, Condition,
    Counts, Event, HISTORY_BYTES_LIMIT, Item, Key, LeaseId, Ordinal, Query, RANGE_BYTES_LIMIT,
    SESSION_PATIENCE, SESSIONS_BYTES_LIMIT, SESSIONS_LIMIT, Session, SessionId, Store, VALUE_LIMIT,
    Value, check,
};
use consensus::{Index, Time};
use protocols::Trace;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng as _};

/// The same store without any thought of speed.
#[derive(Clone, Default)]
struct Reference {
    time: Time,
    items: BTreeMap<Key, Item>,
    leases: BTreeMap<LeaseId, (Duration, Time)>,
    sessions: BTreeMap<SessionId, Session>,
    events: Vec<Arc<Event>>,
    earliest: Index,
}

impl Reference {
    fn apply(
        &mut self,
        index: Index,
        time: Time,
        command: Option<&Command>,
    ) -> (Option<Answer>, Vec<Arc<Event>>) {
        self.time = self.time.max(time);
        let mut events = Vec::new();
        let mut due: Vec<_> = self.leases.iter().map(|(id, lease)| (lease.1, *id)).collect();
        due.retain(|(deadline, _)| *deadline <= self.time);
        due.sort();
        for (_, lease) in due {
            self.end(index, lease, &mut events);
        }
        self.sessions.retain(|_, session| self.time < session.used.after(SESSION_PATIENCE));
        let answer = command.map(|command| self.obey(index, command, &mut events));
        self.events.extend(events.iter().cloned());
        let size = |event: &Arc<Event>| {
            128 + event.key.len() + event.item.as_ref().map_or(0, |item| item.value.len())
        };
        while HISTORY_BYTES_LIMIT < self.events.iter().map(size).sum() {
            self.earliest = self.events[0].version;
            self.events.retain(|event| event.version != self.earliest);
        }
        (answer, events)
    }

    fn obey(&mut self, index: Index, command: &Command, events: &mut Vec<Arc<Event>>) -> Answer {
        let Some(Ordinal { session: id, sequence, acknowledged }) = command.ordinal else {
            return self.act(index, &command.action, events);
        };
        let Some(session) = self.sessions.get_mut(&id) else { return Answer::NoSession(id) };
        session.used = self.time;
        session.forgotten = session.forgotten.max(acknowledged);
        let forgotten = session.forgotten;
        session.answers.retain(|number, _| forgotten < *number);
        if sequence <= forgotten {
            return Answer::Forgotten;
        }
        if let Some(answer) = session.answers.get(&sequence) {
            return answer.clone();
        }
        let answer = self.act(index, &command.action, events);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.answers.insert(sequence, answer.clone());
            let held = |session: &Session| -> usize {
                let values = session.answers.values().map(|answer| {
                    if let Answer::Unmet(Some(item)) = answer { item.value.len() } else { 0 }
                });
                values.sum()
            };
            while ANSWERS_LIMIT < session.answers.len()
                || (ANSWER_BYTES_LIMIT < held(session) && session.answers.len() != 1)
            {
                session.forgotten = session.answers.pop_first().expect("there is one").0;
            }
        }
        answer
    }

    fn act(&mut self, index: Index, action: &Action, events: &mut Vec<Arc<Event>>) -> Answer {
        let version = index;
        match action {
            Action::Put { key, condition, .. } | Action::Delete { key, condition }
                if !self.holds(key, condition) =>
            {
                Answer::Unmet(self.items.get(key).cloned())
            }
            Action::Put { lease: Some(lease), .. } if !self.leases.contains_key(lease) => {
                Answer::NoLease(*lease)
            }
            Action::Put { key, value, lease, condition: _ } => {
                let previous = self.items.get(key).cloned();
                let created = previous.as_ref().map_or(index, |item| item.created);
                let item = Item { value: value.clone(), version, created, lease: *lease };
                self.items.insert(key.clone(), item.clone());
                let key = key.clone();
                events.push(Arc::new(Event { version, key, item: Some(item), expired: false }));
                Answer::Put { version, previous: previous.map(|item| item.version) }
            }
            Action::Delete { key, condition: _ } => {
                let previous = self.items.remove(key).map(|item| item.version);
                if previous.is_some() {
                    let key = key.clone();
                    events.push(Arc::new(Event { version, key, item: None, expired: false }));
                }
                Answer::Deleted { version, previous }
            }
            Action::Grant(ttl) => {
                self.leases.insert(LeaseId(index.0), (*ttl, self.time.after(*ttl)));
                Answer::Granted(LeaseId(index.0), *ttl)
            }
            Action::KeepAlive(id) => match self.leases.get_mut(id) {
                Some((ttl, deadline)) => {
                    *deadline = self.time.after(*ttl);
                    Answer::KeptAlive(*id, *ttl)
                }
                None => Answer::NoLease(*id),
            },
            Action::Revoke(id) if self.leases.contains_key(id) => {
                Answer::Revoked(self.end(index, *id, events))
            }
            Action::Revoke(id) => Answer::NoLease(*id),
            Action::OpenSession => {
                let id = SessionId(index.0);
                if self.sessions.len() == SESSIONS_LIMIT {
                    let idlest = self
                        .sessions
                        .values()
                        .map(|it| (it.used, it.id))
                        .min()
                        .expect("there are many");
                    self.sessions.remove(&idlest.1);
                }
                let answers = BTreeMap::new();
                self.sessions.insert(id, Session { id, used: self.time, forgotten: 0, answers });
                Answer::Opened(id)
            }
            Action::CloseSession(id) => match self.sessions.remove(id) {
                Some(_) => Answer::Closed,
                None => Answer::NoSession(*id),
            },
        }
    }

    fn holds(&self, key: &Key, condition: &Condition) -> bool {
        let item = self.items.get(key);
        match condition {
            Condition::Always => true,
            Condition::Absent => item.is_none(),
            Condition::Version(version) => item.is_some_and(|item| item.version == *version),
            Condition::Value(value) => item.is_some_and(|item| item.value == *value),
        }
    }

    fn end(&mut self, version: Index, id: LeaseId, events: &mut Vec<Arc<Event>>) -> u64 {
        self.leases.remove(&id);
        let of_it = |(_, item): &(&Key, &Item)| item.lease == Some(id);
        let keys: Vec<_> = self.items.iter().filter(of_it).map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.items.remove(key);
            let key = key.clone();
            events.push(Arc::new(Event { version, key, item: None, expired: true }));
        }
        keys.len() as u64
    }

    fn query(&self, query: &Query) -> Answer {
        match query {
            Query::Get(key) => Answer::Item(self.items.get(key).cloned()),
            Query::Range { prefix, after, limit } => {
                let mut all: Vec<_> = self.items.clone().into_iter().collect();
                all.retain(|(key, _)| key.starts_with(prefix));
                all.retain(|(key, _)| after.as_ref().is_none_or(|after| after < key));
                let (mut bytes, mut count) = (0, 0);
                for (key, item) in &all {
                    bytes += key.len() + item.value.len();
                    if count == *limit || (RANGE_BYTES_LIMIT < bytes && count != 0) {
                        break;
                    }
                    count += 1;
                }
                let more = count < all.len();
                all.truncate(count);
                Answer::Items(all, more)
            }
            Query::Lease(id) => match self.leases.get(id) {
                Some((ttl, deadline)) => {
                    let keys = self.items.values().filter(|item| item.lease == Some(*id)).count();
                    let left = deadline.since(self.time);
                    Answer::Lease { ttl: *ttl, left, keys: keys as u64 }
                }
                None => Answer::NoLease(*id),
            },
        }
    }

    fn history(&self, version: Index) -> Result<Vec<Arc<Event>>, Compacted> {
        if version < self.earliest {
            return Err(Compacted { earliest: self.earliest });
        }
        Ok(self.events.iter().filter(|event| version < event.version).cloned().collect())
    }

    fn next_deadline(&self) -> Option<Time> {
        let sessions = self.sessions.values().map(|session| session.used.after(SESSION_PATIENCE));
        self.leases.values().map(|(_, deadline)| *deadline).chain(sessions).min()
    }

    fn counts(&self) -> Counts {
        let bytes = self.items.iter().map(|(key, item)| key.len() + item.value.len());
        Counts {
            keys: self.items.len() as u64,
            bytes: bytes.sum::<usize>() as u64,
            leases: self.leases.len() as u64,
            sessions: self.sessions.len() as u64,
        }
    }
}

fn bytes(text: &str) -> Key {
    text.as_bytes().into()
}

/// Draws what happens.
struct Fate {
    random: StdRng,
    /// Values that differ, short and long ones; shared, because a test has many of them.
    values: Vec<Value>,
    /// How often time leaps so far that leases end, or all sessions.
    leaps: f64,
}

impl Fate {
    fn new(seed: u64) -> Self {
        let sizes = [0, 1, 8, 64, 500, 3_000, 3_000, 60_000, 400_000, VALUE_LIMIT];
        let sizes = if seed.is_multiple_of(2) { &sizes[..] } else { &sizes[..7] };
        let value = |(number, size): (usize, &usize)| vec![number as u8; *size].into();
        let values = sizes.iter().enumerate().map(value).collect();
        let leaps = if seed.is_multiple_of(3) { 0.0 } else { 0.001 };
        Self { random: StdRng::seed_from_u64(seed), values, leaps }
    }

    fn key(&mut self) -> Key {
        let kind = ["a", "ab", "b", "c\u{7f}"][self.random.random_range(0..4)];
        bytes(&format!("{kind}{}", self.random.random_range(0..200)))
    }

    fn value(&mut self) -> Value {
        self.values[self.random.random_range(0..self.values.len())].clone()
    }

    /// One of these, or sometimes one that does not exist.
    fn one_of(&mut self, ids: impl Iterator<Item = u64>) -> u64 {
        let ids: Vec<_> = ids.collect();
        if ids.is_empty() || self.random.random_bool(0.05) {
            return self.random.random_range(0..1_000);
        }
        ids[self.random.random_range(0..ids.len())]
    }

    fn condition(&mut self, key: &Key, store: &Reference) -> Condition {
        let current = store.items.get(key);
        match (self.random.random_range(0..10), current) {
            (0, _) => Condition::Absent,
            (1, Some(item)) => Condition::Version(item.version),
            (2, Some(item)) => Condition::Value(item.value.clone()),
            (3, _) => Condition::Version(Index(self.random.random_range(0..1_000))),
            (4, _) => Condition::Value(self.value()),
            _ => Condition::Always,
        }
    }

    fn action(&mut self, store: &Reference) -> Action {
        let lease = |fate: &mut Self| LeaseId(fate.one_of(store.leases.keys().map(|id| id.0)));
        match self.random.random_range(0..100) {
            0..60 => {
                let key = self.key();
                let lease = self.random.random_bool(0.4).then(|| lease(self));
                let condition = self.condition(&key, store);
                Action::Put { key, value: self.value(), lease, condition }
            }
            60..80 => {
                let key = self.key();
                let condition = self.condition(&key, store);
                Action::Delete { key, condition }
            }
            80..87 => {
                let longest = if self.random.random_bool(0.2) { 86_400_000 } else { 20_000 };
                Action::Grant(Duration::from_millis(self.random.random_range(100..=longest)))
            }
            87..94 => Action::KeepAlive(lease(self)),
            94..97 => Action::Revoke(lease(self)),
            97..99 => Action::OpenSession,
            _ => Action::CloseSession(SessionId(self.one_of(store.sessions.keys().map(|id| id.0)))),
        }
    }

    fn ordinal(&mut self, store: &Reference) -> Ordinal {
        // Most commands are of the sessions that were opened first, so that some get to the limits.
        let first = store.sessions.keys().take(3).map(|id| id.0);
        let session = SessionId(self.one_of(first));
        let known = store.sessions.get(&session);
        let last = known.and_then(|it| it.answers.last_key_value()).map_or(0, |(last, _)| *last);
        let sequence = match self.random.random_range(0..10) {
            // A repetition, or one that was overtaken.
            0..2 => last.saturating_sub(self.random.random_range(0..20)),
            2 => last + self.random.random_range(2..4),
            _ => last + 1,
        };
        let acknowledges =
            self.random.random_bool(if session.0.is_multiple_of(2) { 0.05 } else { 0.0 });
        let behind = self.random.random_range(0..20);
        let acknowledged = if acknowledges { last.saturating_sub(behind) } else { 0 };
        Ordinal { session, sequence, acknowledged }
    }

    fn command(&mut self, store: &Reference) -> Option<Command> {
        if self.random.random_bool(0.02) {
            return None;
        }
        let ordinal = self.random.random_bool(0.5).then(|| self.ordinal(store));
        let action = self.action(store);
        assert_eq!(check(&action), Ok(()));
        Some(Command { ordinal, action, trace: Trace::default() })
    }

    fn time(&mut self, time: Time) -> Time {
        let leaps = self.random.random_bool(self.leaps);
        match self.random.random_range(0..10) {
            _ if leaps => Time(time.0 + self.random.random_range(1_000..4_000_000)),
            0 => Time(time.0.saturating_sub(100)),
            1..6 => time,
            _ => Time(time.0 + self.random.random_range(0..60)),
        }
    }

    fn query(&mut self, store: &Reference) -> Query {
        match self.random.random_range(0..3) {
            0 => Query::Get(self.key()),
            1 => Query::Lease(LeaseId(self.one_of(store.leases.keys().map(|id| id.0)))),
            _ => {
                let prefix = ["", "a", "ab", "ab1", "b", "c\u{7f}", "d", "\u{7f}"];
                let prefix = bytes(prefix[self.random.random_range(0..prefix.len())]);
                let after = self.random.random_bool(0.5).then(|| self.key());
                let limit = [1, 2, 30, 10_000][self.random.random_range(0..4)];
                Query::Range { prefix, after, limit }
            }
        }
    }
}

fn assembled(store: &Store) -> Store {
    let mut assembly = Assembly::default();
    store.parts().for_each(|part| assembly.add(part).expect("it is one of its pieces"));
    assembly.finish().expect("these are its pieces")
}

/// Asks both everything.
fn compare(store: &Store, reference: &Reference) {
    let all = Query::Range { prefix: bytes(""), after: None, limit: usize::MAX };
    let (mut after, mut more) = (None, true);
    let mut items = Vec::new();
    while more {
        let Query::Range { prefix, limit, .. } = all.clone() else { unreachable!() };
        let query = Query::Range { prefix, after, limit };
        let Answer::Items(some, rest) = store.query(&query) else { unreachable!() };
        more = rest;
        after = some.last().map(|(key, _)| key.clone());
        items.extend(some);
    }
    assert!(items.iter().map(|(key, item)| (key, item)).eq(&reference.items));
    for id in reference.leases.keys() {
        let query = Query::Lease(*id);
        assert_eq!(store.query(&query), reference.query(&query));
    }
    assert_eq!(store.history(reference.earliest), reference.history(reference.earliest));
    assert_eq!(store.counts(), reference.counts());
    assert_eq!(store.time(), reference.time);
    assert_eq!(store.next_deadline(), reference.next_deadline());
}

/// What a run has met.
#[derive(Default)]
struct Met {
    answers: BTreeSet<&'static str>,
    compacted: bool,
    sessions_ended: bool,
}

fn name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Put { previous: None, .. } => "put",
        Answer::Put { .. } => "put over",
        Answer::Deleted { previous: None, .. } => "deleted nothing",
        Answer::Deleted { .. } => "deleted",
        Answer::Unmet(None) => "unmet by nothing",
        Answer::Unmet(Some(_)) => "unmet",
        Answer::Granted(..) => "granted",
        Answer::KeptAlive(..) => "kept alive",
        Answer::Revoked(0) => "revoked nothing",
        Answer::Revoked(_) => "revoked",
        Answer::Opened(_) => "opened",
        Answer::Closed => "closed",
        Answer::NoLease(_) => "no lease",
        Answer::NoSession(_) => "no session",
        Answer::Forgotten => "forgotten",
        Answer::Item(_) | Answer::Items(..) | Answer::Lease { .. } => "read",
    }
}

fn run(seed: u64, steps: u64, met: &mut Met) {
    let mut fate = Fate::new(seed);
    let (mut store, mut reference) = (Store::default(), Reference::default());
    let mut copies = Vec::new();
    let mut time = Time(0);
    for index in (1..=steps).map(Index) {
        time = fate.time(time);
        let command = fate.command(&reference);
        let sessions = reference.sessions.len();
        let expected = reference.apply(index, time, command.as_ref());
        let actual = store.apply(index, time, command.as_ref());
        assert_eq!(actual, expected, "seed {seed}, {index:?} at {time:?}: {command:?}");
        met.answers.extend(expected.0.iter().map(name));
        met.sessions_ended |= reference.sessions.len() + 1 < sessions;
        assert_eq!(store.counts(), reference.counts(), "seed {seed}, {index:?}");
        assert_eq!(store.next_deadline(), reference.next_deadline(), "seed {seed}, {index:?}");
        let query = fate.query(&reference);
        assert_eq!(store.query(&query), reference.query(&query), "seed {seed}, {query:?}");
        if index.0 % 50 == 0 {
            let version = Index(fate.random.random_range(0..=index.0 + 1));
            let history = reference.history(version);
            assert_eq!(store.history(version), history, "seed {seed}, {version:?}");
            met.compacted |= history.is_err();
        }
        if index.0 % 500 == 0 {
            copies.push((store.clone(), store.parts(), reference.clone()));
            let copy = assembled(&store);
            assert!(copy == store, "seed {seed}, {index:?}: put together, it is another");
            // Every other time it goes on as it was put together.
            if index.0 % 1_000 == 0 {
                store = copy;
            }
        }
    }
    for (copy, parts, reference) in copies {
        compare(&copy, &reference);
        let mut assembly = Assembly::default();
        parts.for_each(|part| assembly.add(part).expect("it is one of its pieces"));
        assert!(
            assembly.finish().expect("these are its pieces") == copy,
            "seed {seed}: its pieces changed with it"
        );
    }
}

#[test]
fn it_does_what_a_naive_store_does() {
    let mut met = Met::default();
    for seed in 0..16 {
        run(seed, 3_000, &mut met);
    }
    assert!(met.compacted && met.sessions_ended);
    assert_eq!(met.answers.len(), 15, "it met only {:?}", met.answers);
}

/// A store and the index of its last entry.
#[derive(Default)]
struct Scene {
    store: Store,
    last: Index,
}

impl Scene {
    fn tell(&mut self, time: u64, command: Option<Command>) -> (Option<Answer>, Vec<Arc<Event>>) {
        self.last = self.last.next();
        self.store.apply(self.last, Time(time), command.as_ref())
    }

    fn act(&mut self, time: u64, action: Action) -> Answer {
        self.tell(time, Some(Command { ordinal: None, action, trace: Trace::default() }))
            .0
            .expect("a command has an answer")
    }

    fn ask(&mut self, time: u64, session: u64, numbers: [u64; 2], action: Action) -> Answer {
        let [sequence, acknowledged] = numbers;
        let ordinal = Some(Ordinal { session: SessionId(session), sequence, acknowledged });
        self.tell(time, Some(Command { ordinal, action, trace: Trace::default() }))
            .0
            .expect("a command has an answer")
    }

    fn value(&self, key: &str) -> Option<String> {
        let Answer::Item(item) = self.store.query(&Query::Get(bytes(key))) else {
            panic!("a key is asked for and something else is told")
        };
        item.map(|item| String::from_utf8_lossy(&item.value).into_owned())
    }
}

fn put(key: &str, value: &str, lease: Option<u64>) -> Action {
    let (key, value, lease) = (bytes(key), bytes(value), lease.map(LeaseId));
    Action::Put { key, value, lease, condition: Condition::Always }
}

const TTL: Duration = Duration::from_millis(1_000);

#[test]
fn a_lease_ends_at_its_deadline_and_not_before() {
    let mut scene = Scene::default();
    assert_eq!(scene.act(500, Action::Grant(TTL)), Answer::Granted(LeaseId(1), TTL));
    for key in ["b", "a"] {
        scene.act(500, put(key, "it lives", Some(1)));
    }
    assert_eq!(scene.store.next_deadline(), Some(Time(1_500)));
    assert_eq!(scene.tell(1_499, None), (None, vec![]));
    // Time never runs backwards, whatever a leader's clock says.
    assert_eq!(scene.act(7, Action::KeepAlive(LeaseId(1))), Answer::KeptAlive(LeaseId(1), TTL));
    assert_eq!((scene.store.time(), scene.store.next_deadline()), (Time(1_499), Some(Time(2_499))));
    let (answer, events) = scene.tell(2_499, None);
    let gone = |key| Event { version: Index(6), key: bytes(key), item: None, expired: true };
    assert_eq!((answer, events), (None, [gone("a"), gone("b")].map(Arc::new).to_vec()));
    assert_eq!(scene.act(2_499, put("a", "late", Some(1))), Answer::NoLease(LeaseId(1)));
    assert_eq!((scene.store.next_deadline(), scene.store.counts()), (None, Counts::default()));
}

#[test]
fn leases_end_in_the_order_of_their_deadlines() {
    let mut scene = Scene::default();
    for ttl in [3, 1, 2, 1] {
        scene.act(0, Action::Grant(ttl * TTL));
    }
    for (key, lease) in [("a", 1), ("b", 4), ("c", 3), ("d", 2)] {
        scene.act(0, put(key, "", Some(lease)));
    }
    let (_, events) = scene.tell(9_000, None);
    assert_eq!(events.iter().map(|it| &it.key[..]).collect::<Vec<_>>(), [b"d", b"b", b"c", b"a"]);
}

#[test]
fn a_key_ends_with_the_lease_that_it_was_last_set_with() {
    let mut scene = Scene::default();
    for ttl in [1, 2] {
        scene.act(0, Action::Grant(ttl * TTL));
    }
    for (key, lease) in [("detached", None), ("moved", Some(2)), ("kept", Some(1))] {
        scene.act(0, put(key, "first", Some(1)));
        scene.act(0, put(key, "second", lease));
    }
    assert_eq!(scene.tell(1_000, None).1.len(), 1);
    assert_eq!(scene.value("kept"), None);
    assert_eq!(scene.act(1_000, Action::Revoke(LeaseId(2))), Answer::Revoked(1));
    assert_eq!(scene.value("moved"), None);
    assert_eq!(scene.value("detached").as_deref(), Some("second"));
}

#[test]
fn a_repeated_command_happens_once() {
    let mut scene = Scene::default();
    assert_eq!(scene.act(0, Action::OpenSession), Answer::Opened(SessionId(1)));
    let absent = |value| Action::Put {
        key: bytes("key"),
        value: bytes(value),
        lease: None,
        condition: Condition::Absent,
    };
    let done = Answer::Put { version: Index(2), previous: None };
    for value in ["first", "the same number is the same command"] {
        assert_eq!(scene.ask(0, 1, [1, 0], absent(value)), done);
    }
    assert_eq!(scene.value("key").as_deref(), Some("first"));
    assert!(matches!(scene.ask(0, 1, [2, 1], absent("second")), Answer::Unmet(Some(_))));
    assert_eq!(scene.ask(0, 1, [1, 0], absent("third")), Answer::Forgotten);
    assert_eq!(scene.ask(0, 1, [7, 7], absent("fourth")), Answer::Forgotten);
    assert_eq!(scene.ask(0, 9, [1, 0], absent("fifth")), Answer::NoSession(SessionId(9)));
}

#[test]
fn a_session_forgets_its_lowest_answers_beyond_the_limit() {
    let mut scene = Scene::default();
    scene.act(0, Action::OpenSession);
    let limit = ANSWERS_LIMIT as u64;
    for number in 1..=limit {
        scene.ask(0, 1, [number, 0], put("key", "value", None));
    }
    let first = Answer::Put { version: Index(2), previous: None };
    assert_eq!(scene.ask(0, 1, [1, 0], put("key", "again", None)), first);
    scene.ask(0, 1, [limit + 1, 0], put("key", "value", None));
    assert_eq!(scene.ask(0, 1, [1, 0], put("key", "again", None)), Answer::Forgotten);
    let second = Answer::Put { version: Index(3), previous: Some(Index(2)) };
    assert_eq!(scene.ask(0, 1, [2, 0], put("key", "again", None)), second);
    assert_eq!(scene.value("key").as_deref(), Some("value"));
}

#[test]
fn a_session_keeps_no_more_values_than_its_limit() {
    let mut scene = Scene::default();
    scene.act(0, Action::OpenSession);
    scene.act(0, put("large", &"x".repeat(ANSWER_BYTES_LIMIT / 3), None));
    let absent =
        || Action::Delete { key: bytes("large"), condition: Condition::Version(Index(9_999)) };
    for number in 1..=3 {
        scene.ask(0, 1, [number, 0], absent());
    }
    assert!(matches!(scene.ask(0, 1, [1, 0], absent()), Answer::Unmet(Some(_))));
    scene.ask(0, 1, [4, 0], absent());
    assert_eq!(scene.ask(0, 1, [1, 0], absent()), Answer::Forgotten);
    assert!(matches!(scene.ask(0, 1, [2, 0], absent()), Answer::Unmet(Some(_))));
}

#[test]
fn sessions_that_hold_too_much_together_close_those_that_were_idle_longest() {
    let mut scene = Scene::default();
    scene.act(0, put("large", &"x".repeat(VALUE_LIMIT), None));
    let sessions = (SESSIONS_BYTES_LIMIT / VALUE_LIMIT) as u64;
    let absent =
        || Action::Delete { key: bytes("large"), condition: Condition::Version(Index(9_999)) };
    // As many as hold the limit, and one more that makes it too much.
    let opened = (0..=sessions).map(|_| {
        let answer = scene.act(0, Action::OpenSession);
        let Answer::Opened(id) = answer else { panic!("{answer:?}") };
        id.0
    });
    let opened = opened.collect::<Vec<_>>();
    for (time, session) in (1..).zip(&opened) {
        assert!(matches!(scene.ask(time, *session, [1, 0], absent()), Answer::Unmet(Some(_))));
    }
    let first = SessionId(opened[0]);
    assert_eq!(scene.ask(99, opened[0], [2, 1], absent()), Answer::NoSession(first));
    // Whoever says what it has makes room for others.
    for session in &opened[1..] {
        scene.ask(100, *session, [2, 1], put("small", "x", None));
    }
    assert_eq!(scene.store.counts().sessions, sessions);
    assert!(matches!(scene.ask(101, opened[1], [3, 2], absent()), Answer::Unmet(Some(_))));
    assert_eq!(scene.store.counts().sessions, sessions);
}

#[test]
fn one_session_too_many_closes_the_one_that_was_idle_longest() {
    let mut scene = Scene::default();
    for _ in 0..SESSIONS_LIMIT {
        scene.act(0, Action::OpenSession);
    }
    // The first is used again: the second and the third are the lowest of those idle longest.
    scene.ask(1, 1, [1, 0], put("key", "value", None));
    for _ in 0..2 {
        scene.act(1, Action::OpenSession);
    }
    assert_eq!(scene.store.counts().sessions, SESSIONS_LIMIT as u64);
    let mut lives = |session| {
        let answer = scene.ask(1, session, [1, 0], put("key", "value", None));
        answer != Answer::NoSession(SessionId(session))
    };
    let limit = SESSIONS_LIMIT as u64;
    assert_eq!(
        [1, 2, 3, 4, limit, limit + 2].map(&mut lives),
        [true, false, false, true, true, true]
    );
}

#[test]
fn a_session_ends_when_it_was_idle_for_its_patience() {
    let mut scene = Scene::default();
    let patience = SESSION_PATIENCE.as_millis() as u64;
    scene.act(0, Action::OpenSession);
    scene.act(0, Action::OpenSession);
    // Even a command that is not carried out uses its session.
    assert_eq!(scene.ask(10, 1, [0, 0], put("key", "", None)), Answer::Forgotten);
    assert_eq!(scene.store.next_deadline(), Some(Time(patience)));
    scene.tell(patience - 1, None);
    assert_eq!(scene.store.counts().sessions, 2);
    scene.tell(patience, None);
    assert_eq!(scene.store.counts().sessions, 1);
    assert_eq!(scene.store.next_deadline(), Some(Time(patience + 10)));
    let answer = scene.ask(patience + 10, 1, [1, 0], put("key", "", None));
    assert_eq!(answer, Answer::NoSession(SessionId(1)));
}

#[test]
fn a_session_that_closes_itself_is_closed() {
    let mut scene = Scene::default();
    scene.act(0, Action::OpenSession);
    let close = || Action::CloseSession(SessionId(1));
    assert_eq!(scene.ask(0, 1, [1, 0], close()), Answer::Closed);
    assert_eq!(scene.ask(0, 1, [1, 0], close()), Answer::NoSession(SessionId(1)));
    assert_eq!(scene.store.counts().sessions, 0);
}

#[test]
fn one_can_watch_from_the_earliest_version_and_from_no_earlier() {
    let mut scene = Scene::default();
    // With its key and a constant, each event costs a mebibyte: four are as many as may be kept.
    let value = "x".repeat(HISTORY_BYTES_LIMIT / 4 - "key".len() - 128);
    assert_eq!(scene.store.history(Index(0)), Ok(vec![]));
    for _ in 0..6 {
        scene.act(0, put("key", &value, None));
    }
    let earliest = Index(2);
    assert_eq!(scene.store.history(Index(1)), Err(Compacted { earliest }));
    let events = scene.store.history(earliest).unwrap();
    assert_eq!(events.iter().map(|event| event.version.0).collect::<Vec<_>>(), [3, 4, 5, 6]);
    assert_eq!(scene.store.history(Index(5)).unwrap().len(), 1);
    assert_eq!(scene.store.history(Index(9)), Ok(vec![]));
}

#[test]
fn events_of_one_version_go_together() {
    let mut scene = Scene::default();
    scene.act(0, Action::Grant(TTL));
    for number in 0..1_000 {
        scene.act(0, put(&format!("key {number}"), "", Some(1)));
    }
    assert_eq!(scene.tell(1_000, None).1.len(), 1_000);
    let ended = scene.last;
    let before = Index(ended.0 - 1);
    let mut shortest = usize::MAX;
    while let Ok(events) = scene.store.history(before) {
        shortest = events.iter().filter(|event| event.version == ended).count().min(shortest);
        scene.act(1_000, put("other", &"x".repeat(100_000), None));
    }
    assert_eq!(shortest, 1_000);
    assert_eq!(scene.store.history(before), Err(Compacted { earliest: ended }));
    assert!(assembled(&scene.store) == scene.store, "some were left behind");
}

#[test]
fn a_range_ends_at_a_mebibyte_but_never_with_nothing() {
    let mut scene = Scene::default();
    let mut last = None;
    for (key, size) in [("a", VALUE_LIMIT), ("b", 10), ("c", RANGE_BYTES_LIMIT - 12), ("d", 0)] {
        scene.act(0, put(key, &"x".repeat(size), None));
    }
    for (expected, more) in [(&["a"][..], true), (&["b", "c"], true), (&["d"], false)] {
        let query = Query::Range { prefix: bytes(""), after: last, limit: 10 };
        let Answer::Items(items, rest) = scene.store.query(&query) else { panic!("no items") };
        let keys: Vec<_> = items.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!((keys.clone(), rest), (expected.iter().map(|key| bytes(key)).collect(), more));
        last = keys.last().cloned();
    }
}

#[test]
#[should_panic(expected = "i1 is carried out out of order")]
fn an_entry_is_not_carried_out_twice() {
    let mut store = Store::default();
    let command =
        Command { ordinal: None, action: put("key", "value", None), trace: Trace::default() };
    for _ in 0..2 {
        store.apply(Index(1), Time(0), Some(&command));
    }
}
