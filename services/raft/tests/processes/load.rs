//! Clients that work on a few keys at once and write down what they ask and are told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use consensus::Index;
use consensus::store::{self, Action, Answer, Query};
use raft::client::{Client, Condition, Error, Freshness, Item, Outcome, Put};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, PATIENCE};
use crate::linear::{Checked, History, OperationId};

/// Keys that all clients share, so that they are in each other's way.
const KEYS: u64 = 5;

/// What clients have seen so far.
struct Book {
    history: Mutex<History>,
    began: Instant,
    done: AtomicUsize,
    stop: AtomicBool,
}

/// Clients at work.
pub(crate) struct Load {
    book: Arc<Book>,
    clients: JoinSet<()>,
}

impl Load {
    /// Lets so many clients work until the load is [ended](Self::end).
    pub(crate) fn begin(cluster: &Cluster, clients: u64) -> Self {
        let book = Arc::new(Book {
            history: Mutex::default(),
            began: Instant::now(),
            done: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let mut all = JoinSet::new();
        for number in 0..clients {
            // A deadline that is shorter than an outage leaves outcomes unknown: they count too.
            let client = cluster.client_within(Duration::from_millis(700));
            all.spawn(work(number, client, book.clone()));
        }
        Self { book, clients: all }
    }

    /// Waits until so many more operations have been answered.
    pub(crate) async fn progress(&self, more: usize) {
        let wanted = self.book.done.load(Ordering::Relaxed) + more;
        let started = Instant::now();
        while self.book.done.load(Ordering::Relaxed) < wanted {
            assert!(started.elapsed() < PATIENCE, "clients get no answers any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the work and judges it.
    pub(crate) async fn end(mut self) -> Checked {
        self.book.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client does not panic");
        }
        let history = self.book.history.lock().unwrap();
        history.check().unwrap_or_else(|reason| panic!("not one history: {reason}"))
    }
}

async fn work(number: u64, client: Client, book: Arc<Book>) {
    // Enough variety, and the same in every run.
    let mut dice = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut seen = None;
    for round in 0.. {
        if book.stop.load(Ordering::Relaxed) {
            return;
        }
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let key = format!("key-{}", dice % KEYS);
        let value = format!("{number}.{round}");
        let deed = match (dice >> 8) % 8 {
            0..=2 => Deed::Get,
            3..=5 => Deed::Put(value, Condition::Always),
            6 => Deed::Put(value, seen.map_or(Condition::Absent, Condition::Version)),
            _ => Deed::Delete,
        };
        seen = deed.done(number, &key, &client, &book).await.or(seen);
    }
}

enum Deed {
    Get,
    Put(String, Condition),
    Delete,
}

impl Deed {
    /// Does it and writes it down. Returns the version that was seen.
    async fn done(self, number: u64, key: &str, client: &Client, book: &Book) -> Option<u64> {
        let name: store::Key = key.as_bytes().into();
        let begin = |action| book.history.lock().unwrap().act(number, book.began.elapsed(), action);
        match self {
            Self::Get => {
                let query = Query::Get(name);
                let id = book.history.lock().unwrap().query(number, book.began.elapsed(), query);
                // Followers answer too.
                let answer = client.get(key.to_owned(), Freshness::Spread).await;
                book.note(id, answer.map(|item| Answer::Item(item.map(known))))
            }
            Self::Put(value, condition) => {
                let id = begin(Action::Put {
                    key: name,
                    value: value.as_bytes().into(),
                    lease: None,
                    condition: told(&condition),
                });
                let put = Put::new(key.to_owned(), value).when(condition);
                let answer = client.put_if(put).await.map(|outcome| match outcome {
                    Outcome::Written(written) => Answer::Put {
                        version: Index(written.version),
                        previous: written.previous.map(Index),
                    },
                    Outcome::Unmet(item) => Answer::Unmet(item.map(known)),
                });
                book.note(id, answer)
            }
            Self::Delete => {
                let condition = store::Condition::Always;
                let id = begin(Action::Delete { key: name, condition });
                let answer = client.delete(key.to_owned()).await;
                let answer = answer.map(|written| Answer::Deleted {
                    version: Index(written.version),
                    previous: written.previous.map(Index),
                });
                book.note(id, answer)
            }
        }
    }
}

impl Book {
    fn note(&self, id: OperationId, answer: Result<Answer, Error>) -> Option<u64> {
        let mut history = self.history.lock().unwrap();
        match answer {
            Ok(answer) => {
                let version = seen(&answer);
                history.answer(id, self.began.elapsed(), answer);
                self.done.fetch_add(1, Ordering::Relaxed);
                version
            }
            Err(error) if error.may_have_been_done() => None,
            Err(_) => {
                history.refuse(id);
                None
            }
        }
    }
}

/// The version that an answer shows.
fn seen(answer: &Answer) -> Option<u64> {
    if let Answer::Put { version, .. } = answer {
        return Some(version.0);
    }
    if let Answer::Item(Some(item)) | Answer::Unmet(Some(item)) = answer {
        return Some(item.version.0);
    }
    None
}

fn told(condition: &Condition) -> store::Condition {
    match condition {
        Condition::Always => store::Condition::Always,
        Condition::Absent => store::Condition::Absent,
        Condition::Version(version) => store::Condition::Version(Index(*version)),
        Condition::Value(value) => store::Condition::Value(value[..].into()),
    }
}

fn known(item: Item) -> store::Item {
    store::Item {
        value: item.value[..].into(),
        version: Index(item.version),
        created: Index(item.created),
        lease: item.lease.map(store::LeaseId),
    }
}
