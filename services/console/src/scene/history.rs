//! The frames of the last minutes, with a snapshot now and then from which they can be told.
//!
//! When there are more than there is room for, old frames are made coarser before they are dropped:
//! of what changed several times within half a second, and later within two, the last is kept.
//! Events and acts stay, each with its own time.

use std::collections::VecDeque;

use axum::body::Bytes;

use super::merged::merged;
use crate::picture::Told;

/// Milliseconds between two snapshots.
const SNAPSHOT_MS: u64 = 10_000;
/// Milliseconds that are kept, at least.
pub(super) const KEPT_MS: u64 = 600_000;
/// Milliseconds that frames span which were made coarser once, and twice.
const COARSE_MS: [u64; 2] = [500, 2_000];
/// The newest frames are never made coarser: whoever looks may yet be shown them.
pub(super) const FINE: usize = 32;

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
    /// That of the frame, or of the last one before the snapshot.
    number: u64,
    is_snapshot: bool,
    /// How often this frame was made coarser.
    coarse: usize,
    told: Told,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.told.event().len() + size_of::<Self>()
    }
}

impl History {
    pub(super) fn new(bytes_limit: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_limit }
    }

    /// Whether it is time for a snapshot.
    pub(super) fn wants_snapshot(&self, at: u64) -> bool {
        let last = self.entries.iter().rev().find(|entry| entry.is_snapshot);
        last.is_none_or(|last| SNAPSHOT_MS <= at.abs_diff(last.at))
    }

    pub(super) fn put_snapshot(&mut self, at: u64, number: u64, told: Told) {
        self.put(Entry { at, number, is_snapshot: true, coarse: 0, told });
    }

    pub(super) fn put_frame(&mut self, at: u64, number: u64, told: Told) {
        self.put(Entry { at, number, is_snapshot: false, coarse: 0, told });
    }

    /// The frame of this number, if it is kept.
    pub(super) fn frame(&self, number: u64) -> Option<&Told> {
        let at = self.entries.partition_point(|entry| entry.number < number);
        let of_number = self.entries.range(at..).take_while(|entry| entry.number == number);
        of_number.filter(|entry| !entry.is_snapshot).map(|entry| &entry.told).next()
    }

    fn put(&mut self, entry: Entry) {
        let now = entry.at;
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        // What was so when they began, the last snapshot before them tells.
        let old = |entry: &Entry| entry.at + KEPT_MS < now;
        while self.entries.iter().skip(1).find(|entry| entry.is_snapshot).is_some_and(old) {
            self.drop_first();
        }
        while self.bytes_limit < self.bytes {
            if !self.make_coarser() && !self.drop_first() {
                return;
            }
        }
    }

    /// Makes one frame of several: of the oldest of those that are finest. False if there are none
    /// but those that may yet be shown.
    fn make_coarser(&mut self) -> bool {
        let frames = (0..self.entries.len()).rev().filter(|at| !self.entries[*at].is_snapshot);
        let Some(end) = frames.clone().nth(FINE) else { return false };
        let now = self.entries[end].at;
        loop {
            // More may come of the step that it is now.
            let is_whole = |entry: &Entry| {
                COARSE_MS.get(entry.coarse).is_some_and(|step| entry.at / step < now / step)
            };
            let whole = (0..end).filter(|at| {
                let entry = &self.entries[*at];
                !entry.is_snapshot && is_whole(entry)
            });
            let Some(begin) = whole.min_by_key(|at| self.entries[*at].coarse) else { return false };
            let first = &self.entries[begin];
            let step = COARSE_MS[first.coarse];
            let is_same = |entry: &&Entry| !entry.is_snapshot && entry.at / step == first.at / step;
            let count = self.entries.range(begin..end).take_while(is_same).count();
            self.entries[begin].coarse += 1;
            if count > 1 && self.merge(begin, begin + count) {
                return true;
            }
        }
    }

    /// Makes one frame of these. False if that cannot be done.
    fn merge(&mut self, begin: usize, end: usize) -> bool {
        let (at, number) = (self.entries[end - 1].at, self.entries[end - 1].number);
        let frames = self.entries.range(begin..end).map(|entry| &entry.told);
        let Some(told) = merged(number, frames) else { return false };
        let coarse = self.entries[begin].coarse;
        let entry = Entry { at, number, is_snapshot: false, coarse, told };
        self.bytes -= self.entries.range(begin..end).map(Entry::bytes).sum::<usize>();
        self.bytes += entry.bytes();
        self.entries.drain(begin + 1..end);
        self.entries[begin] = entry;
        true
    }

    /// Drops the first snapshot and what follows from it. False if nothing is left.
    fn drop_first(&mut self) -> bool {
        loop {
            let Some(first) = self.entries.pop_front() else { return false };
            self.bytes -= first.bytes();
            if self.entries.front().is_none_or(|next| next.is_snapshot) {
                return !self.entries.is_empty();
            }
        }
    }

    /// How far it goes back.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.at)
    }

    /// The last snapshot before a time, or the first, and every frame from there to another time:
    /// JSON in pieces, none of which is copied.
    pub(super) fn between(&self, from: u64, to: u64) -> Option<Vec<Bytes>> {
        let snapshots = (0..self.entries.len()).filter(|at| self.entries[*at].is_snapshot);
        let begin = snapshots.clone().rfind(|at| self.entries[*at].at <= from);
        let begin = begin.or(snapshots.min())?;
        let entries = self.entries.range(begin..).take_while(|entry| entry.at <= to.max(from));
        let head = format!("{{\"from\":{from},\"to\":{to},\"snapshot\":");
        let snapshot = self.entries[begin].told.piece();
        let mut pieces = vec![head.into(), snapshot, Bytes::from_static(b",\"frames\":[")];
        let frames = entries.skip(1).filter(|entry| !entry.is_snapshot);
        for (index, frame) in frames.enumerate() {
            if index > 0 {
                pieces.push(Bytes::from_static(b","));
            }
            pieces.push(frame.told.piece());
        }
        pieces.push(Bytes::from_static(b"]}"));
        Some(pieces)
    }
}
