//! Bytes that are not what was written.

use std::fs;
use std::path::Path;

use consensus::{Index, Record};

use super::model::{Model, Workload, copy, files, open, put, refusal, run, snapshot, written};

/// A copy of a directory in which a file is changed.
fn changed(original: &Path, file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy(original, directory.path());
    let file = directory.path().join(file.file_name().unwrap());
    let mut bytes = fs::read(&file).unwrap();
    change(&mut bytes);
    fs::write(&file, bytes).unwrap();
    directory
}

fn assert_refused(directory: &Path, file: &Path, at: usize) {
    let refused = refusal(directory);
    let name = file.file_name().unwrap().to_str().unwrap();
    for part in [name, "Remove this member", "empty directory"] {
        assert!(refused.contains(part), "byte {at} of {name}: no {part:?} in {refused}");
    }
}

/// A directory with several segments and a snapshot, and where the last frame begins.
async fn filled(directory: &Path) -> (Model, usize) {
    let (storage, _) = open(directory);
    let (mut model, mut workload) = (Model::default(), Workload::new(1));
    let mut tell = |record: Record| {
        model.tell(&record);
        vec![record]
    };
    storage.persist(tell(Record::Install(snapshot(5, 1)))).await.unwrap();
    for index in 6..60 {
        let value = vec![9; usize::try_from(workload.draw(30_000)).unwrap()];
        storage.persist(tell(Record::Append(vec![put(index, 1, &value)]))).await.unwrap();
    }
    let logs = files(directory, "log-");
    let end = logs.iter().map(|path| written(path)).rfind(|&end| end > 48).unwrap();
    storage.persist(tell(Record::Append(vec![put(60, 1, b"the last")]))).await.unwrap();
    storage.close().await.unwrap();
    (model, end)
}

#[test]
fn a_flipped_byte_before_the_last_frame_is_refused() {
    run(async {
        let original = tempfile::tempdir().unwrap();
        let (model, end) = filled(original.path()).await;
        let logs = files(original.path(), "log-");
        let used = logs.iter().filter(|path| written(path) > 48).count();
        assert!(used >= 2, "{used}");
        let mut workload = Workload::new(2);
        for number in 0..64 {
            let log = usize::try_from(workload.draw(used as u64)).unwrap();
            let most = if log + 1 == used { end } else { written(&logs[log]) };
            let at = match number {
                0..12 => 4 * number,
                _ => usize::try_from(workload.draw(most as u64)).unwrap(),
            };
            let bit = 1 << workload.draw(8);
            let directory = changed(original.path(), &logs[log], |bytes| bytes[at] ^= bit);
            assert_refused(directory.path(), &logs[log], at);
        }
        let (storage, told) = open(original.path());
        assert!(model.explains(&told));
        storage.close().await.unwrap();
    });
}

#[test]
fn a_flipped_byte_of_a_snapshot_is_refused() {
    run(async {
        let original = tempfile::tempdir().unwrap();
        filled(original.path()).await;
        let file = &files(original.path(), "snapshot-")[0];
        let length = fs::read(file).unwrap().len();
        for at in (0..length).step_by(3) {
            let directory = changed(original.path(), file, |bytes| bytes[at] ^= 4);
            assert_refused(directory.path(), file, at);
        }
        for left in (0..length).step_by(20) {
            let directory = changed(original.path(), file, |bytes| bytes.truncate(left));
            assert_refused(directory.path(), file, left);
        }
        fs::remove_file(file).unwrap();
        assert_refused(original.path(), file, 0);
    });
}

#[test]
fn a_flipped_byte_of_meta_is_refused() {
    run(async {
        let original = tempfile::tempdir().unwrap();
        filled(original.path()).await;
        let file = original.path().join("meta");
        let length = fs::read(&file).unwrap().len();
        for at in (0..length - 1).step_by(5) {
            let directory = changed(original.path(), &file, |bytes| bytes[at] ^= 4);
            refusal(directory.path());
        }
        fs::remove_file(&file).unwrap();
        assert_refused(original.path(), &file, 0);
    });
}

#[test]
fn a_missing_file_of_the_log_is_refused() {
    run(async {
        let original = tempfile::tempdir().unwrap();
        filled(original.path()).await;
        let logs = files(original.path(), "log-");
        let used = logs.iter().filter(|path| written(path) > 48).count();
        for log in &logs[..used] {
            let directory = tempfile::tempdir().unwrap();
            copy(original.path(), directory.path());
            fs::remove_file(directory.path().join(log.file_name().unwrap())).unwrap();
            let refused = refusal(directory.path());
            assert!(refused.contains("Remove this member"), "{refused}");
        }
    });
}

#[test]
fn frames_that_became_zeros_at_the_end_of_a_full_file_are_refused() {
    run(async {
        let original = tempfile::tempdir().unwrap();
        filled(original.path()).await;
        let logs = files(original.path(), "log-");
        let used = logs.iter().filter(|path| written(path) > 48).count();
        let (full, next) = (&logs[used - 2], &logs[used - 1]);
        let bytes = fs::read(full).unwrap();
        // A frame says how long it is after its number.
        let length = |at: usize| u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        let mut frames = vec![48];
        while length(frames[frames.len() - 1]) > 0 {
            let at = frames[frames.len() - 1];
            frames.push((at + 20 + length(at) as usize).next_multiple_of(4));
        }
        for &at in &frames[frames.len() - 4..frames.len() - 1] {
            let directory = changed(original.path(), full, |bytes| bytes[at..].fill(0));
            assert_refused(directory.path(), next, at);
        }
        let directory = changed(original.path(), full, |bytes| bytes[48..].fill(0));
        assert_refused(directory.path(), full, 48);
    });
}

#[test]
fn a_file_of_another_node_is_refused() {
    run(async {
        let (original, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        filled(original.path()).await;
        filled(other.path()).await;
        for beginning in ["log-", "snapshot-"] {
            let file = &files(original.path(), beginning)[0];
            let name = file.file_name().unwrap();
            let directory = tempfile::tempdir().unwrap();
            copy(original.path(), directory.path());
            fs::copy(other.path().join(name), directory.path().join(name)).unwrap();
            assert_refused(directory.path(), file, 0);
        }
        let (storage, told) = open(original.path());
        assert_eq!(told.last(), Index(60));
        storage.close().await.unwrap();
    });
}
