//! The way out of each of a pool's addresses, and the way back in. No packet is sent.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::addresses::{Missing, listed, named};
use super::facts::{AskWay, NetFacts};
use super::finding::{Finding, Severity};
use super::pool::{ExaminedPool, is_prefix};
use crate::sys::netlink::{Netlink, PacketStart, RouteQuestion};
use crate::sys::{Errno, machine};

/// Whither ways are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WayTarget {
    address: IpAddr,
    /// Somebody wants to get there; it is no stand-in for the rest of the world.
    wanted: bool,
}

impl WayTarget {
    /// One that is asked for.
    pub(super) fn to(address: IpAddr) -> WayTarget {
        WayTarget { address, wanted: true }
    }

    /// Those that are asked for, or one of each family that only a default route leads to (RFC 5737, RFC 3849).
    pub(super) fn all(asked: &[SocketAddr]) -> Vec<WayTarget> {
        let wanted = asked.iter().map(|target| WayTarget::to(target.ip()));
        let stand_ins: [IpAddr; 2] =
            [Ipv4Addr::new(192, 0, 2, 1).into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()];
        match asked {
            [] => stand_ins.map(|address| WayTarget { address, wanted: false }).to_vec(),
            _ => wanted.collect(),
        }
    }
}

/// The addresses that ways are asked for from: all that are looked at one by one, and the first of each block of IPv6.
fn sources<'a>(pool: &'a ExaminedPool, missing: &'a Missing) -> impl Iterator<Item = IpAddr> + 'a {
    let whole = pool.blocks.iter().filter(|net| is_prefix(net) && !missing.blocks.contains(net));
    let first = whole.filter_map(|net| IpNet::hosts(net).nth(1));
    listed(pool).filter(|address| !missing.addresses.contains(address)).chain(first)
}

pub(super) fn findings(
    pool: &ExaminedPool,
    facts: &NetFacts,
    missing: &Missing,
    targets: &[WayTarget],
) -> Vec<Finding> {
    match Netlink::open() {
        Ok(mut kernel) => asked(pool, facts, missing, targets, &mut kernel),
        Err(errno) => {
            let what = format!("the kernel cannot be asked for ways: {}", errno.desc());
            vec![pool.finding(Severity::Warning, "route", what, Vec::new())]
        }
    }
}

/// Asks for each pair of address and target.
pub(super) fn asked(
    pool: &ExaminedPool,
    facts: &NetFacts,
    missing: &Missing,
    targets: &[WayTarget],
    kernel: &mut impl AskWay,
) -> Vec<Finding> {
    let bound = pool.sockets.interface.as_deref().and_then(machine::interface_index);
    let start = bound.map_or(PacketStart::Here, PacketStart::Bound);
    let mut found = Vec::new();
    for target in targets {
        let (mut none, mut filtered) =
            (BTreeMap::<i32, Vec<IpAddr>>::new(), BTreeMap::<u32, Vec<IpAddr>>::new());
        for source in sources(pool, missing).filter(|source| source.is_ipv6() == target.address.is_ipv6()) {
            let out = RouteQuestion {
                source: Some(source),
                target: target.address,
                mark: pool.sockets.fwmark,
                start,
            };
            match kernel.way(out) {
                Ok(way) if way.delivered => {}
                Ok(way) => filtered_by(facts, kernel, out, way.interface)
                    .into_iter()
                    .for_each(|interface| filtered.entry(interface).or_default().push(source)),
                Err(errno) => none.entry(errno as i32).or_default().push(source),
            }
        }
        found.extend(
            none.iter()
                .map(|(errno, sources)| no_way(pool, facts, *target, Errno::from_raw(*errno), sources)),
        );
        found.extend(filtered.iter().map(|(interface, sources)| {
            let name = facts.interface(*interface).map(|one| one.name.clone()).unwrap_or_default();
            drops(pool, *target, &name, sources)
        }));
    }
    found
}

/// The interface of the way out, where rp_filter drops what comes back by it: the kernel is asked for the way of an answer,
/// which is not marked. It says EXDEV, or since Linux 6.13 EINVAL.
fn filtered_by(
    facts: &NetFacts,
    kernel: &mut impl AskWay,
    out: RouteQuestion,
    interface: Option<u32>,
) -> Option<u32> {
    let interface = facts.interface(interface?).filter(|one| one.rp_filter == 1)?;
    let back = RouteQuestion {
        source: Some(out.target),
        target: out.source?,
        mark: None,
        start: PacketStart::Came(interface.number),
    };
    let dropped = matches!(kernel.way(back), Err(Errno::EXDEV | Errno::EINVAL));
    (dropped && out.target.is_ipv4()).then_some(interface.number)
}

fn no_way(
    pool: &ExaminedPool,
    facts: &NetFacts,
    target: WayTarget,
    errno: Errno,
    sources: &[IpAddr],
) -> Finding {
    let mark = pool.sockets.fwmark.map(|mark| format!(" with mark {mark}")).unwrap_or_default();
    let by = pool.sockets.interface.as_deref().map(|name| format!(" by {name}")).unwrap_or_default();
    let whither = match target.wanted {
        true => format!("to {}", target.address),
        false => "to the rest of the world (no default route)".to_owned(),
    };
    let why = match errno {
        // The kernel's word for it says nothing: "Invalid argument".
        Errno::EINVAL if sources.iter().any(IpAddr::is_loopback) => {
            "an address of loopback reaches this machine alone"
        }
        errno => errno.desc(),
    };
    let what = format!("no way leads from {}{mark}{by} {whither}: {why}", named(sources));
    let flag = if target.address.is_ipv6() { "-6 " } else { "" };
    let interface = pool.sockets.interface.as_deref().map(str::to_owned);
    let interface = interface.or_else(|| Some(facts.neighbourhood(*sources.first()?)?.0.name.clone()));
    let destination = if target.wanted { target.address.to_string() } else { "default".to_owned() };
    let route = format!(
        "ip {flag}route add {destination} via ROUTER dev {}",
        interface.as_deref().unwrap_or("INTERFACE")
    );
    let mend = match pool.sockets.fwmark {
        Some(mark) => vec![
            pool.command(format!("ip {flag}rule add fwmark {mark} lookup {mark}")),
            pool.command(format!("{route} table {mark}")),
        ],
        None => vec![pool.command(route)],
    };
    // Who gives no target may have none but those of this network.
    pool.finding(if target.wanted { Severity::Error } else { Severity::Warning }, "route", what, mend)
}

fn drops(pool: &ExaminedPool, target: WayTarget, interface: &str, sources: &[IpAddr]) -> Finding {
    let what = format!(
        "what {} answers to {} comes in by {interface}, where rp_filter is 1 and drops it: the machine's own way there is another",
        target.address,
        named(sources)
    );
    // The setting of an interface counts where it is greater than the one for all.
    let mend = vec![pool.command(format!("sysctl -w net.ipv4.conf.{interface}.rp_filter=2"))];
    pool.finding(Severity::Error, "rp_filter", what, mend)
}
