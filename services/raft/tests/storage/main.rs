//! What a storage promises, with real files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crashes;
mod damage;
mod model;
mod owners;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use consensus::{Index, Record, Term};
use protocols::NodeId;

use self::model::{Model, Workload, files, open, put, run, snapshot, written};

#[test]
fn an_empty_directory_tells_nothing() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (storage, told) = open(&directory.path().join("made/with/its/parents"));
        assert!(told.ballot.is_none() && told.entries.is_empty());
        storage.persist(vec![]).await.unwrap();
        storage.close().await.unwrap();
    });
}

#[test]
fn what_was_made_durable_is_told_again() {
    for seed in 0..6 {
        run(async {
            let directory = tempfile::tempdir().unwrap();
            let (mut storage, _) = open(directory.path());
            let (mut model, mut workload) = (Model::default(), Workload::new(seed));
            for _ in 0..40 {
                storage.persist(workload.batch(&mut model)).await.unwrap();
                if workload.draw(12) == 0 {
                    storage.close().await.unwrap();
                    let (again, told) = open(directory.path());
                    assert!(model.explains(&told), "seed {seed}: {told:?} for {model:?}");
                    storage = again;
                }
            }
            storage.close().await.unwrap();
            let (storage, told) = open(directory.path());
            assert!(model.explains(&told), "seed {seed}: {told:?} for {model:?}");
            storage.close().await.unwrap();
        });
    }
}

#[test]
fn a_long_log_is_told_over_many_files_and_goes_with_a_snapshot() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (storage, _) = open(directory.path());
        let (mut model, value) = (Model::default(), vec![7; 1 << 20]);
        let ballot = Record::Ballot(Term(1), Some(NodeId(2)));
        model.tell(&ballot);
        storage.persist(vec![ballot]).await.unwrap();
        for index in 1..=20 {
            let append = Record::Append(vec![put(index, 1, &value)]);
            model.tell(&append);
            storage.persist(vec![append]).await.unwrap();
        }
        let large = Record::Append((21..=40).map(|index| put(index, 1, &value)).collect());
        model.tell(&large);
        storage.persist(vec![large]).await.unwrap();
        assert!(files(directory.path(), "log-").len() > 3);
        storage.close().await.unwrap();
        let (storage, told) = open(directory.path());
        assert!(model.explains(&told));

        storage.persist(vec![Record::Compact(snapshot(40, 1))]).await.unwrap();
        storage.snapshot_written(Index(40)).await.unwrap();
        storage.close().await.unwrap();
        let bytes = files(directory.path(), "log-").iter().map(|path| written(path)).sum::<usize>();
        assert!(bytes < 22 << 20, "only the file that is being written stays, not {bytes} bytes");
        let (storage, told) = open(directory.path());
        assert_eq!((told.snapshot.0, told.last()), (Index(40), Index(40)));
        assert_eq!(told.ballot, Some((Term(1), Some(NodeId(2)))));
        storage.close().await.unwrap();
    });
}

#[test]
fn of_many_snapshots_the_newest_stays() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (storage, _) = open(directory.path());
        let entries = (1..=50).map(|index| put(index, 1, b"v")).collect();
        storage.persist(vec![Record::Append(entries)]).await.unwrap();
        for index in 1..=20 {
            storage.persist(vec![Record::Compact(snapshot(index, 1))]).await.unwrap();
        }
        storage.snapshot_written(Index(20)).await.unwrap();
        storage.close().await.unwrap();
        assert_eq!(files(directory.path(), "snapshot-").len(), 1);
        let (storage, told) = open(directory.path());
        assert_eq!((told.snapshot.0, told.last()), (Index(20), Index(50)));
        storage.close().await.unwrap();
    });
}

#[test]
fn only_its_user_may_read_it() {
    run(async {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("node");
        let (storage, _) = open(&directory);
        storage.persist(vec![Record::Install(snapshot(3, 1))]).await.unwrap();
        storage.close().await.unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(directory.clone()), 0o700);
        for file in files(&directory, "") {
            assert_eq!(mode(file.clone()), 0o600, "{}", file.display());
        }
    });
}
