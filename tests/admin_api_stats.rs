//! `/api/v1/stats`, `/history`, `/top`, `/config` and `/log`: what is told of the server as a whole.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::client::userpass;
use crate::support::origin::V4;
use crate::support::udp::{Association, Echo};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Origin, Relay};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Every field has its type, and the counts are those of what was done.
#[test]
fn the_numbers_are_those_of_what_was_done() {
    let (relay, api) = Api::serve(Relay::builder().workers(2).set("log", "level", "\"debug\""));
    let (origin, echo) = (Origin::echo(), Echo::on(V4));
    let mut client = Client::through(relay.addr(), origin.addr);
    client.send(&[1; 1_000]);
    client.recv(1_000);
    let association = Association::open(relay.addr());
    association.send(echo.addr, b"four");
    association.expect(echo.addr, b"four");
    drop(Client::through(relay.addr(), origin.addr));
    relay.records(1);
    // What a client has received is counted once the worker has sent it.
    let stats = wait::until("all is counted", PATIENCE, || {
        let stats = api.get("/api/v1/stats");
        let (counters, timed) = (&stats["counters"], &stats["latencies"]);
        let down: f64 =
            stats["workers"].as_array()?.iter().filter_map(|worker| worker["bytes_down"].as_f64()).sum();
        let all = counters["active"] == 2 && counters["udp_bytes_down"] == 4 && down == 1_004.0;
        (all && timed["session"].is_object()).then_some(stats)
    });
    expect_state(&stats, &relay);
    expect_workers(&stats);
    expect_counters(&stats);
    expect_latencies(&stats);
    expect_process(&stats["process"]);
}

/// It serves, as it was configured.
fn expect_state(stats: &Value, relay: &Relay) {
    for (field, wanted) in [
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("state", json!("serving")),
        ("ready", json!(true)),
        ("alive", json!(true)),
        ("not_ready", Value::Null),
        ("relay", json!("auto")),
        ("listeners", json!([relay.addr().to_string()])),
        ("log_level", json!("debug")),
    ] {
        assert_eq!(stats[field], wanted, "{field} of {stats}");
    }
    assert!(number(&stats["uptime_s"]) < 60.0, "{stats}");
}

/// What was done is spread over the workers.
fn expect_workers(stats: &Value) {
    let workers = stats["workers"].as_array().expect("workers");
    assert_eq!(
        workers.iter().map(|worker| worker["number"].clone()).collect::<Vec<_>>(),
        [json!(0), json!(1)]
    );
    let sum = |field: &str| -> f64 { workers.iter().map(|worker| number(&worker[field])).sum() };
    assert_eq!([sum("active"), sum("accepted")], [2.0, 3.0]);
    assert_eq!([sum("bytes_up"), sum("bytes_down")], [1_004.0, 1_004.0]);
    assert!(
        workers.iter().all(|worker| worker["stalled"] == false && number(&worker["sessions_max"]) > 100.0)
    );
    assert!(
        workers.iter().any(|worker| number(&worker["turn_ms"]["max"]) >= number(&worker["turn_ms"]["p50"]))
    );
}

/// What was done is counted, and what was not is there as a zero.
fn expect_counters(stats: &Value) {
    let counters = stats["counters"].as_object().expect("counters");
    for (name, wanted) in [
        ("accepted", 3),
        ("active", 2),
        ("closed_completed", 0),
        ("udp_datagrams_up", 1),
        ("udp_bytes_down", 4),
        ("udp_associations", 1),
        ("closed_killed", 0),
        ("stalls", 0),
    ] {
        if name != "closed_completed" {
            assert_eq!(counters[name], wanted, "{name} of {stats}");
        }
        assert!(counters.contains_key(name), "{name} of {stats}");
    }
}

/// What was timed has its quantiles.
fn expect_latencies(stats: &Value) {
    for name in ["handshake", "auth", "dns", "connect", "first_byte", "session", "turn", "delay"] {
        let timed = &stats["latencies"][name];
        if !timed.is_null() {
            for field in ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"] {
                assert!(
                    number(&timed[field]) >= 0.0 && number(&timed["count"]) > 0.0,
                    "{name}.{field} of {stats}"
                );
            }
        }
    }
    assert!(number(&stats["latencies"]["session"]["count"]) == 1.0, "{stats}");
    assert!(number(&stats["latencies"]["connect"]["count"]) >= 1.0, "{stats}");
}

