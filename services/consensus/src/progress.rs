//! What a leader knows of one other member, and what is on the way to it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::snapshot::Shipment;
use crate::{Index, Time};

/// Messages with entries on the way to one member.
const MESSAGES_LIMIT: usize = 256;

/// One member, as its leader knows it.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Up to here its log is known to be the leader's (the dissertation's matchIndex).
    pub(crate) matched: Index,
    /// The next entry to send to it (nextIndex).
    pub(crate) next: Index,
    /// How entries are sent to it.
    pub(crate) pace: Pace,
    /// When it was heard last.
    pub(crate) heard: Duration,
    /// The latest round that it has answered.
    pub(crate) round: u64,
    /// What it has been told is committed.
    pub(crate) told: Index,
    /// Whether it is a member no more, and only waits to be told so.
    pub(crate) leaving: bool,
}

/// How entries are sent to a member.
#[derive(Debug)]
pub(crate) enum Pace {
    /// Where the logs match is not known: one message at a time, and the next when it is answered
    /// or a heartbeat is due.
    Probe {
        /// Whether one is on its way.
        sent: bool,
    },
    /// Entries follow each other without waiting for answers.
    Pipeline(Flight),
    /// It needs entries that were dropped: a snapshot is on its way.
    Ship(Box<Shipment>),
}

impl Progress {
    /// A member of which nothing is known, when the log ends at `last`.
    pub(crate) fn unknown(last: Index, now: Duration) -> Self {
        Self {
            matched: Index(0),
            next: last.next(),
            pace: Pace::Probe { sent: false },
            heard: now,
            round: 0,
            told: Index(0),
            leaving: false,
        }
    }

    /// Its log is the leader's up to `matched`.
    pub(crate) fn matches(&mut self, matched: Index) {
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched.next());
        match &mut self.pace {
            Pace::Probe { .. } => self.pace = Pace::Pipeline(Flight::default()),
            Pace::Pipeline(flight) => flight.land(self.matched),
            Pace::Ship(shipment) if shipment.last.0 <= self.matched => {
                self.pace = Pace::Probe { sent: false };
            }
            Pace::Ship(_) => (),
        }
    }

    /// What was sent may not have arrived: begin again behind what is known to match.
    pub(crate) fn doubt(&mut self) {
        if !matches!(self.pace, Pace::Ship(_)) {
            self.next = self.matched.next();
            self.pace = Pace::Probe { sent: true };
        }
    }

    /// Its log differs at the entry before those that were sent: look from `next` on.
    pub(crate) fn look_at(&mut self, next: Index) {
        self.next = next.max(self.matched.next());
        self.pace = Pace::Probe { sent: false };
    }

    /// Whether entries may be sent to it.
    pub(crate) fn has_room(&self, bytes_limit: usize) -> bool {
        match &self.pace {
            Pace::Probe { sent } => !sent,
            Pace::Pipeline(flight) => {
                flight.messages.len() < MESSAGES_LIMIT && flight.bytes < bytes_limit
            }
            Pace::Ship(_) => false,
        }
    }

    /// Entries up to `last`, of so many bytes, are on their way to it.
    pub(crate) fn sends(&mut self, last: Index, bytes: usize) {
        match &mut self.pace {
            Pace::Probe { sent } => *sent = true,
            Pace::Pipeline(flight) => {
                self.next = last.next();
                flight.messages.push_back((last, bytes));
                flight.bytes += bytes;
            }
            Pace::Ship(_) => (),
        }
    }
}

/// What is on its way in a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    messages: VecDeque<(Index, usize)>,
    bytes: usize,
}

impl Flight {
    fn land(&mut self, matched: Index) {
        while self.messages.front().is_some_and(|(last, _)| *last <= matched) {
            let (_, bytes) = self.messages.pop_front().expect("it has a front");
            self.bytes -= bytes;
        }
    }
}

/// The store's time by a leader's clock: it goes on from the last entry that it found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) began: Duration,
    pub(crate) from: Time,
}

impl Clock {
    pub(crate) fn read(self, now: Duration) -> Time {
        self.from.after(now.saturating_sub(self.began))
    }
}
