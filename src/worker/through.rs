//! CONNECT through a parent: a handshake whose connection leads there, with the attempts at it in [`Reaching`].

use std::net::SocketAddr;
use std::sync::Arc;

use super::connection::Connection;
use super::core::Core;
use super::dial::Won;
use super::goal::{Caller, Goal, LedHandshake, ReachStep};
use super::handshake::{Handshake, Waits};
use super::leaving::{pool_by, pools_towards};
use super::next::Next;
use super::reaching::Reaching;
use super::tokens::PARENT_SOCKET;
use super::watch::{Edge, rewatch_stream};
use crate::auth::Identity;
use crate::config::AuthMethod;
use crate::dns::Answer;
use crate::limits;
use crate::observe::Timed;
use crate::policy::egress::SessionPool;
use crate::policy::parents::{ParentAsked, ResolveAt};
use crate::policy::{Allowed, Decision, ParentId, RoutedAddress};
use crate::proto::request::RequestCommand;
use crate::relay::Engine;
use crate::relay::datagram::{LedDatagrams, Outward};
use crate::session::{Announced, AssociateError, DialError, Facts, Input};
use crate::sys::machine::may_lead_here;

/// For whom a connection is made.
pub(super) fn caller(connection: &Connection) -> Caller {
    let client = Some(connection.peer).filter(|client| *client != limits::UNIX_CLIENT);
    Caller { key: connection.key, client, ip: connection.peer.ip(), checks: false }
}

impl Handshake {
    /// Has the target's name told to a parent.
    pub(super) fn reach_name(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        allowed: Allowed,
    ) -> Next {
        let kept = self
            .kept
            .take()
            .filter(|kept| self.session.exchanges() && kept.by_name && kept.is_for(self.session.facts()));
        if let Some(mut kept) = kept {
            let (left, led) = (kept.left.take(), kept.led.take());
            if let Some(over) = kept.take_by_name(allowed) {
                connection.left = left;
                core.put_led(connection.key, led);
                let dialed = self.go_over(core, connection, over);
                return Next::Tell(Input::Dialed(Ok(dialed)));
            }
        }
        let (Some(id), Some(target)) = (allowed.way.parent, self.session.facts().target.clone()) else {
            return Next::Answer(Input::Dialed(Err(DialError::ParentAway)));
        };
        self.reach(core, connection, id, Goal::Named(target, allowed))
    }

    /// Has a parent connect to one of these addresses, which its way leads through.
    pub(super) fn reach_addresses(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        (id, mut addresses): (ParentId, Vec<RoutedAddress>),
    ) -> Next {
        if let Some(dialed) = self.reuse(core, connection, &addresses) {
            return Next::Tell(Input::Dialed(Ok(dialed)));
        }
        addresses.retain(|one| one.allowed.way.parent == Some(id));
        connection.address = addresses.first().map(|first| first.address);
        self.reach(core, connection, id, Goal::Addresses(addresses))
    }

    /// Has a parent take the datagrams of an association; where it takes none they go without it.
    pub(super) fn reach_datagrams(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        (id, announced): (ParentId, Announced),
        outward: Outward,
    ) -> Next {
        let parent = core.snapshot.parents.as_ref().and_then(|parents| parents.parent(id));
        let spec = parent.map(|parent| parent.spec());
        let by_name = spec.is_some_and(|spec| spec.resolve == ResolveAt::There);
        let takes = spec.is_some_and(|spec| spec.udp);
        let datagrams = LedDatagrams { relay: None, by_name };
        self.led = Some(Box::new(LedHandshake { announced, outward, datagrams, control: None }));
        if !takes {
            return self.associate(core, connection, announced, outward);
        }
        let decision = self.session.facts().decision.unwrap_or(Decision::BY_DEFAULT);
        let Outward { route, way } = outward;
        let allowed = Allowed { route, way, private: false, decision };
        self.reach(core, connection, id, Goal::Datagrams(allowed))
    }

    fn reach(&mut self, core: &mut Core, connection: &mut Connection, id: ParentId, goal: Goal) -> Next {
        let limit = connection.snapshot.config.timeouts.connect;
        self.enter(core, connection, limit, Waits::Bytes);
        let parent = core.snapshot.parents.as_ref().and_then(|parents| parents.parent(id)).map(Arc::clone);
        let Some(parent) = parent else {
            // It is gone with the configuration that named it.
            return self.fails(DialError::ParentAway);
        };
        let pools = self.pools_of(core, connection, &goal);
        let asked = asked(self.session.facts(), connection);
        let reaching = Reaching::new((id, parent), goal, &asked, self.deadline, self.way.last_index);
        let reaching = reaching.with_early(self.early_bytes(connection)).leaving_from(pools);
        let mut reaching = Box::new(reaching);
        let reached = reaching.try_next(core, caller(connection));
        self.reached(core, connection, reaching, reached)
    }

    /// An event of one of its sockets.
    pub(super) fn reach_event(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        mut reaching: Box<Reaching>,
        (socket_index, edge): (u8, Edge),
    ) -> Next {
        let reached = reaching.event(core, caller(connection), socket_index, edge);
        self.reached(core, connection, reaching, reached)
    }

