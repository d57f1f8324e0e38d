//! UDP ASSOCIATE from its two ends: a client that writes the headers of RFC 1928 section 7 by hand, and targets.
//!
//! A datagram that must not arrive is not waited for: one more is sent behind it, a fence, and that one must be
//! the next to arrive. Loopback keeps the order of what goes through one socket.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use socket2::SockRef;

use super::client::{Client, Reply, put_address, request};
use super::origin::{V4, V6};
use super::relay::{Builder, Relay};
use super::socket_table;
use super::wait::{self, PATIENCE, uninterrupted};

/// The command UDP ASSOCIATE (RFC 1928 section 4).
const ASSOCIATE: u8 = 0x03;
/// The largest payload of UDP over IPv4: 65,535 less 20 of IPv4 and 8 of UDP.
pub(crate) const V4_MAX: usize = 65_507;
/// The largest payload of UDP over IPv6, whose length leaves out its own header: 65,535 less 8 of UDP.
pub(crate) const V6_MAX: usize = 65_527;
/// How soon an association is gone after its control connection.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(1);
/// Room for what a test lets stand in one of its sockets.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The addresses of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sides {
    pub(crate) client: IpAddr,
    pub(crate) target: IpAddr,
}

impl Sides {
    pub(crate) const V4_TO_V4: Self = Self { client: V4, target: V4 };
    pub(crate) const V4_TO_V6: Self = Self { client: V4, target: V6 };
    pub(crate) const V6_TO_V4: Self = Self { client: V6, target: V4 };
    pub(crate) const V6_TO_V6: Self = Self { client: V6, target: V6 };

    /// The largest payload that both sides can carry, the client's behind its header.
    pub(crate) fn payload_max(self) -> usize {
        let header = if self.target.is_ipv4() { 10 } else { 22 };
        let most = |ip: IpAddr| if ip.is_ipv4() { V4_MAX } else { V6_MAX };
        most(self.target).min(most(self.client) - header)
    }
}

/// DST of a client that does not know from where it will send: all zeros.
pub(crate) fn zeros(like: IpAddr) -> SocketAddr {
    let ip = if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(ip, 0)
}

/// Asks for an association and reads the reply.
pub(crate) fn associate(control: &mut Client, dst: SocketAddr) -> Reply {
    control.send(&request(ASSOCIATE, dst));
    control.reply()
}

// ---- datagrams by hand

/// A datagram for `target`, complete in itself.
pub(crate) fn wrap(target: SocketAddr, payload: &[u8]) -> Vec<u8> {
    fragment(0, target, payload)
}

/// A datagram with this FRAG.
pub(crate) fn fragment(frag: u8, target: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x00, frag];
    put_address(&mut bytes, target);
    bytes.extend(payload);
    bytes
}

/// A datagram for a name.
pub(crate) fn wrap_name(name: &[u8], port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x00, 0x00, 0x03, u8::try_from(name.len()).expect("at most 255 bytes")];
    bytes.extend(name);
    bytes.extend(port.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What a client received, taken apart: from whom it says it is, and the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

/// Takes a datagram of the relay apart; only whole ones from an address are ever sent to a client.
pub(crate) fn unwrap(bytes: &[u8]) -> Datagram {
    let head = &bytes[..bytes.len().min(32)];
    assert!(bytes.len() >= 10, "no header: {head:02x?}");
    assert_eq!(bytes[..3], [0, 0, 0], "RSV and FRAG: {head:02x?}");
    let (ip, at): (IpAddr, usize) = match bytes[3] {
        0x01 => (<[u8; 4]>::try_from(&bytes[4..8]).expect("four octets").into(), 8),
        0x04 => {
            assert!(bytes.len() >= 22, "no header: {head:02x?}");
            (<[u8; 16]>::try_from(&bytes[4..20]).expect("sixteen octets").into(), 20)
        }
        other => panic!("ATYP {other}: {head:02x?}"),
    };
    let port = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    Datagram { from: SocketAddr::new(ip, port), payload: bytes[at + 2..].to_vec() }
}

// ---- sockets

/// A UDP socket of a test: reads wait for `PATIENCE`, and a burst finds room.
pub(crate) fn socket(at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(at).unwrap_or_else(|e| panic!("bind {at}: {e}"));
    socket.set_read_timeout(Some(PATIENCE)).expect("read timeout");
    // As much as the system's limit lets us have.
    SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER).expect("SO_RCVBUF");
    socket
}

