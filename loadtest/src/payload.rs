//! The bytes that sources send and readers check: a pattern whose period is no power of two, so that a
//! lost, doubled or swapped block of any usual size shows.

/// The period of the pattern: the largest prime below 256.
const PERIOD: usize = 251;

/// A run of the pattern long enough to be sliced at any phase.
pub(crate) struct Pattern {
    bytes: Vec<u8>,
    longest: usize,
}

impl Pattern {
    /// Prepares slices of up to `longest` bytes.
    pub(crate) fn new(longest: usize) -> Self {
        let bytes = (0..longest + PERIOD).map(|at| (at % PERIOD) as u8).collect();
        Self { bytes, longest }
    }

    /// The `len` bytes (at most `longest`) that stand at `position` of the endless pattern.
    pub(crate) fn at(&self, position: usize, len: usize) -> &[u8] {
        let phase = position % PERIOD;
        &self.bytes[phase..phase + len.min(self.longest)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_continue_each_other() {
        let pattern = Pattern::new(1000);
        let mut joined = pattern.at(0, 700).to_vec();
        joined.extend_from_slice(pattern.at(700, 300));
        assert_eq!(joined, pattern.at(0, 1000));
        assert_eq!(pattern.at(251, 3), [0, 1, 2]);
    }

    #[test]
    fn a_slice_is_never_longer_than_promised() {
        assert_eq!(Pattern::new(10).at(250, 64).len(), 10);
    }
}
