//! BIND over real sockets: two replies, one peer and no other, and what is left behind when nobody comes (HAZARD 50).

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::client::{connect_name, request};
use crate::support::origin::{V4, V6};
use crate::support::wait::{self, PATIENCE, timed};
use crate::support::{Client, DnsServer, Engine, Relay, netns};

const BIND: u8 = 0x02;
const ONE_SECOND: Duration = Duration::from_secs(1);
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Sends BIND for a peer; gives the client, and where peers are to connect.
pub(crate) fn bind(relay: SocketAddr, peer: SocketAddr) -> (Client, SocketAddr) {
    let mut client = Client::greeted(relay);
    client.send(&request(BIND, peer));
    let first = client.reply();
    assert_eq!(first.rep, 0, "BIND {peer}: {first:?}");
    (client, first.bound)
}

/// Connects from this address.
pub(crate) fn peer(from: IpAddr, to: SocketAddr) -> Client {
    Client::connect_from(SocketAddr::new(from, 0), to)
}

/// A question, an answer, and the end from either side.
pub(crate) fn converse(client: &mut Client, peer: &mut Client) {
    client.send(b"question");
    peer.expect(b"question");
    peer.send(b"the answer");
    client.expect(b"the answer");
    client.finish();
    peer.expect_eof();
    peer.finish();
    client.expect_eof();
}

/// Connects from this address, nobody's peer.
fn stranger(from: IpAddr, to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("read timeout");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("bind the stranger");
    match socket.connect(&to.into()) {
        // Reset before the call came back.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        outcome => outcome.expect("connect"),
    }
    socket
}

fn expect_reset(socket: Socket) {
    let outcome = match socket.take_error().expect("SO_ERROR") {
        Some(error) => Err(error),
        None => (&socket).read(&mut [0]),
    };
    match outcome {
        // The second where connect(2) told of the reset already.
        Err(error) if [ErrorKind::ConnectionReset, ErrorKind::NotConnected].contains(&error.kind()) => {}
        other => panic!("not reset: {other:?}"),
    }
}

/// Connects from this address, and is reset.
pub(crate) fn expect_stranger(from: IpAddr, to: SocketAddr) {
    expect_reset(stranger(from, to));
}

fn is_free(addr: SocketAddr) -> bool {
    TcpListener::bind(addr).is_ok()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// RFC 1928 section 6: the first BND is where the server listens, the second who came; every field of the record.
fn both_replies_name_their_address(engine: Engine) {
    for ip in [V4, V6] {
        let relay = Relay::builder().engine(engine).start();
        let asked = SocketAddr::new(ip, 21);
        let (mut client, bound) = bind(relay.addr(), asked);
        assert_eq!(bound.ip(), ip, "the address from which a CONNECT would leave");
        assert!(bound.port() != 0 && !is_free(bound), "{bound}");
        let mut peer = peer(ip, bound);
        let second = client.reply();
        assert_eq!((second.rep, second.bound), (0, peer.local()));
        converse(&mut client, &mut peer);
        let record = relay.record();
        for (field, wanted) in [
            ("command", "bind".to_owned()),
            ("target", asked.to_string()),
            ("address", peer.local().to_string()),
            ("local", bound.to_string()),
            ("reason", "completed".to_owned()),
        ] {
            assert_eq!(record[field], wanted, "{field} in {record}");
        }
        assert_eq!(
            (&record["reply"], &record["bytes_up"], &record["bytes_down"]),
            (&0.into(), &8.into(), &10.into())
        );
        assert!(record["handshake_ms"].is_u64() && record["connect_ms"].is_null(), "{record}");
    }
}
engines!(both_replies_name_their_address);

/// The listener takes one peer: it is gone, and its port free, while that one is still there.
#[test]
fn the_listener_closes_once_its_peer_came() {
    let relay = Relay::start();
    let (mut client, bound) = bind(relay.addr(), SocketAddr::new(V4, 0));
    let mut first = peer(V4, bound);
    assert_eq!(client.reply().rep, 0);
    let refused = TcpStream::connect_timeout(&bound, PATIENCE).expect_err("a second peer");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(is_free(bound));
    first.send(b"still here");
    client.expect(b"still here");
}

/// A foreign peer is reset and the right one still let in, however many come before it.
fn a_foreign_peer_is_reset(engine: Engine) {
    let mut relay = Relay::builder().engine(engine).start();
    let expected = ip("127.0.0.2");
    let (mut client, bound) = bind(relay.addr(), SocketAddr::new(expected, 21));
    assert_eq!(bound.ip(), V4);
    for stranger in ["127.0.0.3", "127.0.0.1", "127.0.0.3"] {
        expect_stranger(ip(stranger), bound);
    }
    // The right one behind a queue of others, for all of which there is one event.
    relay.signal("STOP");
    let strangers: Vec<Socket> = (0..16).map(|_| stranger(ip("127.0.0.3"), bound)).collect();
    let mut right = peer(expected, bound);
    relay.signal("CONT");
    strangers.into_iter().for_each(expect_reset);
    let second = client.reply();
    assert_eq!((second.rep, second.bound), (0, right.local()));
    right.send(b"me");
    client.expect(b"me");
    drop((client, right));
    relay.record();
    relay.signal("TERM");
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
    assert!(relay.log().contains("foreign_peers=19"), "{}", relay.log());
}
engines!(a_foreign_peer_is_reset);

#[test]
fn a_foreign_peer_is_reset_over_ipv6() {
    netns::run(&test_name!(), "ip addr add fd00::2/128 dev lo; ip addr add fd00::3/128 dev lo", || {
        for engine in [Engine::Copy, Engine::Splice] {
            let relay = Relay::builder().engine(engine).start();
            let (mut client, bound) = bind(relay.addr(), SocketAddr::new(ip("fd00::2"), 21));
            expect_stranger(ip("fd00::3"), bound);
            let right = peer(ip("fd00::2"), bound);
            assert_eq!(client.reply().bound, right.local());
        }
    });
}

/// All zeros: the server listens where the client reached it, in the family of that, and takes whoever comes.
#[test]
fn zeros_stand_for_any_peer() {
    let relay = Relay::builder().listen(&["127.0.0.1:0", "[::1]:0"]).start();
    let zeros = [ANY, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0), "0.0.0.0:21".parse().expect("zeros")];
    for (front, from) in [(relay.addrs()[0], ip("127.0.0.9")), (relay.addrs()[1], V6)] {
        for zero in zeros {
            let (mut client, bound) = bind(front, zero);
            assert_eq!(bound.ip(), front.ip());
            let peer = peer(from, bound);
            let second = client.reply();
            assert_eq!((second.rep, second.bound), (0, peer.local()));
        }
    }
}

