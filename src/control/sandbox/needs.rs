//! Which capabilities a configuration needs, and for which of its keys.

use std::collections::HashSet;

use super::files::is_of_process;
use super::key::KeyPlace;
use crate::config::{Config, Congestion, ListenAddress, ListenerConfig, PortRange};
use crate::control::unix_listener;
use crate::sys::privileges::{Capability, ProcessUser, kernel_is_at_least};
use crate::sys::sysctl;

/// What a capability is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Listening where the kernel does not let everybody.
    LowPorts,
    /// SO_MARK.
    Mark,
    /// setns(2) around each socket.
    Namespace,
    /// The files of a process that has more capabilities.
    NamespaceOfProcess,
    /// SO_BINDTODEVICE on kernels that keep it to themselves.
    Interface,
    /// A congestion control that is not everybody's.
    Congestion,
    /// The file of a unix socket, given to another.
    Owner,
    /// Pipes that stay large.
    Pipes,
    /// What root can do with the files of others.
    FilesOfOthers,
}

impl Purpose {
    /// All, in the order of the documentation.
    const ALL: [Purpose; 9] = [
        Purpose::LowPorts,
        Purpose::Mark,
        Purpose::Namespace,
        Purpose::NamespaceOfProcess,
        Purpose::Interface,
        Purpose::Congestion,
        Purpose::Owner,
        Purpose::Pipes,
        Purpose::FilesOfOthers,
    ];

    /// What it takes on this kernel.
    pub(super) fn capabilities(self) -> &'static [Capability] {
        match self {
            Purpose::LowPorts => &[Capability::CAP_NET_BIND_SERVICE],
            // The lesser one of the two where the kernel takes it: it changes no route and no rule of a firewall.
            Purpose::Mark if kernel_is_at_least(5, 17) => &[Capability::CAP_NET_RAW],
            Purpose::Mark | Purpose::Congestion => &[Capability::CAP_NET_ADMIN],
            Purpose::Namespace => &[Capability::CAP_SYS_ADMIN],
            Purpose::NamespaceOfProcess => &[Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE],
            Purpose::Interface => &[Capability::CAP_NET_RAW],
            Purpose::Owner => &[Capability::CAP_CHOWN, Capability::CAP_FOWNER],
            Purpose::Pipes => &[Capability::CAP_SYS_RESOURCE],
            Purpose::FilesOfOthers => {
                &[Capability::CAP_DAC_OVERRIDE, Capability::CAP_CHOWN, Capability::CAP_FOWNER]
            }
        }
    }

    /// Whether nothing comes of what is asked for without it.
    pub(super) fn is_vital(self) -> bool {
        !matches!(self, Purpose::Pipes | Purpose::FilesOfOthers)
    }

    /// A row of the table in docs/sandbox.md: what it takes, where that is written, and why.
    #[cfg(test)]
    fn row(self) -> [&'static str; 3] {
        match self {
            Purpose::LowPorts => [
                "`CAP_NET_BIND_SERVICE`",
                "an address of `server.listen`, `[[listener]]`, `admin.listen`, or a port of `bind.ports`, `udp.ports`, `udp_ports`, below `net.ipv4.ip_unprivileged_port_start`",
                "bind(2) there",
            ],
            Purpose::Mark => [
                "`CAP_NET_RAW`; `CAP_NET_ADMIN` before Linux 5.17",
                "`fwmark` of `[[egress]]`",
                "SO_MARK on each socket",
            ],
            Purpose::Namespace => {
                ["`CAP_SYS_ADMIN`", "`netns` of `[[egress]]`", "setns(2) around each socket"]
            }
            Purpose::NamespaceOfProcess => [
                "`CAP_SYS_PTRACE`, too",
                "a `netns` of another process, such as `/proc/4711/ns/net`",
                "another process's files",
            ],
            Purpose::Interface => [
                "`CAP_NET_RAW`, before Linux 5.7",
                "`interface` of `[[egress]]`",
                "SO_BINDTODEVICE on each socket",
            ],
            Purpose::Congestion => [
                "`CAP_NET_ADMIN`",
                "a `server.congestion` that `net.ipv4.tcp_allowed_congestion_control` has not",
                "TCP_CONGESTION on each socket",
            ],
            Purpose::Owner => [
                "`CAP_CHOWN`, `CAP_FOWNER`",
                "`owner` of a `[[listener]]` on a unix socket: another user, or a group that the server is not in",
                "chown(2), now and at reloads",
            ],
            Purpose::Pipes => [
                "`CAP_SYS_RESOURCE`",
                "`server.relay` other than `\"copy\"`",
                "pipes stay large past `fs.pipe-user-pages-soft`; without it the relay goes on with small ones",
            ],
            Purpose::FilesOfOthers => [
                "`CAP_DAC_OVERRIDE`, `CAP_CHOWN`, `CAP_FOWNER`",
                "root goes on as root: no `server.user`",
                "files that belong to others are read and written as before",
            ],
        }
    }
}

