//! Whether what is seen of the systems agrees with what they promise.
//!
//! A value without a clock: it is told what is seen and when, and says which promises hold. It
//! never calls a promise broken that may have been kept: views of two processes are of different
//! moments, a process that begins anew may know less, and a ring that changes is not what it will
//! be. Where that cannot be told apart, it waits or judges nothing. So red is red, and green says
//! that nothing was seen, not that nothing was.
//!
//! | file | what it holds |
//! |---|---|
//! | `verdict` | what was found about one promise |
//! | `life` | which process it is that says something, and whether that is news |
//! | `reading` | numbers and texts out of views that may be anything |
//! | `raft`, `chord`, `overlay` | the promises of each system |
//!
//! # Limits
//!
//! All memory is bounded; whatever exceeds a bound is not judged, or the oldest is forgotten. A
//! view that lacks a field or makes no sense is not judged. There is one cluster of each system.

mod chord;
mod life;
mod overlay;
mod raft;
mod reading;
#[cfg(test)]
mod tests;
mod verdict;

use serde_json::Value;

use self::chord::Chord;
use self::life::{Lives, System};
use self::overlay::Overlay;
use self::raft::Raft;
pub use self::verdict::Promise;
use self::verdict::Verdict;

/// Milliseconds without a change after which a ring counts as at rest. With its default times a
/// ring looks after itself 120 times in it, and counts itself six times.
pub const REST_MS: u64 = 60_000;
/// As much rest passes between two calls at most: a clock that leaps, as one does when a computer
/// wakes up, gives nobody rest.
const STRIDE_MS: u64 = 2_000;
/// Milliseconds between two reports of a promise of which only more has been judged.
const COUNT_MS: u64 = 1_000;

/// What is seen of a process.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// `system/name`: no other has it.
    pub key: &'a str,
    /// `overlay`, `raft` or `chord`; of others nothing is promised.
    pub system: &'a str,
    /// Its name within its system.
    pub name: &'a str,
    /// Its latest view, if it has shown any.
    pub view: Option<&'a Value>,
    /// Whether it answers.
    pub reachable: bool,
    /// When the process began, in milliseconds since 1970: the same for as long as it runs. One
    /// that takes its place within a second of that may be taken for it.
    pub started: Option<u64>,
    /// Whether a fault is switched on in it: it is suspended, or messages are lost or late.
    pub broken: bool,
}

/// What was promised, and what came of it. Times are milliseconds since 1970.
#[derive(Debug)]
pub struct Promises {
    lives: Lives,
    overlay: Overlay,
    raft: Raft,
    chord: Chord,
    /// When something was told last.
    at: u64,
    /// Milliseconds that have passed, without leaps.
    steady: u64,
}

impl Default for Promises {
    fn default() -> Self {
        Self::with_rest(REST_MS)
    }
}

impl Promises {
    /// Nothing seen yet. `rest_ms` is how long a ring must not have changed before it is judged: at
    /// least 120 times the longest of its nodes' `CHORD_STABILISE_MS`.
    pub fn with_rest(rest_ms: u64) -> Self {
        Self {
            lives: Lives::default(),
            overlay: Overlay::default(),
            raft: Raft::default(),
            chord: Chord::new(rest_ms),
            at: 0,
            steady: 0,
        }
    }

    /// A process has a new view, or its health, beginning or faults have changed.
    pub fn seen(&mut self, at: u64, node: &Observed) {
        self.pass(at);
        let Some(system) = System::named(node.system) else { return };
        let Some(news) = self.lives.see(at, system, node) else { return };
        let view = node.view.filter(|_| news.told);
        match system {
            System::Overlay => {
                if let Some(view) = view {
                    self.overlay.see(at, node, view);
                }
            }
            System::Raft => {
                if let Some(view) = view {
                    self.raft.see((at, self.steady), node, view, &self.lives);
                }
            }
            System::Chord => self.chord.see((at, self.steady), node, news),
        }
    }

    /// A process is not watched any more.
    pub fn gone(&mut self, at: u64, key: &str) {
        self.pass(at);
        match self.lives.forget(key) {
            Some(System::Overlay) => self.overlay.forget(key),
            Some(System::Raft) => self.raft.forget(key),
            Some(System::Chord) => self.chord.forget((at, self.steady), key),
            None => (),
        }
    }

    /// A request for all teams that was made through the console has its answer.
    pub fn answered(&mut self, at: u64, system: &str, answer: &Value) {
        self.pass(at);
        if let Some(System::Overlay) = System::named(system) {
            self.overlay.answered(at, answer);
        }
    }

    /// Time has passed: judges what needs rest or patience. Once a second is right; seldom is late.
    pub fn tick(&mut self, at: u64) {
        self.pass(at);
        self.raft.reconsider(at, &self.lives);
        self.chord.judge(at, self.steady);
    }

    /// Those that have changed since this was asked last; of which only more was judged, at most
    /// once a second.
    pub fn changed(&mut self) -> Vec<Promise> {
        let at = self.at;
        self.verdicts_mut().filter_map(|verdict| verdict.news(at)).collect()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Promise> {
        let verdicts = self.overlay.verdicts().into_iter().chain(self.raft.verdicts());
        verdicts.chain(self.chord.verdicts()).map(Verdict::promise).collect()
    }

    /// Forgets what was found, and what was remembered of earlier terms and votes; not who there
    /// is, so that what is still broken is found again.
    pub fn reset(&mut self) {
        self.verdicts_mut().for_each(Verdict::reset);
        self.raft.reset();
        self.chord.reset();
    }

    fn verdicts_mut(&mut self) -> impl Iterator<Item = &mut Verdict> {
        let verdicts = self.overlay.verdicts_mut().into_iter().chain(self.raft.verdicts_mut());
        verdicts.chain(self.chord.verdicts_mut())
    }

    fn pass(&mut self, at: u64) {
        // The first moment is not the end of a long time.
        let passed = if self.at == 0 { 0 } else { at.saturating_sub(self.at) };
        self.steady = self.steady.saturating_add(passed.min(STRIDE_MS));
        self.at = at;
    }
}
