//! What a storage promises when its process is killed, and when the disk is full. Both need a
//! process of their own: this binary runs itself as a child.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "storage/model.rs"]
#[allow(dead_code, reason = "it serves other tests as well")]
mod model;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::{Mutex, PoisonError};

use consensus::Record;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use self::model::{Model, PATIENCE, Told, Workload, open, put, run, snapshot};

/// A child that is just being made still holds the files of its parent, a lock among them: no
/// other test may have one then.
static ALONE: Mutex<()> = Mutex::new(());

/// Where a child finds its directory and its seed.
const KILLED: &str = "ENSEMBLE_STORAGE_CHILD";

/// The state after so many batches, from the seed alone.
fn state_after(seed: u64, batches: u64) -> (Model, Workload) {
    let (mut model, mut workload) = (Model::default(), Workload::new(seed));
    workload.longest = 20_000;
    for _ in 0..batches {
        workload.batch(&mut model);
    }
    (model, workload)
}

/// Runs as a child of the test below: goes on with a workload until it is killed.
#[test]
fn child_that_is_killed() {
    let Some(told) = told(KILLED) else { return };
    let [path, seed, batches] = &told.split('|').collect::<Vec<_>>()[..] else { panic!() };
    let (seed, mut batches) = (seed.parse().unwrap(), batches.parse::<u64>().unwrap());
    run(async {
        let (mut model, mut workload) = state_after(seed, batches);
        let (storage, _) = open(path.as_ref());
        let mut out = std::io::stderr();
        writeln!(out, "begun").unwrap();
        while batches < 400 {
            storage.persist(workload.batch(&mut model)).await.unwrap();
            batches += 1;
            writeln!(out, "did {batches}").unwrap();
        }
        storage.close().await.unwrap();
    });
}

#[test]
fn a_process_may_be_killed_at_any_moment() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut workload = Workload::new(5);
    for seed in 0..2 {
        let directory = tempfile::tempdir().unwrap();
        let mut batches = 0;
        for _ in 0..8 {
            let path = directory.path().display();
            let mut child = process::Command::new(std::env::current_exe().unwrap())
                .args(["child_that_is_killed", "--exact", "--nocapture"])
                .env(KILLED, format!("{path}|{seed}|{batches}"))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let wanted = batches + 1 + workload.draw(20);
            let delay = workload.draw(3_000);
            let mut acknowledged = batches;
            for line in BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
                let did = line.strip_prefix("did ").and_then(|number| number.parse().ok());
                acknowledged = did.unwrap_or(acknowledged);
                if acknowledged == wanted {
                    // It goes on meanwhile, and is killed wherever it has got.
                    let until = std::time::Instant::now();
                    while until.elapsed().as_micros() < u128::from(delay) {
                        std::hint::spin_loop();
                    }
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            assert!(acknowledged >= wanted.min(400), "{acknowledged} of {wanted}");
            let (storage, told) = open(directory.path());
            // One batch may have been durable, in whole or in part, before it was acknowledged.
            let done = (acknowledged..=acknowledged + 1)
                .find(|&batches| state_after(seed, batches).0.explains(&told));
            run(async { tokio::time::timeout(PATIENCE, storage.close()).await.unwrap().unwrap() });
            match done {
                Some(done) => batches = done,
                None => {
                    assert!(partly(seed, acknowledged, &told), "seed {seed}: {acknowledged}");
                    break;
                }
            }
        }
    }
}

/// Whether a batch was told in part: the records before a snapshot that was installed are durable
/// before it.
fn partly(seed: u64, batches: u64, told: &Told) -> bool {
    let (mut model, mut workload) = state_after(seed, batches);
    let records = workload.batch(&mut model.clone());
    let has_snapshot = records.iter().any(|record| matches!(record, Record::Install(_)));
    has_snapshot
        && records.iter().any(|record| {
            model.tell(record);
            model.explains(told)
        })
}

/// A full disk, by a limit on the size of files that a child sets itself: where the child finds
/// its directory.
const FULL: &str = "ENSEMBLE_STORAGE_FULL";

