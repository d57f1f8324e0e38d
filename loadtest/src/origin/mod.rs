//! The targets of every scenario in one process, each on a port of its own: `echo` returns what it gets,
//! `sink` drops it, `source` sends until its peer closes, `duplex` does both at once, `page` answers
//! requests, `http` does so over connections that are kept, `keyed` follows a script and checks every byte, and `udp` returns
//! datagrams. Sources send from a memory file without copying, sinks never
//! copy, datagrams move by the batch: the origin must cost less than the server under test.

mod http;
mod keyed;
mod turn;
mod udp;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;

use crate::payload::Pattern;
use crate::scenario::request::{FLIGHT_BYTES, is_whole_hello};
use crate::sys;
use turn::{BUDGET_BYTES, Fate};
use udp::UdpEcho;

/// As much as the kernel allows (net.core.somaxconn cuts it).
const BACKLOG: i32 = 4096;
const EVENTS_PER_TURN: usize = 1024;
/// The memory file that sources send, and the largest piece of one call.
const SUPPLY_BYTES: usize = 1 << 20;
const SCRATCH_BYTES: usize = 64 << 10;
/// A request that is longer is answered as it stands.
const LONGEST_REQUEST: usize = 4096;
/// The token of the UDP echo; no slot reaches it.
const UDP: Token = Token(usize::MAX);

/// How sources get their bytes into the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Supply {
    /// sendfile from a memory file: no copy, pages of 4 KiB, as network cards deliver them.
    Sendfile,
    /// send from a large buffer: one copy, in fragments of the kernel's choice (up to 32 KiB).
    Buffer,
}

/// Where the origin listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Address(IpAddr),
    /// Every address of 127.0.0.0/8, so that each run of a comparison can have a target of its own: a relay
    /// leaves tens of thousands of its ports in TIME_WAIT towards one, and then pays for the search. UDP
    /// answers from 127.0.0.1 whatever it was sent to, and so listens there alone.
    WholeLoopback {
        /// And every address of IPv6 that is this machine's, over the loopback interface.
        both_families: bool,
    },
}

impl Place {
    /// The address that stands for the place.
    fn ip(self) -> IpAddr {
        match self {
            Self::Address(address) => address,
            Self::WholeLoopback { .. } => Ipv4Addr::LOCALHOST.into(),
        }
    }
}

/// What a port does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Echo,
    Sink,
    Source,
    Duplex,
    Page,
    Http,
    Keyed,
}

impl Service {
    const ALL: [Self; 7] =
        [Self::Echo, Self::Sink, Self::Source, Self::Duplex, Self::Page, Self::Http, Self::Keyed];

    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Sink => "sink",
            Self::Source => "source",
            Self::Duplex => "duplex",
            Self::Page => "page",
            Self::Http => "http",
            Self::Keyed => "keyed",
        }
    }
}

/// The name of the datagram echo; the others are TCP.
pub(crate) const UDP_SERVICE: &str = "udp";

/// The names of all services, as in the ready line.
pub(crate) fn services() -> impl Iterator<Item = &'static str> {
    Service::ALL.into_iter().map(Service::name).chain([UDP_SERVICE])
}

/// One accepted connection.
struct Peer {
    stream: TcpStream,
    service: Service,
    /// Echo: read, not yet written. Page: the request so far.
    held: Vec<u8>,
    /// Page: how much of the answer was sent, and how long it is once the request is complete.
    sent: usize,
    answer: Option<usize>,
    http: Option<Box<http::HttpPeer>>,
    keyed: Option<Box<keyed::Session>>,
}

/// What all connections share.
struct Stock {
    supply: Supply,
    file: File,
    pattern: Pattern,
    scratch: Vec<u8>,
    page_bytes: usize,
    ledger: keyed::Ledger,
}

/// The origin's loop.
pub(crate) struct Origin {
    /// The address that the ready line names.
    ip: IpAddr,
    poll: Poll,
    listeners: Vec<(TcpListener, Service)>,
    udp: UdpEcho,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    again: Vec<usize>,
    stock: Stock,
}

