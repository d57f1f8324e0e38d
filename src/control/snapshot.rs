//! What workers go by: made of the configuration, of what it names and of what this machine says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::certificates::Certificates;
use super::descriptors::DescriptorBudget;
use super::learner::Learner;
use super::limiting::Limiting;
use super::listener_names;
use super::locals::LocalList;
use super::numbers::Numbers;
use super::resolver_files::ResolverFiles;
use super::rules::OperatorRules;
use crate::auth::username::UsernameRules;
use crate::auth::{Clocks, Users, Verifier, gssapi};
use crate::config::{AuthMethod, Config, OnReload, Protocol};
use crate::dns;
use crate::limits;
use crate::observe::{LimitsInEffect, LineSender, RulesInEffect};
use crate::policy::accounts::{Accounts, HolderNames};
use crate::policy::sources::Sources;
use crate::policy::{Guard, Locals, Policy};
use crate::sys::congestion::CongestionControl;
use crate::sys::gssapi::ServiceCredentials;
use crate::threads::drop_apart;
use crate::worker::{Ceilings, ListenerName, Snapshot, today};

/// What snapshots are made of.
#[derive(Debug)]
pub(super) struct SnapshotMaker {
    config: Arc<Config>,
    /// The addresses of the listeners and of the admin endpoint, which no client may reach.
    listening: Vec<SocketAddr>,
    budget: DescriptorBudget,
    congestion: CongestionControl,
    /// Kept while nobody asks for it, as are `gssapi` and `sources`: its threads serve whoever asks again, and none of them
    /// is waited for by a worker that lets go of it last.
    verifier: Option<Arc<Verifier>>,
    gssapi: Option<Arc<gssapi::ContextAcceptor>>,
    sources: Option<Arc<Sources>>,
    limiting: Limiting,
    holder_names: Arc<HolderNames>,
    locals: LocalList,
    policy: Arc<Policy>,
    names: Arc<[Arc<ListenerName>]>,
    records: Option<LineSender>,
    learner: Option<Learner>,
    resolver_files: ResolverFiles,
    rules: Arc<OperatorRules>,
    certificates: Certificates,
    username: Option<Arc<UsernameRules>>,
    /// The rules before, and for how many seconds they are kept: workers go over to others meanwhile, so that none of them has
    /// to free a million names; nor has the control thread.
    retired: Vec<(Arc<OperatorRules>, u32)>,
    dns: Arc<dns::Settings>,
}

/// What a snapshot is made of beside the configuration, each of which was had before anything changes.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) budget: DescriptorBudget,
    pub(super) congestion: CongestionControl,
    pub(super) resolver_files: ResolverFiles,
    pub(super) rules: Arc<OperatorRules>,
    /// The numbers of limits.
    pub(super) limits: Numbers,
    /// The TLS of the listeners.
    pub(super) certificates: Certificates,
    /// How clients type parameters of their sessions, where they do.
    pub(super) username: Option<Arc<UsernameRules>>,
    /// `None` where there never was one.
    pub(super) verifier: Option<Arc<Verifier>>,
    /// `None` where there never was one.
    pub(super) gssapi: Option<Arc<gssapi::ContextAcceptor>>,
    /// `None` where there never was one.
    pub(super) records: Option<LineSender>,
    /// `None` where nothing is learned.
    pub(super) learner: Option<Learner>,
}

impl SnapshotMaker {
    /// Asks the machine for its addresses.
    pub(super) fn new(
        config: Arc<Config>,
        parts: Parts,
        listening: Vec<SocketAddr>,
        names: Arc<[Arc<ListenerName>]>,
    ) -> SnapshotMaker {
        let locals = LocalList::read(parts.rules.ways.namespaces());
        let Parts { budget, congestion, resolver_files, rules, limits, certificates, .. } = parts;
        let Parts { username, verifier, gssapi, records, learner, .. } = parts;
        let mut limiting = Limiting::new();
        limiting.adopt(&config, &rules, limits);
        let mut maker = SnapshotMaker {
            sources: sources(&config, None),
            limiting,
            holder_names: Arc::default(),
            policy: Arc::new(policy(&config, &rules, &names, &listening, locals.known())),
            dns: Arc::new(resolver_files.settings(&config)),
            names,
            listening,
            config,
            budget,
            congestion,
            verifier,
            gssapi,
            locals,
            records,
            learner,
            resolver_files,
            rules,
            certificates,
            username,
            retired: Vec::new(),
        };
        maker.put_holder_names();
        maker
    }

