//! One request of HTTP and its response, over the halves of a relay (RFC 9112).
//!
//! Each half carries one message and is over with it, so that both sockets can go on to another exchange. A direction that
//! ends before its message does is cut off, and never taken for whole. Where the target goes over to another protocol both
//! halves carry what comes, as those of any relay.

use super::budget::{Budgets, Resume};
use super::driven::{Driven, Finish};
use super::framed::Framed;
use super::half::Stage;
use super::halves::{Halves, IN_ORDER};
use super::kit::{Kit, with_seal_kit};
use super::message::{AnswerTerms, HeadSaid, HttpMessage, MessageError};
use super::moved::Engine;
use super::side::{Edge, Side};
use super::tls::TlsWire;
use super::translated::{TranslatedSide, Translation};
use crate::config::RelayMode;
use crate::proto::http::{ForwardRequest, Framing};
use crate::sys::pipe::Pipe;
use crate::sys::stream::Stream;
use crate::tls::TlsConnection;

/// The halves of an exchange, and the two messages.
#[derive(Debug)]
pub struct RelayedExchange {
    halves: Halves,
    mode: RelayMode,
    /// The client's side, where that is TLS.
    tls: Option<Box<TranslatedSide<TlsWire>>>,
    order: Box<ForwardRequest>,
    request: HttpMessage,
    response: HttpMessage,
    said: Option<HeadSaid>,
    /// Whether the client's connection may be kept.
    keeps: bool,
    /// The client has sent FIN.
    client_finished: bool,
}

/// TLS with a client: the connection, and what has come and is not opened.
pub type TlsParts = (Box<TlsConnection>, Vec<u8>);

/// What an exchange leaves to the next one of its client.
#[derive(Debug)]
pub struct ExchangeLeft {
    /// What the events of the client's socket promised.
    pub client: Edge,
    /// What the client sent behind the request.
    pub behind: Vec<u8>,
    /// Whether its connection is kept.
    pub keeps_client: bool,
    /// Whether the target's connection may serve another request: nothing came behind the response, as far as is known.
    pub keeps_target: bool,
    /// Whether something may have come of it that was not read.
    pub target_unread: bool,
}

impl RelayedExchange {
    /// An exchange whose client sent `pending` behind the head of its request.
    pub(super) fn new(
        mode: RelayMode,
        order: Box<ForwardRequest>,
        header: &[u8],
        mut pending: Vec<u8>,
        tls: Option<TlsParts>,
        kit: &mut Kit<Pipe>,
    ) -> RelayedExchange {
        // What is translated passes through memory.
        let mode = if tls.is_some() { RelayMode::Copy } else { mode };
        let (request, count) = HttpMessage::request(order.framing, &mut pending);
        let halves = if count + header.len() == 0 {
            Halves::new(mode, &order.head, kit)
        } else {
            Halves::new(mode, &[header, &order.head, &pending[..count]].concat(), kit)
        };
        let halves = if tls.is_some() { halves.translated() } else { halves };
        let response = HttpMessage::response();
        let tls =
            tls.map(|(connection, begun)| Box::new(TranslatedSide::new(TlsWire::new(connection, begun))));
        RelayedExchange {
            halves,
            mode,
            tls,
            order,
            request,
            response,
            said: None,
            keeps: true,
            client_finished: false,
        }
    }

    /// So many bytes in front of the request are not the client's.
    pub(super) fn preface(&mut self, bytes: usize) {
        self.halves.preface(bytes);
    }

    /// Has the client told that its connection is not kept, where that was not said yet.
    pub fn keep_no_longer(&mut self) {
        self.keeps = false;
    }

    /// The request, as it was sent.
    pub fn order(&self) -> &ForwardRequest {
        &self.order
    }

    /// Whether it may be sent once more, to another connection: nothing came of this one, and there is no body of which
    /// anything could be gone (RFC 9110 section 9.2.2).
    pub fn is_repeatable(&self) -> bool {
        let bodiless = matches!(self.order.framing, Framing::None | Framing::Length(0));
        self.order.idempotent && bodiless && !self.response.begun()
    }

