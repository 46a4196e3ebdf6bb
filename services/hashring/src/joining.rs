//! How a node becomes a member of the ring, and how it leaves.
//!
//! Who joins has a contact look up the first member after it, takes over that one's successors,
//! fetches what it will be responsible for, and only then makes itself known. Its predecessor it
//! learns from that node's own stabilisation.
//!
//! Who leaves stops answering, sees that its successor has everything that it keeps, and then tells
//! both neighbours, who do not have to wait until they miss it.

use std::collections::BTreeSet;
use std::time::Duration;

use protocols::Outbox;

use crate::lookup::Goal;
use crate::{Chord, Description, Event, Id, Interval, Joined, Notice, Peer, Phase};
use crate::{Purpose, Question};

/// How a node that joins gets on.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    /// Since when it has not heard from any member.
    silent_since: Option<Duration>,
    /// How many contacts it has asked, one after another, and round again.
    next: usize,
    /// Whether somebody was asked and has neither answered nor failed to.
    asking: bool,
    /// A contact with a smaller id that looks for its place too, and when it said so.
    rival: Option<Duration>,
    /// The first member after it, and who is before that one.
    place: Option<(Peer, Option<Peer>)>,
}

impl Chord {
    /// Takes the next step towards the ring.
    pub(crate) fn join(&mut self, out: &mut Outbox<Self>) {
        let (now, contacts) = (self.now, self.contacts.len());
        let Phase::Joining(joining) = &mut self.phase else { return };
        let since = *joining.silent_since.get_or_insert(now);
        if joining.place.is_some() || joining.asking {
            return;
        }
        let Some(at) = joining.next.checked_rem(contacts) else { return self.found(out) };
        if let Some(patience) = self.config.founds_after
            && contacts <= joining.next
            // One that looks for its place as well goes first, but not for ever: it may be one
            // that never begins a ring.
            && since + patience <= now
            && (joining.rival.is_none_or(|at| at + patience <= now) || since + 3 * patience <= now)
        {
            return self.found(out);
        }
        joining.next += 1;
        joining.asking = true;
        let contact = self.contacts[at].clone();
        let next = self.circle.after(self.config.me.id, 1);
        self.look_up_through(&contact, next, Goal::Join, out);
    }

    /// Begins a ring.
    fn found(&mut self, out: &mut Outbox<Self>) {
        self.phase = Phase::Member;
        Self::event(Event::Founded, out);
        let me = self.config.me.clone();
        out.notify(Notice::Joined(Joined { predecessor: me.clone(), successor: me }));
        self.become_ready(out);
    }

    /// A contact knows no members; one with a smaller id may begin a ring before this node does.
    pub(crate) fn met_rival(&mut self, id: Id) {
        let (now, me) = (self.now, self.config.me.id);
        if let Phase::Joining(joining) = &mut self.phase
            && id < me
        {
            joining.rival = Some(now);
        }
    }

    /// The lookup through a contact has come to its end.
    pub(crate) fn on_located(&mut self, found: Option<&Peer>, out: &mut Outbox<Self>) {
        let Some(peer) = found else { return self.not_met() };
        if let Phase::Joining(joining) = &mut self.phase {
            // Only members know the way; should this try fail, the same contact is asked again.
            joining.silent_since = Some(self.now);
            joining.next -= 1;
        }
        self.ask(peer, Question::Describe, Purpose::Join, out);
    }

    /// The contact did not help; at the next look after the ring another one is asked.
    pub(crate) fn not_met(&mut self) {
        if let Phase::Joining(joining) = &mut self.phase {
            joining.asking = false;
        }
    }

    /// A member that may be the first after this node has said how it sees the ring.
    pub(crate) fn on_met(&mut self, from: &Peer, description: Description, out: &mut Outbox<Self>) {
        let me = self.config.me.id;
        let Phase::Joining(joining) = &mut self.phase else { return };
        if !description.member {
            return joining.asking = false;
        }
        let before = description.predecessor.filter(|peer| peer.id != me);
        if let Some(nearer) = &before
            && self.circle.is_between(nearer.id, me, from.id)
        {
            return self.ask(nearer, Question::Describe, Purpose::Join, out);
        }
        joining.place = Some((from.clone(), before.clone()));
        self.adopt(from, &description.successors, out);
        // What an unknown predecessor leaves open is fetched as well.
        let after = before.map_or(from.id, |peer| peer.id);
        self.compare(from, Interval::new(after, me), out);
    }

