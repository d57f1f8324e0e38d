//! Whose the other end of a connection within this machine is, by the kernel's word: NETLINK_SOCK_DIAG (sock_diag(7)).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{recv, send, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use super::netlink::{HEADER, messages, u32_at};
use super::{Errno, uninterrupted};
use crate::limits;

/// The message that asks for a socket of a family, and the one that tells of it (linux/sock_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// The states of a socket whose connection stands, at least one way (net/tcp_states.h).
const TCP_ESTABLISHED: u8 = 1;
const TCP_FIN_WAIT1: u8 = 4;
const TCP_FIN_WAIT2: u8 = 5;
const TCP_CLOSE_WAIT: u8 = 8;
/// Bytes of `struct inet_diag_req_v2`, and of what stands in it before the `struct inet_diag_sockid`.
const REQUEST: usize = 56;
/// Bytes of `struct inet_diag_sockid`: two ports, two addresses of 16 bytes, an interface, a cookie of 8 bytes.
const SOCKET_ID: usize = 48;
/// Bytes of `struct inet_diag_msg`; where in it the sockid, the uid and the inode stand.
const ANSWER: usize = 72;
const ID_AT: usize = 4;
const UID_AT: usize = 64;
const INODE_AT: usize = 68;

/// A socket that is asked with. Kept open, it works where descriptors have run out.
#[derive(Debug)]
pub struct SocketOwners {
    socket: OwnedFd,
    sequence: u32,
}

impl SocketOwners {
    /// Opens the socket.
    ///
    /// # Errors
    /// What socket(2) refused: EAFNOSUPPORT or EPERM where netlink is closed to this process.
    pub fn open() -> Result<SocketOwners, Errno> {
        let protocol = SockProtocol::NetlinkSockDiag;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        // The kernel answers within the call; a lost answer must not hold up who asks.
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))?;
        Ok(SocketOwners { socket, sequence: 0 })
    }

    /// The user whose socket is bound to `theirs` and connected to `ours`; `None` where this machine has no such socket,
    /// or no process has it open.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn owner(&mut self, theirs: SocketAddr, ours: SocketAddr) -> Result<Option<u32>, Errno> {
        // A mapped connection may be of an IPv4 socket or of an IPv6 one: the kernel finds both under IPv4.
        let (theirs, ours) = (canonical(theirs), canonical(ours));
        if theirs.is_ipv4() != ours.is_ipv4() {
            return Ok(None);
        }
        self.sequence = self.sequence.wrapping_add(1);
        let id = socket_id(theirs, ours);
        send(self.socket.as_raw_fd(), &request(self.sequence, &id, theirs.is_ipv4()), MsgFlags::empty())?;
        let mut buffer = vec![0; limits::NETLINK_READ_BYTES];
        loop {
            let count = uninterrupted(|| recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()))?;
            for message in messages(&buffer[..count]).filter(|message| message.sequence == self.sequence) {
                if message.kind == SOCK_DIAG_BY_FAMILY {
                    return Ok(owner(message.body, &id));
                }
                if libc::c_int::from(message.kind) == libc::NLMSG_ERROR {
                    let code = message.body.first_chunk().map_or(-libc::EIO, |b| i32::from_ne_bytes(*b));
                    return match Errno::from_raw(-code) {
                        Errno::ENOENT => Ok(None),
                        errno => Err(errno),
                    };
                }
            }
        }
    }
}

/// The owner that an answer names. The kernel looks for a listener where there is no connection, and says uid 0 of what no
/// process has open any more (TIME_WAIT among them); and a socket that is only about to connect may have taken the port of
/// one that is gone. None of these is anybody's word.
fn owner(body: &[u8], id: &[u8; SOCKET_ID]) -> Option<u32> {
    let named = body.get(ID_AT..ID_AT + SOCKET_ID)?;
    // Ports and addresses; behind them stand the interface and the cookie.
    let same =
        named[..4] == id[..4] && same_ip(&named[4..20], &id[4..20]) && same_ip(&named[20..36], &id[20..36]);
    let (state, uid, inode) = (*body.get(1)?, u32_at(body, UID_AT)?, u32_at(body, INODE_AT)?);
    let stands = [TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_CLOSE_WAIT].contains(&state);
    (body.len() >= ANSWER && same && stands && inode != 0).then_some(uid)
}

