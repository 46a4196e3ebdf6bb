//! What a single fault does, shown by puppets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocols::NodeId;
use protocols::simulator::{Simulator, Spell, Step, Weather};

use crate::ms;
use crate::puppet::Puppet;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

fn puppets() -> Simulator<Puppet> {
    Simulator::new(1, [N1, N2, N3], Puppet::new)
}

fn run(simulator: &mut Simulator<Puppet>, until: u64) {
    simulator.run_until(ms(until), |_, _| ());
}

/// What a puppet saw after its start.
fn seen(simulator: &Simulator<Puppet>, node: NodeId) -> Vec<&str> {
    let seen = simulator.node(node).expect("the puppet is up").seen();
    assert_eq!(seen[0], "0 start");
    seen[1..].iter().map(String::as_str).collect()
}

#[test]
fn an_alarm_armed_again_goes_off_once_at_the_later_setting() {
    let mut simulator = puppets();
    simulator.request(N1, |out| {
        out.arm('a', ms(30));
        out.arm('b', ms(40));
    });
    simulator.request_at(ms(10), N1, |out| out.arm('a', ms(100)));
    simulator.request_at(ms(20), N1, |out| out.arm('b', ms(5)));
    run(&mut simulator, 1_000);
    assert_eq!(seen(&simulator, N1), ["25 timeout 'b'", "110 timeout 'a'"]);
}

#[test]
fn a_disarmed_alarm_does_not_go_off_until_armed_again() {
    let mut simulator = puppets();
    simulator.request(N1, |out| {
        out.arm('a', ms(30));
        out.disarm('a');
        out.disarm('b');
        out.arm('b', ms(30));
    });
    run(&mut simulator, 1_000);
    assert_eq!(seen(&simulator, N1), ["30 timeout 'b'"]);
}

#[test]
fn a_crash_forgets_alarms_and_memory_and_keeps_records() {
    let mut simulator = puppets();
    simulator.request(N1, |out| {
        out.persist(4);
        out.persist(5);
        out.arm('a', ms(100));
    });
    simulator.request_at(ms(50), N2, |out| out.send(N1, 9));
    run(&mut simulator, 20);
    simulator.crash(N1);
    assert!(!simulator.is_up(N1));
    assert_eq!(simulator.nodes().map(|(node, _)| node).collect::<Vec<_>>(), [N2, N3]);
    assert_eq!(simulator.records(N1), [4, 5]);
    run(&mut simulator, 60);
    simulator.start(N1);
    run(&mut simulator, 1_000);
    assert_eq!(seen(&simulator, N1), [""; 0]);
    assert_eq!(simulator.node(N1).map(Puppet::records), Some(&[4, 5][..]));
    assert_eq!(simulator.counts().missed, 1);
}

#[test]
fn a_message_may_outlive_its_sender_and_reach_a_later_incarnation() {
    let mut simulator = puppets();
    simulator.set_weather(Weather { latency: ms(50)..=ms(50), ..Weather::calm() });
    simulator.request(N1, |out| out.send(N2, 9));
    run(&mut simulator, 10);
    simulator.crash(N1);
    simulator.crash(N2);
    simulator.start(N2);
    run(&mut simulator, 100);
    assert_eq!(seen(&simulator, N2), ["40 n1 says 9"], "by the time since its own start");
}

#[test]
fn a_crash_in_a_step_performs_only_the_effects_before_it() {
    for kept in 0..=4 {
        let mut simulator = puppets();
        run(&mut simulator, 0);
        simulator.crash_after(N1, kept);
        simulator.request(N1, |out| {
            out.persist(1);
            out.notify(2);
            out.send(N2, 3);
        });
        let mut told = Vec::new();
        simulator.run_until(ms(10), |_, step: Step<Puppet>| {
            assert_eq!(step.crashed, step.node == N1);
            told.extend(step.notices);
        });
        assert!(!simulator.is_up(N1));
        assert_eq!(simulator.records(N1), &[1][..kept.min(1)]);
        assert_eq!(told, if 2 <= kept { vec![2] } else { vec![] });
        assert_eq!(seen(&simulator, N2).len(), usize::from(3 <= kept));
        assert_eq!(simulator.counts().torn, u64::from(kept < 3));
    }
}

