//! A ring at rest: what its members say, against what they ought to.

use std::collections::BTreeSet;

use super::view::{Peer, View, last};

/// Ids that a piece of evidence names.
const NAMED: usize = 8;

/// The members of a ring, in the order of their ids.
#[derive(Debug)]
pub(super) struct Ring<'a> {
    members: Vec<&'a View>,
    bits: u32,
}

impl<'a> Ring<'a> {
    /// Nothing if there are none, if they are of different circles, if one of them counts on
    /// somebody who is not among them, or takes one of them for dead.
    pub(super) fn of(mut members: Vec<&'a View>) -> Option<Self> {
        let bits = members.first()?.shape.bits;
        members.sort_by_key(|view| view.shape.node);
        let nodes = members.iter().map(|view| view.shape.node).collect::<BTreeSet<_>>();
        let ids = nodes.iter().map(|node| node.id).collect::<BTreeSet<_>>();
        let addresses = nodes.iter().map(|node| node.address).collect::<BTreeSet<_>>();
        // A node that began anew at its address may have another id.
        let lives = |peer: &Peer| ids.contains(&peer.id) || addresses.contains(&peer.address);
        let whole = members.iter().all(|view| {
            let shape = &view.shape;
            let mut known = shape.successors.iter().chain(&shape.predecessor);
            shape.bits == bits
                && known.all(|peer| nodes.contains(peer))
                && !shape.lost.iter().any(lives)
        });
        let distinct = addresses.len() == members.len();
        (whole && distinct).then_some(Self { members, bits })
    }

    /// By first successors there is one ring, in order, and everybody is on it: each goes on with
    /// the one whose id is next.
    pub(super) fn disorder(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let nodes = || self.members.iter().map(|view| view.shape.node);
        for (one, other) in nodes().zip(nodes().skip(1)) {
            if one.id == other.id {
                wrong.push(format!("two nodes have the id {}", one.id));
            }
        }
        let next = nodes().cycle().skip(1);
        for (view, right) in self.members.iter().zip(next) {
            let node = view.shape.node;
            let has = view.shape.successors.first().copied().unwrap_or(node);
            if has != right {
                wrong.push(format!("{} goes on with {}, not with {}", node.id, has.id, right.id));
            }
        }
        wrong
    }

    /// Places for which more than one answers.
    pub(super) fn overlaps(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut furthest: Option<(u64, u64)> = None;
        for (from, to, id) in self.ranges() {
            if let Some((end, other)) = furthest.filter(|(end, _)| from <= *end) {
                let until = end.min(to);
                found.push(format!("{other} and {id} both answer for {from} to {until}"));
            }
            if furthest.is_none_or(|(end, _)| end < to) {
                furthest = Some((to, id));
            }
        }
        found
    }

    /// Places for which nobody answers.
    pub(super) fn gaps(&self) -> Vec<String> {
        let mut found = Vec::new();
        // The first place that nobody is known to answer for; none after the last one.
        let mut next = Some(0_u64);
        for (from, to, _) in self.ranges() {
            let Some(open) = next else { break };
            if open < from {
                found.push(format!("nobody answers for {open} to {}", from - 1));
            }
            next = to.max(from).checked_add(1).map(|after| after.max(open));
        }
        if let Some(open) = next.filter(|open| *open <= last(self.bits)) {
            found.push(format!("nobody answers for {open} to {}", last(self.bits)));
        }
        found
    }

    /// Whether there is a member that answers for nothing, as one does whose keys are on their way.
    pub(super) fn is_filling(&self) -> bool {
        self.members.iter().any(|view| view.shape.ready.is_none())
    }

    /// Who has counted another number of members than there are.
    pub(super) fn miscounts(&self) -> Vec<String> {
        let right = self.members.len() as u64;
        let counted = self.members.iter().map(|view| (view.shape.node.id, view.counted));
        // Who has heard of no census yet has counted nobody.
        let wrong = counted.filter(|(_, counted)| *counted != 0 && *counted != right);
        wrong.map(|(id, counted)| format!("{id} counted {counted} members of {right}")).collect()
    }

    /// Whether anybody has counted.
    pub(super) fn is_counted(&self) -> bool {
        self.members.iter().any(|view| view.counted != 0)
    }

    /// The members, in short.
    pub(super) fn named(&self) -> String {
        let ids = self.members.iter().take(NAMED).map(|view| view.shape.node.id.to_string());
        let ids = ids.collect::<Vec<_>>().join(", ");
        let more = self.members.len().saturating_sub(NAMED);
        if more == 0 { ids } else { format!("{ids} and {more} more") }
    }

    /// For which places members answer: first, last, and who; in their order.
    fn ranges(&self) -> Vec<(u64, u64, u64)> {
        let end = last(self.bits);
        let mut ranges = Vec::new();
        for view in &self.members {
            let Some((after, to)) = view.shape.ready else { continue };
            let id = view.shape.node.id;
            if after == to {
                ranges.push((0, end, id));
                continue;
            }
            let first = if after == end { 0 } else { after + 1 };
            if first <= to {
                ranges.push((first, to, id));
            } else {
                ranges.extend([(first, end, id), (0, to, id)]);
            }
        }
        ranges.sort_unstable();
        ranges
    }
}
