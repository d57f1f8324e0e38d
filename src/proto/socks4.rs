//! SOCKS4 (Ying-Da Lee, "SOCKS: A protocol for TCP proxy across firewalls") and SOCKS4a, the same with a name in place of
//! the address:
//!
//! ```text
//! +----+----+---------+-------+--------+------+      +--------+------+
//! | VN | CD | DSTPORT | DSTIP | USERID | NUL  |      |  NAME  | NUL  |
//! | 4  | 1  |    2    |   4   | 0..255 |  1   |      | 1..255 |  1   |   the name where DSTIP is 0.0.0.x and x is not 0
//! +----+----+---------+-------+--------+------+      +--------+------+
//!
//! +----+----+---------+-------+
//! | VN | CD | DSTPORT | DSTIP |
//! | 0  | 1  |    2    |   4   |
//! +----+----+---------+-------+
//! ```
//!
//! Fields are judged in this order, each as soon as it is whole. Whether the user id is to be believed is not decided here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::address::{Host, Target};
use super::name_error::NameError;
use super::request::{Request, RequestCommand};
use super::{Decoded, ProtoError};
use crate::limits::{NAME_TYPED_MAX, SOCKS4_REQUEST_MAX, USER_NAME_MAX};

/// VN of every request.
pub const VERSION: u8 = 0x04;
/// VN, CD, DSTPORT and DSTIP.
const HEADER: usize = 8;
/// VN of every reply: "the version of the reply code and should be 0".
const REPLY_VERSION: u8 = 0x00;

const _: () = assert!(SOCKS4_REQUEST_MAX == HEADER + USER_NAME_MAX + 1 + NAME_TYPED_MAX + 1);

/// A reply's CD octet. 92, "cannot connect to identd on the client", is never sent: identd is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReplyCode {
    /// Request granted.
    Granted = 90,
    /// Request rejected or failed.
    Rejected = 91,
    /// The client may not go by this user id.
    UserRefused = 93,
}

/// What a client asks for, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socks4Request {
    /// Up to 255 bytes of any value but NUL, which prove nothing.
    pub user: Box<[u8]>,
    /// What it wants.
    pub request: Request,
}

/// Reads a request.
///
/// # Errors
/// [`ProtoError::Version`], [`ProtoError::Command`], [`ProtoError::PortZero`] for CONNECT, [`ProtoError::UserTooLong`] and
/// [`ProtoError::Name`]; the first in the order of the fields.
pub fn decode(input: &[u8]) -> Decoded<Socks4Request> {
    let Some(&version) = input.first() else { return Ok(None) };
    if version != VERSION {
        return Err(ProtoError::Version(version));
    }
    let Some(&code) = input.get(1) else { return Ok(None) };
    let command = command(code)?;
    let Some(port) = input.get(2..4).and_then(|octets| octets.first_chunk()) else { return Ok(None) };
    let port = u16::from_be_bytes(*port);
    if port == 0 && command == RequestCommand::Connect {
        return Err(ProtoError::PortZero);
    }
    let Some(octets) = input.get(4..HEADER).and_then(|octets| octets.first_chunk::<4>()) else {
        return Ok(None);
    };
    let Some((user, rest)) =
        terminated(&input[HEADER..], USER_NAME_MAX).map_err(|()| ProtoError::UserTooLong)?
    else {
        return Ok(None);
    };
    let (host, rest) = match octets {
        [0, 0, 0, last] if *last != 0 => {
            let too_long = |()| NameError::TooLong(NAME_TYPED_MAX + 1);
            let Some((name, rest)) = terminated(rest, NAME_TYPED_MAX).map_err(too_long)? else {
                return Ok(None);
            };
            (Host::parse(name)?, rest)
        }
        octets => (Host::Ip(Ipv4Addr::from(*octets).into()), rest),
    };
    let request = Request { command, target: Target { host, port } };
    Ok(Some((Socks4Request { user: user.into(), request }, input.len() - rest.len())))
}

fn command(code: u8) -> Result<RequestCommand, ProtoError> {
    match code {
        0x01 => Ok(RequestCommand::Connect),
        0x02 => Ok(RequestCommand::Bind),
        // Tor's socks-extensions.txt; the other direction is SOCKS5's alone.
        0xf0 => Ok(RequestCommand::Resolve),
        other => Err(ProtoError::Command(other)),
    }
}

/// The bytes before a NUL, and those behind it.
type Terminated<'a> = (&'a [u8], &'a [u8]);

/// The bytes before the first NUL and those behind it; `None` when more must arrive first, an error where there is none among
/// as many as the field may have.
fn terminated(input: &[u8], most: usize) -> Result<Option<Terminated<'_>>, ()> {
    match input.iter().take(most + 1).position(|byte| *byte == 0) {
        Some(at) => Ok(Some((&input[..at], &input[at + 1..]))),
        None if input.len() > most => Err(()),
        None => Ok(None),
    }
}

/// A reply with an address. One of IPv6, for which there is no room, is all zeros: for BIND these stand for the server's own
/// address, and for CONNECT nobody looks. The port is told in any case.
pub fn reply(code: ReplyCode, address: SocketAddr) -> [u8; 8] {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let ([high, low], [a, b, c, d]) = (address.port().to_be_bytes(), ip.octets());
    [REPLY_VERSION, code as u8, high, low, a, b, c, d]
}

