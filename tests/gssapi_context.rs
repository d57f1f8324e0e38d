//! The context's establishment (RFC 1961 section 3): who comes in, as whom, and what ends it (HAZARD 7).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gssapi_bytes::resident;
use crate::gssapi_realm::realm;
use crate::support::client::{connect_ip, request};
use crate::support::gss::{
    ABORT, AUTHENTICATION, CONFIDENTIAL, DCE_STYLE, ENCAPSULATED, GssClient, INTEGRITY, Initiator, MUTUAL,
    PROTECTION, REPLAY, SERVICE, USUAL, demand, frame,
};
use crate::support::origin::{Origin, pattern};
use crate::support::pairs::MIB;
use crate::support::realm::Realm;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Relay};

fn serve(realm: &Realm) -> Relay {
    demand(Relay::builder(), realm).start()
}

fn first_token(realm: &Realm, user: &str) -> Vec<u8> {
    Initiator::of(realm, user).initiate(SERVICE, USUAL).expect("a token").token
}

/// A client that has agreed on GSSAPI and said no more.
fn greeted(relay: SocketAddr) -> Client {
    let mut client = Client::connect(relay);
    client.send(&[0x05, 0x01, 0x01]);
    client.expect(&[0x05, 0x01]);
    client
}

/// Insists on 01 FF and the end.
fn expect_abort(client: &mut Client) {
    client.expect(&ABORT);
    client.expect_closed();
}

/// A record of a session that came to no request.
fn assert_refused(record: &Value) {
    assert!(
        record["reason"].as_str().is_some_and(|reason| !reason.is_empty() && reason != "completed"),
        "{record}"
    );
    for field in ["command", "address", "reply"] {
        assert_eq!(record[field], Value::Null, "{field} in {record}");
    }
    assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&0.into(), &0.into()), "{record}");
}

/// The realm of the service is left out of a name, any other is kept.
#[test]
fn a_principal_is_recorded_by_its_name() {
    let realm = realm!();
    let (relay, origin) = (serve(realm), Origin::echo());
    let users =
        [("alice", "alice"), ("carol/admin", "carol/admin"), ("dave@FRIEND.TEST", "dave@FRIEND.TEST")];
    for (n, (user, name)) in users.into_iter().enumerate() {
        let mut client = GssClient::established(relay.addr(), realm, user);
        assert_eq!(client.ask_level(2), Some(2));
        assert_eq!(client.request(0x01, origin.addr).rep, 0);
        client.send(b"ping");
        client.expect(b"ping");
        client.client.finish();
        client.client.expect_eof();
        let record = &relay.records(n + 1)[n];
        assert_eq!((&record["method"], &record["user"]), (&"gssapi".into(), &name.into()), "{record}");
        assert_eq!(record["reason"], "completed", "{record}");
        assert_eq!(
            (&record["bytes_up"], &record["bytes_down"]),
            (&4.into(), &4.into()),
            "bytes of the client: {record}"
        );
    }
}

/// RFC 1961 section 3.2: with mutual authentication the mechanism answers, and without it the token is empty.
#[test]
fn the_last_token_is_sent_even_when_empty() {
    let realm = realm!();
    let relay = serve(realm);
    let others = REPLAY | CONFIDENTIAL | INTEGRITY;
    for (flags, answers) in [(others, false), (others | MUTUAL, true)] {
        let mut client = GssClient::greeted(relay.addr(), Initiator::of(realm, "alice"));
        let round = client.gss.initiate(SERVICE, flags).expect("a token");
        assert_eq!(round.done, !answers);
        client.send_frame(AUTHENTICATION, &round.token);
        let token = client.recv_frame(AUTHENTICATION);
        assert_eq!(!token.is_empty(), answers, "{token:02x?}");
        if answers {
            let round = client.gss.proceed(&token).expect("the server's token");
            assert!(round.done && round.token.is_empty());
        }
        assert_eq!(client.ask_level(1), Some(1));
    }
}

