//! One node, to which the test says what the others would say.

use std::time::Duration;

use hashring::{
    Action, Answer, Body, Census, Chord, Config, Content, Decline, Description, Fingerprint,
    HOPS_LIMIT, Hop, Id, Interval, Item, Key, Message, Mode, Notice, Operation, Outcome, Page,
    Peer, Question, Reason, Refusal, Request, Route, Stamp, Timer, VALUE_LIMIT, WriteId,
};
use protocols::{Effect, Input, Outbox, Protocol as _, Ticket, Trace};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::ms;
use crate::storm::peer;

const BITS: u32 = 16;

/// A node, what it has been told to do, and what it has asked since.
struct Alone {
    node: Chord,
    now: Duration,
    asked: Vec<(Peer, Ticket, Question)>,
    said: Vec<Answer>,
    armed: Vec<Timer>,
    told: Vec<Notice>,
    routed: Vec<Route>,
    counted: Vec<Census>,
}

impl Alone {
    fn start(config: Config, contacts: &[u64]) -> Self {
        let contacts = contacts.iter().map(|id| peer(*id)).collect();
        let node = Chord::new(config, contacts, StdRng::seed_from_u64(0));
        let (asked, said) = (Vec::new(), Vec::new());
        let (armed, told) = (Vec::new(), Vec::new());
        let (routed, counted) = (Vec::new(), Vec::new());
        let mut alone = Self { node, now: ms(0), asked, said, armed, told, routed, counted };
        alone.take(Input::Start);
        alone
    }

    fn take(&mut self, input: Input<Chord>) {
        let mut out = Outbox::default();
        self.node.step(self.now, input, &mut out);
        for effect in out.drain() {
            match effect {
                Effect::Send(_, Message { to, body: Body::Question(ticket, question), .. }) => {
                    self.asked.push((to, ticket, question));
                }
                Effect::Send(_, Message { body: Body::Answer(_, answer), .. }) => {
                    self.said.push(answer);
                }
                Effect::Send(_, Message { body: Body::Route(route), .. }) => {
                    self.routed.push(route);
                }
                Effect::Send(_, Message { body: Body::Census(census), .. }) => {
                    self.counted.push(census);
                }
                Effect::Arm(timer, _) => self.armed.push(timer),
                Effect::Notify(notice) => self.told.push(notice),
                Effect::Send(..) | Effect::Disarm(_) | Effect::Persist(_) => (),
            }
        }
    }

    /// The next look after the ring, at this time.
    fn look(&mut self, at: Duration) {
        self.now = at;
        self.take(Input::Timeout(Timer::Stabilise));
    }

    fn hear(&mut self, from: u64, body: Body) {
        let (from, to) = (peer(from), self.node.me().clone());
        self.take(Input::Message(from.node(), Message { from, to, body }));
    }

    /// Answers the last question that was asked of a node, if it is one.
    fn answer(&mut self, of: u64, answer: Answer) {
        let at = self.asked.iter().rposition(|(to, ..)| *to == peer(of)).expect("it was asked");
        let (_, ticket, _) = self.asked.remove(at);
        self.hear(of, Body::Answer(ticket, answer));
    }

    /// Nothing that was asked is answered.
    fn silence(&mut self) {
        for (_, ticket, _) in std::mem::take(&mut self.asked) {
            self.take(Input::Timeout(Timer::Patience(ticket)));
        }
    }

    /// Who was asked since the last look at it.
    fn asked(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.asked).into_iter().map(|(to, ..)| to.id.0).collect()
    }

    /// Another node has this done here.
    fn perform(&mut self, from: u64, ticket: u64, action: Action) {
        let key = Key::from(b"key".as_slice());
        let operation = Operation { id: Id(12), key, action, trace: Trace::default() };
        let write = WriteId { origin: Id(from), ticket: Ticket(ticket) };
        self.hear(from, Body::Question(Ticket(ticket), Question::Perform(write, operation)));
    }

    fn is_member(&self) -> bool {
        self.node.is_member()
    }

    /// A node with a predecessor and a successor, which has heard of nobody else.
    fn member(me: u64, before: u64, after: u64) -> Self {
        Self::with_successors(me, before, &[after])
    }

    /// A node with a predecessor and some successors.
    fn with_successors(me: u64, before: u64, successors: &[u64]) -> Self {
        let (first, rest) = successors.split_first().expect("there is one");
        let mut alone = Self::start(Config::of(peer(me), BITS), &[]);
        assert!(alone.is_member());
        alone.hear(before, Body::Question(Ticket(1), Question::Notify));
        alone.hear(*first, Body::Question(Ticket(2), Question::Describe));
        let rest = rest.iter().map(|id| peer(*id)).collect::<Vec<_>>();
        let predecessor = Some(peer(me));
        let description = Description { member: true, predecessor, successors: rest, room: true };
        alone.answer(*first, Answer::Described(description));
        assert_eq!(alone.node.predecessor(), Some(&peer(before)));
        let ids = alone.node.successors().iter().map(|peer| peer.id.0).collect::<Vec<_>>();
        assert_eq!(ids, successors);
        alone.asked.clear();
        alone.said.clear();
        alone
    }
}

