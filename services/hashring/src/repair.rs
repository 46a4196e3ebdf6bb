//! How two nodes find out what differs between them, and mend it.
//!
//! One compares: it tells the fingerprint of an interval. If the other's is not the same, it tells
//! those of the parts, and the first goes through each part that differs, page by page: the other
//! asks for what it lacks and gives what the first lacks. When all parts are done they compare once
//! more.
//!
//! A node compares its own part of the circle with all of its successors at every look after the
//! ring (Cates calls this *local maintenance*), and before it answers for it. What it keeps though
//! nobody compares it any more, it offers to whom it belongs, and forgets it when nothing of it is
//! lacking there (*global maintenance*).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use protocols::Outbox;

use crate::lookup::Goal;
use crate::{Answer, Chord, Fingerprint, Id, Interval, Key, Page, Peer, Purpose, Question};

/// How often two nodes compare anew within one look after the ring.
const ROUNDS_LIMIT: u32 = 8;
/// For how many looks after the ring of its own a node counts on being compared with again.
const WARD_TICKS: u32 = 12;
/// Nodes that may count on this one for copies.
const WARDS_LIMIT: usize = 64;

/// A comparison with another node.
#[derive(Debug)]
pub(crate) struct Repair {
    /// The interval in question.
    interval: Interval,
    /// Ranges of places to go through, the first of them from after this item on.
    ranges: VecDeque<(Id, Id)>,
    after: Option<(Id, Key)>,
    /// The end of the page that was sent, and whether it must be sent again.
    up_to: Option<(Id, Key)>,
    again: bool,
    /// Whether the peer has no room.
    refused: bool,
    rounds: u32,
}

/// What it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aim {
    /// To have the same in an interval.
    Same,
    /// To be rid of what does not belong here.
    Offer,
}

impl Chord {
    /// Has every successor compare what this node is responsible for, and offers what it should
    /// not have.
    pub(crate) fn tend_copies(&mut self, out: &mut Outbox<Self>) {
        self.hand_over(out);
        let Some(own) = self.own().filter(|_| self.is_member()) else { return };
        for peer in self.successors.clone() {
            self.compare(&peer, own, out);
        }
        let patience = self.config.stabilise * WARD_TICKS;
        self.wards.retain(|_, (_, at)| self.now < *at + patience);
        let wards = self.wards.values().map(|(interval, _)| *interval);
        let kept = std::iter::once(own).chain(wards).collect::<Vec<_>>();
        // A node that has just come does not know yet who counts on it.
        if u64::from(WARD_TICKS) < self.ticks
            && self.ready.is_some()
            && let Some((place, _)) = self.store.outside(&kept)
            && !self.is_offering()
        {
            self.look_up_stray(place, out);
        }
    }

    pub(crate) fn is_offering(&self) -> bool {
        self.repairs.keys().any(|(_, aim)| *aim == Aim::Offer)
            || self.lookups.values().any(|lookup| matches!(lookup.goal(), Goal::Stray))
    }

    /// Begins to compare an interval with a peer, unless something is compared with it.
    pub(crate) fn compare(&mut self, peer: &Peer, interval: Interval, out: &mut Outbox<Self>) {
        if let Entry::Vacant(vacant) = self.repairs.entry((peer.id, Aim::Same)) {
            vacant.insert(Repair::new(interval));
            self.ask_whether_same(peer, interval, out);
        }
    }

    fn ask_whether_same(&mut self, peer: &Peer, interval: Interval, out: &mut Outbox<Self>) {
        let fingerprint = self.store.fingerprint(interval);
        self.ask(peer, Question::Compare(interval, fingerprint), Purpose::Repair(Aim::Same), out);
    }

    /// The node to which a stray belongs was found: it is offered all strays up to that node.
    pub(crate) fn offer(&mut self, peer: &Peer, place: Id, out: &mut Outbox<Self>) {
        let before = Id(place.0.wrapping_sub(1) & self.circle.last().0);
        let interval = Interval::new(before, peer.id);
        let mut repair = Repair::new(interval);
        repair.ranges.extend(interval.ranges(self.circle));
        self.repairs.insert((peer.id, Aim::Offer), repair);
        self.next_page(peer, Aim::Offer, out);
    }

