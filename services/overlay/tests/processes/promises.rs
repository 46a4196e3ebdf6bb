//! What a user is promised.

use std::time::Duration;

use overlay::client::{Operation, Team};
use overlay::work;
use proto::documents::overlay_node_client::OverlayNodeClient;
use proto::documents::{MetricsRequest, Request};

use crate::cluster::{Cluster, PATIENCE, process, process_many};

const WHOLE: &str = "A|B|C-processed;B-processed;E|F-processed;D-processed;E-processed";

#[tokio::test]
async fn the_documents_client_gets_the_documents_answer() {
    let cluster = Cluster::start(&[]).await;
    let mut client = OverlayNodeClient::new(cluster.channel('A').await);
    let request = Request { payload: "hello".into(), hops: Vec::new() };
    let answer = client.forward(request).await.unwrap().into_inner();
    assert_eq!(answer.result, WHOLE);
    assert_eq!(answer.hops, ["A", "B", "C", "E", "F", "D"]);
    let metrics = client.get_metrics(MetricsRequest {}).await.unwrap().into_inner();
    assert_eq!((metrics.process_id.as_str(), metrics.role.as_str()), ("A", "leader"));
    assert_eq!((metrics.max_capacity, metrics.queue_size), (100, 0));
    assert!(metrics.is_healthy && metrics.avg_processing_time_ms > 0.0);
    // A request that has been here before gets an empty result.
    let request = Request { payload: "hello".into(), hops: vec!["A".into()] };
    assert_eq!(client.forward(request).await.unwrap().into_inner().result, "");
    // A worker answers for itself.
    let mut worker = OverlayNodeClient::new(cluster.channel('F').await);
    let request = Request { payload: "hello".into(), hops: Vec::new() };
    assert_eq!(worker.forward(request).await.unwrap().into_inner().result, "F-processed");
}

#[tokio::test]
async fn ten_concurrent_requests_are_all_answered_once() {
    let cluster = Cluster::start(&[]).await;
    let client = cluster.client('A').await;
    let before = client.metrics(PATIENCE).await.unwrap().answered;
    let asking = process_many(&client, 10);
    for answer in asking {
        assert_eq!(answer.await.unwrap().unwrap().result, WHOLE);
    }
    let after = client.metrics(PATIENCE).await.unwrap();
    assert_eq!(after.answered - before, 10);
    assert_eq!(after.active, 0);
}

#[tokio::test]
async fn a_dead_team_leader_is_named_and_its_team_served_through_the_other_edge() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.kill('E');
    let answer = cluster.until(|answer| !answer.detours.is_empty()).await;
    let missing: Vec<_> = answer.missing.iter().map(|missing| missing.process.as_str()).collect();
    assert_eq!(missing, ["E", "F"]);
    assert_eq!(
        (answer.detours[0].team.as_str(), answer.detours[0].through.as_str()),
        ("pink", "B")
    );
    assert_eq!(answer.result, "A|B|C-processed;D-processed;B-processed");
    // The document's answer has no field to say so, and is what it always was.
    let mut client = OverlayNodeClient::new(cluster.channel('A').await);
    let request = Request { payload: "hello".into(), hops: Vec::new() };
    let answer = client.forward(request).await.unwrap().into_inner();
    assert_eq!(answer.result, "A|B|C-processed;B-processed");
    cluster.run('E');
    cluster.whole_again().await;
}

#[tokio::test]
async fn each_process_can_be_restarted_and_is_found_again() {
    let mut cluster = Cluster::start(&[]).await;
    for id in 'A'..='F' {
        cluster.kill(id);
        cluster.run(id);
        cluster.whole_again().await;
    }
}

#[tokio::test]
async fn big_payloads_are_split_and_put_together() {
    let cluster = Cluster::start(&[]).await;
    let client = cluster.client('A').await;
    for length in [0, 1, 100_000, 8 << 20] {
        let payload: Vec<u8> =
            b"some words and\nlines ".iter().copied().cycle().take(length).collect();
        for (operation, expected) in [
            (Operation::WordCount, work::count_text(&payload)),
            (Operation::Digest, work::digest_text(&payload)),
        ] {
            let answer = client.forward(payload.clone(), operation, Team::Unspecified, PATIENCE);
            let answer = answer.await.unwrap();
            assert_eq!(answer.result, expected, "{length} {operation:?}");
            let parts = answer.visits.iter().filter_map(|visit| visit.part);
            assert_eq!(parts.map(|(_, length)| length).sum::<u64>(), length as u64);
        }
    }
}

#[tokio::test]
async fn a_request_for_one_team_is_served_by_it_alone() {
    let cluster = Cluster::start(&[]).await;
    let client = cluster.client('A').await;
    let ask = |team| client.forward(b"x".to_vec(), Operation::Process, team, PATIENCE);
    assert_eq!(ask(Team::Green).await.unwrap().result, "A|B|C-processed;B-processed");
    assert_eq!(ask(Team::Pink).await.unwrap().result, "A|E|F-processed;D-processed;E-processed");
}

#[tokio::test]
async fn a_stopped_worker_is_late_and_costs_its_own_share_alone() {
    let mut cluster = Cluster::start(&[("OVERLAY_PATIENCE_MS", "30000")]).await;
    cluster.process('F').signal(rustix::process::Signal::STOP);
    let client = cluster.client('A').await;
    let answer = process(&client, b"hello", Duration::from_millis(500)).await.unwrap();
    assert_eq!(answer.missing.len(), 1, "{answer:?}");
    assert_eq!(
        (answer.missing[0].process.as_str(), answer.missing[0].reason.as_str()),
        ("F", "late")
    );
    assert_eq!(answer.result, "A|B|C-processed;B-processed;E|D-processed;E-processed");
    cluster.process('F').signal(rustix::process::Signal::CONT);
    cluster.whole_again().await;
}
