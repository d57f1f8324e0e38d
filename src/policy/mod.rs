//! Whether a subject may have what it asks for. Policy sees addresses as they will be dialled, after resolution, and each
//! of them before it is tried: what was judged is not resolved again. No I/O: what only the kernel knows is asked of it by
//! functions that the caller hands in.
//!
//! [`Policy`] is the one value that judges, and it is always told the whole [`Subject`]. The [`guard`] speaks first and no
//! rule overrides it; what it lets pass the rules judge, in one place (`Policy::verdict`).

pub mod accounts;
mod carried;
pub mod egress;
pub mod explain;
mod few_hashes;
pub mod guard;
pub mod locals;
pub mod nat64;
pub mod no_pool;
mod numbers;
mod own_pools;
pub mod own_ports;
pub mod parents;
pub mod rule_names;
pub mod rules;
pub mod sources;
mod special;
pub mod verdict;
pub mod way;

pub use guard::{Guard, Refusal};
pub use locals::Locals;
pub use nat64::Nat64;
pub use no_pool::NoPool;
pub use own_pools::{OwnPools, UserPools};
pub use verdict::{
    Allowed, DecidedBy, Decision, Denial, Incoming, Object, Route, RoutedAddress, Subject, Verdict,
};
pub use way::{EgressId, ParentId, Way};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use self::guard::check_connected;
use self::own_ports::OwnPorts;
use self::rules::spec::{Action, Logged};
use self::rules::{Asked, Question, RuleId, RuleSet, Ruling};
use crate::proto::address::Name;

/// What judges. Immutable once built, but for the time of day that its rules are told: a reload or a change of interfaces
/// builds another.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    guard: Guard,
    /// `None`: whatever the guard lets pass may be had.
    rules: Option<RuleSet>,
    /// Which decisions the log tells, where the rule that decides does not say so itself.
    log: Logged,
    /// Who leaves from which pool where no rule says so; `None`: nobody.
    pools: Option<Arc<OwnPools>>,
    /// By which route a test has things go.
    #[cfg(test)]
    routes: Option<RouteFn>,
}

