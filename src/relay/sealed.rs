//! A session whose client's side is sealed (RFC 1961 section 5): what the client sends is opened on the way to the target,
//! what the target sends is sealed on the way to the client.
//!
//! Both happen behind the read, so that a [`Half`](super::half::Half) holds, counts and writes what its sink takes, and its
//! end is what it is elsewhere: FIN goes through either way by itself.

use std::fmt;

use super::budget::Budgets;
use super::driven::Driven;
use super::halves::Halves;
use super::kit::{Kit, SealKit};
use super::moved::Engine;
use super::side::{Edge, Side};
use super::wire::{Ends, Wire, WireRead};
use crate::config::RelayMode;
use crate::limits;
use crate::proto::gss::{MessageType, decode};
use crate::seal::{MESSAGE_BYTES_MAX, Seal, SealError};
use crate::sys::pipe::Pipe;
use crate::sys::stream::Stream;
use crate::sys::{Errno, Read, Write};

/// The halves of a session whose client's side is sealed, and the seal between them.
#[derive(Debug)]
pub(super) struct SealedHalves {
    halves: Halves,
    sealed: Sealed,
}

impl SealedHalves {
    /// A session whose client sent `pending`, which was opened already, and `begun`, which is not.
    pub(super) fn new(pending: &[u8], seal: Box<Seal>, begun: Vec<u8>, kit: &mut Kit<Pipe>) -> SealedHalves {
        SealedHalves {
            halves: Halves::new(RelayMode::Copy, pending, kit).translated(),
            sealed: Sealed::new(seal, begun),
        }
    }

    /// So many bytes in front of what was pending are not the client's.
    pub(super) fn preface(&mut self, bytes: usize) {
        self.halves.preface(bytes);
    }

    /// An event of one side's socket.
    pub(super) fn event(&mut self, side: Side, edge: Edge) {
        self.halves.event(side, edge);
    }

    /// Moves what can be moved in both directions, as far as the budgets reach.
    pub(super) fn drive(
        &mut self,
        client: &Stream,
        target: &Stream,
        kit: &mut Kit<Pipe>,
        budgets: &mut Budgets,
    ) -> Driven {
        let SealedHalves { halves, sealed } = self;
        halves.drive(client, target, kit, budgets, |half, ends, from, kit, budget| {
            let mut seal_kit = std::mem::take(&mut kit.seal);
            let messages = limits::SEALED_MESSAGES_PER_TURN;
            let mut ends = SealedEnds { ends, sealed, kit: &mut seal_kit, from, messages };
            let moved = half.pump(&mut ends, kit, budget);
            kit.seal = seal_kit;
            moved
        })
    }

    /// Why the session cannot go on, once it cannot.
    pub(super) fn error(&self) -> Option<&SealError> {
        self.sealed.error.as_ref()
    }

    /// Bytes of this side that the other has, without what the seal adds.
    pub(super) fn bytes(&self, from: Side) -> u64 {
        self.halves.bytes(from)
    }

    /// Bytes for this side that it does not have: read, and of a message that is not whole, too.
    pub(super) fn pending_bytes(&self, to: Side) -> usize {
        let held = if to == Side::Target { self.sealed.held_bytes() } else { 0 };
        self.halves.pending_bytes(to) + held
    }

    /// Whether something could be moved without an event.
    pub(super) fn ready(&self) -> bool {
        self.halves.ready()
    }

    /// Whether something that comes from this side could be moved without an event.
    pub(super) fn ready_from(&self, side: Side) -> bool {
        self.halves.ready_from(side)
    }

    /// Whether either direction has ended.
    pub(super) fn half_closed(&self) -> bool {
        self.halves.half_closed()
    }

    /// Gives everything lent back.
    pub(super) fn release(&mut self, kit: &mut Kit<Pipe>) {
        self.halves.release(kit);
    }
}

/// The seal of a session and what it holds between two reads.
struct Sealed {
    seal: Box<Seal>,
    /// What has come of the client and is not opened: the beginning of a message, behind those that wait for a turn.
    begun: Vec<u8>,
    /// Content of the client that one read could not take, and how much of it is gone.
    opened: (Vec<u8>, usize),
    /// Why the session cannot go on.
    error: Option<SealError>,
    /// What one read of the target was sealed in.
    batch: SealedBatch,
}

/// Messages for the client, made of one read of the target.
#[derive(Clone, Copy, Default)]
struct SealedBatch {
    /// Bytes of the target in them.
    plain_bytes: usize,
    /// Bytes of them that the client's socket has not taken.
    left_bytes: usize,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("error", &self.error).finish_non_exhaustive()
    }
}

