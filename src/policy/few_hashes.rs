//! A few of many, by their hashes: shared by all workers, and written seldom.

use std::sync::atomic::{AtomicU64, Ordering};

/// As many hashes as there are places. Of more the ones before are forgotten. 0 is none.
#[derive(Debug)]
pub(super) struct FewHashes<const PLACES: usize>([AtomicU64; PLACES]);

impl<const PLACES: usize> FewHashes<PLACES> {
    /// One more, in the place of another where there is none.
    pub(super) fn add(&self, hash: u64) {
        let free = self.0.iter().find(|place| [0, hash].contains(&place.load(Ordering::Relaxed)));
        let place = free.unwrap_or(&self.0[hash as usize % PLACES]);
        place.store(hash, Ordering::Relaxed);
    }

    /// Whether it is among them.
    pub(super) fn has(&self, hash: u64) -> bool {
        hash != 0 && self.0.iter().any(|place| place.load(Ordering::Relaxed) == hash)
    }

    /// None is left.
    pub(super) fn clear(&self) {
        self.0.iter().for_each(|place| place.store(0, Ordering::Relaxed));
    }
}

impl<const PLACES: usize> Default for FewHashes<PLACES> {
    fn default() -> Self {
        FewHashes(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ones_before_are_forgotten_where_there_are_more_than_places() {
        let few = FewHashes::<2>::default();
        [7, 7, 9].into_iter().for_each(|hash| few.add(hash));
        assert_eq!([0, 7, 9, 11].map(|hash| few.has(hash)), [false, true, true, false]);
        few.add(11);
        assert_eq!([7, 9, 11].map(|hash| few.has(hash)), [true, false, true]);
        few.clear();
        assert_eq!([7, 11].map(|hash| few.has(hash)), [false; 2]);
    }
}