/// A client of a dual-stack listener that came over IPv4 is told an IPv4 address.
#[test]
fn an_ipv4_client_of_a_dual_stack_listener_is_told_an_ipv4_address() {
    let relay = Relay::builder().listen(&["[::]:0"]).set("server", "open_proxy", "true").start();
    let front = SocketAddr::new(V4, relay.addr().port());
    let (mut client, bound) = bind(front, ANY);
    assert_eq!(bound.ip(), V4);
    let mut peer = peer(V4, bound);
    assert_eq!(client.reply().bound, peer.local());
    peer.send(b"four");
    client.expect(b"four");
    drop((client, peer));
    assert_eq!(relay.record()["local"], bound.to_string());
}

/// A name is resolved first, and any of its addresses of the listener's family may come.
#[test]
fn any_address_of_a_name_may_come() {
    let server = DnsServer::zone(&[
        ("peer.example", &["127.0.0.2", "127.0.0.3"]),
        ("six.example", &["::1"]),
        ("none.example", &[]),
    ]);
    let relay = Relay::builder().dns(&server).start();
    let ask = |name: &[u8]| {
        let mut client = Client::greeted(relay.addr());
        let mut bytes = connect_name(name, 21);
        bytes[1] = BIND;
        client.send(&bytes);
        let first = client.reply();
        (client, first)
    };
    for from in ["127.0.0.2", "127.0.0.3"] {
        let (mut client, first) = ask(b"Peer.Example");
        assert_eq!((first.rep, first.bound.ip()), (0, V4));
        expect_stranger(ip("127.0.0.4"), first.bound);
        let peer = peer(ip(from), first.bound);
        assert_eq!(client.reply().bound, peer.local());
    }
    let (mut client, first) = ask(b"six.example");
    assert_eq!((first.rep, first.bound.ip()), (0, V6));
    let peer = peer(V6, first.bound);
    assert_eq!(client.reply().bound, peer.local());
    let (mut client, first) = ask(b"none.example");
    assert_eq!(first.rep, 0x04);
    client.expect_eof();
}

