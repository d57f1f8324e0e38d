//! CONNECT over HTTP: the tunnel, and that users, rules, limits, quotas and the guard are those of SOCKS5.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use outflow::limits;
use serde_json::{Value, json};

use crate::support::client::connect_ip;
use crate::support::http::{Http, HttpReply};
use crate::support::origin::{self, ClosedPort, V4, pattern};
use crate::support::relay::Builder;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Engine, Origin, Relay};

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const USERS: &[(&str, &[u8])] = &[("ann", b"a"), ("bob", b"b")];
/// "ann:a" and "bob:b", and "ann:b".
const ANN: &str = "Proxy-Authorization: Basic YW5uOmE=\r\n";
const BOB: &str = "Proxy-Authorization: Basic Ym9iOmI=\r\n";
const NOT_ANN: &str = "Proxy-Authorization: Basic YW5uOmI=\r\n";

/// A relay that speaks both at one port.
fn builder() -> Builder {
    Relay::builder()
        .listeners(&["name = \"web\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"http\", \"socks5\"]"])
}

fn connect(target: &str, fields: &str) -> Vec<u8> {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n").into_bytes()
}

/// A tunnel up to its bytes.
fn tunnel(relay: &Relay, target: SocketAddr, fields: &str) -> Client {
    let mut client = Client::connect(relay.addr());
    client.send(&connect(&target.to_string(), fields));
    client.expect(ESTABLISHED);
    client
}

/// What a request is answered with that ends its connection.
fn answer(relay: &Relay, request: &[u8]) -> HttpReply {
    let mut http = Http::connect(relay.addr());
    http.send(request);
    let answer = http.answer();
    assert_eq!(answer.field("connection"), Some("close"), "{answer:?}");
    http.expect_end();
    answer
}

/// The status and the error of Proxy-Status of a tunnel that does not come about.
fn refused(relay: &Relay, target: SocketAddr, fields: &str) -> (u16, String) {
    let answer = answer(relay, &connect(&target.to_string(), fields));
    (answer.status, answer.field("proxy-status").unwrap_or_default().to_owned())
}

/// Bytes behind the head belong to the target; each direction ends by itself; the record tells it all.
fn a_tunnel_carries_what_socks5_carries(engine: Engine) {
    let server = DnsServer::zone(&[("a.example", &["127.0.0.1"])]);
    let relay = builder().engine(engine).dns(&server).users(USERS).start();
    let target = origin::once(|mut stream| {
        let mut heard = vec![0; 300_000];
        stream.read_exact(&mut heard).expect("read");
        assert!(heard == pattern(0, 300_000));
        origin::pour(&stream, 543_210).expect("write");
        assert_eq!(stream.read(&mut heard).expect("the end"), 0);
        stream.write_all(b"behind the client's end").expect("write");
    });
    let mut client = Client::connect(relay.addr());
    let asked = format!("A.example:{}", target.addr.port());
    client.send(&[connect(&asked, ANN), pattern(0, 300_000)].concat());
    client.expect(ESTABLISHED);
    assert!(client.recv(543_210) == pattern(0, 543_210));
    client.finish();
    client.expect(b"behind the client's end");
    client.expect_eof();
    target.join();
    let record = relay.record();
    for (field, wanted) in [
        ("user", json!("ann")),
        ("method", json!("password")),
        ("command", json!("connect")),
        ("target", json!(asked.to_lowercase())),
        ("reply", json!(200)),
        ("reason", json!("completed")),
        ("bytes_up", json!(300_000)),
        ("bytes_down", json!(543_233)),
    ] {
        assert_eq!(record[field], wanted, "{field} in {record}");
    }
}
engines!(a_tunnel_carries_what_socks5_carries);

/// However the head comes, and whatever its version.
#[test]
fn a_head_in_pieces_is_a_head() {
    let (relay, origin) = (builder().start(), Origin::echo());
    let head = connect(&origin.addr.to_string(), "User-Agent: x\r\n");
    for at in [1, 7, 20, head.len() - 1] {
        let mut client = Client::connect(relay.addr());
        client.send(&head[..at]);
        client.wait_until_read();
        client.send(&[&head[at..], b"ping"].concat());
        client.expect(ESTABLISHED);
        client.expect(b"ping");
    }
    let mut old = Client::connect(relay.addr());
    old.send(format!("CONNECT {} HTTP/1.0\r\n\r\n", origin.addr).as_bytes());
    old.expect(ESTABLISHED);
    // The other protocol of the port.
    Client::through(relay.addr(), origin.addr);
}

