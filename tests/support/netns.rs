//! A network of its own for one test: the test runs again, alone, inside `unshare -rn`.
//!
//! Inside, the test is root of an empty network namespace with only `lo`, up: routes, sysctls and addresses
//! can be set without touching the machine.

use std::process::{Command, Stdio};

const INSIDE: &str = "OUTFLOW_TEST_IN_NAMESPACE";

/// From the type name of a function nested in a test to the path of that test.
pub(crate) fn test_path(nested: &'static str) -> String {
    let outer = nested.rsplit_once("::").map_or(nested, |(outer, _)| outer);
    let outer = outer.trim_end_matches("::{{closure}}");
    outer.split_once("::").map_or(outer, |(_crate, path)| path).to_owned()
}

/// Runs `body` in a fresh network namespace after the shell commands in `setup`.
///
/// `test` is `test_name!()`. Where namespaces are not permitted the test is skipped with a printed line,
/// and fails when CI=true: a skip there would hide the case for ever.
pub(crate) fn run(test: &str, setup: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        shell(&format!("set -e; ip link set lo up; {setup}"));
        return body();
    }
    if !permitted() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no network namespaces, and CI=true");
        println!("skipped: {test}: network namespaces are not permitted here");
        return;
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
}

/// Runs a command line inside the namespace and insists on its success.
pub(crate) fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().expect("run sh");
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn permitted() -> bool {
    Command::new("unshare")
        .args(["-rn", "ip", "link", "set", "lo", "up"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