impl Sealed {
    /// The seal of a session whose client has sent `begun` behind its request, still sealed.
    fn new(seal: Box<Seal>, begun: Vec<u8>) -> Sealed {
        Sealed { seal, begun, opened: (Vec::new(), 0), error: None, batch: SealedBatch::default() }
    }

    /// The client's socket took so many bytes of messages: how many bytes of the target the client has by that. Those of
    /// one read count once all their messages are taken.
    fn delivered(&mut self, count: usize) -> usize {
        self.batch.left_bytes -= count;
        if self.batch.left_bytes == 0 { std::mem::take(&mut self.batch.plain_bytes) } else { 0 }
    }

    /// How many bytes of the client wait here: content, and what no content has come of yet.
    fn held_bytes(&self) -> usize {
        self.rest().len() + self.begun.len()
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

    /// Content of the client: of all messages that are whole by one read of so many bytes at most. 0 bytes where there is
    /// none. `messages` of them are counted down.
    fn open(
        &mut self,
        ends: &mut Ends<'_>,
        buffer: &mut [u8],
        max_bytes: usize,
        kit: &mut SealKit,
        messages: &mut usize,
    ) -> WireRead {
        if !self.rest().is_empty() {
            return WireRead { read: Read::Bytes(self.take_rest(buffer)), taken: 0 };
        }
        if self.error.is_some() {
            return Read::Failed(Errno::EBADMSG).into();
        }
        let SealKit { raw, content } = kit;
        raw.resize(limits::SEALED_READ_BYTES, 0);
        let begun = self.begun.len();
        raw[..begun].copy_from_slice(&self.begun);
        let mut taken = 0;
        // Messages that came behind the request may be whole, and those that the last turn left.
        if matches!(decode(&self.begun, MessageType::Encapsulated), Ok(None)) {
            // What the buffer does not take stays with this session: room for it, or for any one message.
            let room = buffer.len().clamp(MESSAGE_BYTES_MAX, limits::SEALED_READ_BYTES);
            let room = room.min(begun.saturating_add(max_bytes));
            match ends.source.recv(&mut raw[begun..room]) {
                Read::Bytes(count) => taken = count,
                Read::End if begun > 0 => return self.fail(SealError::Truncated).into(),
                other => return other.into(),
            }
        }
        let end = begun + taken;
        content.clear();
        let used = match self.open_all(&raw[..end], content, messages) {
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

    /// Messages for the client of what one read of the target brings, of so many bytes at most.
    fn seal(
        &mut self,
        ends: &mut Ends<'_>,
        buffer: &mut [u8],
        max_bytes: usize,
        kit: &mut SealKit,
    ) -> WireRead {
        let SealKit { raw, content } = kit;
        let room = match self.seal.plain_max(buffer.len()) {
            Ok(room) => room.min(limits::SEALED_READ_BYTES).min(max_bytes),
            Err(error) => return self.fail(error).into(),
        };
        raw.resize(limits::SEALED_READ_BYTES, 0);
        let taken = match ends.source.recv(&mut raw[..room]) {
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
        self.batch = SealedBatch { plain_bytes: taken, left_bytes: content.len() };
        WireRead { read: Read::Bytes(content.len()), taken }
    }
}

/// One direction of a sealed session.
#[derive(Debug)]
struct SealedEnds<'a> {
    ends: Ends<'a>,
    sealed: &'a mut Sealed,
    kit: &'a mut SealKit,
    /// Which side is read from.
    from: Side,
    /// Messages that may still be opened in this turn.
    messages: usize,
}

impl Wire for SealedEnds<'_> {
    type Pipe = Pipe;

    const THROUGH_MEMORY: Engine = Engine::Sealed;

    fn recv(&mut self, buffer: &mut [u8], max_bytes: usize) -> WireRead {
        let SealedEnds { ends, sealed, kit, from, messages } = self;
        match from {
            Side::Client => sealed.open(ends, buffer, max_bytes, kit, messages),
            Side::Target => sealed.seal(ends, buffer, max_bytes, kit),
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

    fn delivered(&mut self, count: usize) -> usize {
        match self.from {
            Side::Client => count,
            Side::Target => self.sealed.delivered(count),
        }
    }

    fn spent(&self) -> bool {
        self.messages == 0
    }
}

#[cfg(test)]
mod tests;
