//! Commands of a session are carried out once, however often they are sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use raft::client::{Condition, Error, Outcome};
use tokio::task::JoinSet;
use tonic::Status;

use crate::client;
use crate::fake::{Fake, Fault};

#[tokio::test]
async fn a_command_whose_outcome_is_not_known_is_repeated_with_its_ordinal() {
    for fault in [
        Fault::After(Status::unknown("the leader is gone")),
        Fault::After(Status::deadline_exceeded("no majority")),
        Fault::Break,
        Fault::Hang,
    ] {
        let fake = Fake::start(3).await;
        let session = client(&fake).session();
        session.put("k", "1").await.unwrap();
        let before = fake.calls("put").len();
        fake.fail("put", fault.clone());
        let written = session.put("k", "2").await.unwrap();
        let calls = fake.calls("put").split_off(before);
        assert!(calls.len() >= 2, "{fault:?}: {calls:?}");
        assert!(calls.iter().all(|call| call.ordinal == calls[0].ordinal), "{calls:?}");
        let (_, sequence, acknowledged) = calls[0].ordinal.expect("numbered");
        assert_eq!((sequence, acknowledged), (2, 1));
        let world = fake.world();
        assert_eq!((written.version, world.version), (world.version, 3), "{fault:?}: done once");
    }
}

#[tokio::test]
async fn a_condition_that_the_first_attempt_met_is_not_unmet_for_the_second() {
    let fake = Fake::start(3).await;
    let session = client(&fake).session();
    fake.fail("put", Fault::Break);
    let outcome = session.compare_and_set("k", Condition::Absent, "mine").await.unwrap();
    assert!(matches!(outcome, Outcome::Written(_)), "{outcome:?}");
    fake.fail("delete", Fault::Break);
    let value = Condition::Value("mine".into());
    let outcome = session.delete_if("k", value).await.unwrap();
    assert!(matches!(outcome, Outcome::Written(_)), "{outcome:?}");
}

#[tokio::test]
async fn leases_are_granted_and_revoked_once() {
    let fake = Fake::start(3).await;
    let session = client(&fake).session();
    fake.fail("grant_lease", Fault::Break);
    let lease = session.grant_lease(Duration::from_secs(60)).await.unwrap();
    assert_eq!(lease.ttl_ms, 60_000);
    fake.fail("revoke_lease", Fault::Break);
    assert_eq!(session.revoke_lease(lease.id).await.unwrap(), 0);
}

#[tokio::test]
async fn many_commands_are_on_their_way_and_each_has_its_number() {
    let fake = Fake::start(3).await;
    let session = Arc::new(client(&fake).session());
    fake.fail("put", Fault::Break);
    let mut running = JoinSet::new();
    for number in 0..1000 {
        let session = session.clone();
        running.spawn(async move { session.put(format!("{number}"), "x").await.unwrap().version });
    }
    let versions: BTreeSet<_> = running.join_all().await.into_iter().collect();
    assert_eq!(versions.len(), 1000, "each has its own");
    // Callers that came together shared the opening.
    let opened = fake.calls("open_session").iter().filter(|call| call.node == 1).count();
    assert_eq!(opened, 1);
    let (numbers, id): (BTreeSet<_>, _) = {
        let calls = fake.calls("put");
        for call in &calls {
            let (_, sequence, acknowledged) = call.ordinal.expect("numbered");
            assert!(acknowledged < sequence && sequence - acknowledged <= 256, "{call:?}");
        }
        let id = calls[0].ordinal.expect("numbered").0;
        (calls.iter().filter_map(|call| call.ordinal).map(|(_, it, _)| it).collect(), id)
    };
    assert_eq!(numbers, (1..=1000).collect());
    session.put("last", "x").await.unwrap();
    assert_eq!(fake.world().kept(id), 1, "what is acknowledged is forgotten");
}

#[tokio::test]
async fn a_session_that_is_gone_is_not_opened_again_silently() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    let session = client.session();
    let id = session.open().await.unwrap();
    assert_eq!(session.open().await.unwrap(), id);
    session.put("k", "1").await.unwrap();
    fake.world().close_session(id).unwrap();
    for _ in 0..2 {
        let error = session.put("k", "2").await.expect_err("it is gone");
        assert_eq!(error, Error::NoSession(id));
        assert!(error.may_have_been_done());
    }
    let at_leader = |method| fake.calls(method).iter().filter(|call| call.node == 1).count();
    assert_eq!((at_leader("open_session"), at_leader("put")), (1, 2), "nobody is asked in vain");
    client.session().put("k", "2").await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_closed_takes_no_command() {
    let fake = Fake::start(3).await;
    let client = client(&fake);
    client.session().close().await.unwrap();
    assert!(fake.calls("open_session").is_empty(), "it was never opened");
    let session = client.session();
    let id = session.open().await.unwrap();
    fake.fail("close_session", Fault::Break);
    session.close().await.unwrap();
    session.close().await.unwrap();
    assert!(fake.world().close_session(id).is_err(), "it is closed");
    assert_eq!(session.put("k", "1").await, Err(Error::NoSession(id)));
    assert!(fake.calls("put").is_empty());
}

#[tokio::test]
async fn a_command_that_ran_out_of_time_may_have_been_done() {
    let fake = Fake::start(1).await;
    let session = client(&fake).with_deadline(Duration::from_millis(700)).session();
    session.open().await.unwrap();
    fake.fail("put", Fault::After(Status::unknown("")));
    for _ in 0..1000 {
        fake.fail("put", Fault::Before(Status::unavailable("no leader")));
    }
    let error = session.put("k", "1").await.expect_err("out of time");
    assert!(matches!(error, Error::Unknown(_)), "{error:?}");
    fake.world().faults.clear();
    // Its number is given up: what comes later does not wait for it.
    session.put("k", "2").await.unwrap();
    let (_, sequence, acknowledged) = fake.calls("put").last().unwrap().ordinal.expect("numbered");
    assert_eq!((sequence, acknowledged), (2, 1));
}
