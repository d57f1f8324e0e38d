//! What an association is judged and run by while its datagrams are moved.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::drops::Drop;
use super::outward::Outward;
use crate::config::{Filtering, Prefer};
use crate::policy::accounts::{LimitPlaces, LimitPlan, LimitedWay, SessionKind};
use crate::policy::own_ports::OwnPorts;
use crate::policy::{Decision, Object, Policy, Subject, Verdict};
use crate::proto::address::Name;
use crate::sys::machine::may_lead_here;

/// What holds for an association at this moment, lent by its worker.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What judges its datagrams.
    pub policy: &'a Policy,
    /// Another number whenever the policy is another, or says something else for the time of day.
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
    /// Whether it is learned where datagrams go.
    pub learns: bool,
    /// The limits in effect, where anything is limited.
    pub plan: Option<&'a LimitPlan>,
    /// Its places in the limits that it counts in.
    pub places: Option<&'a RefCell<LimitPlaces>>,
    /// The moment.
    pub now: Instant,
    /// The same in milliseconds of the worker's clock.
    pub now_ms: u64,
}

impl Terms<'_> {
    /// Whether a datagram may go to this address, which a name may have led to, by the way of its association. All that an
    /// association sends leaves from one socket of a family: what policy wants to go by another way does not go.
    pub(super) fn judge(
        &self,
        to: SocketAddr,
        name: Option<&Name>,
        by: &Outward,
    ) -> (Result<(), Drop>, Decision) {
        match self.policy.judge_datagram(&self.subject, to, name, self.own_ports, may_lead_here) {
            Verdict::Allow(wanted) if by.obeys(&wanted) => (self.enters(&wanted.decision), wanted.decision),
            Verdict::Allow(wanted) => (Err(Drop::Unreachable), wanted.decision),
            Verdict::Deny(denial, decision) => (Err(Drop::of_denial(denial)), decision),
        }
    }

    /// Whether a datagram may go to what the parent makes of this name.
    pub(super) fn judge_told(&self, name: &Name, port: u16, by: &Outward) -> (Result<(), Drop>, Decision) {
        match self.policy.judge(&self.subject, Object::Told(name, port)) {
            Verdict::Allow(wanted) if by.obeys(&wanted) => (self.enters(&wanted.decision), wanted.decision),
            Verdict::Allow(wanted) => (Err(Drop::Unreachable), wanted.decision),
            Verdict::Deny(denial, decision) => (Err(Drop::of_denial(denial)), decision),
        }
    }

    /// What denies a name, whatever it may lead to.
    pub(super) fn refuses(&self, name: &Name, port: u16) -> Option<Decision> {
        self.policy.rules()?;
        match self.policy.judge(&self.subject, Object::Unresolved(name, port)) {
            Verdict::Allow(_) => None,
            Verdict::Deny(_, decision) => Some(decision),
        }
    }

    /// Whether a datagram that came from this address may go to the client, as far as the guard says.
    pub(super) fn check_answer(&self, from: SocketAddr) -> Result<(), Drop> {
        let answer = self.policy.check_answer(from, self.own_ports, may_lead_here);
        answer.map_err(|refusal| Drop::of_denial(refusal.into()))
    }

    /// What the rules say of a datagram that came from this address, to which a name may have led.
    pub(super) fn judge_answer(&self, from: SocketAddr, name: Option<&Name>) -> (Result<(), Drop>, Decision) {
        match self.policy.judge_answer(&self.subject, from, name) {
            Verdict::Allow(allowed) => (self.enters(&allowed.decision), allowed.decision),
            Verdict::Deny(denial, decision) => (Err(Drop::of_denial(denial)), decision),
        }
    }

    /// Lets the association into the limits of a rule that allows something of it: when it began it was not known which of
    /// them it would come under.
    fn enters(&self, decision: &Decision) -> Result<(), Drop> {
        let (Some(plan), Some(places), Some(rule)) = (self.plan, self.places, decision.by.rule()) else {
            return Ok(());
        };
        let (mut places, rules) = (places.borrow_mut(), std::iter::once(rule));
        let entered = plan.enter(&mut places, &self.subject, rules, SessionKind::Association, self.now);
        entered.map_err(|exceeded| {
            places.note_exceeded(exceeded);
            Drop::Limit
        })
    }

    /// Whether the limits let a datagram of so many bytes pass; it counts in them if so.
    pub(super) fn within_limits(&self, way: LimitedWay, bytes: usize) -> bool {
        let Some(places) = self.places else { return true };
        places.borrow_mut().passes_datagram(way, bytes as u64, self.now)
    }

    /// Whether what comes from this address is of a socket of ours: nobody is its client.
    pub(super) fn is_ours(&self, from: SocketAddr) -> bool {
        self.policy.is_own_port(from, self.own_ports, may_lead_here)
    }
}
