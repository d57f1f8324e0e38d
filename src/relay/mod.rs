//! The data plane: a [`Relay`] for each TCP session, and the datagrams of associations ([`datagram`]).
//!
//! It moves bytes and returns counts; it knows no slab, no timer, no clock and no log. The memory and the pipes
//! that it needs for a moment are lent by the worker's [`Kit`] and go back as soon as nothing is pending.

mod budget;
pub mod datagram;
mod driven;
mod exchange;
mod framed;
mod gear;
mod half;
mod halves;
mod kit;
mod message;
mod moved;
#[cfg(test)]
mod scripted;
mod sealed;
mod side;
#[cfg(test)]
mod tests;
mod tls;
mod translated;
mod wire;

pub use budget::{Budget, Budgets, Resume};
pub use driven::{Driven, Finish};
pub use exchange::{ExchangeLeft, RelayedExchange, TlsParts};
pub use kit::{Kit, NoPipe};
pub use message::MessageError;
pub use moved::{Engine, Moved};
pub use side::{Edge, Side};

use std::fmt;

use self::halves::Halves;
use self::sealed::Sealed;
use self::tls::TlsWire;
use self::translated::{TranslatedHalves, Translation};
use crate::config::RelayMode;
use crate::limits;
use crate::proto::http::ForwardRequest;
use crate::seal::Seal;
use crate::sys::pipe::Pipe;
use crate::sys::stream::Stream;
use crate::tls::TlsConnection;

/// The relay of one TCP session. What it is lent must be given back before it is dropped ([`Relay::release`]).
#[derive(Debug)]
pub struct Relay(Mover);

/// What moves the bytes.
#[derive(Debug)]
enum Mover {
    /// A half for each direction, over the sockets as they are.
    Plain(Halves),
    /// A half for each direction, behind a seal (RFC 1961 section 5).
    Sealed(Box<TranslatedHalves<Sealed>>),
    /// A half for each direction, behind TLS.
    Tls(Box<TranslatedHalves<TlsWire>>),
    /// A half for each message of a request and its response (RFC 9112).
    Exchange(Box<RelayedExchange>),
}

impl Relay {
    /// A relay whose client sent `pending` behind its request.
    pub fn new(mode: RelayMode, pending: &[u8], kit: &mut Kit<Pipe>) -> Relay {
        Relay(Mover::Plain(Halves::new(mode, pending, kit)))
    }

    /// A relay whose client's side is sealed (RFC 1961 section 5). `pending` was opened already, `begun` is not.
    pub fn sealed(pending: &[u8], seal: Box<Seal>, begun: Vec<u8>, kit: &mut Kit<Pipe>) -> Relay {
        Relay(Mover::Sealed(Box::new(TranslatedHalves::new(pending, Sealed::new(seal, begun), kit))))
    }

    /// A relay whose client's side is TLS. `pending` was opened already, `begun` is not.
    pub fn tls(pending: &[u8], connection: Box<TlsConnection>, begun: Vec<u8>, kit: &mut Kit<Pipe>) -> Relay {
        Relay(Mover::Tls(Box::new(TranslatedHalves::new(pending, TlsWire::new(connection, begun), kit))))
    }

    /// The same, where so many bytes in front of what was pending are not the client's: they are written as its own are, and
    /// counted nowhere.
    #[must_use]
    pub fn prefaced(mut self, bytes: usize) -> Relay {
        match &mut self.0 {
            Mover::Plain(halves) => halves.preface(bytes),
            Mover::Sealed(sealed) => sealed.preface(bytes),
            Mover::Tls(tls) => tls.preface(bytes),
            Mover::Exchange(exchange) => exchange.preface(bytes),
        }
        self
    }

    /// The same, where so many bytes of a client that speaks in the clear went to the target before there was a relay.
    pub fn behind(mut self, bytes: usize) -> Relay {
        if let Mover::Plain(halves) = &mut self.0 {
            halves.begin_behind(bytes);
        }
        self
    }

    /// One request of HTTP, behind whose head the client sent `pending`, and its response. `header` stands in front of the
    /// request, as what [`Relay::prefaced`] says. `pending` was opened already, where the client's side is TLS.
    pub fn exchange(
        mode: RelayMode,
        order: Box<ForwardRequest>,
        header: &[u8],
        pending: Vec<u8>,
        tls: Option<TlsParts>,
        kit: &mut Kit<Pipe>,
    ) -> Relay {
        let exchange = RelayedExchange::new(mode, order, header, pending, tls, kit);
        Relay(Mover::Exchange(Box::new(exchange))).prefaced(header.len())
    }

    /// The exchange that it is, if it is one.
    pub fn as_exchange(&mut self) -> Option<&mut RelayedExchange> {
        match &mut self.0 {
            Mover::Plain(_) | Mover::Sealed(_) | Mover::Tls(_) => None,
            Mover::Exchange(exchange) => Some(exchange),
        }
    }

    /// The same, where nothing else is to become of the relay.
    pub fn into_exchange(self) -> Option<RelayedExchange> {
        match self.0 {
            Mover::Plain(_) | Mover::Sealed(_) | Mover::Tls(_) => None,
            Mover::Exchange(exchange) => Some(*exchange),
        }
    }

