//! The terms of the log, without its entries.

use std::collections::VecDeque;
use std::sync::Arc;

use consensus::{Entry, Index, Term};

/// Which term each entry of the log has.
#[derive(Debug)]
pub(super) struct Outline {
    base: (Index, Term),
    /// Each term, from its first entry on.
    runs: VecDeque<(Index, Term)>,
    last: Index,
}

impl Outline {
    /// Of a log that begins after this entry.
    pub(super) fn after(base: (Index, Term)) -> Self {
        Self { base, runs: VecDeque::new(), last: base.0 }
    }

    /// The last entry.
    pub(super) fn last(&self) -> (Index, Term) {
        (self.last, self.runs.back().map_or(self.base.1, |&(_, term)| term))
    }

    /// The term of an entry, if it is there.
    pub(super) fn term(&self, index: Index) -> Option<Term> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        if index < self.base.0 || self.last < index {
            return None;
        }
        let run = self.runs.partition_point(|&(first, _)| first <= index).checked_sub(1)?;
        Some(self.runs[run].1)
    }

    /// Adds entries; whatever there was from the first one's place on is gone.
    pub(super) fn append(&mut self, entries: &[Arc<Entry>]) {
        let Some(first) = entries.first() else { return };
        assert!(self.base.0 < first.index, "what a snapshot contains stays");
        assert!(first.index <= self.last.next(), "the log has no gaps");
        while self.runs.pop_back_if(|(begin, _)| first.index <= *begin).is_some() {}
        for entry in entries {
            if self.runs.back().is_none_or(|&(_, term)| term != entry.term) {
                self.runs.push_back((entry.index, entry.term));
            }
            self.last = entry.index;
        }
    }

    /// Drops everything up to and including this entry.
    pub(super) fn compact(&mut self, base: (Index, Term)) {
        while self.runs.len() > 1 && self.runs[1].0 <= base.0.next() {
            self.runs.pop_front();
        }
        if self.last <= base.0 {
            *self = Self::after(base);
        } else if let Some(run) = self.runs.front_mut() {
            run.0 = run.0.max(base.0.next());
        }
        self.base = base;
    }
}

#[cfg(test)]
mod tests {
    use consensus::{Payload, Time};

    use super::*;

    fn entries(first: u64, terms: &[u64]) -> Vec<Arc<Entry>> {
        let entry = |(index, &term)| {
            let (index, term) = (Index(index), Term(term));
            Arc::new(Entry { index, term, time: Time(0), payload: Payload::Nothing })
        };
        (first..).zip(terms).map(entry).collect()
    }

    fn terms(outline: &Outline) -> Vec<Option<u64>> {
        (0..8).map(|index| outline.term(Index(index)).map(|term| term.0)).collect()
    }

    #[test]
    fn every_entry_keeps_its_term() {
        let mut outline = Outline::after((Index(0), Term(0)));
        outline.append(&entries(1, &[1, 1, 2, 2, 4]));
        let some = |numbers: &[u64]| numbers.iter().map(|&term| Some(term)).collect::<Vec<_>>();
        assert_eq!(terms(&outline)[..6], some(&[0, 1, 1, 2, 2, 4]));
        outline.append(&entries(4, &[5]));
        assert_eq!(terms(&outline)[..6], [some(&[0, 1, 1, 2, 5]), vec![None]].concat());
        assert_eq!(outline.last(), (Index(4), Term(5)));
        outline.compact((Index(2), Term(1)));
        assert_eq!(terms(&outline)[..5], [vec![None; 2], some(&[1, 2, 5])].concat());
        outline.compact((Index(4), Term(5)));
        assert_eq!(terms(&outline)[4..6], [Some(5), None]);
        outline.append(&entries(5, &[5, 6]));
        assert_eq!(terms(&outline)[4..], [some(&[5, 5, 6]), vec![None]].concat());
    }
}
