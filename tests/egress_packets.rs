//! What leaves from a pool, packet by packet, as the other end of the wire sees it: its class of service, and by which wire it
//! goes where the machine's own rules go by its mark.

use std::net::{Ipv6Addr, SocketAddr};

use crate::bind::bind;
use crate::egress_net::{ip, pooled};
use crate::support::netns::{self, Far, shell};
use crate::support::packets::{ACK, FIN, Packet, SYN, Tap};
use crate::support::udp::{Association, Target};
use crate::support::{Client, Engine, Origin, Relay};

/// One address of each family, which nothing else leaves from.
const POOL: [&str; 2] = ["198.51.100.9", "2600:c::9"];
/// Where peers and targets of datagrams are: an interface has them.
const THERE: [&str; 2] = ["25.0.0.2", "2a0f::2"];
/// Where connections go.
const TARGETS: [&str; 2] = ["45.1.0.1", "2600:1::1"];

/// The name of the test of this engine: what `engines!` makes of it.
fn here(test: &str, engine: Engine) -> String {
    format!("egress_packets::{test}::{}", engine.name())
}

/// The world, with a target in it that echoes at every address.
fn world() -> (Far, Tap, Origin) {
    let far = Far::open();
    far.pool(&POOL);
    let tap = far.inside(Tap::open);
    let origin = far.inside(|| Origin::echo_on(Ipv6Addr::UNSPECIFIED.into()));
    (far, tap, origin)
}

/// A session, a peer and a datagram of each family, each with bytes both ways and an orderly end; gives what left from the pool, of
/// each family.
fn everything(relay: &Relay, far: &Far, tap: &Tap, port: u16) -> [Vec<Packet>; 2] {
    tap.take();
    for (target, there) in TARGETS.into_iter().zip(THERE) {
        let mut client = Client::through(relay.addr(), SocketAddr::new(ip(target), port));
        client.send(b"ping");
        client.expect(b"ping");
        client.finish();
        client.expect_eof();
        let (mut client, bound) = bind(relay.addr(), SocketAddr::new(ip(there), 21));
        let mut peer = far.inside(|| Client::connect_from(SocketAddr::new(ip(there), 0), bound));
        assert_eq!(client.reply().bound, peer.local());
        client.send(b"from the client");
        peer.expect(b"from the client");
        client.finish();
        peer.expect_eof();
        peer.finish();
        client.expect_eof();
        let target = far.inside(|| Target::at(SocketAddr::new(ip(there), 0)));
        let association = Association::open(relay.addr());
        association.send(target.addr, b"datagram");
        let from = target.expect(b"datagram");
        target.send(from, b"answer");
        association.expect(target.addr, b"answer");
    }
    let packets = tap.take();
    POOL.map(|source| packets.iter().filter(|packet| packet.from.ip() == ip(source)).cloned().collect())
}

/// Insists that there is one of each kind: what the test says of all of them it says of these.
fn expect_every_kind(packets: &[Packet]) {
    let any = |what: &str, is: &dyn Fn(&Packet) -> bool| {
        assert!(packets.iter().any(is), "no {what} among {packets:#?}");
    };
    any("SYN", &Packet::opens);
    any("answer to a SYN", &|packet| packet.has(SYN) && packet.has(ACK));
    any("bytes of a connection", &|packet| packet.payload == b"ping");
    any("bytes for a peer", &|packet| packet.payload == b"from the client");
    any("end of a connection", &|packet| packet.has(FIN));
    any("datagram", &|packet| packet.flags.is_none() && packet.payload == b"datagram");
}

/// RFC 2474: the six upper bits of the octet that was the type of service, and of the traffic class. The two below are those of
/// the congestion notification.
fn every_packet_has_the_class_of_its_pool(engine: Engine) {
    netns::run(&here("every_packet_has_the_class_of_its_pool", engine), "", || {
        let (far, tap, origin) = world();
        for (keys, class) in [(&[("dscp", "46")][..], 46), (&[("dscp", "10")], 10), (&[], 0)] {
            let relay = pooled(&POOL, keys).engine(engine).start();
            for packets in everything(&relay, &far, &tap, origin.addr.port()) {
                expect_every_kind(&packets);
                let others: Vec<&Packet> =
                    packets.iter().filter(|packet| packet.class >> 2 != class).collect();
                assert!(others.is_empty(), "not of class {class}: {others:#?}");
            }
        }
    });
}
engines!(every_packet_has_the_class_of_its_pool);

/// A mark is on no wire: it shows by which of two wires the machine's own rules send what has it.
fn every_packet_goes_by_the_rule_of_its_mark(engine: Engine) {
    netns::run(&here("every_packet_goes_by_the_rule_of_its_mark", engine), "", || {
        let (far, tap, origin) = world();
        let [by_v4, by_v6] = far.lay_beside();
        shell(&format!(
            "set -e; ip rule add fwmark 7 lookup 77; ip -6 rule add fwmark 7 lookup 77
            ip route add default via {by_v4} dev beside table 77
            ip -6 route add default via {by_v6} dev beside table 77"
        ));
        for (mark, wire) in [("7", "farbeside"), ("8", "far0")] {
            let relay = pooled(&POOL, &[("fwmark", mark)]).engine(engine).start();
            let wire = far.interface(wire);
            for packets in everything(&relay, &far, &tap, origin.addr.port()) {
                expect_every_kind(&packets);
                let others: Vec<&Packet> = packets.iter().filter(|packet| packet.interface != wire).collect();
                assert!(others.is_empty(), "mark {mark}, by another wire: {others:#?}");
            }
        }
    });
}
engines!(every_packet_goes_by_the_rule_of_its_mark);
