//! Loopback TCP flows through a relay that is the bench itself: feeder -> source, sink -> reader.
//!
//! Feeders and readers belong to a thread on another CPU, and the two threads take turns: it feeds every flow, the
//! bench moves the bytes, it reads them. So each read of the bench finds what the bench's parameters say and not
//! what a race left there, the bytes come out of another CPU's cache, as from a card, and the cost of feeding and
//! reading is nobody's. Only the bench's own turn is on the clock (`cpu`).
//!
//! Bytes stand in the source's socket in one of two layouts ([`Load`]): whole, in the pieces of 32 KiB that a loopback
//! send leaves, or in segments of an Ethernet frame's 1448 bytes, each in a place of its own, as a card leaves them.
//! recv does not care; a pipe takes one of its slots for each piece.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};
use outflow::sys::stream::Stream;
use socket2::{Domain, Socket, Type};

use crate::cpu;
use crate::paired::{Paired, Unit};

/// Room that each socket is asked to have for unread bytes.
const ROOM_BYTES: usize = 4 * 1024 * 1024;
/// How long bytes may take over loopback before something must be wrong.
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough for one timed turn to dwarf the reading of the clock, few enough to stay in the caches.
pub(crate) const FLOWS: usize = 16;

/// What each flow is fed in one turn.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Bytes in all.
    pub(crate) bytes: usize,
    /// Bytes of one send.
    pub(crate) segment_bytes: usize,
}

impl Load {
    /// In one send.
    pub(crate) fn whole(bytes: usize) -> Load {
        Load { bytes, segment_bytes: bytes }
    }

    /// In segments, as they come in Ethernet frames.
    pub(crate) fn segments(bytes: usize) -> Load {
        Load { bytes, segment_bytes: 1448 }
    }
}

/// The relay's two sockets of one flow.
pub(crate) struct Flow {
    /// What the feeder writes to.
    pub(crate) source: Stream,
    /// What the reader reads from.
    pub(crate) sink: Stream,
}

/// What the thread on the other side is to do with every flow.
enum Order {
    Feed(Load),
    Drain { bytes: usize },
}

/// Flows and the thread at their outer ends.
pub(crate) struct Flows {
    flows: Vec<Flow>,
    orders: Option<Sender<Order>>,
    done: Receiver<()>,
    outside: Option<JoinHandle<()>>,
    room_bytes: usize,
    /// What peeking is told that it could fill.
    unused: Vec<u8>,
}

