//! What a user relies on while nodes come and go.

use std::time::Duration;

use chassis::health::{self, Status};
use proto::ensemble::chord::v1 as pb;
use rustix::process::Signal;
use tonic::Request;

use crate::process::{Process, free_address};
use crate::registry::SlowRegistry;
use crate::ring::{NODE, PATIENCE, Ring, until};

/// Both have the place 2 where m is 5.
const TWINS: [&str; 2] = ["A", "a"];

async fn every_node_saves_finds_and_removes(ring: &Ring) {
    let numbers = ring.nodes.keys().copied().collect::<Vec<_>>();
    for saver in &numbers {
        for key in TWINS {
            let value = format!("{key} by {saver}");
            assert!(ring.save(*saver, key, &value).await.saved);
            for finder in &numbers {
                let found = ring.find(*finder, key).await;
                assert_eq!(found.value.as_deref(), Some(value.as_bytes()));
                let path = found.path.unwrap();
                assert_eq!(path.hops.last().unwrap().peer, path.by, "{path:?}");
                let entry = path.hops[0].peer.as_ref().unwrap();
                assert_eq!(entry.address, ring.address(*finder));
            }
        }
        for key in TWINS {
            assert!(ring.remove(*saver, key).await.removed);
            for finder in &numbers {
                assert_eq!(ring.find(*finder, key).await.value, None);
            }
        }
    }
}

#[tokio::test]
async fn every_node_does_everything_with_a_registry() {
    let ring = Ring::of(5, 4).await;
    every_node_saves_finds_and_removes(&ring).await;
    let ids = [ring.find(1, TWINS[0]).await.id, ring.find(1, TWINS[1]).await.id];
    assert_eq!(ids, [2, 2]);
}

#[tokio::test]
async fn every_node_does_everything_without_a_registry() {
    let ring = Ring::without_registry(4).await;
    every_node_saves_finds_and_removes(&ring).await;
    for mode in [pb::Mode::Iterative, pb::Mode::Recursive] {
        let place = Some(pb::locate_request::Place::Key("Kazan".into()));
        let mut by = Vec::new();
        for number in ring.nodes.keys() {
            let request = pb::LocateRequest { place: place.clone(), mode: mode.into() };
            let located = ring.client(*number).await.locate(request).await.unwrap().into_inner();
            assert_eq!(located.id, 12_725_514_768_465_713_964);
            by.push(located.path.unwrap().by.unwrap().id);
        }
        assert!(by.iter().all(|one| *one == by[0]), "{by:?}");
    }
}

#[tokio::test]
async fn what_was_saved_survives_crashes_and_restarts() {
    for mut ring in [Ring::of(8, 5).await, Ring::without_registry(5).await] {
        let keys = ring.fill(20).await;
        for victim in [2, 4] {
            ring.kill(victim);
            ring.settled().await;
            ring.finds_all(&keys).await;
            ring.run(victim);
            ring.assigned(victim).await;
            ring.settled().await;
            ring.finds_all(&keys).await;
        }
        // At once, it is the same node to all.
        let before = ring.state(5).await.unwrap().node;
        ring.kill(5);
        ring.run(5);
        ring.assigned(5).await;
        assert_eq!(ring.state(5).await.unwrap().node, before);
        ring.settled().await;
        ring.finds_all(&keys).await;
        // No wait at all: the ring mends itself while it is asked.
        ring.kill(3);
        ring.finds_all(&keys).await;
    }
}

#[tokio::test]
async fn all_nodes_killed_at_once_and_started_again_are_one_ring() {
    let mut ring = Ring::of(16, 3).await;
    for number in 1..=3 {
        ring.kill(number);
    }
    for number in 1..=3 {
        ring.run(number);
    }
    ring.settled().await;
    ring.fill(5).await;
}

#[tokio::test]
async fn a_node_that_quits_hands_over_and_its_process_ends() {
    let mut ring = Ring::of(8, 4).await;
    let keys = ring.fill(20).await;
    let expected = ring.state(1).await.unwrap().successors[0].clone();
    let answer = ring.client(1).await.quit(pb::QuitRequest {}).await.unwrap().into_inner();
    assert_eq!(answer.successor, Some(expected));
    let status = ring.node(1).ended(PATIENCE).await;
    assert!(status.success(), "{status}:\n{}", ring.node(1).log());
    ring.kill(1);
    ring.registered(3).await;
    ring.finds_all(&keys).await;
    // A signal says the same.
    ring.node(2).signal(Signal::TERM);
    let status = ring.node(2).ended(PATIENCE).await;
    assert!(status.success(), "{status}:\n{}", ring.node(2).log());
    assert!(!ring.node(2).log().contains("may not have all keys"));
    ring.kill(2);
    ring.registered(2).await;
    ring.finds_all(&keys).await;
    ring.settled().await;
    // All but the last.
    for number in [3, 4] {
        let answer = ring.client(number).await.quit(pb::QuitRequest {}).await.unwrap();
        assert_eq!(answer.get_ref().successor.is_some(), number == 3);
        assert!(ring.node(number).ended(PATIENCE).await.success());
        ring.kill(number);
    }
    ring.registered(0).await;
}

