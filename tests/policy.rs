//! Rules: who may go where, by what name and at what time of a session it is decided, and what is told of it.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::bind::expect_stranger;
use crate::support::api::Api;
use crate::support::client::{put_address, request};
use crate::support::dns::A;
use crate::support::origin::V4;
use crate::support::relay::{Builder, Engine};
use crate::support::udp::{Association, Echo, expect_drops};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, DnsServer, Origin, Relay};

/// Nothing may be had but what a rule allows.
fn closed(rules: &[&str]) -> Builder {
    Relay::builder().set("policy", "default", "\"deny\"").rules(rules)
}

/// Everything may be had but what a rule denies.
fn open(rules: &[&str]) -> Builder {
    Relay::builder().set("policy", "default", "\"allow\"").rules(rules)
}

const BOTH: [Engine; 2] = [Engine::Copy, Engine::Splice];

/// What a client of 127.0.0.1 is answered that asks for a name.
fn ask_name(relay: &Relay, name: &[u8], port: u16) -> u8 {
    Client::greeted(relay.addr()).request_name(name, port).rep
}

fn ask(relay: &Relay, target: SocketAddr) -> u8 {
    Client::greeted(relay.addr()).request_ip(target).rep
}

/// `rule`, `verdict` and `would_deny` of a record.
fn decided(record: &Value) -> (Option<&str>, Option<&str>, Option<&str>) {
    let text = |field: &str| record.get(field).expect("the field").as_str();
    (text("rule"), text("verdict"), text("would_deny"))
}

/// The record of the session that asked for this host; sessions need not end in the order in which they began.
fn of<'a>(records: &'a [Value], host: &str) -> &'a Value {
    let asked = |record: &&Value| record["target"].as_str().is_some_and(|target| target.starts_with(host));
    records.iter().find(asked).unwrap_or_else(|| panic!("{host}: {records:#?}"))
}

/// An echo that is had through the relay by name, byte for byte.
fn echoes(mut client: Client) {
    client.send(b"ping");
    client.expect(b"ping");
    client.finish();
    client.expect_eof();
}

#[test]
fn a_name_is_one_name_however_it_is_typed() {
    let server = DnsServer::zone(&[("ads.example", &["127.0.0.1"]), ("good.example", &["127.0.0.1"])]);
    let origin = Origin::echo();
    let relay = open(&["name = \"no-ads\"\nto = [\"ads.example\", \"*.ads.example\"]\naction = \"deny\""])
        .dns(&server)
        .start();
    let spellings: [&[u8]; 4] =
        [b"ads.example", b"ADS.example.", b"x.Ads.Example", "ａds.example".as_bytes()];
    for name in spellings {
        assert_eq!(ask_name(&relay, name, origin.addr.port()), 0x02, "{}", name.escape_ascii());
    }
    assert_eq!(ask_name(&relay, b"good.example", origin.addr.port()), 0x00);
    assert_eq!(ask_name(&relay, b"xads.example", origin.addr.port()), 0x04, "there is no such name");
    let records = relay.records(spellings.len() + 2);
    let denied: Vec<&Value> = records.iter().filter(|record| record["verdict"] == "deny").collect();
    assert_eq!(denied.len(), spellings.len());
    for record in denied {
        assert_eq!(decided(record), (Some("no-ads"), Some("deny"), None), "{record}");
        assert_eq!(record["reason"], "denied");
    }
    assert_eq!(server.asked("ads.example", A), 0);
}

/// Whatever a resolver would read as an address is judged as the address.
#[test]
fn an_address_is_one_address_however_it_is_spelt() {
    let origin = Origin::echo();
    let relay = open(&["name = \"no-loopback\"\nto = [\"127.0.0.0/8\"]\naction = \"deny\""]).start();
    let port = origin.addr.port();
    for name in [&b"127.0.0.1"[..], b"127.1", b"2130706433", b"0x7f.1", b"017700000001", b"::ffff:127.0.0.1"]
    {
        assert_eq!(ask_name(&relay, name, port), 0x02, "{}", name.escape_ascii());
    }
    let mapped: IpAddr = "::ffff:127.0.0.1".parse().expect("an address");
    assert_eq!(ask(&relay, SocketAddr::new(mapped, port)), 0x02);
    assert_eq!(origin.accepted(), 0);
}

