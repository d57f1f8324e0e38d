//! The level of protection (RFC 1961 section 4): what is asked for, what is granted, and what is refused.

use std::thread;

use crate::gssapi_realm::realm;
use crate::support::Relay;
use crate::support::client::{Client, connect_ip};
use crate::support::gss::{
    ABORT, AUTHENTICATION, CONFIDENTIAL, ENCAPSULATED, GssClient, INTEGRITY, Initiator, MUTUAL, PROTECTION,
    REPLAY, SERVICE, USUAL, demand, demand_levels, frame,
};
use crate::support::origin::Origin;
use crate::support::realm::Realm;

/// What a server's list is called in its configuration, and the levels on the wire.
const NAMES: [(&str, u8); 4] = [("none", 0), ("integrity", 1), ("per-message", 3), ("confidentiality", 2)];

/// The rule, from the list of the strength of levels above: the level itself, else the strongest below it.
fn granted(listed: &[u8], asked: u8) -> Option<u8> {
    let strength = |wire: u8| NAMES.iter().position(|(_, level)| *level == wire);
    let below = listed.iter().copied().filter(|level| strength(*level) <= strength(asked));
    below.max_by_key(|level| strength(*level))
}

/// Insists on 01 FF and the end.
fn expect_abort(client: &mut GssClient) {
    client.client.expect(&ABORT);
    client.client.expect_closed();
}

fn assert_works(mut client: GssClient, origin: &Origin) {
    assert_eq!(client.request(0x01, origin.addr).rep, 0);
    client.send(b"ping");
    client.expect(b"ping");
}

#[test]
fn the_rule_by_hand() {
    let rows: [(&[u8], [Option<u8>; 4]); 7] = [
        (&[0], [Some(0), Some(0), Some(0), Some(0)]),
        (&[1], [None, Some(1), Some(1), Some(1)]),
        (&[2], [None, None, Some(2), None]),
        (&[3], [None, None, Some(3), Some(3)]),
        (&[2, 1, 0], [Some(0), Some(1), Some(2), Some(1)]),
        (&[2, 0], [Some(0), Some(0), Some(2), Some(0)]),
        (&[2, 3], [None, None, Some(2), Some(3)]),
    ];
    for (listed, answers) in rows {
        assert_eq!([0, 1, 2, 3].map(|asked| granted(listed, asked)), answers, "{listed:?}");
    }
}

/// Every list of levels, every level asked for.
fn lists(from: usize) {
    let realm = realm!();
    let origin = Origin::echo();
    for list in (from..16).step_by(4).filter(|list| *list > 0) {
        let listed: Vec<(&str, u8)> =
            (0..4).filter(|bit| list & 1 << bit != 0).map(|bit| NAMES[bit]).collect();
        let names: Vec<&str> = listed.iter().map(|(name, _)| *name).collect();
        let levels: Vec<u8> = listed.iter().map(|(_, level)| *level).collect();
        let relay = demand_levels(Relay::builder(), realm, &names).start();
        for asked in 0..4 {
            let mut client = GssClient::established(relay.addr(), realm, "alice");
            client.send_level(&[asked]);
            match granted(&levels, asked) {
                None => expect_abort(&mut client),
                level => {
                    assert_eq!(client.granted(), level, "{asked} of {names:?}");
                    assert_works(client, &origin);
                }
            }
        }
    }
}

mod the_level_granted_is_that_of_the_list {
    #[test]
    fn first() {
        super::lists(0);
    }
    #[test]
    fn second() {
        super::lists(1);
    }
    #[test]
    fn third() {
        super::lists(2);
    }
    #[test]
    fn fourth() {
        super::lists(3);
    }
}

/// Without a list of its own a server grants 2, 1 and 0.
#[test]
fn the_usual_list_is_2_1_0() {
    let realm = realm!();
    let relay = demand(Relay::builder(), realm).start();
    for (asked, answer) in [(0, 0), (1, 1), (2, 2), (3, 1)] {
        let mut client = GssClient::established(relay.addr(), realm, "bob");
        assert_eq!(client.ask_level(asked), Some(answer), "{asked}");
    }
}

/// A level that nobody defined is not one, whatever the list.
#[test]
fn an_unknown_level_is_refused() {
    let realm = realm!();
    let (all, none) = (["none", "integrity", "per-message", "confidentiality"], ["none"]);
    for list in [&all[..], &none] {
        let relay = demand_levels(Relay::builder(), realm, list).start();
        for level in [4, 5, 127, 128, 255] {
            let mut client = GssClient::established(relay.addr(), realm, "alice");
            client.send_level(&[level]);
            expect_abort(&mut client);
        }
    }
}