#[test]
fn a_paused_node_hears_everything_late_and_nothing_never() {
    let mut simulator = puppets();
    simulator.request(N1, |out| {
        out.arm('a', ms(100));
        out.arm('b', ms(900));
    });
    simulator.request_at(ms(50), N2, |out| out.send(N1, 7));
    run(&mut simulator, 20);
    simulator.pause(N1);
    assert!(simulator.is_up(N1) && simulator.is_paused(N1));
    run(&mut simulator, 500);
    assert_eq!(seen(&simulator, N1), [""; 0]);
    simulator.resume(N1);
    run(&mut simulator, 1_000);
    let mut seen = seen(&simulator, N1);
    seen[..2].sort_unstable();
    assert_eq!(seen, ["500 n2 says 7", "500 timeout 'a'", "900 timeout 'b'"]);
    assert_eq!((simulator.counts().pauses, simulator.counts().late), (1, 1));
}

#[test]
fn an_alarm_disarmed_by_what_waited_with_it_does_not_go_off() {
    let outcomes: BTreeSet<usize> = (0..50)
        .map(|seed| {
            let mut simulator = Simulator::new(seed, [N1], Puppet::new);
            simulator.request(N1, |out| out.arm('a', ms(100)));
            run(&mut simulator, 1);
            simulator.pause(N1);
            simulator.request_at(ms(50), N1, |out| out.disarm('a'));
            run(&mut simulator, 200);
            simulator.resume(N1);
            run(&mut simulator, 300);
            seen(&simulator, N1).len()
        })
        .collect();
    assert_eq!(outcomes, BTreeSet::from([0, 1]), "a node that wakes looks at either first");
}

#[test]
fn a_cut_works_one_way_and_also_on_what_is_on_its_way() {
    let mut simulator = puppets();
    simulator.set_weather(Weather { latency: ms(10)..=ms(10), ..Weather::calm() });
    simulator.request(N1, |out| out.send(N2, 1));
    run(&mut simulator, 5);
    simulator.cut(N1, N2);
    assert!(simulator.is_cut(N1, N2) && !simulator.is_cut(N2, N1));
    simulator.request(N1, |out| {
        out.send(N2, 2);
        out.send(N3, 3);
    });
    simulator.request(N2, |out| out.send(N1, 4));
    run(&mut simulator, 50);
    simulator.mend(N1, N2);
    simulator.request(N1, |out| out.send(N2, 5));
    run(&mut simulator, 100);
    assert_eq!(seen(&simulator, N1), ["15 n2 says 4"]);
    assert_eq!(seen(&simulator, N2), ["60 n1 says 5"]);
    assert_eq!(seen(&simulator, N3), ["15 n1 says 3"]);
    assert_eq!((simulator.counts().stopped, simulator.counts().cuts), (2, 1));
}

#[test]
fn a_partition_parts_a_group_from_all_others_both_ways() {
    let mut simulator = puppets();
    run(&mut simulator, 0);
    simulator.partition([N1, N3]);
    for (from, to, parted) in
        [(N1, N2, true), (N2, N1, true), (N2, N3, true), (N3, N2, true), (N1, N3, false)]
    {
        assert_eq!(simulator.is_cut(from, to), parted, "{from} to {to}");
    }
    simulator.mend_every_cut();
    assert!(!simulator.is_cut(N1, N2) && !simulator.is_cut(N3, N2));
}