/// A name that no rule could allow is not asked of anybody: that would tell who wants it.
#[test]
fn a_name_that_cannot_be_allowed_is_refused_without_a_query() {
    let server = DnsServer::zone(&[("a.example", &["127.0.0.1"]), ("b.example", &["127.0.0.1"])]);
    let origin = Origin::echo();
    for engine in BOTH {
        let relay = closed(&["name = \"a\"\nto = [\"a.example\"]\naction = \"allow\""])
            .engine(engine)
            .dns(&server)
            .start();
        assert_eq!(ask_name(&relay, b"b.example", origin.addr.port()), 0x02);
        let mut client = Client::greeted(relay.addr());
        assert_eq!(client.request_name(b"a.example", origin.addr.port()).rep, 0);
        echoes(client);
        let records = relay.records(2);
        assert_eq!(decided(of(&records, "b.example:")), (Some("default"), Some("deny"), None));
        assert_eq!(decided(of(&records, "a.example:")), (Some("a"), Some("allow"), None));
    }
    assert_eq!(server.queries().iter().filter(|query| query.name == "b.example").count(), 0);
}

#[test]
fn a_denied_block_stops_a_name_that_leads_there_and_leaves_the_other_addresses() {
    let server = DnsServer::zone(&[
        ("both.example", &["127.0.0.2", "127.0.0.1", "127.0.0.3"]),
        ("there.example", &["127.0.0.2", "127.0.0.3"]),
    ]);
    let origin = Origin::everywhere();
    let relay =
        open(&["name = \"not-there\"\nto = [\"127.0.0.2/31\"]\naction = \"deny\""]).dns(&server).start();
    assert_eq!(ask_name(&relay, b"both.example", origin.addr.port()), 0x00);
    assert_eq!(ask_name(&relay, b"there.example", origin.addr.port()), 0x02);
    let records = relay.records(2);
    let dialled = SocketAddr::from(([127, 0, 0, 1], origin.addr.port()));
    let both = of(&records, "both.example:");
    assert_eq!(both["address"], dialled.to_string());
    assert_eq!(decided(both), (Some("default"), Some("allow"), None));
    assert_eq!(decided(of(&records, "there.example:")), (Some("not-there"), Some("deny"), None));
    assert!(origin.dialled().iter().all(|at| at.ip().to_canonical() == dialled.ip()));
}

#[test]
fn an_allowed_name_opens_no_special_range_unless_its_rule_says_so() {
    let server = DnsServer::zone(&[("db.corp.example", &["127.0.0.1"]), ("other.example", &["127.0.0.1"])]);
    let origin = Origin::echo();
    let rule = "name = \"corp\"\nto = [\".corp.example\"]\naction = \"allow\"";
    let all = "name = \"all\"\naction = \"allow\"";
    let relay = closed(&[rule, all]).guarded().dns(&server).start();
    assert_eq!(ask_name(&relay, b"db.corp.example", origin.addr.port()), 0x02);
    assert_eq!(decided(&relay.record()), (Some("guard"), Some("deny"), None));
    let private = format!("{rule}\nallow_private = true");
    let relay = closed(&[&private, all]).guarded().dns(&server).start();
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_name(b"db.corp.example", origin.addr.port()).rep, 0);
    echoes(client);
    assert_eq!(ask_name(&relay, b"other.example", origin.addr.port()), 0x02, "for these names alone");
    assert_eq!(ask(&relay, origin.addr), 0x02, "and not for the address behind one");
    assert_eq!(ask_name(&relay, b"db.corp.example", relay.addr().port()), 0x02, "a loop is never had");
    let records = relay.records(4);
    let (allowed, denied): (Vec<Value>, Vec<Value>) =
        records.into_iter().partition(|record| record["verdict"] == "allow");
    assert_eq!(decided(&allowed[0]), (Some("corp"), Some("allow"), None));
    assert!(
        denied.len() == 3 && denied.iter().all(|record| decided(record).0 == Some("guard")),
        "{denied:#?}"
    );
}

