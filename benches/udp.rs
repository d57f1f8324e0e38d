//! What does a datagram cost in batches of 1 to 64, and what does UDP_SEGMENT save?
//!
//!     cargo bench --bench udp
//!
//! 64 datagrams of 200 bytes between two unconnected sockets on loopback, with their addresses, as an association of
//! RFC 1928 section 7 would have them. Each figure is CPU time for one datagram:
//!
//! - `send`: sendto, and sendmmsg in batches.
//! - `split`: sendmsg with UDP_SEGMENT, so many datagrams in one buffer, to a receiver that takes them one by one.
//! - `joined`: the same to a receiver with UDP_GRO. `split` is what a card without segmentation costs, this is nearer
//!   to one with it.
//! - `recv`: recvfrom, and recvmmsg in batches; `recv-joined`: recvmsg of 64 that the kernel joined (UDP_GRO).
//!
//! One thread does both sides, and only one side is on the clock: a loopback send is over once the datagram stands in
//! the receiver's socket. That part is charged to the sender, so `send` is dearer here than to a card.
//!
//! This is the ground for `limits::UDP_BATCH`, and for joining neighbours (`relay::datagram`).

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/paired.rs"]
mod paired;

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::sockopt::UdpGroSegment;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, recvmsg, sendmmsg, sendmsg, setsockopt,
};

use paired::{Paired, Unit};

const DATAGRAM_BYTES: usize = 200;
/// Datagrams of one round: the default socket buffer holds three times as many.
const ROUND: usize = 64;
/// Room for one datagram, as a relay would give it.
const ROOM_BYTES: usize = 2048;

/// Two sockets, and the way from one to the other.
struct Road {
    sender: UdpSocket,
    receiver: UdpSocket,
    to: SocketAddr,
    address: SockaddrIn,
}

impl Road {
    fn open(joined: bool) -> Road {
        let socket = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let (sender, receiver) = (socket(), socket());
        receiver.set_nonblocking(true).expect("a socket can be non-blocking");
        if joined {
            setsockopt(&receiver, UdpGroSegment, &true).expect("Linux 5.0 has UDP_GRO");
        }
        let to = receiver.local_addr().expect("a bound socket has an address");
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, to.port()).into();
        Road { sender, receiver, to, address }
    }

    fn send_one(&self) {
        let sent = self.sender.send_to(&[0x5a; DATAGRAM_BYTES], self.to);
        assert_eq!(sent.expect("loopback takes a datagram"), DATAGRAM_BYTES);
    }

    fn receive_one(&self, room: &mut [u8]) {
        let received = self.receiver.recv_from(room);
        assert_eq!(received.expect("a datagram waits").0, DATAGRAM_BYTES);
    }

    fn send_batch<const N: usize>(&self, headers: &mut MultiHeaders<SockaddrIn>) {
        let payload = [[0x5a; DATAGRAM_BYTES]; N];
        let slices = payload.each_ref().map(|datagram| [IoSlice::new(datagram)]);
        let addresses = [Some(self.address); N];
        let sent = sendmmsg(self.sender.as_raw_fd(), headers, &slices, addresses, [], MsgFlags::empty());
        assert_eq!(sent.expect("loopback takes a batch").count(), N);
    }

    fn receive_batch<const N: usize>(
        &self,
        headers: &mut MultiHeaders<SockaddrIn>,
        rooms: &mut [[u8; ROOM_BYTES]; N],
    ) {
        let mut slices = rooms.each_mut().map(|room| [IoSliceMut::new(room)]);
        let received = recvmmsg(self.receiver.as_raw_fd(), headers, &mut slices, MsgFlags::empty(), None);
        let whole = received.expect("a batch waits").filter(|datagram| datagram.bytes == DATAGRAM_BYTES);
        assert_eq!(whole.count(), N);
    }

    /// Sends datagrams that lie side by side.
    fn send_segments(&self, payload: &[u8]) {
        let segment = u16::try_from(DATAGRAM_BYTES).expect("a datagram's length has 16 bits");
        let sent = sendmsg(
            self.sender.as_raw_fd(),
            &[IoSlice::new(payload)],
            &[ControlMessage::UdpGsoSegments(&segment)],
            MsgFlags::empty(),
            Some(&self.address),
        );
        assert_eq!(sent, Ok(payload.len()));
    }

    /// Receives what the kernel joined.
    fn receive_joined(&self, room: &mut [u8], control: &mut [u8]) -> usize {
        let mut slices = [IoSliceMut::new(room)];
        let fd = self.receiver.as_raw_fd();
        let received = recvmsg::<SockaddrIn>(fd, &mut slices, Some(control), MsgFlags::empty());
        received.expect("datagrams wait").bytes
    }

    /// Empties the receiver.
    fn drain(&self, room: &mut [u8]) {
        while self.receiver.recv(room).is_ok() {}
    }
}

