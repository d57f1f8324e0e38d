//! Counters of one worker: one writer, any number of readers, no lock and no read-modify-write.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counted::{CELLS, Counted, Metric, log_fields, values};
use super::labels::{Direction, PipeState, Queue};
use super::limit_hits::LimitHits;
use super::listener_hits::ListenerHits;
use super::parent_hits::ParentHits;
use super::parent_server_hits::ParentServerHits;
use super::rule_hits::RuleHits;
use crate::outcome::Reason;
use crate::relay::datagram::{Drop, Pumped};
use crate::relay::{Engine, NoPipe};

/// The counters of one worker. Only that worker writes them; [`Counted::Stall`] is the control thread's.
#[derive(Debug)]
pub struct Counters {
    cells: [AtomicU64; CELLS],
    /// What each rule decided.
    pub rules: RuleHits,
    /// What of each limit was reached.
    pub limits: LimitHits,
    /// What was spoken at each listener.
    pub listeners: ListenerHits,
    /// What came of each parent.
    pub parents: ParentHits,
    /// What came of each server of a parent.
    pub parent_servers: ParentServerHits,
}

impl Default for Counters {
    fn default() -> Counters {
        let cells = [const { AtomicU64::new(0) }; CELLS];
        let (rules, limits, listeners, parents, parent_servers) = Default::default();
        Counters { cells, rules, limits, listeners, parents, parent_servers }
    }
}

impl Counters {
    /// Adds one to a counter.
    pub fn count(&self, what: Counted) {
        self.add(what, 1);
    }

