//! In which order a turn meets its events under overload.

use mio::Token;

use super::Worker;
use super::slot::Phase;
use super::tokens::EventSource;

impl Worker {
    /// Whether an event comes behind the others of its turn: under overload those of sessions that are being set up do, so
    /// that those that are set up do not wait for the many that have just begun.
    pub(super) fn comes_later(&self, token: Token) -> bool {
        if self.acceptance.overload.queues == 0 {
            return false;
        }
        let EventSource::Session { key, .. } = EventSource::of(token) else { return false };
        self.slots.get(key.index()).is_some_and(|slot| matches!(slot.phase, Phase::Handshake(_)))
    }
}
