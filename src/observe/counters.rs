//! Counters of one worker: one writer, any number of readers, no lock and no read-modify-write.

use crate::outcome::Reason;
use crate::relay::Engine;
use crate::relay::datagram::{Drop, Drops, Pumped};
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which way relayed bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Client to target.
    Up,
    /// Target to client.
    Down,
}

const REASONS: usize = Reason::ALL.len();

/// What is counted by the event, beside the ends of sessions and what they moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Counted {
    /// A login that was right.
    LoginOk,
    /// A login that was wrong.
    LoginFailed,
    /// A connect or a listener that found no free local port.
    NoLocalPort,
    /// A connection to a listener of a BIND session from another than its peer; it was reset.
    ForeignPeer,
    /// A request that was refused: its source has as many sessions as `limits.per_source` allows.
    SourceRefused,
    /// A connection that was closed when it came: its source has twice as many.
    SourceTurnedAway,
    /// A request refused because its access record had no room.
    RefusedUnrecorded,
    /// Accepting paused for want of descriptors or memory.
    AcceptPaused,
    /// A worker that did not get on with its turn. The control thread counts it, and it alone.
    Stall,
}

impl Counted {
    /// Every event, in the order of its number.
    pub const ALL: [Counted; 9] = [
        Counted::LoginOk,
        Counted::LoginFailed,
        Counted::NoLocalPort,
        Counted::ForeignPeer,
        Counted::SourceRefused,
        Counted::SourceTurnedAway,
        Counted::RefusedUnrecorded,
        Counted::AcceptPaused,
        Counted::Stall,
    ];

    /// The word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Counted::LoginOk => "logins_ok",
            Counted::LoginFailed => "logins_failed",
            Counted::NoLocalPort => "no_local_port",
            Counted::ForeignPeer => "foreign_peers",
            Counted::SourceRefused => "per_source_refused",
            Counted::SourceTurnedAway => "per_source_turned_away",
            Counted::RefusedUnrecorded => "refused_unrecorded",
            Counted::AcceptPaused => "accept_paused",
            Counted::Stall => "stalls",
        }
    }
}

/// The counters of one worker. Only that worker writes them; [`Counted::Stall`] is the control thread's.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: Counter,
    active: Counter,
    closed: [Counter; REASONS],
    relayed_bytes: [[Counter; Engine::ALL.len()]; 2],
    events: [Counter; Counted::ALL.len()],
    associations: Counter,
    datagrams: [Counter; 2],
    datagram_bytes: [Counter; 2],
    datagrams_dropped: [Counter; Drop::ALL.len()],
    pipe_fallbacks: Counter,
    pipes_lent: Counter,
    pipes_pooled: Counter,
}

#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// A plain load and store: the caller is the only writer.
    fn add(&self, value: u64) {
        self.set(self.get() + value);
    }
}

/// A sum over workers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that are open now.
    pub active: u64,
    /// Connections closed, by [`Reason`] in the order of [`Reason::ALL`].
    pub closed: [u64; REASONS],
    /// Bytes relayed, `[up, down]` of each [`Engine`] in the order of [`Engine::ALL`].
    pub relayed_bytes: [[u64; Engine::ALL.len()]; 2],
    /// What happened how often, by [`Counted`] in the order of [`Counted::ALL`].
    pub events: [u64; Counted::ALL.len()],
    /// Associations that are there now.
    pub associations: u64,
    /// Datagrams relayed, `[up, down]`.
    pub datagrams: [u64; 2],
    /// Bytes of their payload, `[up, down]`.
    pub datagram_bytes: [u64; 2],
    /// Datagrams dropped, by [`Drop`].
    pub datagrams_dropped: Drops,
    /// Times that no pipe could be had and bytes were copied instead.
    pub pipe_fallbacks: u64,
    /// Pipes with bytes in them now.
    pub pipes_lent: u64,
    /// Empty pipes kept for the next use.
    pub pipes_pooled: u64,
    /// Access records that were dropped. No worker counts them: their queue does.
    pub records_lost: u64,
    /// Log lines that were dropped, likewise.
    pub log_lines_lost: u64,
}

impl Counters {
    /// One more connection.
    pub fn accept(&self) {
        self.accepted.add(1);
        self.active.add(1);
    }

    /// One connection less.
    pub fn close(&self, reason: Reason) {
        self.active.set(self.active.get().saturating_sub(1));
        self.closed[reason as usize].add(1);
    }

    /// Bytes that a sink took.
    pub fn relay(&self, direction: Direction, engine: Engine, bytes: usize) {
        if bytes > 0 {
            self.relayed_bytes[direction as usize][engine as usize].add(bytes as u64);
        }
    }