fn save() -> Action {
    Action::Save(b"value".as_slice().into())
}

/// What a member says that knows nobody else.
fn described(predecessor: Option<u64>) -> Answer {
    let predecessor = predecessor.map(peer);
    Answer::Described(Description { member: true, predecessor, successors: Vec::new(), room: true })
}

fn seconds(seconds: u64) -> Duration {
    ms(1_000 * seconds)
}

#[test]
fn a_ring_is_begun_when_nobody_has_shown_the_way_for_long_enough() {
    let config = Config { founds_after: Some(seconds(10)), ..Config::of(peer(16), BITS) };
    let mut alone = Alone::start(config, &[8]);
    alone.look(seconds(9));
    alone.answer(8, Answer::Stepped(Some((peer(24), Reason::Responsible))));
    // Who is named does not answer, nor does from here on who has named it.
    assert_eq!(alone.asked.last().expect("it was asked").0, peer(24));
    alone.silence();
    for at in [10, 11, 18] {
        alone.look(seconds(at));
        alone.silence();
        assert!(!alone.is_member(), "after {at} s");
    }
    alone.look(seconds(20));
    assert!(alone.is_member());
}

#[test]
fn every_contact_is_asked_before_a_ring_is_begun() {
    let config = Config { founds_after: Some(seconds(1)), ..Config::of(peer(16), BITS) };
    let mut alone = Alone::start(config, &[8, 24, 32]);
    for (at, contact) in [(5, 8), (10, 24), (15, 32)] {
        assert_eq!(alone.asked.last().expect("one is asked").0, peer(contact));
        alone.silence();
        assert!(!alone.is_member(), "before {at} s");
        alone.look(seconds(at));
    }
    assert!(alone.is_member());
}

#[test]
fn only_the_node_to_whom_it_belongs_takes_what_is_offered() {
    let mut alone = Alone::member(16, 8, 24);
    let key = Key::from(b"key".as_slice());
    let stamp = Stamp { version: 1, write: WriteId { origin: Id(24), ticket: Ticket(3) } };
    for (place, taken) in [(9, true), (16, true), (8, false), (17, false)] {
        let stamps = vec![(Id(place), key.clone(), stamp)];
        let (first, last) = (Id(place), Id(place));
        let page = Page { first, last, after: None, up_to: None, stamps, offer: true };
        alone.hear(24, Body::Question(Ticket(4), Question::Reconcile(page)));
        let expected = match taken {
            true => Answer::Reconciled(vec![(Id(place), key.clone())], Vec::new(), false),
            false => Answer::Kept(false),
        };
        assert_eq!(alone.said.pop(), Some(expected), "{place}");
    }
}

