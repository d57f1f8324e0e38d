//! The reply (RFC 1928 section 6):
//!
//! ```text
//! +-----+-----+-------+------+----------+----------+
//! | VER | REP |  RSV  | ATYP | BND.ADDR | BND.PORT |
//! |  1  |  1  | X'00' |  1   | 4 or 16  |    2     |
//! +-----+-----+-------+------+----------+----------+
//! ```
//!
//! Which error has which REP is decided in one place, and not here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;

use super::VERSION;
use super::address::{ATYP_IPV4, ATYP_IPV6, ATYP_NAME, Name};
use crate::limits::REPLY_MAX;

/// VER, REP, RSV and ATYP.
const HEADER: usize = 4;
/// An address of four octets and a port.
const REPLY_V4: usize = HEADER + 4 + 2;

const _: () = assert!(REPLY_MAX == HEADER + 16 + 2);

/// The REP octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rep {
    /// Succeeded.
    Succeeded = 0x00,
    /// General SOCKS server failure: the fault is ours.
    GeneralFailure = 0x01,
    /// Connection not allowed by ruleset.
    NotAllowed = 0x02,
    /// Network unreachable.
    NetworkUnreachable = 0x03,
    /// Host unreachable.
    HostUnreachable = 0x04,
    /// Connection refused.
    ConnectionRefused = 0x05,
    /// TTL expired; by custom also any timeout of the target.
    TtlExpired = 0x06,
    /// Command not supported.
    CommandNotSupported = 0x07,
    /// Address type not supported.
    AddressTypeNotSupported = 0x08,
}

impl Rep {
    /// The REP octet.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// An encoded reply of 10 or 22 bytes, on the stack; dereferences to what goes on the wire.
#[derive(Clone, Copy, Debug)]
pub struct EncodedReply {
    bytes: [u8; REPLY_MAX],
    len: usize,
}

impl Deref for EncodedReply {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A reply that says `rep` and where we are bound. An IPv4-mapped address, which is what a dual-stack socket
/// reports for an IPv4 peer, is written as the IPv4 address that it is.
pub fn encode(rep: Rep, bound: SocketAddr) -> EncodedReply {
    let mut bytes = [0; REPLY_MAX];
    bytes[0] = VERSION;
    bytes[1] = rep.code();
    let len = match bound.ip().to_canonical() {
        IpAddr::V4(address) => {
            bytes[3] = ATYP_IPV4;
            bytes[HEADER..HEADER + 4].copy_from_slice(&address.octets());
            REPLY_V4
        }
        IpAddr::V6(address) => {
            bytes[3] = ATYP_IPV6;
            bytes[HEADER..HEADER + 16].copy_from_slice(&address.octets());
            REPLY_MAX
        }
    };
    bytes[len - 2..len].copy_from_slice(&bound.port().to_be_bytes());
    EncodedReply { bytes, len }
}

/// Writes a reply that says `rep` and a name, which Tor's RESOLVE_PTR has in the place of an address; its port is 0.
pub fn encode_name(rep: Rep, name: &Name, out: &mut Vec<u8>) {
    // A canonical name is shorter than a length octet can say.
    let length = u8::try_from(name.as_str().len()).unwrap_or_default();
    out.extend_from_slice(&[VERSION, rep.code(), 0, ATYP_NAME, length]);
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(&[0, 0]);
}

/// A reply without a bound address: 0.0.0.0:0, as every failure has it.
pub fn failure(rep: Rep) -> EncodedReply {
    encode(rep, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}

#[cfg(test)]
mod tests {
    use super::super::address::Host;
    use super::*;

    fn wire(rep: Rep, bound: &str) -> Vec<u8> {
        encode(rep, bound.parse().unwrap()).to_vec()
    }

    #[test]
    fn an_ipv4_reply_is_ten_bytes() {
        assert_eq!(wire(Rep::Succeeded, "192.0.2.1:4660"), b"\x05\x00\x00\x01\xc0\x00\x02\x01\x12\x34");
    }

    #[test]
    fn an_ipv6_reply_is_twenty_two_bytes() {
        assert_eq!(
            wire(Rep::Succeeded, "[2001:db8::5]:80"),
            b"\x05\x00\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x00\x50"
        );
    }

    #[test]
    fn an_ipv4_mapped_address_is_written_as_ipv4() {
        assert_eq!(
            wire(Rep::Succeeded, "[::ffff:10.1.2.3]:255"),
            b"\x05\x00\x00\x01\x0a\x01\x02\x03\x00\xff"
        );
    }

    #[test]
    fn a_name_stands_where_the_address_would() {
        let Ok(Host::Name(name)) = Host::parse(b"host.example") else { panic!("a name") };
        let mut out = b"before".to_vec();
        encode_name(Rep::Succeeded, &name, &mut out);
        assert_eq!(out, b"before\x05\x00\x00\x03\x0chost.example\x00\x00");
    }

    #[test]
    fn failures_carry_their_code_and_no_address() {
        let codes = [
            (Rep::GeneralFailure, 1),
            (Rep::NotAllowed, 2),
            (Rep::NetworkUnreachable, 3),
            (Rep::HostUnreachable, 4),
            (Rep::ConnectionRefused, 5),
            (Rep::TtlExpired, 6),
            (Rep::CommandNotSupported, 7),
            (Rep::AddressTypeNotSupported, 8),
        ];
        for (rep, code) in codes {
            assert_eq!(*failure(rep), [5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
    }
}
