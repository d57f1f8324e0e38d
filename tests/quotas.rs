//! Quotas: bytes of a period, counted to the last one, and what comes of it when they are used up.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use outflow::limits;
use serde_json::{Value, json};

use crate::bind::{bind, peer};
use crate::gssapi_realm::realm;
use crate::gssapi_session::every_level;
use crate::support::api::Api;
use crate::support::client::request;
use crate::support::gss::GssClient;
use crate::support::origin::V4;
use crate::support::relay::Builder;
use crate::support::udp::{Association, Target, associate, counters, drops, zeros};
use crate::support::wait::{self, PATIENCE, timed};
use crate::support::{Client, Engine, Origin, Relay};

const BIND: u8 = 0x02;
const USERS: &[(&str, &[u8])] = &[("ann", b"a"), ("bob", b"b")];
/// How soon a session that moves nothing is ended once its quota is used up.
const SOON: Duration = Duration::from_secs(4);
/// What a turn of a session may move beyond its quota, both ways.
const TURN: u64 = 2 * limits::QUOTA_OVERRUN_BYTES;

/// A relay of two workers with a quota, as the keys of its table say, for whatever its rules allow.
fn quota_builder(per: &str, quota: &str) -> Builder {
    Relay::builder()
        .keeping()
        .workers(2)
        .set("[limit]", "name", "\"plan\"")
        .set("[limit]", "per", &format!("\"{per}\""))
        .set("[limit]", "quota", quota)
        .rules(&["name = \"all\"\naction = \"allow\"\nlimits = [\"plan\"]"])
}

fn of_a_month(bytes: u64, direction: &str) -> String {
    format!("{{ bytes = {bytes}, period = \"month\", direction = \"{direction}\", zone = \"UTC\" }}")
}

fn user(relay: &Relay, name: &str, target: SocketAddr) -> (Client, u8) {
    let mut client = Client::connect(relay.addr());
    assert_eq!(client.login(name.as_bytes(), &name.as_bytes()[..1]), 0);
    let rep = client.request_ip(target).rep;
    (client, rep)
}

/// A session of this user.
fn session(relay: &Relay, name: &str, target: SocketAddr) -> Client {
    let (client, rep) = user(relay, name, target);
    assert_eq!(rep, 0x00, "{name}");
    client
}

/// Waits until new sessions of this user are refused.
fn await_refusal(relay: &Relay, name: &str, target: SocketAddr) {
    wait::until_true("refused", PATIENCE, || user(relay, name, target).1 == 0x02);
}

/// Waits for so many records with this reason.
fn await_records(relay: &Relay, reason: &str, count: usize) -> Vec<Value> {
    wait::until("the records", SOON, || {
        let all = relay.records_now().into_iter();
        let records: Vec<Value> = all.filter(|record| record["reason"] == reason).collect();
        Some(records).filter(|records| records.len() == count)
    })
}

/// To the last byte, over all sessions, and of each user by himself. Who is there goes on.
fn a_quota_that_is_used_up_refuses_new_sessions(engine: Engine) {
    let (sink, echo) = (Origin::sink(), Origin::echo());
    let relay = quota_builder("user", &of_a_month(1000, "up")).engine(engine).users(USERS).start();
    let mut live = session(&relay, "ann", echo.addr);
    live.send(b"ping");
    live.expect(b"ping");
    let mut other = session(&relay, "ann", sink.addr);
    other.send(&[7; 995]);
    wait::until_true("taken", PATIENCE, || sink.swallowed() == 995);
    drop(session(&relay, "ann", sink.addr));
    other.send(&[7]);
    await_refusal(&relay, "ann", sink.addr);
    let refused = await_records(&relay, "denied", 1);
    assert_eq!(counters(&relay)["denied_quota"], 1);
    assert!(refused.iter().all(|record| record["limit"] == "plan" && record["rule"] == "all"), "{refused:?}");
    live.send(b"still there");
    live.expect(b"still there");
    drop(session(&relay, "bob", sink.addr));
}
engines!(a_quota_that_is_used_up_refuses_new_sessions);