    /// Makes snapshots of this from now on; a part is another only where it has changed.
    pub(super) fn adopt(
        &mut self,
        config: Arc<Config>,
        parts: Parts,
        listening: Vec<SocketAddr>,
        names: Arc<[Arc<ListenerName>]>,
    ) {
        let old = std::mem::replace(&mut self.config, config);
        let other_rules = !Arc::ptr_eq(&self.rules, &parts.rules)
            || old.policy.log != self.config.policy.log
            || old.username.pools != self.config.username.pools
            || old.server.listen != self.config.server.listen
            || old.listeners != self.config.listeners;
        let Parts { budget, congestion, resolver_files, rules, limits, certificates, .. } = parts;
        let Parts { username, verifier, gssapi, records, learner, .. } = parts;
        (self.learner, self.certificates, self.username) = (learner, certificates, username);
        self.replace_rules(rules);
        if self.locals.follow(self.rules.ways.namespaces()) {
            self.locals.refresh();
        }
        (self.budget, self.congestion, self.resolver_files) = (budget, congestion, resolver_files);
        (self.verifier, self.gssapi, self.records) = (verifier, gssapi, records);
        self.sources = sources(&self.config, self.sources.take());
        self.limiting.adopt(&self.config, &self.rules, limits);
        self.put_listeners(listening, names);
        if other_rules || old.guard != self.config.guard || old.dns.dns64 != self.config.dns.dns64 {
            self.put_policy();
        }
        let dns = self.resolver_files.settings(&self.config);
        if !dns.is_as(&self.dns) {
            self.dns = Arc::new(dns);
        }
        self.put_holder_names();
    }

    /// Knows these listeners from now on, and keeps clients from them.
    pub(super) fn put_listeners(&mut self, listening: Vec<SocketAddr>, names: Arc<[Arc<ListenerName>]>) {
        let other = names != self.names || listening != self.listening;
        if names != self.names {
            self.names = names;
        }
        self.listening = listening;
        if other {
            self.put_policy();
            self.put_holder_names();
        }
    }

    fn put_policy(&mut self) {
        let known = self.locals.known();
        self.policy = Arc::new(policy(&self.config, &self.rules, &self.names, &self.listening, known));
    }

    /// Has sessions judged by these rules from now on.
    pub(super) fn put_rules(&mut self, rules: Arc<OperatorRules>) {
        self.replace_rules(rules);
        let numbers = self.limiting.numbers().clone();
        self.limiting.adopt(&self.config, &self.rules, numbers);
        self.put_policy();
        self.put_holder_names();
    }

    fn replace_rules(&mut self, rules: Arc<OperatorRules>) {
        if !Arc::ptr_eq(&rules, &self.rules) {
            let old = std::mem::replace(&mut self.rules, rules);
            self.retired.push((old, limits::RETIRED_RULES_SECONDS));
        }
    }

    /// The rules that policies are made of.
    pub(super) fn made_rules(&self) -> Arc<OperatorRules> {
        Arc::clone(&self.rules)
    }

    /// The rules by which sessions are judged.
    pub(super) fn rules(&self) -> RulesInEffect {
        let (names, parents) = (Arc::clone(&self.rules.names), self.rules.ways.parents.all().cloned());
        RulesInEffect { set: self.policy.rules().cloned(), names, parents }
    }

    /// The limits that sessions come under.
    pub(super) fn limits(&self) -> LimitsInEffect {
        LimitsInEffect {
            limits: self.limiting.in_effect().to_vec(),
            names: self.holder_names(),
            accounts: Some(self.limiting.accounts().clone()),
            sources: self.sources.clone().filter(|_| self.config.per_source.connections > 0),
        }
    }

    /// What limits and those who have accounts are called.
    pub(super) fn holder_names(&self) -> Arc<HolderNames> {
        Arc::clone(&self.holder_names)
    }

