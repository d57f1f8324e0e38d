//! The first few of many in some order, without keeping or sorting all of them.

use std::cmp::Ordering;

/// Keeps the first `most` of what it is given, in memory for twice as many.
#[derive(Debug)]
pub(super) struct Best<T, F> {
    most: usize,
    kept: Vec<T>,
    compare: F,
}

impl<T, F: FnMut(&T, &T) -> Ordering> Best<T, F> {
    /// Will keep the first `most` in this order. Where two are equal in it, which of them is kept is not defined.
    pub(super) fn new(most: usize, compare: F) -> Best<T, F> {
        Best { most, kept: Vec::new(), compare }
    }

    /// Takes one, if it may be among the first.
    pub(super) fn push(&mut self, item: T) {
        if self.most == 0 {
            return;
        }
        self.kept.push(item);
        if self.kept.len() >= 2 * self.most {
            self.kept.select_nth_unstable_by(self.most - 1, &mut self.compare);
            self.kept.truncate(self.most);
        }
    }

    /// The first ones in order, without the `skipped` first of them.
    pub(super) fn into_page(mut self, skipped: usize) -> Vec<T> {
        self.kept.sort_unstable_by(&mut self.compare);
        self.kept.truncate(self.most);
        self.kept.drain(..skipped.min(self.kept.len()));
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn the_first_few_are_those_of_a_whole_sort() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..200 {
            let mut all: Vec<u32> = (0..random.random_range(0..200)).collect();
            all.shuffle(&mut random);
            let (limit, offset) = (random.random_range(0..40), random.random_range(0..40));
            let mut best = Best::new(offset + limit, |a: &u32, b: &u32| b.cmp(a));
            for number in &all {
                best.push(*number);
                assert!(best.kept.len() < 2 * (offset + limit).max(1));
            }
            let page = best.into_page(offset);
            all.sort_by(|a, b| b.cmp(a));
            let expected: Vec<u32> = all.into_iter().skip(offset).take(limit).collect();
            assert_eq!(page, expected, "limit {limit} offset {offset}");
        }
    }
}
