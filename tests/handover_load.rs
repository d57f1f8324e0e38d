//! Hand-overs and reloads under full load: sessions as fast as they come, datagrams and bulk, by the load generator. What it
//! counts as an error (a session refused, reset or short) fails the test, and so does a record that is missing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::relay::{Builder, quoted};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Relay, netns, skip};

/// The load generator, which the workspace builds beside the server.
fn generator() -> Option<PathBuf> {
    let path = Path::new(crate::support::relay::binary()).with_file_name("outflow-load");
    path.is_file().then_some(path)
}

/// A process that ends with the test.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Targets {
    _origin: Beside,
    ready: String,
}

impl Targets {
    fn open(generator: &Path) -> Targets {
        let mut child =
            Command::new(generator).arg("origin").stdout(Stdio::piped()).spawn().expect("the origin");
        let stdout = child.stdout.take().expect("stdout");
        let origin = Beside(child);
        let lines = crate::support::process::read_lines(stdout);
        Targets { _origin: origin, ready: lines.recv_timeout(PATIENCE).expect("its ports") }
    }

    fn at(&self, kind: &str) -> &str {
        let word = self.ready.split(' ').find_map(|word| word.strip_prefix(kind)?.strip_prefix('='));
        word.expect("a port of that kind").trim()
    }
}

/// One run of the generator, whose output is read at its end.
fn load(generator: &Path, arguments: &[&str]) -> std::thread::JoinHandle<std::process::Output> {
    let mut command = Command::new(generator);
    command.args(arguments);
    std::thread::spawn(move || command.stdin(Stdio::null()).output().expect("run the generator"))
}

fn builder(folder: &TempDir, workers: usize) -> Builder {
    let file = |name: &str| quoted(folder.path().join(name).to_str().expect("UTF-8"));
    Relay::builder().workers(workers).set("server", "takeover", &file("takeover")).set(
        "log",
        "access",
        &file("access"),
    )
}

/// So many hand-overs with 4, 2 and 4 workers, and a reload behind each, while all kinds of load go on.
fn under_load(times: usize, seconds: u64, migrate: &str) {
    let Some(generator) = generator() else {
        return skip::skip(&test_name!(), "outflow-load is not built (cargo build --workspace)");
    };
    netns::shell(&format!("sysctl -q -w net.ipv4.tcp_migrate_req={migrate}"));
    netns::shell("sysctl -q -w net.ipv4.ip_local_port_range='10000 65000'");
    let (folder, targets) = (TempDir::new().expect("a folder"), Targets::open(&generator));
    let mut serving = builder(&folder, 4).start();
    let addr = serving.addr().to_string();
    let seconds = seconds.to_string();
    let run = |scenario: &str, kind: &str, more: &[&str]| {
        let all = [scenario, "--server", &addr, "--target", targets.at(kind), "--seconds", &seconds];
        load(&generator, &[&all[..], more].concat())
    };
    let loads = [
        ("connect", run("connect", "page", &["--in-flight", "64", "--sources", "40", "--max-errors", "0"])),
        ("stream", run("stream", "duplex", &["both", "--flows", "4"])),
        ("udp", run("udp", "udp", &["--associations", "4", "--rate", "2000"])),
    ];
    // The sessions that are to live through all of it have begun.
    wait::until_true("load", PATIENCE, || serving.fds() > 60);
    for nth in 0..times {
        let next = builder(&folder, [2, 4][nth % 2]).listen(&[&addr]).argument("--takeover").start();
        let old = std::mem::replace(&mut serving, next);
        // It ends with its last session: dropped it would be killed.
        ended_later(old);
        serving.reload(&[("timeouts", "idle", &format!("\"{}s\"", 100 + nth))]);
    }
    let mut sessions = 0;
    for (name, load) in loads {
        let output = load.join().expect("the generator");
        let said = String::from_utf8_lossy(&output.stdout);
        eprintln!("---- {name}, tcp_migrate_req={migrate}\n{said}");
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}\n{failed}");
        let told: Value = serde_json::from_str(&said).expect("a report");
        sessions += told["sessions"].as_u64().unwrap_or(4) as usize;
    }
    serving.signal("TERM");
    assert_eq!(serving.wait_exit(PATIENCE), Some(0));
    let text = std::fs::read_to_string(folder.path().join("access")).expect("records");
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let odd: Vec<&Value> = records.iter().filter(|record| record["reply"] != 0).collect();
    eprintln!("---- {} records, {} of them of sessions that failed", records.len(), odd.len());
    assert!(odd.is_empty(), "{:#?}", &odd[..odd.len().min(5)]);
    assert!(records.len() >= sessions, "{} records of {sessions} sessions", records.len());
}

/// Has a server end by itself, on a thread that waits for that.
fn ended_later(mut old: Relay) {
    std::thread::spawn(move || old.wait_exit(Duration::from_secs(250)));
}

#[test]
#[ignore = "minutes of full load"]
fn twenty_hand_overs_and_reloads_under_full_load() {
    netns::run(&test_name!(), "", || under_load(20, 90, "0"));
}

#[test]
#[ignore = "minutes of full load"]
fn twenty_hand_overs_and_reloads_where_the_kernel_migrates_requests() {
    netns::run(&test_name!(), "", || under_load(20, 90, "1"));
}
