//! Keyed byte streams: each session's bytes are its own.
//!
//! A keyed stream is a window that slides over one block of random bytes from a place that its key
//! names: a byte that was lost, doubled, moved or taken from another session differs from the window,
//! and sending or checking costs no more than a memory comparison. The block's period is prime, so no
//! whole number of pipes or buffers brings the window back to where it was.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Length of the random block; prime.
const PERIOD: usize = 1_048_573;

/// The most that one write sends and one read takes.
const CHUNK: usize = 256 * 1024;

/// The block, twice in a row, so that a window of up to one period is contiguous anywhere.
fn block() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut bytes: Vec<u8> = (0..).map(mix).flat_map(u64::to_le_bytes).take(PERIOD).collect();
        bytes.extend_from_within(..);
        bytes
    })
}

/// One step of splitmix64: a well-mixed value from any other.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How a stream ended for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A clean end: `read` returned 0.
    Fin,
    /// `ECONNRESET`.
    Reset,
}

/// A keyed stream and the place up to which it has been sent or checked.
#[derive(Clone)]
pub(crate) struct Keyed {
    key: u64,
    at: usize,
    /// Bytes sent, or received and found right.
    pub(crate) count: u64,
}

impl Keyed {
    pub(crate) fn new(key: u64) -> Self {
        let at = usize::try_from(mix(key) % PERIOD as u64).expect("below the period");
        Self { key, at, count: 0 }
    }

    fn window(&self, most: u64) -> &'static [u8] {
        let len = usize::try_from(most).unwrap_or(CHUNK).min(CHUNK);
        &block()[self.at..self.at + len]
    }

    fn advance(&mut self, len: usize) {
        self.at = (self.at + len) % PERIOD;
        self.count += len as u64;
    }

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
            .unwrap_or_else(|error| panic!("stream {}: cannot send byte {}: {error}", self.key, self.count));
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
            panic!("stream {}: cannot send byte {}: {error}", self.key, self.count);
        }
    }

    /// Insists that `bytes` come next in this stream.
    pub(crate) fn check(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(CHUNK) {
            let wanted = self.window(part.len() as u64);
            if part != wanted {
                let right = part.iter().zip(wanted).take_while(|(got, want)| got == want).count();
                panic!("stream {}: a foreign byte at {}", self.key, self.count + right as u64);
            }
            self.advance(part.len());
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
                Some(how) => panic!("stream {}: {how:?} at byte {} of {end}", self.key, self.count),
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
        assert_eq!((self.count, end), (total, End::Fin), "stream {}", self.key);
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
                assert_eq!((self.count, end), (total, End::Fin), "stream {}", self.key);
                return longest;
            }
        }
    }

    /// One read; the end of the stream if it has come.
    fn receive_some(&mut self, mut from: &TcpStream, buffer: &mut [u8]) -> Option<End> {
        match from.read(buffer) {
            Ok(0) => return Some(End::Fin),
            Ok(read) => self.check(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Some(End::Reset),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("stream {}: stuck at byte {}: {error}", self.key, self.count),
        }
        None
    }
}
