//! The ports that connections take: how many of each (source, target) pair, TIME_WAIT among them.
//!
//! With `IP_BIND_ADDRESS_NO_PORT` a port is used up for one source and one target, so that what runs out is a pair. It is counted
//! where a connection begins and where its socket is closed: the kernel's own list tells the same, TIME_WAIT and other programs'
//! sockets among it, but a dump of a million sockets takes a second of CPU, is old when it is there, and tells of one network
//! namespace. What other programs take of the same ports is not seen; connect(2) says it, when nothing is left.
//!
//! The side that closes first keeps TIME_WAIT. It is counted by turns of [`limits::TIME_WAIT_TURN`]: a connection that was closed in
//! one of them is given back when all of that turn is past its time, so that a port is never counted as free too early.

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::DefaultHashBuilder;

use super::client::AskedClient;
use crate::limits;

/// The ports in use of all pairs, over all workers: a sketch of [`limits::PAIR_ROWS`] rows (count-min, Cormode and Muthukrishnan,
/// 2005), from which what was added is taken away again. A pair is never counted too low, and too high by what another has
/// in both of its cells.
///
/// PairCells are added to by whichever worker it is; what is added is taken away by the same session, or once by the turn, so that
/// none ever falls below zero.
#[derive(Debug)]
pub struct Ports {
    hasher: DefaultHashBuilder,
    began: Instant,
    columns: usize,
    uses: PortUses,
    turns: WaitTurns,
    fullest: FullestPairs,
    /// How often an address came to stand otherwise.
    changes: AtomicU64,
    /// Who found one bad of late.
    asked: AskedClient,
    /// When turns were last looked at, in milliseconds.
    faded_ms: [AtomicU64; 2],
}

/// `net.ipv4.tcp_tw_reuse`: whose port a connection may take that is in TIME_WAIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeWaitReuse {
    /// Nobody's.
    Never,
    /// Any connection's.
    Always,
    /// That of one to this machine.
    #[default]
    Loopback,
}

/// What a pool says of the ports of its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortTerms {
    /// How many ports a source has for each target.
    pub most: u32,
    /// With fewer than so many left to a target the next source is taken.
    pub reserve: u32,
    /// How many sessions of one source there may be to one target; 0: as many as there are ports.
    pub per_target: u32,
}

/// What room a source has for one more connection to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortRoom {
    /// Enough.
    Enough,
    /// Fewer ports than the pool's `reserve`: others first.
    Scarce,
    /// As many sessions as `per_target` allows.
    Full,
}

/// The ports of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairUse {
    /// The source's address.
    pub source: IpAddr,
    /// Where its connections lead.
    pub target: SocketAddr,
    /// How many ports are in use: open, or in TIME_WAIT.
    pub in_use: u32,
    /// How many of them are in TIME_WAIT.
    pub waiting: u32,
}

/// The cells of a pair.
pub(super) type PairCells = [u16; limits::PAIR_ROWS];

/// How a connection leaves its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortLeft {
    /// Free: it was reset, or the target closed first.
    Free,
    /// In TIME_WAIT.
    Waiting,
    /// In TIME_WAIT, out of which another connection may take it after a second.
    WaitingShortly,
}

impl TimeWaitReuse {
    /// What the setting's number says; without one, what kernels do by themselves.
    pub fn of(number: Option<u64>) -> TimeWaitReuse {
        match number {
            Some(0) => TimeWaitReuse::Never,
            Some(1) => TimeWaitReuse::Always,
            _ => TimeWaitReuse::Loopback,
        }
    }
}

/// What a network says of the ports of an address in it. It is written where the setting is read, from time to time.
#[derive(Debug)]
pub(super) struct NetworkPorts {
    /// How many there are where a pool has none of its own.
    range: AtomicU32,
    reuse: AtomicU8,
}

