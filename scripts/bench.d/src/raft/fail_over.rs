//! The leader is killed under a client that puts continually: the time until its next put is
//! acknowledged by the two that are left.

use std::time::Instant;

use super::Pace;
use super::cluster::{Cluster, Kind, NODES, Programs};
use crate::figures::{Figure, Goal, Section};
use crate::spread::Spread;

const GOAL: Goal = Goal::AtMost(350.0);
const AIM: Goal = Goal::AtMost(250.0);
/// Puts before the leader is killed, so that the client has its connections.
const PUTS_BEFORE: usize = 20;

/// Measures it. The clusters take turns.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let kinds = programs.of([Kind::Ours, Kind::TunedEtcd, Kind::Etcd]);
    let mut clusters = Vec::new();
    for &kind in &kinds {
        clusters.push((Cluster::start(programs, kind).await?.0, Vec::new()));
    }
    for _ in 0..pace.kills {
        for (cluster, taken) in &mut clusters {
            taken.push(kill_leader(cluster).await?);
        }
    }
    let spread = |kind| {
        let of_kind = clusters.iter().find(|(cluster, _)| cluster.kind == kind);
        of_kind.map(|(_, taken)| Spread::of(taken.iter().copied()))
    };
    let median = |kind| spread(kind).map(|spread| spread.median);
    let title = "kill -9 the leader: time until the next put is acknowledged";
    let mut section = Section::new(title, "etcd");
    for kind in [Kind::TunedEtcd, Kind::Etcd] {
        let settings = if kind == Kind::Etcd { "by default" } else { "at 50/300 ms" };
        let what = format!("median of {}, the peer {settings}", pace.kills);
        let figure = Figure::of(what, "ms", median(Kind::Ours)).against(median(kind));
        section.add(figure.goal(GOAL).aim(AIM));
    }
    for &kind in &kinds {
        if let Some(Spread { least, most, .. }) = spread(kind) {
            section.note(format!("{}: {least:.0} to {most:.0} ms", kind.name()));
        }
    }
    Ok(section)
}

/// Kills the leader: milliseconds until a survivor acknowledges a put. Then starts it again, and
/// waits until it has caught up.
async fn kill_leader(cluster: &mut Cluster<'_>) -> anyhow::Result<f64> {
    let leader = cluster.until_agreed().await?;
    let survivors: Vec<_> = (0..NODES).filter(|&node| node != leader).collect();
    for put in 0..PUTS_BEFORE {
        cluster.until_acknowledged(&[survivors[put % survivors.len()]]).await?;
    }
    let killed = Instant::now();
    cluster.processes[leader].kill();
    let acknowledged = cluster.until_acknowledged(&survivors).await?;
    cluster.restart(leader)?;
    cluster.until_agreed().await?;
    Ok((acknowledged - killed).as_secs_f64() * 1e3)
}
