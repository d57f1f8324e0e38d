//! How many jobs of clients wait for other threads, in all and by network, source and user, counted without a lock.
//!
//! A fixed number of counters that sources share by a keyed hash, so that a worker only adds and looks. A place is
//! given up by whichever comes first: the answer, or the client that leaves.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

use crate::limits::ADMISSION_COUNTERS;
use crate::shares::Source;

/// Counted among those that wait for work of their own.
const OWN: u8 = 1;
/// Counted among all.
const ALL: u8 = 2;

/// How many may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Together.
    pub(super) all: usize,
    /// Of one network.
    pub(super) network: usize,
    /// Of one source.
    pub(super) source: usize,
    /// Of one source, for work of their own.
    pub(super) own: usize,
    /// Of these, for one user.
    pub(super) user: usize,
}

/// The counters.
#[derive(Debug)]
pub(super) struct Admission {
    bounds: Bounds,
    total: AtomicUsize,
    counters: Box<[Counters]>,
    hasher: RandomState,
}

/// The counters of those whose hash is the same.
#[derive(Debug, Default)]
struct Counters {
    /// Jobs of a source that wait for work of their own.
    own: AtomicUsize,
    /// The same, of a source and a user.
    user: AtomicUsize,
    /// All jobs of a source, until they are answered.
    source: AtomicUsize,
    /// All jobs of a network, until they are answered.
    network: AtomicUsize,
}

impl Admission {
    pub(super) fn new(bounds: Bounds) -> Admission {
        Admission {
            bounds,
            total: AtomicUsize::new(0),
            counters: (0..ADMISSION_COUNTERS).map(|_| Counters::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// A place for one job of `source`, unless its user, its source, its network or all together have taken theirs.
    ///
    /// Nobody may hold more than is left free, so that there is always room for whoever comes from elsewhere.
    pub(super) fn admit(admission: &Arc<Admission>, source: Source, user: &[u8]) -> Option<Arc<Place>> {
        let place = Place {
            network: admission.index(source.network()),
            source: admission.index(source),
            user: admission.index((source, user)),
            counted: AtomicU8::new(OWN | ALL),
            admission: Arc::clone(admission),
        };
        let total = admission.total.fetch_add(1, Relaxed);
        let bounds = &admission.bounds;
        let free = bounds.all.saturating_sub(total);
        let fits = |count: &AtomicUsize, most: usize| count.fetch_add(1, Relaxed) < most.min(free);
        let room = fits(&place.at(place.network).network, bounds.network)
            & fits(&place.at(place.source).own, bounds.own)
            & fits(&place.at(place.user).user, bounds.user)
            & fits(&place.at(place.source).source, bounds.source);
        // Counted in any case: dropping it takes that back.
        room.then(|| Arc::new(place))
    }

    fn index(&self, key: impl Hash) -> usize {
        let counters = self.counters.len() as u64;
        usize::try_from(self.hasher.hash_one(key) % counters).unwrap_or_default()
    }

    /// Whether nobody is counted anywhere.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let none = |count: &AtomicUsize| count.load(Relaxed) == 0;
        let all =
            |one: &Counters| none(&one.own) && none(&one.user) && none(&one.source) && none(&one.network);
        none(&self.total) && self.counters.iter().all(all)
    }
}

/// One job's place in the counts.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    network: usize,
    source: usize,
    user: usize,
    /// Where it is still counted.
    counted: AtomicU8,
}

impl Place {
    fn at(&self, index: usize) -> &Counters {
        &self.admission.counters[index]
    }

    /// It shares its work with another, or its turn has come.
    pub(super) fn leave_queue(&self) {
        if self.counted.fetch_and(!OWN, Relaxed) & OWN != 0 {
            self.at(self.source).own.fetch_sub(1, Relaxed);
            self.at(self.user).user.fetch_sub(1, Relaxed);
        }
    }

    /// It has been answered, or nobody waits for the answer any more.
    pub(super) fn leave(&self) {
        self.leave_queue();
        if self.counted.fetch_and(!ALL, Relaxed) & ALL != 0 {
            self.at(self.source).source.fetch_sub(1, Relaxed);
            self.at(self.network).network.fetch_sub(1, Relaxed);
            self.admission.total.fetch_sub(1, Relaxed);
        }
    }

    /// Whether it was given up.
    pub(super) fn is_left(&self) -> bool {
        self.counted.load(Relaxed) & ALL == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A job that waits: whoever drops this has left, and its place is free at once.
#[derive(Debug)]
pub struct Pending(pub(super) Arc<Place>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.leave();
    }
}