/// What the parent told this process, if this process is such a child.
#[allow(clippy::disallowed_methods, reason = "a test tells its child so, and no role")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Files may have so many bytes.
fn limit(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let current = bytes.map_or(maximum, Some);
    setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
}

/// Runs as a child of the test below, since the limit is that of the process.
#[test]
fn child_with_a_full_disk() {
    let Some(path) = told(FULL) else { return };
    run(async {
        // Whoever exceeds the limit gets this signal, which would end it.
        let _signal = signal(SignalKind::from_raw(25)).unwrap();
        full_log(&Path::new(&path).join("log")).await;
        full_snapshot(&Path::new(&path).join("taken"), false).await;
        full_while_a_snapshot_is_taken(&Path::new(&path).join("both")).await;
        full_snapshot(&Path::new(&path).join("received"), true).await;
    });
}

fn assert_tells_what_to_do(failure: &anyhow::Error, path: &Path) {
    let failure = format!("{failure:#}");
    for part in [path.to_str().unwrap(), "free space", "nothing that was acknowledged is lost"] {
        assert!(failure.contains(part), "no {part:?} in {failure}");
    }
}

async fn full_log(path: &Path) {
    let (storage, _) = open(path);
    let mut model = Model::default();
    limit(Some(600 << 10));
    let mut index = 0;
    let failure = loop {
        index += 1;
        let append = Record::Append(vec![put(index, 1, &[7; 10_000])]);
        match storage.persist(vec![append.clone()]).await {
            Ok(()) => model.tell(&append),
            Err(failure) => break failure,
        }
    };
    assert!(index > 20, "{index}");
    assert_tells_what_to_do(&failure, path);
    limit(None);
    let append = Record::Append(vec![put(index, 1, b"v")]);
    let failure = storage.persist(vec![append]).await.unwrap_err();
    assert!(failure.to_string().contains("nothing is stored any more"), "{failure:#}");
    let failure = storage.remember(protocols::NodeId(1), 1).await.unwrap_err();
    assert!(failure.to_string().contains("nothing is stored any more"), "{failure:#}");
    storage.close().await.unwrap_err();
    let (storage, told) = open(path);
    assert!(model.explains(&told));
    storage.persist(vec![Record::Append(vec![put(index, 1, b"v")])]).await.unwrap();
    storage.close().await.unwrap();
}

async fn full_snapshot(path: &Path, received: bool) {
    let (storage, _) = open(path);
    let entries = (1..=10).map(|index| put(index, 1, b"v")).collect();
    storage.persist(vec![Record::Append(entries)]).await.unwrap();
    // What is written of the log has its place already.
    limit(Some(100));
    let failure = if received {
        storage.persist(vec![Record::Install(snapshot(20, 2))]).await.unwrap_err()
    } else {
        storage.persist(vec![Record::Compact(snapshot(9, 1))]).await.unwrap();
        storage.snapshot_written(consensus::Index(9)).await.unwrap_err()
    };
    assert_tells_what_to_do(&failure, path);
    limit(None);
    storage.close().await.unwrap_err();
    let (storage, told) = open(path);
    assert_eq!((told.snapshot.0.0, told.last().0), (0, 10));
    storage.close().await.unwrap();
}

async fn full_while_a_snapshot_is_taken(path: &Path) {
    let (storage, _) = open(path);
    let entries = (1..=10).map(|index| put(index, 1, b"v")).collect();
    storage.persist(vec![Record::Append(entries)]).await.unwrap();
    limit(Some(100));
    let too_much = Record::Append(vec![put(11, 1, &vec![7; 1 << 20])]);
    let records = vec![Record::Compact(snapshot(9, 1)), too_much];
    let failure = storage.persist(records).await.unwrap_err();
    assert_tells_what_to_do(&failure, path);
    storage.close().await.unwrap_err();
    limit(None);
    let (storage, told) = open(path);
    assert_eq!((told.snapshot.0.0, told.last().0), (0, 10));
    storage.close().await.unwrap();
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let output = process::Command::new(std::env::current_exe().unwrap())
        .args(["child_with_a_full_disk", "--exact", "--nocapture"])
        .env(FULL, directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(directory.path().join("received").exists(), "the child did not run to its end");
}
