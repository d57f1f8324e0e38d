//! The addresses of a pool over real sockets: which are left alone and how they come back, and what is set by hand.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::relay::{Builder, Engine, binary, run_to_exit};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Origin, Relay, netns};

/// Everything leaves from a pool of these addresses.
fn fleet(addresses: &[&str], select: &str) -> Builder {
    let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    Relay::builder()
        .workers(2)
        .set("[egress]", "name", "\"fleet\"")
        .set("[egress]", "addresses", &format!("[{}]", list.join(", ")))
        .set("[egress]", "select", &format!("\"{select}\""))
        .rules(&["name = \"all\"\naction = \"allow\"\negress = \"fleet\""])
}

/// A session to this target by this listener: how it was answered, and from where it leaves.
fn session(listener: SocketAddr, target: SocketAddr) -> (Client, u8, IpAddr) {
    let mut client = Client::greeted(listener);
    let reply = client.request_ip(target);
    (client, reply.rep, reply.bound.ip())
}

/// The same of a client that comes from this address.
fn session_from(from: [u8; 4], listener: SocketAddr, target: SocketAddr) -> (Client, u8, IpAddr) {
    let mut client = Client::connect_from(SocketAddr::from((from, 0)), listener);
    client.greet_none();
    let reply = client.request_ip(target);
    (client, reply.rep, reply.bound.ip())
}

/// From where sessions leave to a target that takes them.
fn sources(listener: SocketAddr, target: SocketAddr, count: usize) -> BTreeMap<IpAddr, usize> {
    let mut sources = BTreeMap::new();
    for _ in 0..count {
        let (mut client, rep, source) = session(listener, target);
        assert_eq!(rep, 0x00);
        client.finish();
        *sources.entry(source).or_default() += 1;
    }
    sources
}

/// Each address with how it stands and why.
fn states(api: Api) -> BTreeMap<String, (String, Option<String>)> {
    let told = api.get("/api/v1/egress?name=fleet");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let one = |one: &Value| {
        (
            text(&one["address"]).expect("an address"),
            (text(&one["state"]).expect("a state"), text(&one["cause"])),
        )
    };
    told["addresses"].as_array().expect("a list").iter().map(one).collect()
}

