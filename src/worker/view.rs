//! A session as it stands: the one place that makes the fields of its record, for the record and for whoever asks before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::connection::Connection;
use super::core::Core;
use super::slot::{Phase, Slot};
use crate::auth::Identity;
use crate::config::{AuthMethod, Choice};
use crate::observe::ParentFault;
use crate::observe::filter::Candidate;
use crate::observe::live::{LiveEgress, LiveSession, LiveState, SessionId, command_name};
use crate::relay::{Engine, Side};
use crate::session::Facts;

/// A look at a session. It costs no system call and no allocation before [`View::keep`].
#[derive(Debug)]
pub(super) struct View<'a> {
    core: &'a Core,
    slot: &'a Slot,
    facts: &'a Facts,
    state: LiveState,
    bytes_up: u64,
    bytes_down: u64,
}

impl View<'_> {
    pub(super) fn of<'a>(core: &'a Core, slot: &'a Slot) -> View<'a> {
        let Slot { phase, connection } = slot;
        let mut bytes = (connection.bytes_up, connection.bytes_down);
        let state = match phase {
            Phase::Handshake(handshake) => match handshake.session.facts().command {
                Some(_) => LiveState::Connecting,
                None => LiveState::Handshake,
            },
            Phase::Relaying(relaying) => {
                bytes = (relaying.relay.bytes(Side::Client), relaying.relay.bytes(Side::Target));
                LiveState::Relaying
            }
            Phase::Associated(associated) => {
                bytes = (associated.association.up.bytes, associated.association.down.bytes);
                LiveState::Associated
            }
            Phase::Redialling(_) => LiveState::Connecting,
            Phase::Linger(_) | Phase::Kept(_) | Phase::Between => LiveState::Lingering,
        };
        View { core, slot, facts: facts(slot), state, bytes_up: bytes.0, bytes_down: bytes.1 }
    }

    pub(super) fn id(&self) -> SessionId {
        let Core { boot, number, .. } = *self.core;
        SessionId { boot, worker: number as u16, serial: self.slot.connection.serial }
    }

    /// Bytes both ways.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes_up + self.bytes_down
    }

    /// What a filter judges it by.
    pub(super) fn candidate(&self) -> Candidate<'_> {
        let connection = &self.slot.connection;
        Candidate {
            user: self.facts.identity.as_ref().and_then(Identity::user).map(|user| &**user),
            client: connection.peer.ip(),
            target: self.facts.target.as_ref(),
            address: connection.address,
            command: self.facts.command,
            protocol: self.facts.protocol,
            listener: connection.snapshot.listener_name(connection.listener).map(|name| &**name),
            rule: self.rule().map(|name| &**name),
            egress: self.egress_name(),
            state: self.state,
            age_ms: self.since(connection.times.accepted_ms),
            bytes: self.bytes(),
        }
    }

    /// All of it, at this time of day.
    pub(super) fn keep(&self, time: SystemTime) -> LiveSession {
        let Slot { phase, connection } = self.slot;
        let Connection { times, .. } = connection;
        let verified = self.facts.identity.as_ref().and_then(Identity::user).cloned();
        let (age_ms, client) = (self.since(times.accepted_ms), connection.peer);
        let associated = match phase {
            Phase::Associated(associated) => Some(associated),
            _ => None,
        };
        let datagrams = associated.map(|associated| &associated.association);
        let engine = match phase {
            Phase::Relaying(relaying) => Some(relaying.relay.engine()),
            _ => connection.engine,
        };
        LiveSession {
            // By a clock that may have jumped meanwhile.
            time: time.checked_sub(Duration::from_millis(age_ms)).unwrap_or(time),
            began: self.core.start + Duration::from_millis(times.accepted_ms),
            id: self.id(),
            // An IPv4 client of a dual-stack listener is an IPv4 client.
            client: SocketAddr::new(client.ip().to_canonical(), client.port()),
            listener: connection.snapshot.listener_name(connection.listener).cloned(),
            protocol: self.facts.protocol.map(Choice::name),
            proxied: connection.proxied.clone(),
            method: self.method(verified.is_some()),
            user: verified.or_else(|| self.facts.claimed_user.as_deref().map(Into::into)),
            user_typed: self.facts.user_typed().map(Into::into),
            command: self.facts.command.map(command_name),
            target: self.facts.target.clone(),
            address: connection.address,
            local: connection.local.or_else(|| associated?.local_address()),
            rule: self.rule().cloned(),
            verdict: self.facts.decision.map(|decision| if decision.allowed { "allow" } else { "deny" }),
            would_deny: self
                .facts
                .decision
                .and_then(|decision| self.core.rule_names.of(decision.would_deny()?).cloned()),
            limit: self.facts.limit.and_then(|limit| self.core.snapshot.limit_name(limit).cloned()),
            egress: self.egress().map(Box::new),
            egress_refused: self.facts.no_pool().map(String::into_boxed_str),
            parent: self.core.led(connection.key).map(|led| Arc::clone(&led.parent)),
            parent_server: self.core.led(connection.key).and_then(|led| led.server.clone()),
            parent_cause: self.core.led(connection.key).and_then(|led| led.fault).map(ParentFault::name),
            reply: self.facts.told(),
            engine: datagrams.map(|_| "datagram").or(engine.map(Engine::name)),
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            datagrams_up: datagrams.map_or(0, |association| association.up.datagrams),
            datagrams_down: datagrams.map_or(0, |association| association.down.datagrams),
            handshake_ms: times.handshake_ms,
            dns_ms: times.dns_ms,
            connect_ms: times.connect_ms,
            state: self.state,
            age_ms,
            idle_ms: self.since(times.active_ms),
        }
    }

    /// The name of the pool that it leaves from.
    fn egress_name(&self) -> Option<&str> {
        let associated = || match &self.slot.phase {
            Phase::Associated(associated) => associated.association.pool()?.pool().map(|pool| &**pool.name()),
            _ => None,
        };
        self.slot.connection.left.as_ref().and_then(|left| left.name()).or_else(associated)
    }

    /// What is known of the pool that it leaves from.
    fn egress(&self) -> Option<LiveEgress> {
        match (&self.slot.connection.left, &self.slot.phase) {
            (Some(left), _) => left.seen(),
            (None, Phase::Associated(associated)) => {
                let pool = associated.association.pool()?;
                let name = pool.pool()?.name().clone();
                let address = associated.association.source();
                Some(LiveEgress { name, address, session_key: pool.session_key() })
            }
            (None, _) => None,
        }
    }

    /// The name of what decided about it.
    fn rule(&self) -> Option<&Arc<str>> {
        self.core.name_of(self.facts.decision?.by)
    }

    fn since(&self, moment_ms: u64) -> u64 {
        self.core.ms(self.core.now).saturating_sub(moment_ms)
    }
}

/// What is known of a session.
pub(super) fn facts(slot: &Slot) -> &Facts {
    match &slot.phase {
        Phase::Handshake(handshake) => handshake.session.facts(),
        _ => &slot.connection.facts,
    }
}

impl View<'_> {
    /// How the client said who it is, `known` to be a user or not.
    fn method(&self, known: bool) -> Option<&'static str> {
        match self.facts.method {
            _ if self.facts.by_name => Some("ident"),
            // Nobody is known by method none: it was the certificate.
            None | Some(AuthMethod::None) if known => Some("certificate"),
            method => method.map(method_name),
        }
    }
}

fn method_name(method: AuthMethod) -> &'static str {
    match method {
        AuthMethod::None => "none",
        AuthMethod::Password => "password",
        AuthMethod::Gssapi => "gssapi",
    }
}
