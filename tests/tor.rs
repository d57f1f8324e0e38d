//! Tor's extensions to SOCKS: RESOLVE and RESOLVE_PTR over real sockets, and with Tor's own clients.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::support::client::put_address;
use crate::support::dns::{A, NOERROR, labels, record};
use crate::support::relay::{Builder, run_to_exit};
use crate::support::skip;
use crate::support::{Client, DnsServer, Relay};

const PTR: u16 = 12;

/// A greeting without a password, and RESOLVE.
fn resolve(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a short name");
    [&[0x05, 0x01, 0x00, 0x05, 0xf0, 0x00, 0x03, length], name.as_bytes(), &[0, 0]].concat()
}

/// A greeting without a password, and RESOLVE_PTR.
fn reverse(address: &str) -> Vec<u8> {
    let mut bytes = vec![0x05, 0x01, 0x00, 0x05, 0xf1, 0x00];
    put_address(&mut bytes, SocketAddr::new(address.parse().expect("an address"), 0));
    bytes
}

/// Knows host.example by its addresses, and 203.0.113.7 by that name.
fn names() -> DnsServer {
    DnsServer::scripted(|query| {
        let answer = match (&*query.name, query.qtype) {
            ("host.example", _) => query.addresses(&["203.0.113.7".parse().expect("an address")], 60),
            ("inside.example", _) => query.addresses(&["10.0.0.1".parse().expect("an address")], 60),
            ("7.113.0.203.in-addr.arpa", PTR) => {
                query.respond(NOERROR, &[record(&[0xc0, 0x0c], PTR, 60, &labels("host.example"))])
            }
            _ => query.nxdomain(),
        };
        vec![answer]
    })
}

/// A relay that resolves, before which 203.0.113.0/24 is the internet.
fn resolving(server: &DnsServer) -> Builder {
    Relay::builder().dns(server).guarded().set("tor", "resolve", "true").set(
        "guard",
        "allow",
        "[\"203.0.113.0/24\"]",
    )
}

/// What is said in answer to these bytes up to the end of the connection.
fn answer(relay: &Relay, bytes: &[u8]) -> Vec<u8> {
    let mut client = Client::connect(relay.addr());
    client.send(bytes);
    client.recv_to_eof()
}

/// The answer is all that there is: the connection ends behind it, and the record says what was done.
#[test]
fn a_name_is_resolved_and_the_connection_ends() {
    let server = names();
    let relay = resolving(&server).start();
    for _ in 0..2 {
        let told = answer(&relay, &resolve("host.example"));
        assert_eq!(told, b"\x05\x00\x05\x00\x00\x01\xcb\x00\x71\x07\x00\x00");
    }
    assert_eq!(server.asked("host.example", A), 1, "the second time from the cache");
    for record in relay.records(2) {
        for (field, wanted) in [
            ("command", "resolve"),
            ("target", "host.example:0"),
            ("address", "203.0.113.7:0"),
            ("reason", "completed"),
            ("verdict", "allow"),
        ] {
            assert_eq!(record[field], wanted, "{field} in {record}");
        }
        assert_eq!((&record["reply"], &record["bytes_up"]), (&0.into(), &0.into()), "{record}");
    }
}

#[test]
fn an_address_has_its_name_told() {
    let server = names();
    let relay = resolving(&server).start();
    for _ in 0..2 {
        let told = answer(&relay, &reverse("203.0.113.7"));
        assert_eq!(told, b"\x05\x00\x05\x00\x00\x03\x0chost.example\x00\x00");
    }
    assert_eq!(server.asked("7.113.0.203.in-addr.arpa", PTR), 1, "the second time from the cache");
    for record in relay.records(2) {
        assert_eq!((&record["command"], &record["target"]), (&"resolve_ptr".into(), &"203.0.113.7:0".into()));
        assert_eq!(record["reason"], "completed", "{record}");
    }
    assert_eq!(answer(&relay, &reverse("203.0.113.8"))[2..4], [0x05, 0x04], "nobody knows it");
}

#[test]
fn both_mean_the_same_at_every_split() {
    let server = names();
    let relay = resolving(&server).start();
    for request in [resolve("host.example"), reverse("203.0.113.7")] {
        let whole = answer(&relay, &request);
        for at in 1..request.len() {
            let mut client = Client::connect(relay.addr());
            client.send(&request[..at]);
            client.wait_until_read();
            client.send(&request[at..]);
            assert_eq!(client.recv_to_eof(), whole, "split at {at}");
        }
    }
}

