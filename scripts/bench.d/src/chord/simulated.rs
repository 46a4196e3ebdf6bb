//! A ring of simulated nodes: grown by joining, asked, and struck. Whoever holds all ids knows what
//! each node should know.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hashring::{
    Action, Chord, Circle, Config, Id, Key, Mode, Notice, Operation, Peer, Performed, Refusal,
    Request,
};
use protocols::simulator::{Simulator, Step, Weather};
use protocols::{NodeId, Ticket, Trace};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};

/// m: ids have so many bits.
pub(super) const BITS: u32 = 64;
/// How long a message travels.
const LATENCY: RangeInclusive<Duration> = Duration::from_micros(500)..=Duration::from_micros(1500);
/// How long a caller waits, as clients do by default.
const BUDGET: Duration = Duration::from_secs(5);
/// Rounds in which a ring that grows must be right; many times what it takes.
const GROWTH_LIMIT: f64 = 1000.0;

/// What a lookup came to.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) origin: Id,
    pub(super) place: Id,
    pub(super) mode: Mode,
    /// When it was asked, and how long it took.
    pub(super) asked: Duration,
    pub(super) took: Duration,
    pub(super) result: Result<Performed, Refusal>,
    /// Whether the responsible node was found.
    pub(super) right: bool,
}

impl Answer {
    /// Steps from the node that was asked to the one that answered.
    pub(super) fn hops(&self) -> u32 {
        self.result.as_ref().map_or(0, |done| done.path.len() as u32 - 1)
    }

    /// Whether it met a node that did not answer, as far as its path tells.
    pub(super) fn went_round(&self) -> bool {
        self.result.as_ref().is_ok_and(|done| done.path.iter().any(|hop| !hop.answered))
    }
}

#[derive(Debug)]
struct Asked {
    origin: Id,
    place: Id,
    mode: Mode,
    at: Duration,
}

/// How many nodes do not know what they should.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wrong {
    /// Their first successor or their predecessor is another.
    pub(super) neighbours: usize,
    /// That, or any of their successors or fingers.
    pub(super) anything: usize,
}

/// A ring in the simulator.
pub(super) struct Ring {
    simulator: Simulator<Chord>,
    circle: Circle,
    replicas: usize,
    random: StdRng,
    /// Those that live, in order; a node that starts joins by one of them.
    live: Rc<RefCell<Vec<Id>>>,
    pending: BTreeMap<Ticket, Asked>,
    answers: Vec<Answer>,
    tickets: u64,
}

impl Ring {
    /// A ring of so many nodes with random ids, each of which joins by another: as many at a time
    /// as there are. Right in everything.
    pub(super) fn grow(seed: u64, nodes: usize, replicas: usize) -> anyhow::Result<Self> {
        let live = Rc::new(RefCell::new(Vec::<Id>::new()));
        let members = live.clone();
        let make = move |node: NodeId, _, seed| {
            let mut random = StdRng::seed_from_u64(seed);
            let contact = members.borrow().choose(&mut random).map(|id| peer(*id));
            let config = Config { replicas, ..Config::of(peer(node.into()), BITS) };
            Chord::new(config, contact.into_iter().collect(), random)
        };
        let mut simulator = Simulator::new(seed, [], make);
        simulator.set_weather(Weather { latency: LATENCY, ..Weather::calm() });
        let mut ring = Self {
            simulator,
            circle: Circle::new(BITS),
            replicas,
            random: StdRng::seed_from_u64(seed ^ 0x5eed),
            live,
            pending: BTreeMap::new(),
            answers: Vec::new(),
            tickets: 0,
        };
        while ring.len() < nodes {
            ring.wave(ring.len().clamp(1, nodes - ring.len()))?;
        }
        ring.until("everything is right", |ring| ring.wrong().anything == 0)?;
        Ok(ring)
    }

