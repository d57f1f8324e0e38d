//! A pool's `ports` against what the kernel lets sockets have.

use std::ops::RangeInclusive;

use super::facts::NetFacts;
use super::finding::{Finding, Severity};
use super::pool::ExaminedPool;
use crate::config::Config;
use crate::sys::sysctl;

/// Why the kernel would not keep to a slice of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortsConcern {
    /// It in words.
    pub(super) what: String,
    /// The setting under which it would.
    pub(super) mend: String,
}

/// Compares a slice with net.ipv4.ip_local_port_range. IP_LOCAL_PORT_RANGE is the part of it that lies in there: an end that
/// does not is passed over without a word, and the port is any (ip(7)).
pub(super) fn ports_concern(
    slice: &RangeInclusive<u16>,
    kernels: &RangeInclusive<u16>,
) -> Option<PortsConcern> {
    if kernels.contains(slice.start()) && kernels.contains(slice.end()) {
        return None;
    }
    let (first, last) = (slice.start().min(kernels.start()), slice.end().max(kernels.end()));
    Some(PortsConcern {
        what: format!(
            "{} to {} is not within net.ipv4.ip_local_port_range, which is {} to {}: the kernel would pass over it and take \
             any port",
            slice.start(),
            slice.end(),
            kernels.start(),
            kernels.end()
        ),
        mend: format!("sysctl -w net.ipv4.ip_local_port_range=\"{first} {last}\""),
    })
}

/// What is said of tables, each by its place among them.
type OfTables = Vec<(usize, String)>;

/// The pools whose ports the kernel would pass over, each by its place among the tables; beside them those of which that is
/// not known.
pub(in crate::control) fn ports_concerns(config: &Config) -> (OfTables, OfTables) {
    let (mut refused, mut unknown) = (Vec::new(), Vec::new());
    for (nth, pool) in ExaminedPool::all(config).into_iter().enumerate() {
        let Some(slice) = &pool.sockets.ports else { continue };
        match pool.within(sysctl::local_ports) {
            Ok(Ok(kernels)) => refused.extend(
                ports_concern(slice, &kernels)
                    .map(|concern| (nth, format!("{} ({})", concern.what, pool.command(concern.mend)))),
            ),
            Ok(Err(error)) => {
                let what = format!(
                    "net.ipv4.ip_local_port_range cannot be read: {error}; outside of it they have no effect"
                );
                unknown.push((nth, what));
            }
            // That its network cannot be entered is told where that is tried.
            Err(_) => {}
        }
    }
    (refused, unknown)
}

pub(super) fn findings(pool: &ExaminedPool, facts: &NetFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    if let (Some(slice), Some(kernels)) = (&pool.sockets.ports, &facts.ports)
        && let Some(PortsConcern { what, mend }) = ports_concern(slice, kernels)
    {
        let what = format!("ports: {what}");
        found.push(pool.finding(Severity::Error, "port_range", what, vec![pool.command(mend)]));
        return found;
    }
    let Some(slice) = slice(pool, facts) else {
        let what = "net.ipv4.ip_local_port_range cannot be read: whether `ports` are obeyed is not known";
        if pool.sockets.ports.is_some() {
            found.push(pool.finding(Severity::Warning, "port_range", what.to_owned(), Vec::new()));
        }
        return found;
    };
    let (all, taken) = (width(&slice), reserved(&slice, facts));
    if taken > 0 {
        let what = format!(
            "{taken} of its {all} ports are in net.ipv4.ip_local_reserved_ports: sessions never have these"
        );
        let severity = if taken == all { Severity::Error } else { Severity::Warning };
        let mend = "sysctl -w net.ipv4.ip_local_reserved_ports=\"\"    # or without those of the pool";
        found.push(pool.finding(severity, "reserved_ports", what, vec![pool.command(mend)]));
    }
    let usable = all - taken;
    if usable > 0 && u32::from(pool.sockets.reserve) >= usable {
        let what =
            format!("reserve: {} are to be left free, and there are {usable} ports", pool.sockets.reserve);
        found.push(pool.finding(
            Severity::Error,
            "reserve",
            what,
            vec!["a smaller `reserve`, or more `ports`".to_owned()],
        ));
    }
    found
}

/// The ports of each address.
fn slice(pool: &ExaminedPool, facts: &NetFacts) -> Option<RangeInclusive<u16>> {
    facts.ports.as_ref().map(|kernels| pool.sockets.ports.clone().unwrap_or_else(|| kernels.clone()))
}

fn width(range: &RangeInclusive<u16>) -> u32 {
    (u32::from(*range.end()) + 1).saturating_sub(u32::from(*range.start()))
}

/// How many of these ports the kernel leaves alone.
fn reserved(slice: &RangeInclusive<u16>, facts: &NetFacts) -> u32 {
    let within = |range: &RangeInclusive<u16>| {
        width(&(*range.start().max(slice.start())..=*range.end().min(slice.end())))
    };
    facts.reserved.iter().map(within).sum()
}

/// How many ports sessions can have of each address.
pub(super) fn usable(pool: &ExaminedPool, facts: &NetFacts) -> u32 {
    slice(pool, facts).map_or(0, |slice| width(&slice) - reserved(&slice, facts))
}
