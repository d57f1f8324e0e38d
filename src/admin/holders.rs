//! How much of the endpoint somebody may have: connections and requests, so that nobody shuts the others out.
//!
//! Over TCP whoever connects has a share: on this machine a user, from elsewhere a source. Unix sockets have connections and
//! requests of their own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::access::AdminPeer;
use crate::auth::{Pace, Rate};
use crate::limits;
use crate::shares::Source;

/// Whom a share belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    /// Whoever may connect to the unix sockets.
    Socket,
    /// A user of this machine, from whichever of its addresses.
    User(u32),
    /// Processes of this machine whose user is not known.
    Somebody,
    /// A host.
    Source(Source),
}

impl Holder {
    fn of(peer: &AdminPeer) -> Holder {
        match peer {
            AdminPeer::Process(_) => Holder::Socket,
            AdminPeer::Here(_, Some(uid)) => Holder::User(*uid),
            AdminPeer::Here(_, None) => Holder::Somebody,
            AdminPeer::Host(address) => Holder::Source(address.ip().into()),
        }
    }
}

/// What everybody has.
#[derive(Debug)]
pub(super) struct Holders {
    connections: HashMap<Holder, usize>,
    over_tcp: usize,
    requests: Pace<Holder>,
    requests_over_tcp: Pace<()>,
    requests_over_unix: Pace<()>,
}

impl Default for Holders {
    fn default() -> Holders {
        let rate = |at_once, interval| Rate { at_once, interval };
        let of_a_holder = rate(limits::ADMIN_SOURCE_AT_ONCE, limits::ADMIN_SOURCE_RATE);
        Holders {
            connections: HashMap::new(),
            over_tcp: 0,
            requests: Pace::new(of_a_holder, limits::ADMIN_SOURCES_COUNTED_MAX),
            requests_over_tcp: Pace::new(rate(limits::ADMIN_TCP_AT_ONCE, limits::ADMIN_TCP_RATE), 1),
            requests_over_unix: Pace::new(rate(limits::ADMIN_UNIX_AT_ONCE, limits::ADMIN_UNIX_RATE), 1),
        }
    }
}

impl Holders {
    /// Takes a connection for somebody; false where the share is used up.
    #[must_use]
    pub(super) fn enter(&mut self, peer: &AdminPeer) -> bool {
        let holder = Holder::of(peer);
        let held = self.connections.get(&holder).copied().unwrap_or_default();
        let fits = match holder {
            Holder::Socket => held < limits::ADMIN_UNIX_CONNECTIONS_MAX,
            // As many as are left free: who comes new finds room, however many the others have.
            _ => held < limits::ADMIN_TCP_CONNECTIONS_MAX.saturating_sub(self.over_tcp),
        };
        if fits {
            self.over_tcp += usize::from(holder != Holder::Socket);
            self.connections.insert(holder, held + 1);
        }
        fits
    }

    /// Gives a connection back.
    pub(super) fn leave(&mut self, peer: &AdminPeer) {
        let holder = Holder::of(peer);
        if let Some(held) = self.connections.get_mut(&holder) {
            *held -= 1;
            if *held == 0 {
                self.connections.remove(&holder);
            }
            self.over_tcp -= usize::from(holder != Holder::Socket);
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// How long it has to wait; it is not counted then.
    pub(super) fn ask(&mut self, peer: &AdminPeer, now: Instant) -> Result<(), Duration> {
        let holder = Holder::of(peer);
        let over_tcp = holder != Holder::Socket;
        let all = if over_tcp { &mut self.requests_over_tcp } else { &mut self.requests_over_unix };
        let mut ready_at = all.ready_at((), now);
        if over_tcp {
            ready_at = ready_at.max(self.requests.ready_at(holder, now));
        }
        if ready_at > now {
            return Err(ready_at - now);
        }
        all.take((), now);
        if over_tcp {
            self.requests.take(holder, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::unix::PeerProcess;

    fn user(uid: u32) -> AdminPeer {
        AdminPeer::Here("127.0.0.1:1".parse().unwrap(), Some(uid))
    }

    fn host(address: &str) -> AdminPeer {
        AdminPeer::Host(address.parse().unwrap())
    }

    fn operator() -> AdminPeer {
        AdminPeer::Process(PeerProcess { uid: 0, pid: 1 })
    }

    fn enter_all(holders: &mut Holders, peer: &AdminPeer) -> usize {
        (0..1000).take_while(|_| holders.enter(peer)).count()
    }

    /// From however many addresses of this machine, and with however many of its own, nobody takes them all.
    #[test]
    fn nobody_takes_all_connections() {
        let mut holders = Holders::default();
        assert_eq!(enter_all(&mut holders, &user(1001)), limits::ADMIN_TCP_CONNECTIONS_MAX / 2);
        let elsewhere = AdminPeer::Here("127.9.9.9:1".parse().unwrap(), Some(1001));
        assert_eq!(enter_all(&mut holders, &elsewhere), 0);
        assert_eq!(enter_all(&mut holders, &host("192.0.2.1:1")), limits::ADMIN_TCP_CONNECTIONS_MAX / 4);
        assert_eq!(enter_all(&mut holders, &host("192.0.2.1:2")), 0);
        assert!(holders.enter(&user(0)));
        for n in 2..200 {
            enter_all(&mut holders, &host(&format!("192.0.2.{n}:1")));
        }
        assert_eq!(enter_all(&mut holders, &operator()), limits::ADMIN_UNIX_CONNECTIONS_MAX);
        (0..limits::ADMIN_TCP_CONNECTIONS_MAX / 2).for_each(|_| holders.leave(&user(1001)));
        assert!(holders.enter(&user(1001)) && holders.enter(&host("192.0.2.250:1")));
    }

    #[test]
    fn requests_are_paced_by_holder_and_unix_sockets_apart() {
        let (mut holders, now) = (Holders::default(), Instant::now());
        let mut asked =
            |peer: &AdminPeer, now| (0..10_000).take_while(|_| holders.ask(peer, now).is_ok()).count();
        assert_eq!(asked(&user(1001), now), limits::ADMIN_SOURCE_AT_ONCE as usize);
        assert_eq!(asked(&user(1002), now), limits::ADMIN_SOURCE_AT_ONCE as usize);
        let of_all: usize = (1..=250).map(|n| asked(&host(&format!("192.0.2.{n}:1")), now)).sum();
        assert_eq!(of_all, (limits::ADMIN_TCP_AT_ONCE - 2 * limits::ADMIN_SOURCE_AT_ONCE) as usize);
        assert_eq!(asked(&user(0), now), 0, "over TCP all is used up");
        assert_eq!(asked(&operator(), now), limits::ADMIN_UNIX_AT_ONCE as usize);
        assert_eq!(asked(&user(1001), now + limits::ADMIN_SOURCE_RATE * 3), 3);
    }
}