#[test]
fn users_and_groups_have_what_is_theirs() {
    let origin = Origin::echo();
    let relay = closed(&[
        "name = \"ann\"\nusers = [\"ann\"]\naction = \"allow\"",
        "name = \"staff\"\ngroups = [\"staff\"]\nnot_users = [\"eve\"]\naction = \"allow\"",
    ])
    .set("groups", "staff", "[\"bob\", \"eve\"]")
    .users(&[("ann", b"secret"), ("bob", b"secret"), ("eve", b"secret"), ("dan", b"secret")])
    .start();
    for (user, rule, rep) in
        [("ann", "ann", 0), ("bob", "staff", 0), ("eve", "default", 2), ("dan", "default", 2)]
    {
        let mut client = Client::connect(relay.addr());
        assert_eq!(client.login(user.as_bytes(), b"secret"), 0);
        assert_eq!(client.request_ip(origin.addr).rep, rep, "{user}");
        drop(client);
        wait::until_true("the record", PATIENCE, || {
            relay.records_now().iter().any(|record| record["user"] == user && record["rule"] == rule)
        });
    }
}

#[test]
fn ports_sources_commands_and_listeners_are_told_apart() {
    let (origin, other) = (Origin::echo(), Origin::echo());
    let port = format!("name = \"ports\"\nports = [{}]\naction = \"deny\"", origin.addr.port());
    let relay = open(&[
        &port,
        "name = \"from\"\nfrom = [\"127.0.0.5/32\"]\naction = \"deny\"",
        "name = \"commands\"\ncommands = [\"bind\", \"udp_associate\"]\naction = \"deny\"",
    ])
    .start();
    assert_eq!((ask(&relay, origin.addr), ask(&relay, other.addr)), (0x02, 0x00));
    let mut elsewhere = Client::connect_from("127.0.0.5:0".parse().expect("an address"), relay.addr());
    elsewhere.greet_none();
    assert_eq!(elsewhere.request_ip(other.addr).rep, 0x02);
    for command in [0x02, 0x03] {
        let mut client = Client::greeted(relay.addr());
        client.send(&request(command, other.addr));
        assert_eq!(client.reply().rep, 0x02);
    }
    let rules: Vec<_> =
        relay.records(5).iter().map(|record| record["rule"].as_str().map(str::to_owned)).collect();
    for rule in ["ports", "default", "from", "commands"] {
        assert!(rules.iter().any(|told| told.as_deref() == Some(rule)), "{rule}: {rules:?}");
    }
}

/// A listener is known by how it is typed, and by whichever number it has after a reload.
#[test]
fn a_listener_has_rules_of_its_own() {
    let origin = Origin::echo();
    let mut relay = open(&["name = \"second\"\nlisteners = [\"127.0.0.2:0\"]\naction = \"deny\""])
        .listen(&[])
        .set("server", "listen", "[\"127.0.0.1:0\", \"127.0.0.2:0\"]")
        .start();
    let ask_at = |at: SocketAddr| Client::greeted(at).request_ip(origin.addr).rep;
    let [first, second] = [relay.addrs()[0], relay.addrs()[1]];
    assert_eq!((ask_at(first), ask_at(second)), (0x00, 0x02));
    relay.reload(&[("server", "listen", "[\"127.0.0.2:0\", \"127.0.0.1:0\"]")]);
    assert_eq!((ask_at(first), ask_at(second)), (0x00, 0x02));
    relay.put_rules(&["name = \"first\"\nnot_listeners = [\"127.0.0.2:0\"]\naction = \"deny\""]);
    relay.reload(&[]);
    assert_eq!((ask_at(first), ask_at(second)), (0x02, 0x00));
}

/// All days are today, and no hour of no day is now.
#[test]
fn a_rule_holds_at_its_times() {
    let origin = Origin::echo();
    let always = "name = \"always\"\nwhen = { days = [\"mon-sun\"], zone = \"UTC\" }\naction = \"deny\"";
    let never = "name = \"never\"\nnot_when = { days = [\"mon-sun\"], zone = \"UTC\" }\naction = \"deny\"";
    assert_eq!(ask(&open(&[always]).start(), origin.addr), 0x02);
    assert_eq!(ask(&open(&[never]).start(), origin.addr), 0x00);
}

