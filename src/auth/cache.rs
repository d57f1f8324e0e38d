//! The answers of recent verifications, so that a user with many sessions pays for one argon2id.
//!
//! It holds no credentials: entries are found by a keyed MAC (BLAKE2s, RFC 7693) of them, under a
//! random key that never leaves the cache. One for each worker and one for the verifier, no lock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blake2::Blake2sMac256;
use blake2::digest::{FixedOutput, KeyInit, Update};
use jiff::civil::Date;
use zeroize::Zeroizing;

use super::{Identity, ValidLogin};
use crate::limits::REFUSED_TTL;
use crate::proto::userpass::Credentials;
use crate::shares::Source;

/// Credentials as the cache knows them. Whoever lacks the key can neither compute nor choose one, so
/// the table's lookup may compare it in the ordinary way.
pub type Tag = [u8; 32];

/// A cache of verified credentials.
pub struct VerifiedCache {
    key: Zeroizing<[u8; 32]>,
    good: TimedTable<ValidLogin>,
    bad: TimedTable<()>,
}

impl VerifiedCache {
    /// A cache that keeps up to `capacity` accepted and as many refused credentials, accepted ones for
    /// `ttl` after they were verified, refused ones for `limits::REFUSED_TTL` if that is shorter.
    pub fn new(capacity: usize, ttl: Duration) -> VerifiedCache {
        VerifiedCache {
            key: Zeroizing::new(rand::random()),
            good: TimedTable::new(capacity, ttl),
            bad: TimedTable::new(capacity, ttl.min(REFUSED_TTL)),
        }
    }

    /// The answer to these credentials: `Some(Some(_))` accepted, `Some(None)` refused, `None` unknown. Which day it is, in
    /// UTC, is asked for where the user has a last one, on which the answer ends whatever its age.
    pub fn get(
        &mut self,
        tag: &Tag,
        now: Instant,
        today: impl FnOnce() -> Date,
    ) -> Option<Option<ValidLogin>> {
        match self.good.get(tag, now) {
            Some(admitted) if admitted.last_day.is_none_or(|last| today() <= last) => Some(Some(admitted)),
            Some(_) => {
                self.good.remove(tag);
                None
            }
            None => self.bad.get(tag, now).map(|()| None),
        }
    }

    /// Keeps the answer of a verification that ended at `now`. An answer that is still kept is not
    /// prolonged: credentials are verified anew once in every ttl.
    pub fn insert(&mut self, tag: Tag, answer: Option<ValidLogin>, now: Instant) {
        match answer {
            Some(admitted) => {
                self.bad.remove(&tag);
                self.good.insert(tag, admitted, now);
            }
            None => {
                self.good.remove(&tag);
                self.bad.insert(tag, (), now);
            }
        }
    }

    /// Forgets these users' answers and all refusals, for when the users have changed.
    pub fn forget(&mut self, users: &HashSet<Arc<str>>) {
        let stays = |identity: &Identity| identity.user().is_none_or(|user| !users.contains(user));
        self.good.entries.retain(|_, entry| stays(&entry.value.identity));
        self.bad.clear();
    }

    /// The tag of these credentials, from one source or from any.
    pub fn tag(&self, source: Option<Source>, user: &[u8], password: &[u8]) -> Tag {
        self.mac(source, user, Some(password))
    }

    /// The tag of these credentials, which may be a name alone.
    pub fn tag_of(&self, source: Option<Source>, credentials: &Credentials) -> Tag {
        self.mac(source, &credentials.user, credentials.password())
    }

    fn mac(&self, source: Option<Source>, user: &[u8], password: Option<&[u8]>) -> Tag {
        let mut mac = Blake2sMac256::new((&*self.key).into());
        let source: &[u8] = match &source {
            None => &[],
            Some(Source::V4(source)) => source,
            Some(Source::V6(source)) => source,
        };
        // Lengths first: "ab" with "c" is not "a" with "bc", and a name alone not one with an empty password.
        for part in [Some(source), Some(user), password] {
            mac.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            mac.update(part.unwrap_or_default());
        }
        mac.finalize_fixed().into()
    }
}

impl fmt::Debug for VerifiedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCache")
            .field("good", &self.good.entries.len())
            .field("bad", &self.bad.entries.len())
            .finish_non_exhaustive()
    }
}

/// A bounded table whose entries live equally long, so that the oldest is also the first to expire.
struct TimedTable<V> {
    capacity: usize,
    ttl: Duration,
    entries: HashMap<Tag, TimedEntry<V>>,
    /// Insertions in order of time; one whose entry has since gone or is a younger one counts for nothing.
    order: VecDeque<(Tag, u64)>,
    serial: u64,
}

