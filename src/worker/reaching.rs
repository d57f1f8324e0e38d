//! A connection to a target through a parent: which of its servers, the dial to that one, and what is said to it until the
//! target has the word. It is no phase: whoever wants the connection drives it, and is told what comes of it.

mod faults;
mod told;

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::core::Core;
use super::dial::{Dial, DialedBy, Dialler, Won};
use super::goal::{Caller, Goal, ReachStep};
use super::server_talk::{AskedOf, Heard, Talking, WarmStream};
use super::watch::{Edge, rewatch_stream};
use crate::dns::Answer;
use crate::limits;
use crate::observe::ParentFault;
use crate::policy::egress::SessionPool;
use crate::policy::parents::{Parent, ParentAsked, ParentServer, Trying, UserFrom};
use crate::policy::{Allowed, ParentId, RoutedAddress, Way};
use crate::proto::address::Host;
use crate::proto::client::{ProxyBound, TalkError};
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;
use crate::session::{DialError, Dialed};
use crate::shares::Source;

/// The attempts at one connection.
#[derive(Debug)]
pub(super) struct Reaching {
    id: ParentId,
    parent: Arc<Parent>,
    goal: Goal,
    /// Which of the addresses is asked for.
    nth: usize,
    /// The client's name, where it is known to the parent by that.
    user: Option<Box<[u8]>>,
    /// The pools that servers are left to from, as far as they are.
    pools: Vec<SessionPool>,
    /// What the client sent behind its request, where it may go on before there is an answer.
    early: Vec<u8>,
    trying: Trying,
    /// The only server that is tried, and whether it was.
    only: Option<(usize, bool)>,
    /// The server that is tried.
    place: usize,
    /// Until when it is.
    until: Instant,
    /// An idle connection to it was of no use: it is dialled.
    cold: bool,
    stage: ReachStage,
    /// When all of it is given up.
    deadline: Instant,
    /// The socket index that was given last.
    last_index: u8,
    /// A bit for each server that has closed the connection in place of a reply.
    closers: u64,
    /// What our own machine did not have for one.
    lacking: Option<DialError>,
    /// What says most of those that came to nothing.
    gravest: Option<DialError>,
    /// The last fault of a server.
    fault: Cell<Option<ParentFault>>,
}

/// How far the server that is tried has come.
#[derive(Debug)]
enum ReachStage {
    /// None is tried.
    Idle,
    /// Its name is asked for.
    Resolving,
    Dialling(Dial),
    Talking(Talking),
}

impl Reaching {
    /// Attempts that have until `deadline`, behind socket indices that were given before.
    pub(super) fn new(
        (id, parent): (ParentId, Arc<Parent>),
        goal: Goal,
        asked: &ParentAsked<'_>,
        deadline: Instant,
        last_index: u8,
    ) -> Reaching {
        let target = match &goal {
            Goal::Named(target, _) => Some(target),
            // Each address is looked at by itself.
            Goal::Addresses(_) | Goal::Datagrams(_) => None,
        };
        let trying = parent.choose(&ParentAsked { target, ..*asked });
        let user = match parent.spec().user_from {
            UserFrom::Url => None,
            UserFrom::Client => asked.user.map(Into::into),
        };
        Reaching {
            id,
            parent,
            goal,
            nth: 0,
            user,
            pools: Vec::new(),
            early: Vec::new(),
            trying,
            only: None,
            place: 0,
            until: deadline,
            cold: false,
            stage: ReachStage::Idle,
            deadline,
            last_index,
            closers: 0,
            lacking: None,
            gravest: None,
            fault: Cell::default(),
        }
    }

    /// The same for a client that has sent this behind its request.
    pub(super) fn with_early(self, early: Vec<u8>) -> Reaching {
        Reaching { early, ..self }
    }

    /// The same, where servers are left to from these pools.
    pub(super) fn leaving_from(self, pools: Vec<SessionPool>) -> Reaching {
        Reaching { pools, ..self }
    }

