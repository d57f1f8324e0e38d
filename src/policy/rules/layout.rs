//! Where a rule's bit is.
//!
//! Rules that say the same, in the same mode, with values in the same keys, stand together, in their order, and share no word
//! with others. So a word's rules all need a value in a key, or none does; sets have bits of the first alone, and the words
//! in which no rule can match are found by their summaries, however many rules there are. Within such a class the first
//! match is the one that counts, and of those of all classes the one that comes first.

use std::collections::BTreeMap;

use super::question::RuleKey;
use super::spec::{Action, Condition, Mode, RuleSpec};
use crate::limits::RULE_CLASSES_MAX;

/// Keys of a rule, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyMask(u8);

const _: () = assert!(RuleKey::COUNT <= 8 && RULE_CLASSES_MAX == 4 << RuleKey::COUNT);

impl KeyMask {
    fn put(&mut self, key: RuleKey, has: bool) {
        let bit = 1 << key as u8;
        self.0 = if has { self.0 | bit } else { self.0 & !bit };
    }

    pub(super) fn has(self, key: RuleKey) -> bool {
        self.0 >> (key as u8) & 1 != 0
    }

    pub(super) fn with(self, other: KeyMask) -> KeyMask {
        KeyMask(self.0 | other.0)
    }

    /// Whether another has all of these.
    pub(super) fn within(self, other: KeyMask) -> bool {
        self.0 & !other.0 == 0
    }

    /// Those that it has.
    pub(super) fn keys(mut self) -> impl Iterator<Item = RuleKey> {
        std::iter::from_fn(move || {
            let key = *RuleKey::ALL.get(self.0.trailing_zeros() as usize)?;
            self.0 &= self.0 - 1;
            Some(key)
        })
    }
}

/// What is the same of all rules of a word, and the sum of what is not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RuleRow {
    /// Bits that are rules.
    pub(super) filled: u64,
    /// Whether the rules have times.
    pub(super) timed: bool,
    /// Keys that need a value, times aside.
    pub(super) needs: KeyMask,
    /// Keys of which some rule has a `not_` twin.
    pub(super) negates: KeyMask,
    /// The class.
    pub(super) class: u16,
    /// The place of the first rule.
    pub(super) first: u16,
}

/// The words, those of rules that decide before those of rules that only report.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) rows: Vec<RuleRow>,
    /// From which word on rules only report.
    pub(super) reports_from: usize,
    /// Places by bits.
    places: Vec<u16>,
    /// Bits by places.
    bits: Vec<u32>,
    /// For each key a summary: the words whose rules need a value.
    needing: Vec<u64>,
    /// A summary of all words.
    pub(super) whole: Vec<u64>,
}

impl Layout {
    pub(super) fn new(rules: &[RuleSpec]) -> Layout {
        let mut classes: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (place, rule) in rules.iter().enumerate() {
            let (needs, _) = keys_of_sets(rule);
            let class =
                (rule.mode == Mode::Report, rule.action == Action::Deny, !rule.when.is_empty(), needs);
            classes.entry(class).or_default().push(place);
        }
        let mut classes: Vec<_> = classes.into_iter().collect();
        // What comes first in the list is looked at first, and spares a look at what comes behind.
        classes.sort_by_key(|((reports, ..), places)| (*reports, places[0]));
        let mut layout = Layout {
            rows: Vec::new(),
            reports_from: 0,
            places: Vec::new(),
            bits: vec![0; rules.len()],
            needing: Vec::new(),
            whole: Vec::new(),
        };
        for (class, ((reports, _, timed, needs), places)) in classes.into_iter().enumerate() {
            for places in places.chunks(64) {
                layout.add(
                    rules,
                    places,
                    RuleRow { timed, needs, class: number(class), ..RuleRow::default() },
                );
            }
            if !reports {
                layout.reports_from = layout.rows.len();
            }
        }
        let spans = layout.spans();
        layout.needing = vec![0; RuleKey::COUNT * spans];
        layout.whole = vec![0; spans];
        for (word, row) in layout.rows.iter().enumerate() {
            layout.whole[word / 64] |= 1 << (word % 64);
            for key in row.needs.keys() {
                layout.needing[key as usize * spans + word / 64] |= 1 << (word % 64);
            }
        }
        layout
    }

    /// Adds a word, with the rules of these places.
    fn add(&mut self, rules: &[RuleSpec], places: &[usize], row: RuleRow) {
        let word = self.rows.len();
        let filled = u64::MAX >> (64 - places.len());
        let negates =
            places.iter().fold(KeyMask::default(), |all, &place| all.with(keys_of_sets(&rules[place]).1));
        self.rows.push(RuleRow { filled, negates, first: number(places[0]), ..row });
        self.places.resize(word * 64, 0);
        for (bit, &place) in places.iter().enumerate() {
            self.places.push(number(place));
            self.bits[place] = u32::from(number(word)) * 64 + bit as u32;
        }
    }

    /// Words of a summary.
    pub(super) fn spans(&self) -> usize {
        self.rows.len().div_ceil(64).max(1)
    }

    /// A summary of the words whose rules need a value in this key.
    pub(super) fn needing(&self, key: RuleKey) -> &[u64] {
        let spans = self.spans();
        &self.needing[key as usize * spans..][..spans]
    }

    /// The place of the rule of this bit.
    pub(super) fn place(&self, word: usize, bit: u32) -> usize {
        usize::from(self.places[word * 64 + bit as usize])
    }

    /// The bit of the rule of this place, counted over all words.
    pub(super) fn bit(&self, place: usize) -> u32 {
        self.bits[place]
    }

    /// The word of the rule of this place.
    pub(super) fn word(&self, place: usize) -> usize {
        self.bits[place] as usize / 64
    }

    /// The bit of the rule of this place in its word.
    pub(super) fn mask(&self, place: usize) -> u64 {
        1 << (self.bits[place] % 64)
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.rows)
            + size_of_val(&*self.places)
            + size_of_val(&*self.bits)
            + size_of_val(&*self.needing)
            + size_of_val(&*self.whole)
    }
}

fn number(number: usize) -> u16 {
    u16::try_from(number).expect("fewer rules than RULES_MAX")
}

/// The keys in which a rule needs a value, and those in which it has values that must not be met.
pub(super) fn keys(rule: &RuleSpec) -> (KeyMask, KeyMask) {
    fn has<T>(condition: &Condition<T>) -> (bool, bool) {
        (!condition.any_of.is_empty(), !condition.none_of.is_empty())
    }
    let (mut needs, mut negates) = (KeyMask::default(), KeyMask::default());
    for key in RuleKey::ALL {
        let (any, none) = match key {
            RuleKey::When => has(&rule.when),
            RuleKey::Users => has(&rule.users),
            RuleKey::Groups => has(&rule.groups),
            RuleKey::From => has(&rule.from),
            RuleKey::Listeners => has(&rule.listeners),
            RuleKey::Commands => has(&rule.commands),
            RuleKey::Ports => has(&rule.ports),
            RuleKey::To => has(&rule.to),
        };
        needs.put(key, any);
        negates.put(key, none);
    }
    (needs, negates)
}

/// The same, times aside: these are a rule's own, and no set of rules that a value leads to.
fn keys_of_sets(rule: &RuleSpec) -> (KeyMask, KeyMask) {
    let (mut needs, mut negates) = keys(rule);
    needs.put(RuleKey::When, false);
    negates.put(RuleKey::When, false);
    (needs, negates)
}
