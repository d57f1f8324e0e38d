//! BIND: a listener for one peer. It lives in the handshake of its session and is gone, its port with it, as soon as
//! the peer is there, the time is up or the client has left.

use super::core::Core;
use super::errno::local_error;
use super::listening::{Came, ListenerSearch, Listening};
use super::ports::canonical;
use super::slot::{Fate, Handshake, Next, Phase, Slot, Waits};
use super::tokens::{EventSource, Key};
use super::watch::interests;
use crate::limits;
use crate::observe::Counted;
use crate::proto::request::RequestCommand;
use crate::session::{DialError, Input, Peers};
use crate::sys::listener::Listener;
use crate::sys::stream::Stream;
use mio::Interest;
use mio::unix::SourceFd;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// The socket indices of a session's listener and of the peer that came.
const LISTENER_SOCKET: u8 = 1;
const PEER_SOCKET: u8 = 2;

impl Core {
    /// Looks for a listener; the time for the peer begins.
    pub(super) fn bind(&mut self, slot: &mut Slot, peers: Peers) -> Next {
        let search = Box::new(ListenerSearch::new(peers));
        self.enter(slot, slot.snapshot.config.timeouts.bind, Waits::Listener(search));
        let mut tries = limits::PORT_TRIES_AT_ONCE;
        self.seek_listener(slot, &mut tries)
    }

    /// Opens the listener and tells the session where peers reach it, or goes on in the next turn.
    pub(super) fn seek_listener(&mut self, slot: &mut Slot, tries: &mut usize) -> Next {
        let (Phase::Handshake(handshake), Some(client)) = (&mut slot.phase, &slot.client) else {
            return Next::Wait;
        };
        let Waits::Listener(mut search) = std::mem::replace(&mut handshake.waits_for, Waits::Bytes) else {
            return Next::Wait;
        };
        let here = client.local_address();
        let Some(found) =
            search.go_on(tries, here, slot.snapshot.config.bind.ports, slot.snapshot.congestion)
        else {
            handshake.waits_for = Waits::Listener(search);
            self.searches.push(slot.peer.ip().into(), slot.key);
            return Next::Wait;
        };
        match found.and_then(|listener| self.watch_listener(slot.key, listener, search.peers)) {
            Ok((listening, local)) => {
                handshake.waits_for = Waits::Peer(Box::new(listening));
                slot.local = Some(local);
                let advertised = slot.snapshot.config.bind.advertise.instead_of(local.ip());
                Next::Tell(Input::Bound(Ok(SocketAddr::new(advertised, local.port()))))
            }
            Err(error) => {
                if error == DialError::NoLocalPort {
                    self.counters.count(Counted::NoLocalPort);
                }
                Next::Input(Input::Bound(Err(error)))
            }
        }
    }

    fn watch_listener(
        &self,
        key: Key,
        listener: Listener,
        peers: Peers,
    ) -> Result<(Listening, SocketAddr), DialError> {
        let local = listener.address().map_err(|error| local_error(&error))?;
        let token = EventSource::Session { key, socket_index: LISTENER_SOCKET }.token();
        let watched = self.registry.register(&mut SourceFd(&listener.as_raw_fd()), token, Interest::READABLE);
        watched.map_err(|error| local_error(&error))?;
        Ok((Listening { listener, peers, retry_at: None }, local))
    }

    /// Somebody connected to the listener, or it is time to look again.
    pub(super) fn accept_peer(&mut self, slot: &mut Slot) -> Fate {
        let Phase::Handshake(handshake) = &mut slot.phase else { return Fate::Keep };
        let Handshake { session, waits_for: Waits::Peer(listening), .. } = &mut **handshake else {
            return Fate::Keep;
        };
        let subject = session.subject(RequestCommand::Bind);
        listening.retry_at = None;
        for _ in 0..limits::BIND_ACCEPTS_PER_TURN {
            match listening.accept(&self.rules.policy, &subject, self.now) {
                Came::Peer(stream, peer) => return self.meet(slot, stream, peer),
                Came::Foreign(peer) => {
                    tracing::debug!(client = %slot.peer, %peer, "a peer that was not asked for is reset");
                    self.counters.count(Counted::ForeignPeer);
                }
                Came::Ended => {}
                Came::Nobody => return self.advance(slot, Next::Wait),
            }
        }
        // Others get their turn first, but no timer's tick: strangers must not fill the queue that the peer is to enter.
        self.enqueue(slot);
        self.advance(slot, Next::Wait)
    }

    /// The peer is there: the listener goes, and the rest is what it is for a target that was dialled.
    fn meet(&mut self, slot: &mut Slot, stream: Stream, peer: SocketAddr) -> Fate {
        if let Phase::Handshake(handshake) = &mut slot.phase {
            handshake.waits_for = Waits::Bytes;
        }
        let token = EventSource::Session { key: slot.key, socket_index: PEER_SOCKET }.token();
        let result = match self.registry.register(&mut SourceFd(&stream.as_raw_fd()), token, interests()) {
            Ok(()) => {
                slot.upstream = Some(stream);
                slot.upstream_index = PEER_SOCKET;
                slot.address = Some(canonical(peer));
                Ok(peer)
            }
            Err(error) => Err(local_error(&error)),
        };
        self.advance(slot, Next::Input(Input::Accepted(result)))
    }
}
