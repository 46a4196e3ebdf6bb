//! The leader queue of processes A to F: a request enters anywhere, fans out down the overlay, and
//! comes back as one answer that names who took part and who did not.
//!
//! # Promises
//!
//! - A request is answered, refused or declared expired once, and within its budget.
//! - A process has at most `active_limit` requests in hand. A leader lets at most `queue_limit`
//!   more wait, and 256 MiB of payload, first come first served; everyone else refuses at once.
//! - No request goes to a process that it has passed.
//! - A neighbour that is dead, slow or busy costs its own share alone, and is named as missing.
//!   It is asked again as soon as it shows that it lives and hears us.
//!
//! # Limits
//!
//! Nothing is durable: a request dies with any process that holds it, and its client is told by
//! the broken connection. A request may be worked on twice when a message is repeated late; the
//! operations change nothing, so the answer is the same. A neighbour is presumed alive until it
//! has been silent for the whole patience, and that it has restarted meanwhile is not noticed: what
//! it was asked before is late. A process whose share of a short payload would be empty is not
//! asked. A worker next to two leaders of its own team would be asked by both.
//!
//! The document is the *2-Host Distributed Leader-Queue System*; what it calls a hop is a process
//! that a request has passed.

mod topology;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use serde::Serialize;

pub use self::topology::{Place, Plan, Role, Topology};
pub use self::work::{
    Detour, Missing, Operation, Part, Payload, Piece, Product, Range, Reason, Report, Task, Team,
    Teams, Visit, WordCount,
};
use crate::{Input, NodeId, Outbox, Protocol, Ticket};

/// A refusal costs half of what an answer does: whoever comes back sooner takes from others.
const LEAST_RETRY: Duration = Duration::from_millis(50);
const MOST_RETRY: Duration = Duration::from_secs(1);
/// The most bytes of payload that wait in the queue.
const QUEUE_BYTES_LIMIT: usize = 256 << 20;

/// What a process of the overlay is told about itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which process of the topology it is.
    pub me: NodeId,
    /// The most requests in hand at once.
    pub active_limit: usize,
    /// The most requests that wait at a leader.
    pub queue_limit: usize,
    /// Time between two signs of life to each neighbour.
    pub heartbeat: Duration,
    /// Silence after which a neighbour is presumed dead.
    pub patience: Duration,
}

/// What neighbours say to each other.
#[derive(Clone, Debug)]
pub enum Message {
    /// Asks for work: a task and the processes that it has passed, the asking one last.
    Question(Ticket, Task, Vec<NodeId>),
    /// The work, or why there is none.
    Answer(Ticket, Result<Report, Reason>),
    /// The answer is not wanted any more.
    Cancel(Ticket),
    /// A sign of life.
    Pulse {
        /// Whether the sender has heard the receiver within its patience: without it a link that
        /// is cut one way would look alive.
        hears_you: bool,
    },
    /// A sign of life that is a goodbye: what was asked is answered, and nothing more is wanted.
    Leaving,
}

/// The alarms of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Give signs of life, and look for those of others.
    Pulse,
    /// The budget of a request has run out.
    Expire(Ticket),
}

/// What a local caller asks. Its tickets are its own.
#[derive(Debug)]
pub enum Request {
    /// Routes a task that has passed these processes.
    Forward(Ticket, Task, Vec<NodeId>),
    /// The caller of this ticket went away.
    Cancel(Ticket),
    /// The link to this neighbour has just been made: it is given a sign of life at once.
    Linked(NodeId),
    /// This process is about to stop: its neighbours are told, so that they ask it nothing more.
    Leave,
    /// The work that [`Notice::Work`] asked for is done.
    Worked(Ticket, Product),
}

/// What a local caller is told.
#[derive(Debug)]
pub enum Notice {
    /// The request of this ticket has its answer.
    Answered(Ticket, Report),
    /// The request of this ticket was refused: ask again after this time.
    Refused(Ticket, Duration),
    /// The budget of this request ran out before any work was done.
    Expired(Ticket),
    /// Do this operation on this part and say so with [`Request::Worked`] and this ticket.
    Work(Ticket, Operation, Part),
    /// Something that an onlooker wants to know.
    Event(Event),
}

/// What an onlooker wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A neighbour shows no sign of life.
    Lost(NodeId),
    /// A neighbour that was lost, or left, is there again.
    Found(NodeId),
    /// A neighbour is about to stop, and is asked nothing more.
    Left(NodeId),
    /// The queue became full; told again only after it has been half empty.
    Full,
}