struct TimedEntry<V> {
    value: V,
    serial: u64,
    since: Instant,
}

impl<V: Clone> TimedTable<V> {
    fn new(capacity: usize, ttl: Duration) -> TimedTable<V> {
        TimedTable { capacity, ttl, entries: HashMap::new(), order: VecDeque::new(), serial: 0 }
    }

    fn get(&mut self, tag: &Tag, now: Instant) -> Option<V> {
        let entry = self.entries.get(tag)?;
        if now.saturating_duration_since(entry.since) < self.ttl {
            return Some(entry.value.clone());
        }
        self.entries.remove(tag);
        None
    }

    fn insert(&mut self, tag: Tag, value: V, now: Instant) {
        if self.capacity == 0 || self.get(&tag, now).is_some() {
            return;
        }
        while self.order.len() >= self.capacity {
            self.forget_oldest();
        }
        self.serial += 1;
        self.order.push_back((tag, self.serial));
        self.entries.insert(tag, TimedEntry { value, serial: self.serial, since: now });
    }

    fn forget_oldest(&mut self) {
        if let Some((tag, serial)) = self.order.pop_front()
            && self.entries.get(&tag).is_some_and(|entry| entry.serial == serial)
        {
            self.entries.remove(&tag);
        }
    }

    fn remove(&mut self, tag: &Tag) {
        self.entries.remove(tag);
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn id(name: &str) -> Option<ValidLogin> {
        Some(Identity::User(name.into()).into())
    }

    fn no_day() -> Date {
        panic!("the day was asked for")
    }

    fn get(
        cache: &mut VerifiedCache,
        user: &[u8],
        password: &[u8],
        now: Instant,
    ) -> Option<Option<ValidLogin>> {
        let tag = cache.tag(None, user, password);
        cache.get(&tag, now, no_day)
    }

    fn insert(
        cache: &mut VerifiedCache,
        user: &[u8],
        password: &[u8],
        answer: Option<ValidLogin>,
        now: Instant,
    ) {
        let tag = cache.tag(None, user, password);
        cache.insert(tag, answer, now);
    }

    #[test]
    fn what_one_source_was_told_another_was_not() {
        let now = Instant::now();
        let mut cache = VerifiedCache::new(8, TTL);
        let [one, two] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|source| Some(Source::V4(source)));
        let tag = cache.tag(one, b"alice", b"pw");
        cache.insert(tag, id("alice"), now);
        assert_eq!(cache.get(&tag, now, no_day), Some(id("alice")));
        for other in [two, None] {
            let tag = cache.tag(other, b"alice", b"pw");
            assert_eq!(cache.get(&tag, now, no_day), None);
        }
    }

    #[test]
    fn the_answers_of_changed_users_are_forgotten_and_no_others() {
        let now = Instant::now();
        let mut cache = VerifiedCache::new(8, TTL);
        insert(&mut cache, b"alice", b"pw", id("alice"), now);
        insert(&mut cache, b"bob", b"pw", id("bob"), now);
        insert(&mut cache, b"carol", b"pw", None, now);
        cache.forget(&HashSet::from([Arc::from("alice"), Arc::from("dave")]));
        assert_eq!(get(&mut cache, b"alice", b"pw", now), None);
        assert_eq!(get(&mut cache, b"bob", b"pw", now), Some(id("bob")));
        assert_eq!(get(&mut cache, b"carol", b"pw", now), None);
    }

    #[test]
    fn keeps_both_answers_and_tells_the_boundary_of_user_and_password() {
        let now = Instant::now();
        let mut cache = VerifiedCache::new(8, TTL);
        assert_eq!(get(&mut cache, b"ab", b"c", now), None);
        insert(&mut cache, b"ab", b"c", id("ab"), now);
        insert(&mut cache, b"ab", b"d", None, now);
        assert_eq!(get(&mut cache, b"ab", b"c", now), Some(id("ab")));
        assert_eq!(get(&mut cache, b"ab", b"d", now), Some(None));
        for (user, password) in [(&b"a"[..], &b"bc"[..]), (b"abc", b""), (b"", b"abc"), (b"ab", b"c\0")] {
            assert_eq!(get(&mut cache, user, password, now), None);
        }
    }

