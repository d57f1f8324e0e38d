//! Headers that we send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    HEADER_V2, SIGNATURE, TCP4, TCP6, TYPE_AUTHORITY, TYPE_CRC32C, TYPE_UNIQUE_ID, UNSPEC, VERSION_2_PROXY,
    crc32c,
};
use crate::limits::{NAME_MAX, PROXY_ID_MAX, PROXY_OUT_MAX};

/// A TLV's type and length.
const TLV: usize = 3;

// Two addresses of IPv6 with their ports, and all that is told beside them.
const _: () = assert!(PROXY_OUT_MAX == HEADER_V2 + 36 + (TLV + NAME_MAX) + (TLV + PROXY_ID_MAX) + (TLV + 4));

/// What version 2 tells beside the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    /// The name that the client asked for.
    pub authority: Option<&'a str>,
    /// An id of the connection; what is longer than [`PROXY_ID_MAX`] bytes is left out.
    pub unique_id: Option<&'a [u8]>,
    /// A checksum.
    pub crc32c: bool,
}

/// Both ends of a connection in one family: where they are of two, IPv4 is written as IPv6 (RFC 4291 section 2.5.5.2).
enum BothEnds {
    V4([u8; 4], [u8; 4]),
    V6(Ipv6Addr, Ipv6Addr),
}

impl BothEnds {
    fn of(client: SocketAddr, target: SocketAddr) -> BothEnds {
        let mapped = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        match (client.ip().to_canonical(), target.ip().to_canonical()) {
            (IpAddr::V4(client), IpAddr::V4(target)) => BothEnds::V4(client.octets(), target.octets()),
            (client, target) => BothEnds::V6(mapped(client), mapped(target)),
        }
    }
}

/// Writes a header of version 1 for a connection from the first address to the second; where one of them has none they are unknown.
pub fn encode_v1(ends: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let Some((client, target)) = ends else { return out.extend_from_slice(b"PROXY UNKNOWN\r\n") };
    let ports = format!("{} {}\r\n", client.port(), target.port());
    let line = match BothEnds::of(client, target) {
        BothEnds::V4(from, to) => {
            format!("PROXY TCP4 {} {} {ports}", Ipv4Addr::from(from), Ipv4Addr::from(to))
        }
        BothEnds::V6(from, to) => format!("PROXY TCP6 {from} {to} {ports}"),
    };
    out.extend_from_slice(line.as_bytes());
}

