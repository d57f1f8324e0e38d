//! The file that says what to compare: servers, scenarios, and the figures with their bars.
//!
//! What is typed is read by serde, then checked against itself, so that a run of a quarter of an hour
//! does not end at a misspelt name. Every complaint names file, line and key, and the nearest right key.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::Parser;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::cli::{Cli, ROUNDS_MAX};
use crate::compare::complaint::{Complaint, Text, near};
use crate::compare::place::{self, Word};
use crate::compare::units::Unit;
use crate::origin;
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

/// What a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerKind {
    #[default]
    Socks5,
    /// SOCKS5 too, but another setting of the subject: shown, and no rival.
    Variant,
    /// A plain relay with one front port for each service of the origin: the floor, not a rival.
    TcpRelay,
}

/// User and password of RFC 1929.
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

    /// The flags as the run will have them, judged by the parser that the run will use.
    fn check_args(&self, scope: &Scope) -> Result<(), String> {
        let added = ["--server", "127.0.0.1:1", "--target", "127.0.0.1:2", "--pid", "1", "--cpu", "0"];
        let rate = ["--rate", "1"];
        let rate = if self.rate.is_some() { &rate[..] } else { &[] };
        let typed = self.args.get_ref().iter().map(String::as_str);
        let line = ["outflow-load"].into_iter().chain(typed).chain(added).chain(rate.iter().copied());
        let cli = Cli::try_parse_from(line).map_err(|error| {
            let shown = error.to_string();
            shown.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })?;
        if cli.i_own_this_host {
            return Err(format!("{} is for the command line alone, not for a plan", scope::OPTION));
        }
        cli.command
            .target_name()
            .map_or(Ok(()), |name| scope.check_name(name))
            .map_err(|out| out.to_string())?;
        if cli.command.is_scenario() { Ok(()) } else { Err("expected a scenario".to_owned()) }
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
mod tests {
    use super::*;

    const GOOD: &str = r#"
[load]
rounds = 3

[[server]]
name = "one"
command = ["{bin}/outflow", "--listen", "127.0.0.1:{port}"]

[[server]]
name = "floor"
kind = "tcp-relay"
command = ["relay", "-f", "{dir}/relay.conf"]
files = { "relay.conf" = "bind {relay_page}\nto {page} if { a }" }

[[scenario]]
name = "connect"
title = "Sessions"
args = ["connect", "--in-flight", "8", "--seconds", "1"]
origin = "page"
figures = [
    { field = "cpu_us_per_session", better = "lower", title = "CPU", unit = "us", bar = 0.85 },
]
"#;

    fn parse(text: &str) -> Result<Plan, Complaint> {
        Plan::parse(text, Path::new("a.toml"), &Scope::new(false).expect("the interfaces"))
    }

    fn complaint(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        parse(&text).expect_err("a complaint").to_string()
    }

    #[test]
    fn a_good_plan() {
        let plan = parse(GOOD).map_err(|complaint| complaint.to_string());
        let plan = plan.expect("it is good");
        assert_eq!((plan.load.rounds, plan.load.load_cpu, plan.subject()), (3, 1, "one"));
        assert_eq!(plan.servers[1].kind, ServerKind::TcpRelay);
        assert_eq!(plan.scenarios[0].figures.get_ref()[0].bar, Some(0.85));
    }

    #[test]
    fn misspelt_keys_name_the_nearest() {
        let shown = complaint("rounds = 3", "round = 3");
        assert_eq!(shown, "a.toml:3: key `round`: no such key here; the nearest is `rounds`");
        let shown = complaint("command = [\"relay\"", "comand = [\"relay\"");
        assert_eq!(shown, "a.toml:12: key `comand`: no such key here; the nearest is `command`");
        let shown = complaint("bar = 0.85", "baar = 0.85");
        assert_eq!(shown, "a.toml:21: key `baar`: no such key here; the nearest is `bar`");
        let shown = complaint("[load]", "[laod]");
        assert_eq!(shown, "a.toml:2: key `laod`: no such key here; the nearest is `load`");
    }

    #[test]
    fn wrong_values_name_their_key() {
        let shown = complaint("rounds = 3", "rounds = \"3\"");
        assert!(shown.starts_with("a.toml:3: key `rounds`: invalid type: string \"3\""), "{shown}");
        let shown = complaint("rounds = 3", "rounds = 0");
        assert_eq!(shown, "a.toml:3: key `rounds`: expected 1 to 1000");
        let shown = complaint("origin = \"page\"", "origin = \"page\"\nrounds = 1001");
        assert_eq!(shown, "a.toml:20: key `rounds`: expected 1 to 1000");
        let shown = complaint("rounds = 3", "run_limit = 3601");
        assert_eq!(shown, "a.toml:3: key `run_limit`: expected more than 0, at most 3600 seconds");
        for bar in ["0", "-0.5", "inf", "nan"] {
            let shown = complaint("bar = 0.85", &format!("bar = {bar}"));
            assert!(shown.ends_with("key `bar`: expected a finite number above 0"), "{shown}");
        }
        let shown = complaint("kind = \"tcp-relay\"", "kind = \"tcprelay\"");
        assert_eq!(
            shown,
            "a.toml:11: key `kind`: `tcprelay` is not a value of this key; the nearest is `tcp-relay`"
        );
        let shown = complaint("origin = \"page\"", "origin = \"pages\"");
        assert_eq!(
            shown,
            "a.toml:19: key `origin`: no service of the origin is called `pages`; the nearest is `page`"
        );
        let shown = complaint("\"--in-flight\"", "\"--inflight\"");
        assert!(shown.starts_with("a.toml:18: key `args`: unexpected argument '--inflight'"), "{shown}");
        let shown = complaint("\"connect\", \"--in-flight\", \"8\", \"--seconds\", \"1\"", "\"origin\"");
        assert!(shown.starts_with("a.toml:18: key `args`:"), "{shown}");
    }

    #[test]
    fn a_plan_does_not_leave_the_scope() {
        let shown = complaint("\"--in-flight\"", "\"--i-own-this-host\", \"--in-flight\"");
        assert!(shown.starts_with("a.toml:18: key `args`: --i-own-this-host is for"), "{shown}");
        let shown = complaint("\"--in-flight\"", "\"--target-name\", \"host.test\", \"--in-flight\"");
        assert!(shown.starts_with("a.toml:18: key `args`: \"host.test\" may be"), "{shown}");
        let text = GOOD.replace("\"--in-flight\"", "\"--target-name\", \"host.test\", \"--in-flight\"");
        let open = Scope::new(true).expect("the interfaces");
        assert!(Plan::parse(&text, Path::new("a.toml"), &open).is_ok());
    }

    #[test]
    fn what_does_not_fit_together() {
        let shown = complaint("name = \"floor\"", "name = \"one\"");
        assert_eq!(shown, "a.toml:10: key `name`: `one` is there already");
        let shown = complaint("{relay_page}", "{relay_pages}");
        assert_eq!(
            shown,
            "a.toml:13: key `command`: no placeholder is called `relay_pages`; the nearest is `relay_page`"
        );
        let shown = complaint("rounds = 3", "subject = \"on\"");
        assert_eq!(shown, "a.toml:3: key `subject`: no server is called `on`; the nearest is `one`");
        let shown =
            complaint("origin = \"page\"", "origin = \"page\"\nrate = { share = 0.5, of = \"conect\" }");
        assert!(shown.starts_with("a.toml:20: key `of`: no earlier scenario is called `conect`"), "{shown}");
        let shown = complaint("[[scenario]]", "[[scenario]");
        assert!(shown.starts_with("a.toml:15: not TOML"), "{shown}");
    }
}