/// The next datagram and its source.
pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut room = vec![0; 1 << 16];
    let (length, from) = uninterrupted(|| socket.recv_from(&mut room)).expect("a datagram");
    room.truncate(length);
    (room, from)
}

/// Insists that nothing stands in the socket now.
pub(crate) fn expect_empty(socket: &UdpSocket) {
    socket.set_nonblocking(true).expect("non-blocking");
    match socket.recv_from(&mut [0; 64]) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => {}
        other => panic!("expected no datagram, got {other:?}"),
    }
    socket.set_nonblocking(false).expect("blocking");
}

/// Sends these datagrams as one buffer that the kernel takes apart (UDP_SEGMENT): all of one length but the
/// last, which may be shorter.
pub(crate) fn send_segmented(socket: &UdpSocket, to: SocketAddr, datagrams: &[Vec<u8>]) {
    let size = datagrams[0].len();
    let (last, others) = datagrams.split_last().expect("at least one");
    assert!(others.iter().all(|d| d.len() == size) && last.len() <= size, "not of one length");
    let buffer = datagrams.concat();
    let size = u16::try_from(size).expect("the length of a datagram");
    let address = SockaddrStorage::from(to);
    let sent = sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(&buffer)],
        &[ControlMessage::UdpGsoSegments(&size)],
        MsgFlags::empty(),
        Some(&address),
    );
    assert_eq!(sent.expect("UDP_SEGMENT"), buffer.len());
}

/// A client's association: its control connection and its socket.
#[derive(Debug)]
pub(crate) struct Association {
    pub(crate) control: Client,
    pub(crate) socket: UdpSocket,
    /// Where its datagrams go: BND of the reply.
    pub(crate) door: SocketAddr,
}

impl Association {
    /// Greeting, a request that knows nothing, and a socket at the control connection's address.
    pub(crate) fn open(relay: SocketAddr) -> Self {
        Self::over(Client::greeted(relay), zeros(relay.ip()))
    }

    /// Asks for `dst` over a greeted connection; the socket is at the control connection's address.
    pub(crate) fn over(mut control: Client, dst: SocketAddr) -> Self {
        let reply = associate(&mut control, dst);
        assert_eq!(reply.rep, 0, "UDP ASSOCIATE {dst}: {reply:?}");
        let socket = socket(SocketAddr::new(control.local().ip(), 0));
        Self { control, socket, door: reply.bound }
    }

    /// Our socket's own address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.socket.local_addr().expect("local address")
    }

    /// Sends bytes as they are to the relay.
    pub(crate) fn send_raw(&self, bytes: &[u8]) {
        self.send_raw_from(&self.socket, bytes);
    }

    /// Sends bytes as they are to the relay from another socket.
    pub(crate) fn send_raw_from(&self, socket: &UdpSocket, bytes: &[u8]) {
        let sent = socket.send_to(bytes, self.door);
        assert_eq!(sent.unwrap_or_else(|e| panic!("{} bytes: {e}", bytes.len())), bytes.len());
    }

    pub(crate) fn send(&self, target: SocketAddr, payload: &[u8]) {
        self.send_raw(&wrap(target, payload));
    }

    pub(crate) fn send_name(&self, name: &[u8], port: u16, payload: &[u8]) {
        self.send_raw(&wrap_name(name, port, payload));
    }

    /// The next datagram, which must come from where ours go.
    pub(crate) fn receive(&self) -> Datagram {
        let (bytes, from) = receive(&self.socket);
        assert_eq!(from, self.door, "the source of a reply");
        unwrap(&bytes)
    }

    /// Insists that this is the next datagram.
    pub(crate) fn expect(&self, from: SocketAddr, payload: &[u8]) {
        let got = self.receive();
        assert_eq!(got.from, from, "who answered");
        assert_same(&got.payload, payload);
    }
}

