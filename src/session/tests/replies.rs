//! What a client is told: every failure's reply, the address of success, and inputs that nobody asked for.

use super::*;
use crate::outcome::Reason;
use crate::policy::guard::Refusal;
use crate::session::socks5::rep_of;

fn failed(rep: u8) -> Vec<u8> {
    vec![0x05, rep, 0x00, 0x01, 0, 0, 0, 0, 0, 0]
}

const DIAL_ERRORS: [(DialError, u8, Reason); 11] = [
    (DialError::Refused, 0x05, Reason::ConnectFailed),
    (DialError::TimedOut, 0x06, Reason::ConnectTimeout),
    (DialError::NobodyCame, 0x06, Reason::ConnectTimeout),
    (DialError::HostUnreachable, 0x04, Reason::ConnectFailed),
    (DialError::NetworkUnreachable, 0x03, Reason::ConnectFailed),
    (DialError::Forbidden, 0x02, Reason::ConnectFailed),
    (DialError::Ourselves, 0x02, Reason::Denied),
    (DialError::SelfConnect, 0x05, Reason::ConnectFailed),
    (DialError::NoLocalPort, 0x01, Reason::NoLocalPort),
    (DialError::OtherFamily { by_name: false }, 0x08, Reason::ConnectFailed),
    (DialError::Local(24), 0x01, Reason::ConnectFailed),
];

const DNS_ERRORS: [(DnsError, u8); 6] = [
    (DnsError::NotFound, 0x04),
    (DnsError::NoAddress, 0x04),
    (DnsError::ServerFailure, 0x04),
    (DnsError::Timeout, 0x06),
    (DnsError::Busy, 0x01),
    (DnsError::NoServers, 0x01),
];

// HAZARD 14.
#[test]
fn every_failure_of_a_dial_has_its_reply() {
    for (error, rep, reason) in DIAL_ERRORS {
        let mut world = World::open();
        world.dialed = Err(error);
        let seen = world.every_split(&[b"\x05\x01\x00", CONNECT].concat());
        let expected =
            [says(b"\x05\x00"), dial("203.0.113.7:443"), Says(failed(rep)), Close(Failure::Dial(error))];
        assert_eq!(seen.events, expected);
        assert_eq!(Failure::Dial(error).reason(), reason, "{error:?}");
    }
}

/// RFC 1928 section 6: 08 is for an ATYP that is not served, and that of a name is.
#[test]
fn a_name_whose_addresses_a_pool_does_not_lead_to_is_a_host_that_cannot_be_reached() {
    let mut world = World::open();
    world.addresses = addresses(&["203.0.113.7"]);
    world.dialed = Err(DialError::OtherFamily { by_name: false });
    let seen = world.every_split(b"\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x50");
    let by_name = DialError::OtherFamily { by_name: true };
    assert_eq!(seen.events[3..], [Says(failed(0x04)), Close(Failure::Dial(by_name))]);
}

// HAZARD 14.
#[test]
fn every_failure_of_a_lookup_has_its_reply() {
    for (error, rep) in DNS_ERRORS {
        let mut world = World::open();
        world.addresses = Err(error.clone());
        let seen = world.every_split(b"\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x50");
        let asked = Event::Resolve("a".into());
        let expected = [says(b"\x05\x00"), asked, Says(failed(rep)), Close(Failure::Dns(error))];
        assert_eq!(seen.events, expected);
    }
}

// HAZARD 14: refused 05, network 03, host 04, time 06, policy 02, command 07, family 08, ourselves 01.
#[test]
fn every_other_failure_has_its_code_and_its_word() {
    let cases = [
        (Failure::Denied(Refusal::OwnListener.into()), 0x02, "denied"),
        (Failure::Denied(Refusal::SpecialPurpose("private").into()), 0x02, "denied"),
        (Failure::Protocol(ProtoError::Command(9)), 0x07, "protocol"),
        (Failure::Protocol(ProtoError::AddressType(9)), 0x08, "protocol"),
        (Failure::Protocol(ProtoError::Version(4)), 0x01, "protocol"),
        (Failure::Protocol(ProtoError::Http(b'G')), 0x01, "http"),
        (Failure::HandshakeTimeout, 0x06, "handshake_timeout"),
        (Failure::Internal("a test"), 0x01, "internal"),
        (Failure::NoMethod, 0x01, "no_method"),
        (Failure::AuthFailed, 0x01, "auth_failed"),
        (Failure::ClientLeft, 0x01, "client_left"),
        (Failure::ClientReset, 0x01, "client_reset"),
    ];
    for (failure, rep, reason) in cases {
        assert_eq!(rep_of(&failure).code(), rep, "{failure:?}");
        assert_eq!(failure.reason().name(), reason, "{failure:?}");
    }
}

// HAZARD 14: BND is the real local address and port.
#[test]
fn success_names_the_local_address() {
    let cases: [(&str, &[u8]); 3] = [
        ("192.0.2.1:65535", b"\x05\x00\x00\x01\xc0\x00\x02\x01\xff\xff"),
        ("[2001:db8::5]:80", b"\x05\x00\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x00\x50"),
        ("[::ffff:192.0.2.1]:256", b"\x05\x00\x00\x01\xc0\x00\x02\x01\x01\x00"),
    ];
    for (local, reply) in cases {
        let mut world = World::open();
        let address = socket("203.0.113.7:443");
        world.dialed = Ok(Dialed {
            address,
            local: socket(local),
            bound: socket(local),
            decision: crate::policy::Decision::BY_DEFAULT,
        });
        let seen = world.whole(&[b"\x05\x01\x00", CONNECT].concat());
        assert_eq!(seen.events[2..], [says(reply), Relay]);
        assert!(seen.facts.contains("reply: Some(Succeeded)"), "{}", seen.facts);
    }
}

