//! The data directory of one node: what it promised, and what it was told, so that it is the same
//! node after whatever may happen to its process or its machine.
//!
//! | file | what |
//! |---|---|
//! | `LOCK` | locked for as long as a process uses the directory |
//! | `meta` | whose it is: cluster, node, a random identity, founders, the identities of peers |
//! | `log-…` | segments of the log: frames of records, each made durable by one sync |
//! | `snapshot-…` | the store after some entry, and the members |
//! | `….new` | a file that is not finished: removed at the next start |
//!
//! It promises that what was made durable is found again, whole and in order, or that the directory
//! is refused. A file appears under its name only when it is durable; a snapshot is named in the
//! log only when its file is there; what a snapshot contains is removed only when the log names it.
//! So there is no moment at which the process may not be killed.
//!
//! It promises nothing about a disk that forgets what it has synced: a last frame that is damaged
//! cannot be told from one that was never finished.

mod directory;
mod frame;
mod meta;
mod outline;
mod replay;
mod segment;
mod snapshot;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, anyhow};
use consensus::{Index, Record};
use protocols::NodeId;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use self::directory::Directory;
use self::frame::Mark;
use self::meta::Meta;
use self::replay::{Replayed, State};
use self::segment::Segment;
use self::writer::{Job, Progress, Shared, Writer, run};

/// Calls that wait for the thread that writes.
const JOBS_LIMIT: usize = 64;
/// Records, and entries of one, that are few enough to be written at once.
const SMALL: usize = 4;
/// Turns that others get before the disk is waited for: a message passes a link, a stream and a
/// connection on its way out.
const YIELDS: usize = 3;

/// Whose a directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The cluster's name.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// The members with which the cluster began; none for a node that joins later.
    pub founders: BTreeSet<NodeId>,
}

/// The data directory of one node. One process alone uses it at a time.
pub struct Storage {
    identity: u64,
    meta: Mutex<Meta>,
    jobs: mpsc::Sender<Job>,
    writer: Shared,
    progress: watch::Receiver<Progress>,
}

impl Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("progress", &*self.progress.borrow()).finish()
    }
}

impl Storage {
    /// Opens the directory of this owner, or makes it, and tells what was made durable, the oldest
    /// first: a snapshot, the ballot, and the entries after the snapshot.
    ///
    /// # Errors
    ///
    /// When another process uses it, when it is another's, when something in it is not what was
    /// written, or when the disk fails: which, and what to do.
    pub fn open(directory: &Path, owner: &Owner) -> anyhow::Result<(Self, Vec<Record>)> {
        let directory = Arc::new(Directory::open(directory)?);
        let failed = |error| directory.failure("open", &error);
        directory.clear_unfinished().map_err(failed)?;
        let meta = match Meta::read(&directory)? {
            Some(meta) => meta,
            None => found(&directory, owner)?,
        };
        meta.check(&directory, owner)?;
        let mark = Mark { node: owner.node.0, identity: meta.identity };
        let mut replayed = replay::read(&directory, mark)?;
        if replayed.torn > 0 {
            let (torn, path) = (replayed.torn, directory.path.display());
            tracing::warn!(bytes = torn, directory = %path, "cut off a write that a crash tore");
        }
        let records = recall(&directory, mark, &mut replayed)?;
        sweep(&directory, &mut replayed)?;

        let snapshot = replayed.state.snapshot.0;
        let (told, progress) = watch::channel(Progress { snapshot, failure: None });
        let (jobs, asked) = mpsc::channel(JOBS_LIMIT);
        let writer = Writer::new(directory.clone(), replayed, told, jobs.downgrade());
        let thread = thread::Builder::new().name("raft-storage".into());
        let writer = Arc::new(std::sync::Mutex::new(Some(writer)));
        let shared = writer.clone();
        thread.spawn(move || run(&shared, asked)).context("begin the thread that writes")?;
        let identity = meta.identity;
        let storage = Self { identity, meta: Mutex::new(meta), jobs, writer, progress };
        Ok((storage, records))
    }

    /// A random number that no other directory has.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// Makes records durable, all with one sync, unless a snapshot is among them that was received:
    /// that has a file of its own. A snapshot of what is applied is written in the background.
    ///
    /// # Errors
    ///
    /// When the disk fails or is full. Then nothing is stored any more: the process must end, and
    /// start again.
    pub async fn persist(&self, records: Vec<Record>) -> anyhow::Result<()> {
        if is_small(&records) {
            // Whatever was said before this leaves while the disk is waited for.
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            if let Ok(mut held) = self.writer.try_lock()
                && let Some(writer) = held.as_mut()
            {
                return writer.persist(records);
            }
        }
        self.ask(|done| Job::Persist(records, done)).await
    }

    /// Waits until there is a durable snapshot of everything up to and including this entry.
    ///
    /// # Errors
    ///
    /// When the storage fails before, or is closed.
    pub async fn snapshot_written(&self, index: Index) -> anyhow::Result<()> {
        let mut progress = self.progress.clone();
        let there = |progress: &Progress| index <= progress.snapshot || progress.failure.is_some();
        let reached = progress.wait_for(there).await.map_err(|_| ended())?;
        match &reached.failure {
            Some(failure) if reached.snapshot < index => Err(anyhow!("{failure}")),
            _ => Ok(()),
        }
    }