#[test]
fn who_leaves_waits_for_its_writes_and_until_its_successor_has_heard() {
    let mut alone = Alone::member(16, 8, 24);
    alone.look(seconds(1));
    alone.answer(24, Answer::Compared(None));
    assert!(alone.node.ready().is_some());
    alone.perform(8, 5, save());
    let keep = alone.asked.pop().expect("a copy is made");
    assert!(matches!(keep.2, Question::Keep(_)), "{keep:?}");
    alone.asked.clear();
    alone.take(Input::Request(Request::Leave));
    assert_eq!(alone.asked(), [], "before the write has its copies");
    alone.asked.push(keep);
    alone.answer(24, Answer::Kept(true));
    assert_eq!(alone.said.pop(), Some(Answer::Performed(Outcome::Saved)));
    alone.answer(24, Answer::Compared(None));
    let left = |alone: &Alone| alone.told.iter().any(|notice| matches!(notice, Notice::Left));
    for at in [2, 3] {
        // Both are told; what the predecessor has heard does not matter.
        let farewells = alone.asked.iter().filter(|(.., it)| matches!(it, Question::Leave(..)));
        assert_eq!(farewells.count(), 2, "{:?}", alone.asked);
        alone.silence();
        assert!(!left(&alone), "the successor has not heard");
        alone.look(seconds(at));
        alone.answer(24, Answer::Compared(None));
    }
    alone.asked.retain(|(_, _, question)| matches!(question, Question::Leave(..)));
    alone.answer(8, described(None));
    assert!(!left(&alone));
    alone.answer(24, described(None));
    assert!(left(&alone));
}

#[test]
fn who_is_not_before_its_successor_answers_for_nothing() {
    let mut alone = Alone::member(16, 8, 24);
    let compared = |alone: &mut Alone| {
        alone.asked.retain(|(.., question)| matches!(question, Question::Compare(..)));
        alone.answer(24, Answer::Compared(None));
        alone.node.ready()
    };
    let notified = |alone: &mut Alone, before: u64, at: Duration| {
        alone.look(at);
        let others = alone.asked.extract_if(.., |(.., it)| *it != Question::Notify);
        let others = others.collect::<Vec<_>>();
        alone.answer(24, described(Some(before)));
        alone.asked = others;
    };
    // The successor still answers for everything after 8.
    notified(&mut alone, 8, seconds(1));
    assert_eq!(compared(&mut alone), None);
    notified(&mut alone, 16, seconds(2));
    assert_eq!(alone.node.ready(), None, "what the successor was told meanwhile is not known yet");
    let own = Some(Interval::new(Id(8), Id(16)));
    assert_eq!(compared(&mut alone), own);
    // And does so again, and no more.
    notified(&mut alone, 8, seconds(3));
    assert_eq!(alone.node.ready(), None);
    assert_eq!(compared(&mut alone), None);
    notified(&mut alone, 16, seconds(4));
    assert_eq!(compared(&mut alone), own);
}

#[test]
fn who_leaves_waits_for_whom_it_has_just_let_in() {
    let mut alone = Alone::member(16, 8, 24);
    // In a ring of three everybody is a successor, but who has just fetched its part.
    let question = Question::Compare(Interval::new(Id(24), Id(40)), Fingerprint::default());
    alone.hear(40, Body::Question(Ticket(3), question));
    alone.take(Input::Request(Request::Leave));
    assert!(alone.is_member() && alone.asked().is_empty());
    // But not for ever.
    for at in 1..20 {
        alone.look(ms(500 * at));
        alone.asked.clear();
    }
    assert!(!alone.is_member());
}

#[test]
fn who_has_slept_answers_only_when_it_has_heard_what_happened_meanwhile() {
    let mut alone = Alone::member(16, 8, 24);
    let asks_whether_it_is_first = |alone: &mut Alone| {
        alone.asked.retain(|(to, ..)| *to == peer(24));
        let notify = alone.asked.iter().position(|(.., it)| *it == Question::Notify);
        let (_, ticket, _) = alone.asked.remove(notify.expect("its successor is asked"));
        alone.hear(24, Body::Answer(ticket, described(Some(16))));
    };
    let compares = |alone: &mut Alone| {
        alone.asked.retain(|(.., it)| matches!(it, Question::Compare(..)));
        alone.answer(24, Answer::Compared(None));
    };
    let finds = |alone: &mut Alone| {
        alone.perform(8, alone.now.as_millis() as u64, Action::Find);
        alone.said.pop() == Some(Answer::Performed(Outcome::Missing))
    };
    // A second without a look is usual on a busy machine; more is not.
    for (slept, found) in [(1_000, true), (1_001, false)] {
        alone.look(alone.now + ms(500));
        asks_whether_it_is_first(&mut alone);
        compares(&mut alone);
        alone.now += ms(slept);
        assert_eq!(finds(&mut alone), found, "after {slept} ms");
    }
    alone.look(alone.now + ms(1));
    asks_whether_it_is_first(&mut alone);
    assert!(!finds(&mut alone), "what it has slept through is not known yet");
    compares(&mut alone);
    assert!(finds(&mut alone));
}