#[test]
fn who_asks_is_known_before_anything_is_dialled() {
    let (relay, origin) = (builder().users(USERS).start(), Origin::echo());
    let target = origin.addr.to_string();
    let mut client = Http::connect(relay.addr());
    client.send(&connect(&target, ""));
    let asked = client.answer();
    assert_eq!(asked.status, 407);
    assert_eq!(asked.field("proxy-authenticate"), Some("Basic realm=\"outflow\", charset=\"UTF-8\""));
    assert_eq!(origin.accepted(), 0);
    // Over the same connection.
    client.send(&connect(&target, NOT_ANN));
    assert_eq!(client.answer().status, 407);
    client.expect_end();
    let record = relay.record();
    for (field, wanted) in [
        ("user", json!("ann")),
        ("reason", json!("auth_failed")),
        ("reply", json!(407)),
        ("target", Value::Null),
    ] {
        assert_eq!(record[field], wanted, "{field} in {record}");
    }
    assert_eq!(origin.accepted(), 0);
    let mut right = Http::connect(relay.addr());
    right.send(&connect(&target, ""));
    assert_eq!(right.answer().status, 407);
    right.send(&connect(&target, ANN));
    wait::until_true("the target is dialled", PATIENCE, || origin.accepted() == 1);
    tunnel(&relay, origin.addr, BOB);
}

/// Guesses at one user's password are counted together, whatever protocol they come by.
#[test]
fn no_protocol_gives_more_guesses() {
    let relay = builder().users(USERS).start();
    let begun = Instant::now();
    for guess in [b"x", b"y", b"z"] {
        assert_eq!(Client::connect(relay.addr()).login(b"ann", guess), 1);
    }
    // "ann:1" to "ann:3".
    for guess in ["YW5uOjE=", "YW5uOjI=", "YW5uOjM="] {
        let fields = format!("Proxy-Authorization: Basic {guess}\r\n");
        assert_eq!(answer(&relay, &connect("127.0.0.1:9", &fields)).status, 407);
    }
    let least = limits::GUESS_INTERVAL - Duration::from_millis(500);
    assert!(begun.elapsed() > least, "six guesses in {:?}", begun.elapsed());
}

#[test]
fn what_may_not_be_had_is_refused_with_its_cause() {
    let server = DnsServer::zone(&[]);
    let builder = builder().dns(&server).set("policy", "default", "\"allow\"");
    let deny = "name = \"no\"\nports = \"9\"\naction = \"deny\"";
    let relay = builder.rules(&[deny]).start();
    let denied = refused(&relay, SocketAddr::new(V4, 9), "");
    assert_eq!(denied, (403, "outflow; error=http_request_denied".to_owned()));
    let record = relay.record();
    for (field, wanted) in [
        ("rule", json!("no")),
        ("verdict", json!("deny")),
        ("reason", json!("denied")),
        ("reply", json!(403)),
    ] {
        assert_eq!(record[field], wanted, "{field} in {record}");
    }
    let closed = ClosedPort::new();
    assert_eq!(refused(&relay, closed.addr, ""), (502, "outflow; error=connection_refused".to_owned()));
    assert_eq!(refused(&relay, relay.addr(), ""), (403, "outflow; error=proxy_loop_detected".to_owned()));
    let nowhere = answer(&relay, &connect("nowhere.example:80", ""));
    assert_eq!((nowhere.status, nowhere.field("proxy-status")), (502, Some("outflow; error=dns_error")));
    assert_eq!(nowhere.body, "There is no host of this name.\r\n");
}

#[test]
fn special_addresses_are_guarded_in_every_spelling() {
    let relay = builder().guarded().start();
    for spelling in ["127.0.0.1:80", "127.1:80", "2130706433:80", "[::1]:80", "[::ffff:10.0.0.1]:80"] {
        let answer = answer(&relay, &connect(spelling, ""));
        let error = answer.field("proxy-status");
        assert_eq!(
            (answer.status, error),
            (403, Some("outflow; error=destination_ip_prohibited")),
            "{spelling}"
        );
    }
}

