//! A listener for the peers of one session: looked for on the addresses from which they would be dialled, and what comes
//! to it.

use super::errno::{dial_error, ends_one_connection};
use super::ports::{PortSearch, canonical};
use crate::config::PortRange;
use crate::limits;
use crate::policy::{Policy, Subject, Verdict};
use crate::session::{DialError, Peers};
use crate::sys::Errno;
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::Listener;
use crate::sys::machine::source_towards;
use crate::sys::stream::Stream;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// A listener that waits for its peer.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listener: Listener,
    pub(super) peers: Peers,
    /// When to look into its queue without an event: an edge that met EMFILE gives no second one.
    pub(super) retry_at: Option<Instant>,
}

/// What stood first in the queue of a listener.
pub(super) enum Came {
    Peer(Stream, SocketAddr),
    /// A connection of somebody who was not asked for, which is reset.
    Foreign(SocketAddr),
    /// A connection that had ended already.
    Ended,
    Nobody,
}

impl Listening {
    pub(super) fn accept(&mut self, policy: &Policy, subject: &Subject<'_>, now: Instant) -> Came {
        match self.listener.accept() {
            Ok((stream, peer)) if self.welcomes(&stream, peer, policy, subject) => Came::Peer(stream, peer),
            Ok((stream, peer)) => {
                stream.reset_on_close();
                Came::Foreign(peer)
            }
            Err(Errno::EAGAIN) => Came::Nobody,
            Err(errno) if ends_one_connection(errno) => Came::Ended,
            Err(_) => {
                self.retry_at = Some(now + limits::ACCEPT_PAUSE);
                Came::Nobody
            }
        }
    }

    /// Peers are compared by address. The port that was asked for says nothing of the port they come from: in active
    /// FTP (RFC 959) DST is that of the control connection, and the data connection comes from another.
    fn welcomes(&self, stream: &Stream, peer: SocketAddr, policy: &Policy, subject: &Subject<'_>) -> bool {
        let peer = canonical(peer);
        let expected = match &self.peers {
            Peers::Any => true,
            Peers::Only(list) => list.iter().any(|one| one.ip() == peer.ip()),
        };
        let from_here =
            || stream.local_address().is_ok_and(|here| here.ip().to_canonical() == peer.ip().to_canonical());
        expected && policy.judge_peer(subject, peer, from_here) == Verdict::Allow
    }
}

/// A listener that is looked for: on the addresses from which its peers would be dialled, each of them once.
#[derive(Debug)]
pub(super) struct ListenerSearch {
    pub(super) peers: Peers,
    /// How many peers' routes were asked for.
    asked: usize,
    /// Our own addresses towards them, their ports zero.
    sources: Vec<SocketAddr>,
    /// The search for a port at the last of our addresses, and the peer that it is towards.
    search: Option<(IpAddr, PortSearch)>,
    gravest: DialError,
}

impl ListenerSearch {
    pub(super) fn new(peers: Peers) -> ListenerSearch {
        ListenerSearch { peers, asked: 0, sources: Vec::new(), search: None, gravest: DialError::Local(0) }
    }

    /// A listener that one of the peers can reach; `None` where `tries` is used up before that is known. `here` is where
    /// the client reached us.
    pub(super) fn go_on(
        &mut self,
        tries: &mut usize,
        here: Result<SocketAddr, Errno>,
        ports: Option<PortRange>,
        congestion: CongestionControl,
    ) -> Option<Result<Listener, DialError>> {
        loop {
            if let Some((peer, search)) = &mut self.search {
                let algorithm = congestion.at(*peer);
                match search.go_on(tries, |at| Listener::open_alone(at, limits::BIND_BACKLOG, algorithm))? {
                    Ok(listener) => return Some(Ok(listener)),
                    Err(error) => self.note(error),
                }
                self.search = None;
            }
            *tries = tries.checked_sub(1)?;
            match self.next_source(here) {
                Some(Ok((peer, source))) => {
                    let mut source = canonical(source);
                    source.set_port(0);
                    if !self.sources.contains(&source) {
                        self.sources.push(source);
                        self.search = Some((peer, PortSearch::new(source, ports)));
                    }
                }
                Some(Err(errno)) => self.note(dial_error(errno)),
                None => return Some(Err(self.gravest)),
            }
        }
    }

    /// The next peer, and the address from which it would be dialled.
    fn next_source(
        &mut self,
        here: Result<SocketAddr, Errno>,
    ) -> Option<Result<(IpAddr, SocketAddr), Errno>> {
        let asked = self.asked;
        self.asked += 1;
        match &self.peers {
            Peers::Only(list) => {
                let peer = *list.get(asked)?;
                Some(source_towards(peer).map(|source| (peer.ip(), source)))
            }
            // Where the client reached us others may, too.
            Peers::Any => (asked == 0).then(|| here.map(|here| (here.ip(), here))),
        }
    }

    fn note(&mut self, error: DialError) {
        if error.weight() >= self.gravest.weight() {
            self.gravest = error;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// 32 addresses behind one route are one address of ours, whose ports are tried once.
    #[test]
    fn each_of_our_addresses_is_tried_once_however_many_peers_it_is_towards() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let peers = (0..32).map(|n| SocketAddr::from(([127, 0, 5, n], 21))).collect();
        let mut search = ListenerSearch::new(Peers::Only(peers));
        let ports = PortRange::new(port, port);
        let mut tries = 1_000;
        let outcome = search.go_on(&mut tries, Err(Errno::ENOTCONN), ports, CongestionControl::default());
        assert_eq!(outcome.map(Result::err), Some(Some(DialError::NoLocalPort)));
        assert_eq!(1_000 - tries, 32 + 1 + 1, "each route, the one port, and the end of the list");
    }

    #[test]
    fn a_search_for_anybody_tries_where_the_client_reached_us() {
        let here = Ok("[::ffff:127.0.0.1]:1080".parse().unwrap());
        let mut search = ListenerSearch::new(Peers::Any);
        assert!(search.go_on(&mut 0, here, None, CongestionControl::default()).is_none());
        let found = search.go_on(&mut 2, here, None, CongestionControl::default());
        let at = found.unwrap().unwrap().address().unwrap();
        assert_eq!((at.ip(), at.port() == 1080), (IpAddr::from([127, 0, 0, 1]), false));
    }
}