/// Whatever is wrong with the level message ends the session, and what is pipelined behind it does nothing.
#[test]
fn a_level_message_that_is_wrong_is_refused() {
    let realm = realm!();
    let (relay, origin) = (demand(Relay::builder(), realm).start(), Origin::echo());
    type Make = fn(&mut Initiator) -> Vec<u8>;
    let cases: Vec<(&str, Make)> = vec![
        ("an empty body", |gss| frame(PROTECTION, &gss.wrap(b"", false))),
        ("two octets", |gss| frame(PROTECTION, &gss.wrap(&[2, 2], false))),
        ("many octets", |gss| frame(PROTECTION, &gss.wrap(&[1; 1000], false))),
        ("an empty token", |_| frame(PROTECTION, b"")),
        ("not wrapped", |_| frame(PROTECTION, &[0])),
        ("not wrapped, level 2", |_| frame(PROTECTION, &[2])),
        ("junk", |_| frame(PROTECTION, &[0x60; 65_535])),
        ("a data message", |gss| frame(ENCAPSULATED, &gss.wrap(&[1], false))),
        ("a token message", |gss| frame(AUTHENTICATION, &gss.wrap(&[1], false))),
        ("another version", |gss| [&[5], &frame(PROTECTION, &gss.wrap(&[1], false))[1..]].concat()),
        ("changed", |gss| {
            let mut token = gss.wrap(&[1], false);
            *token.last_mut().expect("a token") ^= 1;
            frame(PROTECTION, &token)
        }),
        ("cut", |gss| {
            let token = gss.wrap(&[1], false);
            frame(PROTECTION, &token[..token.len() - 1])
        }),
        ("a request at once", |_| connect_ip("127.0.0.1:9".parse().expect("an address"))),
    ];
    for (what, make) in cases {
        let mut client = GssClient::established(relay.addr(), realm, "alice");
        let mut bytes = make(&mut client.gss);
        bytes.extend(client.gss.wrap(&connect_ip(origin.addr), true));
        let _ = client.client.try_send(&bytes);
        eprintln!("{what}");
        expect_abort(&mut client);
    }
    assert_eq!(origin.accepted(), 0);
}

/// The level of another context is not a level: what one client wrapped, the next sends.
#[test]
fn a_level_message_of_another_context_is_refused() {
    let realm = realm!();
    let relay = demand(Relay::builder(), realm).start();
    let mut first = GssClient::established(relay.addr(), realm, "alice");
    let stolen = frame(PROTECTION, &first.gss.wrap(&[0], false));
    let mut second = GssClient::established(relay.addr(), realm, "bob");
    second.client.send(&stolen);
    expect_abort(&mut second);
}

/// RFC 1961 section 4 allows the level message to be protected for confidentiality no more than the answer is; a
/// client that encrypts it has said the same.
#[test]
fn an_encrypted_level_message_gets_an_answer() {
    let realm = realm!();
    let relay = demand(Relay::builder(), realm).start();
    let mut client = GssClient::established(relay.addr(), realm, "alice");
    let token = client.gss.wrap(&[1], true);
    client.send_frame(PROTECTION, &token);
    let head = client.client.recv(2);
    assert!(head == [0x01, PROTECTION] || head == ABORT, "{head:02x?}");
}

/// Levels 1 to 3 stand on the detection of replays; level 0 stands on nothing.
#[test]
fn a_context_without_replay_detection_gets_level_0() {
    let realm = realm!();
    let relay =
        demand_levels(Relay::builder(), realm, &["none", "integrity", "per-message", "confidentiality"])
            .start();
    let origin = Origin::echo();
    let flags = MUTUAL | CONFIDENTIAL | INTEGRITY;
    let establish = || GssClient::established_with(relay.addr(), Initiator::of(realm, "alice"), flags);
    for level in [1, 2, 3] {
        let mut client = establish();
        client.send_level(&[level]);
        expect_abort(&mut client);
    }
    let mut client = establish();
    assert_eq!(client.ask_level(0), Some(0));
    assert_works(client, &origin);
}

