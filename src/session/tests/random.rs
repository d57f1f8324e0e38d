//! Random bytes in random pieces: never a panic, and where they were split never shows.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// Pieces of which some sequences are whole handshakes.
const PIECES: &[&[u8]] = &[
    b"\x05\x01\x00",
    b"\x05\x01\x02",
    b"\x05\x02\x02\x00",
    b"\x05\x00",
    b"\x05\x02\x01\x80",
    b"\x01\x05alice\x06secret",
    b"\x01\x05alice\x05wrong",
    b"\x01\x01\xff\x01\x00",
    CONNECT,
    b"\x05\x01\x00\x03\x0bexample.com\x00\x50",
    b"\x05\x01\x00\x03\x05127.1\x00\x50",
    b"\x05\x01\x00\x04\x26\x06\x47\0\0\0\0\0\0\0\0\0\0\0\x11\x11\x01\xbb",
    b"\x05\x02\x00\x01\0\0\0\0\0\0",
    b"\x05\x02\x00\x01\xcb\x00\x71\x07\x00\x15",
    b"\x05\x02\x00\x03\x0bexample.com\x00\x00",
    b"\x05\x01\x00\x01\xcb\x00\x71\x07\x00\x00",
    b"GET / HTTP/1.1\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    b"CONNECT 203.0.113.7:443 HTTP/1.0\r\nProxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n",
    b"GET http://203.0.113.7/ HTTP/1.1\r\nHost: 203.0.113.7\r\n",
    b"Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n",
    b"Proxy-Authorization: Basic YWxpY2U6d3Jvbmc=\r\n",
    b"\r\n",
    b"payload",
];

fn client() -> impl Strategy<Value = Vec<u8>> {
    let damage = vec((any::<Index>(), any::<u8>()), 0..2);
    let likely = (vec(select(PIECES), 1..6), damage).prop_map(|(pieces, damage)| {
        let mut bytes = pieces.concat();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![3 => likely, 1 => vec(any::<u8>(), 0..400)]
}

fn world() -> impl Strategy<Value = World> {
    let methods = select(vec![
        vec![AuthMethod::None],
        vec![AuthMethod::Password],
        vec![AuthMethod::Password, AuthMethod::None],
    ]);
    let dialed = select(vec![None, Some(DialError::Refused), Some(DialError::Local(24))]);
    let answers = vec![addresses(&["203.0.113.7", "127.0.0.1"]), addresses(&["::1"]), Err(DnsError::Timeout)];
    (methods, dialed, select(answers)).prop_map(|(methods, error, addresses)| {
        let world = World::new(&methods);
        let dialed = error.map_or(world.dialed, Err);
        World { dialed, bound: error.map_or(world.bound, Err), addresses, ..world }
    })
}

/// The bytes in the pieces that these cuts make.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_clients_are_served_alike_however_their_bytes_arrive(
        world in world(),
        bytes in client(),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let whole = world.whole(&bytes);
        for answers in [Answers::AtOnce, Answers::Late] {
            prop_assert_eq!(&world.play(pieces(&bytes, &cuts), answers), &whole, "answers {:?}", answers);
        }
        let dialled = whole.events.iter().filter(|event| matches!(event, Dial(_) | Event::Bind(_))).count();
        prop_assert!(dialled <= 1, "dialled {} times", dialled);
        if dialled > 0 && world.rules.methods == [AuthMethod::Password] {
            prop_assert!(whole.events.contains(&verify(b"alice", b"secret")), "dialled without a login");
        }
        let ends = whole.events.iter().filter(|event| matches!(event, Relay | Event::Exchange(_) | Close(_))).count();
        prop_assert!(ends <= 1, "ended {} times", ends);
    }

    #[test]
    fn random_inputs_in_any_order_never_panic(
        world in world(),
        inputs in vec((0u8..9, vec(any::<u8>(), 0..40), select(PIECES)), 0..12),
    ) {
        let mut session = Session::new(INCOMING);
        for (kind, bytes, piece) in inputs {
            let input = match kind {
                0 => Input::Bytes(&bytes),
                1 | 2 => Input::Bytes(piece),
                3 => Input::Verified(None),
                4 => Input::Verified(Some(Identity::Anonymous)),
                5 => Input::Resolved(world.addresses.clone()),
                6 => Input::Bound(world.bound),
                7 => Input::Accepted(world.accepted),
                _ => Input::Dialed(world.dialed),
            };
            let _ = session.handle(input, world.rules.lend());
        }
    }
}
