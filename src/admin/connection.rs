//! One connection to the endpoint: which stage it is in, and until when.
//!
//! A request at a time: what a client sends behind one stays in the kernel until that one is answered. Whoever drives it
//! says when its socket is ready, and acts on what [`HttpConnection::next`] gives.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use zeroize::{Zeroize, Zeroizing};

use super::access::AdminPeer;
use super::answer::HttpAnswer;
use super::http::{HeadRead, HttpHead, HttpMethod, HttpRequest, Malformed, read_head};
use super::orders::Actor;
use super::status::HttpStatus;
use super::stream::AdminStream;
use crate::limits;

/// What tells the client to send its body (RFC 9110 section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What an answer needs to know of its request.
#[derive(Clone, Debug)]
pub(super) struct HttpExchange {
    pub(super) method: HttpMethod,
    pub(super) path: String,
    pub(super) keep_alive: bool,
    /// Who asks, once that is known.
    pub(super) by: Option<Actor>,
}

impl HttpExchange {
    /// Of a request whose head is all that there is.
    pub(super) fn of(head: &HttpHead) -> HttpExchange {
        HttpExchange { method: head.method, path: head.path.clone(), keep_alive: head.keep_alive, by: None }
    }

    /// Of what is no request: its connection ends.
    pub(super) fn of_none() -> HttpExchange {
        HttpExchange { method: HttpMethod::Get, path: String::new(), keep_alive: false, by: None }
    }
}

/// The stages of a connection. `P` is what an answer is waited for with.
#[derive(Debug)]
enum HttpStage<P> {
    /// The next head, or some of it.
    Head,
    /// The body of a request that was let in.
    Body(Box<HttpHead>, Actor),
    /// The answer.
    Waiting(P, HttpExchange),
    /// The answer is on its way; so much of it is gone.
    Sending { bytes: Vec<u8>, body: Cow<'static, [u8]>, sent: usize, keep_alive: bool },
    /// All is said, and what the client still sends is dropped.
    Lingering(usize),
}

/// What came of driving a connection.
#[derive(Debug)]
pub(super) enum Happened {
    /// It waits for its socket, its answer or its time.
    Nothing,
    /// There is more to do at once, but others come first.
    More,
    /// A head came: it is to be let in or answered.
    Head(Box<HttpHead>),
    /// A whole request came: it is to be answered.
    Request(Box<HttpRequest>, Actor),
    /// What came is no request: that is to be the answer.
    Malformed(Malformed),
    /// It is over.
    Closed,
}

/// What is to be done when the time of a stage is over.
#[derive(Debug)]
pub(super) enum Overdue<P> {
    /// Nothing more: it is over.
    Close,
    /// Answer that the request did not come in time.
    TimedOut,
    /// Answer without what was waited for.
    Answer(P, HttpExchange),
}

/// One connection.
#[derive(Debug)]
pub(super) struct HttpConnection<P> {
    stream: AdminStream,
    pub(super) peer: AdminPeer,
    stage: HttpStage<P>,
    /// What has arrived and was not taken yet.
    input: Zeroizing<Vec<u8>>,
    /// Bytes of `input` that the last look found to be too few.
    looked_at: usize,
    readable: bool,
    writable: bool,
    ends_at: Instant,
}

impl<P> HttpConnection<P> {
    /// A connection that was accepted just now.
    pub(super) fn new(stream: AdminStream, peer: AdminPeer, now: Instant) -> HttpConnection<P> {
        HttpConnection {
            stream,
            peer,
            stage: HttpStage::Head,
            input: Zeroizing::default(),
            looked_at: 0,
            readable: true,
            writable: true,
            ends_at: now + limits::ADMIN_HEAD_TIME,
        }
    }

    /// The socket, for a poll.
    pub(super) fn stream(&mut self) -> &mut AdminStream {
        &mut self.stream
    }

