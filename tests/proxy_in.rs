//! Clients behind a load balancer, which says who they are in front of their bytes (the PROXY protocol): whose word is taken,
//! and that nothing of what follows is lost.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::client::connect_ip;
use crate::support::origin::pattern;
use crate::support::relay::Builder;
use crate::support::{Client, Engine, Origin, Relay};

/// A header of version 1 for a client at 198.51.100.7:40000.
const LINE: &[u8] = b"PROXY TCP4 198.51.100.7 203.0.113.9 40000 1080\r\n";
/// The same in version 2, with a connection's id and a host's name.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x1c\xc6\x33\x64\x07\xcb\x00\x71\x09\x9c\x40\x04\x38\
\x05\x00\x03\x00id\x02\x00\x07a.b.cde";
/// LOCAL: the balancer itself, such as at a health check.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

fn with(keys: &str) -> String {
    format!("name = \"in\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"socks5\", \"http\"]\n{keys}")
}

fn required() -> String {
    with("proxy_protocol = \"required\"\nproxy_from = [\"127.0.0.9\"]")
}

fn optional() -> String {
    with("proxy_protocol = \"optional\"\nproxy_from = [\"127.0.0.9\"]")
}

fn serve(listener: &str) -> Relay {
    builder(listener).start()
}

fn builder(listener: &str) -> Builder {
    Relay::builder().listeners(&[listener])
}

/// A connection of the balancer.
fn balancer(relay: &Relay) -> Client {
    Client::connect_from("127.0.0.9:0".parse().expect("an address"), relay.addr())
}

/// Insists that who comes from there is let in by nothing, whatever he says: he is reset as he comes, or soon after.
fn expect_turned_away(relay: &Relay, source: &str) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&source.parse::<SocketAddr>().expect("an address").into()).expect("bind the client");
    if socket.connect(&relay.addr().into()).is_err() {
        return;
    }
    let mut stream = TcpStream::from(socket);
    let _ = stream.write_all(LINE);
    match stream.read(&mut [0]) {
        // The write may have met the reset already, and taken it.
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("expected the end of the connection, got {other:?}"),
    }
}

/// Greets behind what was sent, and asks for this target.
fn goes_on(client: &mut Client, target: SocketAddr) -> u8 {
    client.greet_none();
    client.request_ip(target).rep
}

fn told(record: &Value) -> (&str, Option<&str>) {
    (record["client"].as_str().expect("text"), record["proxy_peer"].as_str())
}

/// Rules and records know the client by the address that was named, and what stood behind the header is relayed.
fn the_client_is_whom_the_balancer_names(engine: Engine) {
    let origin = Origin::echo();
    let only = "name = \"one\"\nfrom = [\"198.51.100.7\"]\naction = \"allow\"";
    let relay = builder(&required()).engine(engine).rules(&[only]).start();
    let payload = pattern(0, 100_000);
    for header in [LINE, BINARY] {
        let mut client = balancer(&relay);
        client.send(&[header, b"\x05\x01\x00", &connect_ip(origin.addr), &payload].concat());
        client.expect(b"\x05\x00");
        assert_eq!(client.reply().rep, 0);
        client.finish();
        assert!(client.recv_to_eof() == payload);
    }
    let mut other = balancer(&relay);
    other.send(b"PROXY TCP4 198.51.100.8 203.0.113.9 40000 1080\r\n");
    assert_eq!(goes_on(&mut other, origin.addr), 0x02);
    let ours = other.local();
    drop(other);
    let records = relay.records(3);
    let by_client =
        |client: &str| records.iter().filter(|record| told(record).0 == client).collect::<Vec<_>>();
    let [one, other] = by_client("198.51.100.7:40000")[..] else { panic!("{records:?}") };
    assert!(told(one).1.is_some_and(|peer| peer.starts_with("127.0.0.9:")), "{one}");
    let named = |record: &&&Value| record["proxy_id"] == "006964" && record["proxy_authority"] == "a.b.cde";
    assert_eq!([one, other].iter().filter(named).count(), 1, "{records:?}");
    assert_eq!(told(by_client("198.51.100.8:40000")[0]).1, Some(&*ours.to_string()));
}
engines!(the_client_is_whom_the_balancer_names);

/// Who is no balancer is not let in, or is a client like any other: a header of his is nothing that a client says.
#[test]
fn only_a_balancer_is_believed() {
    let origin = Origin::echo();
    let relay = serve(&required());
    expect_turned_away(&relay, "127.0.0.1:0");
    let relay = serve(&optional());
    let mut stranger = Client::connect(relay.addr());
    stranger.send(BINARY);
    stranger.expect_closed();
    let mut plain = Client::connect(relay.addr());
    assert_eq!(goes_on(&mut plain, origin.addr), 0);
    let (mut bare, mut headed) = (balancer(&relay), balancer(&relay));
    assert_eq!(goes_on(&mut bare, origin.addr), 0, "a balancer may be a client where it is optional");
    headed.send(LINE);
    assert_eq!(goes_on(&mut headed, origin.addr), 0);
    drop((plain, bare, headed));
    let records = relay.records(4);
    let proxied = records.iter().filter(|record| !record["proxy_peer"].is_null());
    assert_eq!(proxied.map(|record| told(record).0).collect::<Vec<_>>(), ["198.51.100.7:40000"]);
    assert_eq!(records.iter().filter(|record| record["reason"] == "protocol").count(), 1);
}