/// The method without its configuration, or a client that does not offer it.
#[test]
fn a_client_without_gssapi_is_refused() {
    let realm = realm!();
    let relay = serve(realm);
    for greeting in [&[0x05, 0x01, 0x00][..], &[0x05, 0x02, 0x00, 0x02]] {
        let mut client = Client::connect(relay.addr());
        client.send(&[greeting, &connect_ip(relay.addr())].concat());
        client.expect(&[0x05, 0xff]);
        client.expect_eof();
    }
}

/// Whatever is wrong with the first message: 01 FF, the end, and what is pipelined behind it does nothing.
#[test]
fn a_first_message_that_is_wrong_is_refused() {
    let realm = realm!();
    let (relay, origin) = (serve(realm), Origin::echo());
    let token = first_token(realm, "alice");
    let mut changed = token.clone();
    changed[token.len() / 2] ^= 0x10;
    let behind = connect_ip(origin.addr);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an empty token", frame(AUTHENTICATION, b"")),
        ("junk as long as can be", frame(AUTHENTICATION, &pattern(0, 65_535))),
        ("one byte", frame(AUTHENTICATION, &[0x60])),
        ("a token that was cut", frame(AUTHENTICATION, &token[..token.len() - 1])),
        ("a token with a byte behind it", frame(AUTHENTICATION, &[&token[..], &[0]].concat())),
        ("a changed byte", frame(AUTHENTICATION, &changed)),
        ("version 0", [&[0x00], &frame(AUTHENTICATION, &token)[1..]].concat()),
        ("version 5", [&[0x05], &frame(AUTHENTICATION, &token)[1..]].concat()),
        ("a level message", frame(PROTECTION, &token)),
        ("a data message", frame(ENCAPSULATED, &token)),
        ("an unknown type", frame(0x04, &token)),
        ("type 0", frame(0x00, &token)),
        ("no frame", token.clone()),
        ("RFC 1929", b"\x01\x05alice\x0awonderland".to_vec()),
        ("a request", request(0x01, origin.addr)),
    ];
    for (n, (what, bytes)) in cases.iter().enumerate() {
        let mut client = greeted(relay.addr());
        client.send(bytes);
        let _ = client.try_send(&behind);
        eprintln!("{what}");
        expect_abort(&mut client);
        assert_refused(&relay.records(n + 1)[n]);
    }
    assert_eq!(origin.accepted(), 0);
}

/// RFC 1961 section 3.4: the client may give up as well.
#[test]
fn a_client_that_gives_up_is_closed() {
    let realm = realm!();
    let relay = serve(realm);
    let mut client = greeted(relay.addr());
    client.send(&ABORT);
    client.drain_to_end();
    assert_refused(&relay.record());
}

#[test]
fn a_truncated_token_ends_the_session_at_the_fin() {
    let realm = realm!();
    let relay = serve(realm);
    let message = frame(AUTHENTICATION, &first_token(realm, "alice"));
    for (n, length) in [0, 1, 2, 3, 4, message.len() - 1].into_iter().enumerate() {
        let mut client = greeted(relay.addr());
        client.send(&message[..length]);
        client.finish();
        client.drain_to_end();
        assert_refused(&relay.records(n + 1)[n]);
    }
}

/// HAZARD 10: the deadline is absolute, however far the token has come.
#[test]
fn half_a_token_ends_at_the_deadline() {
    let realm = realm!();
    let relay = demand(Relay::builder().timeout("handshake", 1000), realm).start();
    let message = frame(AUTHENTICATION, &first_token(realm, "alice"));
    for half in [1, 4, message.len() / 2, message.len() - 1] {
        let started = Instant::now();
        let mut client = greeted(relay.addr());
        client.send(&message[..half]);
        client.drain_to_end();
        let lasted = started.elapsed();
        assert!((900..3500).contains(&lasted.as_millis()), "{half} bytes: {lasted:?}");
    }
    // The context stands, and the level never comes.
    let started = Instant::now();
    let mut client = GssClient::established(relay.addr(), realm, "alice");
    client.client.send(&[0x01, PROTECTION]);
    client.client.drain_to_end();
    assert!(started.elapsed() < Duration::from_millis(3500));
    assert!(relay.records(5).iter().all(|record| record["reason"] == "handshake_timeout"));
}