/// Those that move, on whatever worker they are, and those that do not.
fn one_that_closes_ends_live_sessions(engine: Engine) {
    let bytes = 20_000_000;
    let (source, echo) = (Origin::source(u64::MAX), Origin::echo());
    let relay = quota_builder("user", &of_a_month(bytes, "both"))
        .set("[limit]", "on_reached", "\"close\"")
        .engine(engine)
        .users(USERS)
        .start();
    let mut others = ["bob", "ann", "ann"].map(|name| session(&relay, name, echo.addr));
    let mut bind = Client::connect(relay.addr());
    assert_eq!(bind.login(b"ann", b"a"), 0);
    bind.send(&request(BIND, zeros(V4)));
    assert_eq!(bind.reply().rep, 0x00);
    let mut busy = [session(&relay, "ann", source.addr), session(&relay, "ann", source.addr)];
    std::thread::scope(|scope| {
        for client in &mut busy {
            scope.spawn(|| {
                let mut bytes = vec![0; 64 * 1024];
                let end = loop {
                    match client.stream.read(&mut bytes) {
                        Ok(0) => break ErrorKind::UnexpectedEof,
                        Ok(_) => {}
                        Err(error) => break error.kind(),
                    }
                };
                assert_eq!(end, ErrorKind::ConnectionReset, "what there is must not look like all");
            });
        }
    });
    let ended = Instant::now();
    bind.expect_reset();
    others[1..].iter_mut().for_each(Client::expect_reset);
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    assert_eq!(user(&relay, "ann", echo.addr).1, 0x02);
    others[0].send(b"ping");
    others[0].expect(b"ping");
    let records = await_records(&relay, "quota", 5);
    assert!(records.iter().all(|record| record["limit"] == "plan"), "{records:?}");
    let moved: u64 = records.iter().map(|record| record["bytes_down"].as_u64().expect("a number")).sum();
    assert!((bytes..=bytes + 2 * TURN).contains(&moved), "{moved} of {bytes}");
    assert_eq!(counters(&relay)["closed_quota"], 5);
}
engines!(one_that_closes_ends_live_sessions);

/// Before that they do not: the quota is had at full speed.
fn one_that_slows_down_has_rates_hold_from_then_on(engine: Engine) {
    let relay = quota_builder("user", &of_a_month(20_000_000, "both"))
        .set("[limit]", "on_reached", "\"slow\"")
        .set("[limit]", "download", "{ rate = \"500kB\", burst = \"50kB\" }")
        .engine(engine)
        .users(USERS)
        .start();
    let fetch = |name: &str, length: u64| {
        let source = Origin::source(length);
        let mut client = session(&relay, name, source.addr);
        timed(|| assert_eq!(client.recv_to_eof().len() as u64, length)).1
    };
    // At the rate it would take twice as long as it has.
    let fast = fetch("ann", 10_000_000);
    assert!(fast < PATIENCE, "{fast:?}");
    // The other half, a turn more at most, and the rest at 500 kB a second.
    let slow = fetch("ann", 10_000_000 + TURN + 500_000);
    assert!((Duration::from_millis(850)..3 * PATIENCE).contains(&slow), "{slow:?}");
    let slow = fetch("ann", 300_000);
    assert!(
        (Duration::from_millis(450)..PATIENCE).contains(&slow),
        "new sessions come, and are slow: {slow:?}"
    );
    let fast = fetch("bob", 10_000_000);
    assert!(fast < PATIENCE, "{fast:?}");
}
engines!(one_that_slows_down_has_rates_hold_from_then_on);

/// The bytes of the peer who came, both ways.
fn what_a_peer_moves_counts(engine: Engine) {
    let relay = quota_builder("source", &of_a_month(8, "both")).engine(engine).start();
    let (mut client, bound) = bind(relay.addr(), zeros(V4));
    let mut peer = peer(V4, bound);
    assert_eq!(client.reply().rep, 0x00);
    client.send(b"ping");
    peer.expect(b"ping");
    peer.send(b"pon");
    client.expect(b"pon");
    let refused = || {
        let mut client = Client::greeted(relay.addr());
        client.send(&request(BIND, zeros(V4)));
        client.reply().rep == 0x02
    };
    assert!(!refused(), "one byte is left");
    peer.send(b"g");
    wait::until_true("refused", PATIENCE, refused);
}
engines!(what_a_peer_moves_counts);