/// HTTP and SOCKS5 sessions of one user count together.
#[test]
fn limits_are_of_all_protocols_together() {
    let origin = Origin::echo();
    let relay = builder().users(USERS).set("limits", "per_user", "{ connections = 2 }").start();
    let first = tunnel(&relay, origin.addr, ANN);
    let mut second = Client::connect(relay.addr());
    assert_eq!(second.login(b"ann", b"a"), 0);
    assert_eq!(second.request_ip(origin.addr).rep, 0);
    assert_eq!(refused(&relay, origin.addr, ANN), (429, "outflow; error=http_request_denied".to_owned()));
    let record = relay.record();
    assert_eq!((&record["limit"], &record["reply"]), (&json!("limits.per_user"), &json!(429)), "{record}");
    tunnel(&relay, origin.addr, BOB);
    drop(first);
    wait::until_true("room again", PATIENCE, || {
        let mut client = Client::connect(relay.addr());
        client.send(&connect(&origin.addr.to_string(), ANN));
        client.recv(12) == ESTABLISHED[..12]
    });
}

#[test]
fn a_quota_that_is_used_up_is_said() {
    let origin = Origin::echo();
    let quota = "{ bytes = 1000, period = \"month\", zone = \"UTC\" }";
    let plan = format!("name = \"plan\"\nper = \"user\"\nquota = {quota}");
    let relay = builder()
        .keeping()
        .users(USERS)
        .limits(&[&plan])
        .rules(&["name = \"all\"\naction = \"allow\"\nlimits = [\"plan\"]"])
        .start();
    let mut client = tunnel(&relay, origin.addr, ANN);
    client.send(&pattern(0, 1000));
    client.expect(&pattern(0, 1000));
    drop(client);
    wait::until_true("refused", PATIENCE, || {
        let mut client = Client::connect(relay.addr());
        client.send(&connect(&origin.addr.to_string(), ANN));
        client.recv(12) == b"HTTP/1.1 429"
    });
    let answer = answer(&relay, &connect(&origin.addr.to_string(), ANN));
    assert_eq!(answer.body, "You have used up what you may use for now.\r\n");
    tunnel(&relay, origin.addr, BOB);
}

#[test]
fn a_request_that_is_none_is_told_so_and_counted() {
    let relay = builder().admin().start();
    let answer = answer(&relay, b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body, "This proxy does not take the request: Host is not that of the target.\r\n");
    let record = relay.record();
    assert_eq!((&record["reason"], &record["reply"]), (&json!("protocol"), &json!(400)), "{record}");
    let text = relay.get("/metrics").body;
    let counted = "outflow_requests_total{command=\"unknown\",reply=\"general_failure\"} 1";
    assert!(text.contains(counted), "{text}");
}

/// A client that says half a head and waits is told that its time is up.
#[test]
fn half_a_head_is_not_waited_for_forever() {
    let relay = builder().timeout("handshake", 300).start();
    let mut http = Http::connect(relay.addr());
    http.send(b"CONNECT a:1 HTTP/1.1\r\nHost");
    assert_eq!(http.answer().status, 408);
    http.expect_end();
    assert_eq!(relay.record()["reason"], "handshake_timeout");
}

#[test]
fn browsers_get_their_file_where_it_is_given() {
    let relay = builder().users(USERS).set("http", "pac", "true").start();
    let mut http = Http::connect(relay.addr());
    let answer = http.get("/proxy.pac");
    assert_eq!(answer.field("content-type"), Some("application/x-ns-proxy-autoconfig"));
    assert!(answer.body.contains("return \"PROXY localhost:80; SOCKS5 localhost:80\";"), "{answer:?}");
    http.expect_end();
    let record = relay.record();
    assert_eq!((&record["reason"], &record["reply"]), (&json!("completed"), &json!(200)), "{record}");
    let silent = builder().start();
    let mut http = Http::connect(silent.addr());
    assert_eq!(http.get("/proxy.pac").status, 400);
}

/// Where the port speaks SOCKS5 alone.
#[test]
fn a_client_that_takes_a_socks_port_for_an_http_proxy_is_told_so() {
    let (relay, origin) = (Relay::start(), Origin::echo());
    let mut client = Client::connect(relay.addr());
    client.send(&connect(&origin.addr.to_string(), ""));
    let hint = String::from_utf8(client.recv_to_eof()).expect("text");
    assert!(hint.starts_with("HTTP/1.0 400 Bad Request\r\n") && hint.contains("socks5://"), "{hint}");
    assert_eq!(relay.record()["reason"], "http");
    client = Client::greeted(relay.addr());
    client.send(&connect_ip(origin.addr));
    assert_eq!(client.reply().rep, 0);
}
