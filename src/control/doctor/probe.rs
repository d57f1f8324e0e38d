//! Connections that are really made, where that is asked for.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;

use ipnet::IpNet;

use super::addresses::{listed, named};
use super::finding::{Finding, Severity};
use super::pool::{ExaminedPool, is_prefix};
use crate::limits::{DOCTOR_PROBE_PATIENCE, DOCTOR_PROBES_MAX};
use crate::sys::attempt;

/// Connects to each target from addresses of the pool, all at once, and closes.
pub(super) fn findings(pool: &ExaminedPool, targets: &[SocketAddr]) -> Vec<Finding> {
    let whole = pool.blocks.iter().filter(|net| is_prefix(net)).filter_map(|net| IpNet::hosts(net).nth(1));
    let sources: Vec<IpAddr> = listed(pool).chain(whole).take(DOCTOR_PROBES_MAX).collect();
    targets.iter().flat_map(|target| failed(pool, &sources, *target)).collect()
}

fn failed(pool: &ExaminedPool, sources: &[IpAddr], target: SocketAddr) -> Vec<Finding> {
    let options = pool.options();
    let failures: Vec<(IpAddr, String)> = thread::scope(|scope| {
        let of_family = sources.iter().filter(|source| source.is_ipv6() == target.is_ipv6());
        let tries: Vec<_> = of_family
            .map(|source| {
                let connect = || attempt::connects(&options, *source, target, DOCTOR_PROBE_PATIENCE);
                (*source, scope.spawn(connect))
            })
            .collect();
        let of = |(source, one): (IpAddr, thread::ScopedJoinHandle<'_, std::io::Result<()>>)| {
            let failure = one.join().ok()?.err()?;
            Some((source, failure.to_string()))
        };
        tries.into_iter().filter_map(of).collect()
    });
    let mut by_cause = BTreeMap::<String, Vec<IpAddr>>::new();
    failures.into_iter().for_each(|(source, cause)| by_cause.entry(cause).or_default().push(source));
    let finding = |(cause, sources): (String, Vec<IpAddr>)| {
        let what = format!("{target} cannot be reached from {}: {cause}", named(&sources));
        pool.finding(Severity::Error, "probe", what, Vec::new())
    };
    by_cause.into_iter().map(finding).collect()
}
