//! Times at which a rule holds, as they are typed: days and hours, on whose clock.

use std::fmt;

use jiff::civil::Weekday;

use super::at::Typed;
use super::choice::Choice;
use super::form::{Form, ValueReader};
use super::list_form::{ListForm, list};
use super::nearest::{unknown_key, with_nearest};
use super::problem::{escaped, quoted};
use super::typed::Value;
use super::value::{choice, string};
use crate::limits;
use crate::policy::rules::schedule::Hours;

/// What one table of `when` says. Never without days and hours, both of which may be all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct When {
    /// Days of the week, from Monday on, none twice; empty: each of them.
    pub days: Vec<Weekday>,
    /// Hours of the day; empty: all of them.
    pub hours: Vec<Hours>,
    /// Whose clock it is.
    pub zone: Zone,
}

/// Whose clock it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// This machine's.
    Local,
    /// That of a zone of IANA's database, or UTC.
    Named(String),
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Zone::Local => LOCAL,
            Zone::Named(name) => name,
        })
    }
}

impl Choice for Weekday {
    const ALL: &'static [(&'static str, Self)] = &[
        ("mon", Weekday::Monday),
        ("tue", Weekday::Tuesday),
        ("wed", Weekday::Wednesday),
        ("thu", Weekday::Thursday),
        ("fri", Weekday::Friday),
        ("sat", Weekday::Saturday),
        ("sun", Weekday::Sunday),
    ];
}

const LOCAL: &str = "local";
const KEYS: [&str; 3] = ["days", "hours", "zone"];
const EXAMPLE: &str = "{ days = [\"mon-fri\"], hours = [\"08:00-18:00\"], zone = \"Europe/Berlin\" }";

/// Days from a first to a last one, by their places in the week; the last may come before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DayRange(usize, usize);

impl fmt::Display for DayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |place: usize| Weekday::ALL[place % 7].0;
        match self {
            DayRange(first, last) if first == last => f.write_str(name(*first)),
            DayRange(first, last) => write!(f, "{}-{}", name(*first), name(*last)),
        }
    }
}

/// Reads and prints `when`: one table, or several in brackets.
#[derive(Clone)]
struct WhenForm;

pub(super) fn times() -> impl Form<Vec<When>> {
    WhenForm
}

impl Form<Vec<When>> for WhenForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<Vec<When>> {
        let items = match &typed.value {
            Value::Table(_) => std::slice::from_ref(typed),
            Value::Array(items) => items,
            _ => return reader.wrong_type(typed, &format!("a table such as {EXAMPLE}"), None),
        };
        if items.is_empty() || items.len() > limits::SCHEDULES_MAX {
            let what = match items.len() {
                0 => format!("is empty: it needs a table such as {EXAMPLE}"),
                many => format!("{many} tables are too many: at most {}", limits::SCHEDULES_MAX),
            };
            reader.refuse(&typed.at, what);
            return None;
        }
        let all: Vec<Option<When>> = items.iter().map(|item| read_one(item, reader)).collect();
        reader.entries = items.iter().map(|item| item.at.clone()).collect();
        all.into_iter().collect()
    }

    fn print(&self, value: &Vec<When>) -> Option<String> {
        let tables: Vec<String> = value.iter().map(print_one).collect();
        match tables.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(format!("[{}]", several.join(", "))),
        }
    }

    fn kind(&self) -> String {
        "a table, or several in brackets".to_owned()
    }

    fn example(&self) -> Option<String> {
        Some(EXAMPLE.to_owned())
    }
}

fn days() -> ListForm<DayRange> {
    list(Weekday::ALL.len(), day_range).or_one().needs("a day")
}

fn hours() -> ListForm<Hours> {
    list(limits::SCHEDULES_MAX, hour_range).or_one().needs("hours such as \"08:00-18:00\"")
}

