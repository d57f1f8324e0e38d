//! TERM and INT as a run's fault, for runs that have something to put back before they end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_usize;

use crate::fault::Fault;

/// The last of these signals that came since `caught`.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// From here on these signals end no process by themselves.
    pub(crate) fn caught() -> io::Result<Self> {
        let asked = Arc::new(AtomicUsize::new(0));
        for signal in [SIGTERM, SIGINT] {
            register_usize(signal, Arc::clone(&asked), signal as usize)?;
        }
        Ok(Self(asked))
    }

    /// The fault, once one came.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let asked = i32::try_from(self.0.load(Ordering::Relaxed)).ok();
        let signal = asked.and_then(|number| Signal::try_from(number).ok());
        signal.map_or(Ok(()), |signal| Err(Fault::Interrupted(signal)))
    }
}