    /// So many nodes join at once.
    fn wave(&mut self, nodes: usize) -> anyhow::Result<()> {
        let ids = (0..nodes).map(|_| Id(self.random.random())).collect::<Vec<_>>();
        for id in &ids {
            self.simulator.start(NodeId::from(*id));
        }
        // They start before there are others to join by than those that were there.
        self.pass(0.0);
        let mut live = self.live.borrow_mut();
        live.extend(ids);
        live.sort_unstable();
        drop(live);
        self.until("neighbours are right", |ring| ring.wrong().neighbours == 0)
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let began = self.rounds();
        while !done(self) {
            let wrong = self.wrong();
            let late = GROWTH_LIMIT < self.rounds() - began;
            ensure!(!late, "{GROWTH_LIMIT} rounds, and not yet: {what}; {wrong:?}");
            self.pass(0.5);
        }
        Ok(())
    }

    /// Nodes that live.
    pub(super) fn len(&self) -> usize {
        self.live.borrow().len()
    }

    /// Periods of stabilisation since it began.
    pub(super) fn rounds(&self) -> f64 {
        Self::rounds_of(self.simulator.now())
    }

    /// A time in periods of stabilisation.
    pub(super) fn rounds_of(time: Duration) -> f64 {
        time.div_duration_f64(Self::period())
    }

    fn period() -> Duration {
        Config::of(peer(Id(0)), BITS).stabilise
    }

    /// Messages that were sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.simulator.counts().sent
    }

    /// Lets so many periods pass.
    pub(super) fn pass(&mut self, rounds: f64) {
        let until = self.simulator.now() + Self::period().mul_f64(rounds);
        while let Some(step) = self.simulator.step_until(until) {
            self.hear(step);
        }
    }

    fn hear(&mut self, step: Step<Chord>) {
        for notice in step.notices {
            let Notice::Performed(ticket, result) = notice else { continue };
            let Some(asked) = self.pending.remove(&ticket) else { continue };
            let right =
                result.as_ref().is_ok_and(|done| done.by.id == self.at_or_after(asked.place));
            self.answers.push(Answer {
                origin: asked.origin,
                place: asked.place,
                mode: asked.mode,
                asked: asked.at,
                took: step.now - asked.at,
                result,
                right,
            });
        }
    }

    /// Asks random nodes for so many random places.
    pub(super) fn ask(&mut self, count: usize, mode: Mode) {
        for _ in 0..count {
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            let origin = *self.live.borrow().choose(&mut self.random).expect("some live");
            let place = Id(self.random.random());
            let key = Key::from([]);
            let operation =
                Operation { id: place, key, action: Action::Locate, trace: Trace::default() };
            let request = Request::Perform(ticket, operation, mode, BUDGET);
            self.simulator.request(origin.into(), request);
            let asked = Asked { origin, place, mode, at: self.simulator.now() };
            self.pending.insert(ticket, asked);
        }
    }

    /// Waits for all that was asked, and takes the answers.
    pub(super) fn answers(&mut self) -> Vec<Answer> {
        while !self.pending.is_empty() {
            let step = self.simulator.step().expect("a ring never rests");
            self.hear(step);
        }
        std::mem::take(&mut self.answers)
    }

    /// So many random nodes die at once, and the others hear that their links to them broke with
    /// this probability.
    pub(super) fn kill(&mut self, count: usize, hint: f64) {
        self.simulator.set_weather(Weather { latency: LATENCY, hint, ..Weather::calm() });
        let mut live = self.live.borrow_mut();
        live.shuffle(&mut self.random);
        for id in live.drain(..count) {
            self.simulator.crash(id.into());
        }
        live.sort_unstable();
    }

    fn node(&self, id: Id) -> &Chord {
        self.simulator.node(id.into()).expect("it lives")
    }

    /// The responsible node.
    fn at_or_after(&self, place: Id) -> Id {
        let live = self.live.borrow();
        let at = live.partition_point(|id| *id < place);
        live[at % live.len()]
    }

    /// Compares what every node knows with what it should know.
    pub(super) fn wrong(&self) -> Wrong {
        let live = self.live.borrow();
        let mut wrong = Wrong::default();
        for (at, id) in live.iter().enumerate() {
            let node = self.node(*id);
            let others = (1..live.len()).map(|steps| live[(at + steps) % live.len()]);
            let mut known = node.successors().iter().map(|peer| peer.id);
            let first = node.successors().first().map(|peer| peer.id);
            let neighbours = node.is_member()
                && first == others.clone().next()
                && node.predecessor().map(|peer| peer.id) == others.clone().next_back();
            let all = neighbours
                && known.by_ref().eq(others.take(self.replicas))
                && (0..BITS).all(|index| self.finger_is_right(node, index));
            wrong.neighbours += usize::from(!neighbours);
            wrong.anything += usize::from(!all);
        }
        wrong
    }

    fn finger_is_right(&self, node: &Chord, index: u32) -> bool {
        let begin = self.circle.finger(node.me().id, index);
        let finger = node.finger(index).map(|peer| peer.id);
        self.len() == 1 || finger == Some(self.at_or_after(begin))
    }

    /// The path of the paper's own lookup (figure 5) from a node to a place by the fingers that
    /// the nodes have: hops to the node before the place.
    pub(super) fn hops_by_fingers(&self, origin: Id, place: Id) -> u32 {
        let (mut at, mut hops) = (origin, 0);
        loop {
            let node = self.node(at);
            let left = self.circle.distance(at, place);
            let reach = |peer: &Peer| self.circle.distance(at, peer.id);
            let successor = node.successors().first().expect("it is not alone");
            if 0 < left && left <= reach(successor) {
                return hops;
            }
            let fingers = (0..BITS).rev().filter_map(|index| node.finger(index));
            let mut before = fingers.filter(|peer| self.circle.is_between(peer.id, at, place));
            at = before.next().unwrap_or(successor).id;
            hops += 1;
        }
    }
}

