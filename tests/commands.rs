//! `outflow check`, `user`, `completions` and `man`: exit codes, files, and what they must not print.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};
use tempfile::TempDir;

use crate::support::relay::{binary, quoted, run_to_exit, run_with_input};
use crate::support::skip::without;
use crate::support::wait::{PATIENCE, until_true};
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
fn a_user_that_was_added_is_known() {
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
fn a_user_that_was_removed_is_unknown() {
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

/// Runs `outflow user ARGUMENTS --file FILE`.
fn user_with(arguments: &[&str], file: &Path) -> Output {
    let mut command = Command::new(binary());
    command.arg("user").args(arguments).arg("--file").arg(file);
    run_to_exit(command)
}

/// Whoever is set is set in one step, the password and the lines of others stay, and a new password leaves what was set.
#[test]
fn a_user_has_the_attributes_that_were_set() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("users.passwd");
    std::fs::write(&file, "# ours\n").expect("write");
    assert_eq!(code(&user("add", "ann", &file, "wonderland-1")), 0);
    assert_eq!(code(&user("add", "bob", &file, "builder-1")), 0);
    let set = |arguments: &[&str]| code(&user_with(&[&["set", "ann"], arguments].concat(), &file));
    let listed = || String::from_utf8(user_with(&["list"], &file).stdout).expect("UTF-8");
    assert_eq!(listed(), "ann\nbob\n");
    assert_eq!(set(&["--groups", "staff,night", "--limits", "gold", "--expires", "2099-01-31"]), 0);
    assert_eq!(listed(), "ann:groups=staff,night limits=gold expires=2099-01-31\nbob\n");
    assert_eq!(set(&["--disable"]), 0);
    assert_eq!(code(&user("verify", "ann", &file, "wonderland-1")), 1);
    assert_eq!(code(&user("add", "ann", &file, "wonderland-2")), 0);
    assert_eq!(listed(), "ann:groups=staff,night limits=gold expires=2099-01-31 disabled\nbob\n");
    assert_eq!(set(&["--enable", "--groups", "", "--limits", "", "--expires", "never"]), 0);
    assert_eq!((listed().as_str(), code(&user("verify", "ann", &file, "wonderland-2"))), ("ann\nbob\n", 0));
    assert_eq!(set(&["--expires", "2001-01-31"]), 0);
    assert_eq!(code(&user("verify", "ann", &file, "wonderland-2")), 1);
    assert!(std::fs::read_to_string(&file).expect("read").starts_with("# ours\n"));
}

#[test]
fn attributes_that_are_none_are_refused_and_change_nothing() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("users.passwd");
    assert_eq!(code(&user("add", "ann", &file, "wonderland-1")), 0);
    let before = std::fs::read_to_string(&file).expect("read");
    for (arguments, exit, words) in [
        (&["set", "ann"][..], 2, "--groups"),
        (&["set", "ann", "--expires", "soon"], 2, "YEAR-MONTH-DAY"),
        (&["set", "ann", "--groups", "a b"], 2, "cannot be a group"),
        (&["set", "ann", "--groups", "a,a"], 2, "named twice"),
        (&["set", "ann", "--limits", "a b"], 2, "cannot be a limit"),
        (&["set", "ann", "--enable", "--disable"], 2, "cannot be used with"),
        (&["set", "eve", "--disable"], 1, "no such user in the users file: \"eve\""),
    ] {
        let output = user_with(arguments, &file);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(code(&output) == exit && said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("read"), before);
    std::fs::write(&file, format!("{}:group=staff\n", before.trim_end())).expect("write");
    let output = user_with(&["list"], &file);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("users.passwd:1: user \"ann\"") && said.contains("did you mean \"groups\"?"),
        "{said}"
    );
}

/// Twelve at a time: once five stayed.
#[test]
fn users_added_side_by_side_are_all_kept() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("users.passwd");
    let names: Vec<String> = (10..22).map(|n| format!("user-{n}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| assert_eq!(code(&user("add", name, &file, "wonderland-1")), 0));
        }
    });
    let mut list = Command::new(binary());
    list.args(["user", "list", "--file"]).arg(&file);
    let listed = run_to_exit(list);
    assert_eq!(code(&listed), 0);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), names.join("\n") + "\n");
}

