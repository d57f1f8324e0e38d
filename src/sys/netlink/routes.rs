//! Which way a packet would go, as the routing tables say it: nothing is sent.

use std::net::IpAddr;
use std::os::fd::AsRawFd;

use ipnet::IpNet;
use nix::sys::socket::{MsgFlags, recv};

use super::{
    INTERFACE_ADDRESS, Netlink, ROUTE, attributes, interface_address, ip, messages, refusal, u32_at,
};
use crate::limits;
use crate::sys::{Errno, uninterrupted};

/// Attributes that libc has no name for on every target (linux/rtnetlink.h).
const RTA_MARK: u16 = 16;
/// NTF_PROXY of `struct ndmsg` (linux/neighbour.h): an address that is answered for.
const NTF_PROXY: u8 = 8;
/// Bytes of `struct ndmsg`, of which the flags are the eleventh.
const NEIGHBOUR: usize = 12;
/// NDA_DST: the address of a neighbour.
const NDA_DST: u16 = 1;

/// A packet whose way is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteQuestion {
    /// Where it comes from; of its own packets the kernel chooses it where it is not said.
    pub source: Option<IpAddr>,
    /// Where it goes.
    pub target: IpAddr,
    /// How it is marked.
    pub mark: Option<u32>,
    /// Where it begins.
    pub start: PacketStart,
}

/// Where a packet begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketStart {
    /// On this machine, from a socket that is bound to no interface.
    Here,
    /// On this machine, from a socket that is bound to the interface of this number.
    Bound(u32),
    /// Elsewhere: it comes in by the interface of this number.
    Came(u32),
}

/// The way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteAnswer {
    /// Number of the interface that it leaves by, or arrives at.
    pub interface: Option<u32>,
    /// The router that it is handed to.
    pub gateway: Option<IpAddr>,
    /// Whether it ends on this machine.
    pub delivered: bool,
}