/// RFC 1961 section 3.2: what comes over TCP needs the detection of what is missing, datagrams do without.
#[test]
fn a_stream_without_sequence_detection_is_refused() {
    let realm = realm!();
    let relay =
        demand_levels(Relay::builder(), realm, &["integrity", "per-message", "confidentiality"]).start();
    let origin = Origin::echo();
    let flags = MUTUAL | REPLAY | CONFIDENTIAL | INTEGRITY;
    for level in [1, 2, 3] {
        for (command, rep) in [(0x01, 0x01), (0x02, 0x01), (0x03, 0x00)] {
            let mut client = GssClient::established_with(relay.addr(), Initiator::of(realm, "alice"), flags);
            assert_eq!(client.ask_level(level), Some(level));
            assert_eq!(client.request(command, origin.addr).rep, rep, "command {command}, level {level}");
            if rep != 0x00 {
                client.client.expect_closed();
            }
        }
    }
    assert_eq!(origin.accepted(), 0);
}

fn nec(relay: &Relay, realm: &Realm, level: u8) -> GssClient {
    let mut client = GssClient::established(relay.addr(), realm, "alice");
    client.send_frame(PROTECTION, &[level]);
    client
}

/// The NEC reference's variant: one octet that is not wrapped, and an answer in kind; only where it is switched on.
#[test]
fn a_bare_level_gets_a_bare_answer_where_it_is_configured() {
    let realm = realm!();
    let origin = Origin::echo();
    let relay = demand(Relay::builder(), realm).set("auth.gssapi", "nec", "true").start();
    for level in [0, 1, 2] {
        let mut client = nec(&relay, realm, level);
        assert_eq!(client.recv_frame(PROTECTION), [level]);
        client.level = level;
        assert_works(client, &origin);
    }
    let mut unknown = nec(&relay, realm, 9);
    expect_abort(&mut unknown);
    // Who wraps it is still understood.
    let mut client = GssClient::established(relay.addr(), realm, "alice");
    assert_eq!(client.ask_level(2), Some(2));
    assert_works(client, &origin);
    let mut empty = GssClient::established(relay.addr(), realm, "alice");
    empty.send_frame(PROTECTION, b"");
    expect_abort(&mut empty);

    let strict = demand(Relay::builder(), realm).set("auth.gssapi", "nec", "false").start();
    for level in [0, 1, 2] {
        let mut client = nec(&strict, realm, level);
        expect_abort(&mut client);
    }
}

/// The bytes of curl 7.68: mutual and replay flags, level 0 wrapped without encryption, and nothing wrapped after.
/// Of later ones: level 2 is asked for, and nothing wrapped after the answer 0.
#[test]
fn curls_bytes_are_understood() {
    let realm = realm!();
    let origin = Origin::echo();
    let usual = demand(Relay::builder(), realm).start();
    let plain = demand_levels(Relay::builder(), realm, &["none"]).start();
    for (relay, asked) in [(&usual, 0), (&plain, 0), (&plain, 1), (&plain, 2)] {
        let mut client = Client::connect(relay.addr());
        client.send(&[0x05, 0x02, 0x00, 0x01]);
        client.expect(&[0x05, 0x01]);
        let mut client = GssClient { client, gss: Initiator::of(realm, "alice"), level: 0 };
        let round = client.gss.initiate(SERVICE, MUTUAL | REPLAY).expect("a token");
        client.send_frame(AUTHENTICATION, &round.token);
        let token = client.recv_frame(AUTHENTICATION);
        assert!(client.gss.proceed(&token).expect("the server's token").done);
        assert_eq!(client.ask_level(asked), Some(0), "{asked}");
        client.client.send(&connect_ip(origin.addr));
        assert_eq!(client.client.reply().rep, 0);
        client.client.send(b"GET / HTTP/1.1\r\n\r\n");
        client.client.expect(b"GET / HTTP/1.1\r\n\r\n");
    }
}

/// Many contexts at once, on more than one worker: none is answered with another's tokens.
#[test]
fn many_contexts_at_once_are_kept_apart() {
    let realm = realm!();
    let (relay, origin) = (demand(Relay::builder().workers(2), realm).start(), Origin::echo());
    thread::scope(|scope| {
        for user in ["alice", "bob", "carol/admin", "alice"] {
            let (relay, origin) = (relay.addr(), &origin);
            scope.spawn(move || {
                for n in 0..6 {
                    let mut client = GssClient::established_with(relay, Initiator::of(realm, user), USUAL);
                    assert_eq!(client.ask_level(n % 3), Some(n % 3));
                    assert_works(client, origin);
                }
            });
        }
    });
    let records = relay.records(24);
    for (user, sessions) in [("alice", 12), ("bob", 6), ("carol/admin", 6)] {
        assert_eq!(records.iter().filter(|record| record["user"] == user).count(), sessions, "{user}");
    }
}
