//! Parents and their servers as the endpoint and the command line tell of them, and what is set of them by hand.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::parent::{FakeParent, Habits, through};
use crate::support::relay::{Engine, binary, run_to_exit};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay};

/// A session that is led through the parent and speaks with an echo.
fn session(relay: &Relay, target: &Origin) -> Client {
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_ip(target.addr).rep, 0);
    client.send(b"ping");
    client.expect(b"ping");
    client
}

/// How many more sessions each of these parents has by twenty more.
fn twenty(relay: &Relay, target: &Origin, parents: &[FakeParent; 2]) -> [usize; 2] {
    let had = || [parents[0].told().len(), parents[1].told().len()];
    let before = had();
    for _ in 0..20 {
        session(relay, target).finish();
    }
    let now = had();
    [now[0] - before[0], now[1] - before[1]]
}

/// The server at this place, from 1 on.
fn server(api: Api, place: usize) -> Value {
    let mut told = api.get("/api/v1/parents?name=up");
    told["servers"][place - 1].take()
}

/// What `outflow parent` says, with its exit code.
fn parent(relay: &Relay, arguments: &[&str]) -> (Option<i32>, String) {
    outflow(relay, &[&["parent"], arguments].concat())
}

/// What a command says, with its exit code.
fn outflow(relay: &Relay, arguments: &[&str]) -> (Option<i32>, String) {
    let said = || {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--admin", &relay.admin_addr().to_string()]);
        let output = run_to_exit(command);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        // A test that polls asks more often than anybody may.
        (!said.contains("too many requests")).then(|| (output.status.code(), said))
    };
    wait::until("an answer that is not too much asked", PATIENCE, said)
}

fn a_drained_server_keeps_its_sessions_and_gets_no_others(engine: Engine) {
    let target = Origin::echo();
    let habits = Habits { asks_login: true, ..Habits::default() };
    let parents = [(); 2].map(|()| FakeParent::socks5_with(target.addr, habits));
    let servers = parents.each_ref().map(|parent| format!("socks5h://xavier7:hunter2@{}", parent.addr()));
    let builder = through(Relay::builder().engine(engine).workers(2), &servers, &[]);
    let (mut relay, api) = Api::serve(builder);
    let [first, second] = parents.each_ref().map(|parent| format!("socks5h://{}", parent.addr()));
    let through_first = || {
        let client = session(&relay, &target);
        (parents[0].told().len() == 1).then_some(client)
    };
    let mut standing = wait::until("a session through the first", PATIENCE, through_first);
    let told = server(api, 1);
    assert_eq!(
        (&told["server"], &told["state"], &told["sessions_active"]),
        (&json!(first), &json!("up"), &json!(1))
    );
    let (code, said) = parent(&relay, &["drain", "up", &first]);
    assert_eq!((code, said), (Some(0), format!("drained: no new session goes through {first} of up\n")));
    assert_eq!(twenty(&relay, &target, &parents), [0, 20]);
    standing.send(b"still here");
    standing.expect(b"still here");
    relay.reload(&[("timeouts", "idle", "\"1h\""), ("[parent]", "max_fails", "7")]);
    assert_eq!(twenty(&relay, &target, &parents), [0, 20], "a reload keeps it");
    let (code, shown) = parent(&relay, &["show", "up", "--state", "drained"]);
    assert!(code == Some(0) && shown.contains(&format!("{first}       1  drained")), "{shown}");
    let (code, refused) = parent(&relay, &["drain", "up", "2"]);
    assert!(code == Some(1) && refused.contains(&format!("{second} is the last server")), "{refused}");
    let post = |what: &str, body: Value| {
        api.ask("POST", &format!("/api/v1/parents/{what}"), Some(&body.to_string()))
    };
    let answer = post("restore", json!({"parent": "up", "server": servers[0]}));
    assert_eq!((answer.status, &answer.json()["changed"]), (200, &true.into()));
    assert_eq!(answer.json()["server"], json!(first));
    // Each worker has turns of its own.
    assert!(twenty(&relay, &target, &parents).iter().all(|sessions| *sessions >= 8));
    let wrong = post("drain", json!({"parent": "up", "server": servers[0].replace('1', "2")})).error();
    assert!(wrong.0 == 404 && !wrong.1.contains("hunter2"), "{wrong:?}");
    relay.logged(&["a server of a parent was set by hand", &first, "by="]);
    let (code, listed) = parent(&relay, &["list"]);
    assert!(code == Some(0) && listed.contains("up      round-robin   2"), "{listed}");
    let stats = api.get("/api/v1/stats");
    assert_eq!(stats["parents"][0]["servers"], json!({"up": 2, "backup": 0, "down": 0, "drained": 0}));
    drop(standing);
    let none = || (server(api, 1)["sessions_active"] == json!(0)).then_some(());
    wait::until("no session is left", PATIENCE, none);
    let all =
        [api.get("/api/v1/parents").to_string(), stats.to_string(), listed, shown, relay.log()].concat();
    assert!(!all.contains("hunter2") && !all.contains("xavier7"), "{all}");
}

engines!(a_drained_server_keeps_its_sessions_and_gets_no_others);

