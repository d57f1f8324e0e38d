//! What the kernel says of a network: settings, addresses, interfaces.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::policy::Locals;
use crate::sys::netlink::{Netlink, RouteAnswer, RouteQuestion};
use crate::sys::{Errno, machine, proc_net, sysctl};

/// A network namespace, as it was found.
#[derive(Clone, Debug, Default)]
pub(super) struct NetFacts {
    /// net.ipv4.ip_local_port_range; `None` where it cannot be read.
    pub(super) ports: Option<RangeInclusive<u16>>,
    /// net.ipv4.ip_local_reserved_ports.
    pub(super) reserved: Vec<RangeInclusive<u16>>,
    /// net.ipv4.tcp_tw_reuse.
    pub(super) tw_reuse: Option<u64>,
    /// net.ipv4.tcp_timestamps, without which the one above has no effect.
    pub(super) timestamps: Option<u64>,
    /// net.ipv4.ip_nonlocal_bind and the one of IPv6.
    pub(super) nonlocal_bind: [bool; 2],
    /// What is delivered here; `None` where it cannot be known.
    pub(super) locals: Option<Locals>,
    /// The interfaces that have addresses.
    pub(super) interfaces: Vec<InterfaceFacts>,
    /// Addresses that are answered for, with the number of the interface.
    pub(super) proxied: Vec<(u32, IpAddr)>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InterfaceFacts {
    pub(super) number: u32,
    pub(super) name: String,
    /// Its addresses, each with the length of the block that is reached by it without a router.
    pub(super) addresses: Vec<IpNet>,
    /// The greater of its own setting and that for all.
    pub(super) rp_filter: u64,
    /// The same of arp_ignore.
    pub(super) arp_ignore: u64,
    /// Whether neighbours may be answered for others: proxy_ndp has no effect where nothing is forwarded.
    pub(super) proxy_ndp: bool,
}

impl NetFacts {
    /// Those of the namespace that the calling thread is in.
    pub(super) fn read() -> NetFacts {
        let on = |path: &str| sysctl::number(path) == Some(1);
        let netlink = Netlink::open();
        let (mut locals, mut addresses, mut proxied) = (None, Vec::new(), Vec::new());
        if let Ok(mut netlink) = netlink {
            locals = netlink.local_addresses().ok();
            addresses = netlink.interface_addresses().unwrap_or_default();
            proxied = netlink.proxied_neighbours().unwrap_or_default();
        }
        let locals = locals.or_else(|| proc_net::local_addresses().ok()).map(Locals::new);
        NetFacts {
            ports: sysctl::local_ports().ok(),
            reserved: sysctl::reserved_ports(),
            tw_reuse: sysctl::number("net/ipv4/tcp_tw_reuse"),
            timestamps: sysctl::number("net/ipv4/tcp_timestamps"),
            nonlocal_bind: [on("net/ipv4/ip_nonlocal_bind"), on("net/ipv6/ip_nonlocal_bind")],
            locals,
            interfaces: interfaces(&addresses),
            proxied,
        }
    }

    /// Whether a port that our side left behind can be had again after a second, towards every target.
    pub(super) fn reuses_time_wait(&self) -> bool {
        self.tw_reuse == Some(1) && self.timestamps != Some(0)
    }

    pub(super) fn interface(&self, number: u32) -> Option<&InterfaceFacts> {
        self.interfaces.iter().find(|interface| interface.number == number)
    }

    /// The interface by whose neighbours an address is asked for without a router: the one in whose block it is.
    pub(super) fn neighbourhood(&self, address: IpAddr) -> Option<(&InterfaceFacts, IpNet)> {
        let near = |interface: &InterfaceFacts| {
            let whole = interface.addresses.iter().filter(|net| net.prefix_len() < net.max_prefix_len());
            whole.copied().find(|net| net.contains(&address) && !address.is_loopback())
        };
        self.interfaces.iter().find_map(|interface| Some((interface, near(interface)?)))
    }
}

fn interfaces(addresses: &[(u32, IpNet)]) -> Vec<InterfaceFacts> {
    let mut found: Vec<InterfaceFacts> = Vec::new();
    for &(number, net) in addresses {
        match found.iter_mut().find(|interface| interface.number == number) {
            Some(interface) => interface.addresses.push(net),
            None => found.extend(interface(number, net)),
        }
    }
    found
}

fn interface(number: u32, first: IpNet) -> Option<InterfaceFacts> {
    let name = machine::interface_name(number)?;
    let of = |family: &str, setting: &str| {
        let at =
            |whose: &str| sysctl::number(&format!("net/{family}/conf/{whose}/{setting}")).unwrap_or_default();
        at("all").max(at(&name))
    };
    Some(InterfaceFacts {
        number,
        rp_filter: of("ipv4", "rp_filter"),
        arp_ignore: of("ipv4", "arp_ignore"),
        proxy_ndp: of("ipv6", "proxy_ndp") == 1
            && sysctl::number(&format!("net/ipv6/conf/{name}/forwarding")) == Some(1),
        addresses: vec![first],
        name,
    })
}

/// Who is asked for ways: the kernel, or a test.
pub(super) trait AskWay {
    /// The way of a packet, as [`Netlink::route`] has it.
    fn way(&mut self, question: RouteQuestion) -> Result<RouteAnswer, Errno>;
}

impl AskWay for Netlink {
    fn way(&mut self, question: RouteQuestion) -> Result<RouteAnswer, Errno> {
        self.route(question)
    }
}
