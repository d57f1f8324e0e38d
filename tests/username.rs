//! Parameters of the session in what clients log in with: by every protocol, at every split, refused and recorded.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::client::{connect_ip, userpass};
use crate::support::relay::{Builder, quoted};
use crate::support::users::argon2id;
use crate::support::web::{Peer, get};
use crate::support::{Client, Engine, Origin, Relay};

engines!(parameters_are_read_at_every_split_and_the_bare_user_is_served);

const FORMAT: &str = "\"{user}-session-{session}-ttl-{minutes}-country-{tag:area}-egress-{pool}\"";
const ALL: &str = "name = \"all\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"socks5\", \"socks4\", \"http\"]";

/// A relay where alice's password is `wonderland`, and names have parameters of this format.
fn with_format(format: &str) -> Builder {
    Relay::builder().users(&[("alice", b"wonderland")]).set("username", "format", format)
}

/// A login by SOCKS5 and the reply to its request; `None` where it is refused.
fn ask(relay: &Relay, user: &str, password: &[u8], target: SocketAddr) -> Option<(Client, u8)> {
    let mut client = Client::connect(relay.addr());
    if client.login(user.as_bytes(), password) != 0 {
        client.expect_eof();
        return None;
    }
    let rep = client.request_ip(target).rep;
    Some((client, rep))
}

fn names(record: &Value) -> (&Value, &Value, &Value) {
    (&record["user"], &record["user_typed"], &record["reason"])
}

fn parameters_are_read_at_every_split_and_the_bare_user_is_served(engine: Engine) {
    let relay = with_format(FORMAT).engine(engine).start();
    let origin = Origin::echo();
    let login = userpass(b"alice-session-x7-ttl-10", b"wonderland");
    for split in 1..login.len() {
        let mut client = Client::connect(relay.addr());
        client.send(&[5, 1, 2]);
        client.expect(&[5, 2]);
        client.send(&login[..split]);
        client.wait_until_read();
        client.send(&[&login[split..], &connect_ip(origin.addr), b"here"].concat());
        client.expect(&[1, 0]);
        assert_eq!(client.reply().rep, 0, "split at {split}");
        client.expect(b"here");
        client.finish();
        client.expect_eof();
    }
    for record in relay.records(login.len() - 1) {
        let expected = (&json!("alice"), &json!("alice-session-x7-ttl-10"), &json!("completed"));
        assert_eq!(names(&record), expected, "{record}");
    }
}

/// Whatever stands behind a name, the user is one: for rules, limits, quotas, and for what remembers logins.
#[test]
fn the_bare_user_is_what_limits_rules_and_the_cache_of_logins_see() {
    let origin = Origin::echo();
    let plan = "name = \"plan\"\nper = \"user\"\nconnections = 2";
    let rule = "name = \"staff\"\nusers = [\"alice\"]\naction = \"allow\"\nlimits = [\"plan\"]";
    let (relay, api) = Api::serve(with_format(FORMAT).limits(&[plan]).rules(&[rule]));
    let session = |name: &str| ask(&relay, name, b"wonderland", origin.addr).expect("a login");
    let held = [session("alice-session-a"), session("alice-session-b-ttl-5")];
    assert_eq!(held.each_ref().map(|(_, rep)| *rep), [0, 0]);
    assert_eq!(session("alice-session-c").1, 2, "as many as alice may have");
    let metrics = api.ask("GET", "/metrics", None).body;
    assert!(
        metrics.contains("outflow_cache_lookups_total{cache=\"logins\",result=\"hit\"} 2"),
        "verified once: {metrics}"
    );
    let listed = api.sessions("?user=alice&sort=age&state=relaying");
    let typed: Vec<_> = listed.iter().map(|one| one["user_typed"].as_str().unwrap_or_default()).collect();
    assert!(typed.contains(&"alice-session-a") && typed.contains(&"alice-session-b-ttl-5"), "{typed:?}");
    let record = relay.record();
    assert_eq!(
        (&record["user"], &record["limit"], &record["rule"]),
        (&json!("alice"), &json!("plan"), &json!("staff"))
    );
}

