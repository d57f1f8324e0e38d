//! The heaviest of a stream's keys in bounded memory: the Space-Saving algorithm (Metwally, Agrawal and El Abbadi, 2005),
//! with weights.
//!
//! A key that finds no place takes that of the lightest one, with its count: what a key is counted for is never too little,
//! and too much by no more than the lightest count, which is the whole weight divided by the places at most.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts the heaviest keys of a stream.
#[derive(Debug)]
pub(super) struct Sketch<K> {
    places: usize,
    at: HashMap<K, usize>,
    keys: Vec<K>,
    /// By place, apart from the keys: the lightest is looked for in all of them.
    counts: Vec<u64>,
    /// How much of each count may be of the keys before.
    overs: Vec<u64>,
}

/// What a sketch found.
#[derive(Clone, Debug)]
pub(super) struct Heaviest<K> {
    pub(super) counted: Vec<Weighed<K>>,
    /// What a key that is not there may weigh.
    pub(super) floor: u64,
}

/// A key and what it is counted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weighed<K> {
    pub(super) key: K,
    pub(super) count: u64,
    /// By how much the count may be too large.
    pub(super) over: u64,
}

impl<K: Clone + Eq + Hash> Sketch<K> {
    pub(super) fn new(places: usize) -> Sketch<K> {
        Sketch { places, at: HashMap::new(), keys: Vec::new(), counts: Vec::new(), overs: Vec::new() }
    }

    /// Adds to the weight of a key. One that is known costs no allocation.
    pub(super) fn add(&mut self, key: &K, weight: u64) {
        if weight == 0 {
            return;
        }
        if let Some(&at) = self.at.get(key) {
            self.counts[at] = self.counts[at].saturating_add(weight);
        } else if self.keys.len() < self.places {
            self.at.insert(key.clone(), self.keys.len());
            self.keys.push(key.clone());
            self.counts.push(weight);
            self.overs.push(0);
        } else if let Some((at, &least)) = self.counts.iter().enumerate().min_by_key(|(_, count)| **count) {
            self.at.remove(&self.keys[at]);
            self.at.insert(key.clone(), at);
            self.keys[at] = key.clone();
            self.counts[at] = least.saturating_add(weight);
            self.overs[at] = least;
        }
    }

    /// What was found so far.
    pub(super) fn found(&self) -> Heaviest<K> {
        let counts = self.counts.iter().zip(&self.overs);
        let counted = self.keys.iter().cloned().zip(counts);
        let counted = counted.map(|(key, (&count, &over))| Weighed { key, count, over }).collect();
        let full = self.keys.len() == self.places;
        Heaviest { counted, floor: if full { self.counts.iter().copied().min().unwrap_or(0) } else { 0 } }
    }
}

/// Sums what several sketches found: over the streams of all of them, no count is too little, and none is too large by
/// more than its `over`.
pub(super) fn merge<'a, K: Clone + Eq + Hash + 'a>(
    all: impl Iterator<Item = &'a Heaviest<K>> + Clone,
) -> HashMap<K, Weighed<K>> {
    let floors: u64 = all.clone().fold(0, |sum, found| sum.saturating_add(found.floor));
    let mut merged: HashMap<K, Weighed<K>> = HashMap::new();
    for found in all {
        for Weighed { key, count, over } in &found.counted {
            let new = || Weighed { key: key.clone(), count: floors, over: floors };
            let sum = merged.entry(key.clone()).or_insert_with(new);
            // Here its weight is known, and need not be taken for what it could be.
            sum.count = (sum.count - found.floor).saturating_add(*count);
            sum.over = (sum.over - found.floor).saturating_add(*over);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pseudo-random keys of which few come often: the smaller its number, the more often a key comes.
    fn skewed(seed: u64, length: usize) -> impl Iterator<Item = (u32, u64)> {
        let mut state = seed | 1;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let uniform = (state >> 40) as f64 / (1u64 << 24) as f64;
            let key = (3000f64.powf(uniform) - 1.0) as u32;
            (key, 1 + (state >> 33) % 1500)
        })
        .take(length)
    }

    /// Everything that is promised of counts and errors, against an exact count.
    fn hold(found: impl Iterator<Item = Weighed<u32>>, exact: &HashMap<u32, u64>, bound: u64, places: usize) {
        let found: HashMap<u32, Weighed<u32>> = found.map(|weighed| (weighed.key, weighed)).collect();
        for (key, weighed) in &found {
            let truth = exact.get(key).copied().unwrap_or(0);
            assert!(truth <= weighed.count, "{weighed:?} is {truth}");
            assert!(weighed.count - weighed.over <= truth, "{weighed:?} is {truth}");
            assert!(weighed.over <= bound, "{weighed:?}: off by more than {bound} with {places} places");
        }
        // Whoever is heavier than the error is there.
        for (key, truth) in exact.iter().filter(|(_, truth)| **truth > bound) {
            assert!(found.contains_key(key), "{key} of {truth} is missing");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_count_is_too_little_and_none_is_off_by_more_than_the_weight_by_the_places(
            seed: u64, places in 1usize..300, length in 0usize..6_000
        ) {
            let (mut sketch, mut exact, mut whole) = (Sketch::new(places), HashMap::new(), 0);
            for (key, weight) in skewed(seed, length) {
                sketch.add(&key, weight);
                *exact.entry(key).or_insert(0) += weight;
                whole += weight;
            }
            let found = sketch.found();
            prop_assert!(found.counted.len() <= places && found.floor <= whole / places as u64);
            prop_assert_eq!(found.counted.iter().map(|weighed| weighed.count).sum::<u64>(), whole);
            hold(found.counted.into_iter(), &exact, whole / places as u64, places);
        }

        #[test]
        fn the_sum_of_sketches_is_as_good_as_one_over_all_their_streams(
            seed: u64, places in 50usize..300, sketches in 1usize..8
        ) {
            let (mut exact, mut whole, mut all) = (HashMap::new(), 0, Vec::new());
            for number in 0..sketches {
                let mut sketch = Sketch::new(places);
                // Each has favourites of its own.
                for (key, weight) in skewed(seed.wrapping_add(number as u64), 3000) {
                    let key = key + 10 * number as u32;
                    sketch.add(&key, weight);
                    *exact.entry(key).or_insert(0) += weight;
                    whole += weight;
                }
                all.push(sketch.found());
            }
            hold(merge(all.iter()).into_values(), &exact, whole / places as u64, places);
        }
    }

    #[test]
    fn nothing_is_counted_for_nothing() {
        let mut sketch = Sketch::new(2);
        for (key, weight) in [("a", 5), ("b", 0), ("c", 1), ("d", 0), ("e", 1)] {
            sketch.add(&key, weight);
        }
        let weighed = |key, count, over| Weighed { key, count, over };
        let found = sketch.found();
        assert_eq!((found.counted, found.floor), (vec![weighed("a", 5, 0), weighed("e", 2, 1)], 2));
    }
}
