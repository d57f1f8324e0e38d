//! Ping-pong: every connection sends SIZE bytes, waits until all of them are back, and sends the next.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::fault::{Fault, Phase};
use crate::fleet::{AfterTurn, Link, Next, Ready, Scenario, data_fault};
use crate::meter::Meter;
use crate::payload::Pattern;
use crate::progress::{Done, ProgressUnit};
use crate::record::{Latency, Record};
use crate::scenario::starts::Extent;

/// The scenario and its tally.
pub(crate) struct Echo {
    connections: u64,
    extent: Extent,
    warmup: Duration,
    meter: Meter,
    size: usize,
    dialled: u64,
    open: u64,
    opened_at: Option<Instant>,
    began: Option<Instant>,
    rounds: u64,
    /// Connections that have completed one.
    heard: u64,
    pattern: Pattern,
    inbox: Vec<u8>,
    round_trips: Latency,
}

/// One connection's ping-pong.
#[derive(Default)]
pub(crate) struct Rally {
    /// Where in the endless pattern this ping begins: it tells an old echo from the present one.
    position: usize,
    sent: usize,
    received: usize,
    sent_at: Option<Instant>,
    /// Whether the connection has completed a round trip of the measured interval.
    heard: bool,
}

impl Echo {
    pub(crate) fn new(connections: u64, size: usize, extent: Extent, warmup: Duration, meter: Meter) -> Self {
        Self {
            connections,
            extent,
            warmup,
            meter,
            size,
            dialled: 0,
            open: 0,
            opened_at: None,
            began: None,
            rounds: 0,
            heard: 0,
            pattern: Pattern::new(size),
            inbox: vec![0; size],
            round_trips: Latency::new(),
        }
    }

    pub(crate) fn record(&self) -> Record {
        Record {
            connections: self.connections,
            cost: self.meter.cost(),
            round_trip: self.round_trips.taken(),
            silent_connections: Some(self.connections - self.heard),
            ..Record::default()
        }
        .with_round_trips(self.rounds)
    }

    /// Sends what is left of the ping.
    fn ping(&mut self, link: &mut Link<Rally>) -> Result<(), Fault> {
        let rally = &mut link.state;
        while rally.sent < self.size {
            let rest = self.pattern.at(rally.position + rally.sent, self.size - rally.sent);
            match link.stream.write(rest) {
                Ok(count) => rally.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(data_fault(error)),
            }
        }
        Ok(())
    }

    /// Reads what is back; `true` once the ping is complete.
    fn pong(&mut self, link: &mut Link<Rally>, ready: Ready) -> Result<bool, Fault> {
        let rally = &mut link.state;
        while rally.received < self.size && (ready.readable || ready.closed) {
            let count = match link.stream.read(&mut self.inbox[rally.received..]) {
                Ok(0) => return Err(Fault::Closed(Phase::Data)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(data_fault(error)),
            };
            let from = rally.received;
            if self.inbox[from..from + count] != *self.pattern.at(rally.position + from, count) {
                return Err(Fault::WrongBytes { position: from });
            }
            rally.received += count;
        }
        Ok(rally.received == self.size)
    }

    fn is_over(&self, began: Instant, now: Instant) -> bool {
        match self.extent {
            Extent::Count(count) => self.rounds >= count,
            Extent::Time(limit) => now.duration_since(began) >= limit,
        }
    }
}

impl Scenario for Echo {
    type State = Rally;

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        let wanted = self.dialled < self.connections;
        self.dialled += u64::from(wanted);
        wanted.then_some(now)
    }

    fn opened(&mut self, _link: &mut Link<Rally>) -> Result<Next, Fault> {
        self.open += 1;
        Ok(Next::Wait)
    }

    fn ready(&mut self, link: &mut Link<Rally>, ready: Ready) -> Result<Next, Fault> {
        if self.opened_at.is_none() {
            // Every connection starts when all are open: `WakeAll` calls again.
            return Ok(Next::Wait);
        }
        let Some(sent_at) = link.state.sent_at else {
            link.state.sent_at = Some(Instant::now());
            self.ping(link)?;
            return Ok(Next::Wait);
        };
        self.ping(link)?;
        if self.pong(link, ready)? {
            let now = Instant::now();
            if self.began.is_none_or(|began| sent_at >= began) {
                // One that was under way at the beginning waited for our meter as well.
                self.round_trips.record(now.duration_since(sent_at));
            }
            self.rounds += 1;
            let first = self.began.is_some() && !link.state.heard;
            self.heard += u64::from(first);
            let (position, heard) = (link.state.position + 1, link.state.heard || first);
            link.state = Rally { position, heard, sent_at: Some(now), ..Rally::default() };
            self.ping(link)?;
        }
        Ok(Next::Wait)
    }

    fn closed(&mut self, _failed: bool) {
        self.open = self.open.saturating_sub(1);
    }

    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault> {
        let Some(opened_at) = self.opened_at else {
            if self.open < self.connections {
                return Ok(AfterTurn::Continue);
            }
            self.opened_at = Some(now);
            return Ok(AfterTurn::WakeAll);
        };
        match self.began {
            None if now.duration_since(opened_at) >= self.warmup => {
                self.meter.start()?;
                self.began = Some(Instant::now());
                self.rounds = 0;
                self.round_trips = Latency::new();
            }
            Some(began) if self.is_over(began, now) => {
                self.meter.stop()?;
                return if self.rounds == 0 { Err(Fault::Idle) } else { Ok(AfterTurn::Stop) };
            }
            _ => {}
        }
        Ok(AfterTurn::Continue)
    }

    fn progress(&self) -> Option<Done> {
        let done = Done { count: self.rounds, of: self.extent.count(), unit: ProgressUnit::RoundTrips };
        self.began.map(|_| done)
    }
}
