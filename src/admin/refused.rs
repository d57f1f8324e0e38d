//! Requests that were refused, in the log: one line in a while, whatever comes.

use std::fmt::Display;
use std::time::Instant;

use crate::limits;

/// What was refused since the last line.
#[derive(Debug, Default)]
pub(super) struct RefusedLines {
    said_at: Option<Instant>,
    /// Those that no line told of.
    unsaid: u64,
}

impl RefusedLines {
    /// One was refused: said at once, or counted for the next line.
    pub(super) fn note(&mut self, now: Instant, who: impl Display, what: &str) {
        if self.is_early(now) {
            self.unsaid += 1;
            return;
        }
        let others = std::mem::take(&mut self.unsaid);
        self.said_at = Some(now);
        tracing::warn!(%who, what, others, "refused at the admin endpoint");
    }

    /// Says how many more there were, where the time for a line has come.
    pub(super) fn tell(&mut self, now: Instant) {
        if self.unsaid > 0 && !self.is_early(now) {
            let others = std::mem::take(&mut self.unsaid);
            self.said_at = Some(now);
            tracing::warn!(others, "refused at the admin endpoint");
        }
    }

    fn is_early(&self, now: Instant) -> bool {
        self.said_at.is_some_and(|at| now < at + limits::ADMIN_REFUSED_LINE_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_line_and_the_next_one_counts_the_rest() {
        let (mut lines, begin) = (RefusedLines::default(), Instant::now());
        for _ in 0..100 {
            lines.note(begin, "somebody", "what");
        }
        assert_eq!(lines.unsaid, 99);
        lines.tell(begin);
        assert_eq!(lines.unsaid, 99);
        lines.tell(begin + limits::ADMIN_REFUSED_LINE_INTERVAL);
        assert_eq!(lines.unsaid, 0);
        lines.note(begin + limits::ADMIN_REFUSED_LINE_INTERVAL, "somebody", "what");
        assert_eq!(lines.unsaid, 1, "a line was said just now");
    }
}
