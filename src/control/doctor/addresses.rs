//! A pool's addresses against those that this machine has.

use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::NetFacts;
use super::finding::{Finding, Severity};
use super::pool::{ExaminedPool, is_prefix};
use crate::limits::{DOCTOR_ADDRESSES_MAX, DOCTOR_NAMED_MAX};

/// What of a pool is not of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// Addresses, those of IPv4 blocks among them.
    pub(super) addresses: Vec<IpAddr>,
    /// IPv6 blocks that no route delivers here as a whole.
    pub(super) blocks: Vec<IpNet>,
}

/// The addresses of a pool that are looked at one by one, and none of a block of IPv6.
pub(super) fn listed(pool: &ExaminedPool) -> impl Iterator<Item = IpAddr> + '_ {
    pool.blocks.iter().filter(|net| !is_prefix(net)).flat_map(IpNet::hosts).take(DOCTOR_ADDRESSES_MAX)
}

/// Looks each of them up.
pub(super) fn missing(pool: &ExaminedPool, facts: &NetFacts) -> Missing {
    let Some(locals) = &facts.locals else { return Missing::default() };
    Missing {
        addresses: listed(pool).filter(|address| !locals.contains(*address)).collect(),
        blocks: pool.blocks.iter().filter(|net| is_prefix(net) && !locals.covers(net)).copied().collect(),
    }
}

pub(super) fn findings(pool: &ExaminedPool, facts: &NetFacts) -> Vec<Finding> {
    if facts.locals.is_none() {
        let what =
            "the addresses of this machine cannot be read: whether it has those of the pool is not known";
        return vec![pool.finding(Severity::Warning, "addresses", what.to_owned(), Vec::new())];
    }
    let missing = missing(pool, facts);
    let mut found = Vec::new();
    for v6 in [false, true] {
        let lacking: Vec<IpAddr> =
            missing.addresses.iter().filter(|address| address.is_ipv6() == v6).copied().collect();
        if lacking.is_empty() {
            continue;
        }
        let all = listed(pool).filter(|address| address.is_ipv6() == v6).count();
        // Bound they can be all the same; what comes back for them does not end here.
        let bound = pool.sockets.freebind || facts.nonlocal_bind[usize::from(v6)];
        let (severity, effect) = match bound {
            true => (Severity::Warning, "what is answered to them does not end here"),
            false => (Severity::Error, "no session can leave from them"),
        };
        let what = format!(
            "{} of {all} addresses are not of this machine: {}; {effect}",
            lacking.len(),
            named(&lacking)
        );
        found.push(pool.finding(severity, "addresses", what, additions(pool, facts, &lacking, v6)));
    }
    for block in missing.blocks {
        let what = format!("no route delivers {block} here: what is answered to its addresses is lost");
        let mend = vec![pool.command(format!("ip -6 route add local {block} dev lo"))];
        found.push(pool.finding(Severity::Error, "anyip", what, mend));
    }
    found
}

/// The commands that give this machine what it lacks: whole blocks by a route, single addresses on their interface.
fn additions(pool: &ExaminedPool, facts: &NetFacts, lacking: &[IpAddr], v6: bool) -> Vec<String> {
    let blocks = pool.blocks.iter().filter(|net| net.addr().is_ipv6() == v6 && !is_prefix(net));
    let (mut lines, mut rest) = (Vec::new(), lacking.to_vec());
    for block in blocks.filter(|net| net.prefix_len() < net.max_prefix_len()) {
        if block.hosts().take(DOCTOR_ADDRESSES_MAX).all(|address| lacking.contains(&address)) {
            rest.retain(|address| !block.contains(address));
            lines.push(pool.command(format!("ip route add local {block} dev lo")));
        }
    }
    for address in rest.iter().take(DOCTOR_NAMED_MAX) {
        let near = facts.neighbourhood(*address).map(|(interface, _)| interface.name.clone());
        let interface = pool.sockets.interface.as_deref().map(str::to_owned).or(near);
        let (length, interface) = (if v6 { 128 } else { 32 }, interface.unwrap_or_else(|| "lo".to_owned()));
        lines.push(pool.command(format!("ip addr add {address}/{length} dev {interface}")));
    }
    if rest.len() > DOCTOR_NAMED_MAX {
        lines.push(format!("and so on for {} more", rest.len() - DOCTOR_NAMED_MAX));
    }
    lines
}

/// The first of these addresses, and how many more there are.
pub(super) fn named(addresses: &[IpAddr]) -> String {
    let first: Vec<String> = addresses.iter().take(DOCTOR_NAMED_MAX).map(IpAddr::to_string).collect();
    match addresses.len().saturating_sub(DOCTOR_NAMED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
