//! More than there is room for: what remains of the best goodput, and how long those wait who were
//! let in. Rounds of the three loads take turns.

use super::Pace;
use super::cluster::{Cluster, Programs};
use super::idle::memory_by_role;
use super::side::Side;
use crate::figures::{Figure, Goal, Section};
use crate::load::{By, Load, Refused, Tally};
use crate::spread::Spread;

/// Where goodput is best.
const BEST: usize = 64;
/// Twice what a leader takes by default: 100 in hand and 200 in its queue.
const TOO_MANY: usize = 600;
/// What waits at most in a leader's queue by default.
const QUEUE_LIMIT: f64 = 200.0;
const GOODPUT_GOAL: Goal = Goal::RatioAtLeast(0.9);
/// A wait in the queue is bounded when 99 of 100 are at most so many times what a full queue takes
/// at the measured rate.
const WAIT_FACTOR: f64 = 2.0;
/// The same of the longest wait of all: one pause of the machine is in it.
const LONGEST_WAIT_FACTOR: f64 = 5.0;

/// Measures it.
pub(super) async fn measure(programs: &Programs, pace: Pace) -> anyhow::Result<Vec<Section>> {
    let cluster = Cluster::ours(programs).await?;
    let load = |in_flight, refused| Load { in_flight, length: pace.round, refused };
    let mut turns = Vec::new();
    for (name, load) in [
        ("64 in flight", load(BEST, Refused::Waits)),
        ("the refused wait as they are told", load(TOO_MANY, Refused::Waits)),
        ("the refused ask again at once", load(TOO_MANY, Refused::Hammers)),
    ] {
        let side = Side::new(name, &cluster, By::Own).await?;
        side.warm_up(Load { length: pace.warm_up, ..load }).await?;
        turns.push((side, load));
    }
    for _ in 0..pace.rounds {
        for (side, load) in &mut turns {
            side.round(*load).await?;
        }
    }
    let sides: Vec<_> = turns.into_iter().map(|(side, _)| side).collect();
    let [best, overloads @ ..] = &sides[..] else { panic!("the best comes first") };
    let mut sections: Vec<_> = overloads.iter().map(|side| section(side, best)).collect();
    let (role, memory) = memory_by_role(&cluster)?[0];
    let mut memories = Section::new("memory after that load", "");
    memories.add(Figure::of(format!("{role}: resident"), "MiB", memory.resident));
    sections.push(memories);
    Ok(sections)
}

fn section(side: &Side<'_>, best: &Side<'_>) -> Section {
    let title = format!("overload: {TOO_MANY} in flight, {}", side.name);
    let mut section = Section::new(title, "ours with 64 in flight");
    let (rates, best_rates) = (side.rates(), best.rates());
    let goodput = Spread::of(rates.iter().copied()).median;
    section.add(
        Figure::of("whole answers", "a second", goodput)
            .against(Spread::of(best_rates.iter().copied()).median)
            .by_rounds(Spread::of_ratios(&rates, &best_rates))
            .goal(GOODPUT_GOAL),
    );
    let (sum, best_sum) = (Tally::sum(&side.rounds), Tally::sum(&best.rounds));
    let full_queue_ms = QUEUE_LIMIT / goodput * 1e3;
    let goals = [None, Some(WAIT_FACTOR), Some(LONGEST_WAIT_FACTOR)];
    let shares = [0.5, 0.99, 1.0];
    let waits = sum.wait_ms(shares).into_iter().zip(best_sum.wait_ms(shares));
    for ((name, factor), (wait, best)) in ["p50", "p99", "longest"].iter().zip(goals).zip(waits) {
        let figure = Figure::of(format!("wait in the queue, {name}"), "ms", wait).against(best);
        section.add(match factor {
            Some(factor) => figure.goal(Goal::AtMost(factor * full_queue_ms)),
            None => figure,
        });
    }
    let shares = [0.5, 0.99, 0.999];
    let latencies = sum.latency_ms(shares).into_iter().zip(best_sum.latency_ms(shares));
    for (name, (latency, best)) in ["p50", "p99", "p99.9"].iter().zip(latencies) {
        section.add(Figure::of(format!("latency {name}"), "ms", latency).against(best));
    }
    let refused = sum.refused as f64 / sum.seconds;
    section.add(Figure::of("refused", "a second", refused));
    let queue = format!("a full queue takes {full_queue_ms:.1} ms at that rate");
    section.note(format!("{queue}; {} were refused in all", sum.refused));
    section.note(sum.trouble().unwrap_or_else(|| "every other answer was whole".into()));
    section.note(side.note(&sum));
    section.note(best.note(&best_sum));
    section
}
