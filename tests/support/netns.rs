//! A network of its own for one test: the test runs again, alone, inside `unshare -rn`.
//!
//! Inside, the test is root of an empty network namespace with only `lo`, up: routes, sysctls and addresses
//! can be set without touching the machine.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::skip;

const INSIDE: &str = "OUTFLOW_TEST_IN_NAMESPACE";
/// What `skip` says in the end of a single test, before the reason.
pub(crate) const ONE_NOT_RUN: &str = "not run: 1 of the tests: ";

/// From the type name of a function nested in a test to the path of that test.
pub(crate) fn test_path(nested: &'static str) -> String {
    let outer = nested.rsplit_once("::").map_or(nested, |(outer, _)| outer);
    let outer = outer.trim_end_matches("::{{closure}}");
    outer.split_once("::").map_or(outer, |(_crate, path)| path).to_owned()
}

/// Runs `body` in a fresh network namespace after the shell commands in `setup`.
///
/// `test` is `test_name!()`. Where namespaces are not permitted the test is skipped.
pub(crate) fn run(test: &str, setup: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        shell(&format!("set -e; ip link set lo up; {setup}"));
        return body();
    }
    if let Some(why) = lacking() {
        return skip::skip(test, &why);
    }
    let me = std::env::current_exe().expect("path of the test binary");
    let output = Command::new("unshare")
        .arg("-rn")
        .arg(me)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("run unshare");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test} failed inside the namespace\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "{test} is not the path of a test:\n{stdout}");
    // It may have found there that something else lacks.
    for why in stderr.lines().filter_map(|line| line.strip_prefix(ONE_NOT_RUN)) {
        skip::skip(test, why);
    }
}

/// Runs a command line inside the namespace and insists on its success.
pub(crate) fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().expect("run sh");
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// What lacks to have a network namespace here, if anything does.
pub(crate) fn lacking() -> Option<String> {
    let said = |line: &[&str]| {
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).stdin(Stdio::null()).output().map(|output| output.status.success())
    };
    match (said(&["unshare", "--version"]), said(&["ip", "-V"])) {
        (Err(_), _) => Some("unshare is not installed (package util-linux)".to_owned()),
        (_, Err(_)) => Some("ip is not installed (package iproute2)".to_owned()),
        _ => match said(&["unshare", "-rn", "ip", "link", "set", "lo", "up"]) {
            Ok(true) => None,
            _ => Some("user and network namespaces are not permitted here".to_owned()),
        },
    }
}

/// Another machine, at the other end of a wire: it takes every address for its own, and all of them lead there but those
/// of this namespace.
pub(crate) struct Far(File);

/// This side of the wire, in either family.
pub(crate) const NEAR_V4: &str = "25.0.0.1";
pub(crate) const NEAR_V6: &str = "2a0f::1";

impl Far {
    /// Lays the wire.
    pub(crate) fn open() -> Far {
        let namespace = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("another namespace");
            File::open("/proc/thread-self/ns/net").expect("the namespace")
        });
        let far = Far(namespace.join().expect("the thread that made the namespace"));
        let place = format!("/proc/{}/fd/{}", std::process::id(), far.0.as_raw_fd());
        shell(&format!(
            "set -e; ip link add near type veth peer name far; ip link set far netns {place}
            ip addr add {NEAR_V4}/30 dev near; ip -6 addr add {NEAR_V6}/64 dev near nodad; ip link set near up"
        ));
        far.inside(|| {
            shell(
                "set -e; ip link set lo up; ip addr add 25.0.0.2/30 dev far
                ip -6 addr add 2a0f::2/64 dev far nodad; ip link set far up
                ip route add local 0.0.0.0/0 dev lo; ip -6 route add local ::/0 dev lo
                ip route add 25.0.0.0/30 dev far table local; ip -6 route add 2a0f::/64 dev far table local",
            );
        });
        shell("ip route add default via 25.0.0.2; ip -6 route add default via 2a0f::2");
        far
    }

    /// What runs there, and the sockets that it makes. To be bound to, an IPv6 address must be an interface's.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("enter the other namespace");
            act()
        };
        thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
