//! The identifier circle: places on it, and what lies between two of them (section IV-A of the
//! paper).

use std::fmt::{self, Debug, Display};

use protocols::NodeId;
use serde::Serialize;

/// A place on the identifier circle, of a node or of a key: 0 to 2^m − 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Id(pub u64);

impl Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl From<NodeId> for Id {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

impl From<Id> for NodeId {
    fn from(id: Id) -> Self {
        Self(id.0)
    }
}

/// The circle of 2^m places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circle {
    bits: u32,
}

impl Circle {
    /// The circle of 2^`bits` places.
    ///
    /// # Panics
    ///
    /// Unless `bits` is 1 to 64.
    pub fn new(bits: u32) -> Self {
        assert!((1..=64).contains(&bits), "a circle has 2^1 to 2^64 places, not 2^{bits}");
        Self { bits }
    }

    /// m: how many bits a place has.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// The last place.
    pub fn last(self) -> Id {
        Id(u64::MAX >> (64 - self.bits))
    }

    /// Whether there is such a place.
    pub fn contains(self, id: Id) -> bool {
        id <= self.last()
    }

    /// The place `steps` after `id`, clockwise.
    #[must_use]
    pub fn after(self, id: Id, steps: u64) -> Id {
        Id(id.0.wrapping_add(steps) & self.last().0)
    }

    /// Steps from one place clockwise to another; 0 from a place to itself.
    pub fn distance(self, from: Id, to: Id) -> u64 {
        to.0.wrapping_sub(from.0) & self.last().0
    }

    /// Where finger `index` of a node begins: `node + 2^index`, for `index` from 0 to m − 1.
    #[must_use]
    pub fn finger(self, node: Id, index: u32) -> Id {
        self.after(node, 1 << index)
    }

    /// Whether a place is in the open interval (`from`, `to`). From a place to itself, that is
    /// everything else.
    pub fn is_between(self, id: Id, from: Id, to: Id) -> bool {
        let steps = self.distance(from, id);
        0 < steps && (from == to || steps < self.distance(from, to))
    }
}

/// The places after one and up to another, which is included: what a node is responsible for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// The place before the first.
    pub after: Id,
    /// The last place. The same as `after`: the whole circle.
    pub to: Id,
}

impl Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}]", self.after, self.to)
    }
}

impl Interval {
    /// The places after `after` and up to `to`.
    pub fn new(after: Id, to: Id) -> Self {
        Self { after, to }
    }

    /// Whether a place is in it.
    pub fn contains(self, id: Id, circle: Circle) -> bool {
        let steps = circle.distance(self.after, id);
        self.after == self.to || (0 < steps && steps <= circle.distance(self.after, self.to))
    }

    /// Whether all of `other` is in it.
    pub fn covers(self, other: Self, circle: Circle) -> bool {
        if self.after == self.to {
            return true;
        }
        let length = circle.distance(self.after, self.to);
        let begin = circle.distance(self.after, other.after);
        let end = circle.distance(self.after, other.to);
        other.after != other.to && begin < end && end <= length
    }

    /// The same places as one or two ranges of numbers, first to last.
    pub fn ranges(self, circle: Circle) -> impl Iterator<Item = (Id, Id)> {
        // Whoever names a place outside the circle means another, or nothing.
        let (first, to) = (circle.after(self.after, 1), circle.after(self.to, 0));
        let (one, two) = match first <= to {
            true => ((first, to), None),
            false => ((first, circle.last()), Some((Id(0), to))),
        };
        std::iter::once(one).chain(two)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: u32 = 3;

    #[test]
    fn every_arc_of_a_small_circle_is_what_walking_it_shows() {
        let circle = Circle::new(SMALL);
        for after in 0..8 {
            for to in 0..8 {
                let interval = Interval::new(Id(after), Id(to));
                let mut inside = Vec::new();
                let mut place = Id(after);
                loop {
                    place = circle.after(place, 1);
                    inside.push(place);
                    if place == interval.to {
                        break;
                    }
                }
                let mut ranged = Vec::new();
                for (first, last) in interval.ranges(circle) {
                    ranged.extend((first.0..=last.0).map(Id));
                }
                assert_eq!(ranged, inside, "{interval:?}");
                for id in (0..8).map(Id) {
                    assert_eq!(
                        interval.contains(id, circle),
                        inside.contains(&id),
                        "{id} in {interval:?}"
                    );
                    let between =
                        inside.contains(&id) && (id != interval.to) && id != interval.after;
                    assert_eq!(
                        circle.is_between(id, interval.after, interval.to),
                        between,
                        "{id} {interval:?}"
                    );
                }
                for other in (0..64).map(|n| Interval::new(Id(n / 8), Id(n % 8))) {
                    let all = (0..8).map(Id).filter(|id| other.contains(*id, circle));
                    let expected = all.into_iter().all(|id| inside.contains(&id));
                    assert_eq!(interval.covers(other, circle), expected, "{interval:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn the_largest_circle_wraps() {
        let circle = Circle::new(64);
        assert_eq!(circle.after(Id(u64::MAX), 1), Id(0));
        assert_eq!(circle.distance(Id(u64::MAX), Id(1)), 2);
        assert_eq!(circle.finger(Id(1), 63), Id((1 << 63) + 1));
        assert!(Interval::new(Id(u64::MAX - 1), Id(0)).contains(Id(u64::MAX), circle));
    }
}
