//! How often each thing happened: a storm in which nothing happens shows nothing.

use std::collections::BTreeMap;

/// Counts, by the names of what is counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        self.count_many(what, 1);
    }

    pub(crate) fn count_many(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            self.count_many(what, *times);
        }
    }

    /// All of these happened again and again.
    pub(crate) fn assert_rich(&self, whats: &[&str]) {
        for what in whats {
            assert!(10 < self.0.get(what).copied().unwrap_or_default(), "{what}: {self:?}");
        }
    }
}
