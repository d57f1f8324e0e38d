//! What is known of parents: how they are configured, and how their servers are.

use std::sync::Arc;
use std::time::Instant;

use super::doubt::ClosedOn;
use super::drained::{DrainedServers, ParentServerState};
use super::hash::identity;
use super::health::ServerHealth;
use super::spec::{Fallback, ParentServer, ParentSpec, ResolveAt};
use crate::policy::way::{ParentId, Way};

/// All parents that there are.
#[derive(Clone, Debug, Default)]
pub struct Parents {
    /// Each at the place that is its number; nothing where a name is gone.
    by_number: Vec<Option<Arc<Parent>>>,
}

/// A parent, and how its servers are.
#[derive(Debug)]
pub struct Parent {
    spec: ParentSpec,
    /// Of each server, at its place.
    health: Vec<Arc<ServerHealth>>,
    /// What a sticky choice knows each by.
    identities: Vec<u64>,
    /// What was set of them by hand.
    drained: DrainedServers,
}

impl Parents {
    /// These, by the numbers that their names have.
    pub fn new(parents: impl IntoIterator<Item = (ParentId, Arc<Parent>)>) -> Parents {
        let mut by_number = Vec::new();
        for (ParentId(number), parent) in parents {
            let place = usize::from(number);
            if by_number.len() <= place {
                by_number.resize(place + 1, None);
            }
            by_number[place] = Some(parent);
        }
        Parents { by_number }
    }

    /// The parent of this number; `None` where there is none any more.
    pub fn parent(&self, ParentId(number): ParentId) -> Option<&Arc<Parent>> {
        self.by_number.get(usize::from(number))?.as_ref()
    }

    /// Whether what leaves by this way is resolved by the parent that it goes through.
    pub fn resolves_there(&self, way: Way) -> bool {
        let parent = way.parent.and_then(|id| self.parent(id));
        parent.is_some_and(|parent| parent.spec.resolve == ResolveAt::There)
    }

    /// Whether datagrams may go by this parent: through it, or where it takes none without it.
    pub fn takes_datagrams(&self, id: ParentId) -> bool {
        let may = |parent: &Arc<Parent>| parent.spec.udp || parent.spec.fallback == Fallback::Direct;
        self.parent(id).is_some_and(may)
    }

    /// Every parent with its number.
    pub fn iter(&self) -> impl Iterator<Item = (ParentId, &Arc<Parent>)> {
        let numbered = (0..=u16::MAX).map(ParentId).zip(&self.by_number);
        numbered.filter_map(|(id, parent)| Some((id, parent.as_ref()?)))
    }
}

impl Parent {
    /// A parent as it is configured. Servers that `before` has, too, are as they were there.
    pub fn new(spec: ParentSpec, before: Option<&Parent>, now: Instant) -> Parent {
        let kept = |server: &ParentServer| {
            let before = before?;
            let place = before.spec.servers.iter().position(|one| one.hops == server.hops)?;
            before.health.get(place).cloned()
        };
        let health = |server| kept(server).unwrap_or_else(|| Arc::new(ServerHealth::new(now)));
        let health = spec.servers.iter().map(health).collect();
        let identities = spec.servers.iter().map(identity).collect();
        let were = before.map(|before| (&before.spec.servers[..], &before.drained));
        let drained = DrainedServers::of(&spec.servers, were);
        Parent { spec, health, identities, drained }
    }

    /// What is configured of it.
    pub fn spec(&self) -> &ParentSpec {
        &self.spec
    }

    /// What a sticky choice knows the server at this place by.
    pub(super) fn identity(&self, place: usize) -> u64 {
        self.identities.get(place).copied().unwrap_or_default()
    }

    /// The server at this place.
    pub fn server(&self, place: usize) -> Option<&ParentServer> {
        self.spec.servers.get(place)
    }

    /// How the server at this place is.
    pub fn health(&self, place: usize) -> Option<&ServerHealth> {
        self.health.get(place).map(|health| &**health)
    }

    /// Takes note that a try of this server failed, and by its own fault; whether it is away by that and was not before.
    pub fn failed(&self, place: usize, now: Instant) -> bool {
        let ParentSpec { max_fails, fail_timeout, .. } = self.spec;
        self.health(place).is_some_and(|health| health.failed(max_fails, fail_timeout, now))
    }

    /// Takes note that this server closed the connection in place of a reply; whether that is a fail of its own, and not what the target
    /// or the client brought about.
    pub fn closed(&self, place: usize, on: ClosedOn<'_>, now: Instant) -> bool {
        self.health(place).is_some_and(|health| health.closed(on, self.spec.fail_timeout, now))
    }

    /// Takes note that this server led a session on.
    pub fn led_on(&self, place: usize, now: Instant) {
        self.health(place).into_iter().for_each(|health| health.served(now));
    }

    /// Takes note that another server led a session on for which this one closed the connection.
    pub fn was_outdone(&self, place: usize) {
        self.health(place).into_iter().for_each(|health| health.doubts().was_reached());
    }

    /// Takes note that nothing came of a dial of this server from this entry of a pool; whether from another nothing did, too.
    pub fn not_reached_from(&self, place: usize, entry: u64) -> bool {
        self.health(place).is_some_and(|health| health.doubts().not_reached_from(entry))
    }

    /// Takes note that this server did what it was asked for, or was well enough to say why not; whether it is back by that. A
    /// server that has had no fail is only looked at: nothing is written that others read.
    pub fn succeeded(&self, place: usize) -> bool {
        self.health(place).is_some_and(ServerHealth::succeeded)
    }

    /// Whether sessions are kept from this server for now.
    pub fn is_away(&self, place: usize) -> bool {
        self.health(place).is_some_and(ServerHealth::is_away)
    }

    /// How the server at this place stands.
    pub fn state(&self, place: usize) -> ParentServerState {
        let is_backup = self.server(place).is_some_and(|server| server.weight == 0);
        match (self.drained.has(place), self.is_away(place), is_backup) {
            (true, ..) => ParentServerState::Drained,
            (false, true, _) => ParentServerState::Down,
            (false, false, true) => ParentServerState::Backup,
            (false, false, false) => ParentServerState::Up,
        }
    }

    /// A bit for each server that an operator keeps sessions from.
    pub(super) fn drained(&self) -> u64 {
        self.drained.bits()
    }

    /// Has the server at this place get no new session; or takes that back, and with it what failed there. Whether anything is another
    /// by that.
    pub fn set_drained(&self, place: usize, drained: bool) -> bool {
        let changed = self.drained.set(place, drained);
        // Whoever restores a server has seen to it: sessions need not keep away any longer.
        let back = !drained && self.succeeded(place);
        changed || back
    }
}
