//! Fingers: finger i of a node is the first node at or after `node + 2^i` (figure 5 of the paper),
//! a shortcut of half the way. Each is looked up again from time to time, one after another; one
//! answer often settles many.

use protocols::Outbox;

use crate::lookup::Goal;
use crate::{Chord, Circle, Id, Peer, Reason};

/// The shortcuts of a node.
#[derive(Debug)]
pub(crate) struct Fingers {
    circle: Circle,
    me: Peer,
    /// Index 0 is the successor; this node itself is where no other lies between.
    nodes: Vec<Option<Peer>>,
    /// Which to look up next.
    next: u32,
    /// Whether one is being looked up.
    mending: bool,
}

impl Fingers {
    pub(crate) fn new(circle: Circle, me: Peer) -> Self {
        let nodes = vec![None; circle.bits() as usize];
        Self { circle, me, nodes, next: 0, mending: false }
    }

    pub(crate) fn at(&self, index: u32) -> Option<&Peer> {
        self.nodes.get(index as usize)?.as_ref()
    }

    /// Index of the first, how many in a row, and the node.
    pub(crate) fn runs(&self) -> Vec<(u32, u32, Peer)> {
        let mut runs = Vec::<(u32, u32, Peer)>::new();
        for (index, node) in (0u32..).zip(&self.nodes) {
            let Some(peer) = node else { continue };
            match runs.last_mut() {
                Some((first, count, last)) if last == peer && *first + *count == index => {
                    *count += 1;
                }
                Some(_) | None => runs.push((index, 1, peer.clone())),
            }
        }
        runs
    }

    /// Every other node that is a finger, with the index of the first of each run of equal ones.
    pub(crate) fn with_index(&self) -> impl Iterator<Item = (u32, &Peer)> {
        (0u32..).zip(&self.nodes).filter_map(|(index, node)| {
            let before = index.checked_sub(1).and_then(|before| self.at(before));
            let peer = node.as_ref().filter(|peer| **peer != self.me)?;
            (before != Some(peer)).then_some((index, peer))
        })
    }

    /// Every other node that is a finger.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Peer> {
        self.with_index().map(|(_, peer)| peer)
    }

    /// Those that begin no later than the successor are the successor.
    pub(crate) fn set_first(&mut self, successor: &Peer) {
        let reach = self.reach(successor);
        for (index, node) in (0u32..).zip(&mut self.nodes) {
            if 1_u64 << index <= reach {
                *node = Some(successor.clone());
            }
        }
    }

    /// The first node at or after the beginning of finger `index` is this one: so it is for every
    /// later finger that begins no later than the node.
    fn set(&mut self, index: u32, peer: &Peer) {
        let reach = self.reach(peer);
        let later = (index + 1..self.circle.bits()).take_while(|index| 1_u64 << index <= reach);
        let last = later.last().unwrap_or(index);
        for node in &mut self.nodes[index as usize..=last as usize] {
            *node = Some(peer.clone());
        }
        self.next = (last + 1) % self.circle.bits();
    }

    /// How far it is to a node; once round to this one itself.
    fn reach(&self, peer: &Peer) -> u64 {
        match self.circle.distance(self.me.id, peer.id) {
            0 => u64::MAX,
            distance => distance,
        }
    }

    pub(crate) fn remove(&mut self, id: Id) {
        for node in &mut self.nodes {
            node.take_if(|peer| peer.id == id);
        }
    }
}

impl Chord {
    /// Looks one finger up, and whatever is known without asking.
    pub(crate) fn mend_fingers(&mut self, out: &mut Outbox<Self>) {
        if self.successors.is_empty() || !self.is_member() || self.fingers.mending {
            return;
        }
        for _ in 0..self.circle.bits() {
            let index = self.fingers.next;
            let begin = self.circle.finger(self.config.me.id, index);
            match self.next_hop(begin, &[]) {
                Some((peer, Reason::Responsible)) => {
                    self.fingers.set(index, &peer);
                }
                Some((peer, _)) => {
                    self.fingers.mending = true;
                    return self.look_up_through(&peer, begin, Goal::Finger(index), out);
                }
                None => return,
            }
            if self.fingers.next == 0 {
                return;
            }
        }
    }

    /// A finger was looked up.
    pub(crate) fn on_finger(&mut self, index: u32, found: Option<&Peer>) {
        self.fingers.mending = false;
        match found {
            Some(peer) if !self.suspicion.is_gone(peer.id) => {
                self.fingers.set(index, peer);
            }
            // The next time another one.
            Some(_) | None => self.fingers.next = (index + 1) % self.circle.bits(),
        }
    }
}
