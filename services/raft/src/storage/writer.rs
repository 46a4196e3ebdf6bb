//! The thread that owns the files: it makes durable what it is given, in order.
//!
//! Files that will be needed and snapshots that nobody waits for are made by threads of their own.
//! After a failure nothing is written any more: what a disk has done when it says that it failed,
//! nobody knows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::{io, mem};

use consensus::{Index, Record, Snapshot, Term};
use prost::Message as _;
use proto::ensemble::raft::v1 as pb;
use protocols::NodeId;
use tokio::sync::{mpsc, oneshot, watch};

use super::directory::Directory;
use super::frame::{ALIGNMENT, HEAD, Mark};
use super::meta::Meta;
use super::outline::Outline;
use super::replay::{Old, Replayed, encode_last};
use super::segment::{self, MOST_BYTES, Segment};
use super::snapshot;
use crate::wire::{ENTRIES_LIMIT, encode_lasting};

type Done<T> = oneshot::Sender<anyhow::Result<T>>;

/// What the thread is asked.
pub(super) enum Job {
    /// Make these durable.
    Persist(Vec<Record>, Done<()>),
    /// Make this durable.
    Describe(Meta, Done<()>),
    /// A snapshot was written that nobody waited for.
    Written((Index, Term), io::Result<()>),
    /// Finish what is under way, and end.
    Close(Done<()>),
}

/// How far the storage has got.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The last entry of the durable snapshot.
    pub(super) snapshot: Index,
    /// Why nothing is written any more.
    pub(super) failure: Option<Arc<str>>,
}

/// What the thread owns.
pub(super) struct Writer {
    directory: Arc<Directory>,
    mark: Mark,
    /// The number of the last frame.
    number: u64,
    ballot: Option<(Term, Option<NodeId>)>,
    snapshot: (Index, Term),
    log: Outline,
    /// The log's last entry when the last frame was written.
    durable: (Index, Term),
    current: Segment,
    /// The last entry in the current segment.
    newest: Index,
    older: VecDeque<Old>,
    next: Option<JoinHandle<io::Result<Segment>>>,
    /// Whether a snapshot is being written, and the one to be written after it.
    compacting: bool,
    waiting: Option<Arc<Snapshot>>,
    progress: watch::Sender<Progress>,
    /// For threads that have something to tell.
    jobs: mpsc::WeakSender<Job>,
    /// Who waits for the end.
    closing: Option<Done<()>>,
}

/// The writer, until it has ended: its thread has it while it works, and whoever has little to
/// write may have it meanwhile.
pub(super) type Shared = Arc<Mutex<Option<Writer>>>;

/// Lets the writer do what it is asked until nobody asks any more.
pub(super) fn run(shared: &Shared, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        let mut held = shared.lock().expect("no holder panics");
        let Some(writer) = held.as_mut() else { return };
        writer.work(job);
        if writer.has_ended() {
            break;
        }
    }
    // Whoever asks from here on learns that it has ended.
    drop(jobs);
    let ended = shared.lock().expect("no holder panics").take();
    if let Some(writer) = ended {
        writer.end();
    }
}

impl Writer {
    /// Goes on with a directory as it was read.
    pub(super) fn new(
        directory: Arc<Directory>,
        replayed: Replayed,
        progress: watch::Sender<Progress>,
        jobs: mpsc::WeakSender<Job>,
    ) -> Self {
        let Replayed { mut state, mark, current, .. } = replayed;
        let mut log = Outline::after(state.snapshot);
        log.append(state.entries.make_contiguous());
        let durable = log.last();
        let mut writer = Self {
            directory,
            mark,
            number: state.number,
            ballot: state.ballot,
            snapshot: state.snapshot,
            log,
            durable,
            newest: durable.0,
            current,
            older: state.segments,
            next: None,
            compacting: false,
            waiting: None,
            progress,
            jobs,
            closing: None,
        };
        writer.prepare();
        writer
    }

    /// Does what it is asked.
    fn work(&mut self, job: Job) {
        match job {
            Job::Persist(records, done) => {
                let _ = done.send(self.persist(records));
            }
            Job::Describe(meta, done) => {
                let outcome = self.attempt(|writer| {
                    let wrote = meta.write(&writer.directory);
                    wrote.map_err(|error| writer.directory.failure("write meta", &error))
                });
                let _ = done.send(outcome);
            }
            Job::Written(name, outcome) => {
                self.compacting = false;
                // Whoever waits for it learns of a failure from the progress.
                let _ = self.attempt(|writer| writer.written(name, outcome));
            }
            Job::Close(done) => self.closing = Some(done),
        }
    }

