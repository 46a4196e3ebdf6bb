//! The items that a node keeps, in the order of their places, and fingerprints of them.
//!
//! The circle is divided into at most 1,024 equal parts. The fingerprint of each part is kept up to
//! date, so that two nodes find out what differs between them without going through all that they
//! have (Meyer, "Range-Based Set Reconciliation", 2022, with one level of ranges).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{Circle, Content, Fingerprint, Id, Interval, Item, Key, Page, Stamp, Value};
use crate::{ITEMS_BYTES, PAGE_STAMPS};

/// log₂ of the most parts.
const PARTS_BITS: u32 = 10;
/// Bytes that an item costs beside its key and its value.
const ITEM_BYTES: u64 = 64;
/// The most bytes of keys in one page, unless one key alone is longer.
const PAGE_BYTES: usize = 256 << 10;

/// The items of a node.
#[derive(Debug)]
pub(crate) struct Store {
    circle: Circle,
    items: BTreeMap<(Id, Key), Held>,
    /// The sums of all parts that have items.
    parts: BTreeMap<u32, Sum>,
    /// When removals are forgotten.
    removals: BTreeMap<(Duration, Id, Key), ()>,
    bytes: u64,
}

/// What is held of one key.
#[derive(Clone, Debug)]
struct Held {
    stamp: Stamp,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Value(Value),
    /// Removed; forgotten at this time.
    Removed(Duration),
}

/// The sum of some items.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    fingerprint: Fingerprint,
    /// Bytes of keys and values are elsewhere: this is how many keys hold values.
    values: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.fingerprint.count += other.fingerprint.count;
        self.fingerprint.hash ^= other.fingerprint.hash;
        self.values += other.values;
    }

    fn subtract(&mut self, other: Self) {
        self.fingerprint.count -= other.fingerprint.count;
        self.fingerprint.hash ^= other.fingerprint.hash;
        self.values -= other.values;
    }
}

impl Held {
    fn sum(&self, id: Id, key: &[u8]) -> Sum {
        let fingerprint = Fingerprint { count: 1, hash: hash(id, key, self.stamp) };
        Sum { fingerprint, values: u64::from(matches!(self.state, State::Value(_))) }
    }

    fn bytes(&self, key: &[u8]) -> u64 {
        let value = match &self.state {
            State::Value(value) => value.len(),
            State::Removed(_) => 0,
        };
        (key.len() + value) as u64 + ITEM_BYTES
    }
}

/// The same on every node and in every version: FNV-1a, and the last mixer of SplitMix64. What it
/// covers names the content, since a stamp is given once.
fn hash(id: Id, key: &[u8], stamp: Stamp) -> u64 {
    let numbers = [id.0, stamp.version, stamp.write.origin.0, stamp.write.ticket.0];
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).chain(key.iter().copied());
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

