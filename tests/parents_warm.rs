//! Connections to parents that wait for a session, packet by packet: which round trips they spare.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::client::{self, connect_name};
use crate::support::netns;
use crate::support::packets::{Packet, SYN, Tap};
use crate::support::parent::{BOUND, FakeParent, Habits, greet, lead, request, through};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Engine, Origin, Relay};

/// What the relay said to a parent over one connection: an item for each time that it waited for an answer. The first of a
/// connection that was not there before is its SYN, without a byte.
type Turns = Vec<Vec<u8>>;

/// What a connection from this port said and was told, as far as it has a SYN or bytes: true where it spoke.
fn spoken(packets: &[Packet], parent: SocketAddr, port: u16) -> Vec<(bool, &Packet)> {
    let ends = |packet: &Packet| match (packet.to == parent, packet.from == parent) {
        (true, _) if packet.from.port() == port => Some(true),
        (_, true) if packet.to.port() == port => Some(false),
        _ => None,
    };
    let says = |packet: &&Packet| packet.has(SYN) || !packet.payload.is_empty();
    packets.iter().filter(says).filter_map(|packet| Some((ends(packet)?, packet))).collect()
}

fn turns(packets: &[Packet], parent: SocketAddr, port: u16) -> Turns {
    let (mut turns, mut waits) = (Turns::new(), true);
    for (speaks, packet) in spoken(packets, parent, port) {
        match (speaks, waits) {
            (true, true) => turns.push(packet.payload.clone()),
            (true, false) => turns.last_mut().expect("a turn").extend(&packet.payload),
            (false, _) => {}
        }
        waits = !speaks;
    }
    turns
}

/// Two sessions through one parent with a connection kept ready, whose clients send `early` with their requests: the turns of
/// the first, which finds none, and of the second, to which `spared` are spared.
fn two_sessions(
    (tap, relay): (&Tap, &Relay),
    (parent, spared): (SocketAddr, usize),
    early: &[u8],
) -> [Turns; 2] {
    [(); 2].map(|()| {
        tap.take();
        let mut client = Client::greeted(relay.addr());
        client.send(&[&connect_name(b"far.example", 7)[..], early].concat());
        assert_eq!(client.reply().rep, 0);
        client.expect(early);
        client.send(b"ping");
        client.expect(b"ping");
        let mut packets = tap.take();
        let pinged = |packet: &&Packet| packet.to == parent && packet.payload == b"ping";
        let port = packets.iter().find(pinged).expect("the session's connection").from.port();
        // Another one takes its place: it is there once all that it could ask for by now is answered.
        wait::until_true("a connection that waits", PATIENCE, || {
            packets.extend(tap.take());
            let opened = packets.iter().filter(|packet| packet.opens() && packet.to == parent);
            let mut others = opened.map(|packet| packet.from.port()).filter(|one| *one != port);
            let answers = |port| spoken(&packets, parent, port).iter().filter(|(speaks, _)| !speaks).count();
            others.any(|port| answers(port) == spared)
        });
        turns(&packets, parent, port)
    })
}

/// A relay whose sessions go through this parent, with a connection kept ready.
fn relay(engine: Engine, servers: &str) -> Relay {
    let keys = [("servers", servers), ("warm", "1"), ("resolve", "\"there\"")];
    through(Relay::builder().engine(engine), &[], &keys).start()
}

