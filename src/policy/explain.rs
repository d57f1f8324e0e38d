//! Why policy says what it says: for operators who ask. No session waits for any of this.

use std::net::{IpAddr, SocketAddr};

use super::own_ports::OwnPorts;
use super::rules::{Asked, Question, RuleId, RuleStep};
use super::{Object, Policy, Refusal, Subject, Verdict};
use crate::proto::address::Name;
use crate::proto::request::RequestCommand;

/// A verdict, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What policy says.
    pub verdict: Verdict,
    /// What the guard has against the address. A rule may let a special-purpose one pass all the same.
    pub guard: Option<Refusal>,
    /// What each rule comes to, in their order, up to the one that decides; `None` where it was not asked for
    /// ([`Policy::steps`]).
    pub steps: Option<Vec<(RuleId, RuleStep)>>,
}

impl Policy {
    /// The verdict about an object, as a session would have it, and what the guard has against it. Of a datagram it is not known whether its way would
    /// lead to this machine where no list of addresses says so.
    pub fn explain(&self, subject: &Subject<'_>, object: Object<'_>, own_ports: &OwnPorts) -> Explained {
        let (verdict, guarded) = match (subject.command, object) {
            (RequestCommand::UdpAssociate, Object::To(to, name)) => (
                self.judge_datagram(subject, to, name, own_ports, |_| false),
                self.guard.check_datagram(to, own_ports, |_| false),
            ),
            (_, Object::To(address, _) | Object::From(address, _)) => {
                (self.judge(subject, object), self.guard.check(address))
            }
            (_, Object::AnyPeer | Object::Unresolved(..) | Object::Told(..)) => {
                (self.judge(subject, object), Ok(()))
            }
        };
        Explained { verdict, guard: guarded.err(), steps: None }
    }

    /// What each rule comes to: where an address reaches or carries another, for the one of them that decides. It takes as long as there
    /// are rules: no worker asks for it.
    pub fn steps(&self, subject: &Subject<'_>, object: Object<'_>) -> Vec<(RuleId, RuleStep)> {
        let Some(rules) = &self.rules else { return Vec::new() };
        let question = |target| Question {
            user: subject.identity.user().map(|user| &**user),
            source: subject.incoming.client.ip().to_canonical(),
            listener: subject.incoming.listener,
            command: subject.command,
            target,
        };
        let (address, name): (SocketAddr, Option<&Name>) = match object {
            Object::AnyPeer => return rules.explain(&question(Asked::Anything)),
            Object::Unresolved(name, port) => return rules.explain(&question(Asked::Name(name, port))),
            Object::Told(name, port) => return rules.explain(&question(Asked::Told(name, port))),
            Object::To(address, name) | Object::From(address, name) => (address, name),
        };
        let of = |ip: IpAddr| question(Asked::Address(ip.to_canonical(), address.port(), name));
        let ruling = self.ruling(rules, subject, object);
        let carried = self.guard.carried_by(address.ip()).map(IpAddr::from);
        let each: Vec<_> =
            [address.ip()].into_iter().chain(self.reached(address.ip())).chain(carried).map(of).collect();
        let decides = |question: &&Question<'_>| {
            let said = rules.judge(question);
            (said.rule, said.action) == (ruling.rule, ruling.action)
        };
        each.iter().find(decides).map(|question| rules.explain(question)).unwrap_or_default()
    }
}
