//! HTTP/1.1 as a proxy reads it (RFC 9110, RFC 9112): heads by httparse, bodies by what the head says of them.
//!
//! A proxy that reads a message otherwise than who stands behind it is how requests are smuggled. So whatever can be read in
//! two ways is refused, and what goes on is written anew from what was understood: never a length, a coding, a host or an
//! option of a connection as it came.

mod authority;
mod basic;
mod chunked;
mod error;
mod fields;
mod forward;
mod head;
mod request;
mod response;
mod tunnel;

pub use basic::{credentials, write_credentials};
pub use chunked::{ChunkError, ChunkPiece, ChunkReader};
pub use error::HeadError;
pub use forward::ForwardRequest;
pub use head::FieldRoom;
pub use request::{RequestHead, RequestTarget, read_request};
pub use response::{ResponseHead, ToClient, read_response};
pub use tunnel::TunnelAnswer;

/// The name by which this proxy goes in Via and Proxy-Status.
pub const PSEUDONYM: &str = "outflow";

/// The minor version of a message; the major one is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpVersion {
    /// HTTP/1.0: no chunks, and a connection is kept only where that is asked for.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl HttpVersion {
    /// As Via has it (RFC 9110 section 7.6.3).
    pub fn number(self) -> &'static str {
        match self {
            HttpVersion::Http10 => "1.0",
            HttpVersion::Http11 => "1.1",
        }
    }

    fn of(minor: Option<u8>) -> HttpVersion {
        match minor {
            Some(0) => HttpVersion::Http10,
            _ => HttpVersion::Http11,
        }
    }
}

/// How long a body is (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, whatever the fields say.
    None,
    /// So many bytes, which may be none.
    Length(u64),
    /// It says so itself, chunk by chunk.
    Chunked,
    /// It ends with the connection: a response alone.
    UntilClose,
}

#[cfg(test)]
mod tests;
