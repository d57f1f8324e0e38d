//! How often a password may be guessed: a few times at once, then one time in every interval.
//!
//! An attempt is counted when it begins and given back when it was right, so that whoever knows his password is never
//! slowed by it, and whoever leaves before the answer has paid. Nothing here is told to a client.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::limits::PACE_EVICTION_STEPS;

/// How often an attempt may begin: a few at once, and one more in every interval.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Attempts without a wait.
    pub at_once: u32,
    /// What each of them takes to be forgotten.
    pub interval: Duration,
}

/// The attempts of a bounded number of keys: of a source, say, or of a source at one user.
///
/// The generic cell rate algorithm (ITU-T I.371): of each key it knows when all that it has done is paid for.
#[derive(Debug)]
pub struct Pace<K> {
    rate: Rate,
    capacity: usize,
    paid_at: HashMap<K, Instant>,
    /// Every key of `paid_at` once, in the order in which they are looked at for one to forget.
    order: VecDeque<K>,
}

impl<K: Copy + Eq + Hash> Pace<K> {
    /// Paces attempts at this rate; remembers up to `capacity` keys.
    pub fn new(rate: Rate, capacity: usize) -> Pace<K> {
        Pace { rate, capacity, paid_at: HashMap::new(), order: VecDeque::new() }
    }

    /// When one more attempt may begin: `now`, or later.
    pub fn ready_at(&self, key: K, now: Instant) -> Instant {
        let Some(&paid_at) = self.paid_at.get(&key) else { return now };
        let credit = self.rate.interval * self.rate.at_once.saturating_sub(1);
        paid_at.checked_sub(credit).map_or(now, |at| at.max(now))
    }

    /// Counts an attempt. Of what begins although it was not ready no more is remembered than would take
    /// `at_once` intervals to forget.
    ///
    /// If the table is full of keys that owe more than one attempt, a new one is not remembered.
    pub fn take(&mut self, key: K, now: Instant) {
        let Rate { at_once, interval } = self.rate;
        if let Some(paid_at) = self.paid_at.get_mut(&key) {
            *paid_at = ((*paid_at).max(now) + interval).min(now + interval * at_once);
        } else if self.make_room(now) {
            self.paid_at.insert(key, now + interval);
            self.order.push_back(key);
        }
    }

    /// Takes back one attempt, as it was right.
    pub fn give_back(&mut self, key: K) {
        if let Some(paid_at) = self.paid_at.get_mut(&key)
            && let Some(earlier) = paid_at.checked_sub(self.rate.interval)
        {
            *paid_at = earlier;
        }
    }

    /// Whether there is room for one more key, after forgetting one that owes an attempt at most. Looks at a few,
    /// oldest first; those that it must keep go to the back of the order.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.paid_at.len() < self.capacity {
            return true;
        }
        for _ in 0..PACE_EVICTION_STEPS {
            let Some(candidate) = self.order.pop_front() else { return false };
            if self.paid_at.get(&candidate).is_none_or(|&paid_at| paid_at <= now + self.rate.interval) {
                self.paid_at.remove(&candidate);
                return true;
            }
            self.order.push_back(candidate);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { at_once: 4, interval: Duration::from_secs(3) };

    /// Attempts one after the other, each as soon as it is ready; gives when each began.
    fn attempts(pace: &mut Pace<u32>, key: u32, times: usize, start: Instant) -> Vec<Duration> {
        let mut now = start;
        (0..times)
            .map(|_| {
                now = pace.ready_at(key, now);
                pace.take(key, now);
                now - start
            })
            .collect()
    }

    #[test]
    fn a_few_begin_at_once_and_then_one_in_every_interval() {
        let mut pace = Pace::new(RATE, 10);
        let now = Instant::now();
        assert_eq!(attempts(&mut pace, 1, 7, now).map_seconds(), [0, 0, 0, 0, 3, 6, 9]);
        assert_eq!(pace.ready_at(2, now), now, "another key");
        let later = now + Duration::from_secs(60);
        assert_eq!(attempts(&mut pace, 1, 5, later).map_seconds(), [0, 0, 0, 0, 3]);
    }

    trait MapSeconds {
        fn map_seconds(self) -> Vec<u64>;
    }

    impl MapSeconds for Vec<Duration> {
        fn map_seconds(self) -> Vec<u64> {
            self.into_iter().map(|since| since.as_secs()).collect()
        }
    }

    #[test]
    fn a_right_one_costs_nothing_and_forgives_no_other() {
        let mut pace = Pace::new(RATE, 10);
        let now = Instant::now();
        for _ in 0..1_000 {
            pace.take(1, now);
            pace.give_back(1);
        }
        assert_eq!(pace.ready_at(1, now), now);
        attempts(&mut pace, 1, 4, now);
        pace.take(1, now + RATE.interval);
        pace.give_back(1);
        assert_eq!(pace.ready_at(1, now), now + RATE.interval);
        pace.give_back(9);
    }

    #[test]
    fn what_began_unready_is_forgotten_in_time() {
        let mut pace = Pace::new(RATE, 10);
        let now = Instant::now();
        (0..1_000).for_each(|_| pace.take(1, now));
        assert_eq!(pace.ready_at(1, now), now + RATE.interval);
    }

    /// HAZARDS 8: the table bounded.
    #[test]
    fn it_stays_bounded_and_remembers_the_worst() {
        let mut pace = Pace::new(RATE, 1_000);
        let now = Instant::now();
        attempts(&mut pace, u32::MAX, 4, now);
        for n in 0..100_000 {
            pace.take(n, now);
            assert!(pace.paid_at.len() <= 1_000 && pace.order.len() == pace.paid_at.len());
        }
        assert_eq!(pace.ready_at(u32::MAX, now), now + RATE.interval);
    }

    #[test]
    fn full_of_guessers_it_does_not_grow_and_recovers() {
        let mut pace = Pace::new(RATE, 100);
        let now = Instant::now();
        (0..100).for_each(|n| (0..4).for_each(|_| pace.take(n, now)));
        (0..1_000).for_each(|_| pace.take(1_000, now));
        assert_eq!(pace.ready_at(1_000, now), now);
        assert_eq!((pace.paid_at.len(), pace.order.len()), (100, 100));
        let later = now + RATE.interval * 4;
        (0..4).for_each(|_| pace.take(1_000, later));
        assert_eq!(pace.ready_at(1_000, later), later + RATE.interval);
        assert_eq!(pace.paid_at.len(), 100);
    }

    #[test]
    fn no_capacity_remembers_nothing() {
        let mut pace = Pace::new(RATE, 0);
        let now = Instant::now();
        (0..9).for_each(|_| pace.take(1, now));
        assert_eq!(pace.ready_at(1, now), now);
    }
}
