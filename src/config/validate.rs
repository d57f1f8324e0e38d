//! From what was typed to what holds: single values first, then the rules between them.

use std::path::Path;

use super::at::{At, TablePath};
use super::choice::{Access, AuthMethod, Choice, OnFull};
use super::egress;
use super::listener_table::ListenerConfig;
use super::listeners::{self, taken_by};
use super::open_proxy;
use super::parents;
use super::problem::Problems;
use super::proxy_out;
use super::raw::Raw;
use super::rules;
use super::schema::Schema;
use super::tables::{Config, available_cpus};
use super::username;

/// A configuration in the making: the defaults, then the file, then the flags. Until it is finished, 0 workers are as
/// many as there are CPUs.
pub(super) struct Draft {
    config: Config,
    problems: Problems,
}

/// The defaults as they would be typed.
pub(super) fn defaults() -> Config {
    let mut config = Config::default();
    config.server.workers = 0;
    config
}

impl Draft {
    /// The defaults; problems are reported of the file named in `problems`.
    pub(super) fn new(problems: Problems) -> Draft {
        Draft { config: defaults(), problems }
    }

    /// Where readers report what they cannot read.
    pub(super) fn problems(&mut self) -> &mut Problems {
        &mut self.problems
    }

    /// Lays one source over what is there; relative paths in it start at `base`.
    pub(super) fn lay(&mut self, raw: &Raw, base: &Path, schema: &Schema<Config>) {
        raw.lay_over(&mut self.config, schema, base, &mut self.problems);
    }

    /// Forgets the listeners that have tables: another source names all that there are to be.
    pub(super) fn drop_listeners(&mut self) {
        self.config.listeners.clear();
        self.problems.places().forget("listener");
    }

    /// The configuration, if the rules between its values hold too.
    pub(super) fn finish(mut self) -> Result<Config, Problems> {
        self.ask_for_passwords();
        rules::complete(&mut self.config);
        let typed = self.at("server", "listen").is_some() || self.problems.touch("server", "listen");
        listeners::complete(&mut self.config, typed);
        listeners::check(&self.config, &mut self.problems);
        rules::check(&self.config, &mut self.problems);
        egress::check(&self.config, &mut self.problems);
        proxy_out::check(&self.config, &mut self.problems);
        parents::check(&self.config, &mut self.problems);
        username::check(&self.config, &mut self.problems);
        open_proxy::refuse(&self.config, &mut self.problems);
        self.require_users();
        self.share_connections();
        self.require_password();
        self.require_records();
        self.require_token();
        self.keep_apart();
        match self.problems.is_empty() {
            true => Ok(Config { places: self.problems.into_places(), ..self.config }),
            false => Err(self.problems.sorted()),
        }
    }

    /// Where the value of a key was typed; `None` for a default.
    fn at(&mut self, table: &'static str, key: &'static str) -> Option<At> {
        self.problems.places().at(table, key).cloned()
    }

    /// `--users FILE` alone is enough: whoever was let in by nothing is asked for a password, and who shows a ticket still
    /// may. Methods that ask for passwords already are left as they are.
    fn ask_for_passwords(&mut self) {
        let by_flag = matches!(self.at("auth", "users"), Some(At::Flag(_)));
        let methods = &mut self.config.auth.methods;
        if by_flag && !methods.contains(&AuthMethod::Password) {
            methods.retain(|method| *method != AuthMethod::None);
            methods.push(AuthMethod::Password);
        }
    }

    /// A worker that may serve nobody would keep its share of the clients waiting.
    fn share_connections(&mut self) {
        let (workers, most) = (self.config.server.workers, self.config.server.max_connections);
        if workers == 0 {
            let cpus = available_cpus();
            self.config.server.workers = if most == 0 { cpus } else { cpus.min(most) };
        } else if most != 0
            && workers > most
            && let Some(at) = self.at("server", "workers")
        {
            let what = format!(
                "{workers} workers cannot share max_connections = {most}: {most} workers at most, or 0 for as many as \
                 CPUs"
            );
            self.problems.push(at, what);
        }
    }

