//! Tokens: which socket of which session an event is for. The serial in a token is its generation: an event for
//! a session that is gone finds another serial, or none, and is ignored.

use crate::limits;
use mio::Token;

const PORT_BITS: u32 = 3;
const INDEX_BITS: u32 = 24;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
const PORT_MASK: usize = (1 << PORT_BITS) - 1;
const SERIAL_MASK: u64 = (1 << (64 - PORT_BITS - INDEX_BITS)) - 1;

const _: () = assert!(limits::SLOTS_MAX < INDEX_MASK, "the last index stands for what is no session");
// An event may be of an attempt that was closed earlier in its batch. A batch has an event for each attempt that was
// there when it came, and each, the session's timer and its first dial begin one attempt at most: no number that such an
// event may have is given anew before the batch is over.
const _: () = assert!(limits::DIAL_AT_A_TIME + 2 < limits::DIAL_PORTS as usize);
const _: () = assert!(limits::DIAL_PORTS as usize <= PORT_MASK);
const _: () = assert!(
    limits::UDP_LOOKUPS_MAX as usize <= PORT_MASK,
    "a ticket has as many bits more as a token's port"
);

/// One session of one worker: its index in the slab, and the serial that makes the index unambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) index: usize,
    pub(super) serial: u64,
}

/// The port of a key that stands for the client's socket; the others are connect attempts, or a
/// listener and the peer that it was for.
pub(super) const CLIENT_PORT: u8 = 0;

/// What an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Session { key: Key, port: u8 },
    Listener(usize),
    Dns(u32),
    Waker,
}

/// The ticket of a lookup that is no session's.
pub(super) const TRANSLATORS_TICKET: u64 = INDEX_MASK as u64;

impl Key {
    /// The key for the `serial`-th session of a worker.
    pub(super) fn new(index: usize, serial: u64) -> Key {
        Key { index, serial: serial & SERIAL_MASK }
    }

    /// The key as one number, for tickets.
    pub(super) fn ticket(self) -> u64 {
        (self.serial << INDEX_BITS) | self.index as u64
    }

    /// The ticket of one of several lookups of a session; number 0 is [`Key::ticket`].
    pub(super) fn lookup_ticket(self, lookup: u8) -> u64 {
        (u64::from(lookup) << (64 - PORT_BITS)) | self.ticket()
    }

    /// Back from [`Key::lookup_ticket`].
    pub(super) fn from_ticket(ticket: u64) -> (Key, u8) {
        let key = Key::new(ticket as usize & INDEX_MASK, ticket >> INDEX_BITS);
        (key, (ticket >> (64 - PORT_BITS)) as u8)
    }
}

impl Source {
    pub(super) fn token(self) -> Token {
        match self {
            Source::Session { key, port } => {
                Token(((key.ticket() as usize) << PORT_BITS) | (port as usize & PORT_MASK))
            }
            Source::Waker => special(0, 0),
            Source::Listener(index) => special(1, index),
            Source::Dns(exchange) => special(2, exchange as usize),
        }
    }

    pub(super) fn of(token: Token) -> Source {
        let port = (token.0 & PORT_MASK) as u8;
        let (key, _) = Key::from_ticket((token.0 >> PORT_BITS) as u64);
        match (key.index, port) {
            (INDEX_MASK, 0) => Source::Waker,
            (INDEX_MASK, 1) => Source::Listener(key.serial as usize),
            (INDEX_MASK, _) => Source::Dns(key.serial as u32),
            _ => Source::Session { key, port },
        }
    }
}

fn special(port: usize, number: usize) -> Token {
    let key = Key::new(INDEX_MASK, number as u64);
    Token(((key.ticket() as usize) << PORT_BITS) | port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_comes_back_from_its_token() {
        let last = Key::new(limits::SLOTS_MAX - 1, SERIAL_MASK);
        for source in [
            Source::Session { key: Key::new(0, 0), port: 0 },
            Source::Session { key: Key::new(7, 123_456), port: 5 },
            Source::Session { key: last, port: 7 },
            Source::Listener(0),
            Source::Listener(300),
            Source::Dns(0),
            Source::Dns(u32::MAX),
            Source::Waker,
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
    }

    #[test]
    fn every_lookup_of_a_session_has_its_ticket() {
        let key = Key::new(limits::SLOTS_MAX - 1, SERIAL_MASK);
        for lookup in 0..=limits::UDP_LOOKUPS_MAX {
            assert_eq!(Key::from_ticket(key.lookup_ticket(lookup)), (key, lookup));
        }
    }

    #[test]
    fn a_reused_index_has_another_token() {
        let token = |serial| Source::Session { key: Key::new(4, serial), port: 1 }.token();
        assert_ne!(token(9), token(10));
    }
}
