//! What is asked again, and what is not.

use std::time::{Duration, Instant};

use chassis::channel::Connector;
use raft::client::{Change, Client, Condition, Error, Freshness, Options, Outcome, Put};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::fake::{Fake, Fault, PATIENCE};
use crate::{client, client_of, patient};

#[tokio::test]
async fn what_is_put_is_read_and_deleted() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    let first = client.put("k", "1").await.unwrap();
    let second = client.put("k", vec![0xff, 0]).await.unwrap();
    assert_eq!(second.previous, Some(first.version));
    for freshness in [Freshness::Latest, Freshness::Spread, Freshness::Stale] {
        let item = client.get("k", freshness).await.unwrap().expect("there");
        assert_eq!((&item.value[..], item.version), (&[0xff, 0][..], second.version));
        assert_eq!((item.created, item.lease), (first.version, None));
    }
    assert_eq!(client.delete("k").await.unwrap().previous, Some(second.version));
    assert_eq!(client.delete("k").await.unwrap().previous, None);
    assert_eq!(client.get("k", Freshness::Latest).await.unwrap(), None);
}

#[tokio::test]
async fn an_unmet_condition_tells_what_there_is() {
    let fake = Fake::start(1).await;
    let client = client(&fake);
    let absent = Put::new("k", "1").when(Condition::Absent);
    let Outcome::Written(written) = client.put_if(absent.clone()).await.unwrap() else {
        panic!("it was absent")
    };
    let Outcome::Unmet(Some(item)) = client.put_if(absent).await.unwrap() else {
        panic!("it is there")
    };
    assert_eq!((item.version, &item.value[..]), (written.version, &b"1"[..]));
    let value = Condition::Value("2".into());
    let unmet = client.compare_and_set("k", value, "3").await.unwrap();
    assert_eq!(unmet, Outcome::Unmet(Some(item)));
    let version = Condition::Version(written.version);
    assert!(matches!(client.delete_if("k", version).await.unwrap(), Outcome::Written(_)));
    let version = Condition::Version(written.version);
    assert_eq!(client.delete_if("k", version).await.unwrap(), Outcome::Unmet(None));
}

#[tokio::test]
async fn a_range_is_read_page_by_page_to_its_limit() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    for number in 0..25 {
        client.put(format!("a{number:02}"), "x").await.unwrap();
    }
    client.put("b", "y").await.unwrap();
    let all = client.range("a").all().await.unwrap();
    assert_eq!(all.len(), 25);
    assert!(all.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert_eq!(client.range("").all().await.unwrap().len(), 26);
    let some = client.range("a").after("a20").limit(3).all().await.unwrap();
    let keys: Vec<_> = some.iter().map(|item| &item.key[..]).collect();
    assert_eq!(keys, [b"a21", b"a22", b"a23"]);
    assert_eq!(client.range("zzz").all().await.unwrap(), []);
}

#[tokio::test]
async fn a_range_goes_on_where_a_page_ended() {
    let fake = Fake::start(1).await;
    let client = client(&fake);
    for number in 0..1003 {
        let put = Put::new(format!("{number:04}"), "");
        client.put_if(put).await.unwrap();
    }
    let mut range = client.range("").fresh(Freshness::Stale);
    let mut pages = Vec::new();
    while let Some(page) = range.next_page().await.unwrap() {
        pages.push(page.len());
    }
    assert_eq!(pages, [1000, 3]);
}

#[tokio::test]
async fn a_write_that_may_have_been_done_is_not_repeated() {
    for fault in [
        Fault::After(Status::unknown("the leader is gone")),
        Fault::After(Status::deadline_exceeded("no majority")),
        Fault::Break,
    ] {
        let fake = Fake::start(3).await;
        let client = client(&fake);
        client.get("k", Freshness::Latest).await.unwrap();
        fake.fail("put", fault.clone());
        let error = client.put("k", "1").await.expect_err("nobody knows");
        assert!(matches!(error, Error::Unknown(_)), "{fault:?}: {error:?}");
        assert!(error.may_have_been_done());
        assert_eq!(fake.calls("put").len(), 1, "{fault:?}");
        assert_eq!(fake.world().version, 1, "{fault:?}: it was done, once");
    }
}

#[tokio::test]
async fn a_write_that_was_not_done_is_repeated() {
    let busy = |milliseconds| {
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_millis(milliseconds)));
        Status::with_error_details(Code::ResourceExhausted, "busy", details)
    };
    let fake = Fake::start(3).await;
    let client = client(&fake);
    client.get("k", Freshness::Latest).await.unwrap();
    fake.fail("put", Fault::Before(Status::unavailable("it begins to stop")));
    fake.fail("put", Fault::Before(Status::aborted("another entry took its place")));
    fake.fail("put", Fault::Before(busy(300)));
    let clock = Instant::now();
    client.put("k", "1").await.unwrap();
    assert!(clock.elapsed() >= Duration::from_millis(300), "{:?}", clock.elapsed());
    assert_eq!(fake.world().version, 1);
}

