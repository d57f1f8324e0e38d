//! How a server of a parent stands, and what an operator has set of it by hand: a drained one gets no new session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::spec::ParentServer;

/// How a server of a parent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentServerState {
    /// It has its share of the sessions.
    Up,
    /// It is well, and has sessions where no other can be had.
    Backup,
    /// Sessions keep away from it for what failed.
    Down,
    /// An operator keeps sessions away from it.
    Drained,
}

impl ParentServerState {
    /// The words for them, in the order of their numbers.
    pub const NAMES: [&str; 4] = ["up", "backup", "down", "drained"];

    /// Its number.
    pub fn number(self) -> usize {
        self as usize
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.number()]
    }

    /// Whether sessions are led there.
    pub fn serves(self) -> bool {
        matches!(self, ParentServerState::Up | ParentServerState::Backup)
    }
}

/// Which servers are drained, each at its place: shared with the parent of before a reload and of behind it.
#[derive(Debug, Default)]
pub(super) struct DrainedServers(Vec<Arc<AtomicBool>>);

impl DrainedServers {
    /// Those of these servers: one of a number that was there before is as it was.
    pub(super) fn of(
        servers: &[ParentServer],
        before: Option<(&[ParentServer], &DrainedServers)>,
    ) -> DrainedServers {
        let kept = |server: &ParentServer| {
            let (servers, drained) = before?;
            let place = servers.iter().position(|one| one.number == server.number)?;
            drained.0.get(place).cloned()
        };
        DrainedServers(servers.iter().map(|server| kept(server).unwrap_or_default()).collect())
    }

    /// Whether the one at this place is.
    pub(super) fn has(&self, place: usize) -> bool {
        self.0.get(place).is_some_and(|one| one.load(Ordering::Relaxed))
    }

    /// Sets the one at this place; whether it was otherwise.
    pub(super) fn set(&self, place: usize, drained: bool) -> bool {
        self.0.get(place).is_some_and(|one| one.swap(drained, Ordering::Relaxed) != drained)
    }

    /// A bit for each that is drained.
    pub(super) fn bits(&self) -> u64 {
        let drained = self.0.iter().enumerate().filter(|(_, one)| one.load(Ordering::Relaxed));
        drained.fold(0, |bits, (place, _)| bits | 1 << place)
    }
}
