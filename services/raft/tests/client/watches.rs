//! A watch tells each change once, in order, whatever happens to the nodes that serve it.

use std::time::Duration;

use raft::client::{Change, Error, Event, Watch};
use tokio::time::timeout_at;
use tonic::Status;

use crate::fake::{Fake, Fault, PATIENCE};
use crate::{client, client_of};

async fn next(watch: &mut Watch) -> Event {
    let next = tokio::time::timeout(PATIENCE, watch.next()).await;
    next.expect("a change in time").expect("a change")
}

#[tokio::test]
async fn a_watch_begins_where_it_is_told_to_or_at_once() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    let first = client.put("a/1", "x").await.unwrap();
    let mut later = client.watch("a/", None).await.unwrap();
    let mut all = client.watch("a/", Some(0)).await.unwrap();
    client.put("b", "y").await.unwrap();
    let deleted = client.delete("a/1").await.unwrap();
    let event = next(&mut all).await;
    assert_eq!((event.version, &event.key[..]), (first.version, &b"a/1"[..]));
    assert!(matches!(event.change, Change::Set(item) if &item.value[..] == b"x"));
    for watch in [&mut all, &mut later] {
        let event = next(watch).await;
        assert_eq!((event.version, &event.key[..]), (deleted.version, &b"a/1"[..]));
        assert_eq!(event.change, Change::Deleted);
        assert_eq!(watch.position(), deleted.version);
    }
}

#[tokio::test]
async fn nothing_is_lost_or_told_twice_when_nodes_die() {
    let mut fake = Fake::start(3).await;
    let client = client(&fake);
    let mut watch = client.watch("", None).await.unwrap();
    let mut expected = Vec::new();
    let mut told = Vec::new();
    for round in 0..12_u64 {
        let server = fake.calls("watch").last().expect("it is served").node;
        for _ in 0..5 {
            expected.push(fake.shared.change(|world| {
                let put = || proto::ensemble::raft::v1::PutRequest {
                    key: "k".into(),
                    ..Default::default()
                };
                world.put(put()).expect("put").version
            }));
        }
        // Some are received before the node dies, and some are on their way.
        for _ in 0..round % 4 {
            told.push(next(&mut watch).await.version);
        }
        fake.kill(server).await;
        while told.len() < expected.len() {
            told.push(next(&mut watch).await.version);
        }
        fake.restart(server).await;
    }
    assert_eq!(told, expected);
    assert!(fake.calls("watch").len() > 6, "it was served by others: {:?}", fake.calls("watch"));
}

#[tokio::test]
async fn a_node_that_says_again_what_was_told_is_not_believed() {
    let mut fake = Fake::start(2).await;
    let client = client(&fake);
    client.put("a", "1").await.unwrap();
    let mut watch = client.watch("", Some(0)).await.unwrap();
    assert_eq!(next(&mut watch).await.version, 1);
    // A node that does not heed from where it is asked.
    let again = fake.world().history[0].1.clone();
    fake.shared.change(|world| {
        world.version += 1;
        let mut events = again;
        events.push(proto::ensemble::raft::v1::Event { version: 2, ..events[0].clone() });
        world.history.push((2, events));
    });
    let server = fake.calls("watch").last().expect("it is served").node;
    fake.kill(server).await;
    assert_eq!(next(&mut watch).await.version, 2);
}

#[tokio::test]
async fn history_that_is_gone_is_told_with_its_beginning() {
    let mut fake = Fake::start(1).await;
    let client = client(&fake);
    let mut watch = client.watch("", None).await.unwrap();
    for value in ["1", "2", "3"] {
        client.put("k", value).await.unwrap();
    }
    assert_eq!(next(&mut watch).await.version, 1);
    let mut old = client.watch("", Some(0)).await.unwrap();
    fake.kill(1).await;
    fake.world().earliest = 9;
    fake.world().version = 9;
    fake.world().history.clear();
    fake.restart(1).await;
    let until = tokio::time::Instant::now() + PATIENCE;
    // What was received before is told before.
    let error = loop {
        match timeout_at(until, old.next()).await.expect("in time") {
            Ok(event) => assert!(event.version <= 3),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::Compacted { earliest: 9 });
    assert!(error.remedy().contains("watch from there"));
    client.watch("", Some(8)).await.unwrap();
}

#[tokio::test]
async fn a_watch_that_no_node_serves_says_so_and_goes_on_later() {
    let mut fake = Fake::start(1).await;
    let endpoints = [fake.address(1)];
    let client = client_of(&endpoints).with_deadline(Duration::from_millis(200));
    client.put("k", "1").await.unwrap();
    let mut watch = client.watch("", None).await.unwrap();
    fake.kill(1).await;
    let error = watch.next().await.expect_err("nobody serves it");
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    fake.restart(1).await;
    client_of(&endpoints).put("k", "2").await.unwrap();
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match timeout_at(until, watch.next()).await.expect("in time") {
            Ok(event) => break assert_eq!(event.version, 2),
            Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_that_does_not_serve_a_watch_is_passed_over() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    fake.fail("watch", Fault::Hang);
    fake.fail("watch", Fault::Before(Status::unavailable("it begins to stop")));
    fake.fail("watch", Fault::Before(Status::resource_exhausted("ask another node")));
    let mut watch = client.watch("", None).await.unwrap();
    client.put("k", "1").await.unwrap();
    assert_eq!(next(&mut watch).await.version, 1);
    assert_eq!(fake.calls("watch").len(), 4);
}

#[tokio::test]
async fn a_watch_that_is_interrupted_loses_nothing() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    let mut watch = client.watch("", None).await.unwrap();
    let mut told = Vec::new();
    for value in 0..50 {
        client.put("k", format!("{value}")).await.unwrap();
        // Whoever waits in a `select!` gives up again and again.
        if let Ok(event) = tokio::time::timeout(Duration::from_micros(200), watch.next()).await {
            told.push(event.unwrap().version);
        }
    }
    while told.len() < 50 {
        told.push(next(&mut watch).await.version);
    }
    assert_eq!(told, (1..=50).collect::<Vec<_>>());
}
