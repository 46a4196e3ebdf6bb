//! What may go wrong, how often, and for how long.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

/// What the world does to messages, links and nodes until the weather changes.
///
/// Take a preset and change what matters: `Weather { loss: 0.3, ..Weather::calm() }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Weather {
    /// How long a message ordinarily travels; a range reorders.
    pub latency: RangeInclusive<Duration>,
    /// Probability, 0 to 1, that a message travels longer than that.
    pub straggling: f64,
    /// The longest that a straggler travels; its shortest is the end of `latency`.
    pub straggler: Duration,
    /// Probability, 0 to 1, that a message is lost without a word.
    pub loss: f64,
    /// Probability, 0 to 1, that a message arrives twice, each time with a latency of its own.
    pub repetition: f64,
    /// Probability, 0 to 1, that a node is told of a peer that it cannot reach: when the peer
    /// crashes, when the link towards it is cut, and whenever a message to it fails for such a
    /// reason. Whoever is told is told one latency later.
    pub hint: f64,
    /// How much faster or slower than true time a node's clock may run, in parts per million.
    /// Each start of a node draws a speed within these bounds.
    pub drift_ppm: u32,
    /// How long a sync of a node's disk ordinarily takes. With no more than zero, a record is
    /// durable at once and nothing waits.
    pub sync: RangeInclusive<Duration>,
    /// Probability, 0 to 1, that a sync takes longer than that.
    pub stalling: f64,
    /// The longest that a sync takes which stalls; its shortest is the end of `sync`.
    pub stall: Duration,
    /// Crashes of random nodes, in the middle of a step; `lasting` is the time until the reboot.
    pub crashes: Option<Spell>,
    /// Cuts: of one random link in one direction, or of a random group from all others in both.
    pub cuts: Option<Spell>,
    /// Pauses of random nodes.
    pub pauses: Option<Spell>,
}

/// How often a kind of fault strikes anywhere in the system, and how long each lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spell {
    /// Mean time from one to the next; each is drawn evenly from nothing to twice the mean.
    pub between: Duration,
    /// Mean time until one is over; each is drawn evenly from nothing to twice the mean.
    pub lasting: Duration,
}

impl Weather {
    /// Every message arrives once, after exactly 1 ms; nothing breaks, clocks agree, and disks take
    /// no time.
    pub fn calm() -> Self {
        Self {
            latency: Duration::from_millis(1)..=Duration::from_millis(1),
            straggling: 0.0,
            straggler: Duration::from_millis(1),
            loss: 0.0,
            repetition: 0.0,
            hint: 0.0,
            drift_ppm: 0,
            sync: Duration::ZERO..=Duration::ZERO,
            stalling: 0.0,
            stall: Duration::ZERO,
            crashes: None,
            cuts: None,
            pauses: None,
        }
    }

    /// A fair network on a bad day: 1 to 10 ms, one message in a hundred lost and as many
    /// repeated, and now and then a crash, a cut or a pause of about a second. A disk takes 1 to
    /// 5 ms, and for one sync in a hundred up to 100 ms.
    pub fn mild() -> Self {
        let spell = |between| Spell {
            between: Duration::from_secs(between),
            lasting: Duration::from_secs(1),
        };
        Self {
            latency: Duration::from_millis(1)..=Duration::from_millis(10),
            straggling: 0.01,
            straggler: Duration::from_millis(200),
            loss: 0.01,
            repetition: 0.01,
            hint: 0.5,
            drift_ppm: 200,
            sync: Duration::from_millis(1)..=Duration::from_millis(5),
            stalling: 0.01,
            stall: Duration::from_millis(100),
            crashes: Some(spell(10)),
            cuts: Some(spell(10)),
            pauses: Some(spell(20)),
        }
    }

    /// All at once: 1 to 50 ms and stragglers of up to 2 s, one message in ten lost and as many
    /// repeated, and a crash, a cut or a pause about every 300 ms. Disks take up to 20 ms, and one
    /// sync in fifty up to 500 ms.
    pub fn stormy() -> Self {
        let spell = |between, lasting| Spell {
            between: Duration::from_millis(between),
            lasting: Duration::from_millis(lasting),
        };
        Self {
            latency: Duration::from_millis(1)..=Duration::from_millis(50),
            straggling: 0.05,
            straggler: Duration::from_secs(2),
            loss: 0.1,
            repetition: 0.1,
            hint: 0.5,
            drift_ppm: 10_000,
            sync: Duration::ZERO..=Duration::from_millis(20),
            stalling: 0.02,
            stall: Duration::from_millis(500),
            crashes: Some(spell(800, 400)),
            cuts: Some(spell(800, 600)),
            pauses: Some(spell(1_500, 500)),
        }
    }

    /// The same network with nothing broken: messages are as slow and as often repeated as before,
    /// and disks as slow.
    pub(super) fn healed(&self) -> Self {
        Self { loss: 0.0, crashes: None, cuts: None, pauses: None, ..self.clone() }
    }

    /// Stops the test whose weather makes no sense.
    pub(super) fn assert_sound(&self) {
        for probability in [self.straggling, self.loss, self.repetition, self.hint, self.stalling] {
            assert!((0.0..=1.0).contains(&probability), "{probability} is not a probability");
        }
        assert!(!self.latency.is_empty(), "latency {:?} is empty", self.latency);
        assert!(
            self.straggler >= *self.latency.end() || self.straggling == 0.0,
            "a straggler is faster than the others"
        );
        assert!(!self.sync.is_empty(), "sync {:?} is empty", self.sync);
        assert!(
            self.stall >= *self.sync.end() || self.stalling == 0.0,
            "a sync that stalls is faster than the others"
        );
        assert!(self.drift_ppm < 1_000_000, "a clock would run backwards");
        for spell in [self.crashes, self.cuts, self.pauses].into_iter().flatten() {
            assert!(!spell.between.is_zero(), "faults would leave no time between them");
        }
    }

    /// How long one message travels.
    pub(super) fn travel(&self, random: &mut StdRng) -> Duration {
        draw(&self.latency, self.straggling, self.straggler, random)
    }

    /// How long one sync takes.
    pub(super) fn sync_once(&self, random: &mut StdRng) -> Duration {
        draw(&self.sync, self.stalling, self.stall, random)
    }

    /// Whether any sync takes time.
    pub(super) fn has_slow_disks(&self) -> bool {
        !self.sync.end().is_zero() || 0.0 < self.stalling
    }
}

/// Ordinarily a duration within a range, and with some probability a longer one.
fn draw(
    ordinary: &RangeInclusive<Duration>,
    probability: f64,
    longest: Duration,
    random: &mut StdRng,
) -> Duration {
    let (fastest, slowest) = (*ordinary.start(), *ordinary.end());
    if probability > 0.0 && random.random_bool(probability) {
        random.random_range(slowest..=longest)
    } else if fastest == slowest {
        fastest
    } else {
        random.random_range(fastest..=slowest)
    }
}

impl Spell {
    /// How long until the next one.
    pub(super) fn draw_between(&self, random: &mut StdRng) -> Duration {
        evenly(self.between, random)
    }

    /// How long this one lasts.
    pub(super) fn draw_lasting(&self, random: &mut StdRng) -> Duration {
        evenly(self.lasting, random)
    }
}

/// Evenly rather than exponentially distributed: a logarithm may differ between platforms, and a
/// seed must not.
fn evenly(mean: Duration, random: &mut StdRng) -> Duration {
    random.random_range(Duration::ZERO..=mean.saturating_mul(2))
}
