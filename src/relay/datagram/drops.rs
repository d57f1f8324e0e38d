//! Why datagrams are dropped, and how many.

use crate::policy::{Denial, Refusal};
use crate::sys::Errno;

/// Why a datagram went no further. Each is counted; none ends an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Drop {
    /// From an address or a port that is not the client's.
    Stranger,
    /// A header that RFC 1928 section 7 does not know, port 0, or more bytes than a datagram has.
    Header,
    /// Not a sealed message of the client's, where it must be one: forged, replayed or not sealed as agreed.
    Seal,
    /// A fragment out of order, too late, of too much, or where none are taken.
    Fragment,
    /// Policy denies it.
    Denied,
    /// To a UDP port of our own.
    Loop,
    /// The target's name has no address.
    Name,
    /// More waits for names than may.
    Queue,
    /// Too large for a datagram once its header is in front.
    Oversize,
    /// The kernel cannot send there, or not by the route that policy wants.
    Unreachable,
    /// The way out is full.
    Blocked,
    /// From an address to which the client has sent nothing.
    Filtered,
    /// An answer before the client was there.
    NoClient,
    /// More than a limit lets pass.
    Limit,
}

impl Drop {
    /// Every reason, in the order of its number.
    pub const ALL: [Drop; 14] = [
        Drop::Stranger,
        Drop::Header,
        Drop::Seal,
        Drop::Fragment,
        Drop::Denied,
        Drop::Loop,
        Drop::Name,
        Drop::Queue,
        Drop::Oversize,
        Drop::Unreachable,
        Drop::Blocked,
        Drop::Filtered,
        Drop::NoClient,
        Drop::Limit,
    ];

    /// The word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Drop::Stranger => "stranger",
            Drop::Header => "header",
            Drop::Seal => "seal",
            Drop::Fragment => "fragment",
            Drop::Denied => "denied",
            Drop::Loop => "loop",
            Drop::Name => "name",
            Drop::Queue => "queue",
            Drop::Oversize => "oversize",
            Drop::Unreachable => "unreachable",
            Drop::Blocked => "blocked",
            Drop::Filtered => "filtered",
            Drop::NoClient => "no_client",
            Drop::Limit => "limit",
        }
    }

    /// Why policy did not let a datagram pass.
    pub(super) fn of_denial(denial: Denial) -> Drop {
        match denial {
            Denial::Guard(Refusal::OwnPort) => Drop::Loop,
            Denial::Guard(_) | Denial::Rule(_) | Denial::NoPool(_) => Drop::Denied,
        }
    }

    /// Why the kernel did not take a datagram.
    pub(super) fn of_send(errno: Errno) -> Drop {
        match errno {
            Errno::EMSGSIZE => Drop::Oversize,
            Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => Drop::Blocked,
            _ => Drop::Unreachable,
        }
    }
}

/// How many datagrams were dropped, by [`Drop`] in the order of [`Drop::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops(pub [u64; Drop::ALL.len()]);

impl Drops {
    /// Counts so many more.
    pub fn add(&mut self, drop: Drop, count: usize) {
        self.0[drop as usize] += count as u64;
    }
}
