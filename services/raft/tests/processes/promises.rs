//! What a user relies on while nodes come and go.

use std::time::Duration;

use chassis::health::{self, Status};
use raft::client::{Change, Condition, Freshness, Outcome, Put, Standing};
use rustix::process::Signal;

use crate::cluster::{Cluster, PATIENCE};
use crate::load::Load;

#[tokio::test]
async fn a_leader_that_is_killed_again_and_again_costs_no_acknowledged_write() {
    let mut cluster = Cluster::start(3, &[]).await;
    let load = Load::begin(&cluster, 6);
    for _ in 0..5 {
        load.progress(100).await;
        let leader = cluster.leader().await;
        cluster.kill(leader);
        load.progress(100).await;
        cluster.run(leader);
    }
    cluster.level().await;
    let checked = load.end().await;
    assert!(checked.answered > 1000, "{checked:?}");
}

#[tokio::test]
async fn all_nodes_killed_at_once_come_back_with_everything() {
    let mut cluster = Cluster::start(3, &[]).await;
    let load = Load::begin(&cluster, 6);
    load.progress(300).await;
    for id in 1..=3 {
        cluster.kill(id);
    }
    for id in 1..=3 {
        cluster.run(id);
    }
    load.progress(300).await;
    load.end().await;
}

#[tokio::test]
async fn a_paused_leader_is_deposed_and_its_answers_are_not_stale_when_it_wakes() {
    let mut cluster = Cluster::start(3, &[]).await;
    let load = Load::begin(&cluster, 6);
    for _ in 0..3 {
        let leader = cluster.leader().await;
        load.progress(50).await;
        cluster.node(leader).signal(Signal::STOP);
        load.progress(100).await;
        cluster.node(leader).signal(Signal::CONT);
        load.progress(50).await;
    }
    load.end().await;
}

#[tokio::test]
async fn a_rolling_restart_hands_leadership_over_and_nobody_is_turned_away() {
    let mut cluster = Cluster::start(3, &[]).await;
    let load = Load::begin(&cluster, 4);
    for id in 1..=3 {
        load.progress(50).await;
        cluster.node(id).signal(Signal::TERM);
        let status = cluster.node(id).ended(PATIENCE).await;
        assert!(status.success(), "{status}\n{}", cluster.node(id).log());
        cluster.run(id);
        cluster.level().await;
    }
    let checked = load.end().await;
    assert!(checked.answered > 200, "{checked:?}");
}

#[tokio::test]
async fn a_node_that_lost_its_directory_is_refused_until_it_is_a_new_member() {
    let mut cluster = Cluster::start(3, &[]).await;
    let client = cluster.client();
    let load = Load::begin(&cluster, 4);
    load.progress(50).await;
    let victim = cluster.leader().await;
    cluster.kill(victim);
    std::fs::remove_dir_all(cluster.directory(victim)).unwrap();
    cluster.run(victim);
    let status = cluster.node(victim).ended(PATIENCE).await;
    let log = cluster.node(victim).log();
    assert!(!status.success(), "{log}");
    assert!(log.contains("remove the member, and add it again"), "{log}");
    cluster.kill(victim);
    load.progress(50).await;
    // As the message says.
    client.remove_member(victim).await.unwrap();
    client.add_member(victim, cluster.address(victim), false).await.unwrap();
    cluster.run(victim);
    load.progress(50).await;
    cluster.level().await;
    load.end().await;
}

#[tokio::test]
async fn members_join_catch_up_by_snapshot_and_leave() {
    let mut cluster = Cluster::start(3, &[("RAFT_LOG_KIB", "16")]).await;
    let client = cluster.client();
    for number in 0..1000 {
        let value = vec![b'x'; 1000];
        client.put(format!("key-{:03}", number % 300), value).await.unwrap();
    }
    let load = Load::begin(&cluster, 4);
    for id in [4, 5] {
        cluster.run(id);
        voter(&cluster, id).await;
    }
    cluster.level().await;
    let joined = cluster.status(5).await.unwrap();
    assert!(joined.snapshot > 0 && joined.keys >= 300, "{joined:?}");
    load.progress(50).await;
    let leader = cluster.leader().await;
    client.remove_member(leader).await.unwrap();
    cluster.kill(leader);
    load.progress(50).await;
    let heir = cluster.leader().await;
    let other = cluster.ids().into_iter().find(|id| *id != heir).unwrap();
    assert_eq!(client.transfer_leadership(Some(other)).await.unwrap(), other);
    load.progress(50).await;
    load.end().await;
}

