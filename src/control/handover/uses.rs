//! What sessions of the old server have and use of limits: told by that until it ends, counted by the new one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::ending::OwnEnding;
use super::messages::{HandoverMessage, ToldUse};
use crate::admin::{OlderServer, OlderServers};
use crate::limits;
use crate::observe::{Counters, Totals};
use crate::policy::accounts::{
    AccountHolder, AccountKey, Accounts, CarriedUses, HolderNames, LiveUse, LiveUses,
};
use crate::policy::sources::{CarriedSources, Sources};
use crate::shares::Source;

/// What stands for a limit where sessions of sources are counted that have no account. No limit has a full stop in its name.
const SESSIONS_OF_SOURCES: &str = "limits.per_source.connections";

/// What a server looks at to tell it.
pub(in crate::control) struct UseTeller {
    pub(in crate::control) accounts: Arc<Accounts>,
    pub(in crate::control) names: Arc<HolderNames>,
    pub(in crate::control) sources: Option<Arc<Sources>>,
    pub(in crate::control) counters: Vec<Arc<Counters>>,
    /// What nobody has a session for is in a store, which the other reads.
    pub(in crate::control) is_kept: bool,
    ending: OwnEnding,
    /// Those before it, of which it tells, too.
    earlier: OlderServers,
    uses: LiveUses,
    told_sources: HashMap<Source, usize>,
    told_servers: Option<(u64, Vec<OlderServer>)>,
}

impl UseTeller {
    pub(in crate::control) fn new(
        (accounts, names): (Arc<Accounts>, Arc<HolderNames>),
        sources: Option<Arc<Sources>>,
        counters: Vec<Arc<Counters>>,
        is_kept: bool,
        (ending, earlier): (OwnEnding, OlderServers),
    ) -> UseTeller {
        UseTeller {
            accounts,
            names,
            sources,
            counters,
            is_kept,
            ending,
            earlier,
            uses: LiveUses::default(),
            told_sources: HashMap::new(),
            told_servers: None,
        }
    }

    /// What is to be told now, in messages that are not too long.
    pub(super) fn next(&mut self, now: Instant) -> Vec<HandoverMessage> {
        let sessions = Totals::of(self.counters.iter().map(|counters| &**counters)).active();
        let live = self.accounts.live_uses(&mut self.uses, !self.is_kept, now);
        let mut told: Vec<ToldUse> = live.into_iter().filter_map(|one| self.told(one)).collect();
        told.extend(self.sources_now());
        let own = self.ending.told(sessions).into_iter();
        let servers: Vec<OlderServer> =
            own.chain(self.earlier.list()).take(limits::HANDOVER_PREDECESSORS_MAX).collect();
        let servers = (sessions, servers);
        let is_news = self.told_servers.as_ref() != Some(&servers);
        self.told_servers = Some(servers.clone());
        let message = |uses| HandoverMessage::Uses { sessions, uses, servers: Some(servers.1.clone()) };
        let mut messages = Vec::new();
        let (mut uses, mut bytes) = (Vec::new(), limits::OLDER_SERVER_BYTES * servers.1.len());
        for one in told {
            // Numbers have twenty digits at most; every byte of a name may be written in six.
            bytes += 512 + 6 * (one.limit.len() + one.holder.len());
            if bytes > limits::HANDOVER_USES_BYTES && !uses.is_empty() {
                messages.push(message(std::mem::take(&mut uses)));
                bytes = limits::OLDER_SERVER_BYTES * servers.1.len();
            }
            uses.push(one);
        }
        if !uses.is_empty() || is_news {
            messages.push(message(uses));
        }
        messages
    }

    fn told(&self, one: LiveUse) -> Option<ToldUse> {
        let LiveUse { key, sessions, associations, since, up, down, drawn_ns: drawn } = one;
        let (limit, holder) = (self.names.limit_name(key.limit)?.to_string(), self.names.text(&key.holder)?);
        Some(ToldUse { limit, holder, sessions, associations, since, up, down, drawn })
    }

    /// The sources whose sessions are others than were told.
    fn sources_now(&mut self) -> Vec<ToldUse> {
        let Some(sources) = &self.sources else { return Vec::new() };
        let parts = (0..).map_while(|part| sources.sessions_of_part(part));
        let mut now: HashMap<Source, usize> = parts.flatten().filter(|(_, sessions)| *sessions > 0).collect();
        let gone: Vec<Source> =
            self.told_sources.keys().filter(|source| !now.contains_key(source)).copied().collect();
        now.extend(gone.into_iter().map(|source| (source, 0)));
        let changed = now.iter().filter(|(source, sessions)| self.told_sources.get(source) != Some(sessions));
        let told = changed.filter_map(|(source, sessions)| {
            let (ip, bits) = source.block();
            Some(ToldUse {
                limit: SESSIONS_OF_SOURCES.to_owned(),
                holder: self.names.text(&AccountHolder::Block(ip, bits))?,
                sessions: *sessions as u64,
                ..ToldUse::default()
            })
        });
        let told = told.collect();
        now.retain(|_, sessions| *sessions > 0);
        self.told_sources = now;
        told
    }
}

/// What is told of the server before this one, counted here until it ends.
pub(in crate::control) struct CarriedFromPredecessor {
    accounts: CarriedUses,
    names: Arc<HolderNames>,
    sources: Option<CarriedSources>,
    earlier: OlderServers,
}

impl fmt::Debug for CarriedFromPredecessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarriedFromPredecessor").field("accounts", &self.accounts).finish_non_exhaustive()
    }
}

impl Drop for CarriedFromPredecessor {
    fn drop(&mut self) {
        self.earlier.end();
    }
}

impl CarriedFromPredecessor {
    /// Begins with all that it told before it let go.
    pub(in crate::control) fn begin(
        (accounts, names): (Arc<Accounts>, Arc<HolderNames>),
        sources: Option<Arc<Sources>>,
        first: Vec<ToldUse>,
        earlier: OlderServers,
    ) -> CarriedFromPredecessor {
        let sources = sources.map(CarriedSources::new);
        let mut carried =
            CarriedFromPredecessor { accounts: CarriedUses::new(accounts), names, sources, earlier };
        carried.earlier.tell(Vec::new());
        first.into_iter().for_each(|told| carried.take(told, true));
        carried
    }

    /// Goes on with what came to it.
    pub(super) fn go_on(&mut self, sessions: u64, uses: Vec<ToldUse>, servers: Option<Vec<OlderServer>>) {
        // One of an earlier version tells of its sessions alone.
        let servers = servers.unwrap_or_else(|| vec![OlderServer { sessions, ..OlderServer::default() }]);
        self.earlier.tell(servers);
        uses.into_iter().for_each(|told| self.take(told, false));
    }

    fn take(&mut self, told: ToldUse, first: bool) {
        let ToldUse { limit, holder, sessions, associations, since, up, down, drawn } = told;
        let Some(holder) = self.names.holder(&holder) else { return };
        if limit == SESSIONS_OF_SOURCES {
            if let (Some(sources), AccountHolder::Block(ip, _)) = (&mut self.sources, holder) {
                sources.set(Source::from(ip), usize::try_from(sessions).unwrap_or(usize::MAX));
            }
            return;
        }
        // One that this configuration has not is nobody's limit.
        let Some(limit) = self.names.limit(&limit) else { return };
        let key = AccountKey { limit, holder };
        let told = LiveUse { key, sessions, associations, since, up, down, drawn_ns: drawn };
        match first {
            true => self.accounts.begin(told, Instant::now()),
            false => self.accounts.go_on(told, Instant::now()),
        }
    }
}