/// By which route something goes.
#[cfg(test)]
pub(crate) type RouteFn = fn(Object<'_>) -> Route;

impl Policy {
    /// A policy of this guard.
    pub fn new(guard: Guard) -> Policy {
        Policy { guard, ..Policy::default() }
    }

    /// The policy whose guard knows the translators that name servers show: see [`Guard::with_shown_nat64`].
    #[must_use]
    pub fn with_shown_nat64(self, prefixes: &[Nat64]) -> Policy {
        Policy { guard: self.guard.with_shown_nat64(prefixes), ..self }
    }

    /// The policy with these rules, or none.
    #[must_use]
    pub fn with_rules(self, rules: Option<RuleSet>) -> Policy {
        Policy { rules, ..self }
    }

    /// The policy that has the log tell these decisions, where no rule says so itself.
    #[must_use]
    pub fn with_log(self, log: Logged) -> Policy {
        Policy { log, ..self }
    }

    /// The policy by which these leave from pools of their own.
    #[must_use]
    pub fn with_pools(self, pools: Option<Arc<OwnPools>>) -> Policy {
        Policy { pools, ..self }
    }

    /// The policy by which things go as a test wants.
    #[cfg(test)]
    pub(crate) fn with_routes(self, routes: RouteFn) -> Policy {
        Policy { routes: Some(routes), ..self }
    }

    /// The rules, if there are any.
    pub fn rules(&self) -> Option<&RuleSet> {
        self.rules.as_ref()
    }

    /// Whether another has the same rules, for the same listeners.
    pub fn rules_as(&self, other: &Policy) -> bool {
        match (&self.rules, &other.rules) {
            (None, None) => true,
            (Some(one), Some(other)) => one.is_as(other),
            _ => false,
        }
    }

    /// How often the time of day has changed what the rules say.
    pub fn epoch(&self) -> u32 {
        self.rules.as_ref().map_or(0, RuleSet::epoch)
    }

    /// Judges what a command asks for: each address before it is dialled or listened for, and what has none.
    pub fn judge(&self, subject: &Subject<'_>, object: Object<'_>) -> Verdict {
        let guarded = match object {
            Object::AnyPeer | Object::Unresolved(..) | Object::Told(..) => Ok(()),
            Object::To(address, _) | Object::From(address, _) => self.guard.check(address),
        };
        self.verdict(guarded, subject, object)
    }

    /// Judges a peer that connected to a listener of the subject's. Rules know it as `object`: by the port that was asked
    /// for. `from_here` says whether it came from the address that it reached: then it is on this machine, whatever the
    /// guard's list has.
    pub fn judge_peer(
        &self,
        subject: &Subject<'_>,
        peer: SocketAddr,
        object: Object<'_>,
        from_here: impl FnOnce() -> bool,
    ) -> Verdict {
        let guarded = self.guard.check(peer).and_then(|()| match from_here() {
            true => self.guard.check_same_host(peer),
            false => Ok(()),
        });
        self.verdict(guarded, subject, object)
    }

    /// Judges a datagram of an association on its way to a target.
    pub fn judge_datagram(
        &self,
        subject: &Subject<'_>,
        to: SocketAddr,
        name: Option<&Name>,
        own_ports: &OwnPorts,
        leads_here: impl Fn(SocketAddr) -> bool,
    ) -> Verdict {
        let guarded = self.guard.check_datagram(to, own_ports, leads_here);
        self.verdict(guarded, subject, Object::To(to, name))
    }

    /// Whether a datagram that came for an association is an answer, and none of our own that came back.
    ///
    /// # Errors
    /// [`Refusal::OwnPort`].
    pub fn check_answer(
        &self,
        from: SocketAddr,
        own_ports: &OwnPorts,
        leads_here: impl Fn(SocketAddr) -> bool,
    ) -> Result<(), Refusal> {
        self.guard.check_answer(from, own_ports, leads_here)
    }

    /// Judges who answers an association, behind [`Policy::check_answer`].
    pub fn judge_answer(&self, subject: &Subject<'_>, from: SocketAddr, name: Option<&Name>) -> Verdict {
        self.verdict(Ok(()), subject, Object::From(from, name))
    }

    /// Whether a server of a parent may be connected to. The operator named it, and so it may be anywhere but at a listener of ours: a
    /// session that is led back to us is led back for ever.
    ///
    /// # Errors
    /// [`Refusal::OwnListener`].
    pub fn check_parent(&self, address: SocketAddr) -> Result<(), Refusal> {
        if self.guard.is_own(address) { Err(Refusal::OwnListener) } else { Ok(()) }
    }

    /// Whether datagrams may go where a server of a parent says that it takes them: to the server itself, or where a client might
    /// send them. Of a server that is at a special-purpose address its network is the operator's word, too.
    ///
    /// # Errors
    /// [`Refusal::SpecialPurpose`].
    pub fn check_relay(&self, relay: IpAddr, server: IpAddr) -> Result<(), Refusal> {
        let at_server = relay.to_canonical() == server.to_canonical();
        match at_server || self.guard.check_purpose(server).is_err() {
            true => Ok(()),
            false => self.guard.check_purpose(relay),
        }
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
    /// which was `allowed` so, and are not asked again.
    ///
    /// # Errors
    /// [`Refusal::SelfConnect`], [`Refusal::OwnListener`], or what the guard refuses of an address that is this machine's.
    pub fn check_connected(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        allowed: &Allowed,
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
        let from_source = allowed.route.source.is_some();
        // What is known to be ours need not be asked for.
        let known = from_source && self.guard.is_local(remote.ip());
        let asks = from_source || self.guard.might_miss(remote);
        match same_host || known || (asks && leads_here()) {
            true => self.guard.check_same_host(remote).or_else(|refusal| match refusal {
                Refusal::SpecialPurpose(_) if allowed.private => Ok(()),
                _ => Err(refusal),
            }),
            false => Ok(()),
        }
    }

    /// What the guard said first, and then what the rules say.
    fn verdict(&self, guarded: Result<(), Refusal>, subject: &Subject<'_>, object: Object<'_>) -> Verdict {
        let ruling = |rules: &RuleSet| self.ruling(rules, subject, object);
        match (guarded, &self.rules) {
            (Ok(()), None) => {
                let decision = Decision { logged: self.log == Logged::All, ..Decision::BY_DEFAULT };
                self.allow(Allowed { decision, ..Allowed::default() }, self.log, subject, object)
            }
            (Ok(()), Some(rules)) => self.by_rule(&ruling(rules), subject, object),
            (Err(Refusal::SpecialPurpose(range)), Some(rules)) => match ruling(rules) {
                ruling @ Ruling { action: Action::Allow, allow_private: true, .. } => {
                    self.by_rule(&ruling, subject, object)
                }
                _ => self.by_guard(Refusal::SpecialPurpose(range)),
            },
            (Err(refusal), _) => self.by_guard(refusal),
        }
    }

    fn by_guard(&self, refusal: Refusal) -> Verdict {
        let logged = self.log != Logged::Nothing;
        Verdict::Deny(refusal.into(), Decision { logged, ..Decision::BY_GUARD })
    }

    fn by_rule(&self, ruling: &Ruling, subject: &Subject<'_>, object: Object<'_>) -> Verdict {
        let Ruling { action, rule, would, allow_private, log, way } = *ruling;
        let (by, log) = (DecidedBy::Rule(rule), log.unwrap_or(self.log));
        match action {
            Action::Allow => {
                let decision = Decision { by, allowed: true, would, logged: log == Logged::All };
                let allowed = Allowed { way, private: allow_private, decision, ..Allowed::default() };
                self.allow(allowed, log, subject, object)
            }
            Action::Deny => {
                let decision = Decision { by, allowed: false, would, logged: log != Logged::Nothing };
                Verdict::Deny(Denial::Rule(rule), decision)
            }
        }
    }

    /// What is allowed so, by its route and its way; where it cannot be had by the way that is meant, it is not.
    fn allow(&self, allowed: Allowed, log: Logged, subject: &Subject<'_>, object: Object<'_>) -> Verdict {
        let way = match (&self.pools, subject.parameters.filter(|asked| own_pools::asks(asked))) {
            (Some(pools), _) => pools.way(allowed.way, subject),
            (None, Some(asked)) => Err(own_pools::unmet(asked)),
            (None, None) => Ok(allowed.way),
        };
        match way {
            Ok(way) => Verdict::Allow(Allowed { route: self.route(object), way, ..allowed }),
            Err(why) => {
                let rule = allowed.decision.by.rule().unwrap_or(RuleId::DEFAULT);
                let (by, logged) = (DecidedBy::NoPool(why, rule), log != Logged::Nothing);
                let decision = Decision { by, allowed: false, logged, ..allowed.decision };
                Verdict::Deny(Denial::NoPool(why), decision)
            }
        }
    }

    /// What the rules say. By some addresses another is reached (`Policy::reached`): what either of the two is denied by is
    /// denied, and the default has no say where a rule knows one of them. Whoever names a translator has not named the
    /// private addresses behind it.
    fn ruling(&self, rules: &RuleSet, subject: &Subject<'_>, object: Object<'_>) -> Ruling {
        let Incoming { client, listener } = subject.incoming;
        let judge = |target| {
            rules.judge(&Question {
                user: subject.identity.user().map(|user| &**user),
                source: client.ip().to_canonical(),
                listener,
                command: subject.command,
                target,
            })
        };
        let (address, name) = match object {
            Object::AnyPeer => return judge(Asked::Anything),
            Object::Unresolved(name, port) => return judge(Asked::Name(name, port)),
            Object::Told(name, port) => return judge(Asked::Told(name, port)),
            Object::To(address, name) | Object::From(address, name) => (address, name),
        };
        let of = |ip: IpAddr| judge(Asked::Address(ip.to_canonical(), address.port(), name));
        let outer = of(address.ip());
        let ruling = match self.reached(address.ip()) {
            Some(reached) => together(outer, of(reached)),
            None => outer,
        };
        self.guard.carried_by(address.ip()).map(IpAddr::from).fold(ruling, |ruling, ip| {
            let guarded = self.guard.check_purpose(ip).is_err();
            within(ruling, of(ip), guarded)
        })
    }

    /// The address that is reached by one where that is another: the one that an address carries, behind a translator that
    /// is known, and the loopback address, for which the kernel takes the unspecified one.
    fn reached(&self, ip: IpAddr) -> Option<IpAddr> {
        match ip.to_canonical() {
            IpAddr::V4(v4) if v4.is_unspecified() => Some(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(v6) if v6.is_unspecified() => Some(Ipv6Addr::LOCALHOST.into()),
            _ => self.guard.behind_translator(ip).map(IpAddr::from),
        }
    }

    /// By which route something goes that may be had.
    #[cfg(not(test))]
    fn route(&self, _: Object<'_>) -> Route {
        Route::default()
    }

    #[cfg(test)]
    fn route(&self, object: Object<'_>) -> Route {
        self.routes.map_or_else(Route::default, |routes| routes(object))
    }
}

/// What the rules say of an address by which another is reached, and of that.
fn together(outer: Ruling, inner: Ruling) -> Ruling {
    let decides = match (outer.rule, inner.rule, outer.action) {
        (RuleId::DEFAULT, ..) => inner,
        (_, RuleId::DEFAULT, _) | (.., Action::Deny) => outer,
        (.., Action::Allow) if inner.action == Action::Deny => inner,
        (.., Action::Allow) => outer,
    };
    Ruling { allow_private: inner.allow_private, ..decides }
}

/// What the rules say of an address, where they say this of the one that it carries: that may be the end of a tunnel, and not what
/// is asked for, so that it opens nothing. A rule that denies it denies what carries it, and one that the guard refuses is among
/// the private addresses of a rule where that rule has it, too.
fn within(ruling: Ruling, carried: Ruling, guarded: bool) -> Ruling {
    let denies = carried.action == Action::Deny && carried.rule != RuleId::DEFAULT;
    let decides = if denies && ruling.action == Action::Allow { carried } else { ruling };
    let allow_private = ruling.allow_private && (carried.allow_private || !guarded);
    Ruling { allow_private, ..decides }
}

#[cfg(test)]
mod tests;
