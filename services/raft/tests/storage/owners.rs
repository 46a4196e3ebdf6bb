//! Whose a directory is.

use std::fs;
use std::path::Path;

use protocols::NodeId;
use raft::storage::{Owner, Storage};

use super::model::{open, owner, refusal, run};

#[test]
fn a_directory_in_use_is_refused_until_it_is_closed() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (storage, _) = open(directory.path());
        let refused = refusal(directory.path());
        let path = directory.path().to_str().unwrap();
        assert!(refused.contains(path) && refused.contains("another process"), "{refused}");
        assert!(refused.contains("RAFT_DIRECTORY"), "{refused}");
        storage.close().await.unwrap();
        open(directory.path()).0.close().await.unwrap();
    });
}

fn refused(directory: &Path, owner: &Owner, parts: &[&str]) {
    let refused = format!("{:#}", Storage::open(directory, owner).unwrap_err());
    for part in parts {
        assert!(refused.contains(part), "no {part:?} in {refused}");
    }
}

#[test]
fn a_directory_of_another_is_refused() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        open(path).0.close().await.unwrap();
        let node = Owner { node: NodeId(3), ..owner() };
        refused(path, &node, &["node 2 of cluster \"test\"", "node 3", "RAFT_ID"]);
        let cluster = Owner { cluster: "other".into(), ..owner() };
        refused(path, &cluster, &["cluster \"test\"", "cluster \"other\"", "RAFT_DIRECTORY"]);
        let founders = Owner { founders: [2, 4].map(NodeId).into(), ..owner() };
        refused(path, &founders, &["nodes 1, 2, 3", "nodes 2, 4"]);
        let joins = Owner { founders: <_>::default(), ..owner() };
        refused(path, &joins, &["nodes 1, 2, 3", "joined"]);
        open(path).0.close().await.unwrap();
    });
}

#[test]
fn a_later_format_is_refused() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path()).0.close().await.unwrap();
        let meta = directory.path().join("meta");
        let text = fs::read_to_string(&meta).unwrap();
        fs::write(&meta, text.replace("ensemble-raft 1", "ensemble-raft 2")).unwrap();
        refused(directory.path(), &owner(), &["format is 2", "knows 1"]);
    });
}

#[test]
fn a_directory_keeps_its_identity_and_no_two_have_the_same() {
    run(async {
        let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut identities = Vec::new();
        for directory in [&directories[0], &directories[1], &directories[0]] {
            let (storage, _) = open(directory.path());
            identities.push(storage.identity());
            storage.close().await.unwrap();
        }
        assert_eq!(identities[0], identities[2]);
        assert_ne!(identities[0], identities[1]);
    });
}

#[test]
fn a_peer_is_known_by_its_first_identity() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (storage, _) = open(directory.path());
        assert!(storage.remember(NodeId(1), 11).await.unwrap());
        assert!(storage.remember(NodeId(3), u64::MAX).await.unwrap());
        drop(storage.close().await);
        let (storage, _) = open(directory.path());
        assert!(storage.remember(NodeId(1), 11).await.unwrap());
        assert!(!storage.remember(NodeId(1), 12).await.unwrap());
        assert_eq!(storage.peers().await, [(NodeId(1), 11), (NodeId(3), u64::MAX)].into());
        storage.forget_others(&[NodeId(3)].into()).await.unwrap();
        storage.close().await.unwrap();
        let (storage, _) = open(directory.path());
        assert_eq!(storage.peers().await, [(NodeId(3), u64::MAX)].into());
        assert!(storage.remember(NodeId(1), 12).await.unwrap());
        storage.close().await.unwrap();
    });
}