/// With rules nothing is allowed that none allows, and what the operator exempts from the guard they judge all the same.
#[test]
fn what_is_exempt_from_the_guard_is_the_rules_to_judge() {
    let (origin, other) = (Origin::echo(), Origin::echo());
    let rule = format!("name = \"one\"\nports = [{}]\naction = \"allow\"", origin.addr.port());
    let relay = Relay::builder().rules(&[&rule]).guarded().set("guard", "allow", "[\"127.0.0.0/8\"]").start();
    assert_eq!((ask(&relay, origin.addr), ask(&relay, other.addr)), (0x00, 0x02));
    let records = relay.records(2);
    let denied = records.iter().find(|record| record["reply"] == 2).expect("a refusal");
    assert_eq!(decided(denied), (Some("default"), Some("deny"), None));
}

#[test]
fn a_rule_that_only_reports_lets_pass_and_is_told() {
    let origin = Origin::echo();
    for engine in BOTH {
        let relay = open(&["name = \"trial\"\nto = [\"127.0.0.0/8\"]\naction = \"deny\"\nmode = \"report\""])
            .engine(engine)
            .start();
        let mut client = Client::greeted(relay.addr());
        assert_eq!(client.request_ip(origin.addr).rep, 0);
        echoes(client);
        assert_eq!(decided(&relay.record()), (Some("default"), Some("allow"), Some("trial")));
    }
}

/// What is there goes on unless it is to end, and then exactly what the new rules deny does.
#[test]
fn a_reload_keeps_sessions_or_ends_those_that_it_denies() {
    let (stays, goes) = (Origin::echo(), Origin::echo());
    for engine in BOTH {
        let mut relay = open(&[]).engine(engine).start();
        let mut kept = Client::through(relay.addr(), stays.addr);
        let mut revoked = Client::through(relay.addr(), goes.addr);
        let association = Association::open(relay.addr());
        let denies = format!("name = \"gone\"\nports = [{}]\naction = \"deny\"", goes.addr.port());
        relay.put_rules(&[&denies]);
        relay.reload(&[]);
        assert_eq!(ask(&relay, goes.addr), 0x02, "whoever asks now");
        revoked.send(b"still here");
        revoked.expect(b"still here");
        let datagrams = "name = \"no-udp\"\ncommands = [\"udp_associate\"]\naction = \"deny\"";
        relay.put_rules(&[&denies, datagrams]);
        relay.reload(&[("policy", "on_reload", "\"revoke\"")]);
        revoked.expect_reset();
        drop(association);
        kept.send(b"and here");
        kept.expect(b"and here");
        let ended: Vec<Value> =
            relay.records(3).into_iter().filter(|record| record["reason"] == "revoked").collect();
        let rules: Vec<_> = ended.iter().map(|record| record["rule"].as_str().unwrap_or_default()).collect();
        assert!(rules.contains(&"gone") && rules.contains(&"no-udp"), "{ended:#?}");
        assert!(ended.iter().all(|record| record["verdict"] == "deny" && record["reply"] == 0));
    }
}

/// A list whose file changes holds from the next reload on; one that is broken by then, or is empty where that would open
/// something, changes nothing.
#[test]
fn a_list_is_read_again_at_a_reload_and_a_broken_one_changes_nothing() {
    let (origin, folder) = (Origin::echo(), tempfile::tempdir().expect("a folder"));
    let server = DnsServer::zone(&[("a.example", &["127.0.0.1"]), ("x.b.example", &["127.0.0.1"])]);
    let file = folder.path().join("blocked.txt");
    let write = |text: &str| std::fs::write(&file, text).expect("write the list");
    write("A.Example.   # in another form\n");
    let rule = "name = \"blocked\"\nto = [\"@blocked\"]\naction = \"deny\"";
    let list = format!("[[list]]\nname = \"blocked\"\nfile = {file:?}\nsubdomains = true");
    let mut relay = open(&[&format!("{rule}\n{list}")]).dns(&server).start();
    let answers = |relay: &Relay| {
        [&b"a.example"[..], b"x.b.example"].map(|name| ask_name(relay, name, origin.addr.port()))
    };
    assert_eq!(answers(&relay), [0x02, 0x00]);
    write("b.example\n");
    relay.reload(&[]);
    assert_eq!(answers(&relay), [0x00, 0x02]);
    for (text, says) in [("a.example\nb .example\n", "blocked.txt:2: "), ("# none\n", "has no entry")] {
        write(text);
        relay.signal("HUP");
        wait::until_true("the reload is refused", PATIENCE, || relay.log().contains(says));
        assert_eq!(answers(&relay), [0x00, 0x02], "{says}");
    }
    assert_eq!(server.asked("x.b.example", A), 1, "a name that is blocked is not resolved");
}