/// What an onlooker sees of a process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// Its name.
    pub id: String,
    /// `leader`, `team_leader` or `worker`.
    pub role: &'static str,
    /// `green` or `pink`.
    pub team: &'static str,
    /// Requests in hand.
    pub active: usize,
    /// The most requests in hand.
    pub active_limit: usize,
    /// Requests that wait.
    pub queued: usize,
    /// The most requests that wait.
    pub queue_limit: usize,
    /// How long the oldest waiting request had waited when a step last looked.
    pub oldest_wait: Duration,
    /// What has happened since the start.
    pub totals: Totals,
    /// The neighbours by name, and whether each shows signs of life.
    pub neighbours: Vec<(String, bool)>,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Requests answered.
    pub answered: u64,
    /// Requests refused because of a limit.
    pub refused: u64,
    /// Requests whose budget ran out before their work began.
    pub expired: u64,
    /// Requests whose caller went away.
    pub cancelled: u64,
    /// Shares that were missing in answers.
    pub missing: u64,
    /// Messages that made no sense: of strangers, repeated, or late.
    pub ignored: u64,
    /// Sum of the times from arrival to answer, over all that were answered.
    pub total: Duration,
    /// Sum of the times in the queue, over all that were answered.
    pub queued: Duration,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    Local(Ticket),
    Peer(NodeId, Ticket),
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    caller: Caller,
    task: Task,
    hops: Vec<NodeId>,
    arrived: Duration,
    expires: Duration,
}

/// A request in hand.
#[derive(Debug)]
struct Flight {
    caller: Caller,
    operation: Operation,
    arrived: Duration,
    queued: Duration,
    asked_by: Option<NodeId>,
    asked: Vec<Asked>,
    /// How many of `asked` have no outcome yet, one more while our own work goes on.
    pending: usize,
    /// What we work on ourselves.
    own: Option<Range>,
    /// Our own work, and what was missing or went another way from the start.
    report: Report,
}

/// A neighbour that was asked, and what came of it.
#[derive(Debug)]
struct Asked {
    peer: NodeId,
    ticket: Ticket,
    range: Range,
    outcome: Option<Result<Report, Reason>>,
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug)]
struct Neighbour {
    heard: Duration,
    standing: Standing,
}

/// What may be asked of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Anything.
    Alive,
    /// Nothing more, but what it was asked it will answer.
    Leaving,
    /// Nothing: no answer of it is waited for.
    Lost,
}

/// One process of the overlay.
#[derive(Debug)]
pub struct Overlay {
    config: Config,
    topology: Topology,
    neighbours: BTreeMap<NodeId, Neighbour>,
    waiting: VecDeque<Waiting>,
    flights: BTreeMap<Ticket, Flight>,
    /// The request of each caller, so that a repeated question is known and a cancelled one found.
    callers: BTreeMap<Caller, Ticket>,
    /// The flight to which each question that we asked belongs.
    questions: BTreeMap<Ticket, Ticket>,
    next: u64,
    leaving: bool,
    /// The queue has been full, and more than half of it still waits.
    crowded: bool,
    totals: Totals,
    now: Duration,
}

impl Protocol for Overlay {
    type Message = Message;
    type Timer = Timer;
    type Request = Request;
    type Notice = Notice;
    type Record = std::convert::Infallible;
    type View = View;

    fn step(&mut self, now: Duration, input: Input<Self>, out: &mut Outbox<Self>) {
        self.now = now;
        match input {
            Input::Start => self.pulse(out),
            Input::Message(from, _) if !self.neighbours.contains_key(&from) => {
                self.totals.ignored += 1;
            }
            Input::Message(from, message) => self.hear(from, message, out),
            Input::Unreachable(peer) => self.lose(peer, out),
            Input::Timeout(Timer::Pulse) => self.pulse(out),
            Input::Timeout(Timer::Expire(ticket)) => self.expire(ticket, out),
            Input::Request(Request::Forward(ticket, task, hops)) => {
                self.admit(Caller::Local(ticket), task, hops, out);
            }
            Input::Request(Request::Cancel(ticket)) => self.cancel(Caller::Local(ticket), out),
            Input::Request(Request::Linked(peer)) => self.tell(peer, out),
            Input::Request(Request::Leave) => {
                self.leaving = true;
                self.tell_all(out);
            }
            Input::Request(Request::Worked(ticket, product)) => self.worked(ticket, product, out),
        }
        self.refill(out);
        self.assert_sound();
    }

