//! How many sessions each source has, over all workers, where that is limited (`limits.per_source`).
//!
//! Asked when a connection is accepted, when its request has come and when its descriptors are closed: never for a byte.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use crate::limits;
use crate::shares::Source;

/// What every source has. An entry lives as long as a connection of its source, so there are as many at most as
/// descriptors; each worker meets another only at the same part of the table.
#[derive(Debug)]
pub struct Sources {
    /// Asked by every worker, and written by a reload alone.
    limit: AtomicUsize,
    hasher: RandomState,
    parts: Box<[Mutex<HashTable<SourceCount>>]>,
}

/// What one source has.
#[derive(Debug)]
struct SourceCount {
    source: Source,
    /// Connections, from accept to the end of their last descriptor.
    connections: usize,
    /// Connections whose request was taken.
    sessions: usize,
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub struct SourcePlace {
    sources: Arc<Sources>,
    source: Source,
    /// Computed once for all three times that it is looked up: as dear as the rest of them.
    hash: u64,
    is_session: bool,
}

impl Sources {
    /// Counts sessions up to `limit` of each source.
    pub fn new(limit: usize) -> Sources {
        let parts = (0..limits::SOURCE_PARTS).map(|_| Mutex::default()).collect();
        Sources { limit: AtomicUsize::new(limit), hasher: RandomState::new(), parts }
    }

    /// Counts up to another limit from now on. What is there already is not ended, and counts.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How many sessions a source may have.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// A place for a connection that came. None where its source has twice as many as it may have sessions: those in
    /// excess wait for their requests to be refused, and must not be without a bound either.
    pub fn enter(self: &Arc<Sources>, source: Source) -> Option<SourcePlace> {
        let hash = self.hasher.hash_one(source);
        let mut part = self.part(hash);
        let is_of = |held: &SourceCount| held.source == source;
        let held = part.entry(hash, is_of, |held| self.hasher.hash_one(held.source));
        let mut held = held.or_insert_with(|| SourceCount { source, connections: 0, sessions: 0 });
        let held = held.get_mut();
        if held.connections >= self.limit().saturating_mul(2) {
            return None;
        }
        held.connections += 1;
        drop(part);
        Some(SourcePlace { sources: self.clone(), source, hash, is_session: false })
    }

    /// How many sessions a source has.
    pub fn sessions_of(&self, source: Source) -> usize {
        let hash = self.hasher.hash_one(source);
        self.part(hash).find(hash, |held| held.source == source).map_or(0, |held| held.sessions)
    }

    /// The sources of one part of the table, and how many sessions each has; `None` where there is no such part.
    pub fn sessions_of_part(&self, part: usize) -> Option<Vec<(Source, usize)>> {
        let part = self.parts.get(part)?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(part.iter().map(|held| (held.source, held.sessions)).collect())
    }

    /// A panic cannot leave a count half changed, so what a poisoned lock holds is right. The table goes by other bits of
    /// the hash than this.
    fn part(&self, hash: u64) -> MutexGuard<'_, HashTable<SourceCount>> {
        let at = (hash >> 32) as usize % self.parts.len();
        self.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourcePlace {
    /// Counts the connection as a session, as its request has come; false where its source has as many as it may have.
    #[must_use]
    pub fn become_session(&mut self) -> bool {
        let SourcePlace { sources, source, hash, is_session } = self;
        if !*is_session && let Some(held) = sources.part(*hash).find_mut(*hash, |held| held.source == *source)
        {
            *is_session = held.sessions < sources.limit();
            held.sessions += usize::from(*is_session);
        }
        *is_session
    }

    /// The session is over, and the connection stays.
    pub fn end_session(&mut self) {
        let SourcePlace { sources, source, hash, is_session } = self;
        if std::mem::take(is_session)
            && let Some(held) = sources.part(*hash).find_mut(*hash, |held| held.source == *source)
        {
            held.sessions -= 1;
        }
    }
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        let SourcePlace { sources, source, hash, is_session } = self;
        let mut part = sources.part(*hash);
        if let Ok(mut entry) = part.find_entry(*hash, |held| held.source == *source) {
            let held = entry.get_mut();
            held.connections -= 1;
            held.sessions -= usize::from(*is_session);
            if held.connections == 0 {
                entry.remove();
            }
        }
    }
}

/// The sessions that sources have at the server before this one, counted here until this is dropped.
#[derive(Debug)]
pub struct CarriedSources {
    sources: Arc<Sources>,
    held: HashMap<Source, usize>,
}

impl CarriedSources {
    /// Nothing so far.
    pub fn new(sources: Arc<Sources>) -> CarriedSources {
        CarriedSources { sources, held: HashMap::new() }
    }

