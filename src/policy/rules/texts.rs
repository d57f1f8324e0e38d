//! What is known by a text: a hash table, and all texts in one piece.
//!
//! A text of its own for each of a million names would take as long to give back as they all take to be read, and whoever
//! lets go of them last would wait for it: a worker.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

/// A text, and what is known by it.
#[derive(Clone, Copy, Debug)]
struct TextEntry<V> {
    start: u32,
    length: u32,
    value: V,
}

/// Values by texts.
#[derive(Debug)]
pub(super) struct Texts<V> {
    table: HashTable<TextEntry<V>>,
    texts: Vec<u8>,
    hasher: DefaultHashBuilder,
}

impl<V> Default for Texts<V> {
    fn default() -> Texts<V> {
        Texts { table: HashTable::new(), texts: Vec::new(), hasher: DefaultHashBuilder::default() }
    }
}

impl<V: Copy + Default> Texts<V> {
    /// What is known by this text, and by no other of the same hash.
    pub(super) fn get(&self, text: &[u8]) -> Option<V> {
        let known = self.table.find(self.hash(text), |known| text_of(&self.texts, known) == text)?;
        Some(known.value)
    }

    /// What is to be known by this text.
    pub(super) fn value_mut(&mut self, text: &[u8]) -> &mut V {
        let hash = self.hash(text);
        let Texts { table, texts, hasher } = self;
        let found = table.entry(
            hash,
            |known| text_of(texts, known) == text,
            |known| hasher.hash_one(text_of(texts, known)),
        );
        let place = |at: usize| u32::try_from(at).expect("texts of less than 4 GiB");
        let made = TextEntry { start: place(texts.len()), length: place(text.len()), value: V::default() };
        match found {
            hashbrown::hash_table::Entry::Occupied(known) => &mut known.into_mut().value,
            hashbrown::hash_table::Entry::Vacant(room) => {
                texts.extend_from_slice(text);
                &mut room.insert(made).into_mut().value
            }
        }
    }

    /// Room for so many more, which are so many bytes.
    pub(super) fn reserve(&mut self, texts: usize, bytes: usize) {
        let Texts { table, texts: kept, hasher } = self;
        table.reserve(texts, |known| hasher.hash_one(text_of(kept, known)));
        kept.reserve(bytes);
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.table.allocation_size() + self.texts.capacity()
    }

    fn hash(&self, text: &[u8]) -> u64 {
        self.hasher.hash_one(text)
    }
}

fn text_of<'a, V>(texts: &'a [u8], known: &TextEntry<V>) -> &'a [u8] {
    &texts[known.start as usize..][..known.length as usize]
}
