//! The client's side of each protocol, for a proxy that a session is led through (a parent): SOCKS5 (RFC 1928, RFC 1929),
//! SOCKS4 and 4a, and CONNECT of HTTP (RFC 9110 section 9.3.6).
//!
//! A [`ClientTalk`] is one handshake with one proxy: what has arrived goes in, what is to be sent comes out. It keeps no bytes:
//! what it does not use yet the caller holds, at most [`PARENT_UNUSED_BYTES_MAX`](crate::limits::PARENT_UNUSED_BYTES_MAX) of
//! them, and feeds again with what follows. Where the bytes were split does not matter, and behind the last byte of the
//! handshake it takes none: that is the target's first. Nothing that a proxy sends makes it grow or go on for ever.
//!
//! What may be sent before it is asked for: a client's first bytes behind the request of SOCKS (`takes_early_bytes`), which a
//! proxy that refuses throws away with the connection. Not behind CONNECT: a proxy that refuses may keep the connection and read
//! them as the next request, in the name of whoever we are there. Nor is the request of SOCKS5 sent together with the greeting: a
//! proxy may choose no method, and some read both in one call and drop the rest. A greeting can be had before there is a
//! request instead (`begin` without `ask`), on a connection that waits for one.

mod chain;
mod error;
mod http;
mod said;
mod socks4;
mod socks5;
mod talk;

pub use chain::{ChainLeg, ChainTalk};
pub use error::TalkError;
pub use said::{ClientProtocol, Fed, ProxyBound, TalkOutput, Talked};
pub use talk::ClientTalk;

#[cfg(test)]
mod tests;
