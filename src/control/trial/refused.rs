//! What cannot be had that a configuration names, each at its key.

use std::io;

use super::Trial;
use crate::admin::{AdminError, cannot_bind};
use crate::config::Access;

impl Trial<'_> {
    /// The problem with an address that cannot be listened on.
    pub(in crate::control) fn cannot_listen(&mut self, nth: usize, error: &io::Error) {
        let listener = self.config.all_listeners().nth(nth);
        let port = listener.and_then(|one| Some(one.address().tcp()?.address.port())).unwrap_or(0);
        let what = format!("cannot listen on {}: {}", self.listener(nth), cannot_bind(port, error));
        self.config.blame_listener(&mut self.report.errors, nth, what);
    }

    /// The problem with the admin endpoint.
    pub(in crate::control) fn cannot_administer(&mut self, error: &AdminError) {
        match error {
            AdminError::Listen { nth, what, .. } => {
                let listen = ("admin", "listen");
                self.config.places.blame_entry(&mut self.report.errors, listen, *nth, what.clone());
            }
            AdminError::Token(what) => self.error(("admin", "token_file"), what),
        }
    }

    /// The problem with a file of access records that cannot be written.
    pub(in crate::control) fn cannot_record(&mut self, error: &io::Error) {
        let Access::Path(path) = &self.config.log.access else {
            return self.error(("log", "access"), error);
        };
        self.error(("log", "access"), format_args!("cannot append to {path:?}: {error}"));
    }

    /// The problem with a file that cannot be learned into.
    pub(in crate::control) fn cannot_learn(&mut self, what: &str) {
        self.error(("policy", "learn"), what);
    }

    /// The problem with a directory that can keep nothing.
    pub(in crate::control) fn cannot_keep(&mut self, what: &str) {
        self.error(("server", "state"), what);
    }
}
