//! What must never be false of a ring, and what must be true of one that has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use hashring::{Chord, Circle, Id, Interval, Key, Peer};

/// All that is on the ring or leads to it, by id.
pub(crate) struct Ring<'a> {
    circle: Circle,
    replicas: usize,
    members: BTreeMap<Id, &'a Chord>,
}

impl<'a> Ring<'a> {
    pub(crate) fn of(
        circle: Circle,
        replicas: usize,
        nodes: impl Iterator<Item = &'a Chord>,
    ) -> Self {
        let members = nodes.filter(|node| node.is_member()).map(|node| (node.me().id, node));
        Self { circle, replicas, members: members.collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The first successor that is a member. A node that knows fewer than r others knows all of
    /// them: when they are dead it is alone, and its own successor.
    fn best_successor(&self, node: &Chord) -> Option<Id> {
        let live = |peer: &&Peer| self.members.contains_key(&peer.id);
        let best = node.successors().iter().find(live).map(|peer| peer.id);
        best.or((node.successors().len() < self.replicas).then_some(node.me().id))
    }

    /// Zave's invariant: there is one ring, it is in order, and whoever is not on it leads to it.
    pub(crate) fn is_one(&self) -> Result<(), String> {
        let mut next = BTreeMap::new();
        for (id, node) in &self.members {
            let best = self.best_successor(node);
            let best = best.ok_or_else(|| format!("n{id} has no live successor"))?;
            next.insert(*id, best);
        }
        let Some(first) = next.keys().next().copied() else { return Ok(()) };
        let mut ring = BTreeSet::new();
        let mut at = (0..next.len()).fold(first, |at, _| next[&at]);
        let mut turned = 0_u128;
        while ring.insert(at) {
            let steps = self.circle.distance(at, next[&at]);
            turned += if steps == 0 { 1 << self.circle.bits() } else { u128::from(steps) };
            at = next[&at];
        }
        if turned != 1 << self.circle.bits() {
            return Err(format!("the ring of {ring:?} is not in order"));
        }
        let mut reached = ring.clone();
        for id in next.keys() {
            let mut path = BTreeSet::new();
            let mut at = *id;
            while !reached.contains(&at) {
                if !path.insert(at) {
                    return Err(format!("two rings: {ring:?} and one of {path:?}"));
                }
                at = next[&at];
            }
            reached.append(&mut path);
        }
        Ok(())
    }

    /// Everybody knows who is before and after it, and answers for what is between.
    pub(crate) fn is_linked(&self) -> Result<(), String> {
        let ids = self.members.keys().copied().collect::<Vec<_>>();
        for (at, (id, node)) in self.members.iter().enumerate() {
            let mut others = (1..ids.len()).map(|steps| ids[(at + steps) % ids.len()]);
            let expected = others.clone().take(self.replicas).collect::<Vec<_>>();
            let successors = node.successors().iter().map(|peer| peer.id).collect::<Vec<_>>();
            if successors != expected {
                return Err(format!("n{id} has successors {successors:?}, not {expected:?}"));
            }
            let predecessor = node.predecessor().map(|peer| peer.id);
            if predecessor != others.next_back() {
                return Err(format!("n{id} has predecessor {predecessor:?}"));
            }
            let own = Interval::new(predecessor.unwrap_or(*id), *id);
            if node.ready() != Some(own) {
                return Err(format!("n{id} is ready for {:?}, not {own:?}", node.ready()));
            }
        }
        Ok(())
    }

    /// And everybody knows all of its fingers.
    pub(crate) fn is_ideal(&self) -> Result<(), String> {
        self.is_linked()?;
        if self.members.len() < 2 {
            return Ok(());
        }
        for (id, node) in &self.members {
            for index in 0..self.circle.bits() {
                let begin = self.circle.finger(*id, index);
                let expected = self.members.range(begin..).chain(&self.members).next();
                let expected = expected.map(|(id, _)| *id);
                let finger = node.finger(index).map(|peer| peer.id);
                if finger != expected {
                    return Err(format!("finger {index} of n{id} is {finger:?}, not {expected:?}"));
                }
            }
        }
        Ok(())
    }

    /// Whether a key is kept by the responsible node and its successors, the same value by all, and
    /// by nobody else. Who has no room for a copy need not keep one.
    pub(crate) fn is_kept(&self, id: Id, key: &Key) -> Result<(), String> {
        let from = self.members.range(id..).chain(self.members.range(..id));
        let value = from.clone().find_map(|(_, node)| node.kept(id, key));
        let full = |at: usize, node: &Chord| {
            let view = protocols::Protocol::view(node);
            at > 0 && node.kept(id, key).is_none() && 2 * view.bytes_limit <= view.bytes
        };
        let wrong = from.enumerate().find(|(at, (_, node))| {
            let expected = value.filter(|_| *at <= self.replicas);
            node.kept(id, key) != expected && !full(*at, node)
        });
        let Some((at, (node, chord))) = wrong else { return Ok(()) };
        let keeps = if chord.kept(id, key).is_some() { "keeps" } else { "does not keep" };
        Err(format!("n{node}, {at} after the place {id} of {}, {keeps} it", key.escape_ascii()))
    }
}
