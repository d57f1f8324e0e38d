//! HAZARD 15: the client leaves while its name is resolved or its target is dialled.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::client::{connect_ip, connect_name};
use crate::support::dns::A;
use crate::support::origin::{self, V4};
use crate::support::socket_table::{self, TcpState};
use crate::support::wait::{self, PATIENCE, timed};
use crate::support::{BlackHole, Client, DnsServer, Origin, Relay};

const ONE_SECOND: Duration = Duration::from_secs(1);

fn dialling(target: SocketAddr) -> bool {
    socket_table::towards(target).iter().any(|e| e.state == TcpState::SynSent)
}

/// A client whose CONNECT hangs in the dial.
fn client_in_dial(relay: &Relay, hole: &BlackHole) -> Client {
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_ip(hole.addr));
    wait::until_true("the relay dials", PATIENCE, || dialling(hole.addr));
    client
}

#[test]
fn a_reset_in_the_dial_closes_the_upstream_socket() {
    let (relay, hole) = (Relay::start(), BlackHole::new());
    // A first session, so that whatever is opened once is open before the descriptors are counted.
    client_in_dial(&relay, &hole).reset();
    relay.record();
    let before = relay.fds();
    client_in_dial(&relay, &hole).reset();
    wait::until_true("the upstream socket is gone", ONE_SECOND, || !dialling(hole.addr));
    let reason = relay.records(2)[1]["reason"].clone();
    assert!(reason == "client_left" || reason == "client_reset", "{reason}");
    wait::until_true("no descriptor is left", ONE_SECOND, || relay.fds() <= before);
}

#[test]
fn a_reset_in_the_lookup_ends_the_session() {
    let server = DnsServer::dead();
    let relay = Relay::builder().dns(&server).start();
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_name(b"late.example", 80));
    wait::until_true("the lookup", PATIENCE, || server.asked("late.example", A) > 0);
    let (relays, ours) = (relay.addr(), client.local());
    client.reset();
    let (reason, lasted) = timed(|| relay.record()["reason"].clone());
    assert!(reason == "client_left" || reason == "client_reset", "{reason}");
    assert!(lasted < ONE_SECOND, "recorded after {lasted:?}");
    assert!(socket_table::between(relays, ours).is_none());
}

/// A FIN with nothing behind the request is a client that leaves, unless the connect completes soon.
#[test]
fn a_fin_in_the_dial_closes_the_upstream_socket() {
    let (relay, hole) = (Relay::start(), BlackHole::new());
    let mut client = client_in_dial(&relay, &hole);
    client.finish();
    wait::until_true("the upstream socket is gone", Duration::from_millis(1500), || !dialling(hole.addr));
    assert_eq!(relay.record()["reason"], "client_left");
    client.expect_closed();
}

/// A FIN shortly before the connect completes is the end of one direction only.
#[test]
fn a_fin_shortly_before_the_connect_is_a_half_close() {
    let server =
        DnsServer::scripted(|query| vec![query.addresses(&[V4], 60).after(Duration::from_millis(300))]);
    let relay = Relay::builder().dns(&server).start();
    let target = origin::once(|mut stream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("read to the end");
        stream.write_all(b"answer").expect("write");
        heard
    });
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_name(b"slow.example", target.addr.port()));
    client.finish();
    assert_eq!(client.reply().rep, 0x00);
    assert_eq!(client.recv_to_eof(), b"answer");
    assert_eq!(target.join(), b"");
}

/// A FIN behind pipelined payload is a half-close, however long the connect takes.
#[test]
fn a_fin_behind_payload_is_a_half_close() {
    let (relay, hole) = (Relay::start(), BlackHole::new());
    let mut client = Client::greeted(relay.addr());
    client.send(&[&connect_ip(hole.addr)[..], b"question"].concat());
    client.finish();
    wait::until_true("the relay dials", PATIENCE, || dialling(hole.addr));
    wait::throughout("the relay dials", Duration::from_millis(1300), || dialling(hole.addr));
    hole.open();
    let mut target = hole.accept();
    let mut heard = Vec::new();
    target.read_to_end(&mut heard).expect("read to the end");
    assert_eq!(heard, b"question");
    target.write_all(b"answer").expect("write");
    drop(target);
    assert_eq!(client.reply().rep, 0x00);
    assert_eq!(client.recv_to_eof(), b"answer");
    assert_eq!(relay.record()["reason"], "completed");
}

/// Sessions that end in the dial free their places; who comes next into them is served as ever.
#[test]
fn a_stale_token_does_not_reach_the_next_session() {
    let (relay, hole, origin) = (Relay::start(), BlackHole::new(), Origin::echo());
    for round in 0..40_u8 {
        let leaving: Vec<Client> = (0..4).map(|_| client_in_dial(&relay, &hole)).collect();
        let mut staying = Client::greeted(relay.addr());
        leaving.into_iter().for_each(Client::reset);
        assert_eq!(staying.request_ip(origin.addr).rep, 0x00);
        staying.send(&[round; 100]);
        staying.expect(&[round; 100]);
    }
    wait::until_true("every upstream socket is gone", ONE_SECOND, || !dialling(hole.addr));
    relay.records(200);
}
