//! The file of what live traffic needs: a line of JSON for each need, in one order, so that two files are merged by reading both.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::auth::check_name;
use crate::config::Choice;
use crate::limits;
use crate::observe::TrafficNeed;
use crate::proto::address::Host;
use crate::proto::request::RequestCommand;
use crate::sys::files::open_regular;

/// A line of the file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LearnedLine {
    to: String,
    port: u16,
    command: String,
    user: Option<String>,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub struct LearnedError {
    path: PathBuf,
    line: Option<usize>,
    what: String,
}

impl fmt::Display for LearnedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        self.line.map_or(Ok(()), |line| write!(f, "{line}:"))?;
        write!(f, " {}", self.what)
    }
}

/// Reads what was learned.
///
/// # Errors
/// The file cannot be read, is larger than `limits::LEARNED_FILE_BYTES_MAX`, or has a line that is none of ours.
pub fn read_learned(path: &Path) -> Result<HashSet<TrafficNeed>, LearnedError> {
    let fail = |line, what| LearnedError { path: path.to_owned(), line, what };
    let mut text = String::new();
    let most = limits::LEARNED_FILE_BYTES_MAX;
    open_regular(path)
        .and_then(|file| file.take(most + 1).read_to_string(&mut text))
        .map_err(|error| fail(None, format!("cannot be read: {error}")))?;
    if text.len() as u64 > most {
        return Err(fail(None, format!("larger than {most} bytes")));
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(nth, line)| need_of(line).map_err(|what| fail(Some(nth + 1), what))).collect()
}

fn need_of(line: &str) -> Result<TrafficNeed, String> {
    let LearnedLine { to, port, command, user } = serde_json::from_str(line).map_err(|error| {
        format!("expected {{\"to\": HOST, \"port\": N, \"command\": WORD, \"user\": NAME or null}}: {error}")
    })?;
    let host = Host::parse(to.as_bytes()).map_err(|error| format!("{to:?}: {error}"))?;
    let command = RequestCommand::from_name(&command).ok_or_else(|| format!("{command:?} is no command"))?;
    // Who resolves a name goes to no port.
    if (port == 0) != (command == RequestCommand::Resolve) {
        return Err(format!("port {port} is none of {}", command.name()));
    }
    user.as_deref().map(check_name).transpose().map_err(|error| error.to_string())?;
    Ok(TrafficNeed { user: user.map(Into::into), command, host, port })
}

/// The lines of these needs, in their order.
pub(super) fn written<'a>(needs: impl IntoIterator<Item = &'a TrafficNeed>) -> String {
    let line = |need: &TrafficNeed| {
        let line = LearnedLine {
            to: text_of(&need.host),
            port: need.port,
            command: need.command.name().to_owned(),
            user: need.user.as_deref().map(str::to_owned),
        };
        // Texts and a number: there is nothing that JSON could not hold.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    };
    let mut lines: Vec<String> = needs.into_iter().map(line).collect();
    lines.sort_unstable();
    lines.concat()
}

/// A host as rules name it.
pub fn text_of(host: &Host) -> String {
    match host {
        Host::Ip(ip) => ip.to_canonical().to_string(),
        Host::Name(name) => name.to_string(),
    }
}

/// Whether there was no such file.
pub(super) fn is_absent(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(user: Option<&str>, command: RequestCommand, host: &str, port: u16) -> TrafficNeed {
        TrafficNeed { user: user.map(Into::into), command, host: Host::parse(host.as_bytes()).unwrap(), port }
    }

    #[test]
    fn what_is_written_is_read_again_whoever_the_user_is() {
        let needs = HashSet::from([
            need(Some("ann \"x\" \u{fc}"), RequestCommand::Connect, "example.com", 443),
            need(None, RequestCommand::UdpAssociate, "2001:db8::1", 53),
            need(None, RequestCommand::Bind, "192.0.2.1", 1),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("learned.jsonl");
        let text = written(&needs);
        assert_eq!(text.lines().next(), Some(r#"{"to":"192.0.2.1","port":1,"command":"bind","user":null}"#));
        std::fs::write(&path, format!("\n{text}\n{text}")).unwrap();
        assert_eq!(read_learned(&path).unwrap(), needs);
        assert!(!is_absent(&path) && is_absent(&folder.path().join("none")));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("learned.jsonl");
        let good = r#"{"to":"a.example","port":1,"command":"bind","user":null}"#;
        for (line, words) in [
            ("a.example 443", "expected {\"to\": HOST"),
            (r#"{"to":"a b","port":1,"command":"bind","user":null}"#, "\"a b\""),
            (r#"{"to":"a.example","port":0,"command":"bind","user":null}"#, "port 0"),
            (r#"{"to":"a.example","port":1,"command":"fly","user":null}"#, "\"fly\" is no command"),
            (r#"{"to":"a.example","port":1,"command":"bind","user":""}"#, "empty"),
            (r#"{"to":"a.example","port":1,"command":"bind","user":null,"x":1}"#, "unknown field"),
        ] {
            std::fs::write(&path, format!("{good}\n{line}\n")).unwrap();
            let error = read_learned(&path).unwrap_err().to_string();
            assert!(error.contains("learned.jsonl:2: ") && error.contains(words), "{line}: {error}");
        }
    }
}
