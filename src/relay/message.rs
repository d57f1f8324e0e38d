//! One message of HTTP in one direction of an exchange: where it ends, and what is made of it on the way.
//!
//! What is read of a source is the message's to its last byte, and what stands behind it is kept apart. The head of a response
//! is read and written anew behind the read, as what is sealed is, so that a [`Half`](super::half::Half) holds and counts what
//! its sink takes.

use crate::limits;
use crate::proto::http::{
    ChunkError, ChunkPiece, ChunkReader, FieldRoom, ForwardRequest, Framing, HeadError, HttpVersion,
    ToClient, read_response,
};

/// One message, as far as it is not read yet.
#[derive(Debug)]
pub(super) struct HttpMessage {
    /// The head that is due before the rest.
    head: Option<HeldHead>,
    rest: BodyRest,
    /// What was made of a read that had no room for it, and how much of it is gone.
    made: (Vec<u8>, usize),
    /// Bytes that were read with the message and stand behind it.
    behind: Vec<u8>,
    error: Option<MessageError>,
    begun: bool,
    is_request: bool,
}

/// What came of a head, and how much of it was looked at.
#[derive(Debug, Default)]
struct HeldHead {
    bytes: Vec<u8>,
    scanned: usize,
}

/// What is left of a body.
#[derive(Debug)]
enum BodyRest {
    Nothing,
    Bytes(u64),
    /// Chunks, which go on as such or as the data in them.
    Chunks {
        reader: ChunkReader,
        unchunk: bool,
    },
    UntilClose,
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// They are no head.
    Head(HeadError),
    /// They are no chunks.
    Chunks(ChunkError),
}

impl std::fmt::Display for MessageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MessageError::Head(error) => error.fmt(f),
            MessageError::Chunks(error) => error.fmt(f),
        }
    }
}

/// What the head of a response said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadSaid {
    pub(super) status: u16,
    /// Whether the client was told that its connection is kept.
    pub(super) keeps_client: bool,
    /// Whether the target keeps its connection.
    pub(super) keeps_target: bool,
    /// Whether what follows is no HTTP.
    pub(super) switches: bool,
}

/// What the head of a response is read and written by.
#[derive(Debug)]
pub(super) struct AnswerTerms<'a> {
    pub(super) request: &'a ForwardRequest,
    /// Whether the client's connection may be kept.
    pub(super) keeps: bool,
    pub(super) said: &'a mut Option<HeadSaid>,
}

impl HttpMessage {
    /// A request whose head was read already, and what of its body came with it: so many bytes at the front of `came`.
    pub(super) fn request(framing: Framing, came: &mut [u8]) -> (HttpMessage, usize) {
        let mut message = HttpMessage {
            head: None,
            rest: BodyRest::of(framing, false),
            made: (Vec::new(), 0),
            behind: Vec::new(),
            error: None,
            begun: false,
            is_request: true,
        };
        let count = message.take(came).unwrap_or_else(|error| {
            message.error = Some(error);
            0
        });
        (message, count)
    }

    /// A response whose head is to come.
    pub(super) fn response() -> HttpMessage {
        let (message, _) = HttpMessage::request(Framing::None, &mut []);
        HttpMessage { head: Some(HeldHead::default()), is_request: false, ..message }
    }

    /// Whether all of it was read.
    pub(super) fn is_whole(&self) -> bool {
        self.head.is_none()
            && matches!(self.rest, BodyRest::Nothing)
            && !self.has_made()
            && self.error.is_none()
    }

    /// Whether the end of its source makes it whole.
    pub(super) fn ends_with_source(&self) -> bool {
        self.is_whole()
            || self.head.is_none() && matches!(self.rest, BodyRest::UntilClose) && !self.has_made()
    }

    /// Whether any byte of it was read of its source.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// Why it is none.
    pub(super) fn error(&self) -> Option<&MessageError> {
        self.error.as_ref()
    }

