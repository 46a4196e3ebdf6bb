//! Raft keeps its promises: in storms, after them, and in the scenes of the scripts.

mod audit;
mod clients;
#[path = "../linear/mod.rs"]
mod linear;
mod scenes;
// The scripts of all protocols are played alike.
#[path = "../../../protocols/tests/script/mod.rs"]
mod script;
mod storm;
mod witness;

use std::time::Duration;

use consensus::{Config, Index, Message, Raft, Term};
use protocols::simulator::{Spell, Weather};
use protocols::{Effect, Input, NodeId, Outbox, Protocol as _};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::storm::{Plan, Storm, Tally};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn weather(name: &str) -> Weather {
    match name {
        "calm" => Weather::calm(),
        "mild" => Weather::mild(),
        "stormy" => Weather::stormy(),
        _ => fickle(),
    }
}

fn plan(name: &str, seed: u64) -> Plan {
    let plan = Plan::draw(seed, weather(name));
    if name != "malicious" {
        return plan;
    }
    Plan { malice: true, voters: 5, restless: seed.is_multiple_of(4), election: ms(50), ..plan }
}

/// A fast network that falls apart several times a second, each time elsewhere: leaders come and
/// go while what they began is under way.
fn fickle() -> Weather {
    let spell = |between, lasting| Spell { between: ms(between), lasting: ms(lasting) };
    Weather {
        latency: ms(1)..=ms(8),
        straggling: 0.02,
        straggler: ms(400),
        loss: 0.02,
        repetition: 0.05,
        hint: 0.3,
        cuts: Some(spell(400, 400)),
        crashes: Some(spell(700, 150)),
        pauses: Some(spell(1_500, 200)),
        sync: ms(0)..=ms(3),
        ..Weather::mild()
    }
}

/// What was asked for by a variable of the environment: see scripts/soak.
#[expect(clippy::disallowed_methods, reason = "whoever runs a test may say for how long")]
fn asked(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// The seeds that once showed a mistake in this weather and then as many others, or those that
/// were asked for, as `RAFT_SEEDS=from..to`.
fn seeds(weather: &str, count: u64) -> Vec<u64> {
    if let Some(range) = asked("RAFT_SEEDS") {
        let (from, to) = range.split_once("..").expect("RAFT_SEEDS is from..to");
        let read = |number: &str| number.parse::<u64>().expect("a seed is a number");
        return (read(from)..read(to)).collect();
    }
    let lines = include_str!("seeds.txt").lines().map(|line| line.split(' '));
    let kept = lines.filter_map(|mut words| {
        let here = words.next() == Some(weather);
        here.then(|| words.next()?.parse().ok()).flatten()
    });
    kept.chain(0..count).collect()
}

/// Lets every storm rage, and says which failed.
fn promises_hold_in(name: &str, count: u64) {
    let mut all = Tally::default();
    let mut failed = Vec::new();
    let seeds = seeds(name, count);
    for seed in &seeds {
        let storm = || {
            let mut storm = Storm::brew(*seed, plan(name, *seed));
            storm.trace_to(asked("RAFT_TRACE"));
            storm.rage();
            storm.come_to_rest();
            storm.tally
        };
        match std::panic::catch_unwind(storm) {
            Ok(tally) => all.add(tally),
            Err(_) => failed.push(*seed),
        }
    }
    eprintln!("{name}: {} storms, {all:?}", seeds.len());
    assert!(failed.is_empty(), "{name} storms failed: seeds {failed:?}");
    match name {
        _ if asked("RAFT_SEEDS").is_some() => (),
        "stormy" => all.assert_rich(),
        "malicious" => assert!(10 < all.resurrected, "{all:?}"),
        _ => (),
    }
}

#[test]
fn promises_hold_in_calm_weather() {
    promises_hold_in("calm", 30);
}

#[test]
fn promises_hold_in_mild_weather() {
    promises_hold_in("mild", 100);
}

#[test]
fn promises_hold_in_stormy_weather() {
    promises_hold_in("stormy", 400);
}

#[test]
fn promises_hold_in_fickle_weather() {
    promises_hold_in("fickle", 150);
}

#[test]
fn promises_hold_where_leaders_are_cut_off_as_soon_as_they_are_elected() {
    promises_hold_in("malicious", 300);
}

/// How many of so many clusters show a read that is older than it may be, when leaders are cut off
/// and clocks differ by up to twice this.
fn stale_reads(drift_ppm: u32, count: u64) -> usize {
    let shows = |seed: &u64| {
        let weather = Weather { drift_ppm, ..Weather::calm() };
        let plan = Plan::draw(*seed, weather.clone());
        let (voters, clients, election, waiting_limit) = (3, 16, ms(150), 100);
        let plan = Plan { voters, clients, election, waiting_limit, restless: false, ..plan };
        let mut storm = Storm::brew(*seed, Plan { lease_reads: true, weather, ..plan });
        storm.isolate_leaders();
        storm.clients.history.check().is_err()
    };
    (0..count).filter(shows).count()
}

#[test]
fn reads_under_a_lease_are_as_good_as_the_clocks() {
    assert_eq!(stale_reads(45_000, 30), 0);
    assert!(0 < stale_reads(800_000, 30), "clocks that far apart must show");
}

/// Whether a server that started at nothing would vote for another at this time.
fn would_vote(lease_reads: bool, now: Duration) -> bool {
    let config = Config { lease_reads, ..Config::of(NodeId(1)) };
    let random = StdRng::seed_from_u64(1);
    let mut raft = Raft::new(config, storm::founders(3), Vec::new(), random);
    let mut out = Outbox::default();
    raft.step(Duration::ZERO, Input::Start, &mut out);
    let (term, last) = (Term(1), (Index(0), Term(0)));
    let question = Message::RequestVote { term, last, pre: true, transfer: false };
    raft.step(now, Input::Message(NodeId(2), question), &mut out);
    out.drain().any(|effect| {
        matches!(effect, Effect::Send(NodeId(2), Message::Vote { granted: true, .. }))
    })
}

#[test]
fn whoever_restarts_keeps_the_promise_that_it_may_have_given_to_a_leader_with_a_lease() {
    assert!(would_vote(false, ms(1)));
    assert!(!would_vote(true, ms(149)));
    assert!(would_vote(true, ms(150)));
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    let trace = |seed, name| {
        let mut storm = Storm::brew(seed, plan(name, seed));
        storm.simulator.start_trace();
        storm.rage();
        storm.simulator.take_trace()
    };
    for name in ["mild", "stormy", "malicious"] {
        for seed in 0..5 {
            let first = trace(seed, name);
            assert!(300 < first.lines().count());
            assert!(first == trace(seed, name), "{name} {seed} differs from itself");
            assert!(first != trace(seed + 5, name));
        }
    }
}

#[test]
fn scenes_of_three_play_as_written() {
    script::play_all::<scenes::Scene<3>>("tests/scripts/raft-three");
}

#[test]
fn scenes_of_two_play_as_written() {
    script::play_all::<scenes::Scene<2>>("tests/scripts/raft-two");
}

#[test]
fn scenes_of_five_play_as_written() {
    script::play_all::<scenes::Scene<5>>("tests/scripts/raft-five");
}
