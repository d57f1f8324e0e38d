//! `/api/v1/users`: who may log in, changed while the server runs; the file, the logins behind it, and sessions revoked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::http::HttpReply;
use crate::support::relay::Builder;
use crate::support::users::argon2id;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};

const USERS: &str = "/api/v1/users";

/// A server whose users are these, each with the password `secret`, and its users file.
fn serve(users: &[&str]) -> (Relay, Api, PathBuf) {
    let hashed: Vec<(String, String)> =
        users.iter().map(|name| ((*name).to_owned(), argon2id(b"secret"))).collect();
    let builder = Relay::builder().workers(2).hashed_users(&hashed);
    let file = builder.directory().join("users.passwd");
    let (relay, api) = Api::serve(builder);
    (relay, api, file)
}

fn logs_in(relay: &Relay, user: &[u8], password: &[u8]) -> bool {
    Client::connect(relay.addr()).login(user, password) == 0
}

fn session(relay: &Relay, user: &str, origin: &Origin) -> Client {
    let mut client = Client::connect(relay.addr());
    assert_eq!(client.login(user.as_bytes(), b"secret"), 0);
    assert_eq!(client.request_ip(origin.addr).rep, 0);
    client
}

fn works(client: &mut Client) {
    client.send(b"still here");
    client.expect(b"still here");
}

fn put(api: Api, name: &str, body: &Value) -> HttpReply {
    api.ask("PUT", &format!("{USERS}/{name}"), Some(&body.to_string()))
}

fn names(file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).expect("the users file");
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect()
}

/// Once the answer is there, each login is judged by the new file: on every worker, at once.
#[test]
fn a_login_right_behind_the_answer_goes_by_the_new_file() {
    let (relay, api, file) = serve(&["ann"]);
    assert_eq!(api.get(USERS), json!({"users": ["ann"], "attributes": {}}));
    for round in 0..4 {
        let name = format!("bob{round}");
        assert!(!logs_in(&relay, name.as_bytes(), b"first"));
        let answer = put(api, &name, &json!({"password": "first"}));
        assert_eq!((answer.status, answer.json()), (200, json!({"user": name, "added": true, "ended": 0})));
        // Which worker has it is the kernel's choice.
        for _ in 0..6 {
            assert!(logs_in(&relay, name.as_bytes(), b"first"));
        }
        let answer = put(api, &name, &json!({"password": "second", "revoke": false}));
        assert_eq!(answer.json(), json!({"user": name, "added": false, "ended": 0}));
        for _ in 0..6 {
            assert!(logs_in(&relay, name.as_bytes(), b"second"));
        }
        assert!(!logs_in(&relay, name.as_bytes(), b"first"));
        let answer = api.ask("DELETE", &format!("{USERS}/{name}"), None);
        assert_eq!((answer.status, answer.json()), (200, json!({"user": name, "removed": true, "ended": 0})));
        assert!(!logs_in(&relay, name.as_bytes(), b"second"));
        assert_eq!(names(&file), BTreeSet::from(["ann".to_owned()]));
    }
    assert!(logs_in(&relay, b"ann", b"secret"), "who was not changed");
    let line = relay.logged(&["bob0", "added"]);
    assert!(line.contains("uid ") && !relay.log().contains("first"), "{line}");
}

