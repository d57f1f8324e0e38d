//! Everything in one turn: requests with their payload and their FIN or RST in one segment, so that a phase ends in the
//! very turn in which it begins, and targets and peers that have ended before the relay looks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::bind::bind;
use crate::support::client::{connect_ip, request, reset};
use crate::support::origin::{self, V4, V6};
use crate::support::udp::{Sides, hold, serving, zeros};
use crate::support::wait::{self, PATIENCE};
use crate::support::{BlackHole, Client, Engine, Origin, Relay, socket_table};

const GREETING: [u8; 3] = [0x05, 0x01, 0x00];
const ONE_SECOND: Duration = Duration::from_secs(1);

/// Clients whose greeting, request, payload and end stand in the relay's queue before it takes the first of them.
fn all_at_once(
    relay: &Relay,
    count: usize,
    request: &[u8],
    end: fn(Client) -> Option<Client>,
) -> Vec<Client> {
    hold(relay);
    let clients = (0..count).filter_map(|_| {
        let mut client = Client::connect(relay.addr());
        client.send(&[&GREETING, request].concat());
        end(client)
    });
    let clients: Vec<Client> = clients.collect();
    relay.signal("CONT");
    clients
}

fn with_fin(mut client: Client) -> Option<Client> {
    client.finish();
    Some(client)
}

fn with_rst(client: Client) -> Option<Client> {
    client.reset();
    None
}

fn reasons(relay: &Relay, count: usize) -> Vec<String> {
    relay.records(count).iter().map(|record| record["reason"].as_str().expect("text").to_owned()).collect()
}

/// RFC 1928 section 7: the association ends with its control connection, also where that ended with the request.
fn an_association_ends_with_a_fin_behind_its_request(sides: Sides) {
    for behind in [0, 3000] {
        let relay = serving(Relay::builder(), sides.client);
        let asked = [request(0x03, zeros(sides.client)), vec![0x5a; behind]].concat();
        for mut client in all_at_once(&relay, 40, &asked, with_fin) {
            client.expect(&[0x05, 0x00]);
            assert_eq!(client.reply().rep, 0);
            client.expect_eof();
        }
        assert!(reasons(&relay, 40).iter().all(|reason| reason == "completed"));
        assert_eq!(socket_table::udp_of(relay.pid()), []);
    }
}
families!(an_association_ends_with_a_fin_behind_its_request);

#[test]
fn an_association_ends_with_a_rst_behind_its_request() {
    let relay = Relay::start();
    all_at_once(&relay, 40, &request(0x03, zeros(V4)), with_rst);
    relay.records(40);
    assert_eq!(socket_table::udp_of(relay.pid()), []);
}

/// A refused client that has sent its FIN owes and is owed nothing: it does not linger.
#[test]
fn a_refused_client_that_sent_its_fin_is_closed_at_once() {
    let relay = Relay::builder().guarded().start();
    for asked in
        [connect_ip("127.0.0.1:9".parse().expect("an address")), vec![0x05, 0x09, 0, 1, 0, 0, 0, 0, 0, 0]]
    {
        let before = relay.records_now().len();
        for mut client in all_at_once(&relay, 10, &asked, with_fin) {
            client.expect(&[0x05, 0x00]);
            assert_ne!(client.reply().rep, 0);
            client.expect_eof();
        }
        for record in &relay.records(before + 10)[before..] {
            // Far from `LINGER`.
            assert!(record["duration_ms"].as_u64().is_some_and(|ms| ms < 1500), "{record}");
        }
    }
}

/// CONNECT, payload and FIN: all of it arrives, and so does the answer.
fn a_half_close_in_one_segment_is_kept(engine: Engine) {
    let relay = Relay::builder().engine(engine).start();
    for payload in [&b""[..], b"question", &[0x5a; 5000]] {
        let origin = Origin::serve(|mut stream| {
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).expect("up to the FIN");
            stream.write_all(&heard).expect("write");
            stream.write_all(b"!").expect("write");
        });
        let asked = [&connect_ip(origin.addr)[..], payload].concat();
        for mut client in all_at_once(&relay, 10, &asked, with_fin) {
            client.expect(&[0x05, 0x00]);
            assert_eq!(client.reply().rep, 0);
            assert_eq!(client.recv_to_eof(), [payload, b"!"].concat());
        }
    }
    assert!(reasons(&relay, 30).iter().all(|reason| reason == "completed"));
}
engines!(a_half_close_in_one_segment_is_kept);

