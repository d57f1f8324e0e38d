//! What goes over the wires of a namespace, packet by packet (packet(7)): headers are read by hand (RFC 791, RFC 8200, RFC 9293,
//! RFC 768). A packet stands in the socket before whoever it is for has it: what an answer followed has been seen.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};
use socket2::SockRef;

/// Flags of TCP (RFC 9293 section 3.1).
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// A packet on its way out (PACKET_OUTGOING of linux/if_packet.h): over `lo` each is seen once more on its way in.
const OUTGOING: u8 = 4;
/// Room for what a test lets stand in the socket.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A packet of TCP or UDP that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// The octet that has the class of service and the congestion notification (RFC 2474 section 3).
    pub(crate) class: u8,
    /// The number of the interface by which it came.
    pub(crate) interface: usize,
    /// The flags; `None`: a datagram of UDP.
    pub(crate) flags: Option<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    /// Whether it begins a connection.
    pub(crate) fn opens(&self) -> bool {
        self.flags.is_some_and(|flags| flags & (SYN | ACK) == SYN)
    }

    /// Whether it has this flag.
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags.is_some_and(|flags| flags & flag != 0)
    }
}

/// Sees what comes in by any interface of the namespace that it is made in.
pub(crate) struct Tap(OwnedFd);

impl Tap {
    pub(crate) fn open() -> Tap {
        let protocol = Some(SockProtocol::EthAll);
        let tap = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_NONBLOCK, protocol);
        let tap = tap.expect("a packet socket");
        SockRef::from(&tap).set_recv_buffer_size(RECEIVE_BUFFER).expect("SO_RCVBUF");
        Tap(tap)
    }

    /// What has come since this was asked last, in order.
    pub(crate) fn take(&self) -> Vec<Packet> {
        let mut room = vec![0; 1 << 16];
        let mut packets = Vec::new();
        loop {
            match recvfrom::<LinkAddr>(self.0.as_raw_fd(), &mut room) {
                Ok((length, Some(link))) if link.pkttype() != OUTGOING => {
                    packets.extend(read(&room[..length], link.ifindex()));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return packets,
                Err(error) => panic!("a packet: {error}"),
            }
        }
    }
}

/// A packet without its link's header; `None` where it is neither TCP nor UDP.
fn read(bytes: &[u8], interface: usize) -> Option<Packet> {
    let (class, protocol, ends, rest): (u8, u8, [IpAddr; 2], &[u8]) = match bytes.first()? >> 4 {
        4 => {
            let header = usize::from(bytes[0] & 0x0f) * 4;
            let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
            let at = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&bytes[at..at + 4]).expect("four octets"));
            (bytes[1], bytes[9], [at(12), at(16)], bytes.get(header..length)?)
        }
        6 => {
            let length = 40 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
            let at =
                |at: usize| IpAddr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).expect("sixteen octets"));
            (bytes[0] << 4 | bytes[1] >> 4, bytes[6], [at(8), at(24)], bytes.get(40..length)?)
        }
        _ => return None,
    };
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    let (flags, payload) = match protocol {
        TCP => (Some(rest[13]), &rest[usize::from(rest[12] >> 4) * 4..]),
        UDP => (None, &rest[8..]),
        _ => return None,
    };
    let [from, to] = ends;
    Some(Packet {
        from: SocketAddr::new(from, port(0)),
        to: SocketAddr::new(to, port(2)),
        class,
        interface,
        flags,
        payload: payload.to_vec(),
    })
}