    fn put_holder_names(&mut self) {
        let limits = self.limiting.numbers().names();
        // Workers are given them: they are others only where limits are.
        let limits = match *self.holder_names.limits == *limits {
            true => self.holder_names.limits.clone(),
            false => limits.into(),
        };
        let (rules, listeners) =
            (Arc::clone(&self.rules.names), listener_names::called(&self.config, &self.names));
        self.holder_names = Arc::new(HolderNames { limits, rules, listeners });
    }

    /// Has the last of what was learned written.
    pub(super) fn finish_learning(&mut self) {
        self.learner.take().iter().for_each(Learner::finish);
    }

    /// What the sockets to targets are given.
    pub(super) fn congestion(&self) -> CongestionControl {
        self.congestion
    }

    /// Where passwords are verified, if they ever were.
    pub(super) fn verifier(&self) -> Option<Arc<Verifier>> {
        self.verifier.clone()
    }

    /// What tells how many tokens of security contexts wait, if any ever could.
    pub(super) fn contexts(&self) -> Option<gssapi::ContextQueue> {
        self.gssapi.as_ref().map(|acceptor| acceptor.queue())
    }

    /// What a reload begins with.
    pub(super) fn parts(&self) -> Parts {
        Parts {
            budget: self.budget,
            congestion: self.congestion,
            resolver_files: self.resolver_files.clone(),
            rules: self.rules.clone(),
            limits: self.limiting.numbers().clone(),
            certificates: self.certificates.clone(),
            username: self.username.clone(),
            verifier: self.verifier.clone(),
            gssapi: self.gssapi.clone(),
            records: self.records.clone(),
            learner: self.learner.clone(),
        }
    }

    /// What this worker is to go by from now on.
    pub(super) fn snapshot(&self, worker: usize) -> Arc<Snapshot> {
        let config = &self.config;
        Arc::new(Snapshot {
            config: config.clone(),
            revokes: config.policy.on_reload == OnReload::Revoke,
            rule_names: Arc::clone(&self.rules.names),
            verifier: self.verifier.clone().filter(|_| config.asks_users()),
            username: self.username.clone(),
            gssapi: self.gssapi.clone().filter(|_| config.asks(AuthMethod::Gssapi)),
            dns: self.dns.clone(),
            congestion: self.congestion,
            limits: self.limiting.plan().cloned(),
            limit_names: self.holder_names.limits.clone(),
            egress: self.rules.ways.egress.clone(),
            parents: self.rules.ways.parents.all().cloned(),
            sources: self.sources.clone().filter(|_| config.per_source.connections > 0),
            watched: !config.admin.listen.is_empty(),
            records: self.records.clone(),
            learn: self.learner.as_ref().map(|learner| learner.sender().clone()),
            listening: self.names.clone(),
            listener_names: listener_names::recorded(config, &self.names),
            tls: self.certificates.servers(),
            ceilings: self.ceilings(worker),
        })
    }

    /// The listeners: their numbers, what they are called, and what may be spoken there.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (u16, Arc<str>, Vec<Protocol>)> {
        listener_names::spoken(&self.config, &self.names)
    }

    /// What all workers are to judge by from now on.
    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy)
    }

    /// What this worker may have at a time.
    pub(super) fn ceilings(&self, worker: usize) -> Ceilings {
        let budget = self.budget;
        Ceilings {
            sessions: budget.sessions_of(worker),
            second_attempts: budget.second_attempts,
            names_beside: budget.names_beside,
            pipes: budget.pipes,
        }
    }

    /// Reads the local addresses anew; whether the snapshot is another thereby.
    pub(super) fn refresh_locals(&mut self) -> bool {
        let changed = self.locals.refresh();
        if changed {
            self.put_policy();
        }
        changed
    }

    /// What is to be done once a second: rules are told what time it is, and let go of.
    pub(super) fn every_second(&mut self) {
        self.rules.tell_time(Timestamp::now());
        self.tell_quotas(Timestamp::now(), Instant::now());
        self.retired.iter_mut().for_each(|(_, seconds)| *seconds -= 1);
        let gone: Vec<_> = self.retired.extract_if(.., |(_, seconds)| *seconds == 0).collect();
        // Lists of a million names take as long as many turns of this thread.
        if !gone.is_empty() {
            drop_apart(gone);
        }
    }

    /// Tells quotas what time it is.
    pub(super) fn tell_quotas(&mut self, shown: Timestamp, at: Instant) {
        self.limiting.tell_time(shown, at);
    }

    /// Where sessions are counted that have limits.
    /// What each source has, where that is limited.
    pub(super) fn sources(&self) -> Option<Arc<Sources>> {
        self.sources.clone().filter(|_| self.config.per_source.connections > 0)
    }

    pub(super) fn accounts(&self) -> &Arc<Accounts> {
        self.limiting.accounts()
    }

    /// Reads the system's files about names anew where they changed; whether the snapshot is another thereby.
    pub(super) fn refresh_names(&mut self) -> bool {
        let changed = self.resolver_files.refresh(&self.config);
        if changed {
            self.dns = Arc::new(self.resolver_files.settings(&self.config));
        }
        changed
    }

    /// Leaves the threads of GSSAPI to those that use them, for no session begins any more: who drops them last waits for
    /// them, and a call of the library may last. For a worker that waits there is a limit.
    pub(super) fn drain(&mut self) {
        self.gssapi = None;
    }
}

