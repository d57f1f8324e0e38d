//! Connecting to one of several addresses: Happy Eyeballs (RFC 8305 section 5) over non-blocking connects.

use std::time::{Duration, Instant};

use mio::Registry;

use super::errno::dial_error;
use super::tokens::Key;
use super::watch::{Edge, watch_stream};
use crate::limits;
use crate::observe::{Counted, Counters};
use crate::policy::{Allowed, Policy, Refusal, RoutedAddress};
use crate::session::{DialError, Dialed};
use crate::shares::Lent;
use crate::sys::congestion::CongestionControl;
use crate::sys::machine::may_lead_here;
use crate::sys::outbound::OutboundOptions;
use crate::sys::stream::Stream;
use crate::sys::{Errno, errno_of};

/// The attempts of one session: every address is tried until one answers (RFC 1123 section 6.1.3.4), two at a time at most.
#[derive(Debug)]
pub(super) struct Dial {
    addresses: Vec<RoutedAddress>,
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
    to: RoutedAddress,
    began: Instant,
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
}

/// How an upstream was come by, for who needs it again, or another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DialedBy {
    /// How its address may be had.
    pub(super) allowed: Allowed,
    /// The socket index that was given last.
    pub(super) last_index: u8,
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

    /// The same, where socket indices up to this one were given before: there may be events of them yet.
    pub(super) fn behind(self, last_index: u8) -> Dial {
        Dial { last_index, ..self }
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
                Ok(stream) => {
                    // Only now: an address to which there is no way must not cost one that may yet answer.
                    if room == Room::OfTheOldest {
                        self.attempts.remove(0);
                        self.note(DialError::TimedOut, counters);
                    }
                    self.last_index = socket_index;
                    self.attempts.push(Attempt { socket_index, stream, to, began: now });
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
        let attempt = self.attempts.remove(at);
        match finish(&attempt, edge, dialler.policy) {
            Ok(dialed) => {
                let way =
                    DialedBy { allowed: attempt.to.allowed, last_index: self.last_index, reused: false };
                let upstream = Upstream { stream: attempt.stream, socket_index };
                Ok(Some(Won { upstream, dialed, way }))
            }
            Err(error) => {
                self.note(error, dialler.counters);
                attempt.stream.reset_on_close();
                drop(attempt);
                self.start_next(dialler)?;
                Ok(None)
            }
        }
    }

    fn begin(&self, dialler: &Dialler<'_>, socket_index: u8, to: RoutedAddress) -> Result<Stream, DialError> {
        let RoutedAddress { address, allowed: Allowed { route, .. } } = to;
        if !route.serves(address.ip()) {
            return Err(DialError::NetworkUnreachable);
        }
        let congestion = self.congestion.at(address.ip());
        // What the kernel has against them says nothing of the target.
        let local = |errno: Errno| DialError::Local(errno as i32);
        let stream = match route.mark {
            Some(_) => {
                let options = OutboundOptions { mark: route.mark, ..OutboundOptions::default() };
                Stream::open_as(address, congestion, &options).map_err(local)?
            }
            None => Stream::open(address, congestion).map_err(dial_error)?,
        };
        route.source.map_or(Ok(()), |source| stream.leave_from(source, address)).map_err(local)?;
        stream.connect(address).map_err(dial_error)?;
        let watched = watch_stream(dialler.registry, dialler.key, socket_index, &stream);
        watched.map_err(|error| dial_error(errno_of(&error)))?;
        Ok(stream)
    }

    fn note(&mut self, error: DialError, counters: &Counters) {
        counters.count(Counted::DialFailed(error.into()));
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
    let RoutedAddress { address, allowed } = attempt.to;
    // The ends of a connection to this machine differ where the route says from where, and in IPv6 where the target is of a
    // block that a route of the kernel's delivers here.
    let is_v6 = address.ip().to_canonical().is_ipv6();
    let by_loopback = || attempt.stream.leaves_by_loopback(is_v6);
    let leads_here = || match allowed.route.source {
        Some(_) => by_loopback() != Some(false) && may_lead_here(address),
        None => is_v6 && by_loopback() == Some(true),
    };
    match policy.check_connected(local, address, &allowed, leads_here) {
        Ok(()) => Ok(Dialed { address, local, decision: allowed.decision }),
        Err(Refusal::SelfConnect) => Err(DialError::SelfConnect),
        Err(_) => Err(DialError::Ourselves),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Totals;
    use crate::policy::{Guard, Route};
    use crate::shares::Pool;
    use crate::sys::set_mark;
    use mio::{Events, Poll};
    use socket2::SockRef;
    use std::net::{IpAddr, SocketAddr, TcpListener};

    /// What dialling this listener by a route comes to, and who came to it.
    fn dialled(listener: &TcpListener, route: Route) -> (Result<Won, DialError>, Option<SocketAddr>) {
        let mut poll = Poll::new().unwrap();
        let (registry, now) = (poll.registry().try_clone().unwrap(), Instant::now());
        let (policy, counters) = (Policy::new(Guard::new(true, Vec::new(), Vec::new())), Counters::default());
        let dialler =
            Dialler { key: Key::new(0, 0), now, registry: &registry, policy: &policy, counters: &counters };
        let allowed = Allowed { route, ..Allowed::default() };
        let to = RoutedAddress { address: listener.local_addr().unwrap(), allowed };
        let second = Pool::of(0).nothing(IpAddr::from([127, 0, 0, 1]).into());
        let deadline = now + Duration::from_secs(10);
        let mut dial = Dial::new(vec![to], CongestionControl::default(), deadline, second);
        if let Err(error) = dial.start_next(&dialler) {
            return (Err(error), None);
        }
        poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(10))).unwrap();
        let edge = Edge { writable: true, ..Edge::default() };
        let won = dial.event(1, edge, &dialler).map(|won| won.expect("a connection"));
        let totals = Totals::of([&counters]);
        assert_eq!(totals.count_of(Counted::DialBegun), 1);
        (won, Some(listener.accept().unwrap().1))
    }

    #[test]
    fn a_dial_leaves_from_the_source_of_its_route() {
        let source: IpAddr = [127, 0, 0, 2].into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (won, came) = dialled(&listener, Route { source: Some(source), mark: None });
        let local = won.unwrap().dialed.local;
        assert_eq!((local.ip(), came), (source, Some(local)));
        let (won, came) = dialled(&listener, Route::default());
        assert_eq!(
            (won.unwrap().dialed.local.ip(), came.unwrap().ip()),
            ([127, 0, 0, 1].into(), [127, 0, 0, 1].into())
        );
    }

    #[test]
    fn a_source_that_this_machine_does_not_have_is_our_own_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let by =
            |source: &str| dialled(&listener, Route { source: Some(source.parse().unwrap()), mark: None }).0;
        assert_eq!(by("192.0.2.1").unwrap_err(), DialError::Local(Errno::EADDRNOTAVAIL as i32));
        assert_eq!(by("::1").unwrap_err(), DialError::NetworkUnreachable, "of another family");
    }

    /// A mark takes CAP_NET_ADMIN: without it nothing is dialled unmarked.
    #[test]
    fn a_dial_has_the_mark_of_its_route_or_none_is_made() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let permitted = set_mark(&listener, 7);
        let won = dialled(&listener, Route { source: None, mark: Some(9) }).0;
        match permitted {
            Ok(()) => assert_eq!(SockRef::from(&won.unwrap().upstream.stream).mark().unwrap(), 9),
            Err(errno) => assert_eq!(won.unwrap_err(), DialError::Local(errno as i32)),
        }
    }

    /// From another address than the target's a connection to this machine does not show by its ends that it is one.
    #[test]
    fn an_address_of_this_machine_is_found_whatever_the_source() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let guard = Guard::new(false, Vec::new(), Vec::new()).with_locals(crate::policy::Locals::default());
        let policy = Policy::new(guard);
        let route = Route { source: Some([127, 0, 0, 2].into()), mark: None };
        let (stream, address) =
            (dialled(&listener, route).0.unwrap().upstream.stream, listener.local_addr().unwrap());
        let attempt = |route| Attempt {
            socket_index: 1,
            stream,
            to: RoutedAddress { address, allowed: Allowed { route, ..Allowed::default() } },
            began: Instant::now(),
        };
        let edge = Edge { writable: true, ..Edge::default() };
        assert_eq!(finish(&attempt(route), edge, &policy), Err(DialError::Ourselves));
    }
}
