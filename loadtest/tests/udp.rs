//! `outflow-load udp`.

use crate::world::{Ended, Lie, Manner, Origin, Server, run};

/// A run against a server of this manner.
fn udp(manner: Manner, more: &str) -> Ended {
    let (origin, server) = (Origin::start(), Server::start(manner));
    let (server, target) = (server.address(), origin.address("udp").to_owned());
    run(&format!("udp --server {server} --target {target} --warmup 0 --patience 1 {more}"))
}

#[test]
fn direct_in_both_loops() {
    let origin = Origin::start();
    let target = origin.address("udp");
    for drive in ["--window 8", "--rate 4000"] {
        let ended = run(&format!("udp --direct --target {target} --warmup 0.05 --count 1000 {drive}"));
        ended.expect_success();
        assert!(ended.count("datagrams") >= 1000);
        assert_eq!(ended.record["lost"].as_u64(), Some(0), "{}", ended.record);
        assert!(ended.record["round_trip"]["p99_us"].as_f64() > Some(0.0));
    }
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let origin = Origin::start();
    let target = origin.address("udp");
    let ended =
        run(&format!("udp --direct --target {target} --warmup 0 --seconds 0.5 --rate 2000 --size 28"));
    ended.expect_success();
    // What was sent is decided by the clock alone, however slow the machine is.
    assert!((990..=1100).contains(&ended.count("sent")), "{}", ended.record);
}

#[test]
fn a_pause_of_the_schedule_is_no_silence() {
    let origin = Origin::start();
    let target = origin.address("udp");
    let plan = "--warmup 0 --seconds 1.2 --rate 2 --patience 0.3";
    let ended = run(&format!("udp --direct --target {target} {plan}"));
    ended.expect_success();
    assert_eq!((ended.count("sent"), ended.count("lost")), (3, 0), "{}", ended.record);
}

#[test]
fn through_a_server() {
    let ended = udp(Manner::Good, "--count 2000 --associations 3 --size 1000");
    ended.expect_success();
    assert_eq!((ended.count("connections"), ended.count("duplicates")), (3, 0));
    udp(Manner::SaysAnywhere, "--count 100").expect_success();
    udp(Manner::SaysMapped, "--count 100").expect_success();
    udp(Manner::Good, "--count 100 --sources 3").expect_success();
}

#[test]
fn a_lost_datagram_frees_its_place() {
    // Long enough that nothing is late on a busy machine, and so lost: then the server alone decides.
    let ended = udp(Manner::Drops(10), "--count 200 --associations 1 --window 4 --loss-after 0.4");
    ended.expect_success();
    assert!((20..=26).contains(&ended.count("lost")), "{}", ended.record);
    let share = ended.record["loss_share"].as_f64().expect("a share");
    assert!((0.08..0.13).contains(&share), "{share}");
}

#[test]
fn a_second_copy_is_counted() {
    let ended = udp(Manner::LiesDown(50, Lie::Double), "--count 200");
    ended.expect_success();
    assert_eq!((ended.count("duplicates"), ended.count("lost")), (1, 0));
}

#[test]
fn a_lie_ends_the_run() {
    udp(Manner::LiesDown(50, Lie::Flip), "--seconds 5")
        .expect_failure("differ from what was sent, at byte 40");
    udp(Manner::LiesDown(50, Lie::Drop), "--seconds 5").expect_failure("differ from what was sent");
}

#[test]
fn a_server_that_refuses_dies_or_is_mute() {
    udp(Manner::Refuses(7), "--count 10").expect_failure("REP 0x07 (command not supported)");
    udp(Manner::Dies(100), "--seconds 5").expect_failure("during the data");
    udp(Manner::Mute, "--count 10").expect_failure("nothing moved for 1 s");
    udp(Manner::SaysElsewhere, "--count 10").expect_failure("192.0.2.1 is not an address of this machine");
    // Losses are not news: the silence goes on over them.
    udp(Manner::Drops(1), "--seconds 9 --loss-after 0.1").expect_failure("nothing moved for 1 s");
    udp(Manner::Drops(1), "--seconds 0.1 --loss-after 0.1").expect_failure("not one datagram came back");
}
