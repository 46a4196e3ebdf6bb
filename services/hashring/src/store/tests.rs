//! The store against a plain map, and two stores that are made equal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocols::Ticket;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{PAGE_BYTES, Store, hash};
use crate::{Circle, Content, Fingerprint, Id, Interval, Item, Key, Page, Stamp, WriteId};
use crate::{ITEMS_BYTES, PAGE_STAMPS};

const REMEMBERS: Duration = Duration::from_secs(100);
const NOW: Duration = Duration::from_secs(1_000);

/// What a store should hold: the stamp, and the value or when its removal is forgotten.
type Plain = BTreeMap<(Id, Key), (Stamp, State)>;
type State = Result<Vec<u8>, Duration>;

fn stamp(version: u64, origin: u64) -> Stamp {
    Stamp { version, write: WriteId { origin: Id(origin), ticket: Ticket(7) } }
}

fn item(id: u64, key: &str, version: u64, value: usize) -> Item {
    let content = Content::Value(vec![b'.'; value].into());
    Item { id: Id(id), key: key.as_bytes().into(), stamp: stamp(version, 1), content }
}

fn removal(id: u64, key: &str, version: u64, age: Duration) -> Item {
    let content = Content::Removed(age);
    Item { content, ..item(id, key, version, 0) }
}

fn holding(circle: Circle, items: impl IntoIterator<Item = Item>) -> Store {
    let mut store = Store::new(circle);
    for item in items {
        assert!(store.merge(item, NOW, REMEMBERS));
    }
    store
}

/// The fingerprint of some of what should be there.
fn sum<'a>(some: impl Iterator<Item = (&'a (Id, Key), Stamp)>) -> Fingerprint {
    some.fold(Fingerprint::default(), |sum, ((id, key), stamp)| Fingerprint {
        count: sum.count + 1,
        hash: sum.hash ^ hash(*id, key, stamp),
    })
}

/// One random operation on both.
fn operate(store: &mut Store, plain: &mut Plain, now: Duration, random: &mut StdRng) {
    let last = store.circle.last().0;
    let place = (random.random_range(0..=last.min(40)), random.random_range(0..3_u8));
    let (id, key) = (Id(last - place.0), Key::from([place.1].as_slice()));
    let place = (id, key.clone());
    if random.random_bool(0.1) {
        store.forget(&place);
        plain.remove(&place);
        return;
    }
    let stamp = stamp(random.random_range(1..5), random.random_range(1..3));
    let age = Duration::from_secs(random.random_range(0..120));
    let value = vec![b'.'; random.random_range(0..20)];
    let (content, state) = match random.random_bool(0.7) {
        true => (Content::Value(value.as_slice().into()), Ok(value)),
        false => (Content::Removed(age), Err((now + REMEMBERS).saturating_sub(age))),
    };
    let newer = plain.get(&place).is_none_or(|(known, _)| *known < stamp);
    let fresh = state.as_ref().err().is_none_or(|until| now < *until);
    let took = store.merge(Item { id, key, stamp, content }, now, REMEMBERS);
    assert_eq!(took, newer && fresh);
    if took {
        plain.insert(place, (stamp, state));
    }
}

fn assert_same(store: &Store, plain: &Plain, now: Duration) {
    for (place, (stamp, state)) in plain {
        let value = state.as_ref().ok().map(Vec::as_slice);
        let known = store.look(place.0, &place.1);
        assert_eq!(
            known.map(|(stamp, value)| (stamp, value.map(|value| &**value))),
            Some((*stamp, value))
        );
        let told = store.item(place, now, REMEMBERS).expect("it is there");
        match (told.content, state) {
            (Content::Value(told), Ok(value)) => assert_eq!(*told, **value),
            (Content::Removed(age), Err(until)) => assert_eq!(now + REMEMBERS, *until + age),
            _ => panic!("one holds a value, the other was removed"),
        }
    }
    let held = |(place, (_, state)): (&(Id, Key), &(Stamp, State))| {
        place.1.len() + state.as_ref().map_or(0, Vec::len) + 64
    };
    assert_eq!(store.bytes(), plain.iter().map(held).sum::<usize>() as u64);
    assert_eq!(store.items.len(), plain.len());
    assert_eq!(
        store.all_values(),
        plain.values().filter(|(_, state)| state.is_ok()).count() as u64
    );
}

