//! Datagrams of associations that go through a parent: a SOCKS5 proxy that takes them, as long as its control connection lasts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use crate::support::origin::{Once, V4, once};
use crate::support::parent::{greet, through};
use crate::support::udp::{Association, Echo, Target, fragment, receive, wrap, wrap_name};
use crate::support::{Client, DnsServer, Relay, wait};

/// A parent that takes datagrams: its control connection, once it has answered, and its socket for them.
struct TakesDatagrams {
    script: Once<(TcpStream, SocketAddr)>,
    socket: UdpSocket,
}

impl TakesDatagrams {
    /// It tells this address in BND, or all zeros, with the port of its socket.
    fn new(tells: [u8; 4]) -> Self {
        let socket = Target::on(V4).socket;
        let port = socket.local_addr().expect("an address").port();
        let script = once(move |mut stream| {
            greet(&mut stream).expect("a greeting");
            let mut request = [0; 10];
            stream.read_exact(&mut request).expect("a request");
            assert_eq!(request[..4], [5, 3, 0, 1], "UDP ASSOCIATE");
            let reply = [&[5, 0, 0, 1][..], &tells, &port.to_be_bytes()].concat();
            stream.write_all(&reply).expect("a reply");
            let peer = stream.peer_addr().expect("an address");
            (stream, peer)
        });
        Self { script, socket }
    }

    /// The next datagram that was sent to it, and by whom.
    fn next(&self) -> (Vec<u8>, SocketAddr) {
        receive(&self.socket)
    }

    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        self.socket.send_to(bytes, to).expect("send a datagram");
    }
}

fn led(parent: &TakesDatagrams, scheme: &str, dns: &DnsServer) -> Relay {
    let url = format!("{scheme}://{}", parent.script.addr);
    through(Relay::builder().dns(dns), &[url], &[("udp", "true")]).start()
}

#[test]
fn datagrams_go_through_a_parent_and_come_back() {
    for tells in [[127, 0, 0, 1], [0, 0, 0, 0]] {
        let (dns, parent) = (DnsServer::zone(&[("far.example", &["127.0.0.9"])]), TakesDatagrams::new(tells));
        let relay = led(&parent, "socks5", &dns);
        let association = Association::open(relay.addr());
        let target: SocketAddr = "127.0.0.9:53".parse().expect("an address");
        association.send(target, b"question");
        let (got, by) = parent.next();
        assert_eq!(got, wrap(target, b"question"));
        parent.send(by, &wrap(target, b"answer"));
        association.expect(target, b"answer");
        // A name is resolved here, and its address goes on.
        association.send_name(b"far.example", 53, b"named");
        assert_eq!(parent.next(), (wrap(target, b"named"), by), "one port for all targets");
        // Pieces are put together here.
        association.send_raw(&fragment(1, target, b"in two "));
        association.send_raw(&fragment(0x82, target, b"pieces"));
        assert_eq!(parent.next().0, wrap(target, b"in two pieces"));
        // Strangers, pieces and what has no header go nowhere.
        Target::on(V4).send(by, &wrap(target, b"a stranger's"));
        parent.send(by, &fragment(1, target, b"a piece"));
        parent.send(by, b"\0\0\0\x01short");
        let other: SocketAddr = "127.0.0.10:53".parse().expect("an address");
        parent.send(by, &wrap(other, b"of somebody to whom nothing was sent"));
        parent.send(by, &wrap(target, b"fence"));
        association.expect(target, b"fence");
        drop(association);
        let record = relay.relayed_record();
        assert_eq!((&record["parent"], &record["datagrams_up"]), (&"up".into(), &3.into()), "{record}");
        let (mut control, _) = parent.script.join();
        assert_eq!(control.read(&mut [0]).expect("the end of the control connection"), 0);
    }
}

#[test]
fn a_name_that_the_parent_resolves_goes_on_as_it_came() {
    let (dns, parent) = (DnsServer::zone(&[]), TakesDatagrams::new([0; 4]));
    let relay = led(&parent, "socks5h", &dns);
    let association = Association::open(relay.addr());
    association.send_name(b"far.example", 53, b"question");
    let (got, by) = parent.next();
    assert_eq!(got, wrap_name(b"far.example", 53, b"question"));
    let from: SocketAddr = "192.0.2.7:53".parse().expect("an address");
    parent.send(by, &wrap(from, b"answer"));
    association.expect(from, b"answer");
    assert!(dns.queries().is_empty());
}

/// RFC 1928 section 7: an association ends with its control connection, and the parent's is one of them.
#[test]
fn an_association_ends_with_the_parents_control_connection() {
    let (dns, parent) = (DnsServer::zone(&[]), TakesDatagrams::new([0; 4]));
    let relay = led(&parent, "socks5", &dns);
    let mut association = Association::open(relay.addr());
    association.send("127.0.0.9:53".parse().expect("an address"), b"question");
    parent.next();
    drop(parent.script.join());
    association.control.expect_closed();
    assert_eq!(relay.record()["reason"], "parent_failed");
}

#[test]
fn an_association_is_refused_where_its_parent_takes_no_datagrams() {
    let refusing = once(|mut stream| {
        greet(&mut stream).expect("a greeting");
        stream.read_exact(&mut [0; 10]).expect("a request");
        stream.write_all(&[5, 7, 0, 1, 0, 0, 0, 0, 0, 0]).expect("a reply");
    });
    let relay =
        through(Relay::builder(), &[format!("socks5://{}", refusing.addr)], &[("udp", "true")]).start();
    let mut client = Client::greeted(relay.addr());
    client.send(&crate::support::client::request(3, "0.0.0.0:0".parse().expect("an address")));
    client.expect_refusal(7);
}

/// Where sessions may go without the parent, so may datagrams.
#[test]
fn datagrams_go_without_a_parent_that_is_away_where_they_may() {
    let echo = Echo::on(V4);
    let gone = crate::support::Origin::echo().addr;
    // One that takes no datagrams is never asked.
    for (keys, passed) in [
        (&[("fallback", "\"direct\""), ("udp", "true")][..], "up".into()),
        (&[("fallback", "\"direct\"")], serde_json::Value::Null),
    ] {
        let relay = through(Relay::builder(), &[format!("socks5://{gone}")], keys).start();
        let association = Association::open(relay.addr());
        association.send(echo.addr, b"ping");
        association.expect(echo.addr, b"ping");
        drop(association);
        wait::until_true("its record", wait::PATIENCE, || relay.records_now().len() == 1);
        let record = relay.record();
        assert_eq!((&record["parent"], &record["parent_server"]), (&passed, &serde_json::Value::Null));
    }
}
