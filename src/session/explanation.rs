//! What would come of a request, and why: for an operator who asks, by the same policy and the same answers of name servers as
//! a session. Nothing is dialled.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;

use super::failure::Failure;
use super::socks5::rep_of;
use crate::auth::username::UsernameRules;
use crate::auth::{Identity, SessionParameters, check_name};
use crate::config::{Choice, nearest, quoted, unknown_value};
use crate::dns::{Answer, DnsError};
use crate::limits;
use crate::policy::accounts::{AccountFill, AccountHolder, LimitId, LimitTerms, Reached};
use crate::policy::egress::PoolSelect;
use crate::policy::explain::Explained;
use crate::policy::own_ports::OwnPorts;
use crate::policy::parents::{Fallback, Parents};
use crate::policy::{Allowed, Incoming, Object, Policy, Subject, Verdict};
use crate::proto::address::{Host, Name, Target};
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;

/// A request that nobody has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supposed {
    /// Who asks.
    pub identity: Identity,
    /// What is said of the session beside.
    pub parameters: Option<Box<SessionParameters>>,
    /// Where the client comes from.
    pub client: IpAddr,
    /// The listener that it comes by, by its name or its address as it is configured; `None`: the first one.
    pub listener: Option<Box<str>>,
    /// What for.
    pub command: RequestCommand,
    /// The target: of an association that of its datagrams.
    pub target: Target,
    /// When; `None`: now.
    pub at: Option<Timestamp>,
}

impl Supposed {
    /// What a request is made of, by name; all but the target may be left out.
    pub const FIELDS: [&str; 6] = ["user", "from", "to", "command", "listener", "at"];

    /// Reads the texts of the fields.
    ///
    /// # Errors
    /// Which of them is wrong, and why.
    pub fn read<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Result<Supposed, String> {
        let identity = match text("user") {
            None => Identity::Anonymous,
            Some(name) => {
                check_name(name).map_err(|error| format!("`user`: {error}"))?;
                Identity::User(name.into())
            }
        };
        let client = text("from").map_or(Ok(Ipv4Addr::LOCALHOST.into()), |typed| {
            typed.parse().map_err(|_| format!("`from`: {} is no address", quoted(typed)))
        })?;
        let words = RequestCommand::ALL.iter().map(|(word, _)| *word);
        let command = text("command").map_or(Ok(RequestCommand::Connect), |typed| {
            RequestCommand::from_name(typed)
                .ok_or_else(|| format!("`command`: {}", unknown_value(typed, words.clone())))
        })?;
        let typed = text("to").ok_or("`to`: expected HOST:PORT")?;
        // Who waits for a connection need not know from which port it comes.
        let least = if command == RequestCommand::Bind { 0 } else { 1 };
        let target = match command {
            RequestCommand::Resolve | RequestCommand::ResolvePtr => resolved(typed),
            _ => target(typed, least),
        };
        let target = target.map_err(|what| format!("`to`: {}: {what}", quoted(typed)))?;
        let at = text("at").map(|typed| {
            let what = "is no time such as 2027-01-31T08:00:00Z";
            typed.parse().map_err(|_| format!("`at`: {} {what}", quoted(typed)))
        });
        let listener = text("listener").map(Box::from);
        Ok(Supposed { identity, parameters: None, client, listener, command, target, at: at.transpose()? })
    }

    /// Takes the user's name for one as a client types it, with parameters of the session in it.
    ///
    /// # Errors
    /// What is wrong with these.
    pub fn with_typed_name(self, username: Option<&UsernameRules>) -> Result<Supposed, String> {
        let (Some(username), Identity::User(typed)) = (username, &self.identity) else { return Ok(self) };
        let (bare, parameters) = username
            .suppose(typed)
            .map_err(|fault| format!("`user`: the session parameters of {}: {fault}", quoted(typed)))?;
        Ok(Supposed { identity: Identity::User(bare.into()), parameters, ..self })
    }

    /// Whom policy judges, where its connection comes in like this.
    pub(super) fn subject(&self, incoming: Incoming) -> Subject<'_> {
        let Supposed { identity, parameters, command, .. } = self;
        Subject { incoming, identity, parameters: parameters.as_deref(), command: *command }
    }

    /// How its connection comes in, where these are the listeners, by all that they are called and their numbers.
    ///
    /// # Errors
    /// There is no such listener, and which one may be meant.
    pub fn incoming(&self, listeners: &[(String, u16)]) -> Result<Incoming, String> {
        let number = match &self.listener {
            None => listeners.first().map(|(_, number)| *number).unwrap_or_default(),
            Some(wanted) => {
                let texts = listeners.iter().map(|(text, _)| text.as_str());
                let found = listeners.iter().find(|(text, _)| **text == **wanted);
                found.map(|(_, number)| *number).ok_or_else(|| {
                    let what = format!("`listener`: {} is none of the listeners", quoted(wanted));
                    nearest(wanted, texts)
                        .map_or(what.clone(), |near| format!("{what}; did you mean {near}?"))
                })?
            }
        };
        Ok(Incoming { client: SocketAddr::new(self.client, 0), listener: number })
    }
}