#[tokio::test]
async fn reads_are_repeated_whatever_happens() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    client.put("k", "1").await.unwrap();
    fake.fail("get", Fault::Before(Status::unknown("")));
    fake.fail("get", Fault::Break);
    fake.fail("get", Fault::Hang);
    let item = client.get("k", Freshness::Latest).await.unwrap().expect("there");
    assert_eq!(&item.value[..], b"1");
    assert!(fake.world().faults.is_empty());
}

#[tokio::test]
async fn what_is_wrong_is_not_asked_again() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    // The leader is found.
    client.get("k", Freshness::Latest).await.unwrap();
    let error = client.put("", "1").await.expect_err("no key");
    assert_eq!(error, Error::Invalid("key: it is empty".into()));
    fake.fail("put", Fault::Before(Status::resource_exhausted("a gibibyte is stored")));
    let error = client.put("k", "1").await.expect_err("full");
    assert_eq!(error, Error::Full("a gibibyte is stored".into()));
    assert!(!error.may_have_been_done());
    let error = client.promote_member(9).await.expect_err("no such member");
    assert_eq!(error, Error::Refused("there is no member 9".into()));
    let error = client.put_if(Put::new("k", "1").with_lease(77)).await.expect_err("no lease");
    assert_eq!(error, Error::NoLease(77));
    let asked: Vec<_> = fake.calls("put").iter().map(|call| call.node).collect();
    assert_eq!(asked, [1, 1, 1], "each once");
    assert_eq!(fake.calls("promote_member").len(), 1);
}

#[tokio::test]
async fn the_deadline_holds_for_everything_together() {
    let fake = Fake::start(3).await;
    let short = client(&fake).with_deadline(Duration::from_millis(400));
    fake.elect(None);
    let clock = Instant::now();
    let error = short.put("k", "1").await.expect_err("nobody leads");
    let took = clock.elapsed();
    assert!(matches!(&error, Error::Unavailable(reason) if !reason.is_empty()), "{error:?}");
    assert!(took >= Duration::from_millis(390) && took < Duration::from_secs(5), "{took:?}");
    let asked = fake.calls("put").len();
    assert!((3..40).contains(&asked), "{asked} attempts in {took:?}");
    assert!(short.leader().await.is_err());

    fake.elect(Some(1));
    fake.fail("put", Fault::Hang);
    let error = short.put("k", "1").await.expect_err("no answer");
    assert!(matches!(error, Error::Unknown(_)), "{error:?}");
}

#[tokio::test]
async fn who_reaches_nobody_is_told_why() {
    let mut fake = Fake::start(1).await;
    let short = client(&fake).with_deadline(Duration::from_millis(200));
    fake.kill(1).await;
    let error = short.put("k", "1").await.expect_err("nobody is there");
    let Error::Unavailable(reason) = error else { panic!("{error:?}") };
    assert!(reason.contains(&fake.address(1)) && reason.contains("refused"), "{reason}");
    fake.restart(1).await;
    short.with_deadline(patient().deadline).put("k", "1").await.unwrap();
}

#[tokio::test]
async fn addresses_are_checked_before_they_are_used() {
    let connector = || Connector::new(None);
    for address in ["", "localhost", "http://localhost:1", "localhost:x", "localhost:0", ":1"] {
        let error = Client::new(connector(), [address], Options::default()).err();
        assert!(matches!(error, Some(Error::Invalid(_))), "{address}");
    }
    assert!(Client::new(connector(), [""; 0], Options::default()).is_err());
    assert!(Client::new(connector(), ["[::1]:50071"], Options::default()).is_ok());
}

#[tokio::test]
async fn one_node_is_asked_about_itself() {
    let mut fake = Fake::start(3).await;
    let client = client_of(&[fake.address(1)]);
    client.put("k", "1").await.unwrap();
    let node = client.node(&fake.address(2)).unwrap();
    let status = node.status().await.unwrap();
    assert_eq!((status.id, &status.role[..], status.leader), (2, "follower", Some(1)));
    assert_eq!((status.members.len(), status.keys), (3, 1));
    assert_eq!(node.leader().await.unwrap().expect("known").address, fake.address(1));
    node.suspend(7).await.unwrap();
    assert_eq!(fake.world().suspended, [(2, 7)]);
    assert_eq!(node.snapshot().await.unwrap(), 1);
    assert!(node.set_value("word", "x y").await.unwrap());
    assert_eq!(node.value("word").await.unwrap().as_deref(), Some("x y"));
    assert_eq!(node.value("none").await.unwrap(), None);
    fake.kill(2).await;
    assert!(matches!(node.status().await, Err(Error::Unavailable(_))));
    let mut watch = client.watch("", Some(0)).await.unwrap();
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time");
    assert!(matches!(event.unwrap().change, Change::Set(_)));
}
