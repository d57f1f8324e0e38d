//! SOCKS4 and SOCKS4a over real sockets: one message, its replies, and listeners that do not speak it.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use crate::bind::{converse, peer};
use crate::support::origin::{V4, once};
use crate::support::relay::{Builder, run_to_exit};
use crate::support::{Client, DnsServer, Engine, Origin, Relay, skip, users};

/// A relay that speaks SOCKS4 and SOCKS5.
fn both() -> Builder {
    with("protocols = [\"socks5\", \"socks4\"]")
}

fn with(lines: &str) -> Builder {
    Relay::builder().listeners(&[&format!("name = \"one\"\naddress = \"127.0.0.1:0\"\n{lines}")])
}

/// The bytes of a request for an address.
fn request(command: u8, target: SocketAddr, user: &[u8]) -> Vec<u8> {
    let IpAddr::V4(ip) = target.ip() else { panic!("{target} is none of SOCKS4's") };
    [&[4, command][..], &target.port().to_be_bytes(), &ip.octets(), user, &[0]].concat()
}

/// The bytes of a CONNECT to a name.
fn connect_name(name: &str, port: u16) -> Vec<u8> {
    [&[4, 1][..], &port.to_be_bytes(), &[0, 0, 0, 1, 0], name.as_bytes(), &[0]].concat()
}

/// Sends this, and insists that it is granted; gives the client, and the address that it is told.
fn granted(relay: SocketAddr, bytes: &[u8]) -> (Client, SocketAddr) {
    let mut client = Client::connect(relay);
    client.send(bytes);
    let told = reply(&mut client);
    (client, told)
}

/// Reads a reply that grants.
fn reply(client: &mut Client) -> SocketAddr {
    let reply = client.recv(8);
    assert_eq!(reply[..2], [0, 90], "{reply:?}");
    let ip: [u8; 4] = reply[4..].try_into().expect("four octets");
    SocketAddr::new(ip.into(), u16::from_be_bytes([reply[2], reply[3]]))
}

/// Sends this, and insists on this code and the end.
fn expect_refusal(relay: SocketAddr, bytes: &[u8], code: u8) {
    let mut client = Client::connect(relay);
    client.send(bytes);
    client.expect(&[0, code, 0, 0, 0, 0, 0, 0]);
    client.expect_eof();
}

/// HAZARD 1: by address and by name, with payload behind it, at every split.
fn a_connect_means_the_same_at_every_split(engine: Engine) {
    let server = DnsServer::zone(&[("host.example", &["127.0.0.1"])]);
    let relay = both().engine(engine).dns(&server).start();
    let origin = Origin::echo();
    let by_address = request(1, origin.addr, b"fred");
    let by_name = connect_name("host.example", origin.addr.port());
    for bytes in [by_address, by_name].map(|request| [&request[..], b"payload"].concat()) {
        for at in (1..bytes.len()).step_by(3) {
            let mut client = Client::connect(relay.addr());
            client.send(&bytes[..at]);
            client.wait_until_read();
            client.send(&bytes[at..]);
            assert_eq!(reply(&mut client).ip(), V4);
            client.expect(b"payload");
            client.finish();
            client.expect_eof();
        }
    }
}
engines!(a_connect_means_the_same_at_every_split);

#[test]
fn the_record_has_what_was_asked_and_what_was_told() {
    let relay = both().start();
    let origin = Origin::echo();
    let (mut client, local) = granted(relay.addr(), &request(1, origin.addr, b"fr\"ed\n"));
    assert_eq!(local, origin.peer(1), "the reply names our own address towards the target");
    client.send(b"four");
    client.expect(b"four");
    client.finish();
    client.expect_eof();
    let record = relay.record();
    for (field, wanted) in [
        ("user", "fr\"ed\n"),
        ("method", "none"),
        ("command", "connect"),
        ("target", &origin.addr.to_string()),
        ("reason", "completed"),
    ] {
        assert_eq!(record[field], wanted, "{field} in {record}");
    }
    assert_eq!((&record["reply"], &record["bytes_up"]), (&90.into(), &4.into()), "{record}");
}

/// BIND: the first reply says where the server listens, the second who came.
fn bind_has_two_replies(engine: Engine) {
    let relay = both().engine(engine).start();
    let (mut client, listens) = granted(relay.addr(), &request(2, SocketAddr::new(V4, 21), b""));
    let mut peer = peer(V4, listens);
    assert_eq!(reply(&mut client), peer.local());
    converse(&mut client, &mut peer);
    assert_eq!(relay.record()["command"], "bind");
}
engines!(bind_has_two_replies);

/// HAZARD 11, 14, 16: what cannot be had is rejected, readable and with the end behind it.
#[test]
fn what_cannot_be_had_is_rejected() {
    let server = DnsServer::zone(&[]);
    let relay = both().dns(&server).guarded().start();
    for bytes in [
        request(1, "10.0.0.1:80".parse().expect("an address"), b""),
        request(1, SocketAddr::new(V4, 80), b""),
        connect_name("nowhere.example", 80),
        connect_name("127.1", 80),
        b"\x04\x03\0\x50\x01\x02\x03\x04\0".to_vec(),
        b"\x04\x01\0\0\x01\x02\x03\x04\0".to_vec(),
        [&b"\x04\x01\0\x50\x01\x02\x03\x04"[..], &[b'u'; 300], &[0]].concat(),
    ] {
        expect_refusal(relay.addr(), &bytes, 91);
    }
}

