//! Numbers to choose by where nothing of a session says what it is to have.

/// One number behind the other (SplitMix64): to spread sessions, and not to be hard to guess.
#[derive(Clone, Debug)]
pub(super) struct SpreadNumbers(u64);

impl SpreadNumbers {
    /// Those that begin here.
    pub(super) fn new(seed: u64) -> SpreadNumbers {
        SpreadNumbers(seed)
    }

    /// Any number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Any number below `end`. The error of this is below one in 2^32 for the weights that there are.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}
