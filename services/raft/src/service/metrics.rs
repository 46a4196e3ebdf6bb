//! The state of a node, for those who collect.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::telemetry::names;
use consensus::{Refusal, View};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use protocols::NodeId;

use super::locked;

/// Instruments that show the view which was seen last.
#[derive(Debug)]
pub(crate) struct Metrics {
    seen: Arc<Mutex<Option<View>>>,
    lost: Counter<u64>,
    refused: Counter<u64>,
    synced: Histogram<f64>,
}

/// What is shown of a view: name, description, value.
type Shown = (&'static str, &'static str, fn(&View) -> u64);

const SHOWN: [Shown; 11] = [
    ("ensemble.raft.term", "The term.", |view| view.term.0),
    ("ensemble.raft.leads", "Whether the node leads: 1 or 0.", |view| {
        u64::from(view.leader == Some(view.id))
    }),
    ("ensemble.raft.led", "Whether a leader is known: 1 or 0.", |view| {
        u64::from(view.leader.is_some())
    }),
    ("ensemble.raft.log.last", "The last entry of the log.", |view| view.last.0),
    ("ensemble.raft.log.committed", "The last entry that is committed.", |view| view.commit.0),
    ("ensemble.raft.log.snapshot", "The last entry of the snapshot.", |view| view.snapshot.0),
    ("ensemble.raft.log.size", "Bytes of the log in memory.", |view| view.log_bytes as u64),
    ("ensemble.raft.store.keys", "Keys.", |view| view.store.keys),
    ("ensemble.raft.store.size", "Bytes of keys and values.", |view| view.store.bytes),
    ("ensemble.raft.store.leases", "Leases.", |view| view.store.leases),
    ("ensemble.raft.store.sessions", "Sessions.", |view| view.store.sessions),
];

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        let seen: Arc<Mutex<Option<View>>> = Arc::default();
        for (name, description, value) in SHOWN {
            let last = seen.clone();
            meter
                .u64_observable_gauge(name)
                .with_description(description)
                .with_callback(move |observer| {
                    if let Some(view) = &*locked(&last) {
                        observer.observe(value(view), &[]);
                    }
                })
                .build();
        }
        let lost = meter
            .u64_counter(names::LINK_LOST)
            .with_description("Messages for a peer that were lost because its link was full.")
            .build();
        let refused = meter
            .u64_counter("ensemble.raft.refused")
            .with_description("Requests that were not carried out, by the reason.")
            .build();
        let synced = meter
            .f64_histogram("ensemble.raft.sync.duration")
            .with_unit("s")
            .with_description("How long it took to make records durable.")
            .build();
        Self { seen, lost, refused, synced }
    }

    /// Takes note of the present.
    pub(crate) fn see(&self, view: View) {
        *locked(&self.seen) = Some(view);
    }

    /// Counts a message that a link had no room for.
    pub(super) fn lose(&self, peer: NodeId) {
        self.lost.add(1, &[KeyValue::new("peer", peer.0.to_string())]);
    }

    /// Counts a request that was not carried out.
    pub(super) fn refuse(&self, refusal: &Refusal) {
        let reason = match refusal {
            Refusal::NotLeader(_) => "not_leader",
            Refusal::Busy => "busy",
            Refusal::Full => "full",
            Refusal::HandingOver => "handing_over",
            Refusal::Overwritten => "overwritten",
            Refusal::Unknown => "unknown",
            Refusal::ChangePending
            | Refusal::NoMember(_)
            | Refusal::AlreadyVoter(_)
            | Refusal::Behind(..)
            | Refusal::LastVoter
            | Refusal::NoHeir
            | Refusal::TooManyMembers => "change",
            Refusal::Invalid(..) => "invalid",
        };
        self.refused.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// Takes note of a sync.
    pub(super) fn synced(&self, took: Duration) {
        self.synced.record(took.as_secs_f64(), &[]);
    }
}