    /// The socket has something to read, or room.
    pub(super) fn note(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// When the time of its stage is over.
    pub(super) fn ends_at(&self) -> Instant {
        self.ends_at
    }

    /// Bytes of the answer that it holds.
    pub(super) fn held(&self) -> usize {
        match &self.stage {
            HttpStage::Sending { body: Cow::Owned(body), .. } => body.len(),
            _ => 0,
        }
    }

    /// What its answer is waited for with.
    pub(super) fn waits_with(&self) -> Option<&P> {
        match &self.stage {
            HttpStage::Waiting(pending, _) => Some(pending),
            _ => None,
        }
    }

    /// What its answer is waited for with, to be looked at.
    pub(super) fn pending(&mut self) -> Option<&mut P> {
        match &mut self.stage {
            HttpStage::Waiting(pending, _) => Some(pending),
            _ => None,
        }
    }

    /// Whether nothing is asked of it that it has not answered.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, HttpStage::Head | HttpStage::Lingering(_))
    }

    /// Does what can be done now.
    pub(super) fn next(&mut self, now: Instant) -> Happened {
        loop {
            let done = match &mut self.stage {
                HttpStage::Head => self.read_head(now),
                HttpStage::Body(..) => self.read_body(),
                HttpStage::Waiting(..) => return Happened::Nothing,
                HttpStage::Sending { .. } => self.send(now),
                HttpStage::Lingering(_) => self.drop_input(),
            };
            match done {
                Ok(Some(happened)) => return happened,
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Happened::Nothing,
                Err(_) => return Happened::Closed,
            }
        }
    }

    /// Looks for a head in what is there, or reads more. `None`: look again.
    fn read_head(&mut self, now: Instant) -> io::Result<Option<Happened>> {
        if self.is_worth_a_look() {
            match read_head(&self.input) {
                HeadRead::Head(head, length) => {
                    self.take_input(length);
                    return Ok(Some(Happened::Head(head)));
                }
                HeadRead::Malformed(malformed) => return Ok(Some(Happened::Malformed(malformed))),
                HeadRead::More => self.looked_at = self.input.len(),
            }
        }
        let was_idle = self.input.is_empty();
        if self.fill(limits::ADMIN_HEAD_BYTES_MAX)? == 0 {
            return Ok(Some(Happened::Closed));
        }
        if was_idle {
            self.ends_at = self.ends_at.min(now + limits::ADMIN_HEAD_TIME);
        }
        Ok(None)
    }