impl Flows {
    /// Opens the flows and starts the thread at their outer ends. The calling thread is pinned, too.
    fn open() -> Flows {
        cpu::pin_first();
        let listener = listener();
        let (mut flows, mut feeders, mut readers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..FLOWS {
            let (feeder, source) = pair(&listener);
            let (sink, reader) = pair(&listener);
            feeders.push(feeder);
            readers.push(reader);
            flows.push(Flow { source: relay_end(source), sink: relay_end(sink) });
        }
        let room =
            socket2::SockRef::from(&flows[0].source).recv_buffer_size().expect("a socket has a buffer");
        let (orders, to_do) = channel();
        let (finished, done) = channel();
        let outside = thread::spawn(move || {
            cpu::pin_last();
            serve(&to_do, &finished, &mut feeders, &readers);
        });
        // The kernel counts its own overhead against the buffer: half is what it promises for bytes.
        let room_bytes = room / 2;
        let unused = vec![0; ROOM_BYTES];
        Flows { flows, orders: Some(orders), done, outside: Some(outside), room_bytes, unused }
    }

    /// Compares the named ways to move a load: `relay` moves the bytes of one flow, given by number, in the way given
    /// first.
    pub(crate) fn compare(
        paired: &Paired,
        title: &str,
        names: &[String],
        load: Load,
        mut relay: impl FnMut(usize, usize, &Flow, usize),
    ) {
        if !paired.picks(title) {
            return;
        }
        let mut flows = Flows::open();
        if load.bytes > flows.room_bytes {
            println!("{title}: left out, net.core.rmem_max is too low");
            return;
        }
        flows.prime(load, |at, flow, bytes| relay(0, at, flow, bytes));
        let unit = Unit { per_turn: FLOWS, bytes: load.bytes };
        paired.compare(title, names, unit, |way| {
            flows.turn(load, |at, flow, bytes| relay(way, at, flow, bytes))
        });
    }

    /// Opens the windows of every flow for such loads, as traffic does: they begin at 64 KiB, and grow with what
    /// arrives.
    fn prime(&mut self, load: Load, mut relay: impl FnMut(usize, &Flow, usize)) {
        let mut bytes = load.bytes.min(32 * 1024);
        loop {
            let segment_bytes = load.segment_bytes.min(bytes);
            for _ in 0..2 {
                self.turn(Load { bytes, segment_bytes }, &mut relay);
            }
            if bytes == load.bytes {
                return;
            }
            bytes = (2 * bytes).min(load.bytes);
        }
    }

    /// Feeds every flow, has `relay` move that many bytes of each, given by number, and reads them. The CPU time of
    /// `relay` alone.
    fn turn(&mut self, load: Load, mut relay: impl FnMut(usize, &Flow, usize)) -> Duration {
        self.order(Order::Feed(load));
        for flow in &self.flows {
            await_bytes(&flow.source, &mut self.unused[..load.bytes]);
        }
        let used = cpu::used_by(|| {
            for (at, flow) in self.flows.iter().enumerate() {
                relay(at, flow, load.bytes);
            }
        });
        self.order(Order::Drain { bytes: load.bytes });
        used
    }

    fn order(&self, order: Order) {
        self.orders.as_ref().expect("open until dropped").send(order).expect("the other side lives");
        self.done.recv_timeout(PATIENCE).expect("the other side has done its part");
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.orders = None;
        // Its panic has been told already.
        let _ = self.outside.take().map(JoinHandle::join);
    }
}

/// The thread at the outer ends, until nobody gives orders any more.
fn serve(orders: &Receiver<Order>, done: &Sender<()>, feeders: &mut [TcpStream], readers: &[TcpStream]) {
    let payload = vec![0x5a; ROOM_BYTES];
    let mut unused = vec![0; ROOM_BYTES];
    for order in orders {
        match order {
            Order::Feed(load) => {
                // In turns: what one thread sends to one flow only, the kernel lays side by side and joins.
                for segment in payload[..load.bytes].chunks(load.segment_bytes) {
                    for feeder in &mut *feeders {
                        feeder.write_all(segment).expect("the source lives");
                    }
                }
            }
            Order::Drain { bytes } => {
                for reader in readers {
                    discard(reader, &mut unused[..bytes]);
                }
            }
        }
        if done.send(()).is_err() {
            return;
        }
    }
}

/// Reads as many bytes as fit `room`; the kernel drops them in place of copying (MSG_TRUNC, tcp(7)).
fn discard(reader: &TcpStream, room: &mut [u8]) {
    let mut left = room.len();
    while left > 0 {
        match recv(reader.as_raw_fd(), &mut room[..left], MsgFlags::MSG_TRUNC) {
            Ok(count) if count > 0 => left -= count,
            other => panic!("the sink ended early: {other:?}"),
        }
    }
}

/// Waits until as many bytes stand in the socket as fit `room`. MSG_TRUNC with MSG_PEEK counts without a copy.
fn await_bytes(source: &Stream, room: &mut [u8]) {
    let start = Instant::now();
    while recv(source.as_raw_fd(), room, MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC) != Ok(room.len()) {
        assert!(start.elapsed() < PATIENCE, "{} bytes do not fit the socket", room.len());
        thread::yield_now();
    }
}

fn listener() -> TcpListener {
    let listener = socket();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.bind(&any.into()).and_then(|()| listener.listen(1)).expect("loopback has a free port");
    listener.into()
}

/// A connected pair over loopback, both ends blocking. What is accepted inherits the listener's options.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let dialled = socket();
    let address = listener.local_addr().expect("a bound socket has an address");
    dialled.connect(&address.into()).expect("the listener is there");
    let (accepted, _) = listener.accept().expect("a connection waits");
    (dialled.into(), accepted)
}

/// Buffers that hold a message, and reno, which does not pace: what is written arrives before the call returns.
fn socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be had");
    socket.set_reuse_address(true).expect("any socket has SO_REUSEADDR");
    socket.set_recv_buffer_size(ROOM_BYTES).expect("SO_RCVBUF takes any size and cuts it");
    socket.set_tcp_congestion(b"reno").expect("every Linux has reno");
    socket.set_tcp_nodelay(true).expect("TCP has TCP_NODELAY");
    socket
}

fn relay_end(stream: TcpStream) -> Stream {
    stream.set_nonblocking(true).expect("a socket can be non-blocking");
    Stream::from_fd(stream.into())
}
