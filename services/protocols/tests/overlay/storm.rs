//! The overlay in a storm, with clients who insist on what they were promised.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocols::overlay::{Config, Notice, Operation, Part, Report, Request, Task, Topology};
use protocols::simulator::{Simulator, Step, Weather};
use protocols::{NodeId, Protocol, Ticket};
use rand::Rng;

use crate::ms;
use crate::requests::{Asked, exchange, number, numbered, work};
use crate::witness::Witness;

/// How long a storm lasts; the clients ask most of the time.
const LASTING: Duration = Duration::from_secs(5);
/// The slowest message of any weather.
const STRAGGLER: Duration = Duration::from_secs(2);
/// The longest budget.
const BUDGET: Duration = Duration::from_secs(3);
/// What clocks may differ by, in thousandths.
const DRIFT: u32 = 10;

/// A run of six processes and their clients.
pub(crate) struct Storm {
    pub(crate) simulator: Simulator<Witness>,
    config: Config,
    weather: Weather,
    /// Who waits to be told.
    open: BTreeMap<Ticket, Open>,
    answers: BTreeMap<Ticket, Report>,
    /// How long each process stood still so far, at most.
    still: BTreeMap<NodeId, Duration>,
    seen: Duration,
    pauses: u64,
    paused: BTreeSet<NodeId>,
    pub(crate) tally: Tally,
}

/// How often each end came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) whole: u64,
    pub(crate) incomplete: u64,
    pub(crate) detours: u64,
    pub(crate) refused: u64,
    pub(crate) expired: u64,
    pub(crate) left: u64,
    pub(crate) crashed: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.whole += other.whole;
        self.incomplete += other.incomplete;
        self.detours += other.detours;
        self.refused += other.refused;
        self.expired += other.expired;
        self.left += other.left;
        self.crashed += other.crashed;
    }

    /// A storm in which nothing happens shows nothing.
    pub(crate) fn assert_rich(self) {
        let Self { whole, incomplete, detours, refused, expired, left, crashed } = self;
        for count in [whole, incomplete, detours, refused, expired, left, crashed] {
            assert!(10 < count, "{self:?}");
        }
    }
}

/// A client that waits.
struct Open {
    asked: Asked,
    /// How long its process had stood still before.
    still: Duration,
}