/// Writes a header of version 2 for a connection from the first address to the second; where one of them has none neither is told.
pub fn encode_v2(ends: Option<(SocketAddr, SocketAddr)>, tlvs: Tlvs<'_>, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&SIGNATURE);
    out.push(VERSION_2_PROXY);
    // The family, and a length that is known at the end.
    out.extend_from_slice(&[UNSPEC, 0, 0]);
    if let Some((client, target)) = ends {
        out[begin + 13] = match BothEnds::of(client, target) {
            BothEnds::V4(from, to) => {
                out.extend([from, to].as_flattened());
                TCP4
            }
            BothEnds::V6(from, to) => {
                out.extend([from.octets(), to.octets()].as_flattened());
                TCP6
            }
        };
        out.extend([client.port().to_be_bytes(), target.port().to_be_bytes()].as_flattened());
    }
    if let Some(name) = tlvs.authority {
        tlv(TYPE_AUTHORITY, name.as_bytes(), out);
    }
    if let Some(id) = tlvs.unique_id.filter(|id| id.len() <= PROXY_ID_MAX) {
        tlv(TYPE_UNIQUE_ID, id, out);
    }
    let checksum = out.len() + TLV;
    if tlvs.crc32c {
        tlv(TYPE_CRC32C, &[0; 4], out);
    }
    let length = u16::try_from(out.len() - begin - HEADER_V2).unwrap_or_default();
    out[begin + 14..begin + HEADER_V2].copy_from_slice(&length.to_be_bytes());
    if tlvs.crc32c {
        // Section 2.2.3: over the whole header, with the checksum itself as zeros.
        let sum = crc32c(&out[begin..]);
        out[checksum..checksum + 4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Writes a TLV; its value is of at most 255 bytes.
fn tlv(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend(u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn v1(client: &str, target: &str) -> String {
        let mut out = Vec::new();
        encode_v1(Some((socket(client), socket(target))), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn v2(client: &str, target: &str, tlvs: Tlvs<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode_v2(Some((socket(client), socket(target))), tlvs, &mut out);
        out
    }

    #[test]
    fn a_line_of_version_1() {
        assert_eq!(
            v1("192.0.2.1:40000", "203.0.113.7:443"),
            "PROXY TCP4 192.0.2.1 203.0.113.7 40000 443\r\n"
        );
        assert_eq!(v1("[2001:db8::1]:1", "[2001:db8::2]:80"), "PROXY TCP6 2001:db8::1 2001:db8::2 1 80\r\n");
        assert_eq!(v1("[::ffff:192.0.2.1]:1", "192.0.2.2:80"), "PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n");
        assert_eq!(v1("192.0.2.1:1", "[2001:db8::2]:80"), "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 80\r\n");
        let mut out = b"before".to_vec();
        encode_v1(None, &mut out);
        assert_eq!(out, b"beforePROXY UNKNOWN\r\n");
    }

    #[test]
    fn addresses_of_version_2() {
        let four = v2("192.0.2.1:40000", "203.0.113.7:443", Tlvs::default());
        let expected =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xcb\x00\x71\x07\x9c\x40\x01\xbb";
        assert_eq!(four, expected);
        let six = v2("[2001:db8::1]:1", "192.0.2.2:80", Tlvs::default());
        assert_eq!(six[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24");
        assert_eq!(six[16..32], *b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01");
        assert_eq!(six[32..], *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x02\x00\x01\x00\x50");
        let mut unknown = Vec::new();
        encode_v2(None, Tlvs::default(), &mut unknown);
        assert_eq!(unknown, b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00");
    }

    #[test]
    fn what_is_told_beside_the_addresses() {
        let tlvs = Tlvs { authority: Some("example.com"), unique_id: Some(b"7-2a"), crc32c: false };
        let told = v2("192.0.2.1:40000", "203.0.113.7:443", tlvs);
        assert_eq!(told[14..16], [0, 12 + 14 + 7]);
        assert_eq!(told[28..], *b"\x02\x00\x0bexample.com\x05\x00\x047-2a");
        let long = Tlvs { unique_id: Some(&[b'x'; PROXY_ID_MAX + 1]), ..Tlvs::default() };
        assert_eq!(v2("192.0.2.1:1", "192.0.2.2:2", long).len(), 28, "left out");
    }

    /// The checksum is that of the header with zeros in its place, whatever stands before the header.
    #[test]
    fn the_checksum_is_of_the_whole_header() {
        let tlvs = Tlvs { authority: Some("a.example"), unique_id: None, crc32c: true };
        let mut out = b"before".to_vec();
        encode_v2(Some((socket("192.0.2.1:40000"), socket("203.0.113.7:443"))), tlvs, &mut out);
        let mut header = out.split_off(6);
        let sum = header.split_off(header.len() - 4);
        assert_eq!(header[header.len() - 3..], [3, 0, 4]);
        header.extend([0; 4]);
        assert_eq!(sum, crc32c(&header).to_be_bytes());
    }

    #[test]
    fn the_longest_header_fits_its_bound() {
        let (name, id) = ("n".repeat(NAME_MAX), [b'i'; PROXY_ID_MAX]);
        let tlvs = Tlvs { authority: Some(&name), unique_id: Some(&id), crc32c: true };
        assert_eq!(v2("[2001:db8::1]:1", "[2001:db8::2]:2", tlvs).len(), PROXY_OUT_MAX);
        let mut line = Vec::new();
        let longest = socket("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535");
        encode_v1(Some((longest, longest)), &mut line);
        // Section 2.1: 107 bytes at most.
        assert!(line.len() <= 107 && line.len() < PROXY_OUT_MAX, "{}", line.len());
    }
}
