//! The state of a process, for those who ask and for those who collect.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::telemetry::names;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use proto::ensemble::overlay::v1 as pb;
use protocols::overlay::{Totals, View};

/// Instruments that show the view which was seen last.
#[derive(Debug)]
pub(crate) struct Metrics {
    seen: Arc<Mutex<Option<View>>>,
    lost: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        let seen: Arc<Mutex<Option<View>>> = Arc::default();
        gauge(meter, &seen, "ensemble.overlay.active", "Requests in hand.", |view| view.active);
        gauge(meter, &seen, "ensemble.overlay.queue.depth", "Requests that wait.", |view| {
            view.queued
        });
        let last = seen.clone();
        meter
            .f64_observable_gauge("ensemble.overlay.queue.wait")
            .with_unit("s")
            .with_description("How long the oldest waiting request has waited.")
            .with_callback(move |observer| {
                if let Some(view) = &*last.lock().expect("no holder panics") {
                    observer.observe(view.oldest_wait.as_secs_f64(), &[]);
                }
            })
            .build();
        let last = seen.clone();
        meter
            .u64_observable_gauge("ensemble.overlay.neighbour.alive")
            .with_description("Whether a neighbour shows signs of life: 1 or 0.")
            .with_callback(move |observer| {
                if let Some(view) = &*last.lock().expect("no holder panics") {
                    for (name, alive) in &view.neighbours {
                        let peer = KeyValue::new("peer", name.clone());
                        observer.observe(u64::from(*alive), &[peer]);
                    }
                }
            })
            .build();
        let last = seen.clone();
        meter
            .u64_observable_counter("ensemble.overlay.requests")
            .with_description("Requests by what became of them.")
            .with_callback(move |observer| {
                if let Some(view) = &*last.lock().expect("no holder panics") {
                    for (outcome, count) in outcomes(view.totals) {
                        observer.observe(count, &[KeyValue::new("outcome", outcome)]);
                    }
                }
            })
            .build();
        let lost = meter
            .u64_counter(names::LINK_LOST)
            .with_description("Messages for a peer that were lost because its link was full.")
            .build();
        Self { seen, lost }
    }

    /// Takes note of the present.
    pub(crate) fn see(&self, view: View) {
        *self.seen.lock().expect("no holder panics") = Some(view);
    }

    /// Counts a message that a link had no room for.
    pub(crate) fn lose(&self, peer: &str) {
        self.lost.add(1, &[KeyValue::new("peer", peer.to_owned())]);
    }
}

fn outcomes(totals: Totals) -> [(&'static str, u64); 6] {
    [
        ("answered", totals.answered),
        ("refused", totals.refused),
        ("expired", totals.expired),
        ("cancelled", totals.cancelled),
        ("share_missing", totals.missing),
        ("message_ignored", totals.ignored),
    ]
}

fn gauge(
    meter: &Meter,
    seen: &Arc<Mutex<Option<View>>>,
    name: &'static str,
    description: &'static str,
    value: fn(&View) -> usize,
) {
    let last = seen.clone();
    meter
        .u64_observable_gauge(name)
        .with_description(description)
        .with_callback(move |observer| {
            if let Some(view) = &*last.lock().expect("no holder panics") {
                observer.observe(value(view) as u64, &[]);
            }
        })
        .build();
}

/// The mean of a sum of times; zero when there were none.
pub(crate) fn mean(sum: Duration, count: u64) -> Duration {
    sum.checked_div(u32::try_from(count).unwrap_or(u32::MAX)).unwrap_or_default()
}

/// The state of a process as `ensemble.overlay.v1` says it.
pub(crate) fn response(view: View) -> pb::GetMetricsResponse {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let totals = view.totals;
    let neighbour = |(process_id, alive)| pb::Neighbour { process_id, alive };
    pb::GetMetricsResponse {
        process_id: view.id,
        role: view.role.into(),
        team: view.team.into(),
        active: number(view.active),
        active_limit: number(view.active_limit),
        queued: number(view.queued),
        queue_limit: number(view.queue_limit),
        oldest_wait_us: micros(view.oldest_wait),
        answered: totals.answered,
        refused: totals.refused,
        expired: totals.expired,
        cancelled: totals.cancelled,
        mean_total_us: micros(mean(totals.total, totals.answered)),
        mean_queued_us: micros(mean(totals.queued, totals.answered)),
        neighbours: view.neighbours.into_iter().map(neighbour).collect(),
    }
}
