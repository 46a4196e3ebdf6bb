//! What storms are made of: weathers, and what is drawn from a seed.

use std::time::Duration;

use hashring::{Config, VALUE_LIMIT};
use protocols::simulator::{Spell, Weather};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::ms;

/// Time between two looks after the ring, and what a node may take to answer.
pub(crate) const PERIOD: Duration = ms(100);
/// What every item costs beside its key and value, about.
const ITEM_BYTES: u64 = 100;

/// What holds in a weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// The ring is one again when all is over, and all nodes agree on every key.
    Agreement,
    /// And no key is lost for which a save was answered.
    Kept,
    /// And the ring is one at every step, and no such key is missing at any moment: no live node
    /// is taken for dead, and fewer than r die before the ring has mended itself.
    Always,
}

/// What a storm is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) weather: Weather,
    pub(crate) promise: Promise,
    pub(crate) bits: u32,
    /// Nodes that there are from the start, and that there may be in all.
    pub(crate) nodes: usize,
    pub(crate) most: usize,
    pub(crate) replicas: usize,
    pub(crate) lasting: Duration,
    /// Between two changes of the ring, on average.
    pub(crate) between: Duration,
    /// Whether nodes may die, may leave, and whether groups are cut off from the others.
    pub(crate) deaths: bool,
    pub(crate) leaves: bool,
    pub(crate) parts: bool,
    pub(crate) clients: u64,
    /// How long a client thinks, at most.
    pub(crate) thinking: Duration,
    /// How long values are.
    pub(crate) padding: usize,
    pub(crate) bytes_limit: u64,
    pub(crate) waiting_limit: usize,
}

/// A network in which no live node is ever taken for dead: what is slow is not that slow.
fn fair() -> Weather {
    let pauses = Some(Spell { between: ms(800), lasting: ms(30) });
    Weather {
        latency: ms(1)..=ms(20),
        repetition: 0.02,
        hint: 0.5,
        drift_ppm: 10_000,
        pauses,
        ..Weather::calm()
    }
}

/// So many messages are lost that live nodes are taken for dead all the time.
fn lossy() -> Weather {
    let (straggling, straggler) = (0.02, ms(1_500));
    Weather { loss: 0.12, straggling, straggler, pauses: None, ..fair() }
}

/// Nodes sleep longer than others are patient.
fn sleepy() -> Weather {
    Weather { pauses: Some(Spell { between: ms(400), lasting: ms(600) }), ..fair() }
}

/// All at once, and nodes that crash in the middle of a step.
fn stormy() -> Weather {
    Weather { sync: ms(0)..=ms(0), stalling: 0.0, ..Weather::stormy() }
}

/// Weathers and how many seeds each has in the tests.
pub(crate) const WEATHERS: [(&str, u64); 7] = [
    ("fair", 300),
    ("lossy", 120),
    ("parted", 150),
    ("sleepy", 120),
    ("stormy", 150),
    ("narrow", 120),
    ("bulky", 60),
];

impl Plan {
    /// The plan of a weather that is drawn from the seed.
    pub(crate) fn draw(name: &str, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 0x5eed);
        let mut one_of = |some: &[u64]| *some.choose(&mut random).expect("there are some");
        let plan = Self {
            weather: fair(),
            promise: Promise::Always,
            bits: u32::try_from(one_of(&[5, 8, 16, 64])).expect("it is"),
            nodes: usize::try_from(one_of(&[1, 2, 3, 4, 5, 6, 7])).expect("it is"),
            most: 9,
            replicas: usize::try_from(one_of(&[1, 2, 2, 3, 3, 4])).expect("it is"),
            lasting: ms(one_of(&[1_500, 2_500, 2_500, 7_000])),
            between: ms(one_of(&[100, 300, 600])),
            deaths: true,
            leaves: true,
            parts: false,
            clients: one_of(&[1, 2, 3, 4]),
            thinking: ms(one_of(&[20, 100])),
            padding: 0,
            bytes_limit: 256 << 20,
            waiting_limit: 4096,
        };
        let kept = Self { promise: Promise::Kept, deaths: false, ..plan.clone() };
        match name {
            // One successor, and it leaves: nobody else to lead to the ring, for a while.
            "fair" if plan.replicas == 1 => kept,
            "fair" => plan,
            "lossy" => Self { weather: lossy(), ..kept },
            "parted" => Self { parts: true, nodes: plan.nodes + 2, ..kept },
            "sleepy" => Self { weather: sleepy(), ..kept },
            "stormy" => Self {
                weather: stormy(),
                promise: Promise::Agreement,
                parts: random.random_bool(0.3),
                ..plan
            },
            // Little room, few places for callers; whoever has come stays. What was refused, and is
            // then repeated by the network, may find room.
            "narrow" => Self {
                weather: Weather { repetition: 0.0, ..fair() },
                deaths: false,
                leaves: false,
                bytes_limit: ITEM_BYTES * random.random_range(5..30),
                waiting_limit: random.random_range(2..6),
                lasting: plan.lasting.min(ms(2_500)),
                clients: 6,
                thinking: ms(10),
                ..plan
            },
            // Three items are more than a message holds.
            "bulky" => Self {
                padding: VALUE_LIMIT * 2 / 5,
                replicas: plan.replicas.max(2),
                lasting: ms(2_500),
                nodes: plan.nodes.min(4),
                most: 6,
                ..plan
            },
            name => panic!("no weather is called {name}"),
        }
    }

    /// What a node is told.
    pub(crate) fn config(&self, me: hashring::Peer) -> Config {
        Config {
            replicas: self.replicas,
            stabilise: PERIOD,
            patience: PERIOD,
            // Whoever asks one contact after another, most of them dead, must not lose patience.
            founds_after: Some(PERIOD * if self.promise == Promise::Always { 100 } else { 10 }),
            bytes_limit: self.bytes_limit,
            waiting_limit: self.waiting_limit,
            ..Config::of(me, self.bits)
        }
    }
}
