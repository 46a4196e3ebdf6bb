//! Nodes that lie. They may spoil the ring as long as they are there; they must bring nobody down,
//! keep nobody busy, and leave no caller without an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hashring::{
    Action, Answer, Body, Census, Chord, Circle, Config, Content, Decline, Description,
    Fingerprint, Hop, Id, Interval, Item, Key, Message, Mode, Notice, Operation, Outcome, Page,
    Peer, Question, Reason, Record, Request, Route, Stamp, Timer, View, WriteId,
};
use protocols::simulator::{Simulator, Step, Weather};
use protocols::{Effect, Input, NodeId, Outbox, Protocol, Ticket, Trace};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::audit::Ring;
use crate::clients::place;
use crate::ms;
use crate::storm::peer;

/// How often a liar speaks without being asked.
const PERIOD: Duration = ms(20);
const BUDGET: Duration = ms(1_000);
const BITS: [u32; 3] = [5, 16, 64];

/// Who is in a ring that has liars.
#[derive(Debug)]
enum Actor {
    Honest(Box<Chord>),
    Liar(Box<Liar>),
}

#[derive(Debug)]
struct Liar {
    me: Peer,
    circle: Circle,
    others: Vec<Peer>,
    random: StdRng,
    /// The tickets of what it was asked.
    asked: Vec<Ticket>,
    view: View,
}

impl Protocol for Actor {
    type Message = Message;
    type Timer = Timer;
    type Request = Request;
    type Notice = Notice;
    type Record = Record;
    type View = View;

    fn step(&mut self, now: Duration, input: Input<Self>, out: &mut Outbox<Self>) {
        match self {
            Self::Honest(chord) => {
                let mut its = Outbox::default();
                let input = match input {
                    Input::Start => Input::Start,
                    Input::Message(from, message) => Input::Message(from, message),
                    Input::Unreachable(node) => Input::Unreachable(node),
                    Input::Timeout(timer) => Input::Timeout(timer),
                    Input::Request(request) => Input::Request(request),
                };
                chord.step(now, input, &mut its);
                for effect in its.drain() {
                    match effect {
                        Effect::Arm(timer, after) => out.arm(timer, after),
                        Effect::Disarm(timer) => out.disarm(timer),
                        Effect::Notify(notice) => out.notify(notice),
                        Effect::Persist(record) => match record {},
                        Effect::Send(to, message) => out.send(to, message),
                    }
                }
            }
            Self::Liar(liar) => liar.lie(input, out),
        }
    }

    fn view(&self) -> View {
        match self {
            Self::Honest(chord) => chord.view(),
            Self::Liar(liar) => liar.view.clone(),
        }
    }
}

impl Liar {
    fn lie(&mut self, input: Input<Actor>, out: &mut Outbox<Actor>) {
        match input {
            Input::Message(_, Message { from, body, .. }) => match body {
                Body::Question(ticket, question) => {
                    self.asked.push(ticket);
                    // Mostly what fits the question.
                    let answer = self.answer(Some(&question));
                    self.say(from, Body::Answer(ticket, answer), out);
                }
                Body::Route(route) if self.random.random() => {
                    let (outcome, path) = (self.outcome(), self.path());
                    let to = route.origin;
                    self.say(to, Body::Routed(route.ticket, outcome, path), out);
                }
                Body::Census(census) => {
                    let census = Census { walked: self.random.random(), ..census };
                    self.say(from, Body::Census(census), out);
                }
                Body::Answer(..) | Body::Route(_) | Body::Routed(..) => (),
            },
            Input::Start | Input::Timeout(_) => {
                out.arm(Timer::Stabilise, PERIOD);
                let to = self.others.choose(&mut self.random).expect("there are some").clone();
                let body = self.body();
                self.say(to, body, out);
            }
            Input::Unreachable(_) | Input::Request(_) => (),
        }
    }

    fn say(&mut self, to: Peer, body: Body, out: &mut Outbox<Actor>) {
        let from = if self.random.random_bool(0.9) { self.me.clone() } else { self.peer() };
        out.send(to.node(), Message { from, to, body });
    }

    /// Somewhere on the circle, near somebody, or nowhere.
    fn id(&mut self) -> Id {
        let near = self.others.choose(&mut self.random).expect("there are some").id;
        match self.random.random_range(0..12) {
            0 => Id(self.random.random()),
            1 => Id(u64::MAX),
            2 => Id(1 << (self.circle.bits() - 1) << 1),
            3 => self.me.id,
            4 => self.circle.after(near, 1),
            5 => Id(near.0.wrapping_sub(1)),
            6..9 => self.circle.after(Id(0), self.random.random()),
            _ => near,
        }
    }

    fn peer(&mut self) -> Peer {
        peer(self.id().0)
    }

