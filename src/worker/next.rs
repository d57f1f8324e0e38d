//! What a phase says its connection does next.

use zeroize::Zeroizing;

use super::dial::Upstream;
use crate::outcome::Reason;
use crate::proto::http::ForwardRequest;
use crate::relay::datagram::Association;
use crate::relay::{ExchangeLeft, Side};
use crate::session::{Failure, Input};

/// What a connection does next, as its phase says.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing, until an event, an answer or its timer comes.
    Wait,
    /// It ends.
    Close(Reason),
    /// Its handshake reads what the client sent.
    Read,
    /// Its session is given these bytes, which were read before.
    Feed(Zeroizing<Vec<u8>>),
    /// Its session is told this, and waits for nothing else.
    Answer(Input<'static>),
    /// Its session is told this, and its handshake goes on waiting for what it waits for.
    Tell(Input<'static>),
    /// It goes into another phase.
    Change(Change),
}

/// Into which phase a connection goes, with what only the phase before it has.
#[derive(Debug)]
pub(super) enum Change {
    /// From the handshake: bytes are relayed to this upstream.
    Relay(Upstream),
    /// From the handshake: this request goes to this upstream, and its response comes back.
    Exchange(Upstream, Box<ForwardRequest>),
    /// From the exchange, to which nothing came: the request is sent once more, over another connection.
    Redial,
    /// From the redial: over this one.
    ExchangeAgain(Upstream),
    /// From the exchange, or the redial: the client is told of this in place of a response.
    Answer(Failure),
    /// From the exchange: the connection is kept for another request.
    Keep(ExchangeLeft),
    /// From a kept connection: another request begins, with these bytes.
    Request(Zeroizing<Vec<u8>>),
    /// From the handshake: datagrams are relayed.
    Datagrams(Box<Association>),
    /// From the handshake: the client has its last words, and a moment for them to arrive.
    Refuse(Failure),
    /// From the handshake: the client has what it asked for, and a moment for it to arrive.
    Answered,
    /// From the relay: this side is gone, and the other has a moment to take what it is owed.
    Linger { gone: Side, reason: Reason },
}
