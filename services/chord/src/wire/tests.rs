//! Every message there and back, drawn at random; and what is refused, by field.

use hashring::{
    Action, Answer, Circle, Content, Decline, Description, Fingerprint, Hop, ITEMS_BYTES, Id,
    Interval, Item, KEY_LIMIT, Key, Operation, Outcome, PAGE_STAMPS, Page, Question,
    REPLICAS_LIMIT, Reason, Stamp, VALUE_LIMIT, WriteId,
};
use prost::Message as _;
use protocols::Trace;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::time::Duration;

use super::*;
use crate::identity::Identity;

const MILLISECOND: Duration = Duration::from_millis(1);
const MICROSECOND: Duration = Duration::from_micros(1);

fn ring(bits: u32, identity: Identity) -> Ring {
    Ring { name: "test".into(), circle: Circle::new(bits), identity }
}

/// Draws what a message is made of.
struct Draw {
    random: StdRng,
    ring: Ring,
}

impl Draw {
    fn id(&mut self) -> Id {
        self.ring.circle.after(Id(self.random.random()), 0)
    }

    fn number(&mut self) -> u64 {
        let shift = self.random.random_range(1..64);
        self.random.random::<u64>() >> shift
    }

    fn ticket(&mut self) -> Ticket {
        Ticket(self.random.random())
    }

    fn flag(&mut self) -> bool {
        self.random.random()
    }

