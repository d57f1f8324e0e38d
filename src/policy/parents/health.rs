//! How a server of a parent is: read by all workers for each session, and written where one failed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::doubt::{ClosedOn, Doubts};
use super::triers::{Trier, Triers};

/// How a server is. Fails are counted within a time; with too many the server is away for that long, and then one session tries
/// it while the others still keep away. What that one finds decides.
#[derive(Debug)]
pub struct ServerHealth {
    /// Moments are milliseconds since this.
    since: Instant,
    /// When the time began within which fails are counted, and above it how many there were; 0: none.
    fails: AtomicU64,
    /// Until when it is away; 0: it is not. Who puts it off is the one who tries.
    away_until_ms: AtomicU64,
    doubts: Doubts,
    triers: Triers,
}

/// Bits of a moment: some 8,000 years.
const MOMENT_BITS: u32 = 48;
const MOMENT: u64 = (1 << MOMENT_BITS) - 1;

impl ServerHealth {
    /// A server of which nothing is known.
    pub fn new(now: Instant) -> ServerHealth {
        ServerHealth {
            since: now,
            fails: AtomicU64::new(0),
            away_until_ms: AtomicU64::new(0),
            doubts: Doubts::default(),
            triers: Triers::default(),
        }
    }

    /// Takes note of a fail; whether it is away by that and was not before.
    pub fn failed(&self, most: u32, within: Duration, now: Instant) -> bool {
        if most == 0 {
            return false;
        }
        let (now_ms, within_ms) = (self.ms(now), ms_of(within));
        let counted = |fails: u64| {
            let (count, began) = (fails >> MOMENT_BITS, fails & MOMENT);
            match count > 0 && now_ms < began.saturating_add(within_ms) {
                true => (count + 1, began),
                false => (1, now_ms),
            }
        };
        let most = u64::from(most).min(MOMENT_COUNT_MAX);
        let add = |fails| {
            let (count, began) = counted(fails);
            Some(count.min(most) << MOMENT_BITS | (began & MOMENT))
        };
        let before = self.fails.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).unwrap_or_default();
        let until = now_ms.saturating_add(within_ms).max(1);
        // One that was away and was tried stays so.
        match self.away_until_ms.load(Ordering::Relaxed) {
            0 if counted(before).0 >= most => {
                self.away_until_ms.compare_exchange(0, until, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            }
            0 => false,
            _ => {
                self.away_until_ms.fetch_max(until, Ordering::Relaxed);
                self.triers.clear();
                false
            }
        }
    }

    /// Takes note that it is well; whether it was away.
    pub fn succeeded(&self) -> bool {
        if self.fails.load(Ordering::Relaxed) != 0 {
            self.fails.store(0, Ordering::Relaxed);
        }
        self.doubts.clear();
        let back = self.away_until_ms.load(Ordering::Relaxed) != 0
            && self.away_until_ms.swap(0, Ordering::Relaxed) != 0;
        if back {
            self.triers.clear();
        }
        back
    }

    /// It closed the connection in place of a reply; whether that is a fail of its own.
    pub(super) fn closed(&self, on: ClosedOn<'_>, within: Duration, now: Instant) -> bool {
        self.doubts.closed(on, within, self.ms(now))
    }

    /// It led a session on.
    pub(super) fn served(&self, now: Instant) {
        self.doubts.served(self.ms(now));
    }

    /// What may be its fault or another's.
    pub(super) fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// Whether sessions keep away from it. So it is until one has tried it and found it well.
    pub fn is_away(&self) -> bool {
        self.away_until_ms.load(Ordering::Relaxed) != 0
    }

    /// Whether a session may be led there: to one that is not away, or as the one that tries whether it is back, where `patience` is
    /// how long the others wait for what it finds. Who has tried and found nothing out lets others go first for as long: its target
    /// may not answer, or it may be gone at once, and so it could have everybody kept away from a server that is back.
    pub(super) fn may_try(&self, trier: Trier, patience: Duration, now: Instant) -> bool {
        let until = self.away_until_ms.load(Ordering::Relaxed);
        let (now_ms, patience_ms) = (self.ms(now), ms_of(patience));
        if until == 0 || now_ms < until {
            return until == 0;
        }
        if self.triers.has(trier) && now_ms < until.saturating_add(patience_ms) {
            return false;
        }
        let put_off = now_ms.saturating_add(patience_ms).max(1);
        let tries =
            self.away_until_ms.compare_exchange(until, put_off, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if tries {
            self.triers.add(trier);
        }
        tries
    }

    /// Until when it is away, by which the least bad of several is found; 0: it is not.
    pub(super) fn away_until(&self) -> u64 {
        self.away_until_ms.load(Ordering::Relaxed)
    }

    /// How long sessions keep away from it yet: nothing is left where one may try it. `None` where it is not away.
    pub fn away_for(&self, now: Instant) -> Option<Duration> {
        let until = self.away_until_ms.load(Ordering::Relaxed);
        (until != 0).then(|| Duration::from_millis(until.saturating_sub(self.ms(now))))
    }

    /// How many fails there were lately.
    pub fn fails(&self) -> u64 {
        self.fails.load(Ordering::Relaxed) >> MOMENT_BITS
    }

    fn ms(&self, now: Instant) -> u64 {
        ms_of(now.saturating_duration_since(self.since)).min(MOMENT)
    }
}

/// Fails that have a place above the moment.
const MOMENT_COUNT_MAX: u64 = u64::MAX >> MOMENT_BITS;

fn ms_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
