//! What a configuration names, tried: all that keeps it from being served, and what its operator should know.
//!
//! `run` and `check` share it, so that `check` refuses what `run` would and in the same words. What `run` does by itself
//! later (listening, writing records) `check` tries here, and leaves nothing behind.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use super::certificates::Certificates;
use super::descriptors::{self, DescriptorBudget};
use super::doctor::{pool_concerns, ports_concerns};
use super::held::HeldListeners;
use super::idle_keys::idle_keys;
use super::learner::can_learn;
use super::limited_users::check_users;
use super::limiting::no_limits;
use super::listener_concerns::{listener_concerns, unspoken};
use super::numbers::{NoNumber, Numbers};
use super::plural::count_of;
use super::quota_keeper::can_keep;
use super::resolver_files::ResolverFiles;
use super::rules::{OperatorRules, RulesPlan};
use super::sandbox::can_enter;
use super::snapshot::Parts;
use super::unix_listener;
use super::usernames::{idle_parameters, username_concerns, username_rules};
use super::users::UsersFile;
use crate::admin::{self, AdminError, all_with_whom};
use crate::auth::username::UsernameRules;
use crate::auth::{concerns, gssapi, load_users};
use crate::config::{self, Access, AuthMethod, Config, Problems, Steer};
use crate::sys::congestion::CongestionControl;
use crate::sys::gssapi::ServiceCredentials;
use crate::sys::{files, machine};

mod refused;
mod takeover;

/// A table of the configuration and a key in it.
type KeyPath = (&'static str, &'static str);

/// What was found, each with its place in the configuration.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What keeps the configuration from being served.
    pub errors: Problems,
    /// What works otherwise than was written, or may fail later.
    pub warnings: Problems,
}

/// What the configuration names, opened.
pub(super) struct Named {
    pub(super) users: Option<UsersFile>,
    pub(super) credentials: Option<ServiceCredentials>,
    pub(super) congestion: CongestionControl,
    pub(super) resolver_files: ResolverFiles,
    pub(super) budget: DescriptorBudget,
    pub(super) rules: RulesPlan,
    /// Those of the limits' names.
    pub(super) limits: Numbers,
    pub(super) certificates: Certificates,
    pub(super) username: Option<Arc<UsernameRules>>,
}

/// Tries whatever can be tried without serving.
pub fn check(config: &Config) -> Report {
    let mut trial = Trial::of(config);
    let named = trial.named();
    trial.listeners(named.map(|named| named.congestion).unwrap_or_default());
    trial.access();
    trial.learning();
    trial.state();
    trial.takeover();
    trial.admin();
    trial.into_report()
}

/// A configuration that is being tried.
pub(super) struct Trial<'a> {
    config: &'a Config,
    report: Report,
    /// What was known of names before.
    resolver_files: Option<ResolverFiles>,
    /// The rules that are in effect.
    rules: Arc<OperatorRules>,
    /// The numbers that limits have had.
    limits: Numbers,
    /// The TLS of the listeners that are there.
    certificates: Certificates,
}

