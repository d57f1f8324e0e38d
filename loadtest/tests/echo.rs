//! `outflow-load echo` through servers with a manner.

use crate::world::{Ended, Lie, Manner, Origin, Server, run};

fn echo(manner: Manner, extent: &str) -> Ended {
    let (origin, server) = (Origin::start(), Server::start(manner));
    let (server, target) = (server.address(), origin.address("echo").to_owned());
    run(&format!("echo --server {server} --target {target} --connections 4 --warmup 0 --patience 1 {extent}"))
}

#[test]
fn through_a_server() {
    let ended = echo(Manner::Good, "--count 200");
    ended.expect_success();
    assert!(ended.count("round_trips") >= 200);
}

#[test]
fn a_server_that_lies_stalls_dies_or_refuses() {
    let long = "--seconds 20";
    echo(Manner::LiesUp(1000, Lie::Flip), long).expect_failure("the data differ from what was sent");
    echo(Manner::LiesDown(1000, Lie::Drop), long).expect_failure("the data differ from what was sent");
    echo(Manner::Stalls(1000), long).expect_failure("nothing moved for 1 s");
    echo(Manner::Dies(2000), long).expect_failure("during the data");
    echo(Manner::Refuses(2), long).expect_failure("REP 0x02 (connection not allowed by ruleset)");
    echo(Manner::Mute, long).expect_failure("nothing moved for 1 s");
}

/// The measured interval lies within the patience: its end, not the silence, has to find out.
#[test]
fn a_server_that_hangs_has_no_figures() {
    for (scenario, service) in [("echo --connections 4", "echo"), ("stream down --flows 4", "source")] {
        let (origin, server) = (Origin::start(), Server::start(Manner::Stalls(1000)));
        let (server, target) = (server.address(), origin.address(service).to_owned());
        let ended =
            run(&format!("{scenario} --server {server} --target {target} --warmup 0.6 --seconds 0.3"));
        ended.expect_failure("nothing moved in the measured interval");
    }
}
