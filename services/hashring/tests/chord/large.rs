//! Rings of many nodes, and keys in great numbers, in calm weather.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hashring::{
    Action, Chord, Circle, Config, Id, Mode, Notice, Operation, Outcome, Performed, Refusal,
    Request,
};
use protocols::simulator::{Simulator, Weather};
use protocols::{NodeId, Ticket, Trace};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, index};
use rand::{Rng as _, SeedableRng as _};

use crate::audit::Ring;
use crate::clients::place;
use crate::ms;
use crate::storm::peer;

/// So long all are asked at once.
const BUDGET: Duration = ms(5_000);

type Answer = Result<Performed, Refusal>;

/// A ring on which nothing but the test itself does harm.
struct Calm {
    simulator: Simulator<Chord>,
    circle: Circle,
    replicas: usize,
    random: StdRng,
    up: Vec<NodeId>,
    next: u64,
}

impl Calm {
    /// A ring of one node.
    fn new(seed: u64, bits: u32, replicas: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let circle = Circle::new(bits);
        let first = NodeId(random.random::<u64>() & circle.last().0);
        let make = move |me: NodeId, _, seed| {
            let contacts = if me == first { Vec::new() } else { vec![peer(first.0)] };
            let config = Config { replicas, ..Config::of(peer(me.0), bits) };
            Chord::new(config, contacts, StdRng::seed_from_u64(seed))
        };
        let mut simulator = Simulator::new(seed, [first], make);
        simulator.set_weather(Weather { latency: ms(1)..=ms(10), ..Weather::calm() });
        Self { simulator, circle, replicas, random, up: vec![first], next: 1 }
    }

    /// So many more join at once, and become members.
    fn join(&mut self, count: usize) {
        let size = self.up.len() + count;
        while self.up.len() < size {
            let node = NodeId(self.random.random::<u64>() & self.circle.last().0);
            if !self.up.contains(&node) {
                self.up.push(node);
                self.simulator.start(node);
            }
        }
    }

    fn ring(&self) -> Ring<'_> {
        Ring::of(self.circle, self.replicas, self.simulator.nodes().map(|(_, node)| node))
    }

    fn run(&mut self, lasting: Duration) {
        self.simulator.run_until(self.simulator.now() + lasting, |_, _| ());
    }

    /// Runs until the ring is as it should be, for so long at most.
    fn settle(&mut self, patience: Duration) {
        let until = self.simulator.now() + patience;
        loop {
            let ring = self.ring();
            let problem = match ring.len() == self.up.len() {
                true => ring.is_one().and_then(|()| ring.is_linked()).err(),
                false => Some(format!("{} of {} are members", ring.len(), self.up.len())),
            };
            let Some(problem) = problem else { return };
            assert!(self.simulator.now() < until, "after {patience:?}: {problem}");
            self.run(ms(500));
        }
    }

    /// What comes of operations that are asked at once, each of a node.
    fn perform(&mut self, asked: Vec<(NodeId, &[u8], Action, Mode)>) -> Vec<Answer> {
        let mut answers = BTreeMap::new();
        let first = self.next;
        for (node, key, action, mode) in asked {
            let operation = Operation {
                id: place(key, self.circle),
                key: key.into(),
                action,
                trace: Trace::default(),
            };
            let request = Request::Perform(Ticket(self.next), operation, mode, BUDGET);
            self.simulator.request(node, request);
            self.next += 1;
        }
        self.simulator.run_until(self.simulator.now() + BUDGET, |_, step| {
            for notice in step.notices {
                if let Notice::Performed(ticket, answer) = notice {
                    assert!(answers.insert(ticket, answer).is_none(), "one answer to each");
                }
            }
        });
        (first..self.next)
            .map(|ticket| answers.remove(&Ticket(ticket)).expect("an answer"))
            .collect()
    }

    /// Saves, in many places at once.
    fn save(&mut self, keys: &[Vec<u8>]) {
        for some in keys.chunks(500) {
            let asked = some.iter().map(|key| {
                let node = *self.up.choose(&mut self.random).expect("somebody is up");
                (node, key.as_slice(), Action::Save(key.as_slice().into()), Mode::Recursive)
            });
            let asked = asked.collect();
            for answer in self.perform(asked) {
                assert_eq!(answer.expect("a calm ring answers").outcome, Outcome::Saved);
            }
        }
    }

    /// Finds every key from a node that is drawn, and checks who has it, and how far it was.
    fn find(&mut self, keys: &[Vec<u8>], hops: usize) {
        for mode in [Mode::Iterative, Mode::Recursive] {
            let asked = keys.iter().map(|key| {
                let node = *self.up.choose(&mut self.random).expect("somebody is up");
                (node, key.as_slice(), Action::Find, mode)
            });
            let asked = asked.collect();
            let owners = self.up.iter().map(|node| Id(node.0)).collect::<BTreeSet<_>>();
            for (key, answer) in keys.iter().zip(self.perform(asked)) {
                let performed = answer.expect("a calm ring answers");
                let id = place(key, self.circle);
                let owner = owners.range(id..).next().or(owners.first()).expect("there is one");
                assert_eq!(performed.outcome, Outcome::Found(key.as_slice().into()));
                assert_eq!(performed.by.id, *owner);
                assert!(performed.path.len() <= hops, "{} hops", performed.path.len());
            }
        }
    }

    /// Kills so many, fewer than r of them neighbours.
    fn kill(&mut self, count: usize) {
        let mut doomed = BTreeSet::new();
        let mut order = self.up.clone();
        order.sort();
        for at in index::sample(&mut self.random, order.len(), order.len()) {
            doomed.insert(at);
            let runs = (0..order.len()).any(|first| {
                (first..=first + self.replicas - 1).all(|at| doomed.contains(&(at % order.len())))
            });
            if runs {
                doomed.remove(&at);
            }
            if doomed.len() == count {
                break;
            }
        }
        assert_eq!(doomed.len(), count);
        for at in doomed {
            self.simulator.crash(order[at]);
            self.up.retain(|node| *node != order[at]);
        }
    }
}

