//! Failed logins and refusals in the log, and what is allowed where that is asked for: a line at once for a source that was quiet, then one a second at most with
//! the count in between. Nobody can fill the log, and no refusal is missing from the counts.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::username::ParameterFault;
use crate::limits;
use crate::policy::Denial;
use crate::proto::ProtoError;
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct RefusalCounts {
    failed_logins: u64,
    /// What was wrong last with parameters of a session beside a name.
    parameters: Option<ParameterFault>,
    refused: u64,
    /// The rule that refused last, where a rule did.
    refused_by: Option<Arc<str>>,
    /// The limit that was reached last.
    limited_by: Option<Arc<str>>,
    /// Why there was no pool to leave from last, with what was asked for.
    no_pool: Option<Arc<str>>,
    /// Why the first of those was refused that nothing of these refused: a rule, a limit or a pool tells enough.
    why: Option<String>,
    allowed: u64,
    /// The rule that allowed last.
    allowed_by: Option<Arc<str>>,
}

/// What a log line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    FailedLogin,
    BadParameters(ParameterFault),
    Refused,
    AtLimit,
    NoPool,
    Allowed,
}

impl Refusals {
    /// Takes note of a session that failed, by this rule or limit where one refused it, or for this cause; says so where its source was quiet.
    pub(super) fn note(&mut self, client: IpAddr, failure: &Failure, by: Option<Arc<str>>, now: Instant) {
        let why = || failure.to_string();
        Kind::of(failure).into_iter().for_each(|kind| self.take(client, kind, by.clone(), why, now));
    }

    /// Takes note of a session that was allowed, where the log is to tell of it.
    pub(super) fn note_allowed(&mut self, client: IpAddr, rule: Option<Arc<str>>, now: Instant) {
        self.take(client, Kind::Allowed, rule, String::new, now);
    }

    fn take(
        &mut self,
        client: IpAddr,
        kind: Kind,
        by: Option<Arc<str>>,
        why: impl FnOnce() -> String,
        now: Instant,
    ) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let source = Source::from(client);
        if let Some(counts) = self.sources.get_mut(&source) {
            return counts.add(kind, by, why);
        }
        if self.sources.len() >= limits::REFUSAL_SOURCES_MAX {
            return self.others.add(kind, by, why);
        }
        let mut first = RefusalCounts::default();
        first.add(kind, by, why);
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
    fn add(&mut self, kind: Kind, by: Option<Arc<str>>, why: impl FnOnce() -> String) {
        match kind {
            Kind::FailedLogin => self.failed_logins += 1,
            Kind::BadParameters(fault) => {
                self.failed_logins += 1;
                self.parameters = Some(fault);
            }
            Kind::Refused => {
                self.refused += 1;
                if by.is_none() && self.why.is_none() {
                    self.why = Some(why());
                }
                self.refused_by = by.or(self.refused_by.take());
            }
            Kind::AtLimit => {
                self.refused += 1;
                self.limited_by = by.or(self.limited_by.take());
            }
            Kind::NoPool => {
                self.refused += 1;
                self.no_pool = by.or(self.no_pool.take());
            }
            Kind::Allowed => {
                self.allowed += 1;
                self.allowed_by = by.or(self.allowed_by.take());
            }
        }
    }

    /// A line for what was refused and one for what was allowed, where there is something to tell; no source stands for
    /// several.
    fn say(self, source: Option<Source>) {
        let RefusalCounts { failed_logins, parameters, refused, refused_by, limited_by, no_pool, .. } = &self;
        let RefusalCounts { allowed, allowed_by, .. } = &self;
        let parameters = parameters.map(ParameterFault::name);
        if *failed_logins + *refused > 0 {
            let (rule, limit, no_pool) = (refused_by.as_deref(), limited_by.as_deref(), no_pool.as_deref());
            let why = self.why.as_deref();
            match source {
                Some(source) => {
                    tracing::info!(%source, failed_logins, parameters, refused, rule, limit, no_pool, why, "sessions refused");
                }
                None => {
                    tracing::info!(
                        failed_logins,
                        parameters,
                        refused,
                        rule,
                        limit,
                        no_pool,
                        why,
                        "sessions of further sources refused"
                    )
                }
            }
        }
        if *allowed > 0 {
            let rule = allowed_by.as_deref();
            match source {
                Some(source) => tracing::info!(%source, allowed, rule, "sessions allowed"),
                None => tracing::info!(allowed, rule, "sessions of further sources allowed"),
            }
        }
    }
}