/// `timeouts.bind`: the second reply is 06, and the port is free before it is said.
#[test]
fn a_listener_waits_as_long_as_configured() {
    let relay = Relay::builder().timeout("bind", 400).start();
    for ip in [V4, V6] {
        let (mut client, bound) = bind(relay.addr(), SocketAddr::new(ip, 21));
        let ((), lasted) = timed(|| client.expect(&[0x05, 0x06, 0x00, 0x01, 0, 0, 0, 0, 0, 0]));
        assert!((300..5000).contains(&lasted.as_millis()), "after {lasted:?}");
        assert!(is_free(bound));
        client.expect_eof();
    }
    for record in relay.records(2) {
        assert_eq!((&record["reason"], &record["reply"]), (&"connect_timeout".into(), &6.into()), "{record}");
        assert_eq!((&record["address"], &record["engine"]), (&().into(), &().into()), "{record}");
    }
}

/// Strangers are turned away as fast as they come, however many there are at once: the timer's tick of 32 ms for
/// every eighth of them would let them fill the queue that the peer is to enter.
#[test]
fn strangers_do_not_keep_the_peer_out() {
    let relay = Relay::start();
    let (mut client, bound) = bind(relay.addr(), SocketAddr::new(ip("127.0.0.2"), 21));
    let burst = || {
        relay.signal("STOP");
        let strangers: Vec<Socket> = (0..60).map(|_| stranger(ip("127.0.0.3"), bound)).collect();
        relay.signal("CONT");
        timed(|| strangers.into_iter().for_each(expect_reset)).1
    };
    let shortest = (0..4).map(|_| burst()).min().expect("a burst");
    assert!(shortest < Duration::from_millis(100), "after {shortest:?}");
    let right = peer(ip("127.0.0.2"), bound);
    assert_eq!(client.reply().bound, right.local());
}

/// A foreign peer does not prolong the wait.
#[test]
fn a_foreign_peer_does_not_prolong_the_wait() {
    let relay = Relay::builder().timeout("bind", 600).start();
    let (mut client, bound) = bind(relay.addr(), SocketAddr::new(ip("127.0.0.2"), 21));
    let (reply, lasted) = timed(|| {
        client.expect_silence(Duration::from_millis(50));
        expect_stranger(ip("127.0.0.3"), bound);
        client.reply()
    });
    assert_eq!(reply.rep, 0x06);
    assert!(lasted < Duration::from_millis(1500), "after {lasted:?}");
}

/// A client that leaves takes its listener along.
#[test]
fn a_client_that_left_takes_its_listener_along() {
    let relay = Relay::start();
    // Whatever is opened once is open before the descriptors are counted.
    bind(relay.addr(), ANY).0.reset();
    relay.record();
    let before = relay.fds();

    let (client, bound) = bind(relay.addr(), ANY);
    client.reset();
    wait::until_true("the port is free after a reset", ONE_SECOND, || is_free(bound));

    let (mut client, bound) = bind(relay.addr(), ANY);
    client.finish();
    wait::until_true("the port is free after a FIN", Duration::from_millis(1500), || is_free(bound));
    client.expect_closed();

    let records = relay.records(3);
    assert_eq!(records[2]["reason"], "client_left");
    assert!(records[2]["engine"].is_null(), "nothing was relayed: {}", records[2]);
    wait::until_true("no descriptor is left", ONE_SECOND, || relay.fds() <= before);
}

/// A client that ended its side before its peer came has left, whatever it sent before: behind the request in the same
/// segment, or once it knew where to listen, little or more than is ever read.
#[test]
fn a_fin_behind_payload_closes_the_listener() {
    let relay = Relay::start();
    let asked = request(BIND, SocketAddr::new(V4, 0));
    let ways: [(&[u8], Vec<u8>); 4] =
        [(b"question", vec![]), (&[0x5a; 3000], vec![]), (b"", b"?".to_vec()), (b"", vec![0x5a; 100_000])];
    for (n, (pipelined, later)) in ways.iter().enumerate() {
        let mut client = Client::connect(relay.addr());
        client.send(&[&[0x05, 0x01, 0x00][..], &asked, pipelined].concat());
        if later.is_empty() {
            client.finish();
        }
        client.expect(&[0x05, 0x00]);
        let first = client.reply();
        assert_eq!(first.rep, 0);
        if !later.is_empty() {
            client.send(later);
            client.finish();
        }
        let released = timed(|| wait::until_true("the port is free", PATIENCE, || is_free(first.bound))).1;
        client.expect_closed();
        let record = &relay.records(n + 1)[n];
        assert_eq!((&record["reason"], &record["engine"]), (&"client_left".into(), &().into()), "{record}");
        assert!(record["duration_ms"].as_u64().is_some_and(|ms| ms < 5000), "{released:?}: {record}");
    }
}

