//! Histories of a ring.

use serde_json::{Value, json};

use crate::promises::tests::{Actor, Stage};

const IDS: [u64; 6] = [2, 16, 24, 25, 26, 31];
const AT_REST: [&str; 4] = ["one-ring", "no-overlap", "covered", "counted"];

fn peer(id: u64) -> Value {
    let shown = if id > 1 << 53 { json!(id.to_string()) } else { json!(id) };
    json!({"id": shown, "address": format!("10.0.0.1:{}", id % 60_000)})
}

fn peers(ids: &[u64]) -> Value {
    ids.iter().map(|id| peer(*id)).collect()
}

/// A ring of these ids in which everybody knows what it ought to.
fn ring(ids: &[u64], bits: u32) -> Vec<Actor> {
    let count = ids.len();
    let node = |(place, id): (usize, &u64)| {
        let next = |steps: usize| ids[(place + steps) % count];
        let before = next(count - 1);
        let alone = count == 1;
        let successors = (1..count).take(3).map(next).collect::<Vec<_>>();
        let view = json!({"node": peer(*id), "bits": bits, "phase": "member",
            "predecessor": if alone { json!(null) } else { peer(before) },
            "successors": peers(&successors), "fingers": [],
            "ready": {"after": peer(before)["id"], "to": peer(*id)["id"]},
            "keys": 0, "copies": 0, "bytes": 0, "bytes_limit": 1, "writing": 0, "lookups": 0,
            "counted": count, "on_ring": true, "lost": [], "totals": {"performed": 0}});
        Actor::new(&format!("chord/{id}"), view)
    };
    ids.iter().enumerate().map(node).collect()
}

fn view(ring: &mut [Actor], id: u64) -> &mut Value {
    let key = format!("chord/{id}");
    let actor = ring.iter_mut().find(|actor| actor.key == key).expect("it is there");
    actor.view.as_mut().expect("it has one")
}

/// Everybody shows a view, up to a second apart, with a new number of lookups.
fn show(stage: &mut Stage, ring: &mut [Actor]) {
    for actor in ring {
        if let Some(view) = &mut actor.view {
            view["totals"]["performed"] = stage.at.into();
        }
        stage.see(actor);
        stage.pass(150);
    }
}

fn rest(stage: &mut Stage, ring: &mut [Actor]) {
    show(stage, ring);
    stage.pass(40_000);
    show(stage, ring);
    stage.pass(40_000);
    show(stage, ring);
    stage.pass(2_000);
}

/// A ring that was at rest, and is as `change` makes it.
fn changed(change: impl FnOnce(&mut Vec<Actor>)) -> (Stage, Vec<Actor>) {
    let (mut stage, mut ring) = (Stage::new(), ring(&IDS, 5));
    rest(&mut stage, &mut ring);
    change(&mut ring);
    rest(&mut stage, &mut ring);
    (stage, ring)
}

#[test]
fn a_ring_of_any_length_holds_at_rest() {
    for count in 1..=IDS.len() {
        let (mut stage, mut ring) = (Stage::new(), ring(&IDS[..count], 5));
        rest(&mut stage, &mut ring);
        for id in AT_REST.into_iter().chain(["own-part"]) {
            stage.assert_holds(&format!("chord/{id}"));
        }
    }
}

#[test]
fn a_ring_on_the_largest_circle_holds_and_its_faults_are_found() {
    let ids = [0, 1, (1 << 53) + 1, u64::MAX - 1, u64::MAX];
    let (mut stage, mut ring) = (Stage::new(), ring(&ids, 64));
    rest(&mut stage, &mut ring);
    for id in AT_REST {
        stage.assert_holds(&format!("chord/{id}"));
    }
    view(&mut ring, u64::MAX)["ready"] = json!(null);
    rest(&mut stage, &mut ring);
    let place = format!("nobody answers for {} to {}", u64::MAX, u64::MAX);
    stage.assert_broken("chord/covered", &[&place]);
}

#[test]
fn nothing_is_judged_before_the_ring_has_come_to_rest() {
    let (mut stage, mut ring) = (Stage::new(), ring(&IDS, 5));
    view(&mut ring, 24)["successors"] = peers(&[26]);
    show(&mut stage, &mut ring);
    stage.pass(50_000);
    show(&mut stage, &mut ring);
    stage.assert_unjudged("chord/one-ring");
    // A clock that leaps gives no rest.
    stage.at += 3_600_000;
    stage.promises.tick(stage.at);
    stage.assert_unjudged("chord/one-ring");
}