    /// The identities of the peers that it remembers.
    pub async fn peers(&self) -> BTreeMap<NodeId, u64> {
        self.meta.lock().await.peers.clone()
    }

    /// Remembers the identity of a peer, if it remembers none; durable when it returns. Tells
    /// whether it is the one that it remembers.
    ///
    /// # Errors
    ///
    /// As [`Storage::persist`].
    pub async fn remember(&self, peer: NodeId, identity: u64) -> anyhow::Result<bool> {
        let mut meta = self.meta.lock().await;
        if let Some(&known) = meta.peers.get(&peer) {
            return Ok(known == identity);
        }
        let mut described = meta.clone();
        described.peers.insert(peer, identity);
        self.describe(&mut meta, described).await?;
        Ok(true)
    }

    /// Forgets every peer but these: a member that was removed may come back with another
    /// directory.
    ///
    /// # Errors
    ///
    /// As [`Storage::persist`].
    pub async fn forget_others(&self, members: &BTreeSet<NodeId>) -> anyhow::Result<()> {
        let mut meta = self.meta.lock().await;
        let mut described = meta.clone();
        described.peers.retain(|peer, _| members.contains(peer));
        if described == *meta {
            return Ok(());
        }
        self.describe(&mut meta, described).await
    }

    /// Ends it when everything that was begun is done, snapshots as well. The directory is free for
    /// another when it returns.
    ///
    /// # Errors
    ///
    /// Why something that was begun could not be done.
    pub async fn close(&self) -> anyhow::Result<()> {
        self.ask(Job::Close).await
    }

    async fn describe(&self, meta: &mut Meta, described: Meta) -> anyhow::Result<()> {
        self.ask(|done| Job::Describe(described.clone(), done)).await?;
        *meta = described;
        Ok(())
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<anyhow::Result<T>>) -> Job,
    ) -> anyhow::Result<T> {
        let (done, outcome) = oneshot::channel();
        self.jobs.send(job(done)).await.map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }
}

/// Whether a sync of these records takes less time than waking the thread that writes, and being
/// woken by it: then they are written where they are.
fn is_small(records: &[Record]) -> bool {
    let few = |record: &Record| match record {
        Record::Ballot(..) => true,
        Record::Append(entries) => entries.len() <= SMALL,
        Record::Compact(_) | Record::Install(_) => false,
    };
    records.len() <= SMALL && records.iter().all(few)
}

fn ended() -> anyhow::Error {
    anyhow!("the thread that writes has ended; start again")
}

/// Makes a directory an owner's: an empty log, and at last what says whose it is.
fn found(directory: &Directory, owner: &Owner) -> anyhow::Result<Meta> {
    let failed = |error| directory.failure("make the log", &error);
    let names = directory.names().map_err(failed)?;
    for name in names {
        let sequence = segment::sequence(&name);
        if snapshot::is_snapshot(&name) || sequence.is_some_and(|sequence| sequence > 1) {
            return Err(directory.damage(meta::NAME, "it is missing, and there is a log"));
        }
        if sequence == Some(1) {
            // A crash may have come between the first file and the last.
            let (header, bytes) = segment::read(directory, 1)?;
            if header.scan(&bytes).frames.len() > 1 {
                return Err(directory.damage(meta::NAME, "it is missing, and there is a log"));
            }
            directory.remove(&name).map_err(failed)?;
        }
    }
    let meta = Meta::of(owner);
    let mark = Mark { node: owner.node.0, identity: meta.identity };
    let mut frame = vec![0; frame::HEAD];
    frame.extend_from_slice(&replay::encode_last(<_>::default()));
    segment::header(mark, 1).seal(frame::Header::LENGTH as u64, 1, &mut frame);
    Segment::create(directory, mark, 1, segment::LEAST_BYTES, &frame).map_err(failed)?;
    meta.write(directory).map_err(|error| directory.failure("write meta", &error))?;
    Ok(meta)
}

/// What the log says, as the protocol reads it.
fn recall(
    directory: &Directory,
    mark: Mark,
    replayed: &mut Replayed,
) -> anyhow::Result<Vec<Record>> {
    let State { ballot, snapshot, entries, .. } = &mut replayed.state;
    let mut records = Vec::new();
    if snapshot.0 > Index(0) {
        let snapshot = snapshot::read(directory, mark, *snapshot)?;
        records.push(Record::Install(Arc::new(snapshot)));
    }
    if let Some((term, vote)) = *ballot {
        records.push(Record::Ballot(term, vote));
    }
    if !entries.is_empty() {
        records.push(Record::Append(entries.iter().cloned().collect()));
    }
    Ok(records)
}

/// Removes what a crash may have left: files that the snapshot has made superfluous, and snapshots
/// that the log does not name.
fn sweep(directory: &Directory, replayed: &mut Replayed) -> anyhow::Result<()> {
    let failed = |error| directory.failure("remove an old file", &error);
    let State { snapshot, segments, .. } = &mut replayed.state;
    while let Some(old) = segments.pop_front_if(|old| old.newest <= snapshot.0) {
        directory.remove(&segment::name(old.sequence)).map_err(failed)?;
    }
    let kept = snapshot::name(*snapshot);
    for name in directory.names().map_err(failed)? {
        if snapshot::is_snapshot(&name) && name != kept {
            directory.remove(&name).map_err(failed)?;
        }
    }
    Ok(())
}
