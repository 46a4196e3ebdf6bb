//! Whether the ring is one: Zave's invariant ("Reasoning about Identifier Spaces: How to Make
//! Chord Correct", and the paper before it, "Using Lightweight Modeling to Understand Chord"), read
//! off what the nodes say of themselves.
//!
//! A member's best successor is the first one in its list that lives. By best successors there must
//! be one ring, in order, that every member reaches. What is not part of that but true of a ring
//! that has come to rest is asked for too, as a warning: a ring mends it by itself.
//!
//! The nodes are asked one after another and not at one moment: of a ring that is changing, this
//! may see what never was.

use std::collections::{BTreeMap, BTreeSet};

use chord::client::{Circle, Id, NodeState, Peer};

use super::crawl::Survey;
use super::info::finger;
use super::text::{chain, identity, listed};

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// At any time: without it, keys may be out of reach for ever.
    Invariant,
    /// Once the ring has come to rest.
    Warning,
    /// Need not hold.
    Note,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) weight: Weight,
    /// What was seen, in short.
    pub(super) seen: String,
    /// What speaks against it; nothing when it holds.
    pub(super) evidence: Vec<String>,
}

impl Finding {
    pub(super) fn holds(&self) -> bool {
        self.evidence.is_empty()
    }
}

/// The members, and who is next to each.
struct Picture<'a> {
    circle: Circle,
    members: BTreeMap<Id, &'a NodeState>,
    /// Each member's best successor, if it has one.
    next: BTreeMap<Id, Option<Id>>,
    /// The rings that best successors make, each from its smallest id on; the longest first.
    rings: Vec<Vec<Id>>,
    /// Those that get to the longest ring, or are on it.
    reaching: BTreeSet<Id>,
}

/// Checks all; nothing when no node answers.
pub(super) fn verify(survey: &Survey) -> Vec<Finding> {
    let states: Vec<&NodeState> = survey.states().map(|(_, state)| state).collect();
    let Some(picture) = Picture::of(&states) else { return Vec::new() };
    vec![
        one_kind(&states),
        own_ids(&states),
        picture.one_ring(),
        picture.in_order(),
        picture.connected(),
        picture.nobody_left_out(survey),
        picture.all_on_the_ring(),
        picture.successor_lists(),
        picture.predecessors(),
        picture.fingers(),
        picture.ready(),
        picture.census(),
        all_answer(survey),
    ]
}

fn finding(name: &'static str, weight: Weight, seen: String, evidence: Vec<String>) -> Finding {
    Finding { name, weight, seen, evidence }
}

/// A ring's name, m and kind of ids are the same everywhere.
fn one_kind(states: &[&NodeState]) -> Finding {
    let kind = |state: &NodeState| {
        let identity = identity(state.identity).unwrap_or("nobody knows what");
        format!("ring {}, m = {}, ids by {identity}", state.ring, state.bits)
    };
    let mut kinds: BTreeMap<String, Vec<Id>> = BTreeMap::new();
    for state in states {
        kinds.entry(kind(state)).or_default().push(state.node.id);
    }
    let mut evidence = Vec::new();
    if kinds.len() > 1 {
        evidence.extend(kinds.iter().map(|(kind, ids)| format!("{kind}: {}", listed(ids))));
    }
    let seen = kinds.into_keys().next().unwrap_or_default();
    finding("all nodes are of one kind", Weight::Invariant, seen, evidence)
}

/// No two nodes that answer have one id.
fn own_ids(states: &[&NodeState]) -> Finding {
    let mut owners: BTreeMap<Id, Vec<&str>> = BTreeMap::new();
    for state in states {
        owners.entry(state.node.id).or_default().push(&state.node.address);
    }
    owners.retain(|_, addresses| addresses.len() > 1);
    let evidence = owners.iter().map(|(id, addresses)| format!("{id}: {}", listed(addresses)));
    let seen = format!("{} nodes answer", states.len());
    finding("every id is one node's", Weight::Invariant, seen, evidence.collect())
}

/// Who does not answer, though others know it.
fn all_answer(survey: &Survey) -> Finding {
    let mut evidence: Vec<String> = survey
        .silent()
        .map(|(sighting, error)| match sighting.id() {
            Some(id) => format!("{id}: {error}"),
            None => error.to_string(),
        })
        .collect();
    if let Some((_, Err(error))) = &survey.registry {
        evidence.push(format!("the registry: {error}"));
    }
    if survey.more {
        evidence.push("there are more nodes than are asked here".into());
    }
    finding("everybody who is known answers", Weight::Note, String::new(), evidence)
}

