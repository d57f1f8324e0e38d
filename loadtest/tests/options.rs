//! Options of the TCP scenarios.

use std::fs;
use std::time::Duration;

use super::support::{Manner, Server, load, record};

/// Never called: the server answers for it.
const TARGET: &str = "127.0.0.1:258";

#[test]
fn a_target_is_asked_for_by_name() {
    let server = Server::start(Manner::default());
    let address = server.address.to_string();
    let record = record(&[
        "connect",
        "--server",
        &address,
        "--target",
        TARGET,
        "--target-name",
        "host.localhost",
        "--count",
        "2",
    ]);
    let request = b"\x05\x01\x00\x03\x0ehost.localhost\x01\x02".to_vec();
    assert_eq!(server.requests(), [request.clone(), request]);
    assert_eq!(record["target_name"], "host.localhost");
}

#[test]
fn an_open_loop_charges_a_slow_server_with_those_who_wait() {
    // 20 ms a session, one at a time, but 200 a second come: the last of 40 is due after 195 ms and ends
    // after 800.
    let server = Server::start(Manner { pause: Duration::from_millis(20) });
    let address = server.address.to_string();
    let record = record(&[
        "connect",
        "--server",
        &address,
        "--target",
        TARGET,
        "--count",
        "40",
        "--rate",
        "200",
        "--in-flight",
        "1",
    ]);
    assert_eq!(record["rate"], 200.0);
    assert_eq!(record["sessions"], 40);
    assert_eq!(record["session"]["count"], 40);
    let late = record["late_starts"].as_u64().expect("a count");
    assert!(late >= 35, "{record}");
    let longest = record["session"]["max_us"].as_f64().expect("a number");
    assert!(longest >= 600_000.0, "{record}");
    // A closed loop would have seen only the 20 ms.
    let delay = record["start_delay"]["max_us"].as_f64().expect("a number");
    assert!(longest - delay < longest / 2.0, "{record}");
}

#[test]
fn an_open_loop_keeps_to_its_schedule() {
    let server = Server::start(Manner::default());
    let address = server.address.to_string();
    let record =
        record(&["connect", "--server", &address, "--target", TARGET, "--seconds", "0.5", "--rate", "100"]);
    assert_eq!(record["sessions"], 50);
    // The first start is due at once, the last after 490 ms.
    assert!(record["seconds"].as_f64().expect("a number") >= 0.49, "{record}");
}

#[test]
fn distributions_are_left_for_the_plotter() {
    let server = Server::start(Manner::default());
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = folder.path().join("run");
    let address = server.address.to_string();
    record(&[
        "connect",
        "--server",
        &address,
        "--target",
        TARGET,
        "--count",
        "20",
        "--hgrm",
        prefix.to_str().expect("a path in UTF-8"),
    ]);
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["run.handshake.hgrm", "run.session.hgrm"]);
    let text = fs::read_to_string(folder.path().join("run.session.hgrm")).expect("the file");
    assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"), "{text}");
    assert!(text.contains("Total count    =           20]\n"), "{text}");
}

#[test]
fn other_hosts_are_refused_before_anything_is_sent() {
    for words in [
        ["connect", "--server", "192.0.2.1:1080", "--target", TARGET],
        ["connect", "--server", "127.0.0.1:9", "--target", "192.0.2.1:80"],
    ] {
        let output = load(&words);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(why.contains("192.0.2.1") && why.contains("--i-own-this-host"), "{why}");
    }
}

#[test]
fn names_of_other_hosts_are_refused_before_anything_is_sent() {
    for scenario in ["connect", "echo", "idle", "mix", "churn", "udp"] {
        let server = ["--server", "127.0.0.1:9", "--target", TARGET, "--target-name", "host.test"];
        let words: Vec<&str> = [scenario].into_iter().chain(server).collect();
        let output = load(&words);
        assert_eq!(output.status.code(), Some(1), "{scenario}");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(why.contains("\"host.test\"") && why.contains("--i-own-this-host"), "{scenario}: {why}");
    }
}
