//! What a process costs before anybody asks it anything: time to start, memory, processor time.

use std::time::{Duration, Instant};

use super::Pace;
use super::cluster::{Cluster, PLACES, Programs, ROLES};
use crate::figures::{Figure, Goal, Section};
use crate::process::{Process, START_DEADLINE, free_addresses};
use crate::spread::Spread;
use crate::usage::{self, Memory};

/// The most that an idle process should hold, in MiB.
const MEMORY_GOAL: Goal = Goal::AtMost(8.0);
/// The most that a process should take to serve, in milliseconds.
const START_GOAL: Goal = Goal::AtMost(30.0);
/// The most that six idle processes should use, in percent of one core.
const PROCESSOR_GOAL: Goal = Goal::AtMost(1.0);

/// Times from start to SERVING: ours, and the bare server's.
type Starts = (Vec<Duration>, Vec<Duration>);

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Vec<Section>> {
    let peer = "a bare tonic server with health";
    let mut section = Section::new("start and idle", peer);
    let starts = starts(programs, pace).await?;
    for (role, (ours, peer)) in ROLES.iter().zip(&starts) {
        let what = format!("{role}: start to SERVING, median of {}", pace.starts);
        let (ours, peer) = (milliseconds(ours), milliseconds(peer));
        section.add(Figure::of(what, "ms", ours.median).against(peer.median).goal(START_GOAL));
        let range = |spread: Spread| format!("{:.1} to {:.1} ms", spread.least, spread.most);
        section.note(format!("{role} starts in {}, the bare one in {}", range(ours), range(peer)));
    }
    let cluster = Cluster::ours(programs).await?;
    let [address] = free_addresses()?;
    let mut bare = programs.start_bare(address)?;
    bare.until_serving(address, Duration::ZERO).await?;
    let used = processor_percent(&cluster, pace.idle).await?;
    let bare = usage::memory(bare.pid())?;
    for (role, memory) in memory_by_role(&cluster)? {
        let resident = Figure::of(format!("{role}: resident"), "MiB", memory.resident);
        section.add(resident.against(bare.resident).goal(MEMORY_GOAL));
        let proportional = Figure::of(format!("{role}: PSS"), "MiB", memory.proportional);
        section.add(proportional.against(bare.proportional));
    }
    let what = format!("six idle processes over {} s", pace.idle.as_secs());
    section.add(Figure::of(what, "% of a core", used).goal(PROCESSOR_GOAL));
    Ok(vec![section])
}

/// The memory of each role: that of its largest process.
pub(super) fn memory_by_role(cluster: &Cluster) -> anyhow::Result<Vec<(&'static str, Memory)>> {
    let mut roles = ROLES.map(|role| (role, Memory::default()));
    for (place, process) in PLACES.iter().zip(&cluster.processes) {
        let memory = usage::memory(process.pid())?;
        for (_, most) in roles.iter_mut().filter(|(role, _)| *role == place.role) {
            most.resident = most.resident.max(memory.resident);
            most.proportional = most.proportional.max(memory.proportional);
        }
    }
    Ok(roles.into())
}

/// How long each role and, in turn with it, the bare server took to start.
async fn starts(programs: &Programs, pace: Pace) -> anyhow::Result<[Starts; 3]> {
    let mut all = [const { (Vec::new(), Vec::new()) }; 3];
    for _ in 0..pace.starts {
        for (role, (ours, peer)) in ROLES.iter().zip(&mut all) {
            let index = PLACES.iter().position(|place| place.role == *role).expect("it has one");
            let addresses = free_addresses()?;
            let mut process = programs.start_ours(&PLACES[index], &addresses)?;
            ours.push(process.until_serving(addresses[index], Duration::ZERO).await?);
            drop(process);
            let mut process = programs.start_bare(addresses[index])?;
            peer.push(process.until_serving(addresses[index], Duration::ZERO).await?);
        }
    }
    Ok(all)
}

pub(super) fn milliseconds(taken: &[Duration]) -> Spread {
    Spread::of(taken.iter().map(|time| time.as_secs_f64() * 1e3))
}

/// What all processes together use of one core while nobody asks them anything.
async fn processor_percent(cluster: &Cluster, watched: Duration) -> anyhow::Result<f64> {
    // What remains of starting is no part of idling.
    tokio::time::sleep(START_DEADLINE / 10).await;
    let (before, began) = (processor_time(&cluster.processes)?, Instant::now());
    tokio::time::sleep(watched).await;
    let used = processor_time(&cluster.processes)?.saturating_sub(before);
    Ok(used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0)
}

fn processor_time(processes: &[Process]) -> anyhow::Result<Duration> {
    processes.iter().map(|process| usage::processor_time(process.pid())).sum()
}