/// Who sends the longest token but its last byte holds memory: one source may hold half of what there is for that, so
/// that others' tokens find room, the longest too, and those of the usual length are not held up at all.
#[test]
fn half_tokens_of_one_source_leave_memory_to_others() {
    const CROWD: usize = 600;
    let realm = realm!();
    let relay = demand(Relay::builder().timeout("handshake", 60_000), realm).start();
    let before = resident(&relay);
    let half = frame(AUTHENTICATION, &[0x60; 65_535]);
    let crowd: Vec<Client> = (0..CROWD)
        .map(|_| {
            let mut client = greeted(relay.addr());
            // Those that come too late are refused while they send.
            let _ = client.try_send(&half[..half.len() - 1]);
            client
        })
        .collect();
    let refused = || relay.records_now().iter().filter(|record| record["reason"] == "internal").count();
    wait::until_true("half of them are refused", PATIENCE, || refused() > CROWD / 2);
    let grown = resident(&relay).saturating_sub(before);
    assert!(grown < 48 * MIB, "{grown} bytes");
    assert!(refused() < CROWD * 2 / 3, "{} were refused", refused());
    let mut client = GssClient::established(relay.addr(), realm, "alice");
    assert_eq!(client.ask_level(2), Some(2));
    let elsewhere = SocketAddr::from(([127, 1, 0, 1], 0));
    let mut other = Client::connect_from(elsewhere, relay.addr());
    other.send(&[0x05, 0x01, 0x01]);
    other.expect(&[0x05, 0x01]);
    other.send(&half);
    expect_abort(&mut other);
    // What was held is free again with those who held it.
    drop((crowd, client));
    wait::until_true("all are gone", PATIENCE, || relay.records_now().len() == CROWD + 2);
    let mut late = greeted(relay.addr());
    late.send(&half);
    expect_abort(&mut late);
    assert_eq!(relay.records(CROWD + 3)[CROWD + 2]["reason"], "auth_failed");
    let others = relay.records_now().into_iter().find(|record| record["client"] == other.local().to_string());
    assert_eq!(others.expect("the other source's record")["reason"], "auth_failed");
}

/// "As many rounds as the mechanism needs": the first leaves the context half made, and another thread may end it.
#[test]
fn a_context_of_two_rounds_is_established() {
    let realm = realm!();
    let (relay, origin) = (serve(realm), Origin::echo());
    let mut client = GssClient::greeted(relay.addr(), Initiator::of(realm, "alice"));
    let first = client.gss.initiate(SERVICE, USUAL | DCE_STYLE).expect("the first token");
    client.send_frame(AUTHENTICATION, &first.token);
    let answer = client.recv_frame(AUTHENTICATION);
    let second = client.gss.proceed(&answer).expect("the server's first token");
    assert!(second.done && !second.token.is_empty(), "{second:?}");
    client.send_frame(AUTHENTICATION, &second.token);
    assert_eq!(client.recv_frame(AUTHENTICATION), b"");
    assert_eq!(client.ask_level(2), Some(2));
    assert_eq!(client.request(0x01, origin.addr).rep, 0);
    client.send(b"after two rounds");
    client.expect(b"after two rounds");
}

/// The usual context is one exchange: whoever goes on with tokens is not served for ever.
#[test]
fn rounds_are_bounded() {
    let realm = realm!();
    let relay = serve(realm);
    let mut client = GssClient::established(relay.addr(), realm, "alice");
    let token = first_token(realm, "bob");
    let again = frame(AUTHENTICATION, &token);
    let mut sent = 0;
    while sent < 64 && client.client.try_send(&again).is_ok() {
        sent += 1;
    }
    expect_abort(&mut client.client);
    assert_refused(&relay.record());
}