impl Netlink {
    /// Asks which way a packet goes.
    ///
    /// # Errors
    /// ENETUNREACH or EHOSTUNREACH where there is none, one of these or EINVAL for a source that is not of this machine, EXDEV for one that
    /// `rp_filter` drops, EACCES for one that a route forbids.
    pub fn route(&mut self, question: RouteQuestion) -> Result<RouteAnswer, Errno> {
        self.ask(libc::RTM_GETROUTE, 0, &route_request(question))?;
        let mut buffer = vec![0; limits::NETLINK_READ_BYTES];
        loop {
            let count = uninterrupted(|| recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()))?;
            let answer =
                messages(&buffer[..count]).find(|message| message.sequence == self.sequence).map(|message| {
                    match libc::c_int::from(message.kind) {
                        libc::NLMSG_ERROR => Err(refusal(message.body)),
                        _ => route_answer(message.body).ok_or(Errno::EBADMSG),
                    }
                });
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    /// The addresses of interfaces, each with the number of its interface and the block that it is in there.
    ///
    /// # Errors
    /// As [`Netlink::local_addresses`].
    pub fn interface_addresses(&mut self) -> Result<Vec<(u32, IpNet)>, Errno> {
        let mut found = Vec::new();
        self.dump(libc::RTM_GETADDR, &[0; INTERFACE_ADDRESS], |body| found.extend(on_interface(body)))?;
        Ok(found)
    }

    /// The IPv6 addresses for which an interface answers its neighbours though they are not its own (`ip -6 neigh add
    /// proxy`), each with the number of that interface.
    ///
    /// # Errors
    /// As [`Netlink::local_addresses`].
    pub fn proxied_neighbours(&mut self) -> Result<Vec<(u32, IpAddr)>, Errno> {
        let mut request = [0; NEIGHBOUR];
        (request[0], request[10]) = (libc::AF_INET6 as u8, NTF_PROXY);
        let mut found = Vec::new();
        self.dump(libc::RTM_GETNEIGH, &request, |body| found.extend(proxied(body)))?;
        Ok(found)
    }
}

/// `struct rtmsg` with the attributes of a question (rtnetlink(7)).
fn route_request(question: RouteQuestion) -> Vec<u8> {
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (family, length) = match question.target {
        IpAddr::V4(_) => (libc::AF_INET, 32),
        IpAddr::V6(_) => (libc::AF_INET6, 128),
    };
    let mut request = vec![0; ROUTE];
    (request[0], request[1]) = (family as u8, length);
    let mut put = |kind: u16, value: &[u8]| {
        request.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        // Each value is whole words, so that nothing has to be filled up.
        request.extend_from_slice(value);
    };
    put(libc::RTA_DST, &bytes(question.target));
    if let Some(source) = question.source {
        put(libc::RTA_SRC, &bytes(source));
    }
    if let Some(mark) = question.mark {
        put(RTA_MARK, &mark.to_ne_bytes());
    }
    match question.start {
        PacketStart::Here => {}
        PacketStart::Bound(interface) => put(libc::RTA_OIF, &interface.to_ne_bytes()),
        PacketStart::Came(interface) => put(libc::RTA_IIF, &interface.to_ne_bytes()),
    }
    if question.source.is_some() {
        request[2] = length;
    }
    request
}

/// What RTM_NEWROUTE says.
fn route_answer(body: &[u8]) -> Option<RouteAnswer> {
    let kind = *body.get(7)?;
    let mut answer = RouteAnswer { interface: None, gateway: None, delivered: super::delivers(kind) };
    for (kind, value) in attributes(body.get(ROUTE..)?) {
        match kind {
            libc::RTA_OIF => answer.interface = u32_at(value, 0),
            libc::RTA_GATEWAY => answer.gateway = ip(value),
            _ => {}
        }
    }
    Some(answer)
}

/// The address of RTM_NEWADDR with its length and its interface.
fn on_interface(body: &[u8]) -> Option<(u32, IpNet)> {
    let address = interface_address(body)?.addr();
    Some((u32_at(body, 4)?, IpNet::new(address, *body.get(1)?).ok()?))
}

/// The address of RTM_NEWNEIGH with its interface, where it is one that is answered for.
fn proxied(body: &[u8]) -> Option<(u32, IpAddr)> {
    if body.get(10)? & NTF_PROXY == 0 {
        return None;
    }
    let (_, address) = attributes(body.get(NEIGHBOUR..)?).find(|(kind, _)| *kind == NDA_DST)?;
    Some((u32_at(body, 4)?, ip(address)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_loopback_stays_here() {
        let mut netlink = Netlink::open().unwrap();
        for (source, target) in [("127.0.0.9", "127.0.0.1"), ("127.0.0.1", "127.77.0.1")] {
            let (source, target) = (Some(source.parse().unwrap()), target.parse().unwrap());
            let asked = RouteQuestion { source, target, mark: None, start: PacketStart::Here };
            let answer = netlink.route(asked).unwrap();
            assert!(answer.delivered && answer.gateway.is_none() && answer.interface.is_some(), "{answer:?}");
        }
    }

    #[test]
    fn a_source_of_another_machine_is_refused() {
        let (source, target) = (Some("192.0.2.77".parse().unwrap()), "127.0.0.1".parse().unwrap());
        let asked = RouteQuestion { source, target, mark: None, start: PacketStart::Here };
        assert!(Netlink::open().unwrap().route(asked).is_err());
    }

    #[test]
    fn interfaces_have_their_addresses_with_the_length() {
        let mut netlink = Netlink::open().unwrap();
        let found = netlink.interface_addresses().unwrap();
        assert!(found.iter().any(|(_, net)| net.to_string() == "127.0.0.1/8"), "{found:?}");
        netlink.proxied_neighbours().unwrap();
    }

    /// `from 192.0.2.1 to 198.51.100.2 mark 7 oif 3`, by hand, in the order of bytes of this machine.
    #[test]
    fn a_question_is_these_bytes() {
        let asked = RouteQuestion {
            source: Some("192.0.2.1".parse().unwrap()),
            target: "198.51.100.2".parse().unwrap(),
            mark: Some(7),
            start: PacketStart::Bound(3),
        };
        let mut wanted = vec![2, 32, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (kind, value) in [
            (1_u16, [198, 51, 100, 2]),
            (2, [192, 0, 2, 1]),
            (16, 7_u32.to_ne_bytes()),
            (4, 3_u32.to_ne_bytes()),
        ] {
            wanted.extend(8_u16.to_ne_bytes());
            wanted.extend(kind.to_ne_bytes());
            wanted.extend(value);
        }
        assert_eq!(route_request(asked), wanted);
    }

    #[test]
    fn what_makes_no_sense_is_no_answer() {
        let mut whole = vec![2, 32, 0, 0, 254, 2, 0, 1, 0, 0, 0, 0];
        for (kind, value) in [(4_u16, 3_u32.to_ne_bytes()), (5, [192, 0, 2, 254])] {
            whole.extend(8_u16.to_ne_bytes());
            whole.extend(kind.to_ne_bytes());
            whole.extend(value);
        }
        let gateway = Some("192.0.2.254".parse().unwrap());
        assert_eq!(route_answer(&whole), Some(RouteAnswer { interface: Some(3), gateway, delivered: false }));
        for length in 0..whole.len() {
            let cut = &whole[..length];
            let _ = (route_answer(cut), on_interface(cut), proxied(cut), messages(cut).count());
        }
        assert_eq!(route_answer(&[]), None);
    }
}
