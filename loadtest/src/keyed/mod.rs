//! Keyed byte streams: each session's bytes are its own, in both directions.
//!
//! A stream is a window that slides over one block of random bytes from a place that its key names: a byte
//! that was lost, doubled, moved or taken from another session differs from the window, and checking costs
//! no more than a comparison of memory. The block's period is prime, so that no whole number of pipes or
//! buffers brings the window back to where it was.

pub(crate) mod script;

use std::sync::OnceLock;

use crate::seeded::mix;

/// Length of the random block; prime.
const PERIOD: usize = 1_048_573;
/// The most of one window.
const CHUNK: usize = 256 << 10;

/// The block, with as much of its beginning again as makes every window contiguous.
fn block() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut bytes: Vec<u8> = (0..).map(mix).flat_map(u64::to_le_bytes).take(PERIOD).collect();
        bytes.extend_from_within(..CHUNK);
        bytes
    })
}

/// A stream and the place up to which it has been sent, or received and found right.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keyed {
    at: usize,
    count: u64,
}

impl Keyed {
    /// The stream toward the origin of the session with this key.
    pub(crate) fn up(key: u64) -> Self {
        Self { at: (mix(key) % PERIOD as u64) as usize, count: 0 }
    }

    /// The stream toward the client.
    pub(crate) fn down(key: u64) -> Self {
        Self::up(!key)
    }

    /// Bytes so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// What comes next, up to `most` bytes or a chunk.
    pub(crate) fn window(&self, most: u64) -> &'static [u8] {
        let len = most.min(CHUNK as u64) as usize;
        &block()[self.at..self.at + len]
    }

    /// So many bytes of the window were taken.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(stream: &mut Keyed, len: usize) -> Vec<u8> {
        let bytes = stream.window(len as u64).to_vec();
        stream.advance(len);
        bytes
    }

    #[test]
    fn a_stream_is_the_same_in_any_pieces() {
        let (mut one, mut other) = (Keyed::up(9), Keyed::up(9));
        let mut pieces = Vec::new();
        // Past the end of the block: the windows go round.
        for len in [1, 1000, CHUNK, CHUNK, CHUNK, CHUNK, CHUNK, 77] {
            pieces.extend(taken(&mut one, len));
        }
        assert_eq!(other.check(&pieces), Ok(()));
        assert_eq!(other.count(), pieces.len() as u64);
    }

    #[test]
    fn every_kind_of_change_is_found_where_it_is() {
        let good = taken(&mut Keyed::up(9), 1000);
        let found = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            Keyed::up(9).check(&bytes)
        };
        let near = |position: Result<(), u64>| (500..520).contains(&position.expect_err("a change"));
        assert_eq!(found(&|b| b[500] ^= 1), Err(500));
        assert!(near(found(&|b| {
            b.remove(500);
        })));
        assert!(near(found(&|b| b.insert(500, b[500]))));
        assert_eq!(found(&|_| {}), Ok(()));
    }

    #[test]
    fn sessions_and_directions_differ() {
        let first = |mut stream: Keyed| taken(&mut stream, 16);
        let streams =
            [first(Keyed::up(1)), first(Keyed::down(1)), first(Keyed::up(2)), first(Keyed::down(2))];
        for (at, stream) in streams.iter().enumerate() {
            assert!(!streams[..at].contains(stream));
        }
    }
}
