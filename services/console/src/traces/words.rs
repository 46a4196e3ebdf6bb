//! Contents that many spans share, kept once: names of spans, keys of attributes, and where spans
//! come from. Each is freed with the last that refers to it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::held::allocated;

/// Bytes that a word costs beside its content and its slot: counters of references, and its share
/// of the tree that finds it.
const WORD_BYTES: u64 = 64;

/// Where a word is; used again after the word has been freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word(pub(super) u32);

/// Words and how often each is referred to.
#[derive(Debug)]
pub(super) struct Words<T: ?Sized> {
    numbers: BTreeMap<Arc<T>, Word>,
    slots: Vec<Option<Slot<T>>>,
    free: Vec<Word>,
    bytes: u64,
}

#[derive(Debug)]
struct Slot<T: ?Sized> {
    content: Arc<T>,
    references: u32,
}

impl<T: ?Sized> Default for Words<T> {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), slots: Vec::new(), free: Vec::new(), bytes: 0 }
    }
}

fn cost<T: AsRef<[u8]> + ?Sized>(content: &T) -> u64 {
    allocated(content.as_ref().len()) + WORD_BYTES
}

impl<T: ?Sized + Ord + AsRef<[u8]>> Words<T> {
    /// Refers to a word; whether it had not been kept.
    pub(super) fn acquire(&mut self, content: &T) -> (Word, bool)
    where
        Arc<T>: Borrow<T> + for<'a> From<&'a T>,
    {
        if let Some(word) = self.acquire_known(content) {
            return (word, false);
        }
        let content = Arc::<T>::from(content);
        self.bytes += cost(&*content);
        let slot = Some(Slot { content: content.clone(), references: 1 });
        let word = match self.free.pop() {
            Some(word) => {
                self.slots[word.0 as usize] = slot;
                word
            }
            None => {
                self.slots.push(slot);
                Word(u32::try_from(self.slots.len() - 1).expect("the bytes are limited"))
            }
        };
        self.numbers.insert(content, word);
        (word, true)
    }

    /// Refers to a word if it is kept.
    pub(super) fn acquire_known(&mut self, content: &T) -> Option<Word>
    where
        Arc<T>: Borrow<T>,
    {
        let word = *self.numbers.get(content)?;
        self.slot(word).references += 1;
        Some(word)
    }

    /// Refers once more to a word that is referred to.
    pub(super) fn refer(&mut self, word: Word) {
        self.slot(word).references += 1;
    }

    /// Ends one reference; the content if that was the last.
    pub(super) fn release(&mut self, word: Word) -> Option<Arc<T>> {
        let slot = self.slot(word);
        slot.references -= 1;
        if slot.references > 0 {
            return None;
        }
        let content = self.slots[word.0 as usize].take().expect("it was there").content;
        self.numbers.remove(&content);
        self.free.push(word);
        self.bytes -= cost(&*content);
        Some(content)
    }

    fn slot(&mut self, word: Word) -> &mut Slot<T> {
        self.slots[word.0 as usize].as_mut().expect("a word is kept while it is referred to")
    }

    /// The content of a word that is referred to.
    pub(super) fn get(&self, word: Word) -> &T {
        let slot = self.slots[word.0 as usize].as_ref();
        &slot.expect("a word is kept while it is referred to").content
    }

    /// All that are kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Word, &T)> {
        self.numbers.iter().map(|(content, word)| (*word, &**content))
    }

    /// Bytes of all that is kept.
    pub(super) fn contents_bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of all that is kept, and of the slots that are free.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.slots_bytes()
    }
}

impl<T: ?Sized> Words<T> {
    fn slots_bytes(&self) -> u64 {
        let slots = self.slots.capacity() * size_of::<Option<Slot<T>>>();
        (slots + self.free.capacity() * size_of::<Word>()) as u64
    }
}

#[cfg(test)]
impl<T: ?Sized + AsRef<[u8]>> Words<T> {
    /// The same as `bytes`, counted again.
    pub(super) fn recount(&self) -> u64 {
        assert_eq!(self.slots.len(), self.numbers.len() + self.free.len());
        let contents = self.slots.iter().flatten().map(|slot| cost(&*slot.content));
        contents.sum::<u64>() + self.slots_bytes()
    }

    /// How often each word is referred to.
    pub(super) fn references(&self) -> BTreeMap<Word, u32> {
        let slots = (0..).map(Word).zip(&self.slots);
        slots.filter_map(|(word, slot)| Some((word, slot.as_ref()?.references))).collect()
    }
}
