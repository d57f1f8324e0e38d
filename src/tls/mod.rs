//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) at the client's side, by rustls: records to bytes and back. No socket and no file:
//! whoever has the client's bytes hands them in, and sends what comes out.
//!
//! Above it is what there is without it: a session reads what was opened, and what it says is sealed on the way.

mod certificate;
mod connection;
mod server;

#[cfg(test)]
pub(crate) mod tests;

pub use connection::{TlsConnection, TlsOpened, TlsVersion};
pub use server::{TlsFile, TlsFiles, TlsServer};

use std::fmt;

use crate::limits;

/// Why records are not opened or sealed. No variant holds a byte of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// The handshake or a record is refused, in the library's words.
    Library(String),
    /// A handshake message in several records, behind the handshake: nobody who speaks TLS 1.3 sends one.
    Parted,
    /// More of a message than any has.
    TooLong,
    /// The handshake is not over, or the connection is.
    TooEarly,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Library(text) => f.write_str(text),
            TlsError::Parted => f.write_str("a message in parts behind the handshake"),
            TlsError::TooEarly => f.write_str("nothing can be said"),
            TlsError::TooLong => f.write_str("a message that is too long"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        TlsError::Library(error.to_string())
    }
}

/// Bytes of a record's header: its type, a version, the length of what follows.
const RECORD_HEADER: usize = 5;

/// How many bytes the record at the front of these has; `None` where its header is not whole.
pub fn record_len(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..RECORD_HEADER)?;
    Some(RECORD_HEADER + usize::from(u16::from_be_bytes([header[3], header[4]])))
}

/// Whether the record at the front of these is whole.
pub fn is_whole(bytes: &[u8]) -> bool {
    record_len(bytes).is_some_and(|len| len <= bytes.len())
}

/// How many bytes can be sealed into records of `room` bytes together, beside what else may have to be said with them.
pub fn plain_max(room: usize) -> usize {
    let room = room.saturating_sub(limits::TLS_BESIDE_BYTES);
    let records = room.div_ceil(limits::TLS_PLAIN_MAX + limits::TLS_OVERHEAD_MAX);
    room.saturating_sub(records * limits::TLS_OVERHEAD_MAX)
}

/// How much room so many bytes have to have for [`TlsConnection::seal`].
fn room_for(plain: usize) -> usize {
    plain + (plain / limits::TLS_PLAIN_MAX + 1) * limits::TLS_OVERHEAD_MAX + limits::TLS_BESIDE_BYTES
}