/// Attributes without a password, and with one; what is null goes.
#[test]
fn a_users_attributes_are_those_of_the_last_request() {
    let (relay, api, file) = serve(&["ann", "bob"]);
    let answer = put(api, "ann", &json!({"groups": ["staff"], "expires": "2099-01-31"}));
    assert_eq!((answer.status, answer.json()), (200, json!({"user": "ann", "added": false, "ended": 0})));
    let attributes = || api.get(USERS)["attributes"].clone();
    assert_eq!(
        attributes(),
        json!({"ann": {"groups": ["staff"], "limits": [], "expires": "2099-01-31", "disabled": false}})
    );
    assert!(logs_in(&relay, b"ann", b"secret"));
    let origin = Origin::echo();
    let mut live = session(&relay, "ann", &origin);
    assert_eq!(put(api, "ann", &json!({"disabled": true})).status, 200);
    assert!(!logs_in(&relay, b"ann", b"secret") && logs_in(&relay, b"bob", b"secret"));
    works(&mut live);
    assert_eq!(put(api, "ann", &json!({"disabled": true, "revoke": true})).json()["ended"], 1);
    live.expect_closed();
    let answer =
        put(api, "ann", &json!({"password": "other", "expires": null, "disabled": false, "groups": []}));
    assert_eq!((answer.status, attributes()), (200, json!({})));
    assert!(logs_in(&relay, b"ann", b"other"));
    let before = std::fs::read_to_string(&file).expect("the users file");
    for (name, body, status) in [
        ("ann", json!({}), 400),
        ("ann", json!({"groups": ["a b"]}), 400),
        ("ann", json!({"expires": "soon"}), 400),
        ("eve", json!({"disabled": true}), 404),
    ] {
        assert_eq!(put(api, name, &body).status, status, "{body}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("the users file"), before);
}

/// `revoke` ends that user's sessions, on every worker, and nobody else's; without it they go on.
#[test]
fn revoking_ends_exactly_that_users_sessions() {
    let (relay, api, _) = serve(&["ann", "bob"]);
    let origin = Origin::echo();
    let mut anns: Vec<Client> = (0..5).map(|_| session(&relay, "ann", &origin)).collect();
    let mut bobs: Vec<Client> = (0..5).map(|_| session(&relay, "bob", &origin)).collect();
    assert_eq!(put(api, "ann", &json!({"password": "other"})).json()["ended"], 0);
    anns.iter_mut().for_each(works);
    let answer = put(api, "ann", &json!({"password": "another", "revoke": true}));
    assert_eq!((answer.status, answer.json()), (200, json!({"user": "ann", "added": false, "ended": 5})));
    anns.iter_mut().for_each(Client::expect_closed);
    bobs.iter_mut().for_each(works);
    let records = relay.records(5);
    assert!(
        records.iter().all(|record| record["reason"] == "killed" && record["user"] == "ann"),
        "{records:#?}"
    );
    let answer = api.ask("DELETE", &format!("{USERS}/bob?revoke=true"), None);
    assert_eq!((answer.status, answer.json()), (200, json!({"user": "bob", "removed": true, "ended": 5})));
    bobs.iter_mut().for_each(Client::expect_closed);
    assert!(!logs_in(&relay, b"bob", b"secret"));
}

/// While clients log in without pause, none whose user was removed is served once the answer is there.
#[test]
fn no_session_slips_in_while_its_user_is_removed() {
    let (relay, api, _) = serve(&["ann", "bob"]);
    let origin = Origin::echo();
    let (stop, server) = (AtomicBool::new(false), relay.addr());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                // They stay open: sessions until they are ended.
                let mut clients = Vec::new();
                while !stop.load(Relaxed) {
                    let mut client = Client::connect(server);
                    if client.try_send(b"\x05\x01\x02\x01\x03ann\x06secret").is_ok() {
                        client.silent_for(Duration::from_millis(20));
                    }
                    clients.push(client);
                }
            });
        }
        wait::until_true("some are there", PATIENCE, || api.sessions("?user=ann").len() > 5);
        let answer = api.ask("DELETE", &format!("{USERS}/ann?revoke=true"), None);
        assert_eq!(answer.status, 200, "{answer:?}");
        wait::throughout("nobody is ann", Duration::from_secs(1), || api.sessions("?user=ann").is_empty());
        stop.store(true, Relaxed);
    });
    works(&mut session(&relay, "bob", &origin));
}