#[test]
fn any_operations_leave_what_they_would_leave_in_a_plain_map() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let circle = Circle::new([3, 10, 11, 64][seed as usize % 4]);
        let (mut store, mut plain, mut now) = (Store::new(circle), Plain::new(), NOW);
        for _ in 0..200 {
            operate(&mut store, &mut plain, now, &mut random);
            if random.random_bool(0.1) {
                now += Duration::from_secs(random.random_range(0..40));
                store.expire(now);
                plain.retain(|_, (_, state)| state.as_ref().err().is_none_or(|until| now < *until));
            }
            assert_same(&store, &plain, now);
        }
    }
}

#[test]
fn the_fingerprint_of_every_interval_is_the_sum_of_its_items() {
    for (bits, seed) in [(3, 1), (6, 2), (12, 3)] {
        let circle = Circle::new(bits);
        let mut random = StdRng::seed_from_u64(seed);
        let (mut store, mut plain) = (Store::new(circle), Plain::new());
        for _ in 0..150 {
            operate(&mut store, &mut plain, NOW, &mut random);
        }
        let ends = (0..=circle.last().0.min(20)).chain(circle.last().0.saturating_sub(45)..);
        let ends = ends.take_while(|end| *end <= circle.last().0).map(Id).collect::<BTreeSet<_>>();
        for (after, to) in ends.iter().flat_map(|after| ends.iter().map(move |to| (*after, *to))) {
            let interval = Interval::new(after, to);
            let inside = || plain.iter().filter(|((id, _), _)| interval.contains(*id, circle));
            let whole = sum(inside().map(|(place, (stamp, _))| (place, *stamp)));
            assert_eq!(store.fingerprint(interval), whole, "{interval:?}");
            let values = inside().filter(|(_, (_, state))| state.is_ok()).count();
            assert_eq!(store.values(interval), values as u64, "{interval:?}");
            for (part, fingerprint) in store.fingerprints(interval) {
                let (begin, end) = store.part_range(part);
                let here = inside().filter(|((id, _), _)| begin <= *id && *id <= end);
                assert_eq!(fingerprint, sum(here.map(|(place, (stamp, _))| (place, *stamp))));
            }
            let outside = plain.keys().find(|(id, _)| !interval.contains(*id, circle));
            assert_eq!(store.outside(&[interval]), outside.cloned(), "{interval:?}");
        }
    }
}

#[test]
fn a_stray_is_found_outside_of_several_intervals() {
    let circle = Circle::new(6);
    let mut random = StdRng::seed_from_u64(5);
    for _ in 0..2_000 {
        let mut place = || Id(random.random_range(0..64));
        let intervals = [(); 3].map(|()| Interval::new(place(), place()));
        let items = [(); 6].map(|()| place());
        let store = holding(
            circle,
            items.iter().collect::<BTreeSet<_>>().into_iter().map(|id| item(id.0, "k", 1, 1)),
        );
        let stray = |id: &Id| !intervals.iter().any(|interval| interval.contains(*id, circle));
        let first = items.into_iter().filter(stray).min();
        assert_eq!(store.outside(&intervals).map(|(id, _)| id), first, "{intervals:?} {items:?}");
    }
}

