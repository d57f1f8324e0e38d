//! This machine under the guard: its services at whatever address, and the relay's own listeners at addresses that it
//! was told of late, or never. In namespaces, where addresses and routes come and go.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::support::client::{Client, connect_ip};
use crate::support::origin::V4;
use crate::support::relay::Builder;
use crate::support::udp::{Association, Target, drops, expect_drops, wrap};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Origin, Relay, netns};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A relay that listens on every address, both families.
fn wild(builder: Builder) -> Relay {
    builder.listen(&["[::]:0"]).set("server", "open_proxy", "true").start()
}

/// A relay to which neither netlink nor /proc says anything.
fn blind(builder: Builder) -> Relay {
    let hide = "mount -t tmpfs none /proc && exec \"$@\"";
    wild(builder.refusing(&["netlink"]).under(&["unshare", "-m", "sh", "-c", hide, "sh"]))
}

/// Where a client of this machine meets such a relay.
fn door(relay: &Relay) -> SocketAddr {
    SocketAddr::new(V4, relay.addr().port())
}

fn expect_refused(relay: &Relay, target: SocketAddr) {
    let mut client = Client::greeted(door(relay));
    client.send(&connect_ip(target));
    client.expect_refusal(0x02);
}

/// An address of each family that is new, and a block of each that a `local` route delivers (AnyIP).
const NEW: &str = "set -e; ip addr add 45.9.9.9/32 dev lo; ip -6 addr add 2600:9::9/128 dev lo
    ip route add local 45.9.10.0/24 dev lo; ip -6 route add local 2600:a::/64 dev lo";
/// Addresses that a connection shows to be of this machine: it leaves from the very address that it reaches, or else by the
/// loopback interface, for in IPv6 the kernel takes another source address towards such a route.
const SHOWN: [&str; 4] = ["45.9.9.9", "45.9.10.7", "2600:9::9", AT_A_ROUTE];
const AT_A_ROUTE: &str = "2600:a::7";

/// HAZARD 17: an address that came while the relay ran leads to its listener, and each session into the next.
#[test]
fn a_new_address_does_not_lead_back_into_the_relay() {
    netns::run(&test_name!(), "", || {
        let relay = wild(Relay::builder());
        netns::shell(NEW);
        for text in SHOWN {
            expect_refused(&relay, SocketAddr::new(ip(text), relay.addr().port()));
        }
    });
}

/// HAZARD 55: where no address can be known, what a connection shows has to do.
#[test]
fn a_relay_that_knows_no_address_does_not_lead_back_into_itself() {
    netns::run(&test_name!(), NEW, || {
        let relay = blind(Relay::builder());
        for text in SHOWN {
            expect_refused(&relay, SocketAddr::new(ip(text), relay.addr().port()));
        }
        assert!(relay.log().contains("addresses of this machine cannot be read"), "{}", relay.log());
        // It serves nevertheless.
        let origin = Origin::echo();
        let mut client = Client::through(door(&relay), origin.addr);
        client.send(b"still there");
        client.expect(b"still there");
    });
}

/// What another table than `local` delivers is on no list.
#[test]
fn a_route_of_another_table_does_not_lead_back_into_the_relay() {
    let setup = "set -e; ip -6 addr add 2600:9::9/128 dev lo
        ip -6 route add local 2600:b::/64 dev lo table 100; ip -6 rule add to 2600:b::/64 lookup 100";
    netns::run(&test_name!(), setup, || {
        let (relay, there) = (wild(Relay::builder()), ip("2600:b::7"));
        expect_refused(&relay, SocketAddr::new(there, relay.addr().port()));
        let target = Target::on(ip("::1"));
        let client = Association::open(door(&relay));
        client.send(target.addr, b"first");
        let external = target.expect(b"first");
        client.send(SocketAddr::new(there, external.port()), &wrap(target.addr, b"came back"));
        expect_drops(&relay, &[("loop", 1)]);
        client.send(target.addr, b"fence");
        target.expect(b"fence");
    });
}

/// Datagrams to the relay's own ports, by addresses that it knows late or never.
#[test]
fn no_datagram_comes_back_by_a_new_address() {
    netns::run(&test_name!(), "", || {
        let informed = wild(Relay::builder());
        let closed = blind(Relay::builder());
        let target = Target::on(V4);
        let clients = [&informed, &closed].map(|relay| {
            let client = Association::open(door(relay));
            client.send(target.addr, b"first");
            let external = target.expect(b"first");
            (relay, client, external)
        });
        netns::shell(NEW);
        let nested = wrap(target.addr, b"came back");
        for (relay, client, external) in &clients {
            for text in ["45.9.9.9", "45.9.10.7"] {
                client.send(SocketAddr::new(ip(text), external.port()), &nested);
                client.send(SocketAddr::new(ip(text), client.door.port()), &nested);
            }
            expect_drops(relay, &[("loop", 4)]);
            client.send(target.addr, b"fence");
            target.expect(b"fence");
        }
    });
}

