//! The far side: servers that echo, swallow, pour, follow a script, or never answer.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use socket2::{Domain, SockRef, Socket, Type};

use super::wait::{self, PATIENCE, uninterrupted};

/// The far side on 127.0.0.1, a port of the kernel's choice.
pub(crate) const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The far side on ::1.
pub(crate) const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[derive(Default)]
struct Seen {
    peers: Mutex<Vec<SocketAddr>>,
    dialled: Mutex<Vec<SocketAddr>>,
    bytes: AtomicU64,
    stop: AtomicBool,
}

/// A listening server with a thread per connection; it stops listening when dropped.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    seen: Arc<Seen>,
    acceptor: Option<JoinHandle<()>>,
}

impl Origin {
    /// Serves every connection with `behaviour`, on `ip`.
    pub(crate) fn on<F>(ip: IpAddr, behaviour: F) -> Self
    where
        F: Fn(TcpStream) + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((ip, 0)).expect("bind an origin");
        Self::over(listener, move |stream, _| behaviour(stream))
    }

    /// Accepts on every address of the namespace, IPv4 and IPv6, and says `hello` with a FIN behind it.
    pub(crate) fn everywhere() -> Self {
        Self::on(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |mut stream| {
            let _ = stream.write_all(b"hello");
        })
    }

    /// Serves every connection with `behaviour`, at an address of the caller's choice.
    pub(crate) fn serve_at<F>(at: SocketAddr, behaviour: F) -> Self
    where
        F: Fn(TcpStream) + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(at).expect("bind an origin");
        Self::over(listener, move |stream, _| behaviour(stream))
    }

    /// Serves every connection with `behaviour`, on 127.0.0.1.
    pub(crate) fn serve<F>(behaviour: F) -> Self
    where
        F: Fn(TcpStream) + Send + Sync + 'static,
    {
        Self::on(V4, behaviour)
    }

    /// Sends back what it receives; answers a FIN with a FIN.
    pub(crate) fn echo() -> Self {
        Self::echo_on(V4)
    }

    /// `echo` on another address.
    pub(crate) fn echo_on(ip: IpAddr) -> Self {
        Self::on(ip, |stream| {
            let _ = echo(stream);
        })
    }

    /// `echo` at an address and port of the caller's choice: inside a namespace alone.
    pub(crate) fn at(addr: &str) -> Self {
        Self::over(TcpListener::bind(addr).expect("bind an origin"), |stream, _| {
            let _ = echo(stream);
        })
    }

    /// Swallows everything up to the FIN and counts it; then closes.
    pub(crate) fn sink() -> Self {
        let listener = TcpListener::bind((V4, 0)).expect("bind an origin");
        Self::over(listener, |mut stream, seen| {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = uninterrupted(|| stream.read(&mut buffer)) {
                seen.bytes.fetch_add(n as u64, Ordering::Relaxed);
            }
        })
    }

    /// Pours `length` bytes of `pattern` at once, sends a FIN, then reads to the end.
    pub(crate) fn source(length: u64) -> Self {
        Self::serve(move |stream| {
            let _ = pour(&stream, length);
            let _ = stream.shutdown(Shutdown::Write);
            drain(stream);
        })
    }

    fn over<F>(listener: TcpListener, behaviour: F) -> Self
    where
        F: Fn(TcpStream, &Seen) + Send + Sync + 'static,
    {
        let addr = listener.local_addr().expect("address of the origin");
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let behaviour = Arc::new(behaviour);
        let acceptor = thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                if shared.stop.load(Ordering::Acquire) {
                    return;
                }
                let local = stream.local_addr().expect("the address that was dialled");
                shared.dialled.lock().expect("dialled").push(canonical(local));
                shared.peers.lock().expect("peers").push(canonical(peer));
                let (shared, behaviour) = (Arc::clone(&shared), Arc::clone(&behaviour));
                thread::spawn(move || behaviour(stream, &shared));
            }
        });
        Self { addr, seen, acceptor: Some(acceptor) }
    }

    /// How many connections were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.seen.peers.lock().expect("peers").len()
    }

    /// The addresses from which connections came, in order.
    pub(crate) fn peers(&self) -> Vec<SocketAddr> {
        self.seen.peers.lock().expect("peers").clone()
    }

    /// The addresses to which connections came, in order: for an origin on every address.
    pub(crate) fn dialled(&self) -> Vec<SocketAddr> {
        self.seen.dialled.lock().expect("dialled").clone()
    }

    /// Waits for the `n`th connection (from 1) and gives its peer address.
    pub(crate) fn peer(&self, n: usize) -> SocketAddr {
        wait::until("a connection at the origin", PATIENCE, || self.peers().get(n - 1).copied())
    }

    /// How many bytes a `sink` has swallowed.
    pub(crate) fn swallowed(&self) -> u64 {
        self.seen.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Release);
        // The acceptor sits in accept(): a connection of our own is the event that ends it.
        let woken = TcpStream::connect(self.addr).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

