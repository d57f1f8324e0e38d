//! BIND: a listener for one peer. It lives in the handshake of its session and is gone, its port with it, as soon as
//! the peer is there, the time is up or the client has left.

use std::net::SocketAddr;

use super::connection::Connection;
use super::core::Core;
use super::dial::Upstream;
use super::errno::local_error;
use super::handshake::{Handshake, Waits};
use super::leaving::{pool_by, pools_towards};
use super::limited;
use super::listening::{Came, ListenerSearch, Listening};
use super::next::Next;
use super::ports::canonical;
use super::watch::{watch_listener, watch_stream};
use crate::limits;
use crate::observe::{Counted, DenialCause};
use crate::proto::request::RequestCommand;
use crate::relay::Engine;
use crate::session::{AcceptedPeer, DialError, Input, Peers};
use crate::sys::listener::Listener;
use crate::sys::stream::Stream;

/// The socket indices of a session's listener and of the peer that came.
const LISTENER_SOCKET: u8 = 1;
const PEER_SOCKET: u8 = 2;

impl Handshake {
    /// Looks for a listener; the time for the peer begins.
    pub(super) fn bind(&mut self, core: &mut Core, connection: &mut Connection, peers: Peers) -> Next {
        let (facts, client) = (self.session.facts(), &self.client.socket);
        let pools = match &peers {
            Peers::Only(list) => pools_towards(core, connection, facts, client, list),
            Peers::Any(_, way) => pool_by(core, connection, facts, client, *way).into_iter().collect(),
        };
        let search = Box::new(ListenerSearch::new(peers, pools));
        self.begin_limit(core, connection, connection.snapshot.config.timeouts.bind);
        // Whatever came before it: a listener is for nobody who has sent his FIN.
        if self.edges.fin {
            self.begin_grace(core);
        }
        let mut tries = limits::PORT_TRIES_AT_ONCE;
        self.seek_listener(core, connection, search, &mut tries)
    }

    /// Opens the listener and tells the session where peers reach it, or goes on in the next turn.
    pub(super) fn seek_listener(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        mut search: Box<ListenerSearch>,
        tries: &mut usize,
    ) -> Next {
        let here = self.client.socket.local_address();
        let snapshot = &connection.snapshot;
        let by = (snapshot.congestion, core.now);
        let Some(found) = search.go_on(tries, here, snapshot.config.bind.ports, by) else {
            self.waits_for = Waits::Listener(search);
            core.searches.push(connection.peer.ip().into(), connection.key);
            return self.wait(core, connection);
        };
        let left = found.as_ref().ok().and_then(|_| search.left());
        match found.and_then(|listener| listen(core, connection, listener, *search)) {
            Ok((listening, local)) => {
                connection.left = left;
                self.waits_for = Waits::Peer(Box::new(listening));
                connection.local = Some(local);
                let advertised = connection.snapshot.config.bind.advertise.instead_of(local.ip());
                Next::Tell(Input::Bound(Ok(SocketAddr::new(advertised, local.port()))))
            }
            Err(error) => {
                if error == DialError::NoLocalPort {
                    core.counters.count(Counted::NoLocalPort);
                }
                Next::Answer(Input::Bound(Err(error)))
            }
        }
    }

    /// Somebody connected to the listener, or it is time to look again.
    pub(super) fn accept_peer(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        mut listening: Box<Listening>,
    ) -> Next {
        let (subject, name) = (self.session.subject(RequestCommand::Bind), self.session.facts().name());
        listening.retry_at = None;
        for _ in 0..limits::BIND_ACCEPTS_PER_TURN {
            match listening.accept(&core.policy, &subject, name, core.now) {
                Came::Peer(stream, peer, decision) => {
                    if let Some(failure) = limited::enter_for_peer(core, connection, &subject, &decision) {
                        stream.reset_on_close();
                        return self.give_up(connection, failure);
                    }
                    connection.left.iter_mut().for_each(|left| left.met(peer.ip(), core.now));
                    // The listener goes, and the rest is what it is for a target that was dialled.
                    drop(listening);
                    return self.meet(core, connection, stream, AcceptedPeer { peer, decision });
                }
                Came::Foreign(peer, decision) => {
                    decision.iter().for_each(|decision| core.note_decision(decision));
                    tracing::debug!(client = %connection.peer, %peer, "a peer that was not asked for is reset");
                    core.counters.count(Counted::ForeignPeer);
                    core.counters.count(Counted::Denied(DenialCause::ForeignPeer));
                }
                Came::Ended => {}
                Came::Nobody => {
                    self.waits_for = Waits::Peer(listening);
                    return self.wait(core, connection);
                }
            }
        }
        // Others get their turn first, but no timer's tick: strangers must not fill the queue that the peer is to enter.
        self.waits_for = Waits::Peer(listening);
        core.enqueue(connection);
        self.wait(core, connection)
    }

    fn meet(&mut self, core: &Core, connection: &mut Connection, stream: Stream, came: AcceptedPeer) -> Next {
        match watch_stream(&core.registry, connection.key, PEER_SOCKET, &stream) {
            Ok(()) => {
                connection.address = Some(canonical(came.peer));
                connection.engine = Some(Engine::Copy);
                self.waits_for = Waits::Connected(Upstream { stream, socket_index: PEER_SOCKET });
                Next::Tell(Input::Accepted(Ok(came)))
            }
            Err(error) => Next::Answer(Input::Accepted(Err(local_error(&error)))),
        }
    }
}

fn listen(
    core: &Core,
    connection: &Connection,
    listener: Listener,
    search: ListenerSearch,
) -> Result<(Listening, SocketAddr), DialError> {
    let local = listener.address().map_err(|error| local_error(&error))?;
    let watched = watch_listener(&core.registry, connection.key, LISTENER_SOCKET, &listener);
    watched.map_err(|error| local_error(&error))?;
    let ((route, way), peers) = (search.found(), search.peers);
    Ok((Listening { listener, peers, route, way, retry_at: None }, local))
}
