//! How a ring is spoken to.
//!
//! A [`Registry`] knows who there is, a [`Node`] is one node, and a [`Client`] is any of several:
//! it asks the next one when one does not answer. A save or remove is never asked twice unless it
//! is certain that nothing was done; what changes nothing is asked until one deadline.
//!
//! It starts no task: a call is a future, and nothing happens when nobody waits for it.

mod ask;
mod connection;
mod error;
mod node;
mod registry;
mod request;
mod types;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chassis::channel::Connector;
use tokio::time::{Instant, sleep_until};

use self::ask::Ask;
use self::error::{Failure, Verdict};

pub use hashring::{Circle, Hop, Id, Interval, KEY_LIMIT, Mode, Peer, Reason, VALUE_LIMIT};

pub use self::error::Error;
pub use self::node::Node;
pub use self::registry::Registry;
pub use self::types::{
    Done, FingerRun, Fingers, Identity, Info, Neighbours, NodeState, Place, Registered,
};

/// The first pause after all nodes were asked in vain.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// The longest: a fraction of the time in which a ring mends itself.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// How patient a client is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most time that a call takes, with everything it repeats.
    pub deadline: Duration,
    /// How long a node may take to answer what can be asked of another one.
    pub attempt: Duration,
    /// How long a connection may take.
    pub connect: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { deadline: 5 * second, attempt: 2 * second, connect: second }
    }
}

/// Speaks to the ring through any of some nodes. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    nodes: Arc<[Node]>,
    /// Who answered the last time.
    first: Arc<AtomicUsize>,
    options: Options,
}

impl Client {
    /// A client of the nodes at these `host:port`; some of the ring's are enough. It connects when
    /// it is first used.
    ///
    /// # Errors
    ///
    /// There is no address, or one is not a host and a port.
    pub fn new<A: AsRef<str>>(
        connector: Connector,
        endpoints: impl IntoIterator<Item = A>,
        options: Options,
    ) -> Result<Self, Error> {
        let node = |address: A| Node::new(connector.clone(), address.as_ref(), options);
        let nodes: Result<Arc<[_]>, _> = endpoints.into_iter().map(node).collect();
        let nodes = nodes?;
        if nodes.is_empty() {
            return Err(Error::Invalid("no address of a node was given".into()));
        }
        Ok(Self { nodes, first: Arc::default(), options })
    }

    /// The nodes that it was given.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Saves a key that holds nothing yet; false if it holds something.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn save(
        &self,
        key: &[u8],
        value: &[u8],
        mode: Option<Mode>,
    ) -> Result<Done<bool>, Error> {
        self.call(request::save(key, value, mode), request::saved).await
    }

    /// Removes a key; false if it held nothing.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn remove(&self, key: &[u8], mode: Option<Mode>) -> Result<Done<bool>, Error> {
        self.call(request::remove(key, mode), request::removed).await
    }

    /// What a key holds.
    ///
    /// # Errors
    ///
    /// No node could answer before the deadline.
    pub async fn find(
        &self,
        key: &[u8],
        mode: Option<Mode>,
    ) -> Result<Done<Option<Vec<u8>>>, Error> {
        self.call(request::find(key, mode), request::found).await
    }

    /// Who is responsible for a place of the circle.
    ///
    /// # Errors
    ///
    /// No node could answer before the deadline.
    pub async fn locate(&self, place: &Place, mode: Option<Mode>) -> Result<Done<()>, Error> {
        self.call(request::locate(place, mode), request::located).await
    }

    /// Asks one node after another, and again after a pause, until there is an answer, an error
    /// that another attempt would not change, an attempt that may have been carried out and must
    /// not be twice, or no time.
    async fn call<Q: Ask, T>(
        &self,
        request: Q,
        read: impl Fn(Q::Answer) -> Option<Done<T>>,
    ) -> Result<Done<T>, Error> {
        let deadline = Instant::now() + self.options.deadline;
        let mut pause = SHORTEST_PAUSE;
        loop {
            let first = self.first.load(Ordering::Relaxed);
            let mut wait = pause;
            let mut reason = String::new();
            for turn in 0..self.nodes.len() {
                let place = (first + turn) % self.nodes.len();
                let node = &self.nodes[place];
                let mut until = deadline;
                if Q::READS {
                    until = until.min(Instant::now() + self.options.attempt);
                }
                let failure = match node.connection.ask(request.clone(), until).await {
                    Ok(answer) => {
                        self.first.store(place, Ordering::Relaxed);
                        return read(answer).ok_or_else(|| nonsense(node.address(), Q::READS));
                    }
                    Err(failure) => failure,
                };
                match failure.verdict {
                    Verdict::Undone => (),
                    Verdict::Busy(delay) => wait = wait.max(delay),
                    Verdict::Doubtful if Q::READS => (),
                    Verdict::Doubtful => {
                        // Another is the first to be asked the next time.
                        self.first.store(place + 1, Ordering::Relaxed);
                        return Err(failure.end(Q::READS));
                    }
                    Verdict::Final(_) => return Err(failure.end(Q::READS)),
                }
                reason = failure.reason;
                if Instant::now() >= deadline {
                    return Err(Error::Unavailable(reason));
                }
            }
            if Instant::now() + wait >= deadline {
                return Err(Error::Unavailable(reason));
            }
            sleep_until(Instant::now() + wait).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// An answer that lacks what every answer has.
fn nonsense(address: &str, reads: bool) -> Error {
    let reason = format!("{address}: an answer that makes no sense");
    Failure { reason, verdict: Verdict::Doubtful }.end(reads)
}
