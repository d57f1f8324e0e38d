//! What of each limit is reached: counted by its name, and told in the log and in records.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::origin::V4;
use crate::support::udp::{Association, Target, associate, drops, zeros};
use crate::support::wait::{PATIENCE, until_true};
use crate::support::{Client, Engine, Origin, Relay};

/// How often this of this limit was reached; `None` where it has no such series.
fn reached(api: Api, limit: &str, kind: &str) -> Option<u64> {
    let metrics = api.ask("GET", "/metrics", None).body;
    let series = format!("outflow_limit_reached_total{{limit=\"{limit}\",kind=\"{kind}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
}

/// Every kind but rates of bytes. A limit that a reload takes away keeps what was counted, and nothing else.
#[test]
fn what_of_a_limit_is_reached_is_counted_by_its_name() {
    let (origin, target) = (Origin::echo(), Target::on(V4));
    let builder = Relay::builder()
        .workers(2)
        .set("limits", "per_source", "{ connections = 3, udp_associations = 1 }")
        .limits(&[
            "name = \"few\"\nper = \"global\"\nconnections = 1\nnew_per_second = { rate = 1000, burst = 1000 }",
            "name = \"slow\"\nper = \"source\"\ndatagrams = { rate = 1, burst = 5 }",
            "name = \"first\"\nper = \"rule\"\nnew_per_second = { rate = 1, burst = 1 }\nupload = \"1MB\"",
        ])
        .rules(&[
            "name = \"tcp\"\ncommands = [\"connect\"]\naction = \"allow\"\nlimits = [\"few\"]",
            "name = \"udp\"\ncommands = [\"udp_associate\"]\naction = \"allow\"\nlimits = [\"slow\"]",
            "name = \"rest\"\naction = \"allow\"\nlimits = [\"first\"]",
        ]);
    let (mut relay, api) = Api::serve(builder);
    assert_eq!(reached(api, "few", "connections"), Some(0), "a series from the start");
    assert_eq!(reached(api, "few", "upload"), None, "it bounds none");
    let held = Client::through(relay.addr(), origin.addr);
    for _ in 0..3 {
        let mut refused = Client::greeted(relay.addr());
        assert_eq!(refused.request_ip(origin.addr).rep, 0x02);
        refused.expect_eof();
    }
    assert_eq!(reached(api, "few", "connections"), Some(3));
    let association = Association::open(relay.addr());
    assert_eq!(associate(&mut Client::greeted(relay.addr()), zeros(V4)).rep, 0x02);
    assert_eq!(reached(api, "limits.per_source", "udp_associations"), Some(1));
    for _ in 0..20 {
        association.send(target.addr, b"x");
    }
    until_true("the rest is dropped", PATIENCE, || drops(&relay).get("limit").is_some_and(|n| *n >= 14));
    until_true("and counted", PATIENCE, || reached(api, "slow", "datagrams") == Some(drops(&relay)["limit"]));
    drop((held, association));
    relay.put_limits(&[]);
    relay.put_rules(&["name = \"all\"\naction = \"allow\""]);
    relay.reload(&[]);
    assert_eq!(reached(api, "few", "connections"), Some(3));
    assert_eq!((reached(api, "few", "new_per_second"), reached(api, "first", "upload")), (None, None));
}

/// The sessions of a source are counted from their first moment, and named as all other limits are.
#[test]
fn the_sessions_of_a_source_are_a_limit_like_others() {
    let origin = Origin::echo();
    let (relay, api) = Api::serve(Relay::builder().set("limits", "per_source", "{ connections = 1 }"));
    let _held = Client::through(relay.addr(), origin.addr);
    assert_eq!(Client::greeted(relay.addr()).request_ip(origin.addr).rep, 0x02);
    assert_eq!(relay.record()["limit"], "limits.per_source");
    relay.logged(&["sessions refused", "limit=\"limits.per_source\""]);
    assert_eq!(reached(api, "limits.per_source", "connections"), Some(1));
}

/// By the API, for all limits and for one; of the sessions of sources, which are counted from their first moment, too.
#[test]
fn how_full_limits_are_is_told() {
    let origin = Origin::echo();
    let builder = Relay::builder()
        .workers(2)
        .users(&[("ann", b"a"), ("bob", b"b")])
        .set("limits", "per_source", "{ connections = 8 }")
        .limits(&[
            "name = \"basic\"\nper = \"user\"\nconnections = 4\nupload = \"1MB\"",
            "name = \"unused\"\nper = \"global\"\ndatagrams = 10",
        ])
        .rules(&["name = \"all\"\naction = \"allow\"\nlimits = [\"basic\"]"]);
    let (relay, api) = Api::serve(builder);
    let session = |user: &str| {
        let mut client = Client::connect(relay.addr());
        assert_eq!(client.login(user.as_bytes(), &user.as_bytes()[..1]), 0);
        assert_eq!(client.request_ip(origin.addr).rep, 0x00);
        client
    };
    let held = ["ann", "bob", "ann", "ann"].map(session);
    let all = api.get("/api/v1/limits");
    let [of_source, basic, unused] = &all["limits"].as_array().expect("a list")[..] else { panic!("{all}") };
    assert_eq!(of_source["limit"], "limits.per_source");
    assert_eq!((&of_source["fill"], &of_source["sessions"]), (&json!(0.5), &json!(4)), "{all}");
    assert_eq!(of_source["fullest"][0]["holder"], "source:127.0.0.1");
    assert_eq!(basic["terms"], json!({"connections": 4, "upload": {"rate": 1_000_000, "burst": 1_000_000}}));
    assert_eq!(
        (&basic["subjects"], &basic["sessions"], &basic["fill"]),
        (&json!(2), &json!(4), &json!(0.75))
    );
    let holders = |limit: &Value| -> Vec<String> {
        let fullest = limit["fullest"].as_array().expect("a list").iter();
        fullest.map(|one| one["holder"].as_str().expect("a holder").to_owned()).collect()
    };
    assert_eq!(holders(basic), ["user:ann", "user:bob"]);
    assert_eq!((&unused["fill"], &unused["subjects"]), (&Value::Null, &json!(0)));
    let one = api.get("/api/v1/limits?limit=basic&fullest=1");
    assert_eq!(
        (one["limits"].as_array().map(Vec::len), holders(&one["limits"][0])),
        (Some(1), vec!["user:ann".into()])
    );
    let shown = api.get("/api/v1/stats")["limits"].clone();
    assert_eq!(
        shown[1],
        json!({"limit": "basic", "per": "user", "reached": 0, "subjects": 2, "fill": 0.75}),
        "{shown}"
    );
    for (query, words) in [("limit=basik", "did you mean \"basic\"?"), ("fullest=21", "1 to 20")] {
        let (status, what) = api.ask("GET", &format!("/api/v1/limits?{query}"), None).error();
        assert!(status == 400 && what.contains(words), "{what}");
    }
    drop(held);
    until_true("nobody has an account", PATIENCE, || {
        api.get("/api/v1/limits?limit=basic")["limits"][0]["subjects"] == 0
    });
}

/// A wait for a rate is counted once, however often the session is looked at meanwhile, and none where it is not reached.
fn waits_for_a_rate_are_counted(engine: Engine) {
    let source = Origin::source(300_000);
    let builder = Relay::builder().engine(engine).limits(&[
        "name = \"slow\"\nper = \"session\"\ndownload = { rate = \"200kB\", burst = \"100kB\" }\nupload = \"1MB\"",
    ]);
    let (relay, api) =
        Api::serve(builder.rules(&["name = \"all\"\naction = \"allow\"\nlimits = [\"slow\"]"]));
    let mut client = Client::through(relay.addr(), source.addr);
    assert_eq!(client.recv_to_eof().len(), 300_000);
    let waits = reached(api, "slow", "download").expect("a series");
    // A second's worth beyond the burst, drawn twenty times a second.
    assert!((5..=60).contains(&waits), "{waits}");
    assert_eq!(reached(api, "slow", "upload"), Some(0));
}
engines!(waits_for_a_rate_are_counted);
