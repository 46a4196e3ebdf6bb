//! What is wrong, hostile or mistaken gets an error that says so, and harms nobody.

use chassis::channel::Channel;
use std::time::Duration;

use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::node_service_client::NodeServiceClient;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::process::{Process, free_address};
use crate::ring::{NODE, PATIENCE, REGISTRY, Ring, until};

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn a_full_ring_and_senseless_settings_are_refused() {
    let mut ring = Ring::of(1, 2).await;
    ring.run(3);
    let said = ring.nodes.remove(&3).unwrap().refused(PATIENCE).await;
    assert!(said.contains("the ring is full: 2 nodes are the most with m = 1"), "{said}");
    ring.settled().await;
    // And by the document's client.
    let mut registry = ring.registry_client().await.unwrap();
    let request = pb::RegisterRequest { address: "127.0.0.1:1".into(), ..<_>::default() };
    let answer = registry.register(request).await.unwrap().into_inner();
    assert_eq!((answer.id, answer.bits), (None, 1));
    assert!(answer.error.contains("start the registry with a larger m"), "{}", answer.error);
    for bits in ["0", "65"] {
        let said = Process::start(REGISTRY, [("CHORD_BITS", bits)]).refused(PATIENCE).await;
        assert!(said.contains(&format!("CHORD_BITS={bits}: ids have 1 to 64 bits")), "{said}");
    }
}

#[tokio::test]
async fn a_second_process_at_an_address_does_not_start_and_the_first_lives() {
    let ring = Ring::of(8, 2).await;
    let said = Process::start(NODE, ring.variables(1)).refused(PATIENCE).await;
    assert!(said.contains("another process has this port"), "{said}");
    // Otherwise the first would have lost its id to it.
    assert!(!said.contains("registered"), "{said}");
    ring.settled().await;
    assert_eq!(ring.info().await.unwrap().nodes.len(), 2);
}

#[tokio::test]
async fn a_process_whose_address_another_one_has_taken_stops() {
    let mut ring = Ring::of(8, 3).await;
    let mut registry = ring.registry_client().await.unwrap();
    let address = ring.address(1).to_owned();
    let id = ring.state(1).await.unwrap().node.unwrap().id;
    let again = pb::RegisterRequest { address: address.clone(), id: None, incarnation: 7 };
    let answer = registry.register(again).await.unwrap().into_inner();
    assert_eq!((answer.id, answer.lease_ms), (Some(id), 1500));
    let said = ring.nodes.remove(&1).unwrap().refused(PATIENCE).await;
    assert!(said.contains(&format!("another process at {address} is node {id}")), "{said}");
    // As a plain client it is told so.
    let plain = pb::RegisterRequest { address, ..<_>::default() };
    let answer = registry.register(plain).await.unwrap().into_inner();
    assert!(answer.id.is_none() && answer.error.contains("is registered already"), "{answer:?}");
}

#[tokio::test]
async fn the_registry_refuses_what_makes_no_sense_by_field() {
    let ring = Ring::with_registry(5).await;
    let mut registry = ring.registry_client().await.unwrap();
    let long = format!("{}:1", "a".repeat(255));
    for address in ["", "here", "a b:1", "a:0", "a:65536", "é:1", "a/b:1", "[::]", &long] {
        let request = pb::RegisterRequest { address: address.into(), ..<_>::default() };
        let status = registry.register(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{address}: {status}");
        assert!(status.message().starts_with("address: "), "{status}");
    }
    let request = pb::RegisterRequest { address: "a:1".into(), id: Some(32), incarnation: 1 };
    let status = registry.register(request).await.unwrap_err();
    assert!(status.message().starts_with("id: 32; ids have 5 bits"), "{status}");
    let status = registry.deregister(pb::DeregisterRequest { id: 24 }).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "NO_NODE"));
    let request = pb::PopulateFingerTableRequest { id: u64::MAX };
    let status = registry.populate_finger_table(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status}");
    assert_eq!(ring.info().await.unwrap().nodes, []);
}