fn peer(id: Id) -> Peer {
    Peer { id, address: Arc::from("simulated") }
}

/// Simulates on a thread of its own, which ends with the program at the latest.
pub(super) fn apart<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> impl Future<Output = anyhow::Result<T>> {
    let (done, result) = tokio::sync::oneshot::channel();
    let thread = thread::Builder::new().name("simulator".into()).spawn(move || {
        // Nobody waits any more if the program is told to stop.
        let _ = done.send(work());
    });
    async move {
        thread.context("starting a thread")?;
        result.await.context("the simulation broke off")?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_one_successor_a_lookup_goes_the_papers_way() {
        let mut ring = Ring::grow(1, 30, 1).unwrap();
        for mode in [Mode::Recursive, Mode::Iterative] {
            ring.ask(300, mode);
        }
        let answers = ring.answers();
        assert_eq!(answers.len(), 600);
        for answer in answers {
            assert!(answer.right, "{answer:?}");
            // Unlike the paper's, our node knows what is its own.
            let own = ring.at_or_after(answer.place) == answer.origin;
            let hops = ring.hops_by_fingers(answer.origin, answer.place) + 1;
            assert_eq!(answer.hops(), if own { 0 } else { hops }, "{answer:?}");
        }
    }

    #[test]
    fn a_ring_is_wrong_while_it_counts_on_the_dead() {
        let mut ring = Ring::grow(2, 30, 3).unwrap();
        assert_eq!(ring.wrong().anything, 0);
        ring.kill(3, 0.0);
        assert_eq!(ring.len(), 27);
        let wrong = ring.wrong();
        assert!((2..=6).contains(&wrong.neighbours), "{wrong:?}");
        assert!(wrong.neighbours < wrong.anything, "{wrong:?}");
        ring.until("everything is right", |ring| ring.wrong().anything == 0).unwrap();
        ring.ask(50, Mode::Recursive);
        assert!(ring.answers().iter().all(|answer| answer.right));
    }

    #[test]
    fn who_knows_one_successor_of_three_is_wrong_but_knows_his_neighbours() {
        let mut ring = Ring::grow(3, 10, 1).unwrap();
        ring.replicas = 3;
        let wrong = ring.wrong();
        assert_eq!((wrong.neighbours, wrong.anything), (0, 10));
    }
}
