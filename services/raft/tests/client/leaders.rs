//! The leader is found, and followed when it changes.

use std::time::Duration;

use raft::client::{Error, Freshness};

use crate::fake::{Fake, Fault};
use crate::{client, client_of};

#[tokio::test]
async fn a_leader_that_was_found_is_asked_at_once() {
    let fake = Fake::start(5).await;
    let client = client(&fake);
    client.put("k", "0").await.unwrap();
    let found = fake.calls("put").len();
    assert!(found <= 2, "one hint at most: {found}");
    for _ in 0..20 {
        client.put("k", "1").await.unwrap();
        client.get("k", Freshness::Latest).await.unwrap();
    }
    let later = fake.calls("put").split_off(found);
    assert_eq!(later.len(), 20);
    let reads = fake.calls("get");
    assert!(later.iter().chain(&reads).all(|call| call.node == 1));
    assert_eq!(reads.len(), 20);
}

#[tokio::test]
async fn another_leader_is_followed_by_its_hint() {
    let fake = Fake::start(5).await;
    let client = client(&fake);
    client.put("k", "1").await.unwrap();
    for leader in [4, 2, 5] {
        fake.elect(Some(leader));
        let before = fake.calls("put").len();
        client.put("k", "2").await.unwrap();
        let nodes: Vec<_> = fake.calls("put").split_off(before);
        assert_eq!(nodes.len(), 2, "the old leader, which says who the other is");
        assert_eq!(nodes[1].node, leader);
    }
    assert_eq!(fake.world().version, 4);
    assert_eq!(client.leader().await.unwrap().id, 5);
}

#[tokio::test]
async fn a_leader_that_was_never_named_is_found() {
    let fake = Fake::start(3).await;
    let client = client_of(&[fake.address(1)]);
    fake.elect(Some(3));
    client.put("k", "1").await.unwrap();
    client.put("k", "2").await.unwrap();
    let nodes: Vec<_> = fake.calls("put").iter().map(|call| call.node).collect();
    assert_eq!(nodes, [1, 3, 3]);
}

#[tokio::test]
async fn a_leader_that_dies_is_replaced_without_an_error() {
    let mut fake = Fake::start(3).await;
    // In a session: a write that broke off with the connection is asked again.
    let session = client(&fake).session();
    session.put("k", "1").await.unwrap();
    fake.kill(1).await;
    fake.elect(None);
    let shared = fake.shared.clone();
    let (put, ()) = tokio::join!(session.put("k", "2"), async {
        let is_asked = |call: &crate::fake::Call| call.node != 1 && call.ordinal.is_some();
        let before = shared.world().calls.len();
        crate::eventually("somebody else is asked", || {
            shared.world().calls.iter().skip(before).any(is_asked)
        })
        .await;
        shared.world().elect(Some(2));
    });
    assert_eq!(put.expect("it is done").version, fake.world().version);
    session.put("k", "3").await.unwrap();
    assert_eq!(fake.calls("put").last().expect("one").node, 2);
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_is_asked_through_another() {
    let fake = Fake::start(3).await;
    let client = client_of(&[fake.address(2), fake.address(3)]);
    // As behind a gateway: the address that nodes use means nothing here.
    fake.world().members[0].address = "127.0.0.1:1".into();
    for value in ["1", "2", "3"] {
        client.put("k", value).await.unwrap();
    }
    assert_eq!(fake.world().version, 3);
    assert!(fake.calls("put").iter().all(|call| call.node != 1));
}

#[tokio::test]
async fn a_node_that_is_deaf_delays_a_read_once() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    client.put("k", "1").await.unwrap();
    fake.fail("get", Fault::Hang);
    let clock = std::time::Instant::now();
    let (first, second) =
        tokio::join!(client.get("k", Freshness::Spread), client.get("k", Freshness::Spread));
    assert_eq!(first.unwrap(), second.unwrap());
    assert!(clock.elapsed() >= Duration::from_millis(300));
    let deaf = fake.calls("get")[0].node;
    let before = fake.calls("get").len();
    for _ in 0..9 {
        client.get("k", Freshness::Spread).await.unwrap();
    }
    let asked = fake.calls("get").split_off(before);
    assert!(asked.iter().all(|call| call.node != deaf), "{deaf}: {asked:?}");
}

#[tokio::test]
async fn spread_reads_go_to_every_node() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    for _ in 0..9 {
        client.get("k", Freshness::Spread).await.unwrap();
    }
    let calls = fake.calls("get");
    for node in 1..=3 {
        assert_eq!(calls.iter().filter(|call| call.node == node).count(), 3);
    }
}

#[tokio::test]
async fn nodes_that_point_at_each_other_are_given_time() {
    let fake = Fake::start(2).await;
    let short = client(&fake).with_deadline(Duration::from_millis(300));
    // Whoever is asked says that a third leads, which is where the first one is.
    fake.elect(Some(9));
    fake.world().join(9, &fake.address(1));
    let error = short.put("k", "1").await.expect_err("nobody leads");
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let asked = fake.calls("put").len();
    assert!((3..40).contains(&asked), "{asked}");
}

#[tokio::test]
async fn members_are_changed_through_the_leader() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    client.add_member(4, "127.0.0.1:1", true).await.unwrap();
    client.promote_member(4).await.unwrap();
    client.remove_member(3).await.unwrap();
    let ids: Vec<_> = fake.world().members.iter().map(|member| member.id).collect();
    assert_eq!(ids, [1, 2, 4]);
    assert_eq!(client.transfer_leadership(Some(2)).await.unwrap(), 2);
    client.put("k", "1").await.unwrap();
    assert_eq!(fake.calls("put").last().expect("one").node, 2);
}
