//! A rate with a burst, of which many threads draw: the generic cell rate algorithm over one atomic.
//!
//! A bucket is one moment, the theoretical arrival time: up to then everything that the rate allows is given away. A draw
//! moves it on by what the drawn amount takes at that rate. Nobody waits for a lock, and who draws may draw ahead: what was
//! drawn may be used from the moment on that the draw names. So those that wait stand in one line, in the order in which
//! they drew, on whatever thread they are.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{SHARE_LAPSES_NS, SHARES_PER_SECOND, SHARES_PER_SECOND_MAX};

/// So much a second, and so much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstRate {
    /// In a second; at least 1.
    pub rate: u64,
    /// At once, after a pause that is long enough; at least 1.
    pub burst: u64,
}

impl BurstRate {
    /// What one of so many sessions draws at a time: the less, the more of them there are, within these bounds. A high rate
    /// raises the upper one (`SHARES_PER_SECOND_MAX`). Never more than a full bucket has at once (see [`Bucket::draw`]) or
    /// a second brings, so that a slow rate trickles.
    pub(super) fn share(self, sessions: u64, bounds: RangeInclusive<u64>) -> u64 {
        let rate = self.rate / sessions.max(1);
        let most = (rate / SHARES_PER_SECOND_MAX).max(*bounds.end());
        (rate / SHARES_PER_SECOND).clamp(*bounds.start(), most).min(self.rate).min(self.burst / 2).max(1)
    }

    /// For how long what is drawn may be used: half of the time that a burst takes to come back, at most.
    pub(super) fn lapses_after_ns(self) -> u64 {
        SHARE_LAPSES_NS.min(self.nanoseconds(self.burst) / 2)
    }

    /// How many nanoseconds' worth a full bucket gives away at once to who may use it later: what comes meanwhile is kept
    /// back of the burst.
    fn ahead(self) -> u64 {
        self.nanoseconds(self.burst) - self.lapses_after_ns()
    }

    /// Nanoseconds that this amount takes, rounded up: many draws together are never more than the rate.
    fn nanoseconds(self, amount: u64) -> u64 {
        let rate = self.rate.max(1);
        // A division of 128 bits takes ten times as long.
        match amount.checked_mul(NANOSECONDS) {
            Some(product) => product.div_ceil(rate),
            None => within((u128::from(amount) * u128::from(NANOSECONDS)).div_ceil(u128::from(rate))),
        }
    }

    /// Nanoseconds that giving back this amount is worth, rounded down: of a draw, and of what came of it, nobody gains.
    fn worth(self, amount: u64) -> u64 {
        let rate = self.rate.max(1);
        match amount.checked_mul(NANOSECONDS) {
            Some(product) => product / rate,
            None => within(u128::from(amount) * u128::from(NANOSECONDS) / u128::from(rate)),
        }
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

/// So many nanoseconds, or longer than anybody waits.
fn within(nanoseconds: u128) -> u64 {
    u64::try_from(nanoseconds).unwrap_or(u64::MAX / 2)
}

/// What is left of a rate. Moments are nanoseconds of one clock for all who draw.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    arrival_ns: AtomicU64,
    /// How often a draw found it full: what was drawn before that and not used is lost, as time has made up for it.
    fillings: AtomicU64,
    /// What all draws took, less what was given back, in nanoseconds; it begins anew behind the last number.
    drawn_ns: AtomicU64,
}

/// What was drawn ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    /// From when on it may be used.
    pub(super) ready_ns: u64,
    /// How often the bucket had been full by then.
    fillings: u64,
}

impl Bucket {
    /// Draws this amount in any case.
    pub(super) fn draw(&self, amount: u64, rate: BurstRate, now_ns: u64) -> Drawn {
        let (takes, ahead) = (rate.nanoseconds(amount), rate.ahead());
        let moved = |arrival: u64| arrival.max(now_ns).saturating_add(takes);
        let before = self.arrival_ns.update(Ordering::Relaxed, Ordering::Relaxed, moved);
        self.drawn_ns.fetch_add(takes, Ordering::Relaxed);
        Drawn { ready_ns: moved(before).saturating_sub(ahead), fillings: self.filled(before < now_ns) }
    }

