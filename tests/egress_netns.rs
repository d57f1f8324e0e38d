//! Pools in network namespaces of their own: what is read of those networks, and what becomes of a pool where another namespace comes
//! to stand at its path.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::bind::{bind, peer};
use crate::egress::pooled;
use crate::support::api::Api;
use crate::support::client::request;
use crate::support::crowd::SourceBook;
use crate::support::netns::{self, Machine};
use crate::support::udp::{Association, Target};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Engine, Origin, Relay};

/// The addresses of the pool, and one that targets listen at.
const OWN: &str = "set -e; ip addr add 198.51.100.9/32 dev lo; ip addr add 198.51.100.10/32 dev lo; ip addr add 45.1.0.1/32 dev lo";

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

/// A network with all of them.
fn network() -> Machine {
    let machine = Machine::new();
    machine.shell(OWN);
    machine
}

/// Has the path lead to this network.
fn place(path: &Path, network: &Machine) {
    let _ = std::fs::remove_file(path);
    symlink(network.path(), path).expect("a link");
}

/// A path for a namespace, in a directory that lasts as long as the first value.
fn somewhere() -> (TempDir, PathBuf) {
    let directory = TempDir::with_prefix("outflow-test-").expect("a temporary directory");
    let path = directory.path().join("uplink");
    (directory, path)
}

fn echoes(client: &mut Client) {
    client.send(b"ping");
    client.expect(b"ping");
}

/// Has the server read its file anew, and say these words as it refuses to go by it.
fn refused(relay: &Relay, words: &[&str]) {
    let times = || relay.log().matches("nothing has changed").count();
    let before = times();
    relay.signal("HUP");
    wait::until_true("the refusal", PATIENCE, || times() > before);
    relay.logged(words);
}

/// The descriptor of the namespace before was kept for as long as nothing else changed.
fn a_namespace_that_was_made_anew_is_opened_by_a_reload(engine: Engine) {
    let test =
        format!("egress_netns::a_namespace_that_was_made_anew_is_opened_by_a_reload::{}", engine.name());
    netns::run(&test, "", || {
        let (_directory, path) = somewhere();
        let (one, other) = (network(), network());
        let echo = |network: &Machine| {
            network.inside(|| {
                Origin::on(at("45.1.0.1", 0).ip(), |stream| {
                    let _ = crate::support::origin::echo(stream);
                })
            })
        };
        let (first, second) = (echo(&one), echo(&other));
        place(&path, &one);
        let keys = format!("addresses = [\"198.51.100.9\"]\nnetns = \"{}\"", path.display());
        let mut relay = pooled(&keys).engine(engine).start();
        let mut old = Client::through(relay.addr(), first.addr);
        echoes(&mut old);
        relay.reload(&[]);
        assert!(!relay.log().contains("another network namespace"), "{}", relay.log());
        place(&path, &other);
        relay.reload(&[]);
        relay.logged(&["egress pool: another network namespace now, at", "uplink"]);
        let mut new = Client::through(relay.addr(), second.addr);
        echoes(&mut new);
        echoes(&mut old);
        // Where there is none any more what served serves on, and so it is where something else stands there.
        std::fs::remove_file(&path).expect("the link");
        refused(&relay, &["netns", "uplink", "there is no network namespace"]);
        std::fs::write(&path, "").expect("a file");
        refused(&relay, &["netns", "uplink", "it is the file of no network namespace"]);
        let mut late = Client::through(relay.addr(), second.addr);
        [&mut old, &mut new, &mut late].into_iter().for_each(echoes);
        drop((old, new, late));
        let records = relay.records(3);
        assert!(records.iter().all(|record| record["egress_address"] == "198.51.100.9"), "{records:#?}");
    });
}
engines!(a_namespace_that_was_made_anew_is_opened_by_a_reload);

