//! Leases: which there are, when they end, and which keys end with them.

use std::ops::Bound;
use std::time::Duration;

use super::pages::Pages;
use super::{Key, LeaseId};
use crate::Time;

/// Every lease that lives.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Leases {
    leases: Pages<LeaseId, Lease>,
    deadlines: Pages<(Time, LeaseId), ()>,
    keys: Pages<(LeaseId, Key), ()>,
}

/// One lease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lease {
    /// Its whole time to live.
    pub(super) ttl: Duration,
    /// When it ends, if nothing keeps it.
    pub(super) deadline: Time,
    /// Keys that end with it.
    pub(super) keys: u64,
}

impl Leases {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.leases.len()
    }

    /// One of them.
    pub(super) fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// Those after one of them, in order.
    pub(super) fn range(&self, after: Bound<&LeaseId>) -> impl Iterator<Item = (&LeaseId, &Lease)> {
        self.leases.range(after)
    }

    /// The last of them.
    pub(super) fn last(&self) -> Option<LeaseId> {
        self.leases.last().map(|(id, _)| *id)
    }

    /// Begins one that ends then.
    pub(super) fn begin(&mut self, id: LeaseId, ttl: Duration, deadline: Time) {
        let before = self.leases.insert(id, Lease { ttl, deadline, keys: 0 });
        assert!(before.is_none(), "an entry grants one lease, and no two have the same index");
        self.deadlines.insert((deadline, id), ());
    }

    /// Begins the time to live of one anew, if there is such a lease, and tells it.
    pub(super) fn keep(&mut self, id: LeaseId, time: Time) -> Option<Duration> {
        let lease = self.leases.get_mut(&id)?;
        let deadline = time.after(lease.ttl);
        if lease.deadline != deadline {
            self.deadlines.remove(&(lease.deadline, id));
            self.deadlines.insert((deadline, id), ());
            lease.deadline = deadline;
        }
        Some(lease.ttl)
    }

    /// Ends one, if there is such a lease, and gives back the keys that end with it, in order.
    pub(super) fn end(&mut self, id: LeaseId) -> Option<Vec<Key>> {
        let lease = self.leases.remove(&id)?;
        self.deadlines.remove(&(lease.deadline, id));
        let least = (id, Key::default());
        let from_there = self.keys.range(Bound::Included(&least)).map(|(of, ())| of);
        let of_it = from_there.take_while(|(of, _)| *of == id);
        let keys: Vec<_> = of_it.map(|(_, key)| key.clone()).collect();
        for key in &keys {
            self.keys.remove(&(id, key.clone()));
        }
        Some(keys)
    }

    /// The first that ends by this time.
    pub(super) fn due(&self, time: Time) -> Option<LeaseId> {
        let ((deadline, id), ()) = self.deadlines.first()?;
        (*deadline <= time).then_some(*id)
    }

    /// When the next one ends.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|((deadline, _), ())| *deadline)
    }

    /// From here on, the key ends with this lease; tells whether there is such a lease.
    pub(super) fn attach(&mut self, id: LeaseId, key: &Key) -> bool {
        let Some(lease) = self.leases.get_mut(&id) else { return false };
        if self.keys.insert((id, key.clone()), ()).is_none() {
            lease.keys += 1;
        }
        true
    }

    /// From here on, the key does not end with this lease.
    pub(super) fn detach(&mut self, id: LeaseId, key: &Key) {
        let lease = self.leases.get_mut(&id).expect("what is attached to a lease ends with it");
        if self.keys.remove(&(id, key.clone())).is_some() {
            lease.keys -= 1;
        }
    }
}
