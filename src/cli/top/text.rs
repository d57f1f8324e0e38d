//! Text for the columns of a terminal: names that came from strangers, numbers in units that fit.

use unicode_width::UnicodeWidthStr;

/// Scripts that are written from right to left: a terminal that knows them turns round what stands beside such letters,
/// numbers of the next column among it.
const RIGHT_TO_LEFT: [std::ops::RangeInclusive<char>; 5] = [
    '\u{590}'..='\u{8ff}',
    '\u{fb1d}'..='\u{fdff}',
    '\u{fe70}'..='\u{feff}',
    '\u{10800}'..='\u{10fff}',
    '\u{1e800}'..='\u{1efff}',
];

/// What terminals join to the letter before it, and not all of them to the same width: parts of flags, tones of skin.
const JOINED: [std::ops::RangeInclusive<char>; 2] = ['\u{1f1e6}'..='\u{1f1ff}', '\u{1f3fb}'..='\u{1f3ff}'];

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// A stranger's name as any terminal shows it in the columns that [`width`] says: control characters, marks without a
/// width of their own and letters from right to left are written as Rust writes them in a string, and so is a backslash,
/// so that two names never look alike. Where the terminal knows no UTF-8, so is all that is not ASCII.
pub(super) fn name(name: &str, utf8: bool) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        let foreign =
            |ranges: &[std::ops::RangeInclusive<char>]| ranges.iter().any(|range| range.contains(&c));
        if matches!(c, '"' | '\'') || c == ' ' {
            shown.push(c);
        } else if c.is_ascii() {
            shown.extend(c.escape_debug());
        } else if !utf8
            || foreign(&RIGHT_TO_LEFT)
            || foreign(&JOINED)
            || width(c.encode_utf8(&mut [0; 4])) == 0
        {
            shown.extend(c.escape_unicode());
        } else {
            shown.extend(c.escape_debug());
        }
    }
    shown
}

/// The text cut to `columns`, with a mark where something is missing.
pub(super) fn cut(text: &str, columns: usize, utf8: bool) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut cut, mut left) = (String::new(), columns.saturating_sub(1));
    for c in text.chars() {
        match left.checked_sub(width(c.encode_utf8(&mut [0; 4]))) {
            Some(rest) => left = rest,
            None => break,
        }
        cut.push(c);
    }
    if columns > 0 {
        cut.push(if utf8 { '…' } else { '~' });
    }
    cut
}

/// The text in exactly `columns`, at the left of them.
pub(super) fn left(text: &str, columns: usize, utf8: bool) -> String {
    let cut = cut(text, columns, utf8);
    let missing = columns.saturating_sub(width(&cut));
    cut + &" ".repeat(missing)
}

/// The text in exactly `columns`, at the right of them.
pub(super) fn right(text: &str, columns: usize, utf8: bool) -> String {
    let cut = cut(text, columns, utf8);
    " ".repeat(columns.saturating_sub(width(&cut))) + &cut
}

/// Things a second in 5 columns: `0.50`, `120`, `12.3k`.
pub(super) fn rate(number: f64) -> String {
    let (mut scaled, mut unit) = (number.max(0.0), "");
    for next in ["k", "M", "G", "T"] {
        // What would be rounded to 1000 is one of the next unit.
        if scaled < 999.5 {
            break;
        }
        (scaled, unit) = (scaled / 1000.0, next);
    }
    match scaled {
        _ if unit.is_empty() && scaled.fract() == 0.0 => format!("{scaled:.0}"),
        ..9.995 => format!("{scaled:.2}{unit}"),
        9.995..99.95 => format!("{scaled:.1}{unit}"),
        _ => format!("{scaled:.0}{unit}"),
    }
}

/// A duration in 6 columns: `0.25ms`, `12.3ms`, `1.50s`, `3m12s`, `2h03m`, `4d05h`.
pub(super) fn millis(ms: f64) -> String {
    let (ms, seconds) = (ms.max(0.0), (ms.max(0.0) / 1000.0) as u64);
    match ms {
        ..9.995 => format!("{ms:.2}ms"),
        9.995..99.95 => format!("{ms:.1}ms"),
        99.95..999.5 => format!("{ms:.0}ms"),
        999.5..9_995.0 => format!("{:.2}s", ms / 1000.0),
        9_995.0..60_000.0 => format!("{:.1}s", (ms / 100.0).floor() / 10.0),
        _ => parted(seconds),
    }
}

