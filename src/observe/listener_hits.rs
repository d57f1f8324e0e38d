//! How often what was spoken at each listener: one writer for each worker, like all its counters.

use super::numbered::NumberedCounts;
use crate::config::{Choice, Protocol};

/// Words for what clients speak: the protocols, and nothing that any of them is.
const SPOKEN: usize = Protocol::ALL.len() + 1;

/// Sessions by what their clients spoke: in the order of [`Protocol::ALL`], behind them those who spoke nothing known.
pub type SpokenAt = [u64; SPOKEN];

/// A worker's counts. Only that worker writes them.
#[derive(Debug, Default)]
pub struct ListenerHits(NumberedCounts<SPOKEN>);

impl ListenerHits {
    /// One more session that came by the listener of this number.
    pub fn count(&self, listener: u16, protocol: Option<Protocol>) {
        self.0.add(listener, protocol.map_or(SPOKEN - 1, |protocol| protocol as usize), 1);
    }

    /// What was spoken at it.
    pub fn of(&self, listener: u16) -> SpokenAt {
        self.0.of(listener)
    }
}
