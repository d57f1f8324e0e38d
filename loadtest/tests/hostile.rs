//! `outflow-load hostile`: against servers of a few lines that serve everybody by himself, or one after the other.

mod outflow;
mod server;

use std::net::UdpSocket;

use crate::world::{Ended, run};
use server::{Manner, Server};

/// Never called: the servers answer for it.
const TARGET: &str = "127.0.0.1:258";
/// Short parts, in which 25 of the others come twice.
const SHORT: &str = "--rate 50 --seconds 0.5 --lead 0.3";
/// How long the attack's connections stay where the test does not say.
const HOLD: &str = "--hold 0.3";

fn hostile(kind: &str, server: &Server, more: &str) -> Ended {
    let address = server.address;
    let hold = if more.contains("--hold") { "" } else { HOLD };
    run(&format!("hostile {kind} --server {address} --target {TARGET} {SHORT} {hold} {more}"))
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
fn a_guess_learns_where_a_right_answer_comes_at_once() {
    let attack = "--attack-in-flight 8 --attack-sources 1";
    let guess = |manner| with_users("guesses", manner, 9, attack);
    let (ended, server) = guess(Manner::WrongIsLate);
    expect_both_parts(&ended, "guesses");
    assert!(ended.count("probes") > 0, "{}", ended.record);
    assert_eq!(ended.count("probes"), ended.count("probes_answered"), "{}", ended.record);
    assert!(ended.record["guesses_per_second"].as_f64() > Some(1.0), "{}", ended.record);
    // Attack and others share one address; each of the others is the first user.
    assert_eq!(server.sources(), 1);
    assert_eq!(server.users().iter().filter(|user| *user == "u0").count(), 50);
    let (ended, _) = guess(Manner::BothAreLate);
    expect_both_parts(&ended, "guesses");
    assert!(ended.count("probes") > 0, "{}", ended.record);
    assert_eq!(
        (ended.count("probes_answered"), ended.count("attempts_answered")),
        (0, 0),
        "{}",
        ended.record
    );
    assert_eq!(ended.record["guesses_per_second"], 0.0);
}

#[test]
fn halves_of_tokens_have_a_server_refuse_others_that_has_one_bound_for_all() {
    let attack = "--attack-rate 500 --attack-in-flight 60 --hold 30 --max-failures 0";
    let token = |manner| hostile("tokens", &Server::start(manner, None), attack);
    expect_both_parts(&token(Manner::Good), "tokens");
    // More than all of the others together.
    let ended = token(Manner::HoldsTokens(30));
    ended.expect_failure("failed beside the attack, 0 may (malformed answer to the greeting");
    assert!(ended.count("quiet_failures") == 0 && ended.count("beside_failures") > 0, "{}", ended.record);
}

#[test]
fn ports_are_taken_before_names_are_asked_for() {
    let attack = "--ports 5 --attack-rate 100 --attack-in-flight 15 --patience 3";
    let (ended, server) = with_names("binds", Manner::Good, &format!("{attack} --max-failures 0"));
    expect_both_parts(&ended, "binds");
    assert_eq!(server.bound(), 5);
    assert_eq!(ended.count("attempts_cut"), 0, "{}", ended.record);
    assert!(ended.count("attempts_answered") > 0, "{}", ended.record);
    let bars = "--max-failures 0 --max-ratio 2";
    let (ended, _) = with_names("binds", Manner::OneAtATime, &format!("{attack} {bars}"));
    ended.expect_failure("a bar is missed: ");
}

#[test]
fn a_silent_target_keeps_sessions_whose_clients_are_gone() {
    let server = Server::start(Manner::Good, None);
    let ended = hostile("silent", &server, "--attack-count 20 --attack-rate 200 --hold 30");
    expect_both_parts(&ended, "silent");
    assert_eq!((ended.count("attempts"), ended.count("attempts_answered")), (20, 20), "{}", ended.record);
    assert_eq!(server.dialled(), 20);
}

#[test]
fn garbage_is_no_greeting() {
    let ended = hostile("garbage", &Server::start(Manner::Good, None), "--attack-rate 200 --max-failures 0");
    expect_both_parts(&ended, "garbage");
    // Some are cut off by the server, others leave by themselves.
    assert!(ended.count("attempts_cut") > 0 && ended.count("attempts_left") > 0, "{}", ended.record);
}

#[test]
fn what_is_missing_is_named_before_anybody_is_attacked() {
    let server = Server::start(Manner::Good, None);
    for kind in ["names", "dials", "binds"] {
        hostile(kind, &server, "").expect_failure(&format!("{kind} needs --dns"));
    }
    let (ended, _) = with_users("logins", Manner::Good, 49, "");
    ended.expect_failure("logins needs 50 users here, --users names 49");
    hostile("guesses", &server, "").expect_failure("guesses needs 2 users here, --users names 0");
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