/// What the process uses has its numbers.
fn expect_process(process: &Value) {
    assert!(number(&process["rss_bytes"]) > 1e6 && number(&process["threads"]) >= 3.0, "{process}");
    assert!(number(&process["open_fds"]) > 5.0 && number(&process["max_fds"]) > number(&process["open_fds"]));
    assert!(number(&process["cpu_s"]) >= 0.0);
}

/// The history gets a point each second, and the traffic of a second stands in it and in the rates.
#[test]
fn the_history_moves_with_the_traffic() {
    let (relay, api) = Api::serve(Relay::builder());
    let origin = Origin::echo();
    let points = |name: &str| -> Vec<Value> {
        let history = api.get("/api/v1/history");
        assert_eq!(history["interval_s"], 1);
        let series = history["series"].as_object().expect("series");
        let lengths: Vec<usize> =
            series.values().map(|values| values.as_array().expect("values").len()).collect();
        assert_eq!(series.len(), 10, "{series:?}");
        assert!(lengths.iter().all(|length| *length == lengths[0] && *length <= 900), "{lengths:?}");
        series[name].as_array().expect("values").clone()
    };
    wait::until_true("a quiet second", PATIENCE, || points("bytes_up").len() >= 2);
    let mut client = Client::through(relay.addr(), origin.addr);
    let mut sent = 0_u64;
    let rate = wait::until("the rate of the traffic", PATIENCE, || {
        client.send(&[1; 1_000]);
        client.recv(1_000);
        sent += 1_000;
        Some(number(&api.get("/api/v1/stats")["rates"]["bytes_up"])).filter(|rate| *rate > 5_000.0)
    });
    assert!(rate <= 2.0 * sent as f64, "{rate} a second of {sent}");
    wait::until_true("a second with bytes", PATIENCE, || {
        let (up, down) = (points("bytes_up"), points("bytes_down"));
        let sum = |values: &[Value]| -> f64 { values.iter().filter_map(Value::as_f64).sum() };
        sum(&up) > 0.8 * sent as f64 && sum(&down) > 0.8 * sent as f64
    });
    let up: f64 = points("bytes_up").iter().filter_map(Value::as_f64).sum();
    assert!(up < 1.3 * sent as f64, "{up} of {sent}");
    assert!(points("active").iter().any(|active| *active == 1));
    assert!(points("accepted").iter().any(|accepted| number(accepted) > 0.5));
    wait::until_true("turns are told of", PATIENCE, || points("turn_p99_ms").iter().any(Value::is_number));
    // A login that fails is among what was refused, an HTTP request is, too.
    let mut stranger = Client::connect(relay.addr());
    stranger.send(b"GET / HTTP/1.1\r\n\r\n");
    stranger.drain_to_end();
    wait::until_true("a refusal", PATIENCE, || points("refused").iter().any(|refused| number(refused) > 0.5));
}

/// Who moved bytes is at the top, who made sessions too, and nobody who was not verified is a user.
#[test]
fn the_busiest_are_named() {
    let server = DnsServer::zone(&[("big.example", &["127.0.0.1"]), ("small.example", &["127.0.0.1"])]);
    let builder = Relay::builder().workers(2).dns(&server).users(&[("ann", b"secret"), ("bob", b"secret")]);
    let (relay, api) = Api::serve(builder);
    let origin = Origin::echo();
    let session = |user: &[u8], from: &str, host: &[u8], bytes: usize| {
        let mut client = Client::connect_from(from.parse().expect("an address"), relay.addr());
        assert_eq!(client.login(user, b"secret"), 0);
        assert_eq!(client.request_name(host, origin.addr.port()).rep, 0);
        client.send(&vec![1; bytes]);
        client.recv(bytes);
        client
    };
    let big = session(b"ann", "127.0.3.1:0", b"big.example", 50_000);
    for _ in 0..3 {
        drop(session(b"bob", "127.0.3.2:0", b"small.example", 100));
    }
    let mut failed = Client::connect(relay.addr());
    failed.send(&[&[5, 1, 2][..], &userpass(b"mallory", b"wrong")].concat());
    failed.drain_to_end();
    relay.records(4);
    let bytes = api.get("/api/v1/top");
    assert_eq!((&bytes["window_s"], &bytes["by"]), (&json!(60), &json!("bytes")));
    let first = |top: &Value, list: &str| top[list][0].clone();
    for (list, name) in [("users", "ann"), ("sources", "127.0.3.1"), ("targets", "big.example")] {
        let busiest = first(&bytes, list);
        assert_eq!(
            (&busiest["name"], &busiest["sessions"], &busiest["over"]),
            (&json!(name), &json!(1), &json!(0)),
            "{bytes}"
        );
        assert_eq!(busiest["bytes"], 100_000, "{bytes}");
    }
    let sessions = api.get("/api/v1/top?by=sessions&limit=1");
    for (list, name) in [("users", "bob"), ("sources", "127.0.3.2"), ("targets", "small.example")] {
        let busiest = first(&sessions, list);
        assert_eq!((&busiest["name"], &busiest["sessions"]), (&json!(name), &json!(3)), "{sessions}");
        assert_eq!(sessions[list].as_array().map(Vec::len), Some(1));
    }
    let users = bytes["users"].as_array().expect("users");
    assert_eq!(users.len(), 2, "{bytes}");
    for (query, words) in [
        ("by=byte", "did you mean \"bytes\"?"),
        ("limit=0", "1 to 100"),
        ("limit=101", "1 to 100"),
        ("to=1", "no parameter"),
    ] {
        let (status, error) = api.ask("GET", &format!("/api/v1/top?{query}"), None).error();
        assert!(status == 400 && error.contains(words), "{query}: {status} {error}");
    }
    drop(big);
}

