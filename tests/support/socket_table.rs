//! The kernel's view: which TCP sockets stand between whom, in which state, and which UDP sockets a process holds.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP states as /proc/net/tcp numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpState {
    Established,
    SynSent,
    CloseWait,
    Listen,
    TimeWait,
    Other(u8),
}

/// One IPv4 TCP socket.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: TcpState,
    /// Bytes received that the owner has not read yet.
    pub(crate) unread: u32,
}

/// Every IPv4 TCP socket in the network namespace of this process.
pub(crate) fn tcp4() -> Vec<Entry> {
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("read the socket table");
    table.lines().skip(1).filter_map(parse).collect()
}

/// Sockets that still hold something at `remote`: TIME_WAIT is no socket of any process.
pub(crate) fn towards(remote: SocketAddr) -> Vec<Entry> {
    tcp4().into_iter().filter(|e| e.remote == remote && e.state != TcpState::TimeWait).collect()
}

/// The socket with these two ends, as its owner at `local` holds it.
pub(crate) fn between(local: SocketAddr, remote: SocketAddr) -> Option<Entry> {
    towards(remote).into_iter().find(|e| e.local == local)
}

fn parse(line: &str) -> Option<Entry> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let state = match u8::from_str_radix(fields.get(3)?, 16).ok()? {
        1 => TcpState::Established,
        2 => TcpState::SynSent,
        6 => TcpState::TimeWait,
        8 => TcpState::CloseWait,
        10 => TcpState::Listen,
        other => TcpState::Other(other),
    };
    Some(Entry {
        local: address(fields[1])?,
        remote: address(fields[2])?,
        state,
        unread: u32::from_str_radix(fields.get(4)?.split_once(':')?.1, 16).ok()?,
    })
}

/// The local addresses of all UDP sockets that a process holds.
pub(crate) fn udp_of(pid: u32) -> Vec<SocketAddr> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("list the descriptors");
    let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let held: BTreeSet<String> = links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let rows = ["udp", "udp6"].map(|table| {
        std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).expect("read the socket table")
    });
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        held.contains(*fields.get(9)?).then(|| address(fields[1]))?
    };
    rows.iter().flat_map(|table| table.lines().skip(1)).filter_map(entry).collect()
}

/// Words of the machine's own byte order: one for IPv4, four for IPv6.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = (0..ip.len() / 8).map(|word| u32::from_str_radix(&ip[8 * word..8 * word + 8], 16).ok());
    let octets: Vec<u8> = words.collect::<Option<Vec<_>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match octets.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}