/// The payload alone, of what was sent. Live associations go on where new ones are refused.
#[test]
fn datagrams_that_are_sent_count() {
    let target = Target::on(V4);
    let relay = quota_builder("source", &of_a_month(1000, "both")).start();
    let association = Association::open(relay.addr());
    association.send(target.addr, &[1; 600]);
    let external = target.expect(&[1; 600]);
    target.send(external, &[2; 399]);
    association.expect(target.addr, &[2; 399]);
    let refused = || associate(&mut Client::greeted(relay.addr()), zeros(V4)).rep == 0x02;
    assert!(!refused(), "one byte is left");
    association.send(target.addr, b"x");
    target.expect(b"x");
    wait::until_true("refused", PATIENCE, refused);
    association.send(target.addr, b"still there");
    target.expect(b"still there");
}

/// Where it closes, the association ends; another of the same source, which is silent, too.
#[test]
fn associations_end_where_a_quota_closes() {
    let target = Target::on(V4);
    let relay =
        quota_builder("source", &of_a_month(1000, "up")).set("[limit]", "on_reached", "\"close\"").start();
    let (association, _silent) = (Association::open(relay.addr()), Association::open(relay.addr()));
    for _ in 0..60 {
        association.send(target.addr, &[1; 1000]);
    }
    target.expect(&[1; 1000]);
    let records = await_records(&relay, "quota", 2);
    assert!(records.iter().all(|record| record["limit"] == "plan"), "{records:?}");
    let moved: u64 = records.iter().map(|record| record["bytes_up"].as_u64().expect("a number")).sum();
    assert!((1000..1000 + limits::QUOTA_OVERRUN_DATAGRAM_BYTES).contains(&moved), "{moved}");
}

/// Where it slows down, datagrams have a rate from then on.
#[test]
fn datagrams_have_a_rate_once_a_quota_is_used_up() {
    let target = Target::on(V4);
    let relay = quota_builder("source", &of_a_month(100_000, "up"))
        .set("[limit]", "on_reached", "\"slow\"")
        .set("[limit]", "upload", "{ rate = \"1kB\", burst = \"1kB\" }")
        .start();
    let association = Association::open(relay.addr());
    for _ in 0..100 {
        association.send(target.addr, &[1; 1000]);
        target.expect(&[1; 1000]);
    }
    assert_eq!(drops(&relay).get("limit"), None, "the quota is had at full speed");
    for _ in 0..20 {
        association.send(target.addr, &[2; 1000]);
    }
    wait::until_true("the rest is dropped", PATIENCE, || {
        drops(&relay).get("limit").is_some_and(|count| *count >= 15)
    });
}

/// What is inside counts, without the seal.
#[test]
fn sealed_sessions_count_what_is_inside() {
    let realm = realm!();
    let echo = Origin::echo();
    let builder = quota_builder("source", &of_a_month(2000, "both"));
    let relay = every_level(builder, realm);
    let mut client = GssClient::through(relay.addr(), realm, 2, echo.addr);
    client.send(&[7; 999]);
    assert_eq!(client.recv(999), [7; 999]);
    let mut other = GssClient::through(relay.addr(), realm, 2, echo.addr);
    other.send(b"x");
    assert_eq!(other.recv(1), b"x");
    wait::until_true("refused", PATIENCE, || {
        GssClient::at_level(relay.addr(), realm, 2).request(1, echo.addr).rep == 0x02
    });
}

