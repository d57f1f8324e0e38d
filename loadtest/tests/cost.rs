//! What a run says of the server's cost, which is seen from outside.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::skip;
use super::support::{Process, load, record};

/// Never called: the server answers for it.
const TARGET: &str = "127.0.0.1:258";

#[test]
fn system_calls_of_each_session_are_counted_and_cpu_time_is_left_out() {
    let server = Process::start();
    let words = [
        "connect",
        "--server",
        &server.address,
        "--target",
        TARGET,
        "--pid",
        &server.pid,
        "--count",
        "20",
        "--in-flight",
        "1",
        "--strace",
    ];
    if skip::without("the count of system calls", "strace", "strace") {
        let output = load(&words);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot run strace"));
        return;
    }
    let record = record(&words);
    // One accept and, with threads, at least three reads and three writes.
    let calls = record["calls"].as_object().expect("calls by name");
    let accepts = calls.iter().filter(|(name, _)| name.starts_with("accept"));
    assert_eq!(accepts.filter_map(|(_, count)| count.as_f64()).sum::<f64>(), 1.0, "{record}");
    assert!(record["calls_per_session"].as_f64() > Some(7.0), "{record}");
    assert!(record["server_pss_after"].is_u64(), "{record}");
    for distorted in ["server_cpu_seconds", "server_user_share", "cpu_us_per_session"] {
        assert!(record[distorted].is_null(), "{distorted}: {record}");
    }
}

#[test]
fn tracing_needs_a_process() {
    let output = load(&["connect", "--server", "127.0.0.1:9", "--target", TARGET, "--strace"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--pid"));
}

#[test]
fn a_process_that_is_not_there_is_named() {
    let output =
        load(&["connect", "--server", "127.0.0.1:9", "--target", TARGET, "--pid", "2147483647", "--strace"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("2147483647"));
}

#[test]
fn kernel_memory_comes_from_a_cgroup_that_is_gone_afterwards_or_says_why_not() {
    let server = Process::start();
    let groups = || fs::read_to_string(format!("/proc/{}/cgroup", server.pid)).expect("the server lives");
    let before = groups();
    let record = record(&[
        "idle",
        "--server",
        &server.address,
        "--target",
        &server.address,
        "--pid",
        &server.pid,
        "--connections",
        "40",
        "--seconds",
        "0",
    ]);
    assert_eq!(groups(), before);
    assert!(record["kernel_bytes_per_session"].is_f64(), "{record}");
    match record["kernel_memory_from"].as_str() {
        // A socket alone takes more than a kilobyte, and here a thread comes with it.
        Some("cgroup") => assert!(record["kernel_bytes_per_session"].as_f64() > Some(1024.0), "{record}"),
        Some("machine") => assert!(record["kernel_memory_note"].is_string(), "{record}"),
        other => panic!("{other:?}: {record}"),
    }
}

/// Holds idle sessions, once they are open.
fn hold(server: &Process) -> Child {
    let ends = ["--server", &server.address, "--target", &server.address, "--pid", &server.pid];
    let mut child = Command::new(env!("CARGO_BIN_EXE_outflow-load"))
        .args(["idle", "--connections", "2", "--seconds", "1000"])
        .args(ends)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the load generator runs");
    let mut record = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut record).expect("text");
    assert!(record.contains("\"kernel_bytes_per_session\""), "{record}");
    child
}

#[test]
fn a_signal_while_sessions_are_held_sends_the_server_home() {
    let server = Process::start();
    let groups = || fs::read_to_string(format!("/proc/{}/cgroup", server.pid)).expect("the server lives");
    let before = groups();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut child = hold(&server);
        kill(Pid::from_raw(child.id() as i32), signal).expect("it lives");
        let mut said = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        assert_eq!(child.wait().expect("it ends").code(), Some(1), "{said}");
        assert!(said.contains(&format!("ended by {signal}")), "{said}");
        assert_eq!(groups(), before);
    }
}

#[test]
fn the_next_run_sends_a_server_home_whose_run_was_killed() {
    let server = Process::start();
    let groups = || fs::read_to_string(format!("/proc/{}/cgroup", server.pid)).expect("the server lives");
    let before = groups();
    let mut killed = hold(&server);
    let left = groups();
    killed.kill().expect("it lives");
    killed.wait().expect("it ends");
    assert_eq!(groups(), left);
    let mut next = hold(&server);
    kill(Pid::from_raw(next.id() as i32), Signal::SIGTERM).expect("it lives");
    next.wait().expect("it ends");
    assert_eq!(groups(), before);
}

#[test]
fn kernel_memory_of_the_machine_is_taken_on_request() {
    let server = Process::start();
    let record = record(&[
        "idle",
        "--server",
        &server.address,
        "--target",
        &server.address,
        "--pid",
        &server.pid,
        "--connections",
        "20",
        "--seconds",
        "0",
        "--kernel-memory",
        "machine",
    ]);
    assert_eq!(record["kernel_memory_from"], "machine");
    assert!(record["kernel_bytes_per_session"].is_f64(), "{record}");
    assert!(record["kernel_memory_note"].is_null(), "{record}");
}

#[test]
fn every_record_describes_the_machine() {
    let server = Process::start();
    let record = record(&["connect", "--server", &server.address, "--target", TARGET, "--count", "1"]);
    assert!(record["machine"]["memory_bytes"].is_u64(), "{record}");
    assert!(record["machine"]["fd_limit"].is_u64(), "{record}");
}
