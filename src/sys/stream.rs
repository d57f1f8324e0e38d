//! One connected (or connecting) TCP socket, non-blocking from birth.

use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::congestion::Algorithm;
use super::outbound::{apply, leave_from, within};
use super::{Errno, Read, Write, errno_of};
use crate::outbound::OutboundOptions;

/// An owned TCP socket; closed when dropped.
#[derive(Debug)]
pub struct Stream(OwnedFd);

/// How long a silent or unresponsive peer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Silence before the first keepalive probe, whole seconds.
    pub keepalive_idle: Duration,
    /// Between probes, whole seconds.
    pub keepalive_interval: Duration,
    /// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT).
    pub unacked: Duration,
}

/// How a connection fares that was just accepted, and that nothing was sent on from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStay {
    /// How long it stood in its listener's queue, to the kernel's tick.
    pub stood: Duration,
    /// Whether its client has ended its side since, or all of it.
    pub left: bool,
}

/// States of a TCP socket whose peer has ended its side (linux/tcp_states.h): CLOSE and CLOSE_WAIT.
const PEER_LEFT: [u8; 2] = [7, 8];

impl Stream {
    /// Takes over a socket that is already non-blocking.
    pub fn from_fd(fd: OwnedFd) -> Stream {
        Stream(fd)
    }

    /// A socket for a connection to `address`. A congestion control that is refused leaves the kernel's default.
    ///
    /// # Errors
    /// What socket(2) refused.
    pub fn open(address: SocketAddr, congestion: Option<Algorithm>) -> Result<Stream, Errno> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new_raw(Domain::for_address(address), kind, None).map_err(|e| errno_of(&e))?;
        if let Some(algorithm) = congestion {
            let _ = socket.set_tcp_congestion(algorithm.name());
        }
        Ok(Stream(socket.into()))
    }

    /// A socket for a connection to `address`, opened as `options` say.
    ///
    /// # Errors
    /// What socket(2), setns(2) or an option refused.
    pub fn open_as(
        address: SocketAddr,
        congestion: Option<Algorithm>,
        options: &OutboundOptions,
    ) -> Result<Stream, Errno> {
        let stream = within(options, || Stream::open(address, congestion))?;
        apply(options, &stream, Domain::for_address(address))?;
        Ok(stream)
    }

    /// Has a connection to `address` come from `source`. The port is chosen with the connect: each target has all of them.
    ///
    /// # Errors
    /// What bind(2) refused: EADDRNOTAVAIL where no interface has the address.
    pub fn leave_from(&self, source: IpAddr, address: SocketAddr) -> Result<(), Errno> {
        leave_from(self, SocketAddr::new(source, 0), Domain::for_address(address))
    }

    /// Starts a connect. `Ok` means begun, not connected: the first writable event tells.
    ///
    /// # Errors
    /// What connect(2) refused at once: EADDRNOTAVAIL where a port of the source is left for other targets alone.
    pub fn connect(&self, address: SocketAddr) -> Result<(), Errno> {
        match SockRef::from(&self.0).connect(&SockAddr::from(address)).map_err(|e| errno_of(&e)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Reads what is there. A count below `buffer.len()` emptied the socket, unless urgent data stands in it.
    pub fn recv(&self, buffer: &mut [u8]) -> Read {
        Read::of(|| recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()))
    }

    /// Reads what is there as [`Stream::recv`] does, and leaves it there.
    pub fn peek(&self, buffer: &mut [u8]) -> Read {
        Read::of(|| recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_PEEK))
    }

    /// Whether a byte waits to be read, without taking it.
    pub fn has_bytes(&self) -> bool {
        let mut byte = [0];
        matches!(recv(self.0.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK), Ok(1))
    }

    /// Whether a read would give a byte, an end or an error, without taking it.
    pub fn is_readable(&self) -> bool {
        let mut byte = [0];
        recv(self.0.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK) != Err(Errno::EAGAIN)
    }

    /// Writes what fits, never raising SIGPIPE.
    pub fn send(&self, bytes: &[u8]) -> Write {
        Write::of(|| send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL))
    }

    /// Sends FIN behind what was written. An error means that the peer is gone already, which the next
    /// read or write tells.
    pub fn shut_down_writing(&self) {
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Write);
    }

    /// Makes the coming close send RST in place of FIN.
    pub fn reset_on_close(&self) {
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }

    /// How it fares in its listener's queue; `None` where the kernel does not say, as of sockets of the unix family.
    pub fn queued(&self) -> Option<QueueStay> {
        let info = tcp_info(self)?;
        // The kernel sets it once the handshake is over, and nothing was sent since.
        let stood = Duration::from_millis(info.tcpi_last_data_sent.into());
        Some(QueueStay { stood, left: PEER_LEFT.contains(&info.tcpi_state) })
    }

    /// The pending error of the socket, taken from it.
    pub fn take_error(&self) -> Option<Errno> {
        SockRef::from(&self.0).take_error().ok().flatten().map(|error| errno_of(&error))
    }

    /// The local address and port.
    ///
    /// # Errors
    /// What getsockname(2) refused.
    pub fn local_address(&self) -> Result<SocketAddr, Errno> {
        let address = SockRef::from(&self.0).local_addr().map_err(|e| errno_of(&e))?;
        address.as_socket().ok_or(Errno::EAFNOSUPPORT)
    }

    /// Whether a connection may lead to this machine, by whatever address: of one of IPv6 (`is_v6`) that is certain, of one of
    /// IPv4 another interface may look the same. `None` where the kernel does not say.
    pub fn leaves_by_loopback(&self, is_v6: bool) -> Option<bool> {
        leaves_by_loopback(self.0.as_fd(), is_v6)
    }

    /// Bytes that were sent and are not acknowledged yet, and those that wait to be sent.
    pub fn unacknowledged_bytes(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: TIOCOUTQ (SIOCOUTQ on sockets) writes one int through the pointer, which is valid for it.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
        if result < 0 { 0 } else { usize::try_from(count).unwrap_or(0) }
    }

    /// Has what has come acknowledged now, not with the next answer.
    pub fn acknowledge(&self) {
        let _ = SockRef::from(&self.0).set_tcp_quickack(true);
    }

    /// Has small writes leave at once from here on.
    pub fn set_nodelay(&self) {
        let _ = SockRef::from(&self.0).set_tcp_nodelay(true);
    }

    /// Applies keepalive and TCP_USER_TIMEOUT. Refusals are ignored: our own timers stand behind them.
    pub fn set_liveness(&self, liveness: &Liveness) {
        apply_liveness(&SockRef::from(&self.0), liveness);
    }
}

