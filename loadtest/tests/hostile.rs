//! `outflow-load hostile`: against servers of a few lines that serve everybody by himself, or one after the other.

mod outflow;
mod server;

use std::net::UdpSocket;

use crate::world::{Ended, run};
use server::{Manner, Server};

/// Never called: the servers answer for it.
const TARGET: &str = "127.0.0.1:258";
/// Short parts, in which 25 of the others come twice.
const SHORT: &str = "--rate 50 --seconds 0.5 --lead 0.3 --hold 0.3";

fn hostile(kind: &str, server: &Server, more: &str) -> Ended {
    let address = server.address;
    run(&format!("hostile {kind} --server {address} --target {TARGET} {SHORT} {more}"))
}

/// A port at which nobody listens.
fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("its address").port()
}

/// With a name server between, at which the server asks.
fn with_names(kind: &str, manner: Manner, more: &str) -> (Ended, Server) {
    let dns = format!("127.0.0.1:{}", free_udp_port());
    let server = Server::start(manner, dns.parse().ok());
    (hostile(kind, &server, &format!("--dns {dns} {more}")), server)
}

/// A file of so many users, all with one password.
fn users(count: u32) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let lines: String = (0..count).map(|number| format!("u{number}:{}\n", server::PASSWORD)).collect();
    std::fs::write(file.path(), lines).expect("it is written");
    file
}

fn with_users(kind: &str, manner: Manner, count: u32, more: &str) -> (Ended, Server) {
    let (file, server) = (users(count), Server::start(manner, None));
    let ended = hostile(kind, &server, &format!("--users {} {more}", file.path().display()));
    (ended, server)
}

/// Both parts took place, nobody failed, and the attack came.
#[track_caller]
fn expect_both_parts(ended: &Ended, kind: &str) {
    ended.expect_success();
    assert_eq!(ended.record["attack"], kind);
    for count in ["quiet_sessions", "beside_sessions"] {
        assert_eq!(ended.count(count), 25, "{count}: {}", ended.record);
    }
    assert!(ended.record["p99_ratio"].as_f64() > Some(0.0), "{}", ended.record);
    assert!(ended.count("attempts") > 0, "{}", ended.record);
}

#[test]
fn names_that_nobody_answers_hold_up_a_server_that_asks_for_one_at_a_time() {
    let attack = "--attack-rate 100 --attack-in-flight 20 --patience 3 --max-failures 0";
    let (ended, server) = with_names("names", Manner::Good, attack);
    expect_both_parts(&ended, "names");
    // The others' names were all asked for, none of them twice, and all answered.
    let mut good: Vec<String> = server.names().into_iter().filter(|name| name.contains(".good.")).collect();
    good.sort();
    good.dedup();
    assert_eq!((good.len(), ended.count("names_answered")), (50, 50), "{good:?}");
    assert!(ended.count("names_asked") > 50, "{}", ended.record);
    let (ended, _) = with_names("names", Manner::OneAtATime, &format!("{attack} --max-ratio 2"));
    ended.expect_failure("a bar is missed: ");
}

#[test]
fn names_are_answered_late() {
    let (ended, _) = with_names("names", Manner::Good, "--delay 0.05 --attack-rate 50");
    expect_both_parts(&ended, "names");
    assert!(ended.count("attempts_answered") > 0, "{}", ended.record);
}

#[test]
fn silent_addresses_hold_up_a_server_that_dials_one_at_a_time() {
    let attack = "--addresses 3 --attack-rate 50 --attack-in-flight 20 --patience 3 --max-failures 0";
    let (ended, server) = with_names("dials", Manner::Good, attack);
    expect_both_parts(&ended, "dials");
    assert!(server.names().iter().all(|name| name.contains(".evil.")), "{:?}", server.names());
    assert_eq!(server.dialled(), 0, "a silent address has answered");
    let (ended, _) = with_names("dials", Manner::OneAtATime, &format!("{attack} --max-ratio 2"));
    ended.expect_failure("a bar is missed: ");
}

#[test]
fn logins_that_leave_hold_up_a_server_that_judges_them_all_the_same() {
    let attack = "--attack-rate 0 --attack-in-flight 8 --attack-count 400 --attack-sources 300 --patience 3";
    let (ended, server) = with_users("logins", Manner::Good, 50, &format!("{attack} --max-failures 0"));
    expect_both_parts(&ended, "logins");
    assert_eq!((ended.count("attempts"), ended.count("attempts_answered")), (400, 400), "{}", ended.record);
    // Each of the others is somebody else.
    let mut right: Vec<String> = server.users().into_iter().filter(|user| user.starts_with('u')).collect();
    right.sort();
    right.dedup();
    assert_eq!(right.len(), 50, "{right:?}");
    assert!(server.sources() > 100, "{} sources", server.sources());
    let bars = "--max-failures 0 --max-ratio 2";
    let (ended, _) = with_users("logins", Manner::OneAtATime, 50, &format!("{attack} {bars}"));
    ended.expect_failure("a bar is missed: ");
}

#[test]
fn what_is_missing_is_named_before_anybody_is_attacked() {
    let server = Server::start(Manner::Good, None);
    for kind in ["names", "dials"] {
        hostile(kind, &server, "").expect_failure(&format!("{kind} needs --dns"));
    }
    let (ended, _) = with_users("logins", Manner::Good, 49, "");
    ended.expect_failure("logins needs 50 users here, --users names 49");
    assert!(server.users().is_empty() && server.names().is_empty());
}

/// A server that fails by itself has nothing to be compared with.
#[test]
fn a_server_that_refuses_without_an_attack_is_not_attacked() {
    let (ended, server) = with_names("names", Manner::Refuses, "");
    ended.expect_failure(
        "failed before anybody attacked, the first one because the server refused the request",
    );
    assert!(server.names().iter().all(|name| name.contains(".good.")), "{:?}", server.names());
}
