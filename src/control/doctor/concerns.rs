//! What of this machine keeps a pool from doing what its keys say, and of which sessions hear no sooner than they fail: said as
//! warnings, for the machine that checks may be another than the one that serves.

use super::pool::ExaminedPool;
use crate::config::Config;
use crate::sys::sysctl;

/// A table of the configuration, its place among those of its name and a key in it, and what is said of that.
type PoolConcern = ((&'static str, usize, &'static str), String);

/// What is said of interfaces that are not there, and of numbers of ports that no address has.
pub(in crate::control) fn pool_concerns(config: &Config) -> Vec<PoolConcern> {
    let mut found = Vec::new();
    for (nth, pool) in ExaminedPool::all(config).into_iter().enumerate() {
        // That its network cannot be entered is told where that is tried.
        let Ok((missing, kernels)) = pool.within(|| (pool.missing_interface(), sysctl::local_ports().ok()))
        else {
            continue;
        };
        if let Some(interface) = missing {
            let what = format!(
                "there is no interface \"{interface}\" here: every dial of the pool fails while it is not there"
            );
            found.push((("egress", nth, "interface"), what));
        }
        let Some(ports) = pool.sockets.ports.clone().or(kernels) else { continue };
        found.extend(port_counts(&pool, ports.len()).map(|(key, what)| (("egress", nth, key), what)));
    }
    found
}

/// Numbers of ports beside how many an address has.
fn port_counts(pool: &ExaminedPool, count: usize) -> impl Iterator<Item = (&'static str, String)> {
    let (reserve, per_target) = (usize::from(pool.sockets.reserve), usize::from(pool.sockets.per_target));
    let reserve = (reserve >= count).then(|| {
        let what = format!(
            "{reserve} ports are to be left free, and an address has {count}: each counts as scarce after its first connection to a \
             target"
        );
        ("reserve", what)
    });
    let per_target = (per_target >= count).then(|| {
        let what = format!(
            "{per_target} connections are never reached: an address has {count} ports for each target"
        );
        ("per_target", what)
    });
    [reserve, per_target].into_iter().flatten()
}
