//! Signals as what they ask for. None but those that end a process for good ends this one: where a signal asks for
//! something that there is not, the sessions go on.

use std::io;

use crossbeam_channel::{Receiver, bounded};
use nix::sys::signal::Signal;
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXFSZ,
};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::limits;
use crate::sys::machine;
use crate::threads;

/// What somebody wants of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalRequest {
    /// The drain; the second time the end.
    End,
    /// The counters, in the log.
    Counters,
    /// The configuration read anew, and the files of the log opened anew.
    Reload,
    /// A new server in this one's place.
    Handover,
    /// An end behind which nobody comes: new clients are refused, and the process ends with its last session.
    Leave,
    /// Nothing that this server has: the signal's name.
    Unknown(&'static str),
}

/// signal-hook has no constant for it.
const SIGPWR: i32 = Signal::SIGPWR as i32;

/// The first real-time signal that both glibc (SIGRTMIN+1) and musl (SIGRTMIN) leave to programs.
const LEAVE: i32 = 35;

/// The signals that are waited for, beside the real-time ones. SIGQUIT and what reports a fault keep their core dump,
/// SIGTTIN and SIGTTOU are the terminal's.
const SIGNALS: [i32; 11] =
    [SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGXFSZ];

/// Signals that end nothing any more, and wait until somebody looks.
pub(super) struct CaughtSignals(Signals);

/// Catches signals from now on.
///
/// # Errors
/// A signal cannot be caught.
pub(super) fn catch() -> io::Result<CaughtSignals> {
    Signals::new(SIGNALS.into_iter().chain(machine::realtime_signals())).map(CaughtSignals)
}

impl CaughtSignals {
    /// Starts the thread that receives them.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn watch(self) -> io::Result<Receiver<SignalRequest>> {
        let CaughtSignals(mut signals) = self;
        let (sender, receiver) = bounded(limits::SIGNALS_QUEUED_MAX);
        threads::spawn("signals", move || {
            for signal in signals.forever() {
                // A file at its size limit: whoever writes is told by the call, and without a handler the process would end.
                if signal != SIGXFSZ && sender.send(asked(signal)).is_err() {
                    return;
                }
            }
        })?;
        Ok(receiver)
    }
}

fn asked(signal: i32) -> SignalRequest {
    match signal {
        SIGTERM | SIGINT => SignalRequest::End,
        SIGUSR1 => SignalRequest::Counters,
        SIGHUP => SignalRequest::Reload,
        SIGUSR2 => SignalRequest::Handover,
        SIGPWR => SignalRequest::Unknown("SIGPWR"),
        LEAVE => SignalRequest::Leave,
        other => SignalRequest::Unknown(signal_name(other).unwrap_or("a real-time signal")),
    }
}
