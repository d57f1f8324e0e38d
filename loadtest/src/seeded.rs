//! Chance that a seed decides: the same seed gives the same run.

pub(crate) use crate::keyed::stream::mix;

/// A sequence of values.
pub(crate) struct Seeded(u64);

impl Seeded {
    /// Sequence number `index` of a run: what one session draws does not depend on the others.
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        Self(mix(mix(seed) ^ index))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// From 0 up to `bound`, which is excluded and above 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The bias is bound / 2^64: none that a load would show.
        self.next() % bound
    }

    /// From 0 to `most`, with every order of magnitude as likely as the others.
    pub(crate) fn magnitude(&mut self, most: u64) -> u64 {
        let bits = self.below(u64::from(most.ilog2()) + 2);
        (self.next() & ((1 << bits) - 1)).min(most)
    }

    /// From 0 up to 100, which is excluded.
    pub(crate) fn percentile(&mut self) -> f64 {
        // 53 bits are what a float holds exactly.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64 * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_an_index_decide() {
        let draw = |seed, index| Seeded::new(seed, index).next();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn draws_keep_within_their_bounds() {
        let mut seeded = Seeded::new(7, 0);
        assert!((0..1000).all(|_| seeded.below(3) < 3));
        let most = 1000;
        let drawn: Vec<u64> = (0..10_000).map(|_| seeded.magnitude(most)).collect();
        assert!(drawn.contains(&0) && drawn.contains(&most) && drawn.iter().all(|value| *value <= most));
        assert!(drawn.iter().filter(|value| **value < 16).count() > 3000, "small ones are not rare");
        let shares: Vec<f64> = (0..10_000).map(|_| seeded.percentile()).collect();
        assert!(shares.iter().all(|share| (0.0..100.0).contains(share)));
        let hits = shares.iter().filter(|share| **share < 5.0).count();
        assert!((400..600).contains(&hits), "{hits}");
    }
}
