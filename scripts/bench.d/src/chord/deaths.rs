//! One node in ten of a simulated ring dies at the same moment: how long until everybody knows his
//! neighbours, and everything, and what lookups meet until then.
//!
//! A round is one period of stabilisation, 500 ms by default. Silent deaths are those of machines:
//! nothing is heard of them any more. Loud ones are those of processes: their links break, and
//! whoever has one, or tries to make one, is told.

use hashring::Mode;

use super::Pace;
use super::simulated::{Answer, Ring, apart};
use crate::figures::{Figure, Section};
use crate::spread::{Spread, quantile};

const NODES: usize = 1_000;
const DEAD: usize = NODES / 10;
const REPLICAS: usize = 3;
/// Rounds between two looks at the ring.
const LOOK: f64 = 0.1;
/// Lookups that are begun at each look, half of them iterative.
const LOOKUPS: usize = 40;
/// Rounds in which a ring must be right; many times what it takes.
const LIMIT: f64 = 400.0;
/// Lookups that take longer than a node's patience, in microseconds, have waited for a dead one.
const PATIENCE_US: u32 = 500_000;

/// What came of it in one ring.
#[derive(Debug, Default)]
struct Mended {
    /// Rounds until all neighbours, and until everything, was right.
    neighbours: f64,
    anything: f64,
    /// Lookups begun until neighbours were right, and then until everything was.
    lookups: [Vec<Answer>; 2],
}

/// Measures it.
pub(super) async fn measure(pace: Pace) -> anyhow::Result<Vec<Section>> {
    let mut sections = Vec::new();
    for (name, hint) in [("silently", 0.0), ("loudly", 1.0)] {
        eprintln!("  {name} …");
        let halves = [0, 1].map(|half| {
            let seeds = (0..pace.struck).filter(move |seed| seed % 2 == half);
            apart(move || seeds.map(|seed| strike(seed, hint)).collect::<anyhow::Result<Vec<_>>>())
        });
        let [one, other] = halves;
        let mut all = one.await?;
        all.extend(other.await?);
        sections.push(section(name, &all));
    }
    Ok(sections)
}

fn strike(seed: u64, hint: f64) -> anyhow::Result<Mended> {
    let mut ring = Ring::grow(seed, NODES, REPLICAS)?;
    ring.kill(DEAD, hint);
    let began = ring.rounds();
    let mut mended = Mended::default();
    let mut neighbours = None;
    loop {
        let wrong = ring.wrong();
        let rounds = ring.rounds() - began;
        if wrong.neighbours == 0 {
            neighbours.get_or_insert(rounds);
        } else {
            neighbours = None;
        }
        if wrong.anything == 0 {
            mended.anything = rounds;
            break;
        }
        anyhow::ensure!(rounds < LIMIT, "{wrong:?} of {} nodes after {LIMIT} rounds", ring.len());
        for mode in [Mode::Recursive, Mode::Iterative] {
            ring.ask(LOOKUPS / 2, mode);
        }
        ring.pass(LOOK);
    }
    mended.neighbours = neighbours.expect("whoever knows everything knows his neighbours");
    for answer in ring.answers() {
        let late = mended.neighbours <= Ring::rounds_of(answer.asked) - began;
        mended.lookups[usize::from(late)].push(answer);
    }
    Ok(mended)
}

fn section(name: &str, all: &[Mended]) -> Section {
    let title = format!("{DEAD} of {NODES} simulated nodes die {name} at once, r = {REPLICAS}");
    let mut section = Section::new(title, "");
    for (what, rounds) in [
        ("neighbours right", Spread::of(all.iter().map(|one| one.neighbours))),
        ("lists and fingers right", Spread::of(all.iter().map(|one| one.anything))),
    ] {
        let what = format!("{what}, median of {}", all.len());
        section.add(Figure::of(what, "rounds", rounds.median));
        section.note(format!("{:.1} to {:.1} rounds", rounds.least, rounds.most));
    }
    for (index, when) in ["until neighbours are right", "then"].into_iter().enumerate() {
        for mode in [Mode::Recursive, Mode::Iterative] {
            let lookups = all.iter().flat_map(|one| &one.lookups[index]);
            let lookups = lookups.filter(|answer| answer.mode == mode).collect::<Vec<_>>();
            section.note(format!("lookups begun {when}, {mode:?}: {}", fates(&lookups)));
        }
    }
    section
}

/// What became of these lookups, in words.
fn fates(lookups: &[&Answer]) -> String {
    let count = lookups.len();
    let share = |which: &dyn Fn(&Answer) -> bool| {
        let such = lookups.iter().filter(|answer| which(answer)).count();
        format!("{such} ({:.2} %)", such as f64 * 100.0 / count.max(1) as f64)
    };
    let us = |answer: &Answer| u32::try_from(answer.took.as_micros()).unwrap_or(u32::MAX);
    let mut times = lookups.iter().map(|answer| us(answer)).collect::<Vec<_>>();
    times.sort_unstable();
    let [half, most] = [0.5, 0.99].map(|part| f64::from(quantile(&times, part)) / 1e3);
    let failed = share(&|answer| answer.result.is_err());
    let wrong = share(&|answer| answer.result.is_ok() && !answer.right);
    let round = share(&|answer| answer.result.is_ok() && answer.went_round());
    let waited = share(&|answer| PATIENCE_US < us(answer));
    format!(
        "{count}, of which {failed} failed, {wrong} came to a wrong node, {round} went round one \
         that was silent, {waited} took longer than 500 ms; p50 {half:.0} ms, p99 {most:.0} ms"
    )
}
