//! How a process ends: within its grace, whatever its clients do, and with exit code 0.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::cluster::{Cluster, PATIENCE, process};

#[tokio::test]
async fn nobody_can_keep_a_process_from_ending() {
    let mut cluster = Cluster::start(&[("CHASSIS_GRACE_MS", "1000")]).await;
    // An idle connection, an HTTP/2 connection that says nothing, and an open Watch.
    let _idle = TcpStream::connect(cluster.address('A')).unwrap();
    let mut silent = TcpStream::connect(cluster.address('A')).unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut health = HealthClient::new(cluster.channel('A').await);
    let watching = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut statuses = watching.into_inner();
    let status = statuses.message().await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::Serving);

    let asked = Instant::now();
    cluster.process('A').signal(Signal::TERM);
    // Health goes down before the connection does.
    let status = statuses.message().await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::NotServing);
    let ended = cluster.process('A').ended(PATIENCE).await;
    assert!(ended.success(), "{ended}: {}", cluster.process('A').log());
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

/// Tells a process to stop while F works for it.
async fn ends_with_a_whole_answer(id: char) {
    let mut cluster = Cluster::start(&[("OVERLAY_PATIENCE_MS", "60000")]).await;
    let client = cluster.client('A').await;
    cluster.process('F').signal(Signal::STOP);
    let asking = tokio::spawn({
        let client = client.clone();
        async move { process(&client, b"x", PATIENCE).await }
    });
    let last = cluster.client('E').await;
    while last.metrics(PATIENCE).await.unwrap().active == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.process(id).signal(Signal::TERM);
    cluster.process('F').signal(Signal::CONT);
    let answer = asking.await.unwrap().expect("it is answered");
    assert!(answer.complete, "{answer:?}");
    assert!(cluster.process(id).ended(PATIENCE).await.success());
}

#[tokio::test]
async fn what_is_in_hand_is_answered_before_the_end() {
    ends_with_a_whole_answer('A').await;
}

#[tokio::test]
async fn a_team_leader_that_stops_answers_what_it_was_asked() {
    ends_with_a_whole_answer('E').await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut cluster = Cluster::start(&[("CHASSIS_GRACE_MS", "60000")]).await;
    let mut health = HealthClient::new(cluster.channel('A').await);
    let watching = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut statuses = watching.into_inner();
    cluster.process('A').signal(Signal::TERM);
    while statuses.message().await.unwrap().unwrap().status() != ServingStatus::NotServing {}
    cluster.process('A').signal(Signal::TERM);
    assert_eq!(cluster.process('A').ended(PATIENCE).await.code(), Some(130));
}

#[tokio::test]
async fn a_tied_process_ends_with_its_parent() {
    let mut cluster = Cluster::start(&[]).await;
    drop(cluster.process('D').child.stdin.take());
    assert!(cluster.process('D').ended(PATIENCE).await.success());
}