/// Why sessions keep away from a server, until when, and what the last look at it found.
#[test]
fn a_server_that_is_down_says_why_and_what_a_look_found() {
    let target = Origin::echo();
    let (first, second) = (FakeParent::socks5(target.addr), FakeParent::socks5(target.addr));
    let at = first.addr();
    let servers = [format!("socks5://{at}"), format!("socks5://{}", second.addr())];
    let check = format!("{{ target = \"{}\", every = \"1s\" }}", target.addr);
    let keys = [("max_fails", "1"), ("fail_timeout", "\"1h\""), ("check", check.as_str())];
    let (relay, api) = Api::serve(through(Relay::builder(), &servers, &keys));
    let found = |place: usize, found: &str| {
        let is_found = || (server(api, place)["check"]["found"] == json!(found)).then_some(());
        wait::until(found, PATIENCE, is_found);
    };
    found(1, "ok");
    found(2, "ok");
    assert_eq!(server(api, 1)["sessions"], json!(0), "a look is no session");
    drop(first);
    found(1, "refused");
    let told = server(api, 1);
    assert_eq!((&told["state"], &told["cause"]), (&json!("down"), &json!("refused")), "{told}");
    assert!(told["until"].is_string() && told["failures"]["refused"].as_u64() > Some(0), "{told}");
    let (_, shown) = parent(&relay, &["show", "--state", "down"]);
    assert!(shown.contains("down   refused") && shown.contains("1 shown of 1 that match, of 2"), "{shown}");
    let scrape = api.ask("GET", "/metrics", None).body;
    assert!(scrape.contains("outflow_parent_servers{parent=\"up\",state=\"down\"} 1\n"), "{scrape}");
    let (code, said) = parent(&relay, &["drain", "up", "2"]);
    assert_eq!(code, Some(0), "{said}");
    let explained = api.get(&format!("/api/v1/explain?to={}", target.addr));
    let servers = &explained["parent"]["servers"];
    assert_eq!(
        (&servers[0]["state"], &servers[0]["cause"]),
        (&json!("down"), &json!("refused")),
        "{explained}"
    );
    assert_eq!((&servers[1]["state"], &explained["parent"]["fallback"]), (&json!("drained"), &json!("fail")));
    let (_, words) = outflow(&relay, &["explain", "--to", &target.addr.to_string()]);
    assert!(
        words.contains(&format!("no server of parent up serves now: socks5://{at} is down (refused)")),
        "{words}"
    );
    let (code, said) = parent(&relay, &["restore", "up", "1"]);
    assert_eq!((code, said), (Some(0), format!("restored: sessions go through socks5://{at} of up\n")));
    let _back = FakeParent::socks5_at(at, target.addr);
    found(1, "ok");
    let up = || (server(api, 1)["state"] == json!("up")).then_some(());
    wait::until("it is up", PATIENCE, up);
    assert_eq!(server(api, 1)["cause"], Value::Null);
}

/// Connections that wait, and for how many sessions there was one.
#[test]
fn idle_connections_are_told_of_each_server() {
    let target = Origin::echo();
    let parent = FakeParent::socks5(target.addr);
    let servers = [format!("socks5://{}", parent.addr())];
    let (relay, api) = Api::serve(through(Relay::builder(), &servers, &[("warm", "2")]));
    let told = |ready: u64, hits: u64, misses: u64| {
        let wanted = [ready, hits, misses].map(|count| json!(count));
        let seen = || {
            let told = server(api, 1);
            ([&told["warm_ready"], &told["warm_hits"], &told["warm_misses"]] == wanted.each_ref())
                .then_some(())
        };
        wait::until("what is told", PATIENCE, seen);
    };
    told(0, 0, 0);
    let first = session(&relay, &target);
    told(2, 0, 1);
    let second = session(&relay, &target);
    told(2, 1, 1);
    assert_eq!(server(api, 1)["sessions_active"], json!(2));
    drop((first, second));
    let none = || (server(api, 1)["sessions_active"] == json!(0)).then_some(());
    wait::until("no session is left", PATIENCE, none);
    assert_eq!(server(api, 1)["sessions"], json!(2));
}

/// The record of a session names the server that was asked last, and what it failed by.
#[test]
fn a_record_says_what_kept_a_parent_from_leading_on() {
    let (target, gone) = (Origin::echo(), Origin::echo().addr);
    let good = FakeParent::socks5(target.addr);
    for (servers, cause) in [
        (vec![format!("socks5://{gone}")], json!("refused")),
        (vec![format!("socks5://{gone}"), format!("socks5://{}", good.addr())], Value::Null),
    ] {
        let relay = through(Relay::builder(), &servers, &[("max_fails", "0")]).start();
        let mut client = Client::greeted(relay.addr());
        let rep = client.request_ip(target.addr).rep;
        drop(client);
        assert_eq!(rep == 0, cause.is_null());
        let record = relay.record();
        assert_eq!((&record["parent"], &record["parent_cause"]), (&json!("up"), &cause), "{record}");
        assert_eq!(record["parent_server"], json!(servers.last()), "{record}");
    }
}