/// SOCKS4 has no password: where one is wanted nobody gets in, nor is anything dialled.
#[test]
fn where_a_password_is_wanted_nobody_gets_in() {
    let relay = both().users(&[("fred", b"secret")]).start();
    let origin = Origin::echo();
    for user in [&b""[..], b"fred"] {
        expect_refusal(relay.addr(), &request(1, origin.addr, user), 91);
    }
    assert_eq!(origin.accepted(), 0);
    for record in relay.records(2) {
        assert_eq!((&record["reason"], &record["user"]), (&"no_method".into(), &().into()), "{record}");
    }
}

/// HAZARD 6: where it is not spoken a client is told so in its own words, whatever it asks for.
#[test]
fn where_it_is_not_spoken_it_is_rejected() {
    let relay = Relay::start();
    let origin = Origin::echo();
    expect_refusal(relay.addr(), &request(1, origin.addr, b""), 91);
    expect_refusal(relay.addr(), b"\x04", 91);
    assert_eq!(origin.accepted(), 0);
    let only = with("protocols = [\"socks4\"]").start();
    let (mut client, _) = granted(only.addr(), &request(1, origin.addr, b""));
    client.send(b"here");
    client.expect(b"here");
    let mut client = Client::connect(only.addr());
    client.send(&[5, 1, 0]);
    client.expect(&[5, 0xff]);
    client.expect_eof();
}

/// HAZARD 10: half a request is no more than half a session.
#[test]
fn a_slow_client_is_closed_at_the_deadline() {
    let relay = both().timeout("handshake", 300).start();
    let mut client = Client::connect(relay.addr());
    client.send(b"\x04\x01\0\x50\x01\x02\x03\x04us");
    client.expect_eof();
    assert_eq!(relay.record()["reason"], "handshake_timeout");
}

/// curl sends names with 4a, and addresses with plain SOCKS4.
#[test]
fn curl_fetches_by_either() {
    if skip::without("curl_fetches_by_either", "curl", "curl") {
        return;
    }
    let server = DnsServer::zone(&[("host.example", &["127.0.0.1"])]);
    let relay = both().dns(&server).start();
    for (scheme, host) in [("socks4a", "host.example"), ("socks4", "127.0.0.1"), ("socks4a", "127.0.0.1")] {
        let page = once(|mut stream| {
            use std::io::{Read, Write};
            let mut request = [0; 16];
            stream.read_exact(&mut request).expect("a request");
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nthe page").expect("answer");
        });
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "10", "--proxy", &format!("{scheme}://fred@{}", relay.addr())]);
        command.arg(format!("http://{host}:{}/", page.addr.port()));
        let output = run_to_exit(command);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "the page", "{scheme} {host}: {output:?}");
        page.join();
    }
}

/// A user who needs no password, and one who has one.
fn listed() -> [(String, String); 2] {
    let secret = users::argon2id(b"secret");
    [("ann".to_owned(), "*:ident".to_owned()), ("bob".to_owned(), secret)]
}

#[test]
fn a_user_without_a_password_is_let_in_by_name_and_by_socks4_alone() {
    let relay = both().hashed_users(&listed()).set("auth", "socks4_ident", "true").start();
    let origin = Origin::echo();
    for _ in 0..2 {
        let (mut client, _) = granted(relay.addr(), &request(1, origin.addr, b"ann"));
        client.send(b"here");
        client.expect(b"here");
        client.finish();
        client.expect_eof();
    }
    for record in relay.records(2) {
        assert_eq!((&record["user"], &record["method"]), (&"ann".into(), &"ident".into()), "{record}");
    }
    for user in [&b"bob"[..], b"carl", b"", b"Ann"] {
        expect_refusal(relay.addr(), &request(1, origin.addr, user), 93);
    }
    for password in [&b"*"[..], b"ann", b"secret"] {
        assert_ne!(Client::connect(relay.addr()).login(b"ann", password), 0, "by no password");
    }
    assert_eq!(Client::connect(relay.addr()).login(b"bob", b"secret"), 0);
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn without_the_key_no_name_is_enough() {
    let relay = both().hashed_users(&listed()).start();
    let origin = Origin::echo();
    expect_refusal(relay.addr(), &request(1, origin.addr, b"ann"), 91);
    assert_eq!(origin.accepted(), 0);
}

/// Whoever asks by SOCKS4 is told 91, and the record names what was in the way.
#[test]
fn rules_limits_and_quotas_are_those_of_all_protocols() {
    let origin = Origin::echo();
    let quota = "quota = { bytes = 1000, period = \"month\", zone = \"UTC\" }";
    let plan = format!("name = \"plan\"\nper = \"source\"\nconnections = 1\n{quota}");
    let port = origin.addr.port();
    let echo = format!("name = \"echo\"\nports = [{port}]\naction = \"allow\"\nlimits = [\"plan\"]");
    let relay =
        both().keeping().limits(&[&plan]).rules(&[&echo, "name = \"rest\"\naction = \"deny\""]).start();
    let refused = |nth, target, field: &str, by: &str| {
        expect_refusal(relay.addr(), &request(1, target, b"fred"), 91);
        let record = relay.records(nth).pop().expect("its record");
        assert_eq!((&record["protocol"], &record[field]), (&"socks4".into(), &by.into()), "{record}");
    };
    let (mut client, _) = granted(relay.addr(), &request(1, origin.addr, b"fred"));
    refused(1, SocketAddr::new(V4, 1), "rule", "rest");
    refused(2, origin.addr, "limit", "plan");
    client.send(&[7; 600]);
    client.expect(&[7; 600]);
    drop(client);
    assert_eq!(relay.records(3)[2]["rule"], "echo");
    refused(4, origin.addr, "limit", "plan");
}
