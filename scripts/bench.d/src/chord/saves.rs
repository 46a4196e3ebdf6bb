//! Saves of fresh keys, each of which is on its node and three more when it is answered: how many a
//! second, and how long each takes. No peer does this.

use super::Pace;
use super::clients::{Clients, Work, keys};
use super::cluster::{Cluster, Programs, REPLICAS};
use super::finds::{CLIENTS, SHARES};
use super::side::{Side, nodes};
use crate::figures::{Figure, Section};
use crate::spread::Spread;

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Section> {
    let cluster = Cluster::ours(programs).await?;
    let clients = Clients::connect(&cluster, keys(1)).await?;
    let title = format!("save a value of 64 bytes by a random node of six, r = {REPLICAS}");
    let mut section = Section::new(title, "");
    for count in CLIENTS {
        clients.ask(Work::Save, count, pace.warm_up, count as u64).await?;
        let mut side = Side::new("ours", &cluster, clients.clone());
        for _ in 0..pace.rounds {
            side.round(Work::Save, count, pace.round).await?;
        }
        let plural = if count == 1 { "" } else { "s" };
        let who = format!("{count} client{plural}");
        let Spread { least, most, .. } = Spread::of(side.rounds.rates());
        section.add(Figure::of(format!("{who}: saves"), "a second", side.rounds.rate()));
        let sum = side.rounds.sum();
        for ((name, _), latency) in SHARES.iter().zip(sum.latency_ms(SHARES.map(|(_, at)| at))) {
            section.add(Figure::of(format!("{who}: latency {name}"), "ms", latency));
        }
        let [nodes_us, _] = side.rounds.cost_us();
        section.add(Figure::of(format!("{who}: processor time each, the six"), "µs", nodes_us));
        let passed = nodes(&sum);
        let range = format!("{least:.0} to {most:.0} a second, by {passed:.2} nodes on the way");
        section.note(format!("{who}: {range}; {}", side.note()));
    }
    Ok(section)
}
