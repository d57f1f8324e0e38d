//! Ports that sessions look for. Each try is a system call or several, and a range may have hundreds of ports that are
//! taken: a turn makes a few tries, and the session goes on in the next one.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::tokens::Key;
use crate::config::PortRange;
use crate::limits;
use crate::session::DialError;
use crate::shares::Source;
use crate::sys::Errno;

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

/// Sessions whose search goes on: sources take turns, and of one source its sessions. It has as many keys as there are such
/// sessions, and those of some that have ended since they were last up.
#[derive(Debug, Default)]
pub(super) struct Searches {
    sources: VecDeque<Source>,
    keys: HashMap<Source, VecDeque<Key>>,
}

impl Searches {
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Puts a session behind the others of its source, which has its turn behind the other sources.
    pub(super) fn push(&mut self, source: Source, key: Key) {
        let keys = self.keys.entry(source).or_default();
        if keys.is_empty() {
            self.sources.push_back(source);
        }
        keys.push_back(key);
    }

    pub(super) fn pop(&mut self) -> Option<Key> {
        let source = self.sources.pop_front()?;
        let keys = self.keys.get_mut(&source)?;
        let key = keys.pop_front();
        match keys.is_empty() {
            true => drop(self.keys.remove(&source)),
            false => self.sources.push_back(source),
        }
        key
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

    /// One source with many requests does not put another's behind all of them.
    #[test]
    fn sources_take_turns() {
        let mut searches = Searches::default();
        let source = |n: u8| Source::from(IpAddr::from([192, 0, 2, n]));
        for serial in 0..100 {
            searches.push(source(1), Key::new(1, serial));
        }
        searches.push(source(2), Key::new(2, 100));
        searches.push(source(3), Key::new(3, 101));
        let order: Vec<usize> = std::iter::from_fn(|| searches.pop()).map(|key| key.index()).collect();
        assert_eq!((&order[..5], order.len()), (&[1, 2, 3, 1, 1][..], 102));
        assert!(searches.is_empty() && searches.keys.is_empty());
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
