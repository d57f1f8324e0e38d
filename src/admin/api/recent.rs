//! How long things took of late: what workers tell of all their time, less what they told before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mio::Waker;

use super::history::Load;
use crate::admin::latencies::WorkerLatencies;
use crate::limits;
use crate::observe::{Latencies, LatencyMark, Timed};
use crate::worker::Mailbox;

/// What one worker had told before.
#[derive(Debug, Default)]
struct WorkerPast {
    /// A second before what it told last.
    second_ago: LatencyMark,
    /// At distances of [`limits::RECENT_STEP`], the oldest first; nothing before the first of them.
    marks: VecDeque<LatencyMark>,
}

/// What all workers told, and had told before.
#[derive(Debug)]
pub(super) struct Recent {
    told: WorkerLatencies,
    workers: Vec<WorkerPast>,
    marked: Option<Instant>,
}

impl Recent {
    /// Nothing yet, of so many workers.
    pub(super) fn of(workers: usize, waker: &Arc<Waker>) -> Recent {
        Recent {
            told: WorkerLatencies::of(workers, Some(waker)),
            workers: (0..workers).map(|_| WorkerPast::default()).collect(),
            marked: None,
        }
    }

    /// Once a second: takes what workers have answered, asks them anew, and gives how loaded they were.
    pub(super) fn tick(&mut self, mailboxes: &[Mailbox], now: Instant) -> Load {
        let since = |marked: Instant| now.saturating_duration_since(marked);
        let is_due = self.marked.is_none_or(|marked| since(marked) >= limits::RECENT_STEP);
        self.told.take();
        let mut second = Latencies::default();
        for (number, past) in self.workers.iter_mut().enumerate() {
            let Some(latest) = self.told.of_worker(number) else { continue };
            second.merge(&latest.since(&past.second_ago));
            past.second_ago = latest.mark();
            if is_due {
                past.marks.push_back(latest.mark());
                while past.marks.len() > limits::RECENT_STEPS {
                    past.marks.pop_front();
                }
            }
        }
        if is_due {
            self.marked = Some(now);
        }
        self.told.ask(mailboxes);
        let p99_ms = |what| second.quantiles(what).map(|quantiles| quantiles.p99_ms);
        Load { turn_p99_ms: p99_ms(Timed::Turn), delay_p99_ms: p99_ms(Timed::Delay) }
    }

    /// What came of the last minute in each worker.
    pub(super) fn minute(&mut self) -> Vec<Latencies> {
        self.told.take();
        let of = |(number, past): (usize, &WorkerPast)| {
            let mark = past.marks.front().cloned().unwrap_or_default();
            self.told.of_worker(number).map(|latest| latest.since(&mark)).unwrap_or_default()
        };
        self.workers.iter().enumerate().map(of).collect()
    }

    /// Asks the workers anew, beside what is asked each second.
    pub(super) fn ask(&mut self, mailboxes: &[Mailbox]) {
        self.told.ask(mailboxes);
    }

    /// Takes what workers have answered; true where none owes an answer.
    pub(super) fn take(&mut self) -> bool {
        self.told.take()
    }

    /// What workers told last, since their start.
    pub(super) fn told(&self) -> &WorkerLatencies {
        &self.told
    }
}
