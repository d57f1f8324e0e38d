//! Quotas as they are typed: how many bytes in which period, on whose clock.

use super::at::Typed;
use super::choice::Choice;
use super::form::{Form, ValueReader, choice};
use super::nearest::unknown_key;
use super::problem::quoted;
use super::rates;
use super::typed::Value;
use super::value::string;
use super::when::{Zone, minute, read_zone};
use crate::limits;
use crate::policy::accounts::{OnReached, QuotaDirection, QuotaPeriod};

/// So many bytes in a period.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaConfig {
    /// Bytes; at least 1.
    pub bytes: u64,
    /// How long a period is, and when it begins.
    pub period: QuotaPeriod,
    /// Which bytes count.
    pub direction: QuotaDirection,
    /// On whose clock it begins.
    pub zone: Zone,
}

/// The word for how long a period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeriodLength {
    Hour,
    Day,
    Month,
}

impl Choice for PeriodLength {
    const ALL: &'static [(&'static str, Self)] =
        &[("hour", Self::Hour), ("day", Self::Day), ("month", Self::Month)];
}

impl Choice for QuotaDirection {
    const ALL: &'static [(&'static str, Self)] =
        &[("both", Self::Both), ("up", Self::Up), ("down", Self::Down)];
}

impl Choice for OnReached {
    const ALL: &'static [(&'static str, Self)] =
        &[("refuse", Self::Refuse), ("slow", Self::Slow), ("close", Self::Close)];
}

const KEYS: [&str; 5] = ["bytes", "period", "direction", "reset", "zone"];
pub(super) const EXAMPLE: &str = "{ bytes = \"500GB\", period = \"month\", zone = \"Europe/Berlin\" }";

/// Reads and prints a quota: a table.
#[derive(Clone)]
struct QuotaForm;

pub(super) fn quota() -> impl Form<QuotaConfig> {
    QuotaForm
}

impl Form<QuotaConfig> for QuotaForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<QuotaConfig> {
        let Value::Table(entries) = &typed.value else {
            return reader.wrong_type(typed, &format!("a table such as {EXAMPLE}"), None);
        };
        let (mut bytes, mut length, mut reset, mut right) = (None, None, None, true);
        let (mut direction, mut zone) = (QuotaDirection::default(), None);
        for (name, typed) in entries {
            right &= match name.as_str() {
                "bytes" => take(rates::amount(limits::QUOTA_BYTES_MAX).read(typed, reader), &mut bytes),
                "period" => take(choice::<PeriodLength>().read(typed, reader), &mut length),
                "direction" => {
                    choice().read(typed, reader).map(|one: QuotaDirection| direction = one).is_some()
                }
                "reset" => {
                    reset = Some(typed);
                    true
                }
                "zone" => take(read_zone(typed, reader), &mut zone),
                other => {
                    reader.refuse(&typed.at, unknown_key(other, &KEYS));
                    false
                }
            };
        }
        let has = |key: &str| entries.iter().any(|(name, _)| name == key);
        for (key, what) in [
            ("bytes", "needs bytes, such as bytes = \"500GB\""),
            ("period", "needs a period: \"hour\", \"day\" or \"month\""),
            (
                "zone",
                "says no zone: add zone = \"local\" for this machine's clock, \"UTC\", or such as \"Europe/Berlin\"",
            ),
        ] {
            if !has(key) {
                reader.refuse(&typed.at, what.to_owned());
                right = false;
            }
        }
        let period = match reset {
            Some(reset) => period(length?, reset).map_err(|what| reader.refuse(&reset.at, what)).ok(),
            None => length.map(natural),
        };
        Some(QuotaConfig { bytes: bytes?, period: period?, direction, zone: zone? }).filter(|_| right)
    }

    fn print(&self, QuotaConfig { bytes, period, direction, zone }: &QuotaConfig) -> Option<String> {
        let time = |minute: &u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let (length, reset) = match period {
            QuotaPeriod::Hour { minute } => (PeriodLength::Hour, minute.to_string()),
            QuotaPeriod::Day { minute } => (PeriodLength::Day, string(&time(minute))),
            QuotaPeriod::Month { day, minute } => {
                (PeriodLength::Month, string(&format!("{day} {}", time(minute))))
            }
        };
        Some(format!(
            "{{ bytes = {bytes}, period = \"{}\", direction = \"{}\", reset = {reset}, zone = {} }}",
            length.name(),
            direction.name(),
            string(&zone.to_string())
        ))
    }

    fn example(&self) -> Option<String> {
        Some(EXAMPLE.to_owned())
    }
}

/// Takes a value that could be read; whether there is one.
fn take<T>(read: Option<T>, value: &mut Option<T>) -> bool {
    *value = read;
    value.is_some()
}

/// The periods that people think of.
fn natural(length: PeriodLength) -> QuotaPeriod {
    match length {
        PeriodLength::Hour => QuotaPeriod::Hour { minute: 0 },
        PeriodLength::Day => QuotaPeriod::Day { minute: 0 },
        PeriodLength::Month => QuotaPeriod::Month { day: 1, minute: 0 },
    }
}

/// The periods that begin then.
fn period(length: PeriodLength, reset: &Typed<Value>) -> Result<QuotaPeriod, String> {
    let text = match &reset.value {
        Value::Whole(whole) => whole.to_string(),
        Value::Text(text) => text.clone(),
        other => format!("{} is typed", other.kind()),
    };
    let number = |text: &str, most: u8| text.parse::<u8>().ok().filter(|number| *number <= most);
    let time = |text: &str| minute(text).filter(|minute| *minute < DAY);
    let (period, form) = match length {
        PeriodLength::Hour => {
            (number(&text, 59).map(|minute| QuotaPeriod::Hour { minute }), "the minute of an hour, 0 to 59")
        }
        PeriodLength::Day => {
            (time(&text).map(|minute| QuotaPeriod::Day { minute }), "the time of a day, such as \"06:00\"")
        }
        PeriodLength::Month => {
            let (day, at) = text.split_once(' ').unwrap_or((&text, "00:00"));
            let day = number(day, 31).filter(|day| *day > 0);
            let period = day.zip(time(at)).map(|(day, minute)| QuotaPeriod::Month { day, minute });
            (period, "the day of a month, 1 to 31, or such as \"15 06:00\"")
        }
    };
    period.ok_or_else(|| format!("{} is not {form}", quoted(&text)))
}

/// Minutes of a day.
const DAY: u16 = 24 * 60;
