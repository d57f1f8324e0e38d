//! A session whose client's side is sealed (RFC 1961 section 5): what the client sends is opened on the way to the target,
//! what the target sends is sealed on the way to the client.
//!
//! Both happen behind the read, so that a [`Half`](super::Half) holds, counts and writes what its sink takes, and its
//! end is what it is elsewhere: FIN goes through either way by itself.

use super::kit::SealKit;
use super::wire::{Ends, Wire};
use crate::limits;
use crate::proto::gss::{MessageType, decode};
use crate::seal::{MESSAGE_BYTES_MAX, Seal, SealError};
use crate::sys::pipe::Pipe;
use crate::sys::{Errno, Read, Write};
use std::fmt;

/// The seal of a session and what it holds between two reads.
pub(super) struct Sealed {
    seal: Box<Seal>,
    /// What has come of the client and is not opened: the beginning of a message, behind those that wait for a turn.
    begun: Vec<u8>,
    /// Content of the client that one read could not take, and how much of it is gone.
    opened: (Vec<u8>, usize),
    /// Bytes that came of the client, as they came.
    heard_bytes: u64,
    /// Why the session cannot go on.
    error: Option<SealError>,
    /// Bytes of the target that were sealed.
    sealed: Sealing,
}

/// How many bytes of the target were sealed.
#[derive(Clone, Copy, Default)]
struct Sealing {
    bytes: u64,
    /// Those of the last read.
    last_bytes: u64,
    /// What became of all of them.
    message_bytes: u64,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("error", &self.error).finish_non_exhaustive()
    }
}

impl Sealed {
    /// The seal of a session whose client has sent `begun` behind its request, still sealed.
    pub(super) fn new(seal: Box<Seal>, begun: Vec<u8>) -> Sealed {
        Sealed {
            seal,
            begun,
            opened: (Vec::new(), 0),
            heard_bytes: 0,
            error: None,
            sealed: Sealing::default(),
        }
    }

    /// Why the session cannot go on, once it cannot.
    pub(super) fn error(&self) -> Option<&SealError> {
        self.error.as_ref()
    }

    /// How many bytes of the target the client has, where it took so many bytes of messages: those of a read count once
    /// it has all of them.
    pub(super) fn delivered_bytes(&self, taken_bytes: u64) -> u64 {
        let Sealing { bytes, last_bytes, message_bytes } = self.sealed;
        if taken_bytes < message_bytes { bytes - last_bytes } else { bytes }
    }

    /// How many bytes came of the client: messages and parts of them.
    pub(super) fn heard_bytes(&self) -> u64 {
        self.heard_bytes
    }

    /// How many bytes of the client wait here: content, and what no content has come of yet.
    pub(super) fn held_bytes(&self) -> usize {
        self.rest().len() + self.begun.len()
    }

    /// Whether content of the client is there without another read.
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

    /// Content of the client: of all messages that one read makes whole. 0 bytes where there is none.
    /// `messages` of them are counted down.
    fn open(
        &mut self,
        ends: &mut Ends<'_>,
        buffer: &mut [u8],
        kit: &mut SealKit,
        messages: &mut usize,
    ) -> Read {
        if !self.rest().is_empty() {
            return Read::Bytes(self.take_rest(buffer));
        }
        if self.error.is_some() {
            return Read::Failed(Errno::EBADMSG);
        }
        let SealKit { raw, content } = kit;
        raw.resize(limits::SEALED_READ_BYTES, 0);
        let begun = self.begun.len();
        raw[..begun].copy_from_slice(&self.begun);
        let mut end = begun;
        // Messages that came behind the request may be whole, and those that the last turn left.
        if matches!(decode(&self.begun, MessageType::Encapsulated), Ok(None)) {
            // What the buffer does not take stays with this session: room for it, or for any one message.
            let room = buffer.len().clamp(MESSAGE_BYTES_MAX, limits::SEALED_READ_BYTES);
            match ends.recv(&mut raw[begun..room]) {
                Read::Bytes(count) => {
                    end += count;
                    self.heard_bytes += count as u64;
                }
                Read::End if begun > 0 => return self.fail(SealError::Truncated),
                other => return other,
            }
        }
        content.clear();
        let used = match self.open_all(&raw[..end], content, messages) {
            Ok(used) => used,
            // What came before it is good.
            Err(error) if !content.is_empty() => {
                self.error = Some(error);
                end
            }
            Err(error) => return self.fail(error),
        };
        self.begun = raw[used..end].to_vec();
        let count = content.len().min(buffer.len());
        buffer[..count].copy_from_slice(&content[..count]);
        self.opened = (content[count..].to_vec(), 0);
        Read::Bytes(count)
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

    /// Messages for the client of what one read of the target brings.
    fn seal(&mut self, ends: &mut Ends<'_>, buffer: &mut [u8], kit: &mut SealKit) -> Read {
        let SealKit { raw, content } = kit;
        let room = match self.seal.plain_max(buffer.len()) {
            Ok(room) => room.min(limits::SEALED_READ_BYTES),
            Err(error) => return self.fail(error),
        };
        raw.resize(limits::SEALED_READ_BYTES, 0);
        let count = match ends.recv(&mut raw[..room]) {
            Read::Bytes(count) => count,
            other => return other,
        };
        content.clear();
        if let Err(error) = self.seal.seal(&raw[..count], content) {
            return self.fail(error);
        }
        let Some(place) = buffer.get_mut(..content.len()) else { return self.fail(SealError::TooLong) };
        place.copy_from_slice(content);
        self.sealed = Sealing {
            bytes: self.sealed.bytes + count as u64,
            last_bytes: count as u64,
            message_bytes: self.sealed.message_bytes + content.len() as u64,
        };
        Read::Bytes(content.len())
    }
}

/// One direction of a sealed session.
#[derive(Debug)]
pub(super) struct SealedEnds<'a> {
    pub(super) ends: Ends<'a>,
    pub(super) sealed: &'a mut Sealed,
    pub(super) kit: &'a mut SealKit,
    /// Client to target.
    pub(super) up: bool,
    /// Messages that may still be opened in this turn.
    pub(super) messages: usize,
}

impl Wire for SealedEnds<'_> {
    type Pipe = Pipe;

    fn recv(&mut self, buffer: &mut [u8]) -> Read {
        match self.up {
            true => self.sealed.open(&mut self.ends, buffer, self.kit, &mut self.messages),
            false => self.sealed.seal(&mut self.ends, buffer, self.kit),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Write {
        self.ends.send(bytes)
    }

    // What is sealed passes through memory: no half of such a session splices.
    fn fill(&mut self, _: &Pipe, _: usize) -> Read {
        Read::Failed(Errno::EINVAL)
    }

    fn drain(&mut self, _: &Pipe, _: usize) -> Write {
        Write::Failed(Errno::EINVAL)
    }

    fn unload(&mut self, pipe: &Pipe, buffer: &mut [u8]) -> Read {
        self.ends.unload(pipe, buffer)
    }

    fn open_pipe(&mut self, size_bytes: usize) -> Result<Pipe, Errno> {
        self.ends.open_pipe(size_bytes)
    }

    fn set_nodelay(&mut self) {
        self.ends.set_nodelay();
    }

    fn finish(&mut self) {
        self.ends.finish();
    }

    fn spent(&self) -> bool {
        self.messages == 0
    }
}

#[cfg(test)]
mod tests;
