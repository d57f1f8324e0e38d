//! Exchanges: requests of HTTP and their responses. Each is a session of its own, in the eyes of policy, limits, records and
//! counts; between two of them a connection is in none of these ([`super::kept`]).

use std::sync::Arc;

use zeroize::Zeroizing;

use super::answerable::Answerable;
use super::connection::Connection;
use super::core::Core;
use super::dial::Upstream;
use super::ending::end_session;
use super::handshake::Handshake;
use super::linger::Linger;
use super::next::{Change, Next};
use super::preface;
use super::proxied::place_of;
use super::redialling::Redialling;
use super::relaying::Relaying;
use super::slot::{Phase, Slot};
use super::watch::Edge;
use crate::limits;
use crate::outcome::Reason;
use crate::proto::http::ForwardRequest;
use crate::relay::{ExchangeLeft, Relay};
use crate::session::{Failure, refuse_exchange};

/// Into which phase an exchange takes its connection, with what the events of the client's socket promised.
pub(super) fn enter(
    core: &mut Core,
    connection: &mut Connection,
    change: Change,
    before: Phase,
) -> Option<(Phase, Edge)> {
    Some(match (change, before) {
        (Change::Exchange(upstream, order), Phase::Handshake(handshake)) => {
            let edges = handshake.edges;
            (Phase::Relaying(begin(core, connection, handshake, upstream, order)), edges)
        }
        (Change::Redial, Phase::Relaying(relaying)) => {
            (Phase::Redialling(Box::new(relaying.redial(core)?)), Edge::default())
        }
        (Change::ExchangeAgain(upstream), Phase::Redialling(redialling)) => {
            let edges = redialling.edges;
            (Phase::Relaying(again(core, connection, *redialling, upstream)), edges)
        }
        (Change::Answer(failure), Phase::Relaying(relaying)) => {
            let client = relaying.answer(core, connection);
            (Phase::Linger(refuse(core, connection, client, &failure)), Edge::default())
        }
        (Change::Answer(failure), Phase::Redialling(redialling)) => {
            let client = redialling.into_client();
            (Phase::Linger(refuse(core, connection, client, &failure)), Edge::default())
        }
        _ => return None,
    })
}

/// The exchange of a request whose session has an upstream.
fn begin(
    core: &mut Core,
    connection: &mut Connection,
    mut handshake: Box<Handshake>,
    upstream: Upstream,
    order: Box<ForwardRequest>,
) -> Relaying {
    let (mode, pending) = (connection.snapshot.config.server.relay, handshake.session.pending().to_vec());
    // A connection that is kept has told its target already.
    let header = if handshake.way.reused {
        None
    } else {
        preface::header(core, connection, handshake.session.facts())
    };
    let (header, tls) = (header.as_deref().unwrap_or_default(), handshake.client.take_tls());
    let relay = Relay::exchange(mode, order, header, pending, tls, &mut core.kit);
    handshake.leave_facts(core, connection);
    Relaying::new(relay, handshake.client.socket, upstream).by(handshake.way)
}

/// The same over another upstream, for a request to which nothing came over the first.
fn again(core: &mut Core, connection: &Connection, redialled: Redialling, upstream: Upstream) -> Relaying {
    let Redialling { mut client, order, behind, way, .. } = redialled;
    let header = preface::header(core, connection, &connection.facts);
    let (mode, header) = (connection.snapshot.config.server.relay, header.unwrap_or_default());
    let relay = Relay::exchange(mode, order, &header, behind, client.take_tls(), &mut core.kit);
    Relaying::new(relay, client.socket, upstream).by(way)
}

/// Tells a client of a failure in place of a response, and gives it a moment to take that.
fn refuse(
    core: &mut Core,
    connection: &mut Connection,
    (mut client, to_head): (Answerable, bool),
    failure: &Failure,
) -> Linger {
    tracing::debug!(client = %connection.peer, %failure, "exchange failed");
    core.tell_refusal(connection.peer.ip(), failure, None);
    connection.places = None;
    let output = refuse_exchange(failure, to_head, &mut connection.facts);
    client.say_last(&output);
    Linger::new(client.socket, failure.reason(), limits::LINGER, core.now)
}

/// The session is over, and its connection waits for another request.
pub(super) fn keep(core: &mut Core, slot: &mut Slot, left: ExchangeLeft) -> Next {
    let Slot { phase, connection } = slot;
    let kept = match std::mem::replace(phase, Phase::Between) {
        Phase::Relaying(relaying) => relaying.keep(core, connection, left),
        _ => None,
    };
    let Some(kept) = kept else { return Next::Close(Reason::Internal) };
    core.kept += 1;
    *phase = Phase::Kept(Box::new(kept));
    core.held_back.cancel(connection.key.index());
    end_session(core, slot, Reason::Completed);
    let Slot { phase: Phase::Kept(kept), connection } = slot else { return Next::Wait };
    kept.keep_left(connection.left.take());
    connection.end_session();
    kept.begin(core, connection)
}

/// Another request comes over a connection: it is a session of its own, and goes by the newest snapshot.
pub(super) fn request_again(core: &mut Core, slot: &mut Slot, bytes: Zeroizing<Vec<u8>>) -> Next {
    let Slot { phase, connection } = slot;
    let snapshot = Arc::clone(&core.snapshot);
    if core.drains || snapshot.listener_name(connection.listener).is_none() {
        return Next::Close(Reason::Drained);
    }
    if connection.place.is_none() {
        match place_of(core, &snapshot, connection.peer) {
            Ok(place) => connection.place = place,
            Err(()) => return Next::Close(Reason::Denied),
        }
    }
    if let Phase::Kept(kept) = phase
        && kept.speaks_tls() != snapshot.tls(connection.listener).is_some()
    {
        // What the listener speaks now is not what this connection speaks.
        return Next::Close(Reason::Drained);
    }
    let kept = match std::mem::replace(phase, Phase::Between) {
        Phase::Kept(kept) => kept,
        other => {
            *phase = other;
            return Next::Close(Reason::Internal);
        }
    };
    let (serial, now_ms) = (core.take_serial(), core.ms(core.now));
    connection.begin_session(serial, snapshot, now_ms);
    let (next, incoming) = (kept.into_request(), connection.incoming());
    let handshake = Handshake::again(next, incoming, core.now, &connection.snapshot);
    core.arm(connection.key, handshake.wake_at());
    *phase = Phase::Handshake(Box::new(handshake));
    core.kept -= 1;
    core.counters.accept();
    Next::Feed(bytes)
}
