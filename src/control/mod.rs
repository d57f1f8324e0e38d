//! Threads, signals, drain: what surrounds the workers.

mod acceptor;
mod descriptors;
mod line;
mod locals;
mod logs;
mod outlet;
mod plural;
mod resolver_files;
mod server;
mod signals;
mod snapshot;
mod start_error;
mod trial;
mod users;
mod watchdog;

#[cfg(test)]
mod tests;

pub use server::Server;
pub use start_error::StartError;
pub use trial::{Report, check};

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select, tick};

use self::line::{Fields, Voice};
use self::logs::Logs;
use self::outlet::{Outlet, Sink};
use self::signals::SignalRequest;
use crate::admin::{OrderError, OrderLetter};
use crate::config::{Access, Config};
use crate::console::complain;
use crate::limits;
use crate::observe::Totals;
use crate::threads::survive;

/// Serves until told to stop; what `outflow run` does.
pub fn run(config: Config) -> ExitCode {
    // First of all: a log at the size limit of its file raises a signal.
    let signals = signals::watch();
    let logs = match Logs::start(&config.log) {
        Ok(logs) => logs,
        Err(error) => {
            complain(&format!("no thread can be had for the log: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = start_and_serve(config, signals, &logs);
    if let Err(problem) = &outcome {
        logs.plain(problem);
    }
    logs.finish();
    outcome.unwrap_or(ExitCode::FAILURE)
}

fn start_and_serve(
    config: Config,
    signals: io::Result<Receiver<SignalRequest>>,
    logs: &Logs,
) -> Result<ExitCode, String> {
    let signals = signals.map_err(|error| format!("signals cannot be watched: {error}"))?;
    let (drain, access) = (config.timeouts.drain, config.log.access.clone());
    let mut server = Server::start(config).map_err(|error| error.to_string())?;
    server.beside().set_log(logs.lines());
    say_ready(&server.ready_line(), &access, logs);
    Ok(survive(|| serve(&mut server, &signals, drain, logs)).unwrap_or_else(|| {
        // Nobody hears signals any more: the sessions get the drain's time, as for one of them.
        tracing::error!("the control thread panicked: draining");
        server.drain(Instant::now() + drain);
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

/// Waits for signals and for the workers' end.
fn serve(server: &mut Server, signals: &Receiver<SignalRequest>, drain: Duration, logs: &Logs) -> ExitCode {
    let (refresh, mut changes) = (tick(limits::LOCALS_REFRESH), locals::watch());
    let watch = tick(limits::WATCHDOG_INTERVAL);
    let (mut draining, mut cut) = (false, false);
    loop {
        select! {
            recv(signals) -> asked => match asked {
                Ok(SignalRequest::Counters) => logs.always("counters", fields(&server.totals())),
                Ok(SignalRequest::Reopen) => {
                    tracing::info!("SIGHUP: the access record is opened anew where another file stands at its path");
                    server.reopen_records();
                    server.look_at_users();
                }
                Ok(SignalRequest::Unknown(signal)) => {
                    tracing::warn!(signal, "a signal that asks for nothing here: ignored");
                }
                Ok(SignalRequest::End) | Err(_) if draining && cut => return ExitCode::FAILURE,
                Ok(SignalRequest::End) | Err(_) if draining => {
                    tracing::warn!("a second signal: ending at once");
                    cut = true;
                    server.drain(Instant::now());
                }
                Ok(SignalRequest::End) | Err(_) => {
                    draining = true;
                    tracing::info!(sessions = server.totals().active(), "draining");
                    server.drain(Instant::now() + drain);
                }
            },
            recv(refresh) -> _ => survive(|| server.refresh_locals()).unwrap_or_default(),
            recv(changes) -> news => match news {
                Ok(()) => survive(|| server.refresh_locals()).unwrap_or_default(),
                Err(_) => changes = never(),
            },
            recv(watch) -> _ => {
                server.every_second();
                if server.overdue() {
                    tracing::error!("a worker stands still and does not end: ending without it");
                    return ExitCode::FAILURE;
                }
            }
            recv(server.orders()) -> letter => if let Ok(OrderLetter { reply, .. }) = letter {
                reply.send(Err(OrderError::Failed("this version does not carry it out".to_owned())));
            },
            recv(server.ended()) -> ended => {
                if let Ok(Err(error)) = &ended {
                    // Nobody accepts on its listeners any more: better no server than one that loses clients.
                    tracing::error!(%error, "a worker ended: draining");
                    (draining, cut) = (true, true);
                    server.drain(Instant::now() + drain);
                }
                if server.note_end(ended.ok()) {
                    break;
                }
            }
        }
    }
    let latencies = server.finish();
    if tracing::enabled!(tracing::Level::INFO) {
        let mut fields = fields(&server.totals());
        fields.push(("latencies".into(), latencies.to_string().into()));
        logs.always("ended", fields);
    }
    if draining && !cut { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was counted, as fields of a line.
fn fields(totals: &Totals) -> Fields {
    totals.fields().into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}