#[test]
fn what_is_being_written_is_not_read_before_it_has_its_copies() {
    let mut alone = Alone::member(16, 8, 24);
    alone.perform(8, 5, save());
    alone.perform(8, 6, Action::Find);
    assert_eq!(alone.said, []);
    alone.answer(24, Answer::Kept(true));
    let Action::Save(value) = save() else { unreachable!() };
    let performed = [Outcome::Saved, Outcome::Found(value)].map(Answer::Performed);
    assert_eq!(alone.said, performed);
}

#[test]
fn a_copy_of_what_was_there_before_is_no_copy() {
    // Two copies are needed, and three are made.
    let mut alone = Alone::with_successors(16, 8, &[24, 30, 40]);
    alone.perform(8, 5, save());
    alone.answer(24, Answer::Kept(true));
    alone.answer(30, Answer::Kept(true));
    assert_eq!(alone.said.pop(), Some(Answer::Performed(Outcome::Saved)));
    let late = alone.asked.pop().expect("a third copy");
    alone.perform(8, 6, Action::Remove);
    alone.answer(24, Answer::Kept(true));
    alone.asked.push(late);
    alone.answer(40, Answer::Kept(true));
    assert_eq!(alone.said, [], "one node knows of the removal");
    alone.answer(30, Answer::Kept(true));
    assert_eq!(alone.said, [Answer::Performed(Outcome::Removed)]);
}

#[test]
fn what_was_offered_is_forgotten_unless_somebody_counts_on_it() {
    let mut alone = Alone::member(16, 8, 24);
    let key = Key::from(b"key".as_slice());
    let item = |place: u64| {
        let write = WriteId { origin: Id(24), ticket: Ticket(3) };
        let content = Content::Value(b"value".as_slice().into());
        Item { id: Id(place), key: key.clone(), stamp: Stamp { version: 1, write }, content }
    };
    alone.hear(24, Body::Question(Ticket(1), Question::Keep(vec![item(26), item(35)])));
    for at in 1..20 {
        // This one does.
        let ward = Question::Compare(Interval::new(Id(30), Id(40)), Fingerprint::default());
        alone.hear(40, Body::Question(Ticket(1), ward));
        alone.asked.clear();
        alone.look(seconds(at));
        let asked = std::mem::take(&mut alone.asked);
        for (to, ticket, question) in asked {
            let answer = match question {
                Question::Step(Id(26), ..) => {
                    Answer::Stepped(Some((peer(40), Reason::Responsible)))
                }
                Question::Compare(..) => Answer::Compared(None),
                Question::Notify | Question::Describe => described(Some(16)),
                Question::Step(..)
                | Question::Perform(..)
                | Question::Keep(_)
                | Question::Reconcile(_)
                | Question::Leave(..) => continue,
            };
            alone.hear(to.id.0, Body::Answer(ticket, answer));
        }
        let offer = |(.., it): &(Peer, Ticket, Question)| matches!(it, Question::Reconcile(_));
        if let Some(at) = alone.asked.iter().position(offer) {
            let (to, ticket, question) = alone.asked.remove(at);
            let Question::Reconcile(page) = question else { unreachable!() };
            assert!(page.offer && to == peer(40) && page.stamps.len() == 2, "{page:?}");
            let nothing = Answer::Reconciled(Vec::new(), Vec::new(), false);
            alone.hear(40, Body::Answer(ticket, nothing));
            assert_eq!(alone.node.kept(Id(26), &key), None);
            assert!(alone.node.kept(Id(35), &key).is_some());
            return;
        }
    }
    panic!("nothing was offered");
}

