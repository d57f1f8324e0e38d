//! The runs: origin, servers and one child process of this very program for each measurement, round by
//! round, every server in its turn (A B C A B C ...), so that a drift of the machine meets all alike.
//!
//! Within a scenario a server is one process over all rounds, started and warmed up at its first; where
//! the scenario wants it `fresh`, each round has a new one. A server that fails leaves the scenario; the
//! others go on.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::Value;

use crate::compare::certificate;
use crate::compare::plan::{Family, Figure, Plan, PlannedScenario, Server, ServerKind};
use crate::compare::progress::Progress;
use crate::compare::server::{NoStart, Ports, Running, Site, fronts, locate, tail};
use crate::compare::sheet::{Entry, Failure, Outcome, Run, ScenarioSheet};
use crate::compare::stats::Spread;
use crate::compare::warden::{Charge, Interrupted, ProcessEnd, Warden};
use crate::hgrm;
use crate::origin::UDP_SERVICE;
use crate::scope;

/// What is run on every server that was just started and is not counted: code and memory that are needed
/// once are then there, and a server that does not work at all is known. A load of requests has its own.
const WARM_UP: [&str; 5] = ["connect", "--count", "200", "--in-flight", "8"];
const REQUESTS_WARM_UP: [&str; 5] = ["http", "--count", "200", "--connections", "8"];
/// The services of the warm-ups; a relay needs a front for its own.
const WARM_UP_SERVICE: &str = "page";
const REQUESTS_WARM_UP_SERVICE: &str = "http";
/// The origin is ours: it is up at once or never.
const ORIGIN_LIMIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(5);
/// After so many runs an address comes again.
const TARGETS_MAX: u32 = 60_000;
/// More late starts than this share of the sessions are worth a word.
const LATE_SHARE: f64 = 0.1;
/// The field that an open loop takes a share of.
const PEAK_FIELDS: [&str; 2] = ["sessions_per_second", "datagrams_per_second"];

/// Why the whole comparison ends.
#[derive(Debug)]
pub(crate) enum Halt {
    Interrupted(Interrupted),
    /// Something of ours, not of a server's.
    Own(String),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted(interrupted) => interrupted.fmt(f),
            Self::Own(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Halt {}

impl From<Interrupted> for Halt {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Own(error.to_string())
    }
}

/// What is the same for all runs.
pub(crate) struct Bench<'a> {
    plan: &'a Plan,
    pub(crate) warden: &'a Warden,
    pub(crate) progress: Progress,
    /// The program that runs the scenarios: this one.
    exe: PathBuf,
    /// Its folder, for `{bin}`.
    pub(crate) bin: String,
    /// Where the servers' folders are made; absolute.
    pub(crate) work: PathBuf,
    /// Where the distributions are left.
    hgrm: PathBuf,
    /// Where the servers' certificate lies.
    tls: PathBuf,
    /// The command line's word over the plan's.
    rounds: Option<u32>,
    /// The operator owns other hosts too: each run is told so.
    pub(crate) anywhere: bool,
    /// Programs of the servers that are there.
    pub(crate) programs: BTreeMap<String, PathBuf>,
    ports: Ports,
    /// How many targets were given out.
    targets: Cell<u32>,
    origin: Option<RunningOrigin>,
    running: BTreeMap<String, Running>,
}

struct RunningOrigin {
    charge: Charge,
    services: BTreeMap<String, SocketAddr>,
}

