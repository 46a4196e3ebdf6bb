//! What a storage was told, and what it must therefore tell.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use consensus::store::{Action, Command, Condition, Part, Store};
use consensus::{
    Configuration, Entry, Index, Member, Payload, Record, Snapshot, Standing, Term, Time,
};
use protocols::{NodeId, Trace};
use raft::storage::{Owner, Storage};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// More than any test takes, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn owner() -> Owner {
    Owner { cluster: "test".into(), node: NodeId(2), founders: [1, 2, 3].map(NodeId).into() }
}

pub(crate) fn open(directory: &Path) -> (Storage, Told) {
    let (storage, records) = Storage::open(directory, &owner()).unwrap();
    (storage, Told::by(&records))
}

/// Why a directory is refused.
pub(crate) fn refusal(directory: &Path) -> String {
    format!("{:#}", Storage::open(directory, &owner()).unwrap_err())
}

/// Runs on a runtime like that of a node.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.unwrap() })
}

pub(crate) fn put(index: u64, term: u64, value: &[u8]) -> Arc<Entry> {
    let key = format!("key {}", index % 50).into_bytes().into();
    let (lease, condition) = (None, Condition::Always);
    let action = Action::Put { key, value: value.into(), lease, condition };
    let payload = Payload::Command(Command { ordinal: None, action, trace: Trace::default() });
    Arc::new(Entry { index: Index(index), term: Term(term), time: Time(index), payload })
}

/// A snapshot up to and including this entry, of a store that only it has.
pub(crate) fn snapshot(index: u64, term: u64) -> Arc<Snapshot> {
    let mut store = Store::default();
    let entry = put(index, term, format!("{index} of {term}").as_bytes());
    if let Payload::Command(command) = &entry.payload {
        store.apply(entry.index, entry.time, Some(command));
    }
    let member = Member { address: format!("at:{index}").into(), standing: Standing::Voter };
    let configuration = Arc::new(Configuration { members: [(NodeId(1), member)].into() });
    Arc::new(Snapshot { last: (Index(index), Term(term)), configuration, store })
}

/// What a storage told when it was opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) ballot: Option<(Term, Option<NodeId>)>,
    pub(crate) snapshot: (Index, Term),
    pub(crate) entries: Vec<Arc<Entry>>,
}

fn parts(snapshot: &Snapshot) -> Vec<Part> {
    snapshot.store.parts().collect()
}

impl Told {
    fn by(records: &[Record]) -> Self {
        let mut told = Self::default();
        for record in records {
            match record {
                Record::Ballot(term, vote) => told.ballot = Some((*term, *vote)),
                Record::Append(entries) => {
                    let after = told.entries.last().map_or(told.snapshot.0, |entry| entry.index);
                    assert_eq!(entries[0].index, after.next());
                    told.entries.extend(entries.iter().cloned());
                }
                Record::Install(read) => {
                    assert!(told.entries.is_empty() && told.ballot.is_none());
                    let wrote = snapshot(read.last.0.0, read.last.1.0);
                    assert_eq!(read.configuration, wrote.configuration);
                    assert_eq!(parts(read), parts(&wrote));
                    told.snapshot = read.last;
                }
                Record::Compact(_) => panic!("it never tells that"),
            }
        }
        told
    }

    pub(crate) fn last(&self) -> Index {
        self.entries.last().map_or(self.snapshot.0, |entry| entry.index)
    }
}

/// What a storage was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) ballot: Option<(Term, Option<NodeId>)>,
    /// The snapshot that was installed last; the entries are those after it.
    installed: (Index, Term),
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Snapshots that were taken and may be durable.
    taken: BTreeSet<(Index, Term)>,
    /// What may not be overwritten any more.
    commit: Index,
}

impl Model {
    pub(crate) fn last(&self) -> Index {
        self.entries.last().map_or(self.installed.0, |entry| entry.index)
    }

    fn term(&self, index: Index) -> Option<Term> {
        let at = index.0.checked_sub(self.installed.0.0 + 1)?;
        self.entries.get(usize::try_from(at).unwrap()).map(|entry| entry.term)
    }

