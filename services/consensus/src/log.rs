//! The log: what is in memory of it, from the entry after the last one that was dropped.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::Arc;

use crate::store::{Action, Command, Condition};
use crate::{Entry, Index, Payload, Term, Time};

/// What an entry costs beside its key and value, in bytes.
const ENTRY_BYTES: usize = size_of::<Entry>() + 2 * size_of::<usize>();

/// Entries in order, without a gap, each with a place of its own.
#[derive(Default)]
pub(crate) struct Log {
    /// The last entry that was dropped, and its term and time.
    base: (Index, Term),
    base_time: Time,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

impl Log {
    /// A log of which everything up to and including this entry was dropped.
    pub(crate) fn after(base: (Index, Term), base_time: Time) -> Self {
        Self { base, base_time, entries: VecDeque::new(), bytes: 0 }
    }

    /// The first place that it has, or will have.
    pub(crate) fn first(&self) -> Index {
        self.base.0.next()
    }

    /// The last entry; the last dropped one if it has none.
    pub(crate) fn last(&self) -> (Index, Term) {
        self.entries.back().map_or(self.base, |entry| (entry.index, entry.term))
    }

    /// The time of the last entry.
    pub(crate) fn last_time(&self) -> Time {
        self.entries.back().map_or(self.base_time, |entry| entry.time)
    }

    /// The term of the entry at this place; none if it was dropped or does not exist.
    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// The entry at this place.
    pub(crate) fn get(&self, index: Index) -> Option<&Arc<Entry>> {
        let offset = index.0.checked_sub(self.first().0)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Entries from this place on, until they would be more than so many or hold more than so many
    /// bytes; one at least, if there is one.
    pub(crate) fn slice(&self, from: Index, count: usize, bytes: usize) -> Vec<Arc<Entry>> {
        let Some(offset) = from.0.checked_sub(self.first().0) else { return Vec::new() };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.entries.len());
        let mut left = bytes;
        let fits = |(number, entry): &(usize, &Arc<Entry>)| {
            let size = size(entry);
            let fits = *number == 0 || size <= left;
            left = left.saturating_sub(size);
            fits
        };
        let entries = self.entries.range(offset..).take(count).enumerate();
        entries.take_while(fits).map(|(_, entry)| entry.clone()).collect()
    }

    /// Adds the next entry.
    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        assert_eq!(entry.index, self.last().0.next(), "the log has no gaps");
        assert!(self.last().1 <= entry.term, "terms never fall along the log");
        self.bytes += size(&entry);
        self.entries.push_back(entry);
    }

    /// Drops every entry from this place on.
    pub(crate) fn truncate(&mut self, from: Index) {
        assert!(self.first() <= from, "what was dropped at the front was applied");
        while from <= self.last().0 {
            let entry = self.entries.pop_back().expect("the last entry is beyond the base");
            self.bytes -= size(&entry);
        }
    }

    /// Drops every entry up to and including this place.
    pub(crate) fn compact(&mut self, through: Index) {
        while self.base.0 < through {
            let entry = self.entries.pop_front().expect("only existing entries are dropped");
            self.bytes -= size(&entry);
            self.base = (entry.index, entry.term);
            self.base_time = entry.time;
        }
        if self.entries.capacity() > 4 * self.entries.len().max(64) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Drops entries up to and including `through`, but keeps the last so many bytes of them.
    pub(crate) fn compact_to(&mut self, kept: usize, through: Index) {
        let mut over = self.bytes.saturating_sub(kept);
        let mut until = self.base.0;
        for entry in &self.entries {
            if over == 0 || through < entry.index {
                break;
            }
            over = over.saturating_sub(size(entry));
            until = entry.index;
        }
        self.compact(until);
    }

    /// What its entries cost, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first entry of the term that the entry at `index` has, as far as the log reaches back.
    pub(crate) fn first_of_term_at(&self, index: Index) -> Index {
        let Some(term) = self.term(index) else { return index };
        let offset = self.entries.partition_point(|entry| entry.term < term);
        Index(self.first().0 + offset as u64).min(index)
    }

    /// The last entry whose term is not above this one.
    pub(crate) fn last_up_to_term(&self, term: Term) -> Index {
        let offset = self.entries.partition_point(|entry| entry.term <= term);
        Index(self.base.0.0 + offset as u64)
    }
}

/// What an entry costs, in bytes.
pub(crate) fn size(entry: &Entry) -> usize {
    ENTRY_BYTES
        + match &entry.payload {
            Payload::Nothing => 0,
            Payload::Command(command) => command_size(command),
            Payload::Configuration(configuration) => 64 * configuration.members.len(),
        }
}

/// What a command holds, in bytes of keys and values.
pub(crate) fn command_size(command: &Command) -> usize {
    let of_condition = |condition: &Condition| match condition {
        Condition::Value(value) => value.len(),
        Condition::Always | Condition::Absent | Condition::Version(_) => 0,
    };
    match &command.action {
        Action::Put { key, value, condition, .. } => {
            key.len() + value.len() + of_condition(condition)
        }
        Action::Delete { key, condition } => key.len() + of_condition(condition),
        Action::Grant(_)
        | Action::KeepAlive(_)
        | Action::Revoke(_)
        | Action::OpenSession
        | Action::CloseSession(_) => 0,
    }
}
