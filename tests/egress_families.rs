//! Targets of both families through a pool: Happy Eyeballs (RFC 8305) leaves from the pool's address of each attempt's family, goes
//! by what the pool leads to, and the record has the address that won.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::egress_net::{ip, pooled};
use crate::support::client::connect_name;
use crate::support::netns::{self, Far, shell};
use crate::support::packets::{Packet, Tap};
use crate::support::relay::Builder;
use crate::support::wait::timed;
use crate::support::{Client, DnsServer, Engine, Origin, Relay};

/// The pool's addresses of IPv4 and IPv6.
const SOURCES: [&str; 2] = ["198.51.100.9", "2600:c::9"];
/// Those of the target.
const TARGETS: [&str; 2] = ["45.1.0.1", "2600:1::1"];
const V4: usize = 0;
const V6: usize = 1;

/// A world in which a name leads to both of the target's addresses.
struct World {
    far: Far,
    tap: Tap,
    origin: Origin,
    dns: DnsServer,
}

impl World {
    fn open() -> World {
        let far = Far::open();
        far.pool(&SOURCES);
        // There every address is its own by the first rule of all: this makes room for others before it.
        for family in ["", "-6"] {
            far.shell(&format!(
                "set -e; ip {family} rule add pref 10 lookup local; ip {family} rule del pref 0"
            ));
        }
        let tap = far.inside(Tap::open);
        let origin = far.inside(|| Origin::echo_on(Ipv6Addr::UNSPECIFIED.into()));
        World { far, tap, origin, dns: DnsServer::zone(&[("both.example", &TARGETS)]) }
    }

    /// What is for the target's address of this family meets this rule there.
    fn rule(&self, family: usize, action: &str) {
        let of = ["", "-6"][family];
        self.far.shell(&format!("ip {of} rule add pref 5 to {} iif far0 {action}", TARGETS[family]));
    }

    fn target(&self, family: usize) -> SocketAddr {
        SocketAddr::new(ip(TARGETS[family]), self.origin.addr.port())
    }

    /// The families of the connections that were begun since this was asked last, each from the pool's address of its family.
    fn attempts(&self) -> Vec<usize> {
        let opened: Vec<Packet> = self.tap.take().into_iter().filter(Packet::opens).collect();
        let mut attempts: Vec<usize> = Vec::new();
        for packet in opened {
            let family = [V4, V6].into_iter().find(|family| packet.to == self.target(*family));
            let family = family.unwrap_or_else(|| panic!("{packet:?}"));
            assert_eq!(packet.from.ip(), ip(SOURCES[family]), "{packet:?}");
            // One that is not answered is sent once more.
            if !attempts.contains(&family) {
                attempts.push(family);
            }
        }
        attempts
    }

    /// Insists that a session to the name goes to the target's address of this family, behind these attempts, and that its record
    /// says so; gives how long its reply took.
    fn reaches(&self, relay: &Relay, family: usize, attempts: &[usize]) -> Duration {
        let nth = relay.records_now().len() + 1;
        let mut client = Client::greeted(relay.addr());
        let (reply, lasted) = timed(|| client.request_name(b"both.example", self.origin.addr.port()));
        assert_eq!((reply.rep, reply.bound.ip()), (0, ip(SOURCES[family])), "{reply:?}");
        client.send(b"ping");
        client.expect(b"ping");
        client.finish();
        client.expect_eof();
        assert_eq!(self.attempts(), attempts);
        let record = relay.records(nth).remove(nth - 1);
        assert_eq!(
            (&record["egress"], &record["egress_address"], &record["address"], &record["local"]),
            (
                &"area".into(),
                &SOURCES[family].into(),
                &self.target(family).to_string().into(),
                &reply.bound.to_string().into()
            ),
            "{record}"
        );
        lasted
    }