#[test]
fn what_one_message_does_not_hold_follows_in_the_next() {
    let mut alone = Alone::member(16, 8, 24);
    let item = |place: u64| {
        let write = WriteId { origin: Id(24), ticket: Ticket(3) };
        let content = Content::Value(vec![b'x'; VALUE_LIMIT / 2 + 1].into());
        let key = Key::from(b"key".as_slice());
        Item { id: Id(place), key, stamp: Stamp { version: 1, write }, content }
    };
    let items = [9, 10, 11].map(item);
    alone.hear(24, Body::Question(Ticket(1), Question::Keep(items.to_vec())));
    alone.asked.clear();
    alone.look(seconds(1));
    alone.asked.retain(|(.., question)| matches!(question, Question::Compare(..)));
    alone.answer(24, Answer::Compared(Some(Vec::new())));
    let mut wants = items.map(|item| (item.id, item.key)).to_vec();
    while !wants.is_empty() {
        let asked = alone.asked.last().expect("a page is shown");
        assert!(matches!(asked.2, Question::Reconcile(_)), "{asked:?}, and {wants:?} is lacking");
        alone.answer(24, Answer::Reconciled(wants.clone(), Vec::new(), false));
        let Some((_, _, Question::Keep(kept))) = alone.asked.last() else { panic!("none is sent") };
        assert_eq!(kept.len(), 1);
        wants.retain(|(id, _)| *id != kept[0].id);
        alone.answer(24, Answer::Kept(true));
    }
}

#[test]
fn two_that_always_differ_are_not_compared_for_ever() {
    let mut alone = Alone::member(16, 8, 24);
    alone.look(seconds(1));
    let mut rounds = 0;
    let compare = |(.., it): &(Peer, Ticket, Question)| matches!(it, Question::Compare(..));
    while alone.asked.iter().any(compare) {
        rounds += 1;
        assert!(rounds < 100, "it goes on and on");
        alone.asked.retain(compare);
        let fingerprint = Fingerprint { count: 1, hash: rounds };
        alone.answer(24, Answer::Compared(Some(vec![(0, fingerprint)])));
        let reconcile = |(.., it): &(Peer, Ticket, Question)| matches!(it, Question::Reconcile(_));
        if alone.asked.iter().any(reconcile) {
            alone.answer(24, Answer::Reconciled(Vec::new(), Vec::new(), false));
        }
    }
    assert!(1 < rounds, "it was compared once");
    alone.look(seconds(2));
    assert!(alone.asked.iter().any(compare), "the next time they are compared again");
}

#[test]
fn who_has_left_is_no_finger_again_whoever_names_it() {
    let mut alone = Alone::with_successors(16, 8, &[24, 30, 40]);
    let left =
        |alone: &Alone| (0..BITS).filter_map(|it| alone.node.finger(it)).any(|it| it.id == Id(100));
    let mend = |alone: &mut Alone| {
        for _ in 0..40 {
            alone.look(alone.now + ms(100));
            let steps = |(.., it): &(Peer, Ticket, Question)| matches!(it, Question::Step(..));
            for (to, ticket, _) in alone.asked.extract_if(.., |it| steps(it)).collect::<Vec<_>>() {
                let named = Answer::Stepped(Some((peer(100), Reason::Responsible)));
                alone.hear(to.id.0, Body::Answer(ticket, named));
            }
            alone.asked.clear();
        }
    };
    mend(&mut alone);
    assert!(left(&alone), "nobody has left yet");
    alone.hear(100, Body::Question(Ticket(7), Question::Leave(None, Vec::new())));
    assert!(!left(&alone));
    mend(&mut alone);
    assert!(!left(&alone), "four seconds later");
    mend(&mut alone);
    assert!(left(&alone), "others may have an id after a while");
}

/// A node whose caller wants something done with a place.
fn asked(id: u64, action: Action, mode: Mode) -> Alone {
    let mut alone = Alone::member(16, 8, 24);
    let operation = Operation { id: Id(id), key: Key::default(), action, trace: Trace::default() };
    alone.take(Input::Request(Request::Perform(Ticket(9), operation, mode, seconds(10))));
    alone
}

/// A node whose caller wants to know who is responsible for a place far away.
fn asker() -> Alone {
    asked(0, Action::Locate, Mode::Iterative)
}

/// What the caller is told when its time is over.
fn told_at_last(mut alone: Alone) -> Refusal {
    alone.take(Input::Timeout(Timer::Budget(Ticket(9))));
    match alone.told.pop() {
        Some(Notice::Performed(Ticket(9), Err(refusal))) => refusal,
        told => panic!("it was told {told:?}"),
    }
}

