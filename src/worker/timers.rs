//! A timing wheel over slab indices: one timer a session, constant cost, no allocation to rearm.
//!
//! Activity does not touch the wheel. A timer that fires is asked for its real deadline, and goes back in
//! when that lies ahead: what lies beyond the horizon does the same once a revolution.

use std::time::Duration;

use crate::limits::WHEEL_BUCKETS;

const NONE: u32 = u32::MAX;

/// Milliseconds since the worker started, in whole ticks.
pub(super) type Tick = u64;

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    /// The bucket that this timer is in, or NONE.
    bucket: u32,
}

const UNLINKED: Link = Link { previous: NONE, next: NONE, bucket: NONE };

/// Timers of one worker.
#[derive(Debug)]
pub(super) struct Wheel {
    tick_ms: u64,
    heads: Box<[u32]>,
    occupied: Box<[u64]>,
    links: Vec<Link>,
    /// How many are armed: a wheel of none costs nothing in a turn.
    armed: usize,
    /// Every bucket before this tick has been emptied.
    cursor: Tick,
}

impl Wheel {
    /// A wheel that tells apart moments so many milliseconds from each other.
    pub(super) fn new(tick_ms: u64) -> Wheel {
        Wheel {
            tick_ms,
            heads: vec![NONE; WHEEL_BUCKETS].into_boxed_slice(),
            occupied: vec![0; WHEEL_BUCKETS / 64].into_boxed_slice(),
            links: Vec::new(),
            armed: 0,
            cursor: 0,
        }
    }

    /// The tick in which a moment lies.
    pub(super) fn tick_of(&self, since_start: Duration) -> Tick {
        since_start.as_millis() as u64 / self.tick_ms
    }

    /// (Re)arms the timer of `index` for the first tick that lies wholly behind `since_start`.
    pub(super) fn set(&mut self, index: usize, since_start: Duration) {
        let due = self.tick_of(since_start) + 1;
        let tick = due.clamp(self.cursor, self.cursor + WHEEL_BUCKETS as u64 - 1);
        let bucket = (tick % WHEEL_BUCKETS as u64) as u32;
        if index >= self.links.len() {
            self.links.resize(index + 1, UNLINKED);
        }
        if self.links[index].bucket == bucket {
            return;
        }
        self.cancel(index);
        self.armed += 1;
        let head = self.heads[bucket as usize];
        self.links[index] = Link { previous: NONE, next: head, bucket };
        if head != NONE {
            self.links[head as usize].previous = index as u32;
        }
        self.heads[bucket as usize] = index as u32;
        self.occupied[bucket as usize / 64] |= 1 << (bucket % 64);
    }

    /// Disarms the timer of `index`, if it has one.
    pub(super) fn cancel(&mut self, index: usize) {
        let Some(link) = self.links.get(index).copied().filter(|link| link.bucket != NONE) else { return };
        self.armed -= 1;
        match link.previous {
            NONE => self.heads[link.bucket as usize] = link.next,
            previous => self.links[previous as usize].next = link.next,
        }
        if link.next != NONE {
            self.links[link.next as usize].previous = link.previous;
        }
        if self.heads[link.bucket as usize] == NONE {
            self.occupied[link.bucket as usize / 64] &= !(1 << (link.bucket % 64));
        }
        self.links[index] = UNLINKED;
    }

    /// Takes one timer whose tick has come, disarmed; `None` when there is none left up to `since_start`.
    pub(super) fn pop_due(&mut self, since_start: Duration) -> Option<usize> {
        let now = self.tick_of(since_start);
        while self.cursor <= now {
            match self.next_occupied() {
                Some(distance) if self.cursor + distance <= now => {
                    self.cursor += distance;
                    let head = self.heads[(self.cursor % WHEEL_BUCKETS as u64) as usize] as usize;
                    self.cancel(head);
                    return Some(head);
                }
                _ => self.cursor = now + 1,
            }
        }
        None
    }

