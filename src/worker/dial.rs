//! Connecting to one of several addresses: Happy Eyeballs (RFC 8305 section 5) over non-blocking connects.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::Registry;

use super::errno::dial_error;
use super::left::{Left, another_may_do, outcome_of};
use super::tokens::Key;
use super::watch::{Edge, watch_stream};
use crate::limits;
use crate::observe::{Counted, Counters};
use crate::outbound::OutboundOptions;
use crate::policy::egress::SessionPool;
use crate::policy::egress::health::Outcome;
use crate::policy::{Allowed, EgressId, Policy, Refusal, Route, RoutedAddress};
use crate::session::{DialError, Dialed};
use crate::shares::Lent;
use crate::sys::congestion::CongestionControl;
use crate::sys::machine::may_lead_here;
use crate::sys::stream::Stream;
use crate::sys::{Errno, errno_of};

/// The attempts of one session: every address is tried until one answers (RFC 1123 section 6.1.3.4), two at a time at most.
#[derive(Debug)]
pub(super) struct Dial {
    addresses: Vec<RoutedAddress>,
    /// The pools that they are left to from, as far as they are.
    pools: Vec<SessionPool>,
    congestion: CongestionControl,
    /// How many addresses were tried.
    tried: usize,
    /// The socket index of the attempt that was begun last; 0 before the first.
    last_index: u8,
    /// Under way, the oldest first.
    attempts: Vec<Attempt>,
    gravest: Option<DialError>,
    /// The pool and the address that an attempt left from of which nothing was heard, or to which there was no way.
    unanswered: Option<(EgressId, IpAddr)>,
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
    to: RoutedAddress,
    /// The route that its socket has.
    route: Route,
    began: Instant,
    /// What it has of its pool. Given back behind its socket.
    left: Option<Box<Left>>,
}

/// Whose attempts they are, and what they work with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialler<'a> {
    pub(super) key: Key,
    pub(super) now: Instant,
    pub(super) registry: &'a Registry,
    pub(super) policy: &'a Policy,
    pub(super) counters: &'a Counters,
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
    pub(super) way: DialedBy,
    /// What it has of its pool, where it left from one.
    pub(super) left: Option<Box<Left>>,
}

/// How an upstream was come by, for who needs it again, or another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DialedBy {
    /// How its address may be had.
    pub(super) allowed: Allowed,
    /// The socket index that was given last.
    pub(super) last_index: u8,
    /// The address of the parent that leads to a target of which only that knows the address.
    pub(super) led_by: Option<SocketAddr>,
    /// So many bytes of what came behind the request went there already.
    pub(super) early_bytes: u16,
    /// It served another request before.
    pub(super) reused: bool,
}

impl Dial {
    /// Attempts at these addresses, in this order, until `deadline`; a second one at a time is taken from `second`.
    pub(super) fn new(
        mut addresses: Vec<RoutedAddress>,
        congestion: CongestionControl,
        deadline: Instant,
        second: Lent,
    ) -> Dial {
        addresses.truncate(limits::DIAL_ADDRESSES_MAX);
        Dial {
            addresses,
            pools: Vec::new(),
            congestion,
            tried: 0,
            last_index: 0,
            attempts: Vec::new(),
            gravest: None,
            unanswered: None,
            next_at: None,
            deadline,
            second,
        }
    }

    /// The same, where socket indices up to this one were given before: there may be events of them yet.
    pub(super) fn behind(self, last_index: u8) -> Dial {
        Dial { last_index, ..self }
    }

    /// What records have of the pool that it was to leave from, where it came to nothing towards this target.
    pub(super) fn left_in_vain(&self, target: Option<SocketAddr>) -> Option<Box<Left>> {
        Some(Box::new(Left::in_vain(self.pools.first()?, target?)))
    }

    /// The same, where addresses are left to from these pools.
    pub(super) fn leaving_from(self, pools: Vec<SessionPool>) -> Dial {
        Dial { pools, ..self }
    }

    /// The pool and the address that an attempt left from of which nothing was heard, or to which there was no way: the last one.
    pub(super) fn unanswered(&self) -> Option<(SessionPool, IpAddr)> {
        let under_way = || self.attempts.iter().find_map(|attempt| attempt.left.as_ref()?.from());
        let (id, source) = self.unanswered.or_else(under_way)?;
        Some((self.pools.iter().find(|pool| pool.id() == id)?.clone(), source))
    }

    /// When all attempts together are given up.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// All that are or were to be tried.
    pub(super) fn addresses(&self) -> &[RoutedAddress] {
        &self.addresses
    }

