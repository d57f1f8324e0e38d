//! The relay of this workspace under attack.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{free_udp_port, users};
use crate::world::{Ended, Origin, run};

/// `PASSWORD` of the hand-written server by bcrypt.
const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

/// Beside this test's load generator, built by the same cargo in the same way.
fn binary() -> PathBuf {
    let load = Path::new(env!("CARGO_BIN_EXE_outflow-load"));
    let folder = load.parent().expect("a folder");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "outflow", "--bin", "outflow", "--target-dir"]);
    build.arg(folder.parent().expect("the target folder"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success(), "outflow does not build");
    folder.join("outflow")
}

/// The relay as a process; it is killed with the value.
struct Relay {
    child: Child,
    address: String,
    dns: String,
    _folder: TempDir,
}

impl Relay {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (users, dns) = (folder.path().join("users"), format!("127.0.0.1:{}", free_udp_port()));
        let lines: String = (0..100).map(|number| format!("u{number}:{HASH}\n")).collect();
        fs::write(&users, lines).expect("the users are written");
        let config = folder.path().join("outflow.toml");
        let text =
            format!("[dns]\nservers = [\"{dns}\"]\nhosts = false\n[guard]\nallow_private = true\n{more}");
        fs::write(&config, text).expect("the configuration is written");
        let mut child = Command::new(binary())
            .args(["--workers", "1", "--no-pin", "--listen", "127.0.0.1:0", "--config"])
            .arg(config)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("outflow runs");
        let address = ready(&mut child);
        Self { child, address, dns, _folder: folder }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of the ready line, whichever of its two outputs that comes by.
fn ready(child: &mut Child) -> String {
    let (found, address) = std::sync::mpsc::channel();
    let out: Box<dyn std::io::Read + Send> = Box::new(child.stdout.take().expect("piped"));
    let errors: Box<dyn std::io::Read + Send> = Box::new(child.stderr.take().expect("piped"));
    for output in [out, errors] {
        let found = found.clone();
        // Each is read to its end, so that the relay never waits for a reader.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let address =
                    line.split_once("listening on ").and_then(|(_, rest)| rest.split([',', ';', ' ']).next());
                address.map(|address| found.send(address.to_owned()));
            }
        });
    }
    drop(found);
    address.recv().expect("a line that says where it listens")
}

fn attack(kind: &str, relay: &Relay, more: &str) -> Ended {
    let origin = Origin::start();
    let (server, pid, target) = (&relay.address, relay.child.id(), origin.address("page"));
    let ends = format!("--server {server} --target {target} --pid {pid} --dns {}", relay.dns);
    run(&format!("hostile {kind} {ends} --rate 20 --seconds 1 --lead 0.5 {more}"))
}

/// What the machine's load cannot spoil: everybody came, the attack was there, and the server's figures are told.
#[track_caller]
fn expect_figures(ended: &Ended) {
    ended.expect_success();
    assert_eq!((ended.count("quiet_sessions"), ended.count("quiet_failures")), (20, 0), "{}", ended.record);
    assert_eq!(ended.count("beside_sessions") + ended.count("beside_failures"), 20, "{}", ended.record);
    assert!(ended.count("attempts") > 0, "{}", ended.record);
    assert!(
        ended.count("server_fds_max") > 10 && ended.count("server_rss_max") > 1 << 20,
        "{}",
        ended.record
    );
    assert!(ended.record["server_cpu_seconds"].is_f64(), "{}", ended.record);
}

#[test]
fn names_and_silent_addresses() {
    let relay = Relay::start("");
    let ended = attack("names", &relay, "--attack-in-flight 50 --attack-rate 100");
    expect_figures(&ended);
    assert!(ended.count("names_asked") > 40, "{}", ended.record);
    expect_figures(&attack("dials", &relay, "--attack-in-flight 20 --attack-rate 50"));
}

#[test]
fn ports_silence_and_garbage() {
    let relay = Relay::start("[bind]\nports = \"24500-24509\"\n");
    expect_figures(&attack(
        "binds",
        &relay,
        "--ports 10 --addresses 4 --attack-rate 50 --attack-in-flight 20",
    ));
    expect_figures(&attack("garbage", &relay, "--attack-rate 300"));
    let ended = attack("silent", &relay, "--attack-count 50 --attack-rate 200");
    expect_figures(&ended);
    // Each of them holds two.
    assert!(ended.count("server_fds_max") > ended.count("attempts_answered"), "{}", ended.record);
}

#[test]
fn logins() {
    let folder = "[auth]\nmethods = [\"password\"]\nusers = \"users\"\n";
    let (relay, file) = (Relay::start(folder), users(100));
    let known = format!("--users {}", file.path().display());
    expect_figures(&attack("logins", &relay, &format!("{known} --attack-count 200 --attack-rate 200")));
    let ended = attack("guesses", &relay, &known);
    expect_figures(&ended);
    assert!(ended.count("probes") > 0, "{}", ended.record);
}
