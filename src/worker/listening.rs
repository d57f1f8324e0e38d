//! A listener for the peers of one session: looked for on the addresses from which they would be dialled, and what comes
//! to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use super::errno::{dial_error, ends_one_connection};
use super::left::{Left, outcome_of};
use super::ports::{PortSearch, canonical};
use crate::config::PortRange;
use crate::limits;
use crate::outbound::OutboundOptions;
use crate::policy::egress::SessionPool;
use crate::policy::egress::health::Outcome;
use crate::policy::{Decision, Object, Policy, Route, RoutedAddress, Subject, Verdict, Way};
use crate::proto::address::Name;
use crate::session::{DialError, Peers};
use crate::sys::Errno;
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::Listener;
use crate::sys::machine::source_towards;
use crate::sys::stream::Stream;

/// A listener that waits for its peer.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listener: Listener,
    pub(super) peers: Peers,
    /// By which route its connections leave.
    pub(super) route: Route,
    /// By which way they do.
    pub(super) way: Way,
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
            Verdict::Allow(wanted) if wanted.is_met_by(&self.route, self.way) => Ok(wanted.decision),
            Verdict::Allow(_) => Err(None),
            Verdict::Deny(_, decision) => Err(Some(decision)),
        }
    }
}

/// A listener that is looked for: on the addresses from which its peers would be dialled, each of them once.
#[derive(Debug)]
pub(super) struct ListenerSearch {
    pub(super) peers: Peers,
    /// The pools that connections to peers would leave from, as far as they would.
    pools: Vec<SessionPool>,
    /// How many peers' routes were asked for.
    asked: usize,
    /// Further addresses of ours towards the last of them, the next one last.
    further: Vec<Towards>,
    /// Our own addresses towards them, their ports zero, with what else the routes have.
    sources: Vec<(SocketAddr, Option<u32>, Way)>,
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
    /// The way, whose pool has the address.
    way: Way,
}

impl ListenerSearch {
    pub(super) fn new(peers: Peers, pools: Vec<SessionPool>) -> ListenerSearch {
        ListenerSearch {
            peers,
            pools,
            asked: 0,
            further: Vec::new(),
            sources: Vec::new(),
            search: None,
            gravest: DialError::Local(0),
        }
    }

    /// A listener that one of the peers can reach; `None` where `tries` is used up before that is known. `here` is where
    /// the client reached us. The ports of a pool go before those of the configuration.
    pub(super) fn go_on(
        &mut self,
        tries: &mut usize,
        here: Result<SocketAddr, Errno>,
        ports: Option<PortRange>,
        (congestion, now): (CongestionControl, Instant),
    ) -> Option<Result<Listener, DialError>> {
        loop {
            if let Some((towards, ports)) = &mut self.search {
                let pool = self.pools.iter().find(|pool| Some(pool.id()) == towards.way.egress);
                let of_pool = pool.and_then(|pool| pool.pool()).map(|pool| pool.options());
                let by_mark = OutboundOptions { mark: towards.mark, ..OutboundOptions::default() };
                let (algorithm, options) = (congestion.at(towards.peer), of_pool.unwrap_or(&by_mark));
                let open = |at| Listener::open_alone(at, limits::BIND_BACKLOG, algorithm, options);
                match ports.go_on(tries, open)? {
                    Ok(listener) => return Some(Ok(listener)),
                    Err(error) => {
                        if let (Some(pool), Some(outcome @ Outcome::AddressMissing)) =
                            (pool, outcome_of(error))
                        {
                            pool.note(towards.source.ip(), towards.peer, outcome, now);
                        }
                        self.note(error);
                    }
                }
                self.search = None;
            }
            *tries = tries.checked_sub(1)?;
            match self.next_source(here, now) {
                Some(Ok(towards)) => {
                    let mut source = canonical(towards.source);
                    source.set_port(0);
                    let this = (source, towards.mark, towards.way);
                    if !self.sources.contains(&this) {
                        self.sources.push(this);
                        let ports = self.slice(towards.way).or(ports);
                        self.search = Some((towards, PortSearch::new(source, ports)));
                    }
                }
                Some(Err(error)) => self.note(error),
                None => return Some(Err(self.gravest)),
            }
        }
    }

    /// The next of our addresses towards a peer.
    fn next_source(
        &mut self,
        here: Result<SocketAddr, Errno>,
        now: Instant,
    ) -> Option<Result<Towards, DialError>> {
        if let Some(further) = self.further.pop() {
            return Some(Ok(further));
        }
        let asked = self.asked;
        self.asked += 1;
        let (address, route, way) = match &self.peers {
            Peers::Only(list) => {
                let RoutedAddress { address, allowed } = *list.get(asked)?;
                (Ok(address), allowed.route, allowed.way)
            }
            // Where the client reached us others may, too.
            Peers::Any(route, way) if asked == 0 => (here, *route, *way),
            Peers::Any(..) => return None,
        };
        if way.egress.is_some() {
            return Some(self.next_of_pool(address.map(|address| address.ip()), way, now));
        }
        let source = match (&self.peers, route.source) {
            (Peers::Only(_), _) if !address.is_ok_and(|address| route.serves(address.ip())) => {
                Err(Errno::ENETUNREACH)
            }
            (_, Some(source)) => Ok(SocketAddr::new(source, 0)),
            (Peers::Only(_), None) => address.and_then(|address| source_towards(address, route.mark)),
            (Peers::Any(..), None) => address,
        };
        let peer = |source: SocketAddr| match &self.peers {
            Peers::Only(_) => address.map_or(source.ip(), |address| address.ip()),
            Peers::Any(..) => source.ip(),
        };
        let towards = source.map(|source| Towards { peer: peer(source), source, mark: route.mark, way });
        Some(towards.map_err(dial_error))
    }

