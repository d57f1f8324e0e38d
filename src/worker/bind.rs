//! BIND: a listener for one peer. It lives in the handshake of its session and is gone, its port with it, as soon as
//! the peer is there, the time is up or the client has left.

use super::accept::ends_one_connection;
use super::core::Core;
use super::dial::{dial_error, interests};
use super::handshake::Next;
use super::slot::{Fate, Phase, Slot, Waits};
use super::tokens::{Key, Source};
use crate::config::PortRange;
use crate::limits;
use crate::observe::Counted;
use crate::policy::guard::Guard;
use crate::session::{DialError, Input, Peers};
use crate::sys::listener::Listener;
use crate::sys::machine::source_towards;
use crate::sys::stream::Stream;
use crate::sys::{Errno, errno_of};
use mio::Interest;
use mio::unix::SourceFd;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Instant;

/// The port of a session's key that stands for its listener, and the one for the peer that came.
const LISTENER_PORT: u8 = 1;
const PEER_PORT: u8 = 2;

/// A listener that waits for its peer.
#[derive(Debug)]
pub(super) struct Listening {
    listener: Listener,
    peers: Peers,
    /// When to look into its queue without an event: an edge that met EMFILE gives no second one.
    retry_at: Option<Instant>,
}

/// What stood first in the queue of a listener.
enum Came {
    Peer(Stream, SocketAddr),
    /// Nobody who was asked for; reset.
    Foreign(SocketAddr),
    /// A connection that had ended already.
    Ended,
    Nobody,
}

