//! Chord keeps its promises: in storms and after them, in large rings, among liars, and in the
//! scenes of the scripts.

mod alone;
mod audit;
mod clients;
mod large;
mod liars;
mod plan;
mod scenes;
// The scripts of all protocols are played alike.
#[path = "../../../protocols/tests/script/mod.rs"]
mod script;
mod storm;
mod tally;

use std::time::Duration;

use self::plan::{Plan, WEATHERS};
use self::storm::Storm;
use self::tally::Tally;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What was asked for by a variable of the environment: see scripts/soak.
#[expect(clippy::disallowed_methods, reason = "whoever runs a test may say for how long")]
fn asked(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// The seeds that once showed a mistake in this weather and then as many others as it has, or those
/// that were asked for, as `CHORD_SEEDS=from..to`.
fn seeds(weather: &str) -> Vec<u64> {
    if let Some(range) = asked("CHORD_SEEDS") {
        let (from, to) = range.split_once("..").expect("CHORD_SEEDS is from..to");
        let read = |number: &str| number.parse::<u64>().expect("a seed is a number");
        return (read(from)..read(to)).collect();
    }
    let lines = include_str!("seeds.txt").lines().map(|line| line.split(' '));
    let kept = lines.filter_map(|mut words| {
        let here = words.next() == Some(weather);
        here.then(|| words.next()?.parse().ok()).flatten()
    });
    let count = WEATHERS.iter().find(|(name, _)| *name == weather).expect("it is one of them").1;
    kept.chain(0..count).collect()
}

/// Lets every storm of a weather rage. One that breaks a promise names its seed as it ends.
fn promises_hold_in(weather: &str, rich_in: &[&str]) {
    let mut all = Tally::default();
    let seeds = seeds(weather);
    for seed in &seeds {
        let mut storm = Storm::brew(*seed, Plan::draw(weather, *seed));
        storm.trace_to(asked("CHORD_TRACE"));
        storm.rage();
        storm.come_to_rest();
        all.add(&storm.tally);
    }
    eprintln!("{weather}: {} storms, {all:?}", seeds.len());
    if asked("CHORD_SEEDS").is_none() {
        all.assert_rich(rich_in);
    }
}

#[test]
fn promises_hold_in_fair_weather() {
    promises_hold_in(
        "fair",
        &["saved", "removed", "exists", "found", "missing", "copied", "joined", "left", "killed"],
    );
}

#[test]
fn promises_hold_where_messages_are_lost() {
    promises_hold_in("lossy", &["saved", "not one ring", "suspected", "returned"]);
}

#[test]
fn promises_hold_where_the_ring_is_cut_in_two() {
    promises_hold_in("parted", &["saved", "parted", "not one ring", "suspected", "returned"]);
}

#[test]
fn promises_hold_where_nodes_sleep() {
    promises_hold_in("sleepy", &["saved", "suspected", "returned", "not one ring"]);
}

#[test]
fn promises_hold_in_stormy_weather() {
    promises_hold_in("stormy", &["saved", "crashed", "suspected", "counted", "not one ring"]);
}

#[test]
fn promises_hold_where_there_is_little_room() {
    promises_hold_in("narrow", &["saved", "full", "busy", "joined"]);
}

#[test]
fn promises_hold_where_values_are_long() {
    promises_hold_in("bulky", &["saved", "joined", "repaired", "killed", "left"]);
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    let trace = |weather, seed| {
        let mut storm = Storm::brew(seed, Plan::draw(weather, seed));
        storm.simulator.start_trace();
        storm.rage();
        storm.simulator.take_trace()
    };
    for weather in ["fair", "parted", "stormy"] {
        for seed in 0..3 {
            let first = trace(weather, seed);
            assert!(300 < first.lines().count());
            assert!(first == trace(weather, seed), "{weather} {seed} differs from itself");
            assert!(first != trace(weather, seed + 3));
        }
    }
}

#[test]
fn scenes_play_as_written() {
    script::play_all::<scenes::Scene>("tests/scripts");
}