#[test]
fn what_was_sent_and_not_answered_may_have_been_done() {
    let mut silent = asked(20, save(), Mode::Iterative);
    silent.silence();
    assert_eq!(told_at_last(silent), Refusal::Unknown);
    // It waits for its copies.
    assert_eq!(told_at_last(asked(12, save(), Mode::Iterative)), Refusal::Unknown);
    // What was declined was not done, and to find changes nothing.
    let mut declined = asked(20, save(), Mode::Iterative);
    declined.answer(24, Answer::Performed(Outcome::Declined(Decline::Unready)));
    assert_eq!(told_at_last(declined), Refusal::Unready);
    let mut found = asked(20, Action::Find, Mode::Iterative);
    found.silence();
    assert_eq!(told_at_last(found), Refusal::Unready);
}

#[test]
fn who_is_not_responsible_names_one_that_is_nearer_or_nobody() {
    for (named, followed) in [(22, true), (30, false), (24, false)] {
        let mut alone = asked(20, Action::Find, Mode::Iterative);
        alone.armed.clear();
        let decline = Decline::NotMine(peer(named));
        alone.answer(24, Answer::Performed(Outcome::Declined(decline)));
        assert_eq!(alone.asked().contains(&named), followed, "{named}");
        let again = alone.armed.iter().any(|timer| matches!(timer, Timer::Again(_)));
        assert_eq!(again, !followed, "{named}");
    }
}

#[test]
fn a_lookup_that_was_passed_on_in_vain_begins_again_at_once() {
    let mut alone = asked(0, save(), Mode::Recursive);
    assert_eq!(alone.asked(), [], "it is passed on, not asked about");
    let route = alone.routed.pop().expect("it is passed on");
    let patience = alone.armed.iter().rfind(|timer| matches!(timer, Timer::Patience(_)));
    let patience = *patience.expect("it does not wait for ever");
    alone.take(Input::Timeout(patience));
    let step = |(.., it): &(Peer, Ticket, Question)| matches!(it, Question::Step(Id(0), ..));
    assert!(alone.asked.iter().any(step), "{:?}", alone.asked);
    // Too late, it is declined: that is no reason to give up. Or it was done.
    for (outcome, told) in [(Outcome::Declined(Decline::Full), 0), (Outcome::Saved, 1)] {
        let performed = |notice: &&Notice| matches!(notice, Notice::Performed(..));
        alone.hear(24, Body::Routed(route.ticket, outcome, route.path.clone()));
        assert_eq!(alone.told.iter().filter(performed).count(), told);
    }
}

#[test]
fn only_who_was_asked_answers_and_only_what_was_asked() {
    let mut alone = asked(20, Action::Find, Mode::Iterative);
    let (_, ticket, _) = alone.asked.pop().expect("24 is asked");
    let found = Answer::Performed(Outcome::Found(b"value".as_slice().into()));
    let wrong = [
        (8, found.clone()),
        (24, Answer::Kept(true)),
        (24, described(None)),
        (24, Answer::Compared(None)),
        (24, Answer::Reconciled(Vec::new(), Vec::new(), false)),
    ];
    alone.told.clear();
    for (from, answer) in wrong {
        alone.hear(from, Body::Answer(ticket, answer));
        assert!(alone.told.is_empty(), "by {from}: {:?}", alone.told);
    }
    alone.hear(24, Body::Answer(ticket, found));
    assert!(matches!(alone.told[..], [Notice::Performed(Ticket(9), Ok(_))]), "{:?}", alone.told);
}

#[test]
fn what_was_meant_for_another_node_or_comes_after_the_end_is_not_heard() {
    let mut alone = Alone::member(16, 8, 24);
    let elsewhere = Peer { address: "elsewhere:1".into(), ..peer(16) };
    for to in [peer(17), elsewhere] {
        let body = Body::Question(Ticket(5), Question::Describe);
        alone.take(Input::Message(peer(8).node(), Message { from: peer(8), to, body }));
        assert_eq!(alone.said, []);
    }
    alone.take(Input::Request(Request::Leave));
    alone.answer(24, Answer::Compared(None));
    alone.answer(8, described(None));
    alone.answer(24, described(None));
    assert!(matches!(alone.told.last(), Some(Notice::Left)), "{:?}", alone.told);
    alone.said.clear();
    alone.hear(8, Body::Question(Ticket(5), Question::Describe));
    assert_eq!(alone.said, []);
}