    /// Adds `more` to a counter, in a plain load and store: the caller is the only writer.
    pub fn add(&self, what: Counted, more: u64) {
        let cell = &self.cells[what.cell()];
        cell.store(cell.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    /// Sets a counter to how many there are now, or were ever.
    pub fn set(&self, what: Counted, value: u64) {
        self.cells[what.cell()].store(value, Ordering::Relaxed);
    }

    fn get(&self, what: Counted) -> u64 {
        self.cells[what.cell()].load(Ordering::Relaxed)
    }

    /// One more connection.
    pub fn accept(&self) {
        self.count(Counted::Accepted);
        self.count(Counted::Active);
    }

    /// One connection less.
    pub fn close(&self, reason: Reason) {
        self.set(Counted::Active, self.get(Counted::Active).saturating_sub(1));
        self.count(Counted::Closed(reason));
    }

    /// Bytes that a sink took.
    pub fn relay(&self, direction: Direction, engine: Engine, bytes: usize) {
        if bytes > 0 {
            self.add(Counted::RelayedBytes(direction, engine), bytes as u64);
        }
    }

    /// Sets how many associations there are now.
    pub fn associations(&self, count: usize) {
        self.set(Counted::Associations, count as u64);
    }

    /// Datagrams that went on, and those that did not.
    pub fn datagrams(&self, pumped: &Pumped) {
        for (direction, flow) in [(Direction::Up, pumped.up), (Direction::Down, pumped.down)] {
            self.add(Counted::Datagrams(direction), flow.datagrams);
            self.add(Counted::DatagramBytes(direction), flow.bytes);
        }
        if pumped.reassembled > 0 {
            self.add(Counted::Reassembled, pumped.reassembled);
        }
        for (drop, count) in Drop::ALL.into_iter().zip(pumped.drops.0) {
            if count > 0 {
                self.add(Counted::Dropped(drop), count);
            }
        }
    }

    /// The pipes of the worker's kit as they are now.
    pub fn pipes(&self, lent: usize, pooled: usize) {
        self.set(Counted::Pipes(PipeState::Lent), lent as u64);
        self.set(Counted::Pipes(PipeState::Pooled), pooled as u64);
    }

    /// Times that no pipe could be had, beside those that are counted already.
    pub fn pipe_fallbacks(&self, by_cause: [u64; NoPipe::ALL.len()]) {
        for (cause, more) in NoPipe::ALL.into_iter().zip(by_cause).filter(|(_, more)| *more > 0) {
            self.add(Counted::PipeFallbacks(cause), more);
        }
    }
}

/// A sum over workers at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals([u64; CELLS]);

impl Totals {
    /// The sum over these workers.
    pub fn of<'a>(workers: impl IntoIterator<Item = &'a Counters>) -> Totals {
        let mut totals = Totals([0; CELLS]);
        for counters in workers {
            for (sum, cell) in totals.0.iter_mut().zip(&counters.cells) {
                *sum += cell.load(Ordering::Relaxed);
            }
        }
        totals
    }

    /// What another than the workers counted.
    pub fn set(&mut self, what: Counted, value: u64) {
        self.0[what.cell()] = value;
    }

    /// How full a queue is that others than the workers fill, and how full it may be.
    pub fn set_queue(&mut self, queue: Queue, (used, max): (usize, usize)) {
        self.set(Counted::QueueUsed(queue), used as u64);
        self.set(Counted::QueueMax(queue), max as u64);
    }

    /// The value of a counter or gauge.
    pub fn count_of(&self, what: Counted) -> u64 {
        self.0[what.cell()]
    }

    /// Connections that are open now.
    pub fn active(&self) -> u64 {
        self.count_of(Counted::Active)
    }

    /// Connections closed, for whatever reason.
    pub fn closed(&self) -> u64 {
        Reason::ALL.into_iter().map(|reason| self.closed_for(reason)).sum()
    }

    /// Connections closed for this reason.
    pub fn closed_for(&self, reason: Reason) -> u64 {
        self.count_of(Counted::Closed(reason))
    }

    /// Bytes relayed one way by one engine.
    pub fn bytes(&self, direction: Direction, engine: Engine) -> u64 {
        self.count_of(Counted::RelayedBytes(direction, engine))
    }

    /// Each metric with its values, in the order of its labels' words.
    pub(super) fn metrics(&self) -> impl Iterator<Item = (&'static Metric, &[u64])> {
        values(&self.0)
    }

    /// Names and values for a log: what is not zero.
    pub fn fields(&self) -> Vec<(String, u64)> {
        log_fields(&self.0, false)
    }

    /// Names and values for the API: the log's, and what is zero.
    pub fn all_fields(&self) -> Vec<(String, u64)> {
        log_fields(&self.0, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::datagram::{Drops, Flow};

    #[test]
    fn what_workers_count_is_summed_and_what_others_count_is_set() {
        let workers = [Counters::default(), Counters::default()];
        for counters in &workers {
            counters.accept();
            counters.accept();
            counters.close(Reason::Idle);
            counters.relay(Direction::Up, Engine::Copy, 5);
            counters.relay(Direction::Up, Engine::Splice, 0);
            counters.pipes(1, 2);
            counters.pipes(4, 5);
            counters.pipe_fallbacks([1, 2]);
        }
        let mut totals = Totals::of(&workers);
        assert_eq!((totals.count_of(Counted::Accepted), totals.active(), totals.closed()), (4, 2, 2));
        assert_eq!((totals.closed_for(Reason::Idle), totals.closed_for(Reason::Drained)), (2, 0));
        assert_eq!(
            (totals.bytes(Direction::Up, Engine::Copy), totals.bytes(Direction::Up, Engine::Splice)),
            (10, 0)
        );
        let pipes = [PipeState::Lent, PipeState::Pooled].map(|state| totals.count_of(Counted::Pipes(state)));
        assert_eq!(
            (pipes, NoPipe::ALL.map(|cause| totals.count_of(Counted::PipeFallbacks(cause)))),
            ([8, 10], [2, 4])
        );
        totals.set(Counted::RecordsLost, 9);
        assert_eq!(totals.fields().last(), Some(&("records_lost".to_owned(), 9)));
    }

    #[test]
    fn datagrams_are_counted_each_way_and_by_why_they_were_dropped() {
        let counters = Counters::default();
        let mut drops = Drops::default();
        drops.0[Drop::Loop as usize] = 3;
        let flow = |datagrams, bytes| Flow { datagrams, bytes };
        let pumped = Pumped { up: flow(1, 10), down: flow(2, 20), drops, ..Pumped::default() };
        counters.datagrams(&pumped);
        counters.datagrams(&pumped);
        let totals = Totals::of([&counters]);
        let both = |counted: fn(Direction) -> Counted| {
            [Direction::Up, Direction::Down].map(|direction| totals.count_of(counted(direction)))
        };
        assert_eq!((both(Counted::Datagrams), both(Counted::DatagramBytes)), ([2, 4], [20, 40]));
        assert_eq!(totals.count_of(Counted::Dropped(Drop::Loop)), 6);
    }
}
