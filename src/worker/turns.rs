//! The wait between two turns, and how long the worker's own part takes: the length of its turns, and what a socket may have
//! waited for its service.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::limits;
use crate::observe::{Latencies, Timed};

/// Where the worker stands between two waits.
#[derive(Debug, Default)]
pub(super) struct TurnTimes {
    /// When the present turn began; `None` between two turns.
    began: Option<Instant>,
    /// When the last turn ended, and how long it was.
    last: Option<(Instant, Duration)>,
    /// How long the turn before this one was, where a socket may have become ready in it.
    before: Duration,
}

impl TurnTimes {
    /// A turn begins: the wait for events is over.
    pub(super) fn begin(&mut self, now: Instant) {
        // A wait that slept began with no socket ready.
        let slept = |ended| now - ended >= limits::WAIT_WITHOUT_SLEEP;
        self.before = self.last.filter(|(ended, _)| !slept(*ended)).map_or(Duration::ZERO, |(_, took)| took);
        self.began = Some(now);
    }

    /// The turn is over, and the next wait begins.
    pub(super) fn end(&mut self, now: Instant, latencies: &mut Latencies) {
        let Some(began) = self.began.take() else { return };
        let took = now - began;
        latencies.record(Timed::Turn, took);
        // What was ready when the turn before this one had just begun is served by the end of this one.
        latencies.record(Timed::Delay, self.before + took);
        self.last = Some((now, took));
    }
}

/// Waits for events; a signal gives none.
pub(super) fn poll_once(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_socket_waits_for_the_turn_in_which_it_became_ready_and_for_its_own() {
        let (mut turns, mut at) = (TurnTimes::default(), Instant::now());
        let mut turn = |wait: Duration, took: Duration| {
            turns.begin(at + wait);
            at += wait + took;
            let mut latencies = Latencies::default();
            turns.end(at, &mut latencies);
            [Timed::Turn, Timed::Delay].map(|what| latencies.sum(what).as_millis())
        };
        assert_eq!(turn(Duration::ZERO, 3 * MS), [3, 3], "none before it");
        assert_eq!(turn(MS / 100, 4 * MS), [4, 7], "there was something to do at once");
        assert_eq!(turn(Duration::ZERO, 2 * MS), [2, 6]);
        assert_eq!(turn(5 * MS, 2 * MS), [2, 2], "it slept");
        let mut latencies = Latencies::default();
        turns.end(at, &mut latencies);
        assert_eq!(latencies.count(Timed::Turn), 0, "no turn has two ends");
    }
}
