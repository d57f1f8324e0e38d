//! UDP ASSOCIATE up to its reply (RFC 1928 section 7).

use super::*;

/// Success, bound to 198.51.100.9:4660: where the client is to send.
fn associated(request: &[u8]) -> Seen {
    World::open().every_split(&[b"\x05\x01\x00", request].concat())
}

fn announced(ip: Option<&str>, port: Option<u16>) -> Event {
    Event::Associate(Announced { ip: ip.map(|ip| ip.parse().unwrap()), port })
}

#[test]
fn the_request_says_who_will_send_as_far_as_it_says_anything() {
    let cases: [(&[u8], Event); 6] = [
        (b"\x05\x03\x00\x01\0\0\0\0\0\0", announced(None, None)),
        (b"\x05\x03\x00\x01\xc0\x00\x02\x07\x12\x34", announced(Some("192.0.2.7"), Some(0x1234))),
        (b"\x05\x03\x00\x01\0\0\0\0\x12\x34", announced(None, Some(0x1234))),
        (
            b"\x05\x03\x00\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x07\0\0",
            announced(Some("192.0.2.7"), None),
        ),
        (b"\x05\x03\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", announced(None, None)),
        (b"\x05\x03\x00\x03\x06client\x12\x34", announced(None, None)),
    ];
    for (request, asked) in cases {
        let seen = associated(request);
        assert_eq!(seen.events, [says(b"\x05\x00"), asked, says(SUCCEEDED), Event::Datagrams]);
    }
}

#[test]
fn an_association_that_cannot_be_has_its_code() {
    for (error, rep) in [
        (AssociateError::Family, 0x08),
        (AssociateError::NoPort, 0x01),
        (AssociateError::Full, 0x01),
        (AssociateError::Local(24), 0x01),
    ] {
        let mut world = World::open();
        world.associated = Err(error);
        let seen = world.every_split(b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0");
        let reply = Says(vec![5, rep, 0, 1, 0, 0, 0, 0, 0, 0]);
        let expected = [says(b"\x05\x00"), announced(None, None), reply, Close(Failure::Associate(error))];
        assert_eq!(seen.events, expected);
        assert_eq!(Failure::Associate(error).reason().name(), "associate_failed");
    }
}