    #[test]
    fn the_key_differs_from_cache_to_cache() {
        let (one, two) = (VerifiedCache::new(8, TTL), VerifiedCache::new(8, TTL));
        let named = Credentials { user: b"alice".to_vec(), password: None };
        assert_ne!(one.tag_of(None, &named), one.tag(None, b"alice", b""), "a name alone");
        assert_ne!(one.tag(None, b"alice", b"pw"), two.tag(None, b"alice", b"pw"));
        assert_eq!(one.tag(None, b"alice", b"pw"), one.tag(None, b"alice", b"pw"));
    }

    #[test]
    fn an_accepted_login_expires_after_its_ttl_however_often_it_is_used() {
        let now = Instant::now();
        let mut cache = VerifiedCache::new(8, TTL);
        insert(&mut cache, b"alice", b"pw", id("alice"), now);
        let last = now + TTL - Duration::from_nanos(1);
        assert_eq!(get(&mut cache, b"alice", b"pw", last), Some(id("alice")));
        insert(&mut cache, b"alice", b"pw", id("alice"), last);
        assert_eq!(get(&mut cache, b"alice", b"pw", now + TTL), None);
        insert(&mut cache, b"alice", b"pw", id("alice"), now + TTL);
        assert_eq!(get(&mut cache, b"alice", b"pw", now + TTL), Some(id("alice")));
    }

    /// The clock may be set meanwhile, too: the day counts, and no time that was left.
    #[test]
    fn an_accepted_login_ends_with_the_users_last_day() {
        let (now, mut cache) = (Instant::now(), VerifiedCache::new(8, TTL));
        let [last, after] = [30, 31].map(|day| jiff::civil::date(2027, 1, day));
        let tag = cache.tag(None, b"alice", b"pw");
        let alice = id("alice").map(|alice| ValidLogin { last_day: Some(last), ..alice });
        cache.insert(tag, alice.clone(), now);
        assert_eq!(cache.get(&tag, now, || last), Some(alice));
        assert_eq!(cache.get(&tag, now, || after), None);
        assert_eq!(cache.get(&tag, now, || last), None, "it was forgotten");
    }

    #[test]
    fn a_refusal_expires_sooner_and_never_later() {
        let now = Instant::now();
        let mut cache = VerifiedCache::new(8, TTL);
        insert(&mut cache, b"alice", b"no", None, now);
        assert_eq!(get(&mut cache, b"alice", b"no", now + REFUSED_TTL), None);
        let mut short = VerifiedCache::new(8, Duration::from_secs(1));
        insert(&mut short, b"alice", b"no", None, now);
        assert_eq!(get(&mut short, b"alice", b"no", now + Duration::from_secs(1)), None);
    }

    #[test]
    fn refusals_push_out_refusals_alone() {
        let now = Instant::now();
        let mut cache = VerifiedCache::new(100, TTL);
        for n in 0..100_u32 {
            insert(&mut cache, b"good", &n.to_le_bytes(), id("good"), now);
        }
        for n in 0..10_000_u32 {
            insert(&mut cache, b"bad", &n.to_le_bytes(), None, now);
        }
        assert_eq!(
            (cache.good.entries.len(), cache.bad.entries.len(), cache.bad.order.len()),
            (100, 100, 100)
        );
        assert!((0..100_u32).all(|n| get(&mut cache, b"good", &n.to_le_bytes(), now) == Some(id("good"))));
        assert_eq!(get(&mut cache, b"bad", &9_999_u32.to_le_bytes(), now), Some(None));
        assert_eq!(get(&mut cache, b"bad", &0_u32.to_le_bytes(), now), None);
    }

    #[test]
    fn a_changed_answer_replaces_the_old_one_and_stays_bounded() {
        let now = Instant::now();
        let mut cache = VerifiedCache::new(4, TTL);
        for _ in 0..1_000 {
            insert(&mut cache, b"alice", b"pw", None, now);
            assert_eq!(get(&mut cache, b"alice", b"pw", now), Some(None));
            insert(&mut cache, b"alice", b"pw", id("alice"), now);
            assert_eq!(get(&mut cache, b"alice", b"pw", now), Some(id("alice")));
        }
        assert!(cache.good.order.len() <= 4 && cache.bad.order.len() <= 4);
    }

    #[test]
    fn no_capacity_keeps_nothing_and_debug_shows_counts() {
        let now = Instant::now();
        let mut cache = VerifiedCache::new(0, TTL);
        insert(&mut cache, b"alice", b"pw", id("alice"), now);
        assert_eq!(get(&mut cache, b"alice", b"pw", now), None);
        assert_eq!(format!("{cache:?}"), "VerifiedCache { good: 0, bad: 0, .. }");
    }
}