impl Origin {
    /// Listens on free ports of `place`.
    pub(crate) fn bind(place: Place, supply: Supply, page_bytes: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listeners = Vec::new();
        for service in Service::ALL {
            let mut listener = listen(place)?;
            poll.registry().register(&mut listener, Token(listeners.len()), Interest::READABLE)?;
            listeners.push((listener, service));
        }
        let mut udp = UdpEcho::bind(place.ip())?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut udp.socket, UDP, both)?;
        let pattern = Pattern::new(SUPPLY_BYTES);
        let mut file = File::from(memfd_create(c"outflow-load-supply", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(pattern.at(0, SUPPLY_BYTES))?;
        let stock = Stock {
            supply,
            file,
            pattern,
            scratch: vec![0; SCRATCH_BYTES],
            page_bytes,
            ledger: keyed::Ledger::default(),
        };
        let ip = place.ip();
        Ok(Self { ip, poll, listeners, udp, peers: Vec::new(), free: Vec::new(), again: Vec::new(), stock })
    }

    /// `echo=ADDR sink=ADDR ...` for the ready line.
    pub(crate) fn addresses(&self) -> io::Result<String> {
        let named = |(listener, service): &(TcpListener, Service)| {
            let port = listener.local_addr()?.port();
            Ok(format!("{}={}", service.name(), SocketAddr::new(self.ip, port)))
        };
        let mut names = self.listeners.iter().map(named).collect::<io::Result<Vec<_>>>()?;
        names.push(format!("{UDP_SERVICE}={}", self.udp.socket.local_addr()?));
        Ok(names.join(" "))
    }

    /// Serves until the process is ended.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut datagrams = Fate::Keep;
        loop {
            let busy = !self.again.is_empty() || datagrams == Fate::Again;
            let timeout = busy.then_some(std::time::Duration::ZERO);
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if event.token() == UDP {
                    datagrams = Fate::Again;
                    continue;
                }
                match event.token().0.checked_sub(self.listeners.len()) {
                    None => self.accept(event.token().0)?,
                    Some(slot) => self.serve(slot, ended(event)),
                }
            }
            for slot in std::mem::take(&mut self.again) {
                self.serve(slot, true);
            }
            if datagrams == Fate::Again {
                datagrams = self.udp.step()?;
            }
        }
    }

    fn accept(&mut self, listener: usize) -> io::Result<()> {
        loop {
            let (listener, service) = &self.listeners[listener];
            let (mut stream, _) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let service = *service;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            let token = Token(self.listeners.len() + slot);
            let interest = match service {
                Service::Sink => Interest::READABLE,
                _ => Interest::READABLE | Interest::WRITABLE,
            };
            self.poll.registry().register(&mut stream, token, interest)?;
            let keyed = (service == Service::Keyed).then(Box::default);
            let http = (service == Service::Http).then(Box::default);
            let peer = Peer { stream, service, held: Vec::new(), sent: 0, answer: None, http, keyed };
            self.peers[slot] = Some(peer);
        }
    }

    /// `ended`: the peer's FIN or RST may be behind a short read.
    fn serve(&mut self, slot: usize, ended: bool) {
        let Some(peer) = self.peers[slot].as_mut() else { return };
        match peer.step(&mut self.stock, ended) {
            Ok(Fate::Keep) => {}
            Ok(Fate::Again) => self.again.push(slot),
            // A client that resets is the server's matter under test, not the origin's.
            Ok(Fate::Close) | Err(_) => {
                self.peers[slot] = None;
                self.free.push(slot);
            }
        }
    }
}

