//! Puts and gets: how many a second, how long each takes, and what the nodes use meanwhile. To all
//! three nodes, and to the leader alone, which is the better for etcd. Rounds take turns.

use super::Pace;
use super::asker::Work;
use super::clients::KEYS;
use super::cluster::{Cluster, Kind, Programs};
use super::side::{Side, To};
use crate::figures::{Figure, Goal, Section};
use crate::spread::Spread;

/// What is measured: so many clients, what must be reached, and what is aimed at, to all nodes.
const LOADS: [(Work, usize, f64, f64); 4] = [
    (Work::Put, 1, 1.5, 2.0),
    (Work::Put, 64, 2.0, 4.0),
    (Work::Put, 256, 2.0, 4.0),
    (Work::Get, 64, 3.0, 6.0),
];
/// What is aimed at beyond that: the better of ours, over etcd's leader alone.
const BEST_AIM: Goal = Goal::RatioAtLeast(2.0);
const SHARES: [(&str, f64); 2] = [("p50", 0.5), ("p99", 0.99)];

/// Measures it, each load with empty clusters.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Vec<Section>> {
    let mut sections = Vec::new();
    for (work, clients, must, aim) in LOADS {
        eprintln!("  {}, {clients} at once …", name(work));
        let mut clusters = Vec::new();
        for kind in programs.of([Kind::Ours, Kind::Etcd]) {
            let (mut cluster, _) = Cluster::start(programs, kind).await?;
            cluster.clients(&[0, 1, 2]).await?.fill(KEYS).await?;
            let leader = cluster.until_agreed().await?;
            clusters.push((cluster, leader));
        }
        let mut sides = Vec::new();
        for to in [To::All, To::Leader] {
            for (cluster, leader) in &clusters {
                sides.push(Side::new(cluster, to, *leader).await?);
            }
        }
        for side in &sides {
            side.warm_up(work, clients, pace.warm_up).await?;
        }
        for _ in 0..pace.rounds {
            for side in &mut sides {
                side.round(work, clients, pace.round).await?;
            }
        }
        let plural = if clients == 1 { "" } else { "s" };
        let title = format!("linearizable {}, {clients} client{plural}, 64 bytes", name(work));
        let mut section = section(title, &sides, (must, aim));
        drop(sides);
        for (cluster, leader) in &mut clusters {
            if cluster.until_agreed().await? != *leader {
                section.note(format!("{}: the leader has changed meanwhile", cluster.kind.name()));
            }
        }
        sections.push(section);
    }
    Ok(sections)
}

fn name(work: Work) -> &'static str {
    match work {
        Work::Put => "put",
        Work::Get => "get",
    }
}

fn section(title: String, sides: &[Side], (must, aim): (f64, f64)) -> Section {
    let mut section = Section::new(title, "etcd");
    let side = |kind, to| sides.iter().find(|side| side.kind == kind && side.to == to);
    for (to, whom) in [(To::All, "to all"), (To::Leader, "to the leader")] {
        let pair = [side(Kind::Ours, to), side(Kind::Etcd, to)];
        let [ours, peer] = pair.map(|side| side.map(|side| side.rounds.rate()));
        let [rates, peer_rates] = pair.map(|side| side.map(|side| side.rounds.rates()));
        let ratio = rates.zip(peer_rates).map(|(ours, peer)| Spread::of_ratios(&ours, &peer));
        let figure = Figure::of(format!("{whom}: rate"), "a second", ours);
        let figure = figure.against(peer).by_rounds(ratio);
        section.add(match to {
            To::All => figure.goal(Goal::RatioAtLeast(must)).aim(Goal::RatioAtLeast(aim)),
            To::Leader => figure,
        });
        let latencies = pair.map(|side| {
            side.map(|side| side.rounds.sum().latency_ms(SHARES.map(|(_, share)| share)))
        });
        for (index, (name, _)) in SHARES.iter().enumerate() {
            let [ours, peer] = latencies.map(|latencies| latencies.map(|all| all[index]));
            section.add(Figure::of(format!("{whom}: {name}"), "ms", ours).against(peer));
        }
        let costs = pair.map(|side| side.map(|side| side.rounds.cost_us()));
        for (index, who) in ["the nodes", "the client"].iter().enumerate() {
            let [ours, peer] = costs.map(|costs| costs.map(|all| all[index]));
            let what = format!("{whom}: processor time each, {who}");
            section.add(Figure::of(what, "µs", ours).against(peer));
        }
    }
    let best = [To::All, To::Leader]
        .iter()
        .filter_map(|&to| side(Kind::Ours, to).map(|side| side.rounds.rate()));
    let peer = side(Kind::Etcd, To::Leader).map(|side| side.rounds.rate());
    let figure = Figure::of("our better over its leader: rate", "a second", best.reduce(f64::max));
    section.add(figure.against(peer).aim(BEST_AIM));
    for side in sides {
        section.note(side.note());
    }
    section
}