/// Reads `HOST:PORT`, with this port at least.
fn target(typed: &str, least: u16) -> Result<Target, String> {
    let (host, port) = typed.rsplit_once(':').ok_or("expected HOST:PORT")?;
    let port = port.parse().ok().filter(|port: &u16| *port >= least);
    let port = port.ok_or_else(|| format!("expected a port of {least} to 65535"))?;
    let host = Host::parse(host.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Target { host, port })
}

/// Reads what is only asked about: a host, beside which a port says nothing.
fn resolved(typed: &str) -> Result<Target, String> {
    let host = match Host::parse(typed.as_bytes()) {
        Ok(host) => host,
        Err(error) => target(typed, 0).map_err(|_| error.to_string())?.host,
    };
    Ok(Target { host, port: 0 })
}

/// What would come of it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The request.
    pub supposed: Supposed,
    /// How its connection comes in.
    pub incoming: Incoming,
    /// What is said before there is an address: of a name, of an association, of BIND for whoever comes.
    pub first: Option<Explained>,
    /// Of what that is said.
    about: FirstAbout,
    /// By what an association leaves that may be had, and each of its datagrams with it.
    association: Option<Allowed>,
    /// Why the name has no address, where it was asked for and has none.
    pub unresolved: Option<DnsError>,
    /// Each address, and what is said of it.
    pub addresses: Vec<(SocketAddr, Explained)>,
    /// The code of the reply; where it is success, the target has a say yet.
    pub reply: Rep,
    /// The limits that it would come under ([`Explanation::tell_limits`]).
    pub limits: Vec<ExplainedLimit>,
    /// The limit that would refuse it now.
    pub refused_by: Option<LimitId>,
    /// From where it would leave ([`Explanation::tell_egress`]); `None`: from where the kernel says.
    pub egress: Option<ExplainedEgress>,
    /// Through whom it would go; `None`: straight to the target.
    pub parent: Option<ExplainedParent>,
}

/// Of what something is said before there is an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstAbout {
    /// Of whatever comes.
    Anything,
    /// Of a name that is resolved then.
    Name,
    /// Of a name that a parent is told: there is no address to come.
    ToldName,
}

/// The parent that a session would go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedParent {
    /// What it is called.
    pub name: Arc<str>,
    /// Whether it is told the name of the target and resolves it.
    pub told_name: bool,
    /// Whether the command goes through a parent such as this: where not, the request is refused.
    pub takes: bool,
    /// What becomes of it where no server can be had.
    pub fallback: Fallback,
}

/// A limit that a session would come under.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedLimit {
    /// Which.
    pub limit: LimitId,
    /// In whose account it would count; `None`: in one of its own.
    pub holder: Option<AccountHolder>,
    /// What it allows.
    pub terms: LimitTerms,
    /// What is used of it; `None` where nobody has used anything, or no server was asked.
    pub fill: Option<AccountFill>,
    /// What would be gone beyond now.
    pub refuses: Option<Reached>,
}

/// By what a request is judged.
#[derive(Clone, Copy, Debug)]
pub struct Judges<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The ports that associations have.
    pub own_ports: &'a OwnPorts,
    /// The parents, where there are any.
    pub parents: Option<&'a Parents>,
}

/// The pool that a session would leave from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExplainedEgress {
    /// The one that is meant is not there.
    Missing,
    /// This one.
    Pool {
        /// What it is called.
        name: Arc<str>,
        /// How a session comes to its address.
        select: PoolSelect,
        /// The address; `None` where any session may have another.
        address: Option<IpAddr>,
        /// How many entries the pool has for the target.
        entries: usize,
        /// How many of them serve now.
        serving: usize,
        /// The interface that it leaves by, where that is not there.
        missing_interface: Option<Arc<str>>,
        /// Whether it leads to the target: it has an address of that family.
        leads: bool,
    },
}

impl Explanation {
    /// Judges as far as that goes without the addresses of a name. The name is there where it is to be resolved then, and told
    /// of by [`Explanation::resolved`].
    pub fn begin(supposed: Supposed, incoming: Incoming, judges: Judges<'_>) -> (Explanation, Option<Name>) {
        let mut told = Explanation {
            supposed,
            incoming,
            first: None,
            about: FirstAbout::Anything,
            association: None,
            unresolved: None,
            addresses: Vec::new(),
            reply: Rep::Succeeded,
            limits: Vec::new(),
            refused_by: None,
            egress: None,
            parent: None,
        };
        let name = told.judge_first(judges);
        told.tell_parent(judges.parents);
        (told, name)
    }

