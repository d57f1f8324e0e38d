//! `outflow explain` and `/api/v1/explain`: the limits of a request, and what is used of them.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::explain::{code, of_file, outflow, stderr, told};
use crate::support::api::Api;
use crate::support::users::argon2id;
use crate::support::{Client, Origin, Relay};

/// A server with limits of every kind of subject that a test can be.
struct Limited {
    relay: Relay,
    api: Api,
    file: PathBuf,
    origin: Origin,
}

impl Limited {
    fn start(sessions_of_a_source: usize) -> Limited {
        let hash = argon2id(b"secret");
        let line = |name: &str, rest: &str| (name.to_owned(), format!("{hash}{rest}"));
        let builder = Relay::builder()
            .workers(2)
            .hashed_users(&[line("ann", ":limits=gold groups=staff,night"), line("bob", "")])
            .set("guard", "allow_private", "true")
            .set("server", "listen", "[\"127.0.0.1:0\"]")
            .set("limits", "per_source", &format!("{{ connections = {sessions_of_a_source} }}"))
            .limits(&[
                "name = \"gold\"\nper = \"user\"\nconnections = 2\nupload = \"2MB\"",
                "name = \"team\"\nper = \"group\"\nnew_per_second = { rate = 1, burst = 100 }",
                "name = \"own\"\nper = \"session\"\ndatagrams = 10",
            ])
            .rules(&["name = \"all\"\naction = \"allow\"\nlimits = [\"team\", \"gold\", \"own\"]"]);
        let file = builder.directory().join("outflow.toml");
        let (relay, api) = Api::serve(builder);
        Limited { relay, api, file, origin: Origin::echo() }
    }

    fn explained(&self, user: &str, command: &str) -> Value {
        self.api.get(&format!("/api/v1/explain?user={user}&to={}&command={command}", self.origin.addr))
    }

    /// The reply to a session of this user, and the session.
    fn ask(&self, user: &str) -> (u8, Client) {
        let mut client = Client::connect(self.relay.addr());
        assert_eq!(client.login(user.as_bytes(), b"secret"), 0);
        (client.request_ip(self.origin.addr).rep, client)
    }
}

/// Which limits an answer tells of, and in whose accounts they count.
fn limits(answer: &Value) -> Vec<[&str; 2]> {
    let all = answer["limits"].as_array().expect("a list").iter();
    all.map(|one| ["limit", "holder"].map(|field| one[field].as_str().unwrap_or("-"))).collect()
}

const OF_ANN: [[&str; 2]; 5] = [
    ["limits.per_source", "source:127.0.0.1"],
    ["gold", "user:ann"],
    ["team", "group:night"],
    ["team", "group:staff"],
    ["own", "-"],
];

/// Of the file what they allow, of the server how they stand for whoever asks: it refuses what a session is refused.
#[test]
fn the_limits_of_a_request_are_explained_with_what_is_used_of_them() {
    let limited = Limited::start(100);
    let first = limited.explained("ann", "connect");
    assert_eq!(limits(&first), OF_ANN, "{first}");
    assert_eq!((&first["reply"], &first["limit"]), (&json!(0), &Value::Null));
    let held = [limited.ask("ann"), limited.ask("ann")];
    assert_eq!(held.each_ref().map(|(rep, _)| *rep), [0, 0]);
    let full = limited.explained("ann", "connect");
    let [of_source, gold, night, ..] = &full["limits"].as_array().expect("a list")[..] else {
        panic!("{full}")
    };
    assert_eq!((&of_source["sessions"], &of_source["parts"]), (&json!(2), &json!({"connections": 0.02})));
    assert_eq!((&gold["parts"]["connections"], &gold["refuses"]), (&json!(1.0), &json!("connections")));
    let begun = night["parts"]["new_per_second"].as_f64().expect("a part");
    assert!((0.0..=0.02).contains(&begun) && night["refuses"].is_null(), "{full}");
    let said = |answer: &Value| ["verdict", "reply", "limit"].map(|field| answer[field].clone());
    let refused = [json!("allow"), json!(2), json!("gold")];
    assert_eq!(said(&full), refused);
    assert_eq!(limited.ask("ann").0, 2);
    assert_eq!(said(&limited.explained("ann", "bind")), refused, "it counts as a tunnel does");
    // Who has not that limit by the file has it by the rule, in an account of his own.
    let other = limited.explained("bob", "connect");
    assert_eq!((&other["reply"], &other["limit"]), (&json!(0), &Value::Null), "{other}");
}

/// What a source has is counted from its first moment on, and refuses before any other limit is asked.
#[test]
fn the_sessions_of_a_source_are_explained_as_other_limits_are() {
    let limited = Limited::start(1);
    assert_eq!(limited.explained("bob", "udp_associate")["reply"], 0);
    let held = limited.ask("bob");
    assert_eq!(held.0, 0);
    let answer = limited.explained("ann", "connect");
    assert_eq!((&answer["reply"], &answer["limit"]), (&json!(2), &json!("limits.per_source")), "{answer}");
    assert_eq!(limited.ask("ann").0, 2);
}

/// A file says what limits allow and no more, and the command's exit code what a server would answer.
#[test]
fn a_file_tells_what_limits_allow_and_the_command_what_a_server_refuses() {
    let limited = Limited::start(100);
    let (to, admin) = (limited.origin.addr.to_string(), limited.relay.admin_addr().to_string());
    let of_server = ["--admin", &admin, "--user", "ann", "--to", &to];
    assert_eq!(code(&outflow(&of_server)), 0);
    let _held = [limited.ask("ann"), limited.ask("ann")];
    let file = told(&of_file(&limited.file, &["--user", "ann", "--to", &to]));
    assert_eq!((limits(&file), &file["reply"]), (OF_ANN.to_vec(), &json!(0)), "{file}");
    let gold = &file["limits"][1];
    assert_eq!(gold["terms"], json!({"connections": 2, "upload": {"rate": 2_000_000, "burst": 2_000_000}}));
    assert_eq!((gold.get("fill"), gold.get("refuses")), (None, None));
    let words = outflow(&of_server);
    assert_eq!(code(&words), 1, "{}", stderr(&words));
    let said = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(said.contains("allowed by rule all, and refused by limit gold, reply 2"), "{said}");
    assert!(said.contains("connections 2 (100% used), reached; upload 2 MB/s (0% used)"), "{said}");
}
