//! How sockets towards targets are opened: values alone, which [`sys`](crate::sys::outbound) obeys.

use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How sockets towards targets are opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundOptions {
    /// The ports that they may have; outside of the kernel's own range this has no effect.
    pub ports: Option<RangeInclusive<u16>>,
    /// The interface that their packets go by.
    pub interface: Option<Arc<str>>,
    /// The mark of their packets (SO_MARK).
    pub mark: Option<u32>,
    /// The class of service of their packets (RFC 2474), 0 to 63.
    pub dscp: Option<u8>,
    /// Which of them may have an address that no interface has.
    pub freebind: FreeBind,
    /// The network namespace that they are opened in, where that is another.
    pub netns: Option<Arc<NetworkNamespace>>,
}

/// Which sockets may have an address that no interface has: setting it is a call for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeBind {
    /// Those that leave from an address of IPv4.
    pub v4: bool,
    /// Those that leave from one of IPv6.
    pub v6: bool,
}

impl FreeBind {
    /// All of them, or none.
    pub fn all(freebind: bool) -> FreeBind {
        FreeBind { v4: freebind, v6: freebind }
    }
}

/// Another network namespace: what its sockets are opened in.
#[derive(Debug)]
pub struct NetworkNamespace {
    /// The namespace.
    pub there: OwnedFd,
    /// Where the process is otherwise.
    pub home: OwnedFd,
    /// The device and the inode of `there`.
    pub id: (u64, u64),
}

impl PartialEq for NetworkNamespace {
    fn eq(&self, other: &NetworkNamespace) -> bool {
        self.id == other.id
    }
}

impl Eq for NetworkNamespace {}
