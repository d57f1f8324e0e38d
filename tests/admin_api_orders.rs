//! `/api/v1/reload` and `/drain`: what changes the server as a whole.

use std::net::TcpStream;

use serde_json::json;

use crate::support::api::Api;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};

fn echoes(client: &mut Client) {
    client.send(b"ping");
    client.expect(b"ping");
}

/// Nobody new comes in while it drains, who is there goes on, and what was closed is open again afterwards.
#[test]
fn a_drain_is_undone() {
    let (relay, api) = Api::serve(Relay::builder());
    let origin = Origin::echo();
    let mut client = Client::through(relay.addr(), origin.addr);
    let drained = api.ask("POST", "/api/v1/drain", None);
    assert_eq!((drained.status, drained.json()), (200, json!({"state": "draining", "sessions": 1})));
    assert!(TcpStream::connect(relay.addr()).is_err(), "a listener was left open");
    assert_eq!(api.ask("GET", "/readyz", None).status, 503);
    assert_eq!(api.get("/api/v1/stats")["state"], "draining");
    echoes(&mut client);
    let undone = api.ask("DELETE", "/api/v1/drain", None);
    assert_eq!((undone.status, undone.json()), (200, json!({"state": "serving", "sessions": 1})));
    echoes(&mut client);
    echoes(&mut Client::through(relay.addr(), origin.addr));
}

/// With `exit` the process ends with the last session, unless that is undone.
#[test]
fn a_drain_that_is_to_end_the_process_does() {
    let (mut relay, api) = Api::serve(Relay::builder());
    let origin = Origin::echo();
    let client = Client::through(relay.addr(), origin.addr);
    assert_eq!(api.ask("POST", "/api/v1/drain", Some("{\"exit\": true}")).status, 200);
    assert_eq!(api.ask("DELETE", "/api/v1/drain", None).status, 200);
    drop(client);
    relay.records(1);
    let mut client = Client::through(relay.addr(), origin.addr);
    assert_eq!(api.ask("POST", "/api/v1/drain", Some("{\"exit\": true}")).status, 200);
    echoes(&mut client);
    drop(client);
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
}

#[test]
fn a_signals_end_is_not_undone() {
    let (mut relay, api) = Api::serve(Relay::builder());
    let origin = Origin::echo();
    let mut client = Client::through(relay.addr(), origin.addr);
    relay.signal("TERM");
    wait::until_true("the drain", PATIENCE, || api.get("/api/v1/stats")["state"] == "ending");
    let (status, error) = api.ask("DELETE", "/api/v1/drain", None).error();
    assert_eq!(status, 409, "{error}");
    echoes(&mut client);
    drop(client);
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
}

/// A dry run tells what a reload would change and changes nothing; a bad file changes nothing either.
#[test]
fn a_reload_is_tried_refused_and_done() {
    let (mut relay, api) = Api::serve(Relay::builder());
    let reload = |body: Option<&str>| api.ask("POST", "/api/v1/reload", body);
    let idle =
        |idle: &str| api.ask("GET", "/api/v1/config", None).body.contains(&format!("idle = \"{idle}\""));
    relay.write(&[("timeouts", "idle", "\"90s\"")]);
    let tried = reload(Some("{\"dry_run\": true}")).json();
    assert_eq!(tried["applied"], false, "{tried}");
    assert!(!idle("1m 30s"), "a dry run changed something");
    let change =
        tried["changes"].as_array().expect("changes").iter().find(|one| one["key"] == "timeouts.idle");
    let change = change.unwrap_or_else(|| panic!("{tried}"));
    assert_eq!((&change["to"], &change["taken"]), (&json!("\"1m 30s\""), &json!(true)));
    relay.write(&[("timeouts", "idle", "\"soon\"")]);
    let refused = reload(None);
    assert_eq!(refused.status, 422);
    let problem = refused.json()["problems"][0].to_string();
    assert!(problem.contains("outflow.toml:") && problem.contains("[timeouts] key `idle`"), "{problem}");
    assert!(!idle("1m 30s"), "a bad file changed something");
    relay.write(&[("timeouts", "idle", "\"90s\""), ("server", "workers", "3")]);
    let done = reload(None).json();
    assert_eq!(
        (&done["applied"], &done["needs_hand_over"]),
        (&json!(true), &json!(["server.workers"])),
        "{done}"
    );
    assert!(idle("1m 30s"), "nothing changed");
}
