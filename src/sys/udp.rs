//! The UDP sockets of an association.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::socket::{MsgFlags, SockaddrStorage, sendto, setsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

use super::outbound::{apply, within};
use super::{Errno, Write, errno_of};
use crate::outbound::OutboundOptions;

/// One UDP socket, non-blocking; closed when dropped.
#[derive(Debug)]
pub struct DatagramSocket(Socket);

impl DatagramSocket {
    /// Opens a socket at `address`; port 0 is the kernel's choice. An IPv6 socket leaves IPv4 to others.
    /// Equal neighbours may arrive joined (UDP_GRO) where the kernel has that.
    ///
    /// # Errors
    /// What socket(2) or bind(2) refused; EADDRINUSE where the port is taken.
    pub fn bind(address: SocketAddr, receive_buffer_bytes: usize) -> Result<DatagramSocket, Errno> {
        DatagramSocket::bind_as(address, receive_buffer_bytes, &OutboundOptions::default())
    }

    /// The same, opened as `options` say: port 0 is then the kernel's choice among their ports.
    ///
    /// # Errors
    /// What socket(2), setns(2), bind(2) or an option refused; EADDRINUSE where no port is left, EADDRNOTAVAIL where no interface
    /// has the address.
    pub fn bind_as(
        address: SocketAddr,
        receive_buffer_bytes: usize,
        options: &OutboundOptions,
    ) -> Result<DatagramSocket, Errno> {
        let (domain, kind) = (Domain::for_address(address), Type::DGRAM.nonblocking().cloexec());
        let socket = within(options, || Socket::new_raw(domain, kind, None).map_err(|e| errno_of(&e)))?;
        apply(options, &socket, domain)?;
        if address.is_ipv6() {
            socket.set_only_v6(true).map_err(|e| errno_of(&e))?;
        }
        // Both are for speed alone: without them less is queued, and nothing comes joined.
        let _ = socket.set_recv_buffer_size(receive_buffer_bytes);
        let _ = setsockopt(&socket, sockopt::UdpGroSegment, &true);
        socket.bind(&SockAddr::from(address)).map_err(|e| errno_of(&e))?;
        Ok(DatagramSocket(socket))
    }

    /// Fixes the peer: the kernel drops what others send from now on. What they sent before is still queued.
    ///
    /// # Errors
    /// What connect(2) refused.
    pub fn connect(&self, peer: SocketAddr) -> Result<(), Errno> {
        self.0.connect(&SockAddr::from(peer)).map_err(|e| errno_of(&e))
    }

    /// The bound address, its port filled in.
    ///
    /// # Errors
    /// What getsockname(2) refused.
    pub fn local_address(&self) -> Result<SocketAddr, Errno> {
        let local = self.0.local_addr().map_err(|e| errno_of(&e))?;
        local.as_socket().ok_or(Errno::EAFNOSUPPORT)
    }

    /// Sends one datagram; one without a byte counts as blocked or taken like any other.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> Write {
        let to = SockaddrStorage::from(to);
        match sendto(self.0.as_raw_fd(), bytes, &to, MsgFlags::MSG_NOSIGNAL) {
            Ok(count) => Write::Bytes(count),
            Err(Errno::EAGAIN) => Write::Blocked,
            Err(errno) => Write::Failed(errno),
        }
    }
}

/// The wildcard address of a target's family.
pub fn wildcard(target: IpAddr) -> IpAddr {
    match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for DatagramSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
