//! Random bytes and nearly right ones: never a panic, always an end, at every split the same.

use proptest::prelude::*;

use super::*;

const PROTOCOLS: [ClientProtocol; 4] =
    [ClientProtocol::Socks5, ClientProtocol::Socks4, ClientProtocol::Socks4a, ClientProtocol::Http];

fn all(said: &[u8]) {
    for protocol in PROTOCOLS {
        for login in [None, login(b"ann", b"p")] {
            let outcome = talk(protocol, login, &at("192.0.2.7", 80), said);
            assert!(outcome.sent.len() <= crate::limits::PARENT_SENT_BYTES_MAX);
            assert!(outcome.rest.len() <= said.len());
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_end_alike_at_every_split(said in proptest::collection::vec(any::<u8>(), 0..300)) {
        all(&said);
    }

    #[test]
    fn nearly_right_socks5_ends_alike_at_every_split(
        method in 0u8..4, status in 0u8..2, reply in 0u8..3, reserved in any::<u8>(), kind in 0u8..6,
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let login: &[u8] = if method == 2 { &[1, status] } else { &[] };
        let front = [&[5, method][..], login, &[5, reply, reserved, kind]].concat();
        all(&[&front[..], &rest].concat());
    }

    #[test]
    fn nearly_right_socks4_ends_alike_at_every_split(
        version in 0u8..2, code in 88u8..95, rest in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        all(&[&[version, code][..], &rest].concat());
    }

    #[test]
    fn nearly_right_http_ends_alike_at_every_split(
        status in 90u16..610, field in "[ -~]{0,40}", value in "[ -~]{0,60}", end in "(\r\n|\n|\r|)(\r\n)?",
        error in "[a-z_]{0,20}", rest in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let head = format!("HTTP/1.1 {status} x\r\n{field}: {value}\r\nProxy-Status: p; error={error}\r\n{end}");
        all(&[head.as_bytes(), &rest].concat());
    }
}