/// What is run on which server.
#[derive(Clone, Copy)]
struct Turn<'a> {
    server: &'a Server,
    scenario: &'a PlannedScenario,
    round: u32,
    rate: Option<f64>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        warden: &'a Warden,
        work: PathBuf,
        rounds: Option<u32>,
    ) -> io::Result<Self> {
        let exe = std::env::current_exe()?;
        let hgrm = work.with_file_name("hgrm");
        fs::create_dir_all(&hgrm)?;
        let tls = work.join("tls");
        certificate::write(&tls)?;
        let bin = exe.parent().unwrap_or(Path::new("/")).display().to_string();
        Ok(Self {
            plan,
            warden,
            progress: Progress::new(0),
            targets: Cell::new(0),
            exe,
            bin,
            work,
            hgrm,
            tls,
            rounds,
            anywhere: false,
            programs: BTreeMap::new(),
            ports: Ports::new(),
            origin: None,
            running: BTreeMap::new(),
        })
    }

    /// The rounds of `scenario`: the command line's, its own, or the plan's.
    pub(crate) fn rounds_of(&self, scenario: &PlannedScenario) -> u32 {
        let own = scenario.rounds.as_ref().map(|rounds| *rounds.get_ref());
        self.rounds.or(own).unwrap_or(self.plan.load.rounds)
    }

    /// Runs `scenario` on `servers`; `earlier` has the peaks.
    pub(crate) fn scenario(
        &mut self,
        scenario: &PlannedScenario,
        servers: &[&Server],
        earlier: &[ScenarioSheet],
    ) -> Result<ScenarioSheet, Halt> {
        let rounds = self.rounds_of(scenario);
        let mut entries: Vec<Entry> =
            servers.iter().map(|server| self.entry(scenario, server, earlier)).collect();
        for round in 1..=rounds {
            for (server, entry) in servers.iter().zip(&mut entries) {
                self.progress.step(scenario.name.get_ref(), round, rounds, server.name.get_ref());
                if entry.outcome != Outcome::Measured {
                    continue;
                }
                let rate = peak(scenario, earlier, &entry.server);
                let turn = Turn { server, scenario, round, rate };
                match self.measure(turn, entry)? {
                    Ok(run) => {
                        self.progress.tell(&told(turn, &run));
                        if let Some(doubt) = doubt(&run) {
                            self.progress.complain(&format!("{}: {doubt}", entry.server));
                        }
                        entry.runs.push(run);
                    }
                    Err(failure) => {
                        self.progress.complain(&failure.line(&entry.server, scenario.name.get_ref()));
                        entry.outcome = Outcome::Failed(failure);
                        self.stop(&entry.server);
                    }
                }
            }
        }
        self.stop_all();
        Ok(ScenarioSheet {
            name: scenario.name.get_ref().clone(),
            title: scenario.title.clone(),
            args: scenario.args.get_ref().clone(),
            origin: scenario.origin.get_ref().clone(),
            rounds,
            rate: scenario.rate.as_ref().map(|rate| rate.get_ref().clone()),
            figures: scenario.figures.get_ref().clone(),
            curve: scenario.curve.clone(),
            entries,
        })
    }

    /// Whether `server` takes part, before anything is run.
    fn entry(&self, scenario: &PlannedScenario, server: &Server, earlier: &[ScenarioSheet]) -> Entry {
        let name = server.name.get_ref();
        let service = scenario.origin.get_ref();
        let omitted = |reason: String| Outcome::Omitted { reason };
        let missing = scenario.needs.iter().find(|program| locate(program).is_none());
        let front = |service: &str| {
            server.kind != ServerKind::TcpRelay || fronts(server).any(|front| front == service)
        };
        let outcome = if !self.programs.contains_key(name) {
            Outcome::Absent
        } else if scenario.servers.as_ref().is_some_and(|list| !list.get_ref().contains(name)) {
            omitted("not in this scenario".to_owned())
        } else if let Some(program) = missing {
            omitted(format!("{program} is not installed"))
        } else if service == UDP_SERVICE && !server.udp {
            omitted("no UDP ASSOCIATE".to_owned())
        } else if server.kind == ServerKind::TcpRelay && scenario.protocol().under_tls() {
            omitted("no TLS".to_owned())
        } else if server.kind != ServerKind::TcpRelay && !server.protocols.contains(&scenario.protocol()) {
            omitted("does not speak that".to_owned())
        } else if !front(service) || !front(warm_up(scenario).1) {
            omitted(format!("no front for {service}"))
        } else if scenario.rate.is_some() && peak(scenario, earlier, name).is_none() {
            omitted("its peak was not measured".to_owned())
        } else {
            Outcome::Measured
        };
        Entry { server: name.clone(), outcome, command: Vec::new(), runs: Vec::new() }
    }

    /// One measurement. When the origin dies under it, that is no fault of the server's: once more then.
    fn measure(&mut self, turn: Turn<'_>, entry: &mut Entry) -> Result<Result<Run, Failure>, Halt> {
        let first = self.attempt(turn, entry)?;
        if first.is_err() && self.origin.as_ref().is_some_and(|origin| origin.charge.end().is_some()) {
            self.progress.complain("the origin died and is started again");
            self.stop_all();
            return self.attempt(turn, entry);
        }
        Ok(first)
    }

    fn attempt(&mut self, turn: Turn<'_>, entry: &mut Entry) -> Result<Result<Run, Failure>, Halt> {
        let name = turn.server.name.get_ref();
        self.ensure_origin()?;
        if turn.scenario.fresh {
            self.stop(name);
        }
        if !self.running.contains_key(name) {
            let when = if turn.scenario.fresh { turn.round } else { 0 };
            match self.start(turn)? {
                Ok(running) => entry.command.clone_from(&running.command),
                Err((reason, log)) => return Ok(Err(Failure { round: when, reason, log })),
            }
            let (args, service) = warm_up(turn.scenario);
            let warmed = self.run(turn, &args, service)?;
            if let Err(reason) = warmed {
                return Ok(Err(self.failure(turn, when, format!("warm-up: {reason}"))));
            }
        }
        let mut args = turn.scenario.args.get_ref().clone();
        if let Some(rate) = turn.rate {
            args.extend(["--rate".to_owned(), format!("{rate:.0}")]);
        }
        let prefix = self.hgrm.join(format!("{}.{name}.{}", turn.scenario.name.get_ref(), turn.round));
        if turn.scenario.curve.is_some() {
            args.extend(["--hgrm".to_owned(), prefix.display().to_string()]);
        }
        // Files are named with dashes where the record has underscores.
        let drawn = turn.scenario.curve.as_ref().map(|name| hgrm::path(&prefix, &name.replace('_', "-")));
        if let Some(path) = drawn.as_ref().filter(|path| path.exists()) {
            fs::remove_file(path)?;
        }
        let mut outcome = self.run(turn, &args, turn.scenario.origin.get_ref())?;
        if let (Ok(run), Some(path)) = (&mut outcome, &drawn) {
            // A run that timed nothing leaves none, and `complete` says so.
            run.curve = hgrm::rows(&fs::read_to_string(path).unwrap_or_default());
        }
        if turn.scenario.fresh && outcome.is_ok() {
            self.stop(name);
        }
        Ok(match outcome.and_then(|run| complete(turn.scenario, run)) {
            Ok(run) => Ok(run),
            Err(reason) => Err(self.failure(turn, turn.round, reason)),
        })
    }

    /// What failed, with what the server's process has to say about it.
    fn failure(&self, turn: Turn<'_>, round: u32, mut reason: String) -> Failure {
        let running = self.running.get(turn.server.name.get_ref());
        if let Some(end) = running.and_then(|running| running.charge.end()) {
            reason.push_str(&format!(" (its process has ended: {end})"));
        }
        Failure { round, reason, log: running.map(Running::log_tail).unwrap_or_default() }
    }

    /// Starts the server; `Err` holds the reason and the end of its log.
    fn start(&mut self, turn: Turn<'_>) -> Result<Result<&Running, (String, Vec<String>)>, Halt> {
        let name = turn.server.name.get_ref();
        let none = BTreeMap::new();
        let site = Site {
            warden: self.warden,
            cpu: self.plan.load.server_cpu,
            bin: &self.bin,
            tls: &self.tls,
            dir: self.work.join(format!("{}.{name}", turn.scenario.name.get_ref())),
            services: self.origin.as_ref().map_or(&none, |origin| &origin.services),
        };
        match Running::start(turn.server, &self.programs[name], site, &mut self.ports) {
            Ok(running) => Ok(Ok(self.running.entry(name.clone()).or_insert(running))),
            Err(NoStart::Failed(reason, log)) => Ok(Err((reason, log))),
            Err(NoStart::Interrupted(interrupted)) => Err(interrupted.into()),
            Err(NoStart::Own(error)) => Err(Halt::Own(format!("cannot prepare {name}: {error}"))),
        }
    }

    /// Runs outflow-load against the server; `Err` in it is the reason why the run failed.
    fn run(&self, turn: Turn<'_>, args: &[String], service: &str) -> Result<Result<Run, String>, Halt> {
        let running = &self.running[turn.server.name.get_ref()];
        if let Some(end) = running.charge.end() {
            return Ok(Err(format!("its process ended between two runs: {end}")));
        }
        let mut args = args.to_vec();
        args.extend(self.route(turn, running, service));
        args.extend(self.anywhere.then(|| scope::OPTION.to_owned()));
        let (out, err) = (self.work.join("run.out"), self.work.join("run.err"));
        let mut command = Command::new(&self.exe);
        command.args(&args).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let charge = self.warden.spawn(&mut command, None)?;
        let limit = Duration::from_secs_f64(self.plan.load.run_limit);
        let end = self.warden.wait(&charge, limit)?;
        self.warden.end(&charge);
        let said = tail(&err).pop().unwrap_or_default();
        let said = said.trim_start_matches("outflow-load: ").to_owned();
        let Some(end) = end else {
            return Ok(Err(format!("the run did not end within {} s", limit.as_secs_f64())));
        };
        if end != ProcessEnd::Code(0) {
            return Ok(Err(if said.is_empty() { format!("the run ended with {end}") } else { said }));
        }
        let text = fs::read_to_string(&out)?;
        let last = text.lines().last().unwrap_or_default();
        Ok(match serde_json::from_str::<Value>(last) {
            Ok(record) => Ok(Run { round: turn.round, args, record, curve: Vec::new() }),
            Err(error) => Err(format!("the run left no record: {error}")),
        })
    }

    /// Where this run finds the service: at an address that no run before it had (see `Place::WholeLoopback`).
    fn target(&self, service: SocketAddr, name: &str, family: Family) -> SocketAddr {
        if name == UDP_SERVICE {
            return service;
        }
        let nth = self.targets.get();
        self.targets.set((nth + 1) % TARGETS_MAX);
        SocketAddr::new(family.target(nth), service.port())
    }

    /// Server, target, process and CPU, as flags.
    fn route(&self, turn: Turn<'_>, running: &Running, service: &str) -> Vec<String> {
        let (server, family) = (turn.server, turn.scenario.family);
        let mut flags = Vec::new();
        let mut flag = |name: &str, value: String| flags.extend([name.to_owned(), value]);
        flag("--pid", running.charge.pid().to_string());
        flag("--cpu", self.plan.load.load_cpu.to_string());
        match server.kind {
            ServerKind::Proxy | ServerKind::Variant => {
                flag("--server", running.address(turn.scenario.protocol().under_tls()).to_string());
                flag("--target", self.target(running.values.services[service], service, family).to_string());
            }
            ServerKind::TcpRelay => flag("--target", running.values.fronts[service].to_string()),
        }
        if let Some(auth) = &server.auth {
            flag("--user", auth.user.clone());
            flag("--password", auth.password.clone());
        }
        if server.kind == ServerKind::TcpRelay {
            flags.push("--direct".to_owned());
        }
        flags
    }

    /// The origin is there; a new one has other ports, so that relays which know the old ones are ended.
    fn ensure_origin(&mut self) -> Result<(), Halt> {
        if self.origin.as_ref().is_some_and(|origin| origin.charge.end().is_none()) {
            return Ok(());
        }
        self.stop_all();
        let out = self.work.join("origin.out");
        let mut command = Command::new(&self.exe);
        command.args(["origin", "--whole-loopback", "--cpu", &self.plan.load.load_cpu.to_string()]);
        if self.plan.scenarios.iter().any(|scenario| scenario.family == Family::V6) {
            command.arg("--both-families");
        }
        command.stdout(Stdio::from(File::create(&out)?)).stderr(Stdio::inherit());
        let charge = self.warden.spawn(&mut command, None)?;
        let until = Instant::now() + ORIGIN_LIMIT;
        loop {
            let text = fs::read_to_string(&out)?;
            if let Some(line) = text.lines().find(|_| text.ends_with('\n')) {
                self.origin = Some(RunningOrigin { charge, services: services(line) });
                return Ok(());
            }
            if let Some(end) = charge.end() {
                return Err(Halt::Own(format!("the origin ended at once ({end})")));
            }
            if Instant::now() >= until {
                return Err(Halt::Own("the origin does not become ready".to_owned()));
            }
            self.warden.nap(LOOK)?;
        }
    }

    fn stop(&mut self, server: &str) {
        if let Some(running) = self.running.remove(server) {
            self.warden.end(&running.charge);
        }
    }

    fn stop_all(&mut self) {
        let names: BTreeSet<String> = self.running.keys().cloned().collect();
        names.iter().for_each(|name| self.stop(name));
    }
}