#[test]
fn a_rule_holds_at_its_times_alone() {
    let origin = Origin::echo();
    let always = "hours = [\"00:00-24:00\"], zone = \"UTC\"";
    for (key, rep) in [("when", 0x02), ("not_when", 0x00)] {
        let rule = format!("name = \"timed\"\n{key} = {{ {always} }}\naction = \"deny\"");
        let relay = open(&[&rule]).start();
        assert_eq!(ask(&relay, origin.addr), rep, "{key}");
    }
}

/// Numbers of rules are not given to others, so that a record still has the name of its session's rule.
#[test]
fn a_session_outlives_its_rule_and_its_record_has_the_name() {
    let origin = Origin::echo();
    let allow = |name: &str| format!("name = \"{name}\"\nto = [\"127.0.0.1\"]\naction = \"allow\"");
    let mut relay = closed(&[&allow("old")]).start();
    let mut live = Client::through(relay.addr(), origin.addr);
    relay.put_rules(&[&allow("new")]);
    relay.reload(&[]);
    let mut later = Client::through(relay.addr(), origin.addr);
    for client in [&mut live, &mut later] {
        client.send(b"ping");
        client.expect(b"ping");
    }
    drop(later);
    relay.records(1);
    drop(live);
    let rules: Vec<Value> = relay.records(2).into_iter().map(|record| record["rule"].clone()).collect();
    assert_eq!(rules, ["new", "old"]);
}

#[test]
fn datagrams_are_judged_each_way_by_the_name_that_led_there() {
    let echo = Echo::on(V4);
    let server = DnsServer::zone(&[("good.example", &["127.0.0.1"]), ("bad.example", &["127.0.0.1"])]);
    let relay = closed(&[
        "name = \"good\"\nto = [\"good.example\"]\ncommands = [\"udp_associate\"]\naction = \"allow\"",
    ])
    .dns(&server)
    .start();
    let association = Association::open(relay.addr());
    for n in 0..3_u8 {
        association.send_name(b"Good.example.", echo.addr.port(), &[n]);
        association.expect(echo.addr, &[n]);
    }
    association.send(echo.addr, b"by address");
    association.send_name(b"bad.example", echo.addr.port(), b"by another name");
    association.send_name(b"good.example", echo.addr.port(), b"the last");
    association.expect(echo.addr, b"the last");
    expect_drops(&relay, &[("denied", 2)]);
    assert_eq!(echo.seen(), 4);
    assert_eq!(server.queries().iter().filter(|query| query.name == "bad.example").count(), 0);
}

/// What is remembered of a target is forgotten with the rules that it is of.
#[test]
fn a_reload_holds_for_the_next_datagram_either_way() {
    let target = crate::support::udp::Target::on(V4);
    let mut relay = open(&[]).start();
    let association = Association::open(relay.addr());
    association.send(target.addr, b"ping");
    let from = target.expect(b"ping");
    let denies = format!("name = \"gone\"\nports = [{}]\naction = \"deny\"", target.addr.port());
    relay.put_rules(&[&denies]);
    relay.reload(&[]);
    target.send(from, b"late");
    association.send(target.addr, b"more");
    expect_drops(&relay, &[("denied", 2)]);
    relay.put_rules(&[]);
    relay.reload(&[]);
    association.send(target.addr, b"again");
    target.expect(b"again");
    target.send(from, b"pong");
    association.expect(target.addr, b"pong");
}

#[test]
fn a_datagram_that_would_be_denied_is_in_the_record_of_its_association() {
    let echo = Echo::on(V4);
    let relay =
        open(&["name = \"trial\"\nto = [\"127.0.0.1\"]\naction = \"deny\"\nmode = \"report\""]).start();
    let association = Association::open(relay.addr());
    association.send(echo.addr, b"ping");
    association.expect(echo.addr, b"ping");
    drop(association);
    assert_eq!(decided(&relay.record()), (Some("default"), Some("allow"), Some("trial")));
}

