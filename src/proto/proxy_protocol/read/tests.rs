//! Headers by hand, every split of them, and a parser of others that has to say the same.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::proto::splits::{every_split, value};

fn v1(line: &str) -> Vec<u8> {
    format!("{line}\r\n").into_bytes()
}

/// A header of version 2 with this version and command, family and transport, and what follows.
fn v2(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, kind][..], &length, rest].concat()
}

/// 192.0.2.1:40000 to 198.51.100.9:443.
const V4: &[u8] = b"\xc0\x00\x02\x01\xc6\x33\x64\x09\x9c\x40\x01\xbb";

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat()
}

fn client(text: &str) -> ProxyHeader {
    ProxyHeader { client: Some(text.parse().unwrap()), ..ProxyHeader::default() }
}

fn broken(bytes: &[u8]) -> &'static str {
    match every_split(decode, bytes) {
        Err(ProtoError::ProxyHeader(what)) => what,
        other => panic!("{other:?} of {bytes:02x?}"),
    }
}

#[test]
fn a_line_says_who_the_client_is() {
    let long = format!("PROXY UNKNOWN {}", "x".repeat(91));
    assert_eq!(long.len(), 105);
    for (line, read) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.9 40000 443", client("192.0.2.1:40000")),
        ("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0", client("255.255.255.255:65535")),
        ("PROXY TCP6 2001:db8::1 ::1 1 2", client("[2001:db8::1]:1")),
        ("PROXY TCP6 2001:DB8:0:0:0:0:0:1 ::1 1 2", client("[2001:db8::1]:1")),
        ("PROXY UNKNOWN", ProxyHeader::default()),
        ("PROXY UNKNOWN ffff::1 what  ever", ProxyHeader::default()),
        (&long, ProxyHeader::default()),
    ] {
        assert_eq!(value(decode, &v1(line)), read, "{line}");
    }
}

#[test]
fn a_line_that_is_none_is_broken() {
    for line in [
        "PROXY ",
        "PROXY  TCP4 192.0.2.1 198.51.100.9 40000 443",
        "PROXY TCP4 192.0.2.1 198.51.100.9 40000",
        "PROXY TCP4 192.0.2.1 198.51.100.9 40000 443 ",
        "PROXY TCP4 192.0.2.1  198.51.100.9 40000 443",
        "PROXY TCP4 192.0.2.1 198.51.100.9 40000 0443",
        "PROXY TCP4 192.0.2.1 198.51.100.9 65536 443",
        "PROXY TCP4 192.0.2.1 198.51.100.9 +1 443",
        "PROXY TCP4 192.0.2.01 198.51.100.9 1 443",
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 192.0.2.1 198.51.100.9 1 2",
        "PROXY tcp4 192.0.2.1 198.51.100.9 1 2",
        "PROXY UDP4 192.0.2.1 198.51.100.9 1 2",
    ] {
        broken(&v1(line));
    }
    let endless = [b"PROXY UNKNOWN ", &[b'x'; 100][..]].concat();
    assert_eq!(broken(&endless), "the line does not end");
    assert_eq!(decode(&endless[..106]), Ok(None));
    // A line feed alone ends nothing.
    assert_eq!(
        broken(&[&b"PROXY TCP4 192.0.2.1 198.51.100.9 1 2\n"[..], &[b'x'; 90]].concat()),
        "the line does not end"
    );
}

#[test]
fn whoever_sends_no_header_is_told_from_one_whose_header_is_broken() {
    for bytes in [
        &b"\x05\x01\x00"[..],
        b"GET / HTTP/1.1",
        b"POST / HTTP/1.1",
        b"PROXY\r\n",
        b"\r\n\r\n\0\r\nQUIX",
        b"\x16\x03\x01",
    ] {
        assert_eq!(every_split(decode, bytes), Err(ProtoError::NoProxyHeader), "{bytes:02x?}");
    }
    assert_eq!((decode(b""), decode(b"PROXY"), decode(b"\r\n\r\n")), (Ok(None), Ok(None), Ok(None)));
}