impl Store {
    pub(crate) fn new(circle: Circle) -> Self {
        Self {
            circle,
            items: BTreeMap::new(),
            parts: BTreeMap::new(),
            removals: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of all that is kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was done to a key last, and the value that it holds.
    pub(crate) fn look(&self, id: Id, key: &Key) -> Option<(Stamp, Option<&Value>)> {
        let held = self.items.get(&(id, key.clone()))?;
        Some(match &held.state {
            State::Value(value) => (held.stamp, Some(value)),
            State::Removed(_) => (held.stamp, None),
        })
    }

    /// Takes an item, unless what is known of its key is the same or later. A removal that is older
    /// than `remembers` is as if it had never been.
    pub(crate) fn merge(&mut self, item: Item, now: Duration, remembers: Duration) -> bool {
        let Item { id, key, stamp, content } = item;
        let place = (id, key);
        if self.items.get(&place).is_some_and(|held| stamp <= held.stamp) {
            return false;
        }
        let state = match content {
            Content::Value(value) => State::Value(value),
            Content::Removed(age) => match remembers.checked_sub(age) {
                Some(left) if !left.is_zero() => State::Removed(now + left),
                Some(_) | None => return false,
            },
        };
        self.forget(&place);
        let held = Held { stamp, state };
        self.bytes += held.bytes(&place.1);
        self.parts.entry(self.part(place.0)).or_default().add(held.sum(place.0, &place.1));
        if let State::Removed(until) = held.state {
            self.removals.insert((until, place.0, place.1.clone()), ());
        }
        self.items.insert(place, held);
        true
    }

    /// Forgets a key altogether.
    pub(crate) fn forget(&mut self, place: &(Id, Key)) {
        let Some(held) = self.items.remove(place) else { return };
        self.bytes -= held.bytes(&place.1);
        if let State::Removed(until) = held.state {
            self.removals.remove(&(until, place.0, place.1.clone()));
        }
        let part = self.part(place.0);
        if let Some(sum) = self.parts.get_mut(&part) {
            sum.subtract(held.sum(place.0, &place.1));
            if sum.fingerprint.count == 0 {
                self.parts.remove(&part);
            }
        }
    }

    /// Forgets the removals whose time has come.
    pub(crate) fn expire(&mut self, now: Duration) {
        while let Some(entry) = self.removals.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, id, key), ()) = entry.remove_entry();
            self.forget(&(id, key));
        }
    }

    /// The item of a key as it is told to others.
    pub(crate) fn item(
        &self,
        place: &(Id, Key),
        now: Duration,
        remembers: Duration,
    ) -> Option<Item> {
        let held = self.items.get(place)?;
        let content = match &held.state {
            State::Value(value) => Content::Value(value.clone()),
            State::Removed(until) => {
                Content::Removed(remembers.saturating_sub(until.saturating_sub(now)))
            }
        };
        Some(Item { id: place.0, key: place.1.clone(), stamp: held.stamp, content })
    }

    /// The fingerprint of an interval.
    pub(crate) fn fingerprint(&self, interval: Interval) -> Fingerprint {
        self.sum(interval).fingerprint
    }

    /// How many keys of an interval hold values.
    pub(crate) fn values(&self, interval: Interval) -> u64 {
        self.sum(interval).values
    }

    /// How many keys hold values.
    pub(crate) fn all_values(&self) -> u64 {
        self.parts.values().map(|sum| sum.values).sum()
    }

    fn sum(&self, interval: Interval) -> Sum {
        let mut all = Sum::default();
        for (_, sum) in self.sums(interval) {
            all.add(sum);
        }
        all
    }

    /// The fingerprints of what every part has in an interval, of those that have something.
    pub(crate) fn fingerprints(&self, interval: Interval) -> Vec<(u32, Fingerprint)> {
        let mut all = BTreeMap::<u32, Sum>::new();
        for (part, sum) in self.sums(interval) {
            all.entry(part).or_default().add(sum);
        }
        all.into_iter().map(|(part, sum)| (part, sum.fingerprint)).collect()
    }

    /// The sums of every piece of an interval that lies within one part and has items. A part may
    /// come twice, when the interval ends where it begins.
    fn sums(&self, interval: Interval) -> Vec<(u32, Sum)> {
        let mut sums = Vec::new();
        for (first, last) in interval.ranges(self.circle) {
            let (lowest, highest) = (self.part(first), self.part(last));
            for (part, sum) in self.parts.range(lowest..=highest) {
                let (begin, end) = self.part_range(*part);
                if first <= begin && end <= last {
                    sums.push((*part, *sum));
                } else {
                    let mut some = Sum::default();
                    for ((id, key), held) in self.between(begin.max(first), end.min(last)) {
                        some.add(held.sum(*id, key));
                    }
                    if some.fingerprint.count > 0 {
                        sums.push((*part, some));
                    }
                }
            }
        }
        sums
    }

    /// Ranges of places of an interval that cover these parts, as few as pages allow.
    pub(crate) fn cover(&self, interval: Interval, parts: &BTreeSet<u32>) -> Vec<(Id, Id)> {
        let mut ranges = Vec::<(Id, Id)>::new();
        for (first, last) in interval.ranges(self.circle) {
            let mut fresh = true;
            for part in parts.range(self.part(first)..=self.part(last)) {
                let (begin, end) = self.part_range(*part);
                let (begin, end) = (begin.max(first), end.min(last));
                match ranges.last_mut().filter(|_| !fresh) {
                    Some(range)
                        if self.between(range.0, end).take(PAGE_STAMPS + 1).count()
                            <= PAGE_STAMPS =>
                    {
                        range.1 = end;
                    }
                    Some(_) | None => ranges.push((begin, end)),
                }
                fresh = false;
            }
        }
        ranges
    }

    /// Whether there is such a part.
    pub(crate) fn has_part(&self, part: u32) -> bool {
        part <= self.part(self.circle.last())
    }

    fn part(&self, id: Id) -> u32 {
        let part = self.circle.after(id, 0).0 >> (self.circle.bits() - self.part_bits());
        u32::try_from(part).expect("there are at most 1,024 parts")
    }

    fn part_bits(&self) -> u32 {
        self.circle.bits().min(PARTS_BITS)
    }

    fn part_range(&self, part: u32) -> (Id, Id) {
        let width = self.circle.bits() - self.part_bits();
        let begin = u64::from(part) << width;
        (Id(begin), Id(begin | ((1 << width) - 1)))
    }

    fn between(&self, first: Id, last: Id) -> impl Iterator<Item = (&(Id, Key), &Held)> {
        let begin = (first, Key::default());
        self.items.range(begin..).take_while(move |((id, _), _)| *id <= last)
    }

    /// The next page of a range of places: what is there after `after`, as far as one page goes.
    pub(crate) fn page(&self, first: Id, last: Id, after: Option<(Id, Key)>, offer: bool) -> Page {
        let mut stamps = Vec::new();
        let mut bytes = 0;
        let mut up_to = None;
        let begin = after.clone().unwrap_or((first, Key::default()));
        let rest = self.between(begin.0, last).filter(|(place, _)| match &after {
            Some(after) => after < *place,
            None => true,
        });
        for ((id, key), held) in rest {
            if stamps.len() == PAGE_STAMPS || (PAGE_BYTES < bytes + key.len() && bytes > 0) {
                up_to = stamps.last().map(|(id, key, _): &(Id, Key, Stamp)| (*id, key.clone()));
                break;
            }
            bytes += key.len();
            stamps.push((*id, key.clone(), held.stamp));
        }
        Page { first, last, after, up_to, stamps, offer }
    }

    /// What differs from another's page: the keys that it has and this store lacks or has older,
    /// and, unless the page is an offer, the items that are newer here or not there; and whether
    /// there are more of these.
    pub(crate) fn reconcile(
        &self,
        page: &Page,
        now: Duration,
        remembers: Duration,
    ) -> (Vec<(Id, Key)>, Vec<Item>, bool) {
        let theirs: BTreeMap<_, _> =
            page.stamps.iter().map(|(id, key, stamp)| ((*id, key.clone()), *stamp)).collect();
        let lacks = |place: &(Id, Key), stamp: Stamp| {
            self.items.get(place).is_none_or(|held| held.stamp < stamp)
        };
        let wants = theirs.iter().filter(|(place, stamp)| lacks(place, **stamp));
        let wants = wants.map(|(place, _)| place.clone()).collect();
        let mut news = Items::default();
        if page.offer {
            return (wants, news.items, false);
        }
        let begin = page.after.as_ref().map_or(page.first, |(id, _)| *id);
        for (place, held) in self.between(begin, page.last) {
            if page.after.as_ref().is_some_and(|after| place <= after) {
                continue;
            }
            if page.up_to.as_ref().is_some_and(|up_to| up_to < place) {
                break;
            }
            if theirs.get(place).is_some_and(|stamp| held.stamp <= *stamp) {
                continue;
            }
            if !news.take(self.item(place, now, remembers)) {
                return (wants, news.items, true);
            }
        }
        (wants, news.items, false)
    }

    /// As many items of these keys as one message holds, and whether that is all.
    pub(crate) fn items(
        &self,
        places: &[(Id, Key)],
        now: Duration,
        remembers: Duration,
    ) -> (Vec<Item>, bool) {
        let mut some = Items::default();
        for place in places {
            if !some.take(self.item(place, now, remembers)) {
                return (some.items, false);
            }
        }
        (some.items, true)
    }

    /// The first item whose place is in none of these intervals.
    pub(crate) fn outside(&self, intervals: &[Interval]) -> Option<(Id, Key)> {
        let mut next = Some(Id(0));
        while let Some(begin) = next {
            let (place, _) = self.items.range((begin, Key::default())..).next()?;
            let Some(inside) = intervals.iter().find(|one| one.contains(place.0, self.circle))
            else {
                return Some(place.clone());
            };
            // On to the first place after that interval, if it does not pass the end.
            let end = self.circle.after(inside.to, 1);
            next = (place.0 < end && inside.after != inside.to).then_some(end);
        }
        None
    }
}

/// Items that fit into one message.
#[derive(Default)]
struct Items {
    items: Vec<Item>,
    bytes: usize,
}

impl Items {
    /// False when there is no room for it.
    fn take(&mut self, item: Option<Item>) -> bool {
        let Some(item) = item else { return true };
        let value = match &item.content {
            Content::Value(value) => value.len(),
            Content::Removed(_) => 0,
        };
        let bytes = item.key.len() + value;
        if !self.items.is_empty()
            && (ITEMS_BYTES < self.bytes + bytes || self.items.len() == PAGE_STAMPS)
        {
            return false;
        }
        self.bytes += bytes;
        self.items.push(item);
        true
    }
}

#[cfg(test)]
mod tests;