    fn view(&self) -> View {
        let place = self.topology.place(self.config.me);
        View {
            id: place.name.clone(),
            role: place.role.name(),
            team: place.team.name(),
            active: self.flights.len(),
            active_limit: self.config.active_limit,
            queued: self.waiting.len(),
            queue_limit: self.queue_limit(),
            oldest_wait: self.waiting.front().map_or(Duration::ZERO, |w| self.now - w.arrived),
            totals: self.totals,
            neighbours: (place.neighbours.iter())
                .map(|id| (self.topology.place(*id).name.clone(), self.is_alive(*id)))
                .collect(),
        }
    }
}

impl Overlay {
    /// A process that has just begun. `random` gives its tickets, so that an answer to an earlier
    /// incarnation is never taken for its own.
    ///
    /// # Panics
    ///
    /// When the process or one of its neighbours is not of the topology.
    pub fn new(config: Config, topology: Topology, random: &mut StdRng) -> Self {
        let presumed = Neighbour { heard: Duration::ZERO, standing: Standing::Alive };
        let neighbours = topology.place(config.me).neighbours.iter();
        let neighbours = neighbours.map(|&id| (id, presumed)).collect::<BTreeMap<_, _>>();
        assert!(neighbours.keys().all(|id| topology.places.contains_key(id)), "known neighbours");
        Self {
            config,
            topology,
            neighbours,
            waiting: VecDeque::new(),
            flights: BTreeMap::new(),
            callers: BTreeMap::new(),
            questions: BTreeMap::new(),
            next: random.random(),
            leaving: false,
            crowded: false,
            totals: Totals::default(),
            now: Duration::ZERO,
        }
    }

    fn role(&self) -> Role {
        self.topology.place(self.config.me).role
    }

    fn queue_limit(&self) -> usize {
        if self.role() == Role::Leader { self.config.queue_limit } else { 0 }
    }

    fn is_alive(&self, peer: NodeId) -> bool {
        self.neighbours.get(&peer).is_some_and(|known| known.standing == Standing::Alive)
    }

    fn ticket(&mut self) -> Ticket {
        self.next = self.next.wrapping_add(1);
        Ticket(self.next)
    }

    // Signs of life.

