//! Clients that save, find and remove, and what they may be told.

use std::collections::BTreeMap;

use hashring::{Action, Circle, Id, Key, Operation, Outcome, Refusal, Value};
use protocols::{NodeId, Ticket, Trace};
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::plan::Promise;
use crate::tally::Tally;

/// What is known of one key.
#[derive(Debug, Default)]
struct History {
    /// Values that somebody tried to save.
    tried: Vec<Value>,
    /// The last operation that was answered and changed it: the value, or none.
    last: Option<Option<Value>>,
    /// Whether something that may have been done, or may yet be, was never answered.
    unsure: bool,
    /// Operations under way that may change it, and how many there ever were.
    changing: u32,
    changes: u64,
    /// Whether a save of it was ever answered, and whether anybody ever tried to remove it.
    saved: bool,
    removed: bool,
}

/// An operation that a client waits for.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) key: Key,
    action: Action,
    /// What the key must hold if nothing changes it meanwhile.
    expected: Option<Option<Value>>,
    /// How many changes of the key there had been.
    changes: u64,
    pub(crate) node: NodeId,
}

/// All clients and keys.
#[derive(Debug)]
pub(crate) struct Clients {
    circle: Circle,
    promise: Promise,
    padding: usize,
    keys: BTreeMap<Key, History>,
    pub(crate) pending: BTreeMap<Ticket, Pending>,
    next: u64,
}

