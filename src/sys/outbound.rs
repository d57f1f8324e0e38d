//! What sockets towards targets are given beside their address: ports, an interface, a mark, a class of service, another
//! network namespace. Each costs a call for each socket, and what is not wanted costs none.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockRef, Socket, Type};

use super::{Errno, errno_of};
use crate::outbound::{FreeBind, NetworkNamespace, OutboundOptions};

/// IP_LOCAL_PORT_RANGE of linux/in.h (Linux 6.3), for which libc has no name.
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

/// The two bits below the DSCP, which are the congestion notification's (RFC 3168 section 5).
const ECN_BITS: u32 = 2;

/// Sets on a socket that is not bound yet whatever is wanted.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN for a mark; ENODEV where there is no such interface; ENOPROTOOPT for ports before Linux 6.3.
pub fn apply(options: &OutboundOptions, socket: &impl AsFd, domain: Domain) -> Result<(), Errno> {
    let socket = SockRef::from(socket);
    let set = || {
        let FreeBind { v4, v6 } = options.freebind;
        // A socket of IPv6 may leave from a mapped address.
        if v4 || (v6 && domain == Domain::IPV6) {
            // It holds for both families.
            socket.set_freebind_v4(true)?;
        }
        if let Some(interface) = &options.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        if let Some(mark) = options.mark {
            socket.set_mark(mark)?;
        }
        if let Some(dscp) = options.dscp {
            let class = u32::from(dscp) << ECN_BITS;
            // Of a connection the kernel keeps the bits of the congestion notification.
            match domain == Domain::IPV6 {
                true => socket.set_tclass_v6(class)?,
                false => socket.set_tos_v4(class)?,
            }
        }
        if let Some(ports) = &options.ports {
            set_port_range(&socket, ports)?;
        }
        Ok(())
    };
    set().map_err(|error: io::Error| errno_of(&error))
}

/// Runs what opens a socket where sockets are to be opened.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN there or here; what `open` says.
pub fn within<T>(options: &OutboundOptions, open: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    match &options.netns {
        Some(netns) => inside(netns, open),
        None => open(),
    }
}

/// Whether this kernel chooses a socket's port among those that the socket says (Linux 6.3). Without a descriptor to ask with
/// it is taken to.
pub fn has_port_ranges() -> bool {
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, None) else { return true };
    let asked = set_port_range(&SockRef::from(&socket), &(1024..=u16::MAX));
    asked.map_err(|error| errno_of(&error)) != Err(Errno::ENOPROTOOPT)
}

/// Has the kernel choose this socket's port among these.
fn set_port_range(socket: &SockRef<'_>, ports: &RangeInclusive<u16>) -> io::Result<()> {
    let range = u32::from(*ports.end()) << 16 | u32::from(*ports.start());
    // SAFETY: range is valid for reads of as many bytes as its type has, for the whole call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            IP_LOCAL_PORT_RANGE,
            (&raw const range).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has a socket leave from `source`, which is mapped where the socket is of IPv6. A connection's port is chosen with its
/// connect: each target has all of them.
///
/// # Errors
/// What bind(2) refused: EADDRNOTAVAIL where no interface has the address, EADDRINUSE where a port is asked for or none is
/// left for all targets.
pub fn leave_from(socket: &impl AsFd, source: SocketAddr, domain: Domain) -> Result<(), Errno> {
    let ip = match source.ip() {
        IpAddr::V4(v4) if domain == Domain::IPV6 => v4.to_ipv6_mapped().into(),
        ip => ip,
    };
    if source.port() == 0 {
        // Where it is refused the port is one of those that all targets share. It means nothing to datagrams.
        let _ = setsockopt(&socket.as_fd(), sockopt::IpBindAddressNoPort, &true);
    }
    SockRef::from(socket).bind(&SocketAddr::new(ip, source.port()).into()).map_err(|e| errno_of(&e))
}

/// The network namespace whose file this is, such as `/run/netns/NAME`. It lasts as long as this value, whatever becomes of the file.
///
/// # Errors
/// What open(2) refused; EINVAL where the file is none of a network namespace, EPERM where it may not be entered.
pub fn open_namespace(path: &Path) -> io::Result<NetworkNamespace> {
    let there = File::open(path)?;
    let metadata = there.metadata()?;
    let home = File::open("/proc/thread-self/ns/net")?;
    let id = (metadata.dev(), metadata.ino());
    let netns = NetworkNamespace { there: there.into(), home: home.into(), id };
    inside(&netns, || Ok(())).map_err(io::Error::from)?;
    Ok(netns)
}

/// Runs this with the calling thread in the namespace. What a socket is opened in it stays in.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN there or here; what `act` says.
pub fn inside<T>(netns: &NetworkNamespace, act: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    setns(&netns.there, CloneFlags::CLONE_NEWNET)?;
    let back = Back(&netns.home);
    let outcome = act();
    drop(back);
    outcome
}

/// Takes the thread back as it is dropped, even by a panic.
struct Back<'a>(&'a OwnedFd);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if setns(self.0, CloneFlags::CLONE_NEWNET).is_err() {
            // Whatever this thread opened from now on would be in a network that nobody meant.
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::sync::Arc;

    fn opened(options: &OutboundOptions, domain: Domain, kind: Type) -> Socket {
        let socket = Socket::new(domain, kind, None).unwrap();
        apply(options, &socket, domain).unwrap();
        socket
    }