#[test]
fn what_is_no_parameter_is_refused_counted_and_told() {
    let (relay, api) = Api::serve(with_format(FORMAT));
    let origin = Origin::echo();
    let refused = [
        ("alice-session-x-foo-1", "unknown"),
        ("alice-session-x-session-y", "duplicate"),
        ("alice-session-x-ttl", "incomplete"),
        ("alice-session-a%41", "value"),
    ];
    for (nth, (typed, cause)) in refused.into_iter().enumerate() {
        assert!(ask(&relay, typed, b"wonderland", origin.addr).is_none(), "{typed}");
        let record = relay.records(nth + 1).swap_remove(nth);
        assert_eq!(names(&record), (&json!("alice"), &json!(typed), &json!("bad_parameters")), "{record}");
        let counted = format!("outflow_parameters_refused_total{{cause=\"{cause}\"}} 1");
        let metrics = api.ask("GET", "/metrics", None).body;
        assert!(metrics.contains(&counted), "{counted}: {metrics}");
        relay.logged(&["failed_logins=", &format!("parameters=\"{cause}\"")]);
    }
    let metrics = api.ask("GET", "/metrics", None).body;
    assert!(metrics.contains("outflow_auth_total{method=\"password\",result=\"failed\"} 4"), "{metrics}");
    // A name that is nobody's is one as ever, and so is a wrong password.
    assert!(ask(&relay, "alice-foo-1", b"wonderland", origin.addr).is_none());
    assert!(ask(&relay, "alice-session-x", b"wonderlanD", origin.addr).is_none());
    let wrong = &relay.records(6)[5];
    assert_eq!(names(wrong), (&json!("alice"), &json!("alice-session-x"), &json!("auth_failed")));
    assert_eq!(origin.accepted(), 0);
}

/// 255 bytes of parameters, and as many separators, unknown words and values.
#[test]
fn a_name_of_255_parameters_is_answered_at_once() {
    let relay = with_format(FORMAT)
        .set("username", "on_unknown", "\"ignore\"")
        .set("username", "on_duplicate", "\"ignore\"")
        .start();
    let origin = Origin::echo();
    let mut many = format!("alice-session-x{}", "-a-b".repeat(60));
    assert_eq!(many.len(), 255);
    assert_eq!(ask(&relay, &many, b"wonderland", origin.addr).expect("a login").1, 0);
    many = "-".repeat(255);
    assert!(ask(&relay, &many, b"wonderland", origin.addr).is_none());
    many = format!("alice{}", "-session-x".repeat(25));
    assert_eq!(ask(&relay, &many, b"wonderland", origin.addr).expect("a login").1, 0);
}

