//! Limits and rules of users who come with a ticket.

use std::thread;
use std::time::{Duration, Instant};

use crate::gssapi_realm::realm;
use crate::gssapi_session::every_level;
use crate::support::gss::{GssClient, demand};
use crate::support::keyed::Keyed;
use crate::support::origin::Origin;
use crate::support::sealed::split;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Engine, Relay};

const CONNECT: u8 = 0x01;

/// A principal is a user: his sessions count together, and nobody else's with them.
#[test]
fn a_principal_has_as_many_sessions_as_a_user_may() {
    let realm = realm!();
    let builder = Relay::builder().workers(2).set("limits", "per_user", "{ connections = 2 }");
    let (relay, origin) = (every_level(builder, realm), Origin::echo());
    let ask = |user: &str, level: u8| {
        let mut client = GssClient::established(relay.addr(), realm, user);
        assert_eq!(client.ask_level(level), Some(level));
        (client.request(CONNECT, origin.addr).rep, client)
    };
    let (mut first, mut second) = (ask("alice", 2), ask("alice", 0));
    assert_eq!((first.0, second.0), (0x00, 0x00));
    assert_eq!(ask("alice", 1).0, 0x02);
    let record = relay.record();
    assert_eq!((&record["user"], &record["limit"]), (&"alice".into(), &"limits.per_user".into()), "{record}");
    assert_eq!(ask("bob", 1).0, 0x00);
    for (_, client) in [&mut first, &mut second] {
        client.send(b"ping");
        client.expect(b"ping");
    }
    drop(first);
    wait::until_true("room again", PATIENCE, || ask("alice", 3).0 == 0x00);
}

/// What is counted is content, whatever it is sealed in, and all of it arrives.
fn a_sealed_session_keeps_to_its_rate(level: u8) {
    let realm = realm!();
    let length = 3_000_000;
    let rate = "{ bandwidth = { rate = \"2MB\", burst = \"1MB\" } }";
    let relay = every_level(Relay::builder().set("limits", "per_user", rate), realm);
    let origin = Origin::echo();
    let (mut sender, mut receiver) = split(GssClient::through(relay.addr(), realm, level, origin.addr));
    let begun = Instant::now();
    let seed = u64::from(level);
    thread::scope(|scope| {
        scope.spawn(|| assert!(sender.stream(&mut Keyed::new(seed), length)));
        receiver.stream(&mut Keyed::new(seed), length);
    });
    let took = begun.elapsed();
    assert!((Duration::from_millis(950)..Duration::from_millis(2500)).contains(&took), "{took:?}");
    sender.finish();
    drop(receiver);
    drop(sender);
    let record = relay.record();
    assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&length.into(), &length.into()), "{record}");
}
protected!(a_sealed_session_keeps_to_its_rate);

/// A principal stands in `[groups]` and in the `users` of rules as any user does.
#[test]
fn a_principal_is_in_the_groups_that_rules_name() {
    let realm = realm!();
    let origin = Origin::echo();
    for engine in [Engine::Copy, Engine::Splice] {
        let builder = Relay::builder().engine(engine).set("groups", "staff", "[\"alice\"]").rules(&[
            "name = \"staff\"\ngroups = [\"staff\"]\naction = \"allow\"",
            "name = \"others\"\nnot_users = [\"bob\"]\naction = \"allow\"\nmode = \"report\"",
        ]);
        let relay = demand(builder, realm).start();
        let rep = |user: &str| {
            let mut client = GssClient::established(relay.addr(), realm, user);
            assert!(client.ask_level(2).is_some());
            let rep = client.request(CONNECT, origin.addr).rep;
            if rep == 0x00 {
                client.send(b"ping");
                client.expect(b"ping");
            }
            rep
        };
        assert_eq!((rep("alice"), rep("bob")), (0x00, 0x02));
        let records = relay.records(2);
        let rule_of = |user: &str| {
            let record = records.iter().find(|record| record["user"] == user).expect("a record");
            record["rule"].as_str().map(str::to_owned)
        };
        assert_eq!(
            (rule_of("alice").as_deref(), rule_of("bob").as_deref()),
            (Some("staff"), Some("default"))
        );
    }
}
