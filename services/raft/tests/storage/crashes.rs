//! Whatever a crash may leave behind.

use std::fs;

use consensus::{Index, Record};

use super::model::{Model, Told, Workload, copy, files, open, put, run, snapshot, written};

/// Which of these states a storage tells.
fn which(states: &[Model], told: &Told) -> Option<usize> {
    states.iter().rposition(|model| model.explains(told))
}

#[test]
fn a_torn_write_leaves_what_was_durable_before_it() {
    run(async {
        let original = tempfile::tempdir().unwrap();
        let (storage, _) = open(original.path());
        let (mut model, mut workload) = (Model::default(), Workload::new(3));
        let log = &files(original.path(), "log-")[0];
        let (mut states, mut ends) = (vec![model.clone()], vec![written(log)]);
        for index in 1..=60 {
            let value = vec![7; usize::try_from(workload.draw(600)).unwrap()];
            let mut records = vec![Record::Append(vec![put(index, 1, &value)])];
            if index % 7 == 0 {
                let term = consensus::Term(index);
                records.insert(0, Record::Ballot(term, None));
            }
            records.iter().for_each(|record| model.tell(record));
            storage.persist(records).await.unwrap();
            states.push(model.clone());
            ends.push(written(log));
        }
        storage.close().await.unwrap();
        let bytes = fs::read(log).unwrap();
        let last = *ends.last().unwrap();
        for number in 0..40 {
            let cut = ends[0] + usize::try_from(workload.draw((last - ends[0]) as u64)).unwrap();
            let durable = ends.partition_point(|&end| end <= cut) - 1;
            let mut torn = bytes[..cut].to_vec();
            let frame = ends[durable + 1] - cut;
            match number % 4 {
                // The file is shorter; the rest is zeros; other bytes; some blocks are zeros.
                0 => (),
                1 => torn.resize(bytes.len(), 0),
                2 => {
                    torn.extend((0..frame).map(|_| u8::try_from(workload.draw(256)).unwrap()));
                    torn.resize(bytes.len(), 0);
                }
                _ => {
                    torn.truncate(ends[durable]);
                    torn.resize(cut, 0);
                    torn.extend_from_slice(&bytes[cut..ends[durable + 1]]);
                    torn.resize(bytes.len(), 0);
                }
            }
            let directory = tempfile::tempdir().unwrap();
            fs::copy(original.path().join("meta"), directory.path().join("meta")).unwrap();
            let file = directory.path().join(log.file_name().unwrap());
            fs::write(&file, torn).unwrap();
            let (storage, told) = open(directory.path());
            let which = which(&states, &told);
            // What was torn may happen to be whole: where it ends in zeros.
            let whole = [Some(durable), Some(durable + 1)];
            assert!(whole.contains(&which), "{which:?} for {durable}, cut at {cut}: {number}");

            let mut model = states[which.unwrap()].clone();
            let more = Record::Append(vec![put(model.last().0 + 1, 90, b"more")]);
            model.tell(&more);
            storage.persist(vec![more]).await.unwrap();
            storage.close().await.unwrap();
            let (storage, told) = open(directory.path());
            assert!(model.explains(&told), "cut at {cut}: {number}");
            storage.close().await.unwrap();
        }
    });
}

#[test]
fn a_snapshot_may_be_left_at_any_step() {
    run(async {
        let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (storage, _) = open(before.path());
        let value = vec![7; 100_000];
        for index in 1..=10 {
            let append = Record::Append(vec![put(index, 1, &value)]);
            storage.persist(vec![append]).await.unwrap();
        }
        storage.persist(vec![Record::Compact(snapshot(2, 1))]).await.unwrap();
        storage.close().await.unwrap();
        copy(before.path(), after.path());
        let (storage, _) = open(after.path());
        storage.persist(vec![Record::Compact(snapshot(9, 1))]).await.unwrap();
        storage.close().await.unwrap();
        let [first] = &files(before.path(), "snapshot-")[..] else { panic!() };
        let [second] = &files(after.path(), "snapshot-")[..] else { panic!() };
        let name = second.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(second).unwrap();

        // It was begun; it was finished, and not named.
        for (name, bytes) in [(format!("{name}.new"), &bytes[..30]), (name.into(), &bytes[..])] {
            let directory = tempfile::tempdir().unwrap();
            copy(before.path(), directory.path());
            fs::write(directory.path().join(&name), bytes).unwrap();
            let (storage, told) = open(directory.path());
            assert_eq!((told.snapshot.0, told.last()), (Index(2), Index(10)));
            assert!(!directory.path().join(name).exists());
            // It is taken again.
            storage.persist(vec![Record::Compact(snapshot(9, 1))]).await.unwrap();
            storage.close().await.unwrap();
            let (storage, told) = open(directory.path());
            assert_eq!((told.snapshot.0, told.last()), (Index(9), Index(10)));
            storage.close().await.unwrap();
        }
        // It was named, and some or none of what it contains was removed.
        let old = files(before.path(), "log-");
        let gone = old.iter().filter(|log| !after.path().join(log.file_name().unwrap()).exists());
        let gone = gone.collect::<Vec<_>>();
        assert!(gone.len() >= 2, "{gone:?}");
        for left in 0..=gone.len() {
            let directory = tempfile::tempdir().unwrap();
            copy(after.path(), directory.path());
            for path in gone[left..].iter().copied().chain([first]) {
                fs::copy(path, directory.path().join(path.file_name().unwrap())).unwrap();
            }
            let (storage, told) = open(directory.path());
            assert_eq!((told.snapshot.0, told.last()), (Index(9), Index(10)));
            storage.close().await.unwrap();
            assert_eq!(files(directory.path(), "snapshot-").len(), 1);
            assert!(!directory.path().join(gone[0].file_name().unwrap()).exists());
        }
    });
}

#[test]
fn a_directory_may_be_left_while_it_is_made() {
    run(async {
        let whole = tempfile::tempdir().unwrap();
        open(whole.path()).0.close().await.unwrap();
        let log = &files(whole.path(), "log-")[0];
        let directory = tempfile::tempdir().unwrap();
        fs::copy(log, directory.path().join(log.file_name().unwrap())).unwrap();
        fs::write(directory.path().join("meta.new"), "ensemble").unwrap();
        let (storage, told) = open(directory.path());
        assert_eq!(told.last(), Index(0));
        storage.close().await.unwrap();
    });
}
