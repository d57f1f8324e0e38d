//! Listening sockets of SO_REUSEPORT groups. What a listener has, the sockets it accepts inherit: TCP_NODELAY,
//! keepalive and the user timeout cost nothing per session.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::congestion::{self, Algorithm, CongestionControl};
use super::stream::{Liveness, Stream, apply_liveness};
use super::{Errno, errno_of};

/// One listening socket, non-blocking; closed when dropped.
#[derive(Debug)]
pub struct Listener(Socket);

/// What one listener of a group is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The listen(2) backlog, in connections.
    pub backlog: u32,
    /// Whether an IPv6 socket leaves IPv4 to another one.
    pub only_v6: bool,
    /// What accepted sockets inherit.
    pub liveness: Liveness,
    /// The congestion control of accepted sockets: by the listener's own address, as the clients' are not known.
    pub congestion: CongestionControl,
}

impl Listener {
    /// Opens a listener that shares its address with the others of its group.
    ///
    /// # Errors
    /// What socket(2), bind(2) or listen(2) refused.
    pub fn open(address: SocketAddr, options: &Options) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(options.only_v6)?;
        }
        socket.set_tcp_nodelay(true)?;
        apply_liveness(&SockRef::from(&socket), &options.liveness);
        if let Some(algorithm) = options.congestion.at(address.ip()) {
            // Whether it can be had was asked when it was chosen; the kernel's default serves, too.
            let _ = socket.set_tcp_congestion(algorithm.name());
        }
        socket.bind(&SockAddr::from(address))?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        Ok(Listener(socket))
    }

    /// Gives what is accepted from now on other properties; the backlog and the family stay what they were.
    pub fn adjust(&self, address: SocketAddr, options: &Options) {
        apply_liveness(&SockRef::from(&self.0), &options.liveness);
        let named = options.congestion.at(address.ip()).map(|algorithm| algorithm.name().to_vec());
        if let Some(name) = named.or_else(|| congestion::system_default().ok()) {
            let _ = self.0.set_tcp_congestion(&name);
        }
    }

    /// Opens a listener that shares its address with nobody, for a single peer; what it accepts is as a socket that
    /// [`Stream::open`] makes. A port may be taken again while connections that were accepted on it live on.
    ///
    /// # Errors
    /// EADDRINUSE where another listens, or where no port is left for port 0; EPERM where a mark may not be set; what
    /// socket(2), bind(2) or listen(2) refused.
    pub fn open_alone(
        address: SocketAddr,
        backlog: i32,
        congestion: Option<Algorithm>,
        mark: Option<u32>,
    ) -> Result<Listener, Errno> {
        let open = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
            socket.set_reuse_address(true)?;
            if let Some(algorithm) = congestion {
                let _ = socket.set_tcp_congestion(algorithm.name());
            }
            mark.map_or(Ok(()), |mark| socket.set_mark(mark))?;
            socket.bind(&SockAddr::from(address))?;
            socket.listen(backlog)?;
            Ok(Listener(socket))
        };
        open().map_err(|error: io::Error| errno_of(&error))
    }

    /// Whether the address is free of listeners, those of other groups included.
    ///
    /// # Errors
    /// What socket(2) or bind(2) refused.
    pub fn probe(address: SocketAddr, options: &Options) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(options.only_v6)?;
        }
        socket.bind(&SockAddr::from(address))
    }

    /// The bound address, its port filled in.
    ///
    /// # Errors
    /// What getsockname(2) refused.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Takes one connection and its peer's address; EAGAIN when the queue is empty.
    ///
    /// # Errors
    /// EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED and whatever else accept4(2) says.
    pub fn accept(&self) -> Result<(Stream, SocketAddr), Errno> {
        let accept = |storage: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
            // SAFETY: storage and length are valid for writes for the whole call, and length holds the
            // size of the storage, as `SockAddr::try_init` promises.
            let fd = unsafe {
                libc::accept4(
                    self.0.as_raw_fd(),
                    storage.cast(),
                    length,
                    libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                )
            };
            if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
        };
        // SAFETY: on success accept4 has written an address and its length.
        let (fd, peer) = unsafe { SockAddr::try_init(accept) }.map_err(|e| errno_of(&e))?;
        // SAFETY: accept4 returned this descriptor just now and nothing else owns it.
        let stream = Stream::from_fd(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok((stream, peer.as_socket().ok_or(Errno::EAFNOSUPPORT)?))
    }

    /// How many connections wait to be accepted; 0 where the kernel does not say.
    pub fn waiting(&self) -> u32 {
        // SAFETY: tcp_info is made of integers alone, for which zeros are values.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        // SAFETY: info is valid for writes of as many bytes as length says, for the whole call.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            )
        };
        // Of a socket that listens this field has the length of its accept queue.
        if result < 0 { 0 } else { info.tcpi_unacked }
    }

    /// Steers the connections of this listener's whole group by the CPU that receives them: the CPU's number
    /// modulo `group_size` is the index of the listener, in the order in which the group was bound.
    ///
    /// # Errors
    /// What setsockopt(SO_ATTACH_REUSEPORT_CBPF) refused.
    pub fn steer_by_cpu(&self, group_size: u32) -> io::Result<()> {
        let instruction = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
        let mut program = [
            instruction(
                libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
                (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32,
            ),
            instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, group_size.max(1)),
            instruction(libc::BPF_RET | 0x10, 0),
        ];
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: the option takes a sock_fprog of this size; the program it points to outlives the call,
        // and the kernel copies it.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_REUSEPORT_CBPF,
                (&raw const filter).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What a listener is given later is what sockets have that it accepts from then on.
    #[test]
    fn a_listener_may_be_given_what_others_were_opened_with() {
        let second = Duration::from_secs(1);
        let options = |unacked, congestion| Options {
            backlog: 1,
            only_v6: false,
            liveness: Liveness { keepalive_idle: second, keepalive_interval: second, unacked },
            congestion,
        };
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::open(address, &options(second, CongestionControl::default())).unwrap();
        let reno = CongestionControl::everywhere("reno").unwrap();
        for (seconds, congestion) in [(7, reno), (9, CongestionControl::default())] {
            let unacked = Duration::from_secs(seconds);
            listener.adjust(address, &options(unacked, congestion));
            let _client = std::net::TcpStream::connect(listener.address().unwrap()).unwrap();
            SockRef::from(&listener).set_nonblocking(false).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let accepted = SockRef::from(&accepted);
            assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(unacked));
            let wanted = congestion.at(address.ip()).map(|algorithm| algorithm.name().to_vec());
            let name = accepted.tcp_congestion().unwrap();
            let name: Vec<u8> = name.into_iter().take_while(|byte| *byte != 0).collect();
            assert_eq!(name, wanted.unwrap_or_else(|| congestion::system_default().unwrap()));
        }
    }
}