    /// What was read with it and stands behind it.
    pub(super) fn take_behind(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.behind)
    }

    /// Whether anything was read with it that stands behind it.
    pub(super) fn has_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Whatever comes from here on belongs to it.
    pub(super) fn go_on_until_close(&mut self) {
        self.rest = BodyRest::UntilClose;
    }

    /// Bytes of it that may pass unseen, one after the other; 0 where the next ones are to be looked at.
    pub(super) fn unseen_bytes(&self) -> u64 {
        match self.rest {
            _ if self.head.is_some() || self.has_made() => 0,
            BodyRest::Bytes(left) => left,
            BodyRest::UntilClose => u64::MAX,
            // Short ones are read together with the lines between them.
            BodyRest::Chunks { reader, .. } if reader.data_left() >= limits::PROMOTE_READ_BYTES as u64 => {
                reader.data_left()
            }
            BodyRest::Nothing | BodyRest::Chunks { .. } => 0,
        }
    }

    /// So many bytes passed unseen.
    pub(super) fn pass(&mut self, count: usize) {
        match &mut self.rest {
            BodyRest::Bytes(left) => {
                *left -= count as u64;
                if *left == 0 {
                    self.rest = BodyRest::Nothing;
                }
            }
            BodyRest::Chunks { reader, .. } => reader.skip(count as u64),
            BodyRest::Nothing | BodyRest::UntilClose => {}
        }
    }

    /// How much the next read may take of the source.
    pub(super) fn wants(&self, room: usize) -> usize {
        match self.rest {
            // What comes of the body with the head passes through memory once more.
            _ if self.head.is_some() => room.min(limits::HTTP_ANSWER_READ_BYTES),
            BodyRest::Bytes(left) => at_most(left, room),
            // What stands behind the last chunk comes with it, and is kept.
            BodyRest::Chunks { .. } if self.is_request => room.min(limits::HTTP_CHUNKS_READ_BYTES),
            BodyRest::Nothing | BodyRest::Chunks { .. } | BodyRest::UntilClose => room,
        }
    }

    /// Whether an earlier read has left something that goes on.
    pub(super) fn has_made(&self) -> bool {
        self.made.1 < self.made.0.len()
    }

    /// Gives what an earlier read has left.
    pub(super) fn take_made(&mut self, buffer: &mut [u8]) -> usize {
        let (bytes, gone) = &mut self.made;
        let count = buffer.len().min(bytes.len() - *gone);
        buffer[..count].copy_from_slice(&bytes[*gone..*gone + count]);
        *gone += count;
        if *gone == bytes.len() {
            self.made = (Vec::new(), 0);
        }
        count
    }

    /// Takes so many bytes at the front of the buffer, which were read of the source; how many stand there then that go on.
    /// `None` where they are no message.
    pub(super) fn take_read(
        &mut self,
        buffer: &mut [u8],
        count: usize,
        terms: Option<&mut AnswerTerms<'_>>,
    ) -> Option<usize> {
        self.begun |= count > 0;
        let taken = match (self.head.take(), terms) {
            (Some(head), Some(terms)) => self.take_with_head(head, buffer, count, terms),
            _ => self.take(&mut buffer[..count]),
        };
        taken.map_err(|error| self.error = Some(error)).ok()
    }

    fn take_with_head(
        &mut self,
        mut head: HeldHead,
        buffer: &mut [u8],
        count: usize,
        terms: &mut AnswerTerms<'_>,
    ) -> Result<usize, MessageError> {
        let mut held = std::mem::take(&mut head.bytes);
        let came: &mut [u8] = if held.is_empty() {
            &mut buffer[..count]
        } else {
            held.extend_from_slice(&buffer[..count]);
            &mut held
        };
        let mut output = Vec::new();
        let mut at = 0;
        while let Some((used, whole)) = read_head(&came[at..], &mut head.scanned, terms, &mut output)? {
            at += used;
            head.scanned = 0;
            if let Some((framing, unchunk)) = whole {
                self.rest = BodyRest::of(framing, unchunk);
                let goes_on = self.take(&mut came[at..])?;
                output.extend_from_slice(&came[at..at + goes_on]);
                self.made = (output, 0);
                return Ok(self.take_made(buffer));
            }
        }
        head.bytes = came[at..].to_vec();
        self.head = Some(head);
        self.made = (output, 0);
        Ok(self.take_made(buffer))
    }

    /// Takes bytes of the body: so many at the front go on. What stands behind the body is kept.
    fn take(&mut self, bytes: &mut [u8]) -> Result<usize, MessageError> {
        let (goes_on, used) = match &mut self.rest {
            BodyRest::Nothing => (0, 0),
            BodyRest::UntilClose => (bytes.len(), bytes.len()),
            BodyRest::Bytes(left) => {
                let count = at_most(*left, bytes.len());
                *left -= count as u64;
                (count, count)
            }
            BodyRest::Chunks { reader, unchunk } => {
                pass_chunks(reader, *unchunk, bytes).map_err(MessageError::Chunks)?
            }
        };
        self.behind.extend_from_slice(&bytes[used..]);
        let over = match &self.rest {
            BodyRest::Bytes(left) => *left == 0,
            BodyRest::Chunks { reader, .. } => reader.is_over(),
            BodyRest::Nothing | BodyRest::UntilClose => false,
        };
        if over {
            self.rest = BodyRest::Nothing;
        }
        Ok(goes_on)
    }
}

