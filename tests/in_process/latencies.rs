//! How long things took, as the workers tell it at their end.

use std::os::unix::net::UnixStream;

use outflow::config::ListenAddress;
use outflow::observe::Timed;

use super::*;

/// A configuration with an admin endpoint in this folder: only then workers time their own turns.
fn watched(workers: usize, folder: &tempfile::TempDir) -> Config {
    let mut watched = config(workers, RelayMode::Auto);
    watched.admin.listen = vec![ListenAddress::Unix(folder.path().join("admin.sock"))];
    watched
}

/// What the workers of a drained server counted.
fn end(mut server: Server) -> outflow::observe::Latencies {
    server.drain(Instant::now());
    server.finish()
}

#[test]
fn each_phase_of_a_session_is_timed_when_it_is_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(watched(1, &folder));
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
    assert_eq!(latencies.count(Timed::Turn), 0, "nobody looks");
}

/// A worker that stands still has a long turn, and whoever came meanwhile had to wait for its end.
#[test]
fn a_turn_that_takes_long_is_seen_and_so_is_the_delay() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(watched(1, &folder));
    let mut client = connect(&server, echo());
    server.drill(0, Drill::Stall(A_WHILE));
    assert!(echoes(&mut client));
    let latencies = end(server);
    for what in [Timed::Turn, Timed::Delay] {
        let longest = latencies.quantiles(what).expect("turns").max_ms;
        assert!(longest >= 0.99 * A_WHILE.as_secs_f64() * 1000.0, "{what:?}: {longest} ms");
    }
}

/// What the endpoint at this socket answers.
fn ask(path: &Path, method: &str, target: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("the endpoint");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn scrape(path: &Path) -> String {
    ask(path, "GET", "/metrics")
}

/// What of a worker that stands still cannot be told or done is said, and the rest is told and done.
#[test]
fn an_answer_without_a_worker_that_stands_still_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let mut server = start(watched(2, &folder));
    let target = echo();
    let mut clients: Vec<TcpStream> = (0..SESSIONS).map(|_| connect(&server, target)).collect();
    assert!(clients.iter_mut().all(echoes));
    // Longer than both questions wait for it.
    server.drill(1, Drill::Stall(Duration::from_secs(6)));
    let silent = "\"warning\":\"worker 1 has not answered within 2s: its sessions are missing\"";
    let listed = ask(&path, "GET", "/api/v1/sessions");
    assert!(listed.starts_with("HTTP/1.1 200") && listed.contains(silent), "{listed}");
    assert!(listed.contains("\"worker\":0") && !listed.contains("\"worker\":1"), "{listed}");
    let ended = ask(&path, "DELETE", "/api/v1/sessions?worker=1");
    assert!(ended.starts_with("HTTP/1.1 503") && ended.contains("worker 1 has not answered"), "{ended}");
    assert!(ask(&path, "GET", "/api/v1/stats").starts_with("HTTP/1.1 200"));
    // It does what it was told once it turns again, and only that.
    await_that("its sessions are ended, and no others", || {
        clients.retain_mut(echoes);
        let killed = server.totals().closed_for(Reason::Killed) as usize;
        killed > 0 && clients.len() + killed == SESSIONS
    });
    server.drain(Instant::now());
    server.finish();
}

/// Nobody waits for a worker that stands still: it is told of by what it told before.
#[test]
fn a_scrape_does_not_wait_for_a_worker_that_stands_still() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let server = start(watched(2, &folder));
    let mut client = connect(&server, echo());
    assert!(echoes(&mut client));
    let handshakes = |count: u32| format!("\noutflow_handshake_seconds_count {count}\n");
    let before = scrape(&path);
    assert!(before.starts_with("HTTP/1.1 200") && before.contains(&handshakes(1)), "{before}");
    for worker in [0, 1] {
        server.drill(worker, Drill::Stall(5 * A_WHILE));
    }
    let began = Instant::now();
    let meanwhile = scrape(&path);
    let took = began.elapsed();
    assert!(took < 4 * A_WHILE, "{took:?}: it waited for the stall's end");
    assert!(meanwhile.contains(&handshakes(1)), "{meanwhile}");
    assert!(echoes(&mut client));
    let mut server = server;
    server.drain(Instant::now());
    server.finish();
}
