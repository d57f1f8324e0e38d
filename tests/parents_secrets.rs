//! What parents are told of passwords: those of files and those of URLs, over reloads, and that nobody is shown one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::api::Api;
use crate::support::parent::{FakeParent, Habits, through};
use crate::support::relay::Builder;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Engine, Origin, Relay};

fn asking(target: &Origin) -> FakeParent {
    FakeParent::socks5_with(target.addr, Habits { asks_login: true, ..Habits::default() })
}

/// A relay to be, led through this server, as it is typed.
fn led(builder: Builder, server: &str) -> Builder {
    through(builder, &[], &[("servers", server)])
}

/// A file of one line for nobody else.
fn write(path: &Path, password: &str) {
    fs::write(path, format!("{password}\n")).expect("write the password");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("close the file");
}

fn echoes(client: &mut Client) {
    client.send(b"ping");
    client.expect(b"ping");
}

/// The name and password of each login so far.
fn logins(parent: &FakeParent) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    parent
        .told()
        .into_iter()
        .filter_map(|told| told.login)
        .map(|(user, word)| (text(user), text(word)))
        .collect()
}

fn login(user: &str, password: &str) -> (String, String) {
    (user.to_owned(), password.to_owned())
}

/// Has the server read its file anew and refuse to go by it.
fn refused(relay: &Relay, words: &[&str]) {
    let times = || relay.log().matches("nothing has changed").count();
    let before = times();
    relay.signal("HUP");
    wait::until_true("the refusal", PATIENCE, || times() > before);
    relay.logged(words);
}

/// The file is read at the start and at a reload; a session that stands is not asked again.
fn a_password_of_a_file_is_read_again_by_a_reload(engine: Engine) {
    let target = Origin::echo();
    let parent = asking(&target);
    let builder = Relay::builder().engine(engine);
    let file = builder.directory().join("uplink.secret");
    write(&file, "first secret");
    // Relative to the configuration.
    let server = format!(
        "{{ url = \"socks5h://{}\", user = \"ann\", password_file = \"uplink.secret\" }}",
        parent.addr()
    );
    let mut relay = led(builder, &server).set("[parent]", "warm", "1").start();
    let mut old = Client::through(relay.addr(), target.addr);
    echoes(&mut old);
    relay.reload(&[]);
    assert!(!relay.log().contains("another password"), "{}", relay.log());
    write(&file, "second secret");
    relay.reload(&[]);
    relay.logged(&["parent up: another password now, of", "uplink.secret"]);
    let mut new = Client::through(relay.addr(), target.addr);
    [&mut old, &mut new].into_iter().for_each(echoes);
    // Of what was read before nothing is made any more: connections that waited with it are closed.
    let after: Vec<_> =
        logins(&parent).into_iter().skip_while(|one| *one != login("ann", "second secret")).collect();
    assert!(!after.is_empty() && after.iter().all(|one| *one == login("ann", "second secret")), "{after:?}");
    fs::remove_file(&file).expect("the file");
    refused(&relay, &["parent", "servers", "uplink.secret: the password cannot be read"]);
    let mut late = Client::through(relay.addr(), target.addr);
    [&mut old, &mut new, &mut late].into_iter().for_each(echoes);
    assert!(!relay.log().contains("second secret"), "{}", relay.log());
}
engines!(a_password_of_a_file_is_read_again_by_a_reload);

/// It was told that no key had changed.
#[test]
fn a_reload_tells_of_another_password_and_shows_none() {
    let target = Origin::echo();
    let parent = asking(&target);
    let server = |password: &str| format!("\"socks5h://ann:{password}@{}\"", parent.addr());
    let (mut relay, api) = Api::serve(led(Relay::builder(), &server("hunter2")));
    drop(Client::through(relay.addr(), target.addr));
    relay.write(&[("[parent]", "servers", &server("hunter3"))]);
    let told = api.ask("POST", "/api/v1/reload", Some("{\"dry_run\": true}")).json();
    let change = &told["changes"][0];
    assert_eq!((&change["key"], &change["hidden"]), (&"parent[up].servers".into(), &true.into()), "{told}");
    assert!(change["from"] == change["to"] && !told.to_string().contains("hunter"), "{told}");
    relay.reload(&[]);
    relay.logged(&["parent[up].servers: another password"]);
    drop(Client::through(relay.addr(), target.addr));
    assert_eq!(logins(&parent), [login("ann", "hunter2"), login("ann", "hunter3")]);
    assert!(!relay.log().contains("hunter"), "{}", relay.log());
}

/// Each proxy of a chain may have a file of its own.
#[test]
fn a_proxy_of_a_chain_has_its_own_file() {
    let target = Origin::echo();
    let last = asking(&target);
    let first = FakeParent::socks5_with(last.addr(), Habits { asks_login: true, ..Habits::default() });
    let builder = Relay::builder();
    write(&builder.directory().join("last.secret"), "of the last");
    let server = format!(
        "[{{ url = [\"socks5h://bob:plain@{}\", {{ url = \"socks5h://ann@{}\", password_file = \"last.secret\" }}] }}]",
        first.addr(),
        last.addr()
    );
    let relay = led(builder, &server).start();
    echoes(&mut Client::through(relay.addr(), target.addr));
    assert_eq!(logins(&first), [login("bob", "plain")]);
    assert_eq!(logins(&last), [login("ann", "of the last")]);
}

#[test]
fn a_file_that_others_may_read_is_warned_of_and_one_that_holds_none_refused() {
    let check = |bytes: &[u8], mode: u32| {
        let builder = Relay::builder();
        let file: PathBuf = builder.directory().join("uplink.secret");
        fs::write(&file, bytes).expect("write the password");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("the mode");
        let server = "{ url = \"http://127.0.0.1:1\", user = \"ann\", password_file = \"uplink.secret\" }";
        let output = led(builder, server).check();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).expect("text"))
    };
    let (served, said) = check(b"hunter2\n", 0o600);
    assert!(served && !said.contains("others may") && !said.contains("hunter2"), "{said}");
    let (served, said) = check(b"hunter2\n", 0o644);
    assert!(served && said.contains("uplink.secret: others may read or write it (mode 0644)"), "{said}");
    let (served, said) = check(b"two\nlines\n", 0o600);
    assert!(!served && said.contains("a password is one line"), "{said}");
}
