//! What one session drew of a rate and has not used yet.
//!
//! Bytes are not counted in the bucket one by one: a session draws a quantum, moves that much and draws the next. What it
//! drew and does not use lapses soon, so that a crowd of silent sessions holds no stock to let loose at once.

use super::bucket::{Bucket, BurstRate, Drawn};
use crate::limits::SHARE_LAPSES_NS;

/// A session's share of one rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    left: u64,
    /// What was moved beyond what was drawn: a datagram is moved whole. The next draw is so much larger.
    owed: u64,
    drawn: Drawn,
    lapses_ns: u64,
    /// How much has to be left for a turn: with less, more is drawn.
    enough: u64,
    /// Whether it was said that what was drawn is waited for.
    wait_told: bool,
}

/// What may be moved now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// There is no limit.
    Unlimited,
    /// So much; at least 1.
    Of(u64),
    /// Nothing before this moment.
    From(u64),
    /// Nothing any more: a quota is used up that ends sessions.
    Ended,
}

impl Share {
    /// What may be moved, where that is enough and was drawn lately.
    pub(super) fn at_hand(&self, now_ns: u64) -> Option<Allowance> {
        let stands = self.left > self.enough && self.drawn.ready_ns <= now_ns && now_ns < self.lapses_ns;
        stands.then_some(Allowance::Of(self.left))
    }

    /// What may be moved; so much is drawn where nothing is left, and where little is left and as much may be had at once: a
    /// turn would else end short, with a read of that little.
    pub(super) fn allowance(
        &mut self,
        bucket: &Bucket,
        rate: BurstRate,
        draw: u64,
        now_ns: u64,
    ) -> Allowance {
        if bucket.restarted_since(self.drawn, now_ns) {
            self.left = 0;
        }
        if self.lapses_ns <= now_ns {
            self.end(bucket, rate, now_ns);
        }
        if self.left <= draw / 2 {
            let amount = draw.saturating_add(self.owed);
            match bucket.redraw(self.left, self.drawn, amount, rate, now_ns) {
                Some(drawn) => self.begin(draw, drawn, rate, now_ns),
                None if self.left == 0 => self.begin(draw, bucket.draw(amount, rate, now_ns), rate, now_ns),
                None => {}
            }
        }
        match self.drawn.ready_ns <= now_ns {
            true => Allowance::Of(self.left),
            false => Allowance::From(self.drawn.ready_ns),
        }
    }

    fn begin(&mut self, left: u64, drawn: Drawn, rate: BurstRate, now_ns: u64) {
        let lapses_ns = drawn.ready_ns.max(now_ns).saturating_add(rate.lapses_after_ns());
        *self = Share { left, owed: 0, drawn, lapses_ns, enough: left / 2, wait_told: false };
    }

    /// Takes one of what was drawn lately, where there is one.
    pub(super) fn takes_at_hand(&mut self, now_ns: u64) -> bool {
        let takes = self.left > 0 && now_ns < self.lapses_ns;
        self.left -= u64::from(takes);
        takes
    }

    /// Takes one, drawing so many where none is left. Nothing is waited for.
    pub(super) fn take_one(&mut self, bucket: &Bucket, rate: BurstRate, draw: u64, now_ns: u64) -> bool {
        if self.lapses_ns <= now_ns {
            self.end(bucket, rate, now_ns);
        }
        if self.left == 0 {
            if let Some(drawn) = bucket.redraw(0, self.drawn, draw, rate, now_ns) {
                self.begin(draw, drawn, rate, now_ns);
            } else if let Some(drawn) = bucket.take(1, rate, now_ns) {
                self.begin(1, drawn, rate, now_ns);
            } else {
                return false;
            }
        }
        self.left -= 1;
        true
    }

    /// Whether what was drawn is waited for, which was not said so far.
    pub(super) fn begins_wait(&mut self, now_ns: u64) -> bool {
        let begins = self.drawn.ready_ns > now_ns && !self.wait_told;
        self.wait_told |= begins;
        begins
    }

    /// It does not lapse before this moment, at which another limit lets the session go on. Whoever waits in two lines would
    /// else lose his place in the one while he waits in the other.
    pub(super) fn hold_until(&mut self, moment_ns: u64) {
        self.lapses_ns = self.lapses_ns.max(moment_ns.saturating_add(SHARE_LAPSES_NS));
    }

    /// The one that was taken last is not used.
    pub(super) fn put_back_one(&mut self) {
        self.left += 1;
    }

    /// So much of it was moved.
    pub(super) fn spend(&mut self, amount: u64) {
        self.owed = self.owed.saturating_add(amount.saturating_sub(self.left));
        self.left = self.left.saturating_sub(amount);
    }

    /// Gives back what was not used, and draws what is owed.
    pub(super) fn end(&mut self, bucket: &Bucket, rate: BurstRate, now_ns: u64) {
        let (left, owed) = (std::mem::take(&mut self.left), std::mem::take(&mut self.owed));
        if owed > 0 {
            bucket.draw(owed, rate, now_ns);
        }
        if left > 0 {
            bucket.give_back(left, rate, self.drawn);
        }
    }
}

impl Allowance {
    /// What two limits allow together.
    #[must_use]
    pub(super) fn and(self, other: Allowance) -> Allowance {
        match (self, other) {
            (Allowance::Ended, _) | (_, Allowance::Ended) => Allowance::Ended,
            (Allowance::Unlimited, other) | (other, Allowance::Unlimited) => other,
            (Allowance::From(one), Allowance::From(other)) => Allowance::From(one.max(other)),
            (Allowance::From(at), Allowance::Of(_)) | (Allowance::Of(_), Allowance::From(at)) => {
                Allowance::From(at)
            }
            (Allowance::Of(one), Allowance::Of(other)) => Allowance::Of(one.min(other)),
        }
    }
}
