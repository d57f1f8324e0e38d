//! From which of the client's addresses a connection is made.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;

/// The client addresses of a run, taken in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources {
    pub(crate) first: Ipv4Addr,
    /// 0 leaves the choice to the kernel.
    pub(crate) count: u32,
    /// From one to the next: 256 gives each a /24 of its own.
    pub(crate) stride: u32,
}

impl Sources {
    /// 127.1.0.1 and those that follow it.
    pub(crate) fn in_a_row(count: u32) -> Self {
        Self { first: Ipv4Addr::new(127, 1, 0, 1), count, stride: 1 }
    }

    pub(super) fn nth(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first) + number % self.count * self.stride)
    }
}

/// Connects from an address of 127.0.0.0/8; the kernel chooses the port when it knows the other end.
pub(super) fn dial_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};

    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM.nonblocking(), None)?;
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_taken_in_turn() {
        let addresses = |sources: Sources| [0, 1, 2, 3].map(|number| sources.nth(number).to_string());
        let in_a_row = Sources::in_a_row(3);
        assert_eq!(addresses(in_a_row), ["127.1.0.1", "127.1.0.2", "127.1.0.3", "127.1.0.1"]);
        let apart = Sources { stride: 256, ..in_a_row };
        assert_eq!(addresses(apart), ["127.1.0.1", "127.1.1.1", "127.1.2.1", "127.1.0.1"]);
    }
}
