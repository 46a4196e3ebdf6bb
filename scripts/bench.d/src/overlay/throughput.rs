//! Requests through A to all five and back: how many a second, how long each takes, and what the
//! processes use meanwhile. Rounds of ours and of the relay take turns.

use super::Pace;
use super::cluster::{Cluster, Programs};
use super::idle::memory_by_role;
use super::side::Side;
use crate::figures::{Figure, Goal, Section};
use crate::load::{By, Load, Refused, Tally};
use crate::spread::Spread;

/// Requests in flight, one section each.
const IN_FLIGHT: [usize; 4] = [1, 16, 64, 100];
/// Where the goal holds, and where our own service is measured too.
const CHIEF: usize = 64;
/// At least as many as the relay.
const GOAL: Goal = Goal::RatioAtLeast(1.0);
const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Vec<Section>> {
    let (ours, peer) = (Cluster::ours(programs).await?, Cluster::relay(programs).await?);
    let mut sections = Vec::new();
    for in_flight in IN_FLIGHT {
        let load = Load { in_flight, length: pace.round, refused: Refused::Waits };
        let mut sides = vec![
            Side::new("ours", &ours, By::Document).await?,
            Side::new("the relay", &peer, By::Document).await?,
        ];
        if in_flight == CHIEF {
            sides.push(Side::new("ours by OverlayService", &ours, By::Own).await?);
        }
        for side in &mut sides {
            side.warm_up(Load { length: pace.warm_up, ..load }).await?;
        }
        for _ in 0..pace.rounds {
            for side in &mut sides {
                side.round(load).await?;
            }
        }
        let title = format!("through A to all five and back, {in_flight} in flight, 64 bytes");
        sections.push(section(title, in_flight == CHIEF, &sides));
    }
    sections.push(memory(&ours, &peer)?);
    Ok(sections)
}

fn section(title: String, is_chief: bool, sides: &[Side<'_>]) -> Section {
    let mut section = Section::new(title, "a bare tonic relay of unary calls");
    let [ours, peer, others @ ..] = sides else { panic!("ours and the peer") };
    let (sum, peer_sum) = (Tally::sum(&ours.rounds), Tally::sum(&peer.rounds));
    let (rates, peer_rates) = (ours.rates(), peer.rates());
    let rate = |what: &str, rates: &[f64]| {
        Figure::of(what, "a second", Spread::of(rates.iter().copied()).median)
            .against(Spread::of(peer_rates.iter().copied()).median)
            .by_rounds(Spread::of_ratios(rates, &peer_rates))
    };
    let chief = rate("requests", &rates);
    section.add(if is_chief { chief.goal(GOAL) } else { chief });
    for other in others {
        section.add(rate("requests by OverlayService", &other.rates()));
    }
    let shares = SHARES.map(|(_, share)| share);
    let latencies = sum.latency_ms(shares).into_iter().zip(peer_sum.latency_ms(shares));
    for ((name, _), (ours, peer)) in SHARES.iter().zip(latencies) {
        section.add(Figure::of(format!("latency {name}"), "ms", ours).against(peer));
    }
    let (cost, peer_cost) = (ours.cost_us(&sum), peer.cost_us(&peer_sum));
    let figure = Figure::of("processor time a request, the six", "µs", cost.0);
    section.add(figure.against(peer_cost.0));
    let figure = Figure::of("processor time a request, the client", "µs", cost.1);
    section.add(figure.against(peer_cost.1));
    for side in sides {
        let sum = Tally::sum(&side.rounds);
        section.note(side.note(&sum));
        if let Some(trouble) = sum.trouble() {
            section.note(format!("{}: {trouble}", side.name));
        }
    }
    section
}

fn memory(ours: &Cluster, peer: &Cluster) -> anyhow::Result<Section> {
    let mut section = Section::new("memory after that load", "the relay in the same place");
    for ((role, ours), (_, peer)) in memory_by_role(ours)?.into_iter().zip(memory_by_role(peer)?) {
        let resident = Figure::of(format!("{role}: resident"), "MiB", ours.resident);
        section.add(resident.against(peer.resident));
        let proportional = Figure::of(format!("{role}: PSS"), "MiB", ours.proportional);
        section.add(proportional.against(peer.proportional));
    }
    Ok(section)
}
