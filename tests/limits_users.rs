//! Limits of groups, and those that the users file gives its users.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::api::Api;
use crate::support::relay::Builder;
use crate::support::users::argon2id;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::{Client, Engine, Origin, Relay};

/// Users with what stands behind their hashes.
fn with_users(users: &[(&str, &str)]) -> Builder {
    let hash = argon2id(b"secret");
    let lines: Vec<(String, String)> =
        users.iter().map(|(name, rest)| ((*name).to_owned(), format!("{hash}{rest}"))).collect();
    Relay::builder().workers(2).hashed_users(&lines)
}

fn user(relay: &Relay, name: &str) -> Client {
    let mut client = Client::connect(relay.addr());
    assert_eq!(client.login(name.as_bytes(), b"secret"), 0, "{name}");
    client
}

/// The reply to a session of this user, and the session.
fn session(relay: &Relay, name: &str, origin: &Origin) -> (u8, Client) {
    let mut client = user(relay, name);
    (client.request_ip(origin.addr).rep, client)
}

fn rep_of(relay: &Relay, name: &str, origin: &Origin) -> u8 {
    session(relay, name, origin).0
}

const TEAM: &str = "name = \"team\"\nper = \"group\"\nconnections = 2";
const GOLD: &str = "name = \"gold\"\nper = \"user\"\nconnections = 1";
const ALL_BY_TEAM: &str = "name = \"all\"\naction = \"allow\"\nlimits = [\"team\"]";

/// By `[groups]` and by the users file; who is in several counts in each, who is in none in none.
#[test]
fn users_of_a_group_count_together() {
    let origin = Origin::echo();
    let users =
        [("ann", ""), ("bob", ""), ("eve", ":groups=staff,night"), ("gil", ":groups=night"), ("dan", "")];
    let relay = with_users(&users)
        .set("groups", "staff", "[\"ann\", \"bob\"]")
        .limits(&[TEAM])
        .rules(&[ALL_BY_TEAM])
        .start();
    let (ann, eve) = (session(&relay, "ann", &origin), session(&relay, "eve", &origin));
    assert_eq!((ann.0, eve.0), (0, 0));
    assert_eq!(rep_of(&relay, "bob", &origin), 2, "staff has two");
    let gil = session(&relay, "gil", &origin);
    assert_eq!((gil.0, rep_of(&relay, "gil", &origin)), (0, 2), "and so has night");
    let free: Vec<_> = (0..5).map(|_| session(&relay, "dan", &origin)).collect();
    assert!(free.iter().all(|(rep, _)| *rep == 0));
    drop(eve);
    until_true("room in both", PATIENCE, || {
        rep_of(&relay, "bob", &origin) == 0 && rep_of(&relay, "gil", &origin) == 0
    });
    let refused = relay.records_now().into_iter().filter(|record| record["reason"] == "denied");
    assert!(refused.into_iter().all(|record| record["limit"] == "team"));
}

/// Whoever comes into a group counts in it from the next session on.
#[test]
fn who_comes_into_a_group_counts_in_it() {
    let origin = Origin::echo();
    let builder = with_users(&[("ann", ":groups=staff"), ("bob", "")]);
    let file = builder.directory().join("users.passwd");
    let relay = builder.limits(&[TEAM]).rules(&[ALL_BY_TEAM]).start();
    let _two = [session(&relay, "ann", &origin), session(&relay, "ann", &origin)];
    assert_eq!((rep_of(&relay, "ann", &origin), rep_of(&relay, "bob", &origin)), (2, 0));
    let text = fs::read_to_string(&file).expect("the users file");
    let bob = text.lines().find(|line| line.starts_with("bob:")).expect("bob");
    fs::write(&file, text.replace(bob, &format!("{bob}:groups=staff"))).expect("write");
    until_true("he counts", PATIENCE, || rep_of(&relay, "bob", &origin) == 2);
    fs::write(&file, &text).expect("write");
    until_true("he does not", PATIENCE, || rep_of(&relay, "bob", &origin) == 0);
}

/// The rate is the group's, whoever of it uses it and on whatever worker.
fn users_of_a_group_share_a_rate(engine: Engine) {
    let source = Origin::source(u64::MAX);
    let relay = with_users(&[("ann", ":groups=staff"), ("bob", ":groups=staff"), ("eve", ":groups=night")])
        .engine(engine)
        .limits(&["name = \"team\"\nper = \"group\"\ndownload = { rate = \"1600kB\", burst = \"400kB\" }"])
        .rules(&[ALL_BY_TEAM])
        .start();
    let until = Instant::now() + Duration::from_secs(3);
    let fetch = |name: &'static str| {
        let (mut client, target) = (user(&relay, name), source.addr);
        thread::spawn(move || {
            assert_eq!(client.request_ip(target).rep, 0);
            let mut bytes = 0.0;
            while Instant::now() < until {
                bytes += client.recv(16 * 1024).len() as f64;
            }
            bytes
        })
    };
    let readers = ["ann", "bob", "eve"].map(fetch);
    let [ann, bob, eve] = readers.map(|reader| reader.join().expect("a reader"));
    assert!(ann.min(bob) > 0.75 * ann.max(bob), "{ann} and {bob}");
    assert!((0.7..1.3).contains(&((ann + bob) / eve)), "{ann}, {bob} and {eve}");
}
engines!(users_of_a_group_share_a_rate);