#[test]
fn a_binary_header_says_who_the_client_is() {
    let v6 = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse::<Ipv6Addr>().unwrap().octets()).concat();
    let v6 = [&v6[..], b"\x9c\x40\x01\xbb"].concat();
    for (header, read) in [
        (v2(0x21, 0x11, V4), client("192.0.2.1:40000")),
        (v2(0x21, 0x21, &v6), client("[2001:db8::1]:40000")),
        (
            v2(0x21, 0x11, &[V4, &field(0x04, &[7; 300]), &field(0xee, b"")].concat()),
            client("192.0.2.1:40000"),
        ),
        // Nobody of TCP: whoever connected is the client.
        (v2(0x21, 0x12, V4), ProxyHeader::default()),
        (v2(0x21, 0x22, &v6), ProxyHeader::default()),
        (v2(0x21, 0x31, &[b'/'; 216]), ProxyHeader::default()),
        (v2(0x21, 0x32, &[b'/'; 216]), ProxyHeader::default()),
        (v2(0x21, 0x00, b""), ProxyHeader::default()),
        // LOCAL: whatever it has is ignored, its family and broken fields, too.
        (v2(0x20, 0x00, b""), ProxyHeader::default()),
        (v2(0x20, 0x11, V4), ProxyHeader::default()),
        (v2(0x20, 0xff, b"\xff\xff\xff\xff"), ProxyHeader::default()),
    ] {
        assert_eq!(value(decode, &header), read, "{header:02x?}");
    }
}

#[test]
fn the_names_of_a_connection_are_read_the_first_of_each() {
    let rest =
        [V4, &field(0x05, b"\x00id\xff"), &field(0x02, b"proxy.example"), &field(0x05, b"other")].concat();
    let read = value(decode, &v2(0x21, 0x11, &rest));
    assert_eq!(read.unique_id.as_deref(), Some(&b"\x00id\xff"[..]));
    assert_eq!(read.authority.as_deref(), Some("proxy.example"));
    let with = |kind: u8, length: usize| v2(0x21, 0x11, &[V4, &field(kind, &vec![b'a'; length])].concat());
    assert!(value(decode, &with(0x05, 128)).unique_id.is_some());
    assert!(value(decode, &with(0x02, 255)).authority.is_some());
    assert_eq!(broken(&with(0x05, 129)), "a unique id that is too long");
    assert_eq!(broken(&with(0x02, 256)), "an authority that is too long");
    assert_eq!(
        broken(&v2(0x21, 0x11, &[V4, &field(0x02, b"\xff")].concat())),
        "an authority that is no text"
    );
}

#[test]
fn a_binary_header_that_is_none_is_broken() {
    for (header, what) in [
        (v2(0x11, 0x11, V4), "an unknown version or command"),
        (v2(0x22, 0x11, V4), "an unknown version or command"),
        (v2(0x21, 0x01, V4), "an unknown family or transport"),
        (v2(0x21, 0x13, V4), "an unknown family or transport"),
        (v2(0x21, 0x41, V4), "an unknown family or transport"),
        (v2(0x21, 0x11, &V4[..11]), "it is too short for its addresses"),
        (v2(0x21, 0x21, V4), "it is too short for its addresses"),
        (v2(0x21, 0x11, &[V4, b"\x04"].concat()), "a field that ends too soon"),
        (v2(0x21, 0x11, &[V4, b"\x04\x00\x02\x00"].concat()), "a field that ends too soon"),
        (v2(0x21, 0x00, b"\x04\x00\x01"), "a field that ends too soon"),
        (v2(0x20, 0x00, &vec![0; PROXY_HEADER_MAX]), "it is too long"),
    ] {
        assert_eq!(broken(&header), what, "{header:02x?}");
    }
    let longest = v2(0x20, 0x00, &vec![0; PROXY_HEADER_MAX - 16]);
    assert_eq!(value(decode, &longest), ProxyHeader::default());
}

/// A header whose sum another program made.
#[test]
fn a_checksum_has_to_be_right() {
    let with = |told: &[u8]| v2(0x21, 0x11, &[V4, &field(0x03, told), &field(0x05, b"id")].concat());
    let right = crc32c(&with(&[0; 4])).to_be_bytes();
    assert_eq!(right, SUM_OF_OTHERS);
    assert_eq!(value(decode, &with(&right)).client, client("192.0.2.1:40000").client);
    let wrong = (crc32c(&with(&[0; 4])) ^ 1).to_be_bytes();
    assert_eq!(broken(&with(&wrong)), "a wrong checksum");
    assert_eq!(broken(&with(&right[..3])), "a checksum that is none");
}

