//! Keyed byte streams over sockets: each session's bytes are its own.

#[path = "../../loadtest/src/keyed/stream.rs"]
mod stream;

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use stream::CHUNK;
pub(crate) use stream::{Keyed, mix};

/// How a stream ended for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A clean end: `read` returned 0.
    Fin,
    /// `ECONNRESET`.
    Reset,
}

impl Keyed {
    /// The next `len` bytes, at most 256 KiB, taken as sent.
    pub(crate) fn take(&mut self, len: usize) -> &'static [u8] {
        assert!(len <= CHUNK);
        let bytes = self.window(len as u64);
        self.advance(len);
        bytes
    }

    /// Sends the next `len` bytes.
    pub(crate) fn send(&mut self, to: &TcpStream, len: u64) {
        self.try_send(to, len)
            .unwrap_or_else(|error| panic!("{self:?}: cannot send byte {}: {error}", self.count));
    }

    /// Sends the next `len` bytes, or as many as went before an error.
    pub(crate) fn try_send(&mut self, mut to: &TcpStream, len: u64) -> io::Result<()> {
        let end = self.count + len;
        while self.count < end {
            match to.write(self.window(end - self.count)) {
                Ok(sent) => self.advance(sent),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends until `most` bytes more are sent or the socket takes no more at once.
    pub(crate) fn send_what_fits(&mut self, to: &TcpStream, most: u64) {
        to.set_nonblocking(true).expect("non-blocking");
        let sent = self.try_send(to, most);
        to.set_nonblocking(false).expect("blocking");
        if let Err(error) = sent
            && error.kind() != ErrorKind::WouldBlock
        {
            panic!("{self:?}: cannot send byte {}: {error}", self.count);
        }
    }

    /// Insists that `bytes` come next in this stream.
    pub(crate) fn insist(&mut self, bytes: &[u8]) {
        if let Err(position) = self.check(bytes) {
            panic!("{self:?}: a foreign byte at {position}");
        }
    }

    /// Receives exactly `len` bytes.
    pub(crate) fn receive(&mut self, from: &TcpStream, len: u64) {
        let end = self.count + len;
        let mut buffer = vec![0; self.window(len).len()];
        while self.count < end {
            let most = buffer.len().min(usize::try_from(end - self.count).unwrap_or(CHUNK));
            match self.receive_some(from, &mut buffer[..most]) {
                None => {}
                Some(how) => panic!("{self:?}: {how:?} at byte {} of {end}", self.count),
            }
        }
    }

    /// Receives to the end of the stream and says which end it was.
    pub(crate) fn receive_to_end(&mut self, from: &TcpStream) -> End {
        let mut buffer = vec![0; CHUNK];
        loop {
            if let Some(end) = self.receive_some(from, &mut buffer) {
                return end;
            }
        }
    }

    /// Receives the whole rest: `total` bytes since the stream's start, then a clean end.
    pub(crate) fn receive_all(&mut self, from: &TcpStream, total: u64) {
        let end = self.receive_to_end(from);
        assert_eq!((self.count, end), (total, End::Fin), "{self:?}");
    }

    /// As `receive_all`; gives the longest time for which no byte came.
    pub(crate) fn receive_all_timed(&mut self, from: &TcpStream, total: u64) -> Duration {
        let mut buffer = vec![0; CHUNK];
        let mut longest = Duration::ZERO;
        loop {
            let asked = Instant::now();
            let end = self.receive_some(from, &mut buffer);
            longest = longest.max(asked.elapsed());
            if let Some(end) = end {
                assert_eq!((self.count, end), (total, End::Fin), "{self:?}");
                return longest;
            }
        }
    }

    /// One read; the end of the stream if it has come.
    fn receive_some(&mut self, mut from: &TcpStream, buffer: &mut [u8]) -> Option<End> {
        match from.read(buffer) {
            Ok(0) => return Some(End::Fin),
            Ok(read) => self.insist(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Some(End::Reset),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{self:?}: stuck at byte {}: {error}", self.count),
        }
        None
    }
}
