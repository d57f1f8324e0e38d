//! What waits in associations, by source: a crowd behind one address leaves room to everybody else.

use std::net::SocketAddr;

use crate::support::origin::{V4, pattern};
use crate::support::udp::{Association, Target, drops, fragment, zeros};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Relay};

/// The bit of FRAG that says "the last one".
const END: u8 = 0x80;
/// Associations of the crowd: what each leaves waiting would take more than half of the worker's pool.
const CROWD: usize = 200;
/// Bytes that each leaves waiting.
const LONG: usize = 60_000;

/// A client of another network than 127.0.0.0/24.
fn elsewhere(relay: SocketAddr) -> Association {
    let mut control = Client::connect_from(SocketAddr::from(([127, 1, 0, 1], 0)), relay);
    control.greet_none();
    Association::over(control, zeros(relay.ip()))
}

/// Each of the crowd leaves something waiting; a share of it is dropped, for this reason.
fn crowd(relay: &Relay, reason: &str, leave: impl Fn(&Association)) -> Vec<Association> {
    crate::support::relay::raise_own_nofile();
    let crowd: Vec<Association> = (0..CROWD).map(|_| Association::open(relay.addr())).collect();
    crowd.iter().for_each(&leave);
    let dropped = || drops(relay).get(reason).copied().unwrap_or_default() as usize;
    wait::until_true("the crowd has had its share", PATIENCE, || dropped() >= CROWD / 5);
    assert!(dropped() <= CROWD / 2, "{} of {CROWD} found no room", dropped());
    crowd
}

/// First fragments of the longest datagrams, whose rest never comes.
#[test]
fn fragments_of_one_source_leave_memory_to_others() {
    let (relay, target) = (Relay::start(), Target::on(V4));
    let long = pattern(1, LONG);
    let crowd = crowd(&relay, "fragment", |client| client.send_raw(&fragment(1, target.addr, &long)));
    let other = elsewhere(relay.addr());
    let (first, last) = long.split_at(LONG / 2);
    other.send_raw(&fragment(1, target.addr, first));
    other.send_raw(&fragment(2 | END, target.addr, last));
    target.expect(&long);
    // What waited is given back with those who held it.
    drop(crowd);
    wait::until_true("the crowd is gone", PATIENCE, || relay.records_now().len() == CROWD);
    let before = drops(&relay);
    let late: Vec<Association> = (0..CROWD / 2).map(|_| Association::open(relay.addr())).collect();
    late.iter().for_each(|client| client.send_raw(&fragment(1, target.addr, &long)));
    late[0].send_raw(&fragment(2 | END, target.addr, b"end"));
    target.expect(&[&long[..], b"end"].concat());
    assert_eq!(drops(&relay), before);
}

/// Datagrams for names that nobody answers for.
#[test]
fn waiting_datagrams_of_one_source_leave_memory_to_others() {
    let server = DnsServer::scripted(|query| match query.name.as_str() {
        "good.example" => vec![query.addresses(&[V4], 60).after(std::time::Duration::from_millis(100))],
        _ => vec![],
    });
    let (relay, target) = (Relay::builder().dns(&server).timeout("dns", 60_000).start(), Target::on(V4));
    let long = pattern(2, LONG);
    let _crowd = crowd(&relay, "queue", |client| client.send_name(b"lost.example", 9, &long));
    let other = elsewhere(relay.addr());
    other.send_name(b"good.example", target.addr.port(), &long);
    target.expect(&long);
}