/// The sum of that header by a program of others.
const SUM_OF_OTHERS: [u8; 4] = [0x9f, 0xc5, 0xc4, 0x7c];

/// What the parser of others reads: the client, and how long the header is; `None` where it is no whole one.
fn read_by_others(bytes: &[u8]) -> Option<(Option<SocketAddr>, usize)> {
    let (v4, v6) = (|ip: Ipv4Addr| IpAddr::from(ip), |ip: Ipv6Addr| IpAddr::from(ip));
    if bytes.starts_with(&SIGNATURE) {
        let header = ppp::v2::Header::try_from(bytes).ok()?;
        let client = match (header.command, header.protocol, header.addresses) {
            (ppp::v2::Command::Local, ..) => None,
            (_, ppp::v2::Protocol::Stream, ppp::v2::Addresses::IPv4(ends)) => {
                Some((v4(ends.source_address), ends.source_port))
            }
            (_, ppp::v2::Protocol::Stream, ppp::v2::Addresses::IPv6(ends)) => {
                Some((v6(ends.source_address), ends.source_port))
            }
            _ => None,
        };
        return Some((client.map(SocketAddr::from), header.len()));
    }
    let header = ppp::v1::Header::try_from(bytes).ok()?;
    let client = match header.addresses {
        ppp::v1::Addresses::Tcp4(ends) => Some((v4(ends.source_address), ends.source_port)),
        ppp::v1::Addresses::Tcp6(ends) => Some((v6(ends.source_address), ends.source_port)),
        ppp::v1::Addresses::Unknown => None,
    };
    Some((client.map(SocketAddr::from), header.header.len()))
}

/// Nearly a header: right and wrong ones of both versions.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        "[0-9.]{1,15}",
        "[0-9a-f:]{1,20}",
        Just("192.0.2.1".to_owned()),
        Just("2001:db8::1".to_owned()),
        "[0-9]{1,6}",
    ];
    let line =
        (prop::sample::select(vec!["TCP4", "TCP6", "UNKNOWN", "TCP"]), prop::collection::vec(word, 0..6))
            .prop_map(|(family, words)| v1(&format!("PROXY {family} {}", words.join(" "))));
    let command = prop::sample::select(vec![0x20u8, 0x21, 0x22, 0x11]);
    let kind = prop::sample::select(vec![0u8, 0x11, 0x12, 0x21, 0x22, 0x31, 0x41, 0x10]);
    let fields = prop::collection::vec((0u8..8, prop::collection::vec(any::<u8>(), 0..6)), 0..4);
    let binary = (command, kind, prop::collection::vec(any::<u8>(), 0..40), fields).prop_map(
        |(command, kind, addresses, fields)| {
            let fields = fields.into_iter().flat_map(|(kind, value)| field(kind, &value));
            v2(command, kind, &addresses.into_iter().chain(fields).collect::<Vec<_>>())
        },
    );
    let right =
        (any::<[u8; 12]>(), any::<bool>()).prop_map(|(ends, local)| v2(0x21 - u8::from(local), 0x11, &ends));
    prop_oneof![line, binary, right]
}

proptest! {
    /// Whatever we take, others take, too, and for the same client, but for what stands behind UNKNOWN and LOCAL, which is
    /// to be ignored; and no split shows.
    #[test]
    fn a_header_is_read_as_others_read_it(header in nearly(), behind in prop::collection::vec(any::<u8>(), 0..20)) {
        let bytes = [&header[..], &behind].concat();
        if let Ok(Some((read, used))) = every_split(decode, &bytes) {
            let others = read_by_others(&bytes[..used]);
            let ignored = header.starts_with(b"PROXY UNKNOWN") || header.get(SIGNATURE.len()) == Some(&0x20);
            if others.is_some() || !ignored {
                prop_assert_eq!(others, Some((read.client, used)));
            }
        }
    }

    #[test]
    fn random_bytes_never_panic_and_never_depend_on_the_split(input in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = every_split(decode, &input);
        let _ = every_split(decode, &[&SIGNATURE[..], &input].concat());
        let _ = every_split(decode, &[V1, &input].concat());
    }
}