    /// Draws this amount where it may be used at once, in place of what is left of an earlier draw; otherwise nothing.
    pub(super) fn redraw(
        &self,
        left: u64,
        drawn: Drawn,
        amount: u64,
        rate: BurstRate,
        now_ns: u64,
    ) -> Option<Drawn> {
        let counts = self.fillings.load(Ordering::Relaxed) == drawn.fillings;
        let back = if counts { rate.worth(left) } else { 0 };
        self.draw_at_once(back, rate.nanoseconds(amount), rate.ahead(), now_ns)
    }

    /// Gives back and draws so many nanoseconds' worth where no more than `ahead_ns` of them are given away then; otherwise
    /// nothing.
    fn draw_at_once(&self, back_ns: u64, takes_ns: u64, ahead_ns: u64, now_ns: u64) -> Option<Drawn> {
        let moved = |arrival: u64| {
            let arrival = arrival.saturating_sub(back_ns).max(now_ns).saturating_add(takes_ns);
            (arrival.saturating_sub(ahead_ns) <= now_ns).then_some(arrival)
        };
        let before = self.arrival_ns.try_update(Ordering::Relaxed, Ordering::Relaxed, moved).ok()?;
        self.drawn_ns.fetch_add(takes_ns.wrapping_sub(back_ns), Ordering::Relaxed);
        Some(Drawn { ready_ns: now_ns, fillings: self.filled(before.saturating_sub(back_ns) < now_ns) })
    }

    /// How often it has been full, once more where it was just now.
    fn filled(&self, just_now: bool) -> u64 {
        match just_now {
            true => self.fillings.fetch_add(1, Ordering::Relaxed) + 1,
            false => self.fillings.load(Ordering::Relaxed),
        }
    }

    /// Draws this amount where it may be used at once; otherwise nothing.
    pub(super) fn take(&self, amount: u64, rate: BurstRate, now_ns: u64) -> Option<Drawn> {
        self.draw_at_once(0, rate.nanoseconds(amount), rate.nanoseconds(rate.burst), now_ns)
    }

    /// Takes back what was drawn and not used, unless it has been full since.
    pub(super) fn give_back(&self, amount: u64, rate: BurstRate, drawn: Drawn) {
        if self.fillings.load(Ordering::Relaxed) != drawn.fillings {
            return;
        }
        let takes = rate.worth(amount);
        self.drawn_ns.fetch_sub(takes, Ordering::Relaxed);
        self.arrival_ns.update(Ordering::Relaxed, Ordering::Relaxed, |arrival| arrival.saturating_sub(takes));
    }