/// Waits until a member votes.
async fn voter(cluster: &Cluster, id: u64) {
    let started = std::time::Instant::now();
    while started.elapsed() < PATIENCE {
        let leader = cluster.leader().await;
        let status = cluster.status(leader).await;
        let members = status.map(|status| status.members).unwrap_or_default();
        if members.iter().any(|member| member.id == id && member.standing == Standing::Voter) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("node {id} does not vote");
}

#[tokio::test]
async fn a_watch_survives_its_node_and_tells_every_change_once() {
    let mut cluster = Cluster::start(3, &[]).await;
    let client = cluster.client();
    let mut watch = client.watch("counted-", None).await.unwrap();
    let writer = tokio::spawn(async move {
        let session = client.session();
        for number in 0..300 {
            session.put(format!("counted-{number:03}"), "x").await.unwrap();
        }
    });
    for number in 0..300 {
        let event = watch.next().await.unwrap();
        assert_eq!(event.key, format!("counted-{number:03}"));
        assert!(matches!(event.change, Change::Set(_)), "{event:?}");
        if number % 100 == 50 {
            let leader = cluster.leader().await;
            cluster.kill(leader);
            cluster.run(leader);
        }
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_lease_ends_when_nobody_keeps_it_and_outlives_its_leader() {
    let mut cluster = Cluster::start(3, &[]).await;
    let client = cluster.client();
    let kept = client.grant_lease(Duration::from_secs(2)).await.unwrap();
    let left = client.grant_lease(Duration::from_secs(1)).await.unwrap();
    client.put_if(Put::new("kept", "1").with_lease(kept.id)).await.unwrap();
    client.put_if(Put::new("left", "1").with_lease(left.id)).await.unwrap();
    let keeper = client.keep_lease(kept.id).await.unwrap();
    let mut watch = client.watch("left", None).await.unwrap();
    let leader = cluster.leader().await;
    cluster.kill(leader);
    let gone = watch.next().await.unwrap();
    assert!(matches!(gone.change, Change::Expired), "{gone:?}");
    assert!(client.get("kept", Freshness::Latest).await.unwrap().is_some());
    let mut watch = client.watch("kept", None).await.unwrap();
    drop(keeper);
    let gone = watch.next().await.unwrap();
    assert!(matches!(gone.change, Change::Expired), "{gone:?}");
}

#[tokio::test]
async fn without_a_majority_a_node_is_alive_but_not_ready_and_says_so() {
    let mut cluster = Cluster::start(3, &[]).await;
    let client = cluster.client_within(Duration::from_secs(1));
    client.put("before", "1").await.unwrap();
    // Node 3 knows of it.
    cluster.level().await;
    cluster.kill(1);
    cluster.kill(2);
    let address = cluster.address(3).parse().unwrap();
    let second = Duration::from_secs(1);
    let started = std::time::Instant::now();
    loop {
        let store = "ensemble.raft.v1.StoreService";
        let ready = health::check(address, None, store, second).await.unwrap();
        if ready == Status::NotServing {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "it seems ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(health::check(address, None, "", second).await.unwrap(), Status::Serving);
    let error = client.put("during", "1").await.unwrap_err();
    // What it has itself it still tells to whoever does not mind that it is old.
    let old = client.get("before", Freshness::Stale).await.unwrap();
    assert_eq!(old.unwrap().value, "1");
    cluster.run(1);
    cluster.leader().await;
    client.put("after", "1").await.unwrap();
    // What is said not to have been done was not.
    let during = client.get("during", Freshness::Latest).await.unwrap();
    assert!(during.is_none() || error.may_have_been_done(), "{error}");
}

#[tokio::test]
async fn conditions_hold_across_nodes() {
    let cluster = Cluster::start(3, &[]).await;
    let client = cluster.client();
    let first = client.compare_and_set("lock", Condition::Absent, "a").await.unwrap();
    let Outcome::Written(first) = first else { panic!("{first:?}") };
    let second = client.compare_and_set("lock", Condition::Absent, "b").await.unwrap();
    let Outcome::Unmet(Some(item)) = second else { panic!("{second:?}") };
    assert_eq!((item.value, item.version), ("a".into(), first.version));
    let third = client.compare_and_set("lock", Condition::Version(first.version), "c").await;
    assert!(matches!(third.unwrap(), Outcome::Written(_)));
}
