//! An address of a pool that is dead: taken away, without a way, firewalled, refused everywhere. It leaves, and returns.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::egress_net::{FOUR, ip, pooled, targets};
use crate::support::Relay;
use crate::support::crowd::{Crowd, EndsFirst, SourceBook};
use crate::support::netns::{self, Far};
use crate::support::wait;

/// Cooldowns are short, so that a test sees their end; few attempts are judged, and a target that does not answer is given up soon.
const KEYS: [(&str, &str); 2] = [
    ("select", "\"round-robin\""),
    ("cooldown", "{ refused = 50, reset_rate = 50, min_samples = 8, max = \"2s\" }"),
];
/// The one that dies.
const DEAD: &str = FOUR[1];
/// As long as a cooldown may take to come and to go.
const A_WHILE: Duration = Duration::from_secs(30);
/// In the world every address is its own by the first rule of all: this makes room for others before it.
const ROOM: &str = "ip rule add pref 10 lookup local; ip rule del pref 0";

/// A relay with the four addresses, and the world.
fn four() -> (Far, SourceBook, Relay) {
    let far = Far::open();
    far.pool(&FOUR);
    far.shell(ROOM);
    let book = far.inside(SourceBook::open);
    let relay = pooled(&FOUR, &KEYS).workers(1).timeout("connect", 1_000).start();
    (far, book, relay)
}

/// The sources of some sessions to many targets, where every one of them is served.
fn all_served(relay: &Relay, book: &SourceBook) -> Option<BTreeSet<IpAddr>> {
    let crowd = Crowd::new(relay.addr(), targets(book.port, 32), 64, EndsFirst::Target);
    let replies = crowd.run();
    let came = book.take();
    (replies == [(0, 64)].into()).then(|| came.values().map(SocketAddr::ip).collect())
}

/// It leaves once `kill` was done, without a session that fails from then on, and returns once `heal` was.
fn leaves_and_returns(relay: &Relay, book: &SourceBook, kill: impl FnOnce(), heal: impl FnOnce()) {
    let (all, others) = (FOUR.map(ip), FOUR.map(ip).into_iter().filter(|address| *address != ip(DEAD)));
    assert_eq!(all_served(relay, book), Some(all.into()));
    kill();
    let others: BTreeSet<IpAddr> = others.collect();
    wait::until_true("it leaves", A_WHILE, || all_served(relay, book).as_ref() == Some(&others));
    heal();
    wait::until_true("it returns", A_WHILE, || all_served(relay, book) == Some(all.into()));
}

/// The same by a rule of the world for what comes from it.
fn leaves_and_returns_by_rule(relay: &Relay, book: &SourceBook, far: &Far, action: &str) {
    let rule = format!("pref 5 from {DEAD} iif far0 {action}");
    leaves_and_returns(
        relay,
        book,
        || far.shell(&format!("ip rule add {rule}")),
        || far.shell(&format!("ip rule del {rule}")),
    );
}

#[test]
fn an_address_that_is_taken_away_leaves_and_returns() {
    netns::run(&test_name!(), "", || {
        let (_far, book, relay) = four();
        leaves_and_returns(
            &relay,
            &book,
            || netns::shell(&format!("ip addr del {DEAD}/32 dev near")),
            || netns::shell(&format!("ip addr add {DEAD}/32 dev near")),
        );
    });
}

#[test]
fn an_address_without_a_way_leaves_and_returns() {
    netns::run(&test_name!(), "", || {
        let (far, book, relay) = four();
        leaves_and_returns_by_rule(&relay, &book, &far, "unreachable");
    });
}

/// Nothing is answered to it, as behind a firewall that drops.
#[test]
fn an_address_that_is_firewalled_leaves_and_returns() {
    netns::run(&test_name!(), "", || {
        let (far, book, relay) = four();
        leaves_and_returns_by_rule(&relay, &book, &far, "blackhole");
    });
}

/// What comes from it is led to a machine at which nobody listens, and which answers for every target.
#[test]
fn an_address_that_all_targets_refuse_leaves_and_returns() {
    netns::run(&test_name!(), "", || {
        let (far, book, relay) = four();
        let refusing = far.gateway();
        refusing.machine.shell("ip route add local 45.0.0.0/8 dev lo");
        far.shell(
            "set -e; echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/conf/far1/accept_local
            echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/far1/rp_filter
            ip route add default via 25.0.1.1 dev far1 table 200",
        );
        leaves_and_returns_by_rule(&relay, &book, &far, "lookup 200");
    });
}

/// One that refuses everybody is no fault of any address.
#[test]
fn a_target_that_refuses_drives_no_address_away() {
    netns::run(&test_name!(), "", || {
        let (_far, book, relay) = four();
        let closed = vec![SocketAddr::new(ip("45.1.0.1"), 9)];
        assert_eq!(Crowd::new(relay.addr(), closed, 200, EndsFirst::Target).run(), [(5, 200)].into());
        assert_eq!(all_served(&relay, &book), Some(FOUR.map(ip).into()));
    });
}