    fn some<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| draw(self))
    }

    fn many<T>(&mut self, limit: usize, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = match self.random.random_range(0..8) {
            0 => limit,
            1 => 0,
            _ => self.random.random_range(0..=limit.min(4)),
        };
        (0..count).map(|_| draw(self)).collect()
    }

    fn bytes(&mut self, least: usize, limit: usize) -> Key {
        let length = match self.random.random_range(0..200) {
            0 => limit,
            1 => least,
            _ => self.random.random_range(least..=limit.min(40)),
        };
        (0..length).map(|_| self.random.random()).collect()
    }

    fn peer(&mut self) -> Peer {
        let address = match self.random.random_range(0..3) {
            0 => format!("node-{}.example:{}", self.number(), self.random.random_range(1..=65_535)),
            1 => format!("[::{}]:1", self.random.random_range(1..10)),
            _ => format!("{}:65535", "a".repeat(255 - 6)),
        };
        let id = self.ring.node(&address).unwrap_or_else(|| self.id());
        Peer { id, address: address.into() }
    }

    fn place(&mut self) -> (Id, Key) {
        let key = self.bytes(1, KEY_LIMIT);
        (self.ring.key(&key), key)
    }

    fn write(&mut self) -> WriteId {
        WriteId { origin: self.id(), ticket: self.ticket() }
    }

    fn stamp(&mut self) -> Stamp {
        Stamp { version: self.number(), write: self.write() }
    }

    fn item(&mut self) -> Item {
        let (id, key) = self.place();
        let content = match self.flag() {
            true => Content::Value(self.bytes(0, VALUE_LIMIT - KEY_LIMIT)),
            false => Content::Removed(MILLISECOND * self.random.random::<u32>()),
        };
        Item { id, key, stamp: self.stamp(), content }
    }

    fn items(&mut self) -> Vec<Item> {
        let mut items = self.many(PAGE_STAMPS, Self::item);
        let bytes = |item: &Item| match &item.content {
            Content::Value(value) => item.key.len() + value.len(),
            Content::Removed(_) => item.key.len(),
        };
        while items.len() > 1 && items.iter().map(bytes).sum::<usize>() > ITEMS_BYTES {
            items.pop();
        }
        items
    }

    fn operation(&mut self) -> Operation {
        let action = match self.random.random_range(0..4) {
            0 => {
                let (id, key, trace) = (self.id(), Key::default(), self.trace());
                return Operation { id, key, action: Action::Locate, trace };
            }
            1 => Action::Find,
            2 => Action::Save(self.bytes(0, VALUE_LIMIT)),
            _ => Action::Remove,
        };
        let ((id, key), trace) = (self.place(), self.trace());
        Operation { id, key, action, trace }
    }

    fn trace(&mut self) -> Trace {
        Trace(self.random.random::<bool>().then(|| self.random.random()))
    }

    fn reason(&mut self) -> Reason {
        match self.random.random_range(0..5) {
            0 => Reason::Entry,
            1 => Reason::Finger(self.random.random_range(0..self.ring.circle.bits())),
            2 => Reason::Successor(self.random.random_range(0..REPLICAS_LIMIT as u32)),
            3 => Reason::Responsible,
            _ => Reason::Redirected,
        }
    }

    fn hop(&mut self) -> Hop {
        Hop {
            peer: self.peer(),
            reason: self.reason(),
            took: self.some(|draw| MICROSECOND * draw.random.random::<u32>()),
            answered: self.flag(),
        }
    }

    fn outcome(&mut self) -> Outcome {
        match self.random.random_range(0..10) {
            0 => Outcome::Located,
            1 => Outcome::Found(self.bytes(0, VALUE_LIMIT)),
            2 => Outcome::Missing,
            3 => Outcome::Saved,
            4 => Outcome::Exists,
            5 => Outcome::Removed,
            6 => Outcome::Declined(Decline::NotMine(self.peer())),
            7 => Outcome::Declined(Decline::Unready),
            8 => Outcome::Declined(Decline::Busy),
            _ => Outcome::Declined(Decline::Full),
        }
    }

    fn fingerprint(&mut self) -> Fingerprint {
        Fingerprint { count: self.number(), hash: self.random.random() }
    }

    fn page(&mut self) -> Page {
        Page {
            first: self.id(),
            last: self.id(),
            after: self.some(Self::place),
            up_to: self.some(Self::place),
            stamps: self.many(PAGE_STAMPS, |draw| {
                let (id, key) = draw.place();
                (id, key, draw.stamp())
            }),
            offer: self.flag(),
        }
    }

    fn question(&mut self) -> Question {
        match self.random.random_range(0..8) {
            0 => Question::Describe,
            1 => Question::Notify,
            2 => {
                Question::Step(self.id(), self.many(hashring::AVOID_LIMIT, Self::id), self.trace())
            }
            3 => Question::Perform(self.write(), self.operation()),
            4 => Question::Keep(self.items()),
            5 => Question::Compare(Interval::new(self.id(), self.id()), self.fingerprint()),
            6 => Question::Reconcile(self.page()),
            _ => {
                let successors = self.many(REPLICAS_LIMIT, Self::peer);
                Question::Leave(self.some(Self::peer), successors)
            }
        }
    }

    fn answer(&mut self) -> Answer {
        match self.random.random_range(0..6) {
            0 => Answer::Described(Description {
                member: self.flag(),
                predecessor: self.some(Self::peer),
                successors: self.many(REPLICAS_LIMIT, Self::peer),
                room: self.flag(),
            }),
            1 => Answer::Stepped(self.some(|draw| (draw.peer(), draw.reason()))),
            2 => Answer::Performed(self.outcome()),
            3 => Answer::Kept(self.flag()),
            4 => Answer::Compared(self.some(|draw| {
                draw.many(1024, |draw| (draw.random.random_range(0..1024), draw.fingerprint()))
            })),
            _ => {
                let wants = self.many(PAGE_STAMPS, Self::place);
                Answer::Reconciled(wants, self.items(), self.flag())
            }
        }
    }

    fn body(&mut self) -> Body {
        match self.random.random_range(0..8) {
            0..3 => Body::Question(self.ticket(), self.question()),
            3..5 => Body::Answer(self.ticket(), self.answer()),
            5 => Body::Route(Route {
                origin: self.peer(),
                ticket: self.ticket(),
                operation: self.operation(),
                last: self.flag(),
                path: self.many(HOPS_LIMIT, Self::hop),
            }),
            6 => {
                let path = self.many(HOPS_LIMIT, Self::hop);
                Body::Routed(self.ticket(), self.outcome(), path)
            }
            _ => Body::Census(Census {
                origin: self.peer(),
                ticket: self.ticket(),
                nodes: self.number(),
                walked: u128::from(self.id().0) + u128::from(self.flag()),
                total: self.some(Self::number),
            }),
        }
    }
}

