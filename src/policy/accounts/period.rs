//! When the periods of a quota begin, on whose clock.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use super::quota::QuotaSpan;

/// How long a period is, and when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaPeriod {
    /// An hour, from this minute on.
    Hour {
        /// 0 to 59.
        minute: u8,
    },
    /// A day, from this minute on.
    Day {
        /// Minutes since midnight.
        minute: u16,
    },
    /// A month, from this day on: in one that is shorter, from its last.
    Month {
        /// 1 to 31.
        day: u8,
        /// Minutes since midnight.
        minute: u16,
    },
}

/// Periods on the clock of a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaCalendar {
    /// How long they are, and when they begin.
    pub period: QuotaPeriod,
    /// Whose clock it is.
    pub zone: TimeZone,
}

const HOUR: i64 = 3600;

impl QuotaCalendar {
    /// The period that this moment is in.
    pub fn span(&self, now: Timestamp) -> QuotaSpan {
        let local = now.to_zoned(self.zone.clone());
        match self.period {
            QuotaPeriod::Hour { minute } => {
                let past = (i64::from(local.minute()) - i64::from(minute)).rem_euclid(60) * 60;
                let since = now.as_second() - past - i64::from(local.second());
                span(since, since + HOUR)
            }
            QuotaPeriod::Day { minute } => self.around(&local, |steps| {
                begins(local.date().checked_add(Span::new().days(steps)).ok()?, minute)
            }),
            QuotaPeriod::Month { day, minute } => self.around(&local, |steps| {
                let first = local.date().first_of_month().checked_add(Span::new().months(steps)).ok()?;
                let day = i8::try_from(day).unwrap_or(1).min(first.days_in_month());
                begins(first.with().day(day).build().ok()?, minute)
            }),
        }
    }

    /// The period around a moment, where `begin` says when those begin that many steps from its own day or month. A time of
    /// day that the clock leaps over comes as much later; one that it shows twice is the first of both.
    fn around(&self, local: &Zoned, begin: impl Fn(i64) -> Option<DateTime>) -> QuotaSpan {
        let now = local.timestamp().as_second();
        let second = |steps| {
            let zoned = begin(steps)?.to_zoned(self.zone.clone()).ok()?;
            Some(zoned.timestamp().as_second())
        };
        // Where a zone leaves out a day, two begin at once.
        let all: Vec<i64> = (-2..=2).filter_map(second).collect();
        let since = all.iter().filter(|begins| **begins <= now).max();
        let until = all.iter().filter(|begins| **begins > now).min();
        // At the very ends of time there may be none.
        span(since.copied().unwrap_or(now), until.copied().unwrap_or(now))
    }
}

fn begins(date: Date, minute: u16) -> Option<DateTime> {
    let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
    Some(date.at(hour, minute, 0, 0))
}

fn span(since: i64, until: i64) -> QuotaSpan {
    let second = |second: i64| u64::try_from(second).unwrap_or_default();
    QuotaSpan { since: second(since), until: second(until) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn periods(period: QuotaPeriod, zone: &str, moments: &[(&str, &str, &str)]) {
        let zone = TimeZone::get(zone).expect("a zone");
        let calendar = QuotaCalendar { period, zone };
        for (now, since, until) in moments {
            let second = |text: &str| text.parse::<Timestamp>().expect("a time stamp").as_second();
            let expected = span(second(since), second(until));
            assert_eq!(calendar.span(now.parse().expect("a time stamp")), expected, "{now}");
        }
    }

    #[test]
    fn hours_begin_at_their_minute() {
        let moments = [
            ("2026-11-28T04:29:59Z", "2026-11-28T03:30:00Z", "2026-11-28T04:30:00Z"),
            ("2026-11-28T04:30:00Z", "2026-11-28T04:30:00Z", "2026-11-28T05:30:00Z"),
        ];
        periods(QuotaPeriod::Hour { minute: 30 }, "UTC", &moments);
        // There the clock is half an hour off.
        let moments = [("2026-11-28T04:29:59Z", "2026-11-28T03:30:00Z", "2026-11-28T04:30:00Z")];
        periods(QuotaPeriod::Hour { minute: 0 }, "Asia/Kolkata", &moments);
    }

    /// The day on which summer time begins has 23 hours, and that on which it ends 25. A time that there is not comes later.
    #[test]
    fn days_are_as_long_as_the_clock_has_them() {
        let midnight = [
            ("2026-03-28T23:30:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("2026-03-29T22:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"),
            ("2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ];
        periods(QuotaPeriod::Day { minute: 0 }, "Europe/Berlin", &midnight);
        let night = [
            ("2026-03-29T00:59:59Z", "2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z"),
            ("2026-03-29T01:29:59Z", "2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z"),
            ("2026-03-29T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"),
            // Half past two comes twice: the second time is no new day.
            ("2026-10-25T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            ("2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ];
        periods(QuotaPeriod::Day { minute: 150 }, "Europe/Berlin", &night);
    }

    #[test]
    fn a_shorter_month_begins_on_its_last_day() {
        let moments = [
            ("2026-02-27T23:59:59Z", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
            ("2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
            ("2028-02-29T12:00:00Z", "2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"),
            ("2026-12-31T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z"),
            ("2027-01-01T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z"),
        ];
        periods(QuotaPeriod::Month { day: 31, minute: 0 }, "UTC", &moments);
        let moments = [
            ("2026-11-15T04:59:59Z", "2026-10-15T04:00:00Z", "2026-11-15T05:00:00Z"),
            ("2026-11-15T05:00:00Z", "2026-11-15T05:00:00Z", "2026-12-15T05:00:00Z"),
        ];
        periods(QuotaPeriod::Month { day: 15, minute: 360 }, "Europe/Berlin", &moments);
    }

    /// Each period begins where the one before it ends, whatever the clock of the zone does.
    #[test]
    fn periods_follow_each_other_without_a_gap() {
        for zone in ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"] {
            let zone = TimeZone::get(zone).expect("a zone");
            for period in [
                QuotaPeriod::Day { minute: 0 },
                QuotaPeriod::Day { minute: 150 },
                QuotaPeriod::Month { day: 31, minute: 90 },
            ] {
                let calendar = QuotaCalendar { period, zone: zone.clone() };
                let mut at: Timestamp = "2011-11-15T00:00:00Z".parse().expect("a time stamp");
                for _ in 0..1000 {
                    let QuotaSpan { since, until } = calendar.span(at);
                    let now = at.as_second() as u64;
                    assert!(since <= now && now < until, "{calendar:?} at {at}");
                    let before = calendar.span(Timestamp::from_second(until as i64 - 1).expect("a time"));
                    assert_eq!(before, QuotaSpan { since, until }, "{calendar:?} at {at}");
                    at = Timestamp::from_second(until as i64).expect("a time");
                    assert_eq!(calendar.span(at).since, until, "{calendar:?} at {at}");
                }
            }
        }
    }
}
