//! What an association is judged and run by while its datagrams are moved.

use std::net::SocketAddr;
use std::sync::Arc;

use super::drops::Drop;
use crate::config::{Filtering, Prefer};
use crate::policy::own_ports::OwnPorts;
use crate::policy::{Policy, Route, Subject, Verdict};
use crate::sys::machine::may_lead_here;

/// What holds for an association at this moment, lent by its worker.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What judges its datagrams.
    pub policy: &'a Policy,
    /// Another number whenever the policy is another.
    pub policy_version: u64,
    /// For whom they are judged.
    pub subject: Subject<'a>,
    /// Our own UDP ports.
    pub own_ports: &'a Arc<OwnPorts>,
    /// Who may answer.
    pub filtering: Filtering,
    /// Whether fragments are put together.
    pub fragments: bool,
    /// Which of a name's families comes first.
    pub prefer: Prefer,
    /// Milliseconds of the worker's clock.
    pub now_ms: u64,
}

impl Terms<'_> {
    /// Whether a datagram may go to this address by the route of its association. All that an association sends leaves from
    /// one socket of a family: what policy wants to go by another way does not go.
    pub(super) fn judge(&self, to: SocketAddr, by: &Route) -> Result<(), Drop> {
        let wanted = allowed(self.policy.judge_datagram(&self.subject, to, self.own_ports, may_lead_here))?;
        if by.obeys(&wanted) { Ok(()) } else { Err(Drop::Unreachable) }
    }

    /// Whether a datagram that came from this address may go to the client.
    pub(super) fn judge_answer(&self, from: SocketAddr) -> Result<(), Drop> {
        allowed(self.policy.judge_answer(&self.subject, from, self.own_ports, may_lead_here)).map(drop)
    }

    /// Whether what comes from this address is of a socket of ours: nobody is its client.
    pub(super) fn is_ours(&self, from: SocketAddr) -> bool {
        self.policy.is_own_port(from, self.own_ports, may_lead_here)
    }
}

fn allowed(verdict: Verdict) -> Result<Route, Drop> {
    match verdict {
        Verdict::Allow(route) => Ok(route),
        Verdict::Deny(denial) => Err(Drop::of_denial(denial)),
    }
}
