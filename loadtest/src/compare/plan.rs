//! The file that says what to compare: servers, scenarios, and the figures with their bars.
//!
//! What is typed is read by serde, then checked against itself, so that a run of a quarter of an hour
//! does not end at a misspelt name. Every complaint names file, line and key, and the nearest right key.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use clap::Parser;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::cli::{Cli, ROUNDS_MAX};
use crate::compare::complaint::{Complaint, Text, near};
use crate::compare::place::{self, Word};
use crate::compare::units::Unit;
use crate::origin;
use crate::protocol::Protocol;
use crate::scope::{self, Scope};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    #[serde(default)]
    pub(crate) load: Load,
    #[serde(rename = "server")]
    pub(crate) servers: Vec<Server>,
    #[serde(rename = "scenario")]
    pub(crate) scenarios: Vec<PlannedScenario>,
}

/// How the whole run is made.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Load {
    pub(crate) rounds: u32,
    pub(crate) server_cpu: usize,
    pub(crate) load_cpu: usize,
    /// Folder of the results, relative to the current one.
    pub(crate) output: String,
    /// The server that is compared with the others; without it the first one.
    pub(crate) subject: Option<String>,
    /// Seconds after which one run is ended as failed.
    pub(crate) run_limit: f64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            rounds: 5,
            server_cpu: 0,
            load_cpu: 1,
            output: "target/compare".to_owned(),
            subject: None,
            run_limit: 60.0,
        }
    }
}

/// What a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerKind {
    /// It is told its target.
    #[default]
    #[serde(alias = "socks5")]
    Proxy,
    /// A proxy too, but another setting of the subject: shown, and no rival.
    Variant,
    /// A plain relay with one front port for each service of the origin: the floor, not a rival.
    TcpRelay,
}

/// User and password, as each session gives them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// One server under test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) name: Spanned<String>,
    #[serde(default)]
    pub(crate) kind: ServerKind,
    /// What a proxy speaks: those under TLS at `{tls_port}`, the others at `{port}`.
    #[serde(default = "socks5_alone")]
    pub(crate) protocols: Vec<Protocol>,
    /// Program and arguments, with placeholders; it must stay in the foreground.
    pub(crate) command: Spanned<Vec<String>>,
    /// A command whose first line tells the version.
    #[serde(default)]
    pub(crate) version: Vec<String>,
    /// Added to the environment; values may hold placeholders.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// Whether what the server prints is dropped: where that is a line for each session, a file would cost it more.
    #[serde(default)]
    pub(crate) discard_output: bool,
    pub(crate) auth: Option<Auth>,
    /// Written to the server's own folder before each start.
    #[serde(default)]
    pub(crate) files: BTreeMap<Spanned<String>, String>,
    /// Programs besides its own without which it is absent.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// How to get it; shown when it is absent.
    #[serde(default)]
    pub(crate) install: String,
    /// Whether the server has UDP ASSOCIATE.
    #[serde(default)]
    pub(crate) udp: bool,
    /// Seconds that it may take to listen.
    #[serde(default = "ten")]
    pub(crate) startup: f64,
}

fn ten() -> f64 {
    10.0
}

fn socks5_alone() -> Vec<Protocol> {
    vec![Protocol::Socks5]
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// One number of a scenario's record.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    /// Its name in the record; a dot leads into an object, as in `session.p99_us`.
    pub(crate) field: String,
    pub(crate) better: Better,
    pub(crate) title: String,
    pub(crate) unit: Unit,
    /// Bound on the subject's ratio to the best SOCKS5 peer.
    pub(crate) bar: Option<f64>,
    /// The best peer is the one that is best by this other field of the scenario.
    pub(crate) rival_by: Option<String>,
    /// Not every machine tells it: a run without it has not failed.
    #[serde(default)]
    pub(crate) optional: bool,
}

/// Which addresses the targets of a scenario have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    /// Of 127.0.0.0/8.
    #[default]
    V4,
    /// Of 2001:db8:f::/112, from 1 to 256: the machine has to have them.
    V6,
}

/// Where targets begin: above the clients' addresses (`--sources`).
const FIRST_TARGET: u32 = u32::from_be_bytes([127, 2, 0, 1]);
const FIRST_V6_TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);
/// Unlike those of IPv4 the machine has to be given each of them, and so there are few.
const V6_TARGETS: u32 = 256;

impl Family {
    /// The address of a run's target.
    pub(crate) fn target(self, nth: u32) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from(FIRST_TARGET + nth).into(),
            Self::V6 => Ipv6Addr::from_bits(FIRST_V6_TARGET.to_bits() + u128::from(nth % V6_TARGETS)).into(),
        }
    }
}

/// An open loop at a share of what the server itself did in an earlier scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rate {
    /// More than 0, at most 1.
    pub(crate) share: f64,
    /// The scenario whose median `sessions_per_second` is the peak.
    pub(crate) of: String,
}

