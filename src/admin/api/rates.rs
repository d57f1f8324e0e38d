//! How fast sessions move bytes now: what a look at them finds, against an earlier look.

use std::collections::HashMap;
use std::time::Instant;

use crate::limits;
use crate::observe::live::SessionId;

/// Bytes a second, each way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Speed {
    /// Towards the target.
    pub(super) up: f64,
    /// Towards the client.
    pub(super) down: f64,
}

impl Speed {
    /// Both ways together.
    pub(super) fn both(self) -> f64 {
        self.up + self.down
    }
}

/// What a session had moved when it was seen.
#[derive(Clone, Copy, Debug)]
struct Sight {
    at: Instant,
    up: u64,
    down: u64,
    /// Its rate before that, if it had been seen before.
    rate: Option<Speed>,
}

/// What sessions had moved when they were last looked at; whoever looked. Sessions that nobody looks at are forgotten.
#[derive(Debug, Default)]
pub(super) struct RateBook {
    seen: HashMap<SessionId, Sight>,
    /// When what is old was last left out.
    swept: Option<Instant>,
}

impl RateBook {
    /// A look at a session that has moved so many bytes: its rate since an earlier look, `None` where there was none of
    /// late. Looks that follow each other too soon have the rate that the first of them had.
    pub(super) fn look(&mut self, session: SessionId, up: u64, down: u64, now: Instant) -> Option<Speed> {
        self.sweep(now);
        let known = self
            .seen
            .get(&session)
            .filter(|sight| now.saturating_duration_since(sight.at) <= limits::RATE_KEPT);
        let Some(&Sight { at, up: up_then, down: down_then, rate }) = known else {
            if self.seen.len() < limits::RATES_KEPT_MAX || self.seen.contains_key(&session) {
                self.seen.insert(session, Sight { at: now, up, down, rate: None });
            }
            return None;
        };
        let span = now.saturating_duration_since(at);
        if span < limits::RATE_SPAN_MIN {
            return rate;
        }
        let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / span.as_secs_f64();
        let rate = Some(Speed { up: per_second(up, up_then), down: per_second(down, down_then) });
        self.seen.insert(session, Sight { at: now, up, down, rate });
        rate
    }

    /// Leaves out what is too old to tell a rate.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) > limits::RATE_KEPT) {
            self.seen.retain(|_, sight| now.saturating_duration_since(sight.at) <= limits::RATE_KEPT);
            self.swept = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(serial: u64) -> SessionId {
        SessionId { boot: 1, worker: 0, serial }
    }

    #[test]
    fn a_rate_is_what_was_moved_between_two_looks() {
        let (mut book, start) = (RateBook::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(book.look(id(7), 100, 50, start), None);
        assert_eq!(book.look(id(8), 0, 0, after(10)), None);
        assert_eq!(book.look(id(7), 1_100, 50, after(2_000)), Some(Speed { up: 500.0, down: 0.0 }));
        // Another that looks just behind it has the same, and does not spoil the next.
        assert_eq!(book.look(id(7), 2_000, 50, after(2_010)), Some(Speed { up: 500.0, down: 0.0 }));
        assert_eq!(book.look(id(7), 1_100, 1_050, after(3_000)), Some(Speed { up: 0.0, down: 1_000.0 }));
        assert_eq!(Speed { up: 1.0, down: 2.0 }.both(), 3.0);
    }

    #[test]
    fn a_look_long_ago_tells_no_rate_and_is_forgotten() {
        let (mut book, start) = (RateBook::default(), Instant::now());
        assert_eq!(book.look(id(7), 100, 50, start), None);
        assert_eq!(book.look(id(8), 100, 50, start), None);
        let later = start + limits::RATE_KEPT + Duration::from_millis(1);
        assert_eq!(book.look(id(7), 900, 50, later), None);
        assert_eq!(book.seen.len(), 1);
        assert_eq!(book.look(id(7), 1_000, 50, later + Duration::from_secs(1)).map(Speed::both), Some(100.0));
    }

    #[test]
    fn so_many_sessions_are_remembered_and_no_more() {
        let (mut book, now) = (RateBook::default(), Instant::now());
        for session in 0..limits::RATES_KEPT_MAX as u64 + 10 {
            assert_eq!(book.look(id(session), 0, 0, now), None);
        }
        assert_eq!(book.seen.len(), limits::RATES_KEPT_MAX);
        let later = now + Duration::from_secs(1);
        assert_eq!(book.look(id(0), 5, 0, later).map(Speed::both), Some(5.0));
        assert_eq!(book.look(id(limits::RATES_KEPT_MAX as u64), 5, 0, later), None);
    }
}
