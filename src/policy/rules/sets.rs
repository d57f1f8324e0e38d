//! Sets of rules, of which each value that rules name has one, and equal ones are kept once.
//!
//! A rule is a bit of a word (see `layout`). A set says which rules name its value in a key, and which name it in the key's
//! `not_` twin. Most are sparse: only words with bits are kept, behind a summary that says which they are. A value of which
//! others are part (an address of a block, a name below a name) has their rules in its own set, so that one look-up finds
//! all; sets are united when they are made, and never again.

use std::hash::BuildHasher as _;

use hashbrown::hash_map::HashMap;
use hashbrown::{DefaultHashBuilder, HashTable};

/// Which of its [`Sets`] a set is: equal sets of one maker have equal ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SetId(u32);

impl SetId {
    /// The set of what no rule names.
    pub(super) const EMPTY: SetId = SetId(0);

    pub(super) fn to_bytes(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 4]) -> SetId {
        SetId(u32::from_ne_bytes(bytes))
    }
}

/// Which rules name a value, by their bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleBits {
    /// Those that name it in the key.
    pub(super) any: Vec<u32>,
    /// Those that name it in the key's `not_` twin.
    pub(super) none: Vec<u32>,
}

impl RuleBits {
    /// Adds a rule.
    pub(super) fn add(&mut self, bit: u32, negated: bool) {
        if negated { self.none.push(bit) } else { self.any.push(bit) }
    }
}

/// Some words, and a summary that says which.
#[derive(Clone, Copy, Debug)]
struct WordSet<'a> {
    summary: &'a [u64],
    words: &'a [u64],
    /// Whether all words are there, zero or not.
    dense: bool,
}

impl WordSet<'_> {
    fn word(&self, at: usize) -> u64 {
        if self.dense {
            return self.words[at];
        }
        let (span, bit) = (at / 64, 1 << (at % 64));
        if self.summary[span] & bit == 0 {
            return 0;
        }
        let ones = |word: u64| word.count_ones() as usize;
        let before: usize = self.summary[..span].iter().map(|&word| ones(word)).sum();
        self.words[before + ones(self.summary[span] & (bit - 1))]
    }
}

/// Sets, one behind the other: a head, the summary and the words of `any`, and where there are some those of `none`.
#[derive(Debug)]
pub(super) struct Sets {
    kept: Vec<u64>,
    /// Words of a summary.
    spans: usize,
    /// Words that a set may have.
    words: usize,
}

/// In a head: how many words of `any` are kept.
const LENGTH: u64 = 0xffff;
/// In a head: all words of `any` are kept.
const DENSE: u64 = 1 << 16;
/// Where in a head the same stands of `none`; nothing does where it has no bits.
const NONE_SHIFT: u32 = 32;

impl Sets {
    /// Which words of a set have bits of `any`: 64 of them in each.
    pub(super) fn summary(&self, set: SetId) -> &[u64] {
        let at = set.0 as usize + 1;
        &self.kept[at..at + self.spans]
    }

    /// A word of `any`.
    pub(super) fn any(&self, set: SetId, word: usize) -> u64 {
        let (head, halves) = self.parts(set);
        self.half(halves, head).word(word)
    }

    /// A word of `none`.
    pub(super) fn none(&self, set: SetId, word: usize) -> u64 {
        let (head, halves) = self.parts(set);
        match head >> NONE_SHIFT {
            0 => 0,
            none => self.half(&halves[self.spans + (head & LENGTH) as usize..], none).word(word),
        }
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.kept.capacity() * size_of::<u64>()
    }

    fn parts(&self, set: SetId) -> (u64, &[u64]) {
        let at = set.0 as usize;
        (self.kept[at], &self.kept[at + 1..])
    }

    fn half<'a>(&self, kept: &'a [u64], head: u64) -> WordSet<'a> {
        let (summary, rest) = kept.split_at(self.spans);
        WordSet { summary, words: &rest[..(head & LENGTH) as usize], dense: head & DENSE != 0 }
    }
}

/// Makes sets of so many words.
#[derive(Debug)]
pub(super) struct SetMaker {
    sets: Sets,
    known: HashTable<(u32, u32)>,
    hasher: DefaultHashBuilder,
    /// What sets came to that were united: a list has one set for all its entries.
    united: HashMap<(SetId, SetId), SetId>,
}