    fn some<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.random.random_range(0..=most)).map(|_| one(self)).collect()
    }

    fn key(&mut self) -> Key {
        format!("key {}", self.random.random_range(0..30)).into_bytes().into()
    }

    fn stamp(&mut self) -> Stamp {
        let version = if self.random.random() { u64::MAX } else { self.random.random_range(0..5) };
        let write = WriteId { origin: self.id(), ticket: Ticket(self.random.random()) };
        Stamp { version, write }
    }

    fn item(&mut self) -> Item {
        let content = match self.random.random_range(0..3) {
            0 => Content::Removed(Duration::from_secs(self.random.random_range(0..1_000))),
            1 => Content::Removed(Duration::MAX),
            _ => Content::Value(b"a lie".as_slice().into()),
        };
        Item { id: self.id(), key: self.key(), stamp: self.stamp(), content }
    }

    fn fingerprint(&mut self) -> Fingerprint {
        Fingerprint { count: self.random.random(), hash: self.random.random() }
    }

    fn reason(&mut self) -> Reason {
        match self.random.random_range(0..5) {
            0 => Reason::Entry,
            1 => Reason::Finger(self.random.random()),
            2 => Reason::Successor(self.random.random()),
            3 => Reason::Redirected,
            _ => Reason::Responsible,
        }
    }

    fn path(&mut self) -> Vec<Hop> {
        self.some(200, |liar| Hop {
            peer: liar.peer(),
            reason: liar.reason(),
            took: None,
            answered: liar.random.random(),
        })
    }

    fn outcome(&mut self) -> Outcome {
        match self.random.random_range(0..8) {
            0 => Outcome::Located,
            1 => Outcome::Found(b"a lie".as_slice().into()),
            2 => Outcome::Missing,
            3 => Outcome::Saved,
            4 => Outcome::Declined(Decline::Unready),
            5 => Outcome::Declined(Decline::Busy),
            _ => Outcome::Declined(Decline::NotMine(self.peer())),
        }
    }

    fn page(&mut self) -> Page {
        let place = |liar: &mut Self| (liar.id(), liar.key());
        Page {
            first: self.id(),
            last: self.id(),
            after: self.random.random::<bool>().then(|| place(self)),
            up_to: self.random.random::<bool>().then(|| place(self)),
            stamps: self.some(20, |liar| (liar.id(), liar.key(), liar.stamp())),
            offer: self.random.random(),
        }
    }

    fn operation(&mut self) -> Operation {
        let action = match self.random.random_range(0..4) {
            0 => Action::Locate,
            1 => Action::Find,
            2 => Action::Save(b"a lie".as_slice().into()),
            _ => Action::Remove,
        };
        Operation { id: self.id(), key: self.key(), action, trace: Trace::default() }
    }

    fn question(&mut self) -> Question {
        let write = WriteId { origin: self.id(), ticket: Ticket(self.random.random()) };
        match self.random.random_range(0..8) {
            0 => Question::Describe,
            1 => Question::Notify,
            2 => Question::Step(self.id(), self.some(40, Self::id), Trace::default()),
            3 => Question::Perform(write, self.operation()),
            4 => Question::Keep(self.some(10, Self::item)),
            5 => Question::Compare(Interval::new(self.id(), self.id()), self.fingerprint()),
            6 => Question::Reconcile(self.page()),
            _ => Question::Leave(Some(self.peer()), self.some(20, Self::peer)),
        }
    }

    fn answer(&mut self, question: Option<&Question>) -> Answer {
        let kind = match question.filter(|_| self.random.random_bool(0.9)) {
            Some(Question::Describe | Question::Notify | Question::Leave(..)) => 0,
            Some(Question::Step(..)) => 1,
            Some(Question::Perform(..)) => 2,
            Some(Question::Keep(_)) => 3,
            Some(Question::Compare(..)) => 4,
            Some(Question::Reconcile(_)) => 5,
            None => self.random.random_range(0..6),
        };
        match kind {
            0 => Answer::Described(Description {
                member: self.random.random_bool(0.8),
                predecessor: self.random.random::<bool>().then(|| self.peer()),
                successors: self.some(40, Self::peer),
                room: self.random.random(),
            }),
            1 => Answer::Stepped(match self.random.random_range(0..4) {
                0 => None,
                _ => Some((self.peer(), self.reason())),
            }),
            2 => Answer::Performed(self.outcome()),
            3 => Answer::Kept(self.random.random()),
            4 => Answer::Compared(match self.random.random() {
                true => None,
                false => Some(self.some(9, |liar| (liar.random.random(), liar.fingerprint()))),
            }),
            _ => Answer::Reconciled(
                self.some(9, |liar| (liar.id(), liar.key())),
                self.some(9, Self::item),
                self.random.random(),
            ),
        }
    }

    fn body(&mut self) -> Body {
        let known = self.asked.choose(&mut self.random).copied();
        let ticket = known.unwrap_or(Ticket(self.random.random()));
        match self.random.random_range(0..8) {
            0..4 => Body::Question(ticket, self.question()),
            4 => Body::Answer(ticket, self.answer(None)),
            5 => Body::Routed(ticket, self.outcome(), self.path()),
            6 => Body::Census(Census {
                origin: self.peer(),
                ticket,
                nodes: self.random.random_range(0..9),
                walked: self.random.random(),
                total: self.random.random::<bool>().then(|| self.random.random()),
            }),
            _ => Body::Route(Route {
                origin: self.peer(),
                ticket,
                operation: self.operation(),
                last: self.random.random(),
                path: self.path(),
            }),
        }
    }
}