    /// The rate is another from now on, and begins with its burst. Whatever is drawn ahead was so at the old one: it is drawn
    /// anew.
    pub(super) fn restart(&self, now_ns: u64) {
        self.arrival_ns.update(Ordering::Relaxed, Ordering::Relaxed, |arrival| arrival.min(now_ns));
        self.fillings.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether what was drawn ahead has to be drawn anew.
    pub(super) fn restarted_since(&self, drawn: Drawn, now_ns: u64) -> bool {
        drawn.ready_ns > now_ns && self.fillings.load(Ordering::Relaxed) != drawn.fillings
    }

    /// Whether one may be used at once.
    pub(super) fn has_one(&self, rate: BurstRate, now_ns: u64) -> bool {
        let arrival = self.arrival_ns.load(Ordering::Relaxed).max(now_ns).saturating_add(rate.nanoseconds(1));
        arrival.saturating_sub(rate.nanoseconds(rate.burst)) <= now_ns
    }

    /// What part of the burst is drawn, all of it where more is.
    pub(super) fn drawn(&self, rate: BurstRate, now_ns: u64) -> f64 {
        let ahead_ns = self.arrival_ns.load(Ordering::Relaxed).saturating_sub(now_ns);
        (ahead_ns as f64 / rate.nanoseconds(rate.burst).max(1) as f64).min(1.0)
    }

    /// What all draws took so far, less what was given back.
    pub(super) fn drawn_ns(&self) -> u64 {
        self.drawn_ns.load(Ordering::Relaxed)
    }

    /// How much is given away that time has yet to make up for.
    pub(super) fn ahead_ns(&self, now_ns: u64) -> u64 {
        self.arrival_ns.load(Ordering::Relaxed).saturating_sub(now_ns)
    }

    /// So much was drawn by others, who asked nobody here; less than nothing where they gave back.
    pub(super) fn carry(&self, drawn_ns: i64, now_ns: u64) {
        let moved = |arrival: u64| match drawn_ns {
            0 => arrival,
            _ => arrival.max(now_ns).saturating_add_signed(drawn_ns),
        };
        self.arrival_ns.update(Ordering::Relaxed, Ordering::Relaxed, moved);
    }

    /// Whether it is as if nobody had ever drawn.
    pub(super) fn is_full(&self, now_ns: u64) -> bool {
        self.arrival_ns.load(Ordering::Relaxed) <= now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_is_had_at_once_and_then_the_rate() {
        let (bucket, rate) = (Bucket::default(), BurstRate { rate: 10, burst: 3 });
        let at = |now_ns| (0..5).filter(|_| bucket.take(1, rate, now_ns).is_some()).count();
        let begin = 7 * SECOND;
        assert_eq!([at(begin), at(begin + SECOND / 10), at(begin + SECOND / 10)], [3, 1, 0]);
        assert_eq!(at(begin + 10 * SECOND), 3, "a pause fills it, and not beyond the burst");
    }

    /// Whoever draws ahead waits behind those who drew before.
    #[test]
    fn draws_stand_in_one_line() {
        let (bucket, rate) = (Bucket::default(), BurstRate { rate: 1000, burst: 100 });
        let draws: Vec<Drawn> = (0..4).map(|_| bucket.draw(100, rate, SECOND)).collect();
        // Half of so small a burst is kept for what is used late.
        let ready: Vec<u64> = draws.iter().map(|drawn| drawn.ready_ns).collect();
        assert_eq!(ready, [50, 150, 250, 350].map(|ms| SECOND + ms * 1_000_000));
        bucket.give_back(300, rate, draws[0]);
        assert_eq!(bucket.draw(100, rate, SECOND).ready_ns, ready[1]);
        // Once it has been full, nothing of before is given back.
        let full = bucket.draw(100, rate, 9 * SECOND);
        bucket.give_back(100, rate, draws[3]);
        assert_eq!(bucket.draw(100, rate, 9 * SECOND).ready_ns, full.ready_ns + SECOND / 10);
    }

    /// As if what is left had not been drawn, unless time has made up for it.
    #[test]
    fn what_is_left_is_drawn_anew_where_there_is_more_at_once() {
        let (bucket, rate) = (Bucket::default(), BurstRate { rate: 1000, burst: 1000 });
        let at_once = |left, drawn, now_ns| bucket.redraw(left, drawn, 500, rate, now_ns);
        let first = at_once(0, Drawn::default(), SECOND).expect("half of the burst");
        assert_eq!(at_once(0, first, SECOND), None, "900 are given away ahead, and 500 are gone");
        let second = at_once(100, first, SECOND).expect("400 are gone, and the rest is enough");
        assert!(bucket.take(100, rate, SECOND).is_some() && bucket.take(1, rate, SECOND).is_none());
        // A second later the bucket has been full, and somebody has drawn all of it.
        let other = bucket.draw(900, rate, 2 * SECOND + SECOND / 10);
        assert_eq!(other.ready_ns, 2 * SECOND + SECOND / 10);
        assert_eq!(at_once(500, second, 2 * SECOND + SECOND / 10), None);
    }

    #[test]
    fn a_bucket_is_full_again_after_a_while() {
        let (bucket, rate) = (Bucket::default(), BurstRate { rate: 1000, burst: 500 });
        bucket.draw(200, rate, SECOND);
        assert!(!bucket.is_full(SECOND) && bucket.is_full(SECOND + SECOND / 5));
    }

    /// The clock may stand, and rates may be the greatest: nothing overflows.
    #[test]
    fn extremes_do_not_overflow() {
        for rate in [1, u64::MAX] {
            let bucket = Bucket::default();
            let rate = BurstRate { rate, burst: u64::MAX };
            for now in [0, u64::MAX - 1, u64::MAX] {
                let drawn = bucket.draw(u64::MAX, rate, now);
                bucket.take(u64::MAX, rate, now);
                bucket.give_back(u64::MAX, rate, drawn);
            }
        }
    }
}