/// With 100 ports in the pool's network and 98 of them in reserve the fourth session to a target leaves from the next address. It
/// went by the ports of the server's own network, which were enough.
#[test]
fn a_pool_has_as_many_ports_as_its_network() {
    netns::run(&test_name!(), "echo 40000 49999 > /proc/sys/net/ipv4/ip_local_port_range", || {
        let network = network();
        network.shell("echo 20000 20099 > /proc/sys/net/ipv4/ip_local_port_range");
        let origin = network.inside(|| {
            Origin::on(at("45.1.0.1", 0).ip(), |stream| {
                let _ = crate::support::origin::echo(stream);
            })
        });
        let keys = format!(
            "addresses = [\"198.51.100.9\", \"198.51.100.10\"]\nreserve = 98\nnetns = \"{}\"",
            network.path()
        );
        let (relay, api) = Api::serve(pooled(&keys));
        let most = || api.get("/api/v1/egress")["pools"][0]["ports_max"].as_u64();
        wait::until_true("the ports of the network", PATIENCE, || most() == Some(100));
        let held: Vec<Client> = (0..6).map(|_| Client::through(relay.addr(), origin.addr)).collect();
        let sources: Vec<_> = origin.peers().iter().map(SocketAddr::ip).collect();
        assert!(sources[..3].iter().all(|source| *source == sources[0]), "{sources:?}");
        assert!(
            sources[3..].iter().all(|source| *source == sources[3] && *source != sources[0]),
            "{sources:?}"
        );
        drop(held);
    });
}

/// What leaves in another network comes out at its addresses as it does elsewhere at this machine's: those are no targets.
#[test]
fn the_addresses_of_a_pools_network_are_no_targets() {
    netns::run(&test_name!(), "", || {
        let network = network();
        let book = network.inside(SourceBook::open);
        let keys = format!("addresses = [\"198.51.100.9\"]\nnetns = \"{}\"", network.path());
        let mut relay = pooled(&keys).guarded().start();
        let asked = |relay: &Relay| {
            let mut client = Client::greeted(relay.addr());
            client.send(&request(1, at("45.1.0.1", book.port)));
            client.reply().rep
        };
        assert_eq!(asked(&relay), 0x02);
        // Of a pool that is none of the configuration any more they are nobody's, and there is no way to them.
        relay.put_rules(&["name = \"all\"\naction = \"allow\""]);
        relay.reload(&[]);
        assert_ne!(asked(&relay), 0x02);
    });
}

/// What listens for a peer and what sends datagrams is opened there as connections are: nothing here has these addresses.
fn bind_and_datagrams_are_of_the_pools_network(engine: Engine) {
    let test = format!("egress_netns::bind_and_datagrams_are_of_the_pools_network::{}", engine.name());
    netns::run(&test, "", || {
        let network = network();
        // The kernel makes the route of an address when it comes to it; one that is asked for is there at once.
        network.shell("set -e; for ip in 2600:c::9 2600:1::1; do ip -6 route add local $ip dev lo; ip -6 addr add $ip/128 dev lo nodad; done");
        let keys = format!("addresses = [\"198.51.100.9\", \"2600:c::9\"]\nnetns = \"{}\"", network.path());
        let relay = pooled(&keys).engine(engine).start();
        for (source, there) in [("198.51.100.9", "45.1.0.1"), ("2600:c::9", "2600:1::1")] {
            let (source, there) = (at(source, 0).ip(), at(there, 21));
            let (mut client, bound) = bind(relay.addr(), there);
            assert_eq!(bound.ip(), source);
            assert!(std::net::TcpStream::connect(bound).is_err(), "{bound} is here");
            let mut peer = network.inside(|| peer(there.ip(), bound));
            assert_eq!(client.reply().bound, peer.local());
            client.send(b"up");
            peer.expect(b"up");
            peer.send(b"down");
            client.expect(b"down");
            drop((client, peer));
            let target = network.inside(|| Target::on(there.ip()));
            let association = Association::open(relay.addr());
            association.send(target.addr, b"ping");
            let from = target.expect(b"ping");
            assert_eq!(from.ip(), source);
            target.send(from, b"pong");
            association.expect(target.addr, b"pong");
        }
        let records = relay.records(4);
        let of = |record: &serde_json::Value| record["egress_address"].as_str().map(str::to_owned);
        let addresses: Vec<_> = records.iter().filter_map(of).collect();
        for source in ["198.51.100.9", "2600:c::9"] {
            assert_eq!(addresses.iter().filter(|address| *address == source).count(), 2, "{records:#?}");
        }
    });
}
engines!(bind_and_datagrams_are_of_the_pools_network);
