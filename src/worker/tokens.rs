//! Tokens: which socket of which session an event is for. The serial in a token is its generation: an event for
//! a session that is gone finds another serial, or none, and is ignored.

use mio::Token;

use crate::limits;

const SOCKET_BITS: u32 = 3;
const INDEX_BITS: u32 = 24;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
const SOCKET_MASK: usize = (1 << SOCKET_BITS) - 1;
const SERIAL_MASK: u64 = (1 << (64 - SOCKET_BITS - INDEX_BITS)) - 1;

const _: () = assert!(limits::SLOTS_MAX < INDEX_MASK, "the last index stands for what is no session");
// An event may be of an attempt that was closed earlier in its batch. A batch has an event for each attempt that was
// there when it came, and each, the session's timer and its first dial begin one attempt at most: no number that such an
// event may have is given anew before the batch is over.
const _: () = assert!(limits::DIAL_AT_A_TIME + 2 < limits::DIAL_SOCKETS as usize);
const _: () = assert!(limits::DIAL_SOCKETS as usize <= SOCKET_MASK);
const _: () = assert!(
    limits::UDP_LOOKUPS_MAX as usize <= SOCKET_MASK,
    "a ticket has as many bits more as a token's socket index"
);

/// One session of one worker: its index in the slab, and the serial that makes the index unambiguous, in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u64);

/// The socket index of the client's socket. The others stand for connect attempts, for a listener and the peer that it was
/// for, or for the sockets of an association.
pub(super) const CLIENT_SOCKET: u8 = 0;

/// The socket index of an idle connection to a parent, which is no session's and one attempt at one address.
pub(super) const WARM_SOCKET: u8 = 3;
/// The one that has to have been given before it.
pub(super) const WARM_BEHIND: u8 = WARM_SOCKET - 1;

/// The socket index of a look at a server of a parent, which is no session's either, and the one before it.
pub(super) const CHECK_SOCKET: u8 = 4;
pub(super) const CHECK_BEHIND: u8 = CHECK_SOCKET - 1;
/// The number of the lookup of such a look.
pub(super) const CHECK_LOOKUP: u8 = 1;

/// The number of a look whose lookup has this ticket.
pub(super) fn check_of(ticket: u64) -> Option<u32> {
    let (key, lookup) = Key::from_ticket(ticket);
    (key.index() == INDEX_MASK && lookup == CHECK_LOOKUP).then(|| key.serial() as u32)
}

/// The key of an idle connection to a parent, or of a look at one.
pub(super) fn idle_key(number: u32) -> Key {
    Key::new(INDEX_MASK, number.into())
}

/// The socket index of the control connection to a parent that takes the datagrams of an association, beside its other sockets.
pub(super) const PARENT_SOCKET: u8 = 4;

/// What an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventSource {
    Session {
        key: Key,
        socket_index: u8,
    },
    Listener(u16),
    Dns(u32),
    /// An idle connection to a parent.
    Warm(u32),
    /// A look at a server of a parent.
    Check(u32),
    Waker,
}

/// The ticket of a lookup that is no session's.
pub(super) const TRANSLATORS_TICKET: u64 = INDEX_MASK as u64;

/// The ticket of the name of a request that an operator supposes, which is no session's either.
pub(super) fn supposed_ticket(number: u64) -> u64 {
    Key::new(INDEX_MASK, number).ticket()
}

/// Back from [`supposed_ticket`], whose numbers begin with 1.
pub(super) fn supposed_of(ticket: u64) -> Option<u64> {
    let (key, _) = Key::from_ticket(ticket);
    (key.index() == INDEX_MASK && key.serial() > 0).then(|| key.serial())
}

impl Key {
    /// The key for the `serial`-th session of a worker.
    pub(super) fn new(index: usize, serial: u64) -> Key {
        Key(((serial & SERIAL_MASK) << INDEX_BITS) | (index & INDEX_MASK) as u64)
    }

    /// Where the session stands in the slab.
    pub(super) fn index(self) -> usize {
        self.0 as usize & INDEX_MASK
    }

    /// Which of the worker's sessions it is, counted from its start.
    pub(super) fn serial(self) -> u64 {
        self.0 >> INDEX_BITS
    }

    /// The ticket of its one lookup before the relay.
    pub(super) fn ticket(self) -> u64 {
        self.0
    }

    /// The ticket of one of several lookups of a session; number 0 is [`Key::ticket`].
    pub(super) fn lookup_ticket(self, lookup: u8) -> u64 {
        (u64::from(lookup) << (64 - SOCKET_BITS)) | self.ticket()
    }

