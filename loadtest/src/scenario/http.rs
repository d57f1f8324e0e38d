//! Requests over HTTP connections that are kept: each connection asks, reads its answer, and asks again, until it has
//! asked as often as it may or the server closes it; then another takes its place.

use std::io::{ErrorKind, Read};
use std::time::Instant;

use crate::fault::{Fault, Phase};
use crate::fleet::{AfterTurn, Link, Next, Ready, Scenario, data_fault};
use crate::meter::Meter;
use crate::payload::Pattern;
use crate::progress::{Done, ProgressUnit};
use crate::record::{Latency, Record};
use crate::scenario::exchange::{Answered, Asked, Exchange};
use crate::scenario::request::send_whole;
use crate::scenario::starts::Extent;

/// One read of an answer.
const READ_BYTES: usize = 64 << 10;

/// How the clients go about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Persistence {
    /// Requests of all connections together, or for how long.
    pub(crate) extent: Extent,
    pub(crate) connections: u64,
    /// The most requests of a connection; 0 leaves it to the server.
    pub(crate) per_connection: u64,
}

/// The scenario and its tally.
pub(crate) struct Http {
    persistence: Persistence,
    size: usize,
    request: Vec<u8>,
    meter: Meter,
    began: Option<Instant>,
    live: u64,
    opened: u64,
    asked: u64,
    done: u64,
    /// Requests that met a connection which the server had just closed.
    crossed: u64,
    pattern: Pattern,
    inbox: Vec<u8>,
    latencies: Latency,
}

/// One connection.
#[derive(Default)]
pub(crate) struct Kept {
    exchange: Exchange,
    asked: u64,
    since: Option<Instant>,
}

impl Http {
    pub(crate) fn new(persistence: Persistence, asked: &Asked<'_>, meter: Meter) -> Self {
        Self {
            persistence,
            size: asked.size,
            request: asked.request(),
            meter,
            began: None,
            live: 0,
            opened: 0,
            asked: 0,
            done: 0,
            crossed: 0,
            pattern: Pattern::new(READ_BYTES),
            inbox: vec![0; READ_BYTES],
            latencies: Latency::new(),
        }
    }

    pub(crate) fn record(&self) -> Record {
        let mut record = Record {
            connections: self.persistence.connections,
            connections_opened: Some(self.opened),
            crossed_closes: Some(self.crossed),
            cost: self.meter.cost(),
            request: self.latencies.taken(),
            ..Record::default()
        }
        .with_requests(self.done);
        record.bytes = Some(self.done * self.size as u64);
        record
    }

    fn more(&self, now: Instant) -> bool {
        match self.persistence.extent {
            Extent::Count(count) => self.asked < count,
            Extent::Time(limit) => self.began.is_none_or(|began| now.duration_since(began) < limit),
        }
    }

    fn ask(&mut self, link: &mut Link<Kept>, since: Instant) -> Result<Next, Fault> {
        self.asked += 1;
        link.state.asked += 1;
        link.state.since = Some(since);
        match send_whole(link, &self.request) {
            Err(Fault::Socket(_, error)) => self.broken(link, Fault::Socket(Phase::Data, error)),
            Err(other) => Err(other),
            Ok(()) => Ok(Next::Wait),
        }
    }

    /// A server may close a kept connection at any time, and a request may be under way then (RFC 9112 section 9.5):
    /// it goes to the next connection. On a new one it is a fault.
    fn broken(&mut self, link: &Link<Kept>, fault: Fault) -> Result<Next, Fault> {
        if link.state.asked < 2 || !link.state.exchange.is_untouched() {
            return Err(fault);
        }
        self.asked -= 1;
        self.crossed += 1;
        Ok(Next::Close)
    }

    fn answered(&mut self, link: &mut Link<Kept>, kept: bool) -> Result<Next, Fault> {
        let now = Instant::now();
        self.latencies.record(now.duration_since(link.state.since.unwrap_or(now)));
        self.done += 1;
        let limit = self.persistence.per_connection;
        if !kept || (limit > 0 && link.state.asked >= limit) || !self.more(now) {
            return Ok(Next::Close);
        }
        self.ask(link, now)
    }
}

impl Scenario for Http {
    type State = Kept;

    fn wants_another(&mut self, _turn: Instant) -> Option<Instant> {
        // The turn's time would go on saying that there is time left while `opened` says that there is none, for ever.
        let now = Instant::now();
        let wanted = self.live < self.persistence.connections && self.more(now);
        self.live += u64::from(wanted);
        wanted.then_some(now)
    }

    fn opened(&mut self, link: &mut Link<Kept>) -> Result<Next, Fault> {
        self.opened += 1;
        if self.more(Instant::now()) { self.ask(link, link.since) } else { Ok(Next::Close) }
    }

    fn ready(&mut self, link: &mut Link<Kept>, ready: Ready) -> Result<Next, Fault> {
        if !ready.readable && !ready.closed {
            return Ok(Next::Wait);
        }
        loop {
            let count = match link.read(&mut self.inbox) {
                Ok(0) => return self.broken(link, Fault::Closed(Phase::Data)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) => return self.broken(link, data_fault(error)),
            };
            let answered = link.state.exchange.take(&self.inbox[..count], self.size, &self.pattern)?;
            if let Answered::Whole { kept } = answered {
                return match self.answered(link, kept)? {
                    // The end that was told of is behind the answer.
                    Next::Wait if ready.closed => Ok(Next::Again),
                    other => Ok(other),
                };
            }
        }
    }

    fn closed(&mut self, _failed: bool) {
        self.live -= 1;
    }

    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault> {
        if self.began.is_none() {
            self.meter.start()?;
            self.began = Some(Instant::now());
        } else if self.live == 0 && !self.more(now) {
            self.meter.stop_settled()?;
            return Ok(AfterTurn::Stop);
        }
        Ok(AfterTurn::Continue)
    }

    fn progress(&self) -> Option<Done> {
        let of = self.persistence.extent.count();
        Some(Done { count: self.done, of, unit: ProgressUnit::Requests })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The time ran out within a turn of the loop, and connections were opened and closed without end.
    #[test]
    fn no_connection_is_opened_when_the_time_is_over() {
        let before = Instant::now();
        let extent = Extent::Time(Duration::from_nanos(1));
        let persistence = Persistence { extent, connections: 4, per_connection: 0 };
        let target = "127.0.0.1:80".parse().expect("an address");
        let asked = Asked { target, name: None, credentials: None, direct: true, size: 1 };
        let mut http = Http::new(persistence, &asked, Meter::new(None));
        http.turn(before).expect("nothing to measure");
        assert_eq!(http.wants_another(before), None);
    }
}
