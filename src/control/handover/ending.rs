//! When a server ends whose place another has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::admin::{OlderServer, unix_seconds};
use crate::limits;

/// Known to the control thread and to whoever tells the next server. Shared.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct OwnEnding(Arc<Mutex<EndingKnown>>);

#[derive(Debug, Default)]
struct EndingKnown {
    /// When another took its place, in seconds since 1970.
    since: Option<u64>,
    /// When its sessions end in any case, in seconds since 1970.
    ends_by: Option<u64>,
}

impl OwnEnding {
    /// Another serves from now on.
    pub(in crate::control) fn begin(&self) {
        self.lock().since = Some(unix_seconds(Duration::ZERO));
    }

    /// Sessions have until then.
    pub(in crate::control) fn by(&self, by: Instant) {
        let left = by.saturating_duration_since(Instant::now());
        // Longer than any machine runs is for ever.
        self.lock().ends_by = (left < limits::HANDOVER_LONGEST / 2).then(|| unix_seconds(left));
    }

    /// As the next server is told, with so many sessions; `None` as long as this one serves.
    pub(super) fn told(&self, sessions: u64) -> Option<OlderServer> {
        let known = self.lock();
        Some(OlderServer {
            pid: Some(std::process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: known.since?,
            ends_by: known.ends_by,
            sessions,
        })
    }

    fn lock(&self) -> MutexGuard<'_, EndingKnown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_once_there_is_one() {
        let ending = OwnEnding::default();
        assert_eq!(ending.told(3), None);
        ending.begin();
        ending.by(Instant::now() + limits::HANDOVER_LONGEST);
        let told = ending.told(3).unwrap();
        assert_eq!((told.sessions, told.ends_by, told.pid), (3, None, Some(std::process::id())));
        ending.by(Instant::now() + Duration::from_secs(600));
        let told = ending.told(3).unwrap();
        assert!((599..=601).contains(&(told.ends_by.unwrap() - told.since)), "{told:?}");
    }
}
