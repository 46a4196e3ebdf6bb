//! The state of a node, for those who collect.

use std::sync::{Arc, Mutex};

use chassis::telemetry::names;
use hashring::{Refusal, View};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};

use super::locked;

/// Instruments that show the view which was seen last.
pub(crate) struct Metrics {
    seen: Arc<Mutex<Option<View>>>,
    lost: Counter<u64>,
    refused: Counter<u64>,
}

/// What is shown of a view: name, description, value.
type Shown = (&'static str, &'static str, fn(&View) -> u64);

const GAUGES: [Shown; 11] = [
    ("ensemble.chord.member", "Whether the node is a member: 1 or 0.", |view| {
        u64::from(view.phase == "member")
    }),
    ("ensemble.chord.ready", "Whether it answers for its part: 1 or 0.", |view| {
        u64::from(view.ready.is_some())
    }),
    ("ensemble.chord.successors", "Successors that it knows.", |view| view.successors.len() as u64),
    ("ensemble.chord.lost_nodes", "Nodes that it looks for.", |view| view.lost.len() as u64),
    ("ensemble.chord.counted", "Nodes on the ring by the last census.", |view| view.counted),
    ("ensemble.chord.astray", "Whether a census showed it off the ring: 1 or 0.", |view| {
        u64::from(view.on_ring == Some(false))
    }),
    ("ensemble.chord.keys", "Keys that it is responsible for.", |view| view.keys),
    ("ensemble.chord.copies", "Keys that it keeps for others.", |view| view.copies),
    ("ensemble.chord.size", "Bytes of keys and values.", |view| view.bytes),
    ("ensemble.chord.writing", "Saves and removes that wait for copies.", |view| {
        view.writing as u64
    }),
    ("ensemble.chord.lookups", "Lookups under way.", |view| view.lookups as u64),
];

const COUNTERS: [Shown; 7] = [
    ("ensemble.chord.performed", "Operations of its own callers that were performed.", |view| {
        view.totals.performed
    }),
    ("ensemble.chord.hops", "Hops of their lookups.", |view| view.totals.hops),
    ("ensemble.chord.took", "Microseconds that they took.", |view| {
        u64::try_from(view.totals.took.as_micros()).unwrap_or(u64::MAX)
    }),
    ("ensemble.chord.served", "Operations that it did because it is responsible.", |view| {
        view.totals.served
    }),
    ("ensemble.chord.suspected", "Nodes that it took for dead.", |view| view.totals.suspected),
    ("ensemble.chord.repaired", "Items that it sent because a copy lacked them.", |view| {
        view.totals.repaired
    }),
    ("ensemble.chord.ignored", "Messages that made no sense.", |view| view.totals.ignored),
];

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        let seen: Arc<Mutex<Option<View>>> = Arc::default();
        let shown = |value: fn(&View) -> u64| {
            let last = seen.clone();
            move || locked(&last).as_ref().map(value)
        };
        for (name, description, value) in GAUGES {
            let value = shown(value);
            let gauge = meter.u64_observable_gauge(name).with_description(description);
            gauge
                .with_callback(move |observer| {
                    if let Some(value) = value() {
                        observer.observe(value, &[]);
                    }
                })
                .build();
        }
        for (name, description, value) in COUNTERS {
            let value = shown(value);
            let counter = meter.u64_observable_counter(name).with_description(description);
            counter
                .with_callback(move |observer| {
                    if let Some(value) = value() {
                        observer.observe(value, &[]);
                    }
                })
                .build();
        }
        let lost = meter
            .u64_counter(names::LINK_LOST)
            .with_description("Messages for a node that were lost because its link was full.")
            .build();
        let refused = meter
            .u64_counter("ensemble.chord.refused")
            .with_description("Requests that were not carried out, by the reason.")
            .build();
        Self { seen, lost, refused }
    }

    /// Takes note of the present.
    pub(crate) fn see(&self, view: View) {
        *locked(&self.seen) = Some(view);
    }

    /// Counts a message that a link had no room for. For which node is not said: there is no end
    /// of them.
    pub(super) fn lose(&self) {
        self.lost.add(1, &[]);
    }

    /// Counts a request that was not carried out.
    pub(super) fn refuse(&self, refusal: Refusal) {
        let reason = match refusal {
            Refusal::Busy => "busy",
            Refusal::Full => "full",
            Refusal::Unready => "unready",
            Refusal::Lost => "lost",
            Refusal::Unknown => "unknown",
        };
        self.refused.add(1, &[KeyValue::new("reason", reason)]);
    }
}