#[test]
fn listing_a_users_file_that_is_not_there_fails() {
    let mut list = Command::new(binary());
    list.args(["user", "list", "--file", "/nowhere/users"]);
    let output = run_to_exit(list);
    assert_eq!((code(&output), output.stdout.len()), (1, 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/users"));
}

/// `outflow user add alice` on a terminal of its own.
struct Prompted {
    child: Child,
    /// What the user's keyboard and screen are.
    screen: File,
    /// The terminal itself, for its settings.
    terminal: File,
    seen: Vec<u8>,
}

impl Prompted {
    fn start(file: &Path, typed_ahead: &[u8]) -> Prompted {
        let pty = openpty(None, None).expect("a terminal");
        let (mut screen, terminal) = (File::from(pty.master), File::from(pty.slave));
        screen.write_all(typed_ahead).expect("type");
        let mut command = Command::new(binary());
        command.args(["user", "add", "alice", "--file"]).arg(file);
        let stdin = Stdio::from(terminal.try_clone().expect("another descriptor"));
        let child = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start");
        Prompted { child, screen, terminal, seen: Vec::new() }
    }

    fn await_text(&mut self, text: &str) {
        let mut byte = [0];
        while !self.seen.ends_with(text.as_bytes()) {
            self.screen.read_exact(&mut byte).expect("read the screen");
            self.seen.push(byte[0]);
        }
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.terminal).expect("settings").local_flags.contains(LocalFlags::ECHO)
    }
}

/// The prompt once came before the end of the echo, and what was typed before it was the password.
#[test]
fn a_password_is_not_shown_as_it_is_typed() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("users.passwd");
    let mut prompted = Prompted::start(&file, b"too early\ntoo early\n");
    for prompt in ["Password: ", "Again: "] {
        prompted.await_text(prompt);
        assert!(!prompted.echoes(), "what is typed at {prompt:?} shows");
        prompted.screen.write_all(b"wonderland-1\n").expect("type");
    }
    assert!(prompted.child.wait().expect("wait").success());
    assert!(prompted.echoes(), "the terminal stays without echo");
    assert!(!String::from_utf8_lossy(&prompted.seen).contains("wonderland-1"));
    assert_eq!(code(&user("verify", "alice", &file, "wonderland-1")), 0);
}

#[test]
fn an_interrupted_prompt_restores_the_echo() {
    let directory = TempDir::new().expect("a directory");
    let mut prompted = Prompted::start(&directory.path().join("users.passwd"), b"");
    prompted.await_text("Password: ");
    let interrupted = Command::new("sh").args(["-c", &format!("kill -INT {}", prompted.child.id())]).status();
    assert!(interrupted.expect("run kill").success());
    let status = prompted.child.wait().expect("wait");
    assert_eq!(status.signal(), Some(2), "SIGINT");
    assert!(prompted.echoes());
}

