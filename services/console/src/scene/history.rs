//! The frames of the last minutes, with a snapshot now and then from which they can be told.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

/// Milliseconds between two snapshots.
const SNAPSHOT_MS: u64 = 10_000;
/// Milliseconds that are kept.
const KEPT_MS: u64 = 600_000;

/// Frames and snapshots, the oldest first. The first is a snapshot.
#[derive(Debug)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_limit: usize,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    is_snapshot: bool,
    json: Arc<str>,
}

impl History {
    pub(super) fn new(bytes_limit: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_limit }
    }

    /// Whether it is time for a snapshot.
    pub(super) fn wants_snapshot(&self, at: u64) -> bool {
        let last = self.entries.iter().rev().find(|entry| entry.is_snapshot);
        last.is_none_or(|last| last.at + SNAPSHOT_MS <= at)
    }

    pub(super) fn put_snapshot(&mut self, at: u64, json: Arc<str>) {
        self.put(Entry { at, is_snapshot: true, json });
    }

    pub(super) fn put_frame(&mut self, at: u64, json: Arc<str>) {
        self.put(Entry { at, is_snapshot: false, json });
    }

    fn put(&mut self, entry: Entry) {
        let now = entry.at;
        self.bytes += entry.json.len();
        self.entries.push_back(entry);
        let old = |entry: &Entry| entry.at + KEPT_MS < now;
        while self.bytes_limit < self.bytes || self.entries.front().is_some_and(old) {
            if !self.drop_first() {
                return;
            }
        }
    }

    /// Drops the first snapshot and what follows from it. False if nothing is left.
    fn drop_first(&mut self) -> bool {
        loop {
            let Some(first) = self.entries.pop_front() else { return false };
            self.bytes -= first.json.len();
            if self.entries.front().is_none_or(|next| next.is_snapshot) {
                return !self.entries.is_empty();
            }
        }
    }

    /// How far it goes back.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.at)
    }

    /// The last snapshot before a time, or the first, and every frame from there to another time.
    pub(super) fn between(&self, from: u64, to: u64) -> Option<String> {
        let snapshots = (0..self.entries.len()).filter(|at| self.entries[*at].is_snapshot);
        let begin = snapshots.clone().rfind(|at| self.entries[*at].at <= from);
        let begin = begin.or(snapshots.min())?;
        let entries = self.entries.range(begin..).take_while(|entry| entry.at <= to.max(from));
        let mut text = format!("{{\"from\":{from},\"to\":{to},\"snapshot\":");
        text += &self.entries[begin].json;
        text += ",\"frames\":[";
        let frames = entries.skip(1).filter(|entry| !entry.is_snapshot);
        for (index, frame) in frames.enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(text, "{comma}{}", frame.json);
        }
        text += "]}";
        Some(text)
    }
}
