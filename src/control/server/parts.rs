//! What the snapshots of a server are made of that starts.

use std::sync::Arc;

use crate::config::Config;
use crate::control::learner::learner;
use crate::control::outlet::Outlet;
use crate::control::rules::OperatorRules;
use crate::control::snapshot::{Parts, start_gssapi, start_verifier};
use crate::control::start_error::StartError;
use crate::control::trial::{Named, Trial};
use crate::control::users::UsersFile;

/// What snapshots are made of, and the users file where passwords are asked for.
pub(super) fn parts_of(
    config: &Config,
    named: Named,
    records: Option<&Outlet>,
) -> Result<(Parts, Option<UsersFile>), StartError> {
    let verifier = named.users.as_ref().map(|file| start_verifier(Arc::clone(&file.users)));
    let gssapi = named.credentials.map(|credentials| start_gssapi(credentials, None));
    let learner = learner(config, None)
        .map_err(|what| StartError::Named(Trial::refused(config, &|trial| trial.cannot_learn(&what))))?;
    let parts = Parts {
        budget: named.budget,
        congestion: named.congestion,
        resolver_files: named.resolver_files,
        rules: Arc::<OperatorRules>::default().follow(named.rules),
        limits: named.limits,
        certificates: named.certificates,
        username: named.username,
        verifier: verifier.transpose().map_err(StartError::Machine)?,
        gssapi: gssapi.transpose().map_err(StartError::Machine)?,
        records: records.map(|outlet| outlet.lines.clone()),
        learner,
    };
    Ok((parts, named.users))
}
