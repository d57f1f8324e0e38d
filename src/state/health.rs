//! How a store fares, for whoever tells of it: its thread writes, others read. No worker asks, so that a lock costs no session
//! anything.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared by the store's thread and whoever tells how it fares.
#[derive(Debug, Default)]
pub struct StoreHealth(Mutex<Faring>);

#[derive(Debug, Default)]
struct Faring {
    /// Why nothing can be written, while that is so.
    trouble: Option<String>,
    /// What was lost for good before.
    lost: Option<String>,
    errors: u64,
    rows: u64,
    /// Since when something is not in the store.
    unkept_since: Option<Instant>,
}

/// What is told of a store at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreTold {
    /// What is wrong, in words, if anything is.
    pub trouble: Option<String>,
    /// How often it could not be written or opened.
    pub errors: u64,
    /// Rows that it has.
    pub rows: u64,
    /// For how long something has been in memory alone.
    pub behind: Duration,
}

impl StoreHealth {
    /// Something has changed that is not in the store.
    pub fn note_unkept(&self, now: Instant) {
        self.lock().unkept_since.get_or_insert(now);
    }

    /// All that had changed by then is in the store, which has so many rows. Whether that could not be written before.
    pub fn note_kept(&self, by: Instant, rows: u64) -> bool {
        let mut faring = self.lock();
        faring.unkept_since = faring.unkept_since.filter(|since| *since > by);
        faring.rows = rows;
        faring.trouble.take().is_some()
    }

    /// It has so many rows.
    pub fn note_rows(&self, rows: u64) {
        self.lock().rows = rows;
    }

    /// It could not be written, for this reason. Whether it could before.
    pub fn note_trouble(&self, what: String) -> bool {
        let mut faring = self.lock();
        faring.errors += 1;
        faring.trouble.replace(what).is_none()
    }

    /// Something was lost for good.
    pub fn note_lost(&self, what: String) {
        let mut faring = self.lock();
        faring.errors += 1;
        faring.lost = Some(what);
    }

    /// How it fares.
    pub fn told(&self, now: Instant) -> StoreTold {
        let faring = self.lock();
        let since = faring.unkept_since.map(|since| now.saturating_duration_since(since));
        StoreTold {
            trouble: faring.trouble.clone().or_else(|| faring.lost.clone()),
            errors: faring.errors,
            rows: faring.rows,
            behind: since.unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Faring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_while_it_is_written_is_behind_from_then_on() {
        let (health, start) = (StoreHealth::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(health.told(start), StoreTold::default());
        health.note_unkept(at(1));
        health.note_unkept(at(2));
        assert_eq!(health.told(at(5)).behind, Duration::from_secs(4));
        health.note_kept(at(2), 7);
        assert_eq!(health.told(at(5)), StoreTold { rows: 7, ..StoreTold::default() });
        health.note_unkept(at(6));
        health.note_kept(at(5), 7);
        assert_eq!(health.told(at(8)).behind, Duration::from_secs(2));
    }

    #[test]
    fn trouble_passes_and_a_loss_does_not() {
        let (health, now) = (StoreHealth::default(), Instant::now());
        assert!(health.note_trouble("full".to_owned()));
        assert!(!health.note_trouble("still full".to_owned()));
        assert_eq!(health.told(now).trouble.as_deref(), Some("still full"));
        assert!(health.note_kept(now, 1));
        assert_eq!((health.told(now).trouble, health.told(now).errors), (None, 2));
        health.note_lost("corrupt".to_owned());
        assert!(!health.note_kept(now, 1), "it could be written all the while");
        assert_eq!(health.told(now).trouble.as_deref(), Some("corrupt"));
        assert!(health.note_trouble("full".to_owned()));
    }
}