impl Storm {
    /// Six processes with settings and clients that are drawn from the seed.
    pub(crate) fn brew(seed: u64, weather: Weather) -> Self {
        let mut draw = Simulator::<Witness>::new(seed, [], |_, _, _| unreachable!("nobody starts"));
        let random = draw.random();
        let hasty = random.random_bool(0.5);
        let config = Config {
            me: NodeId(1),
            active_limit: random.random_range(1..=6),
            queue_limit: random.random_range(0..=6),
            heartbeat: ms(if hasty { 100 } else { 500 }),
            patience: ms(if hasty { 400 } else { 2_000 }),
        };
        let each = config.clone();
        let make = move |me, _, seed| Witness::new(Config { me, ..each.clone() }, seed);
        let mut simulator = Simulator::new(seed, (1..=6).map(NodeId), make);
        simulator.set_weather(weather.clone());
        Self {
            simulator,
            config,
            weather,
            open: BTreeMap::new(),
            answers: BTreeMap::new(),
            still: (1..=6).map(|id| (NodeId(id), Duration::ZERO)).collect(),
            seen: Duration::ZERO,
            pauses: 0,
            paused: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// The clients ask while the storm rages.
    pub(crate) fn rage(&mut self) {
        for asked in exchange(40, LASTING - ms(500), self.simulator.random()) {
            self.run_until(asked.at);
            self.ask(asked);
        }
        self.run_until(LASTING);
    }

    /// After the storm, as soon as the last straggler is in and each process had its patience,
    /// every neighbour is found. Everybody who stayed is told, and nothing is left in any process.
    pub(crate) fn come_to_rest(&mut self) {
        self.simulator.heal();
        // The budgets of the last requests are for a fair network: no more stragglers.
        let fair =
            Weather { straggling: 0.0, latency: self.weather.latency.clone(), ..Weather::calm() };
        self.simulator.set_weather(Weather { repetition: self.weather.repetition, ..fair });
        let found = LASTING + STRAGGLER + self.config.patience + 3 * self.config.heartbeat;
        self.run_until(found);
        for (id, process) in self.simulator.nodes() {
            assert!(process.finds_everybody(), "{id} finds its neighbours: {:?}", process.view());
        }
        self.run_until(found.max(LASTING + BUDGET + STRAGGLER));
        let gone = self.open.extract_if(.., |_, open| open.asked.leaves.is_some());
        self.tally.left += gone.count() as u64;
        assert!(self.open.is_empty(), "everybody is told who stays");
        for (id, process) in self.simulator.nodes() {
            assert!(process.is_at_rest(), "{id} rests: {:?}", process.view());
        }
    }

    /// The leader answers as if nothing had happened.
    pub(crate) fn answer_whole(&mut self) {
        let report = self.answer_to(Operation::Process);
        let text = "A|B|C-processed;B-processed;E|F-processed;D-processed;E-processed";
        assert_eq!((report.text.as_str(), report.visits.len()), (text, 6));
        let report = self.answer_to(Operation::WordCount);
        assert_eq!((report.count.words, report.visits.len()), (600, 6));
    }

    /// Asks the leader once more and waits for the whole answer.
    fn answer_to(&mut self, operation: Operation) -> Report {
        let ticket = Ticket(1_000 + operation as u64);
        let topology = Topology::two_hosts();
        let task = Task {
            operation,
            teams: topology.served_by_default(NodeId(1)),
            detour: true,
            part: Part::whole("word ".repeat(600).as_bytes().into()),
            budget: BUDGET,
            trace: numbered(ticket.0),
        };
        let at = self.simulator.now();
        let asked = Asked { at, process: NodeId(1), ticket, task, hops: vec![], leaves: None };
        self.ask(asked);
        self.run_until(at + BUDGET);
        let report = self.answers.remove(&ticket).expect("the leader answers");
        assert_eq!((&report.missing[..], &report.detours[..]), (&[][..], &[][..]));
        report
    }

    fn ask(&mut self, asked: Asked) {
        // A client sees that there is nobody to connect to.
        if !self.simulator.is_up(asked.process) {
            return;
        }
        let Asked { process, ticket, task, hops, leaves, .. } = asked.clone();
        self.simulator.request(process, Request::Forward(ticket, task, hops));
        if let Some(leaves) = leaves {
            self.simulator.request_at(leaves, process, Request::Cancel(ticket));
        }
        let still = self.still[&process];
        self.open.insert(ticket, Open { asked, still });
    }

    fn run_until(&mut self, until: Duration) {
        while let Some(step) = self.simulator.step_until(until) {
            self.watch_the_still(step.now);
            self.react(step);
        }
        self.watch_the_still(until);
    }

    /// Adds up how long each process may have stood still: a paused process is late.
    fn watch_the_still(&mut self, now: Duration) {
        let pauses = self.simulator.counts().pauses;
        for (id, still) in &mut self.still {
            let paused = self.simulator.is_paused(*id);
            if self.pauses < pauses || paused || self.paused.contains(id) {
                *still += now - self.seen;
            }
        }
        let paused = self.still.keys().copied().filter(|id| self.simulator.is_paused(*id));
        (self.seen, self.pauses, self.paused) = (now, pauses, paused.collect());
    }

    fn react(&mut self, step: Step<Witness>) {
        for notice in step.notices {
            match notice {
                Notice::Answered(ticket, report) => {
                    self.tally.whole += u64::from(report.missing.is_empty());
                    self.tally.incomplete += u64::from(!report.missing.is_empty());
                    self.tally.detours += report.detours.len() as u64;
                    self.end(ticket, step.now);
                    self.answers.insert(ticket, report);
                }
                Notice::Refused(ticket, _) => {
                    self.tally.refused += 1;
                    self.end(ticket, step.now);
                }
                Notice::Expired(ticket) => {
                    self.tally.expired += 1;
                    self.end(ticket, step.now);
                }
                Notice::Work(ticket, operation, part) => {
                    self.work(step.node, ticket, operation, &part);
                }
                Notice::Event(_) => (),
            }
        }
        if step.crashed {
            let lost = self.open.extract_if(.., |_, open| open.asked.process == step.node);
            self.tally.crashed += lost.count() as u64;
        }
    }

    /// One client is told, and told in time.
    fn end(&mut self, ticket: Ticket, now: Duration) {
        let open = self.open.remove(&ticket).expect("whoever asks is told once");
        let Open { asked, still, .. } = open;
        let still = self.still[&asked.process] - still;
        let budget = asked.task.budget;
        let due = asked.at + budget + budget / 1_000 * DRIFT + still;
        assert!(now <= due, "request {} is told {:?} late", number(&asked.task), now - due);
    }

    /// A worker's own work takes its time, and sometimes for ever.
    fn work(&mut self, node: NodeId, ticket: Ticket, operation: Operation, part: &Part) {
        let random = self.simulator.random();
        if random.random_bool(0.05) && self.seen < LASTING {
            return;
        }
        let slow = random.random_bool(0.2);
        let takes = ms(random.random_range(0..if slow { 1_000 } else { 50 }));
        let product = work(operation, part);
        self.simulator.request_at(self.seen + takes, node, Request::Worked(ticket, product));
    }
}
