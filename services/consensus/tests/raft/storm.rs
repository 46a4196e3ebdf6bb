//! A cluster in a storm, with clients, an administrator who cannot leave the members alone, and an
//! audit after each step.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consensus::store::{LeaseId, Part};
use consensus::{
    Change, Config, Configuration, Index, Member, Notice, Occurrence, Record, Refusal, Request,
    Route, Standing,
};
use protocols::simulator::{Simulator, Step, Weather};
use protocols::{NodeId, Protocol as _, Ticket};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::audit::Audit;
use crate::clients::{Clients, Ends};
use crate::ms;
use crate::witness::{Told, Witness};

/// How long a storm lasts.
const LASTING: Duration = Duration::from_secs(4);
/// The slowest message of any weather.
const STRAGGLER: Duration = Duration::from_secs(2);
/// After so long in a fair network there is a leader, and whoever was behind has caught up.
const SETTLED: Duration = Duration::from_secs(3);
/// A request in a settled cluster takes no longer.
const PROMPT: Duration = Duration::from_millis(800);
/// Servers that there may be in all.
const SERVERS: u64 = 7;

/// What a storm is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) weather: Weather,
    pub(crate) voters: u64,
    pub(crate) lease_reads: bool,
    /// Whether the members change.
    pub(crate) restless: bool,
    /// How long values are.
    pub(crate) padding: usize,
    pub(crate) log_bytes: usize,
    /// How long they wait for a leader, at least; twice as long at most.
    pub(crate) election: Duration,
    /// Whether leaders are cut off, with one other, as soon as they are elected or a little later
    /// (figure 8), and voters crash as they vote; in elections that often have two candidates, and
    /// with one entry in a message.
    pub(crate) malice: bool,
    /// How many requests may wait at one server.
    pub(crate) waiting_limit: usize,
    /// How many ask.
    pub(crate) clients: u64,
}

impl Plan {
    /// A plan that is drawn from the seed.
    pub(crate) fn draw(seed: u64, weather: Weather) -> Self {
        let mut draw = Simulator::<Witness>::new(seed, [], |_, _, _| unreachable!("nobody starts"));
        let random = draw.random();
        let voters = *[1, 3, 3, 3, 4, 5, 5].choose(random).expect("there are some");
        let large = random.random_bool(0.15);
        // An election must take longer than a question and its answer (5.6 of the paper).
        let near = *weather.latency.end() <= ms(10);
        let lease_reads = random.random_bool(0.3);
        // As far apart as the leases allow: a tenth.
        let drift_ppm = if lease_reads { 45_000 } else { weather.drift_ppm };
        Self {
            weather: Weather { drift_ppm, ..weather },
            voters,
            lease_reads,
            restless: random.random_bool(0.5),
            padding: if large { 60_000 } else { 8 },
            log_bytes: if large {
                400_000
            } else {
                *[3_000, 10_000, 1 << 20].choose(random).expect("there are some")
            },
            election: ms(if near { *[50, 150].choose(random).expect("two") } else { 150 }),
            malice: false,
            waiting_limit: if random.random_bool(0.2) { 2 } else { 100 },
            clients: random.random_range(2..=6),
        }
    }

    fn config(&self) -> Config {
        let large = 1_000 < self.padding;
        Config {
            election: self.election..=self.election * if self.malice { 5 } else { 8 } / 4,
            heartbeat: self.election / 3,
            lease_reads: self.lease_reads,
            log_bytes: self.log_bytes,
            uncommitted_bytes: if large { 400_000 } else { 4_000 },
            message_bytes: if self.malice {
                1
            } else if large {
                150_000
            } else {
                600
            },
            flight_bytes: if large { 300_000 } else { 2_000 },
            waiting_limit: self.waiting_limit,
            ..Config::of(NodeId(1))
        }
    }
}

/// A storm and what is known of it.
pub(crate) struct Storm {
    pub(crate) simulator: Simulator<Witness>,
    pub(crate) plan: Plan,
    pub(crate) audit: Audit,
    pub(crate) clients: Clients,
    /// Every server that was ever started.
    servers: Vec<NodeId>,
    /// When the administrator acts next, and what it has asked for.
    restless_at: Duration,
    /// The leader that is to be cut off, and when.
    stranded: Option<(Duration, NodeId)>,
    /// Who is to start again, and when.
    fallen: Vec<(Duration, NodeId)>,
    changes: BTreeMap<Ticket, NodeId>,
    /// What was asked in the calm, which must be answered, and by when.
    prompt: BTreeMap<Ticket, Duration>,
    /// When the end of a key's lease was first told, by its version.
    expired: BTreeMap<Index, Duration>,
    /// Where a trace is written if the test fails.
    trace_to: Option<String>,
    pub(crate) tally: Tally,
}