    /// So many sessions a source has there.
    pub fn set(&mut self, source: Source, sessions: usize) {
        let before = self.held.insert(source, sessions).unwrap_or(0);
        if sessions == 0 {
            self.held.remove(&source);
        }
        self.sources.carry(source, before, sessions);
    }
}

impl Drop for CarriedSources {
    fn drop(&mut self) {
        std::mem::take(&mut self.held)
            .into_iter()
            .for_each(|(source, sessions)| self.sources.carry(source, sessions, 0));
    }
}

impl Sources {
    /// A source has this many sessions elsewhere, in place of so many before.
    fn carry(&self, source: Source, before: usize, sessions: usize) {
        let hash = self.hasher.hash_one(source);
        let mut part = self.part(hash);
        let is_of = |held: &SourceCount| held.source == source;
        let held = part.entry(hash, is_of, |held| self.hasher.hash_one(held.source));
        let mut entry = held.or_insert_with(|| SourceCount { source, connections: 0, sessions: 0 });
        let held = entry.get_mut();
        held.connections = (held.connections + sessions).saturating_sub(before);
        held.sessions = (held.sessions + sessions).saturating_sub(before);
        if held.connections == 0 {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().unwrap())
    }

    fn entries(sources: &Sources) -> usize {
        sources.parts.iter().map(|part| part.lock().unwrap().len()).sum()
    }

    #[test]
    fn a_source_has_so_many_sessions_and_again_as_many_connections() {
        let sources = Arc::new(Sources::new(2));
        let one = source("192.0.2.1");
        let mut places: Vec<SourcePlace> = std::iter::from_fn(|| sources.enter(one)).collect();
        assert_eq!(places.len(), 4);
        let sessions: Vec<bool> = places.iter_mut().map(SourcePlace::become_session).collect();
        assert_eq!(sessions, [true, true, false, false]);
        assert!(places[0].become_session(), "asked twice, counted once");
        let mut other = sources.enter(source("192.0.2.2")).unwrap();
        assert!(other.become_session());
        places.remove(0);
        assert!(places[1].become_session() && !places[2].become_session());
        assert!(sources.enter(one).is_some());
        drop((places, other));
        assert_eq!(entries(&sources), 0);
    }

    /// A connection of HTTP is a session for as long as a request of it lasts.
    #[test]
    fn a_connection_outlives_its_session() {
        let sources = Arc::new(Sources::new(1));
        let one = source("192.0.2.1");
        let (mut first, mut second) = (sources.enter(one).unwrap(), sources.enter(one).unwrap());
        assert!(first.become_session() && !second.become_session());
        first.end_session();
        first.end_session();
        assert!(second.become_session() && !first.become_session());
        assert!(sources.enter(one).is_none(), "it counts as a connection");
        drop((first, second));
        assert_eq!(entries(&sources), 0);
    }

    #[test]
    fn another_limit_counts_what_is_there() {
        let sources = Arc::new(Sources::new(2));
        let one = source("192.0.2.1");
        let mut places: Vec<SourcePlace> = std::iter::from_fn(|| sources.enter(one)).collect();
        assert!(places[0].become_session() && places[1].become_session());
        sources.set_limit(3);
        assert!(places[2].become_session() && !places[3].become_session());
        sources.set_limit(1);
        places.truncate(1);
        assert!(places[0].become_session(), "it was one before");
        assert!(!sources.enter(one).unwrap().become_session());
    }

    #[test]
    fn who_is_turned_away_leaves_nothing() {
        let sources = Arc::new(Sources::new(1));
        let one = source("2001:db8::1");
        let places = (sources.enter(one).unwrap(), sources.enter(source("2001:db8::2")).unwrap());
        assert!(sources.enter(one).is_none());
        drop(places);
        assert_eq!(entries(&sources), 0);
    }

    #[test]
    fn sessions_of_a_source_elsewhere_count_until_nobody_tells_of_them() {
        let sources = Arc::new(Sources::new(2));
        let mut carried = CarriedSources::new(sources.clone());
        carried.set(source("192.0.2.1"), 1);
        let mut one = sources.enter(source("192.0.2.1")).unwrap();
        assert!(one.become_session());
        let mut two = sources.enter(source("192.0.2.1")).unwrap();
        assert!(!two.become_session());
        carried.set(source("192.0.2.1"), 0);
        assert!(two.become_session());
        drop((one, two));
        assert_eq!(entries(&sources), 0);
        carried.set(source("192.0.2.2"), 5);
        assert!(sources.enter(source("192.0.2.2")).is_none());
        drop(carried);
        assert_eq!(entries(&sources), 0);
    }
}
