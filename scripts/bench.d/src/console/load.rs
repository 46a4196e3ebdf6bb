//! Sixty nodes that change at every look, 10,000 spans a second, and two viewers.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use super::meter::metered;
use super::sender::{self, Sent};
use super::stage::{Programs, Stage};
use super::viewer::{Look, Sight, Viewer, quantiles_ms};
use super::{Pace, http};
use crate::figures::{Figure, Goal, Section};

const SPANS_A_SECOND: u32 = 10_000;
/// MiB that it may hold.
pub(super) const MEMORY_GOAL_MIB: f64 = 30.0;
/// Milliseconds until nearly all is seen.
const AGE_GOAL: Goal = Goal::AtMost(100.0);
/// Those that are not accounted for.
const LOST_GOAL: Goal = Goal::AtMost(0.0);
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let stage = Stage::start(programs).await?;
    stage.fleet.set_busy(true);
    let until = Instant::now() + pace.load;
    let mut viewers = [Viewer::open(stage.page).await?, Viewer::open(stage.page).await?];
    let [one, other] = &mut viewers;
    let work = async {
        let sending = sender::load(stage.traces, Some(SPANS_A_SECOND), pace.load);
        let looking = async {
            tokio::try_join!(one.look(until, Look::Closely), other.look(until, Look::Briefly))
        };
        tokio::try_join!(sending, looking)
    };
    let ((sent, (sight, _)), used) = metered(stage.pid(), work).await?;
    let title = format!(
        "load: 60 busy nodes, {SPANS_A_SECOND} spans a second, two viewers, over {} s",
        pace.load.as_secs()
    );
    let mut section = Section::new(title, "");
    used.tell(&mut section, Goal::AtMost(MEMORY_GOAL_MIB), None);
    let rate = sight.frames as f64 / pace.load.as_secs_f64();
    section.add(Figure::of("frames", "a second", rate));
    let bytes = sight.bytes as f64 / pace.load.as_secs_f64() / 1024.0;
    section.add(Figure::of("what a viewer is sent", "KiB a second", bytes));
    section.add(Figure::of("history that is kept", "s", history(&stage).await?));
    account(&mut section, &sent, &stats(&stage).await?);
    ages(&mut section, sight);
    Ok(section)
}

/// How old what is seen is.
pub(super) fn ages(section: &mut Section, sight: Sight) {
    let of = [("a change of a view", sight.views), ("an event", sight.events)];
    for (what, ages) in of {
        let count = ages.len();
        for (name, age) in ["p50", "p99", "longest"].iter().zip(quantiles_ms(ages)) {
            let figure = Figure::of(format!("{what} until it is seen, {name}"), "ms", age);
            section.add(if *name == "p99" { figure.goal(AGE_GOAL) } else { figure });
        }
        section.note(format!("{what}: {count} of them"));
    }
}

/// The counts that the page shows of the spans.
pub(super) async fn stats(stage: &Stage) -> anyhow::Result<Value> {
    let found = http::get(stage.page, "/traces?limit=1", PATIENCE).await?;
    let found: Value = serde_json::from_slice(&found).context("a list of traces")?;
    Ok(found["stats"].clone())
}

/// Seconds that the history goes back.
async fn history(stage: &Stage) -> anyhow::Result<f64> {
    let snapshot = Viewer::open(stage.page).await?.begin().await?;
    let time = |name: &str| snapshot[name].as_f64().unwrap_or_default();
    Ok((time("at") - time("oldest")) / 1e3)
}

/// Compares what was sent with what the page says became of it.
fn account(section: &mut Section, sent: &Sent, stats: &Value) {
    let count = |name: &str| stats[name].as_u64().unwrap_or_default();
    let told = ["kept", "repeated", "dropped", "invalid"].map(count);
    section.add(Figure::of("spans sent", "", sent.spans as f64));
    for (name, told) in ["kept", "repeated", "dropped", "invalid"].iter().zip(told) {
        section.add(Figure::of(format!("spans {name}"), "", told as f64));
    }
    let lost = sent.spans as f64 - told.iter().sum::<u64>() as f64;
    section.add(Figure::of("spans of which nothing is told", "", lost.abs()).goal(LOST_GOAL));
    let mib = count("bytes") as f64 / f64::from(1 << 20);
    section.note(format!("the spans that are kept take {mib:.1} MiB by the console's own count"));
    if let Some(reason) = &sent.reason {
        let (refused, failed) = (sent.refused, sent.failed);
        section.note(format!("{refused} spans refused, {failed} messages failed: {reason}"));
    }
}
