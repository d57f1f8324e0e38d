//! Who tried whether a server is back, without a word on that so far: they let others go first.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use crate::limits;
use crate::policy::few_hashes::FewHashes;
use crate::shares::Source;

/// Hashes of a client: of its name, where it has one, and of the network that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trier {
    own: u64,
    network: u64,
}

/// Those who tried a server since it is away. Of more than there are places the ones before are forgotten.
#[derive(Debug, Default)]
pub(super) struct Triers(FewHashes<{ limits::PARENT_TRIERS }>);

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
        [trier.own, trier.network].into_iter().any(|hash| self.0.has(hash))
    }

    /// This one tries.
    pub(super) fn add(&self, trier: Trier) {
        [trier.own, trier.network].into_iter().for_each(|hash| self.0.add(hash));
    }

    /// Something was found out.
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

/// A hash of what health tells apart; never 0.
pub(super) fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish().max(1)
}
