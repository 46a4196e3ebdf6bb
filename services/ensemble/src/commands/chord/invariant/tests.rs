//! Good rings, and every kind of bad one.

use chord::client::{Error, FingerRun, Info};

use super::super::crawl::Sighting;
use super::*;

const BITS: u32 = 5;
const IDS: [u64; 6] = [2, 16, 24, 25, 26, 31];

fn peer(id: u64) -> Peer {
    Peer { id: Id(id), address: format!("10.0.0.1:{}", id.saturating_add(5000)).into() }
}

/// A ring of these ids in which everybody knows what it ought to.
fn good(ids: &[u64]) -> Survey {
    let count = ids.len();
    let state = |(place, id): (usize, &u64)| {
        let next = |steps: usize| peer(ids[(place + steps) % count]);
        let finger = |index: u32| {
            let start = Circle::new(BITS).finger(Id(*id), index).0;
            let at = ids.iter().find(|id| **id >= start).unwrap_or(&ids[0]);
            FingerRun { index, count: 1, peer: peer(*at) }
        };
        NodeState {
            node: peer(*id),
            bits: BITS,
            identity: None,
            ring: "r".into(),
            phase: "member".into(),
            predecessor: Some(next(count - 1)),
            successors: (1..count).take(3).map(next).collect(),
            fingers: (0..BITS).map(finger).collect(),
            ready: true,
            keys: 0,
            copies: 0,
            bytes: 0,
            bytes_limit: 1,
            counted: count as u64,
            lost: Vec::new(),
            replicas: 3,
            registry: None,
            registered: true,
        }
    };
    let sight = |state: NodeState| Sighting {
        at: state.node.address.to_string(),
        told: None,
        state: Ok(state),
    };
    let nodes = ids.iter().map(|id| peer(*id)).collect();
    let registry = Some(("r:1".to_owned(), Ok(Info { nodes, bits: BITS })));
    let sightings = ids.iter().enumerate().map(state).map(sight).collect();
    Survey { registry, sightings, more: false }
}

fn state(survey: &mut Survey, id: u64) -> &mut NodeState {
    let states = survey.sightings.iter_mut().filter_map(|it| it.state.as_mut().ok());
    states.into_iter().find(|state| state.node.id == Id(id)).expect("there")
}

fn succeed(survey: &mut Survey, id: u64, successors: &[u64]) {
    state(survey, id).successors = successors.iter().map(|id| peer(*id)).collect();
}

/// The node is there no more.
fn crash(survey: &mut Survey, id: u64) {
    for sighting in &mut survey.sightings {
        if sighting.id() == Some(Id(id)) {
            sighting.told = Some(peer(id));
            sighting.state = Err(Error::Unavailable("connection refused".into()));
        }
    }
}

/// The evidence against what does not hold, by name; notes left out.
fn violated(survey: &Survey) -> Vec<(&'static str, Vec<String>)> {
    let findings = verify(survey);
    assert_eq!(findings.len(), 13);
    let bad = findings.into_iter().filter(|it| !it.holds() && it.weight != Weight::Note);
    bad.map(|finding| (finding.name, finding.evidence)).collect()
}

fn invariants(survey: &Survey) -> Vec<&'static str> {
    let bad = verify(survey).into_iter().filter(|finding| !finding.holds());
    bad.filter(|it| it.weight == Weight::Invariant).map(|finding| finding.name).collect()
}

fn evidence(survey: &Survey, name: &str) -> Vec<String> {
    let findings = verify(survey);
    findings.into_iter().find(|finding| finding.name == name).expect("a check").evidence
}

#[test]
fn good_rings_of_any_length_hold() {
    for count in 1..=IDS.len() {
        let survey = good(&IDS[..count]);
        assert_eq!(violated(&survey), [], "{count}");
    }
    let findings = verify(&good(&IDS));
    assert_eq!(findings[2].seen, "2 → 16 → 24 → 25 → 26 → 31");
    assert!(findings.iter().all(Finding::holds));
}

#[test]
fn a_node_that_is_alone_may_know_nobody() {
    let mut survey = good(&[7]);
    let alone = state(&mut survey, 7);
    alone.predecessor = None;
    alone.fingers.clear();
    alone.counted = 0;
    assert_eq!(violated(&survey), []);
}