    /// Back from [`Key::lookup_ticket`].
    pub(super) fn from_ticket(ticket: u64) -> (Key, u8) {
        let key = Key(ticket & (u64::MAX >> SOCKET_BITS));
        (key, (ticket >> (64 - SOCKET_BITS)) as u8)
    }
}

impl EventSource {
    pub(super) fn token(self) -> Token {
        match self {
            EventSource::Session { key, socket_index } => {
                Token(((key.ticket() as usize) << SOCKET_BITS) | (socket_index as usize & SOCKET_MASK))
            }
            EventSource::Waker => special(0, 0),
            EventSource::Listener(number) => special(1, number.into()),
            EventSource::Dns(exchange) => special(2, exchange as usize),
            EventSource::Check(number) => special(usize::from(CHECK_SOCKET), number as usize),
            EventSource::Warm(number) => special(usize::from(WARM_SOCKET), number as usize),
        }
    }

    pub(super) fn of(token: Token) -> EventSource {
        let socket_index = (token.0 & SOCKET_MASK) as u8;
        let (key, _) = Key::from_ticket((token.0 >> SOCKET_BITS) as u64);
        match (key.index(), socket_index) {
            (INDEX_MASK, 0) => EventSource::Waker,
            (INDEX_MASK, 1) => EventSource::Listener(key.serial() as u16),
            (INDEX_MASK, CHECK_SOCKET) => EventSource::Check(key.serial() as u32),
            (INDEX_MASK, WARM_SOCKET) => EventSource::Warm(key.serial() as u32),
            (INDEX_MASK, _) => EventSource::Dns(key.serial() as u32),
            _ => EventSource::Session { key, socket_index },
        }
    }
}

fn special(socket_index: usize, number: usize) -> Token {
    let key = Key::new(INDEX_MASK, number as u64);
    Token(((key.ticket() as usize) << SOCKET_BITS) | socket_index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_comes_back_from_its_token() {
        let last = Key::new(limits::SLOTS_MAX - 1, SERIAL_MASK);
        for source in [
            EventSource::Session { key: Key::new(0, 0), socket_index: 0 },
            EventSource::Session { key: Key::new(7, 123_456), socket_index: 5 },
            EventSource::Session { key: last, socket_index: 7 },
            EventSource::Listener(0),
            EventSource::Listener(u16::MAX),
            EventSource::Dns(0),
            EventSource::Dns(u32::MAX),
            EventSource::Warm(0),
            EventSource::Warm(u32::MAX),
            EventSource::Check(0),
            EventSource::Check(u32::MAX),
            EventSource::Waker,
        ] {
            assert_eq!(EventSource::of(source.token()), source);
        }
    }

    #[test]
    fn an_idle_connection_has_its_token_by_its_key() {
        let by_key = EventSource::Session { key: idle_key(7), socket_index: WARM_SOCKET };
        assert_eq!(EventSource::of(by_key.token()), EventSource::Warm(7));
        assert_eq!(WARM_BEHIND % limits::DIAL_SOCKETS + 1, WARM_SOCKET);
        assert_eq!(CHECK_BEHIND % limits::DIAL_SOCKETS + 1, CHECK_SOCKET);
        assert_eq!(check_of(idle_key(7).lookup_ticket(CHECK_LOOKUP)), Some(7));
        assert_eq!((check_of(supposed_ticket(7)), check_of(TRANSLATORS_TICKET)), (None, None));
    }

    #[test]
    fn every_lookup_of_a_session_has_its_ticket() {
        let key = Key::new(limits::SLOTS_MAX - 1, SERIAL_MASK);
        for lookup in 0..=limits::UDP_LOOKUPS_MAX {
            assert_eq!(Key::from_ticket(key.lookup_ticket(lookup)), (key, lookup));
        }
    }

    #[test]
    fn a_supposed_request_has_a_ticket_that_is_no_sessions() {
        for number in [1, 2, SERIAL_MASK >> SOCKET_BITS] {
            assert_eq!(supposed_of(supposed_ticket(number)), Some(number));
        }
        let session = Key::new(limits::SLOTS_MAX - 1, 7);
        assert_eq!((supposed_of(session.lookup_ticket(2)), supposed_of(TRANSLATORS_TICKET)), (None, None));
    }

    #[test]
    fn a_reused_index_has_another_token() {
        let token = |serial| EventSource::Session { key: Key::new(4, serial), socket_index: 1 }.token();
        assert_ne!(token(9), token(10));
    }
}
