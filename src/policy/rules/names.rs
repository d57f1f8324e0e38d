//! Rules by the names that they are about: those of a name itself, and those of all names below it.

use super::sets::{SetId, SetMaker};
use super::spec::NamePattern;
use super::texts::Texts;

/// The sets that a name of a pattern has, each with those of the patterns that it stands below.
#[derive(Clone, Copy, Debug, Default)]
struct NameSets {
    /// Of the name itself.
    itself: SetId,
    /// Of each name below it, of which no longer part has sets.
    below: SetId,
}

/// Sets by names.
#[derive(Debug, Default)]
pub(super) struct NameTable {
    texts: Texts<NameSets>,
    /// How many labels names of patterns have: a bit for each number.
    depths: u128,
    /// The same of names of which those below have sets.
    depths_above: u128,
}

impl NameTable {
    /// The names of these patterns.
    pub(super) fn new(patterns: Vec<(NamePattern, SetId)>, maker: &mut SetMaker) -> NameTable {
        let mut table = NameTable::default();
        table.texts.reserve(patterns.len(), patterns.iter().map(|(pattern, _)| text(pattern).len()).sum());
        // Those with few labels first: what stands below takes their sets as they are in the end.
        let mut by_depth: Vec<Vec<(NamePattern, SetId)>> = Vec::new();
        for (pattern, set) in patterns {
            let depth = labels(text(&pattern));
            by_depth.resize_with(by_depth.len().max(depth + 1), Vec::new);
            by_depth[depth].push((pattern, set));
        }
        for (depth, patterns) in by_depth.into_iter().enumerate() {
            let mut above = false;
            for (pattern, set) in patterns {
                let (itself, below) = match pattern {
                    NamePattern::Exact(_) => (set, SetId::EMPTY),
                    NamePattern::Below(_) => (SetId::EMPTY, set),
                    NamePattern::Under(_) => (set, set),
                };
                let text = text(&pattern);
                let inherited = table.from_above(text, depth);
                let sets = table.texts.value_mut(text);
                for (all, own) in [(&mut sets.itself, itself), (&mut sets.below, below)] {
                    let with_inherited = maker.unite(*all, inherited);
                    *all = maker.unite(with_inherited, own);
                }
                above |= below != SetId::EMPTY;
                table.depths |= 1 << depth;
            }
            table.depths_above |= u128::from(above) << depth;
        }
        table
    }

    /// The set of a name.
    pub(super) fn set_of(&self, name: &str) -> SetId {
        if self.depths == 0 {
            return SetId::EMPTY;
        }
        let (text, depth) = (name.as_bytes(), labels(name.as_bytes()));
        let known = if self.depths >> depth & 1 == 0 { None } else { self.texts.get(text) };
        known.map_or_else(|| self.from_above(text, depth), |sets| sets.itself)
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.texts.bytes()
    }

    /// What a name of so many labels has of the nearest name that it stands below.
    fn from_above(&self, name: &[u8], depth: usize) -> SetId {
        let (mut rest, mut depth) = (name, depth);
        // Where no shorter name has sets for what stands below, there is nothing to be looked for.
        while self.depths_above & !(u128::MAX << depth) != 0 {
            let Some(dot) = rest.iter().position(|&byte| byte == b'.') else { break };
            (rest, depth) = (&rest[dot + 1..], depth - 1);
            if self.depths_above >> depth & 1 == 0 {
                continue;
            }
            if let Some(sets) = self.texts.get(rest) {
                return sets.below;
            }
        }
        SetId::EMPTY
    }
}

fn text(pattern: &NamePattern) -> &[u8] {
    let (NamePattern::Exact(name) | NamePattern::Below(name) | NamePattern::Under(name)) = pattern;
    name.as_str().as_bytes()
}

/// How many labels a name has: 127 at most, as each takes two of its 253 bytes.
fn labels(name: &[u8]) -> usize {
    1 + name.iter().filter(|&&byte| byte == b'.').count()
}
