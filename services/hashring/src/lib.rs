//! Chord as a pure state machine: a ring of nodes, lookups in it, and the keys that it keeps.
//!
//! The ring is that of Stoica, Morris, Liben-Nowell, Karger, Kaashoek, Dabek and Balakrishnan,
//! "Chord: A Scalable Peer-to-Peer Lookup Protocol for Internet Applications" (2003); how it is
//! looked after is that of Zave, "Reasoning about Identifier Spaces: How to Make Chord Correct"
//! (2017); the keys are kept as in Cates, "Robust and Efficient Data Management for a Distributed
//! Hash Table" (2003).
//!
//! | file | what it holds |
//! |---|---|
//! | [`vocabulary`](self) | what nodes say to each other and to their callers |
//! | `circle` | places, and what lies between them |
//! | `joining` | how a node becomes a member, and how it leaves |
//! | `ring` | predecessor and successors: stabilise and rectify, first contact with lost parts |
//! | `suspicion` | who does not answer |
//! | `fingers` | shortcuts |
//! | `lookup` | the way to a place, iterative and recursive |
//! | `keeping` | what the responsible node does: find, save, remove, copy |
//! | `repair` | how two nodes find what differs between them, and mend it |
//! | `store` | items in order, and their fingerprints |
//! | `census` | a walk round the ring that shows its nodes that it is one |
//!
//! # Promises
//!
//! - The ring mends itself: while fewer than r successive nodes fail at once, there is one ordered
//!   ring, every member is on it or leads to it, and none is left out (Zave's invariant).
//! - A save or remove that was answered is on r nodes, or on all if there are fewer. It is not
//!   lost while fewer than r successive nodes fail at once, that is, before the ring has mended
//!   itself and what the failed ones kept has been copied again.
//! - A key holds what was last saved; a save of a key that holds a value changes nothing. A save
//!   that is sent again, however often, is one save.
//! - A node answers for its part of the circle only when its successor agrees that it is its
//!   predecessor, and when it has compared what it keeps with all of its copies. One that has slept
//!   begins anew with that.
//! - What was cut in two grows together: each half remembers nodes of the other.
//!
//! # Limits
//!
//! Nothing is on disk: what all r nodes lose at once is lost. A node that keeps twice what it may
//! takes no more copies: until it has room, there is one fewer. While a part is cut off, or a live
//! node is taken for dead, two nodes may answer for one place: each keeps what it is told, and of
//! two values that were saved for one key one stays, the same everywhere. A removal that a copy
//! sleeps through for longer than `Config::remembers` may be undone by it. Nodes are believed: one
//! that lies can spoil the ring; identities are for the service to check.

mod census;
mod circle;
mod fingers;
mod joining;
mod keeping;
mod lookup;
mod repair;
mod ring;
mod store;
mod suspicion;
mod view;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocols::{Input, Outbox, Protocol, Ticket};
use rand::Rng as _;
use rand::rngs::StdRng;

pub use self::circle::{Circle, Id, Interval};
use self::fingers::Fingers;
use self::joining::Joining;
use self::keeping::Write;
use self::lookup::Lookup;
use self::repair::{Aim, Repair};
use self::store::Store;
use self::suspicion::Suspicion;
pub use self::view::{Totals, View};
pub use self::vocabulary::{
    Action, Answer, Body, Census, Content, Decline, Description, Event, Fingerprint, Hop, Item,
    Joined, Key, Message, Mode, Notice, Operation, Outcome, Page, Peer, Performed, Question,
    Reason, Record, Refusal, Request, Route, Stamp, Timer, Value, WriteId,
};

/// The longest key, in bytes.
pub const KEY_LIMIT: usize = 4 << 10;
/// The longest value, in bytes.
pub const VALUE_LIMIT: usize = 1 << 20;
/// The most nodes that a lookup may pass.
pub const HOPS_LIMIT: usize = 128;
/// The most nodes that a lookup may leave out.
pub const AVOID_LIMIT: usize = 32;
/// The most successors that a node keeps.
pub const REPLICAS_LIMIT: usize = 16;
/// The most bytes of items in one message, unless one item alone is longer.
pub const ITEMS_BYTES: usize = 1 << 20;
/// The most stamps in one page.
pub const PAGE_STAMPS: usize = 512;

