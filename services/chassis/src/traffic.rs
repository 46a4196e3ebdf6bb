//! How many messages this process has sent to each of its peers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Peers that are counted.
const PEERS_LIMIT: usize = 256;

/// What the links of this process have carried. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Mutex<BTreeMap<String, Counter>>>);

/// The messages that were sent to one peer. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// One more was sent.
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a link may yet count.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Traffic {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Counter>> {
        self.0.lock().expect("no holder panics")
    }

    /// The counter of the peer with this name within the system: the same for each of its links,
    /// one after another. When there are too many peers, one to which there is no link makes room;
    /// what is sent to still more is not told.
    pub fn to(&self, peer: &str) -> Counter {
        let mut all = self.all();
        if let Some(known) = all.get(peer) {
            return known.clone();
        }
        if all.len() >= PEERS_LIMIT {
            let unused = all.iter().find(|(_, counter)| !counter.is_used());
            let Some(unused) = unused.map(|(peer, _)| peer.clone()) else {
                return Counter::default();
            };
            all.remove(&unused);
        }
        all.entry(peer.to_owned()).or_default().clone()
    }

    /// How many messages were sent, by peer.
    pub(crate) fn sent(&self) -> BTreeMap<String, u64> {
        let all = self.all();
        let sent = all.iter().map(|(peer, Counter(count))| (peer, count.load(Ordering::Relaxed)));
        sent.map(|(peer, count)| (peer.clone(), count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_to_one_peer_count_together_whenever_they_are_made() {
        let traffic = Traffic::default();
        let first = traffic.to("A");
        first.count();
        traffic.to("A").count();
        drop(first);
        traffic.to("A").count();
        traffic.to("B");
        assert_eq!(traffic.sent(), BTreeMap::from([("A".into(), 3), ("B".into(), 0)]));
    }

    #[test]
    fn of_too_many_peers_those_without_a_link_make_room() {
        let traffic = Traffic::default();
        let links = (0..PEERS_LIMIT).map(|peer| traffic.to(&peer.to_string()));
        let mut links = links.collect::<Vec<_>>();
        traffic.to("one more").count();
        assert_eq!(traffic.sent().get("one more"), None, "all others are in use");
        drop(links.swap_remove(7));
        traffic.to("one more").count();
        let sent = traffic.sent();
        assert_eq!(
            (sent.len(), sent.get("one more"), sent.get("7")),
            (PEERS_LIMIT, Some(&1), None)
        );
    }
}