/// The warm-up that goes before a scenario, and the service of the origin for it.
fn warm_up(scenario: &PlannedScenario) -> (Vec<String>, &'static str) {
    if scenario.is_of_requests() {
        return (REQUESTS_WARM_UP.map(str::to_owned).to_vec(), REQUESTS_WARM_UP_SERVICE);
    }
    let mut args = WARM_UP.map(str::to_owned).to_vec();
    let name = scenario.protocol().to_possible_value().map(|value| value.get_name().to_owned());
    args.extend(["--protocol".to_owned(), name.unwrap_or_default()]);
    (args, WARM_UP_SERVICE)
}

/// `echo=127.0.0.1:40001 sink=...` of the ready line.
fn services(line: &str) -> BTreeMap<String, SocketAddr> {
    let pairs = line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    pairs.filter_map(|(name, address)| Some((name.to_owned(), address.parse().ok()?))).collect()
}

/// The rate of an open loop on `server`.
fn peak(scenario: &PlannedScenario, earlier: &[ScenarioSheet], server: &str) -> Option<f64> {
    let rate = scenario.rate.as_ref()?.get_ref();
    let sheet = earlier.iter().find(|sheet| sheet.name == rate.of)?;
    let entry = sheet.entries.iter().find(|entry| entry.server == server)?;
    let values = PEAK_FIELDS.iter().map(|field| entry.values(field)).find(|values| !values.is_empty())?;
    let peak = Spread::of(values.into_iter().map(|(_, value)| value))?;
    Some((peak.median * rate.share).max(1.0))
}