    /// An event of one side's socket.
    pub fn event(&mut self, side: Side, edge: Edge) {
        match &mut self.0 {
            Mover::Plain(halves) => halves.event(side, edge),
            Mover::Sealed(sealed) => sealed.event(side, edge),
            Mover::Tls(tls) => tls.event(side, edge),
            Mover::Exchange(exchange) => exchange.event(side, edge),
        }
    }

    /// Moves what can be moved in both directions, as far as the budgets reach.
    pub fn drive(
        &mut self,
        client: &Stream,
        target: &Stream,
        kit: &mut Kit<Pipe>,
        budgets: &mut Budgets,
    ) -> Driven {
        match &mut self.0 {
            Mover::Plain(halves) => halves.drive_plain(client, target, kit, budgets),
            Mover::Sealed(sealed) => sealed.drive(client, target, kit, budgets),
            Mover::Tls(tls) => tls.drive(client, target, kit, budgets),
            Mover::Exchange(exchange) => exchange.drive(client, target, kit, budgets),
        }
    }

    /// Why a client whose side is translated cannot be understood, or answered, any more, and whether it was told so.
    pub fn untranslated(&self) -> Option<(&dyn fmt::Display, bool)> {
        match &self.0 {
            Mover::Plain(_) => None,
            Mover::Exchange(exchange) => exchange.tls().and_then(untranslated),
            Mover::Sealed(sealed) => untranslated(sealed.translation()),
            Mover::Tls(tls) => untranslated(tls.translation()),
        }
    }

    /// Bytes of this side that the other has, without what a seal adds.
    pub fn bytes(&self, from: Side) -> u64 {
        match &self.0 {
            Mover::Plain(halves) => halves.bytes(from),
            Mover::Sealed(sealed) => sealed.bytes(from),
            Mover::Tls(tls) => tls.bytes(from),
            Mover::Exchange(exchange) => exchange.bytes(from),
        }
    }

    /// Bytes for this side that it does not have: read, and of a sealed message that is not whole, too.
    pub fn pending_bytes(&self, to: Side) -> usize {
        match &self.0 {
            Mover::Plain(halves) => halves.pending_bytes(to),
            Mover::Sealed(sealed) => sealed.pending_bytes(to),
            Mover::Tls(tls) => tls.pending_bytes(to),
            Mover::Exchange(exchange) => exchange.pending_bytes(to),
        }
    }

    /// Whether either direction has ended: the half-close time limit holds, not the idle one.
    pub fn half_closed(&self) -> bool {
        match &self.0 {
            Mover::Plain(halves) => halves.half_closed(),
            Mover::Sealed(sealed) => sealed.half_closed(),
            Mover::Tls(tls) => tls.half_closed(),
            Mover::Exchange(exchange) => exchange.half_closed(),
        }
    }

    /// Whether the target has not ended its direction: what closes now closes its connection first.
    pub fn target_still_open(&self) -> bool {
        match &self.0 {
            Mover::Plain(halves) => halves.target_still_open(),
            Mover::Sealed(sealed) => sealed.target_still_open(),
            Mover::Tls(tls) => tls.target_still_open(),
            Mover::Exchange(exchange) => exchange.target_still_open(),
        }
    }

    /// Whether something could be moved without an event: a budget held it back.
    pub fn ready(&self) -> bool {
        match &self.0 {
            Mover::Plain(halves) => halves.ready(),
            Mover::Sealed(sealed) => sealed.ready(),
            Mover::Tls(tls) => tls.ready(),
            Mover::Exchange(exchange) => exchange.ready(),
        }
    }

    /// Whether something that comes from this side could be moved without an event.
    pub fn ready_from(&self, side: Side) -> bool {
        match &self.0 {
            Mover::Plain(halves) => halves.ready_from(side),
            Mover::Sealed(sealed) => sealed.ready_from(side),
            Mover::Tls(tls) => tls.ready_from(side),
            Mover::Exchange(exchange) => exchange.ready_from(side),
        }
    }

    /// The engine that the session's record names.
    pub fn engine(&self) -> Engine {
        match &self.0 {
            Mover::Plain(halves) => halves.engine(),
            Mover::Sealed(_) => Sealed::ENGINE,
            Mover::Tls(_) => TlsWire::ENGINE,
            Mover::Exchange(exchange) => exchange.engine(),
        }
    }

    /// Gives everything lent back.
    pub fn release(&mut self, kit: &mut Kit<Pipe>) {
        match &mut self.0 {
            Mover::Plain(halves) => halves.release(kit),
            Mover::Sealed(sealed) => sealed.release(kit),
            Mover::Tls(tls) => tls.release(kit),
            Mover::Exchange(exchange) => exchange.release(kit),
        }
    }
}

fn untranslated(translation: &impl Translation) -> Option<(&dyn fmt::Display, bool)> {
    translation.error().map(|error| (error, translation.told()))
}

// What a variant needs beyond two halves it keeps in a box of its own.
const _: () = assert!(size_of::<Relay>() <= 2 * limits::HALF_BYTES_MAX);