    /// What this node will be responsible for has been fetched, as far as it was there by then.
    pub(crate) fn fetched(&mut self, from: &Peer, out: &mut Outbox<Self>) {
        let Phase::Joining(joining) = &mut self.phase else { return };
        let Some((successor, before)) = joining.place.take_if(|(peer, _)| peer == from) else {
            return;
        };
        self.phase = Phase::Member;
        let predecessor = before.clone().unwrap_or_else(|| successor.clone());
        out.notify(Notice::Joined(Joined { predecessor, successor: successor.clone() }));
        self.ask(&successor, Question::Notify, Purpose::Notify, out);
        // It hears of this node thereby.
        if let Some(before) = before {
            self.watch(&before, out);
        }
    }

    /// What was to be fetched cannot be had there.
    pub(crate) fn not_fetched(&mut self, from: &Peer) {
        if let Phase::Joining(joining) = &mut self.phase
            && joining.place.take_if(|(peer, _)| peer == from).is_some()
        {
            joining.asking = false;
            self.successors.clear();
        }
    }

    /// Begins to leave.
    pub(crate) fn leave(&mut self, out: &mut Outbox<Self>) {
        self.wants_to_leave = true;
        match self.phase {
            Phase::Joining(_) => self.part(out),
            Phase::Member if self.is_joined() => (),
            Phase::Member => {
                self.phase = Phase::Leaving(BTreeSet::new());
                self.ready = None;
                self.hand_over(out);
            }
            Phase::Leaving(_) | Phase::Left => (),
        }
    }

    /// Whether somebody joins by this node who knows few others or none, and is about to say so. In
    /// a small ring everybody else who counts on it is a successor.
    fn is_joined(&self) -> bool {
        let known = |id: &Id| self.successors.iter().any(|peer| peer.id == *id);
        self.successors.len() < self.config.replicas && !self.wards.keys().all(known)
    }

    /// Has the successor compare all that this node keeps, copies too, unless writes still wait:
    /// where one copy goes, another comes.
    pub(crate) fn hand_over(&mut self, out: &mut Outbox<Self>) {
        if !matches!(self.phase, Phase::Leaving(_)) || !self.writes.is_empty() {
            return;
        }
        let Some(successor) = self.successors.first().cloned() else {
            // Nobody is there to take anything; but one that seems dead may be heard again.
            if self.store.is_empty() || self.suspicion.lost().next().is_none() {
                self.part(out);
            }
            return;
        };
        match self.store.outside(&[self.everything()]) {
            // It came here while this node knew of no successor, or another one.
            Some((place, _)) if !self.is_offering() => {
                self.look_up_through(&successor, place, Goal::Stray, out);
            }
            Some(_) => (),
            None => self.compare(&successor, self.everything(), out),
        }
    }

    /// Whether it leaves, and there is nobody to whom it could give what it keeps.
    pub(crate) fn leaves_alone(&self) -> bool {
        matches!(self.phase, Phase::Leaving(_)) && self.successors.is_empty()
    }

    /// All that this node should keep: from its successor, all round, to itself.
    pub(crate) fn everything(&self) -> Interval {
        Interval::new(self.successor().id, self.config.me.id)
    }

    /// The successor has everything: it and the predecessor are told.
    pub(crate) fn handed_over(&mut self, to: &Peer, out: &mut Outbox<Self>) {
        let Phase::Leaving(waits) = &mut self.phase else { return };
        if self.successors.first() != Some(to) {
            return;
        }
        let neighbours = [Some(to.clone()), self.predecessor.clone()];
        let neighbours = neighbours.into_iter().flatten().collect::<BTreeSet<_>>();
        waits.clone_from(&neighbours);
        let question = Question::Leave(self.predecessor.clone(), self.successors.clone());
        for neighbour in neighbours {
            self.ask(&neighbour, question.clone(), Purpose::Farewell, out);
        }
    }

    /// A neighbour has heard that this node leaves. Or it is silent, which must not keep it, unless
    /// it is the successor: then that one, or the next, is told again.
    pub(crate) fn on_farewell(&mut self, from: &Peer, heard: bool, out: &mut Outbox<Self>) {
        let Phase::Leaving(waits) = &mut self.phase else { return };
        if heard || self.successors.first() != Some(from) {
            waits.remove(from);
            if waits.is_empty() {
                self.part(out);
            }
        }
    }

    fn part(&mut self, out: &mut Outbox<Self>) {
        self.phase = Phase::Left;
        out.notify(Notice::Left);
    }
}