impl SetMaker {
    pub(super) fn new(words: usize) -> SetMaker {
        let sets = Sets { kept: Vec::new(), spans: words.div_ceil(64).max(1), words };
        let (known, united) = (HashTable::new(), HashMap::new());
        let mut maker = SetMaker { sets, known, hasher: DefaultHashBuilder::default(), united };
        // The first one is `SetId::EMPTY`.
        maker.make(&RuleBits::default());
        maker
    }

    /// Adds to the first so many words of sets that there are.
    pub(super) fn beginning_with(sets: &Sets, len: usize) -> SetMaker {
        let Sets { kept, spans, words } = sets;
        let sets = Sets { kept: kept[..len].to_vec(), spans: *spans, words: *words };
        let (known, united) = (HashTable::new(), HashMap::new());
        SetMaker { sets, known, hasher: DefaultHashBuilder::default(), united }
    }

    /// How many words the sets have that are made.
    pub(super) fn len(&self) -> usize {
        self.sets.kept.len()
    }

    /// The set of these rules.
    pub(super) fn make(&mut self, rules: &RuleBits) -> SetId {
        let words = |bits: &[u32]| {
            let mut words = vec![0; self.sets.words];
            for &bit in bits {
                words[bit as usize / 64] |= 1 << (bit % 64);
            }
            words
        };
        self.keep(&words(&rules.any), &words(&rules.none))
    }

    /// The set of the rules of both.
    pub(super) fn unite(&mut self, one: SetId, other: SetId) -> SetId {
        let (one, other) = (SetId(one.0.min(other.0)), SetId(one.0.max(other.0)));
        if one == SetId::EMPTY || one == other {
            return other;
        }
        if let Some(&united) = self.united.get(&(one, other)) {
            return united;
        }
        let sets = &self.sets;
        let both = |word: fn(&Sets, SetId, usize) -> u64| -> Vec<u64> {
            (0..sets.words).map(|at| word(sets, one, at) | word(sets, other, at)).collect()
        };
        let (any, none) = (both(Sets::any), both(Sets::none));
        let united = self.keep(&any, &none);
        self.united.insert((one, other), united);
        united
    }

    /// The set of these words of `any` and `none`.
    pub(super) fn keep(&mut self, any: &[u64], none: &[u64]) -> SetId {
        let start = self.sets.kept.len();
        self.sets.kept.push(0);
        let mut head = self.push(any);
        if none.iter().any(|&word| word != 0) {
            head |= self.push(none) << NONE_SHIFT;
        }
        let kept = &mut self.sets.kept;
        kept[start] = head;
        let (before, made) = kept.split_at(start);
        let hash = self.hasher.hash_one(made);
        let span = |(start, end): (u32, u32)| start as usize..end as usize;
        if let Some(&(known, _)) = self.known.find(hash, |&known| before[span(known)] == *made) {
            kept.truncate(start);
            return SetId(known);
        }
        let place = |at: usize| u32::try_from(at).expect("sets of less than 32 GiB");
        let made = (place(start), place(kept.len()));
        let hasher = |&known: &(u32, u32)| self.hasher.hash_one(&kept[span(known)]);
        self.known.insert_unique(hash, made, hasher);
        SetId(made.0)
    }

    /// The sets, all made.
    pub(super) fn finish(mut self) -> Sets {
        self.sets.kept.shrink_to_fit();
        self.sets
    }

    /// Adds a summary and its words, and gives the head that tells of them.
    fn push(&mut self, words: &[u64]) -> u64 {
        let kept = &mut self.sets.kept;
        let summary = kept.len();
        kept.resize(summary + self.sets.spans, 0);
        let filled = words.iter().filter(|&&word| word != 0).count();
        // Where few are left out they may as well stay: what need not be counted is found at once.
        let dense = filled > words.len() / 2;
        for (at, &word) in words.iter().enumerate() {
            if word != 0 {
                kept[summary + at / 64] |= 1 << (at % 64);
            }
            if dense || word != 0 {
                kept.push(word);
            }
        }
        let length = kept.len() - summary - self.sets.spans;
        length as u64 | if dense { DENSE } else { 0 }
    }
}
