//! Numbers in sentences.

/// "1 worker", "2 workers".
pub(super) fn count_of(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