#[test]
fn a_name_that_breaks_the_file_is_refused() {
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
fn check_says_whether_a_configuration_is_good() {
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

/// Nothing was once said of a file by which nobody could log in, or to which anybody could add himself.
#[test]
fn a_users_file_that_is_empty_or_open_to_others_is_warned_of() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("users.passwd");
    std::fs::write(&file, "# nobody yet\n").expect("write");
    std::fs::set_permissions(&file, Permissions::from_mode(0o666)).expect("chmod");
    let mut check = Command::new(binary());
    check.args(["check", "--users"]).arg(&file);
    let output = run_to_exit(check);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(code(&output), 0, "{said}");
    assert!(said.contains("it has no user") && said.contains("others may write it (mode 0666)"), "{said}");

    let users = quoted(file.to_str().expect("UTF-8"));
    let relay =
        Relay::builder().set("auth", "methods", "[\"password\"]").set("auth", "users", &users).start();
    for said in ["it has no user", "others may write it (mode 0666)"] {
        until_true("the warning", PATIENCE, || relay.log().contains(said));
    }
}

/// The script that completes the command line in a shell.
fn completions(shell: &str) -> String {
    let mut command = Command::new(binary());
    command.args(["completions", shell]);
    let output = run_to_exit(command);
    assert_eq!(code(&output), 0, "{shell}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Each shell reads its script where there is such a shell; what the script names is looked for anywhere.
#[test]
fn completions_are_scripts_of_their_shells() {
    let directory = TempDir::new().expect("a directory");
    for (shell, only_read) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = completions(shell);
        for named in
            ["completions", "log-level", "splice", "json", "sessions", "dry-run", "token-file", "ready"]
        {
            assert!(script.contains(named), "{shell}: {named}");
        }
        let file = directory.path().join(shell);
        std::fs::write(&file, script).expect("write the script");
        match Command::new(shell).arg(only_read).arg(&file).output() {
            Ok(read) => assert!(read.status.success() && read.stderr.is_empty(), "{shell}: {read:?}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{shell}: {error}"),
        }
    }
    let mut unknown = Command::new(binary());
    unknown.args(["completions", "tcsh"]);
    assert_eq!(code(&run_to_exit(unknown)), 2);
}

#[test]
fn bash_completes_the_words_that_a_flag_may_be() {
    for (words, expected) in [
        (["run", "--relay", "s"], "splice"),
        (["sessions", "--state", "r"], "relaying"),
        (["sessions", "--command", "u"], "udp_associate"),
        (["sessions", "--sort", "c"], "client"),
    ] {
        let [command, flag, typed] = words;
        let line = format!(
            "COMP_WORDS=(outflow {command} {flag} {typed}) COMP_CWORD=3; _outflow outflow {typed} {flag}; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("{}\n{line}", completions("bash"))]);
        let output = run_to_exit(bash);
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{expected}\n"), "{words:?} {output:?}");
    }
}

/// The names of all commands as the help tells them, with the words before them joined by `-`.
fn commands(words: &[&str]) -> Vec<String> {
    let mut command = Command::new(binary());
    command.args(words).arg("--help");
    let help = String::from_utf8(run_to_exit(command).stdout).expect("UTF-8");
    let (_, listed) = help.split_once("\nCommands:\n").unwrap_or_default();
    let listed = listed.lines().take_while(|line| !line.is_empty());
    // A line of help that goes on in the next begins further right.
    let named = listed.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let inner = named.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let deeper = inner.flat_map(|name| commands(&[words, &[name]].concat()));
    [["outflow"].iter().chain(words).copied().collect::<Vec<_>>().join("-")]
        .into_iter()
        .chain(deeper)
        .collect()
}

/// The manual has a page for each command and no other, and man shows it without a warning.
#[test]
fn each_command_has_its_page_in_the_manual() {
    let directory = TempDir::new().expect("a directory");
    let folder = directory.path().join("made/man1");
    let mut man = Command::new(binary());
    man.arg("man").arg(&folder);
    assert_eq!(code(&run_to_exit(man)), 0);
    let entries = std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry"));
    let mut pages: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
    pages.sort();
    let mut expected: Vec<String> = commands(&[]).iter().map(|name| format!("{name}.1")).collect();
    expected.sort();
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(pages, expected);

    let mut first = Command::new(binary());
    first.arg("man");
    let printed = run_to_exit(first).stdout;
    assert_eq!(printed, std::fs::read(folder.join("outflow.1")).expect("read"));

    if without(&test_name!(), "man", "man-db") {
        return;
    }
    for page in pages {
        let mut man = Command::new("man");
        man.args(["--warnings", "--encoding=UTF-8", "--local-file"]).arg(folder.join(&page));
        let shown = run_to_exit({
            man.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8");
            man
        });
        let (text, warnings) =
            (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
        assert!(shown.status.success() && warnings.is_empty(), "{page}: {warnings}");
        for section in ["NAME", "SYNOPSIS", "EXIT STATUS"] {
            assert!(text.contains(section), "{page}: no {section} in {text}");
        }
        assert!(text.contains(page.trim_end_matches(".1")), "{page}: {text}");
    }
}

/// A folder that cannot be made is said, and so is a page that cannot be written.
#[test]
fn a_manual_that_cannot_be_written_is_said() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("write");
    let mut man = Command::new(binary());
    man.arg("man").arg(&file);
    let output = run_to_exit(man);
    assert_eq!(code(&output), 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains(file.to_str().expect("UTF-8")));
}
