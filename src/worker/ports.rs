//! Ports that sessions look for. Each try is a system call or several, and a range may have hundreds of ports that are
//! taken: a turn makes a few tries, and the session goes on in the next one.

use super::core::Core;
use super::handshake::Next;
use super::slot::{Fate, Phase, Slot, Waits};
use super::tokens::Key;
use crate::config::PortRange;
use crate::limits;
use crate::session::DialError;
use crate::sys::Errno;
use std::net::{IpAddr, SocketAddr};

/// A free port at one address: on a range from a random one on, or the one that the kernel picks.
#[derive(Debug)]
pub(super) struct PortSearch {
    at: SocketAddr,
    ports: Option<PortRange>,
    start: u32,
    tried: usize,
}

impl PortSearch {
    pub(super) fn new(at: SocketAddr, ports: Option<PortRange>) -> PortSearch {
        PortSearch { at: canonical(at), ports, start: rand::random(), tried: 0 }
    }

    /// Where the next try is made; `None` once every port was tried.
    fn next(&self) -> Option<SocketAddr> {
        let (port, most) = match self.ports {
            Some(range) => {
                let count = usize::try_from(range.count()).unwrap_or(usize::MAX);
                (range.nth(self.start, self.tried), count.min(limits::PORT_TRIES_MAX))
            }
            None => (0, limits::KERNEL_PORT_TRIES),
        };
        let mut at = self.at;
        at.set_port(port);
        (self.tried < most).then_some(at)
    }

    /// Opens what is to be there. `None` where `tries` is used up before the ports are.
    pub(super) fn go_on<T>(
        &mut self,
        tries: &mut usize,
        open: impl Fn(SocketAddr) -> Result<T, Errno>,
    ) -> Option<Result<T, DialError>> {
        while let Some(at) = self.next() {
            *tries = tries.checked_sub(1)?;
            self.tried += 1;
            match open(at) {
                Ok(opened) => return Some(Ok(opened)),
                Err(Errno::EADDRINUSE) => {}
                Err(errno) => return Some(Err(DialError::Local(errno as i32))),
            }
        }
        Some(Err(DialError::NoLocalPort))
    }
}

impl Core {
    /// Goes on with a session that looks for a port, within what all such sessions have together in one turn.
    pub(super) fn resume_search(&mut self, key: Key, slot: &mut Slot) -> Fate {
        let mut tries = std::mem::take(&mut self.port_tries);
        let next = match &slot.phase {
            Phase::Handshake(handshake) => match &handshake.waits_for {
                Waits::Listener(_) => self.seek_listener(key, slot, &mut tries),
                Waits::Front(_) => self.seek_front(key, slot, &mut tries),
                _ => Next::Wait,
            },
            Phase::Relay(_) | Phase::Association(_) | Phase::Linger(_) => Next::Wait,
        };
        self.port_tries = tries;
        self.advance(key, slot, next)
    }
}

/// An IPv4-mapped address as the IPv4 address that it is; another keeps its scope.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_search_goes_on_where_its_tries_ended() {
        let seen = RefCell::new(Vec::new());
        let full = |at: SocketAddr| {
            seen.borrow_mut().push(at.port());
            Err::<(), _>(Errno::EADDRINUSE)
        };
        let mut search = PortSearch::new(at("[::ffff:127.0.0.1]:9"), PortRange::new(40_000, 40_009));
        let mut tries = 4;
        assert_eq!(search.go_on(&mut tries, full), None);
        assert_eq!((tries, seen.borrow().len()), (0, 4));
        tries = 100;
        assert_eq!(search.go_on(&mut tries, full), Some(Err(DialError::NoLocalPort)));
        assert_eq!(tries, 94);
        seen.borrow_mut().sort_unstable();
        assert_eq!(*seen.borrow(), (40_000..=40_009).collect::<Vec<_>>(), "each once");
    }

    #[test]
    fn a_wide_range_and_the_kernel_are_asked_so_often_and_no_more() {
        for (ports, most) in
            [(PortRange::new(1, 65_535), limits::PORT_TRIES_MAX), (None, limits::KERNEL_PORT_TRIES)]
        {
            let mut tries = 1_000;
            let outcome = PortSearch::new(at("127.0.0.1:9"), ports)
                .go_on(&mut tries, |_| Err::<(), _>(Errno::EADDRINUSE));
            assert_eq!((outcome, 1_000 - tries), (Some(Err(DialError::NoLocalPort)), most));
        }
    }

    #[test]
    fn another_error_ends_the_search() {
        let mut search = PortSearch::new(at("127.0.0.1:9"), PortRange::new(1, 9));
        let outcome = search.go_on(&mut 5, |at| match at.is_ipv4() {
            true => Err::<(), _>(Errno::EACCES),
            false => Ok(()),
        });
        assert_eq!(outcome, Some(Err(DialError::Local(Errno::EACCES as i32))));
    }
}
