//! Quotas: how much may be moved in a period, and how much has been.
//!
//! Whoever has a clock tells a quota in which period it is; workers have none. Accounts go over to it when somebody counts in
//! them, each by itself. What is counted is never set back: an account remembers how much it was when its period began. So
//! nothing that several threads count is lost, and none of them waits.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// How much each subject may move in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaTerms {
    /// So many bytes.
    pub bytes: u64,
    /// Which of them count.
    pub direction: QuotaDirection,
    /// What comes of it.
    pub on_reached: OnReached,
    /// Which period it is.
    pub span: QuotaSpan,
}

/// Which bytes count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuotaDirection {
    /// Those of both ways together.
    #[default]
    Both,
    /// Those from clients.
    Up,
    /// Those to clients.
    Down,
}

/// What comes of a quota that is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReached {
    /// No session begins any more; live ones go on.
    #[default]
    Refuse,
    /// The rates of the limit hold, and only then.
    Slow,
    /// No session begins any more, and live ones are ended.
    Close,
}

/// A period of a quota, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaSpan {
    /// When it began.
    pub since: u64,
    /// When the next one begins.
    pub until: u64,
}

/// How many bits of a packed span say how long it is: half a year.
const LENGTH_BITS: u32 = 24;

impl QuotaSpan {
    /// As one number, so that nobody reads half of it.
    fn packed(self) -> u64 {
        let length = self.until.saturating_sub(self.since).min((1 << LENGTH_BITS) - 1);
        self.since << LENGTH_BITS | length
    }

    fn unpacked(packed: u64) -> QuotaSpan {
        let since = packed >> LENGTH_BITS;
        QuotaSpan { since, until: since + (packed & ((1 << LENGTH_BITS) - 1)) }
    }

    /// Whether what was used in the period that began then counts in this one.
    pub(super) fn continues(self, since: u64) -> bool {
        self.after(since) != Succession::Anew
    }

    /// What an account does that last counted in the period that began then.
    fn after(self, since: u64) -> Succession {
        if since == self.since {
            Succession::Same
        } else if since == self.until && since > self.since {
            // The clock has gone back over the end of a period: it comes there once more.
            Succession::Ahead
        } else if since > self.until {
            // The clock was wrong, and is set: that must give nobody anything.
            Succession::Renamed
        } else {
            Succession::Anew
        }
    }
}

/// How a period follows that in which an account last counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Succession {
    /// It is that one.
    Same,
    /// That one comes next: the account stays in it.
    Ahead,
    /// That one is far off: what was used counts in this one.
    Renamed,
    /// That one is over: nothing is used yet.
    Anew,
}

/// QuotaTerms that a reload and the clock may change while sessions go by them.
#[derive(Debug)]
pub(super) struct LiveQuota {
    /// [`NO_QUOTA`] where there is none.
    bytes: AtomicU64,
    direction: AtomicU8,
    on_reached: AtomicU8,
    span: AtomicU64,
}

/// What stands for no quota.
const NO_QUOTA: u64 = u64::MAX;

impl LiveQuota {
    pub(super) fn new(terms: Option<QuotaTerms>) -> LiveQuota {
        let live = LiveQuota {
            bytes: AtomicU64::new(NO_QUOTA),
            direction: AtomicU8::new(0),
            on_reached: AtomicU8::new(0),
            span: AtomicU64::new(0),
        };
        live.set(terms);
        live
    }

    /// Whether it may be reached by now where it was not.
    pub(super) fn set(&self, terms: Option<QuotaTerms>) -> bool {
        let before = self.get();
        if let Some(QuotaTerms { direction, on_reached, span, .. }) = terms {
            self.direction.store(direction as u8, Ordering::Relaxed);
            self.on_reached.store(on_reached as u8, Ordering::Relaxed);
            self.set_span(span);
        }
        self.bytes.store(terms.map_or(NO_QUOTA, |terms| terms.bytes), Ordering::Release);
        terms.is_some() && before != terms
    }

    /// Says which period it is.
    pub(super) fn set_span(&self, span: QuotaSpan) {
        self.span.store(span.packed(), Ordering::Relaxed);
    }