/// Every figure that no plan calls optional is in the record, and the latency that is to be drawn.
fn complete(scenario: &PlannedScenario, run: Run) -> Result<Run, String> {
    if let Some(name) = scenario.curve.as_ref().filter(|_| run.curve.is_empty()) {
        return Err(format!("the run timed no `{name}`"));
    }
    let missing = |figure: &&Figure| !figure.optional && run.figure(&figure.field).is_none();
    match scenario.figures.get_ref().iter().find(missing) {
        None => Ok(run),
        Some(figure) => Err(format!("the record has no number called `{}`", figure.field)),
    }
}

/// What makes a run's figures doubtful though it did not fail.
fn doubt(run: &Run) -> Option<String> {
    let above = |field: &str, least: f64| run.figure(field).filter(|value| *value > least);
    if let Some(silent) = above("silent_connections", 0.0) {
        return Some(format!("nothing moved on {silent} connections"));
    }
    let sessions = run.figure("sessions")?;
    let late = above("late_starts", sessions * LATE_SHARE)?;
    Some(format!("{late} of {sessions} sessions started late: this machine was busy"))
}

/// One line about a run.
fn told(turn: Turn<'_>, run: &Run) -> String {
    let figures = turn.scenario.figures.get_ref().iter().filter_map(|figure| {
        let value = run.figure(&figure.field)?;
        let scale = crate::compare::units::Scale::of(figure.unit, [value]);
        Some(format!("{} {}", figure.title, scale.show(value)))
    });
    let figures: Vec<String> = figures.collect();
    let (scenario, server) = (turn.scenario.name.get_ref(), turn.server.name.get_ref());
    format!("{scenario}, round {}, {server}: {}", turn.round, figures.join(", "))
}
