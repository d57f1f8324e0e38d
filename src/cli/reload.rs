//! `outflow reload [--dry-run]`: has the server read its configuration anew, and says what that changes.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{AdminClient, ClientError};
use super::field::list;
use super::table::{Align, Table};
use super::text::visible;
use super::units::count_of;
use crate::console::{complain, say};

/// Has the configuration read; with `dry_run` nothing changes.
///
/// # Errors
/// It cannot be used, or nobody can be asked.
pub(super) fn run(client: &AdminClient, dry_run: bool) -> Result<ExitCode, ClientError> {
    let answer = client.post("/api/v1/reload", &json!({"dry_run": dry_run}))?;
    for warning in list(&answer, "warnings").iter().filter_map(Value::as_str) {
        complain(&format_args!("warning: {}", visible(warning)));
    }
    // The deed counts; nobody need read the words.
    let _ = say(&report(&answer, dry_run));
    Ok(ExitCode::SUCCESS)
}

/// What changes, a line for each key and each file.
fn report(answer: &Value, dry_run: bool) -> String {
    let (changes, files) = (list(answer, "changes"), list(answer, "files"));
    let counts = [(changes.len() as u64, "key"), (files.len() as u64, "file")];
    let some = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| count_of(*count, what));
    let first = match (dry_run, some.collect::<Vec<_>>().join(" and ").as_str()) {
        (false, "") => "reloaded: no key has another value".to_owned(),
        (true, "") => "a reload would change no key".to_owned(),
        (false, some) => format!("reloaded: {some}"),
        (true, some) => format!("a reload would change {some}"),
    };
    let mut table = Table::bare(&[Align::Left, Align::Left, Align::Left]);
    for change in changes {
        let text = |name| change.get(name).and_then(Value::as_str);
        let value = |name| text(name).map_or_else(|| "(none)".to_owned(), visible);
        let taken = change.get("taken").and_then(Value::as_bool).unwrap_or(true);
        table.row([
            format!("  {}", visible(text("key").unwrap_or("?"))),
            match change.get("hidden").and_then(Value::as_bool) {
                Some(true) => "another password, which is not shown".to_owned(),
                _ => format!("{} -> {}", value("from"), value("to")),
            },
            if taken { String::new() } else { "not taken: needs a restart".to_owned() },
        ]);
    }
    let files = files.iter().filter_map(Value::as_str).map(|file| format!("  {}\n", visible(file)));
    format!("{first}\n{}{}", table.render(None), files.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_a_line_for_each_key_and_says_what_waits_for_a_restart() {
        let answer = json!({
            "applied": true,
            "changes": [
                {"key": "timeouts.idle", "from": "\"2h 4m\"", "to": "\"1m\"", "taken": true},
                {"key": "server.workers", "from": "2", "to": "4", "taken": false},
                {"key": "parent[up].servers", "from": "[..]", "to": "[..]", "taken": true, "hidden": true},
                {"key": "auth.users", "from": null, "to": "\"a\u{1b}[2J\"", "taken": true},
            ],
            "needs_hand_over": ["server.workers"],
            "warnings": [],
        });
        assert_eq!(
            report(&answer, false),
            "reloaded: 4 keys\n\
             \x20 timeouts.idle       \"2h 4m\" -> \"1m\"\n\
             \x20 server.workers      2 -> 4                                not taken: needs a restart\n\
             \x20 parent[up].servers  another password, which is not shown\n\
             \x20 auth.users          (none) -> \"a\\u{1b}[2J\"\n"
        );
        assert!(report(&answer, true).starts_with("a reload would change 4 keys\n"));
    }

    #[test]
    fn what_has_changed_of_files_alone_is_told() {
        let files = ["list \"blocked\": 2 entries now, of b\u{1b}.txt", "1 user changed, of users"];
        let answer = json!({"applied": true, "changes": [], "files": files, "warnings": []});
        let told =
            "2 files\n  list \"blocked\": 2 entries now, of b\\u{1b}.txt\n  1 user changed, of users\n";
        assert_eq!(report(&answer, false), format!("reloaded: {told}"));
        assert_eq!(report(&answer, true), format!("a reload would change {told}"));
        let both = json!({"changes": [{"key": "a", "from": "1", "to": "2"}], "files": ["f"]});
        assert_eq!(report(&both, false), "reloaded: 1 key and 1 file\n  a  1 -> 2\n  f\n");
    }

    #[test]
    fn a_reload_that_changes_nothing_says_so() {
        let answer = json!({"applied": true, "changes": [], "warnings": []});
        assert_eq!(report(&answer, false), "reloaded: no key has another value\n");
        assert_eq!(report(&answer, true), "a reload would change no key\n");
    }
}
