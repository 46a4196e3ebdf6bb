//! The overlay keeps its promises: in storms, after them, and in the scenes of the scripts.
//!
mod audit;
mod manners;
mod requests;
mod scenes;
// Other protocols' tests play scripts too.
#[path = "../script/mod.rs"]
mod script;
mod storm;
mod witness;

use std::time::Duration;

use protocols::simulator::Weather;

use self::storm::{Storm, Tally};

/// How many storms each kind of weather brings.
const SEEDS: u64 = 1_200;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The seeds that once showed a mistake in this weather, and then every other.
fn seeds(weather: &str, count: u64) -> impl Iterator<Item = u64> {
    let lines = include_str!("../seeds.txt").lines().map(|line| line.split(' '));
    let kept = lines.filter_map(move |mut words| {
        let here = words.next() == Some("overlay") && words.next() == Some(weather);
        here.then(|| words.next()?.parse().ok()).flatten()
    });
    kept.collect::<Vec<_>>().into_iter().chain(0..count)
}

fn weather(name: &str) -> Weather {
    if name == "mild" { Weather::mild() } else { Weather::stormy() }
}

fn promises_hold_in(name: &str) {
    let mut all = Tally::default();
    for seed in seeds(name, SEEDS) {
        let mut storm = Storm::brew(seed, weather(name));
        storm.rage();
        storm.come_to_rest();
        all.add(storm.tally);
    }
    all.assert_rich();
}

#[test]
fn promises_hold_in_mild_weather() {
    promises_hold_in("mild");
}

#[test]
fn promises_hold_in_stormy_weather() {
    promises_hold_in("stormy");
}

#[test]
fn after_a_storm_everybody_is_found_and_answers_whole() {
    for name in ["mild", "stormy"] {
        for seed in 10_000..10_100 {
            let mut storm = Storm::brew(seed, weather(name));
            storm.rage();
            storm.come_to_rest();
            storm.answer_whole();
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    let trace = |seed, name| {
        let mut storm = Storm::brew(seed, weather(name));
        storm.simulator.start_trace();
        storm.rage();
        storm.simulator.take_trace()
    };
    for name in ["mild", "stormy"] {
        for seed in 0..10 {
            let first = trace(seed, name);
            assert!(500 < first.lines().count());
            assert_eq!(first, trace(seed, name));
            assert_ne!(first, trace(seed + 10, name));
        }
    }
}

#[test]
fn scenes_play_as_written() {
    script::play_all::<scenes::Scene<100, 200>>("tests/scripts/overlay");
}

#[test]
fn crowded_scenes_play_as_written() {
    script::play_all::<scenes::Scene<1, 2>>("tests/scripts/overlay-crowded");
}