    pub(crate) fn tell(&mut self, record: &Record) {
        match record {
            Record::Ballot(term, vote) => self.ballot = Some((*term, *vote)),
            Record::Append(entries) => {
                self.entries.retain(|entry| entry.index < entries[0].index);
                self.entries.extend(entries.iter().cloned());
            }
            Record::Compact(snapshot) => {
                self.taken.insert(snapshot.last);
            }
            Record::Install(snapshot) => {
                let (index, term) = snapshot.last;
                if self.term(index) == Some(term) {
                    self.entries.retain(|entry| index < entry.index);
                } else {
                    self.entries.clear();
                }
                self.installed = snapshot.last;
                self.taken.clear();
                self.commit = self.commit.max(index);
            }
        }
    }

    /// Whether this is what it should tell: whichever of the snapshots that were taken is durable.
    pub(crate) fn explains(&self, told: &Told) -> bool {
        let snapshots = told.snapshot == self.installed || self.taken.contains(&told.snapshot);
        let after = self.entries.iter().filter(|entry| told.snapshot.0 < entry.index);
        snapshots && told.ballot == self.ballot && after.eq(told.entries.iter())
    }
}

/// Draws what a protocol might make durable.
pub(crate) struct Workload {
    random: StdRng,
    term: u64,
    pub(crate) longest: usize,
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), term: 1, longest: 300 }
    }

    pub(crate) fn draw(&mut self, bound: u64) -> u64 {
        self.random.random_range(0..bound)
    }

    fn entries(&mut self, model: &Model) -> Vec<Arc<Entry>> {
        let last = model.last().0;
        let from = if self.draw(6) == 0 {
            self.term += 1;
            model.commit.0 + 1 + self.draw(last - model.commit.0 + 1)
        } else {
            last + 1
        };
        let count = 1 + self.draw(4);
        (from..from + count)
            .map(|index| {
                let length = self.random.random_range(0..=self.longest);
                let value = (0..length).map(|_| self.random.random()).collect::<Vec<u8>>();
                put(index, self.term, &value)
            })
            .collect()
    }

    fn record(&mut self, model: &Model) -> Record {
        let latest = model.taken.last().copied().unwrap_or_default().max(model.installed);
        match self.draw(24) {
            0..3 => {
                self.term += 1;
                let vote = (self.draw(2) == 0).then(|| NodeId(1 + self.draw(3)));
                Record::Ballot(Term(self.term), vote)
            }
            3 if latest.0 < model.commit => {
                let index = latest.0.0 + 1 + self.draw(model.commit.0 - latest.0.0);
                let term = model.term(Index(index)).unwrap();
                Record::Compact(snapshot(index, term.0))
            }
            4 => {
                let index = model.commit.max(latest.0).0 + 1 + self.draw(6);
                let same = model.term(Index(index)).filter(|_| self.draw(2) == 0);
                let term = same.unwrap_or_else(|| {
                    self.term += 1;
                    Term(self.term)
                });
                self.term = self.term.max(term.0);
                Record::Install(snapshot(index, term.0))
            }
            _ => Record::Append(self.entries(model)),
        }
    }

    /// What is made durable at once, as the model then is told it.
    pub(crate) fn batch(&mut self, model: &mut Model) -> Vec<Record> {
        let mut records = Vec::new();
        for _ in 0..=self.draw(3) {
            let record = self.record(model);
            model.tell(&record);
            records.push(record);
            let ahead = model.last().0 - model.commit.0;
            model.commit = Index(model.commit.0 + self.draw(ahead + 1));
        }
        records
    }
}

/// Copies the files of a directory.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // A file that is being prepared may have got its name, or be gone.
        let _ = fs::copy(entry.path(), to.join(entry.file_name()));
    }
}

/// The files whose names begin so, in order.
pub(crate) fn files(directory: &Path, beginning: &str) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &std::path::PathBuf| {
        path.file_name().unwrap().to_str().unwrap().starts_with(beginning)
    };
    let mut files = files.filter(named).collect::<Vec<_>>();
    files.sort();
    files
}

/// Where the last byte of a file is that is not zero, and one more.
pub(crate) fn written(file: &Path) -> usize {
    fs::read(file).unwrap().iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}
