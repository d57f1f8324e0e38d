//! What `[[egress]]` says of one pool of addresses.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::choice::Choice;
use super::egress_values::{self, Tags, interface, netns, source};
use super::entry::tables;
use super::form::{choice, duration, number, optional, shown, switch, text};
use super::list_form::{choices, condition, list};
use super::reach::{self, PortRange};
use super::rule_values::own_name;
use super::value;
use crate::limits;
use crate::policy::egress::{
    Choosing, CooldownTerms, PoolFamily, PoolSelect, PoolSockets, PoolSpec, StickyOn,
};

tables! {
    /// Pools of addresses that sessions leave from, where a rule, a user or a listener names one.
    pub struct EgressConfig {
        /// Its name in rules, records and metrics.
        ///
        /// Never empty, no two alike.
        name: Arc<str> = Arc::from(""), shown(text(own_name, ToString::to_string), "\"carrier\""), Reload;
        /// Its addresses, and blocks of them.
        addresses: Vec<IpNet> = Vec::new(),
            condition(list(limits::EGRESS_TYPED_MAX, source).needs("an address"), "[\"198.51.100.0/28\", \"2001:db8::/64\"]"), Reload;
        /// How a session comes to its address; client: the one that it connected to.
        select: PoolSelect = PoolSelect::Sticky, choice(), Reload;
        /// What a sticky session's key is made of; one that lacks a part of it has any address.
        sticky_on: Vec<StickyOn> = vec![StickyOn::Source], choices().needs("a part of a session"), Reload;
        /// How long a key keeps its address; without it for good.
        ttl: Option<Duration> = None,
            optional(duration(limits::EGRESS_TTL_MIN..=limits::EGRESS_TTL_MAX), "\"10m\""), Reload;
        /// That time begins anew with each session.
        sliding: bool = false, switch(), Reload;
        /// Other addresses that a session tries where the first one fails; 0: none.
        failover: u8 = 2, number(0..=u64::from(limits::EGRESS_FAILOVER_MAX)), Reload;
        /// When an address is left alone: percent of attempts that were refused or reset, of how many, and the longest time.
        cooldown: CooldownTerms = CooldownTerms::default(), egress_values::cooldown(), Reload;
        /// Which targets it leads to: those of the families of its addresses, or one of them alone.
        family: PoolFamily = PoolFamily::Match, choice(), Reload;
        /// The ports that it uses, within net.ipv4.ip_local_port_range; without it all of that.
        ports: Option<PortRange> = None,
            optional(text(reach::range, PortRange::to_string), "\"40000-44999\""), Reload;
        /// Free ports of an address towards a target with fewer of which the next address is taken.
        reserve: u16 = 0, number(0..=u64::from(u16::MAX)), Reload;
        /// Connections of an address to one target at a time; 0: as many as there are ports.
        per_target: u16 = 0, number(0..=u64::from(u16::MAX)), Reload;
        /// The interface that it leaves by.
        interface: Option<Arc<str>> = None, optional(text(interface, ToString::to_string), "\"eth1\""), Reload;
        /// The mark of its packets, for routes and firewalls.
        fwmark: Option<u32> = None, optional(number(1..=u64::from(u32::MAX)), "7"), Reload;
        /// The DSCP of its packets.
        dscp: Option<u8> = None, optional(number(0..=63), "10"), Reload;
        /// Addresses that no interface has, as a routed block's: IP_FREEBIND.
        freebind: bool = false, switch(), Reload;
        /// The network namespace of its sockets: a name of `ip netns`, or a path.
        netns: Option<PathBuf> = None, optional(text(netns, |path| value::path_text(path)), "\"uplink2\""), Reload;
        /// What user names may choose it by.
        tags: Tags = Tags::new(), egress_values::tags(), Reload;
    }
}

impl Choice for PoolSelect {
    const ALL: &'static [(&'static str, Self)] = &[
        ("sticky", Self::Sticky),
        ("random", Self::Random),
        ("round-robin", Self::RoundRobin),
        ("least-used", Self::LeastUsed),
        ("client", Self::Client),
    ];
}

impl Choice for StickyOn {
    const ALL: &'static [(&'static str, Self)] = &[
        ("user", Self::User),
        ("session", Self::Session),
        ("source", Self::Source),
        ("target", Self::Target),
    ];
}

impl Choice for PoolFamily {
    const ALL: &'static [(&'static str, Self)] =
        &[("match", Self::Match), ("v4", Self::V4), ("v6", Self::V6)];
}

impl EgressConfig {
    /// The pool that it says.
    pub fn spec(&self) -> PoolSpec {
        PoolSpec {
            name: Arc::clone(&self.name),
            addresses: self.addresses.clone(),
            choosing: Choosing {
                select: self.select,
                sticky_on: self.sticky_on.clone(),
                ttl: self.ttl,
                sliding: self.sliding,
                failover: self.failover,
                family: self.family,
            },
            cooldown: self.cooldown,
            sockets: PoolSockets {
                ports: self.ports.map(PortRange::ends),
                reserve: self.reserve,
                per_target: self.per_target,
                interface: self.interface.clone(),
                fwmark: self.fwmark,
                dscp: self.dscp,
                freebind: self.freebind,
                netns: self.netns.clone(),
            },
            tags: self.tags.clone(),
        }
    }
}
