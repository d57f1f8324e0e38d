//! Bounds of how rules are compiled.

use super::RULES_MAX;

/// Tables of targets that are told of their clients: they are looked through for each session that dials.
pub const PROXY_OUT_TABLES_MAX: usize = 64;

/// Classes of rules that need values in the same keys: of seven keys and the times, of two actions and two modes.
pub const RULE_CLASSES_MAX: usize = 1 << 10;
/// Words that summarise which words of rules a set has. Rules stand 64 in a word, and no two classes share one.
pub const RULE_SPANS_MAX: usize = (RULES_MAX.div_ceil(64) + RULE_CLASSES_MAX).div_ceil(64);

/// Comparisons in search of rules that can never match: half a second at most. Some ten thousand rules take a tenth of them, as
/// only those are compared of which one may cover the other.
pub const SHADOW_STEPS_MAX: usize = 20_000_000;
/// Entries of a list that are compared one by one with what rules name; longer lists are compared as a whole.
pub const SHADOW_LIST_MAX: usize = 64;

const _: () = assert!(RULES_MAX < u16::MAX as usize, "places of rules have 16 bits");
