//! A SOCKS5 client that writes its bytes by hand.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::socket_table;
use super::wait::{self, PATIENCE, uninterrupted};

/// A reply of RFC 1928 section 6, taken apart by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) rep: u8,
    pub(crate) bound: SocketAddr,
}

/// One client connection. Reads never wait longer than `PATIENCE`.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    relay: SocketAddr,
}

impl Client {
    /// Connects to the relay and sends nothing yet.
    pub(crate) fn connect(relay: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&relay, PATIENCE).expect("connect to the relay"))
    }

    /// Connects from an address of the loopback device; port 0 is the kernel's choice.
    pub(crate) fn connect_from(source: SocketAddr, relay: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(relay), Type::STREAM, None).expect("a socket");
        socket.bind(&source.into()).expect("bind the client");
        socket.connect_timeout(&relay.into(), PATIENCE).expect("connect to the relay");
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("write timeout");
        let relay = stream.peer_addr().expect("address of the relay");
        Self { stream, relay }
    }

    /// Connects and agrees on method none.
    pub(crate) fn greeted(relay: SocketAddr) -> Self {
        let mut client = Self::connect(relay);
        client.greet_none();
        client
    }

    /// A session up to the relayed bytes: greeting, CONNECT by address, reply 00.
    pub(crate) fn through(relay: SocketAddr, target: SocketAddr) -> Self {
        let mut client = Self::greeted(relay);
        let reply = client.request_ip(target);
        assert_eq!(reply.rep, 0, "CONNECT {target}: {reply:?}");
        client
    }

    /// Writes all of `bytes`.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send");
    }

    /// Waits until the relay has read all that was sent, so that what follows is a read of its own.
    pub(crate) fn wait_until_read(&self) {
        let (ours, relays) = (self.local(), self.relay);
        wait::until_true("the relay reads what was sent", PATIENCE, || {
            socket_table::between(relays, ours).is_none_or(|e| e.unread == 0)
        });
    }

    /// Waits until the relay's socket of this connection is gone, closed from its side.
    pub(crate) fn wait_until_released(&self, limit: Duration) {
        let (ours, relays) = (self.local(), self.relay);
        wait::until_true("the relay gives up the socket", limit, || {
            socket_table::between(relays, ours).is_none()
        });
    }

    /// Reads exactly `length` bytes within `PATIENCE`.
    pub(crate) fn recv(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        let started = Instant::now();
        while filled < length {
            assert!(started.elapsed() < PATIENCE, "{filled} of {length} bytes in {PATIENCE:?}");
            match uninterrupted(|| self.stream.read(&mut bytes[filled..])) {
                Ok(0) => panic!("EOF after {filled} of {length} bytes: {:02x?}", &bytes[..filled.min(64)]),
                Ok(n) => filled += n,
                Err(e) => panic!("{e} after {filled} of {length} bytes: {:02x?}", &bytes[..filled.min(64)]),
            }
        }
        bytes
    }

    /// Insists that exactly these bytes come next.
    pub(crate) fn expect(&mut self, wanted: &[u8]) {
        let got = self.recv(wanted.len());
        assert!(got == wanted, "expected {:02x?}, got {:02x?}", head(wanted), head(&got));
    }

    /// Reads up to the FIN.
    pub(crate) fn recv_to_eof(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("read to the end");
        bytes
    }

    /// Reads whatever comes up to the end of the connection, be it a FIN or a RST.
    pub(crate) fn drain_to_end(&mut self) {
        match self.stream.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
            Err(e) => panic!("expected the end of the connection, got {e}"),
        }
    }

    /// Insists on a FIN with nothing before it.
    pub(crate) fn expect_eof(&mut self) {
        let rest = self.recv_to_eof();
        assert!(rest.is_empty(), "expected EOF, got {:02x?}", head(&rest));
    }

    /// Insists on a RST with nothing before it.
    pub(crate) fn expect_reset(&mut self) {
        let mut byte = [0];
        match uninterrupted(|| self.stream.read(&mut byte)) {
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("expected a reset, got {other:?} {byte:02x?}"),
        }
    }

    /// Insists that the connection ends, by FIN or by RST, with nothing before it.
    pub(crate) fn expect_closed(&mut self) {
        let mut byte = [0];
        match uninterrupted(|| self.stream.read(&mut byte)) {
            Ok(0) => {}
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("expected the end of the connection, got {other:?} {byte:02x?}"),
        }
    }

    /// Insists that nothing, not even a FIN, comes within `span`.
    pub(crate) fn expect_silence(&mut self, span: Duration) {
        assert!(self.silent_for(span), "expected silence for {span:?}");
    }

    /// Whether neither bytes nor the end of the connection come within `span`; takes nothing away.
    pub(crate) fn silent_for(&mut self, span: Duration) -> bool {
        self.stream.set_read_timeout(Some(span)).expect("read timeout");
        let outcome = uninterrupted(|| self.stream.peek(&mut [0]));
        self.stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        matches!(outcome, Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Writes to a relay that may have closed already.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Greeting with method none alone.
    pub(crate) fn greet_none(&mut self) {
        self.send(&[0x05, 0x01, 0x00]);
        self.expect(&[0x05, 0x00]);
    }

    /// Greeting with method 02 alone, then RFC 1929; gives the status byte.
    pub(crate) fn login(&mut self, user: &[u8], password: &[u8]) -> u8 {
        self.send(&[0x05, 0x01, 0x02]);
        self.expect(&[0x05, 0x02]);
        self.send(&userpass(user, password));
        let status = self.recv(2);
        assert_eq!(status[0], 0x01, "version of the sub-negotiation: {status:02x?}");
        status[1]
    }

    /// CONNECT by address.
    pub(crate) fn request_ip(&mut self, target: SocketAddr) -> Reply {
        self.send(&connect_ip(target));
        self.reply()
    }

    /// CONNECT by address behind the greeting; true when the target is reached.
    pub(crate) fn ask(mut self, target: SocketAddr) -> bool {
        self.request_ip(target).rep == 0
    }

    /// CONNECT by name.
    pub(crate) fn request_name(&mut self, name: &[u8], port: u16) -> Reply {
        self.send(&connect_name(name, port));
        self.reply()
    }

    /// Reads one reply.
    pub(crate) fn reply(&mut self) -> Reply {
        let head = self.recv(4);
        assert_eq!((head[0], head[2]), (0x05, 0x00), "VER and RSV of the reply {head:02x?}");
        let ip = match head[3] {
            0x01 => {
                let octets: [u8; 4] = self.recv(4).try_into().expect("four octets");
                IpAddr::V4(Ipv4Addr::from(octets))
            }
            0x04 => {
                let octets: [u8; 16] = self.recv(16).try_into().expect("sixteen octets");
                IpAddr::V6(Ipv6Addr::from(octets))
            }
            other => panic!("ATYP {other} in the reply {head:02x?}"),
        };
        let port = self.recv(2);
        let port = u16::from_be_bytes([port[0], port[1]]);
        Reply { rep: head[1], bound: SocketAddr::new(ip, port) }
    }

    /// Insists on an error reply: its code, 0.0.0.0:0 as BND, then the FIN.
    pub(crate) fn expect_refusal(&mut self, rep: u8) {
        self.expect(&[0x05, rep, 0x00, 0x01, 0, 0, 0, 0, 0, 0]);
        self.expect_eof();
    }

    /// Sends our FIN.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("shut down writing");
    }

    /// Closes with a RST.
    pub(crate) fn reset(self) {
        reset(self.stream);
    }

    /// The address from which this client connected.
    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("local address")
    }
}