    /// The same at this server alone.
    pub(super) fn at(self, place: usize) -> Reaching {
        Reaching { only: Some((place, false)), ..self }
    }

    /// Tries the next server.
    pub(super) fn try_next(&mut self, core: &mut Core, caller: Caller) -> ReachStep {
        loop {
            self.stage = ReachStage::Idle;
            if core.now >= self.deadline {
                return self.give_up();
            }
            let place = match &mut self.only {
                None => self.parent.next(&mut self.trying, &mut core.parent_turns, core.now),
                Some((place, had)) => (!std::mem::replace(had, true)).then_some(*place),
            };
            let Some(place) = place else { return self.give_up() };
            (self.place, self.cold) = (place, false);
            self.until = core.now + self.share(core.now);
            match self.try_server(core, caller) {
                Ok(()) => return ReachStep::Pending,
                Err(fault) => self.note(core, fault),
            }
        }
    }

    /// Begins with the server that was chosen.
    ///
    /// # Errors
    /// Its fault, where it has one; `None` where it cannot be asked for this.
    fn try_server(&mut self, core: &mut Core, caller: Caller) -> Result<(), Option<ParentFault>> {
        let Some(server) = self.parent.server(self.place) else { return Err(None) };
        // The first that it has words for.
        let speakable = |nth: &usize| server.reaches(&self.goal.target(*nth));
        let Some(nth) = (self.nth..self.goal.targets()).find(speakable) else {
            self.weigh(DialError::Replied(Rep::AddressTypeNotSupported));
            return Err(None);
        };
        self.nth = nth;
        // Whether one that is away takes connections again, no connection says that was there before.
        let away = self.parent.is_away(self.place);
        let cold = self.cold || caller.checks || away || self.goal.command() != RequestCommand::Connect;
        let warm = match cold || !self.is_current(core) {
            true => None,
            false => core.take_warm(self.parent.spec(), server, &self.goal.allowed(nth)),
        };
        if let Some(talking) = warm.and_then(|warm| self.adopt(core, caller, warm)) {
            self.stage = ReachStage::Talking(talking);
            return Ok(());
        }
        let Some(first) = self.parent.server(self.place).and_then(ParentServer::first) else {
            return Err(None);
        };
        let port = first.target.port;
        match &first.target.host {
            Host::Ip(ip) => self.dial(core, caller, &[SocketAddr::new(*ip, port)]),
            Host::Name(name) => {
                let name = name.clone();
                self.stage = ReachStage::Resolving;
                let (source, ticket) = (Source::from(caller.ip), caller.ticket());
                let Core { lookups, registry, now, .. } = core;
                let answer = match caller.checks {
                    // It has no session's descriptors.
                    true => lookups.lookup_beside(name.as_str(), source, ticket, registry, *now),
                    false => lookups.lookup(name.as_str(), source, ticket, registry, *now),
                };
                match answer {
                    Some(answer) => self.dial_resolved(core, caller, &answer),
                    None => Ok(()),
                }
            }
        }
    }

    /// The addresses of a server are there.
    pub(super) fn resolved(&mut self, core: &mut Core, caller: Caller, answer: &Answer) -> ReachStep {
        if !matches!(self.stage, ReachStage::Resolving) {
            return ReachStep::Pending;
        }
        match self.dial_resolved(core, caller, answer) {
            Ok(()) => ReachStep::Pending,
            Err(fault) => self.go_on(core, caller, fault),
        }
    }

    fn dial_resolved(
        &mut self,
        core: &mut Core,
        caller: Caller,
        answer: &Answer,
    ) -> Result<(), Option<ParentFault>> {
        core.note_answer(answer);
        let port =
            self.parent.server(self.place).and_then(ParentServer::first).map_or(0, |hop| hop.target.port);
        let addresses = answer.as_ref().map_err(|_| Some(ParentFault::Name))?;
        let addresses: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        self.dial(core, caller, &addresses)
    }

