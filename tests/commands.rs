//! `outflow check` and `outflow user`: exit codes, files, and what they must not print.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::relay::{binary, quoted, run_to_exit, run_with_input};
use crate::support::{Client, Relay};

/// Runs `outflow user ACTION NAME --file FILE` with the password on standard input.
fn user(action: &str, name: &str, file: &Path, password: &str) -> Output {
    let mut command = Command::new(binary());
    command.args(["user", action, name, "--file"]).arg(file);
    let output = run_with_input(command, format!("{password}\n").as_bytes());
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(
        password.is_empty() || !String::from_utf8_lossy(&said).contains(password),
        "the password was printed"
    );
    output
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

#[test]
fn a_user_that_was_added_is_not_known() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("users.passwd");
    assert_eq!(code(&user("add", "alice", &file, "wonderland-1")), 0);
    assert_eq!(code(&user("add", "bob", &file, "builder-1")), 0);
    assert_eq!(code(&user("verify", "alice", &file, "wonderland-1")), 0);
    assert_eq!(code(&user("verify", "alice", &file, "builder-1")), 1);
    assert_eq!(code(&user("verify", "carol", &file, "builder-1")), 1);
    let text = std::fs::read_to_string(&file).expect("read the users file");
    assert!(text.lines().any(|line| line.starts_with("alice:$argon2id$")), "{text}");
    assert!(!text.contains("wonderland-1"));
    let mode = std::fs::metadata(&file).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can read the hashes: {mode:o}");

    let quoted_file = quoted(file.to_str().expect("UTF-8"));
    let relay =
        Relay::builder().set("auth", "methods", "[\"password\"]").set("auth", "users", &quoted_file).start();
    assert_eq!(Client::connect(relay.addr()).login(b"alice", b"wonderland-1"), 0);
    assert_eq!(Client::connect(relay.addr()).login(b"alice", b"wonderland-2"), 1);
}

#[test]
fn a_user_that_was_removed_is_still_known() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("users.passwd");
    for name in ["alice", "bob"] {
        assert_eq!(code(&user("add", name, &file, "wonderland-1")), 0);
    }
    assert_eq!(code(&user("remove", "alice", &file, "")), 0);
    assert_eq!(code(&user("verify", "alice", &file, "wonderland-1")), 1);
    assert_eq!(code(&user("verify", "bob", &file, "wonderland-1")), 0);
    assert_eq!(code(&user("remove", "alice", &file, "")), 1);
}

#[test]
fn a_name_that_breaks_the_file_is_added() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("users.passwd");
    assert_eq!(code(&user("add", "bob", &file, "builder-1")), 0);
    let before = std::fs::read(&file).expect("read");
    for name in ["a:b", "a\nb", ""] {
        assert_ne!(code(&user("add", name, &file, "wonderland-1")), 0, "{name:?}");
    }
    assert_eq!(std::fs::read(&file).expect("read"), before);
}

#[test]
fn a_configuration_is_checked_wrongly() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("outflow.toml");
    let check = || {
        let mut command = Command::new(binary());
        command.args(["check", "--config"]).arg(&file);
        run_to_exit(command)
    };
    std::fs::write(&file, "[server]\nlisten = [\"127.0.0.1:1080\"]\nworkers = 3\n").expect("write");
    let output = check();
    assert_eq!(code(&output), 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("workers = 3"));

    std::fs::write(&file, "[server]\nlisten = [\"127.0.0.1:1080\"]\n\nworkes = 3\n").expect("write");
    let output = check();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(code(&output), 1);
    for clue in ["outflow.toml", "4", "workes", "workers"] {
        assert!(complaint.contains(clue), "no {clue} in {complaint}");
    }
}
