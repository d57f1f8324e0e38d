//! Times of the week in which a rule holds.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

/// Days and hours of a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Days of the week; empty: each of them.
    pub days: Vec<Weekday>,
    /// Hours of the day; empty: all of them.
    pub hours: Vec<Hours>,
    /// Whose clock it is.
    pub zone: TimeZone,
}

/// Minutes of the day, from the first to before the last. Where the end lies before the start they go over midnight, and belong
/// to the day on which they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The first minute.
    pub start: u16,
    /// The minute behind the last.
    pub end: u16,
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hours { start, end } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60)
    }
}

/// A minute of the week, as the clocks of a zone show it.
#[derive(Clone, Copy, Debug)]
pub(super) struct WeekTime {
    day: Weekday,
    /// Minutes since midnight.
    minute: u16,
}

impl WeekTime {
    /// What the clocks of this zone show at this moment.
    pub(super) fn new(now: Timestamp, zone: &TimeZone) -> WeekTime {
        let local = now.to_zoned(zone.clone());
        let number = |number: i8| u16::try_from(number).unwrap_or_default();
        WeekTime { day: local.weekday(), minute: number(local.hour()) * 60 + number(local.minute()) }
    }
}

impl Schedule {
    /// Whether it has this moment.
    pub fn has(&self, now: Timestamp) -> bool {
        self.has_time(WeekTime::new(now, &self.zone))
    }

    /// Whether it has this minute, of its own zone.
    pub(super) fn has_time(&self, WeekTime { day, minute }: WeekTime) -> bool {
        let on = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        if self.hours.is_empty() {
            return on(day);
        }
        self.hours.iter().any(|hours| match hours.start < hours.end {
            true => on(day) && (hours.start..hours.end).contains(&minute),
            false => (on(day) && minute >= hours.start) || (on(day.previous()) && minute < hours.end),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time stamp")
    }

    fn schedule(days: &[Weekday], hours: &[Hours]) -> Schedule {
        Schedule { days: days.to_vec(), hours: hours.to_vec(), zone: TimeZone::UTC }
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_start() {
        let night = schedule(&[Weekday::Friday], &[Hours { start: 22 * 60, end: 6 * 60 }]);
        for (moment, has) in [
            ("2026-11-27T21:59:59Z", false),
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T05:59:59Z", true),
            ("2026-11-28T06:00:00Z", false),
            ("2026-11-27T03:00:00Z", false),
            ("2026-11-28T23:00:00Z", false),
        ] {
            assert_eq!(night.has(at(moment)), has, "{moment}");
        }
    }

    #[test]
    fn days_without_hours_are_whole_days() {
        let weekend = schedule(&[Weekday::Saturday, Weekday::Sunday], &[]);
        assert!(weekend.has(at("2026-11-28T00:00:00Z")) && weekend.has(at("2026-11-29T23:59:59Z")));
        assert!(!weekend.has(at("2026-11-30T00:00:00Z")));
    }
}
