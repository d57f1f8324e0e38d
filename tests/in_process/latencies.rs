//! How long things took, as the workers tell it at their end.

use outflow::observe::Timed;

use super::*;

/// What the workers of a drained server counted.
fn end(mut server: Server) -> outflow::observe::Latencies {
    server.drain(Instant::now());
    server.finish()
}

#[test]
fn each_phase_of_a_session_is_timed_when_it_is_over() {
    let server = start(config(1, RelayMode::Auto));
    let target = echo();
    let (mut spoke, _silent) = (connect(&server, target), connect(&server, target));
    assert!(echoes(&mut spoke) && echoes(&mut spoke));
    let latencies = end(server);
    let counts =
        [Timed::Handshake, Timed::Auth, Timed::Dns, Timed::Connect, Timed::FirstByte, Timed::Session]
            .map(|what| latencies.count(what));
    assert_eq!(counts, [2, 0, 0, 2, 1, 2]);
    let turns = latencies.count(Timed::Turn);
    assert!(turns >= 5 && latencies.count(Timed::Delay) == turns, "{turns}");
    assert!(latencies.sum(Timed::Delay) >= latencies.sum(Timed::Turn));
}

/// A session's phases count from the turn in which they are over, so that what a panic costs is none of them.
#[test]
fn what_a_worker_timed_before_a_panic_is_not_lost() {
    let server = start(config(1, RelayMode::Auto));
    let target = echo();
    assert!(echoes(&mut connect(&server, target)));
    let mut cut_off = connect(&server, target);
    server.drill(0, Drill::Panic);
    await_that("its sessions are gone", || !echoes(&mut cut_off));
    assert!(echoes(&mut connect(&server, target)));
    let latencies = end(server);
    let counts = [Timed::Handshake, Timed::Connect, Timed::FirstByte, Timed::Session]
        .map(|what| latencies.count(what));
    assert_eq!(counts, [3, 3, 2, 3]);
}

/// A worker that stands still has a long turn, and whoever came meanwhile had to wait for its end.
#[test]
fn a_turn_that_takes_long_is_seen_and_so_is_the_delay() {
    let server = start(config(1, RelayMode::Auto));
    let mut client = connect(&server, echo());
    server.drill(0, Drill::Stall(A_WHILE));
    assert!(echoes(&mut client));
    let latencies = end(server);
    for what in [Timed::Turn, Timed::Delay] {
        let longest = latencies.quantiles(what).expect("turns").max_ms;
        assert!(longest >= 0.99 * A_WHILE.as_secs_f64() * 1000.0, "{what:?}: {longest} ms");
    }
}