/// A session costs the parent one turn: its request. What stands before is done, whatever the protocol has there.
fn a_waiting_connection_leaves_the_request_alone(engine: Engine) {
    let test = "parents_warm::a_waiting_connection_leaves_the_request_alone";
    netns::run(&format!("{test}::{}", engine.name()), "", || {
        let (tap, target) = (Tap::open(), Origin::echo());
        let asks_login = Habits { asks_login: true, ..Habits::default() };
        let last = FakeParent::http(target.addr);
        let cases = [
            ("socks5h://", FakeParent::socks5(target.addr), "", 2, 1),
            ("socks5h://ann:secret@", FakeParent::socks5_with(target.addr, asks_login), "", 3, 1),
            ("socks4a://", FakeParent::socks4a(target.addr), "", 1, 1),
            ("http://", FakeParent::http(target.addr), "", 1, 1),
            ("socks5h://", FakeParent::socks5(last.addr()), &format!("\", \"http://{}", last.addr()), 2, 2),
        ];
        for (scheme, parent, behind, spared, asked) in cases {
            let url = format!("\"{scheme}{}{behind}\"", parent.addr());
            let servers =
                if behind.is_empty() { format!("[{url}]") } else { format!("[{{ url = [{url}] }}]") };
            let relay = relay(engine, &servers);
            let [cold, warm] = two_sessions((&tap, &relay), (parent.addr(), spared), b"");
            assert_eq!(cold.len(), spared + asked + 1, "{servers}: {cold:02x?}");
            assert_eq!(cold[0], b"", "the SYN");
            assert_eq!(warm, cold[spared..], "{servers}");
            assert_eq!(warm.last().map(|bytes| &bytes[..]), Some(&b"ping"[..]), "{servers}");
        }
    });
}

/// A client's first bytes go with the request where a server has just spoken. A connection that has waited may be gone: they
/// would be lost with it, or be sent twice, and wait for the reply.
fn first_bytes_go_with_the_request_but_where_a_connection_has_waited(engine: Engine) {
    let test = "parents_warm::first_bytes_go_with_the_request_but_where_a_connection_has_waited";
    netns::run(&format!("{test}::{}", engine.name()), "", || {
        let (tap, target) = (Tap::open(), Origin::echo());
        let (to, served) = (target.addr, AtomicUsize::new(0));
        let parent = FakeParent::serve(move |mut stream, _| {
            greet(&mut stream)?;
            request(&mut stream)?;
            if served.fetch_add(1, Ordering::SeqCst) > 0 {
                stream.write_all(&BOUND)?;
                return lead(stream, to);
            }
            // Of the first session it waits for them before it replies.
            let mut early = [0; 5];
            stream.read_exact(&mut early)?;
            stream.write_all(&[&BOUND[..], &early].concat())?;
            lead(stream, to)
        });
        let relay = relay(engine, &format!("[\"socks5h://{}\"]", parent.addr()));
        let [cold, warm] = two_sessions((&tap, &relay), (parent.addr(), 2), b"early");
        let request = connect_name(b"far.example", 7);
        let with_early = [&request[..], b"early"].concat();
        assert_eq!(cold, [&b""[..], b"\x05\x01\x00", &with_early, b"ping"]);
        assert_eq!(warm, [&request[..], b"early", b"ping"]);
    });
}

/// A server that takes no connection any more was said to be back by a session over one that it had taken before, and
/// everybody was led there again.
#[test]
fn a_connection_that_waited_says_nothing_of_a_server_that_is_away() {
    let target = Origin::echo();
    let (to, taken) = (target.addr, Arc::<AtomicUsize>::default());
    let count = Arc::clone(&taken);
    let parent = FakeParent::serve(move |mut stream, _| {
        // A session's and one that waits; it closes all others at once.
        if count.fetch_add(1, Ordering::SeqCst) >= 2 {
            return Ok(());
        }
        greet(&mut stream)?;
        request(&mut stream)?;
        stream.write_all(&BOUND)?;
        lead(stream, to)
    });
    let servers = format!("[\"socks5h://{}\"]", parent.addr());
    let keys = [("servers", &*servers), ("warm", "1"), ("max_fails", "1"), ("udp", "true")];
    let relay = through(Relay::builder(), &[], &keys).start();
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_ip(target.addr).rep, 0);
    wait::until_true("one that waits", PATIENCE, || taken.load(Ordering::SeqCst) == 2);
    let mut associates = Client::greeted(relay.addr());
    associates.send(&client::request(3, "127.0.0.1:0".parse().expect("an address")));
    assert_ne!(associates.reply().rep, 0, "an association takes a connection of its own, which is closed");
    relay.logged(&["is away"]);
    let mut late = Client::greeted(relay.addr());
    assert_ne!(late.request_ip(target.addr).rep, 0);
    assert!(!relay.log().contains("is back"), "{}", relay.log());
}

engines!(
    a_waiting_connection_leaves_the_request_alone,
    first_bytes_go_with_the_request_but_where_a_connection_has_waited,
);