#[test]
fn every_message_survives_the_wire() {
    for (seed, bits) in (0..400).zip([1, 5, 31, 63, 64].into_iter().cycle()) {
        let identity = if seed % 2 == 0 { Identity::Sha1 } else { Identity::Registry };
        let mut draw = Draw { random: StdRng::seed_from_u64(seed), ring: ring(bits, identity) };
        for _ in 0..10 {
            let (from, to) = (draw.peer(), draw.peer());
            let message = Message { from, to, body: draw.body() };
            let bytes = encode(&message).encode_to_vec();
            let wire = pb::LinkRequest::decode(&bytes[..]).unwrap();
            let back = decode(wire, &message.from, &message.to, &draw.ring);
            assert_eq!(back.as_ref(), Ok(&message), "seed {seed}");
        }
    }
}

/// The field that is refused.
fn field<T: std::fmt::Debug>(outcome: Parsed<T>) -> String {
    outcome.unwrap_err().0
}

fn me() -> Peer {
    Peer { id: Id(1), address: "me:1".into() }
}

fn read_in(body: pb::link_request::Body, ring: &Ring) -> Parsed<Message> {
    decode(pb::LinkRequest { body: Some(body) }, &me(), &me(), ring)
}

fn read(body: pb::link_request::Body) -> String {
    field(read_in(body, &ring(5, Identity::Registry)))
}

fn question(what: pb::question::What) -> String {
    read(pb::link_request::Body::Question(pb::Question { ticket: 1, what: Some(what) }))
}

fn answer(what: pb::answer::What) -> String {
    read(pb::link_request::Body::Answer(pb::Answer { ticket: 1, what: Some(what) }))
}

fn good_peer() -> pb::Peer {
    pb::Peer { id: 31, address: "a:1".into() }
}

/// A is at place 2 where m is 5.
fn good_place() -> pb::Place {
    pb::Place { id: 2, key: "A".into() }
}

fn good_stamp() -> pb::Stamp {
    pb::Stamp { place: Some(good_place()), version: 1, origin: 31, ticket: 1 }
}

fn removed(key: &[u8]) -> pb::Item {
    let ring = ring(5, Identity::Registry);
    let place = pb::Place { id: ring.key(key).0, key: key.to_vec().into() };
    let stamp = pb::Stamp { place: Some(place), ..good_stamp() };
    pb::Item { stamp: Some(stamp), content: Some(pb::item::Content::RemovedMs(1)) }
}

#[test]
fn what_is_missing_is_named() {
    use pb::link_request::Body as Wire;
    let ring = ring(5, Identity::Registry);
    assert_eq!(field(decode(pb::LinkRequest::default(), &me(), &me(), &ring)), "body");
    assert_eq!(read(Wire::Question(<_>::default())), "question.what");
    assert_eq!(read(Wire::Answer(<_>::default())), "answer.what");
    assert_eq!(read(Wire::Route(<_>::default())), "route.operation");
    assert_eq!(read(Wire::Routed(<_>::default())), "routed.outcome");
    assert_eq!(read(Wire::Census(<_>::default())), "census.origin");
    use pb::question::What as Question;
    let perform = "question.perform.operation";
    assert_eq!(question(Question::Perform(<_>::default())), perform);
    let operation = Some(<_>::default());
    let operation = pb::PerformQuestion { operation, ..<_>::default() };
    assert_eq!(question(Question::Perform(operation)), format!("{perform}.action"));
    assert_eq!(question(Question::Compare(<_>::default())), "question.compare.fingerprint");
    let items = |item| Question::Keep(pb::Items { items: vec![item] });
    let item = |stamp, content| question(items(pb::Item { stamp, content }));
    assert_eq!(item(None, None), "question.keep.items[0].stamp");
    assert_eq!(item(Some(<_>::default()), None), "question.keep.items[0].stamp.place");
    assert_eq!(item(Some(good_stamp()), None), "question.keep.items[0].content");
    let hop = pb::StepAnswer { hop: Some(<_>::default()) };
    assert_eq!(answer(pb::answer::What::Stepped(hop)), "answer.stepped.hop.reason");
    let hop = pb::Hop { reason: pb::Reason::Entry.into(), ..<_>::default() };
    let hop = pb::StepAnswer { hop: Some(hop) };
    assert_eq!(answer(pb::answer::What::Stepped(hop)), "answer.stepped.hop.peer");
    assert_eq!(answer(pb::answer::What::Performed(<_>::default())), "answer.performed.what");
}

