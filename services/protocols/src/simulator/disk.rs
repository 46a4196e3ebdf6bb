//! A node's disk: what waits for it, what a sync releases, and what a crash leaves of it.

use std::collections::VecDeque;

use rand::Rng;
use rand::rngs::StdRng;

use super::member::{Arrival, Doom, Moment};
use super::{Crash, Event, Simulator, Step};
use crate::{Effect, NodeId, Protocol};

/// What of a node's effects waits for its disk.
pub(super) struct Disk<P: Protocol> {
    /// In the order of the steps. The first is a record: nothing else would have to wait.
    queue: VecDeque<Effect<P>>,
    /// The sync that runs, whenever anything waits.
    sync: Option<Sync>,
}

/// A sync that runs.
#[derive(Clone, Copy)]
struct Sync {
    /// The serial number by which its end is known.
    serial: u64,
    /// How many of the records that wait it contains, from the first.
    records: usize,
}

impl<P: Protocol> Disk<P> {
    /// A disk for which nothing waits.
    pub(super) fn idle() -> Self {
        Self { queue: VecDeque::new(), sync: None }
    }

    /// Whether the sync that runs has this serial number.
    pub(super) fn is_syncing(&self, serial: u64) -> bool {
        self.sync.is_some_and(|sync| sync.serial == serial)
    }

    /// Ends the sync that runs: its records, and every effect that waits for no later one.
    fn release(&mut self) -> (Vec<P::Record>, Vec<Effect<P>>) {
        let synced = self.sync.take().map_or(0, |sync| sync.records);
        let (mut records, mut effects) = (Vec::with_capacity(synced), Vec::new());
        while let Some(effect) = self.queue.pop_front() {
            match effect {
                Effect::Persist(record) if records.len() < synced => records.push(record),
                Effect::Persist(_) => {
                    self.queue.push_front(effect);
                    break;
                }
                Effect::Arm(..) | Effect::Disarm(_) | Effect::Notify(_) | Effect::Send(..) => {
                    effects.push(effect);
                }
            }
        }
        (records, effects)
    }

    /// The records that wait, in their order.
    fn into_records(self) -> impl ExactSizeIterator<Item = P::Record> {
        let records = self.queue.into_iter().filter_map(|effect| match effect {
            Effect::Persist(record) => Some(record),
            Effect::Arm(..) | Effect::Disarm(_) | Effect::Notify(_) | Effect::Send(..) => None,
        });
        records.collect::<Vec<_>>().into_iter()
    }
}

impl<P: Protocol> Simulator<P> {
    /// Lets the first record beyond those that outlive a crash whole outlive it in part: `tear`
    /// gives what is left of it, if anything is. Without it records are never torn.
    pub fn set_tear(&mut self, tear: fn(&P::Record, &mut StdRng) -> Option<P::Record>) {
        self.tear = Some(tear);
    }

    /// Performs an effect of a step, or lets it wait for the disk. Alarms never wait.
    pub(super) fn perform_or_queue(
        &mut self,
        node: NodeId,
        effect: Effect<P>,
        notices: &mut Vec<P::Notice>,
    ) {
        let slow = self.weather.has_slow_disks();
        let queue = &mut self.incarnation(node).disk.queue;
        let waits = match &effect {
            Effect::Arm(..) | Effect::Disarm(_) => false,
            Effect::Notify(_) | Effect::Send(..) => !queue.is_empty(),
            Effect::Persist(_) => slow || !queue.is_empty(),
        };
        if waits {
            queue.push_back(effect);
        } else {
            self.perform(node, effect, notices);
        }
    }

    /// Begins a sync of every record that waits, if any does and the disk is idle.
    pub(super) fn begin_sync(&mut self, node: NodeId) {
        let disk = &self.incarnation(node).disk;
        if disk.sync.is_some() || disk.queue.is_empty() {
            return;
        }
        let records =
            disk.queue.iter().filter(|effect| matches!(effect, Effect::Persist(_))).count();
        let lasting = self.weather.sync_once(&mut self.random);
        let serial = self.next_serial();
        self.incarnation(node).disk.sync = Some(Sync { serial, records });
        self.note(node, format_args!("syncs {records} records in {lasting:?}"));
        self.post_after(lasting, Event::Arrive(node, Arrival::Synced(serial)));
    }

    /// Makes the records of a sync durable and performs what waited for them, or what comes before
    /// a crash.
    pub(super) fn end_sync(&mut self, node: NodeId) -> Step<P> {
        self.counts.syncs += 1;
        let (records, effects) = self.incarnation(node).disk.release();
        let mut notices = Vec::new();
        for record in records {
            self.perform(node, Effect::Persist(record), &mut notices);
        }
        let whole = effects.len();
        let crash = self.crash_after_sync(node, whole);
        let kept = crash.map_or(whole, |crash| crash.kept);
        for effect in effects.into_iter().take(kept) {
            self.perform(node, effect, &mut notices);
        }
        self.conclude(node, notices, whole, crash)
    }

    /// Whether the end of a sync is the node's end, and how many of the effects that the sync
    /// released are performed.
    fn crash_after_sync(&mut self, node: NodeId, released: usize) -> Option<Crash> {
        let Doom { moment, down } = self.incarnation(node).doom?;
        match moment {
            Moment::After(_) => None,
            Moment::Any | Moment::Persisting | Moment::Synced => {
                Some(Crash { kept: self.random.random_range(0..=released), down })
            }
        }
    }

    /// What is left of the records that waited for a disk whose node crashed: some from the first,
    /// and of the next one perhaps a part.
    pub(super) fn spare(&mut self, node: NodeId, disk: Disk<P>) {
        let mut records = disk.into_records();
        let waiting = records.len();
        if waiting == 0 {
            return;
        }
        let spared = self.random.random_range(0..=waiting);
        // Nobody is left to be told anything.
        let mut notices = Vec::new();
        for record in records.by_ref().take(spared) {
            self.perform(node, Effect::Persist(record), &mut notices);
        }
        let torn = match (records.next(), self.tear) {
            (Some(record), Some(tear)) => tear(&record, &mut self.random),
            (None, _) | (_, None) => None,
        };
        let parts = usize::from(torn.is_some());
        self.counts.spared_records += spared as u64;
        self.counts.torn_records += parts as u64;
        self.counts.lost_records += (waiting - spared - parts) as u64;
        if let Some(torn) = torn {
            self.perform(node, Effect::Persist(torn), &mut notices);
        }
        self.note(
            node,
            format_args!("of {waiting} unsynced records {spared} are whole, {parts} in part"),
        );
    }
}
