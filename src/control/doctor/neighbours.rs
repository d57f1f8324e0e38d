//! Whether the machines of the same link learn that a pool's addresses are here: without that nothing comes back.
//!
//! In the block of an interface an address is asked for by its neighbours. For an address that a `local` route alone delivers
//! the kernel answers ARP, unless arp_ignore says otherwise, and never neighbour discovery (RFC 4861).

use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::{listed, named};
use super::facts::{InterfaceFacts, NetFacts};
use super::finding::{Finding, Severity};
use super::pool::{ExaminedPool, is_prefix};

pub(super) fn findings(pool: &ExaminedPool, facts: &NetFacts) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        pool.blocks.iter().filter(|net| is_prefix(net)).filter_map(|net| block(pool, facts, net)).collect();
    let by_route: Vec<(IpAddr, &InterfaceFacts)> = listed(pool)
        .filter(|address| facts.locals.as_ref().is_some_and(|locals| locals.contains(*address)))
        .filter_map(|address| Some((address, facts.neighbourhood(address)?.0)))
        .filter(|(address, interface)| !interface.addresses.iter().any(|own| own.addr() == *address))
        .collect();
    for interface in &facts.interfaces {
        let of = |v6: bool| {
            let here = by_route.iter().filter(|(address, by)| by == &interface && address.is_ipv6() == v6);
            here.map(|(address, _)| *address).collect::<Vec<_>>()
        };
        found.extend(silent_arp(pool, interface, &of(false)));
        found.extend(silent_discovery(pool, facts, interface, &of(true)));
    }
    found
}

/// A block of IPv6 within the block of an interface.
fn block(pool: &ExaminedPool, facts: &NetFacts, net: &IpNet) -> Option<Finding> {
    let (interface, link) = facts.neighbourhood(net.addr())?;
    let answered = facts.proxied.iter().filter(|(number, address)| {
        *number == interface.number && net.contains(address) && interface.proxy_ndp
    });
    let what = match answered.count() {
        0 => format!(
            "{net} is within {}'s {}: neighbours ask for each of its addresses, and the kernel answers for none of them",
            interface.name,
            link.trunc()
        ),
        some => format!(
            "{net} is within {}'s {}: neighbours ask for each of its addresses, and {some} of them are answered for",
            interface.name,
            link.trunc()
        ),
    };
    let own = interface.addresses.iter().find(|own| own.addr().is_ipv6()).map(|own| own.addr().to_string());
    let mend = vec![
        format!(
            "at the router: ip -6 route add {net} via {}",
            own.unwrap_or_else(|| "this machine".to_owned())
        ),
        format!(
            "or an answering daemon, in ndppd.conf: proxy {} {{ rule {net} {{ static }} }}",
            interface.name
        ),
    ];
    Some(pool.finding(Severity::Warning, "neighbours", what, mend))
}

/// IPv4 addresses of the link that are delivered by a route, where ARP for them is not answered.
fn silent_arp(pool: &ExaminedPool, interface: &InterfaceFacts, by_route: &[IpAddr]) -> Option<Finding> {
    if by_route.is_empty() || interface.arp_ignore == 0 {
        return None;
    }
    let what = format!(
        "arp_ignore is {} at {}: ARP is answered for its own addresses alone, and not for {}",
        interface.arp_ignore,
        interface.name,
        named(by_route)
    );
    let mend = vec![
        pool.command(format!("ip addr add {}/32 dev {}    # each of them", by_route[0], interface.name)),
        pool.command(format!(
            "or sysctl -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.{}.arp_ignore=0",
            interface.name
        )),
    ];
    Some(pool.finding(Severity::Error, "neighbours", what, mend))
}

/// IPv6 addresses of the link that are delivered by a route, and for which nobody answers.
fn silent_discovery(
    pool: &ExaminedPool,
    facts: &NetFacts,
    interface: &InterfaceFacts,
    by_route: &[IpAddr],
) -> Option<Finding> {
    let answered =
        |address: &IpAddr| interface.proxy_ndp && facts.proxied.contains(&(interface.number, *address));
    let silent: Vec<IpAddr> = by_route.iter().filter(|address| !answered(address)).copied().collect();
    let first = silent.first()?;
    let what = format!(
        "neighbours at {} ask for {}, and the kernel does not answer",
        interface.name,
        named(&silent)
    );
    let mend = vec![
        pool.command(format!("ip addr add {first}/128 dev {}    # each of them", interface.name)),
        // Without accept_ra a machine that forwards would lose the routes that its router tells.
        pool.command(format!(
            "or sysctl -w net.ipv6.conf.{0}.proxy_ndp=1 net.ipv6.conf.{0}.forwarding=1 net.ipv6.conf.{0}.accept_ra=2; ip -6 \
             neigh add proxy {first} dev {0}",
            interface.name
        )),
    ];
    Some(pool.finding(Severity::Warning, "neighbours", what, mend))
}
