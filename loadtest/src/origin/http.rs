//! The origin's `http` service: `GET /SIZE` over connections that are kept, answered with so many bytes.

use std::io::{self, ErrorKind, Read, Write};

use super::turn::Fate;
use crate::payload::Pattern;

/// Fields of a request, and bytes of its head.
const FIELDS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The most of a body that goes out in one piece with its head.
const JOINED_BYTES: usize = 64 << 10;

/// One connection.
#[derive(Default)]
pub(super) struct HttpPeer {
    /// Requests so far, from the first that is not answered.
    held: Vec<u8>,
    /// What of the answer goes out first, and how much of that is gone.
    out: Vec<u8>,
    gone: usize,
    /// Where in the body the rest begins, and its length.
    at: usize,
    size: usize,
    closing: bool,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// Bytes of the request.
    len: usize,
    /// Bytes of the answer.
    size: usize,
    kept: bool,
    version: u8,
}

impl HttpPeer {
    pub(super) fn step<S: Read + Write>(
        &mut self,
        stream: &mut S,
        scratch: &mut [u8],
        (pattern, page_bytes): (&Pattern, usize),
        ended: bool,
    ) -> io::Result<Fate> {
        let mut drained = false;
        loop {
            if !self.flush(stream, pattern)? {
                return Ok(Fate::Keep);
            }
            if self.closing {
                return Ok(Fate::Close);
            }
            match wanted(&self.held, page_bytes)? {
                Some(wanted) => self.answer(&wanted, pattern),
                None if drained && !ended => return Ok(Fate::Keep),
                None => {
                    let count = match stream.read(scratch) {
                        Ok(0) => return Ok(Fate::Close),
                        Ok(count) => count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Fate::Keep),
                        Err(error) => return Err(error),
                    };
                    drained = count < scratch.len();
                    self.held.extend_from_slice(&scratch[..count]);
                }
            }
        }
    }

    fn answer(&mut self, wanted: &Wanted, pattern: &Pattern) {
        self.held.drain(..wanted.len);
        self.closing = !wanted.kept;
        let connection = match (wanted.kept, wanted.version) {
            (false, _) => "Connection: close\r\n",
            (true, 0) => "Connection: keep-alive\r\n",
            (true, _) => "",
        };
        self.out.clear();
        self.gone = 0;
        let head = format!(
            "HTTP/1.1 200 OK\r\nServer: outflow-load\r\nContent-Type: application/octet-stream\r\n\
             Cache-Control: no-store\r\n{connection}Content-Length: {}\r\n\r\n",
            wanted.size
        );
        self.out.extend_from_slice(head.as_bytes());
        self.out.extend_from_slice(pattern.at(0, wanted.size.min(JOINED_BYTES)));
        (self.at, self.size) = (self.out.len() - head.len(), wanted.size);
    }

    /// `false` while the send buffer has no room.
    fn flush<S: Write>(&mut self, stream: &mut S, pattern: &Pattern) -> io::Result<bool> {
        loop {
            let rest = match &self.out[self.gone..] {
                [] if self.at == self.size => return Ok(true),
                [] => pattern.at(self.at, self.size - self.at),
                rest => rest,
            };
            match stream.write(rest) {
                Ok(count) if self.gone < self.out.len() => self.gone += count,
                Ok(count) => self.at += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The first request of `held`, once its head is complete; `Err` where it is none.
fn wanted(held: &[u8], page_bytes: usize) -> io::Result<Option<Wanted>> {
    if held.is_empty() {
        return Ok(None);
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(held).map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
    let httparse::Status::Complete(len) = parsed else {
        return if held.len() > HEAD_BYTES_MAX { Err(ErrorKind::InvalidData.into()) } else { Ok(None) };
    };
    let size = request.path.and_then(|path| path.strip_prefix('/')?.parse().ok()).unwrap_or(page_bytes);
    let connection = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("Connection"));
    let connection = connection.filter_map(|field| std::str::from_utf8(field.value).ok());
    let mut options = connection.flat_map(|value| value.split(',')).map(str::trim);
    let version = request.version.unwrap_or_default();
    // RFC 9112 section 9.3.
    let kept = match version {
        0 => options.any(|option| option.eq_ignore_ascii_case("keep-alive")),
        _ => !options.any(|option| option.eq_ignore_ascii_case("close")),
    };
    Ok(Some(Wanted { len, size, kept, version }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn a_request_says_how_much_and_whether_more_will_come() {
        let first = |text: &str| wanted(text.as_bytes(), 9).expect("a request").expect("all of it");
        let plain = "GET /5000 HTTP/1.1\r\nHost: a\r\n\r\n";
        let expected = Wanted { len: plain.len(), size: 5000, kept: true, version: 1 };
        assert_eq!(first(plain), expected);
        assert_eq!(first(&format!("{plain}GET /1")), expected);
        assert!(!first("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n").kept);
        assert!(!first("GET / HTTP/1.0\r\n\r\n").kept);
        assert!(first("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").kept);
        assert_eq!(first("GET /x HTTP/1.1\r\n\r\n").size, 9);
        for cut in 0..plain.len() {
            assert_eq!(wanted(&plain.as_bytes()[..cut], 9).expect("no fault"), None, "{cut} bytes");
        }
        assert!(wanted(b"\x05\x01\x00", 9).is_err());
    }

    /// Gives what it has, then nothing yet.
    #[derive(Default)]
    struct Ends {
        input: VecDeque<u8>,
        output: Vec<u8>,
    }

    impl Read for Ends {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.input.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { self.input.read(buffer) }
        }
    }

    impl Write for Ends {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.output.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn requests_in_one_piece_are_answered_in_turn() {
        let pattern = Pattern::new(100_000);
        let mut ends = Ends::default();
        ends.input.extend(b"GET /3 HTTP/1.1\r\n\r\nGET /70000 HTTP/1.0\r\n\r\n");
        let mut peer = HttpPeer::default();
        let fate = peer.step(&mut ends, &mut [0; 4096], (&pattern, 9), false).expect("good requests");
        assert!(fate == Fate::Close);
        let text = String::from_utf8_lossy(&ends.output);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("Content-Length: 3\r\n\r\n\0\u{1}\u{2}HTTP/1.1 200 OK"), "{text}");
        assert!(text.contains("Connection: close\r\nContent-Length: 70000\r\n\r\n"));
        assert!(ends.output.ends_with(pattern.at(69_000, 1_000)));
    }
}
