//! Reloads that add, take away, rename and renumber pools and parents, while sessions come and go.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::support::parent::FakeParent;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Engine, Origin, Relay};

const RELOADS: usize = 20;
/// The names of pools, and which addresses each has whenever there is one of that name: 127.9.N.1 and 127.9.N.2. Two of them never
/// have the same at once.
const POOLS: [(&str, u8); 6] = [("a", 1), ("b", 2), ("c", 3), ("d", 1), ("e", 2), ("f", 3)];
/// The port of those targets that sessions are led to by a parent.
const LED: u16 = 7;

/// The rules, pools and parents of a step. Tables come in another order each time.
fn step(nth: usize, origin: &Origin, servers: [&str; 2]) -> String {
    // Of each block the one name or the other; of the third none at every fourth step.
    let named = |block: usize| POOLS[block - 1 + 3 * (nth / block % 2)];
    let blocks: Vec<usize> = (1..=if nth.is_multiple_of(4) { 2 } else { 3 }).collect();
    let (direct, led) = match (nth % 3 == 2 && blocks.len() == 3, nth % 2) {
        (true, odd) => (3, 1 + odd),
        (false, odd) => (1 + odd, 2 - odd),
    };
    let parents = [("p1", servers[0]), ("p2", servers[1]), ("p3", servers[0])];
    let (parent, _) = parents[nth % 3];
    let rule = |name: &str, port: u16, block: usize, more: &str| {
        let (pool, _) = named(block);
        format!("name = \"{name}\"\naction = \"allow\"\nports = [{port}]\negress = \"{pool}\"{more}\n\n")
    };
    let rules = [
        rule("direct", origin.addr.port(), direct, ""),
        format!("[[rule]]\n{}", rule("led", LED, led, &format!("\nparent = \"{parent}\""))),
    ];
    let mut tables: Vec<String> = blocks
        .into_iter()
        .map(|block| {
            let (name, third) = named(block);
            let select = ["sticky", "round-robin", "random"][nth % 3];
            format!(
                "[[egress]]\nname = \"{name}\"\naddresses = [\"127.9.{third}.1\", \"127.9.{third}.2\"]\nselect = \"{select}\"\n\n"
            )
        })
        .collect();
    let there = parents.iter().filter(|(name, _)| *name == parent || nth.is_multiple_of(2));
    tables.extend(there.map(|(name, server)| {
        format!("[[parent]]\nname = \"{name}\"\nservers = \"{server}\"\nmax_fails = {}\n\n", 3 + nth)
    }));
    let turn = nth % tables.len();
    tables.rotate_left(turn);
    rules.concat() + &tables.concat()
}

/// What a record says is what was configured of those whom it names, whenever that was.
fn expect_consistent(record: &Value, peers: &BTreeSet<SocketAddr>, servers: [&str; 2]) {
    let text = |key: &str| record[key].as_str().unwrap_or_else(|| panic!("no {key}: {record}"));
    assert_eq!(text("reason"), "completed", "{record}");
    let (_, block) = *POOLS.iter().find(|(name, _)| *name == text("egress")).expect("one of the pools");
    let IpAddr::V4(source) = text("egress_address").parse().expect("an address") else { panic!("{record}") };
    assert!(matches!(source.octets(), [127, 9, third, 1 | 2] if third == block), "{record}");
    let local: SocketAddr = text("local").parse().expect("an address");
    assert_eq!(local.ip(), IpAddr::V4(source), "{record}");
    if text("rule") == "direct" {
        assert!(record["parent"].is_null() && peers.contains(&local), "{record}");
    } else {
        let server = if text("parent") == "p2" { servers[1] } else { servers[0] };
        assert_eq!(text("parent_server"), server, "{record}");
    }
}

fn no_reload_costs_a_session_or_gives_it_anothers_address(engine: Engine) {
    let origin = Origin::echo();
    let parents = [FakeParent::socks5(origin.addr), FakeParent::socks5(origin.addr)];
    let urls = parents.each_ref().map(|parent| format!("socks5://{}", parent.addr()));
    let servers = [urls[0].as_str(), urls[1].as_str()];
    let mut relay = Relay::builder().engine(engine).workers(2).rules(&[&step(0, &origin, servers)]).start();
    let (done, over, sessions) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let (at, led) = (relay.addr(), SocketAddr::from(([127, 0, 0, 77], LED)));
    let echo = |client: &mut Client| {
        client.send(b"ping");
        client.expect(b"ping");
    };
    let begin = |target: SocketAddr| {
        let mut client = Client::through(at, target);
        sessions.fetch_add(1, Ordering::Relaxed);
        echo(&mut client);
        client
    };
    let end = |mut client: Client| {
        echo(&mut client);
        client.finish();
        client.expect_eof();
    };
    // Two go on from the first step to the last.
    let held = [begin(origin.addr), begin(led)];
    thread::scope(|scope| {
        for (target, waits) in [(origin.addr, false), (origin.addr, true), (led, false), (led, true)] {
            let (done, over) = (&done, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let (client, seen) = (begin(target), done.load(Ordering::Relaxed));
                    if waits {
                        let has_come = || done.load(Ordering::Relaxed) > seen || over.load(Ordering::Relaxed);
                        wait::until_true("another reload", PATIENCE, has_come);
                    }
                    end(client);
                }
            });
        }
        // Whatever fails here ends the others, too.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&over);
        for nth in 1..=RELOADS {
            relay.put_rules(&[&step(nth, &origin, servers)]);
            relay.reload(&[]);
            done.store(nth, Ordering::Relaxed);
        }
    });
    held.into_iter().for_each(end);
    let records = relay.records(sessions.into_inner());
    assert!(records.len() > 2 * RELOADS, "{} sessions", records.len());
    let peers: BTreeSet<SocketAddr> = origin.peers().into_iter().collect();
    records.iter().for_each(|record| expect_consistent(record, &peers, servers));
    let named =
        |key: &str| -> BTreeSet<&str> { records.iter().filter_map(|record| record[key].as_str()).collect() };
    assert_eq!(named("egress").len(), POOLS.len(), "each pool had sessions");
    assert_eq!(named("parent"), ["p1", "p2", "p3"].into());
}
engines!(no_reload_costs_a_session_or_gives_it_anothers_address);
