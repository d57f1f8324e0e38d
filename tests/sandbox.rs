//! What a server has given up once it runs, and what it says of what it cannot have any more.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::support::netns::Machine;
use crate::support::process::copy_program;
use crate::support::relay::{Builder, binary, quoted};
use crate::support::skip::skip;
use crate::support::{Client, Origin, Relay};

/// A user without an account, whom nothing on this machine belongs to.
pub(crate) const STRANGER: u32 = 64_199;
/// Bits of the sets of capabilities in /proc/PID/status (linux/capability.h).
const NET_BIND_SERVICE: u64 = 1 << 10;
const SYS_RESOURCE: u64 = 1 << 24;

/// Whether `test` is not run, as it needs root of this machine; it is noted then.
pub(crate) fn without_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    // In a namespace of users there may be no other user.
    let maps_all = fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"));
    if !(is_root && maps_all) {
        skip(test, "it takes root, who can become another user");
    }
    !(is_root && maps_all)
}

/// A server whose folder and program are a stranger's.
pub(crate) fn of_stranger() -> Builder {
    let builder = Relay::builder();
    chown(builder.directory(), Some(STRANGER), Some(STRANGER)).expect("give the folder away");
    let program = builder.directory().join("outflow");
    // The folders above the tests' own program may be closed to others.
    copy_program(binary(), &program);
    builder.program(program)
}

/// A server that root starts, and that goes on as a stranger.
pub(crate) fn as_stranger() -> Builder {
    of_stranger().set("server", "user", &quoted(&format!("{STRANGER}:{STRANGER}")))
}

/// One that the stranger starts, with such capabilities as these arguments of setpriv(1) give.
pub(crate) fn by_stranger(builder: Builder, capabilities: &[&str]) -> Builder {
    let id = STRANGER.to_string();
    let ids = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
    builder.under(&[&ids[..], capabilities].concat())
}

/// A field of the status of each thread of a process; they are never of two minds.
pub(crate) fn of_all_threads(relay: &Relay, field: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{}/task", relay.pid())).expect("the threads");
    let of_thread = |task: PathBuf| {
        let status = fs::read_to_string(task.join("status")).expect("the status of a thread");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{field} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let all: Vec<String> = tasks.map(|task| of_thread(task.expect("a thread").path())).collect();
    assert!(all.len() > 3 && all.iter().all(|one| *one == all[0]), "{field}: {all:?}");
    all[0].clone()
}

fn capabilities(relay: &Relay, set: &str) -> u64 {
    u64::from_str_radix(&of_all_threads(relay, set), 16).expect("a set of bits")
}

/// Those of these capabilities that root has here: a container may have been started without some.
fn had(of: u64) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("our status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).expect("our capabilities");
    of & u64::from_str_radix(line.trim(), 16).expect("a set of bits")
}

fn reaches(relay: &Relay, origin: &Origin) {
    assert_eq!(Client::greeted(relay.addr()).request_ip(origin.addr).rep, 0);
}

/// No thread is left with a right of root's, and the server serves.
#[test]
fn who_root_starts_goes_on_as_another_user() {
    if without_root(&test_name!()) {
        return;
    }
    let relay = as_stranger().set("server", "relay", "\"copy\"").start();
    let stranger = [STRANGER; 4].map(|id| id.to_string()).join(" ");
    assert_eq!(of_all_threads(&relay, "Uid"), stranger);
    assert_eq!(of_all_threads(&relay, "Gid"), stranger);
    assert_eq!(of_all_threads(&relay, "Groups"), STRANGER.to_string());
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(capabilities(&relay, set), 0, "{set}");
    }
    assert_eq!(of_all_threads(&relay, "NoNewPrivs"), "1");
    relay.logged(&["confined", "user 64199:64199", "no capabilities"]);
    reaches(&relay, &Origin::echo());
    assert_eq!(fs::metadata(relay.access_path()).expect("the records").permissions().mode() & 0o777, 0o640);
}

/// Ports below 1024 need one capability, which is kept for them, and pipes another.
#[test]
fn what_is_needed_is_kept_and_nothing_else() {
    if without_root(&test_name!()) {
        return;
    }
    Machine::new().inside(|| {
        let mut relay = as_stranger().listen(&[]).set("server", "listen", "[\"127.0.0.1:81\"]").start();
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(capabilities(&relay, set), had(NET_BIND_SERVICE | SYS_RESOURCE), "{set}");
        }
        assert_eq!(capabilities(&relay, "CapAmb") | capabilities(&relay, "CapInh"), 0);
        // A reload opens another one.
        relay.reload(&[("server", "listen", "[\"127.0.0.1:81\", \"127.0.0.1:82\"]")]);
        relay.logged(&["the configuration was read anew"]);
        std::net::TcpStream::connect("127.0.0.1:82").expect("it is listened on");
    });
}