#[test]
fn a_node_may_be_told_whom_it_cannot_reach() {
    let mut simulator = puppets();
    simulator.set_weather(Weather { hint: 1.0, ..Weather::calm() });
    run(&mut simulator, 10);
    simulator.crash(N2);
    run(&mut simulator, 20);
    simulator.request(N1, |out| out.send(N2, 1));
    run(&mut simulator, 30);
    simulator.cut(N3, N1);
    run(&mut simulator, 40);
    simulator.request(N3, |out| out.send(N1, 1));
    run(&mut simulator, 50);
    assert_eq!(seen(&simulator, N1), ["11 n2 unreachable", "22 n2 unreachable"]);
    assert_eq!(
        seen(&simulator, N3),
        ["11 n2 unreachable", "31 n1 unreachable", "41 n1 unreachable"]
    );
    assert_eq!(simulator.counts().hints, 5);
}

#[test]
fn clocks_drift_apart_and_begin_again_with_each_start() {
    let mut simulator = puppets();
    simulator.set_weather(Weather { drift_ppm: 100_000, ..Weather::calm() });
    for node in [N1, N2, N3] {
        simulator.request(node, |out| out.arm('a', Duration::from_secs(10)));
    }
    let mut rung = BTreeSet::new();
    simulator.run_until(Duration::from_secs(20), |simulator, step| {
        if simulator.node(step.node).is_some_and(|puppet| puppet.seen().len() == 2) {
            rung.insert(step.now);
        }
    });
    assert_eq!(rung.len(), 3);
    assert!(rung.iter().all(|at| (ms(9_000)..=ms(11_200)).contains(at)), "{rung:?}");
    simulator.crash(N1);
    simulator.start(N1);
    simulator.request(N1, |out| out.arm('a', ms(500)));
    run(&mut simulator, 30_000);
    assert_eq!(seen(&simulator, N1), ["500 timeout 'a'"]);
}

#[test]
fn a_node_may_join_later() {
    let mut simulator = puppets();
    run(&mut simulator, 100);
    simulator.request(N1, |out| out.send(NodeId(9), 1));
    run(&mut simulator, 200);
    simulator.start(NodeId(9));
    simulator.request(N1, |out| out.send(NodeId(9), 2));
    run(&mut simulator, 300);
    assert_eq!(seen(&simulator, NodeId(9)), ["1 n1 says 2"]);
}

#[test]
fn a_node_that_is_started_twice_starts_once() {
    let mut simulator = puppets();
    simulator.start(N1);
    run(&mut simulator, 10);
    simulator.start(N1);
    simulator.crash(N2);
    simulator.start(N2);
    simulator.start(N2);
    run(&mut simulator, 20);
    assert_eq!(simulator.counts().starts, 4);
}

#[test]
fn healing_ends_every_fault_at_once() {
    let mut simulator = puppets();
    simulator.request_at(ms(200), N3, |out| out.persist(1));
    run(&mut simulator, 10);
    simulator.crash(N1);
    simulator.pause(N2);
    simulator.crash_after(N3, 0);
    simulator.cut(N2, N3);
    simulator.partition([N1]);
    simulator.set_weather(Weather { loss: 1.0, ..Weather::calm() });
    run(&mut simulator, 100);
    simulator.heal();
    run(&mut simulator, 100);
    assert!(simulator.is_up(N1) && !simulator.is_paused(N2) && !simulator.is_cut(N2, N3));
    simulator.request(N2, |out| {
        out.send(N1, 2);
        out.send(N3, 3);
    });
    run(&mut simulator, 300);
    assert_eq!(seen(&simulator, N1), ["1 n2 says 2"]);
    assert_eq!(seen(&simulator, N3), ["101 n2 says 3"]);
    assert_eq!(simulator.records(N3), [1]);
}

/// Faults of one kind, every millisecond or so.
fn often(lasting: u64) -> Option<Spell> {
    Some(Spell { between: ms(1), lasting: ms(lasting) })
}