#[tokio::test]
async fn a_node_that_is_being_renewed_is_not_registered_after_its_end() {
    let registry = SlowRegistry::default();
    let address = registry.serve().await;
    let variables = [
        ("CHORD_REGISTRY", address.as_str()),
        ("CHORD_ADDRESS", &free_address()),
        ("CHORD_FOUND_MS", "1"),
    ];
    let mut node = Process::start(NODE, variables);
    registry.renewing().await;
    node.signal(Signal::TERM);
    let status = node.ended(PATIENCE).await;
    assert!(status.success(), "{status}:\n{}", node.log());
    let done = registry.done();
    assert_eq!(done.last(), Some(&"deregistered"), "{done:?}");
}

#[tokio::test]
async fn the_ring_lives_without_its_registry_which_knows_all_nodes_again() {
    let mut ring = Ring::of(8, 3).await;
    let keys = ring.fill(10).await;
    let before = ring.info().await.unwrap();
    ring.registrar = None;
    for number in 1..=3 {
        until(async || {
            let registered = ring.state(number).await.unwrap().registered;
            (!registered).then_some(()).ok_or("it seems registered".to_owned())
        })
        .await;
    }
    ring.finds_all(&keys).await;
    ring.kill(2);
    ring.finds_all(&keys).await;
    ring.run_registry().await;
    until(async || {
        let nodes = ring.info().await.unwrap().nodes;
        let mut kept = before.nodes.iter().filter(|node| node.address != ring.address(2));
        let all = kept.all(|node| nodes.contains(node)) && nodes.len() == 2;
        all.then_some(()).ok_or(format!("{nodes:?}"))
    })
    .await;
    ring.run(2);
    ring.assigned(2).await;
    let log = ring.nodes[&1].log();
    assert!(log.contains("going on without the registry"), "{log}");
    assert!(log.contains("the registry is there again"), "{log}");
    ring.settled().await;
    ring.finds_all(&keys).await;
}

#[tokio::test]
async fn a_node_whose_id_was_given_away_hands_over_before_it_stops() {
    let mut ring = Ring::of(8, 3).await;
    let keys = ring.fill(30).await;
    let id = ring.state(1).await.unwrap().node.unwrap().id;
    let mut registry = ring.registry_client().await.unwrap();
    // As a registry might that has just been started again.
    let stranger = pb::RegisterRequest { address: free_address(), id: Some(id), incarnation: 9 };
    while registry.register(stranger.clone()).await.is_err() {
        // It may have gone already; or it has just renewed, and the stranger must be faster.
        let _ = registry.deregister(pb::DeregisterRequest { id }).await;
    }
    let mut stopped = ring.nodes.remove(&1).unwrap();
    let status = stopped.ended(PATIENCE).await;
    let log = stopped.log();
    assert!(!status.success(), "{log}");
    assert!(log.contains("another node has this id by now"), "{log}");
    assert!(log.contains("leaving the ring"), "{log}");
    assert!(!log.contains("may not have all keys"), "{log}");
    ring.finds_all(&keys).await;
}

#[tokio::test]
async fn a_node_waits_for_its_registry_and_stops_when_it_is_told_to() {
    let mut ring = Ring::with_registry(5).await;
    ring.registrar = None;
    ring.run(1);
    until(async || {
        let log = ring.nodes[&1].log();
        log.contains("no id yet").then_some(()).ok_or(log)
    })
    .await;
    ring.run(2);
    ring.node(1).signal(Signal::TERM);
    assert!(ring.node(1).ended(Duration::from_secs(5)).await.success());
    ring.run_registry().await;
    ring.assigned(2).await;
}

#[tokio::test]
async fn a_node_that_waits_for_others_is_alive_but_not_ready() {
    let mut ring = Ring::without_registry(1).await;
    // Nobody joins by it, and nobody is there by whom it could join.
    ring.kill(1);
    let alone = ring.variables(1);
    ring.addresses.insert(2, free_address());
    let mut variables = ring.variables(2);
    variables.insert("CHORD_JOIN".into(), ring.address(1).to_owned());
    let address = ring.address(2).parse().unwrap();
    ring.nodes.insert(2, Process::start(NODE, variables));
    let second = Duration::from_secs(1);
    until(async || health::check(address, None, "", second).await.map_err(|e| e.to_string())).await;
    let service = "ensemble.chord.v1.NodeService";
    let ready = async || health::check(address, None, service, second).await.unwrap();
    assert_eq!(ready().await, Status::NotServing);
    let mut client = ring.client(2).await;
    let mut request = Request::new(pb::FindRequest { key: "k".into(), ..<_>::default() });
    request.set_timeout(second);
    let status = client.find(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    assert_eq!(ring.state(2).await.unwrap().phase, "joining");
    // Then somebody is.
    ring.nodes.insert(1, Process::start(NODE, alone));
    ring.assigned(2).await;
    ring.settled().await;
    assert_eq!(ready().await, Status::Serving);
}
