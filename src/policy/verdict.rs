//! The verdict: whether a subject may have what it asks for, and what both are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::guard::Refusal;
use super::no_pool::NoPool;
use super::rules::RuleId;
use super::way::Way;
use crate::auth::{Identity, SessionParameters};
use crate::proto::address::Name;
use crate::proto::request::RequestCommand;

/// How a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The listener that took it, by the number that it has.
    pub listener: u16,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// How its connection came in.
    pub incoming: Incoming,
    /// Who it is.
    pub identity: &'a Identity,
    /// What it says of its session beside.
    pub parameters: Option<&'a SessionParameters>,
    /// What its request is for.
    pub command: RequestCommand,
}

/// What is asked for. A name is the one that led to the address beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// What the command opens before it is known for whom: a listener for any peer, an association.
    AnyPeer,
    /// What a name may lead to that is not resolved yet, at this port.
    Unresolved(&'a Name, u16),
    /// What a name leads to that a parent is told and resolves, at this port: no address of it is ever seen here.
    Told(&'a Name, u16),
    /// A connection or a datagram to this address, as it would be dialled.
    To(SocketAddr, Option<&'a Name>),
    /// A connection or a datagram from this address.
    From(SocketAddr, Option<&'a Name>),
}

impl<'a> Object<'a> {
    /// An address that a command is for, and the name that led to it.
    pub fn of(command: RequestCommand, address: SocketAddr, name: Option<&'a Name>) -> Object<'a> {
        match command {
            RequestCommand::Bind => Object::From(address, name),
            RequestCommand::Connect
            | RequestCommand::UdpAssociate
            | RequestCommand::Resolve
            | RequestCommand::ResolvePtr => Object::To(address, name),
        }
    }
}

/// By which way something goes out, where that is not the kernel's to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The address that it leaves from; to addresses of the other family there is no way then.
    pub source: Option<IpAddr>,
    /// The mark of its packets (SO_MARK), for the machine's own rules to choose by.
    pub mark: Option<u32>,
}

impl Route {
    /// Whether it leads to addresses of this one's family.
    pub fn serves(&self, ip: IpAddr) -> bool {
        self.source.is_none_or(|source| source.is_ipv4() == ip.to_canonical().is_ipv4())
    }

    /// Whether what leaves by this route leaves as `wanted` says: what that leaves open may be anything.
    pub fn obeys(&self, wanted: &Route) -> bool {
        let source = |route: &Route| route.source.map(|ip| ip.to_canonical());
        (wanted.source.is_none() || source(self) == source(wanted))
            && (wanted.mark.is_none() || self.mark == wanted.mark)
    }
}

/// An address that was allowed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutedAddress {
    /// The address, as it is dialled.
    pub address: SocketAddr,
    /// How it may be had.
    pub allowed: Allowed,
}

/// What policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The subject may have it.
    Allow(Allowed),
    /// The subject may not have it.
    Deny(Denial, Decision),
}

/// How something may be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// By this route.
    pub route: Route,
    /// By this way, of which a route is made for each attempt.
    pub way: Way,
    /// At a special-purpose address, too, as the rule says that allows it.
    pub private: bool,
    /// Why.
    pub decision: Decision,
}

impl Allowed {
    /// Whether what leaves by this route and way leaves as is wanted here: what is left open may be anything.
    pub fn is_met_by(&self, route: &Route, way: Way) -> bool {
        route.obeys(&self.route) && way.obeys(self.way)
    }
}

/// By the kernel's own route, as no rule says anything.
impl Default for Allowed {
    fn default() -> Allowed {
        Allowed {
            route: Route::default(),
            way: Way::default(),
            private: false,
            decision: Decision::BY_DEFAULT,
        }
    }
}

/// What a verdict rests on: all that a session remembers of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who decided.
    pub by: DecidedBy,
    /// What was decided.
    pub allowed: bool,
    /// The first rule that would have decided otherwise, did it decide.
    pub would: Option<RuleId>,
    /// Whether the log is to tell of it.
    pub logged: bool,
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The guard.
    Guard,
    /// This rule.
    Rule(RuleId),
    /// This rule allows it, and there is no pool that it could leave from.
    NoPool(NoPool, RuleId),
}

impl DecidedBy {
    /// The rule that says whether it may be had.
    pub fn rule(self) -> Option<RuleId> {
        match self {
            DecidedBy::Guard => None,
            DecidedBy::Rule(rule) | DecidedBy::NoPool(_, rule) => Some(rule),
        }
    }
}

impl Decision {
    /// Allowed, as no rule says anything.
    pub const BY_DEFAULT: Decision =
        Decision { by: DecidedBy::Rule(RuleId::DEFAULT), allowed: true, would: None, logged: false };
    /// Denied by the guard.
    pub const BY_GUARD: Decision =
        Decision { by: DecidedBy::Guard, allowed: false, would: None, logged: true };

    /// Why it cannot be had though a rule allows it.
    pub fn no_pool(&self) -> Option<NoPool> {
        match self.by {
            DecidedBy::NoPool(why, _) => Some(why),
            DecidedBy::Guard | DecidedBy::Rule(_) => None,
        }
    }

    /// The rule in report mode that would have denied what was allowed.
    pub fn would_deny(&self) -> Option<RuleId> {
        self.would.filter(|_| self.allowed)
    }
}

/// Why something is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The guard refuses the address.
    Guard(Refusal),
    /// This rule says so.
    Rule(RuleId),
    /// The pool that the client asks for, or that is the user's own, cannot be left from.
    NoPool(NoPool),
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::Guard(refusal) => refusal.fmt(f),
            Denial::Rule(RuleId::DEFAULT) => f.write_str("no rule allows it"),
            Denial::Rule(RuleId(number)) => write!(f, "rule {number}"),
            Denial::NoPool(why) => f.write_str(why.words()),
        }
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Denial {
        Denial::Guard(refusal)
    }
}
