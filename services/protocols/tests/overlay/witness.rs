//! A process of the overlay with an onlooker who keeps books of his own: whatever goes in and
//! comes out is compared with what the protocol promises, in every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocols::overlay::{
    Config, Event, Message, Notice, Operation, Overlay, Range, Reason, Report, Request, Role, Task,
    Team, Timer, Topology, Totals, View,
};
use protocols::{Effect, Input, NodeId, Outbox, Protocol, Ticket};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::audit::audit;
use crate::requests::number;

/// A client of the process itself, or a neighbour, by the ticket that it gave.
type Caller = (Option<NodeId>, Ticket);

/// A request that somebody still waits for.
#[derive(Debug)]
struct Case {
    task: Task,
    hops: Vec<NodeId>,
    arrived: Duration,
    /// The alarm that ends it, and when that is due.
    alarm: Option<(Ticket, Duration)>,
    begun: Option<Duration>,
    questions: Vec<Question>,
}

/// What a neighbour was asked.
#[derive(Clone, Debug)]
struct Question {
    ticket: Ticket,
    peer: NodeId,
    range: Range,
    teams: Vec<Team>,
}

/// A process and what the onlooker knows of it.
#[derive(Debug)]
pub(crate) struct Witness {
    overlay: Overlay,
    config: Config,
    topology: Topology,
    now: Duration,
    open: BTreeMap<Caller, Case>,
    /// Who waits, in the order of arrival.
    line: VecDeque<Caller>,
    /// The questions without an outcome, and whom they went to.
    asked: BTreeMap<Ticket, NodeId>,
    /// Which request each neighbour's ticket meant, even after the neighbour's restart.
    named: BTreeMap<Caller, u64>,
    alarms: BTreeSet<Ticket>,
    heard: BTreeMap<NodeId, Duration>,
    alive: BTreeMap<NodeId, bool>,
    /// Who said that it leaves, and has not been lost or found since.
    left: BTreeSet<NodeId>,
    /// Whether this process leaves.
    leaving: bool,
    totals: Totals,
    step: Seen,
}

/// What the onlooker saw in one step.
#[derive(Debug, Default)]
struct Seen {
    /// The request that came in, if one did.
    came: Option<Caller>,
    /// The requests that were told their end or cancelled.
    closed: Vec<Case>,
    begun: Vec<Caller>,
    refused: bool,
    /// Of whom there was a sign, and whether of life.
    sign: Option<(NodeId, bool)>,
    pulsed: bool,
}

