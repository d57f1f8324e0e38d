//! Who tried whether a server is back, without a word on that so far: they let others go first.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits;
use crate::shares::Source;

/// Hashes of a client: of its name, where it has one, and of the network that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trier {
    own: u64,
    network: u64,
}

/// Those who tried a server since it is away. Of more than there are places the ones before are forgotten.
#[derive(Debug, Default)]
pub(super) struct Triers([AtomicU64; limits::PARENT_TRIERS]);

impl Trier {
    /// Who has this name and comes from here.
    pub(super) fn of(name: Option<&[u8]>, from: IpAddr) -> Trier {
        let network = hash(Source::from(from).network());
        Trier { own: name.map_or(network, hash), network }
    }
}

impl Triers {
    /// Whether this one, or another of its network, tried.
    pub(super) fn has(&self, trier: Trier) -> bool {
        self.0.iter().any(|place| [trier.own, trier.network].contains(&place.load(Ordering::Relaxed)))
    }

    /// This one tries.
    pub(super) fn add(&self, trier: Trier) {
        for hash in [trier.own, trier.network] {
            let free = self.0.iter().find(|place| [0, hash].contains(&place.load(Ordering::Relaxed)));
            let place = free.unwrap_or(&self.0[hash as usize % limits::PARENT_TRIERS]);
            place.store(hash, Ordering::Relaxed);
        }
    }

    /// Something was found out.
    pub(super) fn clear(&self) {
        self.0.iter().for_each(|place| place.store(0, Ordering::Relaxed));
    }
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish().max(1)
}