/// What `repair` does between two nodes, with the stores alone: `ours` goes through an interval.
/// Says how many messages that took.
fn reconcile(ours: &mut Store, theirs: &mut Store, interval: Interval) -> u32 {
    let mut messages = 1;
    while ours.fingerprint(interval) != theirs.fingerprint(interval) {
        let left = ours.fingerprints(interval).into_iter().collect::<BTreeMap<_, _>>();
        let right = theirs.fingerprints(interval).into_iter().collect::<BTreeMap<_, _>>();
        let parts =
            left.keys().chain(right.keys()).filter(|part| left.get(part) != right.get(part));
        let mut ranges = VecDeque::from(ours.cover(interval, &parts.copied().collect()));
        let mut after = None;
        while let Some((first, last)) = ranges.front().copied() {
            let page = ours.page(first, last, after.clone(), false);
            assert!(page.stamps.len() <= PAGE_STAMPS);
            let (wants, news, more) = theirs.reconcile(&page, NOW, REMEMBERS);
            let (items, all) = ours.items(&wants, NOW, REMEMBERS);
            messages += 1 + u32::from(!items.is_empty());
            for (items, to) in [(news, &mut *ours), (items, &mut *theirs)] {
                let bytes = |item: &Item| match &item.content {
                    Content::Value(value) => value.len() + item.key.len(),
                    Content::Removed(_) => item.key.len(),
                };
                let sent = items.iter().map(bytes).sum::<usize>();
                assert!(items.len() <= 1 || sent <= ITEMS_BYTES && items.len() <= PAGE_STAMPS);
                for item in items {
                    to.merge(item, NOW, REMEMBERS);
                }
            }
            if more || !all {
                continue;
            }
            after = page.up_to;
            if after.is_none() {
                ranges.pop_front();
            }
        }
        messages += 1;
        assert!(messages < 5_000, "it never ends");
    }
    messages
}

/// Two stores, each with items that the other lacks, has older, or has too.
fn two(count: u64, value: usize, width: u64, seed: u64) -> (Store, Store) {
    let circle = Circle::new(64);
    let mut random = StdRng::seed_from_u64(seed);
    let (mut ours, mut theirs) = (Store::new(circle), Store::new(circle));
    for number in 0..count {
        let id = random.random::<u64>() % width;
        let key = format!("key-{number}");
        for store in [&mut ours, &mut theirs] {
            let version = random.random_range(0..3);
            if version == 2 && random.random_bool(0.2) {
                store.merge(removal(id, &key, 3, Duration::ZERO), NOW, REMEMBERS);
            } else if 0 < version {
                store.merge(item(id, &key, version, value), NOW, REMEMBERS);
            }
        }
    }
    (ours, theirs)
}

#[test]
fn two_stores_become_equal_in_few_messages_whatever_is_in_them() {
    let whole = Interval::new(Id(0), Id(0));
    let sizes = [(0, 0), (1, 10), (40, 100), (3_000, 3), (700, 10_000), (9, 700_000), (5, 1 << 20)];
    for (seed, (count, value)) in (0..).zip(sizes) {
        // All in one part, in a few, and all over the circle.
        for width in [1 << 10, 1 << 57, u64::MAX] {
            let (mut ours, mut theirs) = two(count, value, width, seed);
            let messages = reconcile(&mut ours, &mut theirs, whole);
            assert_eq!(ours.items.len(), theirs.items.len());
            for (place, held) in &ours.items {
                assert_eq!(theirs.items[place].stamp, held.stamp);
            }
            let bytes = count * (value as u64 + 10);
            let limit = 8 + 4 * count / PAGE_STAMPS as u64 + 5 * bytes / ITEMS_BYTES as u64;
            assert!(u64::from(messages) <= limit, "{messages} for {count} of {value} in {width}");
            assert_eq!(reconcile(&mut theirs, &mut ours, whole), 1, "and so seen from there");
        }
    }
}