/// Closes a socket with a RST instead of a FIN.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER 0");
    drop(stream);
}

/// The bytes of CONNECT by address.
pub(crate) fn connect_ip(target: SocketAddr) -> Vec<u8> {
    request(0x01, target)
}

/// The bytes of a request with any command, by address.
pub(crate) fn request(command: u8, target: SocketAddr) -> Vec<u8> {
    let mut bytes = vec![0x05, command, 0x00];
    put_address(&mut bytes, target);
    bytes
}

/// ATYP, address and port, as requests and datagrams have them.
pub(crate) fn put_address(bytes: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            bytes.push(0x01);
            bytes.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(0x04);
            bytes.extend(ip.octets());
        }
    }
    bytes.extend(address.port().to_be_bytes());
}

/// The bytes of CONNECT by name; names over 255 bytes cannot be written.
pub(crate) fn connect_name(name: &[u8], port: u16) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a name of at most 255 bytes");
    let mut bytes = vec![0x05, 0x01, 0x00, 0x03, length];
    bytes.extend(name);
    bytes.extend(port.to_be_bytes());
    bytes
}

/// The bytes of RFC 1929 section 2.
pub(crate) fn userpass(user: &[u8], password: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x01, u8::try_from(user.len()).expect("user of at most 255 bytes")];
    bytes.extend(user);
    bytes.push(u8::try_from(password.len()).expect("password of at most 255 bytes"));
    bytes.extend(password);
    bytes
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(64)]
}
