//! The header in front of each datagram of an association (RFC 1928 section 7):
//!
//! ```text
//! +------+------+------+----------+----------+----------+
//! | RSV  | FRAG | ATYP | DST.ADDR | DST.PORT |   DATA   |
//! |  2   |  1   |  1   | variable |    2     | variable |
//! +------+------+------+----------+----------+----------+
//! ```
//!
//! A datagram is whole or it is nothing: there is no "more". Names stay as typed here, for most of them have been
//! made canonical before (`address::Host::parse`) and nothing may be allocated for each datagram.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::address::{ATYP_IPV4, ATYP_IPV6, ATYP_NAME};
use crate::limits::UDP_HEADER_MAX;

/// RSV and FRAG, which stand before the address.
const HEADER: usize = 3;

/// Where a datagram is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramDestination<'a> {
    /// An address.
    Ip(IpAddr),
    /// A name as the client typed it; may be an address in another spelling, or nothing that can be a name.
    Name(&'a [u8]),
}

/// A header taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// FRAG, uninterpreted.
    pub frag: u8,
    /// DST.ADDR.
    pub destination: DatagramDestination<'a>,
    /// DST.PORT, never 0.
    pub port: u16,
    /// Where DATA begins, in bytes from the start of the datagram.
    pub len: usize,
}

/// Why a datagram is dropped unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It ends inside of its header.
    Short,
    /// RSV is not X'0000'.
    Reserved,
    /// An ATYP that RFC 1928 does not know.
    AddressType(u8),
    /// A name without a byte.
    EmptyName,
    /// DST.PORT is 0: nothing listens there.
    PortZero,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("shorter than its header"),
            Self::Reserved => f.write_str("RSV is not 0"),
            Self::AddressType(kind) => write!(f, "unknown address type {kind:#04x}"),
            Self::EmptyName => f.write_str("empty name"),
            Self::PortZero => f.write_str("port 0"),
        }
    }
}

impl std::error::Error for HeaderError {}

/// Takes the header of a client's datagram apart.
///
/// # Errors
/// What [`HeaderError`] lists.
pub fn decode(datagram: &[u8]) -> Result<Header<'_>, HeaderError> {
    let Some((&[reserved_0, reserved_1, frag, kind], rest)) = datagram.split_first_chunk::<4>() else {
        return Err(HeaderError::Short);
    };
    if reserved_0 != 0 || reserved_1 != 0 {
        return Err(HeaderError::Reserved);
    }
    let (destination, rest) = match kind {
        ATYP_IPV4 => match rest.split_first_chunk::<4>() {
            Some((octets, rest)) => (DatagramDestination::Ip((*octets).into()), rest),
            None => return Err(HeaderError::Short),
        },
        ATYP_IPV6 => match rest.split_first_chunk::<16>() {
            Some((octets, rest)) => (DatagramDestination::Ip((*octets).into()), rest),
            None => return Err(HeaderError::Short),
        },
        ATYP_NAME => match rest.split_first() {
            Some((0, _)) => return Err(HeaderError::EmptyName),
            Some((&length, rest)) => match rest.split_at_checked(usize::from(length)) {
                Some((name, rest)) => (DatagramDestination::Name(name), rest),
                None => return Err(HeaderError::Short),
            },
            None => return Err(HeaderError::Short),
        },
        other => return Err(HeaderError::AddressType(other)),
    };
    let Some((port, data)) = rest.split_first_chunk::<2>() else { return Err(HeaderError::Short) };
    let port = u16::from_be_bytes(*port);
    if port == 0 {
        return Err(HeaderError::PortZero);
    }
    Ok(Header { frag, destination, port, len: datagram.len() - data.len() })
}

/// Writes the header of a datagram from `peer` into `into`, without a fragment, and returns its length in bytes.
/// An IPv4 peer is written as one whatever socket reported it.
pub fn encode(peer: SocketAddr, into: &mut [u8; UDP_HEADER_MAX]) -> usize {
    into[..HEADER].fill(0);
    let len = match peer.ip().to_canonical() {
        IpAddr::V4(address) => {
            into[HEADER] = ATYP_IPV4;
            into[4..8].copy_from_slice(&address.octets());
            10
        }
        IpAddr::V6(address) => {
            into[HEADER] = ATYP_IPV6;
            into[4..20].copy_from_slice(&address.octets());
            UDP_HEADER_MAX
        }
    };
    into[len - 2..len].copy_from_slice(&peer.port().to_be_bytes());
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> DatagramDestination<'static> {
        DatagramDestination::Ip(text.parse().unwrap())
    }

    #[test]
    fn an_ipv4_header_and_its_data() {
        let datagram = b"\0\0\0\x01\xc0\x00\x02\x07\x00\x35data";
        let header = decode(datagram).unwrap();
        assert_eq!(header, Header { frag: 0, destination: ip("192.0.2.7"), port: 53, len: 10 });
        assert_eq!(&datagram[header.len..], b"data");
    }

    #[test]
    fn an_ipv6_header_without_data() {
        let datagram = b"\0\0\x85\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb";
        let header = decode(datagram).unwrap();
        assert_eq!(header, Header { frag: 0x85, destination: ip("2001:db8::1"), port: 443, len: 22 });
    }

    #[test]
    fn a_name_stays_as_typed() {
        let header = decode(b"\0\0\0\x03\x05A.b.C\x00\x35\xff").unwrap();
        assert_eq!(
            header,
            Header { frag: 0, destination: DatagramDestination::Name(b"A.b.C"), port: 53, len: 12 }
        );
    }

    #[test]
    fn every_shorter_datagram_is_short() {
        for datagram in [
            &b"\0\0\0\x01\xc0\x00\x02\x07\x00\x35"[..],
            b"\0\0\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb",
            b"\0\0\0\x03\x05a.b.c\x00\x35",
        ] {
            assert!(decode(datagram).is_ok());
            for length in 0..datagram.len() {
                assert_eq!(decode(&datagram[..length]), Err(HeaderError::Short), "{length} bytes");
            }
        }
    }

    #[test]
    fn bad_fields_are_told_apart() {
        assert_eq!(decode(b"\x01\0\0\x01\x7f\0\0\x01\0\x35"), Err(HeaderError::Reserved));
        assert_eq!(decode(b"\0\x01\0\x01\x7f\0\0\x01\0\x35"), Err(HeaderError::Reserved));
        for kind in [0, 2, 5, 0xff] {
            let datagram = [0, 0, 0, kind, 127, 0, 0, 1, 0, 53];
            assert_eq!(decode(&datagram), Err(HeaderError::AddressType(kind)));
        }
        assert_eq!(decode(b"\0\0\0\x01\x7f\0\0\x01\0\0x"), Err(HeaderError::PortZero));
        assert_eq!(decode(b"\0\0\0\x03\0\0\x35x"), Err(HeaderError::EmptyName));
    }

    #[test]
    fn replies_name_their_peer() {
        let wire = |peer: &str| {
            let mut bytes = [0xaa; UDP_HEADER_MAX];
            let len = encode(peer.parse().unwrap(), &mut bytes);
            bytes[..len].to_vec()
        };
        assert_eq!(wire("192.0.2.7:53"), b"\0\0\0\x01\xc0\x00\x02\x07\x00\x35");
        assert_eq!(wire("[::ffff:192.0.2.7]:53"), b"\0\0\0\x01\xc0\x00\x02\x07\x00\x35");
        assert_eq!(
            wire("[2001:db8::1]:443"),
            b"\0\0\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb"
        );
    }
}