/// A key that needs a capability.
#[derive(Clone, Copy, Debug)]
pub(super) struct CapabilityNeed {
    pub(super) at: KeyPlace,
    pub(super) purpose: Purpose,
}

/// All capabilities of these needs.
pub(super) fn capabilities(needs: &[CapabilityNeed]) -> HashSet<Capability> {
    needs.iter().flat_map(|need| need.purpose.capabilities()).copied().collect()
}

/// Those that some configuration may need, or that it takes to become another user and read root's files.
pub(super) fn ever_needed() -> HashSet<Capability> {
    let start = [
        Capability::CAP_SETUID,
        Capability::CAP_SETGID,
        Capability::CAP_SETPCAP,
        Capability::CAP_DAC_READ_SEARCH,
    ];
    Purpose::ALL.iter().flat_map(|purpose| purpose.capabilities()).copied().chain(start).collect()
}

/// What a configuration needs of a process that runs as this account.
pub(super) fn needs(config: &Config, account: &ProcessUser) -> Vec<CapabilityNeed> {
    let mut needs = Vec::new();
    let mut need = |purpose, at| needs.push(CapabilityNeed { at, purpose });
    low_ports(config).into_iter().for_each(|at| need(Purpose::LowPorts, at));
    for (nth, pool) in config.egress.iter().enumerate() {
        let at = |key| KeyPlace::of_row("egress", nth, key);
        if pool.fwmark.is_some() {
            need(Purpose::Mark, at("fwmark"));
        }
        if pool.interface.is_some() && !kernel_is_at_least(5, 7) {
            need(Purpose::Interface, at("interface"));
        }
        match &pool.netns {
            Some(path) if is_of_process(path) => need(Purpose::NamespaceOfProcess, at("netns")),
            Some(_) => need(Purpose::Namespace, at("netns")),
            None => {}
        }
    }
    if let Congestion::Named(name) = &config.server.congestion
        && !everybody_may_have(name)
    {
        need(Purpose::Congestion, KeyPlace::of("server", "congestion"));
    }
    for (nth, table) in config.listeners.iter().enumerate() {
        if gives_away(table, account) {
            need(Purpose::Owner, KeyPlace::of_row("listener", nth, "owner"));
        }
    }
    if config.server.relay.splices() {
        need(Purpose::Pipes, KeyPlace::of("server", "relay"));
    }
    if account.is_root() {
        need(Purpose::FilesOfOthers, KeyPlace::of("server", "user"));
    }
    needs
}

/// Where ports are named that the kernel does not give everybody.
fn low_ports(config: &Config) -> Vec<KeyPlace> {
    let first_free = sysctl::number("net/ipv4/ip_unprivileged_port_start").unwrap_or(1024);
    let is_low = |port: u16| port != 0 && u64::from(port) < first_free;
    let begins_low = |range: &Option<PortRange>| range.is_some_and(|range| is_low(*range.ends().start()));
    let of_list = |table, key| move |nth| KeyPlace::of_entry(table, key, nth);
    let mut places = Vec::new();
    let listen = config.server.listen.iter().enumerate();
    places.extend(
        listen
            .filter(|(_, one)| is_low(one.address.port()))
            .map(|(nth, _)| nth)
            .map(of_list("server", "listen")),
    );
    let admin = config.admin.listen.iter().enumerate();
    let is_low_address =
        |address: &ListenAddress| address.tcp().is_some_and(|one| is_low(one.address.port()));
    places.extend(
        admin.filter(|(_, one)| is_low_address(one)).map(|(nth, _)| nth).map(of_list("admin", "listen")),
    );
    for (nth, table) in config.listeners.iter().enumerate() {
        if is_low_address(&table.address) {
            places.push(KeyPlace::of_row("listener", nth, "address"));
        }
        if begins_low(&table.udp_ports) {
            places.push(KeyPlace::of_row("listener", nth, "udp_ports"));
        }
    }
    for (ports, table) in [(&config.bind.ports, "bind"), (&config.udp.ports, "udp")] {
        if begins_low(ports) {
            places.push(KeyPlace::of(table, "ports"));
        }
    }
    places
}