    /// Insists that a session to the name is refused like this, behind these attempts, and that the record has no address.
    fn refuses(&self, relay: &Relay, rep: u8, attempts: &[usize]) {
        let nth = relay.records_now().len() + 1;
        let mut client = Client::greeted(relay.addr());
        client.send(&connect_name(b"both.example", self.origin.addr.port()));
        client.expect_refusal(rep);
        assert_eq!(self.attempts(), attempts);
        let record = relay.records(nth).remove(nth - 1);
        assert!(record["egress"] == "area" && record["egress_address"].is_null(), "{record}");
    }

    /// A relay whose pool has these addresses.
    fn relay(&self, sources: &[&str], keys: &[(&str, &str)]) -> Builder {
        pooled(sources, keys).dns(&self.dns).timeout("connect", 1_500)
    }
}

/// Runs it over an engine, in a world of its own.
fn in_a_world(test: &str, engine: Engine, body: impl FnOnce(World)) {
    netns::run(&format!("egress_families::{test}::{}", engine.name()), "", || body(World::open()));
}

fn a_family_that_is_silent_gives_way_to_the_other(engine: Engine) {
    in_a_world("a_family_that_is_silent_gives_way_to_the_other", engine, |world| {
        let relay = world.relay(&SOURCES, &[]).engine(engine).start();
        // Where nothing is wrong nothing of IPv4 is begun.
        world.reaches(&relay, V6, &[V6]);
        world.rule(V6, "blackhole");
        let lasted = world.reaches(&relay, V4, &[V6, V4]);
        assert!((Duration::from_millis(200)..Duration::from_millis(1_400)).contains(&lasted), "{lasted:?}");
    });
}

fn a_silent_ipv4_costs_nothing_unless_it_is_first(engine: Engine) {
    in_a_world("a_silent_ipv4_costs_nothing_unless_it_is_first", engine, |world| {
        world.rule(V4, "blackhole");
        let relay = world.relay(&SOURCES, &[]).engine(engine).start();
        world.reaches(&relay, V6, &[V6]);
        let first = world.relay(&SOURCES, &[]).set("dns", "prefer", "\"ipv4\"").engine(engine).start();
        world.reaches(&first, V6, &[V4, V6]);
    });
}

/// Said by a router behind the wire, and by the machine's own routes.
fn a_family_that_is_unreachable_gives_way_at_once(engine: Engine) {
    in_a_world("a_family_that_is_unreachable_gives_way_at_once", engine, |world| {
        world.rule(V6, "unreachable");
        let relay = world.relay(&SOURCES, &[]).engine(engine).start();
        world.reaches(&relay, V4, &[V6, V4]);
        shell(&format!("ip -6 route add unreachable {}", TARGETS[V6]));
        world.reaches(&relay, V4, &[V4]);
    });
}

/// `match` leads to the families that a pool has addresses of; `v4` and `v6` say it beside.
fn a_pool_of_one_family_tries_no_address_of_the_other(engine: Engine) {
    in_a_world("a_pool_of_one_family_tries_no_address_of_the_other", engine, |world| {
        for (family, word) in [(V4, "\"v4\""), (V6, "\"v6\""), (V4, "\"match\""), (V6, "\"match\"")] {
            let relay = world.relay(&SOURCES[family..=family], &[("family", word)]).engine(engine).start();
            world.reaches(&relay, family, &[family]);
        }
        // Not even where its own does not answer: what is left is said of that.
        let silent = [V4, V6].map(|family| {
            world.rule(family, "blackhole");
            let word = ["\"v4\"", "\"v6\""][family];
            world.relay(&SOURCES[family..=family], &[("family", word)]).engine(engine).start()
        });
        for (family, relay) in [V4, V6].into_iter().zip(&silent) {
            world.refuses(relay, 0x06, &[family]);
        }
        let both = world.relay(&SOURCES, &[]).engine(engine).start();
        world.refuses(&both, 0x06, &[V6, V4]);
    });
}

engines!(
    a_family_that_is_silent_gives_way_to_the_other,
    a_silent_ipv4_costs_nothing_unless_it_is_first,
    a_family_that_is_unreachable_gives_way_at_once,
    a_pool_of_one_family_tries_no_address_of_the_other,
);
