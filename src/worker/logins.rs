//! What a worker remembers of logins, and when it may tell.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::auth::{Guesses, Identity, Tag, Verified, VerifiedCache};
use crate::limits;
use crate::proto::userpass::Credentials;
use crate::shares::Source;

/// The day, in UTC. A clock that is beyond what a calendar has is beyond every last day.
pub(crate) fn today() -> Date {
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX);
    now.to_zoned(TimeZone::UTC).date()
}

/// What a worker knows of logins.
#[derive(Debug)]
pub(super) struct Logins {
    /// The answers that were given, by source and credentials.
    known: VerifiedCache,
    guesses: Guesses,
    /// How often the users have changed.
    generation: u64,
}

impl Default for Logins {
    fn default() -> Logins {
        Logins {
            known: VerifiedCache::new(limits::VERIFIED_CACHE_ENTRIES, limits::VERIFIED_CACHE_TTL),
            guesses: Guesses::default(),
            generation: 0,
        }
    }
}

impl Logins {
    /// The answer, where the source was told it before and does not guess. `new`: the source comes with these
    /// credentials now, and not for another try.
    pub(super) fn recall(
        &mut self,
        source: Source,
        credentials: &Credentials,
        new: bool,
        now: Instant,
    ) -> Option<Option<Identity>> {
        let known = self.known.get(&self.tag(source, credentials), now, today);
        let known = known.map(|answer| answer.map(|admitted| admitted.identity));
        match &known {
            Some(Some(_)) if !self.guesses.are_few(source, &credentials.user, now) => None,
            None if new => {
                self.guesses.count(source, &credentials.user, now);
                None
            }
            _ => known,
        }
    }

    /// Remembers an answer, unless the users have changed since.
    pub(super) fn learn(&mut self, verified: &Verified, now: Instant) {
        if verified.admitted.is_some() {
            self.guesses.was_right(verified.source, &verified.credentials.user);
        }
        if verified.generation >= self.generation {
            let tag = self.tag(verified.source, &verified.credentials);
            self.known.insert(tag, verified.admitted.clone(), now);
        }
    }

    /// Whether a login was right by users who have changed since: it is to be verified anew, or one who was removed meanwhile
    /// would come in. What is verified from now on is so by the newest users.
    pub(super) fn is_stale(&self, verified: &Verified) -> bool {
        verified.admitted.is_some() && verified.generation < self.generation
    }

    /// Forgets the answers to the users who changed. `generation` counts the changes of the users file.
    pub(super) fn forget(&mut self, generation: u64, changed: &HashSet<Arc<str>>) {
        self.generation = generation;
        self.known.forget(changed);
    }

    fn tag(&self, source: Source, credentials: &Credentials) -> Tag {
        self.known.tag_of(Some(source), credentials)
    }
}
