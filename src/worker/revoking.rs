//! Sessions that the rules of a reload deny, where such are to end: each is judged anew as it was when it asked.

use std::net::SocketAddr;

use super::Worker;
use super::core::Core;
use super::handshake::{Handshake, Waits};
use super::phases;
use super::slot::{Fate, Phase, Slot};
use super::view::facts;
use crate::limits;
use crate::outcome::Reason;
use crate::policy::{Decision, Object, Policy, RoutedAddress, Subject, Verdict};
use crate::proto::address::{Host, Name};
use crate::proto::request::RequestCommand;
use crate::session::{Facts, Peers};

/// What becomes of a session under other rules.
#[derive(Debug)]
enum Rejudged {
    Stays,
    /// Of the addresses that it dials these are left.
    Dials(Vec<RoutedAddress>),
    Denied(Decision),
}

impl Worker {
    /// Judges the sessions anew from this place to that one, and ends those that are denied, of which a turn has so many.
    pub(super) fn revoke(&mut self, at: &mut usize, ends: usize, ended: &mut u64) {
        let mut left = limits::KILLS_PER_TURN;
        while *at < ends && left > 0 {
            if let Some(slot) = self.slots.get_mut(*at) {
                let key = slot.connection.key;
                match rejudged(&self.core, slot) {
                    Rejudged::Stays => {}
                    Rejudged::Dials(addresses) => {
                        self.with(key, |core, slot| phases::dial_again(core, slot, addresses));
                        left -= 1;
                    }
                    Rejudged::Denied(decision) => {
                        // Neither end is to take what it has for the whole.
                        slot.phase.reset_on_close();
                        remember(&self.core, slot, decision);
                        self.with(key, |_, _| Fate::Close(Reason::Revoked));
                        *ended += 1;
                        left -= 1;
                    }
                }
            }
            *at += 1;
        }
    }
}

/// The record says what denies it now.
fn remember(core: &Core, slot: &mut Slot, decision: Decision) {
    match &mut slot.phase {
        // It is counted as the handshake ends.
        Phase::Handshake(handshake) => handshake.session.put_decision(decision),
        _ => {
            slot.connection.facts.decision = Some(decision);
            core.note_decision(&decision);
        }
    }
}

/// What is said now of a session. What has not been judged yet stays: it will be. So does what has ended.
fn rejudged(core: &Core, slot: &Slot) -> Rejudged {
    let Slot { phase, connection } = slot;
    let facts = facts(slot);
    let Some(command) = facts.command else { return Rejudged::Stays };
    let subject = facts.subject(connection.incoming(), command);
    let anew = Anew { policy: &core.policy, subject, facts };
    match phase {
        Phase::Handshake(handshake) => anew.of_handshake(handshake),
        Phase::Relaying(_) | Phase::Redialling(_) => match connection.address {
            Some(address) => anew.of(anew.object(address)),
            None => anew.of_told(),
        },
        // Its datagrams are judged one by one.
        Phase::Associated(_) => anew.of(Object::AnyPeer),
        Phase::Linger(_) | Phase::Kept(_) | Phase::Between => Rejudged::Stays,
    }
}

/// A session that is judged anew.
struct Anew<'a> {
    policy: &'a Policy,
    subject: Subject<'a>,
    facts: &'a Facts,
}

impl<'a> Anew<'a> {
    fn of(&self, object: Object<'_>) -> Rejudged {
        match self.policy.judge(&self.subject, object) {
            Verdict::Allow(_) => Rejudged::Stays,
            Verdict::Deny(_, decision) => Rejudged::Denied(decision),
        }
    }

    fn of_handshake(&self, handshake: &Handshake) -> Rejudged {
        match &handshake.waits_for {
            Waits::Addresses => self.of_name(),
            Waits::Parent(reaching) => match reaching.addresses() {
                [] => self.of_told(),
                list => match self.of_addresses(list) {
                    Rejudged::Dials(_) => Rejudged::Stays,
                    rejudged => rejudged,
                },
            },
            Waits::Name => match self.facts.target.as_ref().map(|target| (&target.host, target.port)) {
                Some((Host::Ip(ip), port)) => self.of(Object::To(SocketAddr::new(*ip, port), None)),
                _ => Rejudged::Stays,
            },
            Waits::Connection(dial) => self.of_addresses(dial.addresses()),
            Waits::Listener(search) => self.of_peers(&search.peers),
            Waits::Peer(listening) => self.of_peers(&listening.peers),
            Waits::Front(_) => self.of(Object::AnyPeer),
            Waits::Bytes
            | Waits::Login { .. }
            | Waits::Retry { .. }
            | Waits::Penalty { .. }
            | Waits::Context { .. }
            | Waits::RetryContext { .. }
            | Waits::Connected(_)
            | Waits::Associated(_) => Rejudged::Stays,
        }
    }

    /// What was asked of policy for a name, where nothing else is known of its target.
    fn of_name(&self) -> Rejudged {
        match self.facts.target.as_ref().map(|target| (&target.host, target.port)) {
            Some((Host::Name(name), port)) => self.of(Object::Unresolved(name, port)),
            _ => Rejudged::Stays,
        }
    }

    /// What was asked of policy for a name that a parent is told.
    fn of_told(&self) -> Rejudged {
        match self.facts.target.as_ref().map(|target| (&target.host, target.port)) {
            Some((Host::Name(name), port)) => self.of(Object::Told(name, port)),
            _ => Rejudged::Stays,
        }
    }

    /// A listener waits on where any of its peers is left: each that comes is judged.
    fn of_peers(&self, peers: &Peers) -> Rejudged {
        match peers {
            Peers::Any(..) => self.of(Object::AnyPeer),
            Peers::Only(list) => match self.of_addresses(list) {
                Rejudged::Dials(_) => Rejudged::Stays,
                rejudged => rejudged,
            },
        }
    }

    fn of_addresses(&self, list: &[RoutedAddress]) -> Rejudged {
        let (mut left, mut denied) = (Vec::new(), None);
        for &RoutedAddress { address, .. } in list {
            let object = Object::of(self.subject.command, address, self.facts.name());
            match self.policy.judge(&self.subject, object) {
                Verdict::Allow(allowed) => left.push(RoutedAddress { address, allowed }),
                Verdict::Deny(_, decision) => denied = Some(decision),
            }
        }
        match denied {
            None => Rejudged::Stays,
            Some(decision) if left.is_empty() => Rejudged::Denied(decision),
            Some(_) => Rejudged::Dials(left),
        }
    }

    /// What was asked of policy for the address of a relay. The peer of a BIND is known by the port that was asked for, where
    /// it was named.
    fn object(&self, address: SocketAddr) -> Object<'a> {
        let name: Option<&Name> = self.facts.name();
        let named = match self.facts.target.as_ref() {
            Some(target) if self.subject.command == RequestCommand::Bind => match target.host {
                Host::Ip(ip) if ip.is_unspecified() => None,
                Host::Ip(_) | Host::Name(_) => Some(target.port),
            },
            _ => None,
        };
        let port = named.unwrap_or(address.port());
        Object::of(self.subject.command, SocketAddr::new(address.ip(), port), name)
    }
}

#[cfg(test)]
mod tests;