/// One load, put on every server in turn.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlannedScenario {
    pub(crate) name: Spanned<String>,
    pub(crate) title: String,
    /// Subcommand of outflow-load and its flags; server, target, pid and cpu are added.
    pub(crate) args: Spanned<Vec<String>>,
    /// Where its targets are.
    #[serde(default)]
    pub(crate) family: Family,
    /// The service of the origin that is the target.
    pub(crate) origin: Spanned<String>,
    pub(crate) figures: Spanned<Vec<Figure>>,
    /// Only these servers.
    pub(crate) servers: Option<Spanned<Vec<String>>>,
    /// Other than the run's.
    pub(crate) rounds: Option<Spanned<u32>>,
    /// A new server process for each run: for what grows once and is then kept, as memory does.
    #[serde(default)]
    pub(crate) fresh: bool,
    pub(crate) rate: Option<Spanned<Rate>>,
    /// Programs without which it is left out.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// The latency of the record that is drawn by percentile.
    pub(crate) curve: Option<String>,
}

impl Plan {
    /// Reads and checks the file; also gives its text.
    pub(crate) fn read(path: &Path, scope: &Scope) -> Result<(Self, String), Complaint> {
        let text = fs::read_to_string(path)
            .map_err(|error| Complaint::of_file(path, format!("cannot be read: {error}")))?;
        let plan = Self::parse(&text, path, scope)?;
        Ok((plan, text))
    }

    fn parse(text: &str, path: &Path, scope: &Scope) -> Result<Self, Complaint> {
        let text = Text { text, path };
        let plan: Self = toml::from_str(text.text).map_err(|error| text.of_toml(&error))?;
        plan.check(&text, scope)?;
        Ok(plan)
    }

    /// The server that is compared with the others.
    pub(crate) fn subject(&self) -> &str {
        match &self.load.subject {
            Some(name) => name,
            None => self.servers[0].name.get_ref(),
        }
    }

    fn check(&self, text: &Text<'_>, scope: &Scope) -> Result<(), Complaint> {
        if self.servers.is_empty() || self.scenarios.is_empty() {
            return Err(Complaint::of_file(text.path, "needs a [[server]] and a [[scenario]]".to_owned()));
        }
        let servers: Vec<&Spanned<String>> = self.servers.iter().map(|server| &server.name).collect();
        let scenarios: Vec<&Spanned<String>> = self.scenarios.iter().map(|scenario| &scenario.name).collect();
        names(&servers, text)?;
        names(&scenarios, text)?;
        self.load.check(&servers, text)?;
        self.servers.iter().try_for_each(|server| server.check(text))?;
        for (at, scenario) in self.scenarios.iter().enumerate() {
            let in_scope = scenario.check_args(scope);
            in_scope.map_err(|what| text.complain(scenario.args.span(), "args", what))?;
            scenario.check(&servers, &scenarios[..at], text)?;
        }
        Ok(())
    }
}

/// Names are part of file names and of the command line: letters, digits, `-`, `_` and `.`, each once.
fn names(all: &[&Spanned<String>], text: &Text<'_>) -> Result<(), Complaint> {
    for (at, name) in all.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let typed = name.get_ref();
        if typed.is_empty() || typed.starts_with('.') || !typed.chars().all(plain) {
            let what = "expected letters, digits, '-', '_' and '.'".to_owned();
            return Err(text.complain(name.span(), "name", what));
        }
        if all[..at].iter().any(|earlier| earlier.get_ref() == typed) {
            return Err(text.complain(name.span(), "name", format!("`{typed}` is there already")));
        }
    }
    Ok(())
}

impl Load {
    fn check(&self, servers: &[&Spanned<String>], text: &Text<'_>) -> Result<(), Complaint> {
        let at = |key: &str| text.line_of_key("load", key);
        rounds(self.rounds).map_err(|what| text.complain(at("rounds"), "rounds", what))?;
        if !(self.run_limit > 0.0 && self.run_limit <= 3600.0) {
            let what = "expected more than 0, at most 3600 seconds".to_owned();
            return Err(text.complain(at("run_limit"), "run_limit", what));
        }
        match &self.subject {
            Some(name) => {
                known(name, servers, "server").map_err(|what| text.complain(at("subject"), "subject", what))
            }
            None => Ok(()),
        }
    }
}