/// What is sent towards an address that nothing shows to be of this machine comes back from one that the kernel knows.
#[test]
fn a_datagram_of_our_own_is_passed_to_no_client() {
    // With such an MTU loopback is an interface like any other.
    netns::run(&test_name!(), &format!("{NEW}; ip link set lo mtu 40000"), || {
        let relay = blind(Relay::builder().set("udp", "filtering", "\"endpoint-independent\""));
        let (client, target) = (Association::open(door(&relay)), Target::on(ip("::1")));
        client.send(target.addr, b"first");
        let external = target.expect(b"first");
        client.send(SocketAddr::new(ip(AT_A_ROUTE), external.port()), b"back to the relay");
        expect_drops(&relay, &[("loop", 1)]);
        client.send(target.addr, b"fence");
        target.send(external, b"answer");
        client.expect(target.addr, b"answer");
    });
}

/// A client is let past the firewall of this machine: what listens on its public address is nobody's target.
#[test]
fn a_service_of_this_host_is_refused_at_its_public_address() {
    let setup =
        format!("{NEW}; ip addr add 45.9.9.8/32 dev lo; ip route add local 45.9.11.0/24 dev lo src 45.9.9.8");
    netns::run(&test_name!(), &setup, || {
        let (origin, service) = (Origin::everywhere(), Target::at("[::]:0".parse().expect("an address")));
        let informed = wild(Relay::builder().guarded());
        let closed = blind(Relay::builder().guarded());
        let filtered = wild(Relay::builder().guarded().refusing(&["netlink"]));
        for relay in [&informed, &closed] {
            let client = Association::open(door(relay));
            for text in SHOWN {
                expect_refused(relay, SocketAddr::new(ip(text), origin.addr.port()));
                client.send(SocketAddr::new(ip(text), service.addr.port()), b"to the service");
            }
            expect_drops(relay, &[("denied", SHOWN.len() as u64)]);
        }
        // What is delivered here need not be spoken to from there: the list knows it all the same.
        for text in SHOWN.into_iter().chain(["45.9.11.7"]) {
            expect_refused(&informed, SocketAddr::new(ip(text), origin.addr.port()));
            expect_refused(&filtered, SocketAddr::new(ip(text), origin.addr.port()));
        }
        assert!(origin.dialled().iter().all(|to| to.ip().to_canonical() != ip("45.9.11.7")));
    });
}

/// The operator's word counts for this machine as it does for other special-purpose addresses.
#[test]
fn an_exempt_address_of_this_host_is_reached() {
    netns::run(&test_name!(), NEW, || {
        let (origin, service) = (Origin::everywhere(), Target::at("[::]:0".parse().expect("an address")));
        for knows in [true, false] {
            let allow = "[\"45.9.9.0/24\"]";
            let builder = Relay::builder().guarded().set("guard", "allow", allow);
            let relay = if knows { wild(builder) } else { blind(builder) };
            let client = Association::open(door(&relay));
            for (text, exempt) in SHOWN.into_iter().zip([true, false, false, false]) {
                let target = SocketAddr::new(ip(text), origin.addr.port());
                if exempt {
                    Client::through(door(&relay), target).expect(b"hello");
                    client.send(SocketAddr::new(ip(text), service.addr.port()), text.as_bytes());
                    service.expect(text.as_bytes());
                } else {
                    expect_refused(&relay, target);
                }
                // The relay's own door stays shut.
                expect_refused(&relay, SocketAddr::new(ip(text), relay.addr().port()));
            }
        }
    });
}

/// The kernel's word is heard at once, and where descriptors have run out: datagrams have no connection that would show
/// what an address is. The list is read every ten seconds in any case, so one of three must be found sooner.
#[test]
fn a_change_of_addresses_is_noticed_before_the_clock_tells() {
    netns::run(&test_name!(), "", || {
        let relay = wild(Relay::builder().guarded());
        let client = Association::open(door(&relay));
        relay.set_nofile(&format!("{}:1024", relay.fds()));
        let sooner = (1..=3).any(|n| {
            netns::shell(&format!("ip addr add 45.9.9.{n}/32 dev lo"));
            let at = Target::at(SocketAddr::new(ip(&format!("45.9.9.{n}")), 0));
            let (before, began) = (denied(&relay), Instant::now());
            wait::until_true("a datagram that is denied", 3 * PATIENCE, || {
                client.send(at.addr, b"to this machine");
                denied(&relay) > before
            });
            began.elapsed() < Duration::from_secs(4)
        });
        assert!(sooner, "{}", relay.log());
    });
}

fn denied(relay: &Relay) -> u64 {
    drops(relay).get("denied").copied().unwrap_or_default()
}