impl Listening {
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    fn accept(&mut self, guard: &Guard, now: Instant) -> Came {
        match self.listener.accept() {
            Ok((stream, peer)) if self.welcomes(&stream, peer, guard) => Came::Peer(stream, peer),
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
    fn welcomes(&self, stream: &Stream, peer: SocketAddr, guard: &Guard) -> bool {
        let peer = canonical(peer);
        let expected = match &self.peers {
            Peers::Any => true,
            Peers::Only(list) => list.iter().any(|one| one.ip() == peer.ip()),
        };
        // Who comes from the very address that he reached is on this machine, whatever the guard's list says.
        let from_here =
            || stream.local_address().is_ok_and(|here| here.ip().to_canonical() == peer.ip().to_canonical());
        expected && guard.check(peer).is_ok() && (!from_here() || guard.check_same_host(peer).is_ok())
    }
}

impl Core {
    /// Opens the listener and tells the session where peers reach it.
    pub(super) fn bind(&mut self, key: Key, slot: &mut Slot, peers: Peers) -> Next {
        let opened = self.listen(key, slot, peers);
        let limit = self.config.timeouts.bind;
        match opened {
            Ok((listening, local)) => {
                slot.local = Some(local);
                let advertised = self.config.bind.advertise.instead_of(local.ip());
                self.enter(slot, limit, Waits::Peer(Box::new(listening)));
                Next::Tell(Input::Bound(Ok(SocketAddr::new(advertised, local.port()))))
            }
            Err(error) => {
                if error == DialError::NoLocalPort {
                    self.counters.count(Counted::NoLocalPort);
                }
                self.enter(slot, limit, Waits::Bytes);
                Next::Input(Input::Bound(Err(error)))
            }
        }
    }

    /// Somebody connected to the listener, or it is time to look again.
    pub(super) fn accept_peer(&mut self, key: Key, slot: &mut Slot) -> Fate {
        let Phase::Handshake(handshake) = &mut slot.phase else { return Fate::Keep };
        let Waits::Peer(listening) = &mut handshake.waits_for else { return Fate::Keep };
        listening.retry_at = None;
        for _ in 0..limits::BIND_ACCEPTS_PER_TURN {
            match listening.accept(&self.rules.guard, self.now) {
                Came::Peer(stream, peer) => return self.meet(key, slot, stream, peer),
                Came::Foreign(peer) => {
                    tracing::debug!(client = %slot.peer, %peer, "a peer that was not asked for is reset");
                    self.counters.count(Counted::ForeignPeer);
                }
                Came::Ended => {}
                Came::Nobody => return self.advance(key, slot, Next::Wait),
            }
        }
        // Others get their turn first, but no timer's tick: strangers must not fill the queue that the peer is to enter.
        self.enqueue(key, slot);
        self.advance(key, slot, Next::Wait)
    }

    /// The peer is there: the listener goes, and the rest is what it is for a target that was dialled.
    fn meet(&mut self, key: Key, slot: &mut Slot, stream: Stream, peer: SocketAddr) -> Fate {
        if let Phase::Handshake(handshake) = &mut slot.phase {
            handshake.waits_for = Waits::Bytes;
        }
        let token = Source::Session { key, port: PEER_PORT }.token();
        let result = match self.registry.register(&mut SourceFd(&stream.as_raw_fd()), token, interests()) {
            Ok(()) => {
                slot.upstream = Some(stream);
                slot.upstream_port = PEER_PORT;
                slot.address = Some(canonical(peer));
                Ok(peer)
            }
            Err(error) => Err(local_error(&error)),
        };
        self.advance(key, slot, Next::Input(Input::Accepted(result)))
    }

    /// A listener that one of the peers can reach, and its own address.
    fn listen(&self, key: Key, slot: &Slot, peers: Peers) -> Result<(Listening, SocketAddr), DialError> {
        let (listener, local) = match (&peers, &slot.client) {
            (Peers::Only(list), _) => self.listen_for(list)?,
            // Where the client reached us others may, too.
            (Peers::Any, Some(client)) => {
                let here = client.local_address().map_err(dial_error)?;
                self.open(here, here.ip())?
            }
            (Peers::Any, None) => return Err(dial_error(Errno::ENOTCONN)),
        };
        let token = Source::Session { key, port: LISTENER_PORT }.token();
        let watched = self.registry.register(&mut SourceFd(&listener.as_raw_fd()), token, Interest::READABLE);
        watched.map_err(|error| local_error(&error))?;
        Ok((Listening { listener, peers, retry_at: None }, local))
    }

    /// Listens on the address from which the first of these that can be reached would be dialled.
    fn listen_for(&self, peers: &[SocketAddr]) -> Result<(Listener, SocketAddr), DialError> {
        let mut gravest = DialError::Local(0);
        for &peer in peers {
            let source = source_towards(peer).map_err(dial_error);
            match source.and_then(|source| self.open(source, peer.ip())) {
                Ok(opened) => return Ok(opened),
                Err(error) if error.weight() >= gravest.weight() => gravest = error,
                Err(_) => {}
            }
        }
        Err(gravest)
    }

    /// Listens at this address, on one of the configured ports or on one that the kernel picks.
    fn open(&self, at: SocketAddr, peer: IpAddr) -> Result<(Listener, SocketAddr), DialError> {
        let congestion = self.congestion.at(peer);
        let listener = open_free(at, self.config.bind.ports, |at| {
            Listener::open_alone(at, limits::BIND_BACKLOG, congestion)
        })?;
        let local = listener.address().map_err(|error| local_error(&error))?;
        Ok((listener, local))
    }
}

/// Opens what is to be at this address, canonical, on a port of the range, from a random one on, or on one that the
/// kernel picks.
pub(super) fn open_free<T>(
    at: SocketAddr,
    ports: Option<PortRange>,
    open: impl Fn(SocketAddr) -> Result<T, Errno>,
) -> Result<T, DialError> {
    let at = canonical(at);
    let first_free = |ports: &mut dyn Iterator<Item = u16>| {
        for port in ports {
            let mut at = at;
            at.set_port(port);
            match open(at) {
                Ok(opened) => return Ok(opened),
                Err(Errno::EADDRINUSE) => {}
                Err(errno) => return Err(DialError::Local(errno as i32)),
            }
        }
        Err(DialError::NoLocalPort)
    };
    match ports {
        Some(range) => first_free(&mut range.from(rand::random()).take(limits::PORT_TRIES_MAX)),
        None => first_free(&mut std::iter::repeat_n(0, limits::KERNEL_PORT_TRIES)),
    }
}

/// An IPv4-mapped address as the IPv4 address that it is; another keeps its scope.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

fn local_error(error: &io::Error) -> DialError {
    DialError::Local(errno_of(error) as i32)
}