/// A peer that comes soon enough finds a half-close: it gets the payload and the FIN behind it.
fn a_peer_that_comes_soon_behind_a_fin_is_relayed(engine: Engine) {
    let relay = Relay::builder().engine(engine).start();
    // On a machine that is busy half of the grace may pass before the peer is on its way.
    let met = (0..5).any(|_| {
        let (mut client, bound) = bind(relay.addr(), SocketAddr::new(V4, 0));
        client.send(b"question");
        client.finish();
        let Ok(stream) = TcpStream::connect(bound) else { return false };
        let mut peer = stream;
        peer.set_read_timeout(Some(PATIENCE)).expect("read timeout");
        if client.silent_for(PATIENCE) || client.stream.peek(&mut [0]).is_ok_and(|count| count == 0) {
            return false;
        }
        assert_eq!(client.reply().rep, 0);
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).expect("up to the FIN");
        assert_eq!(heard, b"question");
        peer.write_all(b"answer").expect("the answer");
        drop(peer);
        assert_eq!(client.recv_to_eof(), b"answer");
        true
    });
    assert!(met, "five peers in a row came too late");
    let records = relay.records_now();
    assert!(records.iter().all(|record| record["reason"] != "internal"), "{records:#?}");
}
engines!(a_peer_that_comes_soon_behind_a_fin_is_relayed);

/// Special-purpose peers are refused, in every spelling and as what a name resolves to; nothing listens.
#[test]
fn a_special_purpose_peer_is_refused() {
    let server = DnsServer::zone(&[("inside.example", &["127.0.0.1", "10.0.0.1"])]);
    let relay = Relay::builder().guarded().dns(&server).start();
    let refused =
        ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "fd00::1"];
    for text in refused {
        let mut client = Client::greeted(relay.addr());
        client.send(&request(BIND, SocketAddr::new(ip(text), 21)));
        client.expect_refusal(0x02);
    }
    let mut client = Client::greeted(relay.addr());
    let mut by_name = connect_name(b"inside.example", 21);
    by_name[1] = BIND;
    client.send(&by_name);
    client.expect_refusal(0x02);
    for record in relay.records(refused.len() + 1) {
        assert_eq!((&record["reason"], &record["command"]), (&"denied".into(), &"bind".into()), "{record}");
        assert!(record["local"].is_null(), "{record}");
    }
}

/// DST zero under the guard: a peer from a special-purpose address is a foreign one.
#[test]
fn anybody_is_whom_the_guard_allows() {
    netns::run(&test_name!(), "", || {
        let far = netns::Far::open();
        far.inside(|| netns::shell("for ip in fd00::1 2600::1; do ip -6 addr add $ip/128 dev lo; done"));
        let near = [netns::NEAR_V4, netns::NEAR_V6].map(|text| SocketAddr::new(ip(text), 0).to_string());
        let relay = Relay::builder().guarded().listen(&near.each_ref().map(String::as_str));
        let relay = relay.set("server", "open_proxy", "true").start();
        let cases = [("10.0.0.1", "8.8.8.8"), ("fd00::1", "2600::1")];
        for (front, (private, public)) in relay.addrs().iter().zip(cases) {
            let (mut client, bound) = bind(*front, ANY);
            far.inside(|| expect_stranger(ip(private), bound));
            // This machine is no peer of its own clients.
            expect_stranger(front.ip(), bound);
            let mut peer = far.inside(|| peer(ip(public), bound));
            assert_eq!(client.reply().bound, peer.local());
            peer.send(b"welcome");
            client.expect(b"welcome");
        }
    });
}

/// A port that listens for one client may be another's target: for the relay it is a connection like any other.
fn a_listener_may_be_the_target_of_another_client(engine: Engine) {
    let relay = Relay::builder().engine(engine).start();
    let (mut one, bound) = bind(relay.addr(), SocketAddr::new(V4, 0));
    let mut other = Client::greeted(relay.addr());
    let dialled = other.request_ip(bound);
    let second = one.reply();
    assert_eq!((dialled.rep, second.rep), (0, 0));
    assert_eq!(second.bound, dialled.bound, "who came is the relay's own end");
    one.send(b"to the other");
    other.expect(b"to the other");
    other.send(b"to the one");
    one.expect(b"to the one");
    one.finish();
    other.expect_eof();
    other.finish();
    one.expect_eof();
    assert!(relay.records(2).iter().all(|record| record["reason"] == "completed"));
}
engines!(a_listener_may_be_the_target_of_another_client);