/// All rooms of a round, and what the kernel writes about them.
struct Rooms {
    /// Two: sendmmsg leaves its own pointers in them, and recvmmsg would write through those.
    to_send: MultiHeaders<SockaddrIn>,
    to_receive: MultiHeaders<SockaddrIn>,
    single: [[u8; ROOM_BYTES]; ROUND],
    large: Vec<u8>,
    control: Vec<u8>,
}

impl Rooms {
    fn new() -> Rooms {
        Rooms {
            to_send: MultiHeaders::preallocate(ROUND, None),
            to_receive: MultiHeaders::preallocate(ROUND, None),
            single: [[0; ROOM_BYTES]; ROUND],
            large: vec![0; 1 << 16],
            control: cmsg_space!(i32),
        }
    }
}

/// A way to send or to receive a round.
type Way = (&'static str, fn(&Road, &mut Rooms));

fn send_in<const N: usize>(road: &Road, rooms: &mut Rooms) {
    (0..ROUND / N).for_each(|_| road.send_batch::<N>(&mut rooms.to_send));
}

fn receive_in<const N: usize>(road: &Road, rooms: &mut Rooms) {
    let (batches, _) = rooms.single.as_chunks_mut::<N>();
    batches.iter_mut().for_each(|batch| road.receive_batch(&mut rooms.to_receive, batch));
}

fn send_joined<const N: usize>(road: &Road, _: &mut Rooms) {
    let payload = [0x5a; DATAGRAM_BYTES * ROUND];
    payload.chunks(DATAGRAM_BYTES * N).for_each(|some| road.send_segments(some));
}

fn send_each(road: &Road, _: &mut Rooms) {
    (0..ROUND).for_each(|_| road.send_one());
}

fn receive_each(road: &Road, rooms: &mut Rooms) {
    (0..ROUND).for_each(|_| road.receive_one(&mut rooms.single[0]));
}

fn receive_joined(road: &Road, rooms: &mut Rooms) {
    assert_eq!(road.receive_joined(&mut rooms.large, &mut rooms.control), DATAGRAM_BYTES * ROUND);
}

const SEND: [Way; 8] = [
    ("sendto", send_each),
    ("sendmmsg of 1", send_in::<1>),
    ("sendmmsg of 2", send_in::<2>),
    ("sendmmsg of 4", send_in::<4>),
    ("sendmmsg of 8", send_in::<8>),
    ("sendmmsg of 16", send_in::<16>),
    ("sendmmsg of 32", send_in::<32>),
    ("sendmmsg of 64", send_in::<64>),
];

const RECEIVE: [Way; 8] = [
    ("recvfrom", receive_each),
    ("recvmmsg of 1", receive_in::<1>),
    ("recvmmsg of 2", receive_in::<2>),
    ("recvmmsg of 4", receive_in::<4>),
    ("recvmmsg of 8", receive_in::<8>),
    ("recvmmsg of 16", receive_in::<16>),
    ("recvmmsg of 32", receive_in::<32>),
    ("recvmmsg of 64", receive_in::<64>),
];

const SEGMENTS: [Way; 7] = [
    ("sendto", send_each),
    ("2 segments", send_joined::<2>),
    ("4 segments", send_joined::<4>),
    ("8 segments", send_joined::<8>),
    ("16 segments", send_joined::<16>),
    ("32 segments", send_joined::<32>),
    ("64 segments", send_joined::<64>),
];

/// Compares ways of one side, with the other side off the clock.
fn compare(
    paired: &Paired,
    title: &str,
    ways: &[Way],
    mut turn: impl FnMut(fn(&Road, &mut Rooms)) -> Duration,
) {
    if paired.picks(title) {
        let names: Vec<String> = ways.iter().map(|(name, _)| (*name).to_owned()).collect();
        let unit = Unit { per_turn: ROUND, bytes: DATAGRAM_BYTES };
        paired.compare(title, &names, unit, |way| turn(ways[way].1));
    }
}

fn main() {
    cpu::pin_first();
    let paired = Paired::from_args();
    let mut rooms = Rooms::new();
    for (title, ways, joined) in
        [("send", &SEND[..], false), ("split", &SEGMENTS, false), ("joined", &SEGMENTS, true)]
    {
        let road = Road::open(joined);
        compare(&paired, title, ways, |send| {
            let used = cpu::used_by(|| send(&road, &mut rooms));
            road.drain(&mut rooms.large);
            used
        });
    }
    let (road, joined_road) = (Road::open(false), Road::open(true));
    compare(&paired, "recv", &RECEIVE, |receive| {
        send_each(&road, &mut rooms);
        cpu::used_by(|| receive(&road, &mut rooms))
    });
    compare(&paired, "recv-joined", &[("recvmsg of 64", receive_joined)], |receive| {
        send_joined::<ROUND>(&joined_road, &mut rooms);
        cpu::used_by(|| receive(&joined_road, &mut rooms))
    });
}