/// Whether the kernel gives a congestion control to everybody.
fn everybody_may_have(name: &str) -> bool {
    let allowed = sysctl::text("net/ipv4/tcp_allowed_congestion_control").unwrap_or_default();
    allowed.split_ascii_whitespace().any(|one| one == name)
}

/// Whether the file of a unix socket becomes another's, as only some may do.
fn gives_away(table: &ListenerConfig, account: &ProcessUser) -> bool {
    // Who is nobody is told of elsewhere.
    let Ok(owner) = unix_listener::owner(Some(table)) else { return false };
    owner.user.is_some_and(|user| user != account.user())
        || owner.group.is_some_and(|group| !account.is_in(group))
}

/// The table of docs/sandbox.md, of all that a configuration may need.
#[cfg(test)]
fn table() -> String {
    let row = |purpose: Purpose| format!("| {} |\n", purpose.row().join(" | "));
    let head = "| Capability | Kept where there is | For |\n|---|---|---|\n".to_owned();
    Purpose::ALL.into_iter().fold(head, |table, purpose| table + &row(purpose))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;

    fn needed(text: &str) -> Vec<Purpose> {
        let config = Config::parse(text, Path::new("/etc/outflow/outflow.toml"), &Flags::default()).unwrap();
        // A user without an account, in no group but its own.
        let account = ProcessUser::named("4001234567:4001234567").unwrap();
        needs(&config, &account).into_iter().map(|need| need.purpose).collect()
    }

    /// What is kept of capabilities is that of keys that are there, and of nothing else.
    #[test]
    fn each_key_has_what_it_takes_and_no_more() {
        let copies = "[server]\nrelay = \"copy\"\n";
        assert_eq!(needed(copies), []);
        assert_eq!(needed(""), [Purpose::Pipes]);
        let first_free = sysctl::number("net/ipv4/ip_unprivileged_port_start").unwrap();
        let low = if first_free > 81 { vec![Purpose::LowPorts] } else { vec![] };
        for ports in [
            "listen = [\"127.0.0.1:81\"]",
            "[admin]\nlisten = [\"127.0.0.1:81\"]",
            "[bind]\nports = \"81-2000\"",
            "[udp]\nports = \"81-2000\"",
            "[[listener]]\naddress = \"127.0.0.1:81\"",
            "[[listener]]\naddress = \"127.0.0.1:0\"\nudp_ports = \"81-2000\"",
        ] {
            assert_eq!(needed(&format!("{copies}{ports}")), low, "{ports}");
        }
        let pool = "[[egress]]\nname = \"a\"\naddresses = [\"127.0.0.9\"]\n";
        for (key, purposes) in [
            ("", vec![]),
            ("fwmark = 7", vec![Purpose::Mark]),
            ("netns = \"uplink\"", vec![Purpose::Namespace]),
            ("netns = \"/proc/1/ns/net\"", vec![Purpose::NamespaceOfProcess]),
            ("freebind = true\ndscp = 10", vec![]),
        ] {
            assert_eq!(needed(&format!("{copies}{pool}{key}")), purposes, "{key}");
        }
        let socket = "[[listener]]\naddress = \"unix:/run/outflow/socks.sock\"\n";
        for (owner, purposes) in [
            ("", vec![]),
            ("owner = \"4001234567\"", vec![]),
            ("owner = \":4001234567\"", vec![]),
            ("owner = \"root\"", vec![Purpose::Owner]),
            ("owner = \":0\"", vec![Purpose::Owner]),
        ] {
            assert_eq!(needed(&format!("{copies}{socket}{owner}")), purposes, "{owner}");
        }
        let control = "[server]\nrelay = \"copy\"\ncongestion = \"nobody-has-this\"\n";
        assert_eq!(needed(control), [Purpose::Congestion]);
        assert_eq!(needed("[server]\nrelay = \"copy\"\ncongestion = \"reno\"\n"), []);
    }

    /// What the documentation promises is what is done.
    #[test]
    fn the_docs_have_the_table() {
        let page = include_str!("../../../docs/sandbox.md");
        assert!(page.contains(&table()), "docs/sandbox.md is to have:\n{}", table());
    }
}
