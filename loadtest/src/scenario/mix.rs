//! A scraping fleet: short sessions that look like HTTPS, pages from small to large, and clients as they
//! are: some stop reading for a while, some break off.
//!
//! A session sends a hello, reads the origin's flight, sends a request and reads its page. What each does
//! is decided by the seed and its number alone.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use crate::fault::{Fault, Phase};
use crate::fleet::{AfterTurn, Link, Next, Ready, Scenario, data_fault};
use crate::meter::Meter;
use crate::payload::Pattern;
use crate::progress::Done;
use crate::record::{Fleeting, Latency, Record};
use crate::scenario::pages::Pages;
use crate::scenario::request::{FLIGHT_BYTES, HELLO_BYTES, compose, hello, send_whole};
use crate::scenario::starts::{Gate, Starts};
use crate::seeded::Seeded;

/// The request comes with the end of the client's side of the TLS handshake.
const SHORTEST_REQUEST: u64 = 300;
const LONGEST_REQUEST: u64 = 900;
/// One read.
const READ_BYTES: usize = 64 << 10;

/// What the fleet is like.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) pages: Pages,
    /// Per cent of the sessions that stop reading within their page, and for how long.
    pub(crate) stalls: f64,
    pub(crate) stall_for: Duration,
    /// Per cent of the sessions that reset within their page.
    pub(crate) aborts: f64,
    pub(crate) seed: u64,
}

/// The scenario and its tally.
pub(crate) struct Mix {
    habits: Habits,
    gate: Gate,
    meter: Meter,
    hello: [u8; HELLO_BYTES],
    request: Vec<u8>,
    pattern: Pattern,
    inbox: Vec<u8>,
    done: u64,
    bytes: u64,
    stalls: u64,
    aborts: u64,
    handshakes: Latency,
    first_bytes: Latency,
    sessions: Latency,
}

/// What a client does within its page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Manner {
    #[default]
    ReadsOn,
    /// At this byte it stops reading for a while.
    Stalls(usize),
    /// At this byte it resets.
    Aborts(usize),
}

/// What a session awaits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Awaited {
    #[default]
    Flight,
    Page,
}

/// One session.
#[derive(Default)]
pub(crate) struct Visit {
    request_bytes: usize,
    page_bytes: usize,
    manner: Manner,
    part: Awaited,
    received: usize,
    /// Until then it does not read.
    asleep_until: Option<Instant>,
    stalled: bool,
}

impl Mix {
    pub(crate) fn new(starts: Starts, habits: Habits, meter: Meter) -> Self {
        Self {
            habits,
            gate: Gate::new(starts),
            meter,
            hello: hello(),
            request: Vec::with_capacity(LONGEST_REQUEST as usize),
            pattern: Pattern::new(READ_BYTES),
            inbox: vec![0; READ_BYTES],
            done: 0,
            bytes: 0,
            stalls: 0,
            aborts: 0,
            handshakes: Latency::new(),
            first_bytes: Latency::new(),
            sessions: Latency::new(),
        }
    }

    pub(crate) fn record(&self) -> Record {
        Record {
            cost: self.meter.cost(),
            handshake: self.handshakes.taken(),
            time_to_first_byte: self.first_bytes.taken(),
            session: self.sessions.taken(),
            seed: Some(self.habits.seed),
            fleeting: Some(Fleeting { stalls: self.stalls, aborts: self.aborts }),
            ..self.gate.record()
        }
        .with_sessions(self.done)
        .with_bytes(self.bytes)
    }

    /// Reads what is there of the present part, up to where something is to happen; `false` when more has
    /// to come first.
    fn read(&mut self, link: &mut Link<Visit>) -> Result<bool, Fault> {
        let visit = &mut link.state;
        let end = visit.end();
        while visit.received < end {
            let room = self.inbox.len().min(end - visit.received);
            let count = match link.stream.read(&mut self.inbox[..room]) {
                Ok(0) => return Err(Fault::Closed(Phase::Data)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(data_fault(error)),
            };
            if self.inbox[..count] != *self.pattern.at(visit.received, count) {
                return Err(Fault::WrongBytes { position: visit.received });
            }
            if visit.part == Awaited::Page && visit.received == 0 {
                self.first_bytes.record(link.since.elapsed());
            }
            visit.received += count;
            self.bytes += count as u64;
        }
        Ok(true)
    }

    /// The page is here up to its end, or up to where the client does something else.
    fn reached(&mut self, link: &mut Link<Visit>) -> Next {
        let visit = &mut link.state;
        match visit.manner {
            Manner::Aborts(_) => {
                self.aborts += 1;
                self.done += 1;
                Next::Reset
            }
            Manner::Stalls(_) => {
                self.stalls += 1;
                visit.manner = Manner::ReadsOn;
                visit.stalled = true;
                let until = Instant::now() + self.habits.stall_for;
                visit.asleep_until = Some(until);
                Next::Until(until)
            }
            Manner::ReadsOn => {
                self.done += 1;
                if !visit.stalled {
                    self.sessions.record(link.since.elapsed());
                }
                Next::Close
            }
        }
    }
}

impl Visit {
    fn draw(habits: &Habits, index: u64) -> Self {
        let mut chance = Seeded::new(habits.seed, index);
        let page_bytes = habits.pages.draw(&mut chance) as usize;
        let request_bytes = SHORTEST_REQUEST + chance.below(LONGEST_REQUEST - SHORTEST_REQUEST + 1);
        let at = chance.below(page_bytes as u64) as usize;
        let manner = match chance.percentile() {
            share if share < habits.aborts => Manner::Aborts(at),
            share if share < habits.aborts + habits.stalls => Manner::Stalls(at),
            _ => Manner::ReadsOn,
        };
        Self { request_bytes: request_bytes as usize, page_bytes, manner, ..Self::default() }
    }

