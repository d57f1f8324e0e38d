//! Threads, signals, drain: what surrounds the workers.

mod acceptor;
mod descriptors;
mod server;
mod trial;
mod writer;

pub use server::{Server, StartError};
pub use trial::{Report, check};

use crate::config::{Config, Format, Level, Log};
use crate::limits;
use crossbeam_channel::{Receiver, bounded, select, tick};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Serves until told to stop; what `outflow run` does.
pub fn run(config: Config) -> ExitCode {
    start_logging(&config.log);
    let signals = match watch_signals() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("signals cannot be watched: {error}")),
    };
    let drain = config.timeouts.drain;
    match Server::start(config) {
        Ok(mut server) => {
            crate::cli::say(&server.ready_line());
            serve(&mut server, &signals, drain)
        }
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(problem: &str) -> ExitCode {
    crate::cli::complain(problem);
    ExitCode::FAILURE
}

/// Waits for signals and for the workers' end.
fn serve(server: &mut Server, signals: &Receiver<i32>, drain: Duration) -> ExitCode {
    let refresh = tick(limits::LOCALS_REFRESH);
    let (mut draining, mut cut) = (false, false);
    loop {
        select! {
            recv(signals) -> signal => match signal {
                Ok(SIGUSR1) => tracing::info!("{}", server.totals().line()),
                Ok(_) if draining && cut => return ExitCode::FAILURE,
                Ok(_) if draining => {
                    tracing::warn!("a second signal: ending at once");
                    cut = true;
                    server.drain(Instant::now());
                }
                _ => {
                    draining = true;
                    tracing::info!(sessions = server.totals().active, "draining");
                    server.drain(Instant::now() + drain);
                }
            },
            recv(refresh) -> _ => server.refresh_locals(),
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
    tracing::info!("ended: {}; {latencies}", server.totals().line());
    if draining && !cut { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn watch_signals() -> std::io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])?;
    let (sender, receiver) = bounded(limits::SIGNALS_QUEUED_MAX);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Logs go to standard error; the access record has a sink of its own.
fn start_logging(log: &Log) {
    let level = match log.level {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
        Level::Trace => tracing::Level::TRACE,
    };
    let subscriber =
        tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(std::io::stderr);
    // A subscriber that is there already is a test's.
    let _ = match log.format {
        Format::Text => subscriber.with_ansi(false).try_init(),
        Format::Json => subscriber.json().try_init(),
    };
}
