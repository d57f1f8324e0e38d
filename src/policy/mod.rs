//! Whether a subject may have what it asks for. Policy sees addresses as they will be dialled, after resolution, and each
//! of them before it is tried: what was judged is not resolved again. No I/O: what only the kernel knows is asked of it by
//! functions that the caller hands in.
//!
//! [`Policy`] is the one value that judges, and it is always told the whole [`Subject`]. The [`guard`] speaks first and no
//! rule overrides it; what it lets pass the rules judge, in one place (`Policy::verdict`).

mod carried;
pub mod guard;
pub mod locals;
pub mod nat64;
pub mod own_ports;
pub mod rules;
pub mod sources;
mod special;
pub mod verdict;

pub use guard::{Guard, Refusal};
pub use locals::Locals;
pub use nat64::Nat64;
pub use verdict::{Denial, Incoming, Object, Route, RoutedAddress, Subject, Verdict};

use std::net::SocketAddr;

use self::guard::check_connected;
use self::own_ports::OwnPorts;

/// What judges what the guard lets pass.
type RuleFn = fn(&Subject<'_>, Object) -> Verdict;

/// Allows everything, as there is no rule.
fn no_rule(_: &Subject<'_>, _: Object) -> Verdict {
    Verdict::Allow(Route::default())
}

/// What judges. Immutable once built: a reload or a change of interfaces builds another.
#[derive(Clone, Debug)]
pub struct Policy {
    guard: Guard,
    rules: RuleFn,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy::new(Guard::default())
    }
}

impl Policy {
    /// A policy of this guard.
    pub fn new(guard: Guard) -> Policy {
        Policy { guard, rules: no_rule }
    }

    /// The policy whose guard knows the translators that name servers show: see [`Guard::with_shown_nat64`].
    #[must_use]
    pub fn with_shown_nat64(self, prefixes: &[Nat64]) -> Policy {
        Policy { guard: self.guard.with_shown_nat64(prefixes), ..self }
    }

    /// The policy with rules of a test's own.
    #[cfg(test)]
    pub(crate) fn with_rules(self, rules: RuleFn) -> Policy {
        Policy { rules, ..self }
    }

    /// Judges what a command asks for: each address before it is dialled or listened for, and what has none.
    pub fn judge(&self, subject: &Subject<'_>, object: Object) -> Verdict {
        let guarded = match object {
            Object::AnyPeer => Ok(()),
            Object::To(address) | Object::From(address) => self.guard.check(address),
        };
        self.verdict(guarded, subject, object)
    }

    /// Judges a peer that connected to a listener of the subject's. `from_here` says whether it came from the address that
    /// it reached: then it is on this machine, whatever the guard's list has.
    pub fn judge_peer(
        &self,
        subject: &Subject<'_>,
        peer: SocketAddr,
        from_here: impl FnOnce() -> bool,
    ) -> Verdict {
        let guarded = self.guard.check(peer).and_then(|()| match from_here() {
            true => self.guard.check_same_host(peer),
            false => Ok(()),
        });
        self.verdict(guarded, subject, Object::From(peer))
    }

    /// Judges a datagram of an association on its way to a target.
    pub fn judge_datagram(
        &self,
        subject: &Subject<'_>,
        to: SocketAddr,
        own_ports: &OwnPorts,
        leads_here: impl Fn(SocketAddr) -> bool,
    ) -> Verdict {
        let guarded = self.guard.check_datagram(to, own_ports, leads_here);
        self.verdict(guarded, subject, Object::To(to))
    }

    /// Judges a datagram that came for an association.
    pub fn judge_answer(
        &self,
        subject: &Subject<'_>,
        from: SocketAddr,
        own_ports: &OwnPorts,
        leads_here: impl Fn(SocketAddr) -> bool,
    ) -> Verdict {
        let guarded = self.guard.check_answer(from, own_ports, leads_here);
        self.verdict(guarded, subject, Object::From(from))
    }

    /// Whether `address` is a UDP socket of ours, at whatever address of this machine.
    pub fn is_own_port(
        &self,
        address: SocketAddr,
        own_ports: &OwnPorts,
        leads_here: impl Fn(SocketAddr) -> bool,
    ) -> bool {
        own_ports.has(address) && self.guard.is_here(address, leads_here)
    }

    /// Judges a connection to `remote` by what its two ends show once it stands: no list of addresses is ever quite new.
    /// `leads_here` says whether it is known to stay on this machine though its ends differ. Rules have judged the address,
    /// and are not asked again.
    ///
    /// # Errors
    /// [`Refusal::SelfConnect`], [`Refusal::OwnListener`], or what the guard refuses of an address that is this machine's.
    pub fn check_connected(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        route: &Route,
        leads_here: impl FnOnce() -> bool,
    ) -> Result<(), Refusal> {
        check_connected(local, remote)?;
        // It may have become one of our listeners while it was dialled.
        if self.guard.is_own(remote) {
            return Err(Refusal::OwnListener);
        }
        // The kernel dials an address of this machine from itself, unless the route says from where: whatever the list says,
        // it is ours.
        let same_host = local.ip().to_canonical() == remote.ip().to_canonical();
        let asks = route.source.is_some() || self.guard.might_miss(remote);
        if same_host || (asks && leads_here()) {
            self.guard.check_same_host(remote)?;
        }
        Ok(())
    }

    /// What the guard said first, and then what the rules say.
    fn verdict(&self, guarded: Result<(), Refusal>, subject: &Subject<'_>, object: Object) -> Verdict {
        match guarded {
            Ok(()) => (self.rules)(subject, object),
            Err(refusal) => Verdict::Deny(refusal.into()),
        }
    }
}
