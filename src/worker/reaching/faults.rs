//! What kept a server from leading a session on, and whose fault that was.

use std::net::IpAddr;
use std::time::Instant;

use super::{ReachStage, Reaching};
use crate::limits;
use crate::observe::ParentFault;
use crate::policy::egress::SessionPool;
use crate::policy::parents::{ClosedOn, Fallback};
use crate::session::DialError;
use crate::worker::core::Core;
use crate::worker::goal::ReachStep;

impl Reaching {
    /// Whose fault it is that a server was not connected to; `None`: whether it is the server's is not known. What this machine lacks
    /// is none of the server's; nor, where the session leaves from a pool, is silence and a missing way, as long as nothing shows that
    /// the pool's address works: that sessions from it have come about meanwhile, or that from another address it is the same.
    pub(super) fn undialled(
        &mut self,
        core: &Core,
        unanswered: Option<(SessionPool, IpAddr)>,
        error: DialError,
    ) -> Option<ParentFault> {
        let fault = ParentFault::of_dial(error);
        self.lacking = (fault == ParentFault::Local).then_some(error);
        if !matches!(fault, ParentFault::TimedOut | ParentFault::Unreachable) {
            return Some(fault);
        }
        let Some((pool, source)) = unanswered else { return Some(fault) };
        if pool.works_from(source, core.now) {
            return Some(fault);
        }
        let entry = pool.entry_number(source);
        let by_others = entry.is_some_and(|entry| self.parent.not_reached_from(self.place, entry));
        if !by_others {
            self.count_fault(core, fault);
        }
        by_others.then_some(fault)
    }

    /// The fault of a server that closed the connection in place of a reply, where it is the server's.
    pub(super) fn closed_unanswered(&mut self, core: &Core, client: IpAddr) -> Option<ParentFault> {
        tracing::debug!(parent = %self.parent.spec().name, server = %self.label(), "a parent closes in place of a reply");
        let target = self.goal.target(self.nth);
        let on = ClosedOn { target: &target.host, client };
        if self.parent.closed(self.place, on, core.now) {
            return Some(ParentFault::Closed);
        }
        self.closers |= 1 << self.place;
        self.count_fault(core, ParentFault::Closed);
        None
    }

    /// The server leads on: what those closed on that came before can be had.
    pub(super) fn leads_on(&self, now: Instant) {
        self.parent.led_on(self.place, now);
        let closers = (0..limits::PARENT_SERVERS_MAX).filter(|place| self.closers >> place & 1 == 1);
        closers.for_each(|place| self.parent.was_outdone(place));
    }

    /// Takes note of what kept a server from serving, where that is its fault.
    pub(super) fn note(&self, core: &Core, fault: Option<ParentFault>) {
        let Some(fault) = fault else { return };
        self.count_fault(core, fault);
        if fault.is_the_servers() && self.parent.failed(self.place, core.now) {
            let (parent, cause) = (&self.parent.spec().name, fault.name());
            tracing::warn!(%parent, server = %self.label(), cause, "a server of a parent is away");
        }
    }

    pub(super) fn weigh(&mut self, error: DialError) {
        if self.gravest.is_none_or(|gravest| gravest.weight() < error.weight()) {
            self.gravest = Some(error);
        }
    }

    /// No server is left to be tried.
    pub(super) fn give_up(&mut self) -> ReachStep {
        self.stage = ReachStage::Idle;
        match self.gravest {
            Some(error) => ReachStep::Failed(error),
            None if self.parent.spec().fallback == Fallback::Direct => ReachStep::Direct,
            None => ReachStep::Failed(self.lacking.unwrap_or(DialError::ParentAway)),
        }
    }
}