/// Honest nodes, and liars that come to them.
struct Company {
    simulator: Simulator<Actor>,
    circle: Circle,
    honest: Vec<NodeId>,
    liars: Vec<NodeId>,
    random: StdRng,
    waiting: BTreeMap<Ticket, Duration>,
    steps: u64,
}

impl Company {
    fn meet(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let bits = *BITS.choose(&mut random).expect("there are some");
        let circle = Circle::new(bits);
        let mut nodes = BTreeSet::new();
        while nodes.len() < 7 {
            nodes.insert(NodeId(random.random::<u64>() & circle.last().0));
        }
        let nodes = nodes.into_iter().collect::<Vec<_>>();
        let liars = nodes.choose_multiple(&mut random, 2).copied().collect::<Vec<_>>();
        let is_honest = |node: &NodeId| !liars.contains(node);
        let honest = nodes.iter().copied().filter(is_honest).collect::<Vec<_>>();
        let others = honest.iter().map(|node| peer(node.0)).collect::<Vec<_>>();
        let lie = liars.clone();
        let first = honest[0];
        let make = move |me: NodeId, _, seed| {
            let random = StdRng::seed_from_u64(seed);
            let (me_, others) = (peer(me.0), others.clone());
            let (stabilise, patience) = (ms(100), ms(100));
            let config = Config { stabilise, patience, ..Config::of(me_.clone(), bits) };
            let founds_after = (me == first).then_some(ms(300));
            let config = Config { founds_after, ..config };
            let chord = Chord::new(config, others.clone(), random.clone());
            if lie.contains(&me) {
                let (asked, view) = (Vec::new(), chord.view());
                let liar = Liar { me: me_, circle, others, random, asked, view };
                return Actor::Liar(Box::new(liar));
            }
            Actor::Honest(Box::new(chord))
        };
        let mut simulator = Simulator::new(seed, honest.clone(), make);
        simulator.set_weather(Weather { latency: ms(1)..=ms(20), ..Weather::calm() });
        let (waiting, steps) = (BTreeMap::new(), 0);
        Self { simulator, circle, honest, liars, random, waiting, steps }
    }

    fn run(&mut self, lasting: Duration) {
        let until = self.simulator.now() + lasting;
        while let Some(Step { notices, .. }) = self.simulator.step_until(until) {
            self.steps += 1;
            for notice in notices {
                if let Notice::Performed(ticket, _) = notice {
                    assert!(self.waiting.remove(&ticket).is_some(), "{ticket:?} is answered once");
                }
            }
        }
        let now = self.simulator.now();
        assert!(self.waiting.values().all(|until| now <= *until), "callers wait for ever");
    }

    fn ask(&mut self, ticket: u64) {
        let node = *self.honest.choose(&mut self.random).expect("there are some");
        let key = format!("key {}", self.random.random_range(0..30)).into_bytes();
        let action = match self.random.random_range(0..3) {
            0 => Action::Find,
            1 => Action::Remove,
            _ => Action::Save(b"true".as_slice().into()),
        };
        let mode = if self.random.random() { Mode::Recursive } else { Mode::Iterative };
        let operation = Operation {
            id: place(&key, self.circle),
            key: key.into(),
            action,
            trace: Trace::default(),
        };
        let until = self.simulator.now() + BUDGET;
        self.waiting.insert(Ticket(ticket), until);
        self.simulator.request(node, Request::Perform(Ticket(ticket), operation, mode, BUDGET));
    }

    fn is_well(&self) -> Result<(), String> {
        let honest = self.simulator.nodes().filter_map(|(_, actor)| match actor {
            Actor::Honest(chord) => Some(&**chord),
            Actor::Liar(_) => None,
        });
        let ring = Ring::of(self.circle, 3, honest);
        if ring.len() != self.honest.len() {
            return Err(format!("{} members", ring.len()));
        }
        ring.is_linked()
    }
}

#[test]
fn liars_bring_nobody_down_and_keep_no_caller_waiting() {
    for seed in 0..40 {
        let mut company = Company::meet(seed);
        company.run(ms(3_000));
        let before = company.steps;
        for liar in company.liars.clone() {
            company.simulator.start(liar);
        }
        for ticket in 1..100 {
            company.ask(ticket);
            company.run(ms(30));
        }
        company.run(BUDGET + ms(1));
        // Four seconds of five honest nodes, two liars with fifty messages a second, and as many
        // callers as answers.
        assert!(company.steps - before < 30_000, "{} steps", company.steps - before);
        for liar in company.liars.clone() {
            company.simulator.crash(liar);
        }
        let until = company.simulator.now() + ms(30_000);
        while let Err(problem) = company.is_well() {
            assert!(company.simulator.now() < until, "they are gone, and still {problem}");
            company.run(ms(500));
        }
    }
}