impl Drop for Storm {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(path) = &self.trace_to
        {
            let written = fs::write(path, self.simulator.trace());
            eprintln!("its trace is in {path}: {written:?}");
        }
    }
}

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) denied: u64,
    pub(crate) expired: u64,
    pub(crate) answered_in_storm: u64,
    pub(crate) ends: Ends,
    pub(crate) elections: u64,
    pub(crate) entries_lost: u64,
    pub(crate) compacted: u64,
    pub(crate) installed: u64,
    pub(crate) configurations: u64,
    pub(crate) committed: u64,
    pub(crate) resurrected: u64,
    pub(crate) surfaced: u64,
    pub(crate) crashes: u64,
    pub(crate) torn_records: u64,
    pub(crate) lost_records: u64,
    pub(crate) steps: u64,
}

impl Tally {
    fn fields(&mut self) -> impl Iterator<Item = &mut u64> {
        let own = [
            &mut self.done,
            &mut self.denied,
            &mut self.expired,
            &mut self.answered_in_storm,
            &mut self.elections,
            &mut self.entries_lost,
            &mut self.compacted,
            &mut self.installed,
            &mut self.configurations,
            &mut self.committed,
            &mut self.resurrected,
            &mut self.surfaced,
            &mut self.crashes,
            &mut self.torn_records,
            &mut self.lost_records,
            &mut self.steps,
        ];
        own.into_iter().chain(self.ends.fields())
    }

    pub(crate) fn add(&mut self, mut other: Self) {
        for (own, other) in self.fields().zip(other.fields()) {
            *own += *other;
        }
    }

    /// A storm in which nothing happens shows nothing.
    pub(crate) fn assert_rich(mut self) {
        let all = self;
        // That takes malice.
        self.resurrected = u64::MAX;
        assert!(self.fields().all(|count| 10 < *count), "{all:?}");
    }
}

/// A prefix of what was being written: all that a log's checksums let through.
fn tear(record: &Record, random: &mut StdRng) -> Option<Record> {
    match record {
        Record::Append(entries) if 1 < entries.len() => {
            let kept = random.random_range(1..entries.len());
            Some(Record::Append(entries[..kept].to_vec()))
        }
        Record::Append(_) | Record::Ballot(..) | Record::Compact(_) | Record::Install(_) => None,
    }
}

/// Voters with the names from 1 on.
pub(crate) fn founders(voters: u64) -> Configuration {
    let member = |id| {
        let address = format!("host-{id}:50071").into();
        (NodeId(id), Member { address, standing: Standing::Voter })
    };
    Configuration { members: (1..=voters).map(member).collect() }
}

impl Storm {
    pub(crate) fn brew(seed: u64, plan: Plan) -> Self {
        let ledger = Arc::new(Mutex::default());
        let (config, founders) = (plan.config(), founders(plan.voters));
        let audit = Audit::new(config.clone(), ledger.clone());
        let make = move |me: NodeId, records, seed| {
            let known = founders.members.contains_key(&me);
            let founders = if known { founders.clone() } else { Configuration::default() };
            Witness::new(Config { me, ..config.clone() }, founders, records, seed, ledger.clone())
        };
        let servers = (1..=plan.voters).map(NodeId).collect::<Vec<_>>();
        let mut simulator = Simulator::new(seed, servers.clone(), make);
        simulator.set_tear(tear);
        simulator.set_weather(plan.weather.clone());
        let random = simulator.random();
        let restless_at = ms(random.random_range(500..1_500));
        let clients = Clients::new(plan.clients, plan.padding, &servers, random);
        Self {
            simulator,
            plan,
            audit,
            clients,
            servers,
            restless_at,
            stranded: None,
            fallen: Vec::new(),
            changes: BTreeMap::new(),
            prompt: BTreeMap::new(),
            expired: BTreeMap::new(),
            trace_to: None,
            tally: Tally::default(),
        }
    }