#[test]
fn fingers_that_are_the_node_itself_need_not_be_known() {
    let mut survey = good(&[24, 25]);
    // 24 + 16 is past everybody else.
    state(&mut survey, 24).fingers.retain(|run| run.peer.id != Id(24));
    assert_eq!(violated(&survey), []);
}

#[test]
fn nothing_is_said_of_nobody() {
    assert_eq!(verify(&Survey { registry: None, sightings: Vec::new(), more: false }), []);
}

#[test]
fn two_rings_are_found() {
    let mut survey = good(&IDS);
    for (id, next) in [(2, 24), (24, 26), (26, 2), (16, 25), (25, 31), (31, 16)] {
        succeed(&mut survey, id, &[next]);
    }
    let bad = violated(&survey);
    assert_eq!(bad[0].0, "there is one ring");
    assert_eq!(bad[0].1, ["2 → 24 → 26", "16 → 25 → 31"]);
    assert_eq!(evidence(&survey, "every member reaches the ring").len(), 3);
    assert_eq!(evidence(&survey, "no registered node is left out").len(), 3);
    assert_eq!(evidence(&survey, "the ring is in order"), [""; 0], "each by itself is");
}

#[test]
fn a_node_that_founded_a_ring_of_its_own_is_found() {
    let mut survey = good(&IDS);
    succeed(&mut survey, 31, &[]);
    succeed(&mut survey, 26, &[2]);
    assert_eq!(evidence(&survey, "there is one ring"), ["2 → 16 → 24 → 25 → 26", "31"]);
    assert_eq!(evidence(&survey, "no registered node is left out"), ["31, which is member"]);
}

#[test]
fn a_disordered_ring_is_found() {
    let mut survey = good(&IDS);
    for (id, next) in [(2, 24), (24, 16), (16, 25)] {
        succeed(&mut survey, id, &[next]);
    }
    assert_eq!(invariants(&survey), ["the ring is in order"]);
    let expected = ["2 → 24 → 16 → 25 → 26 → 31 goes round 2 times"];
    assert_eq!(evidence(&survey, "the ring is in order"), expected);
}

#[test]
fn a_loopy_ring_is_found() {
    let mut survey = good(&IDS);
    // Weakly stable: everybody agrees with its neighbours, and it goes round twice.
    let next = [(2, 24), (24, 26), (26, 16), (16, 25), (25, 31), (31, 2)];
    for (id, successor) in next {
        succeed(&mut survey, id, &[successor]);
        state(&mut survey, successor).predecessor = Some(peer(id));
    }
    assert_eq!(invariants(&survey), ["the ring is in order"]);
}

#[test]
fn an_appendage_is_allowed_and_told() {
    let mut survey = good(&IDS);
    // 25 has joined, and 24 has not heard of it.
    succeed(&mut survey, 24, &[26, 31, 2]);
    state(&mut survey, 26).predecessor = Some(peer(24));
    assert_eq!(invariants(&survey), [""; 0]);
    let beside = evidence(&survey, "every member is on the ring");
    assert_eq!(beside, ["25 is before 26, but nobody is before it"]);
    assert_eq!(evidence(&survey, "predecessors are right"), ["26 has 24, not 25"]);
    let lists = evidence(&survey, "lists of successors are right");
    assert_eq!(lists, ["24 has 26, 31, 2, not 25, 26, 31"]);
}

#[test]
fn a_member_without_a_successor_that_lives_is_found() {
    let mut survey = good(&IDS);
    succeed(&mut survey, 24, &[25]);
    succeed(&mut survey, 16, &[25, 26, 31]);
    crash(&mut survey, 25);
    let lost = evidence(&survey, "every member reaches the ring");
    assert_eq!(lost, ["24 has no successor that lives"]);
    assert_eq!(evidence(&survey, "there is one ring"), [""; 0]);
    // And nobody at all: whoever was next is gone.
    let mut survey = good(&[2, 16]);
    crash(&mut survey, 16);
    assert_eq!(evidence(&survey, "there is one ring"), ["there is no ring"]);
}