impl BodyRest {
    fn of(framing: Framing, unchunk: bool) -> BodyRest {
        match framing {
            Framing::None | Framing::Length(0) => BodyRest::Nothing,
            Framing::Length(bytes) => BodyRest::Bytes(bytes),
            Framing::Chunked => BodyRest::Chunks { reader: ChunkReader::new(), unchunk },
            Framing::UntilClose => BodyRest::UntilClose,
        }
    }
}

/// The length of a head; where it is no interim one, how the body behind it comes, and whether it goes on as the data in its
/// chunks.
type HeadTaken = (usize, Option<(Framing, bool)>);

/// Reads one head and writes it as it goes on.
fn read_head(
    bytes: &[u8],
    scanned: &mut usize,
    terms: &mut AnswerTerms<'_>,
    output: &mut Vec<u8>,
) -> Result<Option<HeadTaken>, MessageError> {
    let AnswerTerms { request, keeps, said } = terms;
    let mut room = FieldRoom::new();
    let read = read_response(bytes, scanned, &mut room, request).map_err(MessageError::Head)?;
    let Some((head, used)) = read else { return Ok(None) };
    if head.is_interim() {
        // RFC 9110 section 15.2: none is sent to a client of HTTP/1.0.
        if request.version != HttpVersion::Http10 {
            head.write(output, request, ToClient { framing: Framing::None, keep_alive: *keeps });
        }
        return Ok(Some((used, None)));
    }
    let framing = head.framing_to(request);
    let keep_alive = *keeps && framing != Framing::UntilClose && !head.switches();
    output.reserve(used + limits::HTTP_HEAD_GROWTH_BYTES);
    head.write(output, request, ToClient { framing, keep_alive });
    **said = Some(HeadSaid {
        status: head.status,
        keeps_client: keep_alive,
        keeps_target: head.keep_alive,
        switches: head.switches(),
    });
    let body = if head.switches() { Framing::UntilClose } else { head.framing };
    Ok(Some((used, Some((body, framing != head.framing)))))
}

/// Moves the pieces that go on to the front; how many bytes these are, and how many belong to the body.
fn pass_chunks(
    reader: &mut ChunkReader,
    unchunk: bool,
    bytes: &mut [u8],
) -> Result<(usize, usize), ChunkError> {
    let (mut goes_on, mut used) = (0, 0);
    while used < bytes.len() && !reader.is_over() {
        let (count, passes) = match reader.next(&bytes[used..])? {
            ChunkPiece::Data(count) => (count, true),
            ChunkPiece::Line(count) | ChunkPiece::End(count) => (count, !unchunk),
            ChunkPiece::Dropped(count) => (count, false),
            ChunkPiece::More => break,
        };
        if passes {
            if goes_on < used {
                bytes.copy_within(used..used + count, goes_on);
            }
            goes_on += count;
        }
        used += count;
    }
    Ok((goes_on, used))
}