    /// Up to where the present part is read before something else happens.
    fn end(&self) -> usize {
        match (self.part, self.manner) {
            (Awaited::Flight, _) => FLIGHT_BYTES,
            (Awaited::Page, Manner::ReadsOn) => self.page_bytes,
            (Awaited::Page, Manner::Stalls(at) | Manner::Aborts(at)) => at,
        }
    }
}

impl Scenario for Mix {
    type State = Visit;

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        self.gate.admit(now)
    }

    fn next_start(&self) -> Option<Instant> {
        self.gate.next()
    }

    fn dialled(&mut self, link: &mut Link<Visit>) {
        link.state = Visit::draw(&self.habits, self.gate.started());
    }

    fn opened(&mut self, link: &mut Link<Visit>) -> Result<Next, Fault> {
        self.handshakes.record(link.since.elapsed());
        send_whole(&mut link.stream, &self.hello)?;
        Ok(Next::Wait)
    }

    fn ready(&mut self, link: &mut Link<Visit>, ready: Ready) -> Result<Next, Fault> {
        if let Some(until) = link.state.asleep_until {
            if Instant::now() < until {
                return Ok(Next::Until(until));
            }
            link.state.asleep_until = None;
        } else if !ready.readable && !ready.closed {
            return Ok(Next::Wait);
        }
        if !self.read(link)? {
            return Ok(Next::Wait);
        }
        if link.state.part == Awaited::Page {
            return Ok(self.reached(link));
        }
        link.state.part = Awaited::Page;
        link.state.received = 0;
        compose(link.state.page_bytes, link.state.request_bytes, &mut self.request);
        send_whole(&mut link.stream, &self.request)?;
        // An abort or a stall before the first byte has nothing to wait for.
        Ok(if link.state.end() == 0 { Next::Again } else { Next::Wait })
    }

    fn closed(&mut self, _failed: bool) {
        self.gate.leave();
    }

    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault> {
        self.gate.turn(now, &mut self.meter)
    }

    fn progress(&self) -> Option<Done> {
        Some(self.gate.progress(self.done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn habits(stalls: f64, aborts: f64) -> Habits {
        let pages = "2k:30,16k:40,100k:20,1m:8,5m:2".parse().expect("a distribution");
        Habits { pages, stalls, aborts, stall_for: Duration::from_millis(500), seed: 3 }
    }

    #[test]
    fn shares_are_kept_and_every_break_lies_within_the_page() {
        let visits: Vec<Visit> = (0..10_000).map(|index| Visit::draw(&habits(5.0, 2.0), index)).collect();
        let count = |wanted: fn(&Visit) -> bool| visits.iter().filter(|visit| wanted(visit)).count();
        let aborts = count(|visit| matches!(visit.manner, Manner::Aborts(_)));
        let stalls = count(|visit| matches!(visit.manner, Manner::Stalls(_)));
        assert!((150..250).contains(&aborts) && (430..570).contains(&stalls), "{aborts}, {stalls}");
        assert!(visits.iter().all(|visit| match visit.manner {
            Manner::Aborts(at) | Manner::Stalls(at) => at < visit.page_bytes,
            Manner::ReadsOn => true,
        }));
        let small = count(|visit| visit.page_bytes == 2048);
        assert!((2800..3200).contains(&small), "{small}");
    }

    #[test]
    fn a_seed_gives_the_same_fleet() {
        let draw = |index| {
            let visit = Visit::draw(&habits(50.0, 50.0), index);
            (visit.page_bytes, visit.request_bytes, visit.manner)
        };
        assert_eq!(draw(5), draw(5));
        assert!((0..20).any(|index| draw(index) != draw(index + 1)));
    }
}
