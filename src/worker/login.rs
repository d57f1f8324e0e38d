//! Passwords: what the worker remembers it may tell, the rest goes to the threads that verify.

use std::sync::Arc;

use super::connection::Connection;
use super::core::Core;
use super::handshake::{Handshake, Waits};
use super::mailbox::{Mail, Ticket};
use super::next::Next;
use crate::auth::{Identity, LoginJob};
use crate::limits;
use crate::observe::{Counted, LoginMethod, LoginResult, Recall, Remembered};
use crate::outcome::Reason;
use crate::proto::userpass::Credentials;
use crate::session::Input;
use crate::shares::Source;

impl Handshake {
    /// Looks credentials up, or has them verified. `new`: the client comes with them now, and not for another try.
    pub(super) fn verify(
        &mut self,
        core: &mut Core,
        connection: &Connection,
        credentials: Arc<Credentials>,
        new: bool,
    ) -> Next {
        if self.is_left() {
            // No request can follow: there is nobody to verify it for.
            return Next::Close(Reason::ClientLeft);
        }
        self.auth_began.get_or_insert(core.now);
        let method = LoginMethod::of(self.session.facts());
        let client = connection.peer.ip();
        let known = core.logins.recall(Source::from(client), &credentials, new, core.now);
        if new {
            let recalled = if known.is_some() { Recall::Hit } else { Recall::Miss };
            core.counters.count(Counted::Recalled(Remembered::Logins, recalled));
        }
        match known {
            Some(Some(identity)) => {
                core.counters.count(Counted::Login(method, LoginResult::Ok));
                self.note_auth(core);
                return Next::Answer(Input::Verified(Some(identity)));
            }
            Some(None) => {
                // Told before: a client that cannot but repeat itself must not do so as fast as it can.
                core.counters.count(Counted::Login(method, LoginResult::Failed));
                self.waits_for = Waits::Penalty { until: core.now + limits::REPEATED_FAILURE_DELAY };
                return self.wait(core, connection);
            }
            None => {}
        }
        let Some(verifier) = &connection.snapshot.verifier else {
            return Next::Answer(Input::Verified(None));
        };
        let (key, mailbox) = (connection.key, core.mailbox.clone());
        let done = Box::new(move |verified| mailbox.send(Mail::Login(Ticket(key), verified)));
        self.waits_for = match verifier.submit(LoginJob { source: client, credentials, done }) {
            Ok(pending) => Waits::Login { _pending: pending },
            Err(job) => Waits::Retry { credentials: job.credentials, at: core.now + limits::VERIFY_RETRY },
        };
        self.wait(core, connection)
    }

    /// An answer to the credentials.
    pub(super) fn verified(&mut self, core: &mut Core, identity: Option<Identity>) -> Next {
        let result = if identity.is_some() { LoginResult::Ok } else { LoginResult::Failed };
        core.counters.count(Counted::Login(LoginMethod::of(self.session.facts()), result));
        self.note_auth(core);
        Next::Answer(Input::Verified(identity))
    }
}
