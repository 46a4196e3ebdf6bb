//! Three empty nodes are started: the time until a first put is acknowledged.

use super::Pace;
use super::cluster::{Cluster, Kind, Programs};
use crate::figures::{Figure, Goal, Section};
use crate::spread::Spread;

const GOAL: Goal = Goal::AtMost(500.0);
const AIM: Goal = Goal::AtMost(350.0);

/// Measures it. The clusters take turns, and none runs while another starts.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let mut section = Section::new("three empty nodes started: time until the first put", "etcd");
    let mut taken = [(Kind::Ours, Vec::new()), (Kind::Etcd, Vec::new())];
    for _ in 0..pace.starts {
        for kind in programs.of([Kind::Ours, Kind::Etcd]) {
            let (cluster, until_first_put) = Cluster::start(programs, kind).await?;
            drop(cluster);
            let of_kind = taken.iter_mut().find(|(other, _)| *other == kind).expect("one of both");
            of_kind.1.push(until_first_put.as_secs_f64() * 1e3);
        }
    }
    let [ours, peer] = taken.map(|(kind, taken)| {
        let spread = (!taken.is_empty()).then(|| Spread::of(taken))?;
        section.note(format!("{}: {:.0} to {:.0} ms", kind.name(), spread.least, spread.most));
        Some(spread.median)
    });
    let figure = Figure::of(format!("median of {}", pace.starts), "ms", ours).against(peer);
    section.add(figure.goal(GOAL).aim(AIM));
    Ok(section)
}