#[test]
fn two_rings_are_found() {
    let (stage, _) = changed(|ring| {
        for (id, next) in [(2, 24), (24, 26), (26, 2), (16, 25), (25, 31), (31, 16)] {
            view(ring, id)["successors"] = peers(&[next]);
        }
    });
    let words = ["2 goes on with 24, not with 16", "at rest since", "members: 2, 16, 24"];
    stage.assert_broken("chord/one-ring", &words);
    stage.assert_holds("chord/covered");
}

#[test]
fn a_disordered_ring_and_a_node_beside_the_ring_are_found() {
    let (stage, _) = changed(|ring| {
        for (id, next) in [(2, 24), (24, 16), (16, 25)] {
            view(ring, id)["successors"] = peers(&[next]);
        }
    });
    stage.assert_broken("chord/one-ring", &["24 goes on with 16, not with 25"]);
    let (stage, _) = changed(|ring| view(ring, 24)["successors"] = peers(&[26, 31]));
    stage.assert_broken("chord/one-ring", &["24 goes on with 26, not with 25"]);
}

#[test]
fn a_node_that_answers_for_anothers_places_is_found_at_once() {
    let (mut stage, mut ring) = (Stage::new(), ring(&IDS, 5));
    show(&mut stage, &mut ring);
    stage.assert_holds("chord/own-part");
    view(&mut ring, 24)["ready"]["after"] = 2.into();
    show(&mut stage, &mut ring);
    let words = ["24 answers for the places after 2 up to 24, not after 16 up to 24"];
    stage.assert_broken("chord/own-part", &words);
}

#[test]
fn who_is_no_member_and_answers_for_places_is_found() {
    let (mut stage, mut ring) = (Stage::new(), ring(&IDS, 5));
    view(&mut ring, 24)["phase"] = "leaving".into();
    show(&mut stage, &mut ring);
    stage.assert_broken("chord/own-part", &["24", "is no member"]);
}

#[test]
fn places_of_two_nodes_and_of_none_are_found_at_rest() {
    let (stage, _) = changed(|ring| {
        view(ring, 24)["predecessor"] = peer(2);
        view(ring, 24)["ready"]["after"] = 2.into();
    });
    stage.assert_broken("chord/no-overlap", &["16 and 24 both answer for 3 to 16"]);
    stage.assert_holds("chord/own-part");
    stage.assert_holds("chord/covered");
    let (stage, _) = changed(|ring| view(ring, 2)["ready"] = json!(null));
    stage.assert_broken("chord/covered", &["nobody answers for 0 to 2"]);
    stage.assert_holds("chord/no-overlap");
}

#[test]
fn a_gap_is_no_breach_while_keys_are_on_their_way() {
    let (mut stage, mut ring) = (Stage::new(), ring(&IDS, 5));
    rest(&mut stage, &mut ring);
    view(&mut ring, 25)["ready"] = json!(null);
    for copies in 0..20 {
        view(&mut ring, 26)["copies"] = copies.into();
        show(&mut stage, &mut ring);
        stage.pass(8_000);
    }
    stage.assert_nothing_broken();
    rest(&mut stage, &mut ring);
    stage.assert_broken("chord/covered", &["nobody answers for 25 to 25"]);
}

#[test]
fn a_count_of_others_than_the_members_is_found_at_rest() {
    let (stage, _) = changed(|ring| view(ring, 16)["counted"] = 5.into());
    stage.assert_broken("chord/counted", &["16 counted 5 members of 6"]);
    let (stage, _) = changed(|ring| view(ring, 16)["counted"] = 0.into());
    stage.assert_holds("chord/counted");
}

#[test]
fn two_nodes_of_one_id_are_found() {
    let (stage, _) = changed(|ring| {
        let mut double = ring[2].clone();
        double.key = "chord/24b".into();
        double.view.as_mut().expect("it has one")["node"]["address"] = "elsewhere:1".into();
        ring.push(double);
    });
    stage.assert_broken("chord/one-ring", &["two nodes have the id 24"]);
}

#[test]
fn a_breach_needs_that_every_member_still_lives() {
    let (mut stage, mut ring) = (Stage::new(), ring(&IDS, 5));
    rest(&mut stage, &mut ring);
    // 25 is stopped in its tracks, and everybody else began anew without it.
    for actor in ring.iter_mut().filter(|actor| actor.key != "chord/25") {
        actor.started = Some(stage.at);
    }
    view(&mut ring, 24)["successors"] = peers(&[26, 31]);
    view(&mut ring, 26)["predecessor"] = peer(24);
    view(&mut ring, 26)["ready"]["after"] = 24.into();
    let stopped = ring.remove(3);
    for _ in 0..3 {
        rest(&mut stage, &mut ring);
        stage.see(&stopped);
    }
    stage.assert_nothing_broken();
}

