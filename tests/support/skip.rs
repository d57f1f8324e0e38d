//! Tests that this machine cannot run: for want of a package, or of a privilege.
//!
//! The harness knows no such verdict: a test that returns early is `ok`. So a process of its own is told of each, and when
//! the tests have ended it says how many were not run, and why, below the harness's own last line.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// One line for each reason, once the input ends. That is when this process ends, however it does.
const SUMMARY: &str = r#"
    trap '' INT
    PATH=/usr/bin:/bin
    sort | uniq -c | while read -r count why; do echo "not run: $count of the tests: $why"; done >&2
"#;

/// Notes that `test` is not run, and why; the caller returns. With CI=true it is a failure: there it would hide the case
/// for ever.
pub(crate) fn skip(test: &str, why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot be run, and CI=true: {why}");
    leave_out(test, why);
}

/// As `skip`, where CI=true changes nothing: for what a machine may well not permit.
pub(crate) fn leave_out(test: &str, why: &str) {
    static SUMMED_UP: Mutex<Option<Child>> = Mutex::new(None);
    println!("skipped: {test}: {why}");
    let mut summed_up = SUMMED_UP.lock().unwrap_or_else(PoisonError::into_inner);
    let summary = summed_up.get_or_insert_with(|| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SUMMARY]).stdin(Stdio::piped()).spawn().expect("start the summary")
    });
    let input = summary.stdin.as_mut().expect("stdin");
    input.write_all(format!("{why}\n").as_bytes()).expect("tell the summary");
}

/// Whether `tool` is not there, of this package; then `test` is noted.
pub(crate) fn without(test: &str, tool: &str, package: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        skip(test, &format!("{tool} is not installed (package {package})"));
    }
    !found
}