#[tokio::test]
async fn keys_and_values_are_bounded_and_what_is_within_bounds_is_kept() {
    let ring = Ring::without_registry(3).await;
    let mut client = ring.client(2).await;
    for (key, value, field) in [(0, 1, "key"), (4097, 1, "key"), (1, (1 << 20) + 1, "value")] {
        let (key, value) = (vec![b'k'; key].into(), vec![b'v'; value].into());
        let save = pb::SaveRequest { key, value, ..<_>::default() };
        let status = client.save(save.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(field), "{status}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
        if field == "key" {
            let find = pb::FindRequest { key: save.key.clone(), ..<_>::default() };
            assert_eq!(client.find(find).await.unwrap_err().code(), Code::InvalidArgument);
            let remove = pb::RemoveRequest { key: save.key, ..<_>::default() };
            assert_eq!(client.remove(remove).await.unwrap_err().code(), Code::InvalidArgument);
        }
    }
    let status = client.locate(pb::LocateRequest::default()).await.unwrap_err();
    assert!(status.message().starts_with("place: missing"), "{status}");
    // As long as they may be, and every byte there is.
    let key = (0..4096_u32).map(|byte| byte as u8).collect::<Vec<_>>();
    let value = (0..1_u32 << 20).map(|byte| (byte >> 3) as u8).collect::<Vec<_>>();
    for (key, value) in [(key, value), (vec![0], vec![])] {
        let (key, value) = (key.into(), value.into());
        let save = pb::SaveRequest { key, value, ..<_>::default() };
        assert!(client.save(save.clone()).await.unwrap().get_ref().saved);
        for number in 1..=3 {
            let find = pb::FindRequest { key: save.key.clone(), ..<_>::default() };
            let found = ring.client(number).await.find(find).await.unwrap().into_inner();
            assert!(found.value == Some(save.value.clone()), "by node {number}");
        }
    }
}

/// Links to a node as somebody, says nothing, and tells what came of it.
async fn link(
    mut client: NodeServiceClient<Channel>,
    metadata: &[(&'static str, String)],
) -> Status {
    let (sender, receiver) = tokio::sync::mpsc::channel::<pb::LinkRequest>(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut request = Request::new(stream);
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let refused = tokio::time::timeout(Duration::from_secs(10), client.link(request)).await;
    drop(sender);
    refused.expect("it was let in").unwrap_err()
}

#[tokio::test]
async fn who_lies_about_itself_may_not_link() {
    let with = Ring::of(8, 2).await;
    let without = Ring::without_registry(2).await;
    for (ring, name) in [(&with, "ensemble/8/registry"), (&without, "ensemble/64/sha1")] {
        let [one, two] = [1, 2].map(async |number| ring.state(number).await.unwrap().node.unwrap());
        let (one, two) = (one.await, two.await);
        let card = |from: u64, address: &str, to: u64, ring: &str| {
            [
                ("ensemble-from", from.to_string()),
                ("ensemble-address", address.to_owned()),
                ("ensemble-to", to.to_string()),
                ("ensemble-ring", ring.to_owned()),
            ]
        };
        let stranger = free_address();
        for (card, code, why) in [
            // Another's address under an id of its own, another's id at an address of its own.
            (card(two.id ^ 1, &two.address, one.id, name), Code::FailedPrecondition, "FALSE_ID"),
            (card(two.id, &stranger, one.id, name), Code::FailedPrecondition, "FALSE_ID"),
            (card(one.id, &one.address, one.id, name), Code::FailedPrecondition, "FALSE_ID"),
            (card(two.id, &two.address, two.id, name), Code::FailedPrecondition, "OTHER_NODE"),
            (
                card(two.id, &two.address, one.id, "x/8/sha1"),
                Code::FailedPrecondition,
                "OTHER_RING",
            ),
            (card(two.id, "nowhere", one.id, name), Code::InvalidArgument, ""),
        ] {
            let status = link(ring.client(1).await, &card).await;
            assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{card:?} {status}");
            if why == "OTHER_NODE" {
                let info = status.get_details_error_info().unwrap();
                assert_eq!(info.metadata["id"], one.id.to_string());
            }
        }
        for missing in 0..4 {
            let mut card = card(two.id, &two.address, one.id, name).to_vec();
            let (field, _) = card.remove(missing);
            let status = link(ring.client(1).await, &card).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{status}");
            assert_eq!(status.message(), format!("{field}: missing"));
        }
        ring.settled().await;
    }
}

#[tokio::test]
async fn a_node_at_an_address_that_another_had_is_not_taken_for_it() {
    let mut ring = Ring::of(16, 3).await;
    let keys = ring.fill(10).await;
    let before = ring.state(2).await.unwrap().node.unwrap();
    ring.kill(2);
    // The registry forgets it: its address is given another id.
    let mut registry = ring.registry_client().await.unwrap();
    registry.deregister(pb::DeregisterRequest { id: before.id }).await.unwrap();
    ring.run(2);
    ring.assigned(2).await;
    let after = ring.state(2).await.unwrap().node.unwrap();
    assert_eq!(after.address, before.address);
    assert_ne!(after.id, before.id);
    ring.settled().await;
    ring.finds_all(&keys).await;
    let speaks_of = |peers: &[pb::Peer]| peers.iter().any(|peer| peer.id == before.id);
    until(async || {
        for number in 1..=3 {
            let state = ring.state(number).await.unwrap();
            let fingers = state.fingers.iter().filter_map(|finger| finger.peer.clone());
            let fingers = fingers.collect::<Vec<_>>();
            if [&state.successors, &fingers, &state.lost].into_iter().any(|it| speaks_of(it)) {
                return Err(format!("{state:?}"));
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_node_of_another_ring_is_refused_and_says_so_once() {
    let ring = Ring::without_registry(1).await;
    let mut variables = ring.variables(1);
    variables.insert("CHORD_ADDRESS".into(), free_address());
    variables.insert("CHORD_RING".into(), "other".into());
    let stranger = Process::start(NODE, variables);
    until(async || {
        let log = stranger.log();
        log.contains("all need the same CHORD_RING").then_some(()).ok_or(log)
    })
    .await;
    let joined = stranger.log().lines().any(|line| line.starts_with("assigned"));
    assert!(!joined, "{}", stranger.log());
    ring.settled().await;
}