fn keys(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("key {number}").into_bytes()).collect()
}

/// A ring that doubles until it is so large, and then loses every tenth of its nodes at once.
fn grows_and_shrinks(size: usize, seed: u64) {
    let mut calm = Calm::new(seed, 64, 3);
    while calm.up.len() < size {
        let wave = calm.up.len().max(7).min(size - calm.up.len());
        calm.join(wave);
        calm.settle(ms(30_000));
    }
    let keys = keys(500);
    calm.save(&keys);
    calm.find(&keys, size.ilog2() as usize + 6);
    calm.kill(size / 10);
    calm.settle(ms(30_000));
    calm.run(ms(3_000));
    calm.find(&keys, 2 * size.ilog2() as usize + 6);
}

#[test]
fn a_ring_of_a_hundred_grows_and_survives_the_loss_of_every_tenth() {
    for seed in 0..2 {
        grows_and_shrinks(100, seed);
    }
}

#[test]
fn a_ring_of_a_thousand_grows_and_survives_the_loss_of_every_tenth() {
    grows_and_shrinks(1_000, 7);
}

/// The first keys of so many whose place is in the first 1,024th of the circle.
fn crowded(count: usize, circle: Circle) -> Vec<Vec<u8>> {
    let near = |key: &Vec<u8>| place(key, circle).0 >> (circle.bits() - 10) == 0;
    (0_u64..).map(|number| format!("key {number}").into_bytes()).filter(near).take(count).collect()
}

#[test]
fn more_keys_than_pages_hold_move_to_a_node_that_joins_between_them() {
    let mut calm = Calm::new(3, 64, 2);
    calm.join(3);
    calm.settle(ms(10_000));
    let keys = crowded(1_500, calm.circle);
    calm.save(&keys);
    let middle = place(&keys[700], calm.circle);
    calm.up.push(middle.into());
    calm.simulator.start(middle.into());
    calm.settle(ms(10_000));
    calm.find(&keys, 8);
    // Strays are given up, and copies are where they belong, after a while.
    calm.run(ms(30_000));
    let ring = calm.ring();
    for key in &keys {
        ring.is_kept(place(key, calm.circle), &key.as_slice().into()).expect("where it belongs");
    }
}
