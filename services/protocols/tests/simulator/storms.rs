//! What a storm does, shown by tallies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocols::simulator::{Counts, Simulator, Spell, Step, Weather};
use protocols::{NodeId, Ticket};
use rand::Rng;

use crate::ms;
use crate::tally::{MEMBERS, Notice, Order, Record, Request, Tally};

/// What a user noticed of a storm.
struct Storm {
    simulator: Simulator<Tally>,
    /// Who was told which count first, by which ticket.
    told: BTreeMap<(NodeId, u64), Ticket>,
    /// A promise that was broken.
    broken: Option<String>,
}

impl Storm {
    /// A hundred additions at random nodes within ten seconds of this weather.
    fn brew(seed: u64, order: Order, weather: Weather) -> Self {
        let make = move |node, records, _| Tally::new(node, order, records);
        let mut simulator = Simulator::new(seed, MEMBERS, make);
        simulator.set_weather(weather);
        for ticket in 0..100 {
            let at = ms(simulator.random().random_range(0..10_000));
            let node = NodeId(simulator.random().random_range(1..=3));
            simulator.request_at(at, node, Request::Add(Ticket(ticket)));
        }
        Self { simulator, told: BTreeMap::new(), broken: None }
    }

    fn rage(mut self) -> Self {
        self.run_until(ms(10_000));
        self
    }

    fn run_until(&mut self, until: Duration) {
        while self.broken.is_none()
            && let Some(step) = self.simulator.step_until(until)
        {
            self.broken = self.check(&step);
        }
    }

    fn check(&mut self, step: &Step<Tally>) -> Option<String> {
        for Notice::Added(ticket, count) in &step.notices {
            if let Some(other) = self.told.insert((step.node, *count), *ticket) {
                return Some(format!("{} told {count} for {other:?} and {ticket:?}", step.node));
            }
        }
        for (node, tally) in self.simulator.nodes() {
            for peer in MEMBERS {
                if self.durable(peer) < tally.heard(peer) {
                    return Some(format!("{node} heard from {peer} what is not durable"));
                }
            }
        }
        None
    }

    fn durable(&self, node: NodeId) -> u64 {
        let counts = self.simulator.records(node).iter().rev().find_map(|record| match record {
            Record::Counted(count) => Some(*count),
            Record::Heard(..) => None,
        });
        counts.unwrap_or_default()
    }
}

fn trace_of(seed: u64) -> String {
    let mut storm = Storm::brew(seed, Order::PersistFirst, Weather::stormy());
    storm.simulator.start_trace();
    storm.rage().simulator.take_trace()
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..20 {
        let trace = trace_of(seed);
        assert!(100 < trace.lines().count());
        assert_eq!(trace, trace_of(seed));
    }
}

#[test]
fn different_seeds_give_different_traces() {
    let traces: BTreeSet<String> = (0..20).map(trace_of).collect();
    assert_eq!(traces.len(), 20);
}

#[test]
fn a_trace_changes_nothing() {
    let mut traced = Storm::brew(3, Order::PersistFirst, Weather::stormy());
    traced.simulator.start_trace();
    let quiet = Storm::brew(3, Order::PersistFirst, Weather::stormy()).rage();
    assert_eq!(traced.rage().simulator.counts(), quiet.simulator.counts());
    assert_eq!(quiet.simulator.trace(), "");
}

fn counts_in(weather: Weather) -> Counts {
    Storm::brew(5, Order::PersistFirst, weather).rage().simulator.counts()
}

#[test]
fn calm_weather_breaks_nothing() {
    let counts = counts_in(Weather::calm());
    assert!(0 < counts.sent);
    let Counts { steps, sent, .. } = counts;
    assert_eq!(counts, Counts { steps, sent, delivered: sent, starts: 3, ..Counts::default() });
}

