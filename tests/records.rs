//! Access records: one line per session, every field true, whatever the client sent (HAZARD 9).

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::Duration;

use serde_json::Value;

use crate::support::client::{connect_ip, connect_name, reset, userpass};
use crate::support::origin::{self, V4, pattern};
use crate::support::wait::timed;
use crate::support::{Client, DnsServer, Engine, Origin, Relay};

/// The fields of a record.
pub(crate) const FIELDS: [&str; 38] = [
    "time",
    "id",
    "worker",
    "client",
    "user",
    "user_typed",
    "method",
    "command",
    "target",
    "address",
    "local",
    "protocol",
    "listener",
    "proxy_peer",
    "proxy_id",
    "proxy_authority",
    "rule",
    "verdict",
    "would_deny",
    "limit",
    "egress",
    "egress_address",
    "session_key",
    "egress_refused",
    "parent",
    "parent_server",
    "parent_cause",
    "reply",
    "reason",
    "engine",
    "bytes_up",
    "bytes_down",
    "datagrams_up",
    "datagrams_down",
    "handshake_ms",
    "dns_ms",
    "connect_ms",
    "duration_ms",
];

fn assert_fields(record: &Value) {
    let fields: BTreeSet<&str> = record.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(fields, FIELDS.into_iter().collect(), "{record}");
}

fn at_least(record: &Value, field: &str, least: u64) {
    let value = record[field].as_u64().unwrap_or_else(|| panic!("{field} in {record}"));
    assert!((least..least + 3000).contains(&value), "{field} in {record}");
}

/// A session by name, with a password, slow in each of its phases: the record tells all of it.
fn every_field_of_the_record_is_right(engine: Engine) {
    let server =
        DnsServer::scripted(|query| vec![query.addresses(&[V4], 60).after(Duration::from_millis(120))]);
    let relay = Relay::builder().engine(engine).dns(&server).users(&[("alice", b"wonderland")]).start();
    let target = origin::once(|mut stream| {
        let peer = stream.peer_addr().expect("peer");
        let mut heard = vec![0; 12_345];
        stream.read_exact(&mut heard).expect("read");
        origin::pour(&stream, 543_210).expect("write");
        stream.read_to_end(&mut heard).expect("read to the end");
        peer
    });
    let target_addr = target.addr;
    let before = std::time::SystemTime::now();
    let mut client = Client::connect(relay.addr());
    client.expect_silence(Duration::from_millis(150));
    assert_eq!(client.login(b"alice", b"wonderland"), 0);
    assert_eq!(client.request_name(b"Slow.Example.", target_addr.port()).rep, 0);
    client.send(&pattern(0, 12_345));
    assert!(client.recv(543_210) == pattern(0, 543_210));
    let ours = client.local();
    client.finish();
    client.expect_eof();
    let peer = target.join();

    let record = relay.record();
    assert_fields(&record);
    let time = humantime::parse_rfc3339(record["time"].as_str().expect("text")).expect("RFC 3339");
    let age = time.duration_since(before).unwrap_or_default();
    assert!(age < Duration::from_secs(2), "{record}");
    for (field, wanted) in [
        ("client", ours.to_string().into()),
        ("worker", 0.into()),
        ("user", "alice".into()),
        ("method", "password".into()),
        ("command", "connect".into()),
        ("target", format!("slow.example:{}", target_addr.port()).into()),
        ("address", target_addr.to_string().into()),
        ("local", peer.to_string().into()),
        ("reply", 0.into()),
        ("reason", "completed".into()),
        ("bytes_up", 12_345.into()),
        ("bytes_down", 543_210.into()),
        ("datagrams_up", 0.into()),
        ("datagrams_down", 0.into()),
    ] {
        let wanted: Value = wanted;
        assert_eq!(record[field], wanted, "{field} in {record}");
    }
    // Splice is a promotion: a session that ends early may have been copied throughout.
    let engines: &[&str] = if engine == Engine::Copy { &["copy"] } else { &["copy", "splice"] };
    assert!(engines.contains(&record["engine"].as_str().expect("text")), "{record}");
    at_least(&record, "handshake_ms", 140);
    at_least(&record, "dns_ms", 110);
    at_least(&record, "connect_ms", 0);
    at_least(&record, "duration_ms", 260);
}
engines!(every_field_of_the_record_is_right);

/// Ids are unique over workers, and each session has exactly one record.
#[test]
fn every_record_has_its_own_id() {
    let (relay, origin) = (Relay::builder().workers(2).start(), Origin::echo());
    for n in 0..40 {
        let mut client = Client::greeted(relay.addr());
        if n % 2 == 0 {
            assert_eq!(client.request_ip(origin.addr).rep, 0);
        }
    }
    let records = relay.records(40);
    records.iter().for_each(assert_fields);
    let ids: BTreeSet<String> = records.iter().map(|r| r["id"].to_string()).collect();
    assert_eq!(ids.len(), 40);
}