#[test]
fn a_crash_is_no_breach_while_the_ring_mends_itself_nor_after() {
    let (mut stage, mut ring) = (Stage::new(), ring(&IDS, 5));
    rest(&mut stage, &mut ring);
    let mut dead = ring.remove(3);
    dead.reachable = false;
    stage.see(&dead);
    // Those that still count on it leave nothing to judge, however long that lasts.
    rest(&mut stage, &mut ring);
    stage.assert_nothing_broken();
    let checked = stage.promise("chord/one-ring").checked;
    let mut mended = super::tests::ring(&[2, 16, 24, 26, 31], 5);
    view(&mut mended, 24)["lost"] = peers(&[25]);
    rest(&mut stage, &mut mended);
    assert!(checked < stage.promise("chord/one-ring").checked, "it is judged without the dead one");
    stage.promises.gone(stage.at, "chord/25");
    rest(&mut stage, &mut mended);
    stage.assert_nothing_broken();
}

#[test]
fn joining_and_leaving_are_no_breach() {
    let (mut stage, mut five) = (Stage::new(), ring(&[2, 16, 24, 26, 31], 5));
    rest(&mut stage, &mut five);
    let mut new = ring(&IDS, 5).remove(3);
    for (phase, seconds) in [("joining", 90), ("member", 20), ("leaving", 90), ("left", 5)] {
        let shown = new.view.as_mut().expect("it has one");
        shown["phase"] = phase.into();
        shown["ready"] = json!(null);
        for _ in 0..seconds / 5 {
            show(&mut stage, std::slice::from_mut(&mut new));
            show(&mut stage, &mut five);
            stage.pass(4_000);
        }
        stage.assert_nothing_broken();
    }
    let mut six = ring(&IDS, 5);
    rest(&mut stage, &mut six);
    stage.assert_nothing_broken();
    stage.assert_holds("chord/counted");
}

#[test]
fn while_somebody_joins_or_leaves_nothing_is_judged() {
    for phase in ["joining", "leaving"] {
        let (mut stage, mut ring) = (Stage::new(), ring(&IDS[..5], 5));
        view(&mut ring, 26)["ready"] = json!(null);
        let mut new = super::tests::ring(&IDS, 5).remove(5);
        let shown = new.view.as_mut().expect("it has one");
        (shown["phase"], shown["ready"]) = (phase.into(), json!(null));
        ring.push(new);
        rest(&mut stage, &mut ring);
        stage.assert_unjudged("chord/covered");
        ring.pop();
        stage.promises.gone(stage.at, "chord/31");
        rest(&mut stage, &mut ring);
        stage.assert_broken("chord/covered", &["nobody answers for 26 to 26"]);
    }
}

#[test]
fn the_halves_of_a_ring_that_is_cut_are_no_breach() {
    let (mut stage, mut whole) = (Stage::new(), ring(&IDS, 5));
    rest(&mut stage, &mut whole);
    let (mut left, mut right) = (ring(&[2, 16, 24], 5), ring(&[25, 26, 31], 5));
    view(&mut left, 24)["lost"] = peers(&[25]);
    left.append(&mut right);
    for _ in 0..5 {
        rest(&mut stage, &mut left);
    }
    stage.assert_nothing_broken();
    // Once nobody is looked for, they ought to be one.
    view(&mut left, 24)["lost"] = json!([]);
    rest(&mut stage, &mut left);
    stage.assert_broken("chord/one-ring", &["24 goes on with 2, not with 25"]);
}

#[test]
fn a_ring_with_a_fault_switched_on_is_not_judged() {
    let (mut stage, mut ring) = (Stage::new(), ring(&IDS, 5));
    ring[0].broken = true;
    view(&mut ring, 24)["successors"] = peers(&[26]);
    rest(&mut stage, &mut ring);
    stage.assert_unjudged("chord/one-ring");
    ring[0].broken = false;
    stage.see(&ring[0].clone());
    stage.pass(50_000);
    stage.assert_unjudged("chord/one-ring");
    rest(&mut stage, &mut ring);
    stage.assert_broken("chord/one-ring", &["24"]);
}

#[test]
fn a_ring_of_which_a_part_is_not_seen_is_not_judged() {
    let (mut stage, mut ring) = (Stage::new(), ring(&IDS, 5));
    ring.remove(1);
    rest(&mut stage, &mut ring);
    for id in AT_REST {
        stage.assert_unjudged(&format!("chord/{id}"));
    }
}

#[test]
fn a_registry_without_a_view_does_not_matter() {
    let (mut stage, mut ring) = (Stage::new(), ring(&IDS, 5));
    let mut registry = Actor::new("chord/registry", json!(null));
    registry.view = None;
    ring.push(registry);
    rest(&mut stage, &mut ring);
    stage.assert_holds("chord/one-ring");
}
