//! Who does not answer: some questions in a row without an answer, and a node is taken for dead.
//! That may be wrong. It is remembered and looked for from time to time, since what seems dead may
//! be a part of the ring that was cut off.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocols::{Outbox, Ticket};

use crate::{Chord, Event, Id, Peer, Purpose, Question};

/// Nodes that are looked for; of more the oldest are forgotten.
const LOST_LIMIT: usize = 64;
/// Contacts that are remembered.
const CONTACTS_LIMIT: usize = 256;
/// For how many looks after the ring it is remembered that a node has left, since others may not
/// know it yet.
const LEFT_TICKS: u32 = 10;

/// What is known of nodes that may be dead.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    /// How often in a row a node has not answered.
    strikes: BTreeMap<Id, u32>,
    /// Nodes that are taken for dead, the oldest first.
    lost: VecDeque<Peer>,
    /// Nodes that have left, and until when that is remembered.
    left: BTreeMap<Id, Duration>,
}

impl Suspicion {
    /// Nodes that are taken for dead.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &Peer> {
        self.lost.iter()
    }

    /// Whether a node has answered every question so far.
    pub(crate) fn trusts(&self, id: Id) -> bool {
        !self.strikes.contains_key(&id)
    }

    /// Whether a node is taken for dead, or has left.
    pub(crate) fn is_gone(&self, id: Id) -> bool {
        self.left.contains_key(&id) || self.lost.iter().any(|peer| peer.id == id)
    }

    /// A node that was taken for dead lives. False if it was not.
    pub(crate) fn find(&mut self, id: Id) -> bool {
        let before = self.lost.len();
        self.lost.retain(|peer| peer.id != id);
        self.lost.len() < before
    }

    /// A node has shown that it is a member.
    pub(crate) fn is_back(&mut self, id: Id) {
        self.left.remove(&id);
    }

    /// The node that was not looked for the longest.
    fn next_lost(&mut self) -> Option<Peer> {
        self.lost.rotate_left(usize::from(!self.lost.is_empty()));
        self.lost.back().cloned()
    }

    fn lose(&mut self, peer: Peer) {
        self.strikes.remove(&peer.id);
        self.lost.retain(|known| known.id != peer.id);
        if self.lost.len() == LOST_LIMIT {
            self.lost.pop_front();
        }
        self.lost.push_back(peer);
    }

    fn leave(&mut self, id: Id, until: Duration) {
        self.strikes.remove(&id);
        self.lost.retain(|known| known.id != id);
        self.left.insert(id, until);
    }

    /// Forgets those that left long ago.
    pub(crate) fn expire(&mut self, now: Duration) {
        self.left.retain(|_, until| now < *until);
    }
}

impl Chord {
    /// Whoever speaks, lives.
    pub(crate) fn heard(&mut self, from: &Peer, out: &mut Outbox<Self>) {
        self.suspicion.strikes.remove(&from.id);
        if self.leaves_alone() {
            // Perhaps it takes what this node keeps; until that is known, it stays lost.
            if !self.is_asked(from.id) {
                self.ask(from, Question::Describe, Purpose::Probe, out);
            }
            return;
        }
        if self.suspicion.find(from.id) {
            Self::event(Event::Returned(from.clone()), out);
        }
        // A node that belongs between this one and its successor: see whether it is a member.
        if self.is_member() && self.belongs_next(from.id) && !self.is_asked(from.id) {
            self.ask(from, Question::Describe, Purpose::Candidate, out);
        }
    }

    pub(crate) fn is_asked(&self, id: Id) -> bool {
        self.asked.values().any(|asked| asked.peer.id == id)
    }

    /// A node that has slept may have been taken for dead, and another may have answered for its
    /// part: before it does so again, its successor must agree, and its copies be compared.
    pub(crate) fn notice_sleep(&mut self) {
        let longest = self.config.stabilise + self.config.patience;
        if self.now <= self.looked + longest || self.successors.is_empty() {
            return;
        }
        self.looked = self.now;
        self.ready = None;
        self.accepted = None;
        self.confirmed.clear();
    }

