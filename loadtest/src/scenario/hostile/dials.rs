//! Names with many addresses at which nobody answers a SYN: each makes the server dial for as long as it may.
//!
//! The addresses are on loopback: listeners whose queue of accepted connections is full, for the kernel drops what
//! comes to them (tcp_conn_request()).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use super::armed::{Armed, Who};
use super::attack::{AttackScript, Attempt};
use super::nameserver::{Answer, evil};
use super::plan::HostilePlan;
use super::wire::{CONNECT, METHOD_AND_REPLY, session};
use crate::fault::Fault;

/// The first of the silent addresses.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 1);
/// Connections that fill a queue for one, and some that wait before it.
const FILLING: usize = 3;
/// Ports that are tried until one is free at every address.
const PORTS_TRIED: usize = 20;

struct Dials {
    hole: SocketAddr,
}

/// One port at some addresses where connections stay in SYN_SENT.
struct Holes {
    addresses: Vec<Ipv4Addr>,
    at: SocketAddr,
    _sockets: Vec<Socket>,
}

pub(crate) fn arm(plan: &HostilePlan) -> Result<Armed, Fault> {
    let holes = Holes::dig(plan.force.addresses)?;
    let armed = Armed::new(Dials { hole: holes.at }, Who::Anybody);
    Ok(Armed { names: Some(Answer::Addresses(holes.addresses.clone())), kept: Box::new(holes), ..armed })
}

impl AttackScript for Dials {
    fn attempt(&mut self, number: u64) -> Attempt {
        let opening = session(CONNECT, self.hole, Some(&evil(number)));
        Attempt { opening, answer: Some(METHOD_AND_REPLY), ..Attempt::default() }
    }
}

impl Holes {
    fn dig(count: u8) -> Result<Self, Fault> {
        let all = (0..u32::from(count)).map(|number| Ipv4Addr::from(u32::from(FIRST) + number));
        let addresses: Vec<Ipv4Addr> = all.collect();
        for _ in 0..PORTS_TRIED {
            match Self::at(&addresses) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(Fault::Local(error)),
                Ok((at, sockets)) => return Ok(Self { addresses, at, _sockets: sockets }),
            }
        }
        Err(Fault::Unarmed("no port is free at every silent address".to_owned()))
    }

    /// At the first free port of the first address.
    fn at(addresses: &[Ipv4Addr]) -> io::Result<(SocketAddr, Vec<Socket>)> {
        let (mut sockets, mut port) = (Vec::new(), 0);
        for address in addresses {
            let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            listener.bind(&SocketAddr::from((*address, port)).into())?;
            listener.listen(0)?;
            let at = listener.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            port = at.port();
            sockets.push(listener);
            for _ in 0..FILLING {
                let filling = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
                match filling.connect(&at.into()) {
                    Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
                    _ => sockets.push(filling),
                }
            }
        }
        Ok((SocketAddr::from((addresses[0], port)), sockets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::time::Duration;

    #[test]
    fn nobody_answers_at_a_silent_address() {
        let holes = Holes::dig(3).expect("three of them");
        assert_eq!(holes.addresses.len(), 3);
        for address in &holes.addresses {
            let at = SocketAddr::from((*address, holes.at.port()));
            let error = TcpStream::connect_timeout(&at, Duration::from_millis(300)).expect_err("silence");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{at}: {error}");
        }
    }
}