    /// Whether the client was given nothing of a response, so that it can be told what went wrong.
    pub fn unanswered(&self) -> bool {
        self.said.is_none() && self.halves.pending_bytes(Side::Client) == 0
    }

    /// The status of the response, once its head came.
    pub fn status(&self) -> Option<u16> {
        self.said.map(|said| said.status)
    }

    /// What the events of the client's socket promised.
    pub fn promised_by_client(&self) -> Edge {
        self.halves.promised(Side::Client)
    }

    /// The request, what the client sent behind it, and the TLS by which it did.
    pub fn take_order(mut self) -> (Box<ForwardRequest>, Vec<u8>, Option<TlsParts>) {
        let tls = self.take_tls();
        let RelayedExchange { order, mut request, .. } = self;
        (order, request.take_behind(), tls)
    }

    /// The client's TLS, for who speaks with the client from here on.
    pub fn take_tls(&mut self) -> Option<TlsParts> {
        self.tls.take().map(|tls| tls.translation.into_parts())
    }

    /// Says to a client behind TLS that nothing follows, before its FIN.
    pub fn end_client(&mut self, client: &Stream) {
        if let Some(tls) = &mut self.tls {
            tls.translation.end(client);
        }
    }

    /// What the client's side is translated by, where that is TLS.
    pub(super) fn tls(&self) -> Option<&TlsWire> {
        self.tls.as_ref().map(|tls| &tls.translation)
    }

    /// Why one of the messages is none.
    pub fn error(&self) -> Option<&MessageError> {
        self.request.error().or(self.response.error())
    }

    /// What it leaves, where it is over with both messages whole.
    pub fn leave(&mut self) -> ExchangeLeft {
        let [client, target] = [Side::Client, Side::Target].map(|side| self.halves.promised(side));
        let said = self.said.filter(|_| self.response.is_whole() && self.request.is_whole());
        ExchangeLeft {
            client,
            behind: self.request.take_behind(),
            keeps_client: said.is_some_and(|said| said.keeps_client) && self.tls().is_none_or(TlsWire::told),
            keeps_target: said.is_some_and(|said| said.keeps_target)
                && !self.response.has_behind()
                && !target.fin
                && !target.failed,
            target_unread: target.readable,
        }
    }

    /// An event of one side's socket.
    pub(super) fn event(&mut self, side: Side, edge: Edge) {
        self.halves.event(side, edge);
    }

    /// Moves what can be moved in both directions, as far as the budgets reach.
    pub(super) fn drive(
        &mut self,
        client: &Stream,
        target: &Stream,
        kit: &mut Kit<Pipe>,
        budgets: &mut Budgets,
    ) -> Driven {
        if self.request.error().is_some() {
            return Driven { finish: Some(Finish::Malformed { by: Side::Client }), ..Driven::default() };
        }
        let was_switched = self.switched();
        let RelayedExchange { halves, tls, order, request, response, said, keeps, .. } = self;
        let mut driven = halves.drive(client, target, kit, budgets, |half, ends, from, kit, budget| {
            let (sink, keeps) = (ends.sink, *keeps && order.keep_alive && request.is_whole());
            let terms = AnswerTerms { request: order, keeps, said };
            match (from, tls.as_deref_mut()) {
                (Side::Client, None) => {
                    half.pump(&mut Framed::new(ends, request, None).telling_end(was_switched), kit, budget)
                }
                (Side::Target, None) => {
                    let wire = Framed::new(ends, response, Some(terms));
                    half.pump(&mut wire.telling_end(was_switched), kit, budget)
                }
                (Side::Client, Some(tls)) => with_seal_kit(kit, |seal_kit, kit| {
                    let ends = tls.ends((ends, sink), seal_kit, from);
                    let mut wire = Framed::new(ends, request, None).telling_end(was_switched);
                    half.pump(&mut wire, kit, budget)
                }),
                (Side::Target, Some(tls)) => with_seal_kit(kit, |seal_kit, kit| {
                    let ends = Framed::new(ends, response, Some(terms)).telling_end(was_switched);
                    half.pump(&mut tls.ends((ends, sink), seal_kit, from), kit, budget)
                }),
            }
        });
        if let Some(tls) = tls {
            tls.settle(halves, client);
        }
        self.client_finished = self.halves.promised(Side::Client).fin;
        if was_switched {
            return driven;
        }
        driven.finish = self.finish();
        if self.switched() && driven.finish.is_none() {
            self.go_over(kit);
            driven.up.resume = Resume::NextTurn;
        }
        driven
    }

