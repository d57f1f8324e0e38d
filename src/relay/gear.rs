//! How a half decides between copying and splicing.

use crate::config::RelayMode;
use crate::limits;

/// Whether a half copies or splices, and what speaks for the other by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gear {
    /// Copying; so many large reads came in a row.
    Copy { large_reads: u8 },
    /// Splicing; so many small moves came in a row.
    Splice { small_moves: u8 },
    /// Copying, however large the reads are.
    CopyForGood,
    /// Splicing, however small the moves are, until splice is refused.
    SpliceForGood,
}

impl Gear {
    /// How a half begins.
    pub(super) fn first(mode: RelayMode) -> Gear {
        match mode {
            RelayMode::Auto => Gear::Copy { large_reads: 0 },
            mode if mode.splices() => Gear::SpliceForGood,
            _ => Gear::CopyForGood,
        }
    }

    /// Whether the next read is a splice.
    pub(super) fn splices(self) -> bool {
        matches!(self, Gear::Splice { .. } | Gear::SpliceForGood)
    }

    /// A read brought so many bytes: enough large ones in a row speak for splice.
    pub(super) fn shift_up(&mut self, read_bytes: usize) {
        if let Gear::Copy { large_reads } = *self {
            let large_reads = if read_bytes >= limits::PROMOTE_READ_BYTES { large_reads + 1 } else { 0 };
            *self = if large_reads >= limits::PROMOTE_AFTER_READS {
                Gear::Splice { small_moves: 0 }
            } else {
                Gear::Copy { large_reads }
            };
        }
    }

    /// A splice moved so many bytes: enough small ones in a row speak for copying.
    pub(super) fn shift_down(&mut self, moved_bytes: usize) {
        if let Gear::Splice { small_moves } = *self {
            let small_moves = if moved_bytes < limits::DEMOTE_MOVE_BYTES { small_moves + 1 } else { 0 };
            *self = if small_moves >= limits::DEMOTE_AFTER_MOVES {
                Gear::Copy { large_reads: 0 }
            } else {
                Gear::Splice { small_moves }
            };
        }
    }
}
