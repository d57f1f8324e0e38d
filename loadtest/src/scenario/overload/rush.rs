//! Sessions that come whatever becomes of them, from clients that leave once they have waited for too long.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::flows::Flows;
use crate::fault::Fault;
use crate::fleet::{AfterTurn, Link, Next, Ready, Scenario};
use crate::progress::Done;
use crate::record::Latency;
use crate::scenario::connect::{Connect, Received};
use crate::scenario::deadline::within;

/// The scenario and its tally.
pub(super) struct Rush<'a> {
    connect: Connect,
    give_up: Duration,
    /// Since the beginning: what is due, or ends, within it counts.
    window: Range<Duration>,
    /// Whose round trips count for this part meanwhile.
    flows: Option<(&'a Flows, usize)>,
    began: Option<Instant>,
    in_window: bool,
    served: Served,
}

/// What became of the sessions.
pub(super) struct Served {
    /// Sessions that were due in the window.
    pub(super) due: u64,
    /// Sessions that ended in the window as they should, their clients still there.
    pub(super) in_time: u64,
    /// Of those due in the window, those whose client had waited for too long, and those that the server ended.
    pub(super) late: u64,
    pub(super) cut: u64,
    pub(super) late_starts: u64,
    /// From when they were due to their end, of those due in the window and served.
    took: Latency,
}

impl Served {
    pub(super) fn quantile_us(&self, quantile: f64) -> Option<f64> {
        self.took.taken().map(|took| took.quantile_us(quantile))
    }

    pub(super) fn p99_us(&self) -> Option<f64> {
        self.quantile_us(0.99)
    }
}

impl Rush<'_> {
    pub(super) fn new<'a>(
        connect: Connect,
        give_up: Duration,
        window: Range<Duration>,
        flows: Option<(&'a Flows, usize)>,
    ) -> Rush<'a> {
        let served = Served { due: 0, in_time: 0, late: 0, cut: 0, late_starts: 0, took: Latency::new() };
        Rush { connect, give_up, window, flows, began: None, in_window: false, served }
    }

    pub(super) fn served(self) -> Served {
        Served { late_starts: self.connect.record().late_starts.unwrap_or(0), ..self.served }
    }

    fn counts(&self, at: Instant) -> bool {
        self.began.is_some_and(|began| self.window.contains(&at.saturating_duration_since(began)))
    }

    /// What a session that was due then came to, where it came to something.
    fn tell(&mut self, since: Instant, next: Result<Next, Fault>) -> Result<Next, Fault> {
        let next = next.and_then(|next| within(self.give_up, since, next));
        let counts = self.counts(since);
        match &next {
            Ok(Next::Close | Next::Reset) => {
                self.served.in_time += u64::from(self.counts(Instant::now()));
                if counts {
                    self.served.took.record(since.elapsed());
                }
            }
            Ok(_) => {}
            Err(Fault::Overdue(_)) => self.served.late += u64::from(counts),
            Err(_) => self.served.cut += u64::from(counts),
        }
        next
    }
}

impl Scenario for Rush<'_> {
    type State = Received;

    fn wants_another(&mut self, now: Instant) -> Option<Instant> {
        let since = self.connect.wants_another(now)?;
        self.served.due += u64::from(self.counts(since));
        Some(since)
    }

    fn next_start(&self) -> Option<Instant> {
        self.connect.next_start()
    }

    fn handshaking(&mut self, link: &mut Link<Received>) -> Result<Next, Fault> {
        self.tell(link.since, Ok(Next::Wait))
    }

    fn opened(&mut self, link: &mut Link<Received>) -> Result<Next, Fault> {
        let next = self.connect.opened(link);
        self.tell(link.since, next)
    }

    fn ready(&mut self, link: &mut Link<Received>, ready: Ready) -> Result<Next, Fault> {
        let next = self.connect.ready(link, ready);
        self.tell(link.since, next)
    }

    fn closed(&mut self, failed: bool) {
        self.connect.closed(failed);
    }

    fn turn(&mut self, now: Instant) -> Result<AfterTurn, Fault> {
        let turn = self.connect.turn(now);
        self.began.get_or_insert_with(Instant::now);
        let in_window = self.counts(now);
        if in_window != self.in_window
            && let Some((flows, part)) = self.flows
        {
            flows.enter(in_window.then_some(part));
        }
        self.in_window = in_window;
        turn
    }

    fn progress(&self) -> Option<Done> {
        self.connect.progress()
    }
}
