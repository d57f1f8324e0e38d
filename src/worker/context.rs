//! Security contexts (RFC 1961 section 3): tokens go to the threads that accept contexts, and what comes of them goes back
//! into the session.

use super::connection::Connection;
use super::core::Core;
use super::handshake::{Handshake, Waits};
use super::mailbox::{Mail, Ticket};
use super::next::Next;
use crate::auth::gssapi::{ContextState, Exchange, Exchanged};
use crate::limits;
use crate::observe::{Counted, LoginMethod, LoginResult};
use crate::outcome::Reason;
use crate::session::{Input, Round, RoundOutcome};
use crate::sys::gssapi::{Context, Library};

impl Handshake {
    /// Hands a token over, to the context that its earlier rounds made or to a new one.
    pub(super) fn establish(
        &mut self,
        core: &mut Core,
        connection: &Connection,
        context: Option<Context>,
        token: Vec<u8>,
    ) -> Next {
        if self.is_left() {
            return Next::Close(Reason::ClientLeft);
        }
        self.auth_began.get_or_insert(core.now);
        let (Some(acceptor), Ok(library)) = (&connection.snapshot.gssapi, Library::load()) else {
            let outcome = RoundOutcome::Failed("no credentials to accept it with".to_owned());
            return Next::Answer(Input::Established(Round { token: Vec::new(), outcome }));
        };
        let context = context.unwrap_or_else(|| Context::new(library));
        let (key, mailbox) = (connection.key, core.mailbox.clone());
        let done = Box::new(move |exchanged| mailbox.send(Mail::Context(Ticket(key), exchanged)));
        let exchange = Exchange { source: connection.peer.ip(), context, token, done };
        self.waits_for = match acceptor.submit(exchange) {
            Ok(pending) => Waits::Context { _pending: pending },
            Err(Exchange { context, token, .. }) => {
                Waits::RetryContext { context, token, at: core.now + limits::VERIFY_RETRY }
            }
        };
        self.wait(core, connection)
    }

    /// What came of a token.
    pub(super) fn established(&mut self, core: &mut Core, exchanged: Exchanged) -> Next {
        let Exchanged { context, token, outcome } = exchanged;
        if !matches!(outcome, ContextState::Continue) {
            self.note_auth(core);
        }
        let outcome = match outcome {
            ContextState::Continue => {
                self.context = Some(context);
                RoundOutcome::Continue
            }
            ContextState::Established(peer) => {
                core.counters.count(Counted::Login(LoginMethod::Gssapi, LoginResult::Ok));
                RoundOutcome::Established(peer, Box::new(context))
            }
            ContextState::Failed(why) => {
                core.counters.count(Counted::Login(LoginMethod::Gssapi, LoginResult::Failed));
                RoundOutcome::Failed(why)
            }
        };
        Next::Answer(Input::Established(Round { token, outcome }))
    }
}