/// What never came to be is null, not zero and not absent.
#[test]
fn a_session_without_a_request_records_null() {
    let relay = Relay::start();
    Client::greeted(relay.addr());
    let record = relay.record();
    assert_fields(&record);
    assert_eq!((&record["method"], &record["reason"]), (&"none".into(), &"client_left".into()), "{record}");
    for field in ["user", "command", "target", "address", "local", "reply", "dns_ms", "connect_ms"] {
        assert!(record[field].is_null(), "{field} in {record}");
    }
}

/// Who ended the relay, and how.
fn the_side_that_ended_the_relay_is_named(engine: Engine) {
    let relay = Relay::builder().engine(engine).timeout("idle", 1000).timeout("half_close", 400).start();
    let reasons = |n: usize| relay.records(n)[n - 1]["reason"].as_str().expect("text").to_owned();

    let echo = Origin::echo();
    let mut client = Client::through(relay.addr(), echo.addr);
    client.send(b"x");
    client.expect(b"x");
    client.reset();
    assert_eq!(reasons(1), "client_reset");

    let target = origin::once(|mut stream| {
        stream.read_exact(&mut [0]).expect("read");
        reset(stream);
    });
    let mut client = Client::through(relay.addr(), target.addr);
    client.send(b"x");
    client.expect_reset();
    target.join();
    assert_eq!(reasons(2), "target_reset");

    let silent = origin::once(|mut stream| stream.read_to_end(&mut Vec::new()).map(drop).ok());
    let mut client = Client::through(relay.addr(), silent.addr);
    let ((), lasted) = timed(|| client.expect_closed());
    assert!((900..3500).contains(&lasted.as_millis()), "idle for {lasted:?}");
    assert_eq!(reasons(3), "idle");

    let stubborn = origin::once(|mut stream| {
        stream.read_to_end(&mut Vec::new()).map(drop).ok();
        let _ = stream.read(&mut [0]);
        std::thread::park_timeout(Duration::from_secs(3));
        stream
    });
    let mut client = Client::through(relay.addr(), stubborn.addr);
    client.finish();
    client.expect_closed();
    assert_eq!(reasons(4), "half_close");
}
engines!(the_side_that_ended_the_relay_is_named);

/// HAZARD 9: line ends, escapes and quotes in a user name stay inside one field of one line.
#[test]
fn a_user_name_forges_no_line() {
    let user = "eve\r\nFORGED \u{1b}[31m \"quoted\", \\ {\"reason\":\"completed\"}";
    for format in ["text", "json"] {
        let relay = Relay::builder()
            .users(&[("alice", b"wonderland")])
            .set("log", "level", "\"trace\"")
            .set("log", "format", &format!("\"{format}\""))
            .start();
        let mut client = Client::connect(relay.addr());
        client.send(&[&[0x05, 0x01, 0x02][..], &userpass(user.as_bytes(), b"s3cr3t-w0rd")].concat());
        client.expect(&[0x05, 0x02, 0x01, 0x01]);
        client.expect_eof();
        let record = relay.record();
        assert_eq!((&record["user"], &record["reason"]), (&user.into(), &"auth_failed".into()));
        clean(&relay, "s3cr3t-w0rd");
    }
}

/// HAZARD 9: line ends, escapes and quotes in the name of a host stay inside one field of one line.
#[test]
fn a_host_name_forges_no_line() {
    for format in ["text", "json"] {
        let relay = Relay::builder()
            .set("log", "level", "\"trace\"")
            .set("log", "format", &format!("\"{format}\""))
            .start();
        for host in [&b"evil\r\nFORGED\x1b[31m\"\\.example"[..], b"\x9b31m\xff\xfe", b"\"},\n{\"id\":1}"] {
            let mut client = Client::greeted(relay.addr());
            client.send(&connect_name(host, 80));
            assert_ne!(client.reply().rep, 0);
            client.expect_eof();
        }
        for record in relay.records(3) {
            assert_fields(&record);
        }
        clean(&relay, "\u{9b}");
    }
}

/// No control character reaches a log, no line begins with what a client wrote, no secret is in it.
fn clean(relay: &Relay, secret: &str) {
    for text in [relay.log(), relay.access_text()] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("FORGED")), "{text}");
        assert!(!text.contains(secret), "{text}");
    }
}

/// Every refusal leaves its own word behind.
#[test]
fn every_refusal_is_recorded_by_its_reason() {
    let relay = Relay::builder().guarded().start();
    let target = "10.0.0.1:80".parse().expect("an address");
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_ip(target));
    client.expect_refusal(0x02);
    let record = relay.record();
    assert_fields(&record);
    assert_eq!((&record["reason"], &record["reply"]), (&"denied".into(), &2.into()), "{record}");
    assert_eq!((&record["target"], &record["local"]), (&"10.0.0.1:80".into(), &Value::Null), "{record}");
    assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&0.into(), &0.into()));
}

/// Relaying to a target that writes before it is spoken to counts only what was delivered.
#[test]
fn bytes_of_the_handshake_are_not_counted() {
    let relay = Relay::start();
    let target = origin::once(|mut stream| stream.write_all(b"banner").expect("write"));
    let mut client = Client::through(relay.addr(), target.addr);
    assert_eq!(client.recv_to_eof(), b"banner");
    client.finish();
    let record = relay.record();
    assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&0.into(), &6.into()), "{record}");
}