/// A token serves one connection.
#[test]
fn a_replayed_token_is_refused() {
    let realm = realm!();
    let relay = serve(realm);
    let message = frame(AUTHENTICATION, &first_token(realm, "alice"));
    let mut client = greeted(relay.addr());
    client.send(&message);
    assert_eq!(client.recv(2), [0x01, AUTHENTICATION]);
    for _ in 0..2 {
        let mut thief = greeted(relay.addr());
        thief.send(&message);
        expect_abort(&mut thief);
    }
}

/// The client's library would not use an expired ticket, so the token is made before. Ours may be late by two
/// seconds; the usual allowance is five minutes.
#[test]
fn an_expired_ticket_is_refused() {
    let realm = realm!();
    let (life, skew) = (Duration::from_secs(2), Duration::from_secs(2));
    let relay = demand(Relay::builder(), realm).environment(realm.strict_environment(skew)).start();
    let mut fresh = greeted(relay.addr());
    fresh.send(&frame(AUTHENTICATION, &first_token(realm, "alice")));
    assert_eq!(fresh.recv(2), [0x01, AUTHENTICATION]);
    let tickets = realm.short_lived("alice", life);
    let token = Initiator::over(realm, &tickets).initiate(SERVICE, USUAL).expect("a token").token;
    // Time itself is the case.
    std::thread::sleep(life + skew + Duration::from_secs(2));
    Initiator::over(realm, &tickets).initiate(SERVICE, USUAL).expect_err("the client's own refusal");
    let mut late = greeted(relay.addr());
    late.send(&frame(AUTHENTICATION, &token));
    expect_abort(&mut late);
}

/// From a realm that is not trusted no token for our service can be made: its own service's is the next best.
#[test]
fn a_ticket_for_somebody_else_is_refused() {
    let realm = realm!();
    let relay = serve(realm);
    let services = [
        ("erin@OTHER.TEST", "rcmd/localhost@OTHER.TEST"),
        ("alice", "host@localhost"),
        ("alice", "krbtgt/OUTFLOW.TEST@OUTFLOW.TEST"),
    ];
    for (user, service) in services {
        let token = Initiator::of(realm, user).initiate(service, USUAL).expect("a token").token;
        let mut client = greeted(relay.addr());
        client.send(&frame(AUTHENTICATION, &token));
        expect_abort(&mut client);
    }
}

/// HAZARD 1: a byte at a time, or cut anywhere, a session is the same.
#[test]
fn a_session_is_the_same_at_every_split() {
    let realm = realm!();
    let (relay, origin) = (serve(realm), Origin::echo());
    let mut at = 0;
    loop {
        let mut cut = at;
        let mut client = Client::connect(relay.addr());
        let mut send = |client: &mut Client, bytes: &[u8]| {
            if cut < bytes.len() {
                client.send(&bytes[..cut]);
                client.wait_until_read();
                client.send(&bytes[cut..]);
            } else {
                client.send(bytes);
            }
            cut = cut.wrapping_sub(bytes.len());
        };
        send(&mut client, &[0x05, 0x01, 0x01]);
        client.expect(&[0x05, 0x01]);
        let mut whole = GssClient { client, gss: Initiator::of(realm, "alice"), level: 0 };
        let round = whole.gss.initiate(SERVICE, USUAL).expect("a token");
        let first = frame(AUTHENTICATION, &round.token);
        send(&mut whole.client, &first);
        let token = whole.recv_frame(AUTHENTICATION);
        whole.gss.proceed(&token).expect("the server's token");
        let level = frame(PROTECTION, &whole.gss.wrap(&[2], false));
        send(&mut whole.client, &level);
        assert_eq!(whole.granted(), Some(2));
        let asked = whole.seal(&connect_ip(origin.addr));
        send(&mut whole.client, &asked);
        assert_eq!(whole.reply().rep, 0);
        let said = whole.seal(b"payload");
        send(&mut whole.client, &said);
        whole.expect(b"payload");
        let total = 3 + first.len() + level.len() + asked.len() + said.len();
        // Every byte of the frames' own, and of the tokens of messages; of the long first token each 29th.
        at += if (10..first.len() - 10).contains(&at) { 29 } else { 1 };
        if at >= total {
            return;
        }
    }
}
