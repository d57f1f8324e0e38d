//! A listener for the peers of one session: looked for on the addresses from which they would be dialled, and what comes
//! to it.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::errno::{dial_error, ends_one_connection};
use super::ports::{PortSearch, canonical};
use crate::config::PortRange;
use crate::limits;
use crate::policy::{Decision, Object, Policy, Route, RoutedAddress, Subject, Verdict};
use crate::proto::address::Name;
use crate::session::{DialError, Peers};
use crate::sys::Errno;
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::Listener;
use crate::sys::machine::source_towards;
use crate::sys::outbound::OutboundOptions;
use crate::sys::stream::Stream;

/// A listener that waits for its peer.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listener: Listener,
    pub(super) peers: Peers,
    /// By which way its connections leave.
    pub(super) route: Route,
    /// When to look into its queue without an event: an edge that met EMFILE gives no second one.
    pub(super) retry_at: Option<Instant>,
}

/// What stood first in the queue of a listener.
pub(super) enum Came {
    Peer(Stream, SocketAddr, Decision),
    /// A connection of somebody who was not asked for, which is reset; what policy said of it where it was asked.
    Foreign(SocketAddr, Option<Decision>),
    /// A connection that had ended already.
    Ended,
    Nobody,
}

impl Listening {
    /// Takes who stands first in the queue. `name` is the one that led to the peers, where one did.
    pub(super) fn accept(
        &mut self,
        policy: &Policy,
        subject: &Subject<'_>,
        name: Option<&Name>,
        now: Instant,
    ) -> Came {
        match self.listener.accept() {
            // It listens at an address, where everybody has one.
            Ok((_, None)) => Came::Nobody,
            Ok((stream, Some(peer))) => match self.welcomes(&stream, peer, policy, subject, name) {
                Ok(decision) => Came::Peer(stream, peer, decision),
                Err(decision) => {
                    stream.reset_on_close();
                    Came::Foreign(peer, decision)
                }
            },
            Err(Errno::EAGAIN) => Came::Nobody,
            Err(errno) if ends_one_connection(errno) => Came::Ended,
            Err(_) => {
                self.retry_at = Some(now + limits::ACCEPT_PAUSE);
                Came::Nobody
            }
        }
    }

    /// Peers are compared by address. The port that was asked for says nothing of the port they come from: in active
    /// FTP (RFC 959) DST is that of the control connection, and the data connection comes from another. So rules know who
    /// was named by the port that was asked for, and anybody else by his own.
    fn welcomes(
        &self,
        stream: &Stream,
        peer: SocketAddr,
        policy: &Policy,
        subject: &Subject<'_>,
        name: Option<&Name>,
    ) -> Result<Decision, Option<Decision>> {
        let peer = canonical(peer);
        let asked = match &self.peers {
            Peers::Any(..) => peer,
            Peers::Only(list) => list.iter().find(|one| one.address.ip() == peer.ip()).ok_or(None)?.address,
        };
        let from_here =
            || stream.local_address().is_ok_and(|here| here.ip().to_canonical() == peer.ip().to_canonical());
        match policy.judge_peer(subject, peer, Object::From(asked, name), from_here) {
            // What policy wants to go by another way is not taken: the connection would leave by the listener's.
            Verdict::Allow(wanted) if self.route.obeys(&wanted.route) => Ok(wanted.decision),
            Verdict::Allow(_) => Err(None),
            Verdict::Deny(_, decision) => Err(Some(decision)),
        }
    }
}

/// A listener that is looked for: on the addresses from which its peers would be dialled, each of them once.
#[derive(Debug)]
pub(super) struct ListenerSearch {
    pub(super) peers: Peers,
    /// How many peers' routes were asked for.
    asked: usize,
    /// Our own addresses towards them, their ports zero, and the marks of the routes.
    sources: Vec<(SocketAddr, Option<u32>)>,
    /// The search for a port at the last of our addresses.
    search: Option<(Towards, PortSearch)>,
    gravest: DialError,
}

