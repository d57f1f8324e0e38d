//! Sets by texts: a hash table of lines of the cache, and all texts in one piece.
//!
//! With a million names what a look-up costs is the wait for memory. One that finds nothing waits once, for a line, and one that
//! finds something once more, for the text; and no branch depends on where in a line something stands, so that a processor
//! goes on to the next look-up meanwhile. A text of its own for each name would have to be given back one by one, by whoever
//! lets go of the rules last: a worker.

use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;

use super::sets::SetId;

/// Eight places: in each the upper half of a hash, and one more than where its text stands, or 0.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct TextLine([u64; 8]);

/// Bytes before a text: its length, and its two sets.
const HEAD: usize = 10;

/// Two sets for each text.
#[derive(Debug)]
pub(super) struct Texts {
    /// A power of two of them; some are never full.
    lines: Vec<TextLine>,
    texts: Vec<u8>,
    hasher: DefaultHashBuilder,
}

impl Texts {
    /// Room for so many texts and no more, of so many bytes.
    pub(super) fn new(texts: usize, bytes: usize) -> Texts {
        // Five of eight places at most are taken.
        let lines = (texts / 5 + 1).next_power_of_two();
        Texts {
            lines: vec![TextLine([0; 8]); lines],
            texts: Vec::with_capacity(bytes + texts * HEAD),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// The sets of this text, and of no other of the same hash.
    pub(super) fn get(&self, text: &[u8]) -> Option<[SetId; 2]> {
        self.find(self.hasher.hash_one(text), text).ok().map(|at| self.sets(at))
    }

    /// Changes the sets of a text; it has empty ones if it was not there.
    pub(super) fn change(&mut self, text: &[u8], change: impl FnOnce([SetId; 2]) -> [SetId; 2]) {
        let hash = self.hasher.hash_one(text);
        let at = match self.find(hash, text) {
            Ok(at) => at,
            Err((line, place)) => {
                let at = self.texts.len();
                let length = u16::try_from(text.len()).expect("a text of less than 64 KiB");
                self.texts.extend(length.to_le_bytes());
                self.texts.extend([0; HEAD - 2]);
                self.texts.extend(text);
                let after = u32::try_from(at + 1).expect("texts of less than 4 GiB");
                self.lines[line].0[place] = hash & UPPER | u64::from(after);
                at
            }
        };
        let [one, other] = change(self.sets(at));
        self.texts[at + 2..at + 6].copy_from_slice(&one.to_bytes());
        self.texts[at + 6..at + HEAD].copy_from_slice(&other.to_bytes());
    }

    /// Each text, in the order in which they came, with its sets.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], [SetId; 2])> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let here = (at < self.texts.len()).then_some(at)?;
            let text = self.text(here);
            at += HEAD + text.len();
            Some((text, self.sets(here)))
        })
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.lines) + self.texts.capacity()
    }

    fn line(&self, hash: u64) -> usize {
        hash as usize & (self.lines.len() - 1)
    }

    /// Where a text stands, or the place in a line that it is to have.
    fn find(&self, hash: u64, text: &[u8]) -> Result<usize, (usize, usize)> {
        let mut line = self.line(hash);
        loop {
            let taken = &self.lines[line].0;
            let (mut alike, mut free) = (0_u32, 0_u32);
            for (place, &taken) in taken.iter().enumerate() {
                alike |= u32::from((taken ^ hash) & UPPER == 0 && taken != 0) << place;
                free |= u32::from(taken == 0) << place;
            }
            while alike != 0 {
                let at = (taken[alike.trailing_zeros() as usize] & !UPPER) as usize - 1;
                if self.text(at) == text {
                    return Ok(at);
                }
                alike &= alike - 1;
            }
            if free != 0 {
                return Err((line, free.trailing_zeros() as usize));
            }
            line = (line + 1) & (self.lines.len() - 1);
        }
    }

    fn text(&self, at: usize) -> &[u8] {
        let length = u16::from_le_bytes([self.texts[at], self.texts[at + 1]]);
        &self.texts[at + HEAD..][..usize::from(length)]
    }

    fn sets(&self, at: usize) -> [SetId; 2] {
        let head = &self.texts[at..at + HEAD];
        [&head[2..6], &head[6..]].map(|bytes| SetId::from_bytes(bytes.try_into().unwrap_or_default()))
    }
}

/// The part of a hash that stands in a line; the line is chosen by the rest.
const UPPER: u64 = !0 << 32;

#[cfg(test)]
mod tests {
    use super::super::sets::{RuleBits, SetMaker};
    use super::*;

    #[test]
    fn each_of_many_texts_has_its_own_sets() {
        let mut maker = SetMaker::new(1);
        let sets: Vec<SetId> =
            (0..64).map(|bit| maker.make(&RuleBits { any: vec![bit], none: vec![] })).collect();
        let text = |number: usize| format!("name{number}.example");
        let mut texts = Texts::new(20_000, 0);
        for number in 0..20_000 {
            texts.change(text(number).as_bytes(), |_| [sets[number % 64], sets[number / 64 % 64]]);
        }
        for number in 0..20_000 {
            let known = texts.get(text(number).as_bytes());
            assert_eq!(known, Some([sets[number % 64], sets[number / 64 % 64]]), "{number}");
        }
        assert!((20_000..40_000).all(|number| texts.get(text(number).as_bytes()).is_none()));
        let told = |(number, (known, of)): (usize, (&[u8], [SetId; 2]))| {
            *known == *text(number).as_bytes() && of == [sets[number % 64], sets[number / 64 % 64]]
        };
        assert!(texts.iter().enumerate().all(told) && texts.iter().count() == 20_000);
    }

    /// A hash alone would give one name the rules of another, once somebody finds two that have the same.
    #[test]
    fn a_text_with_the_hash_of_another_is_not_the_other() {
        let mut texts = Texts::new(2, 0);
        texts.change(b"one", |sets| sets);
        let hash = texts.hasher.hash_one(b"one".as_slice());
        assert_eq!(texts.find(hash, b"one"), Ok(0));
        assert!(texts.find(hash, b"two").is_err());
    }
}
