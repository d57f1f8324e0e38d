//! How many jobs of clients wait for other threads, in all and by network, source and user, counted without a lock.
//!
//! A fixed number of counters that sources share by a keyed hash, so that a worker only adds and looks. A permit is
//! given back by whichever comes first: the answer, or the client that leaves.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

use crate::limits::ADMISSION_COUNTERS;
use crate::shares::Source;

/// Counted among those that wait for work of their own.
const OWN: u8 = 1;
/// Counted among all.
const ALL: u8 = 2;

/// How many jobs may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Jobs in all.
    pub(super) all: usize,
    /// Jobs of one network.
    pub(super) network: usize,
    /// Jobs of one source.
    pub(super) source: usize,
    /// Jobs of one source that wait for work which they share with no other job.
    pub(super) own: usize,
    /// Jobs of one source and one user that wait for work which they share with no other job.
    pub(super) user: usize,
}

/// Who may have jobs waiting: the bounds, and the counters of what waits.
#[derive(Debug)]
pub(super) struct Admission {
    bounds: Bounds,
    total: AtomicUsize,
    counters: Box<[JobCounters]>,
    hasher: RandomState,
}

/// The counters of those whose hash is the same.
#[derive(Debug, Default)]
struct JobCounters {
    /// Jobs of a source that wait for work of their own.
    own: AtomicUsize,
    /// Jobs of a source and a user that wait for work of their own.
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
            counters: (0..ADMISSION_COUNTERS).map(|_| JobCounters::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// A permit for one job of `source`, unless its user, its source, its network or all together have taken theirs.
    ///
    /// Nobody may hold more than is left free, so that there is always room for whoever comes from elsewhere.
    pub(super) fn admit(admission: &Arc<Admission>, source: Source, user: &[u8]) -> Option<Arc<Permit>> {
        let permit = Permit {
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
        let room = fits(&permit.at(permit.network).network, bounds.network)
            & fits(&permit.at(permit.source).own, bounds.own)
            & fits(&permit.at(permit.user).user, bounds.user)
            & fits(&permit.at(permit.source).source, bounds.source);
        // Counted in any case: dropping it takes that back.
        room.then(|| Arc::new(permit))
    }

    /// How many jobs wait, and how many may.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.total.load(Relaxed), self.bounds.all)
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
            |one: &JobCounters| none(&one.own) && none(&one.user) && none(&one.source) && none(&one.network);
        none(&self.total) && self.counters.iter().all(all)
    }
}

/// Leave for one job to wait: the job is counted until this is given back or dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    network: usize,
    source: usize,
    user: usize,
    /// Where the job is still counted, as bits: [`OWN`] and [`ALL`].
    counted: AtomicU8,
}

impl Permit {
    fn at(&self, index: usize) -> &JobCounters {
        &self.admission.counters[index]
    }

    /// Counts the job no more among those that wait for work of their own: it shares another's, or its turn has come.
    pub(super) fn leave_queue(&self) {
        if self.counted.fetch_and(!OWN, Relaxed) & OWN != 0 {
            self.at(self.source).own.fetch_sub(1, Relaxed);
            self.at(self.user).user.fetch_sub(1, Relaxed);
        }
    }

    /// Gives the permit back: the job has been answered, or nobody waits for the answer any more.
    pub(super) fn leave(&self) {
        self.leave_queue();
        if self.counted.fetch_and(!ALL, Relaxed) & ALL != 0 {
            self.at(self.source).source.fetch_sub(1, Relaxed);
            self.at(self.network).network.fetch_sub(1, Relaxed);
            self.admission.total.fetch_sub(1, Relaxed);
        }
    }

    /// Whether the permit was given back.
    pub(super) fn is_left(&self) -> bool {
        self.counted.load(Relaxed) & ALL == 0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A job that waits: whoever drops this has left, and its permit is given back at once.
#[derive(Debug)]
pub struct Pending(pub(super) Arc<Permit>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.leave();
    }
}
