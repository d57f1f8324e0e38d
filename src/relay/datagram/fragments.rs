//! Fragments of one datagram put together (RFC 1928 section 7).
//!
//! In order or not at all: a fragment that is missing when the next one arrives is lost, for UDP does not send it
//! again and the queue need not hold what can never be whole.

use crate::limits;

/// The bit of FRAG that says "the last one".
const END: u8 = 0x80;

/// One sequence that is not whole yet.
#[derive(Debug)]
pub(super) struct Reassembly {
    /// Position of the fragment that came last.
    highest: u8,
    /// When the timer has run out, in milliseconds of the worker's clock.
    expires_ms: u64,
    /// The header's address and port as they stand: all fragments have the same.
    target: Box<[u8]>,
    payload: Vec<u8>,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The fragment is kept: others of its datagram are missing.
    Kept,
    /// The fragment was the last of its datagram, whose payload this is.
    Whole(Vec<u8>),
    /// The fragment is dropped: it belongs to no datagram that can become whole.
    Dropped,
}

/// The place of the one sequence that an association may have.
#[derive(Debug, Default)]
pub(super) struct Fragments(Option<Box<Reassembly>>);

impl Fragments {
    /// When the sequence that is there is to be abandoned.
    pub(super) fn expires_ms(&self) -> Option<u64> {
        self.0.as_ref().map(|reassembly| reassembly.expires_ms)
    }

    /// Bytes that wait for the rest of their sequence, and what keeping them costs.
    pub(super) fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |reassembly| {
            reassembly.payload.len() + reassembly.target.len() + limits::UDP_HELD_OVERHEAD
        })
    }

    /// Abandons what there is; how many fragments that were.
    pub(super) fn abandon(&mut self) -> usize {
        self.0.take().map_or(0, |reassembly| usize::from(reassembly.highest))
    }

    /// Abandons what has waited too long; how many fragments that were.
    pub(super) fn expire(&mut self, now_ms: u64) -> usize {
        let late = self.expires_ms().is_some_and(|expires_ms| expires_ms <= now_ms);
        if late { self.abandon() } else { 0 }
    }

    /// Takes a fragment (FRAG is not 0); what became of it, and how many earlier ones are abandoned with it.
    pub(super) fn take(&mut self, frag: u8, target: &[u8], data: &[u8], now_ms: u64) -> (Taken, usize) {
        let position = frag & !END;
        let mut abandoned = self.expire(now_ms);
        if let Some(reassembly) = &self.0 {
            if position == reassembly.highest {
                return (Taken::Dropped, abandoned);
            }
            // Lower: a new sequence. Higher by more than one: what lies between is lost.
            let fits = position == reassembly.highest + 1
                && *reassembly.target == *target
                && reassembly.payload.len() + data.len() <= limits::UDP_PAYLOAD_MAX;
            if !fits {
                abandoned += self.abandon();
            }
        }
        let reassembly = match &mut self.0 {
            Some(reassembly) => reassembly,
            None if position == 1 => self.0.insert(Box::new(Reassembly {
                highest: 0,
                expires_ms: now_ms + limits::UDP_REASSEMBLY.as_millis() as u64,
                target: target.into(),
                payload: Vec::new(),
            })),
            None => return (Taken::Dropped, abandoned),
        };
        reassembly.highest = position;
        reassembly.payload.extend_from_slice(data);
        if frag & END == 0 {
            return (Taken::Kept, abandoned);
        }
        let whole = self.0.take().map(|reassembly| reassembly.payload).unwrap_or_default();
        (Taken::Whole(whole), abandoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &[u8] = b"\x01\x7f\0\0\x01\0\x35";

    fn take(fragments: &mut Fragments, frag: u8, data: &[u8]) -> (Taken, usize) {
        fragments.take(frag, A, data, 0)
    }

    fn whole(bytes: &[u8]) -> (Taken, usize) {
        (Taken::Whole(bytes.to_vec()), 0)
    }

    #[test]
    fn a_sequence_in_order_becomes_one_datagram() {
        let mut fragments = Fragments::default();
        assert_eq!(take(&mut fragments, 1, b"ab"), (Taken::Kept, 0));
        assert_eq!(take(&mut fragments, 2, b""), (Taken::Kept, 0));
        assert_eq!(take(&mut fragments, 0x83, b"cd"), whole(b"abcd"));
        assert_eq!(take(&mut fragments, 0x81, b"alone"), whole(b"alone"));
    }

    #[test]
    fn a_lower_one_starts_anew_and_a_gap_ends_it() {
        let mut fragments = Fragments::default();
        take(&mut fragments, 1, b"old");
        take(&mut fragments, 2, b"old");
        assert_eq!(take(&mut fragments, 1, b"new"), (Taken::Kept, 2));
        assert_eq!(take(&mut fragments, 1, b"twice"), (Taken::Dropped, 0));
        assert_eq!(take(&mut fragments, 0x82, b"!"), whole(b"new!"));
        take(&mut fragments, 1, b"x");
        assert_eq!(take(&mut fragments, 0x83, b"z"), (Taken::Dropped, 1));
        assert_eq!(take(&mut fragments, 0x82, b"y"), (Taken::Dropped, 0));
        assert_eq!(take(&mut fragments, 0x80, b"no position"), (Taken::Dropped, 0));
    }

    #[test]
    fn all_fragments_have_one_target() {
        let mut fragments = Fragments::default();
        take(&mut fragments, 1, b"x");
        assert_eq!(fragments.take(0x82, b"\x01\x7f\0\0\x02\0\x35", b"y", 0), (Taken::Dropped, 1));
    }

    #[test]
    fn the_timer_runs_from_the_first_one() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.take(1, A, b"x", 1000), (Taken::Kept, 0));
        assert_eq!(fragments.take(2, A, b"x", 5999), (Taken::Kept, 0));
        assert_eq!(fragments.take(0x83, A, b"x", 6000), (Taken::Dropped, 2));
        assert_eq!(fragments.expires_ms(), None);
    }

    #[test]
    fn no_sequence_is_longer_than_a_datagram() {
        let mut fragments = Fragments::default();
        take(&mut fragments, 1, &[0; 65_507]);
        assert_eq!(take(&mut fragments, 2, b""), (Taken::Kept, 0));
        assert_eq!(take(&mut fragments, 3, b"x"), (Taken::Dropped, 2));
    }

    #[test]
    fn the_last_position_is_127() {
        let mut fragments = Fragments::default();
        for position in 1..127 {
            assert_eq!(take(&mut fragments, position, b"x"), (Taken::Kept, 0));
        }
        assert_eq!(take(&mut fragments, 0xff, b"x"), whole(&[b'x'; 127]));
        for position in 1..=127 {
            take(&mut fragments, position, b"x");
        }
        assert_eq!(fragments.abandon(), 127);
    }
}