    /// One more of these.
    pub fn count(&self, event: Counted) {
        self.events[event as usize].add(1);
    }

    /// So many associations are there now.
    pub fn associations(&self, count: usize) {
        self.associations.set(count as u64);
    }

    /// Datagrams that went on, and those that did not.
    pub fn datagrams(&self, pumped: &Pumped) {
        for (at, flow) in [pumped.up, pumped.down].iter().enumerate() {
            self.datagrams[at].add(flow.datagrams);
            self.datagram_bytes[at].add(flow.bytes);
        }
        for (counter, count) in self.datagrams_dropped.iter().zip(pumped.drops.0) {
            if count > 0 {
                counter.add(count);
            }
        }
    }

    /// The pipes of the worker's kit as they are now.
    pub fn pipes(&self, lent: usize, pooled: usize, fallbacks: u64) {
        self.pipes_lent.set(lent as u64);
        self.pipes_pooled.set(pooled as u64);
        self.pipe_fallbacks.set(fallbacks);
    }

    /// Adds what this worker counted so far to a sum.
    pub fn add_to(&self, totals: &mut Totals) {
        totals.accepted += self.accepted.get();
        totals.active += self.active.get();
        for (sum, counter) in totals.closed.iter_mut().zip(&self.closed) {
            *sum += counter.get();
        }
        for (sum, counter) in
            totals.relayed_bytes.iter_mut().flatten().zip(self.relayed_bytes.iter().flatten())
        {
            *sum += counter.get();
        }
        for (sum, counter) in totals.events.iter_mut().zip(&self.events) {
            *sum += counter.get();
        }
        totals.associations += self.associations.get();
        for at in [Direction::Up as usize, Direction::Down as usize] {
            totals.datagrams[at] += self.datagrams[at].get();
            totals.datagram_bytes[at] += self.datagram_bytes[at].get();
        }
        for (sum, counter) in totals.datagrams_dropped.0.iter_mut().zip(&self.datagrams_dropped) {
            *sum += counter.get();
        }
        totals.pipe_fallbacks += self.pipe_fallbacks.get();
        totals.pipes_lent += self.pipes_lent.get();
        totals.pipes_pooled += self.pipes_pooled.get();
    }
}

impl Totals {
    /// The sum over these workers.
    pub fn of<'a>(workers: impl IntoIterator<Item = &'a Counters>) -> Totals {
        let mut totals = Totals::default();
        for counters in workers {
            counters.add_to(&mut totals);
        }
        totals
    }

    /// Bytes relayed one way by one engine.
    pub fn bytes(&self, direction: Direction, engine: Engine) -> u64 {
        self.relayed_bytes[direction as usize][engine as usize]
    }

    /// Connections closed for this reason.
    pub fn closed_for(&self, reason: Reason) -> u64 {
        self.closed[reason as usize]
    }

    /// How often this happened.
    pub fn count_of(&self, event: Counted) -> u64 {
        self.events[event as usize]
    }

    /// Names and values for a log: what is not zero.
    pub fn fields(&self) -> Vec<(Cow<'static, str>, u64)> {
        let always = [("accepted", self.accepted), ("active", self.active)];
        let mut fields: Vec<(Cow<'static, str>, u64)> =
            always.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let mut some = |name: Cow<'static, str>, value: u64| {
            if value > 0 {
                fields.push((name, value));
            }
        };
        for (reason, count) in Reason::ALL.iter().zip(self.closed) {
            some(format!("closed_{}", reason.name()).into(), count);
        }
        for (direction, name) in [(Direction::Up, "up"), (Direction::Down, "down")] {
            for engine in Engine::ALL {
                some(format!("bytes_{name}_{}", engine.name()).into(), self.bytes(direction, engine));
            }
        }
        for (event, count) in Counted::ALL.iter().zip(self.events) {
            some(event.name().into(), count);
        }
        for (name, value) in [
            ("udp_associations", self.associations),
            ("udp_datagrams_up", self.datagrams[Direction::Up as usize]),
            ("udp_datagrams_down", self.datagrams[Direction::Down as usize]),
            ("udp_bytes_up", self.datagram_bytes[Direction::Up as usize]),
            ("udp_bytes_down", self.datagram_bytes[Direction::Down as usize]),
            ("pipe_fallbacks", self.pipe_fallbacks),
            ("pipes_lent", self.pipes_lent),
            ("pipes_pooled", self.pipes_pooled),
            ("records_lost", self.records_lost),
            ("log_lines_lost", self.log_lines_lost),
        ] {
            some(name.into(), value);
        }
        for (drop, count) in Drop::ALL.iter().zip(self.datagrams_dropped.0) {
            some(format!("udp_dropped_{}", drop.name()).into(), count);
        }
        fields
    }
}
