//! `outflow-load mix`.

use crate::world::{Ended, Lie, Manner, Origin, Server, run};

const SMALL: &str = "--pages 2k:30,16k:40,100k:2 --in-flight 16";

fn mix(manner: Manner, more: &str) -> Ended {
    let (origin, server) = (Origin::start(), Server::start(manner));
    let (server, target) = (server.address(), origin.address("page").to_owned());
    run(&format!(
        "mix --server {server} --target {target} --target-name localhost --patience 1 {SMALL} {more}"
    ))
}

#[test]
fn direct_with_every_kind_of_page() {
    let origin = Origin::start();
    let target = origin.address("page");
    let ended = run(&format!("mix --direct --target {target} --count 60 --stalls 0 --aborts 0"));
    ended.expect_success();
    assert_eq!((ended.count("sessions"), ended.count("seed")), (60, 1));
    for latency in ["handshake", "time_to_first_byte", "session"] {
        assert_eq!(ended.record[latency]["count"].as_u64(), Some(60), "{latency}");
    }
}

#[test]
fn a_seed_decides_who_stalls_and_who_aborts() {
    let counts = |seed: u32| {
        let ended =
            mix(Manner::Good, &format!("--count 200 --stalls 20 --stall-for 0.05 --aborts 10 --seed {seed}"));
        ended.expect_success();
        assert_eq!(ended.count("sessions"), 200);
        (ended.count("stalls"), ended.count("aborts"))
    };
    let first = counts(7);
    assert!((20..60).contains(&first.0) && (8..35).contains(&first.1), "{first:?}");
    assert_eq!(first, counts(7));
    assert_ne!(first, counts(8));
}

#[test]
fn an_open_loop() {
    let ended = mix(Manner::Good, "--seconds 0.3 --rate 200 --stall-for 0.05");
    ended.expect_success();
    assert_eq!(ended.count("sessions"), 60);
    assert_eq!(ended.record["start_delay"]["count"].as_u64(), Some(60));
}

#[test]
fn a_client_that_stalls_for_long_is_not_the_servers_fault() {
    mix(Manner::Good, "--count 3 --stalls 100 --aborts 0 --stall-for 1.5").expect_success();
}

#[test]
fn a_server_that_lies_stalls_dies_or_refuses() {
    let long = "--seconds 20 --stalls 0";
    mix(Manner::LiesDown(3000, Lie::Flip), long).expect_failure("the data differ from what was sent");
    mix(Manner::LiesDown(9000, Lie::Double), &format!("{long} --max-errors 1000"))
        .expect_failure("the data differ from what was sent");
    mix(Manner::Stalls(5000), long).expect_failure("nothing moved for 1 s");
    mix(Manner::Dies(100_000), long).expect_failure("");
    mix(Manner::Refuses(1), long).expect_failure("REP 0x01 (general SOCKS server failure)");
}
