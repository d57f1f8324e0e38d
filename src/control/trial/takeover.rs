//! The socket at which a new server takes this one's place.

use super::Trial;
use crate::control::handover::TakeoverSocket;

impl Trial<'_> {
    /// The problem with that socket.
    pub(in crate::control) fn cannot_be_taken_over(&mut self, what: &str) {
        self.error(("server", "takeover"), what);
    }

    /// It could be had. One that another server has is no error: it may be this very server, running.
    pub(super) fn takeover(&mut self) {
        let Some(path) = &self.config.server.takeover else { return };
        match TakeoverSocket::probe(path) {
            Ok(()) => {}
            Err((what, true)) => self.warn(("server", "takeover"), what),
            Err((what, false)) => self.cannot_be_taken_over(&what),
        }
    }
}
