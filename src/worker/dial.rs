//! Connecting to one of several addresses: Happy Eyeballs (RFC 8305 section 5) over non-blocking connects.

use super::errno::dial_error;
use super::tokens::Key;
use super::watch::{Edge, watch_stream};
use crate::limits;
use crate::policy::{Policy, Refusal};
use crate::session::{DialError, Dialed};
use crate::shares::Lent;
use crate::sys::congestion::CongestionControl;
use crate::sys::stream::Stream;
use crate::sys::{Errno, errno_of};
use mio::Registry;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The attempts of one session: every address is tried until one answers (RFC 1123 section 6.1.3.4), two at a time at most.
#[derive(Debug)]
pub(super) struct Dial {
    addresses: Vec<SocketAddr>,
    congestion: CongestionControl,
    /// How many addresses were tried.
    tried: usize,
    /// The socket index of the attempt that was begun last; 0 before the first.
    last_index: u8,
    /// Under way, the oldest first.
    attempts: Vec<Attempt>,
    gravest: Option<DialError>,
    next_at: Option<Instant>,
    /// When all attempts together are given up.
    deadline: Instant,
    /// The descriptor of a second attempt, beyond what the session's own budget holds.
    second: Lent,
}

#[derive(Debug)]
struct Attempt {
    socket_index: u8,
    stream: Stream,
    address: SocketAddr,
    began: Instant,
}

/// Where an attempt finds room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Free,
    /// The oldest attempt makes room for it.
    OfTheOldest,
    /// The only attempt goes on alone for a while.
    NotYet,
}

/// The connected socket of a target, or of the peer that a listener was for.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) stream: Stream,
    pub(super) socket_index: u8,
}

/// A connection that came about.
#[derive(Debug)]
pub(super) struct Won {
    pub(super) upstream: Upstream,
    pub(super) dialed: Dialed,
}

impl Dial {
    /// Attempts at these addresses, in this order, until `deadline`; a second one at a time is taken from `second`.
    pub(super) fn new(
        mut addresses: Vec<SocketAddr>,
        congestion: CongestionControl,
        deadline: Instant,
        second: Lent,
    ) -> Dial {
        addresses.truncate(limits::DIAL_ADDRESSES_MAX);
        Dial {
            addresses,
            congestion,
            tried: 0,
            last_index: 0,
            attempts: Vec::new(),
            gravest: None,
            next_at: None,
            deadline,
            second,
        }
    }

    /// When the next attempt is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Whether the attempt with this socket index is still open.
    pub(super) fn has(&self, socket_index: u8) -> bool {
        self.attempts.iter().any(|attempt| attempt.socket_index == socket_index)
    }

    /// Starts attempts until one more is under way, in the place of the oldest where there is room for no more.
    ///
    /// # Errors
    /// The error that says most about the target, once nothing is under way and no address is left.
    pub(super) fn start_next(
        &mut self,
        registry: &Registry,
        key: Key,
        now: Instant,
    ) -> Result<(), DialError> {
        self.next_at = None;
        let room = self.room(now);
        if self.tried < self.addresses.len() && room == Room::NotYet {
            self.next_at = Some(now + self.stagger(now));
            return Ok(());
        }
        while let Some(&address) = self.addresses.get(self.tried) {
            self.tried += 1;
            let socket_index = self.last_index % limits::DIAL_SOCKETS + 1;
            match self.begin(registry, key, socket_index, address) {
                Ok(stream) => {
                    // Only now: an address to which there is no way must not cost one that may yet answer.
                    if room == Room::OfTheOldest {
                        self.attempts.remove(0);
                        self.note(DialError::TimedOut);
                    }
                    self.last_index = socket_index;
                    self.attempts.push(Attempt { socket_index, stream, address, began: now });
                    if self.tried < self.addresses.len() {
                        self.next_at = Some(now + self.stagger(now));
                    }
                    return Ok(());
                }
                Err(errno) => self.note(dial_error(errno)),
            }
        }
        if self.attempts.len() < limits::DIAL_AT_A_TIME {
            self.second.clear();
        }
        if self.attempts.is_empty() { Err(self.gravest.unwrap_or(DialError::Local(0))) } else { Ok(()) }
    }

    /// Whose descriptor the next attempt may have.
    fn room(&mut self, now: Instant) -> Room {
        let Some(oldest) = self.attempts.first() else { return Room::Free };
        let alone = self.attempts.len() < limits::DIAL_AT_A_TIME;
        if alone && self.second.is_now(1) {
            return Room::Free;
        }
        if alone && now < oldest.began + limits::DIAL_ALONE.min(self.share(now)) {
            return Room::NotYet;
        }
        Room::OfTheOldest
    }

    /// The time until the next attempt: less than usual where all of them would not fit before the deadline.
    fn stagger(&self, now: Instant) -> Duration {
        self.share(now).clamp(limits::DIAL_STAGGER_MIN, limits::DIAL_STAGGER)
    }

    /// An equal share of the time that is left, for the present attempt and each address that is left.
    fn share(&self, now: Instant) -> Duration {
        let left = (self.addresses.len() - self.tried) as u32;
        self.deadline.saturating_duration_since(now) / (left + 1)
    }

    /// What an event of one attempt came to: `Ok(None)` while others are under way.
    ///
    /// # Errors
    /// As [`Dial::start_next`].
    pub(super) fn event(
        &mut self,
        socket_index: u8,
        edge: Edge,
        policy: &Policy,
        registry: &Registry,
        now: Instant,
        key: Key,
    ) -> Result<Option<Won>, DialError> {
        let Some(at) = self.attempts.iter().position(|attempt| attempt.socket_index == socket_index) else {
            return Ok(None);
        };
        if !edge.failed && !edge.writable {
            return Ok(None);
        }
        let attempt = self.attempts.remove(at);
        match finish(&attempt, edge, policy) {
            Ok(dialed) => {
                let upstream = Upstream { stream: attempt.stream, socket_index };
                Ok(Some(Won { upstream, dialed }))
            }
            Err(error) => {
                self.note(error);
                attempt.stream.reset_on_close();
                drop(attempt);
                self.start_next(registry, key, now)?;
                Ok(None)
            }
        }
    }

    fn begin(
        &self,
        registry: &Registry,
        key: Key,
        socket_index: u8,
        address: SocketAddr,
    ) -> Result<Stream, Errno> {
        let stream = Stream::connect(address, self.congestion.at(address.ip()))?;
        watch_stream(registry, key, socket_index, &stream).map_err(|error| errno_of(&error))?;
        Ok(stream)
    }

    fn note(&mut self, error: DialError) {
        if self.gravest.is_none_or(|gravest| gravest.weight() < error.weight()) {
            self.gravest = Some(error);
        }
    }
}

/// A writable socket without an error is connected: SO_ERROR need not be asked.
fn finish(attempt: &Attempt, edge: Edge, policy: &Policy) -> Result<Dialed, DialError> {
    if edge.failed
        && let Some(errno) = attempt.stream.take_error()
    {
        return Err(dial_error(errno));
    }
    let local = attempt.stream.local_address().map_err(dial_error)?;
    let address = attempt.address;
    // In IPv6 the ends of a connection to a block that a route delivers here differ.
    let leads_here = || address.is_ipv6() && attempt.stream.leaves_by_loopback();
    match policy.check_connected(local, address, leads_here) {
        Ok(()) => Ok(Dialed { address, local }),
        Err(Refusal::SelfConnect) => Err(DialError::SelfConnect),
        Err(_) => Err(DialError::Ourselves),
    }
}