#[test]
fn ids_outside_the_circle_are_refused_by_field() {
    use pb::question::What as Question;
    for beyond in [32, u64::MAX] {
        let step =
            |id, avoid| question(Question::Step(pb::StepQuestion { id, avoid, ..<_>::default() }));
        assert_eq!(step(beyond, vec![]), "question.step.id");
        assert_eq!(step(1, vec![1, beyond]), "question.step.avoid[1]");
        let perform = pb::PerformQuestion { origin: beyond, ..<_>::default() };
        assert_eq!(question(Question::Perform(perform)), "question.perform.origin");
        let locate = Some(pb::operation::Action::Locate(pb::Nothing {}));
        let locate = pb::Operation { id: beyond, action: locate, ..<_>::default() };
        let locate = pb::PerformQuestion { operation: Some(locate), ..<_>::default() };
        assert_eq!(question(Question::Perform(locate)), "question.perform.operation.id");
        let compare = |after, to| {
            let compare = pb::CompareQuestion { after, to, fingerprint: Some(<_>::default()) };
            question(Question::Compare(compare))
        };
        assert_eq!(compare(beyond, 1), "question.compare.after");
        assert_eq!(compare(1, beyond), "question.compare.to");
        let page = |first, last| pb::Page { first, last, ..<_>::default() };
        assert_eq!(question(Question::Reconcile(page(beyond, 1))), "question.reconcile.first");
        assert_eq!(question(Question::Reconcile(page(1, beyond))), "question.reconcile.last");
        let stamps = vec![good_stamp(), pb::Stamp { origin: beyond, ..good_stamp() }];
        let page = pb::Page { stamps, ..page(1, 1) };
        assert_eq!(question(Question::Reconcile(page)), "question.reconcile.stamps[1].origin");
        let peer = Some(pb::Peer { id: beyond, ..good_peer() });
        let leave = pb::LeaveQuestion { predecessor: peer.clone(), ..<_>::default() };
        assert_eq!(question(Question::Leave(leave)), "question.leave.predecessor.id");
        let successors = vec![good_peer(), peer.clone().unwrap()];
        let leave = pb::LeaveQuestion { successors, ..<_>::default() };
        assert_eq!(question(Question::Leave(leave)), "question.leave.successors[1].id");
        let described = pb::Description { predecessor: peer.clone(), ..<_>::default() };
        let described = answer(pb::answer::What::Described(described));
        assert_eq!(described, "answer.described.predecessor.id");
        let not_mine = Some(pb::outcome::What::NotMine(peer.clone().unwrap()));
        let outcome = pb::Outcome { what: not_mine };
        assert_eq!(answer(pb::answer::What::Performed(outcome)), "answer.performed.not_mine.id");
        let census = pb::Census { origin: peer, ..<_>::default() };
        assert_eq!(read(pb::link_request::Body::Census(census)), "census.origin.id");
    }
}

#[test]
fn addresses_that_are_none_are_refused_by_field() {
    let long = format!("{}:1", "a".repeat(254));
    let wrong = [
        "", ":1", "a", "a:", "a:0", "a:65536", "a:-1", "a b:1", "a/b:1", "a@b:1", "a?:1", "é:1",
        "[]:1", "[::1:1", "::1:1", "a\n:1", &long,
    ];
    for text in wrong {
        assert_eq!(field(address("address", text)), "address", "{text:?}");
        let origin = Some(pb::Peer { id: 1, address: text.into() });
        let census = pb::Census { origin, ..<_>::default() };
        assert_eq!(read(pb::link_request::Body::Census(census)), "census.origin.address");
    }
    let long = format!("{}:1", "a".repeat(253));
    for text in ["a:1", "10.0.0.1:65535", "[::1]:5000", "chord-0.chord_x.svc:5000", &long] {
        assert_eq!(address("address", text).as_deref(), Ok(text));
    }
}