#[test]
fn what_is_outside_of_the_interval_stays_as_it_is() {
    let circle = Circle::new(4);
    let mut ours = holding(circle, (0..16).map(|id| item(id, "ours", 1, 1)));
    let mut theirs = holding(circle, (0..16).map(|id| item(id, "theirs", 1, 1)));
    reconcile(&mut ours, &mut theirs, Interval::new(Id(13), Id(2)));
    let both = |store: &Store, key: &[u8]| {
        (0..16).filter(|id| store.look(Id(*id), &key.into()).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(both(&ours, b"theirs"), [0, 1, 2, 14, 15]);
    assert_eq!(both(&theirs, b"ours"), [0, 1, 2, 14, 15]);
}

#[test]
fn pages_hold_so_many_stamps_and_so_many_bytes_of_keys() {
    let circle = Circle::new(64);
    let pages = |store: &Store| {
        let (mut sizes, mut after) = (Vec::new(), None);
        loop {
            let page = store.page(Id(0), circle.last(), after, false);
            sizes.push(page.stamps.len());
            after = page.up_to;
            if after.is_none() {
                return sizes;
            }
        }
    };
    let short = |count| holding(circle, (0..count).map(|at| item(at, "k", 1, 1)));
    assert_eq!(pages(&short(0)), [0]);
    assert_eq!(pages(&short(512)), [512]);
    assert_eq!(pages(&short(513)), [512, 1]);
    let long = "k".repeat(PAGE_BYTES / 4);
    assert_eq!(pages(&holding(circle, (0..9).map(|at| item(at, &long, 1, 1)))), [4, 4, 1]);
    let longer = "k".repeat(PAGE_BYTES + 1);
    assert_eq!(pages(&holding(circle, (0..2).map(|at| item(at, &longer, 1, 1)))), [1, 1]);
}

#[test]
fn pages_go_on_among_the_keys_of_one_place() {
    let keys = 2 * PAGE_STAMPS + 3;
    let items = (0..keys).map(|key| item(5, &format!("{key:05}"), 1, 1));
    let (store, other) = (holding(Circle::new(8), items), holding(Circle::new(8), []));
    let (mut shown, mut after) = (Vec::new(), None);
    loop {
        let page = store.page(Id(0), Id(255), after, false);
        // Nor does who answers tell of what the other pages hold.
        let (wants, news, more) = other.reconcile(&page, NOW, REMEMBERS);
        assert_eq!((wants.len(), news, more), (page.stamps.len(), Vec::new(), false));
        let empty = Page { stamps: Vec::new(), ..page.clone() };
        let (_, own, more) = store.reconcile(&empty, NOW, REMEMBERS);
        let own = own.into_iter().map(|item| (item.id, item.key)).collect::<Vec<_>>();
        assert_eq!((&own, more), (&wants, false));
        shown.extend(wants);
        after = page.up_to;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(shown.len(), keys);
    assert!(shown.is_sorted_by(|one, next| one < next), "each once, in order");
}

#[test]
fn an_offer_is_told_what_is_lacking_and_brings_nothing() {
    let circle = Circle::new(8);
    let ours =
        holding(circle, [item(1, "both", 1, 1), item(2, "ours", 1, 1), item(3, "old", 1, 1)]);
    let theirs =
        holding(circle, [item(1, "both", 1, 1), item(3, "old", 2, 1), item(4, "theirs", 1, 1)]);
    let page: Page = ours.page(Id(0), Id(255), None, true);
    let (wants, news, more) = theirs.reconcile(&page, NOW, REMEMBERS);
    assert_eq!(wants, [(Id(2), b"ours".as_slice().into())]);
    assert!(news.is_empty() && !more);
}

#[test]
fn a_removal_is_told_with_its_age_and_forgotten_everywhere_at_the_same_time() {
    let circle = Circle::new(8);
    let mut first = holding(circle, [removal(1, "k", 2, Duration::from_secs(30))]);
    let place = (Id(1), Key::from(b"k".as_slice()));
    let later = NOW + Duration::from_secs(50);
    let told = first.item(&place, later, REMEMBERS).expect("it is remembered");
    assert!(told.content == Content::Removed(Duration::from_secs(80)));
    let mut second = holding(circle, [item(1, "k", 1, 1)]);
    assert!(second.merge(told, later, REMEMBERS));
    for store in [&mut first, &mut second] {
        store.expire(NOW + Duration::from_secs(69));
        assert_eq!(store.look(place.0, &place.1), Some((stamp(2, 1), None)));
        store.expire(NOW + Duration::from_secs(70));
        assert_eq!(store.look(place.0, &place.1), None);
        assert_eq!((store.bytes(), store.removals.len()), (0, 0));
    }
    let late = removal(1, "k", 9, REMEMBERS);
    assert!(!second.merge(late, later, REMEMBERS), "that is as if it had never been");
}
