//! Units of figures, and numbers as people read them: one scale and one number of decimals for a column.

use serde::{Deserialize, Serialize};

/// What a figure is measured in, in the base that the record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "us")]
    Microseconds,
    /// CPU seconds per 10^9 bytes.
    #[serde(rename = "s/GB")]
    SecondsPerGb,
    #[serde(rename = "B")]
    Bytes,
    #[serde(rename = "B/s")]
    BytesPerSecond,
    #[serde(rename = "1/s")]
    PerSecond,
    /// A bare number.
    #[serde(rename = "count")]
    Count,
    /// 0 to 1 in the record, shown in per cent.
    #[serde(rename = "%")]
    Share,
}

/// How the numbers of one column are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    pub(crate) divisor: f64,
    /// Empty for a bare number.
    pub(crate) unit: &'static str,
    pub(crate) decimals: usize,
}

impl Scale {
    /// For a column that holds `values`.
    pub(crate) fn of(unit: Unit, values: impl IntoIterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.into_iter().map(f64::abs).filter(|value| *value > 0.0) {
            least = least.min(value);
            most = most.max(value);
        }
        let (divisor, unit) = match unit {
            Unit::Microseconds if most >= 20_000.0 => (1e3, "ms"),
            Unit::Microseconds => (1.0, "µs"),
            Unit::SecondsPerGb => (1.0, "s/GB"),
            Unit::Bytes if most >= 2e6 => (1e6, "MB"),
            Unit::Bytes if most >= 2e3 => (1e3, "kB"),
            Unit::Bytes => (1.0, "B"),
            Unit::BytesPerSecond if most >= 1e9 => (1e9, "GB/s"),
            Unit::BytesPerSecond => (1e6, "MB/s"),
            Unit::PerSecond => (1.0, "/s"),
            Unit::Count => (1.0, ""),
            Unit::Share => (0.01, "%"),
        };
        // The smallest keeps two digits, the largest no more than it needs.
        let decimals = match least.min(most) / divisor {
            small if small >= 100.0 || small == 0.0 => 0,
            small if small >= 10.0 => 1,
            small if small >= 0.1 => 2,
            _ => 3,
        };
        Self { divisor, unit, decimals }
    }

    /// The number alone, thousands apart.
    pub(crate) fn number(&self, value: f64) -> String {
        let text = format!("{:.*}", self.decimals, value / self.divisor);
        let (whole, fraction) =
            text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
        let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
        let mut out = String::from(sign);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        if !fraction.is_empty() {
            out.push('.');
            out.push_str(fraction);
        }
        out
    }

    /// The number with its unit.
    pub(crate) fn show(&self, value: f64) -> String {
        match self.unit {
            "" => self.number(value),
            unit => format!("{} {unit}", self.number(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_one_scale() {
        let scale = Scale::of(Unit::Bytes, [610.0, 329_000.0]);
        assert_eq!((scale.show(610.0), scale.show(329_000.0)), ("0.61 kB".into(), "329.00 kB".into()));
        let scale = Scale::of(Unit::PerSecond, [12_345.6, 999.0]);
        assert_eq!((scale.show(12_345.6), scale.show(999.0)), ("12,346 /s".into(), "999 /s".into()));
        let scale = Scale::of(Unit::BytesPerSecond, [1.92e9, 1.1e9]);
        assert_eq!(scale.show(1.92e9), "1.92 GB/s");
        assert_eq!(Scale::of(Unit::Share, [0.0]).show(0.0), "0 %");
        assert_eq!(Scale::of(Unit::Microseconds, [52.1, 240.0]).show(240.0), "240.0 µs");
        assert_eq!(Scale::of(Unit::Microseconds, [-2_000.0]).number(-2_000.0), "-2,000");
    }
}