    /// Which period it is, or would be where there is no quota any more; `None` where there never was one.
    pub(super) fn span(&self) -> Option<QuotaSpan> {
        let packed = self.span.load(Ordering::Relaxed);
        (packed != 0).then(|| QuotaSpan::unpacked(packed))
    }

    pub(super) fn get(&self) -> Option<QuotaTerms> {
        let bytes = self.bytes.load(Ordering::Acquire);
        (bytes != NO_QUOTA).then(|| QuotaTerms {
            bytes,
            direction: [QuotaDirection::Both, QuotaDirection::Up, QuotaDirection::Down]
                [usize::from(self.direction.load(Ordering::Relaxed))],
            on_reached: [OnReached::Refuse, OnReached::Slow, OnReached::Close]
                [usize::from(self.on_reached.load(Ordering::Relaxed))],
            span: QuotaSpan::unpacked(self.span.load(Ordering::Relaxed)),
        })
    }
}

/// What of a quota is used.
#[derive(Debug, Default)]
pub(super) struct UsedQuota {
    /// When the period began in which it counts, or [`TURNING`].
    since: AtomicU64,
    /// All that was ever counted.
    up: AtomicU64,
    down: AtomicU64,
    /// How much that was when the period began.
    up_before: AtomicU64,
    down_before: AtomicU64,
    /// Whether a change of it is yet to be taken note of.
    changed: AtomicBool,
}

/// A period as some thread goes over to it: nothing is used yet.
const TURNING: u64 = u64::MAX;

/// What is used since the period began, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UsedBytes {
    pub(super) since: u64,
    pub(super) up: u64,
    pub(super) down: u64,
}

impl UsedBytes {
    /// How much of it counts.
    pub(super) fn of(self, direction: QuotaDirection) -> u64 {
        match direction {
            QuotaDirection::Both => self.up.saturating_add(self.down),
            QuotaDirection::Up => self.up,
            QuotaDirection::Down => self.down,
        }
    }
}

// Where two threads add and then look, one of them has to see both sums; and whoever takes note of a change must not miss what
// is added while he does: each adds, then looks, in one order for all.
impl UsedQuota {
    /// Goes over to this period.
    pub(super) fn follow(&self, span: QuotaSpan) {
        let since = self.since.load(Ordering::Acquire);
        if since == span.since || since == TURNING {
            return;
        }
        let succession = span.after(since);
        if matches!(succession, Succession::Same | Succession::Ahead) {
            return;
        }
        if self.since.compare_exchange(since, TURNING, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return;
        }
        if succession == Succession::Anew {
            self.begin_at_nothing();
        }
        self.since.store(span.since, Ordering::Release);
    }

    fn begin_at_nothing(&self) {
        self.up_before.store(self.up.load(Ordering::SeqCst), Ordering::Release);
        self.down_before.store(self.down.load(Ordering::SeqCst), Ordering::Release);
    }

    /// Counts bytes that were moved.
    pub(super) fn add(&self, up: u64, down: u64) {
        for (sum, bytes) in [(&self.up, up), (&self.down, down)] {
            if bytes > 0 {
                sum.fetch_add(bytes, Ordering::SeqCst);
            }
        }
    }

    /// What is used in this period.
    pub(super) fn used(&self, span: QuotaSpan) -> UsedBytes {
        let nothing = UsedBytes { since: span.since, ..UsedBytes::default() };
        match self.told() {
            Some(used) if span.after(used.since) != Succession::Anew => used,
            _ => nothing,
        }
    }

    /// What was used in the period in which it counted last. It may wait for a moment: nobody who has no time asks.
    pub(super) fn counted(&self) -> UsedBytes {
        loop {
            if let Some(used) = self.told() {
                return used;
            }
            std::thread::yield_now();
        }
    }

    /// What was used in the period in which it counted last; `None` while it goes over to another.
    fn told(&self) -> Option<UsedBytes> {
        let since = self.since.load(Ordering::Acquire);
        let (up_before, down_before) =
            (self.up_before.load(Ordering::Acquire), self.down_before.load(Ordering::Acquire));
        let up = self.up.load(Ordering::SeqCst).wrapping_sub(up_before);
        let down = self.down.load(Ordering::SeqCst).wrapping_sub(down_before);
        let stands = since != TURNING && self.since.load(Ordering::Acquire) == since;
        stands.then_some(UsedBytes { since, up, down })
    }