#[test]
fn keys_are_where_they_belong_or_refused() {
    use pb::operation::Action;
    let perform = |id, key: &[u8], action| {
        let key = key.to_vec().into();
        let operation = pb::Operation { id, key, action: Some(action), ..<_>::default() };
        let operation = Some(operation);
        let perform = pb::PerformQuestion { operation, ..<_>::default() };
        let what = Some(pb::question::What::Perform(perform));
        let body = pb::link_request::Body::Question(pb::Question { ticket: 1, what });
        read_in(body, &ring(5, Identity::Registry)).map(drop)
    };
    let operation = |rest: &str| format!("question.perform.operation.{rest}");
    let find = || Action::Find(pb::Nothing {});
    assert_eq!(perform(2, b"A", find()), Ok(()));
    assert_eq!(field(perform(3, b"A", find())), operation("id"));
    assert_eq!(field(perform(34, b"A", find())), operation("id"));
    assert_eq!(field(perform(0, b"", find())), operation("key"));
    assert_eq!(field(perform(0, &[7; KEY_LIMIT + 1], find())), operation("key"));
    let long = Action::Save(vec![0; VALUE_LIMIT + 1].into());
    assert_eq!(field(perform(2, b"A", long)), operation("save"));
    let page = |after, up_to| {
        question(pb::question::What::Reconcile(pb::Page { after, up_to, ..<_>::default() }))
    };
    let elsewhere = pb::Place { id: 3, ..good_place() };
    assert_eq!(page(Some(elsewhere.clone()), None), "question.reconcile.after.id");
    assert_eq!(page(None, Some(elsewhere.clone())), "question.reconcile.up_to.id");
    let wants = vec![good_place(), elsewhere];
    let wants = pb::ReconcileAnswer { wants, ..<_>::default() };
    assert_eq!(answer(pb::answer::What::Reconciled(wants)), "answer.reconciled.wants[1].id");
    let found =
        pb::Outcome { what: Some(pb::outcome::What::Found(vec![0; VALUE_LIMIT + 1].into())) };
    assert_eq!(answer(pb::answer::What::Performed(found)), "answer.performed.found");
}

#[test]
fn ids_that_do_not_follow_from_addresses_are_refused_where_they_should() {
    let ring = ring(64, Identity::Sha1);
    let census = |id| {
        let origin = Some(pb::Peer { id, address: "a:1".into() });
        let census = pb::Census { origin, ..<_>::default() };
        read_in(pb::link_request::Body::Census(census), &ring).map(drop)
    };
    let id = ring.node("a:1").unwrap().0;
    assert_eq!(census(id), Ok(()));
    assert_eq!(field(census(id ^ 1)), "census.origin.id");
}

#[test]
fn more_than_there_may_be_is_refused_by_field() {
    use pb::answer::What as Answer;
    use pb::link_request::Body as Wire;
    use pb::question::What as Question;
    let avoid = vec![1; hashring::AVOID_LIMIT + 1];
    let step = Question::Step(pb::StepQuestion { id: 1, avoid, ..<_>::default() });
    assert_eq!(question(step), "question.step.avoid");
    let successors = || vec![good_peer(); REPLICAS_LIMIT + 1];
    let leave = pb::LeaveQuestion { predecessor: None, successors: successors() };
    assert_eq!(question(Question::Leave(leave)), "question.leave.successors");
    let described = pb::Description { successors: successors(), ..<_>::default() };
    assert_eq!(answer(Answer::Described(described)), "answer.described.successors");
    let page = pb::Page { stamps: vec![good_stamp(); PAGE_STAMPS + 1], ..<_>::default() };
    assert_eq!(question(Question::Reconcile(page)), "question.reconcile.stamps");
    let wants = vec![good_place(); PAGE_STAMPS + 1];
    let wants = pb::ReconcileAnswer { wants, ..<_>::default() };
    assert_eq!(answer(Answer::Reconciled(wants)), "answer.reconciled.wants");
    let news = vec![removed(b"A"); PAGE_STAMPS + 1];
    let news = pb::ReconcileAnswer { news, ..<_>::default() };
    assert_eq!(answer(Answer::Reconciled(news)), "answer.reconciled.news");
    let parts = |count, part| {
        let parts = vec![pb::Fingerprint { part, ..<_>::default() }; count];
        answer(Answer::Compared(pb::CompareAnswer { same: false, parts }))
    };
    assert_eq!(parts(1025, 0), "answer.compared.parts");
    assert_eq!(parts(1, 1024), "answer.compared.parts[0].part");
    let hop =
        pb::Hop { peer: Some(good_peer()), reason: pb::Reason::Entry.into(), ..<_>::default() };
    let path = vec![hop.clone(); HOPS_LIMIT + 1];
    let outcome = Some(pb::Outcome { what: Some(pb::outcome::What::Missing(pb::Nothing {})) });
    let routed = pb::Routed { outcome, path: path.clone(), ..<_>::default() };
    assert_eq!(read(Wire::Routed(routed)), "routed.path");
    let locate = Some(pb::operation::Action::Locate(pb::Nothing {}));
    let operation = Some(pb::Operation { action: locate, ..<_>::default() });
    let origin = Some(good_peer());
    let route = pb::Route { operation, origin, path, ..<_>::default() };
    assert_eq!(read(Wire::Route(route)), "route.path");
    let stepped = |reason: i32, index| {
        let hop = Some(pb::Hop { reason, index, ..hop.clone() });
        answer(Answer::Stepped(pb::StepAnswer { hop }))
    };
    assert_eq!(stepped(pb::Reason::Finger.into(), 5), "answer.stepped.hop.index");
    assert_eq!(stepped(pb::Reason::Successor.into(), 16), "answer.stepped.hop.index");
    assert_eq!(stepped(6, 0), "answer.stepped.hop.reason");
    assert_eq!(stepped(-1, 0), "answer.stepped.hop.reason");
}