/// A session in each of its phases, with its name.
fn phases() -> [(&'static str, World, Session); 10] {
    let after = |world: World, bytes: &[u8]| {
        let mut session = Session::new(INCOMING);
        session.handle(Input::Bytes(bytes), world.rules.lend());
        (world, session)
    };
    let named = |name, (world, session)| (name, world, session);
    let connect = [b"\x05\x01\x00", CONNECT].concat();
    let mut relaying = after(World::open(), &connect);
    relaying.1.handle(Input::Dialed(relaying.0.dialed), relaying.0.rules.lend());
    let binding = || after(World::open(), b"\x05\x01\x00\x05\x02\x00\x01\xcb\x00\x71\x07\x00\x15");
    let mut accepting = binding();
    accepting.1.handle(Input::Bound(accepting.0.bound), accepting.0.rules.lend());
    [
        named("greeting", after(World::open(), b"\x05")),
        named("userpass", after(World::locked(), b"\x05\x01\x02\x01")),
        named("verifying", after(World::locked(), b"\x05\x01\x02\x01\x01u\x01p")),
        named("request", after(World::open(), b"\x05\x01\x00\x05\x01")),
        named("resolving", after(World::open(), b"\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x50")),
        named("dialing", after(World::open(), &connect)),
        named("binding", binding()),
        named("accepting", accepting),
        named("relaying", relaying),
        named("closed", after(World::open(), b"\x05\x00")),
    ]
}

#[test]
fn an_answer_that_nobody_asked_for_is_our_own_fault() {
    for asker in ["verifying", "resolving", "dialing", "binding", "accepting"] {
        for (phase, world, mut session) in phases().into_iter().filter(|(phase, ..)| *phase != asker) {
            let input = match asker {
                "verifying" => Input::Verified(Some(Identity::Anonymous)),
                "resolving" => Input::Resolved(addresses(&["203.0.113.7"])),
                "binding" => Input::Bound(world.bound),
                "accepting" => Input::Accepted(world.accepted),
                _ => Input::Dialed(world.dialed),
            };
            let step = session.handle(input, world.rules.lend());
            let Command::Close(failure @ Failure::Internal(_)) = step.command else {
                panic!("{phase}, {asker}: {:?}", step.command)
            };
            assert_eq!(failure.reason(), Reason::Internal);
            let owed = match phase {
                "userpass" | "verifying" => b"\x01\x01".to_vec(),
                "resolving" | "dialing" | "binding" | "accepting" => failed(0x01),
                _ => Vec::new(),
            };
            assert_eq!(step.output, owed, "{phase}, {asker}");
        }
    }
}

#[test]
fn an_answer_counts_once() {
    for phase in ["verifying", "resolving", "dialing", "binding", "accepting"] {
        let (_, world, mut session) = phases().into_iter().find(|(name, ..)| *name == phase).unwrap();
        let input = || match phase {
            "verifying" => Input::Verified(Some(Identity::Anonymous)),
            "resolving" => Input::Resolved(addresses(&["203.0.113.7"])),
            "binding" => Input::Bound(world.bound),
            "accepting" => Input::Accepted(world.accepted),
            _ => Input::Dialed(world.dialed),
        };
        let first = session.handle(input(), world.rules.lend()).command;
        assert!(!matches!(first, Command::Close(_)), "{first:?}");
        let second = session.handle(input(), world.rules.lend()).command;
        assert!(matches!(second, Command::Close(Failure::Internal(_))), "{second:?}");
    }
}

#[test]
fn bytes_behind_the_end_have_no_effect() {
    let (_, world, mut session) = phases().into_iter().next_back().unwrap();
    let step = session.handle(Input::Bytes(&[b"\x05\x01\x00", CONNECT].concat()), world.rules.lend());
    assert!(step.output.is_empty() && matches!(step.command, Command::Read), "{step:?}");
    assert!(session.facts().method.is_none() && session.facts().command.is_none());
}

#[test]
fn who_is_given_up_on_is_told_as_far_as_there_is_something_to_answer() {
    for (phase, _, mut session) in phases() {
        let owed = match phase {
            "userpass" | "verifying" => b"\x01\x01".to_vec(),
            "resolving" | "dialing" | "binding" | "accepting" => failed(0x06),
            _ => Vec::new(),
        };
        assert_eq!(session.give_up(&Failure::HandshakeTimeout), owed, "{phase}");
        assert_eq!(session.give_up(&Failure::HandshakeTimeout), b"", "{phase}: a second farewell");
        assert!(!session.wants_bytes(), "{phase}");
    }
}

#[test]
fn a_client_that_is_gone_is_sent_no_reply() {
    for failure in [Failure::ClientLeft, Failure::ClientReset] {
        for (phase, _, mut session) in phases().into_iter().filter(|(phase, ..)| phase.ends_with("ing")) {
            let told = ["relaying", "accepting"].contains(&phase);
            if phase == "verifying" {
                continue;
            }
            assert_eq!(session.give_up(&failure), b"", "{phase}");
            assert_eq!(session.facts().reply.is_some(), told, "{phase}");
        }
    }
}