/// What a node is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node itself.
    pub me: Peer,
    /// m: ids have so many bits, 1 to 64.
    pub bits: u32,
    /// r: how many successors a node keeps, and copies its keys to; 1 to [`REPLICAS_LIMIT`].
    pub replicas: usize,
    /// Time between two looks after the ring.
    pub stabilise: Duration,
    /// How long a node may take to answer.
    pub patience: Duration,
    /// How often in a row a node may fail to answer before it is taken for dead.
    pub strikes: u32,
    /// How long none of its contacts may answer before it begins a ring of its own; if nothing, it
    /// never does. Without contacts it does so at once.
    pub founds_after: Option<Duration>,
    /// Bytes of keys and values that it keeps.
    pub bytes_limit: u64,
    /// How long it is remembered that a key was removed.
    pub remembers: Duration,
    /// Operations and lookups that may be under way or wait here; more are refused.
    pub waiting_limit: usize,
}

impl Config {
    /// Times for a local network, and limits for a small machine.
    pub fn of(me: Peer, bits: u32) -> Self {
        Self {
            me,
            bits,
            replicas: 3,
            stabilise: Duration::from_millis(500),
            patience: Duration::from_millis(500),
            strikes: 3,
            founds_after: Some(Duration::from_secs(3)),
            bytes_limit: 256 << 20,
            remembers: Duration::from_secs(600),
            waiting_limit: 4096,
        }
    }
}

/// What a node is to the ring.
#[derive(Debug)]
enum Phase {
    /// It looks for its place.
    Joining(Joining),
    /// It is on the ring, or leads to it.
    Member,
    /// It gives away what it keeps; these have not yet heard that it has done so.
    Leaving(BTreeSet<Peer>),
    /// It has nothing more to do with the ring.
    Left,
}

/// A question that waits for its answer.
#[derive(Debug)]
struct Asked {
    peer: Peer,
    purpose: Purpose,
    since: Duration,
}

/// Why something was asked.
#[derive(Clone, Debug)]
enum Purpose {
    /// To find the successor's predecessor, and to be it.
    Notify,
    /// To make it the first successor, if it is a member.
    Candidate,
    /// To hear whether it lives.
    Watch,
    /// To look for a part of the ring that was lost.
    Probe,
    /// To join before it.
    Join,
    /// To leave in its favour.
    Farewell,
    /// For the lookup with this ticket.
    Lookup(Ticket),
    /// To have a copy of this write.
    Copy((Id, Key), Stamp),
    /// To find out and mend what differs.
    Repair(Aim),
}

/// A node of the ring.
#[derive(Debug)]
pub struct Chord {
    config: Config,
    circle: Circle,
    random: StdRng,
    /// The time of the step at hand.
    now: Duration,
    phase: Phase,
    wants_to_leave: bool,
    predecessor: Option<Peer>,
    /// Who would be the predecessor if that one were dead.
    claimant: Option<Peer>,
    /// r at most, in the order of the ring; none when this node is alone.
    successors: Vec<Peer>,
    fingers: Fingers,
    suspicion: Suspicion,
    /// Those by whom it was to join.
    contacts: Vec<Peer>,
    /// The next ticket; the first is drawn, so that none is used again after a restart.
    next: u64,
    asked: BTreeMap<Ticket, Asked>,
    lookups: BTreeMap<Ticket, Lookup>,
    /// The lookups of local callers, by the callers' tickets.
    callers: BTreeMap<Ticket, Ticket>,
    store: Store,
    /// Saves and removes that wait for their copies.
    writes: BTreeMap<(Id, Key), Write>,
    /// What is being compared with whom.
    repairs: BTreeMap<(Id, Aim), Repair>,
    /// The nodes that copy to this one, what, and when they last compared it.
    wards: BTreeMap<Id, (Interval, Duration)>,
    /// The successor that has agreed that what is before it is this node's.
    accepted: Option<Id>,
    /// The copies that have been compared since this node's part of the circle last grew.
    confirmed: BTreeSet<Id>,
    /// For what it answers.
    ready: Option<Interval>,
    /// Successors that have no room.
    full: BTreeSet<Id>,
    census: census::State,
    /// How often it has looked after the ring, and when last.
    ticks: u64,
    looked: Duration,
    totals: Totals,
}

