//! A session that leaves from a pool: which pool that is, and how the session goes through its addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::health::Outcome;
use super::ports::PortRoom;
use super::standing::SourceUse;
use super::{AddressPool, Candidates, Egress, LeavingAsked, PoolTurns};
use crate::policy::way::EgressId;

/// The pool of a session. A reload changes nothing for what is under way.
#[derive(Clone, Debug)]
pub struct SessionPool {
    egress: Arc<Egress>,
    id: EgressId,
    leaving: Candidates,
}

impl SessionPool {
    /// The pool of this number, for a session of which this is known; `None` where there is no such pool any more.
    pub fn choose(
        egress: &Arc<Egress>,
        id: EgressId,
        asked: &LeavingAsked<'_>,
        turns: &mut PoolTurns,
    ) -> Option<SessionPool> {
        let leaving = egress.pool(id)?.choose(asked, turns);
        Some(SessionPool { egress: Arc::clone(egress), id, leaving })
    }

    /// Its number.
    pub fn id(&self) -> EgressId {
        self.id
    }

    /// The pool itself. There is one, or there were no value of this type.
    pub fn pool(&self) -> Option<&AddressPool> {
        self.egress.pool(self.id)
    }

    /// The hash of what keeps the session at its address, where anything does.
    pub fn session_key(&self) -> Option<u64> {
        self.leaving.session_key()
    }

    /// Whether it leads to targets of this one's family.
    pub fn leads_to(&self, target: IpAddr) -> bool {
        self.pool().is_some_and(|pool| pool.leads_to(target))
    }

    /// The addresses to leave from towards a target, in the order in which they are to be tried: first those that have ports
    /// enough for it.
    pub fn sources(&self, target: SocketAddr, now: Instant) -> SourcesTowards<'_> {
        let round = SourceRound::WithRoom;
        SourcesTowards { of: self, target, now, leaving: self.leaving, round, scarce: false, passed: None }
    }

    /// The address of the target's family that a socket for all targets leaves from: those to try, in this order.
    pub fn sources_for_any(&self, family: IpAddr, now: Instant) -> impl Iterator<Item = IpAddr> + '_ {
        let mut leaving = self.leaving;
        std::iter::from_fn(move || {
            let pool = self.pool()?;
            let source = pool.next(&mut leaving, family, now)?;
            // Where another session tries it just now this one does, too.
            let standing = pool.standing(source).into_iter();
            standing.for_each(|standing| standing.take_for_any(source, leaving.client(), now));
            Some(source)
        })
    }

    /// A connection from an address of it to this target begins.
    pub fn begin(&self, source: IpAddr, target: SocketAddr) -> Option<SourceUse> {
        Some(self.pool()?.standing(source)?.begin(source, target))
    }

    /// A socket at an address of it begins that is for all targets.
    pub fn begin_for_any(&self, source: IpAddr) -> Option<SourceUse> {
        Some(self.pool()?.standing(source)?.begin_for_any())
    }

    /// Whether an address of it is known to work, though an attempt from it has come to nothing of late.
    pub fn works_from(&self, source: IpAddr, now: Instant) -> bool {
        self.pool().and_then(|pool| pool.standing(source)).is_some_and(|standing| standing.works(now))
    }

    /// A number of the entry that an address is of.
    pub fn entry_number(&self, source: IpAddr) -> Option<u64> {
        let standing = self.pool()?.standing(source)?;
        Some(standing.ports().hash(standing.network()))
    }

    /// What came of leaving from an address of it.
    pub fn note(&self, source: IpAddr, target: IpAddr, outcome: Outcome, now: Instant) {
        if let Some(pool) = self.pool() {
            pool.note(self.leaving.client(), (source, target), outcome, now);
        }
    }
}

/// Which addresses have their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceRound {
    /// Those with more ports left than the pool's `reserve`.
    WithRoom,
    /// The others.
    Scarce,
}

/// The addresses to leave from towards one target.
#[derive(Debug)]
pub struct SourcesTowards<'a> {
    of: &'a SessionPool,
    target: SocketAddr,
    now: Instant,
    leaving: Candidates,
    round: SourceRound,
    /// Whether there are any for the second round.
    scarce: bool,
    /// One that another session tries just now: it serves where no other does.
    passed: Option<IpAddr>,
}

impl Iterator for SourcesTowards<'_> {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        let pool = self.of.pool()?;
        loop {
            let Some(source) = pool.next(&mut self.leaving, self.target.ip(), self.now) else {
                if self.round == SourceRound::Scarce || !self.scarce {
                    return self.passed.take();
                }
                (self.round, self.leaving) = (SourceRound::Scarce, self.of.leaving);
                continue;
            };
            match (pool.room(source, self.target), self.round) {
                (PortRoom::Enough, SourceRound::WithRoom) | (PortRoom::Scarce, SourceRound::Scarce) => {
                    if pool.take(source, self.leaving.client(), self.now) {
                        return Some(source);
                    }
                    self.passed = Some(source);
                }
                (PortRoom::Scarce, SourceRound::WithRoom) => self.scarce = true,
                (PortRoom::Full, _) | (PortRoom::Enough, SourceRound::Scarce) => {}
            }
        }
    }
}
