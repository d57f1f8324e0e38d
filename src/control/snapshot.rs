//! What workers go by: made of the configuration, of what it names and of what this machine says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::descriptors::DescriptorBudget;
use super::locals::LocalList;
use super::resolver_files::ResolverFiles;
use super::start_error::StartError;
use super::trial::Named;
use crate::auth::{Users, Verifier, gssapi};
use crate::config::Config;
use crate::dns;
use crate::limits;
use crate::policy::sources::Sources;
use crate::policy::{Guard, Locals, Policy};
use crate::session::Rules;
use crate::sys::congestion::CongestionControl;
use crate::sys::gssapi::ServiceCredentials;
use crate::worker::{Ceilings, Snapshot};

/// What snapshots are made of.
#[derive(Debug)]
pub(super) struct SnapshotMaker {
    config: Arc<Config>,
    /// The addresses of the listeners and of the admin endpoint, which no client may reach.
    listening: Vec<SocketAddr>,
    budget: DescriptorBudget,
    congestion: CongestionControl,
    verifier: Option<Arc<Verifier>>,
    gssapi: Option<Arc<gssapi::ContextAcceptor>>,
    sources: Option<Arc<Sources>>,
    locals: LocalList,
    rules: Arc<Rules>,
    resolver_files: ResolverFiles,
    dns: Arc<dns::Settings>,
}

impl SnapshotMaker {
    /// Starts the threads that know who clients are, and asks the machine for its addresses.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn start(
        config: Arc<Config>,
        named: Named,
        users: Option<Arc<Users>>,
        listening: &[SocketAddr],
    ) -> Result<SnapshotMaker, StartError> {
        let Named { credentials, congestion, resolver_files, budget, .. } = named;
        let locals = LocalList::read();
        Ok(SnapshotMaker {
            verifier: users.map(start_verifier).transpose()?,
            gssapi: credentials.map(start_gssapi).transpose()?,
            sources: sources(&config),
            rules: Arc::new(rules(&config, listening, locals.known())),
            dns: Arc::new(resolver_files.settings(&config)),
            listening: listening.to_vec(),
            config,
            budget,
            congestion,
            locals,
            resolver_files,
        })
    }

    /// What this worker is to go by from now on.
    pub(super) fn snapshot(&self, worker: usize) -> Arc<Snapshot> {
        let budget = self.budget;
        Arc::new(Snapshot {
            config: self.config.clone(),
            rules: self.rules.clone(),
            verifier: self.verifier.clone(),
            gssapi: self.gssapi.clone(),
            dns: self.dns.clone(),
            congestion: self.congestion,
            sources: self.sources.clone(),
            watched: !self.config.admin.listen.is_empty(),
            ceilings: Ceilings {
                sessions: budget.sessions_of(worker),
                second_attempts: budget.second_attempts,
                names_beside: budget.names_beside,
                pipes: budget.pipes,
            },
        })
    }

    /// Reads the local addresses anew; whether the snapshot is another thereby.
    pub(super) fn refresh_locals(&mut self) -> bool {
        let changed = self.locals.refresh();
        if changed {
            self.rules = Arc::new(rules(&self.config, &self.listening, self.locals.known()));
        }
        changed
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

    /// Where passwords are verified, if any are.
    pub(super) fn verifier(&self) -> Option<&Arc<Verifier>> {
        self.verifier.as_ref()
    }
}

/// What counts the sessions of each source, if they are limited.
fn sources(config: &Config) -> Option<Arc<Sources>> {
    let most = Some(config.per_source.connections).filter(|most| *most > 0);
    most.map(|most| Arc::new(Sources::new(most)))
}

fn start_verifier(users: Arc<Users>) -> Result<Arc<Verifier>, StartError> {
    let threads = cpus().min(limits::VERIFIER_THREADS_MAX);
    Verifier::start(users, threads, Instant::now).map(Arc::new).map_err(StartError::Machine)
}

fn start_gssapi(credentials: ServiceCredentials) -> Result<Arc<gssapi::ContextAcceptor>, StartError> {
    let threads = cpus().min(limits::GSS_THREADS_MAX);
    gssapi::ContextAcceptor::start(credentials, threads).map(Arc::new).map_err(StartError::Machine)
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn rules(config: &Config, own: &[SocketAddr], locals: Option<&Locals>) -> Rules {
    let guard = Guard::new(config.guard.allow_private, config.guard.allow.clone(), own.to_vec());
    let guard = guard.with_nat64(config.dns.dns64.prefixes());
    Rules {
        methods: config.auth.methods.clone(),
        policy: Policy::new(match locals {
            Some(locals) => guard.with_locals(locals.clone()),
            None => guard,
        }),
        gssapi: config.auth.gssapi.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::descriptors::divide;

    fn maker() -> SnapshotMaker {
        let config = Arc::new(Config::default());
        let budget = divide(1000, &config);
        let (resolver_files, _) = ResolverFiles::read(&config, &budget);
        let congestion = CongestionControl::default();
        let named = Named { users: None, credentials: None, congestion, resolver_files, budget };
        SnapshotMaker::start(config, named, None, &[]).expect("no thread")
    }

    /// A worker knows by the `Arc` what has changed, and its sessions count on nobody else's cache line.
    #[test]
    fn each_worker_has_a_snapshot_of_its_own_of_parts_that_only_a_change_replaces() {
        let mut maker = maker();
        let (one, other) = (maker.snapshot(0), maker.snapshot(0));
        assert!(!Arc::ptr_eq(&one, &other));
        assert!(Arc::ptr_eq(&one.rules, &other.rules) && Arc::ptr_eq(&one.dns, &other.dns));

        maker.locals = LocalList::default();
        assert!(maker.refresh_locals() && !maker.refresh_locals());
        let changed = maker.snapshot(0);
        assert!(!Arc::ptr_eq(&changed.rules, &one.rules));
        assert!(Arc::ptr_eq(&changed.dns, &one.dns) && Arc::ptr_eq(&changed.config, &one.config));
    }

    #[test]
    fn the_threads_of_gssapi_are_those_of_the_workers_once_the_drain_begins() {
        let mut maker = maker();
        maker.gssapi = Some(Arc::new(gssapi::ContextAcceptor::of_no_library()));
        let of_a_worker = maker.snapshot(0);
        maker.drain();
        assert!(maker.snapshot(0).gssapi.is_none());
        assert_eq!(of_a_worker.gssapi.as_ref().map(Arc::strong_count), Some(1));
    }
}