impl Chord {
    /// A node that is to join through one of these contacts, or to begin a ring if there are none.
    ///
    /// # Panics
    ///
    /// If the configuration makes no sense: an id outside the circle, no successors or too many.
    pub fn new(config: Config, contacts: Vec<Peer>, mut random: StdRng) -> Self {
        let circle = Circle::new(config.bits);
        assert!(circle.contains(config.me.id), "node {} is outside its circle", config.me.id);
        assert!((1..=REPLICAS_LIMIT).contains(&config.replicas), "1 to {REPLICAS_LIMIT} copies");
        let contacts = contacts.into_iter().filter(|peer| peer.id != config.me.id).collect();
        let next = random.random();
        Self {
            circle,
            now: Duration::ZERO,
            phase: Phase::Joining(Joining::default()),
            wants_to_leave: false,
            predecessor: None,
            claimant: None,
            successors: Vec::new(),
            fingers: Fingers::new(circle, config.me.clone()),
            suspicion: Suspicion::default(),
            contacts,
            next,
            asked: BTreeMap::new(),
            lookups: BTreeMap::new(),
            callers: BTreeMap::new(),
            store: Store::new(circle),
            writes: BTreeMap::new(),
            repairs: BTreeMap::new(),
            wards: BTreeMap::new(),
            accepted: None,
            confirmed: BTreeSet::new(),
            ready: None,
            full: BTreeSet::new(),
            census: census::State::default(),
            ticks: 0,
            looked: Duration::ZERO,
            totals: Totals::default(),
            config,
            random,
        }
    }

    /// The node itself.
    pub fn me(&self) -> &Peer {
        &self.config.me
    }

    /// Who is before it, if it knows.
    pub fn predecessor(&self) -> Option<&Peer> {
        self.predecessor.as_ref()
    }

    /// Who is after it, in order; none when it is alone.
    pub fn successors(&self) -> &[Peer] {
        &self.successors
    }

    /// The node at or after where finger `index` begins, as far as it is known.
    pub fn finger(&self, index: u32) -> Option<&Peer> {
        self.fingers.at(index)
    }