#[test]
fn a_crash_of_the_weather_falls_between_any_two_effects() {
    let mut kept = BTreeMap::new();
    for seed in 0..200 {
        let mut simulator = Simulator::new(seed, [N1], Puppet::new);
        simulator.set_weather(Weather { crashes: often(10), ..Weather::calm() });
        run(&mut simulator, 100);
        simulator.request(N1, |out| {
            out.persist(1);
            out.persist(2);
            out.persist(3);
        });
        run(&mut simulator, 100);
        if !simulator.is_up(N1) {
            *kept.entry(simulator.records(N1).len()).or_insert(0) += 1;
        }
    }
    assert_eq!(kept.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3], "{kept:?}");
}

#[test]
fn a_change_of_weather_ends_the_strikes_of_the_weather_before() {
    let mut simulator = puppets();
    run(&mut simulator, 0);
    for _ in 0..100 {
        let weather = Weather { crashes: often(1), pauses: often(1), ..Weather::calm() };
        simulator.set_weather(weather);
    }
    run(&mut simulator, 100);
    assert!(simulator.counts().pauses < 200, "{:?}", simulator.counts());
    simulator.set_weather(Weather::calm());
    run(&mut simulator, 200);
    let before = simulator.counts();
    for node in [N1, N2, N3] {
        simulator.request(node, |out| out.persist(1));
    }
    run(&mut simulator, 300);
    let after = simulator.counts();
    assert_eq!((after.crashes, after.pauses), (before.crashes, before.pauses));
    assert_eq!(after.steps, before.steps + 3);
}

#[test]
fn the_weather_does_not_undo_what_was_done_by_hand() {
    let mut simulator = puppets();
    run(&mut simulator, 0);
    simulator.cut(N1, N2);
    simulator.crash_after(N3, 2);
    simulator.set_weather(Weather { cuts: often(5), crashes: often(5), ..Weather::calm() });
    simulator.request_at(ms(500), N3, |out| {
        out.persist(1);
        out.persist(2);
        out.persist(3);
    });
    while simulator.step_until(ms(1_000)).is_some() {
        assert!(simulator.is_cut(N1, N2));
    }
    assert_eq!(simulator.records(N3), [1, 2]);
    assert!(!simulator.is_up(N3));

    simulator.set_weather(Weather { pauses: often(1_000), ..Weather::calm() });
    run(&mut simulator, 1_020);
    simulator.set_weather(Weather::calm());
    assert!(simulator.is_paused(N1));
    simulator.resume(N1);
    simulator.pause(N1);
    run(&mut simulator, 5_000);
    assert!(simulator.is_paused(N1) && !simulator.is_paused(N2));
}

#[test]
fn a_system_in_which_nothing_happens_any_more_comes_to_its_end() {
    let mut simulator = puppets();
    simulator.request_at(ms(70), N2, |out| out.arm('a', ms(7)));
    let steps: Vec<_> = std::iter::from_fn(|| simulator.step()).map(|step| step.node).collect();
    assert_eq!(steps, [N1, N2, N3, N2, N2]);
    assert_eq!(simulator.now(), ms(77));
    assert!(simulator.step_until(ms(100)).is_none());
    assert_eq!(simulator.now(), ms(100));
}

#[test]
#[should_panic(expected = "lets no time pass")]
fn a_protocol_that_lets_no_time_pass_is_stopped() {
    let mut simulator = puppets();
    simulator.request(N1, |out| out.arm('a', Duration::ZERO));
    simulator.run_until(ms(1), |simulator, step| {
        simulator.request(step.node, |out| out.arm('a', Duration::ZERO));
    });
}

#[test]
fn a_protocol_may_take_any_number_of_steps_while_time_passes() {
    let mut simulator = Simulator::new(1, [N1], Puppet::new);
    for at in 0..150_000 {
        simulator.request_at(ms(at), N1, |_| ());
    }
    run(&mut simulator, 150_000);
    assert_eq!(simulator.counts().steps, 150_001);
}