// HAZARD 16, 18: names inside are no business of whoever may not go there.
#[test]
fn what_may_not_be_reached_is_not_told() {
    let server = names();
    let relay = resolving(&server).start();
    let refused = b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0";
    for request in [resolve("inside.example"), resolve("127.0.0.1"), reverse("10.0.0.1"), reverse("::1")] {
        assert_eq!(answer(&relay, &request), refused, "{}", request.escape_ascii());
    }
    assert!(server.queries().iter().all(|query| query.qtype != PTR), "no server is asked for its name");
    for record in relay.records(4) {
        assert_eq!((&record["reason"], &record["rule"]), (&"denied".into(), &"guard".into()), "{record}");
    }
}

/// Off where nothing is said.
#[test]
fn without_the_key_it_is_no_command() {
    let server = names();
    let relay = Relay::builder().dns(&server).start();
    for request in [resolve("host.example"), reverse("203.0.113.7")] {
        assert_eq!(answer(&relay, &request), b"\x05\x00\x05\x07\x00\x01\0\0\0\0\0\0");
    }
    assert!(server.queries().is_empty());
}

#[test]
fn rules_and_limits_are_those_of_sessions() {
    let server = names();
    let rules = ["name = \"names\"\ncommands = [\"resolve\"]\naction = \"allow\"\nlimits = [\"few\"]"];
    let limits = ["name = \"few\"\nper = \"rule\"\nnew_per_second = { rate = 1, burst = 2 }"];
    let relay = resolving(&server).rules(&rules).limits(&limits).start();
    assert_eq!(answer(&relay, &resolve("host.example"))[2..4], [5, 0]);
    assert_eq!(answer(&relay, &reverse("203.0.113.7"))[2..4], [5, 0]);
    assert_eq!(answer(&relay, &resolve("host.example"))[2..4], [5, 2], "the third within a second");
    let mut client = Client::greeted(relay.addr());
    client.request_name(b"host.example", 80);
    let records = relay.records(4);
    let limited = records.iter().filter(|record| record["limit"] == "few").count();
    let denied = records.iter().filter(|record| record["rule"] == "default").count();
    assert_eq!((limited, denied), (1, 1), "{records:?}");
}

/// A server that says nothing costs the client no more than its time limit; a client that leaves is done with at once.
#[test]
fn nobody_waits_for_ever() {
    let server = DnsServer::dead();
    let relay = resolving(&server).timeout("dns", 300).start();
    assert_eq!(answer(&relay, &reverse("203.0.113.7"))[2..4], [0x05, 0x06]);
    let mut client = Client::connect(relay.addr());
    client.send(&reverse("203.0.113.9"));
    client.expect(&[0x05, 0x00]);
    client.finish();
    client.wait_until_released(Duration::from_secs(5));
    let records = relay.records(2);
    assert_eq!(records[0]["reply"], 6, "{records:?}");
}

/// What a command of Tor's prints, of a relay at this address.
fn printed(program: &str, relay: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("TORSOCKS_TOR_ADDRESS", relay.ip().to_string())
        .env("TORSOCKS_TOR_PORT", relay.port().to_string());
    let output = run_to_exit(command);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn tor_resolve_finds_names_and_addresses() {
    if skip::without("tor_resolve_finds_names_and_addresses", "tor-resolve", "tor") {
        return;
    }
    let server = names();
    let relay = resolving(&server).start();
    let at = relay.addr().to_string();
    assert_eq!(printed("tor-resolve", relay.addr(), &["host.example", &at]), "203.0.113.7");
    assert_eq!(printed("tor-resolve", relay.addr(), &["-x", "203.0.113.7", &at]), "host.example");
    assert_eq!(printed("tor-resolve", relay.addr(), &["inside.example", &at]), "");
}

/// torsocks puts itself between a program and the C library's resolver.
#[test]
fn torsocks_resolves_for_a_program() {
    if skip::without("torsocks_resolves_for_a_program", "torsocks", "torsocks") {
        return;
    }
    let server = names();
    let relay = resolving(&server).start();
    let python = |code: &str| {
        printed("torsocks", relay.addr(), &["python3", "-c", &format!("import socket; print({code})")])
    };
    assert_eq!(python("socket.gethostbyname('host.example')"), "203.0.113.7");
    assert_eq!(python("socket.gethostbyaddr('203.0.113.7')[0]"), "host.example");
}
