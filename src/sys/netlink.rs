//! What the kernel's routing tables say of this machine's addresses, by rtnetlink (rtnetlink(7)), and when that changes.
//!
//! The messages are few and fixed: a header, the structure of its kind, attributes. Numbers are in the machine's order.

mod routes;

pub use self::routes::{PacketStart, RouteAnswer, RouteQuestion};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use ipnet::IpNet;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{bind, recv, send, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use super::{Errno, uninterrupted};
use crate::limits;

/// Bytes of `struct nlmsghdr`, of `struct rtmsg` and of `struct ifaddrmsg`.
pub(super) const HEADER: usize = 16;
const ROUTE: usize = 12;
const INTERFACE_ADDRESS: usize = 8;

/// Whether an address ends here: of the kinds of route in `table local` those that deliver.
fn delivers(kind: u8) -> bool {
    [libc::RTN_LOCAL, libc::RTN_ANYCAST].contains(&kind)
}

/// A netlink socket that the routing tables are asked by. Kept open, it works where descriptors have run out.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens the socket.
    ///
    /// # Errors
    /// What socket(2) or bind(2) refused: EAFNOSUPPORT or EPERM where netlink is closed to this process.
    pub fn open() -> Result<Netlink, Errno> {
        let socket = open(0)?;
        // The kernel answers within the call; a lost answer must not hold up the control thread.
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))?;
        let on: libc::c_int = 1;
        // SAFETY: the option's value is an int that lives for the whole call, and its size is given.
        // Kernels before 4.20 do not know it: they answer with every table, of which the others are passed over.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_NETLINK,
                libc::NETLINK_GET_STRICT_CHK,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        Ok(Netlink { socket, sequence: 0 })
    }

    /// The addresses of every interface, and the blocks that routes of `table local` deliver here.
    ///
    /// # Errors
    /// What the kernel refused; EOVERFLOW for more than [`limits::NETLINK_DUMP_BYTES_MAX`]; EINTR where the tables never
    /// held still.
    pub fn local_addresses(&mut self) -> Result<Vec<IpNet>, Errno> {
        for _ in 0..limits::NETLINK_DUMPS_MAX {
            let mut nets = Vec::new();
            let mut steady = self.dump(libc::RTM_GETADDR, &[0; INTERFACE_ADDRESS], |body| {
                nets.extend(interface_address(body));
            })?;
            for family in [libc::AF_INET, libc::AF_INET6] {
                let mut request = [0; ROUTE];
                (request[0], request[4]) = (family as u8, libc::RT_TABLE_LOCAL);
                steady &= match self.dump(libc::RTM_GETROUTE, &request, |body| nets.extend(delivered(body))) {
                    // The family has no such table yet: no interface is up.
                    Err(Errno::ENOENT) => true,
                    result => result?,
                };
            }
            if steady {
                return Ok(nets);
            }
        }
        Err(Errno::EINTR)
    }

    /// Sends a question of a kind.
    fn ask(&mut self, kind: u16, flags: libc::c_int, body: &[u8]) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let flags = (libc::NLM_F_REQUEST | flags) as u16;
        let mut request = Vec::with_capacity(HEADER + body.len());
        request.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&flags.to_ne_bytes());
        request.extend_from_slice(&self.sequence.to_ne_bytes());
        request.extend_from_slice(&0_u32.to_ne_bytes());
        request.extend_from_slice(body);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty()).map(drop)
    }

    /// Asks for all entries of a kind. False where they changed meanwhile.
    fn dump(&mut self, kind: u16, body: &[u8], mut take: impl FnMut(&[u8])) -> Result<bool, Errno> {
        self.ask(kind, libc::NLM_F_DUMP, body)?;
        let mut buffer = vec![0; limits::NETLINK_READ_BYTES];
        let (mut steady, mut taken) = (true, 0);
        loop {
            let count = uninterrupted(|| recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()))?;
            taken += count;
            if taken > limits::NETLINK_DUMP_BYTES_MAX {
                return Err(Errno::EOVERFLOW);
            }
            // What is left of an earlier dump that failed is passed over.
            for message in messages(&buffer[..count]).filter(|message| message.sequence == self.sequence) {
                steady &= message.flags & libc::NLM_F_DUMP_INTR as u16 == 0;
                match libc::c_int::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(steady),
                    libc::NLMSG_ERROR => return Err(refusal(message.body)),
                    _ => take(message.body),
                }
            }
        }
    }
}

/// A socket that hears of changes.
#[derive(Debug)]
pub struct Watch(OwnedFd);

impl Watch {
    /// # Errors
    /// As [`Netlink::open`].
    pub fn open() -> Result<Watch, Errno> {
        let groups = [
            libc::RTMGRP_IPV4_IFADDR,
            libc::RTMGRP_IPV6_IFADDR,
            libc::RTMGRP_IPV4_ROUTE,
            libc::RTMGRP_IPV6_ROUTE,
        ];
        open(groups.into_iter().fold(0, |all, group| all | group as u32)).map(Watch)
    }

