//! A ring in a storm: nodes come, leave and die, are cut off and sleep, messages are lost, and
//! clients save, find and remove all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use hashring::{
    Action, Chord, Circle, Event, Id, Key, Mode, Notice, Outcome, Peer, Reason, Refusal, Request,
};
use protocols::simulator::{Simulator, Step, Weather};
use protocols::{NodeId, Ticket};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};

use crate::audit::Ring;
use crate::clients::{Clients, place};
use crate::ms;
use crate::plan::{PERIOD, Plan, Promise};
use crate::tally::Tally;

/// So long after deaths or departures others may follow: what was lost has been copied again.
const REPAIR: Duration = ms(3_000);
/// The same of a single departure: until everybody has taken it out of his list.
const LEAVE: Duration = ms(600);
/// In so much time a healed ring comes to rest.
const REST: Duration = ms(25_000);
/// How long a caller waits.
const BUDGET: Duration = ms(2_000);
/// So long a part is cut off, and so long all is well again, on average.
const PARTED: Duration = ms(1_500);

pub(crate) struct Storm {
    pub(crate) simulator: Simulator<Chord>,
    plan: Plan,
    circle: Circle,
    random: StdRng,
    /// Every node that may be.
    pool: Vec<NodeId>,
    up: BTreeSet<NodeId>,
    leaving: BTreeSet<NodeId>,
    /// Who was ever up.
    known: BTreeSet<NodeId>,
    change_at: Duration,
    /// When the network parts next, or grows together.
    part_at: Duration,
    parted: bool,
    /// When nodes last died, and last left.
    died: Option<Duration>,
    left: Option<Duration>,
    /// When a node last joined.
    joined: Duration,
    clients: Clients,
    /// What the invariant depends on, as of the last look: whoever is a member, and its successors.
    seen: BTreeMap<NodeId, Vec<Id>>,
    /// Where a trace is written if the test fails.
    trace_to: Option<String>,
    pub(crate) tally: Tally,
}

impl Drop for Storm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("its plan: {:?}", self.plan);
            if let Some(path) = &self.trace_to {
                let written = fs::write(path, self.simulator.trace());
                eprintln!("its trace is in {path}: {written:?}");
            }
        }
    }
}

pub(crate) fn peer(id: u64) -> Peer {
    Peer { id: Id(id), address: format!("host-{id}:50081").into() }
}

impl Storm {
    pub(crate) fn brew(seed: u64, plan: Plan) -> Self {
        let circle = Circle::new(plan.bits);
        let mut random = StdRng::seed_from_u64(seed);
        let mut pool = BTreeSet::new();
        while pool.len() < plan.most.max(plan.nodes) {
            pool.insert(NodeId(random.random::<u64>() & circle.last().0));
        }
        let mut pool = pool.into_iter().collect::<Vec<_>>();
        pool.shuffle(&mut random);
        let contacts = pool.iter().map(|node| peer(node.0)).collect::<Vec<_>>();
        // Whoever is the first of all begins the ring, and joins it when it comes again.
        let mut first = true;
        let its = plan.clone();
        let make = move |me: NodeId, _, seed| {
            let contacts = if std::mem::take(&mut first) { Vec::new() } else { contacts.clone() };
            Chord::new(its.config(peer(me.0)), contacts, StdRng::seed_from_u64(seed))
        };
        let mut storm = Self {
            simulator: Simulator::new(seed, [], make),
            circle,
            random,
            pool,
            up: BTreeSet::new(),
            leaving: BTreeSet::new(),
            known: BTreeSet::new(),
            change_at: ms(0),
            part_at: ms(0),
            parted: false,
            died: None,
            left: None,
            joined: ms(0),
            clients: Clients::new(circle, plan.promise, plan.padding),
            seen: BTreeMap::new(),
            trace_to: None,
            tally: Tally::default(),
            plan,
        };
        for at in 0..storm.plan.nodes {
            storm.start(storm.pool[at]);
            storm.run_until(storm.simulator.now() + PERIOD, false);
        }
        storm
    }

    /// Keeps a trace, and writes it there if the test fails.
    pub(crate) fn trace_to(&mut self, path: Option<String>) {
        if path.is_some() {
            self.simulator.start_trace();
            self.trace_to = path;
        }
    }

    fn start(&mut self, node: NodeId) {
        if self.up.insert(node) {
            self.known.insert(node);
            self.tally.count("started");
            self.simulator.start(node);
        }
    }

