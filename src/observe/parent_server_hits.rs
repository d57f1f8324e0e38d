//! What came of each server of a parent: one writer for each worker, like all its counters.

use std::time::{Duration, SystemTime};

use super::numbered::NumberedCounts;
use super::parent_hits::ParentFault;

/// What a look at a server found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckFound {
    /// It led to the target.
    Reached,
    /// It said that it cannot lead there, and is well enough to say so.
    Answered,
    /// Its own fault.
    Failed(ParentFault),
}

/// Sessions that it led on, those that have begun and ended, those for which an idle connection was there or was not, idle
/// connections that are ready, and what was found last with the moment.
const SESSIONS: usize = 0;
const BEGUN: usize = 1;
const ENDED: usize = 2;
const WARM: usize = 3;
const COLD: usize = 4;
const READY: usize = 5;
const LAST_FAULT: usize = 6;
const LAST_CHECK: usize = 7;
const FAULTS: usize = 8;
const KINDS: usize = FAULTS + ParentFault::ALL.len();

/// A worker's counts. Only that worker writes them.
#[derive(Debug, Default)]
pub struct ParentServerHits(NumberedCounts<KINDS>);

/// What was counted of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParentServerCounts {
    /// Sessions that it has.
    pub active: u64,
    /// Sessions that it led to their targets.
    pub sessions: u64,
    /// Those of them for which an idle connection was there.
    pub warm_hits: u64,
    /// Those that would have taken one.
    pub warm_misses: u64,
    /// Idle connections that are ready.
    pub warm_ready: u64,
    /// Its faults, in the order of [`ParentFault::ALL`].
    pub faults: [u64; ParentFault::ALL.len()],
    /// The last of them that is its own, and when that was.
    pub last_fault: Option<(SystemTime, ParentFault)>,
    /// What the last look at it found, and when.
    pub last_check: Option<(SystemTime, CheckFound)>,
}

impl CheckFound {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            CheckFound::Reached => "ok",
            CheckFound::Answered => "target",
            CheckFound::Failed(fault) => fault.name(),
        }
    }

    fn number(self) -> u64 {
        match self {
            CheckFound::Reached => 0,
            CheckFound::Answered => 1,
            CheckFound::Failed(fault) => 2 + fault as u64,
        }
    }

    fn of(number: u64) -> Option<CheckFound> {
        match number {
            0 => Some(CheckFound::Reached),
            1 => Some(CheckFound::Answered),
            _ => fault(number - 2).map(CheckFound::Failed),
        }
    }
}

impl ParentServerCounts {
    /// These and those of another worker.
    #[must_use]
    pub fn and(mut self, other: ParentServerCounts) -> ParentServerCounts {
        self.active += other.active;
        self.sessions += other.sessions;
        self.warm_hits += other.warm_hits;
        self.warm_misses += other.warm_misses;
        self.warm_ready += other.warm_ready;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, one)| *sum += one);
        self.last_fault = later(self.last_fault, other.last_fault);
        self.last_check = later(self.last_check, other.last_check);
        self
    }
}

impl ParentServerHits {
    /// A session goes through it from now on.
    pub fn begins(&self, server: u16) {
        self.0.add(server, BEGUN, 1);
    }

    /// One does no longer.
    pub fn ends(&self, server: u16) {
        self.0.add(server, ENDED, 1);
    }

    /// One more session that was led on. `warm` says whether an idle connection was there; `None` where it could have had none.
    pub fn session(&self, server: u16, warm: Option<bool>) {
        self.0.add(server, SESSIONS, 1);
        if let Some(warm) = warm {
            self.0.add(server, if warm { WARM } else { COLD }, 1);
        }
    }

    /// So many idle connections to it are ready.
    pub fn set_ready(&self, server: u16, ready: u64) {
        self.0.set(server, READY, ready);
    }

    /// One more fault.
    pub fn failure(&self, server: u16, fault: ParentFault, time: SystemTime) {
        self.0.add(server, FAULTS + fault as usize, 1);
        // What this machine lacks is why no server is kept away from.
        if fault.is_the_servers() {
            self.0.set(server, LAST_FAULT, packed(time, fault as u64));
        }
    }

    /// A look at it is over.
    pub fn checked(&self, server: u16, found: CheckFound, time: SystemTime) {
        self.0.set(server, LAST_CHECK, packed(time, found.number()));
    }

    /// What was counted of a server.
    pub fn of(&self, server: u16) -> ParentServerCounts {
        let counts = self.0.of(server);
        let mut faults = [0; ParentFault::ALL.len()];
        faults.copy_from_slice(&counts[FAULTS..]);
        let last = |kind: usize| unpacked(counts[kind]);
        ParentServerCounts {
            active: counts[BEGUN].saturating_sub(counts[ENDED]),
            sessions: counts[SESSIONS],
            warm_hits: counts[WARM],
            warm_misses: counts[COLD],
            warm_ready: counts[READY],
            faults,
            last_fault: last(LAST_FAULT).and_then(|(time, number)| Some((time, fault(number)?))),
            last_check: last(LAST_CHECK).and_then(|(time, number)| Some((time, CheckFound::of(number)?))),
        }
    }
}

/// Bits of what was found, below the moment.
const FOUND_BITS: u32 = 8;

/// What was found and when, to the millisecond, in one word; 0 is nothing yet.
fn packed(time: SystemTime, found: u64) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1) << FOUND_BITS | found
}

fn unpacked(word: u64) -> Option<(SystemTime, u64)> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(word >> FOUND_BITS))?;
    (word != 0).then_some((time, word & ((1 << FOUND_BITS) - 1)))
}

fn fault(number: u64) -> Option<ParentFault> {
    ParentFault::ALL.get(usize::try_from(number).ok()?).copied()
}

fn later<T>(one: Option<(SystemTime, T)>, other: Option<(SystemTime, T)>) -> Option<(SystemTime, T)> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if one.0 >= other.0 { one } else { other }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn each_server_has_its_counts_and_what_was_found_last() {
        let [one, other] = [ParentServerHits::default(), ParentServerHits::default()];
        one.begins(3);
        one.begins(3);
        one.ends(3);
        other.begins(3);
        one.session(3, Some(true));
        one.session(3, Some(false));
        other.session(3, None);
        one.set_ready(3, 4);
        one.set_ready(3, 2);
        other.set_ready(3, 1);
        one.failure(3, ParentFault::Refused, at(2_000));
        one.failure(3, ParentFault::Local, at(3_000));
        other.failure(3, ParentFault::TimedOut, at(1_000));
        let found = CheckFound::Failed(ParentFault::Local);
        one.checked(3, CheckFound::Answered, at(1));
        one.checked(3, found, at(1_700_000_000_123));
        let counts = one.of(3).and(other.of(3));
        assert_eq!((counts.active, counts.sessions), (2, 3));
        assert_eq!((counts.warm_hits, counts.warm_misses, counts.warm_ready), (1, 1, 3));
        assert_eq!(counts.faults, [0, 1, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(counts.last_fault, Some((at(2_000), ParentFault::Refused)), "not what this machine lacks");
        assert_eq!(counts.last_check, Some((at(1_700_000_000_123), found)));
        assert_eq!(one.of(4), ParentServerCounts::default());
    }

    #[test]
    fn what_a_look_found_is_what_it_was() {
        let faults = ParentFault::ALL.map(CheckFound::Failed);
        for found in [CheckFound::Reached, CheckFound::Answered].into_iter().chain(faults) {
            assert_eq!(CheckFound::of(found.number()), Some(found));
        }
        assert_eq!(CheckFound::of(2 + ParentFault::ALL.len() as u64), None);
    }
}
