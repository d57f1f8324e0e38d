//! TLS, as the client's side of a session is translated by it.
//!
//! An end in order is an alert (close_notify) behind the last bytes, and then FIN. FIN alone tells nothing: whoever is on
//! the way could have sent it, so that it ends the session as a reset does (RFC 8446 section 6.1).

use std::fmt;

use super::kit::SealKit;
use super::moved::Engine;
use super::translated::{SealedBatch, Translation, read_on};
use super::wire::{Wire, WireRead};
use crate::limits;
use crate::sys::stream::Stream;
use crate::sys::{Errno, Read, Write};
use crate::tls::{TlsConnection, TlsError, TlsOpened, is_whole, plain_max, record_len};

/// The TLS of a session and what it holds between two reads.
pub(super) struct TlsWire {
    connection: Box<TlsConnection>,
    /// What has come of the client and is not opened: the beginning of a record, behind those that wait for a turn.
    begun: Vec<u8>,
    /// Alerts for the client, which go before anything that is sealed from now on.
    owed: Vec<u8>,
    /// Our close_notify is made.
    ended: bool,
    /// Why the session cannot go on.
    error: Option<TlsError>,
}

impl fmt::Debug for TlsWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsWire").field("error", &self.error).finish_non_exhaustive()
    }
}

impl TlsWire {
    /// The TLS of a session whose client has sent `begun` behind its request, which is not opened.
    pub(super) fn new(connection: Box<TlsConnection>, begun: Vec<u8>) -> TlsWire {
        TlsWire { connection, begun, owed: Vec::new(), ended: false, error: None }
    }

    /// What is left for who goes on with the connection: the connection, and what has come and is not opened.
    pub(super) fn into_parts(mut self) -> (Box<TlsConnection>, Vec<u8>) {
        if !self.owed.is_empty() {
            // Behind a gap nothing can be understood.
            self.connection.give_up();
        }
        (self.connection, self.begun)
    }

    fn fail(&mut self, error: TlsError) -> Read {
        self.error = Some(error);
        Read::Failed(Errno::EBADMSG)
    }

    /// Opens what is whole of `raw`, record by record, as far as there is room; how many bytes of it are used up, and how many
    /// came of it.
    fn open_all(&mut self, raw: &mut [u8], buffer: &mut [u8], steps: &mut usize) -> (usize, usize) {
        let (mut used, mut filled) = (0, 0);
        while *steps > 0 {
            let len = record_len(&raw[used..]).filter(|len| *len <= raw.len() - used);
            // What a record holds is less than what it is, and the longest one finds room in an empty buffer.
            if filled > 0 && len.is_some_and(|len| len > buffer.len() - filled) {
                break;
            }
            let content = |content: &[u8]| {
                buffer[filled..filled + content.len()].copy_from_slice(content);
                filled += content.len();
            };
            let end = len.map_or(raw.len(), |len| used + len);
            let (count, opened) = self.connection.open(&mut raw[used..end], content, &mut self.owed);
            used += count;
            *steps -= 1;
            match opened {
                Ok(TlsOpened::Content) => {}
                Ok(TlsOpened::More) if len.is_some() => {}
                Ok(TlsOpened::More) => break,
                Ok(TlsOpened::Ended) => return (raw.len(), filled),
                Err(error) => {
                    self.error = Some(error);
                    return (raw.len(), filled);
                }
            }
        }
        (used, filled)
    }
}

impl Translation for TlsWire {
    const ENGINE: Engine = Engine::Tls;

    const STEPS_PER_TURN: usize = limits::TLS_RECORDS_PER_TURN;

    const PIECE_BYTES_MAX: usize = limits::TLS_RECORD_BYTES_MAX;

    fn open(
        &mut self,
        source: &mut impl Wire,
        buffer: &mut [u8],
        max_bytes: usize,
        kit: &mut SealKit,
        steps: &mut usize,
    ) -> WireRead {
        if self.error.is_some() {
            return Read::Failed(Errno::EBADMSG).into();
        }
        if self.connection.ended() {
            return Read::End.into();
        }
        let raw = &mut kit.raw;
        raw.resize(limits::TLS_READ_BYTES, 0);
        // Records that came behind the request may be whole, and those that the last turn left.
        let begun = (&*self.begun, is_whole(&self.begun));
        let room = (buffer.len(), limits::TLS_RECORD_BYTES_MAX);
        let (end, taken) = match read_on(begun, source, raw, room, max_bytes) {
            Ok(read) => read,
            Err(Read::End) => return Read::Failed(Errno::ECONNRESET).into(),
            Err(other) => return other.into(),
        };
        let (used, filled) = self.open_all(&mut raw[..end], buffer, steps);
        self.begun = raw[used..end].to_vec();
        let read = match &self.error {
            // What came before it is good.
            Some(_) if filled == 0 => Read::Failed(Errno::EBADMSG),
            _ => Read::Bytes(filled),
        };
        WireRead { read, taken }
    }

    fn seal(
        &mut self,
        source: &mut impl Wire,
        buffer: &mut [u8],
        max_bytes: usize,
        kit: &mut SealKit,
        batch: &mut SealedBatch,
    ) -> WireRead {
        if self.ended {
            return Read::End.into();
        }
        let owed = self.owed.len();
        let Some(room) = buffer.get_mut(owed..) else { return self.fail(TlsError::TooLong).into() };
        let raw = &mut kit.raw;
        raw.resize(limits::TLS_READ_BYTES, 0);
        let most = plain_max(room.len()).min(limits::TLS_READ_BYTES).min(max_bytes);
        let WireRead { read, taken } = source.recv(&mut raw[..most], most);
        let (plain, sealed) = match read {
            // Of a head that is not whole nothing goes on.
            Read::Bytes(0) => (0, 0),
            Read::Bytes(count) => match self.connection.seal(&raw[..count], room) {
                Ok(sealed) => (count, sealed),
                Err(error) => return WireRead { read: self.fail(error), taken },
            },
            // Another message may follow this one, or this one is cut off.
            Read::End if !source.tells_end() => return Read::End.into(),
            Read::End => {
                self.ended = true;
                let mut last = Vec::new();
                self.connection.end_onto(&mut last);
                let Some(place) = room.get_mut(..last.len()) else {
                    return self.fail(TlsError::TooLong).into();
                };
                place.copy_from_slice(&last);
                (0, last.len())
            }
            Read::Blocked if owed > 0 => (0, 0),
            other => return WireRead { read: other, taken },
        };
        buffer[..owed].copy_from_slice(&self.owed);
        self.owed = Vec::new();
        let count = owed + sealed;
        *batch = SealedBatch::of(plain, count);
        let read = if count == 0 && self.ended { Read::End } else { Read::Bytes(count) };
        WireRead { read, taken }
    }

    /// Where the target's end was found otherwise than by a read.
    fn end(&mut self, client: &Stream) {
        if !std::mem::replace(&mut self.ended, true) {
            self.connection.end_onto(&mut self.owed);
            self.settle(client);
        }
    }

    fn settle(&mut self, client: &Stream) {
        if !self.owed.is_empty()
            && let Write::Bytes(count) = client.send(&self.owed)
        {
            self.owed.drain(..count);
        }
    }

    fn held_bytes(&self) -> usize {
        self.begun.len()
    }

    fn error(&self) -> Option<&dyn fmt::Display> {
        self.error.as_ref().map(|error| error as &dyn fmt::Display)
    }

    fn told(&self) -> bool {
        self.owed.is_empty()
    }
}

#[cfg(test)]
mod tests;
