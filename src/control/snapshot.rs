//! What workers go by: made of the configuration, of what it names and of what this machine says.

use super::start_error::StartError;
use crate::auth::{Users, Verifier, gssapi};
use crate::config::Config;
use crate::limits;
use crate::policy::sources::Sources;
use crate::policy::{Guard, Locals};
use crate::session::Rules;
use crate::sys::gssapi::Credentials;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// What counts the sessions of each source, if they are limited.
pub(super) fn sources(config: &Config) -> Option<Arc<Sources>> {
    let most = Some(config.per_source.connections).filter(|most| *most > 0);
    most.map(|most| Arc::new(Sources::new(most)))
}

pub(super) fn start_verifier(users: Arc<Users>) -> Result<Arc<Verifier>, StartError> {
    let threads = cpus().min(limits::VERIFIER_THREADS_MAX);
    Verifier::start(users, threads, Instant::now).map(Arc::new).map_err(StartError::Machine)
}

pub(super) fn start_gssapi(credentials: Credentials) -> Result<Arc<gssapi::Acceptor>, StartError> {
    let threads = cpus().min(limits::GSS_THREADS_MAX);
    gssapi::Acceptor::start(credentials, threads).map(Arc::new).map_err(StartError::Machine)
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(super) fn rules(config: &Config, own: &[SocketAddr], locals: Option<&Locals>) -> Rules {
    let guard = Guard::new(config.guard.allow_private, config.guard.allow.clone(), own.to_vec());
    let guard = guard.with_nat64(config.dns.dns64.prefixes());
    Rules {
        methods: config.auth.methods.clone(),
        guard: match locals {
            Some(locals) => guard.with_locals(locals.clone()),
            None => guard,
        },
        gssapi: config.auth.gssapi.clone(),
    }
}
