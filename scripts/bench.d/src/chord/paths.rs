//! How many nodes a lookup passes, in rings whose fingers are right, beside the paper's ½ log₂ N.
//!
//! The paper (section VI-C, figure 10) calls the number of nodes that a lookup traverses its path
//! length, and explains the half by the fingers that are followed: as many as the distance has
//! ones. Those lead to the node before the place; its successor, which is responsible, is known
//! there. So for the paper's lookup a hop is a step from one node to the next, from the one that is
//! asked up to the one that knows who is responsible.
//!
//! Our nodes are not the paper's: they know the node before them and a list of r after them, and
//! the way ends at the first node in whose list the responsible one stands. That saves about what
//! the last step costs, to the responsible node itself, where the work is done; what a caller waits
//! for is all of it, and is what the goal is for. What the paper's own lookup would do is walked by
//! the fingers of the same nodes, for the same pairs; it lies 0.13 hops below ½ log₂ N whatever N
//! is, which at 10 nodes is 6 %.

use std::time::{Duration, Instant};

use hashring::Mode;

use super::Pace;
use super::simulated::{BITS, Ring, apart};
use crate::figures::{Figure, Goal, Section, number};
use crate::spread::quantile;

/// What is counted, as it is printed.
const DEFINITION: &str = "a hop is a step from one node to the next: the paper's lookup ends at \
    the one that knows who is responsible (VI-C), ours there too or at the responsible one itself";
/// By how much a mean path may differ from the paper's.
const GOAL: Goal = Goal::RatioWithin(0.05);
/// Our r.
const REPLICAS: usize = 3;
/// The largest ring with r = 1, which leaves nothing of the list but the successor: one that has no
/// fingers yet looks up from successor to successor, and takes long to grow.
const WITHOUT_LIST: usize = 1_000;
const SHARES: [(&str, f64); 4] = [("p1", 0.01), ("p50", 0.5), ("p99", 0.99), ("longest", 1.0)];

/// What all lookups in rings of one size came to.
#[derive(Debug, Default)]
struct Walked {
    /// Hops to the node before the place.
    before: Vec<u32>,
    /// The same of iterative lookups alone.
    iterative: Vec<u32>,
    /// Hops to the responsible node, none if that is the one that is asked.
    whole: Vec<u32>,
    /// Hops to the node before the place by the paper's lookup.
    by_fingers: Vec<u32>,
    /// Of the last ring: rounds until it was right, messages by then, and how long it all took.
    rounds: f64,
    sent: u64,
    took: Duration,
}

/// Measures it.
pub(super) async fn measure(pace: Pace) -> anyhow::Result<Vec<Section>> {
    let mut sections = Vec::new();
    for (nodes, rings, lookups) in pace.rings.into_iter().filter(|(_, rings, _)| 0 < *rings) {
        eprintln!("  {nodes} nodes …");
        let with_list = apart(move || walk(nodes, rings, lookups, REPLICAS));
        let without =
            (nodes <= WITHOUT_LIST).then(|| apart(move || walk(nodes, rings, lookups, 1)));
        let with_list = with_list.await?;
        let without = match without {
            Some(without) => Some(without.await?),
            None => None,
        };
        sections.push(section(nodes, rings, &with_list, without.as_ref()));
    }
    if let Some(first) = sections.first_mut() {
        first.note(DEFINITION);
    }
    Ok(sections)
}

/// Grows rings of a size, and has places looked up in them.
fn walk(nodes: usize, rings: u64, lookups: usize, replicas: usize) -> anyhow::Result<Walked> {
    let began = Instant::now();
    let mut walked = Walked::default();
    for seed in 0..rings {
        let mut ring = Ring::grow(seed, nodes, replicas)?;
        (walked.rounds, walked.sent) = (ring.rounds(), ring.sent());
        for mode in [Mode::Recursive, Mode::Iterative] {
            ring.ask(lookups / 2, mode);
            for answer in ring.answers() {
                anyhow::ensure!(answer.right, "a ring at rest answers wrongly: {answer:?}");
                let whole = answer.hops();
                let before = whole.saturating_sub(1);
                walked.whole.push(whole);
                walked.before.push(before);
                if mode == Mode::Iterative {
                    walked.iterative.push(before);
                }
                walked.by_fingers.push(ring.hops_by_fingers(answer.origin, answer.place));
            }
        }
    }
    walked.took = began.elapsed();
    Ok(walked)
}

fn section(nodes: usize, rings: u64, with_list: &Walked, without: Option<&Walked>) -> Section {
    let title = format!("simulated lookups, {nodes} nodes, m = {BITS}");
    let mut section = Section::new(title, "the paper's ½ log₂ N");
    let paper = (nodes as f64).log2() / 2.0;
    let figure = |what: &str, hops: &[u32]| Figure::of(what, "hops", mean(hops)).against(paper);
    section.add(figure("the paper's lookup by our fingers", &with_list.by_fingers).goal(GOAL));
    section.add(figure("ours, r = 3, to the responsible node", &with_list.whole).goal(GOAL));
    section.add(figure("ours, r = 3, to the one that knows it", &with_list.before));
    section.note(format!("the paper's lookup: {}", distribution(&with_list.by_fingers)));
    section.note(format!("r = 3: {}", distribution(&with_list.before)));
    if let Some(without) = without {
        section.add(figure("ours, r = 1, to the one that knows it", &without.before));
        section.note(format!("r = 1: {}", distribution(&without.before)));
    }
    let modes = (mean(&with_list.before), mean(&with_list.iterative));
    section.note(format!("r = 3: both ways {:.3}, iteratively {:.3} hops", modes.0, modes.1));
    section.note(format!(
        "{} pairs in {rings} rings; the last one was right {:.0} rounds after its first node, with \
         {} messages; {:.1} s for all of r = 3",
        number(with_list.before.len() as f64),
        with_list.rounds,
        number(with_list.sent as f64),
        with_list.took.as_secs_f64(),
    ));
    section
}

fn mean(hops: &[u32]) -> f64 {
    hops.iter().map(|&hops| f64::from(hops)).sum::<f64>() / hops.len() as f64
}

fn distribution(hops: &[u32]) -> String {
    let mut sorted = hops.to_vec();
    sorted.sort_unstable();
    let shares = SHARES.map(|(name, share)| format!("{name} {}", quantile(&sorted, share)));
    shares.join(", ")
}
