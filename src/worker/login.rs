//! Passwords: what the worker remembers it may tell, the rest goes to the threads that verify.

use super::core::Core;
use super::mailbox::{Mail, Ticket};
use super::slot::{Fate, Next, Phase, Slot, Waits};
use crate::auth::{Identity, LoginJob};
use crate::limits;
use crate::observe::Counted;
use crate::outcome::Reason;
use crate::proto::userpass::Credentials;
use crate::session::Input;
use crate::shares::Source;
use std::sync::Arc;

impl Core {
    /// Looks credentials up, or has them verified. `new` as in [`Logins::recall`].
    pub(super) fn verify(&mut self, slot: &mut Slot, credentials: Arc<Credentials>, new: bool) -> Next {
        let (Phase::Handshake(handshake), Some(client)) = (&mut slot.phase, &slot.client) else {
            return Next::Wait;
        };
        if handshake.edges.fin && handshake.is_left_by_fin(client) {
            // No request can follow: there is nobody to verify it for.
            return Next::End(Fate::Close(Reason::ClientLeft));
        }
        let source = Source::from(slot.peer.ip());
        match self.logins.recall(source, &credentials, new, self.now) {
            Some(Some(identity)) => {
                self.counters.count(Counted::LoginOk);
                return Next::Input(Input::Verified(Some(identity)));
            }
            Some(None) => {
                // Told before: a client that cannot but repeat itself must not do so as fast as it can.
                self.counters.count(Counted::LoginFailed);
                handshake.waits_for = Waits::Penalty { until: self.now + limits::REPEATED_FAILURE_DELAY };
                return Next::Wait;
            }
            None => {}
        }
        let Some(verifier) = &slot.snapshot.verifier else { return Next::Input(Input::Verified(None)) };
        let (key, mailbox) = (slot.key, self.mailbox.clone());
        let done = Box::new(move |verified| mailbox.send(Mail::Login(Ticket(key), verified)));
        handshake.waits_for = match verifier.submit(LoginJob { source: slot.peer.ip(), credentials, done }) {
            Ok(pending) => Waits::Login { _pending: pending },
            Err(job) => Waits::Retry { credentials: job.credentials, at: self.now + limits::VERIFY_RETRY },
        };
        Next::Wait
    }

    /// An answer to the credentials.
    pub(super) fn verified(&mut self, slot: &mut Slot, identity: Option<Identity>) -> Fate {
        let Phase::Handshake(handshake) = &mut slot.phase else { return Fate::Keep };
        if !matches!(handshake.waits_for, Waits::Login { .. }) {
            return Fate::Keep;
        }
        self.counters.count(if identity.is_some() { Counted::LoginOk } else { Counted::LoginFailed });
        self.advance(slot, Next::Input(Input::Verified(identity)))
    }
}
