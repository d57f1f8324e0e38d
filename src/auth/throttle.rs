//! How long a failure reply waits: longer with every recent failure of its source.
//!
//! It delays failures alone. A right password is neither refused nor delayed here, whatever its
//! source has done before.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::{
    FAILURE_COUNT_MAX, FAILURE_DECAY, FAILURE_DELAY_BASE, FAILURE_DELAY_MAX, FAILURE_EVICTION_STEPS,
};
use crate::shares::Source;

/// The recent failures of a bounded number of sources. IPv6 sources count by /64.
#[derive(Debug)]
pub struct Throttle {
    capacity: usize,
    sources: HashMap<Source, Failures>,
    /// Every key of `sources` once, in the order in which they are looked at for one to forget.
    order: VecDeque<Source>,
}

/// `count` failures as of `at`; one is forgotten in every `FAILURE_DECAY` after that.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    at: Instant,
}

impl Failures {
    fn decayed(self, now: Instant) -> u32 {
        let periods = now.saturating_duration_since(self.at).as_secs() / FAILURE_DECAY.as_secs();
        self.count.saturating_sub(u32::try_from(periods).unwrap_or(u32::MAX))
    }
}

impl Throttle {
    /// A throttle that remembers up to `capacity` sources.
    pub fn new(capacity: usize) -> Throttle {
        Throttle { capacity, sources: HashMap::new(), order: VecDeque::new() }
    }

    /// Counts a failed login and returns how long its reply is to wait: `limits::FAILURE_DELAY_BASE`,
    /// doubled by every recent failure before it, at most `limits::FAILURE_DELAY_MAX`.
    ///
    /// If the table is full of sources that keep failing, a new one is not remembered and waits the
    /// base delay.
    pub fn failure(&mut self, source: IpAddr, now: Instant) -> Duration {
        let source = Source::from(source);
        if let Some(failures) = self.sources.get_mut(&source) {
            let count = (failures.decayed(now) + 1).min(FAILURE_COUNT_MAX);
            *failures = Failures { count, at: now };
            return delay(count);
        }
        if self.make_room(now) {
            self.sources.insert(source, Failures { count: 1, at: now });
            self.order.push_back(source);
        }
        delay(1)
    }

    /// Counts a successful login: it forgives half of the source's failures. Not all of them, or an
    /// attacker with one account of his own would wipe his record between any two guesses.
    pub fn success(&mut self, source: IpAddr) {
        if self.sources.is_empty() {
            return;
        }
        if let Some(failures) = self.sources.get_mut(&Source::from(source)) {
            failures.count /= 2;
        }
    }

    /// Whether there is room for one more source, after forgetting one that failed at most once
    /// lately. Looks at a few, oldest first; those that it must keep go to the back of the order.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.sources.len() < self.capacity {
            return true;
        }
        for _ in 0..FAILURE_EVICTION_STEPS {
            let Some(candidate) = self.order.pop_front() else { return false };
            if self.sources.get(&candidate).is_none_or(|failures| failures.decayed(now) <= 1) {
                self.sources.remove(&candidate);
                return true;
            }
            self.order.push_back(candidate);
        }
        false
    }
}

/// The delay after `count` recent failures, `count` from 1 to `FAILURE_COUNT_MAX`.
fn delay(count: u32) -> Duration {
    (FAILURE_DELAY_BASE * (1 << (count - 1))).min(FAILURE_DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn fail(throttle: &mut Throttle, source: IpAddr, times: u32, now: Instant) -> Duration {
        (0..times).map(|_| throttle.failure(source, now)).last().unwrap()
    }

    #[test]
    fn delay_doubles_up_to_its_bound_by_source() {
        let now = Instant::now();
        let mut throttle = Throttle::new(10);
        let delays: Vec<u128> = (0..6).map(|_| throttle.failure(A, now).as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 3000, 3000]);
        assert_eq!(fail(&mut throttle, A, 1_000_000, now), FAILURE_DELAY_MAX);
        assert_eq!(throttle.failure(B, now), FAILURE_DELAY_BASE);
    }

    #[test]
    fn failures_are_forgotten_one_by_one() {
        let now = Instant::now();
        let mut throttle = Throttle::new(10);
        fail(&mut throttle, A, 4, now);
        let soon = now + FAILURE_DECAY - Duration::from_millis(1);
        assert_eq!(throttle.failure(A, soon).as_millis(), 3000);
        fail(&mut throttle, A, 1_000, soon);
        let later = soon + FAILURE_DECAY * FAILURE_COUNT_MAX;
        assert_eq!(throttle.failure(A, later), FAILURE_DELAY_BASE);
        assert_eq!(throttle.failure(A, later + FAILURE_DECAY), FAILURE_DELAY_BASE);
        // A clock that seems to go back does no harm.
        assert_eq!(throttle.failure(A, now).as_millis(), 500);
    }

    #[test]
    fn a_success_forgives_half() {
        let now = Instant::now();
        let mut throttle = Throttle::new(10);
        throttle.success(A);
        fail(&mut throttle, A, 3, now);
        throttle.success(A);
        assert_eq!(throttle.failure(A, now).as_millis(), 500);
        throttle.success(A);
        throttle.success(A);
        assert_eq!(throttle.failure(A, now), FAILURE_DELAY_BASE);
    }

    #[test]
    fn ipv6_counts_by_64() {
        let now = Instant::now();
        let mut throttle = Throttle::new(10);
        for host in 0..100_u16 {
            throttle.failure(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, host, 3, 4, host).into(), now);
        }
        assert_eq!(throttle.sources.len(), 1);
        assert_eq!(throttle.failure("2001:db8:1:2::".parse().unwrap(), now), FAILURE_DELAY_MAX);
        assert_eq!(throttle.failure("2001:db8:1:3::".parse().unwrap(), now), FAILURE_DELAY_BASE);
    }

    /// HAZARDS 8: the table bounded.
    #[test]
    fn stays_bounded_with_100_000_sources_and_remembers_the_worst() {
        let now = Instant::now();
        let mut throttle = Throttle::new(1_000);
        fail(&mut throttle, A, 5, now);
        for n in 0..100_000_u32 {
            throttle.failure(Ipv4Addr::from(0x0a00_0000 + n).into(), now);
            assert!(throttle.sources.len() <= 1_000 && throttle.order.len() == throttle.sources.len());
        }
        assert_eq!(throttle.failure(A, now), FAILURE_DELAY_MAX);
    }

    #[test]
    fn full_of_attackers_it_does_not_grow_and_recovers() {
        let now = Instant::now();
        let mut throttle = Throttle::new(100);
        let attackers = (0..100_u32).map(|n| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n)));
        for attacker in attackers {
            fail(&mut throttle, attacker, 5, now);
        }
        for _ in 0..1_000 {
            assert_eq!(throttle.failure(A, now), FAILURE_DELAY_BASE);
        }
        assert_eq!((throttle.sources.len(), throttle.order.len()), (100, 100));
        let later = now + FAILURE_DECAY * 4;
        fail(&mut throttle, A, 2, later);
        assert_eq!(throttle.failure(A, later).as_millis(), 1000);
        assert_eq!(throttle.sources.len(), 100);
    }

    #[test]
    fn no_capacity_gives_the_base_delay() {
        let mut throttle = Throttle::new(0);
        assert_eq!(fail(&mut throttle, A, 9, Instant::now()), FAILURE_DELAY_BASE);
        assert!(throttle.sources.is_empty());
    }
}