/// Our own address towards a peer.
#[derive(Clone, Copy, Debug)]
struct Towards {
    peer: IpAddr,
    /// Its port says nothing.
    source: SocketAddr,
    /// The mark of the route.
    mark: Option<u32>,
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
            if let Some((Towards { peer, mark, .. }, ports)) = &mut self.search {
                let algorithm = congestion.at(*peer);
                let options = OutboundOptions { mark: *mark, ..OutboundOptions::default() };
                let open = |at| Listener::open_alone(at, limits::BIND_BACKLOG, algorithm, &options);
                match ports.go_on(tries, open)? {
                    Ok(listener) => return Some(Ok(listener)),
                    Err(error) => self.note(error),
                }
                self.search = None;
            }
            *tries = tries.checked_sub(1)?;
            match self.next_source(here) {
                Some(Ok(towards)) => {
                    let mut source = canonical(towards.source);
                    source.set_port(0);
                    if !self.sources.contains(&(source, towards.mark)) {
                        self.sources.push((source, towards.mark));
                        self.search = Some((towards, PortSearch::new(source, ports)));
                    }
                }
                Some(Err(errno)) => self.note(dial_error(errno)),
                None => return Some(Err(self.gravest)),
            }
        }
    }

    /// The next peer, and the address from which it would be dialled.
    fn next_source(&mut self, here: Result<SocketAddr, Errno>) -> Option<Result<Towards, Errno>> {
        let asked = self.asked;
        self.asked += 1;
        match &self.peers {
            Peers::Only(list) => {
                let RoutedAddress { address, allowed } = *list.get(asked)?;
                let route = allowed.route;
                let source = match route.source {
                    _ if !route.serves(address.ip()) => Err(Errno::ENETUNREACH),
                    Some(source) => Ok(SocketAddr::new(source, 0)),
                    None => source_towards(address, route.mark),
                };
                Some(source.map(|source| Towards { peer: address.ip(), source, mark: route.mark }))
            }
            Peers::Any(route, _) => (asked == 0).then(|| {
                // Where the client reached us others may, too.
                let source = route.source.map_or(here, |source| Ok(SocketAddr::new(source, 0)))?;
                Ok(Towards { peer: source.ip(), source, mark: route.mark })
            }),
        }
    }

    /// By which way connections of the listener leave that was found.
    pub(super) fn route(&self) -> Route {
        let towards = self.search.as_ref().map(|(towards, _)| towards);
        Route {
            source: towards.map(|towards| towards.source.ip()),
            mark: towards.and_then(|towards| towards.mark),
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
    use crate::auth::Identity;
    use crate::policy::{Allowed, Guard, Incoming, Way};
    use crate::proto::request::RequestCommand;
    use std::net::{TcpListener, TcpStream};

    fn towards(ip: [u8; 4], route: Route) -> RoutedAddress {
        let allowed = Allowed { route, ..Allowed::default() };
        RoutedAddress { address: SocketAddr::from((ip, 21)), allowed }
    }

    /// 32 addresses behind one route are one address of ours, whose ports are tried once.
    #[test]
    fn each_of_our_addresses_is_tried_once_however_many_peers_it_is_towards() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let peers = (0..32).map(|n| towards([127, 0, 5, n], Route::default())).collect();
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
        let mut search = ListenerSearch::new(Peers::Any(Route::default(), Way::default()));
        assert!(search.go_on(&mut 0, here, None, CongestionControl::default()).is_none());
        let found = search.go_on(&mut 2, here, None, CongestionControl::default());
        let at = found.unwrap().unwrap().address().unwrap();
        assert_eq!((at.ip(), at.port() == 1080), (IpAddr::from([127, 0, 0, 1]), false));
    }

    fn from_127_0_0_4(_: Object<'_>) -> Route {
        Route { source: Some([127, 0, 0, 4].into()), mark: None }
    }

    #[test]
    fn a_peer_is_taken_by_the_route_of_its_verdict_or_not_at_all() {
        let policy = Policy::new(Guard::new(true, Vec::new(), Vec::new())).with_routes(from_127_0_0_4);
        let incoming = Incoming { client: SocketAddr::from(([127, 0, 0, 1], 1)), listener: 0 };
        let subject = Subject {
            incoming,
            identity: &Identity::Anonymous,
            parameters: None,
            command: RequestCommand::Bind,
        };
        for (at, taken) in [([127, 0, 0, 1], false), ([127, 0, 0, 4], true)] {
            let mut search = ListenerSearch::new(Peers::Any(
                Route { source: Some(at.into()), mark: None },
                Way::default(),
            ));
            let found = search.go_on(&mut 2, Err(Errno::ENOTCONN), None, CongestionControl::default());
            let listener = found.unwrap().unwrap();
            let _peer = TcpStream::connect(listener.address().unwrap()).unwrap();
            let (route, peers) = (search.route(), search.peers);
            let mut listening = Listening { listener, peers, route, retry_at: None };
            let came = listening.accept(&policy, &subject, None, Instant::now());
            assert_eq!(matches!(came, Came::Peer(..)), taken, "{at:?}");
        }
    }

    #[test]
    fn a_listener_is_at_the_source_of_its_route() {
        let source = |text: &str| Route { source: Some(text.parse().unwrap()), mark: None };
        let here = Ok("127.0.0.1:1080".parse().unwrap());
        let at = |peers, tries: usize| {
            let mut tries = tries;
            let found =
                ListenerSearch::new(peers).go_on(&mut tries, here, None, CongestionControl::default());
            found.unwrap().map(|listener| listener.address().unwrap().ip().to_string())
        };
        assert_eq!(at(Peers::Any(source("127.0.0.4"), Way::default()), 2), Ok("127.0.0.4".to_owned()));
        let peers = [("::1", 1), ("127.0.0.5", 2), ("127.0.0.6", 3)];
        let peers = peers.map(|(text, last)| towards([127, 0, 5, last], source(text)));
        assert_eq!(at(Peers::Only(peers.to_vec()), 3), Ok("127.0.0.5".to_owned()));
        assert_eq!(at(Peers::Only(peers[..1].to_vec()), 3), Err(DialError::NetworkUnreachable));
    }
}
