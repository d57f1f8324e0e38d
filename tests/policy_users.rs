//! Rules by group: whom the users file puts where, and when that is obeyed.

use std::fs;

use serde_json::json;

use crate::support::api::Api;
use crate::support::relay::{Builder, Engine};
use crate::support::users::argon2id;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::{Client, Origin, Relay};

const BOTH: [Engine; 2] = [Engine::Copy, Engine::Splice];

/// Only who is in a group may go anywhere; `bob` by the configuration, others by the users file.
fn grouped(users: &[(&str, &str)]) -> Builder {
    let hash = argon2id(b"secret");
    let lines: Vec<(String, String)> =
        users.iter().map(|(name, rest)| ((*name).to_owned(), format!("{hash}{rest}"))).collect();
    Relay::builder()
        .hashed_users(&lines)
        .set("groups", "staff", "[\"bob\"]")
        .rules(&["name = \"staff\"\ngroups = [\"staff\"]\naction = \"allow\""])
}

fn ask(relay: &Relay, user: &str, origin: &Origin) -> u8 {
    let mut client = Client::connect(relay.addr());
    assert_eq!(client.login(user.as_bytes(), b"secret"), 0, "{user}");
    let reply = client.request_ip(origin.addr).rep;
    if reply == 0 {
        client.send(b"ping");
        client.expect(b"ping");
    }
    reply
}

#[test]
fn a_user_is_in_the_groups_of_the_configuration_and_of_the_users_file() {
    let origin = Origin::echo();
    for engine in BOTH {
        let users = [("ann", ":groups=night,staff"), ("bob", ""), ("eve", ":groups=night")];
        let relay = grouped(&users).engine(engine).start();
        assert_eq!((ask(&relay, "ann", &origin), ask(&relay, "bob", &origin)), (0, 0));
        assert_eq!(ask(&relay, "eve", &origin), 2);
        for record in relay.records(3) {
            // They end in whatever order.
            let rule = if record["user"] == "eve" { "default" } else { "staff" };
            assert_eq!(record["rule"], rule, "{record}");
        }
    }
}

/// By an edit of the file, by a reload and by the API: whoever comes is asked for, live sessions go on.
#[test]
fn who_comes_into_a_group_or_leaves_it_is_judged_so_from_then_on() {
    let origin = Origin::echo();
    let builder = grouped(&[("ann", ""), ("bob", "")]).workers(2);
    let file = builder.directory().join("users.passwd");
    let (relay, api) = Api::serve(builder);
    assert_eq!(ask(&relay, "ann", &origin), 2);
    let answer = api.ask("PUT", "/api/v1/users/ann", Some(&json!({"groups": ["staff"]}).to_string()));
    assert_eq!(answer.status, 200, "{answer:?}");
    until_true("she is in the group", PATIENCE, || ask(&relay, "ann", &origin) == 0);
    let mut live = Client::connect(relay.addr());
    assert_eq!(live.login(b"ann", b"secret"), 0);
    assert_eq!(live.request_ip(origin.addr).rep, 0);

    let text = fs::read_to_string(&file).expect("the users file");
    fs::write(&file, text.replace(":groups=staff", "")).expect("write");
    until_true("she has left it", PATIENCE, || ask(&relay, "ann", &origin) == 2);
    live.send(b"still here");
    live.expect(b"still here");

    fs::write(&file, text).expect("write");
    assert_eq!(api.ask("POST", "/api/v1/reload", None).status, 200);
    assert_eq!(ask(&relay, "ann", &origin), 0, "a reload is over once it is obeyed");
    assert_eq!(ask(&relay, "bob", &origin), 0);
}

/// `revoke` meets the sessions of whoever left the group, and nobody else's.
#[test]
fn who_leaves_a_group_loses_what_it_alone_allowed_where_reloads_revoke() {
    let origin = Origin::echo();
    let builder = grouped(&[("ann", ":groups=staff"), ("bob", "")]).set("policy", "on_reload", "\"revoke\"");
    let file = builder.directory().join("users.passwd");
    let relay = builder.start();
    let [mut ann, mut bob] = ["ann", "bob"].map(|user| {
        let mut client = Client::connect(relay.addr());
        assert_eq!(client.login(user.as_bytes(), b"secret"), 0);
        assert_eq!(client.request_ip(origin.addr).rep, 0);
        client
    });
    let text = fs::read_to_string(&file).expect("the users file");
    fs::write(&file, text.replace(":groups=staff", "")).expect("write");
    ann.expect_closed();
    bob.send(b"still here");
    bob.expect(b"still here");
    let record = relay.record();
    assert_eq!((&record["user"], &record["reason"]), (&json!("ann"), &json!("revoked")), "{record}");
}

/// The nearest group is told, be it of the users file.
#[test]
fn a_group_that_nobody_has_is_an_error() {
    let builder = grouped(&[("ann", ":groups=nightshift")])
        .rules(&["name = \"night\"\ngroups = [\"nigthshift\"]\naction = \"allow\""]);
    let output = builder.run_to_exit();
    let refusal = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{refusal}");
    assert!(refusal.contains("there is no group \"nigthshift\"; did you mean \"nightshift\"?"), "{refusal}");
}