impl Default for NetworkPorts {
    fn default() -> NetworkPorts {
        // What the kernel gives unless told otherwise: 32768 to 60999.
        NetworkPorts { range: AtomicU32::new(28_232), reuse: AtomicU8::new(TimeWaitReuse::default() as u8) }
    }
}

impl NetworkPorts {
    /// What is said, as far as it is: how many local ports there are, and who may take them out of TIME_WAIT.
    pub(super) fn set(&self, range: Option<u32>, reuse: TimeWaitReuse) {
        range.into_iter().for_each(|range| self.range.store(range, Ordering::Relaxed));
        self.reuse.store(reuse as u8, Ordering::Relaxed);
    }

    pub(super) fn range(&self) -> u32 {
        self.range.load(Ordering::Relaxed)
    }

    /// How a connection to this target leaves its port, where our side closed first.
    pub(super) fn left_waiting(&self, target: SocketAddr) -> PortLeft {
        let reuse = self.reuse.load(Ordering::Relaxed);
        let shortly = reuse == TimeWaitReuse::Always as u8
            || (reuse == TimeWaitReuse::Loopback as u8 && target.ip().to_canonical().is_loopback());
        if shortly { PortLeft::WaitingShortly } else { PortLeft::Waiting }
    }
}

impl Ports {
    /// None is in use.
    pub fn new(now: Instant) -> Ports {
        Ports::of(limits::PAIR_COLUMNS, now)
    }

    /// With so many columns: a power of two, and [`limits::PAIR_COLUMNS`] at most.
    fn of(columns: usize, now: Instant) -> Ports {
        Ports {
            hasher: DefaultHashBuilder::default(),
            began: now,
            columns,
            uses: PortUses::of(limits::PAIR_ROWS * columns),
            turns: WaitTurns::default(),
            fullest: FullestPairs::default(),
            changes: AtomicU64::new(0),
            asked: AskedClient::default(),
            faded_ms: Default::default(),
        }
    }

    /// The clock of everything that stands here, in milliseconds.
    pub fn now_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis() as u64
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// An address stands otherwise.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Of whom it is asked whether other addresses serve it.
    pub(super) fn asked(&self) -> &AskedClient {
        &self.asked
    }

    /// What room there is for one more connection between these.
    pub fn room(&self, source: IpAddr, target: SocketAddr, terms: &PortTerms) -> PortRoom {
        if terms.reserve == 0 && terms.per_target == 0 {
            return PortRoom::Enough;
        }
        let cells = self.cells(source, target);
        let open = self.least(cells, PortUses::open);
        if terms.per_target > 0 && open >= terms.per_target {
            return PortRoom::Full;
        }
        let in_use = self.least(cells, PortUses::in_use);
        let left = terms.most.saturating_sub(in_use);
        if terms.reserve > 0 && left < terms.reserve { PortRoom::Scarce } else { PortRoom::Enough }
    }