/// A target that the test itself answers for.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) socket: UdpSocket,
}

impl Target {
    pub(crate) fn on(ip: IpAddr) -> Self {
        Self::at(SocketAddr::new(ip, 0))
    }

    pub(crate) fn at(addr: SocketAddr) -> Self {
        let socket = socket(addr);
        Self { addr: socket.local_addr().expect("address of the target"), socket }
    }

    /// The next datagram and its source.
    pub(crate) fn receive(&self) -> (Vec<u8>, SocketAddr) {
        receive(&self.socket)
    }

    /// Insists that this is the next datagram; gives its source.
    pub(crate) fn expect(&self, payload: &[u8]) -> SocketAddr {
        let (got, from) = self.receive();
        assert_same(&got, payload);
        from
    }

    pub(crate) fn send(&self, to: SocketAddr, payload: &[u8]) {
        let sent = self.socket.send_to(payload, to);
        assert_eq!(sent.unwrap_or_else(|e| panic!("{} bytes: {e}", payload.len())), payload.len());
    }
}

/// A target that answers each datagram with the same one, on a thread of its own.
pub(crate) struct Echo {
    pub(crate) addr: SocketAddr,
    seen: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn on(ip: IpAddr) -> Self {
        Self::over(Target::on(ip))
    }

    pub(crate) fn over(target: Target) -> Self {
        let (seen, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ended) = (Arc::clone(&seen), Arc::clone(&stop));
        let addr = target.addr;
        target.socket.set_read_timeout(None).expect("no timeout");
        let thread = thread::spawn(move || {
            let mut room = vec![0; 1 << 16];
            while !ended.load(Ordering::Acquire) {
                // An ICMP error for an earlier answer may surface here.
                let Ok((length, from)) = target.socket.recv_from(&mut room) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                let _ = target.socket.send_to(&room[..length], from);
            }
        });
        Self { addr, seen, stop, thread: Some(thread) }
    }

    /// How many datagrams came.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // The thread waits for a datagram: this is the one that ends it.
        let woken = UdpSocket::bind(zeros(self.addr.ip())).and_then(|s| s.send_to(&[], self.addr)).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

/// A server, an association through it, and a target.
pub(crate) struct Stand {
    pub(crate) relay: Relay,
    pub(crate) client: Association,
    pub(crate) target: Target,
}

impl Stand {
    pub(crate) fn new(sides: Sides) -> Self {
        Self::over(Relay::builder(), sides)
    }

    pub(crate) fn over(builder: Builder, sides: Sides) -> Self {
        let relay = serving(builder, sides.client);
        let client = Association::open(relay.addr());
        Self { relay, client, target: Target::on(sides.target) }
    }

    /// Sends a datagram up, which must be the next to arrive; gives the relay's address towards the target.
    pub(crate) fn up(&self, payload: &[u8]) -> SocketAddr {
        self.client.send(self.target.addr, payload);
        self.target.expect(payload)
    }

    /// Sends a datagram down, which must be the next to arrive.
    pub(crate) fn down(&self, external: SocketAddr, payload: &[u8]) {
        self.target.send(external, payload);
        self.client.expect(self.target.addr, payload);
    }