    /// Another node asks whether an interval is the same here.
    pub(crate) fn on_compare(
        &mut self,
        from: &Peer,
        interval: Interval,
        fingerprint: Fingerprint,
    ) -> Option<Vec<(u32, Fingerprint)>> {
        // It counts on this node to keep a copy of what it is responsible for.
        if interval.to == from.id
            && (self.wards.len() < WARDS_LIMIT || self.wards.contains_key(&from.id))
        {
            self.wards.insert(from.id, (interval, self.now));
        }
        let same = self.store.fingerprint(interval) == fingerprint;
        (!same).then(|| self.store.fingerprints(interval))
    }

    /// Another node shows all that it has in a page.
    pub(crate) fn on_reconcile(&mut self, from: &Peer, page: &Page) -> Answer {
        if let Some((_, at)) = self.wards.get_mut(&from.id) {
            *at = self.now;
        }
        let own = self.own().filter(|_| self.is_member());
        let is_own = |id: Id| own.is_some_and(|own| own.contains(id, self.circle));
        if page.offer && !page.stamps.iter().all(|(id, _, _)| is_own(*id)) {
            // Whoever offers may forget what is here; so only the one to whom it belongs takes it.
            return Answer::Kept(false);
        }
        let (wants, news, more) = self.store.reconcile(page, self.now, self.config.remembers);
        Answer::Reconciled(wants, news, more)
    }

    /// An answer in the course of a comparison.
    pub(crate) fn on_repair(
        &mut self,
        from: &Peer,
        aim: Aim,
        answer: Answer,
        out: &mut Outbox<Self>,
    ) {
        match answer {
            Answer::Compared(None) => self.is_same(from, out),
            Answer::Compared(Some(parts)) => self.differs(from, parts, out),
            Answer::Reconciled(wants, news, more) => {
                for item in news {
                    if self.circle.contains(item.id) {
                        self.store.merge(item, self.now, self.config.remembers);
                    }
                }
                self.give(from, aim, &wants, more, out);
            }
            Answer::Kept(true) => self.page_done(from, aim, out),
            Answer::Kept(false) => self.refused(from, aim, out),
            Answer::Described(_) | Answer::Stepped(_) | Answer::Performed(_) => {
                self.totals.ignored += 1;
            }
        }
    }

    fn is_same(&mut self, peer: &Peer, out: &mut Outbox<Self>) {
        if self
            .repairs
            .get(&(peer.id, Aim::Same))
            .is_some_and(|it| it.interval == self.everything())
        {
            self.handed_over(peer, out);
        }
        self.compared(peer, out);
    }

    /// What a peer has in an interval is here as well.
    fn compared(&mut self, peer: &Peer, out: &mut Outbox<Self>) {
        let Some(repair) = self.repairs.remove(&(peer.id, Aim::Same)) else { return };
        if self.own().is_some_and(|own| repair.interval.covers(own, self.circle)) {
            self.confirmed.insert(peer.id);
            self.become_ready(out);
        }
        self.fetched(peer, out);
    }

    /// A peer has no room for what it lacks, or does not think that an offer is for it. What it
    /// has is of use all the same: nobody else may have it.
    fn refused(&mut self, peer: &Peer, aim: Aim, out: &mut Outbox<Self>) {
        match self.repairs.get_mut(&(peer.id, aim)) {
            Some(repair) if aim == Aim::Same => {
                repair.refused = true;
                self.next_page(peer, aim, out);
            }
            Some(_) | None => self.abandon(peer, aim, out),
        }
    }

