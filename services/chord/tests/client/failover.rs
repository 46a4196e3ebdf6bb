//! Another node is asked when one cannot answer, and never twice what must not be done twice.

use std::time::{Duration, Instant};

use chord::client::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::fake::{Fake, Fault};
use crate::{BITS, IDS, client, client_of, node, within};

fn busy(milliseconds: u64) -> Fault {
    let delay = Duration::from_millis(milliseconds);
    let details = ErrorDetails::with_retry_info(Some(delay));
    Fault::Before(Status::with_error_details(Code::ResourceExhausted, "busy", details))
}

#[tokio::test]
async fn a_node_that_is_gone_is_passed_over() {
    let mut fake = Fake::start(BITS, &IDS).await;
    let client = client(&fake);
    client.save(b"a", b"1", None).await.unwrap();
    assert_eq!(fake.calls("save")[0].who, Some(24));
    fake.kill(Some(24)).await;
    fake.kill(Some(26)).await;
    client.find(b"a", None).await.unwrap();
    client.save(b"b", b"1", None).await.unwrap();
    fake.restart(Some(24)).await;
    client.save(b"c", b"1", None).await.unwrap();
    let asked: Vec<_> = fake.calls("save").iter().map(|call| call.who).collect();
    assert_eq!(asked, [Some(24), Some(2), Some(2)], "who answered is asked first");
}

#[tokio::test]
async fn what_was_not_done_is_asked_of_the_next() {
    let fake = Fake::start(BITS, &IDS).await;
    let client = client(&fake);
    fake.fail("save", Fault::Before(Status::unavailable("not ready")));
    fake.fail("save", busy(1));
    client.save(b"k", b"1", None).await.unwrap();
    let asked: Vec<_> = fake.calls("save").iter().map(|call| call.who).collect();
    assert_eq!(asked, [Some(24), Some(26), Some(2)]);
    assert_eq!(fake.world().items.len(), 1);
}

#[tokio::test]
async fn a_busy_ring_is_given_the_time_that_it_asks_for() {
    let fake = Fake::start(BITS, &[7, 9]).await;
    let client = client(&fake);
    fake.fail("remove", busy(1));
    fake.fail("remove", busy(300));
    let clock = Instant::now();
    client.remove(b"k", None).await.unwrap();
    assert!(clock.elapsed() >= Duration::from_millis(300), "{:?}", clock.elapsed());
    assert_eq!(fake.calls("remove").len(), 3);
}

#[tokio::test]
async fn a_write_that_may_have_been_done_is_not_repeated() {
    for fault in [
        Fault::After(Status::unknown("its copies do not answer")),
        Fault::After(Status::deadline_exceeded("late")),
        Fault::Break,
        Fault::Hang,
    ] {
        let fake = Fake::start(BITS, &IDS).await;
        let client = client_of(&fake.addresses(), within(1_000));
        fake.fail("save", fault.clone());
        fake.fail("remove", fault.clone());
        for error in [
            client.save(b"k", b"1", None).await.expect_err("nobody knows"),
            client.remove(b"k", None).await.expect_err("nobody knows"),
        ] {
            assert!(matches!(error, Error::Unknown(_)), "{fault:?}: {error:?}");
            assert!(error.may_have_been_done());
        }
        assert_eq!(fake.calls("save").len(), 1, "{fault:?}");
        let removes = fake.calls("remove");
        assert_eq!(removes.len(), 1, "{fault:?}");
        assert_eq!(removes[0].who, Some(26), "{fault:?}: another is asked first after that");
    }
}

#[tokio::test]
async fn what_changes_nothing_is_repeated_whatever_happens() {
    let fake = Fake::start(BITS, &IDS).await;
    let client = client(&fake);
    client.save(b"k", b"1", None).await.unwrap();
    fake.fail("find", Fault::Before(Status::unknown("")));
    fake.fail("find", Fault::Break);
    fake.fail("find", Fault::Hang);
    let found = client.find(b"k", None).await.unwrap();
    assert_eq!(found.outcome.as_deref(), Some(&b"1"[..]));
    let calls = fake.calls("find");
    assert_eq!(calls.len(), 4);
    let budget = calls[0].budget.expect("a deadline");
    assert!(budget <= Duration::from_millis(300), "one node does not get it all: {budget:?}");
}

#[tokio::test]
async fn the_deadline_holds_for_everything_together() {
    let fake = Fake::start(BITS, &[7, 9]).await;
    let short = client_of(&fake.addresses(), within(400));
    (0..200).for_each(|_| fake.fail("save", Fault::Before(Status::unavailable("not ready"))));
    let clock = Instant::now();
    let error = short.save(b"k", b"1", None).await.expect_err("nobody is ready");
    let took = clock.elapsed();
    let Error::Unavailable(reason) = &error else { panic!("{error:?}") };
    assert!(reason.ends_with(": not ready"), "{reason}");
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");
    let asked = fake.calls("save").len();
    assert!((4..40).contains(&asked), "{asked} attempts in {took:?}");
    assert!(fake.world().items.is_empty());
    (0..9).for_each(|_| fake.fail("find", Fault::Hang));
    let error = short.find(b"k", None).await.expect_err("no answer");
    assert!(matches!(error, Error::Unavailable(_)), "nothing was done: {error:?}");
}

#[tokio::test]
async fn a_node_is_found_again_where_it_was() {
    let mut fake = Fake::start(BITS, &[7]).await;
    let (client, node) = (client_of(&fake.addresses(), within(300)), node(&fake, Some(7)));
    client.save(b"k", b"1", None).await.unwrap();
    node.state().await.unwrap();
    fake.kill(Some(7)).await;
    // What is on its way when a connection breaks may arrive; after this it is known to be broken.
    let error = client.find(b"k", None).await.expect_err("nobody is there");
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let error = client.save(b"l", b"1", None).await.expect_err("nobody is there");
    let Error::Unavailable(reason) = error else { panic!("{error:?}") };
    assert!(reason.contains(&fake.address(Some(7))) && reason.contains("refused"), "{reason}");
    assert!(matches!(node.state().await, Err(Error::Unavailable(_))));
    fake.restart(Some(7)).await;
    client.save(b"l", b"1", None).await.unwrap();
    node.state().await.unwrap();
}