    fn judge_first(&mut self, judges: Judges<'_>) -> Option<Name> {
        let (target, command) = (self.supposed.target.clone(), self.supposed.command);
        let nobody = matches!(target.host, Host::Ip(ip) if ip.is_unspecified());
        if command == RequestCommand::UdpAssociate || (command == RequestCommand::Bind && nobody) {
            let first = self.explain(Object::AnyPeer, judges);
            self.association = match first.verdict {
                Verdict::Allow(allowed) if command == RequestCommand::UdpAssociate => Some(allowed),
                _ => None,
            };
            let opens = self.keep(first);
            if !opens || command == RequestCommand::Bind {
                return None;
            }
        }
        match target.host {
            Host::Ip(ip) => self.judge(&[ip], judges),
            Host::Name(name) => {
                if let Some(there) = self.told_to_a_parent(&name, judges) {
                    self.about = FirstAbout::ToldName;
                    self.keep(there);
                    return None;
                }
                let first = self.explain(Object::Unresolved(&name, target.port), judges);
                self.about = FirstAbout::Name;
                if self.keep(first) {
                    return Some(name);
                }
            }
        }
        None
    }

    /// Judges the addresses that the name has.
    pub fn resolved(&mut self, answer: Answer, judges: Judges<'_>) {
        match answer {
            Ok(addresses) => self.judge(&addresses, judges),
            Err(error) => {
                if self.supposed.command != RequestCommand::UdpAssociate {
                    self.reply = rep_of(&Failure::Dns(error.clone()));
                }
                self.unresolved = Some(error);
            }
        }
        self.tell_parent(judges.parents);
    }

    /// Has each verdict say what each rule comes to, of the first [`limits::EXPLAINED_ADDRESSES`], or of fewer where there are
    /// many rules ([`limits::EXPLAINED_STEPS`]). It takes as long as there are rules: no worker does it.
    pub fn tell_steps(&mut self, policy: &Policy) {
        let Supposed { command, target, .. } = &self.supposed;
        let subject = self.supposed.subject(self.incoming);
        let name = match &target.host {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        };
        if let Some(first) = &mut self.first {
            let object = match (self.about, name) {
                (FirstAbout::Name, Some(name)) => Object::Unresolved(name, target.port),
                (FirstAbout::ToldName, Some(name)) => Object::Told(name, target.port),
                _ => Object::AnyPeer,
            };
            first.steps = Some(policy.steps(&subject, object));
        }
        let mut told =
            self.first.iter().filter_map(|first| first.steps.as_ref()).map(Vec::len).sum::<usize>();
        for (address, explained) in self.addresses.iter_mut().take(limits::EXPLAINED_ADDRESSES) {
            if told >= limits::EXPLAINED_STEPS {
                break;
            }
            let steps = policy.steps(&subject, Object::of(*command, *address, name));
            told += steps.len();
            explained.steps = Some(steps);
        }
    }

    /// Whether it may be had, were it there.
    pub fn is_allowed(&self) -> bool {
        match self.addresses.is_empty() {
            true => self.unresolved.is_none() && self.first.as_ref().is_some_and(|first| self.lets_go(first)),
            false => self.addresses.iter().any(|(_, explained)| self.lets_go(explained)),
        }
    }

    /// What decides: of several addresses the first that may be had, the first that is allowed, or else the last.
    pub fn deciding(&self) -> Option<&Explained> {
        let each = || self.addresses.iter().map(|(_, explained)| explained);
        let had = || each().find(|explained| self.lets_go(explained));
        let allowed = || each().find(|explained| allows(explained));
        had().or_else(allowed).or_else(|| each().next_back()).or(self.first.as_ref())
    }

    /// Whether a datagram to what this is said of is to go by another way than its association does: all that an association
    /// sends leaves from one socket of a family, so that it is dropped.
    pub fn strays(&self, explained: &Explained) -> bool {
        match (&self.association, &explained.verdict) {
            (Some(by), Verdict::Allow(wanted)) => !wanted.is_met_by(&by.route, by.way),
            _ => false,
        }
    }

    fn lets_go(&self, explained: &Explained) -> bool {
        allows(explained) && !self.strays(explained)
    }

    /// By what verdict it leaves: a datagram as its association does.
    pub(super) fn leaves_by(&self) -> Option<Verdict> {
        match self.association {
            Some(by) => Some(Verdict::Allow(by)),
            None => self.deciding().map(|explained| explained.verdict),
        }
    }

    /// Whether a parent is told the name of its target.
    pub(super) fn is_told_name(&self) -> bool {
        self.about == FirstAbout::ToldName
    }

