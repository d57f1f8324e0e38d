//! `outflow-load compare FILE.toml`: many servers under the same loads, side by side.
//!
//! The file names servers, scenarios and figures (`plan`). Servers are started here and ended here, however
//! the run ends (`warden`, `server`); each measurement is a process of this very program (`bench`). What was
//! measured is kept as it is (`sheet`), ranked (`stats`), and shown as text (`table`) and as one HTML file
//! (`report`).
//!
//! A server that is not installed is listed as absent. One that fails is listed with its fault, and the
//! exit code is 1 then; a missed bar is a result, not a fault.

mod bench;
mod certificate;
mod complaint;
pub(crate) mod guard;
mod place;
mod plan;
mod progress;
mod report;
mod server;
mod sheet;
mod stats;
mod table;
mod units;
mod warden;

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use serde_json::Value;

use crate::cli::CompareArgs;
use crate::compare::bench::Bench;
use crate::compare::complaint::near;
use crate::compare::plan::{Load, Plan, PlannedScenario, Server};
use crate::compare::progress::Progress;
use crate::compare::server::locate;
use crate::compare::sheet::{FORMAT, ServerSheet, Sheet};
use crate::compare::warden::{Interrupted, ProcessEnd, Warden};
use crate::scope::Scope;

/// The relay of this project, which is built when it is asked for.
const OWN_SERVER: &str = "{bin}/outflow";
/// The file for people.
const REPORT: &str = "report.html";
/// The file that holds everything.
const RESULTS: &str = "compare.json";
/// A command that tells a version has this long.
const VERSION_LIMIT: Duration = Duration::from_secs(5);
/// A build has this long.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// Runs the comparison of a plan, or shows an earlier one again.
pub(crate) fn compare(args: &CompareArgs, scope: &Scope) -> Result<(), Box<dyn Error>> {
    match (&args.report_only, &args.file) {
        (Some(folder), _) => show(&read(folder)?, folder),
        (None, Some(file)) => run(file, args, scope),
        (None, None) => Err("a plan is needed".into()),
    }
}

/// Runs the comparison and leaves its results.
fn run(file: &Path, args: &CompareArgs, scope: &Scope) -> Result<(), Box<dyn Error>> {
    let (plan, text) = Plan::read(file, scope)?;
    let scenarios = chosen_scenarios(&plan, &args.only)?;
    let servers = chosen_servers(&plan, &args.servers)?;
    require_cpus(&plan.load)?;
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(&plan.load.output));
    let work = output.join("work");
    fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let work = fs::canonicalize(&work)?;

    let started = Instant::now();
    let mut sheet = blank_sheet(&plan, text);
    let warden = Warden::new()?;
    let mut bench = Bench::new(&plan, &warden, work, args.rounds)?;
    bench.anywhere = scope.is_open();
    if servers.iter().any(|server| server.command.get_ref()[0] == OWN_SERVER) {
        build_own_server(&bench, file)?;
    }
    for server in &servers {
        let found = server_sheet(server, &bench)?;
        if let Some(program) = &found.program {
            bench.programs.insert(found.name.clone(), PathBuf::from(program));
        }
        sheet.servers.push(found);
    }
    let rounds: u64 = scenarios.iter().map(|scenario| u64::from(bench.rounds_of(scenario))).sum();
    bench.progress = Progress::new(rounds * servers.len() as u64);
    for scenario in &scenarios {
        let done = bench.scenario(scenario, &servers, &sheet.scenarios)?;
        sheet.scenarios.push(done);
    }
    drop(bench);
    drop(warden);
    sheet.seconds = started.elapsed().as_secs_f64();
    sheet.machine = first_machine(&sheet);
    serde_json::to_writer_pretty(File::create(output.join(RESULTS))?, &sheet)?;
    show(&sheet, &output)
}

/// The results of an earlier run.
fn read(folder: &Path) -> Result<Sheet, Box<dyn Error>> {
    let path = folder.join(RESULTS);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let sheet: Sheet = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if sheet.format != FORMAT {
        return Err(format!("{}: format {}, expected {FORMAT}", path.display(), sheet.format).into());
    }
    Ok(sheet)
}

/// Shows the results and leaves the report; failed servers make it an error.
fn show(sheet: &Sheet, folder: &Path) -> Result<(), Box<dyn Error>> {
    let report = folder.join(REPORT);
    fs::write(&report, report::render(sheet)).map_err(|error| format!("{}: {error}", report.display()))?;
    print!("{}", table::render(sheet));
    println!("\nreport: {}\nall figures: {}", report.display(), folder.join(RESULTS).display());
    let failures = sheet.failures();
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!("{} failed\n  {}", failures.len(), failures.join("\n  ")).into())
}

/// The scenarios of `--only`, with those whose peaks they need, in the order of the plan.
fn chosen_scenarios<'a>(plan: &'a Plan, only: &[String]) -> Result<Vec<&'a PlannedScenario>, String> {
    let mut wanted: Vec<&str> = Vec::new();
    for name in only {
        let all = || plan.scenarios.iter().map(|scenario| scenario.name.get_ref().as_str());
        if !all().any(|other| other == name) {
            return Err(format!("--only: {}", near("scenario", name, all())));
        }
        wanted.push(name);
    }
    // A peak is measured by an earlier scenario, so that one pass from the end finds all.
    for scenario in plan.scenarios.iter().rev().filter(|_| !only.is_empty()) {
        if let Some(rate) = &scenario.rate
            && wanted.contains(&scenario.name.get_ref().as_str())
        {
            wanted.push(&rate.get_ref().of);
        }
    }
    let chosen =
        |scenario: &&PlannedScenario| only.is_empty() || wanted.contains(&scenario.name.get_ref().as_str());
    Ok(plan.scenarios.iter().filter(chosen).collect())
}