/// Each problem is reported; `None` where there is one.
fn read_one(item: &Typed<Value>, reader: &mut ValueReader) -> Option<When> {
    let Value::Table(entries) = &item.value else {
        return reader.wrong_type(item, &format!("a table such as {EXAMPLE}"), None);
    };
    let (mut on, mut at, mut zone, mut right) = (Vec::new(), Vec::new(), None, true);
    for (name, typed) in entries {
        right &= match name.as_str() {
            "days" => days().read(typed, reader).map(|ranges: Vec<DayRange>| on = ranges).is_some(),
            "hours" => hours().read(typed, reader).map(|ranges: Vec<Hours>| at = ranges).is_some(),
            "zone" => read_zone(typed, reader).map(|named| zone = Some(named)).is_some(),
            other => {
                reader.refuse(&typed.at, unknown_key(other, &KEYS));
                false
            }
        };
    }
    let has = |key: &str| entries.iter().any(|(name, _)| name == key);
    if right && !has("days") && !has("hours") {
        reader.refuse(&item.at, "needs days or hours: a rule without `when` holds at any time".to_owned());
        return None;
    }
    if !has("zone") {
        let what = "says no zone: add zone = \"local\" for this machine's clock, \"UTC\", or such as \"Europe/Berlin\"";
        reader.refuse(&item.at, what.to_owned());
        return None;
    }
    Some(When { days: weekdays(&on), hours: at, zone: zone? }).filter(|_| right)
}

/// The days of the ranges, from Monday on.
fn weekdays(ranges: &[DayRange]) -> Vec<Weekday> {
    let within = |place: usize, &DayRange(first, last): &DayRange| match first <= last {
        true => (first..=last).contains(&place),
        false => place >= first || place <= last,
    };
    let on = |place: &usize| ranges.iter().any(|range| within(*place, range));
    (0..Weekday::ALL.len()).filter(on).map(|place| Weekday::ALL[place].1).collect()
}

fn print_one(when: &When) -> String {
    let mut ranges: Vec<DayRange> = Vec::new();
    for day in &when.days {
        let place = Weekday::ALL.iter().position(|(_, one)| one == day).unwrap_or_default();
        match ranges.last_mut().filter(|range| range.1 + 1 == place) {
            Some(range) => range.1 = place,
            None => ranges.push(DayRange(place, place)),
        }
    }
    let mut keys = Vec::new();
    if !ranges.is_empty() {
        keys.push(format!("days = {}", days().array(ranges.iter())));
    }
    if !when.hours.is_empty() {
        keys.push(format!("hours = {}", hours().array(when.hours.iter())));
    }
    keys.push(format!("zone = {}", string(&when.zone.to_string())));
    format!("{{ {} }}", keys.join(", "))
}

/// A day of the week by its first three letters, or a range of days.
fn day_range(typed: &str) -> Result<DayRange, String> {
    let day = |text: &str| {
        choice::<Weekday>(text).map(|day| Weekday::ALL.iter().position(|one| one.1 == day).unwrap_or(0))
    };
    let (first, last) = typed.split_once('-').unwrap_or((typed, typed));
    match (day(first), day(last)) {
        (Ok(first), Ok(last)) => Ok(DayRange(first, last)),
        (first, last) => {
            let short = |text: &str| {
                let start: String = text.trim().to_lowercase().chars().take(3).collect();
                Weekday::from_name(&start).map(|_| start)
            };
            let meant = match typed.contains('-') {
                true => {
                    short(first_part(typed)).zip(short(last_part(typed))).map(|(a, b)| format!("\"{a}-{b}\""))
                }
                false => short(typed).map(|day| format!("\"{day}\"")),
            };
            match meant {
                Some(_) => Err(with_nearest(format!("{} is no day or range of days", quoted(typed)), meant)),
                None => first.and(last).map(|_| DayRange(0, 0)),
            }
        }
    }
}

fn first_part(typed: &str) -> &str {
    typed.split('-').next().unwrap_or_default()
}

fn last_part(typed: &str) -> &str {
    typed.rsplit('-').next().unwrap_or_default()
}

