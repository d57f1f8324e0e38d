//! One association: the control connection whose life is its own, and the socket whose datagrams the
//! server relays.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::flight::Flight;
use crate::fault::{Fault, Phase};
use crate::handshake::{Handshake, Messages};
use crate::scope::Scope;
use crate::sys;

/// The first client address of `--sources`; the others follow.
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// Both sockets, non-blocking, and what is under way.
pub(super) struct Association {
    /// `None` where no server is between.
    pub(super) control: Option<mio::net::TcpStream>,
    /// Connected: the kernel keeps other senders away.
    pub(super) socket: mio::net::UdpSocket,
    pub(super) flight: Flight,
    /// The number of its first datagram that counts.
    pub(super) counts_from: u64,
    /// The send buffer took no more: the next event goes on.
    pub(super) blocked: bool,
}

/// What associations are opened with: the server, who asks it, and how long it is waited for.
pub(super) struct AssociationOpener<'a> {
    pub(super) server: SocketAddr,
    pub(super) messages: &'a Messages,
    pub(super) scope: &'a Scope,
    pub(super) sources: u32,
    pub(super) patience: Duration,
}

impl AssociationOpener<'_> {
    /// Number `index` of this run: the handshake, and a socket to the address that the server gives.
    pub(super) fn open(&self, index: u32) -> Result<Association, Fault> {
        let mut control = self.dial(index)?;
        control.set_read_timeout(Some(self.patience)).map_err(Fault::Local)?;
        control.set_nodelay(true).map_err(Fault::Local)?;
        let bound = self.associate(&mut control)?;
        // A server that listens everywhere may say so instead of naming one address.
        let ip = bound.ip().to_canonical();
        let ip = if ip.is_unspecified() { self.server.ip().to_canonical() } else { ip };
        let relay = SocketAddr::new(ip, bound.port());
        self.scope.check(relay).map_err(|why| Fault::Elsewhere(relay, why))?;
        // RFC 1928 section 7: the server may serve only datagrams from where the connection came from.
        let from = control.local_addr().map_err(Fault::Local)?.ip().to_canonical();
        control.set_nonblocking(true).map_err(Fault::Local)?;
        let control = mio::net::TcpStream::from_std(control);
        Association::new(Some(control), from, relay)
    }

    fn dial(&self, index: u32) -> Result<TcpStream, Fault> {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(self.server), socket2::Type::STREAM, None)
                .map_err(Fault::Local)?;
        if self.sources > 0 && self.server.is_ipv4() {
            let source = Ipv4Addr::from(u32::from(FIRST_SOURCE) + index % self.sources);
            socket.bind(&SocketAddr::new(source.into(), 0).into()).map_err(Fault::Local)?;
        }
        socket
            .connect_timeout(&self.server.into(), self.patience)
            .map_err(|error| Fault::socket(Phase::Greeting, error))?;
        Ok(socket.into())
    }

    fn associate(&self, control: &mut TcpStream) -> Result<SocketAddr, Fault> {
        let began = Instant::now();
        let mut handshake = Handshake::new();
        while !handshake.advance(control, self.messages)? {
            if began.elapsed() >= self.patience {
                return Err(Fault::Stalled(self.patience));
            }
        }
        handshake.bound()
    }
}

impl Association {
    /// Straight to `target`, with no server between.
    pub(super) fn direct(target: SocketAddr) -> Result<Self, Fault> {
        Self::new(None, target.ip(), target)
    }

    fn new(control: Option<mio::net::TcpStream>, from: IpAddr, to: SocketAddr) -> Result<Self, Fault> {
        let connected = || -> io::Result<mio::net::UdpSocket> {
            let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
            socket.connect(to)?;
            socket.set_nonblocking(true)?;
            sys::widen(socket.as_fd())?;
            Ok(mio::net::UdpSocket::from_std(socket))
        };
        let socket = connected().map_err(Fault::Local)?;
        Ok(Self { control, socket, flight: Flight::default(), counts_from: 0, blocked: false })
    }

    /// The control connection became readable, which it never should: its end ends the association.
    pub(super) fn check_control(&mut self) -> Result<(), Fault> {
        let Some(control) = &mut self.control else { return Ok(()) };
        match control.read(&mut [0]) {
            Ok(0) => Err(Fault::Closed(Phase::Data)),
            Ok(_) => Err(Fault::Unexpected),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(Fault::socket(Phase::Data, error)),
        }
    }
}
