//! In which period each quota is, by this machine's clock.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::limits;
use crate::policy::accounts::{LimitId, QuotaCalendar, QuotaSpan};

/// The calendars of all quotas that there are or were, and what time it is for them.
#[derive(Debug, Default)]
pub(super) struct QuotaPeriods {
    calendars: Vec<(LimitId, QuotaCalendar)>,
    clock: SteadyClock,
}

impl QuotaPeriods {
    /// A limit has a quota by this calendar: the period that it is in. It goes on where the quota is taken away: what was used
    /// of it counts until then.
    pub(super) fn put(&mut self, limit: LimitId, calendar: QuotaCalendar, time: Timestamp) -> QuotaSpan {
        let span = calendar.span(time);
        self.calendars.retain(|(known, _)| *known != limit);
        self.calendars.push((limit, calendar));
        span
    }

    /// What time it is, where the machine's clock shows this at that moment.
    pub(super) fn time(&mut self, shown: Timestamp, at: Instant) -> Timestamp {
        self.clock.time(shown, at)
    }

    /// The periods of all quotas at this time.
    pub(super) fn spans(&self, time: Timestamp) -> impl Iterator<Item = (LimitId, QuotaSpan)> {
        self.calendars.iter().map(move |(limit, calendar)| (*limit, calendar.span(time)))
    }
}

/// A clock that is not believed where it leaps ahead for a moment: who sets it wrong and right again gives nobody a fresh quota.
/// Where it goes back it is believed at once, and accounts see to it that this gives nobody one either.
#[derive(Debug, Default)]
struct SteadyClock {
    /// What was believed last, and when.
    believed: Option<(Timestamp, Instant)>,
    /// Since when it stands ahead.
    leapt: Option<Instant>,
}

impl SteadyClock {
    fn time(&mut self, shown: Timestamp, at: Instant) -> Timestamp {
        if let Some((believed, then)) = self.believed {
            let passed = SignedDuration::try_from(at.saturating_duration_since(then)).unwrap_or_default();
            let due = believed.checked_add(passed).unwrap_or(believed);
            if shown.duration_since(due).unsigned_abs() > limits::CLOCK_LEAP && shown > due {
                let since = *self.leapt.get_or_insert(at);
                if at.saturating_duration_since(since) < limits::CLOCK_LEAP_STANDS {
                    return due;
                }
                tracing::warn!(%shown, expected = %due, "the clock leapt ahead and stays there: quotas go by it from now on");
            }
        }
        (self.believed, self.leapt) = (Some((shown, at)), None);
        shown
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time stamp")
    }

    /// A clock, and what it makes of what is shown so many seconds after the start.
    fn clock() -> impl FnMut(u64, &str) -> String {
        let (mut clock, start) = (SteadyClock::default(), Instant::now());
        move |seconds, shown| clock.time(at(shown), start + Duration::from_secs(seconds)).to_string()
    }

    #[test]
    fn a_clock_that_goes_on_is_believed() {
        let mut clock = clock();
        for (seconds, shown) in
            [(0, "2026-11-28T04:00:00Z"), (1, "2026-11-28T04:00:01Z"), (2, "2026-11-28T04:00:59Z")]
        {
            assert_eq!(clock(seconds, shown), shown);
        }
    }

    #[test]
    fn one_that_leaps_ahead_and_comes_back_is_not() {
        let mut clock = clock();
        clock(0, "2026-11-28T04:00:00Z");
        assert_eq!(clock(10, "2040-01-01T00:00:00Z"), "2026-11-28T04:00:10Z");
        assert_eq!(clock(60, "2040-01-01T00:00:50Z"), "2026-11-28T04:01:00Z");
        assert_eq!(clock(61, "2026-11-28T04:01:01Z"), "2026-11-28T04:01:01Z");
        assert_eq!(clock(100, "2040-01-01T00:00:00Z"), "2026-11-28T04:01:40Z", "the next leap begins anew");
    }

    /// A machine that slept shows the right time.
    #[test]
    fn one_that_leaps_ahead_and_stays_there_is_believed_in_the_end() {
        let mut clock = clock();
        clock(0, "2026-11-28T04:00:00Z");
        assert_eq!(clock(1, "2026-11-29T04:00:00Z"), "2026-11-28T04:00:01Z");
        assert_eq!(clock(121, "2026-11-29T04:02:00Z"), "2026-11-29T04:02:00Z");
        assert_eq!(clock(122, "2026-11-29T04:02:01Z"), "2026-11-29T04:02:01Z");
    }

    #[test]
    fn one_that_goes_back_is_believed() {
        let mut clock = clock();
        clock(0, "2026-11-28T04:00:00Z");
        assert_eq!(clock(1, "2026-11-27T04:00:00Z"), "2026-11-27T04:00:00Z");
    }
}