fn at_most(left: u64, room: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(version: HttpVersion) -> ForwardRequest {
        ForwardRequest {
            head: Vec::new(),
            version,
            framing: Framing::None,
            keep_alive: true,
            is_head: false,
            idempotent: true,
            upgrades: true,
            expects_continue: false,
            via: false,
        }
    }

    /// What a response that comes in pieces of these lengths goes on as, what stands behind it, and what its head said.
    fn passed(pieces: &[&[u8]], version: HttpVersion) -> (Vec<u8>, Vec<u8>, Option<HeadSaid>) {
        let (request, mut said) = (order(version), None);
        let mut message = HttpMessage::response();
        let mut output = Vec::new();
        for piece in pieces {
            // No larger than the piece, so that what is made of it may find no room.
            let mut buffer = piece.to_vec();
            let mut terms = AnswerTerms { request: &request, keeps: true, said: &mut said };
            let count = message.take_read(&mut buffer, piece.len(), Some(&mut terms)).expect("a response");
            output.extend_from_slice(&buffer[..count]);
            while message.has_made() {
                let count = message.take_made(&mut buffer);
                output.extend_from_slice(&buffer[..count]);
            }
        }
        (output, message.take_behind(), said)
    }

    #[test]
    fn every_split_of_a_response_goes_on_alike() {
        let head = "HTTP/1.1 200 OK\r\n";
        for response in [
            format!("{head}Content-Length: 3\r\n\r\nabcBEHIND"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nT: t\r\n\r\nBEHIND"),
            format!("HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n{head}Content-Length: 0\r\n\r\nBEHIND"),
            format!("{head}\r\nuntil close"),
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc".to_owned(),
        ] {
            let bytes = response.as_bytes();
            for version in [HttpVersion::Http10, HttpVersion::Http11] {
                let whole = passed(&[bytes], version);
                let single: Vec<&[u8]> = bytes.chunks(1).collect();
                assert_eq!(passed(&single, version), whole, "{response}");
                for at in 1..bytes.len() {
                    let (one, other) = bytes.split_at(at);
                    assert_eq!(passed(&[one, other], version), whole, "{response} at {at}");
                }
            }
        }
    }

    #[test]
    fn a_body_is_taken_to_its_last_byte() {
        let (output, behind, said) =
            passed(&[b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcBEHIND"], HttpVersion::Http11);
        assert_eq!(output, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(behind, b"BEHIND");
        assert!(said.is_some_and(|said| said.keeps_client && said.keeps_target && said.status == 200));
    }

    /// A client of HTTP/1.0 reads no chunks: it gets what is in them, and the end of its connection.
    #[test]
    fn chunks_are_opened_for_who_cannot_read_them() {
        let response =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nT: t\r\n\r\n";
        let (output, _, said) = passed(&[response], HttpVersion::Http10);
        assert_eq!(output, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
        assert!(said.is_some_and(|said| !said.keeps_client && said.keeps_target));
        let (output, ..) = passed(&[response], HttpVersion::Http11);
        assert!(
            output.ends_with(b"chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
            "{}",
            output.escape_ascii()
        );
    }

    #[test]
    fn what_may_pass_unseen_ends_with_the_message() {
        let (mut message, count) = HttpMessage::request(Framing::Length(10), &mut b"abc".to_vec());
        assert_eq!((count, message.unseen_bytes(), message.wants(100)), (3, 7, 7));
        message.pass(7);
        assert!(message.is_whole() && message.unseen_bytes() == 0);
        let response = HttpMessage::response();
        assert_eq!((response.unseen_bytes(), response.is_whole()), (0, false), "its head is due");
    }
}
