//! A hand-over between servers of different users, and whose rights are named where they do not suffice.

use std::os::unix::fs::chown;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::handover_signal::{Started, children_of};
use crate::sandbox::{STRANGER, as_stranger, by_stranger, of_all_threads, of_stranger, without_root};
use crate::support::netns::Machine;
use crate::support::relay::{Builder, quoted};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};

/// Where servers ask for each other's place: a stranger's folder.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let folder = TempDir::with_prefix("outflow-place-").expect("a temporary directory");
        chown(folder.path(), Some(STRANGER), Some(STRANGER)).expect("give the folder away");
        Place(folder)
    }

    fn with(&self, builder: Builder) -> Builder {
        let path = quoted(self.0.path().join("takeover").to_str().expect("UTF-8"));
        builder.set("server", "takeover", &path)
    }

    /// One that is to take the place of another.
    fn next(&self, builder: Builder, before: &Relay) -> Builder {
        self.with(builder).listen(&[&before.addr().to_string()]).argument("--takeover")
    }
}

fn stranger_fours() -> String {
    [STRANGER; 4].map(|id| id.to_string()).join(" ")
}

/// Root types it for a server that goes on as another user: of a server that was root's, whose socket stays root's, of one that is the
/// user's by then, and of one that was the user's all the time.
#[test]
fn root_takes_a_place_for_another_user() {
    if without_root(&test_name!()) {
        return;
    }
    let origin = Origin::echo();
    for first in [Relay::builder as fn() -> Builder, as_stranger] {
        let place = Place::new();
        let mut serving = place.with(first()).start();
        for _ in 0..2 {
            let next = place.next(as_stranger(), &serving).start();
            let mut old = std::mem::replace(&mut serving, next);
            assert_eq!(old.wait_exit(PATIENCE), Some(0));
            assert_eq!(of_all_threads(&serving, "Uid"), stranger_fours());
            let mut client = Client::through(serving.addr(), origin.addr);
            client.send(b"echo");
            client.expect(b"echo");
        }
    }
}

/// Who may not ask is told who may, and what does it otherwise.
#[test]
fn who_may_not_ask_is_told_who_may() {
    if without_root(&test_name!()) {
        return;
    }
    let place = Place::new();
    let old = place.with(Relay::builder()).start();
    let output = by_stranger(place.next(of_stranger(), &old), &[]).run_to_exit();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["user 64199 may not connect to", "user and root", "SIGUSR2"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    // The same server that is of another user is no surprise to check, as SIGUSR2 starts one there.
    let output = place.with(as_stranger()).check();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warning:") && said.contains("a socket of user 0 stands there"), "{said}");
    // It is let in by the file, and not by the server.
    let path = place.0.path().join("takeover");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("chmod");
    let output = by_stranger(place.next(of_stranger(), &old), &[]).run_to_exit();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the other server goes on: user 64199 may not ask"), "{said}");
    old.logged(&["WARN", "asked for and refused", "user 64199 may not ask, but user root (uid 0)"]);
}

/// A server of a third user is not trusted, whoever typed it.
#[test]
fn a_server_of_another_user_is_not_taken_over() {
    if without_root(&test_name!()) {
        return;
    }
    let place = Place::new();
    let old = place.with(as_stranger()).start();
    let output = place.next(Relay::builder(), &old).run_to_exit();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in
        ["user 64199 listens at", "user root (uid 0) takes over from itself and root alone", "SIGUSR2"]
    {
        assert!(said.contains(words), "{words} in {said}");
    }
    old.logged(&["no hand-over", "before it was ready, and says why on standard error"]);
}

/// Rights that lack are those of the user whom the server has become.
#[test]
fn errors_of_rights_say_whose_were_used() {
    if without_root(&test_name!()) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder of root's");
    let inside = |name: &str| quoted(folder.path().join(name).to_str().expect("UTF-8"));
    for (table, key, name) in [
        ("log", "access", "access"),
        ("policy", "learn", "learned"),
        ("server", "state", "."),
        ("server", "takeover", "takeover"),
    ] {
        let output = as_stranger().set(table, key, &inside(name)).check();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{key}: {said}");
        for words in [&format!("[{table}] key `{key}`"), "Permission denied", "as user 64199", "namei -l"] {
            assert!(said.contains(words), "{words} in {said}");
        }
    }
    Machine::new().inside(|| {
        for (table, key) in [("server", "listen"), ("admin", "listen")] {
            let builder = of_stranger().listen(&[]).set("server", "listen", "[\"127.0.0.1:1080\"]");
            let output = by_stranger(builder.set(table, key, "[\"127.0.0.1:81\"]"), &[]).check();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            for words in [&format!("[{table}] key `{key}`"), "as user 64199", "CAP_NET_BIND_SERVICE"] {
                assert!(said.contains(words), "{words} in {said}");
            }
        }
    });
}

/// What starts programs keeps of root's rights what a configuration may need: the next server has a low port more, and none could
/// load a module.
#[test]
fn what_starts_programs_has_no_right_that_no_server_needs() {
    if without_root(&test_name!()) {
        return;
    }
    const SYS_MODULE: u64 = 1 << 16;
    const NET_BIND_SERVICE: u64 = 1 << 10;
    let place = Place::new();
    Machine::new().inside(|| {
        // The program and its configuration are root's: else root would start nothing by them.
        let user = quoted(&format!("{STRANGER}:{STRANGER}"));
        let access = quoted(place.0.path().join("access").to_str().expect("UTF-8"));
        let builder = place.with(Relay::builder()).set("server", "user", &user).set("log", "access", &access);
        let mut old = builder.listen(&[]).set("server", "listen", "[\"127.0.0.1:1080\"]").start();
        let beside = children_of(old.pid())[0];
        let field = |name: &str| {
            let status = std::fs::read_to_string(format!("/proc/{beside}/status")).expect("it runs");
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.expect("a field").trim().to_owned()
        };
        wait::until_true("its rights are given up", PATIENCE, || field("NoNewPrivs") == "1");
        for set in ["CapPrm", "CapBnd"] {
            wait::until_true("its rights are fewer", PATIENCE, || {
                u64::from_str_radix(&field(set), 16).expect("bits") & (SYS_MODULE | NET_BIND_SERVICE)
                    == NET_BIND_SERVICE
            });
        }
        old.write(&[("server", "listen", "[\"127.0.0.1:1080\", \"127.0.0.1:81\"]")]);
        old.signal("USR2");
        let new = Started::by(&old);
        std::net::TcpStream::connect("127.0.0.1:81").expect("it is listened on");
        new.signal(Signal::SIGTERM);
        new.wait_exit();
    });
}
