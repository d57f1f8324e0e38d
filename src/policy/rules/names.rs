//! Rules by the names that they are about: those of a name itself, and those of all names below it.

use super::sets::{SetId, SetMaker};
use super::spec::NamePattern;
use super::texts::Texts;

/// Sets by names. A name of a pattern has two: that of the name itself, and that of each name below it of which no longer part
/// has sets. Both have the sets of the patterns that it stands below.
#[derive(Debug)]
pub(super) struct NameTable {
    texts: Texts,
    /// How many labels names of patterns have: a bit for each number.
    depths: u128,
    /// The same of names of which those below have sets.
    depths_above: u128,
}

impl NameTable {
    /// The names of these patterns.
    pub(super) fn new(patterns: Vec<(NamePattern, SetId)>, maker: &mut SetMaker) -> NameTable {
        let bytes = patterns.iter().map(|(pattern, _)| text(pattern).len()).sum();
        let texts = Texts::new(patterns.len(), bytes);
        let mut table = NameTable { texts, depths: 0, depths_above: 0 };
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
                let own = match pattern {
                    NamePattern::Exact(_) => [set, SetId::EMPTY],
                    NamePattern::Below(_) => [SetId::EMPTY, set],
                    NamePattern::Under(_) => [set, set],
                };
                let text = text(&pattern);
                let inherited = table.set_of_part(text, depth, false);
                table.texts.change(text, |sets| {
                    let mut united = |at: usize| {
                        let with_own = maker.unite(sets[at], own[at]);
                        maker.unite(with_own, inherited)
                    };
                    [united(0), united(1)]
                });
                above |= own[1] != SetId::EMPTY;
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
        self.set_of_part(name.as_bytes(), labels(name.as_bytes()), true)
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.texts.bytes()
    }

    /// The set of a name of so many labels, as far as it is the name's own or one of those that it stands below.
    fn set_of_part(&self, name: &[u8], depth: usize, own: bool) -> SetId {
        if own
            && self.depths >> depth & 1 != 0
            && let Some([itself, _]) = self.texts.get(name)
        {
            return itself;
        }
        let (mut part, mut depth) = (name, depth);
        // Where no shorter name has sets for what stands below, there is nothing to be looked for.
        while self.depths_above & !(u128::MAX << depth) != 0 {
            let Some(dot) = part.iter().position(|&byte| byte == b'.') else { break };
            (part, depth) = (&part[dot + 1..], depth - 1);
            if self.depths_above >> depth & 1 != 0
                && let Some([_, below]) = self.texts.get(part)
            {
                return below;
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