    /// The storm itself.
    pub(crate) fn rage(&mut self) {
        self.simulator.set_weather(self.plan.weather.clone());
        for _ in 0..self.plan.clients {
            self.ask();
        }
        self.run_until(self.simulator.now() + self.plan.lasting, true);
    }

    fn run_until(&mut self, until: Duration, restless: bool) {
        while let Some(step) = self.simulator.step_until(until) {
            self.react(step, restless);
            if restless {
                self.meddle();
            }
        }
    }

    fn ring(&self) -> Ring<'_> {
        Ring::of(self.circle, self.plan.replicas, self.simulator.nodes().map(|(_, node)| node))
    }

    /// Zave's invariant, whenever something changes on which it depends.
    fn watch(&mut self, node: NodeId) {
        let member = self.simulator.node(node).filter(|node| node.is_member());
        let seen = member.map(|member| member.successors().iter().map(|peer| peer.id));
        let changed = match (self.seen.get(&node), &seen) {
            (Some(before), Some(now)) => !before.iter().copied().eq(now.clone()),
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        };
        if !changed {
            return;
        }
        match seen.map(Iterator::collect) {
            Some(seen) => self.seen.insert(node, seen),
            None => self.seen.remove(&node),
        };
        let state = self.ring().is_one();
        if Promise::Always <= self.plan.promise {
            state.unwrap_or_else(|problem| panic!("{problem}"));
        } else if state.is_err() {
            self.tally.count("not one ring");
        }
    }

    /// Changes the ring, when it is time.
    fn meddle(&mut self) {
        let now = self.simulator.now();
        if self.plan.parts && self.part_at <= now {
            self.part_or_mend();
        }
        if now < self.change_at {
            return;
        }
        self.change_at = now + self.random.random_range(ms(0)..=self.plan.between * 2);
        match self.random.random_range(0..10) {
            0..5 => {
                let down = self.pool.iter().filter(|node| !self.up.contains(node));
                let down = down.copied().collect::<Vec<_>>();
                if let Some(node) = down.choose(&mut self.random).copied() {
                    self.start(node);
                }
            }
            5..8 if self.plan.leaves && self.is_quiet_since(self.died) && self.may_leave() => {
                self.let_one_leave();
            }
            8.. if self.may_kill() => self.kill(None),
            _ => (),
        }
    }

    fn is_quiet_since(&self, at: Option<Duration>) -> bool {
        at.is_none_or(|at| at + REPAIR <= self.simulator.now())
    }

    fn may_kill(&self) -> bool {
        let quiet = self.is_quiet_since(self.died) && self.is_quiet_since(self.left);
        self.plan.deaths && quiet && self.leaving.is_empty()
    }

    /// For those who still count on it, a node that leaves is one that has died, for a while.
    fn may_leave(&self) -> bool {
        let before = self.left.map_or(ms(0), |at| at + LEAVE);
        self.leaving.is_empty() && before <= self.simulator.now()
    }

    fn let_one_leave(&mut self) {
        // The last one has nobody to give its keys to, and does not wait for those that join. Nor
        // has one that takes all others for dead.
        let alone = |node: &NodeId| {
            let node = self.simulator.node(*node);
            node.is_none_or(|node| node.is_member() && node.successors().is_empty())
        };
        let nodes = self.up.difference(&self.leaving).copied();
        let nodes = nodes.filter(|node| !alone(node)).collect::<Vec<_>>();
        if nodes.len() < 2 || self.ring().len() < 2 {
            return;
        }
        let Some(node) = nodes.choose(&mut self.random).copied() else { return };
        self.leaving.insert(node);
        self.simulator.request(node, Request::Leave);
    }

    /// Kills fewer than r nodes at once, often neighbours; this one first, if one is named.
    fn kill(&mut self, named: Option<NodeId>) {
        let members = self.simulator.nodes().filter(|(_, node)| node.is_member());
        let members = members.map(|(node, _)| node).collect::<Vec<_>>();
        let most = self.plan.replicas.min(members.len()).saturating_sub(1);
        // What a small ring has on all of its nodes must first be on the one that has just come.
        let small = members.len() <= self.plan.replicas + 1;
        // Nor does one that came when there were few know yet whom it may count on.
        let known = self.plan.replicas.min(members.len() - usize::from(!members.is_empty()));
        let knows = |node: &NodeId| {
            self.simulator.node(*node).is_some_and(|node| known <= node.successors().len())
        };
        let early = small
            && (self.simulator.now() < self.joined + LEAVE
                || !self.clients.keys().all(|key| self.is_copied(key)));
        if most == 0 || early || !members.iter().all(knows) {
            return;
        }
        let count = self.random.random_range(1..=most);
        let named = members.iter().position(|member| Some(*member) == named);
        let first = named.unwrap_or_else(|| self.random.random_range(0..members.len()));
        let together = named.is_some() || self.random.random_bool(0.7);
        for at in 0..count {
            let at = if together { first + at } else { self.random.random_range(0..members.len()) };
            let node = members[at % members.len()];
            if self.up.remove(&node) {
                self.tally.count("killed");
                self.simulator.crash(node);
                self.died = Some(self.simulator.now());
                self.gone(node);
            }
        }
    }

    /// Cuts some nodes off from all others, for long enough to make two rings; or mends all.
    fn part_or_mend(&mut self) {
        let shortest = if self.parted { ms(0) } else { PARTED };
        self.part_at = self.simulator.now() + shortest + self.random.random_range(ms(0)..=PARTED);
        self.parted = !self.parted;
        if self.parted {
            let group = self.up.iter().copied().filter(|_| self.random.random());
            self.simulator.partition(group.collect::<Vec<_>>());
            self.tally.count("parted");
        } else {
            self.simulator.mend_every_cut();
        }
    }

    /// A node is gone, and with it whatever its callers waited for.
    fn gone(&mut self, node: NodeId) {
        let orphans = self.clients.pending.extract_if(.., |_, pending| pending.node == node);
        for (_, pending) in orphans.collect::<Vec<_>>() {
            self.clients.end(&pending, None, &mut self.tally);
            self.ask();
        }
        self.watch(node);
    }

    /// A client asks some node for something.
    fn ask(&mut self) {
        let nodes = self.up.iter().copied().filter(|node| self.simulator.is_up(*node));
        let nodes = nodes.collect::<Vec<_>>();
        let Some(node) = nodes.choose(&mut self.random).copied() else { return };
        let (key, action) = self.clients.think_of(&mut self.random);
        let at = self.simulator.now() + self.random.random_range(ms(0)..=self.plan.thinking);
        self.perform(at, node, key, action);
    }

    fn perform(&mut self, at: Duration, node: NodeId, key: Key, action: Action) -> Ticket {
        let mode = if self.random.random() { Mode::Recursive } else { Mode::Iterative };
        let (ticket, operation) = self.clients.begin(node, key, action);
        self.simulator.request_at(at, node, Request::Perform(ticket, operation, mode, BUDGET));
        ticket
    }

    fn react(&mut self, step: Step<Chord>, restless: bool) {
        self.tally.count("steps");
        let node = step.node;
        for notice in step.notices {
            match notice {
                Notice::Performed(ticket, outcome) => {
                    let Some(pending) = self.clients.pending.remove(&ticket) else { continue };
                    for hop in outcome.iter().flat_map(|performed| &performed.path) {
                        self.count_hop(hop.reason, hop.answered);
                    }
                    let by = outcome.as_ref().ok().map(|performed| performed.by.node());
                    let outcome = outcome.map(|performed| performed.outcome);
                    self.clients.judge(&pending, &outcome);
                    self.clients.end(&pending, Some(&outcome), &mut self.tally);
                    if restless {
                        self.ask();
                    }
                    // What was answered is safe, whatever becomes of who has done it.
                    let changed = matches!(outcome, Ok(Outcome::Saved | Outcome::Removed));
                    if changed {
                        self.count_copies(&pending.key);
                    }
                    if restless && changed && self.may_kill() && self.random.random_bool(0.2) {
                        self.kill(by);
                    }
                }
                Notice::Left => {
                    self.tally.count("left");
                    self.leaving.remove(&node);
                    self.up.remove(&node);
                    self.left = Some(self.simulator.now());
                    self.simulator.crash(node);
                    self.gone(node);
                }
                Notice::Joined(_) => {
                    self.tally.count("joined");
                    self.joined = self.simulator.now();
                }
                Notice::Event(event) => self.count_event(&event),
            }
        }
        self.watch(node);
        if step.crashed {
            // The weather will start it again; with whom it was, has forgotten that it leaves.
            self.tally.count("crashed");
            self.leaving.remove(&node);
            self.gone(node);
        }
    }

    /// What was answered is on as many nodes as it must be, unless the ring is changing.
    fn count_copies(&mut self, key: &Key) {
        let now = self.simulator.now();
        let calm = self.is_quiet_since(self.died)
            && self.may_leave()
            && self.joined + LEAVE <= now
            && self.plan.promise == Promise::Always;
        if calm {
            assert!(self.is_copied(key), "{} is on too few nodes", key.escape_ascii());
            self.tally.count("copied");
        }
    }

    /// Whether what a key holds is on as many nodes as it must be, if nobody changes it.
    fn is_copied(&self, key: &Key) -> bool {
        let Some(last) = self.clients.settled(key) else { return true };
        let id = place(key, self.circle);
        let holds = |(_, node): &(NodeId, &Chord)| node.kept(id, key) == last.as_ref();
        let holders = self.simulator.nodes().filter(holds).count();
        self.plan.replicas.min(self.ring().len()) <= holders
    }

    fn count_hop(&mut self, reason: Reason, answered: bool) {
        self.tally.count(match reason {
            _ if !answered => "hops in vain",
            Reason::Entry => return,
            Reason::Finger(_) => "hops by finger",
            Reason::Successor(_) => "hops by successor",
            Reason::Responsible => "hops to the end",
            Reason::Redirected => "hops back",
        });
    }

    fn count_event(&mut self, event: &Event) {
        self.tally.count(match event {
            Event::Founded => "founded",
            Event::Suspected(_) => "suspected",
            Event::Returned(_) => "returned",
            Event::Ready(_) => "ready",
            Event::Counted(_) => "counted",
            Event::Astray => "astray",
            Event::Predecessor(_) | Event::Successor(_) => return,
        });
    }

    /// After the storm: the ring is as it should be, and every key is where it should be.
    pub(crate) fn come_to_rest(&mut self) {
        self.simulator.heal();
        self.simulator.set_weather(Weather { latency: ms(1)..=ms(20), ..Weather::calm() });
        // Everybody who was ever there starts again.
        self.up.clone_from(&self.known);
        self.leaving.retain(|node| self.simulator.is_up(*node));
        let until = self.simulator.now() + REST;
        while let Err(problem) = self.is_at_rest() {
            assert!(self.simulator.now() < until, "after {REST:?} of calm: {problem}");
            self.run_until(self.simulator.now() + PERIOD, false);
        }
        let totals = self.simulator.nodes().map(|(_, node)| protocols::Protocol::view(node).totals);
        let repaired = totals.map(|totals| totals.repaired).sum();
        self.tally.count_many("repaired", repaired);
        for key in self.clients.keys().cloned().collect::<Vec<_>>() {
            self.look_at(&key);
        }
    }

    fn is_at_rest(&self) -> Result<(), String> {
        let ring = self.ring();
        ring.is_one()?;
        ring.is_ideal()?;
        let up = self.up.len() - self.leaving.len();
        if ring.len() != up {
            return Err(format!("{} members, {up} nodes are up", ring.len()));
        }
        if !self.clients.pending.is_empty() {
            return Err(format!("{} operations have no end", self.clients.pending.len()));
        }
        self.clients.keys().try_for_each(|key| ring.is_kept(place(key, self.circle), key))
    }

    /// All nodes agree on a key, and it is not lost.
    fn look_at(&mut self, key: &Key) {
        let nodes = self.up.difference(&self.leaving).copied().collect::<Vec<_>>();
        let until = self.simulator.now() + BUDGET;
        let outcome = loop {
            let node = *nodes.choose(&mut self.random).expect("somebody is up");
            match self.find_at_rest(node, key, until) {
                // It has few places for callers, and looks after the ring as well.
                Err(Refusal::Busy) => (),
                outcome => break outcome.expect("a calm ring answers"),
            }
        };
        self.clients.judge_at_rest(key, &outcome);
    }

    fn find_at_rest(
        &mut self,
        node: NodeId,
        key: &Key,
        until: Duration,
    ) -> Result<Outcome, Refusal> {
        let ticket = self.perform(self.simulator.now(), node, key.clone(), Action::Find);
        self.clients.pending.remove(&ticket);
        loop {
            let step = self.simulator.step_until(until).expect("an answer in time");
            for notice in step.notices {
                if let Notice::Performed(of, outcome) = notice
                    && of == ticket
                {
                    return outcome.map(|performed| performed.outcome);
                }
            }
        }
    }
}