/// Each has its own: one that is ended refuses nobody.
fn a_session_may_have_a_quota_of_its_own(engine: Engine) {
    let source = Origin::source(u64::MAX);
    let relay = quota_builder("session", &of_a_month(1_000_000, "down"))
        .set("[limit]", "on_reached", "\"close\"")
        .engine(engine)
        .start();
    for _ in 0..2 {
        let mut client = Client::through(relay.addr(), source.addr);
        let end = client.stream.read_to_end(&mut Vec::new()).expect_err("it is cut off");
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    }
    for record in await_records(&relay, "quota", 2) {
        let down = record["bytes_down"].as_u64().expect("a number");
        assert!((1_000_000..1_000_000 + TURN).contains(&down), "{record}");
    }
}
engines!(a_session_may_have_a_quota_of_its_own);

#[test]
fn a_source_has_so_many_bytes_a_day() {
    let echo = Origin::echo();
    let relay = Relay::builder().keeping().set("limits", "per_source", "{ bytes_per_day = 8 }").start();
    let mut client = Client::through(relay.addr(), echo.addr);
    client.send(b"ping");
    client.expect(b"ping");
    wait::until_true("refused", PATIENCE, || Client::greeted(relay.addr()).request_ip(echo.addr).rep == 0x02);
    assert_eq!(await_records(&relay, "denied", 1)[0]["limit"], "limits.per_source");
}

/// One that changes how much there is keeps what is used; another period begins at nothing. A quota that is lowered below what
/// is used ends those that are there.
#[test]
fn a_reload_changes_a_quota_and_not_what_is_used() {
    let echo = Origin::echo();
    let mut relay = quota_builder("source", &of_a_month(8, "both")).start();
    let mut client = Client::through(relay.addr(), echo.addr);
    client.send(b"ping");
    client.expect(b"ping");
    let refused = |relay: &Relay| Client::greeted(relay.addr()).request_ip(echo.addr).rep == 0x02;
    wait::until_true("refused", PATIENCE, || refused(&relay));
    relay.reload(&[("[limit]", "quota", &of_a_month(10, "both"))]);
    assert!(!refused(&relay), "two bytes are left");
    client.send(b"x");
    client.expect(b"x");
    wait::until_true("refused", PATIENCE, || refused(&relay));
    relay.reload(&[("[limit]", "quota", "{ bytes = 10, period = \"day\", zone = \"UTC\" }")]);
    assert!(!refused(&relay), "another period");
    client.send(b"y");
    client.expect(b"y");
    let lower = "{ bytes = 2, period = \"day\", zone = \"UTC\" }";
    relay.reload(&[("[limit]", "quota", lower), ("[limit]", "on_reached", "\"close\"")]);
    let (_, took) = timed(|| client.expect_reset());
    assert!(took < SOON, "{took:?}");
}

/// As other limits: what there is, what part of it is used and by whom, and how often it was reached.
#[test]
fn how_much_of_a_quota_is_used_is_told() {
    let echo = Origin::echo();
    let (relay, api) = Api::serve(quota_builder("source", &of_a_month(1000, "both")));
    let mut client = Client::through(relay.addr(), echo.addr);
    client.send(&[7; 100]);
    client.expect(&[7; 100]);
    drop(client);
    let plan = || api.get("/api/v1/limits?limit=plan")["limits"][0].clone();
    let used =
        wait::until("it is remembered", PATIENCE, || Some(plan()).filter(|plan| plan["sessions"] == 0));
    let terms = json!({"quota": {"bytes": 1000, "direction": "both", "on_reached": "refuse"}});
    assert_eq!((&used["terms"], &used["reached"]), (&terms, &json!({"quota": 0})), "{used}");
    let holder = &used["fullest"][0];
    assert_eq!(
        (&holder["holder"], &holder["parts"]),
        (&"source:127.0.0.1".into(), &json!({"quota": 0.2})),
        "{used}"
    );
    let mut client = Client::through(relay.addr(), echo.addr);
    client.send(&[7; 400]);
    client.expect(&[7; 400]);
    wait::until_true("refused", PATIENCE, || Client::greeted(relay.addr()).request_ip(echo.addr).rep == 0x02);
    let used = plan();
    assert_eq!((&used["fill"], &used["reached"]["quota"]), (&json!(1.0), &json!(1)), "{used}");
}
