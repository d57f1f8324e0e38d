//! What came of each parent so far, for whoever looks: those that are in effect.

use std::sync::Arc;

use super::counters::Counters;
use super::parent_hits::{ParentCounts, ParentFault};
use crate::policy::ParentId;
use crate::policy::parents::{Parent, ParentServer, Parents};

/// A parent, and what came of it over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentTold {
    /// Its name.
    pub name: Arc<str>,
    /// Its servers.
    pub servers: Vec<ParentServerTold>,
    /// What was counted of it.
    pub counts: ParentCounts,
}

/// A server of a parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentServerTold {
    /// Its proxies and where they are, and no login.
    pub server: String,
    /// Its weight; 0: a backup.
    pub weight: u32,
    /// Sessions are kept from it for now.
    pub away: bool,
}

/// Each parent in effect.
pub fn parents_told<'a>(
    parents: Option<&Parents>,
    workers: impl Iterator<Item = &'a Counters> + Clone,
) -> Vec<ParentTold> {
    let told = |(id, parent): (ParentId, &Arc<Parent>)| {
        let counted = workers.clone().map(|counters| counters.parents.of(id));
        let server = |(place, server): (usize, &ParentServer)| ParentServerTold {
            server: server.to_string(),
            weight: server.weight,
            away: parent.is_away(place),
        };
        ParentTold {
            name: Arc::clone(&parent.spec().name),
            servers: parent.spec().servers.iter().enumerate().map(server).collect(),
            counts: counted.fold(ParentCounts::default(), ParentCounts::and),
        }
    };
    parents.into_iter().flat_map(Parents::iter).map(told).collect()
}

impl ParentTold {
    /// How many of its servers are not away.
    pub fn up(&self) -> u64 {
        self.servers.iter().filter(|server| !server.away).count() as u64
    }

    /// Each fault that it had, with how often.
    pub fn faults(&self) -> impl Iterator<Item = (ParentFault, u64)> {
        ParentFault::ALL.into_iter().zip(self.counts.faults).filter(|(_, count)| *count > 0)
    }
}