    /// Whether it is a member of the ring.
    pub fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Member)
    }

    /// For which part of the circle it answers, if it is ready to.
    pub fn ready(&self) -> Option<Interval> {
        self.ready
    }

    /// What it keeps of a key, its own or a copy.
    pub fn kept(&self, id: Id, key: &Key) -> Option<&Value> {
        self.store.look(id, key)?.1
    }

    /// Who comes after it: itself when it is alone.
    fn successor(&self) -> &Peer {
        self.successors.first().unwrap_or(&self.config.me)
    }

    /// The part of the circle that it is responsible for, as far as it knows.
    fn own(&self) -> Option<Interval> {
        match (&self.predecessor, self.successors.is_empty()) {
            (Some(predecessor), _) => Some(Interval::new(predecessor.id, self.config.me.id)),
            (None, true) => Some(Interval::new(self.config.me.id, self.config.me.id)),
            (None, false) => None,
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next = self.next.wrapping_add(1);
        Ticket(self.next)
    }

    fn say(&self, to: &Peer, body: Body, out: &mut Outbox<Self>) {
        let message = Message { from: self.config.me.clone(), to: to.clone(), body };
        out.send(to.node(), message);
    }

    /// Asks another node. What it says, or that it says nothing, is heard by `answered` and
    /// `unanswered`.
    fn ask(&mut self, peer: &Peer, question: Question, purpose: Purpose, out: &mut Outbox<Self>) {
        let ticket = self.expect(peer, purpose, out);
        self.say(peer, Body::Question(ticket, question), out);
    }

    /// Waits for something from a peer, under a new ticket.
    fn expect(&mut self, peer: &Peer, purpose: Purpose, out: &mut Outbox<Self>) -> Ticket {
        let ticket = self.ticket();
        self.asked.insert(ticket, Asked { peer: peer.clone(), purpose, since: self.now });
        out.arm(Timer::Patience(ticket), self.config.patience);
        ticket
    }

    fn answer(&self, to: &Peer, ticket: Ticket, answer: Answer, out: &mut Outbox<Self>) {
        self.say(to, Body::Answer(ticket, answer), out);
    }

    fn event(event: Event, out: &mut Outbox<Self>) {
        out.notify(Notice::Event(event));
    }

    fn describe(&self) -> Description {
        Description {
            member: self.is_member(),
            predecessor: self.predecessor.clone(),
            successors: self.successors.clone(),
            room: self.store.bytes() < self.config.bytes_limit,
        }
    }

    fn on_message(&mut self, message: Message, out: &mut Outbox<Self>) {
        let Message { from, to, body } = message;
        if to != self.config.me || from.id == self.config.me.id || matches!(self.phase, Phase::Left)
        {
            return self.totals.ignored += 1;
        }
        self.heard(&from, out);
        match body {
            Body::Question(ticket, question) => self.on_question(&from, ticket, question, out),
            Body::Answer(ticket, answer) => self.on_answer(&from, ticket, answer, out),
            Body::Route(route) => self.on_route(route, out),
            Body::Routed(ticket, outcome, path) => self.on_routed(ticket, outcome, path, out),
            Body::Census(census) => self.on_census(census, out),
        }
    }

    fn on_question(
        &mut self,
        from: &Peer,
        ticket: Ticket,
        question: Question,
        out: &mut Outbox<Self>,
    ) {
        let answer = match question {
            Question::Describe => Answer::Described(self.describe()),
            Question::Notify => {
                self.on_notify(from, out);
                Answer::Described(self.describe())
            }
            Question::Leave(predecessor, successors) => {
                self.on_leave(from, predecessor, successors, out);
                Answer::Described(self.describe())
            }
            Question::Step(place, avoid, _) => Answer::Stepped(self.next_hop(place, &avoid)),
            Question::Keep(items) => Answer::Kept(self.on_keep(items)),
            Question::Compare(interval, fingerprint) => {
                Answer::Compared(self.on_compare(from, interval, fingerprint))
            }
            Question::Reconcile(page) => self.on_reconcile(from, &page),
            Question::Perform(write, operation) => {
                let caller = keeping::Caller::Peer(from.clone(), ticket);
                return self.serve(caller, write, operation, out);
            }
        };
        self.answer(from, ticket, answer, out);
    }

    fn on_answer(&mut self, from: &Peer, ticket: Ticket, answer: Answer, out: &mut Outbox<Self>) {
        let fits = |asked: &Asked| asked.peer == *from && self.is_answered_by(asked, &answer);
        if !self.asked.get(&ticket).is_some_and(fits) {
            // Late, or repeated; or somebody does not know what he is talking about: then the
            // question is as good as unanswered.
            return self.totals.ignored += 1;
        }
        let Some(Asked { purpose, since, .. }) = self.asked.remove(&ticket) else { return };
        out.disarm(Timer::Patience(ticket));
        match (purpose, answer) {
            (Purpose::Lookup(lookup), Answer::Stepped(next)) => {
                self.on_stepped(lookup, from, self.now.saturating_sub(since), next, out);
            }
            (Purpose::Lookup(lookup), Answer::Performed(outcome)) => {
                self.on_performed(lookup, self.now.saturating_sub(since), outcome, out);
            }
            (Purpose::Copy(place, stamp), Answer::Kept(kept)) => {
                self.on_copied(from, place, stamp, kept, out);
            }
            (Purpose::Repair(aim), answer) => self.on_repair(from, aim, answer, out),
            (purpose, Answer::Described(description)) => {
                self.on_described(from, &purpose, description, out);
            }
            (
                _,
                Answer::Stepped(_)
                | Answer::Performed(_)
                | Answer::Kept(_)
                | Answer::Compared(_)
                | Answer::Reconciled(..),
            ) => self.totals.ignored += 1,
        }
    }

    /// Whether an answer is one to what was asked.
    fn is_answered_by(&self, asked: &Asked, answer: &Answer) -> bool {
        match (&asked.purpose, answer) {
            (Purpose::Lookup(_), Answer::Stepped(_)) => true,
            (Purpose::Lookup(ticket), Answer::Performed(_)) => {
                self.lookups.get(ticket).is_some_and(|lookup| lookup.goal().is_performed())
            }
            (Purpose::Copy(..), answer) => matches!(answer, Answer::Kept(_)),
            (Purpose::Repair(_), answer) => {
                matches!(answer, Answer::Compared(_) | Answer::Reconciled(..) | Answer::Kept(_))
            }
            (purpose, Answer::Described(_)) => !matches!(purpose, Purpose::Lookup(_)),
            (_, _) => false,
        }
    }

    fn on_described(
        &mut self,
        from: &Peer,
        purpose: &Purpose,
        description: Description,
        out: &mut Outbox<Self>,
    ) {
        if description.member {
            self.suspicion.is_back(from.id);
        }
        match description.room {
            true => self.full.remove(&from.id),
            false => self.full.insert(from.id),
        };
        match purpose {
            Purpose::Notify => self.on_notified(from, description, out),
            Purpose::Candidate => self.on_candidate(from, description, out),
            Purpose::Probe => self.on_probed(from, &description, out),
            Purpose::Join => self.on_met(from, description, out),
            Purpose::Farewell => self.on_farewell(from, true, out),
            Purpose::Watch => (),
            Purpose::Lookup(_) | Purpose::Copy(..) | Purpose::Repair(_) => self.totals.ignored += 1,
        }
    }

    /// No answer came in time, or it is known that none will come.
    fn unanswered(&mut self, ticket: Ticket, out: &mut Outbox<Self>) {
        let Some(Asked { peer, purpose, .. }) = self.asked.remove(&ticket) else { return };
        out.disarm(Timer::Patience(ticket));
        match purpose {
            Purpose::Lookup(lookup) => self.on_silence(lookup, &peer, out),
            Purpose::Repair(aim) => self.abandon(&peer, aim, out),
            Purpose::Join => self.not_met(),
            Purpose::Farewell => self.on_farewell(&peer, false, out),
            Purpose::Notify
            | Purpose::Candidate
            | Purpose::Watch
            | Purpose::Probe
            | Purpose::Copy(..) => (),
        }
    }

    fn on_request(&mut self, request: Request, out: &mut Outbox<Self>) {
        match request {
            Request::Perform(ticket, operation, mode, budget) => {
                self.on_perform(ticket, operation, mode, budget, out);
            }
            Request::Forget(ticket) => self.forget(ticket, out),
            Request::Meet(peers) => self.meet(peers),
            Request::Mistaken(peer) => self.drop_peer(&peer, out),
            Request::Leave => self.leave(out),
        }
    }

    /// Looks after everything that may have gone wrong without a word.
    fn tick(&mut self, out: &mut Outbox<Self>) {
        self.ticks += 1;
        self.looked = self.now;
        self.store.expire(self.now);
        self.suspicion.expire(self.now);
        match self.phase {
            Phase::Left => return,
            Phase::Joining(_) => self.join(out),
            Phase::Member | Phase::Leaving(_) => {
                self.stabilise(out);
                self.mend_fingers(out);
                self.tend_writes(out);
                self.tend_copies(out);
                self.count(out);
                if self.wants_to_leave {
                    self.leave(out);
                }
            }
        }
        // Never in step with the others.
        let period = self.config.stabilise.mul_f64(self.random.random_range(0.9..1.1));
        out.arm(Timer::Stabilise, period);
    }
}

