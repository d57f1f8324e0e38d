//! Which keys of a pool with `sliding` are in use: each keeps its address for as long as it is.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{EGRESS_SLIDING_KEYS, EGRESS_SLIDING_WAYS};

/// Keys, when each was used last, and the epoch that it keeps. Known on this gateway alone, to all of its workers. A bounded
/// table: of the places that a key may have the one that was used longest ago goes.
///
/// No lock: a place is two words that are written one after the other. The first is the key together with the second, so that a
/// place that two workers wrote at once is nobody's, and not another's.
#[derive(Debug)]
pub(super) struct SlidingKeys {
    places: Box<[[AtomicU64; 2]]>,
}

/// When a key was used last and the epoch that it keeps, in a word.
#[derive(Clone, Copy)]
struct Use {
    seconds: u32,
    epoch: u32,
}

impl Use {
    fn word(self) -> u64 {
        (u64::from(self.seconds) << 32) | u64::from(self.epoch)
    }

    fn of(word: u64) -> Use {
        Use { seconds: (word >> 32) as u32, epoch: word as u32 }
    }
}

impl SlidingKeys {
    pub(super) fn new() -> SlidingKeys {
        SlidingKeys { places: (0..EGRESS_SLIDING_KEYS).map(|_| Default::default()).collect() }
    }

    /// The epoch that a key has: the one that it has kept where it was used within `ttl` seconds, else `fresh`. `renews`: it is
    /// used now.
    pub(super) fn epoch(&self, key: u64, unix_seconds: u64, ttl: u64, (fresh, renews): (u64, bool)) -> u64 {
        let now = unix_seconds as u32;
        let set = (key as usize % EGRESS_SLIDING_KEYS) / EGRESS_SLIDING_WAYS * EGRESS_SLIDING_WAYS;
        let set = &self.places[set..set + EGRESS_SLIDING_WAYS];
        let (mut oldest, mut oldest_age) = (0, 0);
        for (nth, [mixed, word]) in set.iter().enumerate() {
            let found = word.load(Ordering::Relaxed);
            let Use { seconds, epoch } = Use::of(found);
            let age = now.saturating_sub(seconds);
            if mixed.load(Ordering::Relaxed) ^ found == key && found != 0 {
                let kept = if u64::from(age) < ttl { epoch } else { fresh as u32 };
                if renews {
                    put(&set[nth], key, Use { seconds: now, epoch: kept });
                }
                return u64::from(kept);
            }
            if age >= oldest_age {
                (oldest, oldest_age) = (nth, age);
            }
        }
        if renews {
            put(&set[oldest], key, Use { seconds: now, epoch: fresh as u32 });
        }
        fresh
    }
}

fn put([mixed, word]: &[AtomicU64; 2], key: u64, used: Use) {
    mixed.store(key ^ used.word(), Ordering::Relaxed);
    word.store(used.word(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_epoch_for_as_long_as_it_is_used() {
        let keys = SlidingKeys::new();
        assert_eq!(keys.epoch(7, 1_000, 60, (10, true)), 10);
        assert_eq!(keys.epoch(7, 1_059, 60, (11, true)), 10);
        assert_eq!(keys.epoch(7, 1_118, 60, (12, true)), 10, "each use renews");
        assert_eq!(keys.epoch(7, 1_178, 60, (13, true)), 13, "a minute without one");
        assert_eq!(keys.epoch(8, 1_178, 60, (13, true)), 13);
        assert_eq!(keys.epoch(9, 1_178, 60, (13, false)), 13);
        assert_eq!(keys.epoch(9, 1_179, 60, (14, false)), 14, "asking is no use");
    }

    #[test]
    fn of_too_many_keys_the_one_that_was_used_longest_ago_goes() {
        let keys = SlidingKeys::new();
        let same_places = |nth: u64| nth * EGRESS_SLIDING_KEYS as u64;
        let ways = EGRESS_SLIDING_WAYS as u64;
        for nth in 1..=ways + 1 {
            assert_eq!(keys.epoch(same_places(nth), 1_000 + nth, 600, (1, true)), 1);
        }
        assert_eq!(keys.epoch(same_places(2), 1_100, 600, (2, true)), 1, "it is there");
        assert_eq!(keys.epoch(same_places(1), 1_100, 600, (2, true)), 2, "it is not");
    }
}