/// What cannot be done is said, and nothing has changed.
#[test]
fn what_cannot_be_a_user_is_refused() {
    let (relay, api, file) = serve(&["ann"]);
    let before = std::fs::read_to_string(&file).expect("the users file");
    let long = "p".repeat(256);
    for (name, body, words) in [
        ("bob", json!({"password": ""}), "empty"),
        ("bob", json!({"password": long}), "255"),
        ("bob", json!({"password": 5}), "form"),
        ("bob", json!({"pasword": "x"}), "form"),
        ("bob", json!({"password": "x", "revoke": "yes"}), "form"),
        ("a%3Ab", json!({"password": "x"}), "`:`"),
        ("%23a", json!({"password": "x"}), "#"),
        ("a%0Ab", json!({"password": "x"}), "control"),
        ("a%ff", json!({"password": "x"}), "UTF-8"),
    ] {
        let (status, error) = put(api, name, &body).error();
        assert_eq!(status, 400, "{name} {error}");
        assert!(error.contains(words) || words.starts_with(['`', '#', 'c']), "{name}: {error}");
    }
    let (status, error) = api.ask("DELETE", &format!("{USERS}/bob"), None).error();
    assert!(status == 404 && error.contains("no such user in the users file: \"bob\""), "{status} {error}");
    assert_eq!(api.ask("DELETE", &format!("{USERS}/ann?revoke=maybe"), None).status, 400);
    assert_eq!(api.ask("GET", &format!("{USERS}/ann"), None).status, 405);
    assert_eq!(std::fs::read_to_string(&file).expect("the users file"), before);
    assert!(logs_in(&relay, b"ann", b"secret"));

    // A file that cannot be written.
    std::fs::remove_file(&file).expect("remove it");
    std::fs::create_dir(&file).expect("a folder in its place");
    let (status, error) = put(api, "bob", &json!({"password": "x"})).error();
    assert!(status == 500 && error.contains("users.passwd"), "{status} {error}");
    assert!(logs_in(&relay, b"ann", b"secret"));
}

/// Names of every kind that `outflow user` takes.
#[test]
fn a_name_of_any_letters_is_a_user() {
    let (relay, api, file) = serve(&[]);
    for (typed, name) in
        [("%C3%A9t%C3%A9", "été"), ("a%20b", "a b"), ("a+b", "a+b"), ("a%2Fb", "a/b"), ("%3C%26%3E", "<&>")]
    {
        assert_eq!(put(api, typed, &json!({"password": "x"})).json()["user"], name);
        assert!(logs_in(&relay, name.as_bytes(), b"x"), "{name}");
    }
    let mut wanted: Vec<String> = names(&file).into_iter().collect();
    wanted.sort();
    assert_eq!(api.get(USERS), json!({"users": wanted, "attributes": {}}));
}

/// Changes side by side all stay, or are refused as too many.
#[test]
fn changes_side_by_side_all_stay() {
    let (relay, api, file) = serve(&["ann"]);
    let added: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|nth| {
                scope.spawn(move || (nth, put(api, &format!("user{nth}"), &json!({"password": "x"})).status))
            })
            .collect();
        let outcomes = threads.into_iter().map(|thread| thread.join().expect("an outcome"));
        outcomes
            .filter(|(nth, status)| match status {
                200 => true,
                409 => false,
                other => panic!("user{nth}: {other}"),
            })
            .map(|(nth, _)| nth)
            .collect()
    });
    assert!(added.len() >= 4, "{added:?}");
    let wanted: BTreeSet<String> =
        added.iter().map(|nth| format!("user{nth}")).chain(["ann".to_owned()]).collect();
    assert_eq!(names(&file), wanted);
    for nth in added {
        assert!(logs_in(&relay, format!("user{nth}").as_bytes(), b"x"));
    }
}

/// Where nobody needs a password there are no users to change.
#[test]
fn without_a_users_file_there_are_no_users() {
    let builder: Builder = Relay::builder();
    let (_relay, api) = Api::serve(builder);
    for answer in [
        api.ask("GET", USERS, None),
        put(api, "ann", &json!({"password": "x"})),
        api.ask("DELETE", &format!("{USERS}/ann"), None),
    ] {
        let (status, error) = answer.error();
        assert!(status == 404 && error.contains("no users file"), "{status} {error}");
    }
}
