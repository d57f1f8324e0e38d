//! `outflow-load churn`.

use crate::world::{Ended, Lie, Manner, Origin, Server, run};

const ACTIONS: [&str; 8] = [
    "exchanges",
    "pauses",
    "client_half_closes",
    "origin_half_closes",
    "client_resets",
    "client_kills",
    "origin_resets",
    "leaves",
];

fn churn(manner: Manner, more: &str) -> Ended {
    let (origin, server) = (Origin::start(), Server::start(manner));
    let (server, target) = (server.address(), origin.address("keyed").to_owned());
    run(&format!("churn --server {server} --target {target} --in-flight 16 --patience 1 {more}"))
}

fn counts(ended: &Ended) -> Vec<u64> {
    ACTIONS.iter().map(|action| ended.count(action)).collect()
}

#[test]
fn direct() {
    let origin = Origin::start();
    let target = origin.address("keyed");
    let ended = run(&format!("churn --direct --target {target} --count 300"));
    ended.expect_success();
    assert_eq!((ended.count("sessions"), ended.count("foreign_bytes")), (300, 0));
    assert_eq!(ended.count("resets_as_fins"), 0, "{}", ended.record);
}

#[test]
fn through_a_server_with_every_action() {
    let ended = churn(Manner::Good, "--count 300 --seed 5");
    ended.expect_success();
    assert_eq!((ended.count("seed"), ended.count("foreign_bytes")), (5, 0));
    let counts = counts(&ended);
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), 300);
    assert_eq!(ended.count("resets_as_fins"), 0, "{}", ended.record);
}

#[test]
fn a_seed_gives_the_same_sessions() {
    let of = |seed: u32| {
        let origin = Origin::start();
        let target = origin.address("keyed");
        let ended = run(&format!("churn --direct --target {target} --count 60 --seed {seed}"));
        ended.expect_success();
        counts(&ended)
    };
    assert_eq!(of(3), of(3));
    assert_ne!(of(3), of(4));
}

#[test]
fn one_action_alone() {
    let ended = churn(Manner::Good, "--count 20 --actions origin-half-close");
    ended.expect_success();
    assert_eq!(ended.count("origin_half_closes"), 20);
}

/// The line names session, key and position, and the record has the seed.
fn expect_finding(manner: Manner, more: &str, words: &str) {
    let ended = churn(manner, &format!("--count 500 --seed 9 {more}"));
    ended.expect_failure(words);
    for part in ["session ", "with key 0x", "at position ", "(seed 9)"] {
        assert!(ended.said.contains(part), "{manner:?}: {}", ended.said);
    }
    assert_eq!(ended.count("foreign_bytes"), 1, "{manner:?}: {}", ended.record);
}

#[test]
fn a_byte_that_is_changed_lost_or_doubled_ends_the_run() {
    // The server lies once, so it has to be in a session whose every byte is read.
    let whole = "--actions exchange,pause,client-half-close,origin-half-close";
    for lie in [Lie::Flip, Lie::Drop, Lie::Double] {
        expect_finding(Manner::LiesDown(5000, lie), whole, "toward the client");
        expect_finding(Manner::LiesUp(5000, lie), whole, "toward the origin");
    }
    expect_finding(Manner::LiesUp(9, Lie::Flip), whole, "a first message that no client sent");
}

#[test]
fn what_only_the_origin_can_see_is_found_as_well() {
    // The client is told nothing: it has had its FIN.
    let alone = "--actions origin-half-close";
    expect_finding(Manner::LiesUp(5000, Lie::Flip), alone, "a wrong byte");
    expect_finding(Manner::LiesUp(70, Lie::Flip), "--actions client-kill", "a wrong byte");
}

#[test]
fn a_server_that_cannot_half_close_stalls_dies_or_refuses() {
    let long = "--seconds 20";
    churn(Manner::ClosesBoth, long).expect_failure("session ");
    churn(Manner::Stalls(5000), &format!("{long} --actions exchange"))
        .expect_failure("no byte where more had to come");
    churn(Manner::Dies(100_000), long).expect_failure("");
    churn(Manner::Refuses(5), long).expect_failure("REP 0x05 (connection refused)");
    churn(Manner::Mute, long).expect_failure("no byte where more had to come");
}