    /// The pairs with the most ports in use, the fullest first.
    pub fn fullest(&self) -> Vec<PairUse> {
        let mut pairs: Vec<PairUse> =
            self.fullest.pairs().into_iter().map(|pair| self.pair_use(&pair)).collect();
        pairs.retain(|pair| pair.in_use > 0);
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.in_use));
        pairs
    }

    /// A hash of this process, of whatever tells addresses and targets apart.
    pub(super) fn hash(&self, of: impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    pub(super) fn turns(&self) -> &WaitTurns {
        &self.turns
    }

    pub(super) fn take(&self, source: IpAddr, target: SocketAddr) -> PairCells {
        let cells = self.cells(source, target);
        self.places(cells).for_each(|place| self.uses.take(place));
        let in_use = self.least(cells, PortUses::in_use);
        // As it grows it is looked at ever less often; a pair that is known costs no more than one that is not.
        if in_use >= self.fullest.floor.load(Ordering::Relaxed)
            && (in_use.is_power_of_two() || in_use.is_multiple_of(64))
        {
            self.fullest
                .note(PortPair { source, target, cells }, |pair| self.least(pair.cells, PortUses::in_use));
        }
        cells
    }

    pub(super) fn give(&self, cells: PairCells, left: PortLeft) {
        self.places(cells).for_each(|place| self.uses.give(place, left, &self.turns));
    }

    /// Gives back what has been in TIME_WAIT for its time, of the pairs and of what `others` count by the same turns. Called by one
    /// thread, once a second.
    pub(super) fn fade<'a>(&self, now: Instant, others: impl Iterator<Item = &'a PortUses> + Clone) {
        let now_ms = self.now_ms(now);
        for (kind, span) in [
            (PortLeft::Waiting, limits::TIME_WAIT_TURN),
            (PortLeft::WaitingShortly, limits::TIME_WAIT_REUSED),
        ] {
            let last = &self.faded_ms[usize::from(kind == PortLeft::WaitingShortly)];
            let (due, most) = (turns_due(last.load(Ordering::Relaxed), now_ms, span), count_of(kind));
            if due == 0 {
                continue;
            }
            last.store(now_ms, Ordering::Relaxed);
            for _ in 0..due.min(most) {
                let next = self.turns.next(kind);
                self.uses.fade(kind, next);
                others.clone().for_each(|uses| uses.fade(kind, next));
                self.turns.set(kind, next);
            }
        }
        self.fullest.refresh(|pair| self.least(pair.cells, PortUses::in_use));
    }

    fn cells(&self, source: IpAddr, target: SocketAddr) -> PairCells {
        let hash = self.hash((source, target.ip(), target.port()));
        std::array::from_fn(|row| (hash >> (16 * row)) as u16 & (self.columns - 1) as u16)
    }

    /// Where the cells of a pair stand.
    fn places(&self, cells: PairCells) -> impl Iterator<Item = usize> + use<> {
        let columns = self.columns;
        cells.into_iter().enumerate().map(move |(row, column)| row * columns + usize::from(column))
    }

    fn least(&self, cells: PairCells, of: fn(&PortUses, usize) -> u32) -> u32 {
        self.places(cells).map(|place| of(&self.uses, place)).min().unwrap_or(0)
    }

    fn pair_use(&self, pair: &PortPair) -> PairUse {
        let (in_use, open) =
            (self.least(pair.cells, PortUses::in_use), self.least(pair.cells, PortUses::open));
        PairUse { source: pair.source, target: pair.target, in_use, waiting: in_use.saturating_sub(open) }
    }
}

/// How many turns are over since these milliseconds.
fn turns_due(last_ms: u64, now_ms: u64, span: Duration) -> usize {
    usize::try_from(now_ms.saturating_sub(last_ms) / span.as_millis() as u64).unwrap_or(usize::MAX)
}

fn count_of(kind: PortLeft) -> usize {
    match kind {
        PortLeft::Free => 0,
        PortLeft::Waiting => limits::TIME_WAIT_TURNS,
        PortLeft::WaitingShortly => limits::TIME_WAIT_REUSED_TURNS,
    }
}

/// Which turn what is closed now belongs to.
#[derive(Debug, Default)]
pub(super) struct WaitTurns([AtomicUsize; 2]);

impl WaitTurns {
    fn of(&self, kind: PortLeft) -> usize {
        self.0[usize::from(kind == PortLeft::WaitingShortly)].load(Ordering::Relaxed)
    }

    /// The oldest, which is the next to be written.
    fn next(&self, kind: PortLeft) -> usize {
        (self.of(kind) + 1) % count_of(kind)
    }

    fn set(&self, kind: PortLeft, turn: usize) {
        self.0[usize::from(kind == PortLeft::WaitingShortly)].store(turn, Ordering::Relaxed);
    }
}

/// Ports in use, by some number of cells: open ones, those in TIME_WAIT, and of these how many by turn.
#[derive(Debug)]
pub(super) struct PortUses {
    cells: usize,
    /// One after the other: open, waiting, the turns of a minute, the turns of a second.
    counts: Box<[AtomicU32]>,
}

