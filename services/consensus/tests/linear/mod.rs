//! Judges whether a store was linearizable: whether what its clients saw can be explained by every
//! operation happening at once, at some moment between its call and its answer.
//!
//! Write down each call and each answer in a [`History`] as they happen, and let it
//! [`check`](History::check). An operation without an answer may have happened at any time after
//! its call, once, or never; one that was refused with certainty is taken out.
//!
//! It knows operations on one key: put, delete and get, with every condition. It takes each key by
//! itself, which is enough (Herlihy and Wing 1990, locality); beyond that it holds the store to the
//! promise that versions are places in one log: whatever is done after an answer has a higher one,
//! whichever the keys. It does not know leases, ranges and sessions, and takes every key to be
//! absent at first. A history that holds is found to hold in about its own length; one that does
//! not, and has hundreds of unknown operations on one key, may be given up, which is an error too.

#![allow(dead_code, reason = "each test that uses this module uses a part of it")]

mod search;
mod show;

use std::collections::BTreeMap;
use std::time::Duration;

use consensus::store::{Action, Answer, Condition, Item, Key, Query, Value};

/// What clients asked and were told, in the order in which they did and were.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    operations: Vec<Operation>,
    /// Calls and answers so far: their order is all that counts, and no two are at once.
    moments: u64,
}

/// One operation of one client.
#[derive(Clone, Debug)]
struct Operation {
    client: u64,
    key: Key,
    doing: Doing,
    called: Moment,
    outcome: Outcome,
}

/// What an operation does to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Doing {
    Put(Value, Condition),
    Delete(Condition),
    Get,
}

#[derive(Clone, Debug)]
enum Outcome {
    /// Nobody knows.
    Unknown,
    /// It was not done and never will be.
    Nothing,
    Answered(Moment, Answer),
}

/// When something happened: its place in the history, and its time for the reader.
#[derive(Clone, Copy, Debug)]
struct Moment {
    place: u64,
    at: Duration,
}

/// Names an operation of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OperationId(usize);

/// What a history that holds was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Operations with an answer.
    pub(crate) answered: usize,
    /// Operations without one.
    pub(crate) unknown: usize,
    /// Of these, how many must have happened.
    pub(crate) surfaced: usize,
}

impl History {
    /// A client asks for a put or a delete; the time is for the reader alone.
    ///
    /// # Panics
    ///
    /// When the action is another one, or has a lease.
    pub(crate) fn act(&mut self, client: u64, at: Duration, action: Action) -> OperationId {
        match action {
            Action::Put { key, value, lease: None, condition } => {
                self.call(client, at, key, Doing::Put(value, condition))
            }
            Action::Delete { key, condition } => {
                self.call(client, at, key, Doing::Delete(condition))
            }
            Action::Put { lease: Some(_), .. }
            | Action::Grant(_)
            | Action::KeepAlive(_)
            | Action::Revoke(_)
            | Action::OpenSession
            | Action::CloseSession(_) => panic!("{action:?} is not about one key alone"),
        }
    }

    /// A client asks what a key has; the time is for the reader alone.
    ///
    /// # Panics
    ///
    /// When it asks for anything else.
    pub(crate) fn query(&mut self, client: u64, at: Duration, query: Query) -> OperationId {
        match query {
            Query::Get(key) => self.call(client, at, key, Doing::Get),
            Query::Range { .. } | Query::Lease(_) => panic!("{query:?} is not about one key alone"),
        }
    }

    /// The client has its answer.
    pub(crate) fn answer(&mut self, id: OperationId, at: Duration, answer: Answer) {
        let moment = self.moment(at);
        self.operations[id.0].outcome = Outcome::Answered(moment, answer);
    }

    /// The client was told that nothing was done and nothing will be.
    pub(crate) fn refuse(&mut self, id: OperationId) {
        self.operations[id.0].outcome = Outcome::Nothing;
    }

    /// Whether the store was linearizable.
    ///
    /// # Errors
    ///
    /// Why it was not, with the operations around the one that cannot be explained.
    pub(crate) fn check(&self) -> Result<Checked, String> {
        self.check_versions()?;
        let mut keys: BTreeMap<&Key, Vec<usize>> = BTreeMap::new();
        for (number, operation) in self.operations.iter().enumerate() {
            keys.entry(&operation.key).or_default().push(number);
        }
        let mut checked = Checked::default();
        for (key, numbers) in keys {
            let surfaced = search::explain(&self.operations, &numbers)
                .map_err(|stuck| show::explanation(&self.operations, key, &stuck))?;
            checked.surfaced += surfaced;
        }
        for operation in &self.operations {
            match operation.outcome {
                Outcome::Answered(..) => checked.answered += 1,
                Outcome::Unknown => checked.unknown += 1,
                Outcome::Nothing => (),
            }
        }
        Ok(checked)
    }

    fn call(&mut self, client: u64, at: Duration, key: Key, doing: Doing) -> OperationId {
        let called = self.moment(at);
        self.operations.push(Operation { client, key, doing, called, outcome: Outcome::Unknown });
        OperationId(self.operations.len() - 1)
    }

    fn moment(&mut self, at: Duration) -> Moment {
        self.moments += 1;
        Moment { place: self.moments, at }
    }

    /// Versions are places in one log: no two operations share one, and none has a lower one than
    /// an operation that was answered before it was called.
    fn check_versions(&self) -> Result<(), String> {
        let mut owners = BTreeMap::new();
        let mut answered = BTreeMap::new();
        for (number, operation) in self.operations.iter().enumerate() {
            if let Outcome::Answered(moment, answer) = &operation.outcome
                && let Some(version) = version_of(answer)
            {
                if let Some(other) = owners.insert(version, number) {
                    let pair = [other, number];
                    return Err(show::pair(&self.operations, "have the same version", pair));
                }
                answered.insert(moment.place, (version, number));
            }
        }
        // The highest version that was answered so far.
        let mut answered = answered.into_iter().peekable();
        let mut highest: Option<(u64, usize)> = None;
        for (number, operation) in self.operations.iter().enumerate() {
            while let Some((_, next)) =
                answered.next_if(|(place, _)| *place < operation.called.place)
            {
                highest = highest.max(Some(next));
            }
            if let (Some((floor, other)), Outcome::Answered(_, answer)) =
                (highest, &operation.outcome)
                && version_of(answer).is_some_and(|version| version < floor)
            {
                let what = "have versions against the order in which they happened";
                return Err(show::pair(&self.operations, what, [other, number]));
            }
        }
        Ok(())
    }
}

/// The version that an operation has by its answer, if it changed anything.
fn version_of(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Put { version, .. } | Answer::Deleted { version, .. } => Some(version.0),
        Answer::Unmet(_)
        | Answer::Granted(..)
        | Answer::KeptAlive(..)
        | Answer::Revoked(_)
        | Answer::Opened(_)
        | Answer::Closed
        | Answer::NoLease(_)
        | Answer::NoSession(_)
        | Answer::Forgotten
        | Answer::Item(_)
        | Answer::Items(..)
        | Answer::Lease { .. } => None,
    }
}

/// Whether a condition holds of what a key has.
fn holds(condition: &Condition, item: Option<&Item>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => item.is_none(),
        Condition::Version(version) => item.is_some_and(|item| item.version == *version),
        Condition::Value(value) => item.is_some_and(|item| item.value == *value),
    }
}
