//! The kernel's view of TCP: which sockets stand between whom, in which state.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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

fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip.to_ne_bytes())), port))
}
