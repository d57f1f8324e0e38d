//! A pool, as far as this machine has to do with it.

use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use socket2::Domain;

use super::finding::{Finding, Severity};
use crate::config::Config;
use crate::control::ways;
use crate::outbound::OutboundOptions;
use crate::policy::egress::{PoolSockets, PoolSpec};
use crate::sys::{Errno, attempt, machine, outbound};

/// A pool with what its sockets are given.
pub(super) struct ExaminedPool {
    pub(super) name: Arc<str>,
    /// Its addresses and blocks.
    pub(super) blocks: Vec<IpNet>,
    pub(super) sockets: PoolSockets,
    /// How they are opened, or why that cannot be.
    options: Result<OutboundOptions, String>,
}

impl ExaminedPool {
    /// Those of a configuration.
    pub(super) fn all(config: &Config) -> Vec<ExaminedPool> {
        config.egress.iter().map(|table| ExaminedPool::of(&table.spec())).collect()
    }

    /// This one.
    pub(super) fn of(spec: &PoolSpec) -> ExaminedPool {
        let sockets = spec.sockets.clone();
        let mut options = ways::options(&sockets);
        if let Ok(options) = &mut options {
            // Of a block no interface has any address.
            options.freebind.v6 |= spec.addresses.iter().any(is_prefix);
        }
        ExaminedPool { name: spec.name.clone(), blocks: spec.addresses.clone(), sockets, options }
    }

    /// Whether its sockets are opened in another network.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.sockets.netns.is_some()
    }

    /// How its sockets are opened where they are opened by the calling thread.
    pub(super) fn options(&self) -> OutboundOptions {
        let options = self.options.clone().unwrap_or_default();
        OutboundOptions { netns: None, ..options }
    }

    /// How its sockets are opened by whichever thread; `None` where they cannot be.
    pub(super) fn options_anywhere(&self) -> Option<OutboundOptions> {
        self.options.clone().ok()
    }

    /// What `look` gives in the network that its sockets are opened in.
    pub(super) fn within<T>(&self, look: impl FnOnce() -> T) -> Result<T, Finding> {
        let cannot = |what: String| {
            let there = self.sockets.netns.as_deref().is_none_or(Path::exists);
            let mend = vec![match (there, self.own_namespace()) {
                (true, _) => "in its unit AmbientCapabilities=CAP_SYS_ADMIN".to_owned(),
                (false, Some(name)) => format!("ip netns add {name}"),
                (false, None) => "the path of a network namespace that is there".to_owned(),
            }];
            self.finding(Severity::Error, "netns", what, mend)
        };
        let options = self.options.as_ref().map_err(|what| cannot(what.clone()))?;
        outbound::within(options, || Ok(look())).map_err(|errno: Errno| cannot(errno.desc().to_owned()))
    }

    /// What `ip netns` calls the network of its sockets, where it is one of those.
    fn own_namespace(&self) -> Option<&str> {
        self.sockets.netns.as_deref()?.strip_prefix("/run/netns").ok()?.to_str()
    }

    /// A command of this pool's network.
    pub(super) fn command(&self, line: impl AsRef<str>) -> String {
        match &self.sockets.netns {
            Some(path) => format!("nsenter --net={} {}", path.display(), line.as_ref()),
            None => line.as_ref().to_owned(),
        }
    }

    pub(super) fn finding(
        &self,
        severity: Severity,
        check: &'static str,
        what: String,
        mend: Vec<String>,
    ) -> Finding {
        Finding { severity, check, subject: format!("egress {}", self.name), what, mend }
    }

    /// How many addresses it has.
    pub(super) fn addresses(&self) -> u128 {
        self.blocks.iter().map(addresses_of).fold(0, u128::saturating_add)
    }

    /// The interface that it leaves by, where the calling thread's network has none of that name.
    pub(super) fn missing_interface(&self) -> Option<&str> {
        self.sockets.interface.as_deref().filter(|name| machine::interface_index(name).is_none())
    }

    /// What keeps sockets from being opened as it wants them.
    pub(super) fn sockets(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(interface) = self.missing_interface() {
            let what = format!("there is no interface \"{interface}\": every dial of the pool fails");
            found.push(self.finding(Severity::Error, "interface", what, vec![self.command("ip link")]));
            return found;
        }
        let Some(first) = self.blocks.first() else { return found };
        match attempt::opens(&self.options(), Domain::for_address((first.addr(), 0).into())) {
            Ok(()) => {}
            Err(Errno::EPERM) => found.push(self.finding(
                Severity::Error,
                "fwmark",
                "packets may not be marked: the process has no CAP_NET_ADMIN".to_owned(),
                vec!["in its unit AmbientCapabilities=CAP_NET_ADMIN".to_owned()],
            )),
            Err(Errno::ENOPROTOOPT) => found.push(self.finding(
                Severity::Error,
                "kernel",
                "this kernel has no IP_LOCAL_PORT_RANGE, so that `ports` cannot be obeyed".to_owned(),
                vec!["Linux 6.3 or later; before it no `ports`".to_owned()],
            )),
            Err(errno) => found.push(self.finding(
                Severity::Error,
                "sockets",
                format!("no socket can be opened as the pool wants it: {}", errno.desc()),
                Vec::new(),
            )),
        }
        found
    }
}

/// Whether a block is more than one address of IPv6: such are not taken for the addresses that they hold.
pub(super) fn is_prefix(net: &IpNet) -> bool {
    net.addr().is_ipv6() && net.prefix_len() < net.max_prefix_len()
}

/// How many addresses a block has that may be left from: those that name an IPv4 block or all of it are none.
fn addresses_of(net: &IpNet) -> u128 {
    match net {
        IpNet::V4(net) if net.prefix_len() < 31 => (1 << (32 - u128::from(net.prefix_len()))) - 2,
        IpNet::V4(net) => 1 << (32 - u128::from(net.prefix_len())),
        IpNet::V6(net) => 1_u128.checked_shl(128 - u32::from(net.prefix_len())).unwrap_or(u128::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_as_many_addresses_as_can_be_left_from() {
        for (net, count) in [
            ("192.0.2.1/32", 1),
            ("192.0.2.0/31", 2),
            ("192.0.2.0/28", 14),
            ("2001:db8::1/128", 1),
            ("2001:db8::/64", 1 << 64),
            ("::/0", u128::MAX),
        ] {
            assert_eq!(addresses_of(&net.parse().unwrap()), count, "{net}");
        }
    }
}