#[test]
fn a_caller_that_was_answered_is_forgotten() {
    let mut alone = Alone::member(16, 8, 24);
    for _ in 0..2 {
        let (id, key, action) = (Id(12), Key::default(), Action::Find);
        let operation = Operation { id, key, action, trace: Trace::default() };
        let mode = Mode::Iterative;
        alone.take(Input::Request(Request::Perform(Ticket(9), operation, mode, seconds(1))));
        let told = alone.told.pop().expect("it is answered");
        let Notice::Performed(Ticket(9), Ok(performed)) = told else { panic!("{told:?}") };
        assert_eq!(performed.outcome, Outcome::Missing);
    }
}

#[test]
fn a_census_that_does_not_come_back_shows_that_the_ring_is_none() {
    let mut alone = Alone::member(16, 8, 24);
    let mut at = 0;
    while alone.counted.len() < 2 {
        assert_eq!(alone.node.view().on_ring, None, "the first may still come back");
        at += 1;
        assert!(at < 100, "it counts nobody");
        alone.look(ms(500 * at));
        alone.asked.clear();
    }
    assert_eq!(alone.node.view().on_ring, Some(false));
    let census = alone.counted.pop().expect("there was one");
    alone.hear(8, Body::Census(Census { nodes: 3, walked: 1 << BITS, ..census }));
    assert_eq!(alone.node.view().on_ring, Some(true));
}

#[test]
fn a_lookup_that_only_comes_nearer_passes_no_more_nodes_than_it_may() {
    let mut alone = asker();
    let mut hops = 0;
    let mut at = 24;
    alone.armed.clear();
    while alone.asked.iter().any(|(to, ..)| *to == peer(at)) {
        hops += 1;
        alone.asked.retain(|(to, ..)| *to == peer(at));
        alone.answer(at, Answer::Stepped(Some((peer(at + 1), Reason::Finger(0)))));
        at += 1;
        assert!(hops < 1_000, "it goes on and on");
    }
    // Itself is the first.
    assert_eq!(hops, HOPS_LIMIT - 1);
    assert!(matches!(alone.armed.last(), Some(Timer::Again(_))), "{:?}", alone.armed);
}

#[test]
fn what_is_passed_on_ends_after_as_many_nodes() {
    for (hops, passed_on) in [(HOPS_LIMIT - 1, true), (HOPS_LIMIT, false)] {
        let mut alone = Alone::member(16, 8, 24);
        let hop = |id: usize| Hop {
            peer: peer(id as u64),
            reason: Reason::Finger(0),
            took: None,
            answered: true,
        };
        let operation = Operation {
            id: Id(0),
            key: Key::default(),
            action: Action::Locate,
            trace: Trace::default(),
        };
        let path = (100..100 + hops).map(hop).collect();
        let (origin, ticket) = (peer(100), Ticket(4));
        alone.hear(8, Body::Route(Route { origin, ticket, operation, last: false, path }));
        assert_eq!(alone.routed.len(), usize::from(passed_on), "after {hops}");
    }
}

#[test]
fn what_has_no_place_on_the_circle_is_not_kept() {
    let mut alone = Alone::member(16, 8, 24);
    for (place, kept) in [(u64::from(u16::MAX), true), (1 << BITS, false)] {
        let write = WriteId { origin: Id(24), ticket: Ticket(3) };
        let (id, key) = (Id(place), Key::from(b"key".as_slice()));
        let content = Content::Value(b"value".as_slice().into());
        let item = Item { id, key, stamp: Stamp { version: 1, write }, content };
        alone.hear(24, Body::Question(Ticket(1), Question::Keep(vec![item])));
        assert_eq!(alone.said.pop(), Some(Answer::Kept(kept)), "{place}");
    }
}

#[test]
fn a_lookup_does_not_go_back() {
    for back in [24, 20, 8] {
        let mut alone = asker();
        alone.answer(24, Answer::Stepped(Some((peer(100), Reason::Finger(0)))));
        alone.answer(100, Answer::Stepped(Some((peer(back), Reason::Finger(0)))));
        // The one before is asked for another way round the one that leads astray.
        let asked = alone.asked.last().expect("somebody is asked");
        assert_eq!(
            asked.2,
            Question::Step(Id(0), vec![Id(100)], Trace::default()),
            "back to {back}"
        );
        assert_eq!(alone.asked(), [24]);
    }
}
