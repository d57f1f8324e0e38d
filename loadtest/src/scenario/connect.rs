//! Whole sessions: handshake, one request, one answer, close by the client. In a closed loop each place
//! takes its next session when the last has ended; in an open loop sessions start at a given rate.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::fault::{Fault, Phase};
use crate::fleet::{Link, Next, Ready, Scenario, Turn, data_fault};
use crate::meter::Meter;
use crate::pacer::Pacer;
use crate::payload::Pattern;
use crate::progress::{Done, Unit};
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

impl Extent {
    /// Where the end is a count.
    pub(crate) fn count(self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(count),
            Self::Time(_) => None,
        }
    }
}

/// How sessions start.
pub(crate) struct Starts {
    pub(crate) extent: Extent,
    /// The most sessions at a time.
    pub(crate) in_flight: u64,
    /// Sessions a second; without it the loop is closed.
    pub(crate) rate: Option<f64>,
}

/// The scenario and its tally.
pub(crate) struct Connect {
    extent: Extent,
    in_flight: u64,
    pacer: Option<Pacer>,
    answer_bytes: usize,
    meter: Meter,
    began: Option<Instant>,
    started: u64,
    busy: u64,
    done: u64,
    request: Vec<u8>,
    pattern: Pattern,
    inbox: Vec<u8>,
    start_delays: Latency,
    handshakes: Latency,
    sessions: Latency,
}

/// How much of the answer is here.
#[derive(Default)]
pub(crate) struct Received(usize);

impl Connect {
    pub(crate) fn new(starts: Starts, answer_bytes: usize, meter: Meter) -> Self {
        // Whoever was due within the time comes, however late; to leave them out would flatter the server.
        let extent = match (starts.extent, starts.rate) {
            (Extent::Time(limit), Some(rate)) => Extent::Count((limit.as_secs_f64() * rate).ceil() as u64),
            (extent, _) => extent,
        };
        Self {
            extent,
            in_flight: starts.in_flight,
            pacer: starts.rate.map(Pacer::new),
            answer_bytes,
            meter,
            began: None,
            started: 0,
            busy: 0,
            done: 0,
            request: Vec::with_capacity(LONGEST_REQUEST),
            pattern: Pattern::new(READ_BYTES),
            inbox: vec![0; READ_BYTES],
            start_delays: Latency::new(),
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
            rate: self.pacer.as_ref().map(Pacer::rate),
            late_starts: self.pacer.as_ref().map(Pacer::late_starts),
            start_delay: self.start_delays.taken(),
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

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        if self.busy >= self.in_flight || !self.more(now) {
            return None;
        }
        // `now` is as old as the turn, and a turn may open many.
        let now = Instant::now();
        let since = match &mut self.pacer {
            Some(pacer) => {
                let due = pacer.take(now)?;
                self.start_delays.record(now.duration_since(due));
                due
            }
            None => now,
        };
        self.started += 1;
        self.busy += 1;
        Some(since)
    }

    /// With every place taken the next start waits for the end of a session, not for its time.
    fn next_start(&self) -> Option<Instant> {
        let open = matches!(self.extent, Extent::Count(count) if self.started < count);
        self.pacer.as_ref().filter(|_| open && self.busy < self.in_flight)?.due()
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
            let now = Instant::now();
            self.began = Some(now);
            if let Some(pacer) = &mut self.pacer {
                pacer.begin(now);
            }
        } else if self.busy == 0 && !self.more(now) {
            self.meter.stop_settled()?;
            return Ok(Turn::Stop);
        }
        Ok(Turn::Continue)
    }

    fn progress(&self) -> Option<Done> {
        Some(Done { count: self.done, of: self.extent.count(), unit: Unit::Sessions })
    }
}
