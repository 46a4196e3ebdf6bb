//! Finds: how many a second, how long each takes, and what the nodes use meanwhile. Rounds of ours
//! and of the relay take turns; each request to the relay goes a way that one of the finds of the
//! round before went, node by node, so that both pass the same nodes equally often.

use super::Pace;
use super::clients::{Clients, Way, Work, keys};
use super::cluster::{Cluster, Programs};
use super::side::{Side, medians_by_nodes, nodes};
use crate::figures::{Figure, Goal, Section};
use crate::spread::Spread;

/// Clients at once, one section each.
pub(super) const CLIENTS: [usize; 3] = [1, 16, 64];
const GOAL: Goal = Goal::RatioAtLeast(0.8);
pub(super) const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Vec<Section>> {
    let (mut ours, relay) = (Cluster::ours(programs).await?, Cluster::relay(programs).await?);
    let keys = keys(pace.keys);
    let clients = Clients::connect(&ours, keys.clone()).await?;
    let mut relay_clients = Clients::connect(&relay, keys).await?;
    clients.fill().await?;
    ours.until_settled().await?;
    let mut sections = Vec::new();
    for count in CLIENTS {
        let warm_up = clients.ask(Work::Find, count, pace.warm_up, 0).await?;
        relay_clients.go(ways(&warm_up.ways));
        relay_clients.ask(Work::Find, count, pace.warm_up, 0).await?;
        let mut side = Side::new("ours", &ours, clients.clone());
        let mut peer = Side::new("the relay", &relay, relay_clients.clone());
        for _ in 0..pace.rounds {
            side.round(Work::Find, count, pace.round).await?;
            let round = side.rounds.last().expect("there was one");
            peer.clients.go(ways(&round.ways));
            peer.round(Work::Find, count, pace.round).await?;
        }
        sections.push(section(count, &side, &peer));
    }
    Ok(sections)
}

fn ways(ways: &[u64]) -> Vec<Way> {
    ways.iter().copied().map(Way).collect()
}

fn section(clients: usize, side: &Side, peer: &Side) -> Section {
    let plural = if clients == 1 { "" } else { "s" };
    let title =
        format!("find a value of 64 bytes by a random node of six, {clients} client{plural}");
    let mut section = Section::new(title, "a bare tonic relay that goes the same ways");
    let ratio = Spread::of_ratios(&side.rounds.rates(), &peer.rounds.rates());
    let rate = Figure::of("finds", "a second", side.rounds.rate()).against(peer.rounds.rate());
    section.add(rate.by_rounds(ratio).goal(GOAL));
    let (sum, peer_sum) = (side.rounds.sum(), peer.rounds.sum());
    let shares = SHARES.map(|(_, share)| share);
    let latencies = sum.latency_ms(shares).into_iter().zip(peer_sum.latency_ms(shares));
    for ((name, _), (ours, peer)) in SHARES.iter().zip(latencies) {
        section.add(Figure::of(format!("latency {name}"), "ms", ours).against(peer));
    }
    let medians = medians_by_nodes(&sum).into_iter().zip(medians_by_nodes(&peer_sum));
    for (index, ((ours, share), (peer, _))) in medians.enumerate() {
        let what = match index {
            0 => format!("latency p50 of the {:.0} % that come by 1 node", share * 100.0),
            more => format!("of the {:.0} % that come by {} nodes", share * 100.0, more + 1),
        };
        section.add(Figure::of(what, "ms", ours).against(peer));
    }
    let (passed, peer_passed) = (nodes(&sum), nodes(&peer_sum));
    section.add(Figure::of("nodes that each comes by", "", passed).against(peer_passed));
    let (cost, peer_cost) = (side.rounds.cost_us(), peer.rounds.cost_us());
    for (index, who) in ["the six", "the client"].into_iter().enumerate() {
        let figure = Figure::of(format!("processor time each, {who}"), "µs", cost[index]);
        section.add(figure.against(peer_cost[index]));
    }
    let a_node = Figure::of("processor time each and node", "µs", cost[0] / passed);
    section.add(a_node.against(peer_cost[0] / peer_passed));
    section.note(side.note());
    section.note(peer.note());
    section
}
