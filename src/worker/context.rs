//! Security contexts (RFC 1961 section 3): tokens go to the threads that accept contexts, and what comes of them goes back
//! into the session.

use super::core::Core;
use super::mailbox::{Mail, Ticket};
use super::slot::{Fate, Next, Phase, Slot, Waits};
use crate::auth::gssapi::{ContextState, Exchange, Exchanged};
use crate::limits;
use crate::observe::Counted;
use crate::outcome::Reason;
use crate::session::{Input, Round, RoundOutcome};
use crate::sys::gssapi::{Context, Library};

impl Core {
    /// Hands a token over, to the context that its earlier rounds made or to a new one.
    pub(super) fn establish(&mut self, slot: &mut Slot, context: Option<Context>, token: Vec<u8>) -> Next {
        let (Phase::Handshake(handshake), Some(client)) = (&mut slot.phase, &slot.client) else {
            return Next::Wait;
        };
        if handshake.edges.fin && handshake.is_left_by_fin(client) {
            return Next::End(Fate::Close(Reason::ClientLeft));
        }
        let (Some(acceptor), Ok(library)) = (&slot.snapshot.gssapi, Library::load()) else {
            let outcome = RoundOutcome::Failed("no credentials to accept it with".to_owned());
            return Next::Input(Input::Established(Round { token: Vec::new(), outcome }));
        };
        let context = context.unwrap_or_else(|| Context::new(library));
        let (key, mailbox) = (slot.key, self.mailbox.clone());
        let done = Box::new(move |exchanged| mailbox.send(Mail::Context(Ticket(key), exchanged)));
        let exchange = Exchange { source: slot.peer.ip(), context, token, done };
        handshake.waits_for = match acceptor.submit(exchange) {
            Ok(pending) => Waits::Context { _pending: pending },
            Err(Exchange { context, token, .. }) => {
                Waits::RetryContext { context, token, at: self.now + limits::VERIFY_RETRY }
            }
        };
        Next::Wait
    }

    /// What came of a token.
    pub(super) fn established(&mut self, slot: &mut Slot, exchanged: Exchanged) -> Fate {
        let Phase::Handshake(handshake) = &mut slot.phase else { return Fate::Keep };
        if !matches!(handshake.waits_for, Waits::Context { .. }) {
            return Fate::Keep;
        }
        let Exchanged { context, token, outcome } = exchanged;
        let outcome = match outcome {
            ContextState::Continue => {
                handshake.context = Some(context);
                RoundOutcome::Continue
            }
            ContextState::Established(peer) => {
                self.counters.count(Counted::LoginOk);
                RoundOutcome::Established(peer, Box::new(context))
            }
            ContextState::Failed(why) => {
                self.counters.count(Counted::LoginFailed);
                RoundOutcome::Failed(why)
            }
        };
        self.advance(slot, Next::Input(Input::Established(Round { token, outcome })))
    }
}
