//! Sixty calm nodes and one viewer: what the console uses, and how soon the viewer sees what
//! happens. Calm is not still: the leader of a cluster looks different every 50 ms, as it says how
//! long it has not heard of each follower, and every node of a ring once a second.

use std::time::Instant;

use super::Pace;
use super::load::ages;
use super::meter::metered;
use super::stage::{Programs, Stage};
use super::viewer::{Look, Viewer};
use crate::figures::{Figure, Goal, Section};

/// MiB that it may hold.
const MEMORY_GOAL: Goal = Goal::AtMost(30.0);
/// Percent of a core.
const PROCESSOR_GOAL: Goal = Goal::AtMost(5.0);

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let stage = Stage::start(programs).await?;
    let mut viewer = Viewer::open(stage.page).await?;
    let until = Instant::now() + pace.idle;
    let looking = viewer.look(until, Look::Closely);
    let (sight, used) = metered(stage.pid(), looking).await?;
    let title = format!("idle: 60 calm nodes, one viewer, over {} s", pace.idle.as_secs());
    let mut section = Section::new(title, "");
    used.tell(&mut section, MEMORY_GOAL, Some(PROCESSOR_GOAL));
    let rate = sight.frames as f64 / pace.idle.as_secs_f64();
    section.add(Figure::of("frames", "a second", rate));
    let bytes = sight.bytes as f64 / pace.idle.as_secs_f64() / 1024.0;
    section.add(Figure::of("what the viewer is sent", "KiB a second", bytes));
    ages(&mut section, sight);
    Ok(section)
}