    /// When the next attempt is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// How many attempts are under way.
    pub(super) fn under_way(&self) -> usize {
        self.attempts.len()
    }

    /// Whether the attempt with this socket index is still open.
    pub(super) fn has(&self, socket_index: u8) -> bool {
        self.attempts.iter().any(|attempt| attempt.socket_index == socket_index)
    }

    /// Starts attempts until one more is under way, in the place of the oldest where there is room for no more.
    ///
    /// # Errors
    /// The error that says most about the target, once nothing is under way and no address is left.
    pub(super) fn start_next(&mut self, dialler: &Dialler<'_>) -> Result<(), DialError> {
        let Dialler { now, counters, .. } = *dialler;
        self.next_at = None;
        let room = self.room(now);
        if self.tried < self.addresses.len() && room == Room::NotYet {
            self.next_at = Some(now + self.stagger(now));
            return Ok(());
        }
        while let Some(&to) = self.addresses.get(self.tried) {
            self.tried += 1;
            let socket_index = self.last_index % limits::DIAL_SOCKETS + 1;
            counters.count(Counted::DialBegun);
            match self.begin(dialler, socket_index, to) {
                Ok(attempt) => {
                    // Only now: an address to which there is no way must not cost one that may yet answer.
                    if room == Room::OfTheOldest {
                        self.attempts.remove(0).note(Outcome::TimedOut, now);
                        self.note(DialError::TimedOut, counters);
                    }
                    self.last_index = socket_index;
                    self.attempts.push(attempt);
                    if self.tried < self.addresses.len() {
                        self.next_at = Some(now + self.stagger(now));
                    }
                    return Ok(());
                }
                Err(error) => self.note(error, counters),
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
        dialler: &Dialler<'_>,
    ) -> Result<Option<Won>, DialError> {
        let Some(at) = self.attempts.iter().position(|attempt| attempt.socket_index == socket_index) else {
            return Ok(None);
        };
        if !edge.failed && !edge.writable {
            return Ok(None);
        }
        let mut attempt = self.attempts.remove(at);
        match finish(&attempt, edge, dialler.policy) {
            Ok(dialed) => {
                attempt.note(Outcome::Connected, dialler.now);
                // Unless the target is seen to close before, or is reset.
                attempt.left.iter_mut().for_each(|left| left.closes_first());
                let (allowed, last_index) = (attempt.to.allowed, self.last_index);
                let way = DialedBy { allowed, last_index, ..DialedBy::default() };
                let upstream = Upstream { stream: attempt.stream, socket_index };
                Ok(Some(Won { upstream, dialed, way, left: attempt.left }))
            }
            Err(error) => {
                outcome_of(error).into_iter().for_each(|outcome| attempt.note(outcome, dialler.now));
                if matches!(outcome_of(error), Some(Outcome::TimedOut | Outcome::Unreachable)) {
                    self.unanswered = attempt.left.as_ref().and_then(|left| left.from());
                }
                self.note(error, dialler.counters);
                attempt.stream.reset_on_close();
                drop(attempt);
                self.start_next(dialler)?;
                Ok(None)
            }
        }
    }

    /// The attempts that are under way got no answer in time.
    pub(super) fn give_up(&self, now: Instant) {
        self.attempts.iter().for_each(|attempt| attempt.note(Outcome::TimedOut, now));
    }

    fn begin(
        &mut self,
        dialler: &Dialler<'_>,
        socket_index: u8,
        to: RoutedAddress,
    ) -> Result<Attempt, DialError> {
        let Some(id) = to.allowed.way.egress else {
            let route = to.allowed.route;
            let stream = self.open(route, to.address)?;
            connect(&stream, dialler, socket_index, to.address)?;
            return Ok(Attempt { socket_index, stream, to, route, began: dialler.now, left: None });
        };
        let pools = std::mem::take(&mut self.pools);
        let begun = match pools.iter().find(|pool| pool.id() == id) {
            Some(pool) => self.begin_from(pool, dialler, socket_index, to),
            None => Err(DialError::Local(0)),
        };
        self.pools = pools;
        begun
    }

    /// Leaves from one address of the pool after the other, at once, where the kernel says that it cannot be the one before.
    fn begin_from(
        &mut self,
        pool: &SessionPool,
        dialler: &Dialler<'_>,
        socket_index: u8,
        to: RoutedAddress,
    ) -> Result<Attempt, DialError> {
        let (address, Dialler { now, counters, .. }) = (to.address, *dialler);
        if !pool.leads_to(address.ip()) {
            return Err(DialError::OtherFamily { by_name: false });
        }
        let Some(options) = pool.pool().map(|pool| pool.options()) else { return Err(DialError::Local(0)) };
        let mut failed = None;
        for source in pool.sources(address, now) {
            if let Some(error) = failed.take() {
                self.note(error, counters);
                counters.count(Counted::DialBegun);
            }
            let open = || -> Result<Stream, DialError> {
                let stream =
                    Stream::open_as(address, self.congestion.at(address.ip()), options).map_err(local)?;
                stream.leave_from(source, address).map_err(local)?;
                connect(&stream, dialler, socket_index, address)?;
                Ok(stream)
            };
            match open() {
                Ok(stream) => {
                    let route = Route { source: Some(source), mark: options.mark };
                    let left = Some(Box::new(Left::towards(pool, source, address)));
                    return Ok(Attempt { socket_index, stream, to, route, began: now, left });
                }
                Err(error) => {
                    let outcome = outcome_of(error);
                    outcome.into_iter().for_each(|outcome| pool.note(source, address.ip(), outcome, now));
                    if outcome == Some(Outcome::Unreachable) {
                        self.unanswered = Some((pool.id(), source));
                    }
                    failed = Some(error);
                    if !another_may_do(error) {
                        break;
                    }
                }
            }
        }
        // Of none that was passed over a port is to be had.
        Err(failed.unwrap_or(DialError::NoLocalPort))
    }

    /// A socket that leaves by a route.
    fn open(&self, route: Route, address: SocketAddr) -> Result<Stream, DialError> {
        if !route.serves(address.ip()) {
            return Err(DialError::NetworkUnreachable);
        }
        let congestion = self.congestion.at(address.ip());
        let stream = match route.mark {
            Some(_) => {
                let options = OutboundOptions { mark: route.mark, ..OutboundOptions::default() };
                Stream::open_as(address, congestion, &options).map_err(local)?
            }
            None => Stream::open(address, congestion).map_err(dial_error)?,
        };
        route.source.map_or(Ok(()), |source| stream.leave_from(source, address)).map_err(local)?;
        Ok(stream)
    }

    fn note(&mut self, error: DialError, counters: &Counters) {
        counters.count(Counted::DialFailed(error.into()));
        if self.gravest.is_none_or(|gravest| gravest.weight() < error.weight()) {
            self.gravest = Some(error);
        }
    }
}

impl Attempt {
    /// Tells its pool what came of it.
    fn note(&self, outcome: Outcome, now: Instant) {
        self.left.iter().for_each(|left| left.note(outcome, now));
    }
}

/// What the kernel has against a socket says nothing of the target.
fn local(errno: Errno) -> DialError {
    DialError::Local(errno as i32)
}

fn connect(
    stream: &Stream,
    dialler: &Dialler<'_>,
    socket_index: u8,
    address: SocketAddr,
) -> Result<(), DialError> {
    stream.connect(address).map_err(dial_error)?;
    let watched = watch_stream(dialler.registry, dialler.key, socket_index, stream);
    watched.map_err(|error| dial_error(errno_of(&error)))
}

/// A writable socket without an error is connected: SO_ERROR need not be asked.
fn finish(attempt: &Attempt, edge: Edge, policy: &Policy) -> Result<Dialed, DialError> {
    if edge.failed
        && let Some(errno) = attempt.stream.take_error()
    {
        return Err(dial_error(errno));
    }
    let local = attempt.stream.local_address().map_err(dial_error)?;
    let RoutedAddress { address, allowed } = attempt.to;
    let allowed = Allowed { route: attempt.route, ..allowed };
    // The ends of a connection to this machine differ where the route says from where, and in IPv6 where the target is of a
    // block that a route of the kernel's delivers here.
    let is_v6 = address.ip().to_canonical().is_ipv6();
    let by_loopback = || attempt.stream.leaves_by_loopback(is_v6);
    let leads_here = || match allowed.route.source {
        Some(_) => by_loopback() != Some(false) && may_lead_here(address),
        None => is_v6 && by_loopback() == Some(true),
    };
    match policy.check_connected(local, address, &allowed, leads_here) {
        Ok(()) => Ok(Dialed { address, local, bound: local, decision: allowed.decision }),
        Err(Refusal::SelfConnect) => Err(DialError::SelfConnect),
        Err(_) => Err(DialError::Ourselves),
    }
}

#[cfg(test)]
mod tests;