impl Protocol for Chord {
    type Message = Message;
    type Timer = Timer;
    type Request = Request;
    type Notice = Notice;
    type Record = Record;
    type View = View;

    fn step(&mut self, now: Duration, input: Input<Self>, out: &mut Outbox<Self>) {
        self.now = now;
        self.notice_sleep();
        match input {
            Input::Start | Input::Timeout(Timer::Stabilise) => self.tick(out),
            Input::Message(_, message) => self.on_message(message, out),
            Input::Unreachable(node) => self.on_unreachable(node.into(), out),
            Input::Timeout(Timer::Patience(ticket)) => self.on_impatience(ticket, out),
            Input::Timeout(Timer::Budget(ticket)) => self.expire(ticket, out),
            Input::Timeout(Timer::Again(lookup)) => self.try_again(lookup, out),
            Input::Request(request) => self.on_request(request, out),
        }
    }

    fn view(&self) -> View {
        let own = self.own();
        let keys = own.map_or(0, |own| self.store.values(own));
        View {
            node: self.config.me.clone(),
            bits: self.config.bits,
            phase: match self.phase {
                Phase::Joining(_) => "joining",
                Phase::Member => "member",
                Phase::Leaving(_) => "leaving",
                Phase::Left => "left",
            },
            predecessor: self.predecessor.clone(),
            successors: self.successors.clone(),
            fingers: self.fingers.runs(),
            ready: self.ready,
            keys,
            copies: self.store.all_values() - keys,
            bytes: self.store.bytes(),
            bytes_limit: self.config.bytes_limit,
            writing: self.writes.len(),
            lookups: self.lookups.len(),
            counted: self.census.counted,
            on_ring: self.census.on_ring,
            lost: self.suspicion.lost().cloned().collect(),
            totals: self.totals,
        }
    }
}
