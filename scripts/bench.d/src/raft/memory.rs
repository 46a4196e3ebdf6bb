//! The memory of the node that uses most: idle, and with keys.

use super::Pace;
use super::cluster::{Cluster, Kind, Programs};
use crate::figures::{Figure, Goal, Section, number};
use crate::usage::{self, Memory};

/// What an idle node may hold, in MiB.
const IDLE_GOAL: (Goal, Goal) = (Goal::AtMost(12.0), Goal::AtMost(8.0));
/// What a node may hold after all the puts, in MiB.
const FULL_GOAL: (Goal, Goal) = (Goal::AtMost(60.0), Goal::AtMost(40.0));

/// Measures it, one cluster after the other.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let mut section = Section::new("memory of the node that uses most", "etcd");
    let (mut ours, mut peer) = (None, None);
    for kind in programs.of([Kind::Ours, Kind::Etcd]) {
        let measured = Some(idle_and_full(programs, kind, pace).await?);
        match kind {
            Kind::Ours => ours = measured,
            Kind::Etcd | Kind::TunedEtcd => peer = measured,
        }
    }
    let full = format!("after {} puts of distinct keys", number(pace.keys as f64));
    for (index, (when, goal)) in [("idle", IDLE_GOAL), (&full, FULL_GOAL)].into_iter().enumerate() {
        let resident = |measured: Option<[Memory; 2]>| measured.map(|all| all[index].resident);
        let proportional =
            |measured: Option<[Memory; 2]>| measured.map(|all| all[index].proportional);
        let figure = Figure::of(format!("{when}: resident"), "MiB", resident(ours));
        section.add(figure.against(resident(peer)).goal(goal.0).aim(goal.1));
        let figure = Figure::of(format!("{when}: PSS"), "MiB", proportional(ours));
        section.add(figure.against(proportional(peer)));
    }
    Ok(section)
}

async fn idle_and_full(programs: &Programs, kind: Kind, pace: Pace) -> anyhow::Result<[Memory; 2]> {
    let (mut cluster, _) = Cluster::start(programs, kind).await?;
    tokio::time::sleep(pace.idle).await;
    let idle = most(&cluster)?;
    cluster.clients(&[0, 1, 2]).await?.fill(pace.keys).await?;
    cluster.until_agreed().await?;
    Ok([idle, most(&cluster)?])
}

fn most(cluster: &Cluster<'_>) -> anyhow::Result<Memory> {
    let mut most = Memory::default();
    for process in &cluster.processes {
        let memory = usage::memory(process.pid())?;
        most.resident = most.resident.max(memory.resident);
        most.proportional = most.proportional.max(memory.proportional);
    }
    Ok(most)
}
