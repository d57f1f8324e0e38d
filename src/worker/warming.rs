//! Keeps connections to servers of parents ready for the sessions to come: as many as `warm` says, where the last sessions went.

use std::net::SocketAddr;

use super::core::Core;
use super::dial::{Dial, Dialler};
use super::server_talk::WarmStream;
use super::tokens::{WARM_BEHIND, idle_key};
use super::warm::Opening;
use super::watch::Edge;
use crate::limits;
use crate::observe::Counted;
use crate::policy::parents::{ParentServer, ParentSpec, SendProxy, UserFrom};
use crate::policy::{Allowed, Route, RoutedAddress};
use crate::shares::Source;

/// Whether a session that leaves like this may have one that was made before anything was known of it: what leaves from a pool of
/// addresses or by a route of its own may not, and what tells of its client can not.
pub(super) fn may_be_warm(spec: &ParentSpec, allowed: &Allowed) -> bool {
    spec.warm > 0
        && spec.send_proxy == SendProxy::Off
        && allowed.way.egress.is_none()
        && allowed.route == Route::default()
}

impl Core {
    /// A connection to this server that is ready.
    pub(super) fn take_warm(
        &mut self,
        spec: &ParentSpec,
        server: &ParentServer,
        allowed: &Allowed,
    ) -> Option<WarmStream> {
        if !may_be_warm(spec, allowed) {
            return None;
        }
        let taken = self.warm.take(server.number);
        self.note_warm();
        taken
    }

    /// Sees to it that the sessions to come find connections to this server, which is there at this address.
    pub(super) fn keep_warm(
        &mut self,
        spec: &ParentSpec,
        server: &ParentServer,
        (allowed, at): (&Allowed, SocketAddr),
    ) {
        let Some(first) = server.first() else { return };
        if !may_be_warm(spec, allowed) || self.drains {
            return;
        }
        let client_alone = spec.user_from == UserFrom::Client && server.hops.len() == 1;
        for _ in self.warm.of(server.number)..spec.warm {
            if self.warm.len() >= limits::PARENT_WARM_ALL_MAX || self.full() {
                break;
            }
            let opening =
                (!client_alone).then(|| Opening { protocol: first.protocol, login: first.login(None) });
            let second = self.pools.second_attempts.nothing(Source::from(at.ip()));
            let to = RoutedAddress { address: at, allowed: Allowed { private: true, ..Allowed::default() } };
            let until = self.now + limits::PARENT_WARM_TIME;
            let dial = Dial::new(vec![to], self.snapshot.congestion, until, second).behind(WARM_BEHIND);
            let Core { now, registry, counters, policy, warm, .. } = self;
            let dialler = Dialler { key: idle_key(0), now: *now, registry, policy, counters };
            warm.begin((server.number, opening), until, (dial, dialler));
        }
        self.note_warm();
    }

    /// An event of one of them.
    pub(super) fn warm_event(&mut self, number: u32, edge: Edge) {
        let Core { now, registry, counters, policy, warm, kit, .. } = self;
        let dialler = Dialler { key: idle_key(number), now: *now, registry, policy, counters };
        warm.event(number, edge, dialler, kit.scratch());
        self.note_warm();
    }

    /// Closes those that waited long enough, or all of them.
    pub(super) fn expire_warm(&mut self) {
        if self.warm.is_empty() {
            return;
        }
        match self.drains {
            true => self.warm.clear(),
            false => self.warm.expire(self.now),
        }
        self.note_warm();
    }

    /// Closes one of them, where there is one: somebody needs its descriptor.
    pub(super) fn spare_warm(&mut self) -> bool {
        let spared = self.warm.make_room();
        if spared {
            self.note_warm();
        }
        spared
    }

    fn note_warm(&mut self) {
        let Core { warm, counters, .. } = self;
        counters.set(Counted::ParentWarm, warm.len() as u64);
        warm.tell(&counters.parent_servers);
    }
}
