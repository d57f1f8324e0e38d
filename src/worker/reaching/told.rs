//! What whoever drives the attempts is told of them, and what they ask themselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::{ReachStage, Reaching};
use crate::limits;
use crate::observe::{CheckFound, ParentFault};
use crate::policy::RoutedAddress;
use crate::policy::parents::{Fallback, ParentServer};
use crate::proto::request::RequestCommand;
use crate::session::DialError;
use crate::worker::connection::Led;
use crate::worker::core::Core;
use crate::worker::goal::{Goal, ReachStep};
use crate::worker::warming::may_be_warm;

impl Reaching {
    /// The parent, and the server that is tried or was tried last; `None` before the first.
    pub(in crate::worker) fn led(&self) -> Option<Box<Led>> {
        let server = self.parent.server(self.place).filter(|_| self.trying.tries() > 0)?;
        let (parent, number) = (Arc::clone(&self.parent.spec().name), server.number);
        let (server, fault) = (Some(server.to_string().into()), self.fault.get());
        Some(Box::new(Led { parent, server, fault, number, held: false }))
    }

    /// The parent, where the session goes past it.
    pub(in crate::worker) fn passed(&self) -> Box<Led> {
        let (parent, fault) = (Arc::clone(&self.parent.spec().name), self.fault.get());
        Box::new(Led { parent, server: None, fault, number: 0, held: false })
    }

    /// The same, where it is one of the server's sessions from here on.
    pub(in crate::worker) fn held(&self) -> Option<Box<Led>> {
        self.led().map(|led| Box::new(Led { fault: None, held: true, ..*led }))
    }

    /// When it has to be looked at without an event.
    pub(in crate::worker) fn next_at(&self) -> Instant {
        match &self.stage {
            ReachStage::Dialling(dial) => dial.next_at().map_or(self.until, |at| at.min(self.until)),
            ReachStage::Idle | ReachStage::Resolving | ReachStage::Talking(_) => self.until,
        }
    }

    /// The target's address that is asked for, where it is known here.
    pub(in crate::worker) fn address(&self) -> Option<SocketAddr> {
        self.goal.address(self.nth)
    }

    /// The target's addresses, for whoever dials them without a parent; `None` where they are not known here.
    pub(in crate::worker) fn into_addresses(self) -> Option<Vec<RoutedAddress>> {
        match self.goal {
            Goal::Addresses(list) => Some(list),
            Goal::Named(..) | Goal::Datagrams(_) => None,
        }
    }

    /// The target's addresses, as far as they are known here.
    pub(in crate::worker) fn addresses(&self) -> &[RoutedAddress] {
        match &self.goal {
            Goal::Addresses(list) => list,
            Goal::Named(..) | Goal::Datagrams(_) => &[],
        }
    }

    /// Whether the parent is as it is configured now. Idle connections are of that: by one from before a reload a session could be
    /// known as somebody else, or with a password that holds no more.
    pub(super) fn is_current(&self, core: &Core) -> bool {
        let parents = core.snapshot.parents.as_ref();
        parents.and_then(|parents| parents.parent(self.id)).is_some_and(|now| Arc::ptr_eq(now, &self.parent))
    }

    /// Whether the proxy that is spoken to was told the client's own name.
    pub(super) fn knows_the_client(&self) -> bool {
        let last = matches!(&self.stage, ReachStage::Talking(talking) if talking.is_last());
        last && self.user.is_some()
    }

    /// The socket index that was given last.
    pub(in crate::worker) fn last_index(&self) -> u8 {
        self.last_index
    }

    /// Counts a fault of the server that is tried.
    pub(super) fn count_fault(&self, core: &Core, fault: ParentFault) {
        self.fault.set(Some(fault));
        core.counters.parents.failure(self.id, fault);
        if let Some(server) = self.parent.server(self.place) {
            core.counters.parent_servers.failure(server.number, fault, SystemTime::now());
        }
    }

    /// Counts a session that the server has led on, over a connection that was idle or over one that was made for it.
    pub(super) fn count_session(&self, core: &Core, warm: bool) {
        core.counters.parents.session(self.id);
        if warm {
            core.counters.parents.warm(self.id);
        }
        let could = self.goal.command() == RequestCommand::Connect
            && may_be_warm(self.parent.spec(), &self.goal.allowed(self.nth));
        if let Some(server) = self.parent.server(self.place) {
            core.counters.parent_servers.session(server.number, could.then_some(warm));
        }
    }

    /// Counts a session that goes to its target without the parent.
    pub(in crate::worker) fn count_passed(&self, core: &Core) {
        core.counters.parents.passed(self.id);
    }

    /// Counts a look that is over.
    pub(in crate::worker) fn count_check(&self, core: &Core, step: &ReachStep) {
        let Some(number) = self.parent.server(self.place).map(|server: &ParentServer| server.number) else {
            return;
        };
        let servers = &core.counters.parent_servers;
        let found = match step {
            ReachStep::Pending => return,
            ReachStep::Stands(_) => CheckFound::Reached,
            ReachStep::Failed(DialError::Replied(_)) => CheckFound::Answered,
            // What failed has been counted where it was found.
            ReachStep::Failed(_) | ReachStep::Direct => {
                let last = servers.of(number).last_fault.map(|(_, fault)| fault);
                CheckFound::Failed(last.unwrap_or(ParentFault::Local))
            }
        };
        servers.checked(number, found, SystemTime::now());
    }

    /// How many bytes of the client the server that is tried has.
    pub(super) fn early_bytes(&self) -> u16 {
        match &self.stage {
            ReachStage::Talking(talking) => talking.early_bytes,
            ReachStage::Idle | ReachStage::Resolving | ReachStage::Dialling(_) => 0,
        }
    }

    /// A share of the time that is left, for this server and each that may yet be tried, and for going without any.
    pub(super) fn share(&self, now: Instant) -> Duration {
        let spec = self.parent.spec();
        let servers = spec.servers.len().min(limits::PARENT_TRIES_MAX as usize) as u32;
        let without = u32::from(spec.fallback == Fallback::Direct);
        let left = servers.saturating_sub(self.trying.tries()) + 1 + without;
        self.deadline.saturating_duration_since(now) / left
    }

    /// The server that is tried, as it is told of.
    pub(super) fn label(&self) -> String {
        self.parent.server(self.place).map(ParentServer::to_string).unwrap_or_default()
    }
}