#[test]
fn numbers_that_no_ring_reaches_are_refused_by_field() {
    use pb::link_request::Body as Wire;
    let origin = Some(good_peer());
    for beyond in [1 << 63, u64::MAX] {
        let good = pb::Census { origin: origin.clone(), ..<_>::default() };
        for (census, wrong) in [
            (pb::Census { nodes: beyond, ..good.clone() }, "census.nodes"),
            (pb::Census { walked: beyond, ..good.clone() }, "census.walked"),
            (pb::Census { walked: 33, ..good.clone() }, "census.walked"),
            (pb::Census { walked_above: 1, ..good.clone() }, "census.walked"),
            (pb::Census { total: Some(beyond), ..good.clone() }, "census.total"),
        ] {
            assert_eq!(read(Wire::Census(census)), wrong);
        }
        let census = Wire::Census(pb::Census { walked: 32, ..good });
        assert!(read_in(census, &ring(5, Identity::Registry)).is_ok());
        let keep = |item| question(pb::question::What::Keep(pb::Items { items: vec![item] }));
        let stamp = Some(pb::Stamp { version: beyond, ..good_stamp() });
        let late = keep(pb::Item { stamp, ..removed(b"A") });
        assert_eq!(late, "question.keep.items[0].stamp.version");
        let content = Some(pb::item::Content::RemovedMs(beyond));
        let late = keep(pb::Item { content, ..removed(b"A") });
        assert_eq!(late, "question.keep.items[0].removed_ms");
        let fingerprint = Some(pb::Fingerprint { count: beyond, ..<_>::default() });
        let compare = pb::CompareQuestion { fingerprint, ..<_>::default() };
        let compare = question(pb::question::What::Compare(compare));
        assert_eq!(compare, "question.compare.fingerprint.count");
    }
}

#[test]
fn the_bytes_of_items_are_bounded_unless_there_is_one_alone() {
    let item = |key: &[u8], length: usize| {
        let content = Some(pb::item::Content::Value(vec![7; length].into()));
        pb::Item { content, ..removed(key) }
    };
    let keep = |items| {
        let what = Some(pb::question::What::Keep(pb::Items { items }));
        let body = pb::link_request::Body::Question(pb::Question { ticket: 1, what });
        read_in(body, &ring(5, Identity::Registry)).map(drop)
    };
    let longest = || item(&[7; KEY_LIMIT], VALUE_LIMIT);
    assert_eq!(keep(vec![longest()]), Ok(()));
    assert_eq!(keep(vec![item(b"A", ITEMS_BYTES - 2), removed(b"A")]), Ok(()));
    let over = keep(vec![item(b"A", ITEMS_BYTES - 1), removed(b"A")]);
    assert_eq!(field(over), "question.keep.items");
    assert_eq!(field(keep(vec![longest(), longest()])), "question.keep.items");
    let long = keep(vec![item(b"A", VALUE_LIMIT + 1)]);
    assert_eq!(field(long), "question.keep.items[0].value");
}
