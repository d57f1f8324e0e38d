//! Rates as they are typed: so much a second, and so much at once.

use super::at::Typed;
use super::form::{Form, ValueReader};
use super::nearest::unknown_key;
use super::problem::quoted;
use super::typed::Value;
use crate::limits;
use crate::policy::accounts::BurstRate;

/// Reads and prints a rate: a table with `rate` and `burst`, or the rate alone. The burst is then a second's worth.
#[derive(Clone)]
struct RateForm {
    /// Amounts are bytes: they may have a unit.
    bytes: bool,
    most: u64,
}

/// A rate of things that are counted one by one.
pub(super) fn counted() -> impl Form<BurstRate> {
    RateForm { bytes: false, most: limits::RATE_MAX }
}

/// A rate of bytes.
pub(super) fn bytes() -> impl Form<BurstRate> {
    RateForm { bytes: true, most: limits::RATE_BYTES_MAX }
}

/// A number of bytes, of at most so many.
pub(super) fn amount(most: u64) -> impl Form<u64> {
    RateForm { bytes: true, most }
}

const KEYS: [&str; 2] = ["rate", "burst"];

/// Units of bytes; the longer names first, as one ends with another.
const UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl RateForm {
    fn example(&self) -> &'static str {
        match self.bytes {
            true => "{ rate = \"10MB\", burst = \"20MB\" }",
            false => "{ rate = 10, burst = 50 }",
        }
    }

    fn amount(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<u64> {
        let amount = match (typed.whole(), typed.value.text()) {
            (Some(whole), _) => u64::try_from(whole).map_err(|_| format!("{whole} is out of range")),
            (None, Some(text)) if self.bytes => byte_count(text),
            _ => {
                let expected =
                    if self.bytes { "a number of bytes such as \"10MB\"" } else { "a whole number" };
                return reader.wrong_type(typed, expected, None);
            }
        };
        let within = amount.and_then(|amount| match (1..=self.most).contains(&amount) {
            true => Ok(amount),
            false => Err(format!("{amount} is out of range: 1 to {}", self.most)),
        });
        within.map_err(|what| reader.refuse(&typed.at, what)).ok()
    }
}

impl Form<u64> for RateForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<u64> {
        self.amount(typed, reader)
    }

    fn print(&self, amount: &u64) -> Option<String> {
        Some(amount.to_string())
    }

    fn kind(&self) -> String {
        "a number of bytes, or a string with a unit such as `\"10MB\"`".to_owned()
    }
}

impl Form<BurstRate> for RateForm {
    fn read(&self, typed: &Typed<Value>, reader: &mut ValueReader) -> Option<BurstRate> {
        let entries = match &typed.value {
            Value::Table(entries) => entries,
            Value::Whole(_) | Value::Text(_) => {
                return self.amount(typed, reader).map(|rate| BurstRate { rate, burst: rate });
            }
            _ => return reader.wrong_type(typed, &format!("a rate such as {}", self.example()), None),
        };
        let (mut rate, mut burst, mut right) = (None, None, true);
        for (name, typed) in entries {
            let amount = match name.as_str() {
                "rate" => &mut rate,
                "burst" => &mut burst,
                other => {
                    reader.refuse(&typed.at, unknown_key(other, &KEYS));
                    right = false;
                    continue;
                }
            };
            *amount = self.amount(typed, reader);
            right &= amount.is_some();
        }
        if right && rate.is_none() {
            reader.refuse(&typed.at, format!("needs a rate, such as {}", self.example()));
        }
        let rate = rate.filter(|_| right)?;
        Some(BurstRate { rate, burst: burst.unwrap_or(rate) })
    }

    fn print(&self, BurstRate { rate, burst }: &BurstRate) -> Option<String> {
        Some(format!("{{ rate = {rate}, burst = {burst} }}"))
    }

    fn kind(&self) -> String {
        let rate = if self.bytes { "a number of bytes, with or without a unit" } else { "a whole number" };
        format!("{rate}, or a table such as `{}`", self.example())
    }
}

/// A number of bytes with or without a unit.
fn byte_count(typed: &str) -> Result<u64, String> {
    let text = typed.trim();
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (digits, unit) = unit.unwrap_or((text, 1));
    let number: Option<u64> = digits.trim_end().parse().ok();
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(|| {
        format!("{} is no number of bytes: write it such as \"500kB\", \"10MB\" or \"1GiB\"", quoted(typed))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units_of_ten_and_of_two() {
        for (typed, bytes) in [
            ("1", 1),
            ("1B", 1),
            ("10 MB", 10_000_000),
            ("1kB", 1000),
            ("1KB", 1000),
            ("2KiB", 2048),
            ("3MiB", 3 << 20),
            ("1GiB", 1 << 30),
            ("5GB", 5_000_000_000),
            ("2TiB", 2 << 40),
            ("3TB", 3_000_000_000_000),
        ] {
            assert_eq!(byte_count(typed), Ok(bytes), "{typed}");
        }
        for typed in ["", "MB", "1.5MB", "-1", "10 Mb", "1PB", "99999999999GB", "1MBB"] {
            assert!(byte_count(typed).is_err(), "{typed}");
        }
    }
}
