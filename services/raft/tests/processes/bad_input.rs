//! What is wrong, hostile or mistaken gets an error that says so, and harms nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::channel::{Channel, Connector};
use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::raft_service_client::RaftServiceClient;
use proto::ensemble::raft::v1::store_service_client::StoreServiceClient;
use raft::client::{Error, Freshness};
use tonic::{Code, Request};

use crate::cluster::{Cluster, NODE, PATIENCE};
use crate::process::Process;

async fn channel(cluster: &Cluster, id: u64) -> Channel {
    Connector::new(None).connect(cluster.address(id), PATIENCE).await.unwrap()
}

#[tokio::test]
async fn keys_and_values_beyond_the_limits_are_refused_by_field() {
    let cluster = Cluster::start(1, &[]).await;
    let mut store = StoreServiceClient::new(channel(&cluster, 1).await);
    for (key, value, field) in [(0, 1, "key"), (4097, 1, "key"), (1, (1 << 20) + 1, "value")] {
        let (key, value) = (vec![b'k'; key].into(), vec![b'v'; value].into());
        let put = pb::PutRequest { key, value, ..<_>::default() };
        let status = store.put(put).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(field), "{status}");
    }
    let unknown = pb::Ordinal { session: 999, sequence: 1, acknowledged: 0 };
    let put = pb::PutRequest { key: "k".into(), ordinal: Some(unknown), ..<_>::default() };
    let status = store.put(put).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status}");
    let lease = pb::PutRequest { key: "k".into(), lease: Some(999), ..<_>::default() };
    assert_eq!(store.put(lease).await.unwrap_err().code(), Code::NotFound);
    // What no log reaches comes into none: the node could not read it back.
    let lease = u64::MAX;
    let put = pb::PutRequest { key: "k".into(), lease: Some(lease), ..<_>::default() };
    assert_eq!(store.put(put).await.unwrap_err().code(), Code::InvalidArgument);
    let keep = pb::KeepLeaseAliveRequest { lease, ..<_>::default() };
    assert_eq!(store.keep_lease_alive(keep).await.unwrap_err().code(), Code::InvalidArgument);
    let close = pb::CloseSessionRequest { session: lease, ..<_>::default() };
    assert_eq!(store.close_session(close).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(store.get(pb::GetRequest { key: "k".into(), ..<_>::default() }).await.is_ok());
}

#[tokio::test]
async fn a_forged_term_or_a_stranger_deposes_nobody() {
    let cluster = Cluster::start(3, &[]).await;
    let leader = cluster.leader().await;
    let before = cluster.status(leader).await.unwrap();
    let others = cluster.ids().into_iter().filter(|id| *id != leader).collect::<Vec<_>>();
    for term in [before.term + 1, 1 << 40, (1 << 63) - 1, u64::MAX] {
        for candidate_id in [others[0], 99] {
            for id in [leader, others[1]] {
                let mut node = RaftServiceClient::new(channel(&cluster, id).await);
                let vote = pb::RequestVoteRequest {
                    term,
                    candidate_id,
                    last_log_index: u64::MAX >> 2,
                    last_log_term: u64::MAX >> 2,
                    ..<_>::default()
                };
                let mut request = Request::new(vote);
                request.set_timeout(Duration::from_secs(1));
                let granted = node.request_vote(request).await;
                assert!(!granted.is_ok_and(|vote| vote.get_ref().result), "term {term}");
            }
        }
    }
    let after = cluster.status(leader).await.unwrap();
    assert_eq!((after.term, after.leader), (before.term, Some(leader)));
    cluster.client().put("still", "here").await.unwrap();
}

#[tokio::test]
async fn forged_entries_end_no_node() {
    let mut cluster = Cluster::start(3, &[]).await;
    // A second term, so that there is one to fall from.
    let first = cluster.leader().await;
    cluster.kill(first);
    cluster.run(first);
    cluster.client().put("before", "1").await.unwrap();
    cluster.level().await;
    for id in cluster.ids() {
        let status = cluster.status(id).await.unwrap();
        let other = cluster.ids().into_iter().find(|other| *other != id).unwrap();
        let forged = |index, term| pb::AppendEntriesRequest {
            term: status.term + 1,
            leader_id: other,
            previous_log_index: status.applied,
            entries: vec![pb::Entry { index, term, ..<_>::default() }],
            ..<_>::default()
        };
        let mut node = RaftServiceClient::new(channel(&cluster, id).await);
        for entry in [forged(status.applied + 1, 1), forged(status.applied + 7, status.term)] {
            let mut request = Request::new(entry);
            request.set_timeout(Duration::from_millis(500));
            // Whatever it says, and to whom: it is there after that.
            let _ = node.append_entries(request).await;
            assert!(cluster.status(id).await.is_some(), "node {id}");
        }
    }
    cluster.client().put("after", "1").await.unwrap();
    cluster.level().await;
}