/// What was given up stays so: a reload that needs it changes nothing, and says which key needs what.
#[test]
fn a_reload_that_needs_what_was_given_up_is_refused() {
    if without_root(&test_name!()) {
        return;
    }
    Machine::new().inside(|| {
        let mut relay = as_stranger().listen(&[]).set("server", "listen", "[\"127.0.0.1:1081\"]").start();
        relay.write(&[("server", "listen", "[\"127.0.0.1:1081\", \"127.0.0.1:82\"]")]);
        relay.signal("HUP");
        let line = relay.logged(&["CAP_NET_BIND_SERVICE"]);
        for words in ["outflow.toml:", "[server] key `listen`", "gave up as it started: restart"] {
            assert!(line.contains(words), "{words} in {line}");
        }
        relay.write(&[("server", "listen", "[\"127.0.0.1:1081\"]")]);
        relay.put_rules(&[]);
        relay.reload(&[("timeouts", "idle", "\"100s\"")]);
        assert_eq!(of_all_threads(&relay, "NoNewPrivs"), "1");
    });
}

/// Root changes the mode of any file, whatever Landlock says: the call is there for who has a unix socket to give to others.
#[test]
fn root_without_unix_sockets_changes_no_file_by_its_path() {
    if without_root(&test_name!()) {
        return;
    }
    let table = "address = \"127.0.0.1:0\"";
    let mut relay = Relay::builder().listen(&[]).listeners(&[table]).start();
    let path = relay.access_path().with_file_name("socks.sock");
    relay.put_listeners(&[table, &format!("address = \"unix:{}\"", path.display())]);
    relay.write(&[]);
    relay.signal("HUP");
    let line = relay.logged(&["takes chmod(2)"]);
    assert!(line.contains("[[listener]] 2 key `address`") && line.contains("`sandbox.seccomp`"), "{line}");
}

/// Root that goes on as root has its files, and no other right.
#[test]
fn root_without_another_user_gives_up_what_is_not_for_files() {
    if without_root(&test_name!()) {
        return;
    }
    let files = 1 << 0 | 1 << 1 | 1 << 3;
    let relay = Relay::builder().start();
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(capabilities(&relay, set), had(files | SYS_RESOURCE), "{set}");
    }
    reaches(&relay, &Origin::echo());
    let relay = Relay::builder().set("sandbox", "capabilities", "false").start();
    assert_ne!(capabilities(&relay, "CapEff") & !(files | SYS_RESOURCE), 0, "nothing is given up");
    assert_eq!(of_all_threads(&relay, "NoNewPrivs"), "1");
}

/// Whoever is not root becomes nobody else, and a name that nobody has is nobody's.
#[test]
fn a_user_that_cannot_be_had_keeps_it_from_its_start() {
    let said = |builder: Builder| {
        let output = builder.run_to_exit();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let nobody = |builder: Builder| builder.set("server", "user", "\"no-such-user-here\"");
    let text = said(nobody(Relay::builder()));
    assert!(text.contains("[server] key `user`: there is no user \"no-such-user-here\""), "{text}");
    let checked = nobody(Relay::builder()).check();
    let checked = String::from_utf8(checked.stderr).expect("UTF-8");
    assert!(checked.contains("[server] key `user`: there is no user \"no-such-user-here\""), "{checked}");
    if without_root(&test_name!()) {
        return;
    }
    let text = said(by_stranger(of_stranger().set("server", "user", "\"root\""), &[]));
    assert!(text.contains("[server] key `user`: nobody but root can go on as root"), "{text}");
}

/// Who is that user already, as a service manager may have seen to, becomes nobody.
#[test]
fn who_is_the_user_already_goes_on() {
    if without_root(&test_name!()) {
        return;
    }
    let ambient = ["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"];
    let relay = by_stranger(as_stranger(), &ambient).start();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(capabilities(&relay, set), 0, "{set}: nothing needs it");
    }
    reaches(&relay, &Origin::echo());
}

/// A file with one line that none but root may read.
fn roots_own(directory: &Path, name: &str, line: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, line).expect("write a file");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
    path
}

