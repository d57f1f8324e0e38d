//! Whole sessions, one after the other in a closed loop: handshake, one request, one answer, close by
//! the client.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::fault::{Fault, Phase};
use crate::fleet::{Link, Next, Ready, Scenario, Turn, data_fault};
use crate::meter::Meter;
use crate::payload::Pattern;
use crate::record::{Latency, Record};

/// Requests are 64 to 200 bytes long, each length in its turn.
const SHORTEST_REQUEST: usize = 64;
const LONGEST_REQUEST: usize = 200;
/// One read of an answer.
const READ_BYTES: usize = 64 << 10;

/// When a run is over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// After so many sessions or round trips.
    Count(u64),
    /// After this time; what was begun is finished.
    Time(Duration),
}

/// The scenario and its tally.
pub(crate) struct Connect {
    extent: Extent,
    in_flight: u64,
    answer_bytes: usize,
    meter: Meter,
    began: Option<Instant>,
    started: u64,
    busy: u64,
    done: u64,
    request: Vec<u8>,
    pattern: Pattern,
    inbox: Vec<u8>,
    handshakes: Latency,
    sessions: Latency,
}

/// How much of the answer is here.
#[derive(Default)]
pub(crate) struct Received(usize);

impl Connect {
    pub(crate) fn new(extent: Extent, in_flight: u64, answer_bytes: usize, meter: Meter) -> Self {
        Self {
            extent,
            in_flight,
            answer_bytes,
            meter,
            began: None,
            started: 0,
            busy: 0,
            done: 0,
            request: Vec::with_capacity(LONGEST_REQUEST),
            pattern: Pattern::new(READ_BYTES),
            inbox: vec![0; READ_BYTES],
            handshakes: Latency::new(),
            sessions: Latency::new(),
        }
    }

    fn more(&self, now: Instant) -> bool {
        match self.extent {
            Extent::Count(count) => self.started < count,
            Extent::Time(limit) => self.began.is_none_or(|began| now.duration_since(began) < limit),
        }
    }

    /// `GET /SIZE` with a header line that pads it to `len` bytes.
    fn compose(&mut self, len: usize) {
        self.request.clear();
        write!(self.request, "GET /{} HTTP/1.0\r\nX-Pad: ", self.answer_bytes).expect("a Vec takes it");
        self.request.resize(len - 4, b'p');
        self.request.extend_from_slice(b"\r\n\r\n");
    }

    pub(crate) fn record(&self) -> Record {
        let mut record = Record {
            connections: self.in_flight,
            cost: self.meter.cost(),
            handshake: self.handshakes.taken(),
            session: self.sessions.taken(),
            ..Record::default()
        }
        .with_sessions(self.done);
        record.bytes = Some(self.done * self.answer_bytes as u64);
        record
    }
}

impl Scenario for Connect {
    type State = Received;

    fn wants_another(&mut self, now: Instant) -> bool {
        let wanted = self.busy < self.in_flight && self.more(now) && self.began.is_some();
        if wanted {
            self.started += 1;
            self.busy += 1;
        }
        wanted
    }

    fn opened(&mut self, link: &mut Link<Received>) -> Result<Next, Fault> {
        self.handshakes.record(link.since.elapsed());
        let spread = LONGEST_REQUEST - SHORTEST_REQUEST + 1;
        self.compose(SHORTEST_REQUEST + self.started as usize % spread);
        match link.stream.write(&self.request) {
            Ok(sent) if sent == self.request.len() => Ok(Next::Wait),
            Ok(_) => Err(data_fault(std::io::ErrorKind::WriteZero.into())),
            Err(error) => Err(data_fault(error)),
        }
    }

    fn ready(&mut self, link: &mut Link<Received>, ready: Ready) -> Result<Next, Fault> {
        while link.state.0 < self.answer_bytes && (ready.readable || ready.closed) {
            let room = self.inbox.len().min(self.answer_bytes - link.state.0);
            let count = match link.stream.read(&mut self.inbox[..room]) {
                Ok(0) => return Err(Fault::Closed(Phase::Data)),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) => return Err(data_fault(error)),
            };
            if self.inbox[..count] != *self.pattern.at(link.state.0, count) {
                return Err(Fault::WrongBytes { position: link.state.0 });
            }
            link.state.0 += count;
        }
        if link.state.0 < self.answer_bytes {
            return Ok(Next::Wait);
        }
        self.sessions.record(link.since.elapsed());
        self.done += 1;
        Ok(Next::Close)
    }

    fn closed(&mut self, _failed: bool) {
        self.busy -= 1;
    }

    fn turn(&mut self, now: Instant) -> Result<Turn, Fault> {
        if self.began.is_none() {
            self.meter.start()?;
            self.began = Some(now);
        } else if self.busy == 0 && !self.more(now) {
            self.meter.stop_settled()?;
            return Ok(Turn::Stop);
        }
        Ok(Turn::Continue)
    }
}