    /// Begins with this, where nobody counts in it yet.
    pub(super) fn restore(&self, UsedBytes { since, up, down }: UsedBytes) {
        self.since.store(since, Ordering::Release);
        self.add(up, down);
    }

    /// Nothing is used any more.
    pub(super) fn reset(&self, span: QuotaSpan) {
        let since = self.since.swap(TURNING, Ordering::AcqRel);
        self.begin_at_nothing();
        let since = if since == TURNING { span.since } else { since };
        self.since.store(since, Ordering::Release);
    }

    /// Whether a change is to be taken note of that was not before.
    pub(super) fn change(&self) -> bool {
        !self.changed.load(Ordering::SeqCst) && !self.changed.swap(true, Ordering::SeqCst)
    }

    /// What is read behind this has whatever was a change before it.
    pub(super) fn note(&self) {
        self.changed.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn hour(nth: u64) -> QuotaSpan {
        QuotaSpan { since: nth * HOUR, until: (nth + 1) * HOUR }
    }

    fn used(quota: &UsedQuota, span: QuotaSpan) -> (u64, u64) {
        quota.follow(span);
        let UsedBytes { up, down, .. } = quota.used(span);
        (up, down)
    }

    #[test]
    fn a_span_is_one_number() {
        let month = QuotaSpan { since: 1_798_758_000, until: 1_798_758_000 + 31 * 24 * HOUR + HOUR };
        for span in [QuotaSpan::default(), hour(493_000), month] {
            assert_eq!(QuotaSpan::unpacked(span.packed()), span);
        }
    }

    #[test]
    fn a_new_period_begins_at_nothing() {
        let quota = UsedQuota::default();
        quota.follow(hour(100));
        quota.add(10, 3);
        assert_eq!(used(&quota, hour(100)), (10, 3));
        assert_eq!(
            quota.used(hour(101)),
            UsedBytes { since: 101 * HOUR, up: 0, down: 0 },
            "nobody has come yet"
        );
        assert_eq!(used(&quota, hour(101)), (0, 0));
        quota.add(1, 1);
        assert_eq!(used(&quota, hour(101)), (1, 1));
    }

    /// A clock that goes back gives nobody a fresh quota, whether by a moment over the end of a period or by years.
    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let quota = UsedQuota::default();
        quota.follow(hour(101));
        quota.add(10, 0);
        assert_eq!(used(&quota, hour(100)), (10, 0));
        quota.add(5, 0);
        assert_eq!(used(&quota, hour(101)), (15, 0), "and none as it comes over the end again");
        assert_eq!(used(&quota, hour(7)), (15, 0));
        assert_eq!(used(&quota, hour(7)), (15, 0));
        assert_eq!(used(&quota, hour(8)), (0, 0), "from there on it is as ever");
    }

    #[test]
    fn another_calendar_begins_at_nothing() {
        let quota = UsedQuota::default();
        quota.follow(hour(100));
        quota.add(10, 0);
        let day = QuotaSpan { since: 96 * HOUR, until: 120 * HOUR };
        assert_eq!(used(&quota, day), (0, 0));
    }

    #[test]
    fn what_is_reset_is_used_anew() {
        let quota = UsedQuota::default();
        quota.restore(UsedBytes { since: 100 * HOUR, up: 7, down: 9 });
        assert_eq!(used(&quota, hour(100)), (7, 9));
        quota.reset(hour(100));
        quota.add(1, 2);
        assert_eq!(used(&quota, hour(100)), (1, 2));
    }

    /// Threads that count while the period changes: each byte counts in one of the periods.
    #[test]
    fn nothing_is_lost_where_many_count() {
        let quota = UsedQuota::default();
        let now = AtomicU64::new(1);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        quota.follow(hour(now.load(Ordering::Relaxed)));
                        quota.add(1, 2);
                        let UsedBytes { up, down, .. } = quota.used(hour(now.load(Ordering::Relaxed)));
                        assert!(up <= 60_000 && down <= 120_000, "{up} and {down}");
                    }
                });
            }
            (2..200).for_each(|nth| {
                now.store(nth, Ordering::Relaxed);
                std::thread::yield_now();
            });
        });
        assert_eq!((quota.up.load(Ordering::SeqCst), quota.down.load(Ordering::SeqCst)), (60_000, 120_000));
    }
}
