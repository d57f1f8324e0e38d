//! Keyed byte streams: each session's bytes are its own. The load generator and the relay's tests both read this file, so
//! it leans on nothing of either.
//!
//! A stream is a window that slides over one block of random bytes from a place that its key names: a byte
//! that was lost, doubled, moved or taken from another session differs from the window, and checking costs
//! no more than a comparison of memory. The block's period is prime, so that no whole number of pipes or
//! buffers brings the window back to where it was.

use std::sync::OnceLock;

/// Length of the random block; prime.
const PERIOD: usize = 1_048_573;
/// The most of one window.
pub(crate) const CHUNK: usize = 256 << 10;

/// The block, with as much of its beginning again as makes every window contiguous.
fn block() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut bytes: Vec<u8> = (0..).map(mix).flat_map(u64::to_le_bytes).take(PERIOD).collect();
        bytes.extend_from_within(..CHUNK);
        bytes
    })
}

/// One step of splitmix64: a well-mixed value from any other.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream and the place up to which it has been sent, or received and found right.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keyed {
    at: usize,
    /// Bytes so far.
    pub(crate) count: u64,
}

impl Keyed {
    /// The stream of this key.
    pub(crate) fn new(key: u64) -> Self {
        Self { at: (mix(key) % PERIOD as u64) as usize, count: 0 }
    }

    /// What comes next, up to `most` bytes or a chunk.
    pub(crate) fn window(&self, most: u64) -> &'static [u8] {
        let len = most.min(CHUNK as u64) as usize;
        &block()[self.at..self.at + len]
    }

    /// Moves the window past `len` bytes that were taken of it.
    pub(crate) fn advance(&mut self, len: usize) {
        self.at = (self.at + len) % PERIOD;
        self.count += len as u64;
    }

    /// Insists that `bytes` come next; `Err` is the position of the first that does not.
    pub(crate) fn check(&mut self, bytes: &[u8]) -> Result<(), u64> {
        for part in bytes.chunks(CHUNK) {
            let wanted = self.window(part.len() as u64);
            if part != wanted {
                let right = part.iter().zip(wanted).take_while(|(got, want)| got == want).count();
                return Err(self.count + right as u64);
            }
            self.advance(part.len());
        }
        Ok(())
    }
}