impl<'a> Picture<'a> {
    fn of(states: &[&'a NodeState]) -> Option<Self> {
        let circle = Circle::new(states.first()?.bits);
        let members = states.iter().filter(|state| is_member(state));
        let members: BTreeMap<Id, &NodeState> =
            members.map(|state| (state.node.id, *state)).collect();
        let next: BTreeMap<_, _> =
            members.values().map(|state| (state.node.id, best(state, &members))).collect();
        let rings = rings(&next);
        let ring: BTreeSet<Id> = rings.first().into_iter().flatten().copied().collect();
        let reaches = |id: &&Id| {
            let mut at = **id;
            // Longer than this no way is that does not repeat itself.
            for _ in 0..next.len() {
                if ring.contains(&at) {
                    return true;
                }
                let Some(Some(after)) = next.get(&at) else { return false };
                at = *after;
            }
            false
        };
        let reaching = next.keys().filter(reaches).copied().collect();
        Some(Self { circle, members, next, rings, reaching })
    }

    /// At least one ring, and at most one.
    fn one_ring(&self) -> Finding {
        let mut evidence = Vec::new();
        match self.rings.len() {
            0 => evidence.push("there is no ring".to_owned()),
            1 => (),
            _ => evidence.extend(self.rings.iter().map(|ring| chain(ring))),
        }
        let seen = self.rings.first().map(|ring| chain(ring)).unwrap_or_default();
        finding("there is one ring", Weight::Invariant, seen, evidence)
    }

    /// Each ring goes round the circle once.
    fn in_order(&self) -> Finding {
        let mut evidence = Vec::new();
        for ring in &self.rings {
            let after = ring.iter().cycle().skip(1);
            let walked: u128 = match ring.len() {
                1 => 1 << self.circle.bits(),
                _ => ring
                    .iter()
                    .zip(after)
                    .map(|(from, to)| u128::from(self.circle.distance(*from, *to)))
                    .sum(),
            };
            let turns = walked >> self.circle.bits();
            if turns != 1 {
                evidence.push(format!("{} goes round {turns} times", chain(ring)));
            }
        }
        finding("the ring is in order", Weight::Invariant, String::new(), evidence)
    }

    /// Every member reaches the ring.
    fn connected(&self) -> Finding {
        let lost = self.next.iter().filter(|(id, _)| !self.reaching.contains(id));
        let evidence = lost.map(|(id, next)| match next {
            Some(next) => format!("{id}, by way of {next}"),
            None => format!("{id} has no successor that lives"),
        });
        let seen = format!("{} members", self.members.len());
        finding("every member reaches the ring", Weight::Invariant, seen, evidence.collect())
    }

    /// No node that lives and is registered is left out.
    fn nobody_left_out(&self, survey: &Survey) -> Finding {
        let mut evidence = Vec::new();
        let mut seen = "no registry answers".to_owned();
        if let Some((_, Ok(info))) = &survey.registry {
            for peer in &info.nodes {
                let state = survey.states().find(|(_, state)| state.node == *peer);
                let other = survey.states().find(|(_, state)| state.node.address == peer.address);
                match (state, other) {
                    // On its way out.
                    (Some((_, state)), _) if ["leaving", "left"].contains(&&*state.phase) => (),
                    (Some(_), _) if self.reaching.contains(&peer.id) => (),
                    (Some((_, state)), _) => {
                        evidence.push(format!("{}, which is {}", peer.id, state.phase));
                    }
                    (None, Some((_, state))) => {
                        evidence.push(format!("{}: there is {} there", peer.id, state.node.id));
                    }
                    // It does not live.
                    (None, None) => (),
                }
            }
            seen = format!("{} registered", info.nodes.len());
        }
        finding("no registered node is left out", Weight::Invariant, seen, evidence)
    }

    /// Nobody hangs beside the ring, as one does that has just joined.
    fn all_on_the_ring(&self) -> Finding {
        let on: BTreeSet<&Id> = self.rings.iter().flatten().collect();
        let beside = self.next.iter().filter(|(id, _)| !on.contains(id));
        let evidence = beside.map(|(id, next)| match next {
            Some(next) => format!("{id} is before {next}, but nobody is before it"),
            None => format!("{id} is before nobody"),
        });
        finding("every member is on the ring", Weight::Warning, String::new(), evidence.collect())
    }

    /// Each member's list is that of the members after it.
    fn successor_lists(&self) -> Finding {
        let mut evidence = Vec::new();
        for (id, state) in &self.members {
            let wanted = usize::try_from(state.replicas).unwrap_or(usize::MAX);
            let right: Vec<Id> = self.after(*id).take(wanted).collect();
            let has: Vec<Id> = state.successors.iter().map(|peer| peer.id).collect();
            let more = has.iter().skip(right.len());
            let lives = |other: &Id| self.members.contains_key(other);
            if !has.starts_with(&right) || !more.into_iter().all(lives) {
                evidence.push(format!("{id} has {}, not {}", some(&has), some(&right)));
            }
        }
        finding("lists of successors are right", Weight::Warning, String::new(), evidence)
    }

    /// Each member's predecessor is the member before it.
    fn predecessors(&self) -> Finding {
        let mut evidence = Vec::new();
        for (id, state) in &self.members {
            let right = self.before(*id);
            let has = state.predecessor.as_ref().map(|peer| peer.id);
            let alone = right == *id && has.is_none();
            if has != Some(right) && !alone {
                evidence.push(format!("{id} has {}, not {right}", known(has)));
            }
        }
        finding("predecessors are right", Weight::Warning, String::new(), evidence)
    }

    /// Each finger is the first member at or after the place where it begins.
    fn fingers(&self) -> Finding {
        let mut evidence = Vec::new();
        for (id, state) in &self.members {
            let mut wrong = (0..self.circle.bits()).filter_map(|index| {
                let right = self.at_or_after(self.circle.finger(*id, index));
                let has = finger(state, index).map(|peer| peer.id);
                let needless = right == *id && has.is_none();
                (has != Some(right) && !needless).then_some((index, has, right))
            });
            let Some((index, has, right)) = wrong.next() else { continue };
            let (number, has) = (index + 1, known(has));
            let more = match wrong.count() {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            evidence.push(format!("{id} has {has} for finger {number}, not {right}{more}"));
        }
        finding("fingers are right", Weight::Warning, String::new(), evidence)
    }

    /// Every member answers for its part of the circle.
    fn ready(&self) -> Finding {
        let unready = self.members.values().filter(|state| !state.ready);
        let evidence = unready.map(|state| state.node.id.to_string()).collect();
        finding("every member is ready", Weight::Warning, String::new(), evidence)
    }

    /// The last census counted all members, everywhere.
    fn census(&self) -> Finding {
        let right = self.members.len() as u64;
        let wrong = self.members.values().filter(|state| {
            // Who is alone has nobody to send a census to.
            state.counted != right && !(right == 1 && state.counted == 0)
        });
        let evidence = wrong.map(|state| match state.counted {
            0 => format!("{} has seen none", state.node.id),
            counted => format!("{} counted {counted}, not {right}", state.node.id),
        });
        let seen = format!("{right} members");
        finding("the census counts every member", Weight::Warning, seen, evidence.collect())
    }

    /// The members after one, in order.
    fn after(&self, id: Id) -> impl Iterator<Item = Id> {
        let places =
            self.members.range((std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded));
        places.chain(self.members.range(..id)).map(|(id, _)| *id)
    }

    /// The member before one; itself if it is alone.
    fn before(&self, id: Id) -> Id {
        let before = self.members.range(..id).next_back();
        before.or_else(|| self.members.last_key_value()).map_or(id, |(id, _)| *id)
    }

    /// The first member at or after a place.
    fn at_or_after(&self, place: Id) -> Id {
        let after = self.members.range(place..).next();
        after.or_else(|| self.members.first_key_value()).map_or(place, |(id, _)| *id)
    }
}

fn is_member(state: &NodeState) -> bool {
    state.phase == "member"
}

/// The first successor that is a member; itself if it knows of no other.
fn best(state: &NodeState, members: &BTreeMap<Id, &NodeState>) -> Option<Id> {
    if state.successors.is_empty() {
        return Some(state.node.id);
    }
    let lives = |peer: &&Peer| members.get(&peer.id).is_some_and(|it| it.node == **peer);
    state.successors.iter().find(lives).map(|peer| peer.id)
}

/// The rings that following the best successors comes to; the longest first.
fn rings(next: &BTreeMap<Id, Option<Id>>) -> Vec<Vec<Id>> {
    let mut rings = Vec::new();
    // In which walk each was come to first.
    let mut walks: BTreeMap<Id, usize> = BTreeMap::new();
    for (walk, start) in next.keys().enumerate() {
        let mut way = Vec::new();
        let mut at = Some(*start);
        while let Some(id) = at {
            if let Some(earlier) = walks.insert(id, walk) {
                if earlier == walk {
                    let begin = way.iter().position(|it| *it == id).unwrap_or_default();
                    rings.push(way.split_off(begin));
                }
                break;
            }
            way.push(id);
            at = next.get(&id).copied().flatten();
        }
    }
    for ring in &mut rings {
        let smallest = ring.iter().enumerate().min_by_key(|(_, id)| **id);
        let place = smallest.map_or(0, |(place, _)| place);
        ring.rotate_left(place);
    }
    rings.sort_by_key(|ring| (std::cmp::Reverse(ring.len()), ring.first().copied()));
    rings
}

fn some(ids: &[Id]) -> String {
    if ids.is_empty() { "nobody".into() } else { listed(ids) }
}

fn known(id: Option<Id>) -> String {
    id.map_or_else(|| "nobody".to_owned(), |id| id.to_string())
}

#[cfg(test)]
mod tests;