/// A listener that serves one connection by a script and gives the script's value to `join`.
pub(crate) struct Once<T> {
    pub(crate) addr: SocketAddr,
    script: JoinHandle<T>,
}

impl<T> Once<T> {
    /// Waits for the script to end; a panic in it is a panic here.
    pub(crate) fn join(self) -> T {
        self.script.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Whether the script has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.script.is_finished()
    }
}

/// Accepts one connection on 127.0.0.1 and hands it to `script`, its reads limited to `PATIENCE`.
pub(crate) fn once<T, F>(script: F) -> Once<T>
where
    T: Send + 'static,
    F: FnOnce(TcpStream) -> T + Send + 'static,
{
    once_on(V4, script)
}

/// `once` on another address.
pub(crate) fn once_on<T, F>(ip: IpAddr, script: F) -> Once<T>
where
    T: Send + 'static,
    F: FnOnce(TcpStream) -> T + Send + 'static,
{
    let listener = TcpListener::bind((ip, 0)).expect("bind an origin");
    let addr = listener.local_addr().expect("address of the origin");
    let script = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accept");
        drop(listener);
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("write timeout");
        script(stream)
    });
    Once { addr, script }
}

/// A listener whose queue is full, so that the kernel drops every SYN and a connect to it hangs.
pub(crate) struct BlackHole {
    pub(crate) addr: SocketAddr,
    socket: Socket,
    /// The connection that fills the queue.
    _first: TcpStream,
}

impl BlackHole {
    /// A black hole on 127.0.0.1.
    pub(crate) fn new() -> Self {
        Self::on(V4)
    }

    /// A black hole on another address of the loopback device.
    pub(crate) fn on(ip: IpAddr) -> Self {
        Self::at(SocketAddr::new(ip, 0))
    }

    /// A black hole at a port of the caller's choice.
    pub(crate) fn at(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
        if addr.is_ipv6() {
            socket.set_only_v6(true).expect("IPV6_V6ONLY");
        }
        socket.bind(&addr.into()).expect("bind the black hole");
        // A backlog of 0 has room for one; a filter that drops all packets would need a privilege.
        socket.listen(0).expect("listen");
        let addr = socket.local_addr().expect("address").as_socket().expect("an IP address");
        let first = TcpStream::connect(addr).expect("fill the queue");
        Self { addr, socket, _first: first }
    }

    /// Accepts the next connection, once `open`.
    pub(crate) fn accept(&self) -> TcpStream {
        self.socket.set_read_timeout(Some(PATIENCE)).expect("accept timeout");
        let stream: TcpStream = self.socket.accept().expect("accept").0.into();
        stream.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        stream
    }

    /// Lets packets in from now on: the next SYN that the client's kernel repeats is answered.
    pub(crate) fn open(&self) {
        self.socket.listen(128).expect("a longer queue");
        self.socket.accept().expect("empty the queue");
    }
}

/// An address on 127.0.0.1 at which nobody listens and that nobody is given while the value lives.
pub(crate) struct ClosedPort {
    pub(crate) addr: SocketAddr,
    _reservation: Socket,
}

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(V4, 0).into()).expect("bind");
        let addr = socket.local_addr().expect("address").as_socket().expect("an IP address");
        Self { addr, _reservation: socket }
    }
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Sends back everything up to the FIN, then a FIN.
pub(crate) fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match uninterrupted(|| stream.read(&mut buffer))? {
            0 => return stream.shutdown(Shutdown::Write),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

/// Reads and forgets up to the FIN or an error.
pub(crate) fn drain(mut stream: TcpStream) {
    let _ = io::copy(&mut stream, &mut io::sink());
}

/// Writes the first `length` bytes of the pattern.
pub(crate) fn pour(mut stream: &TcpStream, length: u64) -> io::Result<()> {
    let mut at = 0;
    while at < length {
        let chunk = pattern(at, (length - at).min(64 * 1024) as usize);
        stream.write_all(&chunk)?;
        at += chunk.len() as u64;
    }
    Ok(())
}

/// Bytes `at..at + length` of a stream in which no two places look alike for long: the eight bytes at each
/// multiple of eight are a hash of the place.
pub(crate) fn pattern(at: u64, length: usize) -> Vec<u8> {
    let first = at / 8;
    let last = (at + length as u64).div_ceil(8);
    let bytes: Vec<u8> = (first..last).flat_map(|word| mix(word).to_le_bytes()).collect();
    let skip = (at % 8) as usize;
    bytes[skip..skip + length].to_vec()
}

fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Makes the receive buffer of a socket as small as the kernel allows.
pub(crate) fn shrink_receive_buffer(stream: &TcpStream) {
    SockRef::from(stream).set_recv_buffer_size(1).expect("SO_RCVBUF");
}