fn listen(place: Place) -> io::Result<TcpListener> {
    let address = match place {
        Place::Address(address) => address,
        Place::WholeLoopback { both_families: true } => Ipv6Addr::UNSPECIFIED.into(),
        Place::WholeLoopback { both_families: false } => Ipv4Addr::UNSPECIFIED.into(),
    };
    let domain = if address.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it: a delay is then the server's, never Nagle's at our end.
    socket.set_tcp_nodelay(true)?;
    if let Place::WholeLoopback { both_families } = place {
        if both_families {
            socket.set_only_v6(false)?;
        }
        // Before the bind: at no moment is it open to another interface.
        socket.bind_device(Some(b"lo"))?;
    }
    socket.bind(&SocketAddr::new(address, 0).into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn ended(event: &Event) -> bool {
    event.is_read_closed() || event.is_error()
}

impl Peer {
    fn step(&mut self, stock: &mut Stock, ended: bool) -> io::Result<Fate> {
        match self.service {
            Service::Echo => self.echo(stock, ended),
            Service::Sink => self.drop_input(ended),
            Service::Source | Service::Duplex => {
                let input = self.drop_input(ended)?;
                if input == Fate::Close {
                    return Ok(Fate::Close);
                }
                let output = self.pour(stock)?;
                Ok(if input == Fate::Again { Fate::Again } else { output })
            }
            Service::Page => self.page(stock, ended),
            Service::Http => {
                let peer = self.http.get_or_insert_default();
                let page = (&stock.pattern, stock.page_bytes);
                peer.step(&mut self.stream, &mut stock.scratch, page, ended)
            }
            Service::Keyed => {
                let session = self.keyed.get_or_insert_default();
                session.step(&mut self.stream, &mut stock.scratch, &mut stock.ledger)
            }
        }
    }

    fn drop_input(&mut self, ended: bool) -> io::Result<Fate> {
        let mut budget = BUDGET_BYTES;
        while budget > 0 {
            match sys::discard(self.stream.as_fd(), budget) {
                Ok(0) => return Ok(Fate::Close),
                Ok(count) if count < budget && !ended => return Ok(Fate::Keep),
                Ok(count) => budget -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fate::Keep),
                Err(error) => return Err(error),
            }
        }
        Ok(Fate::Again)
    }

    /// Fills the send buffer.
    fn pour(&mut self, stock: &Stock) -> io::Result<Fate> {
        let mut budget = BUDGET_BYTES;
        while budget > 0 {
            let sent = match stock.supply {
                Supply::Sendfile => {
                    sendfile(&self.stream, &stock.file, Some(&mut 0), SUPPLY_BYTES).map_err(io::Error::from)
                }
                Supply::Buffer => self.stream.write(stock.pattern.at(0, SUPPLY_BYTES)),
            };
            match sent {
                Ok(count) => budget = budget.saturating_sub(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fate::Keep),
                Err(error) => return Err(error),
            }
        }
        Ok(Fate::Again)
    }

    fn echo(&mut self, stock: &mut Stock, ended: bool) -> io::Result<Fate> {
        let mut budget = BUDGET_BYTES;
        loop {
            while !self.held.is_empty() {
                match self.stream.write(&self.held) {
                    Ok(count) => drop(self.held.drain(..count)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fate::Keep),
                    Err(error) => return Err(error),
                }
            }
            if budget == 0 {
                return Ok(Fate::Again);
            }
            let count = match self.stream.read(&mut stock.scratch) {
                Ok(0) => return Ok(Fate::Close),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fate::Keep),
                Err(error) => return Err(error),
            };
            budget = budget.saturating_sub(count);
            let sent = match self.stream.write(&stock.scratch[..count]) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.held.extend_from_slice(&stock.scratch[sent..count]);
            if self.held.is_empty() && count < stock.scratch.len() && !ended {
                return Ok(Fate::Keep);
            }
        }
    }

    /// One answer after the other; an answer's request comes when the one before it is out.
    fn page(&mut self, stock: &mut Stock, ended: bool) -> io::Result<Fate> {
        while self.answer.is_none() {
            let count = match self.stream.read(&mut stock.scratch) {
                Ok(0) => return Ok(Fate::Close),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fate::Keep),
                Err(error) => return Err(error),
            };
            self.held.extend_from_slice(&stock.scratch[..count]);
            self.answer = answer_to(&self.held, stock.page_bytes);
            if self.answer.is_none() && count < stock.scratch.len() && !ended {
                return Ok(Fate::Keep);
            }
        }
        let whole = self.answer.unwrap_or_default();
        while self.sent < whole {
            match self.stream.write(stock.pattern.at(self.sent, whole - self.sent)) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fate::Keep),
                Err(error) => return Err(error),
            }
        }
        // The client closes next, or asks again: either is another event, unless this one has told of it.
        self.held.clear();
        (self.sent, self.answer) = (0, None);
        Ok(if ended { Fate::Again } else { Fate::Keep })
    }
}

/// The length of the answer, once `request` is complete: `GET /LENGTH ...` up to its blank line, a TLS
/// record, which gets as much as a server's flight, or the first bytes of anything else, which get
/// `page_bytes`.
fn answer_to(request: &[u8], page_bytes: usize) -> Option<usize> {
    if let Some(whole) = is_whole_hello(request) {
        return whole.then_some(FLIGHT_BYTES);
    }
    let complete =
        !request.starts_with(b"GET ") || request.ends_with(b"\r\n\r\n") || request.len() >= LONGEST_REQUEST;
    if !complete {
        return None;
    }
    let path = request.strip_prefix(b"GET /").unwrap_or_default();
    let digits = path.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let length = std::str::from_utf8(&path[..digits]).ok().and_then(|text| text.parse().ok());
    Some(length.unwrap_or(page_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_how_much_it_wants() {
        assert_eq!(answer_to(b"GET /5000 HTTP/1.0\r\n\r\n", 7), Some(5000));
        assert_eq!(answer_to(b"GET / HTTP/1.0\r\n\r\n", 7), Some(7));
        assert_eq!(answer_to(b"GET /5000 HTTP/1.0\r\nHost:", 7), None);
        assert_eq!(answer_to(b"\x16\x03\x01", 7), None);
        assert_eq!(answer_to(b"\x16\x03\x01\x00\x02ab", 7), Some(FLIGHT_BYTES));
        assert_eq!(answer_to(b"anything", 7), Some(7));
    }
}
