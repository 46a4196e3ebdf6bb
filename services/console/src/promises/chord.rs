//! What the ring promises (Zave's invariant among it), judged once it is at rest: what is between
//! two states while nodes come, go and die is no breach, and no two views are of one moment.
//!
//! At rest means: for a minute (or as long as it is told), no view differed in phase, predecessor,
//! successors, the part that it answers for or the nodes that it looks for; nobody came, went,
//! began anew, became reachable or unreachable; no fault is on; nobody joins or leaves; every
//! predecessor and successor is a member that is seen; and no member takes one that is seen for
//! dead: then a part is cut off, and two rings are what can be had. A breach must be told by nodes
//! that live: it counts only when every member has shown something else anew since the ring came to
//! rest, with the same neighbours.
//!
//! What is not judged: fingers, lists of successors beyond the first, and rings of which a part is
//! not seen.

mod ring;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

use self::ring::Ring;
use self::view::{Phase, View};
use super::Observed;
use super::life::News;
use super::reading::clock;
use super::verdict::Verdict;

/// One process. Times are of the clock that does not leap.
#[derive(Debug, Default)]
struct Node {
    view: Option<View>,
    reachable: bool,
    broken: bool,
    /// When it showed something else the last time.
    told: u64,
    /// When the keys that it has changed the last time.
    moved: u64,
}

/// What is known of the ring.
#[derive(Debug)]
pub(super) struct Chord {
    nodes: BTreeMap<String, Node>,
    rest_ms: u64,
    /// Since when nothing has changed: since 1970, and by the clock that does not leap.
    quiet: (u64, u64),
    /// Whether anything was told since the last judgement.
    is_news: bool,
    one_ring: Verdict,
    own_part: Verdict,
    no_overlap: Verdict,
    covered: Verdict,
    counted: Verdict,
}

impl Chord {
    pub(super) fn new(rest_ms: u64) -> Self {
        let rest = format!("After {} s without a change", rest_ms.div_ceil(1_000));
        Self {
            nodes: BTreeMap::new(),
            rest_ms,
            quiet: (0, 0),
            is_news: false,
            one_ring: Verdict::new(
                "chord/one-ring",
                format!("{rest}: the successors make one ring, in order, with every member"),
            ),
            own_part: Verdict::new(
                "chord/own-part",
                "A node answers for the places after its predecessor, up to its own",
            ),
            no_overlap: Verdict::new(
                "chord/no-overlap",
                format!("{rest}: no two nodes answer for one place"),
            ),
            covered: Verdict::new(
                "chord/covered",
                format!("{rest}: for every place a node answers"),
            ),
            counted: Verdict::new(
                "chord/counted",
                format!("{rest}: who has counted the members has counted all of them"),
            ),
        }
    }

    pub(super) fn verdicts(&self) -> [&Verdict; 5] {
        let Self { one_ring, own_part, no_overlap, covered, counted, .. } = self;
        [one_ring, own_part, no_overlap, covered, counted]
    }

    pub(super) fn verdicts_mut(&mut self) -> [&mut Verdict; 5] {
        let Self { one_ring, own_part, no_overlap, covered, counted, .. } = self;
        [one_ring, own_part, no_overlap, covered, counted]
    }

    pub(super) fn forget(&mut self, at: (u64, u64), key: &str) {
        if self.nodes.remove(key).is_some() {
            (self.quiet, self.is_news) = (at, true);
        }
    }

    pub(super) fn reset(&mut self) {
        self.is_news = true;
    }

    /// A process shows something else. Times: since 1970, and the one that does not leap.
    pub(super) fn see(&mut self, (at, steady): (u64, u64), seen: &Observed, news: News) {
        let node = self.nodes.entry(seen.key.to_owned()).or_default();
        (node.reachable, node.broken) = (seen.reachable, seen.broken);
        let mut changed = news.began || news.turned;
        if news.began {
            node.view = None;
        }
        if news.told {
            let view = seen.view.and_then(View::read);
            let shape = |view: &Option<View>| view.as_ref().map(|view| view.shape.clone());
            let load = |view: &Option<View>| view.as_ref().map(|view| view.load);
            changed |= shape(&node.view) != shape(&view);
            if load(&node.view) != load(&view) {
                node.moved = steady;
            }
            node.told = steady;
            self.is_news = true;
            if let Some(view) = &view {
                self.own_part.judge(at, view.wrong_part());
            }
            node.view = view;
        }
        if changed {
            (self.quiet, self.is_news) = ((at, steady), true);
        }
    }

    /// Judges the ring if it is at rest.
    pub(super) fn judge(&mut self, at: u64, steady: u64) {
        let rests = |since: u64| since.saturating_add(self.rest_ms) <= steady;
        if !self.is_news || !rests(self.quiet.1) {
            return;
        }
        self.is_news = false;
        let live = || self.nodes.values().filter(|node| node.reachable);
        let phase = |node: &Node| node.view.as_ref().map(|view| view.shape.phase);
        let moves = |node: &Node| matches!(phase(node), Some(Phase::Joining | Phase::Leaving));
        if self.nodes.values().any(|node| node.broken) || live().any(moves) {
            return;
        }
        let members = || live().filter(|node| phase(node) == Some(Phase::Member));
        let Some(ring) = Ring::of(members().filter_map(|node| node.view.as_ref()).collect()) else {
            return;
        };
        let lives = members().all(|node| self.quiet.1 < node.told);
        let settled = !ring.is_filling() || members().all(|node| rests(node.moved));
        let named = ring.named();
        let since = clock(self.quiet.0);
        let judge = |verdict: &mut Verdict, wrong: Vec<String>, certain: bool| {
            if wrong.is_empty() || certain {
                let said = |wrong| format!("{wrong} (at rest since {since}; members: {named})");
                verdict.judge(at, wrong.into_iter().map(said));
            }
        };
        judge(&mut self.one_ring, ring.disorder(), lives);
        judge(&mut self.no_overlap, ring.overlaps(), lives);
        judge(&mut self.covered, ring.gaps(), lives && settled);
        if ring.is_counted() {
            judge(&mut self.counted, ring.miscounts(), lives);
        }
    }
}
