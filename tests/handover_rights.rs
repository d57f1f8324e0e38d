//! Whom a hand-over by a signal gives rights to: who has taken over a server that root started is to have root run nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use tempfile::TempDir;

use crate::handover_signal::{Started, children_of};
use crate::sandbox::{STRANGER, by_stranger, without_root};
use crate::support::process::copy_program;
use crate::support::relay::{Builder, binary, quoted};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};

/// A folder of the stranger's, for what the server makes.
fn place() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    chown(folder.path(), Some(STRANGER), Some(STRANGER)).expect("give the folder away");
    folder
}

/// A server whose place can be taken.
fn builder(place: &TempDir) -> Builder {
    let file = |name: &str| quoted(place.path().join(name).to_str().expect("UTF-8"));
    Relay::builder().set("server", "takeover", &file("takeover")).set("log", "access", &file("access"))
}

/// One that root starts, and that goes on as the stranger.
fn as_stranger(place: &TempDir) -> Builder {
    builder(place).set("server", "user", &quoted(&format!("{STRANGER}:{STRANGER}")))
}

fn give_away(path: &Path) {
    chown(path, Some(STRANGER), Some(STRANGER)).expect("give it away");
}

/// The program and its configuration are root's, and so are the folders on the way: the new server is the stranger again.
#[test]
fn a_server_of_another_user_hands_over_to_one_of_his() {
    if without_root(&test_name!()) {
        return;
    }
    let (place, origin) = (place(), Origin::echo());
    let mut old = as_stranger(&place).start();
    let before = Client::through(old.addr(), origin.addr);
    assert!(!old.log().contains("no signal can bring"), "{}", old.log());
    old.signal("USR2");
    let new = Started::by(&old);
    let status = fs::read_to_string(format!("/proc/{}/status", new.0)).expect("it runs");
    let stranger = [STRANGER; 4].map(|id| id.to_string()).join("\t");
    assert!(status.contains(&format!("Uid:\t{stranger}\n")), "{status}");
    Client::through(old.addr(), origin.addr);
    drop(before);
    wait::until_true("the end of the old server", PATIENCE, || !old.is_running());
}

/// Who has the server may have the program started, as root: whatever of it he could have replaced before keeps root from that.
#[test]
fn root_starts_nothing_that_the_servers_user_may_replace() {
    if without_root(&test_name!()) {
        return;
    }
    let origin = Origin::echo();
    let open = |builder: Builder, mode: u32| {
        fs::set_permissions(builder.directory(), Permissions::from_mode(0o755)).expect("chmod");
        let file = builder.directory().join("outflow.toml");
        let change = format!("chmod {mode:o} {}; exec \"$@\"", file.display());
        builder.under(&["sh", "-ec", &change, "sh"])
    };
    let with_program = |builder: Builder, make: &dyn Fn(&Path), gives: bool| {
        let folder = builder.directory().join("bin");
        fs::create_dir(&folder).expect("a folder");
        make(&folder.join("outflow"));
        if gives {
            give_away(&folder);
        }
        builder.program(folder.join("outflow"))
    };
    let copy = |path: &Path| copy_program(binary(), path);
    let his_copy = |path: &Path| {
        copy_program(binary(), path);
        give_away(path);
    };
    let link = |path: &Path| symlink(binary(), path).expect("a link");
    type Weakens<'a> = &'a dyn Fn(Builder) -> Builder;
    let weak: [(&str, Weakens<'_>); 6] = [
        ("a folder of the program", &|builder| with_program(open(builder, 0o644), &copy, true)),
        ("the program", &|builder| with_program(open(builder, 0o644), &his_copy, false)),
        ("a link to the program", &|builder| with_program(open(builder, 0o644), &link, true)),
        ("a folder of the configuration", &|builder| {
            give_away(builder.directory());
            builder
        }),
        ("the configuration, by others", &|builder| open(builder, 0o666)),
        ("the folder, by others", &|builder| {
            fs::set_permissions(builder.directory(), Permissions::from_mode(0o777)).expect("chmod");
            builder
        }),
    ];
    for (what, weaken) in weak {
        let place = place();
        let mut relay = weaken(as_stranger(&place)).start();
        relay.logged(&["WARN", "no signal can bring a hand-over about", "may replace"]);
        relay.signal("USR2");
        let line = relay.logged(&["ERROR", "no hand-over", "as root nothing is started by it"]);
        assert!(line.contains("64199:64199 may replace /"), "{what}: {line}");
        Client::through(relay.addr(), origin.addr);
        relay.signal("TERM");
        assert_eq!(relay.wait_exit(PATIENCE), Some(0), "{what}");
    }
    // What is found so keeps nobody from a hand-over who has nothing to gain by it: here all is root's, who stays root.
    let place = TempDir::new().expect("a folder");
    let relay = open(builder(&place), 0o666).start();
    relay.signal("USR2");
    let new = Started::by(&relay);
    drop(new);
}

/// What starts programs is not confined as the server is, and may be of the same user: nothing of that user writes to its memory.
#[test]
fn the_memory_of_what_starts_programs_is_roots() {
    if without_root(&test_name!()) {
        return;
    }
    let place = place();
    let builder = builder(&place).set("sandbox", "core_dumps", "true");
    give_away(builder.directory());
    let program = builder.directory().join("outflow");
    copy_program(binary(), &program);
    let relay = by_stranger(builder.program(program), &[]).start();
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}/mem")).expect("a file of it").uid();
    let beside = children_of(relay.pid());
    assert_eq!(beside.len(), 1);
    assert_eq!((owner(relay.pid()), owner(beside[0])), (STRANGER, 0));
}
