//! The two ends of one direction, as the pump sees them: real sockets here, a script in the tests.

use super::moved::Engine;
use crate::sys::pipe::Pipe;
use crate::sys::stream::Stream;
use crate::sys::{Errno, Read, Write};

/// What a read into memory gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct WireRead {
    /// What stands in the buffer.
    pub(super) read: Read,
    /// Bytes that were taken from the source's socket, whatever they were made into.
    pub(super) taken: usize,
}

impl From<Read> for WireRead {
    /// A read whose bytes stand in the buffer as they were taken.
    fn from(read: Read) -> WireRead {
        WireRead { read, taken: if let Read::Bytes(count) = read { count } else { 0 } }
    }
}

/// Where a [`super::half::Half`] reads and writes.
pub(super) trait Wire {
    /// The vehicle of splice.
    type Pipe;

    /// The engine that goes through memory.
    const THROUGH_MEMORY: Engine = Engine::Copy;

    /// What a buffer has to have at least that is read into: what is sealed is opened in one piece, however little of it is
    /// wanted. 0 where any number of bytes may be read.
    const BUFFER_BYTES_MIN: usize = 0;

    /// Reads from the source, no more of it than `max_bytes`. A count below that and below the buffer's length emptied
    /// the source.
    fn recv(&mut self, buffer: &mut [u8], max_bytes: usize) -> WireRead;
    /// Writes to the sink. A count below the buffer's length filled the sink.
    fn send(&mut self, bytes: &[u8]) -> Write;
    /// Source to pipe. The pipe is empty before the call, so that `Blocked` means that the source is empty.
    fn fill(&mut self, pipe: &Self::Pipe, max_bytes: usize) -> Read;
    /// Pipe to sink. The pipe holds bytes, so that `Blocked` means that the sink is full.
    fn drain(&mut self, pipe: &Self::Pipe, max_bytes: usize) -> Write;
    /// Pipe to memory, for a sink that refuses splice.
    fn unload(&mut self, pipe: &Self::Pipe, buffer: &mut [u8]) -> Read;
    /// Opens a pipe of about this size.
    ///
    /// # Errors
    /// What the kernel refused; the half then copies.
    fn open_pipe(&mut self, size_bytes: usize) -> Result<Self::Pipe, Errno>;
    /// Sets TCP_NODELAY on the sink: small writes leave at once from here on.
    fn set_nodelay(&mut self);
    /// Sends FIN to the sink.
    fn finish(&mut self);
    /// How many bytes, without what a seal adds, the sink has once it has taken so many more of those that were read.
    fn delivered(&mut self, count: usize) -> usize {
        count
    }
    /// Whether a read that took so many bytes, of which it was to take `room` at most, emptied the source.
    fn emptied(&self, taken: usize, room: usize) -> bool {
        taken < room
    }
    /// Whether what comes next may pass without a look at it.
    fn may_splice(&self) -> bool {
        true
    }
    /// Whether all was read that this direction is to carry, whatever else its source may send.
    fn ended(&self) -> bool {
        false
    }
    /// Whether the sink is to be told of an end of this direction.
    fn tells_end(&self) -> bool {
        true
    }
    /// Whether reading has been work enough for one turn, however few bytes came of it.
    fn spent(&self) -> bool {
        false
    }
}

/// One direction between two sockets.
#[derive(Debug)]
pub(super) struct Ends<'a> {
    /// Read from.
    pub(super) source: &'a Stream,
    /// Written to.
    pub(super) sink: &'a Stream,
    /// The other direction has ended in order: when this one does, both sockets are closed at once, and the close
    /// sends the FIN.
    pub(super) last: bool,
}

impl Wire for Ends<'_> {
    type Pipe = Pipe;

    fn recv(&mut self, buffer: &mut [u8], max_bytes: usize) -> WireRead {
        let room = buffer.len().min(max_bytes);
        self.source.recv(&mut buffer[..room]).into()
    }

    fn send(&mut self, bytes: &[u8]) -> Write {
        self.sink.send(bytes)
    }

    fn fill(&mut self, pipe: &Pipe, max_bytes: usize) -> Read {
        pipe.fill_from(self.source, max_bytes)
    }

    fn drain(&mut self, pipe: &Pipe, max_bytes: usize) -> Write {
        pipe.drain_to(self.sink, max_bytes)
    }

    fn unload(&mut self, pipe: &Pipe, buffer: &mut [u8]) -> Read {
        pipe.read(buffer)
    }

    fn open_pipe(&mut self, size_bytes: usize) -> Result<Pipe, Errno> {
        Pipe::open(size_bytes)
    }

    fn set_nodelay(&mut self) {
        self.sink.set_nodelay();
    }

    fn finish(&mut self) {
        if !self.last {
            self.sink.shut_down_writing();
        }
    }
}
