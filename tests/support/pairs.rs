//! Both ends of relayed connections in the hands of one test.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::client::connect_ip;
use super::keyed::{End, Keyed};
use super::relay::{Builder, Engine, Relay};
use super::wait::{self, PATIENCE};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;

/// Which way bytes go through the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the target.
    Up,
    /// From the target to the client.
    Down,
}

pub(crate) const WAYS: [Way; 2] = [Way::Up, Way::Down];

/// What an end's socket is like before it connects or listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As the system makes it.
    Plain,
    /// The segments of a real network and a small receive buffer (the smallest of all would wait for the
    /// kernel's timers at every segment): little is in flight to such an end,
    /// so when it does not read, bytes are soon pending in the relay itself.
    Narrow,
}

impl Shape {
    fn socket(self) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if self == Shape::Narrow {
            socket.set_tcp_mss(1448).expect("TCP_MAXSEG");
            socket.set_recv_buffer_size(16 * 1024).expect("SO_RCVBUF");
        }
        socket
    }
}

/// A listener on 127.0.0.1 whose connections the test accepts itself.
pub(crate) struct Listener {
    listener: TcpListener,
}

impl Listener {
    pub(crate) fn new(shape: Shape) -> Self {
        Self::with_backlog(shape, 4096)
    }

    /// `backlog` + 1 connections wait to be accepted; the SYN of the next is dropped.
    pub(crate) fn with_backlog(shape: Shape, backlog: i32) -> Self {
        let socket = shape.socket();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
        socket.listen(backlog).expect("listen");
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true).expect("non-blocking");
        Self { listener }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("address of the listener")
    }

    pub(crate) fn accept(&self) -> TcpStream {
        let (stream, _) = wait::until("a connection at the target", PATIENCE, || self.listener.accept().ok());
        stream.set_nonblocking(false).expect("blocking");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        bounded(stream)
    }
}

/// Both ends of one relayed connection.
pub(crate) struct Pair {
    pub(crate) client: TcpStream,
    pub(crate) target: TcpStream,
}

impl Pair {
    /// Opens a session through the server at `server` to `target`.
    pub(crate) fn open(server: SocketAddr, target: &Listener, shape: Shape) -> Self {
        let client = connect(server, shape);
        let mut control = &client;
        control.write_all(&[5, 1, 0]).expect("send the greeting");
        expect_method(&client);
        control.write_all(&connect_ip(target.addr())).expect("send the request");
        let bound = expect_success(&client);
        let target = target.accept();
        assert_eq!(target.peer_addr().expect("peer"), bound, "BND is the upstream's own address");
        Self { client, target }
    }

    /// The end that sends and the end that receives.
    pub(crate) fn ends(&self, way: Way) -> (&TcpStream, &TcpStream) {
        match way {
            Way::Up => (&self.client, &self.target),
            Way::Down => (&self.target, &self.client),
        }
    }

    /// `ends`, each to be closed by itself.
    pub(crate) fn into_ends(self, way: Way) -> (TcpStream, TcpStream) {
        match way {
            Way::Up => (self.client, self.target),
            Way::Down => (self.target, self.client),
        }
    }

    /// The name of the session in its access record.
    pub(crate) fn name(&self) -> SocketAddr {
        local(&self.client)
    }

    /// Sends `len` bytes of a keyed stream each way, one after the other: the session works.
    pub(crate) fn exchange(&self, key: u64, len: u64) {
        for way in WAYS {
            let (from, to) = self.ends(way);
            transfer(from, to, key, len);
        }
    }

    /// Ends the session cleanly from both ends, client first.
    pub(crate) fn finish(self) {
        finish(&self.client);
        assert_eq!(Keyed::new(0).receive_to_end(&self.target), End::Fin);
        finish(&self.target);
        assert_eq!(Keyed::new(0).receive_to_end(&self.client), End::Fin);
    }
}

/// A server, and a listener for the far ends of its sessions.
pub(crate) struct Stand {
    pub(crate) relay: Relay,
    pub(crate) target: Listener,
    shape: Shape,
}

impl Stand {
    pub(crate) fn new(engine: Engine) -> Self {
        Self::over(Relay::builder().engine(engine))
    }

    pub(crate) fn over(builder: Builder) -> Self {
        Self { relay: builder.start(), target: Listener::new(Shape::Plain), shape: Shape::Plain }
    }

    /// Both ends of its sessions are narrow.
    pub(crate) fn narrow(builder: Builder) -> Self {
        Self { relay: builder.start(), target: Listener::new(Shape::Narrow), shape: Shape::Narrow }
    }

    pub(crate) fn open(&self) -> Pair {
        Pair::open(self.relay.addr(), &self.target, self.shape)
    }

    /// Waits for the record of the session that `client` named.
    pub(crate) fn record(&self, client: SocketAddr) -> Record {
        wait::until("the session's access record", PATIENCE, || {
            self.records_now().into_iter().find(|record| record.client == client)
        })
    }

