//! The program under test as child processes: an origin that lives as long as the test, and runs that end
//! with a record.

mod relay;
mod socks;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

pub(crate) use relay::Lie;
pub(crate) use socks::{Manner, Server};

const LOAD: &str = env!("CARGO_BIN_EXE_outflow-load");

/// An origin; its process ends with it.
pub(crate) struct Origin {
    child: Child,
    ready: String,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(LOAD)
            .arg("origin")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{LOAD} does not start: {error}"));
        let mut ready = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut ready).expect("the ready line");
        Self { child, ready }
    }

    /// The address of a service.
    pub(crate) fn address(&self, service: &str) -> &str {
        let mut words = self.ready.split_whitespace();
        words
            .find_map(|word| word.strip_prefix(service)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {service} in {:?}", self.ready))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // An origin that has ended by itself needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// Null when there was none.
    pub(crate) record: serde_json::Value,
    /// Standard error.
    pub(crate) said: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        Self {
            success: output.status.success(),
            record: serde_json::from_str(text.trim()).unwrap_or_default(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A count in the record.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let found = self.record.get(name).and_then(serde_json::Value::as_u64);
        found.unwrap_or_else(|| panic!("no {name} in {}; {}", self.record, self.said))
    }

    #[track_caller]
    pub(crate) fn expect_success(&self) {
        assert!(self.success && self.said.is_empty(), "{}\n{}", self.record, self.said);
    }

    /// One clear line on standard error, with `words` in it, and exit code 1.
    #[track_caller]
    pub(crate) fn expect_failure(&self, words: &str) {
        assert!(!self.success, "success: {}", self.record);
        assert_eq!(self.said.lines().count(), 1, "{}", self.said);
        assert!(self.said.starts_with("outflow-load: ") && self.said.contains(words), "{}", self.said);
        assert!(self.count("errors") > 0, "{}", self.record);
    }
}

/// Runs a scenario to its end: `line` is split at blanks.
pub(crate) fn run(line: &str) -> Ended {
    let output = Command::new(LOAD).args(line.split_whitespace()).stdin(Stdio::null()).output();
    Ended::of(&output.unwrap_or_else(|error| panic!("{LOAD} does not start: {error}")))
}