    /// In both families, of a connection as of datagrams.
    #[test]
    fn ports_and_class_are_those_that_are_wanted() {
        let options =
            OutboundOptions { ports: Some(40_000..=40_003), dscp: Some(46), ..OutboundOptions::default() };
        for (domain, at) in [(Domain::IPV4, "127.0.0.7:0"), (Domain::IPV6, "[::1]:0")] {
            for kind in [Type::STREAM, Type::DGRAM] {
                let socket = opened(&options, domain, kind);
                let class = match domain == Domain::IPV6 {
                    true => socket.tclass_v6().unwrap(),
                    false => socket.tos_v4().unwrap(),
                };
                assert_eq!(class, 46 << 2, "{domain:?} {kind:?}");
                socket.bind(&at.parse::<SocketAddr>().unwrap().into()).unwrap();
                let port = socket.local_addr().unwrap().as_socket().unwrap().port();
                assert!((40_000..=40_003).contains(&port), "{domain:?} {kind:?}: {port}");
            }
        }
    }

    /// Each target has all ports of a source; none left is said by connect and not by bind. A port on which
    /// another program happens to listen is not among them, so the slice is the first that nobody has a part of.
    #[test]
    fn a_slice_is_used_up_for_one_target_alone() {
        let targets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let used_up = |first: u16| {
            let options = OutboundOptions { ports: Some(first..=first + 1), ..OutboundOptions::default() };
            let mut kept = Vec::new();
            let mut connect = |target: &TcpListener| {
                let socket = opened(&options, Domain::IPV4, Type::STREAM);
                leave_from(&socket, "127.0.0.8:0".parse().unwrap(), Domain::IPV4).unwrap();
                let connected = socket.connect(&target.local_addr().unwrap().into());
                kept.push(socket);
                connected.map_err(|error| errno_of(&error))
            };
            targets.each_ref().map(|target| [(); 3].map(|()| connect(target)))
        };
        let outcomes: Vec<_> = (40_010..40_030).step_by(2).map(used_up).collect();
        assert!(outcomes.contains(&[[Ok(()), Ok(()), Err(Errno::EADDRNOTAVAIL)]; 2]), "{outcomes:?}");
    }

    #[test]
    fn a_source_that_no_interface_has_takes_freebind() {
        let source = "192.0.2.1:0".parse().unwrap();
        for (freebind, outcome) in [(false, Err(Errno::EADDRNOTAVAIL)), (true, Ok(()))] {
            let freebind = FreeBind { v4: freebind, v6: false };
            let options = OutboundOptions { freebind, ..OutboundOptions::default() };
            let socket = opened(&options, Domain::IPV4, Type::STREAM);
            assert_eq!(leave_from(&socket, source, Domain::IPV4), outcome);
        }
        let options =
            OutboundOptions { freebind: FreeBind { v4: false, v6: true }, ..OutboundOptions::default() };
        let socket = opened(&options, Domain::IPV6, Type::STREAM);
        assert_eq!(leave_from(&socket, "[2001:db8::1]:0".parse().unwrap(), Domain::IPV6), Ok(()));
        let socket = opened(&options, Domain::IPV4, Type::STREAM);
        assert_eq!(leave_from(&socket, source, Domain::IPV4), Err(Errno::EADDRNOTAVAIL));
    }

    #[test]
    fn a_socket_of_an_interface_knows_it() {
        let by = |name: &str| OutboundOptions { interface: Some(name.into()), ..OutboundOptions::default() };
        let socket = opened(&by("lo"), Domain::IPV4, Type::STREAM);
        assert_eq!(socket.device().unwrap().unwrap(), b"lo");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(apply(&by("none-such"), &socket, Domain::IPV4), Err(Errno::ENODEV));
    }

    /// An IPv4 source of an IPv6 socket is a mapped one.
    #[test]
    fn a_mapped_target_is_reached_from_an_ipv4_source() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("[::ffff:127.0.0.1]:{}", listener.local_addr().unwrap().port());
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        leave_from(&socket, "127.0.0.9:0".parse().unwrap(), Domain::IPV6).unwrap();
        socket.connect(&target.parse::<SocketAddr>().unwrap().into()).unwrap();
        let stream = TcpStream::from(socket);
        assert_eq!(listener.accept().unwrap().1.ip(), IpAddr::from([127, 0, 0, 9]));
        drop(stream);
    }

    /// It takes CAP_SYS_ADMIN; where that is missing it is refused at once, and not at the first session.
    #[test]
    fn a_namespace_is_left_as_it_is_entered() {
        let own = Path::new("/proc/self/ns/net");
        let is_here = || File::open("/proc/thread-self/ns/net").unwrap().metadata().unwrap().ino();
        let here = is_here();
        match open_namespace(own) {
            Ok(netns) => {
                let netns = Some(Arc::new(netns));
                let options = OutboundOptions { netns, ..OutboundOptions::default() };
                assert_eq!(within(&options, || Err::<(), _>(Errno::EBADF)), Err(Errno::EBADF));
                let opened = within(&options, || UdpSocket::bind("127.0.0.1:0").map_err(|e| errno_of(&e)));
                assert!(opened.is_ok());
                assert_eq!(is_here(), here);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
        let none = open_namespace(Path::new("/dev/null")).unwrap_err();
        assert_eq!(none.raw_os_error(), Some(libc::EINVAL), "a file of something else");
    }
}