    /// Bytes of this side that the other has, heads as they went on.
    pub(super) fn bytes(&self, from: Side) -> u64 {
        self.halves.bytes(from)
    }

    /// Bytes for this side that it does not have, as far as is known of a message that is not whole.
    pub(super) fn pending_bytes(&self, to: Side) -> usize {
        let (up, down) = self.halves.stages();
        let unfinished = match to {
            _ if self.switched() => false,
            Side::Client => self.said.is_some() && !(down == IN_ORDER && self.response.ends_with_source()),
            Side::Target => !(up == IN_ORDER && self.request.is_whole()),
        };
        let held = match &self.tls {
            Some(tls) if to == Side::Target && self.switched() => tls.translation.held_bytes(),
            _ => 0,
        };
        self.halves.pending_bytes(to) + held + usize::from(unfinished)
    }

    /// Whether the client has sent all that it will.
    pub(super) fn half_closed(&self) -> bool {
        if self.switched() { self.halves.half_closed() } else { self.client_finished }
    }

    /// Whether the target has not ended its direction, as far as that was seen.
    pub(super) fn target_still_open(&self) -> bool {
        self.halves.target_still_open() && !self.halves.promised(Side::Target).fin
    }

    /// Whether something could be moved without an event.
    pub(super) fn ready(&self) -> bool {
        self.halves.ready()
    }

    /// Whether something that comes from this side could be moved without an event.
    pub(super) fn ready_from(&self, side: Side) -> bool {
        self.halves.ready_from(side)
    }

    /// The engine that the record names.
    pub(super) fn engine(&self) -> Engine {
        if self.tls.is_some() { TlsWire::ENGINE } else { self.halves.engine() }
    }

    /// Gives everything lent back.
    pub(super) fn release(&mut self, kit: &mut Kit<Pipe>) {
        self.halves.release(kit);
    }

    fn switched(&self) -> bool {
        self.said.is_some_and(|said| said.switches)
    }

    /// Goes over to what the target has gone over to: the client's bytes go on as they come, those first that it sent behind
    /// its request.
    fn go_over(&mut self, kit: &mut Kit<Pipe>) {
        self.request.go_on_until_close();
        self.halves.begin_anew(Side::Client, self.mode, &self.request.take_behind(), kit);
    }

    fn finish(&self) -> Option<Finish> {
        let (up, down) = self.halves.stages();
        let request_sent = up == IN_ORDER && self.request.is_whole();
        match down {
            IN_ORDER if self.response.ends_with_source() => {
                return Some(Finish::Exchanged { whole_request: request_sent });
            }
            Stage::Done(_) => return Some(self.cut_off()),
            Stage::SinkGone(_) => return Some(Finish::Reset { failed: Side::Client }),
            Stage::Open | Stage::Draining(_) => {}
        }
        match up {
            Stage::Done(_) if request_sent => None,
            Stage::Done(_) if self.request.error().is_some() && self.unanswered() => {
                Some(Finish::Malformed { by: Side::Client })
            }
            Stage::Done(_) => Some(Finish::Reset { failed: Side::Client }),
            // Who takes no more of a request may have answered it.
            Stage::Open | Stage::Draining(_) | Stage::SinkGone(_) => None,
        }
    }

    /// The response has ended before its end.
    fn cut_off(&self) -> Finish {
        if !self.unanswered() {
            Finish::Reset { failed: Side::Target }
        } else if self.response.error().is_some() {
            Finish::Malformed { by: Side::Target }
        } else {
            Finish::Unanswered
        }
    }
}
