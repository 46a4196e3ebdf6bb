//! Leases, and who keeps them alive.

use std::time::Duration;

use raft::client::{Change, Error, Freshness, LeaseState, Put};
use tonic::Status;

use crate::fake::{Fake, Fault, PATIENCE};
use crate::{client, eventually};

#[tokio::test]
async fn keys_end_with_their_lease() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    let lease = client.grant_lease(Duration::from_secs(60)).await.unwrap();
    client.put_if(Put::new("k", "1").with_lease(lease.id)).await.unwrap();
    let left = client.lease(lease.id).await.unwrap();
    assert_eq!((left.ttl_ms, left.keys), (60_000, 1));
    assert!(left.left_ms <= 60_000 && left.left_ms > 30_000, "{left:?}");
    assert_eq!(client.keep_lease_alive(lease.id).await.unwrap(), lease);
    assert_eq!(client.revoke_lease(lease.id).await.unwrap(), 1);
    assert_eq!(client.get("k", Freshness::Latest).await.unwrap(), None);
    assert_eq!(client.keep_lease_alive(lease.id).await, Err(Error::NoLease(lease.id)));
    assert_eq!(client.lease(lease.id).await, Err(Error::NoLease(lease.id)));
    assert_eq!(client.keep_lease(lease.id).await.err(), Some(Error::NoLease(lease.id)));
}

#[tokio::test]
async fn a_keeper_keeps_a_lease_alive_until_it_is_dropped() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    let lease = client.grant_lease(Duration::from_millis(300)).await.unwrap();
    client.put_if(Put::new("k", "1").with_lease(lease.id)).await.unwrap();
    let mut watch = client.watch("k", None).await.unwrap();
    let keeper = client.keep_lease(lease.id).await.unwrap();
    assert_eq!(keeper.lease(), lease);
    // Failures in between are nothing that anybody notices.
    fake.fail("keep_lease_alive", Fault::Before(Status::unavailable("no leader")));
    fake.fail("keep_lease_alive", Fault::Break);
    eventually("it was kept alive for twice its time", || {
        fake.calls("keep_lease_alive").len() >= 10
    })
    .await;
    assert_eq!(keeper.state(), LeaseState::Alive);
    assert!(client.get("k", Freshness::Latest).await.unwrap().is_some());
    drop(keeper);
    // The fake notices the end of a lease when somebody looks.
    eventually("it ends", || fake.shared.change(|world| world.lease(lease.id).is_err())).await;
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
    assert_eq!(event.change, Change::Expired);
}

#[tokio::test]
async fn a_keeper_tells_that_its_lease_has_ended() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    let lease = client.grant_lease(Duration::from_millis(200)).await.unwrap();
    let mut keeper = client.keep_lease(lease.id).await.unwrap();
    fake.shared.change(|world| world.revoke(lease.id, false));
    let state = tokio::time::timeout(PATIENCE, keeper.not_alive()).await.unwrap();
    assert_eq!(state, LeaseState::Ended);
    tokio::time::timeout(PATIENCE, keeper.ended()).await.unwrap();
}

#[tokio::test]
async fn a_keeper_that_reaches_nobody_is_in_doubt() {
    let mut fake = Fake::start(1).await;
    let client = client(&fake);
    let lease = client.grant_lease(Duration::from_millis(200)).await.unwrap();
    let mut keeper = client.keep_lease(lease.id).await.unwrap();
    fake.kill(1).await;
    let state = tokio::time::timeout(PATIENCE, keeper.not_alive()).await.unwrap();
    assert_eq!(state, LeaseState::Doubtful);
    fake.restart(1).await;
    tokio::time::timeout(PATIENCE, keeper.ended()).await.unwrap();
    assert_eq!(keeper.state(), LeaseState::Ended);
}