    /// Goes through the parts in which two nodes differ.
    fn differs(&mut self, peer: &Peer, parts: Vec<(u32, Fingerprint)>, out: &mut Outbox<Self>) {
        let Some(repair) = self.repairs.get_mut(&(peer.id, Aim::Same)) else { return };
        let interval = repair.interval;
        repair.rounds += 1;
        if ROUNDS_LIMIT < repair.rounds {
            // More is written than can be compared; what was there at first has been.
            self.repairs.remove(&(peer.id, Aim::Same));
            return self.fetched(peer, out);
        }
        let ours = self.store.fingerprints(interval).into_iter().collect::<BTreeMap<_, _>>();
        let theirs = parts.into_iter().filter(|(part, _)| self.store.has_part(*part));
        let theirs = theirs.collect::<BTreeMap<_, _>>();
        let all = ours.keys().chain(theirs.keys()).copied();
        let differing = all.filter(|part| ours.get(part) != theirs.get(part)).collect();
        repair.ranges.extend(self.store.cover(interval, &differing));
        self.next_page(peer, Aim::Same, out);
    }

    /// Sends the page that is next; compares once more when there is none.
    fn next_page(&mut self, peer: &Peer, aim: Aim, out: &mut Outbox<Self>) {
        let Some(repair) = self.repairs.get_mut(&(peer.id, aim)) else { return };
        let Some((first, last)) = repair.ranges.front().copied() else {
            let interval = repair.interval;
            return match aim {
                Aim::Same if repair.refused => self.compared(peer, out),
                Aim::Same => self.ask_whether_same(peer, interval, out),
                Aim::Offer => {
                    self.repairs.remove(&(peer.id, aim));
                    self.hand_over(out);
                }
            };
        };
        let page = self.store.page(first, last, repair.after.clone(), aim == Aim::Offer);
        repair.up_to.clone_from(&page.up_to);
        self.ask(peer, Question::Reconcile(page), Purpose::Repair(aim), out);
    }

    /// Sends what the peer lacks of the page.
    fn give(
        &mut self,
        peer: &Peer,
        aim: Aim,
        wants: &[(Id, Key)],
        more: bool,
        out: &mut Outbox<Self>,
    ) {
        let Some(repair) = self.repairs.get_mut(&(peer.id, aim)) else { return };
        if repair.refused {
            repair.again = more;
            return self.page_done(peer, aim, out);
        }
        if wants.is_empty() && !more {
            if aim == Aim::Offer {
                self.forget_page(peer);
            }
            return self.page_done(peer, aim, out);
        }
        let (items, all) = self.store.items(wants, self.now, self.config.remembers);
        repair.again = more || !all;
        if items.is_empty() {
            return self.page_done(peer, aim, out);
        }
        self.totals.repaired += items.len() as u64;
        self.ask(peer, Question::Keep(items), Purpose::Repair(aim), out);
    }

    /// Nothing of the page is lacking at the node to which it belongs.
    fn forget_page(&mut self, peer: &Peer) {
        let Some(repair) = self.repairs.get(&(peer.id, Aim::Offer)) else { return };
        let Some((first, last)) = repair.ranges.front().copied() else { return };
        let page = self.store.page(first, last, repair.after.clone(), true);
        let wards = self.wards.values().map(|(interval, _)| *interval);
        let kept = self.own().into_iter().chain(wards).filter(|_| self.is_member());
        let kept = kept.collect::<Vec<_>>();
        for (id, key, _) in page.stamps {
            if !kept.iter().any(|interval| interval.contains(id, self.circle)) {
                self.store.forget(&(id, key));
            }
        }
    }

    fn page_done(&mut self, peer: &Peer, aim: Aim, out: &mut Outbox<Self>) {
        let Some(repair) = self.repairs.get_mut(&(peer.id, aim)) else { return };
        if !std::mem::take(&mut repair.again) {
            repair.after = repair.up_to.take();
            if repair.after.is_none() {
                repair.ranges.pop_front();
            }
        }
        self.next_page(peer, aim, out);
    }

    /// A peer does not answer in the course of a comparison.
    pub(crate) fn abandon(&mut self, peer: &Peer, aim: Aim, out: &mut Outbox<Self>) {
        self.repairs.remove(&(peer.id, aim));
        self.not_fetched(peer);
        self.become_ready(out);
    }
}

impl Repair {
    fn new(interval: Interval) -> Self {
        Self {
            interval,
            ranges: VecDeque::new(),
            after: None,
            up_to: None,
            again: false,
            refused: false,
            rounds: 0,
        }
    }
}