/// Where a key is on the circle: anywhere, but always there.
pub(crate) fn place(key: &[u8], circle: Circle) -> Id {
    let mixed = key.iter().fold(1_u64, |hash, byte| {
        (hash.wrapping_mul(31) + u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    circle.after(Id(0), mixed ^ (mixed >> 29))
}

impl Clients {
    pub(crate) fn new(circle: Circle, promise: Promise, padding: usize) -> Self {
        let (keys, pending) = (BTreeMap::new(), BTreeMap::new());
        Self { circle, promise, padding, keys, pending, next: 1 }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.keys()
    }

    /// Something that a client may ask, of keys that are its own and of some that all want.
    pub(crate) fn think_of(&self, random: &mut StdRng) -> (Key, Action) {
        let name = match random.random_range(0..10) {
            0..3 => format!("shared-{}", random.random_range(0..4)),
            3..6 => format!("own-{}", self.next),
            _ => format!("own-{}", random.random_range(0..=self.next)),
        };
        let action = match random.random_range(0..10) {
            0..4 => {
                let mut value = format!("{name} {}", self.next).into_bytes();
                value.resize(value.len() + self.padding, b'.');
                Action::Save(value.into())
            }
            4..5 => Action::Remove,
            _ => Action::Find,
        };
        (name.into_bytes().into(), action)
    }

    /// Begins an operation at a node.
    pub(crate) fn begin(&mut self, node: NodeId, key: Key, action: Action) -> (Ticket, Operation) {
        let ticket = Ticket(self.next);
        self.next += 1;
        let history = self.keys.entry(key.clone()).or_default();
        let settled = !history.unsure && history.changing == 0;
        let expected = history.last.clone().or(Some(None)).filter(|_| settled);
        if let Action::Save(value) = &action {
            history.tried.push(value.clone());
        }
        if changes(&action) {
            history.changing += 1;
            history.changes += 1;
            history.removed |= action == Action::Remove;
        }
        let (key_, action_, changes) = (key.clone(), action.clone(), history.changes);
        let pending = Pending { key: key_, action: action_, expected, changes, node };
        self.pending.insert(ticket, pending);
        (ticket, Operation { id: place(&key, self.circle), key, action, trace: Trace::default() })
    }

    /// What a key holds by the last operation that was answered, if nobody changes it.
    pub(crate) fn settled(&self, key: &Key) -> Option<Option<Value>> {
        let history = &self.keys[key];
        history.last.clone().filter(|_| !history.unsure && history.changing == 0)
    }

    /// Whether an answer is one that may be given.
    pub(crate) fn judge(&self, pending: &Pending, outcome: &Result<Outcome, Refusal>) {
        let Pending { key, action, expected, changes, .. } = pending;
        let (name, history) = (key.escape_ascii(), &self.keys[key]);
        if let Ok(Outcome::Found(value)) = outcome {
            assert!(history.tried.contains(value), "{name}: nobody saved what was found");
        }
        let Some(expected) = expected.as_ref().filter(|_| history.changes == *changes) else {
            return;
        };
        if self.promise < Promise::Always {
            return;
        }
        match (action, outcome, expected) {
            (Action::Find, Ok(Outcome::Found(value)), Some(expected)) => {
                assert!(value == expected, "{name} holds another value");
            }
            (Action::Find | Action::Remove, Ok(Outcome::Missing), Some(_)) => {
                panic!("{name} is missing")
            }
            (Action::Find, Ok(Outcome::Found(_)), None) => panic!("{name} is back"),
            (Action::Remove, Ok(Outcome::Removed), None) => panic!("{name} was there to remove"),
            (Action::Save(_), Ok(Outcome::Saved), Some(_)) => panic!("{name} was saved again"),
            (Action::Save(_), Ok(Outcome::Exists), None) => panic!("{name} exists already"),
            _ => (),
        }
    }

    /// Notes what is known after an operation has come to its end, untold if its node died.
    pub(crate) fn end(
        &mut self,
        pending: &Pending,
        outcome: Option<&Result<Outcome, Refusal>>,
        tally: &mut Tally,
    ) {
        let history = self.keys.get_mut(&pending.key).expect("it was asked for");
        let alone = history.changing == 1;
        let change = match &pending.action {
            Action::Save(value) => Some(Some(value.clone())),
            Action::Remove => Some(None),
            Action::Find | Action::Locate => None,
        };
        let may_change = change.is_some();
        history.changing -= u32::from(may_change);
        // Of two at once nobody knows which was the last.
        history.unsure |= may_change && !alone;
        tally.count(match outcome {
            None => "forsaken",
            Some(Err(Refusal::Unknown)) => "unknown",
            Some(Err(Refusal::Busy)) => "busy",
            Some(Err(Refusal::Full)) => "full",
            Some(Err(Refusal::Unready)) => "unready",
            Some(Err(Refusal::Lost)) => "nobody found",
            Some(Ok(Outcome::Saved)) => "saved",
            Some(Ok(Outcome::Removed)) => "removed",
            Some(Ok(Outcome::Exists)) => "exists",
            Some(Ok(Outcome::Found(_))) => "found",
            Some(Ok(Outcome::Missing)) => "missing",
            Some(Ok(Outcome::Located | Outcome::Declined(_))) => panic!("that is no answer"),
        });
        match outcome {
            None | Some(Err(Refusal::Unknown)) => history.unsure |= may_change,
            Some(Ok(Outcome::Saved | Outcome::Removed)) => {
                history.saved |= matches!(change, Some(Some(_)));
                history.last = change;
            }
            Some(_) => (),
        }
    }

    /// Whether what a node says of a key after the storm is right.
    pub(crate) fn judge_at_rest(&self, key: &Key, outcome: &Outcome) {
        let (name, history) = (key.escape_ascii(), &self.keys[key]);
        // Two halves of a ring may each take what the other has refused.
        let unsure = history.unsure || self.promise < Promise::Always;
        let lost = *outcome == Outcome::Missing && Promise::Kept <= self.promise;
        assert!(!(lost && history.saved && !history.removed), "{name} is lost");
        match (outcome, &history.last, unsure) {
            (Outcome::Found(value), Some(Some(last)), false) => assert!(value == last, "{name}"),
            (Outcome::Found(_), Some(None) | None, false) => panic!("{name} should hold nothing"),
            (Outcome::Found(value), _, true) => {
                assert!(history.tried.contains(value), "{name}: nobody saved what was found");
            }
            (Outcome::Missing, Some(Some(_)), false) => panic!("{name} is lost"),
            (Outcome::Missing, _, _) => (),
            (other, _, _) => panic!("{name}: {other:?}"),
        }
    }
}

fn changes(action: &Action) -> bool {
    matches!(action, Action::Save(_) | Action::Remove)
}