/// The configuration in effect is what `check` prints, and gives the same one again.
#[test]
fn the_configuration_in_effect_is_told() {
    let (relay, api) = Api::serve(Relay::builder().timeout("idle", 77_000));
    let answer = api.ask("GET", "/api/v1/config", None);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    let text = answer.body;
    for line in ["idle = \"1m 17s\"", "[admin]", "[server]"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    drop(relay);
}

/// The level of the log is another at once, and back.
#[test]
fn the_level_of_the_log_is_changed() {
    let (relay, api) = Api::serve(Relay::builder());
    let set = |level: &str| api.ask("PUT", "/api/v1/log", Some(&json!({ "level": level }).to_string()));
    let answer = set("debug");
    assert_eq!((answer.status, answer.json()), (200, json!({"level": "debug", "was": "info"})));
    assert_eq!(api.get("/api/v1/stats")["log_level"], "debug");
    let (status, error) = set("debgu").error();
    assert!(status == 400 && error.contains("did you mean \"debug\"?"), "{status} {error}");
    assert_eq!(set("info").json(), json!({"level": "info", "was": "debug"}));
    relay.logged(&["uid ", "level"]);
}

/// What no route has, and what a route does not have.
#[test]
fn routes_have_their_methods_and_no_others() {
    let (_relay, api) = Api::serve(Relay::builder());
    for (path, allowed) in [
        ("/api/v1/stats", "GET, HEAD"),
        ("/api/v1/history", "GET, HEAD"),
        ("/api/v1/top", "GET, HEAD"),
        ("/api/v1/sessions", "GET, DELETE, HEAD"),
        ("/api/v1/sessions/00c0ffee000000000001", "DELETE"),
        ("/api/v1/users", "GET, HEAD"),
        ("/api/v1/users/ann", "PUT, DELETE"),
        ("/api/v1/reload", "POST"),
        ("/api/v1/drain", "POST, DELETE"),
        ("/api/v1/log", "PUT"),
        ("/api/v1/config", "GET, HEAD"),
    ] {
        let answer = api.ask("PATCH", path, None);
        assert_eq!(answer.status, 405, "{path}: {answer:?}");
        assert_eq!(answer.field("allow"), Some(allowed), "{path}");
    }
    for path in
        ["/api/v1", "/api/v1/", "/api/v1/stat", "/api/v2/stats", "/api/v1/stats/", "/api/v1/sessions/a/b"]
    {
        assert_eq!(api.ask("GET", path, None).status, 404, "{path}");
    }
    for path in ["/api/v1/stats", "/api/v1/history", "/api/v1/users", "/api/v1/config"] {
        let (status, error) = api.ask("GET", &format!("{path}?x=1"), None).error();
        assert!(status == 400 && error.contains("no parameter"), "{path}: {status} {error}");
    }
    let quick = wait::until("a quick answer", PATIENCE, || {
        let (_, took) = wait::timed(|| api.get("/api/v1/stats"));
        Some(took).filter(|took| *took < Duration::from_millis(200))
    });
    assert!(quick < Duration::from_secs(1));
}