/// A reply without an address, as every failure has it.
pub fn failure(code: ReplyCode) -> [u8; 8] {
    reply(code, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}

#[cfg(test)]
mod tests {
    use super::super::splits::{error_at_last_byte, every_split, value};
    use super::*;

    /// The command, the target as a person would write it, and the user id.
    fn read(message: &[u8]) -> (RequestCommand, String, Vec<u8>) {
        let Socks4Request { user, request } = value(decode, message);
        (request.command, request.target.to_string(), user.into())
    }

    #[test]
    fn a_request_at_every_split() {
        let asked = read(b"\x04\x01\x01\xbb\xc0\x00\x02\x07fred\0");
        assert_eq!(asked, (RequestCommand::Connect, "192.0.2.7:443".into(), b"fred".into()));
        let asked = read(b"\x04\x02\x00\x15\xc0\x00\x02\x07\0");
        assert_eq!(asked, (RequestCommand::Bind, "192.0.2.7:21".into(), Vec::new()));
        let asked = read(b"\x04\x01\x00\x50\xc0\x00\x02\x07\xff\xfe\r\n\0");
        assert_eq!(asked.2, b"\xff\xfe\r\n");
    }

    #[test]
    fn a_name_behind_the_user_id_at_every_split() {
        let asked = read(b"\x04\x01\x00\x50\x00\x00\x00\x01fred\0example.com\0");
        assert_eq!(asked, (RequestCommand::Connect, "example.com:80".into(), b"fred".into()));
        let asked = read(b"\x04\x02\x00\x50\x00\x00\x00\xff\0EXAMPLE.com.\0");
        assert_eq!(asked, (RequestCommand::Bind, "example.com:80".into(), Vec::new()));
    }

    #[test]
    fn an_address_sent_as_a_name_is_an_address() {
        let Socks4Request { request, .. } = value(decode, b"\x04\x01\x00\x50\x00\x00\x00\x01\x000x7f.1\0");
        assert_eq!(request.target.host, Host::Ip([127, 0, 0, 1].into()));
    }

    /// Only 0.0.0.x with an x announces a name: 0.0.0.0 is an address, which says "anybody" with BIND, and so are others that
    /// begin with zeros.
    #[test]
    fn other_addresses_with_zeros_are_addresses() {
        assert_eq!(read(b"\x04\x02\x00\x00\0\0\0\0\0").1, "0.0.0.0:0");
        assert_eq!(read(b"\x04\x01\x00\x50\0\0\0\0\0").1, "0.0.0.0:80");
        assert_eq!(read(b"\x04\x01\x00\x50\0\0\x01\x01\0").1, "0.0.1.1:80");
        assert_eq!(read(b"\x04\x01\x00\x50\x01\0\0\x01\0").1, "1.0.0.1:80");
    }

    #[test]
    fn each_bad_field_errs_on_its_byte() {
        for version in [0x00, 0x03, 0x05, 0xff] {
            assert_eq!(error_at_last_byte(decode, &[version]), ProtoError::Version(version));
        }
        for code in [0x00, 0x03, 0x5a, 0xff] {
            assert_eq!(error_at_last_byte(decode, &[4, code]), ProtoError::Command(code));
        }
        assert_eq!(error_at_last_byte(decode, b"\x04\x01\0\0"), ProtoError::PortZero);
        let named = |name: &[u8]| [b"\x04\x01\x00\x50\0\0\0\x01fred\0", name].concat();
        assert_eq!(error_at_last_byte(decode, &named(b"\0")), NameError::Empty.into());
        assert_eq!(error_at_last_byte(decode, &named(b"a b\0")), NameError::Character(b' ').into());
        assert_eq!(error_at_last_byte(decode, &named(b"1.2.3.4.5\0")), NameError::NotAnAddress.into());
        assert_eq!(every_split(decode, b"\x04\x09\0\0"), Err(ProtoError::Command(9)));
    }

    #[test]
    fn a_user_id_and_a_name_of_255_bytes_fit_and_none_of_256() {
        let user =
            |length: usize| [b"\x04\x01\x00\x50\xc0\x00\x02\x07".as_slice(), &vec![b'u'; length]].concat();
        assert_eq!(read(&[user(255), vec![0]].concat()).2.len(), 255);
        assert_eq!(error_at_last_byte(decode, &user(256)), ProtoError::UserTooLong);
        let name =
            |zeros: usize| [b"\x04\x01\x1f\x90\0\0\0\x01\0".as_slice(), &vec![b'0'; zeros], b"127"].concat();
        // Octal 0127, which is 87: an address of 255 digits.
        assert_eq!(read(&[name(252), vec![0]].concat()).1, "0.0.0.87:8080");
        assert_eq!(error_at_last_byte(decode, &name(253)), NameError::TooLong(256).into());
        let longest = [b"\x04\x01\x1f\x90\0\0\0\x01".as_slice(), &[b'u'; 255], b"\0", &[b'0'; 252], b"127\0"];
        assert_eq!(longest.concat().len(), SOCKS4_REQUEST_MAX);
        assert_eq!(read(&longest.concat()).2.len(), 255);
    }

    #[test]
    fn replies_on_the_wire() {
        let wire = |code, address: &str| reply(code, address.parse().unwrap());
        assert_eq!(wire(ReplyCode::Granted, "192.0.2.1:4660"), *b"\x00\x5a\x12\x34\xc0\x00\x02\x01");
        assert_eq!(wire(ReplyCode::Granted, "[::ffff:192.0.2.1]:80"), *b"\x00\x5a\x00\x50\xc0\x00\x02\x01");
        assert_eq!(wire(ReplyCode::Granted, "[2001:db8::5]:80"), *b"\x00\x5a\x00\x50\0\0\0\0");
        assert_eq!(failure(ReplyCode::Rejected), *b"\x00\x5b\0\0\0\0\0\0");
        assert_eq!(failure(ReplyCode::UserRefused), *b"\x00\x5d\0\0\0\0\0\0");
    }
}