/// A duration of whole seconds in 6 columns: `12s`, `3m12s`, `2h03m`, `4d05h`, `1200d`.
pub(super) fn seconds(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds}s") } else { parted(seconds) }
}

/// Two units, the larger one first.
fn parted(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match days {
        0 if hours == 0 => format!("{minutes}m{:02}s", seconds % 60),
        0 => format!("{hours}h{:02}m", minutes % 60),
        1..100 => format!("{days}d{:02}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_to_a_terminal_what_letters_do() {
        let cases = [
            ("ann", "ann"),
            ("Jürgen O'Hara \"x\"", "Jürgen O'Hara \"x\""),
            ("日本", "日本"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\r\n\tb\0", "a\\r\\n\\tb\\0"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\\u{1b}", "a\\\\u{1b}"),
            ("abc\u{202e}fed", "abc\\u{202e}fed"),
            ("א1", "\\u{5d0}1"),
            ("e\u{301}\u{301}", "e\\u{301}\\u{301}"),
            ("👩\u{200d}💻", "👩\\u{200d}💻"),
            ("👍🏽", "👍\\u{1f3fd}"),
            ("🇩🇪", "\\u{1f1e9}\\u{1f1ea}"),
            ("a\u{e000}\u{fff9}\u{2028}", "a\\u{e000}\\u{fff9}\\u{2028}"),
        ];
        for (from, shown) in cases {
            assert_eq!(name(from, true), shown, "{from:?}");
        }
        assert_eq!(name("Jürgen 日", false), "J\\u{fc}rgen \\u{65e5}");
    }

    #[test]
    fn every_character_takes_the_columns_that_its_name_says() {
        let all = ('\0'..='\u{1ffff}').step_by(7).chain('\u{e0000}'..='\u{e01ff}');
        for c in all {
            let shown = name(&c.to_string(), true);
            let sum: usize = shown.chars().map(|c| width(c.encode_utf8(&mut [0; 4]))).sum();
            assert!(sum > 0 && sum == width(&shown) && !shown.contains(char::is_control), "{c:?}");
        }
    }

    #[test]
    fn text_fills_its_columns_to_the_last_one() {
        assert_eq!(left("ab", 4, true), "ab  ");
        assert_eq!(right("ab", 4, true), "  ab");
        assert_eq!(left("abcde", 4, true), "abc…");
        assert_eq!(left("abcde", 4, false), "abc~");
        // A wide letter has no half: its place is filled up.
        assert_eq!(left("日本国語", 6, true), "日本… ");
        assert_eq!(right("日本国語", 6, true), " 日本…");
        assert_eq!(
            (left("abc", 1, true), left("abc", 0, true), left("", 2, true)),
            ("…".into(), "".into(), "  ".into())
        );
    }

    #[test]
    fn rates_fit_their_columns() {
        let cases = [
            (0.0, "0"),
            (-1.0, "0"),
            (0.5, "0.50"),
            (12.0, "12"),
            (999.6, "1.00k"),
            (12_345.0, "12.3k"),
            (1e6, "1.00M"),
        ];
        assert!(cases.iter().all(|(number, text)| rate(*number) == *text));
        assert!((0..49).all(|power| rate(2f64.powi(power)).len() <= 5));
    }

    #[test]
    fn durations_have_the_unit_that_they_are_read_in() {
        let cases = [
            (0.0, "0.00ms"),
            (0.25, "0.25ms"),
            (9.996, "10.0ms"),
            (12.34, "12.3ms"),
            (99.96, "100ms"),
            (999.6, "1.00s"),
            (9_996.0, "9.9s"),
            (59_999.0, "59.9s"),
            (60_000.0, "1m00s"),
            (192_000.0, "3m12s"),
            (7_380_000.0, "2h03m"),
            (363_600_000.0, "4d05h"),
            (1.0e11, "1157d"),
        ];
        for (ms, text) in cases {
            assert_eq!(millis(ms), text);
            assert!(text.len() <= 6);
        }
        assert_eq!((seconds(0), seconds(59), seconds(60)), ("0s".into(), "59s".into(), "1m00s".into()));
    }
}