    /// Waits for `n` records and insists that there are no more.
    pub(crate) fn records(&self, n: usize) -> Vec<Record> {
        self.relay.records(n).iter().map(Record::parse).collect()
    }

    fn records_now(&self) -> Vec<Record> {
        self.relay.records_now().iter().map(Record::parse).collect()
    }

    /// How many pipes the server holds (each is two descriptors).
    pub(crate) fn pipes(&self) -> usize {
        self.links().iter().filter(|link| link.starts_with("pipe:")).count() / 2
    }

    /// How many sockets the server holds.
    pub(crate) fn sockets(&self) -> usize {
        self.links().iter().filter(|link| link.starts_with("socket:")).count()
    }

    fn links(&self) -> Vec<String> {
        let directory = format!("/proc/{}/fd", self.relay.pid());
        let descriptors = std::fs::read_dir(directory).expect("list the descriptors");
        descriptors
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .map(|link| link.to_string_lossy().into_owned())
            .collect()
    }
}

/// What an access record says of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) client: SocketAddr,
    pub(crate) reason: String,
    pub(crate) up: u64,
    pub(crate) down: u64,
}

impl Record {
    fn parse(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"));
        let number = |key: &str| value[key].as_u64().unwrap_or_else(|| panic!("{key} of {value}"));
        Self {
            client: text("client").parse().unwrap_or_else(|error| panic!("{error}: client of {value}")),
            reason: text("reason").to_owned(),
            up: number("bytes_up"),
            down: number("bytes_down"),
        }
    }
}

/// A client's connection to the server, nothing said yet.
pub(crate) fn connect(server: SocketAddr, shape: Shape) -> TcpStream {
    let socket = shape.socket();
    socket.connect_timeout(&server.into(), PATIENCE).expect("connect to the server");
    let client = bounded(socket.into());
    client.set_nodelay(true).expect("TCP_NODELAY");
    client
}

/// Reads the choice of method none (RFC 1928 section 3).
pub(crate) fn expect_method(mut client: &TcpStream) {
    let mut chosen = [0; 2];
    client.read_exact(&mut chosen).expect("read the method");
    assert_eq!(chosen, [5, 0], "method none is chosen");
}

/// Reads a reply (RFC 1928 section 6), which must be success over IPv4, and gives its BND address.
pub(crate) fn expect_success(mut client: &TcpStream) -> SocketAddr {
    let mut reply = [0; 10];
    client.read_exact(&mut reply).expect("read the reply");
    assert_eq!(reply[..4], [5, 0, 0, 1], "the reply is success with an IPv4 address");
    let [_, _, _, _, a, b, c, d, high, low] = reply;
    SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))
}

/// Sends `len` bytes of a keyed stream at one end while the other receives them.
pub(crate) fn transfer(from: &TcpStream, to: &TcpStream, key: u64, len: u64) {
    std::thread::scope(|scope| {
        if len <= 16 * KIB {
            Keyed::new(key).send(from, len);
        } else {
            scope.spawn(|| Keyed::new(key).send(from, len));
        }
        Keyed::new(key).receive(to, len);
    });
}

/// Sends the FIN of one end.
pub(crate) fn finish(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("shut down writing");
}

/// The address of our own end of a connection.
pub(crate) fn local(stream: &TcpStream) -> SocketAddr {
    stream.local_addr().expect("local address")
}

/// Gives every read and write of a stream a limit.
fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("write timeout");
    stream
}

/// Runs a case that waits more than it works over both engines and in both directions at once.
pub(crate) fn everywhere(case: impl Fn(Engine, Way) + Sync) {
    std::thread::scope(|scope| {
        for engine in [Engine::Copy, Engine::Splice] {
            for way in WAYS {
                let case = &case;
                let name = format!("{} {way:?}", engine.name());
                let thread = std::thread::Builder::new().name(name);
                thread.spawn_scoped(scope, move || case(engine, way)).expect("start a thread");
            }
        }
    });
}

/// True when one of three attempts is: a busy machine may spoil one, a fault spoils all.
pub(crate) fn one_of_three(mut attempt: impl FnMut() -> bool) -> bool {
    (0..3).any(|_| attempt())
}

/// Makes the tests `copy_up`, `copy_down`, `splice_up`, `splice_down` of each function named: a case over
/// both engines and in both directions. `ways!(auto: case)` adds `auto_up` and `auto_down`.
macro_rules! ways {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            ways!(@tests $name copy_up Copy Up, copy_down Copy Down);
            ways!(@tests $name splice_up Splice Up, splice_down Splice Down);
        }
    )+};
    (auto: $($name:ident),+ $(,)?) => {$(
        mod $name {
            ways!(@tests $name copy_up Copy Up, copy_down Copy Down);
            ways!(@tests $name splice_up Splice Up, splice_down Splice Down);
            ways!(@tests $name auto_up Auto Up, auto_down Auto Down);
        }
    )+};
    (@tests $case:ident $($test:ident $engine:ident $way:ident),+) => {$(
        #[test]
        fn $test() {
            super::$case($crate::support::Engine::$engine, $crate::support::pairs::Way::$way);
        }
    )+};
}