/// What counts the sessions of each source, once they were limited.
fn sources(config: &Config, before: Option<Arc<Sources>>) -> Option<Arc<Sources>> {
    match (config.per_source.connections, before) {
        (0, before) => before,
        (most, None) => Some(Arc::new(Sources::new(most))),
        (most, Some(sources)) => {
            sources.set_limit(most);
            Some(sources)
        }
    }
}

/// Starts the threads that verify passwords.
///
/// # Errors
/// No thread can be had.
pub(super) fn start_verifier(users: Arc<Users>) -> io::Result<Arc<Verifier>> {
    let threads = cpus().min(limits::VERIFIER_THREADS_MAX);
    Verifier::start(users, threads, Clocks { now: Instant::now, today }).map(Arc::new)
}

/// Has contexts accepted with these credentials, on the threads that there are or on new ones.
///
/// # Errors
/// No thread can be had.
pub(super) fn start_gssapi(
    credentials: ServiceCredentials,
    before: Option<&Arc<gssapi::ContextAcceptor>>,
) -> io::Result<Arc<gssapi::ContextAcceptor>> {
    let threads = cpus().min(limits::GSS_THREADS_MAX);
    match before {
        Some(before) => Ok(Arc::new(before.with_credentials(credentials))),
        None => gssapi::ContextAcceptor::start(credentials, threads).map(Arc::new),
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What judges where nothing listens yet, and the numbers of its listeners by all that they are called.
pub(super) fn policy_to_be(config: &Config, rules: &OperatorRules) -> (Policy, Vec<(String, u16)>) {
    let numbered = config.all_listeners().zip(0..);
    let names: Vec<_> = numbered
        .map(|(one, number)| {
            let address = one.endpoint().map(|endpoint| endpoint.address);
            Arc::new(ListenerName { number, address })
        })
        .collect();
    let listening: Vec<SocketAddr> = names.iter().filter_map(|name| name.address).collect();
    let policy = policy(config, rules, &names, &listening, LocalList::read(rules.ways.namespaces()).known());
    (policy, config.listener_calls().map(|(called, nth)| (called, nth as u16)).collect())
}

/// What judges. Rules know a listener by its name, which a listener that stays may have another of after a reload.
fn policy(
    config: &Config,
    rules: &OperatorRules,
    names: &[Arc<ListenerName>],
    own: &[SocketAddr],
    locals: Option<&Locals>,
) -> Policy {
    let guard = Guard::new(config.guard.allow_private, config.guard.allow.clone(), own.to_vec());
    let guard = guard.with_nat64(config.dns.dns64.prefixes());
    let guard = match locals {
        Some(locals) => guard.with_locals(locals.clone()),
        None => guard,
    };
    let listeners = listener_names::called(config, names);
    let listeners: Vec<_> = listeners.into_iter().map(|(number, name)| (name, number)).collect();
    let pools = rules.ways.own_pools(config, names);
    let rules = rules.set.as_ref().map(|set| set.with_listeners(&listeners));
    Policy::new(guard).with_rules(rules).with_log(config.policy.log).with_pools(pools)
}

#[cfg(test)]
mod tests;