    /// When the next timer may be due, since the worker's start.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next_occupied().map(|distance| Duration::from_millis((self.cursor + distance) * self.tick_ms))
    }

    /// Ticks from the cursor to the first occupied bucket.
    fn next_occupied(&self) -> Option<u64> {
        if self.armed == 0 {
            return None;
        }
        let start = (self.cursor % WHEEL_BUCKETS as u64) as usize;
        let words = self.occupied.len();
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == words {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let bucket = word * 64 + bits.trailing_zeros() as usize;
                return Some(((bucket + WHEEL_BUCKETS - start) % WHEEL_BUCKETS) as u64);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LIMIT_TICK_MS, WHEEL_TICK_MS};

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn due(wheel: &mut Wheel, at: u64) -> Vec<usize> {
        let mut all: Vec<usize> = std::iter::from_fn(|| wheel.pop_due(ms(at))).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_timer_fires_once_and_never_early() {
        for tick_ms in [LIMIT_TICK_MS, WHEEL_TICK_MS] {
            let mut wheel = Wheel::new(tick_ms);
            wheel.set(3, ms(1000));
            assert_eq!(due(&mut wheel, 1000), [0usize; 0]);
            assert_eq!(due(&mut wheel, 1000 + tick_ms), [3]);
            assert_eq!((due(&mut wheel, 1_000_000), wheel.next()), (vec![], None));
        }
    }

    #[test]
    fn rearming_moves_and_cancelling_removes() {
        let mut wheel = Wheel::new(WHEEL_TICK_MS);
        for index in 0..5 {
            wheel.set(index, ms(500));
        }
        wheel.set(2, ms(2000));
        wheel.cancel(4);
        assert_eq!(due(&mut wheel, 600), [0, 1, 3]);
        assert_eq!(due(&mut wheel, 2100), [2]);
    }

    #[test]
    fn beyond_the_horizon_a_timer_fires_early_and_goes_back_in() {
        let mut wheel = Wheel::new(WHEEL_TICK_MS);
        let horizon = WHEEL_BUCKETS as u64 * WHEEL_TICK_MS;
        wheel.set(0, ms(3 * horizon));
        assert_eq!(due(&mut wheel, horizon - WHEEL_TICK_MS), [0]);
        wheel.set(0, ms(3 * horizon));
        assert_eq!(due(&mut wheel, horizon), [0usize; 0]);
    }

    #[test]
    fn the_next_deadline_is_the_nearest_one_even_across_the_wrap() {
        let mut wheel = Wheel::new(WHEEL_TICK_MS);
        assert_eq!(wheel.next(), None);
        let late = (WHEEL_BUCKETS as u64 - 2) * WHEEL_TICK_MS;
        assert_eq!(due(&mut wheel, late), [0usize; 0]);
        wheel.set(1, ms(late + 10 * WHEEL_TICK_MS));
        wheel.set(2, ms(late + 5 * WHEEL_TICK_MS));
        assert_eq!(wheel.next(), Some(ms(late + 6 * WHEEL_TICK_MS)));
        assert_eq!(due(&mut wheel, late + 6 * WHEEL_TICK_MS), [2]);
    }

    #[test]
    fn many_random_timers_all_fire_in_their_time() {
        let mut wheel = Wheel::new(WHEEL_TICK_MS);
        let mut state = 12345u64;
        let mut deadlines = std::collections::HashMap::new();
        for index in 0..2000usize {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (state >> 33) % 100_000;
            wheel.set(index, ms(at));
            deadlines.insert(index, at);
        }
        for now in (0..110_000).step_by(700) {
            while let Some(index) = wheel.pop_due(ms(now)) {
                let at = deadlines.remove(&index).expect("a timer fires once");
                assert!(at <= now && now - at < 700 + 2 * WHEEL_TICK_MS, "{at} fired at {now}");
            }
        }
        assert!(deadlines.is_empty());
    }
}
