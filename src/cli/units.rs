//! Numbers as people read them: three digits and a unit.

/// `1 key`, `3 keys`.
pub(super) fn count_of(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// With a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Bytes: `999 B`, `1.20 kB`, `34.5 MB`; what is no number of bytes is `-`.
pub(super) fn bytes(number: f64) -> String {
    if !number.is_finite() || number < 0.0 {
        return "-".into();
    }
    if number < 999.5 {
        return format!("{number:.0} B");
    }
    let (mut scaled, mut units) = (number / 1000.0, ["kB", "MB", "GB", "TB", "PB"].into_iter());
    let mut unit = units.next().unwrap_or_default();
    // From 999.5 on three digits would be four.
    while scaled >= 999.5 {
        let Some(next) = units.next() else { break };
        (scaled, unit) = (scaled / 1000.0, next);
    }
    format!("{} {unit}", three_digits(scaled))
}

/// A rate of bytes: `34.5 MB/s`.
pub(super) fn byte_rate(number: f64) -> String {
    match bytes(number) {
        none if none == "-" => none,
        some => some + "/s",
    }
}

/// Milliseconds as a length of time: `12 ms`, `1.50 s`, `4m 05s`, `2h 04m`, `3d 02h`.
pub(super) fn duration(ms: f64) -> String {
    if !ms.is_finite() || ms < 0.0 {
        return "-".into();
    }
    let seconds = (ms / 1000.0) as u64;
    match seconds {
        _ if ms < 999.5 => format!("{} ms", three_digits(ms)),
        _ if ms < 59_950.0 => format!("{} s", three_digits(ms / 1000.0)),
        ..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Three digits of a number under 1,000; a whole one without a point.
fn three_digits(number: f64) -> String {
    let places = match number {
        _ if number.fract() == 0.0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{number:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_their_plural() {
        let shown = [0, 1, 999, 1000, 65_536, 1_000_000, u64::MAX].map(grouped);
        assert_eq!(shown, ["0", "1", "999", "1,000", "65,536", "1,000,000", "18,446,744,073,709,551,615"]);
        assert_eq!((count_of(1, "key"), count_of(0, "key")), ("1 key".to_owned(), "0 keys".to_owned()));
    }

    #[test]
    fn bytes_have_three_digits_and_the_unit_that_fits() {
        for (number, shown) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (999.6, "1.00 kB"),
            (1000.0, "1 kB"),
            (1234.0, "1.23 kB"),
            (12_345.0, "12.3 kB"),
            (999_499.0, "999 kB"),
            (999_999.0, "1.00 MB"),
            (34_500_000.0, "34.5 MB"),
            (5e15, "5 PB"),
            (5e18, "5000 PB"),
            (f64::NAN, "-"),
            (-1.0, "-"),
        ] {
            assert_eq!(bytes(number), shown, "{number}");
        }
        assert_eq!((byte_rate(1500.0), byte_rate(f64::INFINITY)), ("1.50 kB/s".into(), "-".to_owned()));
    }

    #[test]
    fn a_length_of_time_has_two_units_at_most() {
        for (ms, shown) in [
            (0.0, "0 ms"),
            (0.25, "0.25 ms"),
            (999.0, "999 ms"),
            (1500.0, "1.50 s"),
            (59_900.0, "59.9 s"),
            (60_000.0, "1m 00s"),
            (245_000.0, "4m 05s"),
            (7_440_000.0, "2h 04m"),
            (266_400_000.0, "3d 02h"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(duration(ms), shown, "{ms}");
        }
    }
}
