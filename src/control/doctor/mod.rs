//! What of this machine keeps pools and the server from doing what their configuration says, in plain words, each with the
//! commands that mend it.
//!
//! The kernel is asked and changed in nothing; no packet leaves, unless a target is named that is to be tried. The judgements
//! are functions of what was asked, so that each is also seen on a machine that is made up.

mod addresses;
mod concerns;
mod facts;
mod finding;
mod folders;
mod host;
mod neighbours;
mod parents;
mod pool;
mod ports;
mod probe;
mod targets;
mod ways;

#[cfg(test)]
mod tests;

pub(super) use self::concerns::pool_concerns;
pub use self::finding::{Diagnosis, Finding, PoolCapacity, Severity};
pub(super) use self::ports::ports_concerns;

use self::facts::NetFacts;
use self::pool::ExaminedPool;
use self::targets::Probes;
use crate::config::Config;
use crate::proto::address::Target;

/// Looks at this machine as the configuration needs it. These targets are connected to, from every pool and through every parent;
/// without one no packet is sent.
pub fn diagnose(config: &Config, probed: &[Target]) -> Diagnosis {
    let here = NetFacts::read();
    let mut findings = host::findings(config, &host::HostFacts::read(config), &here);
    findings.extend(folders::findings(config));
    let mut capacities = Vec::new();
    let (probes, unresolved) = Probes::of(config, probed);
    findings.extend(unresolved);
    let all = ExaminedPool::all(config);
    findings.extend(parents::findings(config, &all, &probes));
    for pool in all {
        let examined = pool.within(|| {
            // A pool may have a network of its own, and settings with it.
            let facts = if pool.is_elsewhere() { NetFacts::read() } else { here.clone() };
            let mut found = examine(&pool, &facts);
            let (missing, mut ways) =
                (addresses::missing(&pool, &facts), ways::WayTarget::all(&probes.addresses));
            ways.extend(parents::servers_from(config, &pool.name).into_iter().map(ways::WayTarget::to));
            found.extend(ways::findings(&pool, &facts, &missing, &ways));
            found.extend(probe::findings(&pool, &probes.addresses));
            (found, capacity(&pool, &facts))
        });
        match examined {
            Ok((found, capacity)) => {
                findings.extend(found);
                capacities.push(capacity);
            }
            Err(finding) => findings.push(finding),
        }
    }
    findings.sort_by_key(|finding| finding.severity);
    Diagnosis { findings, pools: capacities }
}

/// What can be said of a pool by what was read.
fn examine(pool: &ExaminedPool, facts: &NetFacts) -> Vec<Finding> {
    let mut found = pool.sockets();
    found.extend(ports::findings(pool, facts));
    found.extend(addresses::findings(pool, facts));
    found.extend(neighbours::findings(pool, facts));
    if pool.is_elsewhere() {
        found.extend(
            host::time_wait(facts).map(|(what, mend)| {
                pool.finding(Severity::Hint, "time_wait", what, vec![pool.command(mend)])
            }),
        );
    }
    found
}

/// TIME_WAIT lasts for a minute (TCP_TIMEWAIT_LEN of Linux), or for a second where it may be reused.
fn capacity(pool: &ExaminedPool, facts: &NetFacts) -> PoolCapacity {
    let (addresses, ports) = (pool.addresses(), ports::usable(pool, facts));
    let at_once = addresses.saturating_mul(u128::from(ports));
    let each_second = if facts.reuses_time_wait() { at_once } else { at_once / 60 };
    PoolCapacity { name: pool.name.to_string(), addresses, ports, at_once, each_second }
}
