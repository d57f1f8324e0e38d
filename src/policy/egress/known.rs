//! Which addresses of a prefix are known: those that failed, and those that are set by hand. A prefix has more addresses than
//! anybody counts; nearly all of them fare as the prefix does.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::health::Health;
use crate::limits;

/// Addresses of a prefix, each with a health of its own, in a table of fixed size: whoever looks for one compares
/// [`limits::KNOWN_WAYS`] words.
///
/// A place is taken by a compare-and-swap of its key. It is given to another address only while nothing is wrong with the one
/// that has it: a worker that found the place before may then note a failure of the one with the other, which weighs as much
/// as one failure does.
#[derive(Debug)]
pub(super) struct KnownAddresses {
    places: Box<[KnownAddress]>,
    /// Who they are, for whoever looks. Written where one comes, and never waited for.
    names: Mutex<Vec<(u64, IpAddr)>>,
}

/// One of them.
#[derive(Debug, Default)]
pub(super) struct KnownAddress {
    /// The hash of the address; 0 where there is none.
    key: AtomicU64,
    /// Attempts since it is known.
    pub(super) attempts: AtomicU64,
    pub(super) health: Health,
}

impl Default for KnownAddresses {
    fn default() -> KnownAddresses {
        let places = (0..limits::KNOWN_OF_PREFIX).map(|_| KnownAddress::default()).collect();
        KnownAddresses { places, names: Mutex::default() }
    }
}

impl KnownAddresses {
    /// The address of this hash, where it is known.
    pub(super) fn find(&self, key: u64) -> Option<&KnownAddress> {
        let key = key.max(1);
        self.ways(key).iter().find(|place| place.key.load(Ordering::Relaxed) == key)
    }

    /// The same, known from now on; `None` where all places that it might have are taken by addresses that are left alone.
    pub(super) fn learn(&self, key: u64, address: IpAddr, now_ms: u64) -> Option<&KnownAddress> {
        if let Some(known) = self.find(key) {
            return Some(known);
        }
        let key = key.max(1);
        for place in self.ways(key) {
            let held = place.key.load(Ordering::Relaxed);
            if held != 0 && !place.health.is_forgettable(now_ms) {
                continue;
            }
            if place.key.compare_exchange(held, key, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                place.attempts.store(0, Ordering::Relaxed);
                place.health.forget();
                self.name(key, address);
                return Some(place);
            }
        }
        None
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (IpAddr, &Health)> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.places.iter().filter_map(move |place| {
            let key = place.key.load(Ordering::Relaxed);
            let (_, address) = names.iter().find(|(named, _)| *named == key && key != 0)?;
            Some((*address, &place.health))
        })
    }

    fn ways(&self, key: u64) -> &[KnownAddress] {
        let at = key as usize % (limits::KNOWN_OF_PREFIX / limits::KNOWN_WAYS) * limits::KNOWN_WAYS;
        &self.places[at..at + limits::KNOWN_WAYS]
    }

    /// Says who it is. It is come to once for each address that fails; whoever looks at the names holds them as long as a copy
    /// of at most [`limits::KNOWN_OF_PREFIX`] takes.
    fn name(&self, key: u64, address: IpAddr) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|(named, _)| {
            *named != key && self.places.iter().any(|place| place.key.load(Ordering::Relaxed) == *named)
        });
        names.push((key, address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u64) -> IpAddr {
        std::net::Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number)).into()
    }

    #[test]
    fn an_address_that_is_left_alone_is_not_forgotten_and_others_are() {
        let known = KnownAddresses::default();
        // All of one set of places.
        let key = |nth: u64| nth * (limits::KNOWN_OF_PREFIX / limits::KNOWN_WAYS) as u64 + 16;
        for nth in 1..=3 {
            assert!(known.learn(key(nth), address(nth), 0).unwrap().health.set_drained(true, 0));
        }
        for nth in 4..100 {
            assert!(known.learn(key(nth), address(nth), 0).is_some(), "in the place of the one before");
        }
        assert!((1..=3).all(|nth| known.find(key(nth)).is_some()));
        assert!((4..99).all(|nth| known.find(key(nth)).is_none()));
        known.find(key(99)).unwrap().health.set_drained(true, 0);
        assert!(known.learn(key(100), address(100), 0).is_none());
        let mut all: Vec<IpAddr> = known.all().map(|(address, _)| address).collect();
        all.sort();
        assert_eq!(all, [1, 2, 3, 99].map(address));
    }
}