    /// Dials a server. Where it is the operator's word says, be it a private address; that it is no listener of ours is looked at
    /// all the same.
    fn dial(
        &mut self,
        core: &mut Core,
        caller: Caller,
        addresses: &[SocketAddr],
    ) -> Result<(), Option<ParentFault>> {
        let allowed = self.goal.allowed(self.nth);
        let way = Way { parent: None, ..allowed.way };
        let allowed = Allowed { way, private: true, ..allowed };
        let ours = |address: &&SocketAddr| core.policy.check_parent(**address).is_ok();
        // A look has one socket.
        let most = if caller.checks { 1 } else { addresses.len() };
        let list = addresses.iter().filter(ours).take(most);
        let list: Vec<RoutedAddress> = list.map(|&address| RoutedAddress { address, allowed }).collect();
        if list.is_empty() {
            return Err(Some(ParentFault::Loop));
        }
        let second = core.pools.second_attempts.nothing(Source::from(caller.ip));
        let congestion = core.snapshot.congestion;
        let mut dial = Dial::new(list, congestion, self.until, second)
            .leaving_from(self.pools.clone())
            .behind(self.last_index);
        let started = dial.start_next(&dialler(core, caller));
        started.map_err(|error| self.undialled(core, dial.unanswered(), error))?;
        self.stage = ReachStage::Dialling(dial);
        Ok(())
    }

    /// An event of a socket that was opened here.
    pub(super) fn event(
        &mut self,
        core: &mut Core,
        caller: Caller,
        socket_index: u8,
        edge: Edge,
    ) -> ReachStep {
        match &mut self.stage {
            ReachStage::Dialling(dial) if dial.has(socket_index) => {
                match dial.event(socket_index, edge, &dialler(core, caller)) {
                    Ok(None) => ReachStep::Pending,
                    Ok(Some(won)) => self.connected(core, caller, won, edge),
                    Err(error) => {
                        let unanswered = dial.unanswered();
                        let fault = self.undialled(core, unanswered, error);
                        self.go_on(core, caller, fault)
                    }
                }
            }
            ReachStage::Talking(talking) if talking.upstream.socket_index == socket_index => {
                talking.fin |= edge.fin;
                if edge.failed && talking.upstream.stream.take_error().is_some() {
                    return self.closed(core, caller, false);
                }
                self.hear(core, caller)
            }
            // Of an attempt that was closed in this very batch of events.
            ReachStage::Idle | ReachStage::Resolving | ReachStage::Dialling(_) | ReachStage::Talking(_) => {
                ReachStep::Pending
            }
        }
    }

    /// A moment has come at which it had to be looked at.
    pub(super) fn timer(&mut self, core: &mut Core, caller: Caller) -> ReachStep {
        if core.now >= self.until {
            return self.overdue(core, caller);
        }
        match &mut self.stage {
            ReachStage::Dialling(dial) if dial.next_at().is_some_and(|at| at <= core.now) => {
                match dial.start_next(&dialler(core, caller)) {
                    Ok(()) => ReachStep::Pending,
                    Err(error) => {
                        let unanswered = dial.unanswered();
                        let fault = self.undialled(core, unanswered, error);
                        self.go_on(core, caller, fault)
                    }
                }
            }
            _ => ReachStep::Pending,
        }
    }

    /// A server is connected. One that speaks or closes at once may do so in the event that tells of it: there is no other.
    fn connected(&mut self, core: &mut Core, caller: Caller, won: Won, edge: Edge) -> ReachStep {
        self.last_index = won.way.last_index;
        let Some(asked) = self.asked_of() else { return self.go_on(core, caller, None) };
        match Talking::begin(won, caller, &asked) {
            Ok(mut talking) => {
                talking.fin = edge.fin;
                self.stage = ReachStage::Talking(talking);
                if edge.readable || edge.fin { self.hear(core, caller) } else { ReachStep::Pending }
            }
            Err(Some(error)) => self.failed(core, caller, &error),
            Err(None) => self.go_on(core, caller, None),
        }
    }

