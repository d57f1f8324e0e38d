//! What was learnt about names, until its time is up.
//!
//! The entries stand in a ring. When it is full a clock hand picks the victim: it passes over entries
//! that were used since its last visit and takes the first that was not, or that has expired; after
//! [`DNS_CACHE_LOOKS`] entries it takes the one under it. So an eviction costs the same however large
//! the table is, and names in use stay.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::Learnt;
use crate::limits::DNS_CACHE_LOOKS;

#[derive(Debug)]
struct CachedName {
    name: Arc<str>,
    answer: Learnt,
    expires: Instant,
    used: bool,
}

/// Names and their answers, bounded.
#[derive(Debug)]
pub(super) struct Cache {
    capacity: usize,
    places: HashMap<Arc<str>, usize>,
    ring: Vec<CachedName>,
    hand: usize,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Cache {
        Cache { capacity, places: HashMap::new(), ring: Vec::new(), hand: 0 }
    }

    /// The answer, if it is known and still good. No allocation.
    pub(super) fn get(&mut self, name: &str, now: Instant) -> Option<Learnt> {
        let entry = &mut self.ring[*self.places.get(name)?];
        if entry.expires <= now {
            return None;
        }
        entry.used = true;
        Some(entry.answer.clone())
    }

    /// Remembers `answer` until `expires`, in place of what was known of the name.
    pub(super) fn insert(&mut self, name: &Arc<str>, answer: Learnt, expires: Instant, now: Instant) {
        if self.capacity == 0 {
            return;
        }
        if let Some(&place) = self.places.get(name) {
            let entry = &mut self.ring[place];
            (entry.answer, entry.expires) = (answer, expires);
            return;
        }
        let entry = CachedName { name: Arc::clone(name), answer, expires, used: false };
        let place = if self.ring.len() < self.capacity {
            self.ring.push(entry);
            self.ring.len() - 1
        } else {
            let place = self.victim(now);
            self.places.remove(&self.ring[place].name);
            self.ring[place] = entry;
            place
        };
        self.places.insert(Arc::clone(name), place);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Cache::new(self.capacity);
    }

    /// The place to reuse; the ring is full and not empty.
    fn victim(&mut self, now: Instant) -> usize {
        for _ in 0..DNS_CACHE_LOOKS {
            let place = self.advance();
            let entry = &mut self.ring[place];
            if entry.expires <= now || !entry.used {
                return place;
            }
            entry.used = false;
        }
        self.advance()
    }

    fn advance(&mut self) -> usize {
        let place = self.hand;
        self.hand = (self.hand + 1) % self.ring.len();
        place
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dns::{DnsData, DnsError};

    const TTL: Duration = Duration::from_secs(60);

    fn found(n: u8) -> Learnt {
        Ok(DnsData::Addresses(Arc::from([std::net::IpAddr::from([192, 0, 2, n])])))
    }

    fn name(n: usize) -> Arc<str> {
        format!("n{n}.example").into()
    }

    #[test]
    fn an_entry_ends_at_its_time_and_can_be_replaced() {
        let mut cache = Cache::new(4);
        let now = Instant::now();
        cache.insert(&name(1), found(1), now + TTL, now);
        assert_eq!(cache.get("n1.example", now + TTL - Duration::from_nanos(1)), Some(found(1)));
        assert_eq!(cache.get("n1.example", now + TTL), None);
        cache.insert(&name(1), Err(DnsError::NotFound), now + 2 * TTL, now + TTL);
        assert_eq!(cache.get("n1.example", now + TTL), Some(Err(DnsError::NotFound)));
        assert_eq!((cache.ring.len(), cache.places.len()), (1, 1));
    }

    #[test]
    fn the_table_is_bounded_and_a_name_in_use_stays() {
        let mut cache = Cache::new(8);
        let now = Instant::now();
        cache.insert(&name(0), found(0), now + TTL, now);
        for n in 1..1000 {
            assert!(cache.get("n0.example", now).is_some(), "evicted by {n}");
            cache.insert(&name(n), found(1), now + TTL, now);
            assert!(cache.ring.len() <= 8 && cache.places.len() == cache.ring.len());
        }
    }

    #[test]
    fn an_expired_entry_goes_first_and_all_in_use_still_evicts() {
        let mut cache = Cache::new(3);
        let now = Instant::now();
        for n in 0..3 {
            cache.insert(&name(n), found(0), now + TTL * (n as u32 + 1), now);
            cache.get(&name(n), now);
        }
        cache.insert(&name(9), found(9), now + 9 * TTL, now + TTL);
        assert_eq!(cache.get("n9.example", now), Some(found(9)));
        assert_eq!(cache.get("n0.example", now), None);
        assert!(cache.get("n1.example", now).is_some() && cache.get("n2.example", now).is_some());
        cache.insert(&name(10), found(10), now + 9 * TTL, now + TTL);
        assert_eq!(cache.get("n10.example", now), Some(found(10)));
    }

    #[test]
    fn capacity_zero_remembers_nothing() {
        let mut cache = Cache::new(0);
        let now = Instant::now();
        cache.insert(&name(1), found(1), now + TTL, now);
        assert_eq!(cache.get("n1.example", now), None);
    }
}
