//! The wait between two turns: for how long, and what may be done instead.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::Worker;
use super::turns::poll_once;
use crate::limits;

impl Worker {
    /// Waits for events; with `busy_poll`, spins for a while before it sleeps. Without it, lets datagrams gather.
    pub(super) fn wait(&mut self, poll: &mut Poll, events: &mut Events) -> io::Result<()> {
        let spin = self.core.snapshot.config.server.busy_poll;
        let traffic = std::mem::take(&mut self.core.traffic);
        let mut now = Instant::now();
        if self.core.snapshot.watched {
            self.turns.end(now, &mut self.core.latencies);
        }
        if spin.is_zero() && traffic.dribbled() && !self.core.has_more() {
            std::thread::sleep(limits::UDP_GATHER_TIME);
            now += limits::UDP_GATHER_TIME;
        }
        if !spin.is_zero() && self.timeout(now) != Some(Duration::ZERO) {
            let began = now;
            while now - began < spin {
                poll_once(poll, events, Some(Duration::ZERO))?;
                if !events.is_empty() {
                    return Ok(());
                }
                now = Instant::now();
            }
        }
        poll_once(poll, events, self.timeout(now))
    }

    /// How long this worker may sleep from now on.
    pub(super) fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.core.has_more()
            || !self.walks.is_empty()
            || !self.later.is_empty()
            || (self.core.has_room() && self.acceptance.eager(self.core.now))
        {
            return Some(Duration::ZERO);
        }
        let [wheel, held_back] = [&self.core.wheel, &self.core.held_back]
            .map(|wheel| wheel.next().map(|since_start| self.core.start + since_start));
        let full = if !self.core.has_room() { self.acceptance.says_ceiling_at() } else { None };
        [
            wheel,
            held_back,
            full,
            self.core.refusals.due(),
            self.core.warm.next_at(),
            self.checks.next_at(),
            self.core.lookups.next_deadline(),
            self.core.translators.as_ref().and_then(|translators| translators.next_at()),
            self.core.records.due(),
            self.acceptance.resumes_at(),
            self.acceptance.minds_queues_at(),
            self.acceptance.closes_at(),
            self.walks.next_at(),
            self.drain_by,
        ]
        .into_iter()
        .flatten()
        .min()
        // epoll counts whole milliseconds, to which mio rounds it up: else a deadline would be met by a spin of empty turns.
        .map(|deadline| deadline.saturating_duration_since(now).min(limits::WAIT_LONGEST))
    }
}
