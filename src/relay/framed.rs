//! A wire that ends where the message ends that it carries, whatever else its source may send.

use super::message::{AnswerTerms, HttpMessage};
use super::moved::Engine;
use super::wire::{Wire, WireRead};
use crate::sys::{Errno, Read, Write};

/// One direction of an exchange, over whatever its bytes come and go by.
#[derive(Debug)]
pub(super) struct Framed<'a, W> {
    wire: W,
    message: &'a mut HttpMessage,
    /// How a head is read that comes before the rest.
    terms: Option<AnswerTerms<'a>>,
    /// The sink is told of an end: what is carried is no message any more.
    tells_end: bool,
    /// The last read emptied the source.
    emptied: bool,
}

impl<'a, W> Framed<'a, W> {
    pub(super) fn new(
        wire: W,
        message: &'a mut HttpMessage,
        terms: Option<AnswerTerms<'a>>,
    ) -> Framed<'a, W> {
        Framed { wire, message, terms, tells_end: false, emptied: false }
    }

    /// Has the sink told of an end, as a relay's is.
    pub(super) fn telling_end(self, tells_end: bool) -> Framed<'a, W> {
        Framed { tells_end, ..self }
    }
}

impl<W: Wire> Wire for Framed<'_, W> {
    type Pipe = W::Pipe;

    const THROUGH_MEMORY: Engine = W::THROUGH_MEMORY;

    fn recv(&mut self, buffer: &mut [u8], max_bytes: usize) -> WireRead {
        if self.message.has_made() {
            self.emptied = false;
            return WireRead { read: Read::Bytes(self.message.take_made(buffer)), taken: 0 };
        }
        let room = self.message.wants(buffer.len().min(max_bytes));
        let (space, most) = match W::BUFFER_BYTES_MIN {
            0 => (room, room),
            // What is opened beyond what is wanted stands behind the message, and is kept.
            least => (room.max(least).min(buffer.len()), max_bytes),
        };
        let WireRead { read, taken } = self.wire.recv(&mut buffer[..space], most);
        let emptied = self.wire.emptied(taken, room);
        let Read::Bytes(count) = read else { return WireRead { read, taken } };
        let Some(count) = self.message.take_read(buffer, count, self.terms.as_mut()) else {
            return WireRead { read: Read::Failed(Errno::EPROTO), taken };
        };
        self.emptied = emptied && !self.message.has_made();
        WireRead { read: Read::Bytes(count), taken }
    }

    fn send(&mut self, bytes: &[u8]) -> Write {
        self.wire.send(bytes)
    }

    fn fill(&mut self, pipe: &Self::Pipe, max_bytes: usize) -> Read {
        let unseen = usize::try_from(self.message.unseen_bytes()).unwrap_or(usize::MAX);
        let read = self.wire.fill(pipe, max_bytes.min(unseen));
        if let Read::Bytes(count) = read {
            self.message.pass(count);
        }
        read
    }

    fn drain(&mut self, pipe: &Self::Pipe, max_bytes: usize) -> Write {
        self.wire.drain(pipe, max_bytes)
    }

    fn unload(&mut self, pipe: &Self::Pipe, buffer: &mut [u8]) -> Read {
        self.wire.unload(pipe, buffer)
    }

    fn open_pipe(&mut self, size_bytes: usize) -> Result<Self::Pipe, Errno> {
        self.wire.open_pipe(size_bytes)
    }

    fn set_nodelay(&mut self) {
        self.wire.set_nodelay();
    }

    fn finish(&mut self) {
        if self.tells_end {
            self.wire.finish();
        }
    }

    fn delivered(&mut self, count: usize) -> usize {
        self.wire.delivered(count)
    }

    fn emptied(&self, _: usize, _: usize) -> bool {
        self.emptied
    }

    fn may_splice(&self) -> bool {
        self.message.unseen_bytes() > 0 && self.wire.may_splice()
    }

    fn ended(&self) -> bool {
        self.message.is_whole() || self.wire.ended()
    }

    // Where the connection's end is the message's it is one in order, which behind TLS has to be said.
    fn tells_end(&self) -> bool {
        self.tells_end || !self.message.is_whole() && self.message.ends_with_source()
    }

    fn spent(&self) -> bool {
        self.wire.spent()
    }
}