#[tokio::test]
async fn the_documents_functions_answer_as_the_document_says() {
    let cluster = Cluster::start(3, &[("CHASSIS_FAULTS", "on")]).await;
    let leader = cluster.leader().await;
    let follower = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    let mut node = RaftServiceClient::new(channel(&cluster, follower).await);
    let set = pb::SetValRequest { key: "a".into(), value: "1".into() };
    assert!(node.set_val(set).await.unwrap().get_ref().success);
    let found = node.get_val(pb::GetValRequest { key: "a".into() }).await.unwrap().into_inner();
    assert_eq!(found, pb::GetValResponse { success: true, value: "1".into() });
    let none = node.get_val(pb::GetValRequest { key: "b".into() }).await.unwrap().into_inner();
    assert_eq!(none, pb::GetValResponse { success: false, value: String::new() });
    let told = node.get_leader(pb::GetLeaderRequest {}).await.unwrap().into_inner();
    assert_eq!((told.id, told.address.as_str()), (Some(leader), cluster.address(leader)));
    // A candidate of an older term is told the newer one.
    let vote = pb::RequestVoteRequest { candidate_id: leader, ..<_>::default() };
    let vote = node.request_vote(vote).await.unwrap().into_inner();
    assert!(!vote.result && vote.term > 0, "{vote:?}");
    // A suspended leader is as good as disconnected, until its time is over.
    let mut suspended = RaftServiceClient::new(channel(&cluster, leader).await);
    suspended.suspend(pb::SuspendRequest { period: 2 }).await.unwrap();
    let started = std::time::Instant::now();
    loop {
        let told = node.get_leader(pb::GetLeaderRequest {}).await.unwrap().into_inner();
        if told.id.is_some_and(|id| id != leader) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the suspended leader still leads");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.level().await;
}

/// What a node says that must not come up with these variables.
async fn refused(variables: &BTreeMap<String, String>) -> String {
    Process::start(NODE, variables).refused(PATIENCE).await
}

#[tokio::test]
async fn a_node_with_anothers_data_or_name_does_not_start() {
    let mut cluster = Cluster::start(3, &[]).await;
    // The same directory twice.
    let said = refused(&cluster.variables(1)).await;
    assert!(said.contains("RAFT_DIRECTORY"), "{said}");
    // The same name, with other data, elsewhere.
    let mut variables = cluster.variables(1);
    let other = cluster.folder.path().join("other");
    variables.insert("RAFT_DIRECTORY".into(), other.display().to_string());
    variables.insert("CHASSIS_LISTEN".into(), "127.0.0.1:0".into());
    let said = refused(&variables).await;
    assert!(said.contains("there are two of it"), "{said}");
    // Another's directory.
    cluster.kill(2);
    let mut variables = cluster.variables(2);
    variables.insert("RAFT_ID".into(), "3".into());
    cluster.kill(3);
    let said = refused(&variables).await;
    assert!(said.contains("node 2"), "{said}");
    // Another cluster's name.
    cluster.run(2);
    cluster.run(3);
    cluster.leader().await;
    cluster.client().put("well", "1").await.unwrap();
}

#[tokio::test]
async fn a_watch_from_before_the_history_is_told_where_to_begin() {
    let cluster = Cluster::start(1, &[]).await;
    let client = cluster.client();
    // More than the history keeps.
    for _ in 0..6 {
        client.put("big", vec![b'x'; 1 << 20]).await.unwrap();
    }
    let mut watch = match client.watch("", Some(1)).await {
        Ok(watch) => watch,
        Err(Error::Compacted { earliest }) => {
            assert!(earliest > 1);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let error = watch.next().await.unwrap_err();
    let Error::Compacted { earliest } = error else { panic!("{error}") };
    assert!(earliest > 1);
    let mut watch = client.watch("", Some(earliest)).await.unwrap();
    assert_eq!(watch.next().await.unwrap().key, "big");
    assert!(client.get("big", Freshness::Latest).await.unwrap().is_some());
}