    /// Keeps a trace, and writes it there if the test fails.
    pub(crate) fn trace_to(&mut self, path: Option<String>) {
        if path.is_some() {
            self.simulator.start_trace();
            self.trace_to = path;
        }
    }

    /// Everybody asks while the storm rages.
    pub(crate) fn rage(&mut self) {
        while self.simulator.now() < LASTING {
            self.act();
            self.run_until(self.simulator.now() + ms(4));
        }
    }

    /// Everybody asks while one leader after the other is cut off from everyone but its callers.
    pub(crate) fn isolate_leaders(&mut self) {
        while self.simulator.now() < LASTING {
            let leader = self.simulator.nodes().find(|(_, node)| node.raft().marks().leads);
            if let Some(leader) = leader.map(|(leader, _)| leader) {
                if self.simulator.random().random_bool(0.3) {
                    self.let_one_wait_and_another_restart(leader);
                } else if self.simulator.random().random() {
                    // Then its heir need not wait, and nobody can tell it.
                    let ticket = self.clients.ticket();
                    let change = Change::Transfer(None);
                    self.changes.insert(ticket, leader);
                    let request = Request::Administer(ticket, change, Route::Here);
                    self.simulator.request(leader, request);
                    let soon = self.simulator.random().random_range(1..4);
                    self.run_until(self.simulator.now() + ms(soon));
                }
                self.simulator.partition([leader]);
            }
            self.act_for(ms(400));
            self.simulator.mend_every_cut();
            self.act_for(ms(400));
        }
    }

    fn act_for(&mut self, lasting: Duration) {
        let until = self.simulator.now() + lasting;
        while self.simulator.now() < until {
            self.act();
            self.run_until(self.simulator.now() + ms(2));
        }
    }

    /// One has not heard the leader for long, and another, who has, forgets it by a crash: they
    /// could elect a leader at once, were it not for what the other promised.
    fn let_one_wait_and_another_restart(&mut self, leader: NodeId) {
        let others = self.servers.iter().copied().filter(|server| *server != leader);
        let others = others.collect::<Vec<_>>();
        self.simulator.cut(leader, others[0]);
        self.simulator.cut(others[0], leader);
        self.act_for(ms(300));
        for other in &others[1..] {
            self.simulator.crash(*other);
            self.clients.crash(*other, self.simulator.now());
            self.simulator.start(*other);
        }
    }

    /// Whoever has something to ask does.
    fn act(&mut self) {
        let now = self.simulator.now();
        for (node, ticket) in self.clients.lose_patience(now) {
            self.simulator.request(node, Request::Forget(ticket));
        }
        if let Some((_, leader)) = self.stranded.take_if(|(at, _)| *at <= now) {
            self.strand(leader);
        }
        for (_, node) in self.fallen.extract_if(.., |(at, _)| *at <= now) {
            self.simulator.start(node);
        }
        if self.plan.restless && self.restless_at <= now {
            self.restless_at = now + ms(self.simulator.random().random_range(100..1_000));
            self.change_something();
        }
        while let Some((node, request)) =
            self.clients.ask(now, &self.servers, self.simulator.random())
        {
            if self.simulator.is_up(node) {
                self.simulator.request(node, request);
            } else {
                // A client sees that there is nobody to connect to.
                let ticket = ticket_of(&request);
                self.clients.refuse(ticket, now, &Refusal::NotLeader(None));
            }
        }
    }

    /// The administrator adds, promotes, removes, or hands over.
    fn change_something(&mut self) {
        let count = self.servers.len() as u64;
        let random = self.simulator.random();
        let some = *self.servers.choose(random).expect("there are some");
        let standing = if random.random() { Standing::Joining } else { Standing::Learner };
        let add = |id: NodeId| Change::Add(id, format!("host-{id}:50071").into(), standing);
        let change = match random.random_range(0..10) {
            0..2 if count < SERVERS => {
                let id = NodeId(count + 1);
                self.servers.push(id);
                self.simulator.start(id);
                add(id)
            }
            0..4 => add(some),
            4 => Change::Promote(some),
            5..7 => Change::Remove(some),
            7 => Change::Transfer(None),
            _ => Change::Transfer(Some(some)),
        };
        let through = *self.servers.choose(self.simulator.random()).expect("there are some");
        let ticket = self.clients.ticket();
        self.changes.insert(ticket, through);
        let request = Request::Administer(ticket, change, Route::Forward);
        self.simulator.request(through, request);
        if self.simulator.random().random_bool(0.2) {
            let ticket = self.clients.ticket();
            self.simulator.request(through, Request::Compact(ticket));
        }
    }