#[test]
fn a_bind_takes_whom_the_rules_allow_of_those_who_come() {
    let relay = open(&["name = \"not-two\"\nto = [\"127.0.0.2\"]\naction = \"deny\""]).start();
    let mut named = Client::greeted(relay.addr());
    named.send(&request(0x02, "127.0.0.2:21".parse().expect("an address")));
    assert_eq!(named.reply().rep, 0x02);
    let mut anybody = Client::greeted(relay.addr());
    let mut asked = vec![5, 2, 0];
    put_address(&mut asked, "0.0.0.0:0".parse().expect("an address"));
    anybody.send(&asked);
    let listens = anybody.reply();
    assert_eq!(listens.rep, 0);
    expect_stranger("127.0.0.2".parse().expect("an address"), listens.bound);
    let mut peer = Client::connect(listens.bound);
    assert_eq!(anybody.reply().rep, 0);
    peer.send(b"data");
    anybody.expect(b"data");
    drop((peer, anybody));
    for record in relay.records(2) {
        let denied = record["target"] == "127.0.0.2:21";
        let expected = if denied {
            (Some("not-two"), Some("deny"), None)
        } else {
            (Some("default"), Some("allow"), None)
        };
        assert_eq!(decided(&record), expected, "{record}");
    }
}

#[test]
fn each_rule_is_counted_and_found_by_its_name() {
    let (origin, echo) = (Origin::echo(), Echo::on(V4));
    let denies = format!("name = \"no-port\"\nports = [{}]\naction = \"deny\"", echo.addr.port());
    let (relay, api) = Api::serve(open(&[
        "name = \"trial\"\nto = [\"127.0.0.1\"]\naction = \"deny\"\nmode = \"report\"",
        &denies,
        "name = \"local\"\nto = [\"127.0.0.0/8\"]\naction = \"allow\"",
    ]));
    let mut live = Client::through(relay.addr(), origin.addr);
    assert_eq!(ask(&relay, echo.addr), 0x02);
    let told = || -> Vec<(String, u64, u64, u64)> {
        let rules = api.get("/api/v1/rules");
        let told = rules["rules"].as_array().expect("a list").iter().map(|rule| {
            let count = |field: &str| rule[field].as_u64().expect("a count");
            let name = rule["rule"].as_str().expect("a name");
            (name.to_owned(), count("allow"), count("deny"), count("would_deny"))
        });
        told.collect()
    };
    let expected = [("trial", 0, 0, 1), ("no-port", 0, 1, 0), ("local", 1, 0, 0), ("default", 0, 0, 0)];
    let expected = expected.map(|(name, allow, deny, would)| (name.to_owned(), allow, deny, would));
    // A request is counted behind its reply.
    wait::until_true("the counts", PATIENCE, || told() == expected);
    assert_eq!(api.sessions("?rule=local").len(), 1);
    assert_eq!(api.sessions("?rule=no-port").len(), 0);
    let metrics = api.ask("GET", "/metrics", None).body;
    for line in [
        "outflow_rule_hits_total{rule=\"trial\",verdict=\"would_deny\"} 1",
        "outflow_rule_hits_total{rule=\"no-port\",verdict=\"deny\"} 1",
        "outflow_rule_hits_total{rule=\"local\",verdict=\"allow\"} 1",
        "outflow_rule_hits_total{rule=\"default\",verdict=\"allow\"} 0",
        "outflow_denied_total{cause=\"rule\"} 1",
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line} is not in\n{metrics}");
    }
    live.send(b"ping");
    live.expect(b"ping");
}

#[test]
fn the_log_names_the_rule_and_tells_as_much_as_is_asked_for() {
    let origin = Origin::echo();
    let rule = format!("name = \"no-port\"\nports = [{}]\naction = \"deny\"", origin.addr.port());
    let relay = open(&[&rule]).start();
    assert_eq!(ask(&relay, origin.addr), 0x02);
    relay.logged(&["sessions refused", "refused=1", "rule=\"no-port\""]);
    let all = "name = \"office\"\naction = \"allow\"\nlog = \"all\"";
    let relay = closed(&[all]).start();
    drop(Client::through(relay.addr(), origin.addr));
    relay.logged(&["sessions allowed", "allowed=1", "rule=\"office\""]);
    let quiet = format!("{rule}\nlog = \"none\"");
    let relay = open(&[&quiet]).start();
    assert_eq!(ask(&relay, origin.addr), 0x02);
    relay.record();
    assert!(!relay.log().contains("sessions refused"), "{}", relay.log());
}