/// Hours of the day, "08:00-18:00", over midnight, too.
fn hour_range(typed: &str) -> Result<Hours, String> {
    let range = typed.split_once('-').and_then(|(start, end)| Some((minute(start)?, minute(end)?)));
    match range {
        Some((start, end)) if start != end && start < DAY => Ok(Hours { start, end }),
        Some((start, end)) if start == end => {
            Err(format!("{} has no minute: all day is \"00:00-24:00\", or no `hours`", quoted(typed)))
        }
        _ => {
            let what =
                format!("{} is no range of hours such as \"08:00-18:00\" or \"22:00-06:00\"", quoted(typed));
            let digits = |part: &str| {
                let (hour, minute) = part.trim().split_once([':', '.', 'h']).unwrap_or((part.trim(), "00"));
                let (hour, minute) = (hour.trim().parse::<u16>().ok()?, minute.trim().parse::<u16>().ok()?);
                (hour < 24 && minute < 60).then(|| hour * 60 + minute)
            };
            let meant = typed.split_once('-').and_then(|(start, end)| Some((digits(start)?, digits(end)?)));
            let meant = meant.filter(|(start, end)| start != end);
            Err(with_nearest(what, meant.map(|(start, end)| format!("\"{}\"", Hours { start, end }))))
        }
    }
}

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// The minute of the day of a time in hours and minutes; 24:00 is its end.
pub(super) fn minute(typed: &str) -> Option<u16> {
    let (hour, minute) = typed.split_once(':')?;
    let number = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

/// The name of a zone; whether there is one of this name, whoever has the database of zones says.
pub(super) fn read_zone(typed: &Typed<Value>, reader: &mut ValueReader) -> Option<Zone> {
    let Some(text) = typed.value.text() else { return reader.wrong_type(typed, "a string", None) };
    let fits = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    match text {
        LOCAL => Some(Zone::Local),
        "" => {
            reader.refuse(&typed.at, "is empty: \"local\", \"UTC\", or such as \"Europe/Berlin\"".to_owned());
            None
        }
        _ if text.len() <= limits::ZONE_NAME_MAX && text.chars().all(fits) => {
            Some(Zone::Named(text.to_owned()))
        }
        _ => {
            let what =
                format!("\"{}\" is no zone such as \"Europe/Berlin\", \"UTC\" or \"local\"", escaped(text));
            reader.refuse(&typed.at, what);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_sets_and_print_as_ranges() {
        let set =
            |typed: &[&str]| weekdays(&typed.iter().map(|day| day_range(day).unwrap()).collect::<Vec<_>>());
        let printed = |days: Vec<Weekday>| print_one(&When { days, hours: Vec::new(), zone: Zone::Local });
        for (typed, expected) in [
            (&["mon-fri"][..], "[\"mon-fri\"]"),
            (&["fri", "mon", "tue", "mon"], "[\"mon-tue\", \"fri\"]"),
            (&["sat-mon"], "[\"mon\", \"sat-sun\"]"),
            (&["sun-sat"], "[\"mon-sun\"]"),
        ] {
            assert_eq!(
                printed(set(typed)),
                format!("{{ days = {expected}, zone = \"local\" }}"),
                "{typed:?}"
            );
        }
        assert!(day_range("Monday").unwrap_err().ends_with("did you mean \"mon\"?"));
        assert!(day_range("Mon - Friday").unwrap_err().ends_with("did you mean \"mon-fri\"?"));
        assert!(day_range("day").unwrap_err().contains("is none of \"mon\", \"tue\""));
    }

    #[test]
    fn hours_go_over_midnight_and_are_never_nothing() {
        let read = |typed: &str| hour_range(typed).map(|Hours { start, end }| (start, end));
        assert_eq!(read("08:00-18:30"), Ok((480, 1110)));
        assert_eq!(read("22:00-06:00"), Ok((1320, 360)));
        assert_eq!(read("00:00-24:00"), Ok((0, 1440)));
        assert_eq!(read("22:00-00:00"), Ok((1320, 0)));
        assert!(read("08:00-08:00").unwrap_err().contains("has no minute"));
        assert!(read("8-18").unwrap_err().ends_with("did you mean \"08:00-18:00\"?"));
        assert!(read("8:00 - 18.30").unwrap_err().ends_with("did you mean \"08:00-18:30\"?"));
        for bad in
            ["", "-", "24:00-01:00", "24:01-25:00", "08:60-09:00", "08:00", "+8:00-09:00", "ab:cd-ef:gh"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