    /// Goes on over a connection that was made before, where that is of any use.
    fn adopt(&mut self, core: &Core, caller: Caller, warm: WarmStream) -> Option<Talking> {
        let socket_index = self.last_index % limits::DIAL_SOCKETS + 1;
        rewatch_stream(&core.registry, caller.key, socket_index, &warm.stream).ok()?;
        self.last_index = socket_index;
        Talking::resume(warm, socket_index, &self.asked_of()?)
    }

    fn asked_of(&self) -> Option<AskedOf<'_>> {
        let server = self.parent.server(self.place)?;
        let (spec, user) = (self.parent.spec(), self.user.as_deref());
        Some(AskedOf { spec, server, goal: &self.goal, nth: self.nth, user })
    }

    /// Takes what the server has said.
    fn hear(&mut self, core: &mut Core, caller: Caller) -> ReachStep {
        let ReachStage::Talking(talking) = &mut self.stage else { return ReachStep::Pending };
        match talking.hear(core.kit.scratch()) {
            // What is asked for is known from the start: it is never waited for.
            Heard::Pending | Heard::Ready => self.go_early(core, caller),
            Heard::Done(bound) => self.stands(core, &bound),
            Heard::Closed { unfinished } => self.closed(core, caller, unfinished),
            Heard::Failed(error) => self.failed(core, caller, &error),
        }
    }

    /// Sends on what the client has sent already, as soon as it may go.
    fn go_early(&mut self, core: &mut Core, caller: Caller) -> ReachStep {
        let ReachStage::Talking(talking) = &mut self.stage else { return ReachStep::Pending };
        if talking.send_early(&self.early) { ReachStep::Pending } else { self.closed(core, caller, false) }
    }

    /// The tunnel stands.
    fn stands(&mut self, core: &mut Core, bound: &ProxyBound) -> ReachStep {
        let ReachStage::Talking(talking) = std::mem::replace(&mut self.stage, ReachStage::Idle) else {
            return ReachStep::Pending;
        };
        let Talking { upstream, server, local, warm, early_bytes, left, .. } = talking;
        if self.parent.succeeded(self.place) {
            let name = &self.parent.spec().name;
            tracing::info!(parent = %name, server = %self.label(), "a server of a parent is back");
        }
        self.leads_on(core.now);
        let allowed = self.goal.allowed(self.nth);
        if self.only.is_none() {
            self.count_session(core, warm);
            if let Some(one) = self.parent.server(self.place).filter(|_| self.is_current(core)) {
                core.keep_warm(self.parent.spec(), one, (&allowed, server));
            }
        }
        let bound = self.goal.bound(bound, (server, local));
        let address = self.goal.address(self.nth).unwrap_or(server);
        let dialed = Dialed { address, local, bound, decision: allowed.decision };
        let led_by = Some(server);
        let last_index = self.last_index;
        let way = DialedBy { allowed, last_index, led_by, early_bytes, reused: false };
        ReachStep::Stands(Won { upstream, dialed, way, left })
    }

    /// The time for the server that is tried is up. One that was asked for the target, and says nothing of it, may have asked that in
    /// vain: it is no worse for it, or whoever asks for a target that is not there would have everybody kept away from it. The
    /// target of a look is one that the operator knows.
    fn overdue(&mut self, core: &mut Core, caller: Caller) -> ReachStep {
        let fault = match &self.stage {
            ReachStage::Talking(talking) if talking.awaits_target() && !caller.checks => {
                match talking.heard {
                    true => self.weigh(DialError::TimedOut),
                    false => self.count_fault(core, ParentFault::TimedOut),
                }
                None
            }
            ReachStage::Talking(_) => Some(ParentFault::TimedOut),
            ReachStage::Resolving => {
                core.lookups.cancel(caller.ticket(), &core.registry, core.now);
                Some(ParentFault::Name)
            }
            ReachStage::Dialling(dial) => {
                dial.give_up(core.now);
                self.undialled(core, dial.unanswered(), DialError::TimedOut)
            }
            ReachStage::Idle => None,
        };
        self.go_on(core, caller, fault)
    }

    /// The server has closed the connection. One that was idle may have been closed before it heard of the session: it is dialled
    /// then, and nothing is held against it.
    ///
    /// One that closes in place of a reply may do so where the target is down, as many do, and is no worse for it until it does so for
    /// many. One that closes in the midst of its answer is.
    fn closed(&mut self, core: &mut Core, caller: Caller, unfinished: bool) -> ReachStep {
        let ReachStage::Talking(talking) = &self.stage else { return ReachStep::Pending };
        if talking.warm && !talking.heard {
            self.stage = ReachStage::Idle;
            self.cold = true;
            return match self.try_server(core, caller) {
                Ok(()) => ReachStep::Pending,
                Err(fault) => self.go_on(core, caller, fault),
            };
        }
        let closed = talking.closed();
        if !talking.awaits_target() || unfinished || caller.checks {
            return self.failed(core, caller, &closed);
        }
        let heard = talking.heard;
        let fault = self.closed_unanswered(core, caller.ip);
        if heard && fault.is_none() {
            // It is there, and may not want this target: that is no cause to do without it.
            self.weigh(DialError::ParentAway);
        }
        self.go_on(core, caller, fault)
    }

    /// The server says no, or nothing that it could mean.
    fn failed(&mut self, core: &mut Core, caller: Caller, error: &TalkError) -> ReachStep {
        let name = &self.parent.spec().name;
        tracing::debug!(parent = %name, server = %self.label(), %error, "a parent does not lead on");
        if *error == TalkError::Login && self.knows_the_client() {
            // The name is the client's: that it is not taken says nothing to others, and is no cause to do without the parent.
            self.count_fault(core, ParentFault::Login);
            self.weigh(DialError::ParentAway);
            return self.go_on(core, caller, None);
        }
        if error.is_the_proxys() {
            return self.go_on(core, caller, Some(ParentFault::of(error)));
        }
        if matches!(&self.stage, ReachStage::Talking(talking) if !talking.is_last()) {
            // It was asked for the next proxy: that is what cannot be had, and no word is said of the target.
            return self.go_on(core, caller, Some(ParentFault::of_next(error)));
        }
        let early = self.early_bytes();
        if !matches!(error, TalkError::Unspeakable(_)) {
            // It is well enough to say so.
            self.parent.succeeded(self.place);
        }
        self.weigh(DialError::Replied(error.rep()));
        self.stage = ReachStage::Idle;
        if self.nth + 1 < self.goal.targets()
            && core.now < self.until
            && (early == 0 || error.is_of_no_connection())
        {
            // Another address of the same target, by the same server. Bytes of the client that may have gone to the one before go to
            // no other.
            self.nth += 1;
            return match self.try_server(core, caller) {
                Ok(()) => ReachStep::Pending,
                Err(fault) => self.go_on(core, caller, fault),
            };
        }
        ReachStep::Failed(self.gravest.unwrap_or(DialError::ParentAway))
    }

    /// Goes on to the next server, where this one is of no use. Bytes of the client that it had may have reached the target: they go
    /// nowhere else.
    fn go_on(&mut self, core: &mut Core, caller: Caller, fault: Option<ParentFault>) -> ReachStep {
        self.note(core, fault);
        if self.early_bytes() > 0 {
            self.stage = ReachStage::Idle;
            return ReachStep::Failed(self.gravest.unwrap_or(DialError::ParentAway));
        }
        self.try_next(core, caller)
    }
}

/// What the attempts of a caller work with.
fn dialler(core: &Core, caller: Caller) -> Dialler<'_> {
    let Core { now, registry, counters, policy, .. } = core;
    Dialler { key: caller.key, now: *now, registry, policy, counters }
}