    /// One datagram up and one down: the association works, and nothing sent before arrives.
    pub(crate) fn fence(&self) -> SocketAddr {
        let external = self.up(b"fence up");
        self.down(external, b"fence down");
        external
    }
}

/// Starts a server that listens at this address.
pub(crate) fn serving(builder: Builder, ip: IpAddr) -> Relay {
    builder.listen(&[&SocketAddr::new(ip, 0).to_string()]).start()
}

/// Stops every thread of the server until SIGCONT: what is sent meanwhile it finds waiting, all at once.
pub(crate) fn hold(relay: &Relay) {
    relay.signal("STOP");
    wait::until_true("every thread of the server is stopped", PATIENCE, || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", relay.pid())).expect("list the threads");
        let mut stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        stats.all(|stat| stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T')))
    });
}

/// Holds the server while `work` sends.
pub(crate) fn while_stopped(relay: &Relay, work: impl FnOnce()) {
    hold(relay);
    work();
    relay.signal("CONT");
}

// ---- what the server says

/// The counters of the server as SIGUSR1 has it log them; those that are not written are 0.
pub(crate) fn counters(relay: &Relay) -> BTreeMap<String, u64> {
    let before = relay.log().len();
    relay.signal("USR1");
    let line = wait::until("the line of counters", PATIENCE, || {
        let log = relay.log();
        let complete = &log[before..=log.rfind('\n').filter(|end| *end >= before)?];
        complete.lines().find(|line| line.contains("accepted=")).map(str::to_owned)
    });
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// What was dropped so far, by reason.
pub(crate) fn drops(relay: &Relay) -> BTreeMap<String, u64> {
    let dropped = |(name, count): (String, u64)| Some((name.strip_prefix("udp_dropped_")?.to_owned(), count));
    counters(relay).into_iter().filter_map(dropped).filter(|(_, count)| *count > 0).collect()
}

/// Waits until exactly this was dropped, and insists on it.
pub(crate) fn expect_drops(relay: &Relay, wanted: &[(&str, u64)]) {
    let wanted: BTreeMap<String, u64> = wanted.iter().map(|(name, n)| (name.to_string(), *n)).collect();
    assert_eq!(settled(|| drops(relay), &wanted), wanted, "datagrams dropped, by reason");
}

/// Waits until so many were dropped, for whatever reasons, and insists that there are no more.
pub(crate) fn expect_dropped(relay: &Relay, wanted: u64) {
    let sum = || drops(relay).values().sum::<u64>();
    assert_eq!(settled(sum, &wanted), wanted, "datagrams dropped: {:?}", drops(relay));
}

/// The value once it is the one wanted, or as it is when two seconds have passed.
fn settled<T: PartialEq>(mut probe: impl FnMut() -> T, wanted: &T) -> T {
    let started = Instant::now();
    loop {
        let value = probe();
        if value == *wanted || started.elapsed() > 2 * AT_ONCE {
            return value;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the server holds no UDP socket at any of these ports.
pub(crate) fn expect_released(relay: &Relay, ports: &[u16]) {
    wait::until_true("the association's sockets are gone", AT_ONCE, || {
        socket_table::udp_of(relay.pid()).iter().all(|held| !ports.contains(&held.port()))
    });
}

/// Compares payloads without printing all of a large one.
pub(crate) fn assert_same(got: &[u8], wanted: &[u8]) {
    let head = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(48)]).into_owned();
    assert!(
        got == wanted,
        "{} bytes {:?} where {} bytes {:?} are due",
        got.len(),
        head(got),
        wanted.len(),
        head(wanted)
    );
}

/// Makes the tests `v4_to_v4`, `v4_to_v6`, `v6_to_v4` and `v6_to_v6` of each function named: the family of the
/// client, then that of the target.
macro_rules! sides {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            sides!(@tests $name v4_to_v4 V4_TO_V4, v4_to_v6 V4_TO_V6, v6_to_v4 V6_TO_V4, v6_to_v6 V6_TO_V6);
        }
    )+};
    (@tests $case:ident $($test:ident $sides:ident),+) => {$(
        #[test]
        fn $test() {
            super::$case($crate::support::udp::Sides::$sides);
        }
    )+};
}

/// Makes the tests `v4` and `v6` of each function named: both sides of that family.
macro_rules! families {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            sides!(@tests $name v4 V4_TO_V4, v6 V6_TO_V6);
        }
    )+};
}
