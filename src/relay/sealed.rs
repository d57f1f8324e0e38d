//! The seal of a session (RFC 1961 section 5), as its client's side is translated by it. FIN goes through either way by
//! itself.

use std::fmt;

use super::kit::SealKit;
use super::moved::Engine;
use super::translated::{SealedBatch, Translation, read_on};
use super::wire::{Wire, WireRead};
use crate::limits;
use crate::proto::gss::{MessageType, decode};
use crate::seal::{MESSAGE_BYTES_MAX, Seal, SealError};
use crate::sys::{Errno, Read};

/// The seal of a session and what it holds between two reads.
pub(super) struct Sealed {
    seal: Box<Seal>,
    /// What has come of the client and is not opened: the beginning of a message, behind those that wait for a turn.
    begun: Vec<u8>,
    /// Content of the client that one read could not take, and how much of it is gone.
    opened: (Vec<u8>, usize),
    /// Why the session cannot go on.
    error: Option<SealError>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("error", &self.error).finish_non_exhaustive()
    }
}

impl Sealed {
    /// The seal of a session whose client has sent `begun` behind its request, still sealed.
    pub(super) fn new(seal: Box<Seal>, begun: Vec<u8>) -> Sealed {
        Sealed { seal, begun, opened: (Vec::new(), 0), error: None }
    }

    /// Content of the client that was opened and not handed on.
    fn rest(&self) -> &[u8] {
        &self.opened.0[self.opened.1..]
    }

    fn take_rest(&mut self, buffer: &mut [u8]) -> usize {
        let rest = self.rest();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.opened.1 += count;
        if self.rest().is_empty() {
            self.opened = (Vec::new(), 0);
        }
        count
    }

    fn fail(&mut self, error: SealError) -> Read {
        self.error = Some(error);
        Read::Failed(Errno::EBADMSG)
    }

    /// Appends the content of whole messages, all of them unless the count runs out; how many bytes they have.
    fn open_all(
        &mut self,
        raw: &[u8],
        content: &mut Vec<u8>,
        messages: &mut usize,
    ) -> Result<usize, SealError> {
        let mut used = 0;
        while *messages > 0
            && let Some((token, len)) =
                decode(&raw[used..], MessageType::Encapsulated).map_err(SealError::Frame)?
        {
            self.seal.open(token, content)?;
            used += len;
            *messages -= 1;
        }
        Ok(used)
    }
}

impl Translation for Sealed {
    const ENGINE: Engine = Engine::Sealed;

    const STEPS_PER_TURN: usize = limits::SEALED_MESSAGES_PER_TURN;

    // What one read cannot take is kept.
    const PIECE_BYTES_MAX: usize = 0;

    /// Of all messages that are whole by one read; each is a step.
    fn open(
        &mut self,
        source: &mut impl Wire,
        buffer: &mut [u8],
        max_bytes: usize,
        kit: &mut SealKit,
        steps: &mut usize,
    ) -> WireRead {
        if !self.rest().is_empty() {
            return WireRead { read: Read::Bytes(self.take_rest(buffer)), taken: 0 };
        }
        if self.error.is_some() {
            return Read::Failed(Errno::EBADMSG).into();
        }
        let SealKit { raw, content } = kit;
        raw.resize(limits::SEALED_READ_BYTES, 0);
        // Messages that came behind the request may be whole, and those that the last turn left.
        let is_whole = !matches!(decode(&self.begun, MessageType::Encapsulated), Ok(None));
        let room = (buffer.len(), MESSAGE_BYTES_MAX);
        let (end, taken) = match read_on((&self.begun, is_whole), source, raw, room, max_bytes) {
            Ok(read) => read,
            Err(Read::End) if !self.begun.is_empty() => return self.fail(SealError::Truncated).into(),
            Err(other) => return other.into(),
        };
        content.clear();
        let used = match self.open_all(&raw[..end], content, steps) {
            Ok(used) => used,
            // What came before it is good.
            Err(error) if !content.is_empty() => {
                self.error = Some(error);
                end
            }
            Err(error) => return WireRead { read: self.fail(error), taken },
        };
        self.begun = raw[used..end].to_vec();
        let count = content.len().min(buffer.len());
        buffer[..count].copy_from_slice(&content[..count]);
        self.opened = (content[count..].to_vec(), 0);
        WireRead { read: Read::Bytes(count), taken }
    }

    fn seal(
        &mut self,
        source: &mut impl Wire,
        buffer: &mut [u8],
        max_bytes: usize,
        kit: &mut SealKit,
        batch: &mut SealedBatch,
    ) -> WireRead {
        let SealKit { raw, content } = kit;
        let room = match self.seal.plain_max(buffer.len()) {
            Ok(room) => room.min(limits::SEALED_READ_BYTES).min(max_bytes),
            Err(error) => return self.fail(error).into(),
        };
        raw.resize(limits::SEALED_READ_BYTES, 0);
        let taken = match source.recv(&mut raw[..room], room).read {
            Read::Bytes(count) => count,
            other => return other.into(),
        };
        content.clear();
        if let Err(error) = self.seal.seal(&raw[..taken], content) {
            return WireRead { read: self.fail(error), taken };
        }
        let Some(place) = buffer.get_mut(..content.len()) else {
            return WireRead { read: self.fail(SealError::TooLong), taken };
        };
        place.copy_from_slice(content);
        *batch = SealedBatch::of(taken, content.len());
        WireRead { read: Read::Bytes(content.len()), taken }
    }

    fn held_bytes(&self) -> usize {
        self.rest().len() + self.begun.len()
    }

    fn error(&self) -> Option<&dyn fmt::Display> {
        self.error.as_ref().map(|error| error as &dyn fmt::Display)
    }
}

#[cfg(test)]
mod tests;