/// CONNECT, payload and RST: nothing is left of the session.
fn a_rst_in_one_segment_closes_the_upstream_socket(engine: Engine) {
    let (relay, origin) = (Relay::builder().engine(engine).start(), Origin::echo());
    let asked = [&connect_ip(origin.addr)[..], b"payload"].concat();
    all_at_once(&relay, 20, &asked, with_rst);
    relay.records(20);
    let towards = || socket_table::towards(origin.addr).len();
    wait::until_true("the upstream sockets are gone", ONE_SECOND, || towards() == 0);
}
engines!(a_rst_in_one_segment_closes_the_upstream_socket);

/// A target that has spoken and ended before the relay sees that the connection stands.
fn a_target_that_ended_at_once_completes_the_session(engine: Engine) {
    for (ends_by_rst, with_payload) in [(false, false), (false, true), (true, false)] {
        let (relay, hole) = (Relay::builder().engine(engine).start(), BlackHole::new());
        let mut client = Client::greeted(relay.addr());
        let payload: &[u8] = if with_payload { b"question" } else { b"" };
        client.send(&[&connect_ip(hole.addr)[..], payload].concat());
        wait::until_true("the relay dials", PATIENCE, || !socket_table::towards(hole.addr).is_empty());
        hold(&relay);
        hole.open();
        let mut target = hole.accept();
        target.write_all(b"answer").expect("write");
        if ends_by_rst {
            reset(target)
        } else {
            drop(target)
        }
        relay.signal("CONT");
        if !ends_by_rst {
            assert_eq!(client.reply().rep, 0);
            if !with_payload {
                assert_eq!(client.recv_to_eof(), b"answer");
            }
        }
        client.drain_to_end();
        drop(client);
        let record = relay.record();
        assert!(record["duration_ms"].as_u64().is_some_and(|ms| ms < 9000), "{record}");
    }
}
engines!(a_target_that_ended_at_once_completes_the_session);

/// A peer that has spoken and ended before the relay accepts its connection.
fn a_peer_that_ended_at_once_completes_the_session(engine: Engine) {
    for ip in [V4, V6] {
        let relay = Relay::builder().engine(engine).start();
        let (mut client, bound) = bind(relay.addr(), SocketAddr::new(ip, 0));
        hold(&relay);
        let mut peer = TcpStream::connect(bound).expect("connect");
        peer.write_all(b"in passing").expect("write");
        drop(peer);
        client.send(b"to nobody");
        client.finish();
        relay.signal("CONT");
        assert_eq!(client.reply().rep, 0);
        // What the client sent meets a peer that is gone: the rest is reset, or ends.
        let mut heard = Vec::new();
        let _ = client.stream.read_to_end(&mut heard);
        assert!(b"in passing".starts_with(&heard[..]), "{heard:02x?}");
        drop(client);
        let record = relay.record();
        assert!(record["duration_ms"].as_u64().is_some_and(|ms| ms < 5000), "{record}");
    }
}
engines!(a_peer_that_ended_at_once_completes_the_session);

/// The target's end in order, and then its bytes are what the client gets, when the client has nothing to say.
fn a_peers_last_bytes_arrive(engine: Engine) {
    let relay = Relay::builder().engine(engine).start();
    let (mut client, bound) = bind(relay.addr(), SocketAddr::new(V4, 0));
    hold(&relay);
    let mut peer = TcpStream::connect(bound).expect("connect");
    peer.write_all(&origin::pattern(0, 50_000)).expect("write");
    drop(peer);
    relay.signal("CONT");
    assert_eq!(client.reply().rep, 0);
    assert!(client.recv_to_eof() == origin::pattern(0, 50_000));
    client.finish();
    assert_eq!(relay.record()["reason"], "completed");
}
engines!(a_peers_last_bytes_arrive);