fn state(api: Api, address: &str) -> (String, Option<String>) {
    states(api).remove(address).unwrap_or_else(|| panic!("{address} is not there"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// It costs no session: the next address is taken, and the one that is missing is asked again now and then.
#[test]
fn an_address_that_this_machine_lacks_is_left_alone_and_comes_back_when_it_has_it() {
    netns::run(&test_name!(), "ip addr add 198.51.100.1/32 dev lo", || {
        let origin = Origin::echo();
        let (relay, api) = Api::serve(fleet(&["198.51.100.1", "198.51.100.2"], "round-robin"));
        let from = |count| sources(relay.addr(), origin.addr, count);
        assert_eq!(from(20), [(ip("198.51.100.1"), 20)].into());
        let (state, cause) = state(api, "198.51.100.2");
        assert!(["cooled", "probed"].contains(&&*state), "{state}");
        assert_eq!(cause.as_deref(), Some("missing"));
        relay.logged(&["an address is left alone", "198.51.100.2", "missing"]);
        netns::shell("ip addr add 198.51.100.2/32 dev lo");
        wait::until("the address serves again", PATIENCE, || {
            from(2);
            (states(api)["198.51.100.2"].0 == "serving").then_some(())
        });
        assert_eq!(from(20).len(), 2);
        relay.logged(&["an address serves again", "198.51.100.2"]);
        let said = relay.log().lines().filter(|line| line.contains("an address is left alone")).count();
        assert_eq!(said, 1, "{}", relay.log());
        let scrape = api.ask("GET", "/metrics", None).body;
        assert!(
            scrape.contains("outflow_egress_cooldowns_total{egress=\"fleet\",cause=\"missing\"} 1"),
            "{scrape}"
        );
    });
}

/// A crawler whose one target is down once had all of its addresses left alone.
#[test]
fn one_target_that_is_down_is_held_against_no_address_and_many_that_refuse_are() {
    let [one, two] = ["127.0.1.1", "127.0.1.2"];
    let builder =
        fleet(&[one, two], "client").set("[egress]", "cooldown", "{ min_samples = 20, max = \"10m\" }");
    let (relay, api) = Api::serve(builder.listen(&["127.0.1.1:0", "127.0.1.2:0"]));
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let by_one = relay.addrs()[0];
    for _ in 0..60 {
        assert_eq!(session(by_one, closed).1, 0x05);
    }
    assert_eq!(state(api, one).0, "serving");
    // For clients of several networks: one alone may have chosen its targets.
    let refuse = |last: u8| {
        let target = SocketAddr::from(([127, 3, 4, last], closed.port()));
        session_from([127, 60 + last % 6, 0, 1], by_one, target).1
    };
    let left_alone = (1..=120).any(|last| {
        assert_eq!(refuse(last), 0x05);
        state(api, one).0 == "cooled"
    });
    assert!(left_alone, "{:?}", states(api));
    assert_eq!(state(api, one).1.as_deref(), Some("refused"));
    assert_eq!(state(api, two).0, "serving");
    // Who is at home there leaves from the other meanwhile.
    let origin = Origin::echo();
    let (_, rep, source) = session(by_one, origin.addr);
    assert_eq!((rep, source), (0x00, ip(two)));
    wait::until("a probe brings it back", PATIENCE, || {
        sources(by_one, origin.addr, 1);
        (state(api, one).0 == "serving").then_some(())
    });
    assert_eq!(sources(by_one, origin.addr, 1), [(ip(one), 1)].into());
}

/// Forty dead targets, asked for from six addresses of one network, had all addresses of a pool but one left alone.
fn dead_targets_of_one_client_move_nobody_else(engine: Engine) {
    let origin = Origin::echo();
    let four = ["127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"];
    let builder = fleet(&four, "sticky").engine(engine).set("[egress]", "sticky_on", "[\"source\"]");
    let builder = builder.set("[egress]", "failover", "2").set(
        "[egress]",
        "cooldown",
        "{ min_samples = 20, max = \"10m\" }",
    );
    let (relay, api) = Api::serve(builder);
    let homes = || -> Vec<IpAddr> {
        let home = |network: u8| session_from([127, 60, network, 1], relay.addr(), origin.addr);
        (0..16)
            .map(home)
            .map(|(_, rep, source)| (rep == 0).then_some(source).expect("it is served"))
            .collect()
    };
    let before = homes();
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    for source in 1..=6 {
        for last in 1..=40 {
            let target = SocketAddr::from(([127, 3, 4, last], closed.port()));
            assert_eq!(session_from([127, 50, 0, source], relay.addr(), target).1, 0x05);
        }
    }
    let serving = ("serving".to_owned(), None);
    assert!(states(api).values().all(|state| *state == serving), "{:?}", states(api));
    assert_eq!(homes(), before);
    assert!(!relay.log().contains("is left alone"), "{}", relay.log());
}

engines!(dead_targets_of_one_client_move_nobody_else);

fn a_drained_address_keeps_its_sessions_and_gets_no_others(engine: Engine) {
    let origin = Origin::echo();
    let builder = fleet(&["127.0.1.1", "127.0.1.2"], "round-robin").engine(engine);
    let (mut relay, api) = Api::serve(builder);
    let endpoint = relay.admin_addr().to_string();
    let egress = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("egress").args(arguments).args(["--admin", &endpoint]);
        let output = run_to_exit(command);
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let first = || {
        let (client, rep, source) = session(relay.addr(), origin.addr);
        assert_eq!(rep, 0x00);
        (source == ip("127.0.1.1")).then_some(client)
    };
    let mut standing = wait::until("a session of the first", PATIENCE, first);
    let drained = "drained: no new session leaves from 127.0.1.1 of fleet\n";
    assert_eq!(egress(&["drain", "fleet", "127.0.1.1"]), (Some(0), drained.to_owned()));
    let only = |last: &str| BTreeMap::from([(ip(last), 20)]);
    assert_eq!(sources(relay.addr(), origin.addr, 20), only("127.0.1.2"));
    standing.send(b"still here");
    standing.expect(b"still here");
    relay.reload(&[("timeouts", "idle", "\"1h\"")]);
    assert_eq!(sources(relay.addr(), origin.addr, 20), only("127.0.1.2"), "a reload keeps it");
    let (code, shown) = egress(&["show", "fleet", "--state", "drained"]);
    assert!(code == Some(0) && shown.contains("127.0.1.1  drained"), "{shown}");
    let (code, refused) = egress(&["drain", "fleet", "127.0.1.2"]);
    assert!(code == Some(1) && refused.contains("the last address"), "{refused}");
    let post =
        |what: &str, body: Value| api.ask("POST", &format!("/api/v1/egress/{what}"), Some(&body.to_string()));
    let answer = post("restore", json!({"egress": "fleet", "address": "127.0.1.1"}));
    assert_eq!((answer.status, &answer.json()["changed"]), (200, &true.into()));
    assert_eq!(sources(relay.addr(), origin.addr, 20).len(), 2);
    assert_eq!(post("drain", json!({"egress": "flet", "address": "127.0.1.1"})).error().0, 404);
    relay.logged(&["an address was set by hand", "egress=fleet", "127.0.1.1", "by="]);
    let (code, listed) = egress(&["list"]);
    assert!(code == Some(0) && listed.contains("fleet  round-robin"), "{listed}");
    let stats = api.get("/api/v1/stats");
    assert_eq!(stats["egress"][0]["addresses"]["serving"], json!(2), "{stats}");
}

engines!(a_drained_address_keeps_its_sessions_and_gets_no_others);

fn ports_are_counted_until_time_wait_is_over(engine: Engine) {
    let origin = Origin::echo();
    let (relay, api) = Api::serve(fleet(&["127.0.1.1"], "sticky").engine(engine));
    let pool = || {
        let mut told = api.get("/api/v1/egress");
        told["pools"][0].take()
    };
    let (held, _, _) = session(relay.addr(), origin.addr);
    let (mut ends, _, _) = session(relay.addr(), origin.addr);
    let told = pool();
    assert_eq!(
        (&told["ports_open"], &told["sessions_active"], &told["sessions"]),
        (&json!(2), &json!(2), &json!(2))
    );
    let pair = &told["fullest"][0];
    assert_eq!((&pair["source"], &pair["target"]), (&json!("127.0.1.1"), &json!(origin.addr.to_string())));
    // Our side closes first: it has the port for as long as the kernel.
    ends.finish();
    let waits = || (pool()["ports_time_wait"] == json!(1)).then_some(());
    wait::until("a port in TIME_WAIT", PATIENCE, waits);
    assert_eq!(pool()["ports_open"], json!(1));
    // A connection to this machine may take it out of TIME_WAIT after a second, by the kernel's default.
    let reuse = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_tw_reuse").expect("the setting");
    if reuse.trim() != "0" {
        wait::until("it is free", PATIENCE, || (pool()["ports_time_wait"] == json!(0)).then_some(()));
    }
    // A client that resets: so is the target, and nothing waits.
    held.reset();
    let free = || (pool()["ports_open"] == json!(0)).then_some(());
    wait::until("both are free", PATIENCE, free);
    assert_eq!(pool()["ports_time_wait"], json!(0));
}

engines!(ports_are_counted_until_time_wait_is_over);
