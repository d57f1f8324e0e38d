//! Threads, signals, drain: what surrounds the workers.

mod acceptor;
mod activation;
mod asker;
mod certificates;
mod clerk;
mod confined_check;
mod controller;
mod deferred;
mod descriptors;
mod doctor;
mod egress_watch;
mod explain;
mod given;
mod handing;
mod handover;
mod held;
mod idle_keys;
mod launcher;
mod learned;
mod learner;
mod limited_users;
mod limiting;
mod line;
mod listener_concerns;
mod listener_kind;
mod listener_names;
mod lists;
mod locals;
mod log_form;
mod logs;
mod memory;
mod notify;
mod numbers;
mod opening;
mod outlet;
mod parent_passwords;
mod parents;
mod periods;
mod plural;
mod post;
mod quota_keeper;
mod quota_orders;
mod reload;
mod resolver_files;
mod rules;
mod running;
mod sandbox;
mod server;
mod signals;
mod snapshot;
mod start_error;
mod stored;
mod trial;
mod unix_listener;
mod user_orders;
mod usernames;
mod users;
mod vitals;
mod watchdog;
mod ways;
mod zones;

#[cfg(test)]
mod tests;

pub use confined_check::check_confined;
pub use doctor::{Diagnosis, Finding, PoolCapacity, Severity, diagnose};
pub use explain::{ExplainError, explain};
pub use learned::{LearnedError, read_learned, text_of};
pub use sandbox::outlook;
pub use server::Server;
pub use start_error::StartError;
pub use trial::{Report, check};

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use crossbeam_channel::Receiver;

use self::activation::Activation;
use self::controller::Controller;
use self::handover::Wish;
use self::launcher::Launcher;
use self::line::Voice;
use self::logs::Logs;
use self::notify::ServiceManager;
use self::outlet::{Outlet, Sink};
use self::server::PreparedServer;
use self::signals::{CaughtSignals, SignalRequest};
use crate::config::{Access, Config, ConfigSource};
use crate::console::complain;
use crate::limits;
use crate::sys::passed;
use crate::threads::survive;

/// Serves until told to stop; what `outflow run` does, in the place of a server that serves already where that is wished. The
/// source is where `config` came from.
pub fn run(source: ConfigSource, config: Config, takeover: bool) -> ExitCode {
    // Before there is a thread, for these take variables out of the environment, and what was passed before anything is opened
    // that stays so. What starts the program anew is to have those of the service manager and all rights, and has no descriptor of ours.
    let passed = match passed::take() {
        Ok(passed) => passed,
        Err(problem) => {
            complain(&format_args!("sockets that were passed cannot be taken: {problem}"));
            return ExitCode::FAILURE;
        }
    };
    let from = Wish::of(takeover, &config);
    let fork = || Launcher::fork(&config, source.file.as_deref());
    let launcher = config.server.takeover.is_some().then(fork);
    let manager = ServiceManager::take();
    // A log at the size limit of its file raises a signal.
    let caught = signals::catch();
    // Before there is a thread, too: what one gives up no other does.
    let prepared = PreparedServer::confined(&config, source.file.as_deref());
    let signals = caught.and_then(CaughtSignals::watch);
    let mut logs = match Logs::start(&config.log) {
        Ok(logs) => logs,
        Err(error) => {
            complain(&format!("no thread can be had for the log: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let manager = manager.unwrap_or_else(|problem| {
        tracing::warn!("the service manager cannot be told anything: {problem}");
        ServiceManager::default()
    });
    let launcher = launcher.and_then(|launcher| {
        let failed = |error| tracing::warn!("no signal can bring a hand-over about: {error}");
        let launcher = launcher.map_err(failed).ok()?;
        if let Some(what) = launcher.objection() {
            tracing::warn!("no signal can bring a hand-over about: {what}");
        }
        Some(launcher)
    });
    let activation = Activation::of(passed, &config);
    activation.unwanted.iter().for_each(|name| manager.forget(name));
    let outcome = prepared.map_err(|problems| problems.to_string()).and_then(|prepared| {
        let start = || start(config, prepared, (from, activation)).map_err(|error| error.to_string());
        start_and_serve(source, start, signals, &mut logs, (manager, launcher))
    });
    if let Err(problem) = &outcome {
        logs.plain(problem);
    }
    logs.finish();
    outcome.unwrap_or(ExitCode::FAILURE)
}

/// Starts the server with what was passed to it, in the place of another where that is wished.
fn start(
    config: Config,
    prepared: PreparedServer,
    (from, passed): (Wish, Activation),
) -> Result<Server, StartError> {
    let (predecessor, mut inheritance) = from.fulfil()?;
    inheritance.listeners.extend(passed.clients);
    inheritance.doors.extend(passed.doors);
    let mut server = Server::start_prepared(config, prepared, inheritance, predecessor.as_ref())?;
    if let Some(predecessor) = predecessor {
        tracing::info!("this server has taken the place of another");
        server.follow(predecessor);
    }
    Ok(server)
}

fn start_and_serve(
    source: ConfigSource,
    start: impl FnOnce() -> Result<Server, String>,
    signals: io::Result<Receiver<SignalRequest>>,
    logs: &mut Logs,
    around: (ServiceManager, Option<Launcher>),
) -> Result<ExitCode, String> {
    let signals = signals.map_err(|error| format!("signals cannot be watched: {error}"))?;
    let server = start()?;
    let access = server.config().log.access.clone();
    server.beside().set_log(logs.lines());
    if let Some(what) = server.confined() {
        tracing::info!("confined: {what}");
    }
    let ready = server.ready_line();
    let mut controller = Controller::start(server, source, signals, logs, around)
        .map_err(|error| format!("cannot start: {error}"))?;
    say_ready(&ready, &access, controller.logs);
    Ok(survive(|| controller.run()).unwrap_or_else(|| {
        // Nobody hears signals any more: the sessions get the drain's time, as for one of them.
        tracing::error!("the control thread panicked: draining");
        let server = &mut controller.server;
        server.drain(Instant::now() + server.config().timeouts.drain);
        server.finish();
        ExitCode::FAILURE
    }))
}

/// The ready line goes to standard output, unless that is for records alone.
fn say_ready(line: &str, access: &Access, logs: &Logs) {
    if *access == Access::Stdout {
        return logs.plain(line);
    }
    // An outlet of its own, for nobody need read standard output. Without a thread for it the log has to do.
    match Outlet::start("ready", Sink::Stdout, Voice::Silent, limits::LOG_QUEUE_BYTES_MAX) {
        Ok(outlet) => {
            outlet.lines.send_or_lose(format!("{line}\n").into_bytes());
            outlet.end();
        }
        Err(_) => logs.plain(line),
    }
}
