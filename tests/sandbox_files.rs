//! Files that a server may open once it runs, and what it says of others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::escape::without_landlock;
use crate::support::relay::{Builder, quoted};
use crate::support::{Client, Origin, Relay};

fn folder() -> TempDir {
    TempDir::with_prefix("outflow-test-").expect("a temporary directory")
}

/// A server that has a list of what nobody may reach, at this path.
fn with_list(path: &PathBuf, text: &str) -> Builder {
    fs::write(path, text).expect("write the list");
    let rules =
        ["name = \"blocked\"\nto = [\"@blocked\"]\naction = \"deny\"", "name = \"rest\"\naction = \"allow\""];
    let file = quoted(path.to_str().expect("UTF-8"));
    Relay::builder().set("[list]", "name", "\"blocked\"").set("[list]", "file", &file).rules(&rules)
}

fn answer(relay: &Relay, origin: &Origin) -> u8 {
    Client::greeted(relay.addr()).request_ip(origin.addr).rep
}

/// A reload that is refused; the line that says why.
fn refused(relay: &Relay, words: &[&str]) -> String {
    relay.signal("HUP");
    relay.logged(words)
}

/// Editors and deployments put another file in the place of one: its folder is what counts.
#[test]
fn a_file_that_is_replaced_is_found_again() {
    if without_landlock(&test_name!()) {
        return;
    }
    let (folder, origin) = (folder(), Origin::echo());
    let list = folder.path().join("blocked.txt");
    let mut relay = with_list(&list, "192.0.2.1\n").start();
    relay.logged(&["confined", "no other files"]);
    assert_eq!(answer(&relay, &origin), 0);
    let next = folder.path().join("next");
    fs::write(&next, "127.0.0.1\n").expect("write the next list");
    fs::rename(&next, &list).expect("put it in the place of the other");
    relay.reload(&[]);
    assert_eq!(answer(&relay, &origin), 2);
}

/// So do links that are turned to another folder beside, as volumes of orchestrators are.
#[test]
fn a_link_that_is_turned_is_followed_within_its_folder() {
    if without_landlock(&test_name!()) {
        return;
    }
    let (folder, origin) = (folder(), Origin::echo());
    let at = |name: &str| folder.path().join(name);
    for (name, text) in [("v1", "192.0.2.1\n"), ("v2", "127.0.0.1\n")] {
        fs::create_dir(at(name)).expect("a version");
        fs::write(at(name).join("blocked.txt"), text).expect("its list");
    }
    let turn = |to: &str| {
        symlink(to, at("turned")).expect("a link");
        fs::rename(at("turned"), at("..data")).expect("in the place of the other");
    };
    turn("v1");
    symlink("..data/blocked.txt", at("list")).expect("a link");
    let rules =
        ["name = \"blocked\"\nto = [\"@blocked\"]\naction = \"deny\"", "name = \"rest\"\naction = \"allow\""];
    let file = quoted(at("list").to_str().expect("UTF-8"));
    let builder = Relay::builder().set("[list]", "name", "\"blocked\"").set("[list]", "file", &file);
    let mut relay = builder.rules(&rules).start();
    assert_eq!(answer(&relay, &origin), 0);
    turn("v2");
    relay.reload(&[]);
    assert_eq!(answer(&relay, &origin), 2);
}

/// Whatever names a file that the server cannot open any more is refused, each with its key.
#[test]
fn a_reload_with_files_elsewhere_is_refused() {
    if without_landlock(&test_name!()) {
        return;
    }
    let (folder, elsewhere, origin) = (folder(), folder(), Origin::echo());
    let mut relay = with_list(&folder.path().join("blocked.txt"), "192.0.2.1\n").start();
    let other = elsewhere.path().join("blocked.txt");
    fs::write(&other, "127.0.0.1\n").expect("another list");
    let was = quoted(folder.path().join("blocked.txt").to_str().expect("UTF-8"));
    relay.write(&[("[list]", "file", &quoted(other.to_str().expect("UTF-8")))]);
    let line = refused(&relay, &["[[list]] 1 key `file`", "blocked.txt"]);
    assert!(line.contains("none of the files that the server lets itself open"), "{line}");
    relay.write(&[("[list]", "file", &was)]);
    for (table, key, name) in [
        ("log", "access", "access.jsonl"),
        ("policy", "learn", "learned.jsonl"),
        ("admin", "listen", "admin.sock"),
    ] {
        let path = elsewhere.path().join(name);
        let path = path.to_str().expect("UTF-8");
        let value = if key == "listen" { quoted(&format!("unix:{path}")) } else { quoted(path) };
        relay.write(&[(table, key, &value)]);
        let line = refused(&relay, &[&format!("[{table}] key `{key}`")]);
        assert!(line.contains("since it started: restart it"), "{line}");
        relay.forget(table, key);
    }
    assert!(fs::read_dir(elsewhere.path()).expect("a folder").count() == 1, "nothing is made there");
    relay.reload(&[("timeouts", "idle", "\"100s\"")]);
    assert_eq!(answer(&relay, &origin), 0);
}

/// Of a folder that holds others' files, too, one file is open to the server. Another that takes its place is not, and that is said.
#[test]
fn a_file_that_is_replaced_among_those_of_others_is_told() {
    if without_landlock(&test_name!()) {
        return;
    }
    let home = folder();
    let list = home.path().join("blocked.txt");
    let builder = with_list(&list, "192.0.2.1\n").environment(vec![("HOME", home.path().into())]);
    let mut relay = builder.start();
    let origin = Origin::echo();
    // The same file with other contents is.
    fs::write(&list, "127.0.0.1\n").expect("write the list");
    relay.reload(&[]);
    assert_eq!(answer(&relay, &origin), 2);
    fs::write(home.path().join("next"), "192.0.2.1\n").expect("write the next list");
    fs::rename(home.path().join("next"), &list).expect("put it in the place of the other");
    let line = refused(&relay, &["[[list]] 1 key `file`"]);
    assert!(line.contains("another file stands at") && line.contains("a folder of its own"), "{line}");
    assert_eq!(answer(&relay, &origin), 2);
}

/// Its own file is such a file, too.
#[test]
fn a_configuration_that_is_replaced_among_files_of_others_is_told() {
    if without_landlock(&test_name!()) {
        return;
    }
    let builder = Relay::builder();
    let home = builder.directory().to_owned();
    let relay = builder.environment(vec![("HOME", home.clone().into())]).start();
    let file = home.join("outflow.toml");
    fs::copy(&file, home.join("next")).expect("a copy");
    fs::rename(home.join("next"), &file).expect("put it in the place of the other");
    let line = refused(&relay, &["ERROR", "another file stands at", "outflow.toml"]);
    relay.logged(&["ERROR", "the configuration cannot be used: nothing has changed"]);
    assert!(line.contains("restart it"), "{line}");
}

/// Whoever wants all files has them.
#[test]
fn without_it_all_files_are_open() {
    let (folder, elsewhere, origin) = (folder(), folder(), Origin::echo());
    let list = folder.path().join("blocked.txt");
    let mut relay = with_list(&list, "192.0.2.1\n").set("sandbox", "landlock", "false").start();
    relay.logged(&["confined", "; all files;"]);
    let other = elsewhere.path().join("blocked.txt");
    fs::write(&other, "127.0.0.1\n").expect("another list");
    relay.reload(&[("[list]", "file", &quoted(other.to_str().expect("UTF-8")))]);
    assert_eq!(answer(&relay, &origin), 2);
}