impl Server {
    fn check(&self, text: &Text<'_>) -> Result<(), Complaint> {
        let command = self.command.get_ref();
        let at = self.command.span();
        if command.first().is_none_or(String::is_empty) {
            return Err(text.complain(at, "command", "expected a program and its arguments".to_owned()));
        }
        let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        if let Some((name, _)) = self.files.iter().find(|(name, _)| !plain(name.get_ref())) {
            let what = "expected the name of a file, with no folder".to_owned();
            return Err(text.complain(name.span(), "files", what));
        }
        for typed in self.texts().chain(self.version.iter().map(String::as_str)) {
            for word in place::words(typed) {
                Word::parse(word)
                    .map_err(|what| text.complain(text.line_of(word, at.start), "command", what))?;
            }
        }
        if !(self.startup > 0.0 && self.startup <= 600.0) {
            let what = "expected more than 0, at most 600 seconds".to_owned();
            return Err(text.complain(at, "startup", what));
        }
        Ok(())
    }

    /// Every text in which a placeholder can stand.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let typed = self.command.get_ref().iter().chain(self.files.values()).chain(self.env.values());
        typed.map(String::as_str)
    }
}

impl PlannedScenario {
    fn check(
        &self,
        servers: &[&Spanned<String>],
        earlier: &[&Spanned<String>],
        text: &Text<'_>,
    ) -> Result<(), Complaint> {
        let service = self.origin.get_ref();
        if !origin::services().any(|name| name == service) {
            let what = near("service of the origin", service, origin::services());
            return Err(text.complain(self.origin.span(), "origin", what));
        }
        if let Some(list) = &self.servers {
            for name in list.get_ref() {
                known(name, servers, "server").map_err(|what| text.complain(list.span(), "servers", what))?;
            }
        }
        if let Some(count) = &self.rounds {
            rounds(*count.get_ref()).map_err(|what| text.complain(count.span(), "rounds", what))?;
        }
        if let Some(rate) = &self.rate {
            let Rate { share, of } = rate.get_ref();
            if !(*share > 0.0 && *share <= 1.0) {
                return Err(text.complain(
                    rate.span(),
                    "share",
                    "expected more than 0, at most 1".to_owned(),
                ));
            }
            known(of, earlier, "earlier scenario").map_err(|what| text.complain(rate.span(), "of", what))?;
        }
        let figures = self.figures.get_ref();
        if figures.is_empty() {
            return Err(text.complain(self.figures.span(), "figures", "expected at least one".to_owned()));
        }
        let usable = |bar: f64| bar.is_finite() && bar > 0.0;
        if !figures.iter().filter_map(|figure| figure.bar).all(usable) {
            let what = "expected a finite number above 0".to_owned();
            return Err(text.complain(self.figures.span(), "bar", what));
        }
        for by in figures.iter().filter_map(|figure| figure.rival_by.as_ref()) {
            if !figures.iter().any(|figure| figure.field == *by) {
                let what =
                    near("figure of this scenario", by, figures.iter().map(|figure| figure.field.as_str()));
                return Err(text.complain(self.figures.span(), "rival_by", what));
            }
        }
        Ok(())
    }

    /// Whether it is a load of requests, and not of sessions through a proxy.
    pub(crate) fn is_of_requests(&self) -> bool {
        self.cli().is_ok_and(|cli| cli.command.is_of_requests())
    }

    /// What its sessions speak.
    pub(crate) fn protocol(&self) -> Protocol {
        self.cli().map(|cli| cli.command.protocol()).unwrap_or_default()
    }

    /// The flags as the run will have them, judged by the parser that the run will use.
    fn check_args(&self, scope: &Scope) -> Result<(), String> {
        let cli = self.cli()?;
        if cli.i_own_this_host {
            return Err(format!("{} is for the command line alone, not for a plan", scope::OPTION));
        }
        cli.command
            .target_name()
            .map_or(Ok(()), |name| scope.check_name(name))
            .map_err(|out| out.to_string())?;
        if cli.command.is_scenario() { Ok(()) } else { Err("expected a scenario".to_owned()) }
    }

    fn cli(&self) -> Result<Cli, String> {
        let added = ["--server", "127.0.0.1:1", "--target", "127.0.0.1:2", "--pid", "1", "--cpu", "0"];
        let rate = ["--rate", "1"];
        let rate = if self.rate.is_some() { &rate[..] } else { &[] };
        let typed = self.args.get_ref().iter().map(String::as_str);
        let line = ["outflow-load"].into_iter().chain(typed).chain(added).chain(rate.iter().copied());
        Cli::try_parse_from(line).map_err(|error| {
            let shown = error.to_string();
            shown.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })
    }
}

/// Refuses a number of rounds that the command line does not take.
fn rounds(count: u32) -> Result<(), String> {
    if (1..=ROUNDS_MAX).contains(&count) { Ok(()) } else { Err(format!("expected 1 to {ROUNDS_MAX}")) }
}

/// Whether `name` is one of `all`.
fn known(name: &str, all: &[&Spanned<String>], what: &str) -> Result<(), String> {
    if all.iter().any(|other| other.get_ref() == name) {
        return Ok(());
    }
    Err(near(what, name, all.iter().map(|other| other.get_ref().as_str())))
}

#[cfg(test)]
mod tests;
