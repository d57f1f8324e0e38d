//! `outflow-load overload` through servers with a manner.

use crate::world::{Ended, Manner, Origin, Server, run};

fn overload(manner: Manner, more: &str) -> Ended {
    let (origin, server) = (Origin::start(), Server::start(manner));
    let (server, page, echo) = (server.address(), origin.address("page"), origin.address("echo"));
    run(&format!(
        "overload --server {server} --target {page} --echo {echo} --peak 100 --seconds 1 --warmup 0.2 --flows 3 {more}"
    ))
}

/// A server that serves all who come has served the rate at which they came, and its flows are none the slower.
#[test]
fn who_serves_all_has_the_goodput_of_all() {
    let ended = overload(Manner::Good, "--multiples 0.5,2");
    ended.expect_success();
    assert_eq!((ended.count("flows_lost"), ended.record["peak_per_second"].as_f64()), (0, Some(100.0)));
    let parts = ended.record["parts"].as_array().expect("parts").clone();
    let figure =
        |part: usize, name: &str| parts[part][name].as_f64().unwrap_or_else(|| panic!("{name}: {parts:?}"));
    for (part, multiple) in [(0, 0.5), (1, 2.0)] {
        assert_eq!((figure(part, "multiple"), figure(part, "rate")), (multiple, 100.0 * multiple));
        // The window and the schedule begin within one turn.
        assert!((figure(part, "due") - 100.0 * multiple).abs() <= 2.0, "{parts:?}");
        assert_eq!((figure(part, "late"), figure(part, "cut")), (0.0, 0.0));
        assert!(figure(part, "echo_round_trips") >= 20.0 && figure(part, "echo_p99_us") > 0.0, "{parts:?}");
    }
    assert!((0.9..=1.1).contains(&figure(0, "goodput_share")), "of what came: {parts:?}");
    assert!((1.8..=2.2).contains(&figure(1, "goodput_share")), "of the peak: {parts:?}");
    assert_eq!(figure(1, "after_failed"), 0.0);
}

#[test]
fn a_server_that_refuses_or_misses_a_bar_ends_the_run() {
    let ended = overload(Manner::Refuses(2), "--multiples 2");
    ended.expect_failure("REP 0x02");
    let ended = overload(Manner::Good, "--multiples 2 --min-goodput 3");
    ended.expect_failure("a bar is missed: goodput at 2 times the peak");
    let ended = overload(Manner::Good, "--multiples 2 --max-ratio 2");
    ended.expect_failure("a bar is missed: there is nothing to compare flows with");
}
