//! What slow disks do, and what a crash leaves of what waits for them, shown by puppets.

use std::collections::BTreeSet;
use std::time::Duration;

use protocols::NodeId;
use protocols::simulator::{Simulator, Spell, Weather};

use crate::ms;
use crate::puppet::Puppet;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);

/// Two puppets in weather that is calm but for syncs that take so many milliseconds.
fn puppets(seed: u64, sync: u64) -> Simulator<Puppet> {
    let mut simulator = Simulator::new(seed, [N1, N2], Puppet::new);
    simulator.set_weather(slow(sync));
    simulator
}

fn slow(sync: u64) -> Weather {
    Weather { sync: ms(sync)..=ms(sync), ..Weather::calm() }
}

/// What was told until then, each after its time in milliseconds.
fn run(simulator: &mut Simulator<Puppet>, until: u64) -> Vec<(u64, u32)> {
    let mut told = Vec::new();
    simulator.run_until(ms(until), |_, step| {
        let now = u64::try_from(step.now.as_millis()).expect("a short run");
        told.extend(step.notices.into_iter().map(|notice| (now, notice)));
    });
    told
}

/// What a puppet saw after its start.
fn seen(simulator: &Simulator<Puppet>, node: NodeId) -> Vec<&str> {
    let seen = simulator.node(node).expect("the puppet is up").seen();
    seen[1..].iter().map(String::as_str).collect()
}

#[test]
fn only_what_follows_a_record_waits_for_its_sync() {
    let mut simulator = puppets(1, 10);
    simulator.request(N1, |out| {
        out.send(N2, 1);
        out.notify(1);
        out.persist(7);
        out.send(N2, 2);
        out.persist(8);
        out.notify(2);
    });
    assert_eq!(run(&mut simulator, 9), [(0, 1)]);
    assert_eq!(simulator.records(N1), [0; 0]);
    assert_eq!(run(&mut simulator, 20), [(10, 2)]);
    assert_eq!(simulator.records(N1), [7, 8]);
    assert_eq!(seen(&simulator, N2), ["1 n1 says 1", "11 n1 says 2"]);
    assert_eq!(simulator.counts().syncs, 1);
}

#[test]
fn a_node_goes_on_while_its_disk_syncs_and_the_next_sync_takes_all_that_waits() {
    let mut simulator = puppets(1, 10);
    simulator.request(N1, |out| {
        out.persist(1);
        out.notify(1);
    });
    simulator.request_at(ms(2), N1, |out| out.notify(2));
    simulator.request_at(ms(3), N1, |out| {
        out.notify(3);
        out.persist(4);
    });
    simulator.request_at(ms(5), N1, |out| out.notify(5));
    simulator.request_at(ms(6), N1, |out| {
        out.persist(6);
        out.notify(6);
    });
    assert_eq!(run(&mut simulator, 10), [(10, 1), (10, 2), (10, 3)]);
    assert_eq!(simulator.records(N1), [1]);
    assert_eq!(run(&mut simulator, 100), [(20, 5), (20, 6)]);
    assert_eq!(simulator.records(N1), [1, 4, 6]);
    assert_eq!(simulator.counts().syncs, 2);
}

#[test]
fn alarms_do_not_wait_for_a_disk() {
    let mut simulator = puppets(1, 10);
    simulator.request(N1, |out| {
        out.arm('b', ms(5));
        out.persist(1);
        out.disarm('b');
        out.arm('a', ms(3));
    });
    run(&mut simulator, 100);
    assert_eq!(seen(&simulator, N1), ["3 timeout 'a'"]);
}

#[test]
fn a_disk_that_stalls_takes_longer_than_any_other() {
    let mut lengths = BTreeSet::new();
    for seed in 0..200 {
        let mut simulator = Simulator::new(seed, [N1], Puppet::new);
        let weather = Weather { stalling: 0.5, stall: ms(500), ..slow(10) };
        simulator.set_weather(weather);
        simulator.request(N1, |out| {
            out.persist(1);
            out.notify(1);
        });
        let told = run(&mut simulator, 1_000);
        lengths.insert(told[0].0);
    }
    assert!(50 < lengths.len() && lengths.first() == Some(&10), "{lengths:?}");
    assert!(lengths.last().is_some_and(|last| (400..=500).contains(last)), "{lengths:?}");
}