/// Files that root alone may read are read before the rights of root are gone. A reload cannot read them, which is said at once.
#[test]
fn files_of_roots_are_read_before_its_rights_are_gone() {
    if without_root(&test_name!()) {
        return;
    }
    let builder = as_stranger();
    let list = roots_own(builder.directory(), "blocked.txt", "127.0.0.1\n");
    let file = quoted(list.to_str().expect("UTF-8"));
    let builder = builder.set("[list]", "name", "\"blocked\"").set("[list]", "file", &file);
    let mut relay = builder
        .rules(&[
            "name = \"blocked\"\nto = [\"@blocked\"]\naction = \"deny\"",
            "name = \"rest\"\naction = \"allow\"",
        ])
        .start();
    let line = relay.logged(&["[[list]] 1 key `file`", "is for root alone"]);
    assert!(line.contains("WARN") && line.contains("no reload can read it"), "{line}");
    let origin = Origin::echo();
    assert_eq!(Client::greeted(relay.addr()).request_ip(origin.addr).rep, 2, "it was read");
    fs::write(&list, "127.0.0.1\n127.0.0.2\n").expect("write it");
    relay.signal("HUP");
    relay.logged(&["blocked.txt", "Permission denied"]);
    chown(&list, Some(STRANGER), None).expect("chown");
    relay.reload(&[("timeouts", "idle", "\"101s\"")]);
    assert_eq!(Client::greeted(relay.addr()).request_ip(origin.addr).rep, 2);
}

/// The configuration's own file is one of them, though no key names it.
#[test]
fn a_configuration_of_roots_is_told_before_a_reload_meets_it() {
    if without_root(&test_name!()) {
        return;
    }
    let builder = as_stranger();
    let close = format!("chmod 600 {}; exec \"$@\"", builder.directory().join("outflow.toml").display());
    let relay = builder.under(&["sh", "-ec", &close, "sh"]).start();
    let line = relay.logged(&["WARN", "outflow.toml is for root alone"]);
    assert!(line.contains("[server] key `user`") && line.contains("no reload can read it"), "{line}");
    relay.signal("HUP");
    relay.logged(&["ERROR", "outflow.toml", "Permission denied"]);
}

/// What is in its memory stays there. The files of a process that may leave a core dump belong to its user, others' to root.
#[test]
fn core_dumps_are_off_where_nobody_wants_them() {
    if without_root(&test_name!()) {
        return;
    }
    let owner =
        |relay: &Relay| fs::metadata(format!("/proc/{}/environ", relay.pid())).expect("a file of it").uid();
    let relay = as_stranger().start();
    assert_eq!(owner(&relay), 0);
    let relay = as_stranger().set("sandbox", "core_dumps", "true").start();
    assert_eq!(owner(&relay), STRANGER);
    relay.logged(&["confined", "; core dumps"]);
}

/// What the user of the server may not do, `check` refuses as `run` does, though root asks.
#[test]
fn check_says_of_the_user_what_run_says() {
    if without_root(&test_name!()) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder of root's");
    let builder = || as_stranger().set("server", "state", &quoted(folder.path().to_str().expect("UTF-8")));
    for output in [builder().check(), builder().run_to_exit()] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("[server] key `state`") && said.contains("ermission denied"), "{said}");
    }
    let output = as_stranger().check();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    let last = printed.lines().last().unwrap_or_default();
    assert!(last.starts_with("# Confined on this machine: user 64199:64199; "), "{last}");
    printed.parse::<toml::Table>().expect("TOML all the same");
}

/// A password that root changes is obeyed by the server that is another user's by then, confined to its files.
#[test]
fn a_password_that_changes_is_obeyed_by_the_servers_user() {
    if without_root(&test_name!()) {
        return;
    }
    let builder = as_stranger().users(&[("ann", b"first")]);
    let file = builder.directory().join("users.passwd");
    chown(&file, Some(0), Some(STRANGER)).expect("chgrp");
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("chmod");
    let relay = builder.start();
    let login = |password: &[u8]| Client::connect(relay.addr()).login(b"ann", password);
    assert_eq!((login(b"first"), login(b"second") == 0), (0, false));
    let mut command = std::process::Command::new(binary());
    command.args(["user", "add", "ann", "--file"]).arg(&file);
    let output = crate::support::relay::run_with_input(command, b"second\n");
    assert!(output.status.success(), "{output:?}");
    let kept = fs::metadata(&file).expect("the users file");
    assert_eq!((kept.uid(), kept.gid(), kept.mode() & 0o777), (0, STRANGER, 0o640));
    relay.logged(&["the users file has changed and was read"]);
    assert_eq!((login(b"second"), login(b"first") == 0), (0, false));
}