#[test]
fn a_crash_leaves_the_ring_one_and_stale_lists() {
    let mut survey = good(&IDS);
    crash(&mut survey, 25);
    assert_eq!(invariants(&survey), [""; 0]);
    let lists = evidence(&survey, "lists of successors are right");
    assert_eq!(lists.len(), 3, "of the three before it: {lists:?}");
    assert_eq!(lists[2], "24 has 25, 26, 31, not 26, 31, 2");
    assert_eq!(evidence(&survey, "predecessors are right"), ["26 has 25, not 24"]);
    let fingers = evidence(&survey, "fingers are right");
    assert_eq!(fingers, ["24 has 25 for finger 1, not 26"]);
}

#[test]
fn who_is_registered_and_left_out_is_found() {
    let mut survey = good(&IDS);
    state(&mut survey, 31).phase = "joining".into();
    for id in [24, 25, 26] {
        let state = state(&mut survey, id);
        state.successors.retain(|peer| peer.id != Id(31));
    }
    let left_out = evidence(&survey, "no registered node is left out");
    assert_eq!(left_out, ["31, which is joining"]);
    state(&mut survey, 31).phase = "leaving".into();
    assert_eq!(invariants(&survey), [""; 0]);
    // The process was started again and has another id.
    state(&mut survey, 31).node.id = Id(30);
    let left_out = evidence(&survey, "no registered node is left out");
    assert_eq!(left_out, ["31: there is 30 there"]);
    survey.registry = None;
    assert_eq!(invariants(&survey), [""; 0], "nobody says who there is");
}

#[test]
fn what_a_ring_at_rest_has_is_asked_for() {
    let mut survey = good(&IDS);
    state(&mut survey, 2).ready = false;
    state(&mut survey, 16).counted = 5;
    state(&mut survey, 24).counted = 0;
    state(&mut survey, 25).predecessor = None;
    state(&mut survey, 26).fingers[3].peer = peer(16);
    state(&mut survey, 26).fingers.pop();
    succeed(&mut survey, 31, &[2, 16]);
    assert_eq!(
        violated(&survey),
        [
            ("lists of successors are right", vec!["31 has 2, 16, not 2, 16, 24".to_owned()]),
            ("predecessors are right", vec!["25 has nobody, not 24".to_owned()]),
            ("fingers are right", vec!["26 has 16 for finger 4, not 2, and 1 more".to_owned()]),
            ("every member is ready", vec!["2".to_owned()]),
            (
                "the census counts every member",
                vec!["16 counted 5, not 6".to_owned(), "24 has seen none".to_owned()]
            ),
        ]
    );
}

#[test]
fn a_list_with_a_stale_end_is_found() {
    let mut survey = good(&[2, 16]);
    succeed(&mut survey, 2, &[16, 24]);
    let lists = evidence(&survey, "lists of successors are right");
    assert_eq!(lists, ["2 has 16, 24, not 16"]);
}

#[test]
fn nodes_of_two_kinds_or_with_one_id_are_found() {
    let mut survey = good(&IDS);
    state(&mut survey, 25).ring = "other".into();
    state(&mut survey, 26).node = Peer { id: Id(31), address: "10.0.0.2:1".into() };
    let bad = invariants(&survey);
    assert_eq!(bad[..2], ["all nodes are of one kind", "every id is one node's"]);
    let twice = evidence(&survey, "every id is one node's");
    assert_eq!(twice, ["31: 10.0.0.2:1, 10.0.0.1:5031"]);
}

#[test]
fn who_does_not_answer_is_noted() {
    let mut survey = good(&IDS);
    crash(&mut survey, 25);
    survey.registry = Some(("r:1".into(), Err(Error::Unavailable("r:1: gone".into()))));
    survey.more = true;
    let silent = evidence(&survey, "everybody who is known answers");
    assert_eq!(silent[0], "25: not available: connection refused");
    assert_eq!(silent[1], "the registry: not available: r:1: gone");
    assert_eq!(silent.len(), 3);
}

/// Whatever nodes say, the check ends and does not panic.
#[test]
fn nonsense_is_survived() {
    let mut survey = good(&IDS);
    for id in IDS {
        let state = state(&mut survey, id);
        state.successors = vec![state.node.clone(), peer(99), peer(u64::MAX)];
        state.replicas = u32::MAX;
        state.fingers = vec![FingerRun { index: u32::MAX, count: u32::MAX, peer: peer(u64::MAX) }];
    }
    state(&mut survey, 24).node.id = Id(u64::MAX);
    assert_eq!(evidence(&survey, "there is one ring").len(), 5);
}
