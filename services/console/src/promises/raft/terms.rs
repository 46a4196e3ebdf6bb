//! What is remembered of terms: who led in them, and what was committed in them.

use std::collections::BTreeMap;

use crate::promises::reading::clock;

/// Terms that are remembered; of more the lowest are forgotten.
pub(super) const TERMS_LIMIT: usize = 1_024;
/// Leaders of one term that are remembered: two would be one too many.
const LEADERS_LIMIT: usize = 4;

/// Somebody was said to lead.
#[derive(Debug)]
struct Led {
    leader: u64,
    /// When that was said last, by whom, and when that process had begun.
    at: u64,
    started: u64,
    by: String,
}

#[derive(Debug, Default)]
struct Term {
    leaders: Vec<Led>,
    /// Whether it is known to have had more than one.
    is_judged: bool,
    /// How far the log is committed, and when that was seen.
    commit: (u64, u64),
}

/// The terms.
#[derive(Debug, Default)]
pub(super) struct Terms(BTreeMap<u64, Term>);

impl Terms {
    fn at(&mut self, term: u64) -> Option<&mut Term> {
        if TERMS_LIMIT <= self.0.len() && !self.0.contains_key(&term) {
            if self.0.first_key_value().is_some_and(|(lowest, _)| term < *lowest) {
                return None;
            }
            self.0.pop_first();
        }
        Some(self.0.entry(term).or_default())
    }

    /// Somebody said who leads.
    pub(super) fn led(&mut self, term: u64, leader: u64, (at, started): (u64, u64), by: &str) {
        let Some(term) = self.at(term) else { return };
        if let Some(known) = term.leaders.iter_mut().find(|known| known.leader == leader) {
            (known.at, known.started) = (at, started);
            if known.by != by {
                by.clone_into(&mut known.by);
            }
        } else if term.leaders.len() < LEADERS_LIMIT {
            term.leaders.push(Led { leader, at, started, by: by.to_owned() });
        }
    }

    /// Something was committed, by a leader of this term or an earlier one.
    pub(super) fn committed(&mut self, term: u64, commit: u64, at: u64) {
        let Some(term) = self.at(term) else { return };
        if term.commit.0 <= commit {
            term.commit = (commit, at);
        }
    }

    /// What was committed in an earlier term and a log up to `last` lacks, if what was seen then
    /// belongs to the same cluster: the term, the entry, and when that was seen.
    pub(super) fn lacking(
        &self,
        term: u64,
        last: u64,
        belongs: impl Fn(u64) -> bool,
    ) -> Option<(u64, u64, u64)> {
        let earlier = self.0.range(..term).rev();
        let mut lacking = earlier.filter(|(_, earlier)| last < earlier.commit.0);
        let found = lacking.find(|(_, earlier)| belongs(earlier.commit.1));
        found.map(|(term, earlier)| (*term, earlier.commit.0, earlier.commit.1))
    }

    /// Terms with two leaders that are tied together by a witness; each is said once.
    pub(super) fn contradictions(&mut self, tied: impl Fn(u64, u64) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for (number, term) in &mut self.0 {
            if term.is_judged || term.leaders.len() < 2 {
                continue;
            }
            term.leaders.sort_by_key(|led| led.at);
            let pairs = term.leaders.iter().enumerate().flat_map(|(place, one)| {
                term.leaders.iter().skip(place + 1).map(move |other| (one, other))
            });
            let mut pairs = pairs.filter(|(one, other)| tied(one.at, other.started));
            let Some((one, other)) = pairs.next() else { continue };
            let said = |led: &Led| {
                format!("node {} led at {}, says {}", led.leader, clock(led.at), led.by)
            };
            found.push(format!("term {number}: {}; {}", said(one), said(other)));
            term.is_judged = true;
        }
        found
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