/// Nothing of what stands behind a password is in a log or a record, nor is the password.
#[test]
fn parameters_behind_a_password_are_never_shown() {
    let relay = Relay::builder()
        .users(&[("alice", b"wonderland")])
        .set("username", "preset", "\"password-underscore\"")
        .set("log", "level", "\"trace\"")
        .start();
    let origin = Origin::echo();
    let (mut client, rep) =
        ask(&relay, "alice", b"wonderland_session-sticky42_lifetime-168h", origin.addr).expect("a login");
    assert_eq!(rep, 0);
    client.send(b"here");
    client.expect(b"here");
    client.finish();
    client.expect_eof();
    assert!(ask(&relay, "alice", b"wonderland_session-sticky42_foo-168h", origin.addr).is_none());
    assert!(ask(&relay, "alice", b"looking_session-sticky42", origin.addr).is_none());
    let records = relay.records(3);
    for (record, reason) in records.iter().zip(["completed", "bad_parameters", "auth_failed"]) {
        assert_eq!(names(record), (&json!("alice"), &Value::Null, &json!(reason)), "{record}");
    }
    let shown = relay.log() + &relay.access_text();
    for secret in ["wonderland", "looking", "sticky42", "168h", "foo"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

/// Base64 by hand: "alice-session-a:wonderland" and the like.
fn basic(typed: &str) -> String {
    use base64::Engine as _;
    let digits = base64::engine::general_purpose::STANDARD.encode(typed);
    format!("Proxy-Authorization: Basic {digits}\r\n")
}

/// A kept connection of a target is for the session that it was opened for: another session may leave by another address.
#[test]
fn each_request_of_http_has_the_parameters_that_it_says() {
    let origin = Origin::serve(|stream| {
        let mut peer = Peer::over(stream);
        while peer.try_head().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let relay = with_format(FORMAT).listeners(&[ALL]).start();
    let mut client = Peer::connect(relay.addr());
    let ask = |client: &mut Peer, typed: &str| {
        let fields = format!("\r\n{}\r\n", basic(typed));
        client.send(get(origin.addr, "/").replacen("\r\n\r\n", &fields, 1).as_bytes());
        client.head()
    };
    for (name, connections) in
        [("alice-session-a", 1), ("alice-session-a", 1), ("alice-session-b", 2), ("alice", 3)]
    {
        let head = ask(&mut client, &format!("{name}:wonderland"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(client.body(2), b"ok");
        assert_eq!(origin.accepted(), connections, "{name}");
    }
    let head = ask(&mut client, "alice-session-a-foo-b:wonderland");
    assert!(head.starts_with("HTTP/1.1 407 "), "{head}");
    let records = relay.records(5);
    let typed: Vec<_> =
        records.iter().map(|record| record["user_typed"].as_str().unwrap_or("none")).collect();
    assert_eq!(
        typed,
        ["alice-session-a", "alice-session-a", "alice-session-b", "none", "alice-session-a-foo-b"]
    );
}

#[test]
fn a_tunnel_of_http_has_parameters_and_words_for_what_is_wrong_with_them() {
    let relay = with_format(FORMAT).listeners(&[ALL]).start();
    let origin = Origin::echo();
    let connect = |typed: &str| {
        let mut client = Peer::connect(relay.addr());
        client.send(
            format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n{1}\r\n", origin.addr, basic(typed)).as_bytes(),
        );
        let head = client.head();
        (client, head)
    };
    let (mut client, head) = connect("alice-session-a:wonderland");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    client.send(b"here");
    assert_eq!(client.body(4), b"here");
    let (mut client, head) = connect("alice-session-a-session-b:wonderland");
    assert!(head.starts_with("HTTP/1.1 407 "), "{head}");
    let words = "The session parameters beside the name are not taken: one of them stands there twice.\r\n";
    assert_eq!(client.body(words.len()), words.as_bytes());
    // It was told that it may not go there, as if a rule said so.
    let (mut client, head) = connect("alice-egress-none:wonderland");
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    let words = "No pool of addresses is the one that the name asks for.\r\n";
    assert_eq!(client.body(words.len()), words.as_bytes());
}

#[test]
fn a_user_id_of_socks4_has_parameters_where_it_lets_in() {
    let request = |user: &str, target: SocketAddr| {
        let std::net::IpAddr::V4(ip) = target.ip() else { panic!("{target}") };
        [&[4, 1][..], &target.port().to_be_bytes(), &ip.octets(), user.as_bytes(), &[0]].concat()
    };
    let listed = [("ann".to_owned(), "*:ident".to_owned()), ("bob".to_owned(), argon2id(b"secret"))];
    let relay = Relay::builder()
        .hashed_users(&listed)
        .listeners(&[ALL])
        .set("auth", "socks4_ident", "true")
        .set("username", "format", FORMAT)
        .start();
    let origin = Origin::echo();
    for (user, code) in
        [("ann-session-x", 90), ("ann-session-x-foo-1", 93), ("bob-session-x", 93), ("ann-session", 93)]
    {
        let mut client = Client::connect(relay.addr());
        client.send(&request(user, origin.addr));
        assert_eq!(client.recv(8)[1], code, "{user}");
        drop(client);
    }
    let records = relay.records(4);
    let reason_of = |user: &str, typed: Value| {
        let record = records.iter().find(|record| record["user"] == user && record["user_typed"] == typed);
        record.map(|record| record["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(reason_of("ann", json!("ann-session-x")).as_deref(), Some("completed"));
    assert_eq!(reason_of("ann", json!("ann-session-x-foo-1")).as_deref(), Some("bad_parameters"));
    assert_eq!(reason_of("bob", json!("bob-session-x")).as_deref(), Some("auth_failed"));
    assert_eq!(reason_of("ann-session", Value::Null).as_deref(), Some("auth_failed"));
    assert_eq!(origin.accepted(), 1);
}

/// A client of SOCKS4 that nobody asks for a name is nobody, whatever it calls itself.
#[test]
fn a_name_that_proves_nothing_has_no_parameters() {
    let (relay, origin) = (Relay::builder(), Origin::echo());
    let listener =
        "name = \"open\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"socks4\"]\nmethods = [\"none\"]";
    let locked = "name = \"locked\"\naddress = \"127.0.0.1:0\"";
    let relay = relay
        .users(&[("alice", b"wonderland")])
        .listeners(&[listener, locked])
        .set("username", "format", FORMAT)
        .start();
    let mut client = Client::connect(relay.addrs()[0]);
    let port = origin.addr.port().to_be_bytes();
    client.send(&[&[4, 1][..], &port, &[127, 0, 0, 1], b"alice-session-x-foo-1", &[0]].concat());
    assert_eq!(client.recv(8)[1], 90);
    drop(client);
    let record = relay.record();
    assert_eq!((&record["user"], &record["user_typed"]), (&json!("alice-session-x-foo-1"), &Value::Null));
}

/// HMAC-SHA256 of "alice-session-x7" and of "alice-session-x8" by two keys, by Python's hmac.
#[test]
fn a_reload_takes_another_key_and_another_format() {
    let builder = with_format("\"{user}-session-{session}-sign-{signature}\"");
    let key = builder.directory().join("username.key");
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("write the key");
    let mut relay = builder.set("username", "sign", &quoted(key.to_str().expect("UTF-8"))).start();
    let origin = Origin::echo();
    let first = "alice-session-x7-sign-63ac61b8b22f7509e402c89e98c73507";
    let second = "alice-session-x7-sign-5a4b7d07c55394e1d27b5f3ce32e374e";
    let takes = |relay: &Relay, typed: &str| ask(relay, typed, b"wonderland", origin.addr).is_some();
    assert!(takes(&relay, first) && takes(&relay, "alice"));
    assert!(!takes(&relay, second) && !takes(&relay, "alice-session-x7"));
    assert!(!takes(&relay, &first.replace("x7", "x8")));
    fs::write(&key, "another key, of thirty-two bytes").expect("write the key");
    relay.reload(&[]);
    relay.logged(&["[username] sign: another key now, of", "username.key"]);
    assert!(takes(&relay, second) && !takes(&relay, first));
    // A key that is none leaves the one before in effect.
    fs::write(&key, "too short").expect("write the key");
    relay.signal("HUP");
    relay.logged(&["a key is 32 bytes at least"]);
    assert!(takes(&relay, second));
    relay.forget("username", "sign");
    let format = ("username", "format", "\"{user}+sid+{session}\"");
    relay.reload(&[format, ("username", "separator", "\"+\"")]);
    assert!(takes(&relay, "alice+sid+x") && !takes(&relay, second));
    relay.forget("username", "separator");
    relay.forget("username", "format");
    relay.reload(&[]);
    assert!(takes(&relay, "alice") && !takes(&relay, "alice-session-x7"), "no name has parameters");
}

/// By its name, by its tags, and none where no pool has them.
#[test]
fn a_name_asks_for_the_pool_to_leave_by() {
    let relay = with_format(FORMAT)
        .set("[egress]", "name", "\"lab\"")
        .set("[egress]", "addresses", "[\"127.0.0.9\"]")
        .set("[egress]", "tags", "{ area = \"de\" }");
    let relay = relay.start();
    let origin = Origin::echo();
    let none = Value::Null;
    for (nth, (typed, rep, pool, why)) in [
        ("alice-egress-lab", 0, json!("lab"), &none),
        ("alice-country-de-session-x", 0, json!("lab"), &none),
        ("alice-country-de-egress-lab", 0, json!("lab"), &none),
        ("alice-session-x", 0, none.clone(), &none),
        ("alice-country-fr", 2, none.clone(), &json!("no_such_tags: area fr")),
        ("alice-egress-none", 2, none.clone(), &json!("unknown: pool none")),
        ("alice-country-fr-egress-lab", 2, none.clone(), &json!("lacks_tags: pool lab, area fr")),
    ]
    .into_iter()
    .enumerate()
    {
        let (client, told) = ask(&relay, typed, b"wonderland", origin.addr).expect("a login");
        assert_eq!(told, rep, "{typed}");
        drop(client);
        let record = relay.records(nth + 1).swap_remove(nth);
        assert_eq!((&record["egress"], &record["egress_refused"]), (&pool, why), "{record}");
        let local = record["local"].as_str().unwrap_or_default();
        assert_eq!(local.starts_with("127.0.0.9:"), !pool.is_null(), "{record}");
    }
}

/// The cause looked like the rule that lets everybody go, and whoever knew a pool's name left from it.
#[test]
fn a_name_asks_for_no_pool_but_those_that_are_offered_and_the_cause_is_told() {
    let pools = "name = \"all\"\naction = \"allow\"\n\n[[egress]]\nname = \"lab\"\naddresses = [\"127.0.0.9\"]\ntags = { area = \"de\" }\n\n\
                 [[egress]]\nname = \"home\"\naddresses = [\"127.0.0.10\"]\n";
    let (mut relay, api) = Api::serve(with_format(FORMAT).rules(&[pools]));
    let origin = Origin::echo();
    let ask = |relay: &Relay, typed: &str| ask(relay, typed, b"wonderland", origin.addr).expect("a login").1;
    assert_eq!(ask(&relay, "alice-egress-lab"), 0);
    relay.reload(&[("username", "pools", "[\"home\"]")]);
    for (typed, rep) in [("alice-egress-lab", 2), ("alice-country-de", 2), ("alice-egress-home", 0)] {
        assert_eq!(ask(&relay, typed), rep, "{typed}");
    }
    let records = relay.records(4);
    let refused =
        |nth: usize| (&records[nth]["egress_refused"], &records[nth]["verdict"], &records[nth]["rule"]);
    assert_eq!(refused(1), (&json!("not_offered: pool lab"), &json!("deny"), &json!("all")));
    assert_eq!(refused(2).0, &json!("no_such_tags: area de"));
    let said = relay.logged(&["sessions refused", "no_pool=\"not_offered: pool lab\""]);
    assert!(!said.contains("rule="), "{said}");
    let told = api.get("/api/v1/explain?user=alice-egress-lab&to=93.184.215.14:80");
    assert_eq!(
        (&told["egress_refused"], &told["reply"], &told["egress"]["pool"]),
        (&json!("not_offered"), &json!(2), &Value::Null),
        "{told}"
    );
    assert_eq!(told["addresses"][0]["egress_refused"], json!("not_offered"), "{told}");
    let told = api.get("/api/v1/explain?user=alice-egress-home&to=93.184.215.14:80");
    assert_eq!((&told["egress_refused"], &told["egress"]["pool"]), (&Value::Null, &json!("home")), "{told}");
}

/// The lines of the documentation.
#[test]
fn presets_take_what_is_typed_elsewhere() {
    let origin = Origin::echo();
    for (preset, logins) in [
        (
            "dash",
            &[
                ("alice-session-x7", "wonderland"),
                ("alice-country-us-sessid-abc12345-sesstime-10", "wonderland"),
                ("alice-session-x7-lifetime-60", "wonderland"),
                ("alice-cc-US-sessionid-a-sessionlength-300", "wonderland"),
            ][..],
        ),
        ("customer-dash", &[("customer-alice-cc-US-sessid-abc12345-sesstime-10", "wonderland")]),
        ("user-dash", &[("user-alice-country-us-session-x7-sessionduration-60", "wonderland")]),
        (
            "password-underscore",
            &[("alice", "wonderland_country-us_session-sgn34f3e_lifetime-168h_streaming-1")],
        ),
    ] {
        let relay = Relay::builder()
            .users(&[("alice", b"wonderland")])
            .set("username", "preset", &quoted(preset))
            .start();
        for (user, password) in logins {
            let mut client = Client::connect(relay.addr());
            assert_eq!(client.login(user.as_bytes(), password.as_bytes()), 0, "{preset}: {user} {password}");
        }
    }
    drop(origin);
}

#[test]
fn an_explanation_reads_the_name_as_a_login_does() {
    let rule = "name = \"staff\"\nusers = [\"alice\"]\naction = \"allow\"";
    let (_relay, api) = Api::serve(with_format(FORMAT).rules(&[rule]).set("username", "max_ttl", "\"5m\""));
    let told = api.get("/api/v1/explain?user=alice-session-x7-ttl-10-country-de-egress-lab&to=192.0.2.1:80");
    assert_eq!((&told["user"], &told["rule"]), (&json!("alice"), &json!("staff")), "{told}");
    assert_eq!(
        told["parameters"],
        json!({"user_typed": "alice-session-x7-ttl-10-country-de-egress-lab", "session": "x7", "ttl_s": 300,
               "tags": {"area": "de"}, "pool": "lab"})
    );
    assert_eq!(api.get("/api/v1/explain?user=alice&to=192.0.2.1:80")["parameters"], Value::Null);
    let wrong = api.ask("GET", "/api/v1/explain?user=alice-session-x7-foo-1&to=192.0.2.1:80", None);
    let (status, what) = wrong.error();
    assert!(status == 400 && what.contains("one of them is not known here"), "{status} {what}");
}

#[test]
fn check_refuses_formats_that_say_two_things_and_warns_of_names_that_are_cut() {
    for (format, what) in [
        ("\"{user}-session-{session}-sid-{session}\"", "{session} twice"),
        ("\"{user}-session-{session}-session-{pool}\"", "the word \\\"session\\\" twice"),
        ("\"{user}-session-{sesion}\"", "did you mean {session}?"),
        ("\"{user}-a{session}\"", "as in -session-{session}"),
        ("\"session-{session}\"", "no {user}"),
    ] {
        let output = with_format(format).check();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let what = what.replace('\\', "");
        assert!(
            !output.status.success() && said.contains(&what) && said.contains("`format`"),
            "{format}: {said}"
        );
    }
    let users: &[(&str, &[u8])] = &[("alice", b"a"), ("bob-session-b", b"b")];
    let output = Relay::builder().users(users).set("username", "format", FORMAT).check();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("user \"bob-session-b\" cannot log in"), "{said}");
}
