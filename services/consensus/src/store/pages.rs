//! A sorted map in pages that copies share until one of them writes.
//!
//! A list of pages, each a sorted list of entries: a clone costs nothing, the first write after it
//! copies the list of pages, and the first write to a page after it copies that page. Everything
//! that a store holds is in maps of this kind.

use std::fmt::{self, Debug};
use std::mem;
use std::ops::Bound;
use std::sync::Arc;

/// Entries of a full page.
const PAGE_LIMIT: usize = 128;
/// A page of fewer entries is joined with its neighbour, if both together leave room for more.
const PAGE_LEAST: usize = PAGE_LIMIT / 4;
/// Entries by which the room of a page grows: doubling would waste a quarter of the memory.
const PAGE_GROWTH: usize = 16;

/// A sorted map. See the module.
pub(super) struct Pages<K, V> {
    pages: Arc<Vec<Page<K, V>>>,
    len: usize,
}

/// A run of entries; never empty.
#[derive(Clone)]
struct Page<K, V> {
    /// No key of this page is less, and every key of the pages before is; but the first page begins
    /// wherever its first key does.
    from: K,
    entries: Arc<Vec<(K, V)>>,
}

impl<K: Ord + Clone, V: Clone> Pages<K, V> {
    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let (page, place) = self.find(key)?;
        Some(&self.pages[page].entries[place].1)
    }

    /// The value of a key, to be changed.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        // Looked for first, so that nothing is copied for a key that is not there.
        let (page, place) = self.find(key)?;
        let page = &mut Arc::make_mut(&mut self.pages)[page];
        Some(&mut Arc::make_mut(&mut page.entries)[place].1)
    }

    /// Sets the value of a key, and gives back the one before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let number = self.page_of(&key);
        let pages = Arc::make_mut(&mut self.pages);
        let Some(page) = pages.get_mut(number) else {
            pages.push(Page { from: key.clone(), entries: Arc::new(vec![(key, value)]) });
            self.len = 1;
            return None;
        };
        let entries = Arc::make_mut(&mut page.entries);
        let place = match place_of(entries, &key) {
            Ok(place) => return Some(mem::replace(&mut entries[place].1, value)),
            Err(place) => place,
        };
        self.len += 1;
        if entries.len() < PAGE_LIMIT {
            insert_at(entries, place, (key, value));
            return None;
        }
        // What comes in order leaves full pages behind, not half-empty ones.
        let cut = if place == PAGE_LIMIT { PAGE_LIMIT } else { PAGE_LIMIT / 2 };
        let mut upper = entries.split_off(cut);
        entries.shrink_to_fit();
        if place < cut {
            insert_at(entries, place, (key, value));
        } else {
            insert_at(&mut upper, place - cut, (key, value));
        }
        let from = upper[0].0.clone();
        pages.insert(number + 1, Page { from, entries: Arc::new(upper) });
        None
    }

    /// Removes a key, and gives back its value.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (number, place) = self.find(key)?;
        let pages = Arc::make_mut(&mut self.pages);
        let entries = Arc::make_mut(&mut pages[number].entries);
        let (_, value) = entries.remove(place);
        self.len -= 1;
        if entries.is_empty() {
            pages.remove(number);
        } else if entries.len() < PAGE_LEAST {
            join(pages, number);
            join(pages, number.wrapping_sub(1));
        }
        Some(value)
    }

    /// The first entry.
    pub(super) fn first(&self) -> Option<(&K, &V)> {
        self.pages.first().and_then(|page| page.entries.first()).map(|(key, value)| (key, value))
    }

    /// The last entry.
    pub(super) fn last(&self) -> Option<(&K, &V)> {
        self.pages.last().and_then(|page| page.entries.last()).map(|(key, value)| (key, value))
    }

    /// Every entry from here on, in order.
    pub(super) fn range<'a>(
        &'a self,
        from: Bound<&K>,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        let (number, place) = match from {
            Bound::Unbounded => (0, 0),
            Bound::Included(key) => self.first_that(key, |candidate| key <= candidate),
            Bound::Excluded(key) => self.first_that(key, |candidate| key < candidate),
        };
        let mut pages = self.pages.get(number..).unwrap_or_default().iter();
        let begun = pages.next().and_then(|page| page.entries.get(place..)).unwrap_or_default();
        let rest = pages.flat_map(|page| page.entries.iter());
        begun.iter().chain(rest).map(|(key, value)| (key, value))
    }

    /// Where this key is.
    fn find(&self, key: &K) -> Option<(usize, usize)> {
        let number = self.page_of(key);
        let place = place_of(&self.pages.get(number)?.entries, key).ok()?;
        Some((number, place))
    }

    /// Where the first entry is, or would be, that `is_beyond` says lies beyond the key; on its
    /// page, or just behind it.
    fn first_that(&self, key: &K, is_beyond: impl Fn(&K) -> bool) -> (usize, usize) {
        let number = self.page_of(key);
        let entries = self.pages.get(number).map_or(&[][..], |page| &page.entries);
        (number, entries.partition_point(|(candidate, _)| !is_beyond(candidate)))
    }

    /// The page on which this key is, if it is anywhere.
    fn page_of(&self, key: &K) -> usize {
        self.pages.partition_point(|page| page.from <= *key).saturating_sub(1)
    }
}