    fn pulse(&mut self, out: &mut Outbox<Self>) {
        out.arm(Timer::Pulse, self.config.heartbeat);
        let oldest = self.oldest_that_counts();
        let silent = self.neighbours.iter().filter(|(_, neighbour)| neighbour.heard < oldest);
        for peer in silent.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.lose(peer, out);
        }
        self.tell_all(out);
    }

    /// Gives every neighbour a sign of life.
    fn tell_all(&self, out: &mut Outbox<Self>) {
        self.neighbours.keys().for_each(|&peer| self.tell(peer, out));
    }

    /// Gives a neighbour a sign of life.
    fn tell(&self, peer: NodeId, out: &mut Outbox<Self>) {
        let Some(neighbour) = self.neighbours.get(&peer) else { return };
        let message = match self.leaving {
            true => Message::Leaving,
            false => Message::Pulse { hears_you: neighbour.heard >= self.oldest_that_counts() },
        };
        out.send(peer, message);
    }

    /// Whoever was heard last before this has exhausted our patience.
    fn oldest_that_counts(&self) -> Duration {
        self.now.saturating_sub(self.config.patience)
    }

    fn hear(&mut self, from: NodeId, message: Message, out: &mut Outbox<Self>) {
        let neighbour = self.neighbours.get_mut(&from).expect("only neighbours are heard");
        neighbour.heard = self.now;
        match message {
            Message::Pulse { hears_you: true } if neighbour.standing == Standing::Alive => (),
            Message::Pulse { hears_you: true } => {
                neighbour.standing = Standing::Alive;
                out.notify(Notice::Event(Event::Found(from)));
            }
            Message::Leaving if neighbour.standing == Standing::Alive => {
                neighbour.standing = Standing::Leaving;
                out.notify(Notice::Event(Event::Left(from)));
            }
            Message::Leaving => (),
            Message::Pulse { hears_you: false } => self.lose(from, out),
            Message::Question(ticket, task, hops) => {
                self.admit(Caller::Peer(from, ticket), task, hops, out);
            }
            Message::Answer(ticket, outcome) => self.answered(from, ticket, outcome, out),
            Message::Cancel(ticket) => self.cancel(Caller::Peer(from, ticket), out),
        }
    }

    /// Gives up a neighbour, and with it whatever it was asked.
    fn lose(&mut self, peer: NodeId, out: &mut Outbox<Self>) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else {
            self.totals.ignored += 1;
            return;
        };
        if neighbour.standing == Standing::Lost {
            return;
        }
        neighbour.standing = Standing::Lost;
        out.notify(Notice::Event(Event::Lost(peer)));
        let asked: Vec<_> = self
            .flights
            .values()
            .flat_map(|flight| &flight.asked)
            .filter(|asked| asked.peer == peer && asked.outcome.is_none())
            .map(|asked| asked.ticket)
            .collect();
        for ticket in asked {
            // It may live, and only its answers be lost.
            out.send(peer, Message::Cancel(ticket));
            self.answered(peer, ticket, Err(Reason::Unreachable), out);
        }
    }

    // The way in.

    fn admit(&mut self, caller: Caller, task: Task, hops: Vec<NodeId>, out: &mut Outbox<Self>) {
        if self.callers.contains_key(&caller) {
            // A repeated question whose first copy is in hand.
            self.totals.ignored += 1;
            return;
        }
        if hops.contains(&self.config.me) {
            let part = (task.operation != Operation::Process).then(|| task.part.range());
            let missing = Missing { process: self.config.me, reason: Reason::Visited, part };
            self.totals.answered += 1;
            self.totals.missing += 1;
            let report = Report { missing: vec![missing], ..Report::default() };
            self.reply(caller, Ok(report), out);
            return;
        }
        if task.budget.is_zero() {
            self.totals.expired += 1;
            self.reply(caller, Err(Reason::Late), out);
            return;
        }
        let ticket = self.ticket();
        let arrived = self.now;
        let expires = arrived.saturating_add(shrink(task.budget));
        let waiting = Waiting { ticket, caller, task, hops, arrived, expires };
        if self.flights.len() < self.config.active_limit {
            out.arm(Timer::Expire(ticket), expires - arrived);
            self.callers.insert(caller, ticket);
            self.begin(waiting, out);
        } else if self.waiting.len() < self.queue_limit() && self.has_room(&waiting) {
            out.arm(Timer::Expire(ticket), expires - arrived);
            self.callers.insert(caller, ticket);
            self.waiting.push_back(waiting);
            if self.waiting.len() == self.queue_limit() && !self.crowded {
                self.crowded = true;
                out.notify(Notice::Event(Event::Full));
            }
        } else {
            self.totals.refused += 1;
            self.reply(caller, Err(Reason::Busy), out);
        }
    }

    /// Whether the payload of one more request may wait.
    fn has_room(&self, waiting: &Waiting) -> bool {
        let bytes = |waiting: &Waiting| waiting.task.part.bytes.len();
        let held: usize = self.waiting.iter().map(bytes).sum();
        held == 0 || held + bytes(waiting) <= QUEUE_BYTES_LIMIT
    }

    fn begin(&mut self, waiting: Waiting, out: &mut Outbox<Self>) {
        let mut flight = Flight {
            caller: waiting.caller,
            operation: waiting.task.operation,
            arrived: waiting.arrived,
            queued: self.now - waiting.arrived,
            asked_by: waiting.hops.last().copied(),
            asked: Vec::new(),
            pending: 0,
            own: None,
            report: Report::default(),
        };
        let ticket = waiting.ticket;
        if self.role() != Role::Worker {
            self.ask(waiting, &mut flight, out);
        } else {
            flight.own = Some(waiting.task.part.range());
            if waiting.task.operation != Operation::Process {
                flight.pending = 1;
                out.notify(Notice::Work(ticket, waiting.task.operation, waiting.task.part));
            }
        }
        self.flights.insert(ticket, flight);
        self.settle(ticket, out);
    }

    /// Splits a task among the neighbours that serve it.
    fn ask(&mut self, waiting: Waiting, flight: &mut Flight, out: &mut Outbox<Self>) {
        let Waiting { ticket, task, mut hops, expires, .. } = waiting;
        let alive = |id| self.is_alive(id);
        let plan = self.topology.plan(self.config.me, task.teams, &hops, task.detour, alive);
        flight.report.missing = plan.missing;
        flight.report.detours = plan.detours;
        hops.push(self.config.me);
        let weights: Vec<_> = plan.asks.iter().map(|&(_, _, workers)| workers).collect();
        let parts = task.part.split(task.operation, &weights);
        for ((peer, teams, _), part) in plan.asks.into_iter().zip(parts) {
            if part.bytes.is_empty() && !task.part.bytes.is_empty() {
                continue;
            }
            let question = self.ticket();
            self.questions.insert(question, ticket);
            let range = part.range();
            flight.asked.push(Asked { peer, ticket: question, range, outcome: None });
            let task = Task { teams, part, budget: expires - self.now, ..task };
            out.send(peer, Message::Question(question, task, hops.clone()));
        }
        flight.pending = flight.asked.len();
        if flight.asked.is_empty() && task.operation != Operation::Process {
            self.miss_all(&mut flight.report, task.part.range());
        }
    }

    /// A part that nobody can be asked to work on is missing with whoever should have been, or
    /// with ourselves where nobody ever could.
    fn miss_all(&self, report: &mut Report, part: Range) {
        if let Some(missing) = report.missing.first_mut() {
            missing.part = Some(part);
        } else {
            let (process, part) = (self.config.me, Some(part));
            report.missing.push(Missing { process, reason: Reason::Unreachable, part });
        }
    }

    // The way back.

    fn answered(
        &mut self,
        from: NodeId,
        question: Ticket,
        outcome: Result<Report, Reason>,
        out: &mut Outbox<Self>,
    ) {
        let flight = self.questions.get(&question).copied();
        let flight = flight.and_then(|ticket| Some((ticket, self.flights.get_mut(&ticket)?)));
        let asked = flight.and_then(|(ticket, flight)| {
            let asked = flight.asked.iter_mut().find(|asked| asked.ticket == question)?;
            (asked.peer == from).then_some((ticket, asked, &mut flight.pending))
        });
        let Some((ticket, asked, pending)) = asked else {
            // Too late, repeated, or somebody else's.
            self.totals.ignored += 1;
            return;
        };
        asked.outcome = Some(outcome);
        *pending -= 1;
        self.questions.remove(&question);
        self.settle(ticket, out);
    }

    fn worked(&mut self, ticket: Ticket, product: Product, out: &mut Outbox<Self>) {
        let Some(flight) = self.flights.get_mut(&ticket) else {
            // Cancelled, or out of time.
            self.totals.ignored += 1;
            return;
        };
        assert_eq!(flight.pending, 1, "a worker waits for its own work alone");
        flight.pending = 0;
        flight.report.produce(product);
        self.settle(ticket, out);
    }

    /// Answers a flight that waits for nothing any more.
    fn settle(&mut self, ticket: Ticket, out: &mut Outbox<Self>) {
        if self.flights.get(&ticket).is_some_and(|flight| flight.pending == 0) {
            let flight = self.flights.remove(&ticket).expect("it is there");
            out.disarm(Timer::Expire(ticket));
            self.callers.remove(&flight.caller);
            let caller = flight.caller;
            self.totals.answered += 1;
            self.totals.total += self.now - flight.arrived;
            self.totals.queued += flight.queued;
            let report = self.report(flight);
            self.totals.missing += report.missing.len() as u64;
            self.reply(caller, Ok(report), out);
        }
    }

    /// Takes in hand what waits, in its order, as far as there is room.
    fn refill(&mut self, out: &mut Outbox<Self>) {
        while self.flights.len() < self.config.active_limit {
            let Some(waiting) = self.waiting.pop_front() else { break };
            if self.now < waiting.expires {
                self.begin(waiting, out);
            } else {
                // Its alarm is late, as everything is in a process that was stopped for a while.
                out.disarm(Timer::Expire(waiting.ticket));
                self.lapse(waiting, out);
            }
        }
        self.crowded &= self.waiting.len() > self.queue_limit() / 2;
    }

    /// Puts the answers together, in the order of the neighbours.
    fn report(&self, flight: Flight) -> Report {
        let place = self.topology.place(self.config.me);
        let mut report = flight.report;
        if place.role != Role::Worker || flight.own.is_some() {
            report.visits.push(Visit {
                process: self.config.me,
                asked_by: flight.asked_by,
                queued: flight.queued,
                total: self.now - flight.arrived,
                part: flight.own,
            });
        }
        if flight.operation == Operation::Process && place.role != Role::Worker {
            report.text = format!("{}|", place.name);
        }
        for asked in flight.asked {
            match asked.outcome.unwrap_or(Err(Reason::Late)) {
                Ok(answer) => report.merge(answer),
                Err(reason) => {
                    let split = flight.operation != Operation::Process;
                    let part = split.then_some(asked.range);
                    report.missing.push(Missing { process: asked.peer, reason, part });
                }
            }
        }
        if flight.operation == Operation::Process && place.role != Role::Leader {
            let text = format!("{}-processed", place.name);
            report.merge(Report { text, ..Report::default() });
        }
        report
    }

    fn reply(&mut self, to: Caller, outcome: Result<Report, Reason>, out: &mut Outbox<Self>) {
        match (to, outcome) {
            (Caller::Peer(peer, ticket), outcome) => {
                out.send(peer, Message::Answer(ticket, outcome));
            }
            (Caller::Local(ticket), Ok(report)) => out.notify(Notice::Answered(ticket, report)),
            (Caller::Local(ticket), Err(Reason::Busy)) => {
                out.notify(Notice::Refused(ticket, self.retry_after()));
            }
            (Caller::Local(ticket), Err(Reason::Late | Reason::Unreachable | Reason::Visited)) => {
                out.notify(Notice::Expired(ticket))
            }
        }
    }

    /// How long it takes to work off half of what is in hand and waits, going by the past.
    fn retry_after(&self) -> Duration {
        let answered = u32::try_from(self.totals.answered).unwrap_or(u32::MAX).max(1);
        let in_hand = self.totals.total.saturating_sub(self.totals.queued) / answered;
        let ahead = self.flights.len() + self.waiting.len();
        let rounds = ahead.div_ceil(2 * self.config.active_limit.max(1));
        let after = in_hand * u32::try_from(rounds).unwrap_or(u32::MAX);
        after.clamp(LEAST_RETRY, MOST_RETRY)
    }

    // The ways out.

    /// Time is up: a waiting request has had no work done, one in hand is answered with what
    /// there is.
    fn expire(&mut self, ticket: Ticket, out: &mut Outbox<Self>) {
        if let Some(flight) = self.flights.get_mut(&ticket) {
            if flight.own.is_some() {
                // Our own work is late: we are missing, and took no part.
                let (process, part) = (self.config.me, flight.own.take());
                flight.report.missing.push(Missing { process, reason: Reason::Late, part });
            }
            flight.pending = 0;
            self.abandon(ticket, out);
            self.settle(ticket, out);
        } else if let Some(index) = self.waiting.iter().position(|w| w.ticket == ticket) {
            let waiting = self.waiting.remove(index).expect("it is there");
            self.lapse(waiting, out);
        }
    }

    /// Gives up what has waited for too long.
    fn lapse(&mut self, waiting: Waiting, out: &mut Outbox<Self>) {
        self.callers.remove(&waiting.caller);
        self.totals.expired += 1;
        self.reply(waiting.caller, Err(Reason::Late), out);
    }

    fn cancel(&mut self, caller: Caller, out: &mut Outbox<Self>) {
        let Some(ticket) = self.callers.remove(&caller) else {
            // Answered in the meantime.
            self.totals.ignored += 1;
            return;
        };
        self.totals.cancelled += 1;
        out.disarm(Timer::Expire(ticket));
        self.waiting.retain(|waiting| waiting.ticket != ticket);
        self.abandon(ticket, out);
        self.flights.remove(&ticket);
    }

    /// Tells everyone that a flight still waits for that it does not.
    fn abandon(&mut self, ticket: Ticket, out: &mut Outbox<Self>) {
        let Some(flight) = self.flights.get(&ticket) else { return };
        for asked in flight.asked.iter().filter(|asked| asked.outcome.is_none()) {
            self.questions.remove(&asked.ticket);
            out.send(asked.peer, Message::Cancel(asked.ticket));
        }
    }

    /// What must be true after every step.
    fn assert_sound(&self) {
        let (active, queued) = (self.flights.len(), self.waiting.len());
        assert!(active <= self.config.active_limit, "no more in hand than the limit");
        assert!(queued <= self.queue_limit(), "no more wait than the limit");
        assert!(queued == 0 || active == self.config.active_limit, "nobody waits for nothing");
        assert_eq!(self.callers.len(), active + queued, "each request has a caller");
        assert!(active > 0 || self.questions.is_empty(), "each question belongs to a request");
    }
}

/// What a process leaves itself of a budget, so that its answer still arrives in time.
fn shrink(budget: Duration) -> Duration {
    budget - (budget / 10).min(Duration::from_millis(25))
}
