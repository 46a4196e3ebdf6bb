//! Watches: every change of some keys, in order, each once.
//!
//! A watcher that reads more slowly than the store changes is let go when its room is full: its
//! stream ends, and it may watch again after the last version that it has.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consensus::store::{Compacted, Event, Key};
use consensus::{Index, Request};
use proto::ensemble::raft::v1 as pb;
use protocols::{Input, Ticket};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::refusal::because;
use super::{Service, locked, stopping};
use crate::wire;

/// Responses that wait for a watcher's connection.
const ROOM: usize = 1024;
/// Watchers of one node.
const WATCHERS_LIMIT: usize = 1024;
/// Events in one response of those that the history had.
const EVENTS_LIMIT: usize = 1024;
/// How often a watcher is told that there was nothing to tell.
const SILENCE: Duration = Duration::from_secs(10);

type Sender = mpsc::Sender<Result<pb::WatchResponse, Status>>;

/// Who watches what.
struct Watcher {
    prefix: Key,
    /// Nothing up to this version is told; none until the watch has begun, if it is to be whatever
    /// is applied then.
    after: Option<u64>,
    /// Whether it has been told the history, and is told what follows.
    begun: bool,
    sender: Sender,
}

/// The watchers of one node.
#[derive(Clone, Default)]
pub(super) struct Watchers {
    all: Arc<Mutex<BTreeMap<Ticket, Watcher>>>,
    /// The last version whose changes were told.
    told: Arc<AtomicU64>,
}

impl Watchers {
    /// The history is there: from here on the watcher is told what changes.
    pub(super) fn begin(
        &self,
        ticket: Ticket,
        history: Result<Vec<Arc<Event>>, Compacted>,
        applied: Index,
    ) {
        self.told.fetch_max(applied.0, Ordering::Release);
        let mut all = locked(&self.all);
        let Some(watcher) = all.get_mut(&ticket) else { return };
        let begun = match history {
            Ok(events) => watcher.begin(&events, applied),
            Err(Compacted { earliest }) => {
                let message = format!("the changes before version {earliest} are gone");
                let facts = [("earliest", earliest.to_string())];
                let status = because(Code::OutOfRange, "COMPACTED", message, facts);
                // An error means that the watcher has gone away.
                let _ = watcher.sender.try_send(Err(status));
                false
            }
        };
        if !begun {
            all.remove(&ticket);
        }
    }

    /// Something has changed.
    pub(super) fn tell(&self, events: &[Arc<Event>]) {
        let Some(version) = events.last().map(|event| event.version.0) else { return };
        locked(&self.all).retain(|_, watcher| !watcher.begun || watcher.tell(events, version));
        self.told.fetch_max(version, Ordering::Release);
    }
}

impl Watcher {
    fn begin(&mut self, events: &[Arc<Event>], applied: Index) -> bool {
        self.begun = true;
        let after = *self.after.get_or_insert(applied.0);
        let first = pb::WatchResponse { events: Vec::new(), applied: after };
        let mut sent = self.send(first);
        let wanted = events.iter().filter(|event| self.wants(event)).collect::<Vec<_>>();
        let mut rest = wanted.as_slice();
        while sent && !rest.is_empty() {
            // Changes of one version stay together.
            let mut count = rest.len().min(EVENTS_LIMIT);
            while count < rest.len() && rest[count].version == rest[count - 1].version {
                count += 1;
            }
            let (now, later) = rest.split_at(count);
            let version = now[count - 1].version.0;
            let events = now.iter().map(|event| wire::state::encode_event(event)).collect();
            sent = self.send(pb::WatchResponse { events, applied: version });
            rest = later;
        }
        let applied = applied.0.max(after);
        sent && self.send(pb::WatchResponse { events: Vec::new(), applied })
    }

    fn tell(&self, events: &[Arc<Event>], version: u64) -> bool {
        let wanted = events.iter().filter(|event| self.wants(event));
        let events = wanted.map(|event| wire::state::encode_event(event)).collect::<Vec<_>>();
        // One that has gone away is noticed here too.
        !self.sender.is_closed()
            && (events.is_empty() || self.send(pb::WatchResponse { events, applied: version }))
    }

    fn wants(&self, event: &Event) -> bool {
        self.after < Some(event.version.0) && event.key.starts_with(&self.prefix)
    }

    fn send(&self, response: pb::WatchResponse) -> bool {
        self.sender.try_send(Ok(response)).is_ok()
    }
}

impl Service {
    /// Begins to watch the keys with a prefix.
    pub(super) async fn begin_watch(
        &self,
        prefix: Key,
        after: Option<u64>,
    ) -> Result<impl Stream<Item = Result<pb::WatchResponse, Status>> + Send + use<>, Status> {
        let (sender, receiver) = mpsc::channel(ROOM);
        let ticket = self.ticket();
        {
            let mut all = locked(&self.0.watchers.all);
            all.retain(|_, watcher| !watcher.sender.is_closed());
            if all.len() >= WATCHERS_LIMIT {
                let message = format!("{WATCHERS_LIMIT} watches already: ask another node");
                return Err(Status::resource_exhausted(message));
            }
            all.insert(ticket, Watcher { prefix, after, begun: false, sender: sender.clone() });
        }
        let from = Index(after.unwrap_or(u64::MAX));
        if !self.0.inbox.put(Input::Request(Request::History(ticket, from))).await {
            return Err(stopping());
        }
        tokio::spawn(self.clone().keep_awake(sender, after.unwrap_or(0)));
        Ok(ReceiverStream::new(receiver))
    }

    /// Tells a watcher now and then how far it has got, and ends its stream when this node stops.
    async fn keep_awake(self, sender: Sender, after: u64) {
        let mut shutdown = self.0.shutdown.clone();
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = shutdown.requested() => {
                    // An error means that the watcher has gone away or has no room.
                    let _ = sender.try_send(Err(stopping()));
                    return;
                }
                () = tokio::time::sleep(SILENCE) => (),
            }
            // Whatever was told up to there stands in the queue before this.
            let applied = self.0.watchers.told.load(Ordering::Acquire).max(after);
            if sender.try_send(Ok(pb::WatchResponse { events: Vec::new(), applied })).is_err() {
                return;
            }
        }
    }
}