/// Whether two addresses of 16 bytes are one. An IPv4 address stands in the first four bytes, or is mapped where an IPv6
/// socket has it.
fn same_ip(named: &[u8], asked: &[u8]) -> bool {
    let mapped = asked[4..] == [0; 12]
        && named[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
        && named[12..] == asked[..4];
    mapped || named == asked
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// `struct inet_diag_sockid` of the socket at `theirs`: its own end is the source. Numbers are in network order.
fn socket_id(theirs: SocketAddr, ours: SocketAddr) -> [u8; SOCKET_ID] {
    let mut id = [0; SOCKET_ID];
    id[..2].copy_from_slice(&theirs.port().to_be_bytes());
    id[2..4].copy_from_slice(&ours.port().to_be_bytes());
    for (at, ip) in [(4, theirs.ip()), (20, ours.ip())] {
        match ip {
            IpAddr::V4(v4) => id[at..at + 4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => id[at..at + 16].copy_from_slice(&v6.octets()),
        }
    }
    // INET_DIAG_NOCOOKIE, twice: whichever socket it is.
    id[40..].fill(0xff);
    id
}

fn request(sequence: u32, id: &[u8; SOCKET_ID], is_v4: bool) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER + REQUEST);
    request.extend_from_slice(&((HEADER + REQUEST) as u32).to_ne_bytes());
    request.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend_from_slice(&sequence.to_ne_bytes());
    request.extend_from_slice(&0_u32.to_ne_bytes());
    let family = if is_v4 { libc::AF_INET } else { libc::AF_INET6 };
    request.extend_from_slice(&[family as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    // Of a socket that is named the states are not looked at.
    request.extend_from_slice(&u32::MAX.to_ne_bytes());
    request.extend_from_slice(id);
    request
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::sys::machine;

    fn ends(listen: &str, dial: &str) -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind(listen).unwrap();
        let port = listener.local_addr().unwrap().port();
        let theirs = TcpStream::connect((dial, port)).unwrap();
        let (ours, peer) = listener.accept().unwrap();
        (theirs, ours, peer)
    }

    #[test]
    fn the_owner_of_the_other_end_is_named_in_both_families() {
        let mut owners = SocketOwners::open().unwrap();
        for (listen, dial) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
            ("[::]:0", "::ffff:127.0.0.1"),
        ] {
            let (theirs, ours, peer) = ends(listen, dial);
            let local = ours.local_addr().unwrap();
            assert_eq!(owners.owner(peer, local), Ok(Some(machine::effective_user())), "{listen} {dial}");
            drop(theirs);
            assert_eq!(owners.owner(peer, local), Ok(None), "{listen} {dial}: nobody has it open");
        }
    }

    /// The kernel answers with a listener of the same port where there is no connection.
    #[test]
    fn a_listener_is_not_taken_for_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut owners = SocketOwners::open().unwrap();
        assert_eq!(owners.owner(listener.local_addr().unwrap(), nobody), Ok(None));
        assert_eq!(owners.owner("192.0.2.1:5".parse().unwrap(), nobody), Ok(None));
        assert_eq!(owners.owner("[2001:db8::1]:5".parse().unwrap(), nobody), Ok(None));
    }

    #[test]
    fn what_is_cut_off_or_of_another_socket_names_nobody() {
        let (theirs, ours) = ("127.0.0.1:9".parse().unwrap(), "127.0.0.1:8".parse().unwrap());
        let id = socket_id(theirs, ours);
        let mut body = vec![2, 1, 0, 0];
        body.extend(id);
        body.extend([0; 12]);
        body.extend(7_u32.to_ne_bytes());
        body.extend(1_u32.to_ne_bytes());
        assert_eq!(owner(&body, &id), Some(7));
        assert!((0..body.len()).all(|length| owner(&body[..length], &id).is_none()));
        assert_eq!(owner(&body, &socket_id(ours, theirs)), None);
        let with = |at: usize, value: u8| {
            let mut body = body.clone();
            body[at] = value;
            owner(&body, &id)
        };
        assert_eq!(with(INODE_AT, 0), None);
        // SYN_SENT, SYN_RECV, TIME_WAIT, CLOSE, LAST_ACK, LISTEN, CLOSING, NEW_SYN_RECV.
        assert!([2, 3, 6, 7, 9, 10, 11, 12].iter().all(|state| with(1, *state).is_none()));
        assert!([1, 4, 5, 8].iter().all(|state| with(1, *state) == Some(7)));
    }
}
