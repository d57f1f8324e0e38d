//! What handshakes hold: a message of RFC 1961 may have 64 KiB, and anyone may send all of it but its last byte.

use crate::limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The bytes of half messages that the handshakes of one worker hold, beyond a little each. The worker alone counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings(Arc<AtomicUsize>);

/// One handshake's share, given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    all: Holdings,
    bytes: usize,
}

impl Holdings {
    /// A handshake that holds nothing yet.
    pub(super) fn nothing(&self) -> Held {
        Held { all: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// The handshake holds so many bytes now. False where all together would hold too much: then nothing has changed.
    pub(super) fn is_now(&mut self, bytes: usize) -> bool {
        let others = self.all.0.load(Relaxed) - self.bytes;
        if bytes > self.bytes && others + bytes > limits::HANDSHAKES_HELD_MAX {
            return false;
        }
        self.all.0.store(others + bytes, Relaxed);
        self.bytes = bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.is_now(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handshake_held_is_not_given_back() {
        let all = Holdings::default();
        let mut first = all.nothing();
        assert!(first.is_now(limits::HANDSHAKES_HELD_MAX));
        let mut second = all.nothing();
        assert!(!second.is_now(1));
        assert!(first.is_now(limits::HANDSHAKES_HELD_MAX - 1));
        assert!(second.is_now(1) && !second.is_now(2));
        drop(first);
        assert!(second.is_now(limits::HANDSHAKES_HELD_MAX));
        drop(second);
        assert_eq!(all.0.load(Relaxed), 0);
    }
}