    /// What is said of a name that a parent resolves, where one leads there.
    fn told_to_a_parent(&self, name: &Name, judges: Judges<'_>) -> Option<Explained> {
        let told = [RequestCommand::Connect, RequestCommand::Bind, RequestCommand::Resolve];
        let parents = judges.parents.filter(|_| told.contains(&self.supposed.command))?;
        let there = self.explain(Object::Told(name, self.supposed.target.port), judges);
        let leads = |explained: &Explained| match explained.verdict {
            Verdict::Allow(allowed) => parents.resolves_there(allowed.way),
            Verdict::Deny(..) => false,
        };
        Some(there).filter(leads)
    }

    fn judge(&mut self, addresses: &[IpAddr], judges: Judges<'_>) {
        let Supposed { target, command, .. } = self.supposed.clone();
        let name = match &target.host {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        };
        for ip in addresses {
            let address = SocketAddr::new(*ip, target.port);
            let explained = self.explain(Object::of(command, address, name), judges);
            self.addresses.push((address, explained));
        }
        let allowed =
            |(_, explained): &(SocketAddr, Explained)| matches!(explained.verdict, Verdict::Allow(_));
        // A datagram that may not go on is dropped, and its sender told nothing.
        if command != RequestCommand::UdpAssociate && !self.addresses.iter().any(allowed) {
            self.reply = self.addresses.last().map_or(Rep::HostUnreachable, |(_, last)| reply_of(last));
        }
    }

    /// Keeps what is said first; whether it goes on from there.
    fn keep(&mut self, first: Explained) -> bool {
        let goes_on = matches!(first.verdict, Verdict::Allow(_));
        if !goes_on && (self.first.is_none() || self.supposed.command != RequestCommand::UdpAssociate) {
            self.reply = reply_of(&first);
        }
        self.first = Some(first);
        goes_on
    }

    fn explain(&self, object: Object<'_>, judges: Judges<'_>) -> Explained {
        judges.policy.explain(&self.supposed.subject(self.incoming), object, judges.own_ports)
    }
}

fn allows(explained: &Explained) -> bool {
    matches!(explained.verdict, Verdict::Allow(_))
}

fn reply_of(explained: &Explained) -> Rep {
    match explained.verdict {
        Verdict::Allow(_) => Rep::Succeeded,
        Verdict::Deny(denial, _) => rep_of(&Failure::Denied(denial)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::policy::ParentId;
    use crate::policy::parents::{Parent, ParentSpec, ResolveAt, by_hand};
    use crate::policy::rules::by_hand::{allow, deny, rules, to};
    use crate::policy::rules::spec::Action;
    use crate::policy::rules::{RuleKey, RuleStep};
    use crate::policy::way::Way;

    fn parents(resolve: ResolveAt) -> Parents {
        let spec = ParentSpec { resolve, ..by_hand::spec("up", vec![by_hand::server("192.0.2.1", 1, 1)]) };
        Parents::new([(ParentId(1), Arc::new(Parent::new(spec, None, Instant::now())))])
    }

    /// No name server is asked for a name that a parent resolves, and no rule by addresses speaks of it.
    #[test]
    fn a_name_that_a_parent_is_told_is_judged_as_it_is() {
        let way = Way { egress: None, parent: Some(ParentId(1)) };
        let set =
            rules(Action::Deny, [deny(|rule| rule.to = to(["10.0.0.0/8"])), allow(|rule| rule.way = way)]);
        let policy = Policy::default().with_rules(Some(set));
        let asked = |resolve, text: &'static str| {
            let parents = parents(resolve);
            let supposed = Supposed::read(|field| Some(text).filter(|_| field == "to")).unwrap();
            let incoming = Incoming { client: "127.0.0.1:0".parse().unwrap(), listener: 0 };
            let own_ports = OwnPorts::default();
            let judges = Judges { policy: &policy, own_ports: &own_ports, parents: Some(&parents) };
            let (mut told, name) = Explanation::begin(supposed, incoming, judges);
            told.tell_steps(&policy);
            let steps = told.first.iter().flat_map(|first| first.steps.clone()).flatten();
            (name.is_some(), told.is_allowed(), steps.map(|(_, step)| step).collect::<Vec<_>>())
        };
        let unmet = RuleStep::Fails { key: RuleKey::To, negated: false };
        assert_eq!(asked(ResolveAt::There, "a.example:80"), (false, true, vec![unmet, RuleStep::Decides]));
        assert_eq!(
            asked(ResolveAt::Here, "a.example:80"),
            (true, true, vec![RuleStep::Open, RuleStep::Decides])
        );
        assert_eq!(asked(ResolveAt::There, "8.8.8.8:80"), (false, true, Vec::new()));
    }
}