    fn has_ended(&self) -> bool {
        self.closing.is_some() && !self.compacting
    }

    /// Ends it.
    fn end(mut self) {
        let failure = self.progress.borrow().failure.clone();
        if let Some(next) = self.next.take() {
            // Whether it could be made matters to nobody any more.
            let _ = next.join();
        }
        let closing = self.closing.take();
        // The lock is given back before anyone learns that this has ended.
        drop(self);
        if let Some(done) = closing {
            let _ = done.send(failure.map_or(Ok(()), |failure| Err(anyhow::anyhow!(failure))));
        }
    }

    /// Does something, unless something failed before.
    fn attempt(&mut self, act: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if let Some(failure) = &self.progress.borrow().failure {
            anyhow::bail!("nothing is stored any more since this: {failure}");
        }
        act(self).inspect_err(|error| {
            let failure = format!("{error:#}");
            tracing::error!(%failure, "storage failed");
            self.waiting = None;
            self.progress.send_modify(|progress| progress.failure = Some(failure.into()));
        })
    }

    /// Makes records durable.
    pub(super) fn persist(&mut self, records: Vec<Record>) -> anyhow::Result<()> {
        self.attempt(|writer| writer.keep(records))
    }

    fn keep(&mut self, records: Vec<Record>) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(records.len());
        for record in records {
            match record {
                Record::Ballot(term, vote) => {
                    self.ballot = Some((term, vote));
                    batch.push(ballot(term, vote));
                }
                Record::Append(entries) => {
                    self.log.append(&entries);
                    self.newest = self.newest.max(self.log.last().0);
                    for entries in entries.chunks(ENTRIES_LIMIT) {
                        let entries = pb::Entries { entries: encode_lasting(entries) };
                        let record = Some(pb::record::Record::Append(entries));
                        batch.push(pb::Record { record });
                    }
                }
                Record::Compact(snapshot) => self.compact(snapshot)?,
                Record::Install(snapshot) => {
                    self.write(mem::take(&mut batch))?;
                    self.install(&snapshot)?;
                }
            }
        }
        self.write(batch)
    }

    /// Makes records durable, all at once.
    fn write(&mut self, batch: Vec<pb::Record>) -> anyhow::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let records = pb::Records { records: batch };
        let frame = framed(&[], &records);
        if self.current.has_room(frame.len()) {
            self.append(frame)
        } else {
            self.roll(records.records)
        }
    }

    /// Goes on in the next segment: with what is true by then, and these records.
    fn roll(&mut self, batch: Vec<pb::Record>) -> anyhow::Result<()> {
        let sequence = self.current.sequence + 1;
        let name = segment::name(sequence);
        let ready = self.next.take().and_then(|next| next.join().ok()).and_then(Result::ok);
        let next = match ready {
            Some(next) => next,
            // It could not be made before; since then there may be room.
            None => self.segment(sequence)()
                .map_err(|error| self.directory.failure(&format!("make {name}"), &error))?,
        };
        let before = mem::replace(&mut self.current, next);
        self.older.push_back(Old { sequence: before.sequence, newest: self.newest });
        self.newest = Index(0);
        self.prepare();

        let is_append =
            |record: &pb::Record| matches!(record.record, Some(pb::record::Record::Append(_)));
        if batch.iter().any(is_append) {
            self.newest = self.log.last().0;
        }
        let named = (self.snapshot.0 > Index(0)).then(|| snapshot_name(self.snapshot));
        let voted = self.ballot.map(|(term, vote)| ballot(term, vote));
        let records = voted.into_iter().chain(named).chain(batch).collect();
        self.append(framed(&encode_last(self.durable), &pb::Records { records }))
    }

    /// Adds a frame to the current segment.
    fn append(&mut self, mut frame: Vec<u8>) -> anyhow::Result<()> {
        self.number += 1;
        self.current.header.seal(self.current.end, self.number, &mut frame);
        self.current.append(&frame).map_err(|error| {
            let name = segment::name(self.current.sequence);
            self.directory.failure(&format!("write {name}"), &error)
        })?;
        self.durable = self.log.last();
        Ok(())
    }

    /// How to make this segment, larger than the current one.
    fn segment(&self, sequence: u64) -> impl FnOnce() -> io::Result<Segment> + use<> {
        let (directory, mark) = (self.directory.clone(), self.mark);
        let size = (2 * self.current.size).clamp(segment::LEAST_BYTES, MOST_BYTES);
        move || Segment::create(&directory, mark, sequence, size, &[])
    }

    /// Begins to make the next segment.
    fn prepare(&mut self) {
        let make = self.segment(self.current.sequence + 1);
        let thread = thread::Builder::new().name("raft-segment".into());
        // Without the thread it is made when it is needed.
        self.next = thread.spawn(make).ok();
    }

    /// Begins to write a snapshot, or makes it the next to be written.
    fn compact(&mut self, snapshot: Arc<Snapshot>) -> anyhow::Result<()> {
        if snapshot.last.0 <= self.snapshot.0 {
            return Ok(());
        }
        if self.compacting {
            self.waiting = Some(snapshot);
            return Ok(());
        }
        // Whoever closes the storage waits for it; whoever drops it does not.
        let Some(jobs) = self.jobs.upgrade() else { return Ok(()) };
        let (directory, mark) = (self.directory.clone(), self.mark);
        let write = move || {
            let outcome = snapshot::write(&directory, mark, &snapshot);
            drop(directory);
            let _ = jobs.blocking_send(Job::Written(snapshot.last, outcome));
        };
        let thread = thread::Builder::new().name("raft-snapshot".into()).spawn(write);
        thread.map_err(|error| self.directory.failure("begin to write a snapshot", &error))?;
        self.compacting = true;
        Ok(())
    }

    /// A snapshot is written: the log says so, and then what it contains can go.
    fn written(&mut self, name: (Index, Term), outcome: io::Result<()>) -> anyhow::Result<()> {
        let failed = |error| self.directory.failure("write a snapshot", &error);
        outcome.map_err(failed)?;
        if name.0 <= self.snapshot.0 {
            // Another was installed meanwhile that contains more.
            if name != self.snapshot {
                self.directory.remove(&snapshot::name(name)).map_err(failed)?;
            }
        } else {
            let before = mem::replace(&mut self.snapshot, name);
            self.write(vec![snapshot_name(name)])?;
            self.log.compact(name);
            self.tidy(before)?;
        }
        match self.waiting.take() {
            Some(snapshot) => self.compact(snapshot),
            None => Ok(()),
        }
    }

    /// Makes a snapshot that was received the beginning of the log.
    fn install(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        assert!(self.snapshot.0 < snapshot.last.0, "a snapshot is installed by who lacks it");
        snapshot::write(&self.directory, self.mark, snapshot)
            .map_err(|error| self.directory.failure("write a snapshot", &error))?;
        let (index, term) = snapshot.last;
        if self.log.term(index) == Some(term) {
            self.log.compact(snapshot.last);
        } else {
            self.log = Outline::after(snapshot.last);
            self.newest = Index(0);
            for old in &mut self.older {
                old.newest = Index(0);
            }
        }
        self.durable = self.log.last();
        let before = mem::replace(&mut self.snapshot, snapshot.last);
        self.roll(Vec::new())?;
        self.tidy(before)
    }

    /// Removes what the snapshot, which is durable and named in the log, has made superfluous.
    fn tidy(&mut self, before: (Index, Term)) -> anyhow::Result<()> {
        let failed = |error| self.directory.failure("remove an old file", &error);
        let through = self.snapshot.0;
        self.progress.send_modify(|progress| progress.snapshot = through);
        if before.0 > Index(0) {
            self.directory.remove(&snapshot::name(before)).map_err(failed)?;
        }
        while let Some(old) = self.older.pop_front_if(|old| old.newest <= through) {
            self.directory.remove(&segment::name(old.sequence)).map_err(failed)?;
        }
        Ok(())
    }
}

fn ballot(term: Term, vote: Option<NodeId>) -> pb::Record {
    let voted_for = vote.map(|vote| vote.0);
    let ballot = pb::Ballot { term: term.0, voted_for };
    pb::Record { record: Some(pb::record::Record::Ballot(ballot)) }
}

fn snapshot_name((index, term): (Index, Term)) -> pb::Record {
    let name = pb::SnapshotName { last_index: index.0, last_term: term.0 };
    pb::Record { record: Some(pb::record::Record::Snapshot(name)) }
}

/// A frame with these, still to be sealed.
fn framed(before: &[u8], records: &pb::Records) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD + before.len() + records.encoded_len() + ALIGNMENT);
    frame.resize(HEAD, 0);
    frame.extend_from_slice(before);
    records.encode(&mut frame).expect("memory grows as it must");
    frame
}
