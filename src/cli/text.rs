//! Text of others, made fit for a terminal: names are what clients and files say they are.

/// The text with every character that a terminal would obey, hide or turn round written as an escape.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, shown) in [
            ("example.com:443", "example.com:443"),
            ("no \"such\" thing's", "no \"such\" thing's"),
            ("müller 山田", "müller 山田"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\r\nb\t\0", "a\\r\\nb\\t\\0"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("a\u{202e}moc.b", "a\\u{202e}moc.b"),
            ("a\u{200b}\u{feff}\u{2028}b", "a\\u{200b}\\u{feff}\\u{2028}b"),
            ("a\\nb", "a\\\\nb"),
            ("e\u{301}", "e\\u{301}"),
        ] {
            assert_eq!(visible(text), shown, "{text:?}");
        }
    }
}