/// Where a key is on a page, or would be.
fn place_of<K: Ord, V>(entries: &[(K, V)], key: &K) -> Result<usize, usize> {
    entries.binary_search_by(|(candidate, _)| candidate.cmp(key))
}

fn insert_at<T>(entries: &mut Vec<T>, place: usize, entry: T) {
    if entries.len() == entries.capacity() {
        entries.reserve_exact(PAGE_GROWTH);
    }
    entries.insert(place, entry);
}

/// Joins a page with the one after it, if there are both and together they leave room for more.
fn join<K: Clone, V: Clone>(pages: &mut Vec<Page<K, V>>, number: usize) {
    let after = number.wrapping_add(1);
    let (Some(page), Some(next)) = (pages.get(number), pages.get(after)) else { return };
    let smallest = page.entries.len().min(next.entries.len());
    if PAGE_LEAST <= smallest || PAGE_LIMIT * 3 / 4 < page.entries.len() + next.entries.len() {
        return;
    }
    let next = pages.remove(after);
    let entries = Arc::make_mut(&mut pages[number].entries);
    entries.reserve_exact(next.entries.len());
    entries.extend(next.entries.iter().cloned());
}

// Derived, these would ask for more of `K` and `V` than they need.
impl<K, V> Clone for Pages<K, V> {
    fn clone(&self) -> Self {
        Self { pages: self.pages.clone(), len: self.len }
    }
}

impl<K, V> Default for Pages<K, V> {
    fn default() -> Self {
        Self { pages: Arc::default(), len: 0 }
    }
}

/// Where the pages begin and end does not matter.
impl<K: PartialEq, V: PartialEq> PartialEq for Pages<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let ours = self.pages.iter().flat_map(|page| page.entries.iter());
        let theirs = other.pages.iter().flat_map(|page| page.entries.iter());
        self.len == other.len && ours.eq(theirs)
    }
}