/// LOCAL, UNKNOWN and what is no client of TCP: whoever connected is the client.
#[test]
fn a_header_that_names_nobody_leaves_the_balancer_the_client() {
    let origin = Origin::echo();
    let relay = serve(&required());
    let unix = [b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x00\xd8", &[b'/'; 216][..]].concat();
    for header in [LOCAL, b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00", &unix] {
        let mut client = balancer(&relay);
        client.send(header);
        assert_eq!(goes_on(&mut client, origin.addr), 0, "{header:02x?}");
    }
    let records = relay.records(4);
    assert!(records.iter().all(|record| told(record).0.starts_with("127.0.0.9:")), "{records:?}");
    assert!(records.iter().all(|record| record["proxy_peer"].is_null()), "{records:?}");
}

/// Byte by byte, and cut at each of them.
#[test]
fn a_header_means_the_same_at_every_split() {
    let origin = Origin::echo();
    let relay = builder(&optional()).timeout("handshake", 60_000).start();
    for header in [LINE, BINARY] {
        let stream = [header, b"\x05\x01\x00"].concat();
        let each: Vec<usize> = (1..stream.len()).collect();
        for cuts in (1..stream.len()).map(|cut| vec![cut]).chain([each]) {
            let mut client = balancer(&relay);
            let mut sent = 0;
            for cut in cuts.into_iter().chain([stream.len()]) {
                client.send(&stream[sent..cut]);
                sent = cut;
                if sent < header.len() {
                    // The header stays where it is until it is whole.
                    client.expect_silence(Duration::from_millis(1));
                } else {
                    client.wait_until_read();
                }
            }
            client.expect(b"\x05\x00");
            assert_eq!(client.request_ip(origin.addr).rep, 0);
        }
    }
}

#[test]
fn what_is_no_header_or_a_broken_one_ends_the_connection() {
    let relay = serve(&required());
    let broken: &[&[u8]] = &[
        b"\x05\x01\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 198.51.100.7 203.0.113.9 40000\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x00",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x13\xc6\x33\x64\x07\xcb\x00\x71\x09\x9c\x40\x04\x38\x03\x00\x04\0\0\0\0",
    ];
    for header in broken {
        let mut client = balancer(&relay);
        client.send(header);
        client.expect_closed();
    }
    let records = relay.records(broken.len());
    assert!(records.iter().all(|record| record["reason"] == "protocol"), "{records:?}");
}

/// A header that does not come, or not whole, has the time of the first byte and no more.
#[test]
fn a_header_has_to_come_in_time() {
    let relay = serve(&format!("{}\nfirst_byte = \"200ms\"", required()));
    let (mut silent, mut half) = (balancer(&relay), balancer(&relay));
    half.send(&LINE[..10]);
    half.expect_closed();
    silent.expect_closed();
    let mut left = balancer(&relay);
    left.send(&LINE[..10]);
    left.finish();
    left.expect_closed();
    let records = relay.records(3);
    let of = |reason: &str| records.iter().filter(|record| record["reason"] == reason).count();
    assert_eq!((of("handshake_timeout"), of("client_left")), (2, 1), "{records:?}");
}

/// The sessions of a source are those of the client that is named: the balancer has a place for none of them.
#[test]
fn limits_are_of_the_client_that_is_named() {
    let origin = Origin::echo();
    let relay = builder(&required()).set("limits.per_source", "connections", "1").start();
    let ask = |ip: &str| {
        let mut client = balancer(&relay);
        client.send(format!("PROXY TCP4 {ip} 203.0.113.9 40000 1080\r\n").as_bytes());
        let rep = goes_on(&mut client, origin.addr);
        (rep, client)
    };
    let (one, other, again) = (ask("198.51.100.7"), ask("198.51.100.8"), ask("198.51.100.7"));
    assert_eq!((one.0, other.0, again.0), (0x00, 0x00, 0x02));
    let mut turned_away = balancer(&relay);
    turned_away.send(LINE);
    turned_away.expect_closed();
}

/// HTTP begins behind the header as SOCKS does.
#[test]
fn whatever_is_spoken_begins_behind_the_header() {
    let origin = Origin::echo();
    let relay = serve(&required());
    let mut client = balancer(&relay);
    let head = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.addr);
    client.send(&[BINARY, head.as_bytes()].concat());
    client.expect(b"HTTP/1.1 200");
    drop(client);
    let record = relay.record();
    assert_eq!((told(&record).0, &record["protocol"]), ("198.51.100.7:40000", &Value::from("http")));
}

#[test]
fn a_reload_changes_who_is_believed() {
    let origin = Origin::echo();
    let mut relay = serve(&with(""));
    let mut plain = balancer(&relay);
    assert_eq!(goes_on(&mut plain, origin.addr), 0);
    relay.put_listeners(&[&required()]);
    relay.reload(&[]);
    let mut client = balancer(&relay);
    client.send(LINE);
    assert_eq!(goes_on(&mut client, origin.addr), 0);
    relay.put_listeners(&[&required().replace("127.0.0.9", "127.0.0.8")]);
    relay.reload(&[]);
    expect_turned_away(&relay, "127.0.0.9:0");
    relay.put_listeners(&[&with("")]);
    relay.reload(&[]);
    let mut client = balancer(&relay);
    client.send(&[LINE, b"\r\n"].concat());
    client.expect(b"HTTP/1.1 400");
    client.drain_to_end();
}
