//! What this machine and this process may use: descriptors, CPUs, local addresses, sockets for DNS.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::{SysconfVar, sysconf};
use socket2::{Domain, SockAddr, Socket, Type};

use super::stream::{Stream, leaves_by_loopback};
use super::{Errno, Read, Write, errno_of, set_mark};

/// Raises RLIMIT_NOFILE to its hard limit and returns the limit in force.
pub fn raise_descriptor_limit() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Pins the calling thread to the `index`-th CPU that the process may use. False where that is refused.
pub fn pin_to_cpu(index: usize) -> bool {
    let Some(cpus) = core_affinity::get_core_ids().filter(|cpus| !cpus.is_empty()) else { return false };
    core_affinity::set_for_current(cpus[index % cpus.len()])
}

/// The numbers of the real-time signals that the C library leaves to programs.
pub fn realtime_signals() -> RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// Has the calling thread's sleeps end when they are due: by default the kernel may add 50 us to each.
pub fn sleep_to_the_microsecond() {
    // Only latency is lost where it is refused.
    let _ = nix::sys::prctl::set_timerslack(1_000);
}

/// The numbers of the CPUs that the process may use.
pub fn usable_cpus() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|cpu| cpu.id).collect()
}

/// The index of the interface of this name, which scopes link-local addresses.
pub fn interface_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// The name of the interface of this index.
pub fn interface_name(index: u32) -> Option<String> {
    nix::net::if_::if_indextoname(index).ok()?.into_string().ok()
}

/// The local address from which a connection to `target` would be made, its packets marked or not. Nothing is sent.
///
/// # Errors
/// What socket(2), connect(2) or getsockname(2) refused: no route, above all.
pub fn source_towards(target: SocketAddr, mark: Option<u32>) -> Result<SocketAddr, Errno> {
    let socket = datagram_socket(target)?;
    mark.map_or(Ok(()), |mark| set_mark(&socket, mark))?;
    socket.connect(&SockAddr::from(target)).map_err(|error| errno_of(&error))?;
    let local = socket.local_addr().map_err(|error| errno_of(&error))?;
    local.as_socket().ok_or(Errno::EAFNOSUPPORT)
}

/// Whether packets to `target` may stay on this machine, as far as the kernel tells: they do not where there is no way, and
/// without a descriptor to ask with nothing is known. Nothing is sent.
pub fn may_lead_here(target: SocketAddr) -> bool {
    let stays = || {
        let ConnectedUdp(socket) = ConnectedUdp::connect(target)?;
        let local = socket.local_addr().map_err(|error| errno_of(&error))?;
        let local = local.as_socket().ok_or(Errno::EAFNOSUPPORT)?;
        let by_loopback = target.is_ipv6() && leaves_by_loopback(socket.as_fd(), true) == Some(true);
        Ok(local.ip().to_canonical() == target.ip().to_canonical() || by_loopback)
    };
    stays().unwrap_or_else(|errno| !NO_WAY.contains(&errno))
}

/// What the kernel says of an address to which there is no way.
const NO_WAY: [Errno; 6] = [
    Errno::ENETUNREACH,
    Errno::EHOSTUNREACH,
    Errno::ENETDOWN,
    Errno::EACCES,
    Errno::EINVAL,
    Errno::EAFNOSUPPORT,
];

fn datagram_socket(target: SocketAddr) -> Result<Socket, Errno> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    Socket::new_raw(Domain::for_address(target), kind, None).map_err(|error| errno_of(&error))
}

/// One UDP socket, connected to one server from a port that the kernel picks at random.
#[derive(Debug)]
pub struct ConnectedUdp(Socket);

impl ConnectedUdp {
    /// Opens the socket and fixes its peer.
    ///
    /// # Errors
    /// What socket(2) or connect(2) refused.
    pub fn connect(server: SocketAddr) -> Result<ConnectedUdp, Errno> {
        let socket = datagram_socket(server)?;
        socket.connect(&SockAddr::from(server)).map_err(|e| errno_of(&e))?;
        Ok(ConnectedUdp(socket))
    }

    /// Takes one datagram. An empty one is `End`.
    pub fn recv(&self, buffer: &mut [u8]) -> Read {
        Read::of(|| recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()))
    }

    /// Sends one datagram.
    pub fn send(&self, bytes: &[u8]) -> Write {
        Write::of(|| send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL))
    }
}

impl AsRawFd for ConnectedUdp {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The socket of one exchange with a DNS server.
#[derive(Debug)]
pub enum DnsSocket {
    /// Each message is one datagram.
    Udp(ConnectedUdp),
    /// Messages follow each other in a stream, each behind its length.
    Tcp(Stream),
}

impl DnsSocket {
    /// Reads one datagram or a piece of the stream.
    pub fn recv(&self, buffer: &mut [u8]) -> Read {
        match self {
            DnsSocket::Udp(socket) => socket.recv(buffer),
            DnsSocket::Tcp(socket) => socket.recv(buffer),
        }
    }

    /// Sends one datagram or writes to the stream.
    pub fn send(&self, bytes: &[u8]) -> Write {
        match self {
            DnsSocket::Udp(socket) => socket.send(bytes),
            DnsSocket::Tcp(socket) => socket.send(bytes),
        }
    }
}

impl AsRawFd for DnsSocket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            DnsSocket::Udp(socket) => socket.as_raw_fd(),
            DnsSocket::Tcp(socket) => socket.as_raw_fd(),
        }
    }
}

/// How many of the kernel's ticks make a second, in what it tells of CPU time.
pub fn clock_ticks() -> u64 {
    configured(SysconfVar::CLK_TCK).unwrap_or(100)
}

/// Bytes of a page of memory.
pub fn page_bytes() -> u64 {
    configured(SysconfVar::PAGE_SIZE).unwrap_or(4096)
}

fn configured(variable: SysconfVar) -> Option<u64> {
    sysconf(variable).ok().flatten().and_then(|value| u64::try_from(value).ok())
}

/// The user whose rights the process has.
pub fn effective_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}