impl<'a> Trial<'a> {
    pub(super) fn of(config: &'a Config) -> Trial<'a> {
        let empty = || config.places.problems();
        let report = Report { errors: empty(), warnings: empty() };
        Trial {
            config,
            report,
            resolver_files: None,
            rules: Arc::default(),
            limits: no_limits(),
            certificates: Certificates::default(),
        }
    }

    /// Of a configuration that is to take the place of another, by which this was known of names, and these rules are in effect
    /// and limits have these numbers.
    pub(super) fn after(parts: &Parts, config: &'a Config) -> Trial<'a> {
        let Parts { resolver_files, rules, limits, certificates, .. } = parts;
        Trial {
            resolver_files: Some(resolver_files.clone()),
            rules: rules.clone(),
            limits: limits.clone(),
            certificates: certificates.clone(),
            ..Trial::of(config)
        }
    }

    /// The problem that `what` adds.
    pub(super) fn refused(config: &'a Config, what: &dyn Fn(&mut Trial)) -> Problems {
        let mut trial = Trial::of(config);
        what(&mut trial);
        all_with_whom(trial.report.errors)
    }

    /// What was found so far, in the order of the lines.
    pub(super) fn into_report(self) -> Report {
        let Report { errors, warnings } = self.report;
        Report { errors: all_with_whom(errors.sorted()), warnings: all_with_whom(warnings.sorted()) }
    }

    /// All that is read or asked before anything is served; `None` where some of it cannot be had.
    pub(super) fn named(&mut self) -> Option<Named> {
        let users = self.users();
        // Of users who are not known nothing is said.
        let rules = users.as_ref().and_then(|users| self.rules(users.as_ref()));
        let limits = self.limits();
        let credentials = self.credentials();
        let congestion = self.congestion();
        let certificates = self.certificates();
        let username = self.username(users.as_ref().and_then(Option::as_ref));
        let budget = self.budget();
        let resolver_files = self.names(&budget);
        self.cpus();
        self.token_file();
        self.unserved();
        let ports = self.egress_ports();
        let owners = self.owners();
        let user = self.need(("server", "user"), can_enter(self.config));
        user?;
        owners?;
        ports?;
        Some(Named {
            users: users?,
            credentials: credentials?,
            congestion: congestion?,
            resolver_files,
            budget,
            rules: rules?,
            limits: limits?,
            certificates: certificates?,
            username: username?,
        })
    }

    /// Where the listener at this place listens, as typed.
    fn listener(&self, nth: usize) -> String {
        self.config.all_listeners().nth(nth).map(|one| one.address().to_string()).unwrap_or_default()
    }

    /// What was learned before can be read, and what is learned can be written.
    pub(super) fn learning(&mut self) {
        if let Some(path) = &self.config.policy.learn
            && let Err(what) = can_learn(path)
        {
            self.cannot_learn(&what);
        }
    }

    /// What is to outlive the server can be kept. Another server that has the directory is no error: it may be this one, running.
    fn state(&mut self) {
        if let Some(path) = &self.config.server.state
            && let Err(what) = can_keep(path)
        {
            self.cannot_keep(&what);
        }
    }

    fn error(&mut self, (table, key): KeyPath, what: impl Display) {
        self.config.places.blame(&mut self.report.errors, table, key, what.to_string());
    }

    fn warn(&mut self, (table, key): KeyPath, what: impl Display) {
        self.config.places.blame(&mut self.report.warnings, table, key, what.to_string());
    }

    /// The value, or `None` with the error at this key.
    fn need<T>(&mut self, key: KeyPath, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.error(key, error)).ok()
    }

    /// The users, where passwords are asked for.
    fn users(&mut self) -> Option<Option<UsersFile>> {
        let auth = &self.config.auth;
        match auth.users.as_ref().filter(|_| self.config.asks_users()) {
            Some(path) => {
                let (users, stamp) = self.need(("auth", "users"), load_users(path))?;
                self.need(("auth", "users"), check_users(self.config, &users, path))?;
                concerns(path, &users).iter().for_each(|concern| self.warn(("auth", "users"), concern));
                Some(Some(UsersFile { path: path.clone(), stamp, users: Arc::new(users) }))
            }
            None => Some(None),
        }
    }

    /// What the rules come to, with those users in their groups that the users file puts there; `None` where some of it cannot
    /// be had.
    pub(super) fn ruled(&mut self) -> Option<RulesPlan> {
        let users = self.users()?;
        self.rules(users.as_ref())
    }

    /// What the rules come to.
    fn rules(&mut self, users: Option<&UsersFile>) -> Option<RulesPlan> {
        let (plan, warnings, errors) = match self.rules.plan(self.config, users.map(|file| &*file.users)) {
            Ok((plan, warnings)) => (Some(plan), warnings, Vec::new()),
            Err(errors) => (None, Vec::new(), errors),
        };
        let Report { errors: refused, warnings: warned } = &mut self.report;
        for (key, what) in errors {
            self.config.places.blame_in(refused, key, what);
        }
        for (key, what) in warnings {
            self.config.places.blame_in(warned, key, what);
        }
        plan
    }

    /// The owners of the files of unix sockets; `None` where one is nobody.
    fn owners(&mut self) -> Option<()> {
        let mut known = Some(());
        for (nth, table) in self.config.listeners.iter().enumerate() {
            if let Err(error) = unix_listener::owner(Some(table)) {
                let owner = ("listener", nth, "owner");
                self.config.places.blame_in(&mut self.report.errors, owner, error.to_string());
                known = None;
            }
        }
        known
    }

    /// What is to be served, and to nobody.
    fn unserved(&mut self) {
        self.config.places.remark(&mut self.report.warnings);
        let concerns = [listener_concerns(self.config), idle_keys(self.config), pool_concerns(self.config)];
        for (key, what) in concerns.into_iter().flatten() {
            self.config.places.blame_in(&mut self.report.warnings, key, what);
        }
        for (key, what) in unspoken(self.config) {
            self.warn(key, what);
        }
    }

    /// The kernel keeps to the ports of each pool, where it would pass over others without a word; `None` where it does not.
    fn egress_ports(&mut self) -> Option<()> {
        let (refused, unknown) = ports_concerns(self.config);
        let kept = refused.is_empty().then_some(());
        let Report { errors, warnings } = &mut self.report;
        for (concerns, found) in [(refused, errors), (unknown, warnings)] {
            for (nth, what) in concerns {
                self.config.places.blame_in(found, ("egress", nth, "ports"), what);
            }
        }
        kept
    }

    /// The numbers of the limits' names.
    fn limits(&mut self) -> Option<Numbers> {
        let names = self.config.limits.iter().map(|limit| &limit.name);
        let blame = |none: NoNumber| {
            let name = ("limit", none.nth, "name");
            self.config.places.blame_in(&mut self.report.errors, name, none.of("limits"));
        };
        self.limits.with(names).map_err(blame).ok()
    }

    /// The service's credentials, where GSSAPI is among the methods.
    fn credentials(&mut self) -> Option<Option<ServiceCredentials>> {
        let auth = &self.config.auth;
        if !self.config.asks(AuthMethod::Gssapi) {
            return Some(None);
        }
        self.need(("auth", "methods"), gssapi::library())?;
        self.need(("auth.gssapi", "keytab"), gssapi::credentials(&auth.gssapi.service, &auth.gssapi.keytab))
            .map(Some)
    }

    /// The TLS of the listeners that speak it.
    fn certificates(&mut self) -> Option<Certificates> {
        let (certificates, warnings, errors) = match self.certificates.read(self.config) {
            Ok((certificates, warnings)) => (Some(certificates), warnings, Vec::new()),
            Err(errors) => (None, Vec::new(), errors),
        };
        let Report { errors: refused, warnings: warned } = &mut self.report;
        for (concerns, found) in [(errors, refused), (warnings, warned)] {
            for (nth, what) in concerns {
                self.config.places.blame_in(found, ("listener", nth, "tls"), what);
            }
        }
        certificates
    }

    /// How clients type parameters of their sessions, and the key that signs them.
    fn username(&mut self, users: Option<&UsersFile>) -> Option<Option<Arc<UsernameRules>>> {
        let rules = username_rules(self.config);
        let rules = rules.map_err(|(key, what)| self.error(("username", key), what)).ok()?;
        for (key, what) in username_concerns(self.config, rules.as_ref(), users.map(|file| &*file.users)) {
            self.warn(key, what);
        }
        match rules {
            None if !self.config.places.has_keys("username") => {}
            None => {
                let what = "nothing is read from names: it has neither a `format` nor a `preset`".to_owned();
                self.config.places.blame_table(&mut self.report.warnings, "username", what);
            }
            Some(_) => idle_parameters(self.config).into_iter().for_each(|(key, what)| self.warn(key, what)),
        }
        Some(rules.map(Arc::new))
    }

    fn congestion(&mut self) -> Option<CongestionControl> {
        match &self.config.server.congestion {
            // It saves CPU on loopback and no more: nothing to do without service for.
            config::Congestion::Auto => Some(CongestionControl::auto().unwrap_or_else(|error| {
                let what = format!("the kernel refuses the choice of one ({error}): its default is used");
                self.warn(("server", "congestion"), &what);
                CongestionControl::default()
            })),
            config::Congestion::System => Some(CongestionControl::default()),
            config::Congestion::Named(name) => {
                let named = CongestionControl::everywhere(name).map_err(|error| {
                    format!(
                        "this kernel does not give us \"{name}\": {error} (net.ipv4.tcp_available_congestion_control \
                         and tcp_allowed_congestion_control list what it has)"
                    )
                });
                self.need(("server", "congestion"), named)
            }
        }
    }

    /// Names can be resolved without the system's files, and servers may become reachable: nothing here is an error.
    fn names(&mut self, budget: &DescriptorBudget) -> ResolverFiles {
        let config = self.config;
        let (resolver_files, problems) = match self.resolver_files.take() {
            Some(mut resolver_files) => {
                let problems = resolver_files.reread(config, budget);
                (resolver_files, problems)
            }
            None => ResolverFiles::read(config, budget),
        };
        problems.into_iter().for_each(|(key, what)| self.warn(("dns", key), what));
        for (nth, server) in config.dns.servers.iter().enumerate() {
            let reached = match server.scoped(machine::interface_index) {
                Some(address) => {
                    machine::source_towards(address, None).map_err(|errno| io::Error::from(errno).to_string())
                }
                None => Err("there is no such interface".to_owned()),
            };
            if let Err(error) = reached {
                let what = format!("nothing can be sent to {server}: {error}");
                config.places.blame_entry(&mut self.report.warnings, ("dns", "servers"), nth, what);
            }
        }
        resolver_files
    }

    fn budget(&mut self) -> DescriptorBudget {
        let server = &self.config.server;
        let limit = machine::raise_descriptor_limit();
        let (budget, least) = (descriptors::divide(limit, self.config), descriptors::least(self.config));
        if limit < least {
            self.warn(
                ("server", "workers"),
                format_args!(
                    "{} and the listeners need {least} descriptors, and {limit} may be open",
                    count_of(server.workers, "worker")
                ),
            );
        }
        let sessions = budget.sessions;
        if sessions < server.max_connections {
            self.warn(
                ("server", "max_connections"),
                format_args!(
                    "{} is more than can be had: {sessions} sessions, of {limit} descriptors over {}",
                    server.max_connections,
                    count_of(server.workers, "worker")
                ),
            );
        }
        budget
    }

    fn token_file(&mut self) {
        let concerns = self.config.admin.token_file.as_deref().map(admin::token_concerns).unwrap_or_default();
        concerns.iter().for_each(|concern| self.warn(("admin", "token_file"), concern));
    }

    fn cpus(&mut self) {
        let (server, usable) = (&self.config.server, machine::usable_cpus());
        if !usable.is_empty() && server.workers > usable.len() {
            self.warn(
                ("server", "workers"),
                format_args!("{} is more than the CPUs that may be used: {}", server.workers, usable.len()),
            );
        }
        // Steering goes by CPU number, pinning by the CPUs that the process may use.
        let aligned = usable.into_iter().take(server.workers).eq(0..server.workers);
        if server.steer == Steer::Cpu && !(server.pin && aligned) {
            self.warn(
                ("server", "steer"),
                "\"cpu\", but worker N does not run on CPU N: connections change CPUs",
            );
        }
    }

    /// Each address can be bound. One that another listens on is no error: it may be this very server, running.
    fn listeners(&mut self, congestion: CongestionControl) {
        for (nth, error) in HeldListeners::default().try_others(self.config, congestion) {
            if error.kind() == io::ErrorKind::AddrInUse {
                let address = self.listener(nth);
                let what = format!("{address} is in use: a server that runs already keeps another from it");
                self.config.blame_listener(&mut self.report.warnings, nth, what);
            } else {
                self.cannot_listen(nth, &error);
            }
        }
    }

    /// The admin endpoint could be opened, as the listeners could.
    fn admin(&mut self) {
        for error in admin::probe_admin(&self.config.admin) {
            match &error {
                AdminError::Listen { nth, what, in_use: true } => {
                    let (listen, what) =
                        (("admin", "listen"), format!("{what}: it may be a server that runs already"));
                    self.config.places.blame_entry(&mut self.report.warnings, listen, *nth, what);
                }
                _ => self.cannot_administer(&error),
            }
        }
    }

    /// The file of the access records can be appended to, or made.
    pub(super) fn access(&mut self) {
        if let Access::Path(path) = &self.config.log.access
            && let Err(error) = files::can_append(path)
        {
            self.cannot_record(&error);
        }
    }
}
