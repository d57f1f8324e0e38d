//! What a server starts with, read while it may still read everything.

use std::path::Path;

use crate::config::{Config, Problems};
use crate::control::sandbox::{self, Confinement};
use crate::control::start_error::StartError;
use crate::control::trial::{Named, Report, Trial};

/// What a server starts with.
pub(in crate::control) struct PreparedServer {
    /// What the configuration names, or what of it cannot be had.
    named: Result<Named, Problems>,
    /// What is odd about it, for the log.
    warnings: Problems,
    confinement: Confinement,
}

impl PreparedServer {
    /// Reads what the configuration names.
    pub(in crate::control) fn of(config: &Config, confinement: Confinement) -> PreparedServer {
        let mut trial = Trial::of(config);
        let named = trial.named();
        let Report { errors, warnings } = trial.into_report();
        PreparedServer { named: named.ok_or(errors), warnings, confinement }
    }

    /// Gives up what the server needs no more once the files of its configuration are read, and reads them; the configuration's own is
    /// `file`. The calling thread is to start all others.
    pub(in crate::control) fn confined(
        config: &Config,
        file: Option<&Path>,
    ) -> Result<PreparedServer, Problems> {
        let entered = sandbox::enter(config, file)?;
        let read = PreparedServer::of(config, Confinement::default());
        if read.named.is_err() {
            // It ends before it serves anybody.
            return Ok(read);
        }
        let (confinement, warnings) = entered.shut(config)?;
        Ok(PreparedServer { confinement, warnings: read.warnings.followed_by(warnings), ..read })
    }

    /// What was read; warnings about it go to the log.
    pub(super) fn tell(self) -> Result<(Named, Confinement), StartError> {
        self.warnings.lines().for_each(|line| tracing::warn!("{line}"));
        Ok((self.named.map_err(StartError::Named)?, self.confinement))
    }
}