    fn run_until(&mut self, until: Duration) {
        while let Some(step) = self.simulator.step_until(until) {
            self.audit.after(&self.simulator, &step);
            self.react(step);
        }
    }

    fn react(&mut self, step: Step<Witness>) {
        let now = step.now;
        for told in step.notices {
            let Told::Notice(notice) = told else { continue };
            match notice {
                Notice::Answered(ticket, answer, _) => {
                    self.prompt.remove(&ticket);
                    self.clients.answer(ticket, now, answer);
                }
                Notice::Refused(ticket, refusal) => {
                    let prompt = self.prompt.remove(&ticket);
                    let few = self.plan.waiting_limit < 16 && refusal == Refusal::Busy;
                    assert!(prompt.is_none() || few, "nothing is wrong, and yet: {refusal:?}");
                    if self.changes.remove(&ticket).is_some() {
                        self.tally.denied += 1;
                    }
                    self.clients.refuse(ticket, now, &refusal);
                }
                Notice::Done(ticket) => {
                    self.tally.done += u64::from(self.changes.remove(&ticket).is_some());
                }
                Notice::Changed(events) => {
                    for event in events.iter().filter(|event| event.expired) {
                        self.expired.entry(event.version).or_insert(now);
                    }
                }
                Notice::History(_, Ok(events), applied) => {
                    self.audit.compare_history(&events, applied);
                }
                Notice::Occurred(Occurrence::Won(_)) if self.plan.malice => {
                    let after = ms(self.simulator.random().random_range(0..20));
                    self.stranded = Some((now + after, step.node));
                }
                Notice::Occurred(Occurrence::Stood(_)) if self.plan.malice => {
                    self.trip(step.node, now);
                }
                Notice::History(_, Err(_), _)
                | Notice::Logged(..)
                | Notice::Committed(_)
                | Notice::Configured(_)
                | Notice::Settled(_)
                | Notice::Occurred(_) => (),
            }
        }
        if step.crashed {
            self.clients.crash(step.node, now);
        }
    }

    /// Lets somebody who may be about to vote crash while it does, and come back soon.
    fn trip(&mut self, candidate: NodeId, now: Duration) {
        let random = self.simulator.random();
        let (voter, kept) =
            (*self.servers.choose(random).expect("some"), random.random_range(1..5));
        if voter != candidate && random.random_bool(0.5) {
            self.simulator.crash_after(voter, kept);
            self.fallen.push((now + ms(12), voter));
        }
    }

    /// Leaves a leader with one other server, or lets everybody see everybody.
    fn strand(&mut self, leader: NodeId) {
        self.simulator.mend_every_cut();
        let random = self.simulator.random();
        if random.random_bool(0.7) {
            let other = *self.servers.choose(random).expect("there are some");
            self.simulator.partition([leader, other]);
        }
    }

    /// After the storm there is a leader, who answers; whoever is a member has what it has; and
    /// what the clients saw can be explained.
    pub(crate) fn come_to_rest(&mut self) {
        self.settle();
        self.ask_everybody();
        self.assert_at_rest();
        self.judge();
        self.count();
    }

    /// The weather clears, and time passes until no excuse is left.
    fn settle(&mut self) {
        self.tally.answered_in_storm = self.clients.ends.answered;
        self.simulator.heal();
        let Weather { latency, repetition, sync, drift_ppm, .. } = self.plan.weather.clone();
        let fair = Weather { latency, repetition, sync, drift_ppm, ..Weather::calm() };
        self.simulator.set_weather(fair);
        (self.plan.restless, self.plan.malice) = (false, false);
        self.stranded = None;
        let until = LASTING + STRAGGLER + SETTLED;
        while self.simulator.now() < LASTING + SETTLED {
            self.act();
            self.run_until(self.simulator.now() + ms(4));
        }
        self.run_until(until);
        // What was lost on its way, nobody can be told: whoever waits must go away.
        let changes = std::mem::take(&mut self.changes).into_iter();
        let late = self.clients.lose_patience(until).into_iter();
        for (node, ticket) in late.chain(changes.map(|(ticket, node)| (node, ticket))) {
            self.simulator.request(node, Request::Forget(ticket));
        }
        self.run_until(until + ms(1));
    }