impl PortUses {
    pub(super) fn of(cells: usize) -> PortUses {
        let all = cells * (2 + limits::TIME_WAIT_TURNS + limits::TIME_WAIT_REUSED_TURNS);
        PortUses { cells, counts: (0..all).map(|_| AtomicU32::new(0)).collect() }
    }

    pub(super) fn open(&self, cell: usize) -> u32 {
        self.counts[cell].load(Ordering::Relaxed)
    }

    pub(super) fn waiting(&self, cell: usize) -> u32 {
        self.counts[self.cells + cell].load(Ordering::Relaxed)
    }

    pub(super) fn in_use(&self, cell: usize) -> u32 {
        self.open(cell).saturating_add(self.waiting(cell))
    }

    pub(super) fn take(&self, cell: usize) {
        self.counts[cell].fetch_add(1, Ordering::Relaxed);
    }

    /// What waits is counted as such before it is open no more, so that nobody finds it free in between.
    pub(super) fn give(&self, cell: usize, left: PortLeft, turns: &WaitTurns) {
        if left != PortLeft::Free {
            self.counts[self.turn(left, turns.of(left)) + cell].fetch_add(1, Ordering::Relaxed);
            self.counts[self.cells + cell].fetch_add(1, Ordering::Relaxed);
        }
        self.counts[cell].fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives back all of a turn. A worker that counts in it just then, for it read which turn it is a moment before, is given
    /// back with the next round: too late by a round, and never too early.
    fn fade(&self, kind: PortLeft, turn: usize) {
        let at = self.turn(kind, turn);
        for cell in 0..self.cells {
            // Nearly all are zero, and are not written.
            if self.counts[at + cell].load(Ordering::Relaxed) > 0 {
                let over = self.counts[at + cell].swap(0, Ordering::Relaxed);
                self.counts[self.cells + cell].fetch_sub(over, Ordering::Relaxed);
            }
        }
    }

    fn turn(&self, kind: PortLeft, turn: usize) -> usize {
        let before = if kind == PortLeft::WaitingShortly { limits::TIME_WAIT_TURNS } else { 0 };
        (2 + before + turn) * self.cells
    }
}

#[derive(Clone, Copy, Debug)]
struct PortPair {
    source: IpAddr,
    target: SocketAddr,
    cells: PairCells,
}

/// Who the fullest pairs are. A worker that finds it held goes on: what it had to say it says again as the pair grows.
#[derive(Debug, Default)]
struct FullestPairs {
    pairs: Mutex<Vec<PortPair>>,
    /// What a pair must have to be among them.
    floor: AtomicU32,
}

impl FullestPairs {
    fn pairs(&self) -> Vec<PortPair> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, pair: PortPair, in_use: impl Fn(&PortPair) -> u32) {
        let Ok(mut pairs) = self.pairs.try_lock() else { return };
        if pairs.iter().any(|known| {
            known.cells == pair.cells && known.source == pair.source && known.target == pair.target
        }) {
            return;
        }
        if pairs.len() < limits::FULLEST_PAIRS {
            pairs.push(pair);
        } else if let Some(least) = pairs.iter_mut().min_by_key(|known| in_use(known))
            && in_use(least) < in_use(&pair)
        {
            *least = pair;
        }
        self.set_floor(&pairs, in_use);
    }

    fn refresh(&self, in_use: impl Fn(&PortPair) -> u32) {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.retain(|pair| in_use(pair) > 0);
        self.set_floor(&pairs, in_use);
    }

    fn set_floor(&self, pairs: &[PortPair], in_use: impl Fn(&PortPair) -> u32) {
        let full = pairs.len() == limits::FULLEST_PAIRS;
        let least = pairs.iter().map(in_use).min().filter(|_| full);
        self.floor.store(least.unwrap_or(0), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
