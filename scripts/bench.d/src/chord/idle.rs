//! What a ring costs that nobody asks anything: memory, empty and with keys, and processor time.

use std::time::{Duration, Instant};

use super::Pace;
use super::clients::{Clients, keys};
use super::cluster::{Cluster, Programs};
use crate::figures::{Figure, Goal, Section, number};
use crate::process::Process;
use crate::usage::{self, Memory};

/// The most that an idle process may hold, in MiB.
const GOAL: Goal = Goal::AtMost(12.0);
/// What remains of starting or of saves is no part of idling.
const CALM: Duration = Duration::from_secs(3);

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let mut section = Section::new("idle: six nodes and their registry", "");
    let mut cluster = Cluster::ours(programs).await?;
    look(&mut section, "empty", &cluster, pace).await?;
    Clients::connect(&cluster, keys(pace.keys)).await?.fill().await?;
    cluster.until_settled().await?;
    let with_keys = format!("{} keys", number(pace.keys as f64));
    look(&mut section, &with_keys, &cluster, pace).await?;
    let held = cluster.states().await?.into_iter().map(|state| state.keys + state.copies);
    let most = held.max().unwrap_or_default() as f64;
    section.note(format!("keys are of 16 bytes with 64; a node has {} at most", number(most)));
    Ok(section)
}

async fn look(
    section: &mut Section,
    when: &str,
    cluster: &Cluster,
    pace: Pace,
) -> anyhow::Result<()> {
    tokio::time::sleep(CALM).await;
    let (before, began) = (processor_time(&cluster.processes)?, Instant::now());
    tokio::time::sleep(pace.idle).await;
    let used = processor_time(&cluster.processes)?.saturating_sub(before);
    let used = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    for (who, processes) in [
        ("the largest node", &cluster.processes[..]),
        ("the registry", cluster.registry.as_slice()),
    ] {
        let memory = most(processes)?;
        let resident = Figure::of(format!("{when}, {who}: resident"), "MiB", memory.resident);
        section.add(resident.goal(GOAL));
        section.add(Figure::of(format!("{when}, {who}: PSS"), "MiB", memory.proportional));
    }
    let what = format!("{when}: the six over {} s", pace.idle.as_secs());
    section.add(Figure::of(what, "% of a core", used));
    Ok(())
}

fn most(processes: &[Process]) -> anyhow::Result<Memory> {
    let mut most = Memory::default();
    for process in processes {
        let memory = usage::memory(process.pid())?;
        most.resident = most.resident.max(memory.resident);
        most.proportional = most.proportional.max(memory.proportional);
    }
    Ok(most)
}

fn processor_time(processes: &[Process]) -> anyhow::Result<Duration> {
    processes.iter().map(|process| usage::processor_time(process.pid())).sum()
}