/// By an edit of the file, by the API and by a reload; whom it names nothing for has no such limit.
#[test]
fn the_users_file_gives_users_limits() {
    let origin = Origin::echo();
    let builder = with_users(&[("ann", ":limits=gold"), ("bob", "")]).limits(&[GOLD]);
    let file = builder.directory().join("users.passwd");
    let (mut relay, api) = Api::serve(builder);
    let ann = session(&relay, "ann", &origin);
    assert_eq!((ann.0, rep_of(&relay, "ann", &origin)), (0, 2));
    let record = relay.record();
    assert_eq!((&record["reason"], &record["limit"]), (&json!("denied"), &json!("gold")), "{record}");
    let bobs = [session(&relay, "bob", &origin), session(&relay, "bob", &origin)];
    assert_eq!(bobs.each_ref().map(|(rep, _)| *rep), [0, 0]);

    let text = fs::read_to_string(&file).expect("the users file");
    fs::write(&file, text.replace(":limits=gold", "")).expect("write");
    until_true("she has none", PATIENCE, || rep_of(&relay, "ann", &origin) == 0);
    let gold = json!({"limits": ["gold"]}).to_string();
    assert_eq!(api.ask("PUT", "/api/v1/users/bob", Some(&gold)).status, 200);
    assert_eq!(api.get("/api/v1/users")["attributes"]["bob"]["limits"], json!(["gold"]));
    until_true("he has one", PATIENCE, || rep_of(&relay, "bob", &origin) == 2);
    drop(bobs);
    until_true("room", PATIENCE, || rep_of(&relay, "bob", &origin) == 0);
    relay.put_limits(&[&GOLD.replace("connections = 1", "connections = 2")]);
    relay.reload(&[]);
    let more = [session(&relay, "bob", &origin), session(&relay, "bob", &origin)];
    assert_eq!(more.each_ref().map(|(rep, _)| *rep), [0, 0], "a reload raises it");
    assert_eq!(rep_of(&relay, "bob", &origin), 2);
}

/// Nobody has a limit that is not there: not at the start, not at a reload that takes it away, not by an edit of the file
/// or by the API. Nothing changes then.
#[test]
fn a_limit_that_a_user_has_must_be_there() {
    let gone = with_users(&[("bob", ""), ("ann", ":limits=glod")]).limits(&[GOLD]);
    let refusal = String::from_utf8(gone.check().stderr).expect("UTF-8");
    let words = "users.passwd:2: user \"ann\": there is no [[limit]] \"glod\"; did you mean \"gold\"?";
    assert!(refusal.contains(words), "{refusal}");

    let origin = Origin::echo();
    let builder = with_users(&[("ann", ":limits=gold")]).limits(&[GOLD]);
    let file = builder.directory().join("users.passwd");
    let (mut relay, api) = Api::serve(builder);
    let held = session(&relay, "ann", &origin);
    assert_eq!(held.0, 0);
    let text = fs::read_to_string(&file).expect("the users file");
    fs::write(&file, text.replace("gold", "silver")).expect("write");
    relay.logged(&["users.passwd:1", "there is no [[limit]] \"silver\"", "the users stay what they were"]);
    assert_eq!(rep_of(&relay, "ann", &origin), 2);
    fs::write(&file, &text).expect("write");
    let silver = json!({"limits": ["silver"]}).to_string();
    let (status, what) = api.ask("PUT", "/api/v1/users/ann", Some(&silver)).error();
    assert_eq!((status, &*what), (400, "`limits`: there is no [[limit]] \"silver\""));
    assert_eq!(fs::read_to_string(&file).expect("the users file"), text);

    relay.put_limits(&[&GOLD.replace("gold", "silver")]);
    relay.write(&[]);
    let answer = api.ask("POST", "/api/v1/reload", None);
    assert_eq!(answer.status, 422, "{answer:?}");
    let problems = answer.json()["problems"].to_string();
    assert!(problems.contains("users.passwd:1") && problems.contains("there is no [[limit]]"), "{problems}");
    assert_eq!(rep_of(&relay, "ann", &origin), 2);
}