/// Lets a puppet persist 1, then 2 and 3 while that syncs, and crashes it then.
fn crash_while_three_wait(simulator: &mut Simulator<Puppet>) {
    simulator.request(N1, |out| {
        out.persist(1);
        out.notify(1);
    });
    simulator.request_at(ms(2), N1, |out| {
        out.persist(2);
        out.send(N2, 2);
        out.persist(3);
        out.notify(3);
    });
    assert_eq!(run(simulator, 5), []);
    simulator.crash(N1);
    assert_eq!(run(simulator, 100), [], "what waited is performed");
    assert_eq!(seen(simulator, N2), [""; 0]);
}

#[test]
fn of_the_records_that_wait_at_a_crash_any_number_from_the_first_outlives_it() {
    let mut spared = BTreeSet::new();
    for seed in 0..100 {
        let mut simulator = puppets(seed, 10);
        crash_while_three_wait(&mut simulator);
        let left = simulator.records(N1).to_vec();
        assert_eq!(left, [1, 2, 3][..left.len()]);
        let counts = simulator.counts();
        assert_eq!(counts.spared_records, left.len() as u64);
        assert_eq!(counts.lost_records, 3 - left.len() as u64);
        assert_eq!((counts.torn_records, counts.syncs), (0, 0));
        spared.insert(left.len());

        simulator.start(N1);
        run(&mut simulator, 200);
        assert_eq!(simulator.node(N1).map(Puppet::records), Some(&left[..]));
    }
    assert_eq!(spared, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn the_first_record_that_does_not_outlive_a_crash_whole_may_do_so_in_part() {
    let mut left = BTreeSet::new();
    for seed in 0..100 {
        let mut simulator = puppets(seed, 10);
        simulator.set_tear(|record, _| (*record != 2).then_some(10 * record));
        crash_while_three_wait(&mut simulator);
        let records = simulator.records(N1).to_vec();
        let counts = simulator.counts();
        let torn = records.iter().filter(|record| 10 <= **record).count() as u64;
        assert_eq!(counts.torn_records, torn);
        assert_eq!(counts.lost_records + counts.spared_records + torn, 3);
        left.insert(records);
    }
    // Nothing is left of 2 when it is torn.
    let all = [vec![10], vec![1], vec![1, 2, 30], vec![1, 2, 3]];
    assert_eq!(left, BTreeSet::from(all));
}

#[test]
fn what_was_synced_outlives_every_crash() {
    for seed in 0..50 {
        let mut simulator = puppets(seed, 10);
        simulator.set_tear(|_, _| None);
        simulator.request(N1, |out| out.persist(1));
        simulator.request_at(ms(5), N1, |out| out.persist(2));
        run(&mut simulator, 10);
        simulator.crash(N1);
        assert_eq!(simulator.records(N1)[0], 1);
        simulator.start(N1);
        run(&mut simulator, 50);
        assert_eq!(simulator.counts().syncs, 1, "a crash ends the sync that runs");
    }
}

#[test]
fn a_crash_in_a_step_loses_what_waits_and_not_what_does_not() {
    let mut simulator = puppets(1, 10);
    simulator.set_tear(|_, _| None);
    run(&mut simulator, 0);
    simulator.crash_after(N1, 3);
    simulator.request(N1, |out| {
        out.notify(1);
        out.persist(2);
        out.notify(3);
        out.notify(4);
    });
    assert_eq!(run(&mut simulator, 100), [(0, 1)]);
    assert!(!simulator.is_up(N1));
    assert_eq!(simulator.counts().torn, 1);
    assert_eq!(simulator.counts().lost_records + simulator.counts().spared_records, 1);
}

#[test]
fn a_crash_that_was_ordered_for_a_step_does_not_fall_at_the_end_of_a_sync() {
    let mut simulator = puppets(1, 10);
    simulator.request(N1, |out| {
        out.persist(1);
        out.notify(1);
    });
    run(&mut simulator, 5);
    simulator.crash_after(N1, 1);
    assert_eq!(run(&mut simulator, 20), [(10, 1)]);
    assert!(simulator.is_up(N1));
    simulator.request(N1, |_| ());
    run(&mut simulator, 30);
    assert!(!simulator.is_up(N1));
}

/// What was durable, and how much was told, when the weather crashed a puppet that was asked after
/// so long: faults come about as often.
fn ends(before: u64) -> BTreeSet<(usize, usize)> {
    let mut ends = BTreeSet::new();
    for seed in 0..500 {
        let mut simulator = puppets(seed, 10);
        let crashes = Some(Spell { between: ms(before), lasting: ms(1_000_000) });
        simulator.set_weather(Weather { crashes, ..slow(10) });
        run(&mut simulator, before);
        simulator.request(N1, |out| {
            out.persist(1);
            out.notify(1);
            out.notify(2);
        });
        let told = run(&mut simulator, before + 30).len();
        if !simulator.is_up(N1) {
            ends.insert((simulator.records(N1).len(), told));
        }
    }
    ends
}

#[test]
fn a_crash_of_the_weather_falls_during_a_sync_and_between_the_effects_that_it_releases() {
    let all = BTreeSet::from([(0, 0), (1, 0), (1, 1), (1, 2)]);
    assert_eq!(ends(20), all, "when it strikes during the sync");
    assert_eq!(ends(100_000), all, "when it strikes before");
}

#[test]
fn a_paused_node_learns_late_that_its_sync_has_ended() {
    let mut simulator = puppets(1, 10);
    simulator.request(N1, |out| {
        out.persist(1);
        out.notify(1);
    });
    run(&mut simulator, 5);
    simulator.pause(N1);
    assert_eq!(run(&mut simulator, 50), []);
    assert_eq!(simulator.records(N1), [0; 0]);
    simulator.resume(N1);
    assert_eq!(run(&mut simulator, 100), [(50, 1)]);
    assert_eq!(simulator.records(N1), [1]);
}

#[test]
fn a_sync_that_has_begun_ends_as_it_would_have_in_calm_weather_too() {
    let mut simulator = puppets(1, 10);
    simulator.request(N1, |out| {
        out.persist(1);
        out.notify(1);
    });
    run(&mut simulator, 2);
    simulator.set_weather(Weather::calm());
    simulator.request(N1, |out| {
        out.persist(2);
        out.notify(2);
    });
    assert_eq!(run(&mut simulator, 9), []);
    assert_eq!(run(&mut simulator, 20), [(10, 1), (10, 2)]);
    simulator.request(N1, |out| {
        out.persist(3);
        out.notify(3);
    });
    assert_eq!(run(&mut simulator, 30), [(20, 3)]);
    assert_eq!(simulator.counts().syncs, 2, "a disk that takes no time does not sync");
}

#[test]
fn healing_does_not_make_disks_fast() {
    let mut simulator = puppets(1, 10);
    run(&mut simulator, 0);
    simulator.heal();
    simulator.request(N1, |out| {
        out.persist(1);
        out.notify(1);
    });
    assert_eq!(run(&mut simulator, 100), [(10, 1)]);
}

#[test]
fn a_disk_whose_speed_varies_stays_within_its_range() {
    let mut lengths = BTreeSet::new();
    for seed in 0..100 {
        let mut simulator = puppets(seed, 0);
        simulator.set_weather(Weather { sync: Duration::ZERO..=ms(5), ..Weather::calm() });
        simulator.request(N1, |out| {
            out.persist(1);
            out.notify(1);
        });
        lengths.extend(run(&mut simulator, 100).into_iter().map(|(at, _)| at));
    }
    assert_eq!(lengths, BTreeSet::from([0, 1, 2, 3, 4]));
}