impl Witness {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        let topology = Topology::two_hosts();
        let neighbours = topology.place(config.me).neighbours.clone();
        let mut random = StdRng::seed_from_u64(seed);
        Self {
            overlay: Overlay::new(config.clone(), topology.clone(), &mut random),
            config,
            now: Duration::ZERO,
            open: BTreeMap::new(),
            line: VecDeque::new(),
            asked: BTreeMap::new(),
            named: BTreeMap::new(),
            alarms: BTreeSet::new(),
            heard: neighbours.iter().map(|&id| (id, Duration::ZERO)).collect(),
            alive: neighbours.iter().map(|&id| (id, true)).collect(),
            left: BTreeSet::new(),
            leaving: false,
            topology,
            totals: Totals::default(),
            step: Seen::default(),
        }
    }

    /// Whether nothing is in hand, waits or is remembered.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.open.is_empty() && self.asked.is_empty() && self.alarms.is_empty()
    }

    /// Whether every neighbour shows signs of life.
    pub(crate) fn finds_everybody(&self) -> bool {
        self.alive.values().all(|alive| *alive)
    }

    // What comes in.

    fn note(&mut self, input: &Input<Self>) {
        match input {
            Input::Start => (),
            Input::Unreachable(peer) => self.step.sign = Some((*peer, false)),
            Input::Timeout(Timer::Pulse) => self.step.pulsed = true,
            Input::Timeout(Timer::Expire(ticket)) => {
                assert!(self.alarms.remove(ticket), "only what is armed goes off");
            }
            Input::Message(from, message) => {
                self.heard.insert(*from, self.now);
                self.note_message(*from, message);
            }
            Input::Request(Request::Forward(ticket, task, hops)) => {
                self.note_request((None, *ticket), task, hops);
            }
            Input::Request(Request::Cancel(ticket)) => self.note_cancel((None, *ticket)),
            Input::Request(Request::Linked(_)) => (),
            Input::Request(Request::Leave) => self.leaving = true,
            Input::Request(Request::Worked(..)) => (),
        }
    }

    fn note_message(&mut self, from: NodeId, message: &Message) {
        match message {
            Message::Pulse { hears_you } => self.step.sign = Some((from, *hears_you)),
            Message::Question(ticket, task, hops) => {
                assert_eq!(hops.last(), Some(&from), "whoever asks is the last that was passed");
                let caller = (Some(from), *ticket);
                let meant = *self.named.entry(caller).or_insert(number(task));
                assert_eq!(meant, number(task), "a ticket means one question for ever");
                self.note_request(caller, task, hops);
            }
            Message::Answer(ticket, _) => {
                if self.asked.get(ticket) == Some(&from) {
                    self.asked.remove(ticket);
                }
            }
            Message::Cancel(ticket) => self.note_cancel((Some(from), *ticket)),
            Message::Leaving => (),
        }
    }

    fn note_request(&mut self, caller: Caller, task: &Task, hops: &[NodeId]) {
        let (task, hops) = (task.clone(), hops.to_vec());
        let arrived = self.now;
        // A question that is in hand and comes again is nothing.
        self.open.entry(caller).or_insert_with(|| {
            self.step.came = Some(caller);
            Case { task, hops, arrived, alarm: None, begun: None, questions: Vec::new() }
        });
    }

    fn note_cancel(&mut self, caller: Caller) {
        if let Some(case) = self.open.remove(&caller) {
            self.line.retain(|other| *other != caller);
            self.totals.cancelled += 1;
            self.step.closed.push(case);
        }
    }

    // What goes out.

    fn see(&mut self, effect: &Effect<Overlay>) {
        match effect {
            Effect::Arm(Timer::Pulse, after) => assert_eq!(*after, self.config.heartbeat),
            Effect::Arm(Timer::Expire(ticket), after) => self.see_armed(*ticket, *after),
            Effect::Disarm(Timer::Pulse) => panic!("the pulse never ends"),
            Effect::Disarm(Timer::Expire(ticket)) => drop(self.alarms.remove(ticket)),
            Effect::Notify(notice) => self.see_notice(notice),
            Effect::Persist(never) => match *never {},
            Effect::Send(to, message) => self.see_message(*to, message),
        }
    }

    fn see_armed(&mut self, ticket: Ticket, after: Duration) {
        let came = self.step.came.expect("only a request that comes in arms an alarm");
        let case = self.open.get_mut(&came).expect("a request that was told its end needs none");
        let budget = case.task.budget;
        assert!(after < budget || budget.as_nanos() < 10, "an answer needs time to travel");
        assert!(case.alarm.replace((ticket, self.now + after)).is_none(), "one alarm is enough");
        assert!(self.alarms.insert(ticket), "no ticket is given twice");
    }

    fn see_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Answered(ticket, report) => self.see_answer((None, *ticket), report),
            Notice::Refused(ticket, after) => {
                assert!(!after.is_zero(), "a client that is refused is told when to return");
                self.see_refusal((None, *ticket));
            }
            Notice::Expired(ticket) => self.see_expiry((None, *ticket)),
            Notice::Work(_, operation, part) => {
                let came = self.step.came.expect("a worker begins when it is asked");
                let case = &self.open[&came];
                assert_eq!((*operation, part), (case.task.operation, &case.task.part));
                self.begin(came);
            }
            Notice::Event(Event::Lost(peer)) => {
                let known = self.alive.insert(*peer, false) == Some(true);
                assert!(self.left.remove(peer) != known, "{peer} is lost once");
            }
            Notice::Event(Event::Found(peer)) => {
                self.left.remove(peer);
                assert_eq!(self.alive.insert(*peer, true), Some(false), "{peer} was lost");
            }
            Notice::Event(Event::Left(peer)) => {
                self.left.insert(*peer);
                assert_eq!(self.alive.insert(*peer, false), Some(true), "{peer} leaves once");
            }
            Notice::Event(Event::Full) => (),
        }
    }

    fn see_message(&mut self, to: NodeId, message: &Message) {
        match message {
            Message::Question(ticket, task, hops) => self.see_question(to, *ticket, task, hops),
            Message::Answer(ticket, Ok(report)) => self.see_answer((Some(to), *ticket), report),
            Message::Answer(ticket, Err(Reason::Busy)) => self.see_refusal((Some(to), *ticket)),
            Message::Answer(ticket, Err(Reason::Late)) => self.see_expiry((Some(to), *ticket)),
            Message::Answer(_, Err(reason)) => panic!("nobody says {reason:?} of himself"),
            Message::Cancel(ticket) => {
                let asked = self.asked.remove(ticket);
                assert_eq!(asked, Some(to), "only what is asked for is cancelled");
            }
            Message::Leaving => assert!(self.leaving, "only who leaves says so"),
            Message::Pulse { hears_you } => {
                assert!(!self.leaving, "who leaves says nothing else");
                let heard = self.now <= self.heard[&to] + self.config.patience;
                assert_eq!(*hears_you, heard, "a pulse tells the truth");
            }
        }
    }

    fn see_question(&mut self, to: NodeId, ticket: Ticket, task: &Task, hops: &[NodeId]) {
        let mut cases = self.open.iter().filter(|(_, case)| number(&case.task) == number(task));
        let (&caller, case) = cases.next().expect("a question serves a request that is open");
        assert!(cases.next().is_none(), "nobody serves the same request twice at a time");
        assert!(!hops.contains(&to), "no request goes where it has been");
        let (last, passed) = hops.split_last().expect("whoever asks was passed");
        assert_eq!((*last, passed), (self.config.me, &case.hops[..]));
        assert_eq!(task.operation, case.task.operation);
        let (_, due) = case.alarm.expect("whatever is in hand has an end");
        assert!(self.now + task.budget <= due, "nobody is given more time than there is left");
        assert!(self.alive[&to], "the dead are not asked");
        let teams: Vec<_> = task.teams.iter().collect();
        let question = Question { ticket, peer: to, range: task.part.range(), teams };
        assert!(self.asked.insert(ticket, to).is_none(), "no ticket is given twice");
        if case.questions.is_empty() {
            self.begin(caller);
        }
        let case = self.open.get_mut(&caller).expect("it was just found");
        case.questions.push(question);
    }

    fn see_answer(&mut self, caller: Caller, report: &Report) {
        if self.open.get(&caller).is_some_and(|case| case.begun.is_none()) {
            self.begin(caller);
        }
        let case = self.close(caller);
        let begun = case.begun.expect("what is answered was begun");
        let me = self.config.me;
        audit(&self.topology, me, &case.task, &case.hops, report);
        self.totals.answered += 1;
        self.totals.missing += report.missing.len() as u64;
        self.totals.total += self.now - case.arrived;
        self.totals.queued += begun - case.arrived;
        if let Some(visit) = report.visits.iter().find(|visit| visit.process == me) {
            assert_eq!(visit.queued, begun - case.arrived, "time in the queue");
            assert_eq!(visit.total, self.now - case.arrived, "time in all");
        }
        self.step.closed.push(case);
    }

    fn see_refusal(&mut self, caller: Caller) {
        let case = self.close(caller);
        assert_eq!(self.step.came, Some(caller), "who is refused is refused at once");
        self.totals.refused += 1;
        self.step.refused = true;
        self.step.closed.push(case);
    }

    fn see_expiry(&mut self, caller: Caller) {
        let case = self.close(caller);
        assert!(case.begun.is_none(), "what was begun is answered with what there is");
        let due = case.alarm.map_or(case.arrived, |(_, due)| due);
        assert!(due <= self.now, "nothing expires before its time");
        self.totals.expired += 1;
        self.step.closed.push(case);
    }

    /// Takes the first of the line in hand, or whoever came when nobody waits.
    fn begin(&mut self, caller: Caller) {
        let case = self.open.get_mut(&caller).expect("what begins is open");
        assert!(case.begun.replace(self.now).is_none(), "nothing begins twice");
        let (_, due) = case.alarm.unwrap_or((caller.1, Duration::MAX));
        assert!(self.now < due, "nothing begins after its time");
        if case.hops.contains(&self.config.me) {
            return;
        }
        if let Some(first) = self.line.pop_front() {
            assert_eq!(first, caller, "first come, first served");
        }
        self.step.begun.push(caller);
    }

    /// Ends a request: its caller is told.
    fn close(&mut self, caller: Caller) -> Case {
        self.line.retain(|other| *other != caller);
        self.open.remove(&caller).expect("everybody who asks is told once")
    }

    // What is left.

    fn conclude(&mut self) {
        let Seen { came, closed, begun, refused, sign, pulsed } = std::mem::take(&mut self.step);
        if let Some(came) = came.filter(|came| self.open.contains_key(came))
            && self.open[&came].begun.is_none()
        {
            self.line.push_back(came);
        }
        for case in begun.iter().filter_map(|caller| self.open.get(caller)) {
            self.check_questions(case);
        }
        for question in closed.iter().flat_map(|case| &case.questions) {
            let asked = self.asked.contains_key(&question.ticket);
            assert!(!asked, "whoever is asked in vain is told so");
        }
        let alarms: BTreeSet<_> =
            self.open.values().filter_map(|case| Some(case.alarm?.0)).collect();
        assert_eq!(self.alarms, alarms, "an alarm for each open request, and no other");
        assert_eq!(self.open.len(), alarms.len(), "no request without an end");
        if let Some((peer, alive)) = sign {
            let believed = self.alive.get(&peer).copied().unwrap_or(alive);
            assert_eq!(believed, alive, "a sign of life or death is heeded");
        }
        if pulsed {
            let oldest = self.now.saturating_sub(self.config.patience);
            let believed = |id| self.alive[id] && self.heard[id] < oldest;
            assert!(!self.heard.keys().any(believed), "silence is noticed");
        }
        self.check_view(refused);
    }

    /// A task is split among those who are asked, and nothing of it is lost.
    fn check_questions(&self, case: &Case) {
        let mut at = case.task.part.offset;
        for question in &case.questions {
            if case.task.operation == Operation::Process {
                assert_eq!(question.range, case.task.part.range(), "everybody gets the whole");
            } else {
                assert_eq!(question.range.offset, at, "parts follow each other");
                at += question.range.length;
            }
            for team in &question.teams {
                assert!(case.task.teams.contains(*team), "nobody serves a team unasked");
                self.check_way(case, question, *team);
            }
        }
        if case.task.operation != Operation::Process && !case.questions.is_empty() {
            assert_eq!(at, case.task.part.offset + case.task.part.bytes.len() as u64);
        }
    }

    /// Only the dead are gone round.
    fn check_way(&self, case: &Case, question: &Question, team: Team) {
        let peer = self.topology.place(question.peer);
        let me = self.topology.place(self.config.me);
        if me.role != Role::Leader || peer.team == team {
            return;
        }
        assert!(case.task.detour, "a detour is allowed");
        for (id, alive) in &self.alive {
            let place = self.topology.place(*id);
            assert!(!alive || place.team != team, "{} leads its team itself", place.name);
        }
    }

    fn check_view(&self, refused: bool) {
        let View { active, active_limit, queued, queue_limit, totals, neighbours, .. } =
            self.overlay.view();
        let leader = self.topology.place(self.config.me).role == Role::Leader;
        assert_eq!(active_limit, self.config.active_limit);
        assert_eq!(queue_limit, if leader { self.config.queue_limit } else { 0 });
        assert_eq!((active, queued), (self.open.len() - self.line.len(), self.line.len()));
        assert!(active <= active_limit && queued <= queue_limit, "limits hold");
        assert!(queued == 0 || active == active_limit, "nobody waits for nothing");
        let full = (active, queued) == (active_limit, queue_limit);
        assert!(full || !refused, "nobody is refused while there is room");
        let ignored = totals.ignored;
        assert_eq!(totals, Totals { ignored, ..self.totals }, "totals add up");
        for (name, alive) in neighbours {
            let id = self.topology.named(&name).expect("a process of the topology");
            assert_eq!(alive, self.alive[&id], "whoever is lost or found is announced");
        }
    }
}

impl Protocol for Witness {
    type Message = Message;
    type Timer = Timer;
    type Request = Request;
    type Notice = Notice;
    type Record = <Overlay as Protocol>::Record;
    type View = View;

    fn step(&mut self, now: Duration, input: Input<Self>, out: &mut Outbox<Self>) {
        self.now = now;
        self.note(&input);
        let input = match input {
            Input::Start => Input::Start,
            Input::Message(from, message) => Input::Message(from, message),
            Input::Unreachable(peer) => Input::Unreachable(peer),
            Input::Timeout(timer) => Input::Timeout(timer),
            Input::Request(request) => Input::Request(request),
        };
        let mut effects = Outbox::default();
        self.overlay.step(now, input, &mut effects);
        for effect in effects.drain() {
            self.see(&effect);
            match effect {
                Effect::Arm(timer, after) => out.arm(timer, after),
                Effect::Disarm(timer) => out.disarm(timer),
                Effect::Notify(notice) => out.notify(notice),
                Effect::Persist(record) => out.persist(record),
                Effect::Send(to, message) => out.send(to, message),
            }
        }
        self.conclude();
    }

    fn view(&self) -> View {
        self.overlay.view()
    }
}