/// The servers of `--servers`, in the order of the plan.
fn chosen_servers<'a>(plan: &'a Plan, names: &[String]) -> Result<Vec<&'a Server>, String> {
    for name in names {
        let all = || plan.servers.iter().map(|server| server.name.get_ref().as_str());
        if !all().any(|other| other == name) {
            return Err(format!("--servers: {}", near("server", name, all())));
        }
    }
    let chosen = |server: &&Server| names.is_empty() || names.contains(server.name.get_ref());
    Ok(plan.servers.iter().filter(chosen).collect())
}

/// Both CPUs are there and ours to use.
fn require_cpus(load: &Load) -> Result<(), String> {
    let ours = sched_getaffinity(Pid::from_raw(0)).map_err(|error| error.to_string())?;
    for (key, cpu) in [("server_cpu", load.server_cpu), ("load_cpu", load.load_cpu)] {
        if !ours.is_set(cpu).unwrap_or(false) {
            return Err(format!("[load] {key} = {cpu}: this process may not run on CPU {cpu}"));
        }
    }
    Ok(())
}

fn blank_sheet(plan: &Plan, text: String) -> Sheet {
    Sheet {
        format: FORMAT,
        made_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        seconds: 0.0,
        command: std::env::args().collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: Value::Null,
        subject: plan.subject().to_owned(),
        load: plan.load.clone(),
        plan: text,
        servers: Vec::new(),
        scenarios: Vec::new(),
    }
}

/// Brings `{bin}/outflow` up to date where the plan lies in its workspace; elsewhere it has to be there.
fn build_own_server(bench: &Bench<'_>, plan: &Path) -> Result<(), Box<dyn Error>> {
    let bin = Path::new(&bench.bin);
    if bin.file_name().is_none_or(|name| name != "release") {
        eprintln!("outflow-load: not a release build: what it measures and builds beside it is no result");
    }
    let folder = fs::canonicalize(plan)?.parent().map(Path::to_owned).unwrap_or_default();
    let manifest = folder.join("Cargo.toml");
    if !manifest.exists() {
        return Ok(());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile = if bin.ends_with("release") { "release" } else { "dev" };
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "outflow", "--profile", profile, "--manifest-path"]).arg(&manifest);
    command.arg("--target-dir").arg(bin.parent().unwrap_or(bin)).stdout(std::io::stderr());
    let charge =
        bench.warden.spawn(&mut command, None).map_err(|error| format!("cannot run cargo: {error}"))?;
    match bench.warden.wait(&charge, BUILD_LIMIT)? {
        Some(ProcessEnd::Code(0)) => Ok(()),
        _ => Err("outflow could not be built; build it beside outflow-load: cargo build --release".into()),
    }
}

/// Looks for the server's program and asks it for its version.
fn server_sheet(server: &Server, bench: &Bench<'_>) -> Result<ServerSheet, Box<dyn Error>> {
    let command = server.command.get_ref().clone();
    let needs = server.needs.iter().all(|program| locate(&program.replace("{bin}", &bench.bin)).is_some());
    let program = locate(&command[0].replace("{bin}", &bench.bin)).filter(|_| needs);
    let version = match &program {
        Some(_) => version(&server.version, bench)?,
        None => None,
    };
    Ok(ServerSheet {
        name: server.name.get_ref().clone(),
        kind: server.kind,
        command,
        env: server.env.clone(),
        files: server.files.iter().map(|(name, text)| (name.get_ref().clone(), text.clone())).collect(),
        program: program.map(|path| path.display().to_string()),
        version,
        install: server.install.clone(),
    })
}

/// The first line that the command prints; `None` when it does not say.
fn version(words: &[String], bench: &Bench<'_>) -> Result<Option<String>, Interrupted> {
    let words: Vec<String> = words.iter().map(|word| word.replace("{bin}", &bench.bin)).collect();
    let out = bench.work.join("version.out");
    let Some(program) = words.first().and_then(|program| locate(program)) else { return Ok(None) };
    let Ok(file) = File::create(&out) else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(&words[1..]).stdout(file).stderr(std::process::Stdio::null());
    let Ok(charge) = bench.warden.spawn(&mut command, None) else { return Ok(None) };
    let _ = bench.warden.wait(&charge, VERSION_LIMIT)?;
    bench.warden.end(&charge);
    let text = fs::read_to_string(&out).unwrap_or_default();
    Ok(text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned))
}

/// Every record describes the machine; the first speaks for all.
fn first_machine(sheet: &Sheet) -> Value {
    let runs = sheet.scenarios.iter().flat_map(|scenario| &scenario.entries).flat_map(|entry| &entry.runs);
    runs.filter_map(|run| run.record.get("machine")).next().cloned().unwrap_or_default()
}
