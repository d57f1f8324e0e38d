//! Names with many addresses: each is tried until one answers (RFC 1123 section 6.1.3.4), a few at a time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::support::client::connect_name;
use crate::support::dns::A;
use crate::support::origin::BlackHole;
use crate::support::wait::{self, timed};
use crate::support::{Client, DnsServer, Origin, Relay, netns};

/// A name server that gives every name these IPv4 addresses, in this order.
fn every_name(addresses: Vec<IpAddr>) -> DnsServer {
    DnsServer::scripted(move |query| match query.qtype {
        A => {
            let answer = query.addresses(&addresses, 60);
            // More than a datagram may have: by TCP.
            vec![if query.tcp || answer.bytes.len() <= 1232 { answer } else { answer.truncated(query) }]
        }
        _ => vec![query.addresses(&[], 60)],
    })
}

/// Loopback addresses at which nobody listens on any port of this suite.
fn refusing(count: u8) -> impl Iterator<Item = IpAddr> {
    (1..=count).map(|n| IpAddr::from([127, 3, 1, n]))
}

/// Black holes at one port of different addresses.
fn silent(count: u8, port: u16) -> Vec<BlackHole> {
    (1..=count).map(|n| BlackHole::at(SocketAddr::from(([127, 3, 2, n], port)))).collect()
}

fn addresses(holes: &[BlackHole]) -> impl Iterator<Item = IpAddr> {
    holes.iter().map(|hole| hole.addr.ip())
}

/// A good seventh address behind six dead ones was once tried, and a good eighth behind seven was not.
#[test]
fn the_last_of_many_addresses_is_tried() {
    let origin = Origin::echo();
    for dead in [1, 7, 8, 20, 63] {
        let server = every_name(refusing(dead).chain([origin.addr.ip()]).collect());
        let relay = Relay::builder().dns(&server).start();
        let reply = Client::greeted(relay.addr()).request_name(b"many.example", origin.addr.port());
        assert_eq!(reply.rep, 0x00, "behind {dead} addresses that refuse");
    }
}

/// Addresses that do not answer cost a fraction of a second each.
#[test]
fn a_good_address_behind_silent_ones_is_reached() {
    let origin = Origin::echo();
    let holes = silent(8, origin.addr.port());
    let server = every_name(addresses(&holes).chain([origin.addr.ip()]).collect());
    let relay = Relay::builder().dns(&server).start();
    let mut client = Client::greeted(relay.addr());
    let (reply, lasted) = timed(|| client.request_name(b"silent.example", origin.addr.port()));
    assert_eq!((reply.rep, reply.bound), (0x00, origin.peer(1)));
    assert!(lasted < Duration::from_secs(5), "reached after {lasted:?}");
}

/// Where the usual distance would not leave time for all of them they come closer: 24 and 250 ms are six seconds. The
/// attempts' numbers begin anew several times, and each event finds its own.
#[test]
fn every_address_has_its_turn_within_the_time() {
    let origin = Origin::echo();
    let holes = silent(24, origin.addr.port());
    let mixed = addresses(&holes).zip(refusing(24)).flat_map(|(silent, refusing)| [silent, refusing]);
    let server = every_name(mixed.chain([origin.addr.ip()]).collect());
    let relay = Relay::builder().dns(&server).timeout("connect", 4000).start();
    let mut client = Client::greeted(relay.addr());
    let reply = client.request_name(b"mixed.example", origin.addr.port());
    assert_eq!((reply.rep, reply.bound), (0x00, origin.peer(1)));
    client.send(b"ping");
    client.expect(b"ping");
}

/// Addresses to which there is no way fail at once, and nobody is given up for them.
#[test]
fn no_attempt_is_given_up_for_addresses_without_a_route() {
    netns::run(&test_name!(), "", || {
        let slow = BlackHole::at("127.3.2.1:9000".parse().expect("an address"));
        let _silent = BlackHole::at("127.3.2.2:9000".parse().expect("an address"));
        let nowhere = (1..=3).map(|n| IpAddr::from([203, 0, 113, n]));
        let server = every_name(
            [[127, 3, 2, 1], [127, 3, 2, 2]].map(IpAddr::from).into_iter().chain(nowhere).collect(),
        );
        let relay = Relay::builder().dns(&server).start();
        let mut client = Client::greeted(relay.addr());
        client.send(&connect_name(b"slow.example", 9000));
        // By now the third one is due. What the kernel sends again after a second is answered.
        assert!(client.silent_for(Duration::from_millis(700)));
        slow.open();
        assert_eq!(client.reply().rep, 0x00);
    });
}

/// A session has two descriptors, and an attempt beyond that is of a pool that keeps nobody from being accepted.
#[test]
fn silent_addresses_leave_descriptors_to_accept_with() {
    const CROWD: usize = 76;
    let origin = Origin::echo();
    let holes = silent(7, origin.addr.port());
    let server = every_name(addresses(&holes).collect());
    let relay = Relay::builder().dns(&server).nofile("512").start();
    let idle = relay.fds();
    let crowd: Vec<Client> = (0..CROWD)
        .map(|n| {
            let mut client = Client::greeted(relay.addr());
            client.send(&connect_name(format!("n{n}.example").as_bytes(), origin.addr.port()));
            client
        })
        .collect();
    // Every name has been asked for, and no socket of the resolver is left.
    wait::until_true("all of them dial", wait::PATIENCE, || {
        server.queries().len() >= 2 * CROWD && (2 * CROWD..=2 * CROWD + 16).contains(&(relay.fds() - idle))
    });
    // By then each had opened all of its seven.
    wait::throughout("two descriptors each, and a few", Duration::from_secs(2), || {
        relay.fds() <= idle + 2 * CROWD + 16
    });
    let mut other = Client::through(relay.addr(), origin.addr);
    other.send(b"ping");
    other.expect(b"ping");
    assert!(!relay.log().contains("accepting pauses"), "{}", relay.log());
    drop(crowd);
}

/// Without a descriptor for a second attempt the first one gives up its own, and not at once.
#[test]
fn a_session_without_a_second_descriptor_goes_on_to_the_next_address() {
    let origin = Origin::echo();
    let holes = silent(2, origin.addr.port());
    let server = every_name(addresses(&holes).chain([origin.addr.ip()]).collect());
    let relay = Relay::builder().dns(&server).nofile("104").start();
    let idle = relay.fds();
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_name(b"silent.example", origin.addr.port()));
    wait::until_true("it dials", wait::PATIENCE, || relay.fds() == idle + 2);
    wait::throughout("one attempt at a time", Duration::from_millis(500), || relay.fds() <= idle + 2);
    let reply = client.reply();
    assert_eq!((reply.rep, reply.bound), (0x00, origin.peer(1)));
}