    /// Waits until an address or a route of `table local` came or went, or until such news may have been lost.
    ///
    /// # Errors
    /// What recv(2) refused for good.
    pub fn wait(&self) -> Result<(), Errno> {
        let mut buffer = vec![0; limits::NETLINK_READ_BYTES];
        loop {
            match uninterrupted(|| recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())) {
                Ok(count) if messages(&buffer[..count]).any(|message| concerns(&message)) => return Ok(()),
                Ok(_) => {}
                // More came than its queue holds.
                Err(Errno::ENOBUFS) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }
}

fn open(groups: u32) -> Result<OwnedFd, Errno> {
    let protocol = SockProtocol::NetlinkRoute;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

pub(super) struct NetlinkMessage<'a> {
    pub(super) kind: u16,
    flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

/// The whole messages of one read; what is cut off or makes no sense ends it.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = NetlinkMessage<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let body = bytes.get(HEADER..length)?;
        let message = NetlinkMessage {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            body,
        };
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// What NLMSG_ERROR says.
fn refusal(body: &[u8]) -> Errno {
    Errno::from_raw(-body.first_chunk().map_or(-libc::EIO, |bytes| i32::from_ne_bytes(*bytes)))
}

/// The attributes behind the structure of a message: type and value.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let (kind, value) = (u16_at(bytes, 2)?, bytes.get(4..length)?);
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// The address of RTM_NEWADDR: IFA_LOCAL, or IFA_ADDRESS where that is not the peer's.
fn interface_address(body: &[u8]) -> Option<IpNet> {
    let find = |wanted: u16| {
        attributes(body.get(INTERFACE_ADDRESS..)?)
            .find(|(kind, _)| *kind == wanted)
            .and_then(|(_, value)| ip(value))
    };
    find(libc::IFA_LOCAL).or_else(|| find(libc::IFA_ADDRESS)).map(IpNet::from)
}

/// Whether RTM_NEWROUTE or RTM_DELROUTE is of a route by which `table local` delivers.
fn is_delivery(body: &[u8]) -> bool {
    let (Some(&table), Some(&kind)) = (body.get(4), body.get(7)) else { return false };
    table == libc::RT_TABLE_LOCAL && delivers(kind)
}

/// The block of RTM_NEWROUTE, where it is one that is delivered here. Without RTA_DST it is all of its family.
fn delivered(body: &[u8]) -> Option<IpNet> {
    if !is_delivery(body) {
        return None;
    }
    let (family, length) = (i32::from(*body.first()?), *body.get(1)?);
    let base = attributes(body.get(ROUTE..)?).find(|(kind, _)| *kind == libc::RTA_DST);
    let base = match (base, family) {
        (Some((_, value)), _) => ip(value)?,
        (None, libc::AF_INET) => Ipv4Addr::UNSPECIFIED.into(),
        (None, libc::AF_INET6) => Ipv6Addr::UNSPECIFIED.into(),
        (None, _) => return None,
    };
    IpNet::new(base, length).ok()
}

/// Whether news is of an address that came or went.
fn concerns(message: &NetlinkMessage<'_>) -> bool {
    match message.kind {
        libc::RTM_NEWADDR | libc::RTM_DELADDR => true,
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => is_delivery(message.body),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_read_as_an_address_and_as_a_route() {
        let mut netlink = Netlink::open().unwrap();
        for _ in 0..2 {
            let nets = netlink.local_addresses().unwrap();
            for wanted in ["127.0.0.1/32", "127.0.0.0/8"] {
                assert!(nets.contains(&wanted.parse().unwrap()), "{wanted}: {nets:?}");
            }
            let public: IpAddr = "8.8.8.8".parse().unwrap();
            assert!(!nets.iter().any(|net| net.contains(&public)), "{nets:?}");
        }
    }

    /// RTM_NEWROUTE, written by hand: `local 203.0.114.0/24 dev lo table local`.
    const DELIVERED: [u8; 20] = [2, 24, 0, 0, 255, 3, 254, 2, 0, 0, 0, 0, 8, 0, 1, 0, 203, 0, 114, 0];

    #[test]
    fn only_routes_that_deliver_are_taken() {
        assert_eq!(delivered(&DELIVERED), Some("203.0.114.0/24".parse().unwrap()));
        let with = |at: usize, value: u8| {
            let mut body = DELIVERED;
            body[at] = value;
            delivered(&body)
        };
        assert_eq!(with(4, 254), None, "of another table");
        assert_eq!(with(7, 1), None, "unicast");
        assert_eq!(with(7, 3), None, "broadcast");
        assert!(with(7, 4).is_some(), "anycast");
        assert_eq!(with(1, 33), None, "longer than an address");
        assert_eq!(delivered(&DELIVERED[..ROUTE]), Some("0.0.0.0/24".parse().unwrap()));
    }

    #[test]
    fn a_peer_is_not_taken_for_this_end() {
        let mut body = vec![2, 32, 0, 0, 1, 0, 0, 0];
        body.extend([8, 0, 1, 0, 192, 0, 2, 2]);
        assert_eq!(interface_address(&body), Some("192.0.2.2/32".parse().unwrap()));
        body.extend([8, 0, 2, 0, 192, 0, 2, 1]);
        assert_eq!(interface_address(&body), Some("192.0.2.1/32".parse().unwrap()));
    }

    #[test]
    fn what_makes_no_sense_ends_the_reading() {
        for length in 0..=DELIVERED.len() {
            let cut = &DELIVERED[..length];
            let _ = (delivered(cut), interface_address(cut), messages(cut).count());
        }
        for bytes in [&[0; 64][..], &[0xff; 64], &[15, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(messages(bytes).count(), 0);
            assert!(attributes(bytes).count() <= 1);
        }
    }
}
