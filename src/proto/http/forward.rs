//! A request on its way to its target.

use std::fmt;

use super::{Framing, HttpVersion};

/// A request as it goes to its target, and what is to be known of it until its response is over.
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardRequest {
    /// Its head, in origin form.
    pub head: Vec<u8>,
    /// The client's version: one of HTTP/1.0 reads no chunks and no interim responses.
    pub version: HttpVersion,
    /// How long its body is, which stands behind the head.
    pub framing: Framing,
    /// Whether the client keeps its connection for another request.
    pub keep_alive: bool,
    /// Whether the method is HEAD, whose response has no body.
    pub is_head: bool,
    /// Whether it may be sent again where the target closed a kept connection on it (RFC 9110 section 9.2.2).
    pub idempotent: bool,
    /// Whether it asks to go over to another protocol, which the target accepts with 101.
    pub upgrades: bool,
    /// Whether the client waits for 100 before it sends the body.
    pub expects_continue: bool,
    /// Whether Via is added, to the response, too.
    pub via: bool,
}

/// Without its head, which may hold what opens a door.
impl fmt::Debug for ForwardRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardRequest")
            .field("version", &self.version)
            .field("framing", &self.framing)
            .field("keep_alive", &self.keep_alive)
            .field("is_head", &self.is_head)
            .field("upgrades", &self.upgrades)
            .finish_non_exhaustive()
    }
}
