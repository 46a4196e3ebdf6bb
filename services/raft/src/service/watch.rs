//! Watches: every change of some keys, in order, each once.
//!
//! A watcher that reads more slowly than the store changes is let go when its room is full: its
//! stream ends, and it may watch again after the last version that it has. So is every watcher when
//! a snapshot takes the place of changes that this node has not seen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consensus::store::{Compacted, Event, Key};
use consensus::{Index, Request};
use proto::ensemble::raft::v1 as pb;
use protocols::{Input, Ticket};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Status};

use super::refusal::because;
use super::{Service, locked, stopping};
use crate::wire;

/// Responses that wait for a watcher's connection.
const ROOM: usize = 1024;
/// Bytes of keys and values in them, unless one response alone has more.
const ROOM_BYTES: usize = 8 << 20;
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
    /// Bytes of keys and values that wait for its connection.
    waiting: Arc<AtomicUsize>,
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
        self.told.fetch_max(applied.0, Ordering::Release);
    }

    /// Lets everyone go who is told what changes: something has changed unseen.
    pub(super) fn let_go(&self) {
        locked(&self.all).retain(|_, watcher| !watcher.begun);
    }

    /// Tells a watcher how far it has got. False if it is none any more.
    fn reassure(&self, ticket: Ticket) -> bool {
        let mut all = locked(&self.all);
        let Some(watcher) = all.get(&ticket) else { return false };
        // Whatever was told up to there stands in its queue before this.
        let told = self.told.load(Ordering::Acquire);
        let applied = watcher.after.map_or(told, |after| told.max(after));
        if watcher.begun && !watcher.send(pb::WatchResponse { events: Vec::new(), applied }) {
            all.remove(&ticket);
            return false;
        }
        true
    }

    /// Ends a watch with a reason.
    fn end(&self, ticket: Ticket, reason: Status) {
        if let Some(watcher) = locked(&self.all).remove(&ticket) {
            // An error means that the watcher has gone away or has no room.
            let _ = watcher.sender.try_send(Err(reason));
        }
    }

    /// Something has changed.
    pub(super) fn tell(&self, events: &[Arc<Event>]) {
        let Some(version) = events.last().map(|event| event.version.0) else { return };
        let mut all = locked(&self.all);
        all.retain(|_, watcher| !watcher.begun || watcher.tell(events, version));
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
        let bytes = bytes(&response);
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        (waiting == 0 || waiting + bytes <= ROOM_BYTES)
            && self.sender.try_send(Ok(response)).is_ok()
    }
}

/// Bytes of keys and values in a response.
fn bytes(response: &pb::WatchResponse) -> usize {
    let items = response.events.iter().filter_map(|event| event.item.as_ref());
    items.map(|item| item.key.len() + item.value.len()).sum()
}

impl Service {
    /// Begins to watch the keys with a prefix.
    pub(super) async fn begin_watch(
        &self,
        prefix: Key,
        after: Option<u64>,
    ) -> Result<impl Stream<Item = Result<pb::WatchResponse, Status>> + Send + use<>, Status> {
        let (sender, receiver) = mpsc::channel(ROOM);
        let waiting = Arc::<AtomicUsize>::default();
        let ticket = self.0.callers.ticket();
        {
            let mut all = locked(&self.0.watchers.all);
            all.retain(|_, watcher| !watcher.sender.is_closed());
            if all.len() >= WATCHERS_LIMIT {
                let message = format!("{WATCHERS_LIMIT} watches already: ask another node");
                return Err(Status::resource_exhausted(message));
            }
            let waiting = waiting.clone();
            all.insert(ticket, Watcher { prefix, after, begun: false, sender, waiting });
        }
        let from = Index(after.unwrap_or(u64::MAX));
        if !self.0.inbox.put(Input::Request(Request::History(ticket, from))).await {
            return Err(stopping());
        }
        tokio::spawn(self.clone().keep_awake(ticket));
        Ok(ReceiverStream::new(receiver).map(move |response| {
            let taken = response.as_ref().map_or(0, bytes);
            waiting.fetch_sub(taken, Ordering::Relaxed);
            response
        }))
    }

    /// Tells a watcher now and then how far it has got, and ends its stream when this node stops.
    async fn keep_awake(self, ticket: Ticket) {
        let mut shutdown = self.0.shutdown.clone();
        loop {
            tokio::select! {
                () = shutdown.requested() => return self.0.watchers.end(ticket, stopping()),
                () = tokio::time::sleep(SILENCE) => (),
            }
            if !self.0.watchers.reassure(ticket) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(version: u64) -> Arc<Event> {
        let version = Index(version);
        Arc::new(Event { version, key: b"key"[..].into(), item: None, expired: false })
    }

    /// A watcher that has begun after version 0, and its end.
    fn watched() -> (Watchers, Ticket, mpsc::Receiver<Result<pb::WatchResponse, Status>>) {
        let (watchers, ticket) = (Watchers::default(), Ticket(1));
        let (sender, receiver) = mpsc::channel(ROOM);
        let (prefix, after) = (b""[..].into(), Some(0));
        let watcher = Watcher { prefix, after, begun: false, sender, waiting: Arc::default() };
        locked(&watchers.all).insert(ticket, watcher);
        // Before it has begun it is told nothing, and keeps waiting.
        watchers.tell(&[event(1)]);
        assert!(watchers.reassure(ticket));
        watchers.begin(ticket, Ok(vec![event(1)]), Index(1));
        (watchers, ticket, receiver)
    }

    #[test]
    fn a_watcher_without_room_is_let_go_and_never_told_of_what_it_missed() {
        let (watchers, ticket, mut receiver) = watched();
        for version in 2..=2 * ROOM as u64 {
            watchers.tell(&[event(version)]);
        }
        assert!(!watchers.reassure(ticket));
        let mut last = 0;
        while let Some(response) = receiver.blocking_recv() {
            let response = response.unwrap();
            if let Some(event) = response.events.first() {
                assert_eq!(event.version, last + 1, "a gap");
                last = event.version;
            }
            assert!(response.applied <= last.max(1), "it is told of what it does not have");
        }
        assert!(0 < last && last < 2 * ROOM as u64, "{last}");
    }

    #[test]
    fn a_snapshot_that_hides_changes_ends_every_watch() {
        let (watchers, ticket, mut receiver) = watched();
        watchers.let_go();
        watchers.tell(&[event(9)]);
        assert!(!watchers.reassure(ticket));
        while let Some(response) = receiver.blocking_recv() {
            assert!(response.unwrap().applied <= 1);
        }
    }
}
