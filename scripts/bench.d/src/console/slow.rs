//! A viewer that reads nothing for long while everything changes, and then goes on.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Pace;
use super::load::MEMORY_GOAL_MIB;
use super::meter::metered;
use super::stage::{Programs, Stage};
use super::viewer::{Kind, Look, Viewer, quantiles_ms};
use crate::figures::{Figure, Goal, Section};

/// Milliseconds until nearly all is seen.
const AGE_GOAL: Goal = Goal::AtMost(100.0);
/// Milliseconds from its first look until it is shown the present.
const RECOVERY_GOAL: Goal = Goal::AtMost(2_000.0);
const PATIENCE: Duration = Duration::from_secs(10);
/// A frame is of the present when it is no older, in microseconds.
const PRESENT_US: u64 = 500_000;
/// How many are slow.
const SLOW: usize = 20;

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let stage = Stage::start(programs).await?;
    stage.fleet.set_busy(true);
    let mut quick = Viewer::open(stage.page).await?;
    let length = pace.slow;
    let (before, alone) =
        metered(stage.pid(), quick.look(Instant::now() + length, Look::Closely)).await?;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(Viewer::open(stage.page).await?);
    }
    let (beside, used) =
        metered(stage.pid(), quick.look(Instant::now() + length, Look::Closely)).await?;
    let mut longest = Duration::ZERO;
    let mut anew = 0;
    for viewer in &mut slow {
        let began = Instant::now();
        anew += u32::from(until_present(viewer).await?);
        longest = longest.max(began.elapsed());
    }
    let title = format!("{SLOW} viewers that read nothing for {} s", length.as_secs());
    let mut section = Section::new(title, "without them");
    let memory = Figure::of("memory at its peak, resident", "MiB", used.resident);
    section.add(memory.against(alone.resident).goal(Goal::AtMost(2.0 * MEMORY_GOAL_MIB)));
    let processor = Figure::of("processor time", "% of a core", used.percent());
    section.add(processor.against(alone.percent()));
    let recovery = Figure::of("until one of them sees the present, longest", "ms", millis(longest));
    section.add(recovery.goal(RECOVERY_GOAL));
    let ages = quantiles_ms(beside.views).into_iter().zip(quantiles_ms(before.views));
    for (name, (age, peer)) in ["p50", "p99", "longest"].iter().zip(ages) {
        let what = format!("a change of a view until another sees it, {name}");
        let figure = Figure::of(what, "ms", age).against(peer);
        section.add(if *name == "p99" { figure.goal(AGE_GOAL) } else { figure });
    }
    section.note(format!("{anew} of {SLOW} are shown everything anew"));
    Ok(section)
}

/// Reads until what it is shown is of the present; whether it was shown everything anew.
async fn until_present(viewer: &mut Viewer) -> anyhow::Result<bool> {
    let began = Instant::now();
    let mut snapshots = 0;
    loop {
        let next = Viewer::next(viewer);
        let (kind, event) = tokio::time::timeout(PATIENCE, next).await??;
        snapshots += u32::from(kind == Kind::Snapshot);
        if kind == Kind::Frame && super::viewer::age_us(&event).is_some_and(|age| age < PRESENT_US)
        {
            return Ok(snapshots > 1);
        }
        ensure!(began.elapsed() < PATIENCE, "a slow viewer is shown the past {PATIENCE:?} long");
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
