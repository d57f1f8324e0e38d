//! `limits.per_source`: how many sessions a source may have, over all workers, and what it gets past that.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpStream};

use crate::support::client::request;
use crate::support::origin::V4;
use crate::support::udp::{associate, counters, zeros};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Engine, Origin, Relay};

const BIND: u8 = 0x02;

/// Two workers, and so many sessions of each source.
fn serve(connections: usize) -> Relay {
    let limit = format!("{{ connections = {connections} }}");
    Relay::builder().workers(2).set("limits", "per_source", &limit).start()
}

/// A client at another loopback address, that has agreed on no method.
fn from(ip: [u8; 4], relay: &Relay) -> Client {
    let mut client = Client::connect_from(SocketAddr::new(IpAddr::from(ip), 0), relay.addr());
    client.greet_none();
    client
}

fn counter(relay: &Relay, name: &str) -> u64 {
    counters(relay).get(name).copied().unwrap_or_default()
}

/// The REP of one more client's request, once a place for its connection is free: those of others that were refused may
/// be held for a moment.
fn answer(relay: &Relay, ask: impl Fn(&mut Client) -> u8) -> u8 {
    wait::until("an answer", PATIENCE, || {
        let mut client = Client::connect(relay.addr());
        client.try_send(&[0x05, 0x01, 0x00]).ok()?;
        matches!(client.stream.peek(&mut [0]), Ok(1)).then(|| {
            client.expect(&[0x05, 0x00]);
            ask(&mut client)
        })
    })
}

/// Waits until a session of this source is let in again.
fn await_room(relay: &Relay, origin: &Origin) {
    wait::until_true("there is room again", PATIENCE, || {
        answer(relay, |client| client.request_ip(origin.addr).rep) == 0x00
    });
}

#[test]
fn a_source_has_as_many_sessions_as_it_may() {
    let (relay, origin) = (serve(3), Origin::echo());
    let mut live: Vec<Client> = (0..3).map(|_| Client::through(relay.addr(), origin.addr)).collect();
    let mut refused = Client::greeted(relay.addr());
    assert_eq!(refused.request_ip(origin.addr).rep, 0x02);
    refused.expect_eof();
    drop(refused);
    assert_eq!(relay.record()["reason"], "denied");
    assert_eq!(counter(&relay, "per_source_refused"), 1);
    // Another source is none of theirs, and those that are there go on.
    let mut other = from([127, 0, 0, 2], &relay);
    assert_eq!(other.request_ip(origin.addr).rep, 0x00);
    for client in live.iter_mut().chain([&mut other]) {
        client.send(b"ping");
        client.expect(b"ping");
    }
    assert_eq!(origin.accepted(), 4, "nothing was dialled for the refused one");
    drop(live.pop());
    await_room(&relay, &origin);
}

/// Names are not even looked up; BIND and UDP ASSOCIATE are sessions like any other.
#[test]
fn a_session_of_any_kind_is_counted() {
    let (relay, origin) = (serve(2), Origin::echo());
    let mut bind = Client::greeted(relay.addr());
    bind.send(&request(BIND, origin.addr));
    assert_eq!(bind.reply().rep, 0x00);
    let mut control = Client::greeted(relay.addr());
    assert_eq!(associate(&mut control, zeros(V4)).rep, 0x00);
    let refused = |ask: &dyn Fn(&mut Client) -> u8| assert_eq!(answer(&relay, ask), 0x02);
    refused(&|client| client.request_ip(origin.addr).rep);
    refused(&|client| client.request_name(b"never.asked.example", 80).rep);
    refused(&|client| {
        client.send(&request(BIND, origin.addr));
        client.reply().rep
    });
    refused(&|client| associate(client, zeros(V4)).rep);
    drop(control);
    await_room(&relay, &origin);
}

/// A client that connects to a silent target and closes has left two descriptors behind.
fn what_a_client_left_behind_is_counted(engine: Engine) {
    let relay = Relay::builder().engine(engine).set("limits", "per_source", "{ connections = 1 }").start();
    let target = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let silent = target.local_addr().expect("its address");
    drop(Client::through(relay.addr(), silent));
    let (held, _) = target.accept().expect("the relay's connection");
    // The FIN has gone through, and the session waits for the target.
    assert_eq!(std::io::Read::read(&mut &held, &mut [0; 1]).expect("a FIN"), 0);
    assert_eq!(answer(&relay, |client| client.request_ip(silent).rep), 0x02);
    drop(held);
    let origin = Origin::echo();
    await_room(&relay, &origin);
}
engines!(what_a_client_left_behind_is_counted);

/// Handshakes have a bound too: past twice the limit a connection is closed as it comes, and others are served.
#[test]
fn handshakes_of_a_source_past_its_limit_are_bounded() {
    let (relay, origin) = (serve(2), Origin::echo());
    let mut held: Vec<Client> = (0..4).map(|_| Client::greeted(relay.addr())).collect();
    // The reset may come before connect(2) has looked at its success.
    let turned_away = TcpStream::connect(relay.addr()).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read(&mut [0])
    });
    match turned_away.map_err(|error| error.kind()) {
        Ok(0) | Err(ErrorKind::ConnectionReset) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(counter(&relay, "per_source_turned_away"), 1);
    let mut other = from([127, 0, 0, 2], &relay);
    assert_eq!(other.request_ip(origin.addr).rep, 0x00);
    // Of those that are there the first two to ask are served.
    let reps: Vec<u8> = held.iter_mut().map(|client| client.request_ip(origin.addr).rep).collect();
    assert_eq!(reps, [0x00, 0x00, 0x02, 0x02]);
    drop(held);
    await_room(&relay, &origin);
}