impl Kind {
    /// Nothing of what went wrong without anybody's will: a target that is not there, a client that left.
    fn of(failure: &Failure) -> Option<Kind> {
        match failure {
            Failure::AuthFailed | Failure::Context(_) | Failure::Certificate(_) => Some(Kind::FailedLogin),
            Failure::Parameters(fault) => Some(Kind::BadParameters(*fault)),
            Failure::Limit(_) | Failure::SourceLimit => Some(Kind::AtLimit),
            Failure::Denied(Denial::NoPool(_)) => Some(Kind::NoPool),
            Failure::NoMethod
            | Failure::Level(_)
            | Failure::Denied(_)
            | Failure::NotTaken
            | Failure::NotThrough(_)
            | Failure::NoBalancer
            // Only somebody whose word is taken is asked for a header: one that sends none is set up wrongly.
            | Failure::Protocol(ProtoError::NoProxyHeader | ProtoError::ProxyHeader(_))
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
            refusals.note(source(n), &Failure::AuthFailed, None, now);
            refusals.note(source(n), &Failure::NoMethod, None, now);
            refusals.note(source(n), &Failure::ClientLeft, None, now);
            refusals.note_allowed(source(n), Some("office".into()), now);
        }
        let full = limits::REFUSAL_SOURCES_MAX;
        assert_eq!((refusals.sources.len(), refusals.said.len()), (full, full));
        let counts = |failed_logins, refused, allowed| RefusalCounts {
            failed_logins,
            parameters: None,
            refused,
            refused_by: None,
            limited_by: None,
            no_pool: None,
            why: (refused > 0).then(|| Failure::NoMethod.to_string()),
            allowed,
            allowed_by: Some("office".into()),
        };
        assert_eq!(refusals.others, counts(full as u64, full as u64, full as u64));
        assert_eq!(refusals.sources[&Source::from(source(0))], counts(0, 1, 1));

        let later = now + limits::REFUSAL_LOG_INTERVAL;
        refusals.flush(later);
        assert_eq!((refusals.sources.len(), refusals.others.clone()), (full, RefusalCounts::default()));
        refusals.note(source(3), &Failure::AuthFailed, None, later);
        refusals.flush(later + limits::REFUSAL_LOG_INTERVAL);
        assert_eq!((refusals.sources.len(), refusals.said.len()), (1, 1));
        refusals.flush(later + 2 * limits::REFUSAL_LOG_INTERVAL);
        assert_eq!((refusals.sources.len(), refusals.due()), (0, None));
    }

    /// Nobody had heard of a balancer that is missing in `proxy_from`, or sends no header: its clients were closed in silence.
    #[test]
    fn what_a_listener_does_not_take_is_told() {
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let causes = [
            Failure::NotTaken,
            Failure::NoBalancer,
            Failure::Protocol(ProtoError::NoProxyHeader),
            Failure::Protocol(ProtoError::ProxyHeader("a port")),
            Failure::Protocol(ProtoError::Version(9)),
        ];
        // The first one of a source is said at once.
        refusals.note(source(0), &Failure::NoMethod, None, now);
        causes.iter().for_each(|cause| refusals.note(source(0), cause, None, now));
        let counts = &refusals.sources[&Source::from(source(0))];
        assert_eq!((counts.refused, counts.why.clone()), (4, Some(Failure::NotTaken.to_string())));
    }
}