    /// A question was not answered in time.
    pub(crate) fn on_impatience(&mut self, ticket: Ticket, out: &mut Outbox<Self>) {
        let Some(asked) = self.asked.get(&ticket) else { return };
        let peer = asked.peer.clone();
        self.unanswered(ticket, out);
        self.strike(&peer, out);
    }

    /// The link to a node broke or could not be made: nothing that it was asked will be answered.
    pub(crate) fn on_unreachable(&mut self, id: Id, out: &mut Outbox<Self>) {
        let lost = |asked: &crate::Asked| asked.peer.id == id;
        let tickets = self.asked.iter().filter(|(_, asked)| lost(asked));
        let tickets = tickets.map(|(ticket, _)| *ticket).collect::<Vec<_>>();
        let known = self.known(id).or_else(|| {
            let asked = self.asked.get(tickets.first()?)?;
            Some(asked.peer.clone())
        });
        for ticket in tickets {
            self.unanswered(ticket, out);
        }
        if let Some(peer) = known {
            self.strike(&peer, out);
        }
    }

    /// A node that this one counts on.
    fn known(&self, id: Id) -> Option<Peer> {
        let ours = self.successors.iter().chain(&self.predecessor);
        ours.chain(self.fingers.all()).find(|peer| peer.id == id).cloned()
    }

    /// A node has not answered. It is asked again at once, and taken for dead if it goes on so.
    fn strike(&mut self, peer: &Peer, out: &mut Outbox<Self>) {
        if self.suspicion.is_gone(peer.id) || self.known(peer.id).is_none() {
            return;
        }
        let strikes = self.suspicion.strikes.entry(peer.id).or_default();
        *strikes += 1;
        if self.config.strikes <= *strikes {
            self.suspect(peer, out);
        } else if !self.is_asked(peer.id) {
            self.ask(peer, Question::Describe, Purpose::Watch, out);
        }
    }

    fn suspect(&mut self, peer: &Peer, out: &mut Outbox<Self>) {
        self.totals.suspected += 1;
        Self::event(Event::Suspected(peer.clone()), out);
        self.suspicion.lose(peer.clone());
        self.wards.remove(&peer.id);
        self.part_with(peer, &[], out);
    }

    /// A node has left, or is not who it was taken for: nothing more is expected of it.
    pub(crate) fn let_go(&mut self, peer: &Peer, instead: &[Peer], out: &mut Outbox<Self>) {
        self.suspicion.leave(peer.id, self.now + self.config.stabilise * LEFT_TICKS);
        self.wards.remove(&peer.id);
        self.part_with(peer, instead, out);
    }

    /// What is at this node's address is another node.
    pub(crate) fn drop_peer(&mut self, peer: &Peer, out: &mut Outbox<Self>) {
        self.contacts.retain(|contact| contact != peer);
        let known = self.known(peer.id);
        if known.is_some_and(|known| known == *peer) || self.suspicion.is_gone(peer.id) {
            self.let_go(peer, &[], out);
        }
        let asked = self.asked.iter().filter(|(_, asked)| asked.peer == *peer);
        for ticket in asked.map(|(ticket, _)| *ticket).collect::<Vec<_>>() {
            self.unanswered(ticket, out);
        }
    }

    /// These nodes may be members; they take the place of the contacts.
    pub(crate) fn meet(&mut self, peers: Vec<Peer>) {
        let strangers = peers
            .into_iter()
            .filter(|peer| peer.id != self.config.me.id && self.circle.contains(peer.id));
        let peers = strangers.take(CONTACTS_LIMIT).collect::<Vec<_>>();
        if !peers.is_empty() {
            self.contacts = peers;
        }
    }

    /// Looks for a node that was lost.
    pub(crate) fn probe(&mut self, out: &mut Outbox<Self>) {
        if let Some(peer) = self.suspicion.next_lost()
            && !self.is_asked(peer.id)
        {
            self.ask(&peer, Question::Describe, Purpose::Probe, out);
        }
    }
}