    /// The members by the leader's word, and the leader.
    fn cluster(&self) -> (NodeId, Vec<(NodeId, Standing)>) {
        let leaders = self.simulator.nodes().filter(|(_, node)| node.raft().marks().leads);
        let mut leaders = leaders.map(|(id, node)| (node.view().term, id, node.view()));
        let (_, id, view) = leaders.next().expect("somebody leads");
        assert!(leaders.next().is_none(), "only one leads");
        (id, view.members.iter().map(|member| (member.id, member.standing)).collect())
    }

    /// Every member answers, at once and without a refusal.
    fn ask_everybody(&mut self) {
        let now = self.simulator.now();
        let (_, members) = self.cluster();
        for (node, _) in members {
            let requests = self.clients.ask_plainly(now, node);
            for (ticket, request) in requests {
                self.prompt.insert(ticket, now + PROMPT);
                self.simulator.request(node, request);
            }
        }
        self.run_until(now + PROMPT);
        assert!(self.prompt.is_empty(), "{:?} are not answered in time", self.prompt);
        // What the last commands led to is known everywhere after one more heartbeat.
        self.run_until(now + PROMPT + ms(300));
    }

    fn assert_at_rest(&mut self) {
        assert!(self.clients.open.is_empty(), "everybody was told: {:?}", self.clients.open);
        let (leader, members) = self.cluster();
        let of_leader = self.simulator.node(leader).expect("it leads").raft().view();
        let parts = self.parts(leader);
        assert!(!of_leader.change_pending);
        for (node, standing) in members {
            assert_ne!(standing, Standing::Joining, "{node} has joined");
            let raft = self.simulator.node(node).expect("everybody is up").raft();
            let (view, marks) = (raft.view(), raft.marks());
            assert_eq!(view.leader, Some(leader), "{node} follows");
            assert_eq!((view.applied, view.term), (of_leader.applied, of_leader.term), "{node}");
            assert_eq!(marks.waiting, [0, 0, 0], "{node} lets nobody wait");
            assert!(self.parts(node) == parts, "{node} has another store than {leader}");
        }
    }

    fn parts(&self, node: NodeId) -> Vec<Part> {
        let witness = self.simulator.node(node).expect("everybody is up");
        witness.raft().store().parts().collect()
    }

    /// The clients' history holds, and no lease ended early.
    fn judge(&mut self) {
        let checked = self.clients.history.check();
        let checked = checked.unwrap_or_else(|problem| panic!("{problem}"));
        self.tally.surfaced += checked.surfaced as u64;
        let ends = self.audit.judge_leases();
        for (lease, version) in ends {
            let (Some(known), Some(ended)) =
                (self.clients.leases.get(&LeaseId(lease)), self.expired.get(&version))
            else {
                continue;
            };
            self.tally.expired += 1;
            let drift = self.plan.weather.drift_ppm;
            let least = known.ttl * (1_000_000 - drift) / 1_000_000;
            let lasted = *ended - known.since;
            assert!(least <= lasted + ms(2), "{lease} ended after {lasted:?} of {:?}", known.ttl);
        }
    }

    fn count(&mut self) {
        let (seen, counts) = (self.audit.counts, self.simulator.counts());
        let tally = &mut self.tally;
        tally.ends = self.clients.ends;
        tally.elections = seen.elections;
        tally.entries_lost = seen.overwritten;
        tally.compacted = seen.compacted;
        tally.installed = seen.installed;
        tally.configurations = seen.configurations;
        tally.committed = seen.committed;
        tally.resurrected = seen.resurrected;
        tally.crashes = counts.crashes;
        tally.torn_records = counts.torn_records;
        tally.lost_records = counts.lost_records;
        tally.steps = counts.steps;
    }
}

fn ticket_of(request: &Request) -> Ticket {
    match request {
        Request::Propose(ticket, ..)
        | Request::Read(ticket, ..)
        | Request::Peek(ticket, _)
        | Request::History(ticket, _)
        | Request::Administer(ticket, ..)
        | Request::Compact(ticket)
        | Request::Forget(ticket) => *ticket,
    }
}
