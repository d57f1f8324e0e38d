//! Listening sockets of SO_REUSEPORT groups. What a listener has, the sockets it accepts inherit: TCP_NODELAY,
//! keepalive and the user timeout cost nothing per session.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::congestion::{self, Algorithm, CongestionControl};
use super::outbound::{apply, within};
use super::stream::{Liveness, Stream, apply_liveness, tcp_info};
use super::{Errno, errno_of};
use crate::outbound::OutboundOptions;

/// One listening socket, non-blocking; closed when dropped.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Another process accepts on the socket, too, and will behind us.
    lent: AtomicBool,
}

/// SO_BINDTOIFINDEX of asm-generic/socket.h, for which libc has no name on every architecture.
const SO_BINDTOIFINDEX: libc::c_int = 62;

/// The index of an interface that there never is: the kernel counts them from 1.
const NO_INTERFACE: libc::c_int = libc::c_int::MAX;

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
        let listener = Listener::of(socket.into());
        listener.set_backlog(options.backlog)?;
        Ok(listener)
    }

    /// A socket that listens already, such as one at a path.
    pub fn of(socket: OwnedFd) -> Listener {
        Listener { socket: socket.into(), lent: AtomicBool::new(false) }
    }

    /// A socket that another process opened, which has it, too: see [`Listener::is_lent`].
    ///
    /// # Errors
    /// It is no stream socket of TCP or at a path, or it does not listen.
    pub fn given(socket: OwnedFd) -> io::Result<Listener> {
        let listener = Listener { socket: socket.into(), lent: AtomicBool::new(true) };
        let socket = &listener.socket;
        let is_ours = [Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&socket.domain()?);
        if !is_ours || socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no stream socket that listens"));
        }
        socket.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Whether another process accepts on the socket, too. Whoever lets go of it leaves the socket as it is, and what is
    /// queued to the other.
    pub fn is_lent(&self) -> bool {
        self.lent.load(Ordering::Acquire)
    }

    /// Says whether another process accepts on the socket, too.
    pub fn lend(&self, lent: bool) {
        self.lent.store(lent, Ordering::Release);
    }

    /// The path of a unix socket, if it is one and has one.
    pub fn path(&self) -> Option<PathBuf> {
        self.socket.local_addr().ok()?.as_pathname().map(PathBuf::from)
    }

    /// Whether others of the same user may listen at its address beside it (SO_REUSEPORT).
    pub fn shares_port(&self) -> bool {
        self.socket.reuse_port().unwrap_or(false)
    }

    /// Whether it is one of IPv6 that leaves IPv4 to another.
    pub fn is_only_v6(&self) -> bool {
        self.socket.domain().is_ok_and(|domain| domain == Domain::IPV6)
            && self.socket.only_v6().unwrap_or(false)
    }

    /// Undoes [`Listener::steer_by_cpu`].
    ///
    /// # Errors
    /// ENOENT where nothing steers.
    pub fn stop_steering(&self) -> io::Result<()> {
        let none: libc::c_int = 0;
        self.set(libc::SOL_SOCKET, libc::SO_DETACH_REUSEPORT_BPF, &none)
    }

    /// Gives what is accepted from now on other properties; the backlog and the family stay what they were.
    pub fn adjust(&self, address: SocketAddr, options: &Options) {
        // One that another process opened may lack it.
        let _ = self.socket.set_tcp_nodelay(true);
        apply_liveness(&SockRef::from(&self.socket), &options.liveness);
        let named = options.congestion.at(address.ip()).map(|algorithm| algorithm.name().to_vec());
        if let Some(name) = named.or_else(|| congestion::system_default().ok()) {
            let _ = self.socket.set_tcp_congestion(&name);
        }
    }

    /// Opens a listener that shares its address with nobody, for a single peer; what it accepts is as a socket that
    /// [`Stream::open_as`] makes. A port may be taken again while connections that were accepted on it live on.
    ///
    /// # Errors
    /// EADDRINUSE where another listens, or where no port is left for port 0; EADDRNOTAVAIL where no interface has the address;
    /// EPERM where a mark may not be set; what socket(2), bind(2), listen(2) or an option refused.
    pub fn open_alone(
        address: SocketAddr,
        backlog: i32,
        congestion: Option<Algorithm>,
        options: &OutboundOptions,
    ) -> Result<Listener, Errno> {
        let (domain, kind) = (Domain::for_address(address), Type::STREAM.nonblocking());
        let socket = within(options, || Socket::new(domain, kind, None).map_err(|error| errno_of(&error)))?;
        apply(options, &socket, domain)?;
        let open = || {
            socket.set_reuse_address(true)?;
            if let Some(algorithm) = congestion {
                let _ = socket.set_tcp_congestion(algorithm.name());
            }
            socket.bind(&SockAddr::from(address))?;
            socket.listen(backlog)
        };
        open().map_err(|error: io::Error| errno_of(&error))?;
        Ok(Listener::of(socket.into()))
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
        self.socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Takes one connection and its peer's address, which those of unix sockets have none of; EAGAIN when the queue is empty.
    ///
    /// # Errors
    /// EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED and whatever else accept4(2) says.
    pub fn accept(&self) -> Result<(Stream, Option<SocketAddr>), Errno> {
        let accept = |storage: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
            // SAFETY: storage and length are valid for writes for the whole call, and length holds the
            // size of the storage, as `SockAddr::try_init` promises.
            let fd = unsafe {
                libc::accept4(
                    self.socket.as_raw_fd(),
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
        Ok((stream, peer.as_socket()))
    }

    /// Gives its queue as many places; those that stand in it stay. Whoever comes to a full one is not answered, and asks
    /// again after a second.
    ///
    /// # Errors
    /// What listen(2) refused.
    pub fn set_backlog(&self, places: u32) -> io::Result<()> {
        self.socket.listen(i32::try_from(places).unwrap_or(i32::MAX))
    }

    /// Takes no connection from now on that is not begun: who comes is refused at once, as where nobody listens, and
    /// another listener may be opened at the address. Handshakes that are under way come to their end, and what is queued
    /// stays.
    ///
    /// A SYN finds the listeners of all interfaces and of the one that it came by. What follows it finds its handshake,
    /// which goes by what the listener was bound to when the SYN came, and so does the connection.
    ///
    /// # Errors
    /// EPERM where the listener is bound to an interface, as a link-local address is, and before Linux 5.7.
    pub fn refuse_new(&self) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, SO_BINDTOIFINDEX, &NO_INTERFACE)
    }

    /// Has handshakes last until the client has sent something (TCP_DEFER_ACCEPT).
    #[cfg(test)]
    pub(crate) fn defer_accept(&self) {
        let seconds: libc::c_int = 60;
        self.set(libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, &seconds).expect("Linux has it");
    }

    /// How many connections wait to be accepted; 0 where the kernel does not say.
    pub fn waiting(&self) -> u32 {
        // Of a socket that listens this field has the length of its accept queue.
        tcp_info(&self.socket).map_or(0, |info| info.tcpi_unacked)
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
        // The program that it points to outlives the call, and the kernel copies it.
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &filter)
    }

    /// Sets an option that takes such a value.
    fn set<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: value is valid for reads of as many bytes as its type has, for the whole call.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref(value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> OwnedFd {
        listener.socket.into()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn options(unacked: Duration, congestion: CongestionControl) -> Options {
        let liveness = Liveness { keepalive_idle: SECOND, keepalive_interval: SECOND, unacked };
        Options { backlog: 8, only_v6: false, liveness, congestion }
    }

    /// Who comes later is refused; who is queued, and whose handshake has begun, is accepted as ever; a second listener at
    /// the address has those that come to it and no other.
    #[test]
    fn a_listener_that_takes_nobody_new_loses_nobody_who_came() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let options = options(SECOND, CongestionControl::default());
            let listener = Listener::open(address.parse().unwrap(), &options).unwrap();
            let at = listener.address().unwrap();
            let queued = TcpStream::connect(at).unwrap();
            listener.defer_accept();
            let mut late = TcpStream::connect(at).unwrap();
            assert_eq!(listener.waiting(), 1, "the handshake of one of them lasts");
            listener.refuse_new().unwrap();
            late.write_all(b"late").unwrap();
            let refused = TcpStream::connect(at).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{address}");
            let second = Listener::open(at, &options).unwrap();
            let newcomer = TcpStream::connect(at).unwrap();
            SockRef::from(&listener).set_nonblocking(false).unwrap();
            for client in [queued, late] {
                let (accepted, peer) = listener.accept().unwrap();
                assert_eq!(peer, client.local_addr().ok(), "{address}");
                assert_eq!(SockRef::from(&accepted).device().unwrap(), None, "{address}");
            }
            assert_eq!(second.accept().unwrap().1, newcomer.local_addr().ok());
            assert_eq!((second.accept().unwrap_err(), listener.waiting()), (Errno::EAGAIN, 0));
        }
    }

    /// How long it stood counts from the end of its handshake, whatever its client has said since.
    #[test]
    fn a_connection_tells_how_long_it_stood_and_whether_its_client_has_left() {
        let options = options(SECOND, CongestionControl::default());
        let listener = Listener::open("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        SockRef::from(&listener).set_nonblocking(false).unwrap();
        let stood = Duration::from_millis(120);
        let mut clients = [(); 4].map(|()| TcpStream::connect(listener.address().unwrap()).unwrap());
        std::thread::sleep(stood);
        clients[1].write_all(b"late").unwrap();
        let [_silent, _spoke, left, reset] = clients;
        drop(left);
        SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
        drop(reset);
        for left in [false, false, true, true] {
            let queued = listener.accept().unwrap().0.queued().unwrap();
            assert!((stood..SECOND * 5).contains(&queued.stood), "{queued:?}");
            assert_eq!(queued.left, left, "{queued:?}");
        }
    }

    /// Who stands in a queue stays there when it has fewer places than that.
    #[test]
    fn a_queue_with_fewer_places_keeps_who_stands_in_it() {
        let options = options(SECOND, CongestionControl::default());
        let listener = Listener::open("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        let at = listener.address().unwrap();
        let _clients = [(); 6].map(|()| TcpStream::connect(at).unwrap());
        listener.set_backlog(2).unwrap();
        assert_eq!(listener.waiting(), 6);
        let late = TcpStream::connect_timeout(&at, Duration::from_millis(200)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        listener.set_backlog(8).unwrap();
        let _in_time = TcpStream::connect(at).unwrap();
        assert_eq!(listener.waiting(), 7);
    }

    /// What a listener is given later is what sockets have that it accepts from then on.
    #[test]
    fn a_listener_may_be_given_what_others_were_opened_with() {
        let second = SECOND;
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::open(address, &options(second, CongestionControl::default())).unwrap();
        let reno = CongestionControl::everywhere("reno").unwrap();
        for (seconds, congestion) in [(7, reno), (9, CongestionControl::default())] {
            let unacked = Duration::from_secs(seconds);
            listener.adjust(address, &options(unacked, congestion));
            let _client = TcpStream::connect(listener.address().unwrap()).unwrap();
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