#[test]
fn each_kind_of_weather_brings_its_own_fault_and_no_other() {
    let calm = Weather::calm;
    let spell = Some(Spell { between: ms(500), lasting: ms(500) });

    let counts = counts_in(Weather { loss: 0.2, ..calm() });
    assert!(0 < counts.lost && counts.delivered == counts.sent - counts.lost);

    let counts = counts_in(Weather { repetition: 0.2, ..calm() });
    assert!(0 < counts.repeated && counts.delivered == counts.sent + counts.repeated);
    assert_eq!(counts.overtaken, 0);

    let counts = counts_in(Weather { latency: ms(1)..=ms(100), ..calm() });
    assert!(0 < counts.overtaken);

    let counts = counts_in(Weather { straggling: 0.2, straggler: ms(500), ..calm() });
    assert!(0 < counts.overtaken);

    let counts = counts_in(Weather { cuts: spell, ..calm() });
    assert!(0 < counts.cuts && 0 < counts.stopped && counts.hints == 0);
    assert_eq!(counts.delivered, counts.sent - counts.stopped);

    let counts = counts_in(Weather { cuts: spell, hint: 0.5, ..calm() });
    assert!(0 < counts.hints);

    let counts = counts_in(Weather { pauses: spell, ..calm() });
    assert!(0 < counts.pauses && 0 < counts.late && counts.crashes == 0);

    let counts = counts_in(Weather { crashes: spell, ..calm() });
    assert!(0 < counts.torn && counts.torn < counts.crashes && 0 < counts.missed);
    assert!(3 < counts.starts && counts.pauses == 0 && counts.cuts == 0);
    assert_eq!((counts.syncs, counts.lost_records, counts.spared_records), (0, 0, 0));

    let counts = counts_in(Weather { sync: ms(1)..=ms(50), ..calm() });
    assert!(0 < counts.syncs && counts.lost_records == 0 && counts.crashes == 0);

    let counts = counts_in(Weather { sync: ms(1)..=ms(50), crashes: spell, ..calm() });
    assert!(0 < counts.lost_records && 0 < counts.spared_records && counts.torn_records == 0);
}

#[test]
fn presets_bring_every_fault() {
    for (weather, seeds) in [(Weather::mild(), 100), (Weather::stormy(), 3)] {
        let mut all = [0; 16];
        for seed in 0..seeds {
            let mut storm = Storm::brew(seed, Order::PersistFirst, weather.clone());
            storm
                .simulator
                .set_tear(|record, random| random.random_bool(0.5).then(|| record.clone()));
            let counts = storm.rage().simulator.counts();
            let faults = [
                counts.lost,
                counts.repeated,
                counts.overtaken,
                counts.stopped,
                counts.missed,
                counts.hints,
                counts.starts - 3,
                counts.crashes,
                counts.torn,
                counts.cuts,
                counts.pauses,
                counts.late,
                counts.syncs,
                counts.lost_records,
                counts.spared_records,
                counts.torn_records,
            ];
            for (sum, count) in all.iter_mut().zip(faults) {
                *sum += count;
            }
        }
        assert!(all.iter().all(|count| 0 < *count), "{weather:?} brought {all:?}");
    }
}

#[test]
fn a_thousand_storms_do_not_break_a_protocol_that_persists_first() {
    for seed in 0..1_000 {
        let storm = Storm::brew(seed, Order::PersistFirst, Weather::stormy()).rage();
        assert_eq!(storm.broken, None, "seed {seed}");
    }
}

#[test]
fn a_protocol_that_persists_last_is_caught_within_ten_storms() {
    let caught = (0..10)
        .filter(|seed| {
            let storm = Storm::brew(*seed, Order::PersistLast, Weather::stormy()).rage();
            storm.broken.is_some()
        })
        .count();
    assert!(5 < caught, "{caught} of 10");
}

#[test]
fn a_healed_system_is_up_and_ends_what_is_pending() {
    let mut waited = 0;
    for seed in 0..200 {
        let mut storm = Storm::brew(seed, Order::PersistFirst, Weather::stormy()).rage();
        waited += u64::from(storm.simulator.nodes().count() < MEMBERS.len());
        storm.simulator.heal();
        let before = storm.simulator.counts();
        storm.run_until(ms(20_000));

        let after = storm.simulator.counts();
        assert_eq!(
            (after.lost, after.crashes, after.pauses, after.cuts),
            (before.lost, before.crashes, before.pauses, before.cuts)
        );
        assert_eq!(storm.simulator.nodes().count(), MEMBERS.len());
        for (node, tally) in storm.simulator.nodes() {
            assert!(!storm.simulator.is_paused(node));
            for peer in MEMBERS.into_iter().filter(|peer| *peer != node) {
                assert!(!storm.simulator.is_cut(node, peer));
                let told = storm.simulator.node(peer).map(Tally::count);
                assert_eq!(told, Some(tally.heard(peer)), "seed {seed}: {node} of {peer}");
            }
        }
    }
    assert!(0 < waited, "some storm must leave a node down");
}