    /// The addresses of a server.
    pub(super) fn reach_resolved(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        answer: &Answer,
    ) -> Next {
        let Waits::Parent(mut reaching) = self.take_waits() else { return Next::Wait };
        let reached = reaching.resolved(core, caller(connection), answer);
        self.reached(core, connection, reaching, reached)
    }

    /// A moment has come.
    pub(super) fn reach_timer(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        mut reaching: Box<Reaching>,
    ) -> Next {
        let reached = reaching.timer(core, caller(connection));
        self.reached(core, connection, reaching, reached)
    }

    fn reached(
        &mut self,
        core: &mut Core,
        connection: &mut Connection,
        reaching: Box<Reaching>,
        reached: ReachStep,
    ) -> Next {
        core.put_led(connection.key, reaching.led());
        match reached {
            ReachStep::Pending => {
                self.waits_for = Waits::Parent(reaching);
                self.wait(core, connection)
            }
            ReachStep::Stands(won) if self.led.is_some() => {
                core.put_led(connection.key, reaching.held());
                self.take_control(core, connection, won)
            }
            ReachStep::Stands(won) => {
                core.put_led(connection.key, reaching.held());
                (self.way, connection.left) = (won.way, won.left);
                connection.times.connect_ms = Some(core.time(Timed::Connect, self.phase_began));
                connection.address = reaching.address();
                connection.local = Some(won.dialed.local);
                connection.engine = Some(Engine::Copy);
                self.waits_for = Waits::Connected(won.upstream);
                Next::Tell(Input::Dialed(Ok(won.dialed)))
            }
            ReachStep::Failed(error) => self.fails(error),
            ReachStep::Direct => {
                core.put_led(connection.key, Some(reaching.passed()));
                reaching.count_passed(core);
                self.way.last_index = reaching.last_index();
                if let Some(led) = &self.led {
                    let (announced, outward) = (led.announced, led.outward);
                    return self.associate(core, connection, announced, outward);
                }
                match reaching.into_addresses() {
                    Some(mut addresses) => {
                        addresses.iter_mut().for_each(|one| one.allowed.way.parent = None);
                        self.dial(core, connection, addresses)
                    }
                    None => Next::Answer(Input::Direct),
                }
            }
        }
    }
}

impl Handshake {
    /// What the client sent behind its request, where it is sent on as it is and nothing has to stand in front of it or be asked for
    /// it: it may go before there is an answer.
    fn early_bytes(&self, connection: &Connection) -> Vec<u8> {
        let facts = self.session.facts();
        let tunnel = facts.command == Some(RequestCommand::Connect) && !self.session.exchanges();
        let plain = self.client.tls.is_none() && facts.method != Some(AuthMethod::Gssapi);
        let free = connection.places.is_none() && connection.snapshot.config.proxy_out.is_empty();
        if tunnel && plain && free { self.session.pending().to_vec() } else { Vec::new() }
    }

    /// The pools that servers are left to from.
    fn pools_of(&self, core: &mut Core, connection: &Connection, goal: &Goal) -> Vec<SessionPool> {
        let (facts, client) = (self.session.facts(), &self.client.socket);
        match goal {
            Goal::Addresses(list) => pools_towards(core, connection, facts, client, list),
            Goal::Named(_, allowed) | Goal::Datagrams(allowed) => {
                pool_by(core, connection, facts, client, allowed.way).into_iter().collect()
            }
        }
    }

    /// No server has done what it was asked for.
    fn fails(&self, error: DialError) -> Next {
        Next::Answer(match self.led {
            Some(_) => Input::Associated(Err(AssociateError::Through(error))),
            None => Input::Dialed(Err(error)),
        })
    }

    /// A parent takes datagrams: the association begins, and ends with the parent's control connection.
    fn take_control(&mut self, core: &mut Core, connection: &mut Connection, won: Won) -> Next {
        let relay = SocketAddr::new(won.dialed.bound.ip().to_canonical(), won.dialed.bound.port());
        let stream = won.upstream.stream;
        let ours = core.policy.is_own_port(relay, &core.own_ports, may_lead_here);
        let may = core.policy.check_relay(relay.ip(), won.dialed.address.ip()).is_ok();
        let watched = rewatch_stream(&core.registry, connection.key, PARENT_SOCKET, &stream);
        let Some(led) = self.led.as_mut().filter(|_| may && !ours && relay.port() != 0 && watched.is_ok())
        else {
            return self.fails(DialError::ParentAway);
        };
        connection.left = won.left;
        led.datagrams.relay = Some(relay);
        led.control = Some(stream);
        let (announced, outward) = (led.announced, led.outward);
        self.associate(core, connection, announced, outward)
    }
}

/// What a server is chosen by.
pub(super) fn asked<'a>(facts: &'a Facts, connection: &Connection) -> ParentAsked<'a> {
    let user = facts.identity.as_ref().and_then(Identity::user).map(|user| user.as_bytes());
    let session = facts.parameters.as_ref().and_then(|said| said.session.as_deref()).map(str::as_bytes);
    ParentAsked { session, user, source: connection.peer.ip(), target: None }
}