    /// Whether what is there may be a whole head by now. One that comes a byte at a time is read again only when an empty
    /// line has come, or twice as much as before: otherwise each byte would cost as much as all before it.
    fn is_worth_a_look(&self) -> bool {
        let (all, before) = (self.input.len(), self.looked_at);
        let new = &self.input[before.saturating_sub(3).min(all)..];
        let empty_line =
            new.windows(2).any(|pair| pair == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n");
        all > before && (empty_line || all >= 2 * before || all >= limits::ADMIN_HEAD_BYTES_MAX)
    }

    /// Takes the body, or reads more of it. `None`: look again.
    fn read_body(&mut self) -> io::Result<Option<Happened>> {
        let HttpStage::Body(head, _) = &self.stage else { return Ok(Some(Happened::Closed)) };
        let length = head.content_length;
        if self.input.len() >= length {
            let body = Zeroizing::new(self.input[..length].to_vec());
            self.take_input(length);
            let HttpStage::Body(head, by) = std::mem::replace(&mut self.stage, HttpStage::Head) else {
                return Ok(Some(Happened::Closed));
            };
            return Ok(Some(Happened::Request(Box::new(HttpRequest { head: *head, body }), by)));
        }
        match self.fill(length)? {
            0 => Ok(Some(Happened::Closed)),
            _ => Ok(None),
        }
    }

    /// Sends what is left of the answer, and goes on to what comes behind it.
    fn send(&mut self, now: Instant) -> io::Result<Option<Happened>> {
        let HttpStage::Sending { bytes, body, sent, keep_alive } = &mut self.stage else { return Ok(None) };
        let mut budget = limits::ADMIN_WRITE_BYTES_PER_TURN;
        while *sent < bytes.len() + body.len() {
            if budget == 0 {
                return Ok(Some(Happened::More));
            }
            if !self.writable {
                return Err(ErrorKind::WouldBlock.into());
            }
            let rest = match sent.checked_sub(bytes.len()) {
                Some(at) => &body[at..],
                None => &bytes[*sent..],
            };
            match self.stream.write(&rest[..rest.len().min(budget)]) {
                Ok(count) => (*sent, budget) = (*sent + count, budget - count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.writable &= error.kind() != ErrorKind::WouldBlock;
                    return Err(error);
                }
            }
        }
        if *keep_alive {
            self.stage = HttpStage::Head;
            let idle = self.input.is_empty();
            self.ends_at = now + if idle { limits::ADMIN_IDLE_TIME } else { limits::ADMIN_HEAD_TIME };
        } else {
            self.stream.end();
            self.stage = HttpStage::Lingering(0);
            self.ends_at = now + limits::ADMIN_LINGER_TIME;
        }
        Ok(None)
    }

    /// Reads and drops what the client still sends: with unread bytes a close would be a reset, which may take the answer
    /// from the client.
    fn drop_input(&mut self) -> io::Result<Option<Happened>> {
        self.take_input(self.input.len());
        let count = self.fill(limits::ADMIN_HEAD_BYTES_MAX)?;
        let HttpStage::Lingering(dropped) = &mut self.stage else { return Ok(None) };
        *dropped += count;
        let over = count == 0 || *dropped > limits::ADMIN_LINGER_BYTES_MAX;
        Ok(over.then_some(Happened::Closed))
    }

    /// Reads some bytes more, so that there are `most` at most; 0 at the end.
    fn fill(&mut self, most: usize) -> io::Result<usize> {
        if !self.readable {
            return Err(ErrorKind::WouldBlock.into());
        }
        let before = self.input.len();
        let mut piece = Zeroizing::new([0; 4096]);
        let room = piece.len().min(most.saturating_sub(before));
        loop {
            match self.stream.read(&mut piece[..room]) {
                Ok(count) => {
                    self.input.extend_from_slice(&piece[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.readable &= error.kind() != ErrorKind::WouldBlock;
                    return Err(error);
                }
            }
        }
    }

    /// Removes the first bytes of what has arrived.
    fn take_input(&mut self, count: usize) {
        let rest = self.input.len() - count;
        self.input.copy_within(count.., 0);
        self.input[rest..].zeroize();
        self.input.truncate(rest);
        self.looked_at = 0;
    }

    /// Lets a request in: its body is read next.
    pub(super) fn admit(&mut self, head: Box<HttpHead>, by: Actor, now: Instant) -> io::Result<()> {
        let missing = head.content_length > self.input.len();
        if head.expects_continue && missing && self.stream.write(CONTINUE)? < CONTINUE.len() {
            // It has read nothing since long.
            return Err(ErrorKind::WriteZero.into());
        }
        self.stage = HttpStage::Body(head, by);
        self.ends_at = now + limits::ADMIN_BODY_TIME;
        Ok(())
    }

    /// The answer will come later.
    pub(super) fn wait(&mut self, pending: P, exchange: HttpExchange, now: Instant) {
        self.stage = HttpStage::Waiting(pending, exchange);
        self.ends_at = now + limits::ADMIN_ANSWER_TIME;
    }

    /// Takes what was waited for, once its answer is there.
    pub(super) fn end_wait(&mut self) -> Option<(P, HttpExchange)> {
        match std::mem::replace(&mut self.stage, HttpStage::Head) {
            HttpStage::Waiting(pending, exchange) => Some((pending, exchange)),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Answers; the connection goes on behind it where the request says so.
    pub(super) fn answer(&mut self, answer: HttpAnswer, exchange: &HttpExchange, now: Instant) {
        let without_body = exchange.method == HttpMethod::Head;
        let (bytes, body) = answer.into_bytes(exchange.keep_alive, without_body);
        self.stage = HttpStage::Sending { bytes, body, sent: 0, keep_alive: exchange.keep_alive };
        self.ends_at = now + limits::ADMIN_SEND_TIME;
    }

    /// What is to be done as the time of its stage is over.
    pub(super) fn overdue(&mut self) -> Overdue<P> {
        match &self.stage {
            HttpStage::Head if self.input.is_empty() => Overdue::Close,
            HttpStage::Head | HttpStage::Body(..) => Overdue::TimedOut,
            HttpStage::Sending { .. } | HttpStage::Lingering(_) => Overdue::Close,
            HttpStage::Waiting(..) => match self.end_wait() {
                Some((pending, exchange)) => Overdue::Answer(pending, exchange),
                None => Overdue::Close,
            },
        }
    }
}

/// The answer to what did not come in time.
pub(super) fn timed_out() -> HttpAnswer {
    HttpAnswer::error(HttpStatus::REQUEST_TIMEOUT, "the request did not come in time")
}

#[cfg(test)]
mod tests;