    /// The first address of a pool towards a peer, or towards anybody: of the family in which the client reached us, or else
    /// of the other. The further ones are kept.
    fn next_of_pool(
        &mut self,
        peer: Result<IpAddr, Errno>,
        way: Way,
        now: Instant,
    ) -> Result<Towards, DialError> {
        let pool = self.pools.iter().find(|pool| Some(pool.id()) == way.egress).ok_or(DialError::Local(0))?;
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ip| ip.to_canonical());
        let other = match (&self.peers, peer) {
            (Peers::Only(_), _) => None,
            (Peers::Any(..), IpAddr::V4(_)) => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            (Peers::Any(..), IpAddr::V6(_)) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        };
        let families = std::iter::once(peer).chain(other);
        let of = |ip| pool.sources_for_any(ip, now).map(move |source| (ip, source));
        let towards = families.flat_map(of).map(|(peer, source)| Towards {
            peer,
            source: SocketAddr::new(source, 0),
            mark: None,
            way,
        });
        self.further = towards.collect();
        self.further.reverse();
        self.further.pop().ok_or(DialError::OtherFamily { by_name: false })
    }

    /// The ports of the pool of a way, where it has some of its own.
    fn slice(&self, way: Way) -> Option<PortRange> {
        let pool = self.pools.iter().find(|pool| Some(pool.id()) == way.egress)?;
        let ports = pool.pool()?.options().ports.clone()?;
        PortRange::new(*ports.start(), *ports.end())
    }

    /// By which route and way connections of the listener leave that was found.
    pub(super) fn found(&self) -> (Route, Way) {
        let towards = self.search.as_ref().map(|(towards, _)| towards);
        let route = Route {
            source: towards.map(|towards| towards.source.ip()),
            mark: towards.and_then(|towards| towards.mark),
        };
        (route, towards.map(|towards| towards.way).unwrap_or_default())
    }

    /// What the listener that was found has of its pool.
    pub(super) fn left(&self) -> Option<Box<Left>> {
        let (towards, _) = self.search.as_ref()?;
        let pool = self.pools.iter().find(|pool| Some(pool.id()) == towards.way.egress)?;
        Some(Box::new(Left::for_any(pool, towards.source.ip())))
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

    fn by_default() -> (CongestionControl, Instant) {
        (CongestionControl::default(), Instant::now())
    }

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
        let mut search = ListenerSearch::new(Peers::Only(peers), Vec::new());
        let ports = PortRange::new(port, port);
        let mut tries = 1_000;
        let outcome = search.go_on(&mut tries, Err(Errno::ENOTCONN), ports, by_default());
        assert_eq!(outcome.map(Result::err), Some(Some(DialError::NoLocalPort)));
        assert_eq!(1_000 - tries, 32 + 1 + 1, "each route, the one port, and the end of the list");
    }

    #[test]
    fn a_search_for_anybody_tries_where_the_client_reached_us() {
        let here = Ok("[::ffff:127.0.0.1]:1080".parse().unwrap());
        let mut search = ListenerSearch::new(Peers::Any(Route::default(), Way::default()), Vec::new());
        assert!(search.go_on(&mut 0, here, None, by_default()).is_none());
        let found = search.go_on(&mut 2, here, None, by_default());
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
            let mut search = ListenerSearch::new(
                Peers::Any(Route { source: Some(at.into()), mark: None }, Way::default()),
                Vec::new(),
            );
            let found = search.go_on(&mut 2, Err(Errno::ENOTCONN), None, by_default());
            let listener = found.unwrap().unwrap();
            let _peer = TcpStream::connect(listener.address().unwrap()).unwrap();
            let ((route, way), peers) = (search.found(), search.peers);
            let mut listening = Listening { listener, peers, route, way, retry_at: None };
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
            let found = ListenerSearch::new(peers, Vec::new()).go_on(&mut tries, here, None, by_default());
            found.unwrap().map(|listener| listener.address().unwrap().ip().to_string())
        };
        assert_eq!(at(Peers::Any(source("127.0.0.4"), Way::default()), 2), Ok("127.0.0.4".to_owned()));
        let peers = [("::1", 1), ("127.0.0.5", 2), ("127.0.0.6", 3)];
        let peers = peers.map(|(text, last)| towards([127, 0, 5, last], source(text)));
        assert_eq!(at(Peers::Only(peers.to_vec()), 3), Ok("127.0.0.5".to_owned()));
        assert_eq!(at(Peers::Only(peers[..1].to_vec()), 3), Err(DialError::NetworkUnreachable));
    }
}