/// Sets keepalive and the user timeout on any TCP socket; a listener's reach what it accepts.
pub(super) fn apply_liveness(socket: &SockRef<'_>, liveness: &Liveness) {
    let keepalive =
        TcpKeepalive::new().with_time(liveness.keepalive_idle).with_interval(liveness.keepalive_interval);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(liveness.unacked));
}

/// What the kernel tells of a TCP socket (TCP_INFO).
pub(super) fn tcp_info(socket: &impl AsFd) -> Option<libc::tcp_info> {
    // SAFETY: tcp_info is made of integers alone, for which zeros are values.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: info is valid for writes of as many bytes as length says, for the whole call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(info)
}

/// Whether a connected socket sends by the loopback interface: no other has an MTU beyond 16 bits, of which the kernel says no
/// more than 65,535 in IPv4. It takes a source address of its choice towards a block that a route delivers here, so that the
/// addresses do not tell.
pub(super) fn leaves_by_loopback(socket: BorrowedFd<'_>, is_v6: bool) -> Option<bool> {
    let (level, option) = match is_v6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
        false => (libc::IPPROTO_IP, libc::IP_MTU),
    };
    let mut mtu: libc::c_int = 0;
    let mut size = size_of_val(&mtu) as libc::socklen_t;
    // SAFETY: both options write one int through the pointer, which is valid for it, and its size is given.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut mtu).cast(), &raw mut size) };
    let least = libc::c_int::from(u16::MAX) + libc::c_int::from(is_v6);
    (result == 0).then_some(mtu >= least)
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