impl<K, V> Debug for Pages<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries", self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    type Map = Pages<u32, u64>;

    fn entries(map: &Map) -> Vec<(u32, u64)> {
        map.range(Bound::Unbounded).map(|(key, value)| (*key, *value)).collect()
    }

    /// What must be true of every map.
    fn check(map: &Map) {
        let pages: Vec<_> = map.pages.iter().map(|page| (page.from, &page.entries)).collect();
        assert_eq!(map.len, pages.iter().map(|(_, entries)| entries.len()).sum::<usize>());
        for (number, (from, entries)) in pages.iter().enumerate() {
            assert!((1..=PAGE_LIMIT).contains(&entries.len()), "{} entries", entries.len());
            assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
            assert!(number == 0 || *from <= entries[0].0);
            let next = pages.get(number + 1);
            assert!(next.is_none_or(|next| entries[entries.len() - 1].0 < next.0));
        }
    }

    #[test]
    fn it_is_a_sorted_map_and_copies_of_it_never_change() {
        for seed in 0..8 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut map = Map::default();
            let mut model = BTreeMap::new();
            let mut copies = Vec::new();
            for step in 0..20_000 {
                // It grows, and shrinks to nothing or nearly, and again.
                let grows = step % 10_000 < 5_000;
                let key = random.random_range(0..3_000);
                if random.random_bool(if grows { 0.9 } else { 0.1 }) {
                    assert_eq!(map.insert(key, step), model.insert(key, step));
                } else {
                    assert_eq!(map.remove(&key), model.remove(&key));
                }
                assert_eq!(map.get_mut(&key), model.get_mut(&key));
                let other = random.random_range(0..3_000);
                assert_eq!(map.get(&other), model.get(&other));
                if step % 500 == 0 {
                    check(&map);
                    for bound in [Bound::Included(&other), Bound::Excluded(&other)] {
                        assert!(map.range(bound).eq(model.range((bound, Bound::Unbounded))));
                    }
                    assert_eq!(map.first(), model.first_key_value());
                    assert_eq!(map.last(), model.last_key_value());
                    copies.push((map.clone(), model.clone()));
                }
            }
            for (copy, model) in &copies {
                assert!(copy.range(Bound::Unbounded).eq(model.iter()));
            }
        }
    }

    #[test]
    fn what_comes_in_order_fills_the_pages() {
        let mut map = Map::default();
        for key in 0..12_800 {
            map.insert(key, 0);
        }
        assert_eq!(map.pages.len(), 100);
        check(&map);
    }

    #[test]
    fn pages_that_run_empty_are_joined() {
        let mut map = Map::default();
        for key in 0..12_800 {
            map.insert(key, 0);
        }
        for key in (0..12_800).filter(|key| key % 100 != 0) {
            map.remove(&key);
        }
        check(&map);
        assert_eq!(map.len(), 128);
        assert!(map.pages.len() <= 6, "{} pages", map.pages.len());
        for key in 0..12_800 {
            map.remove(&key);
        }
        assert_eq!((map.len(), map.pages.len(), map.first()), (0, 0, None));
    }

    #[test]
    fn a_write_after_a_copy_copies_one_page() {
        let mut map = Map::default();
        for key in 0..12_800 {
            map.insert(key, 0);
        }
        let copy = map.clone();
        *map.get_mut(&5_000).unwrap() = 1;
        let pages = map.pages.iter().zip(copy.pages.iter());
        let differ = pages.filter(|(ours, theirs)| !Arc::ptr_eq(&ours.entries, &theirs.entries));
        assert_eq!(differ.count(), 1);
        assert_eq!((map.get(&5_000), copy.get(&5_000)), (Some(&1), Some(&0)));
        let untouched = map.clone();
        assert_eq!(map.get_mut(&99_999), None);
        assert_eq!(map.remove(&99_999), None);
        assert!(Arc::ptr_eq(&map.pages, &untouched.pages), "copied for nothing");
    }

    #[test]
    fn maps_are_equal_when_their_entries_are() {
        let (mut forwards, mut backwards) = (Map::default(), Map::default());
        for key in 0..1_000 {
            forwards.insert(key, 0);
            backwards.insert(999 - key, 0);
        }
        assert_ne!(forwards.pages.len(), backwards.pages.len());
        assert!(forwards == backwards);
        backwards.insert(500, 1);
        assert!(forwards != backwards);
        assert_ne!(entries(&forwards), entries(&backwards));
    }
}
