//! Targets that are to be connected to, by name or by address, and what names lead to.

use std::net::{IpAddr, SocketAddr};

use super::finding::{Finding, Severity};
use crate::config::Config;
use crate::control::descriptors::divide;
use crate::control::resolver_files::ResolverFiles;
use crate::limits;
use crate::proto::address::{Host, Name, Target};
use crate::worker::resolve;

/// What is to be connected to.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// As they were named.
    pub(super) targets: Vec<Target>,
    /// Where they are.
    pub(super) addresses: Vec<SocketAddr>,
}

impl Probes {
    /// These, and which of them have no address.
    pub(super) fn of(config: &Config, targets: &[Target]) -> (Probes, Vec<Finding>) {
        let (mut addresses, mut findings) = (Vec::new(), Vec::new());
        for target in targets {
            match addresses_of(config, target) {
                Ok(found) => addresses.extend(found),
                Err(what) => findings.push(unresolved("server".to_owned(), target, &what)),
            }
        }
        (Probes { targets: targets.to_vec(), addresses }, findings)
    }
}

/// Where a target is, by what resolves names for sessions.
///
/// # Errors
/// Why its name has no address.
pub(super) fn addresses_of(config: &Config, target: &Target) -> Result<Vec<SocketAddr>, String> {
    let at = |ip: &IpAddr| SocketAddr::new(*ip, target.port);
    match &target.host {
        Host::Ip(ip) => Ok(vec![at(ip)]),
        Host::Name(name) => Ok(resolved(config, name)?.iter().map(at).collect()),
    }
}

fn resolved(config: &Config, name: &Name) -> Result<Vec<IpAddr>, String> {
    let budget = divide(limits::EXPLAIN_DESCRIPTORS, config);
    let (files, _) = ResolverFiles::read(config, &budget);
    let answer = resolve(files.settings(config), name).map_err(|error| error.to_string())?;
    answer.map(|addresses| addresses.to_vec()).map_err(|error| error.to_string())
}

/// A name that leads nowhere.
pub(super) fn unresolved(subject: String, target: &Target, what: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        check: "resolve",
        subject,
        what: format!("{} has no address: {what}", target.host),
        mend: vec![format!(
            "an address in its place, or in [dns] servers = [\"ADDRESS\"] that know {}",
            target.host
        )],
    }
}
