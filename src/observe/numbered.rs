//! Counts by number: one writer, any number of readers, like all counters of a worker.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits;

/// Counts of things that have a number each, of so many kinds. Only one worker writes them; neighbours of which none was
/// ever counted take no memory.
#[derive(Debug)]
pub(super) struct NumberedCounts<const KINDS: usize>([OnceLock<Box<Chunk<KINDS>>>; CHUNKS]);

/// The cells of things with neighbouring numbers.
type Chunk<const KINDS: usize> = [[AtomicU64; KINDS]; limits::NUMBERED_CHUNK];

const CHUNKS: usize = (1 << 16) / limits::NUMBERED_CHUNK;

impl<const KINDS: usize> Default for NumberedCounts<KINDS> {
    fn default() -> NumberedCounts<KINDS> {
        NumberedCounts([const { OnceLock::new() }; CHUNKS])
    }
}

impl<const KINDS: usize> NumberedCounts<KINDS> {
    /// Adds `more` of a kind, in a plain load and store: the caller is the only writer.
    pub(super) fn add(&self, number: u16, kind: usize, more: u64) {
        let cell = self.cell(number, kind);
        cell.store(cell.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    /// Sets a kind to what holds now.
    pub(super) fn set(&self, number: u16, kind: usize, value: u64) {
        self.cell(number, kind).store(value, Ordering::Relaxed);
    }

    fn cell(&self, number: u16, kind: usize) -> &AtomicU64 {
        let number = usize::from(number);
        let made = || Box::new([const { [const { AtomicU64::new(0) }; KINDS] }; limits::NUMBERED_CHUNK]);
        let chunk = self.0[number / limits::NUMBERED_CHUNK].get_or_init(made);
        &chunk[number % limits::NUMBERED_CHUNK][kind]
    }

    /// How often each kind of it was counted.
    pub(super) fn of(&self, number: u16) -> [u64; KINDS] {
        let number = usize::from(number);
        let Some(chunk) = self.0[number / limits::NUMBERED_CHUNK].get() else { return [0; KINDS] };
        chunk[number % limits::NUMBERED_CHUNK].each_ref().map(|cell| cell.load(Ordering::Relaxed))
    }
}

/// What several writers counted of each kind, together.
pub(super) fn added_up<const KINDS: usize>(counts: impl Iterator<Item = [u64; KINDS]>) -> [u64; KINDS] {
    counts.fold([0; KINDS], |mut sum, one| {
        sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_counts_and_what_is_not_counted_takes_no_memory() {
        let counts = NumberedCounts::<2>::default();
        for (number, kind, more) in [(0, 1, 3), (300, 0, 1), (u16::MAX, 1, 1), (0, 1, 1)] {
            counts.add(number, kind, more);
        }
        assert_eq!([0, 300, 301, u16::MAX].map(|number| counts.of(number)), [[0, 4], [1, 0], [0, 0], [0, 1]]);
        assert_eq!(counts.0.iter().filter(|chunk| chunk.get().is_some()).count(), 3);
    }
}