    /// Method password, and nobody who could log in.
    fn require_users(&mut self) {
        if self.config.auth.users.is_some() || self.problems.touch("auth", "users") {
            return;
        }
        let what = "\"password\" needs a users file: set users = \"FILE\" in [auth] or give --users FILE";
        for at in self.methods_typed(|methods| methods.contains(&AuthMethod::Password)) {
            self.problems.push(at, what.to_owned());
        }
        if self.config.auth.socks4_ident
            && let Some(at) = self.at("auth", "socks4_ident")
        {
            let what = "needs a users file: set users = \"FILE\" in [auth] or give --users FILE";
            self.problems.push(at, what.to_owned());
        }
    }

    /// Where methods were typed, of [auth] and of listeners, that are such.
    fn methods_typed(&mut self, are: impl Fn(&[AuthMethod]) -> bool) -> Vec<At> {
        let auth = self.at("auth", "methods").filter(|_| are(&self.config.auth.methods));
        let of_listener = |(nth, table): (usize, &ListenerConfig)| {
            let is_such = table.methods.as_deref().is_some_and(&are);
            let path = TablePath { name: "listener", nth: Some(nth) };
            self.problems.places().at(path, "methods").filter(|_| is_such).cloned()
        };
        let of_listeners: Vec<At> =
            self.config.listeners.iter().enumerate().filter_map(of_listener).collect();
        auth.into_iter().chain(of_listeners).collect()
    }

    /// Access records that must not be lost, and no place to keep them.
    fn require_records(&mut self) {
        let log = &self.config.log;
        if (log.on_full, &log.access) == (OnFull::Refuse, &Access::Off)
            && let Some(at) = self.at("log", "on_full")
            && !self.problems.touch("log", "access")
        {
            let what =
                "\"refuse\" keeps access records, but there are none: set access in [log] or give --access";
            self.problems.push(at, what.to_owned());
        }
    }

    /// An admin endpoint that others reach, and nothing that they would have to know.
    fn require_token(&mut self) {
        if self.config.admin.token_file.is_some() || self.problems.touch("admin", "token_file") {
            return;
        }
        let places = self.problems.places().entries("admin", "listen").to_vec();
        for (address, at) in
            self.config.admin.listen.iter().zip(places).filter(|(address, _)| address.is_beyond())
        {
            let what = format!(
                "\"{address}\" is reached from beyond this machine: set token_file = \"FILE\" in [admin], or listen \
                 on a loopback address or a unix socket"
            );
            self.problems.push(at, what);
        }
    }

    /// The admin endpoint where clients are accepted: the kernel gives nobody both.
    fn keep_apart(&mut self) {
        let places = self.problems.places().entries("admin", "listen").to_vec();
        for (address, at) in self.config.admin.listen.iter().zip(places) {
            if let Some(taken) = taken_by(&self.config, address) {
                let what = format!("\"{address}\" is taken by {taken}: it needs an address of its own");
                self.problems.push(at, what);
            }
        }
    }

    /// A users file, and nobody who is asked for a password.
    fn require_password(&mut self) {
        let Some(at) = self.at("auth", "users") else { return };
        let touched = |key, problems: &mut Problems| problems.touch("auth", key);
        let unsure = touched("methods", &mut self.problems) || touched("socks4_ident", &mut self.problems);
        let unsure = unsure || self.problems.touch_any_of("listener");
        let methods = &self.config.auth.methods;
        if methods.contains(&AuthMethod::Password) || self.config.asks_users() || unsure {
            return;
        }
        let names = |methods: &[AuthMethod]| {
            let names: Vec<String> = methods.iter().map(|method| format!("\"{}\"", method.name())).collect();
            names.join(", ")
        };
        let mut wanted = methods.clone();
        wanted.retain(|method| *method != AuthMethod::None);
        wanted.push(AuthMethod::Password);
        let what = format!(
            "nobody is asked for a password while methods = [{}]: set methods = [{}] in [auth], or leave users out",
            names(methods),
            names(&wanted)
        );
        self.problems.push(at, what);
    }
}
