//! Failed logins and refusals in the log: a line at once for a source that was quiet, then one a second at most with
//! the count in between. Nobody can fill the log, and no refusal is missing from the counts.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use crate::limits;
use crate::session::{DialError, Failure};
use crate::shares::Source;

/// What one worker has still to say.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    sources: HashMap<Source, RefusalCounts>,
    /// Every key of `sources` once, with the time of its last line, the oldest first.
    said: VecDeque<(Instant, Source)>,
    /// The counts of sources that found no room in `sources`.
    others: RefusalCounts,
}

/// What was not said yet of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RefusalCounts {
    failed_logins: u64,
    refused: u64,
}

/// What a log line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    FailedLogin,
    Refused,
}

impl Refusals {
    /// Takes note of a session that failed; says so where its source was quiet.
    pub(super) fn note(&mut self, client: IpAddr, failure: &Failure, now: Instant) {
        let Some(kind) = Kind::of(failure) else { return };
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let source = Source::from(client);
        if let Some(counts) = self.sources.get_mut(&source) {
            return counts.add(kind);
        }
        if self.sources.len() >= limits::REFUSAL_SOURCES_MAX {
            return self.others.add(kind);
        }
        let mut first = RefusalCounts::default();
        first.add(kind);
        first.say(Some(source));
        self.sources.insert(source, RefusalCounts::default());
        self.said.push_back((now, source));
    }

    /// When there is more to say.
    pub(super) fn due(&self) -> Option<Instant> {
        self.said.front().map(|(at, _)| *at + limits::REFUSAL_LOG_INTERVAL)
    }

    /// Says what is due, and forgets the sources that have been quiet.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        // All others together are one source more, and only there while the table is full.
        std::mem::take(&mut self.others).say(None);
        while self.due().is_some_and(|due| due <= now) {
            let Some((_, source)) = self.said.pop_front() else { return };
            match self.sources.get_mut(&source).map(std::mem::take) {
                Some(counts) if counts != RefusalCounts::default() => {
                    counts.say(Some(source));
                    self.said.push_back((now, source));
                }
                _ => drop(self.sources.remove(&source)),
            }
        }
    }
}

impl RefusalCounts {
    fn add(&mut self, kind: Kind) {
        match kind {
            Kind::FailedLogin => self.failed_logins += 1,
            Kind::Refused => self.refused += 1,
        }
    }

    /// A line, where there is something to tell; no source stands for several.
    fn say(self, source: Option<Source>) {
        if self == RefusalCounts::default() {
            return;
        }
        let RefusalCounts { failed_logins, refused } = self;
        match source {
            Some(source) => tracing::info!(%source, failed_logins, refused, "sessions refused"),
            None => tracing::info!(failed_logins, refused, "sessions of further sources refused"),
        }
    }
}

impl Kind {
    /// Nothing of what went wrong without anybody's will: a target that is not there, a client that left.
    fn of(failure: &Failure) -> Option<Kind> {
        match failure {
            Failure::AuthFailed | Failure::Context(_) => Some(Kind::FailedLogin),
            Failure::NoMethod
            | Failure::Level(_)
            | Failure::Denied(_)
            | Failure::SourceLimit
            | Failure::Unrecorded
            | Failure::Dial(DialError::Ourselves | DialError::Forbidden) => Some(Kind::Refused),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn source(n: usize) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + u32::try_from(n).unwrap()).into()
    }

    /// The table holds the sources of one interval and no more; what finds no room in it is counted.
    #[test]
    fn sources_are_bounded_and_forgotten_once_they_are_quiet() {
        // Without a subscriber no level is enabled.
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        for n in 0..2 * limits::REFUSAL_SOURCES_MAX {
            refusals.note(source(n), &Failure::AuthFailed, now);
            refusals.note(source(n), &Failure::NoMethod, now);
            refusals.note(source(n), &Failure::ClientLeft, now);
        }
        let full = limits::REFUSAL_SOURCES_MAX;
        assert_eq!((refusals.sources.len(), refusals.said.len()), (full, full));
        assert_eq!(refusals.others, RefusalCounts { failed_logins: full as u64, refused: full as u64 });
        assert_eq!(
            refusals.sources[&Source::from(source(0))],
            RefusalCounts { failed_logins: 0, refused: 1 }
        );

        let later = now + limits::REFUSAL_LOG_INTERVAL;
        refusals.flush(later);
        assert_eq!((refusals.sources.len(), refusals.others), (full, RefusalCounts::default()));
        refusals.note(source(3), &Failure::AuthFailed, later);
        refusals.flush(later + limits::REFUSAL_LOG_INTERVAL);
        assert_eq!((refusals.sources.len(), refusals.said.len()), (1, 1));
        refusals.flush(later + 2 * limits::REFUSAL_LOG_INTERVAL);
        assert_eq!((refusals.sources.len(), refusals.due()), (0, None));
    }
}
