//! `/api/v1/sessions`: what is told of a session while it runs, which ones a question means, and how they are ended.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};

use crate::gssapi_realm::realm;
use crate::support::api::Api;
use crate::support::client::request;
use crate::support::gss::{GssClient, demand};
use crate::support::origin::V4;
use crate::support::udp::{Association, Echo, zeros};
use crate::support::wait::{self, PATIENCE};
use crate::support::{BlackHole, Client, DnsServer, Engine, Origin, Relay};

const BIND: u8 = 0x02;
const SESSIONS: &str = "/api/v1/sessions";

/// The session of this client, once it stands as `wanted`.
fn session_of(api: Api, client: SocketAddr, wanted: &str) -> Value {
    wait::until(&format!("{client} {wanted}"), PATIENCE, || {
        let found = api.sessions("").into_iter().find(|session| session["client"] == client.to_string());
        found.filter(|session| session["state"] == wanted)
    })
}

/// The clients of the sessions that a question means.
fn clients(api: Api, query: &str) -> BTreeSet<String> {
    let sessions = api.sessions(query);
    sessions.iter().map(|session| session["client"].as_str().expect("a client").to_owned()).collect()
}

fn set<'a>(clients: impl IntoIterator<Item = &'a Client>) -> BTreeSet<String> {
    clients.into_iter().map(|client| client.local().to_string()).collect()
}

/// Every field of a session is what its record will say, and the bytes are true while they flow (HAZARD 29).
fn a_session_is_told_of_as_it_is(engine: Engine) {
    let (relay, api) = Api::serve(Relay::builder().engine(engine));
    let origin = Origin::echo();
    let mut client = Client::through(relay.addr(), origin.addr);
    let mut moved = 0;
    for bytes in [1, 1_000, 65_536] {
        let payload = vec![7; bytes];
        client.send(&payload);
        client.expect(&payload);
        moved += bytes;
        let session = session_of(api, client.local(), "relaying");
        assert_eq!(
            (&session["bytes_up"], &session["bytes_down"]),
            (&json!(moved), &json!(moved)),
            "{session}"
        );
    }
    let session = session_of(api, client.local(), "relaying");
    for (field, wanted) in [
        ("worker", json!(0)),
        ("listener", json!(relay.addr().to_string())),
        ("user", Value::Null),
        ("method", json!("none")),
        ("command", json!("connect")),
        ("target", json!(origin.addr.to_string())),
        ("address", json!(origin.addr.to_string())),
        ("local", json!(origin.peer(1).to_string())),
        ("reply", json!(0)),
        ("engine", json!(engine.name())),
        ("datagrams_up", json!(0)),
        ("dns_ms", Value::Null),
    ] {
        assert_eq!(session[field], wanted, "{field} of {session}");
    }
    let ages = ["age_ms", "idle_ms"].map(|field| session[field].as_u64().expect("milliseconds"));
    assert!(ages[0] >= ages[1] && ages[0] < 60_000, "{session}");
    client.finish();
    client.expect_eof();
    let record = relay.record();
    for (field, value) in record.as_object().expect("a record") {
        if !["reason", "duration_ms", "time"].contains(&field.as_str()) {
            assert_eq!(session[field], *value, "{field}: {session} {record}");
        }
    }
    wait::until_true("it is told of no more", PATIENCE, || api.sessions("").is_empty());
}
engines!(a_session_is_told_of_as_it_is);

/// Where a session stands, from its first byte to its last.
#[test]
fn a_session_is_told_of_in_every_state() {
    let server = DnsServer::zone(&[("echo.example", &["127.0.0.1"])]);
    let builder = Relay::builder().dns(&server).users(&[("ann", b"secret")]).set(
        "auth",
        "methods",
        "[\"none\", \"password\"]",
    );
    let (relay, api) = Api::serve(builder);
    let (origin, hole, echo) = (Origin::echo(), BlackHole::new(), Echo::on(V4));

    let silent = Client::connect(relay.addr());
    let session = session_of(api, silent.local(), "handshake");
    assert_eq!(
        (&session["command"], &session["target"], &session["engine"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );

    let mut dialling = Client::greeted(relay.addr());
    dialling.send(&request(1, hole.addr));
    let session = session_of(api, dialling.local(), "connecting");
    assert_eq!((&session["command"], &session["target"]), (&json!("connect"), &json!(hole.addr.to_string())));

    let mut waiting = Client::greeted(relay.addr());
    waiting.send(&request(BIND, SocketAddr::new(V4, 9)));
    assert_eq!(waiting.reply().rep, 0);
    assert_eq!(session_of(api, waiting.local(), "connecting")["command"], "bind");

    let mut named = Client::connect(relay.addr());
    assert_eq!(named.login(b"ann", b"secret"), 0);
    assert_eq!(named.request_name(b"Echo.Example", origin.addr.port()).rep, 0);
    let session = session_of(api, named.local(), "relaying");
    assert_eq!(
        (&session["user"], &session["method"], &session["target"]),
        (&json!("ann"), &json!("password"), &json!(format!("echo.example:{}", origin.addr.port())))
    );
    assert!(session["dns_ms"].is_u64() && session["connect_ms"].is_u64(), "{session}");

    let association = Association::open(relay.addr());
    for payload in [&b"one"[..], b"three"] {
        association.send(echo.addr, payload);
        association.expect(echo.addr, payload);
    }
    let session = session_of(api, association.control.local(), "associated");
    for (field, wanted) in [("bytes_up", 8), ("bytes_down", 8), ("datagrams_up", 2), ("datagrams_down", 2)] {
        assert_eq!(session[field], wanted, "{field} of {session}");
    }
    assert_eq!((&session["engine"], &session["command"]), (&json!("datagram"), &json!("udp_associate")));
}

/// Five sessions that differ in every way that one can ask for.
#[test]
fn each_parameter_means_the_sessions_that_it_says() {
    let server = DnsServer::zone(&[("www.example.com", &["127.0.0.1"]), ("example.com", &["127.0.0.1"])]);
    let builder = Relay::builder()
        .workers(2)
        .dns(&server)
        .users(&[("ann", b"secret"), ("bob", b"secret")])
        .set("auth", "methods", "[\"none\", \"password\"]");
    let (relay, api) = Api::serve(builder);
    let (origin, other) = (Origin::echo(), Origin::echo());
    let port = origin.addr.port();
    let mut ann = Client::connect_from("127.0.0.7:0".parse().unwrap(), relay.addr());
    assert_eq!(ann.login(b"ann", b"secret"), 0);
    assert_eq!(ann.request_name(b"www.example.com", port).rep, 0);
    let mut bob = Client::connect_from("127.0.1.8:0".parse().unwrap(), relay.addr());
    assert_eq!(bob.login(b"bob", b"secret"), 0);
    assert_eq!(bob.request_name(b"example.com", other.addr.port()).rep, 0);
    let mut anonymous = Client::through(relay.addr(), origin.addr);
    let payload = vec![1; 5_000];
    anonymous.send(&payload);
    anonymous.expect(&payload);
    let waiting = Client::greeted(relay.addr());
    let association = Association::open(relay.addr());
    let control = &association.control;
    let all = [&ann, &bob, &anonymous, &waiting, control];
    wait::until_true("all are told of", PATIENCE, || clients(api, "") == set(all));

    let cases: &[(String, &[&Client])] = &[
        ("user=ann".into(), &[&ann]),
        ("user=Ann".into(), &[]),
        ("source=127.0.0.7".into(), &[&ann]),
        ("source=127.0.1.0/24".into(), &[&bob]),
        ("source=127.0.0.0/8".into(), &all),
        ("target=www.example.com".into(), &[&ann]),
        ("target=*.example.com".into(), &[&ann]),
        ("target=EXAMPLE.com.".into(), &[&bob]),
        (format!("target=example.com:{port}"), &[]),
        (format!("target=*:{port}"), &[&ann, &anonymous]),
        ("target=127.0.0.0/30".into(), &[&ann, &bob, &anonymous]),
        (format!("target={}", origin.addr), &[&ann, &anonymous]),
        ("command=connect".into(), &[&ann, &bob, &anonymous]),
        ("command=udp_associate".into(), &[control]),
        ("rule=default&command=udp_associate".into(), &[control]),
        ("rule=office".into(), &[]),
        ("state=handshake".into(), &[&waiting]),
        ("state=associated".into(), &[control]),
        ("min_bytes=10000".into(), &[&anonymous]),
        ("min_bytes=10001".into(), &[]),
        ("max_bytes=0&command=connect".into(), &[&ann, &bob]),
        ("min_age=1h".into(), &[]),
        ("max_age=3600".into(), &all),
        ("user=ann&target=*.example.com&state=relaying".into(), &[&ann]),
        ("user=ann&state=handshake".into(), &[]),
        ("user=".into(), &all),
    ];
    for (query, wanted) in cases {
        let list = api.get(&format!("{SESSIONS}?{query}"));
        assert_eq!((&list["total"], &list["matched"]), (&json!(5), &json!(wanted.len())), "{query}: {list}");
        assert_eq!(clients(api, &format!("?{query}")), set(wanted.iter().copied()), "{query}");
    }
    let by_worker: BTreeSet<String> =
        (0..2).flat_map(|worker| clients(api, &format!("?worker={worker}"))).collect();
    assert_eq!(by_worker, set(all));
    for worker in 0..2 {
        let sessions = api.sessions(&format!("?worker={worker}"));
        assert!(sessions.iter().all(|session| session["worker"] == worker), "{sessions:?}");
    }
}

/// What is wrong with a question is said, with what was probably meant, and nothing is listed for it.
#[test]
fn a_question_that_is_wrong_is_refused_with_what_was_meant() {
    let (_relay, api) = Api::serve(Relay::builder());
    for (query, words) in [
        ("usr=ann", "did you mean `user`?"),
        ("user=ann&user=bob", "`user` is given twice"),
        ("state=relayed", "did you mean \"relaying\"?"),
        ("command=conect", "did you mean \"connect\"?"),
        ("sort=byte", "did you mean \"bytes\"?"),
        ("sort=--age", "`sort`"),
        ("limit=50001", "0 to 50000"),
        ("limit=-1", "`limit`: \"-1\" is not a whole number"),
        ("offset=x", "`offset`"),
        ("min_age=5%20minuets", "did you mean \"5m\"?"),
        ("min_bytes=1e6", "`min_bytes`"),
        ("min_rate=fast", "`min_rate`"),
        ("source=10.0.0.1/8", "did you mean \"10.0.0.0/8\"?"),
        ("source=example.com", "`source`"),
        ("target=a%20b", "`target`"),
        ("user=%ff", "not UTF-8"),
        ("worker=1", "`worker`"),
    ] {
        let (status, error) = api.ask("GET", &format!("{SESSIONS}?{query}"), None).error();
        assert_eq!(status, 400, "{query}: {error}");
        assert!(error.contains(words), "{query}: {error}");
    }
    for (target, words) in [
        (SESSIONS.to_owned(), "one at least of user"),
        (format!("{SESSIONS}?min_rate=1"), "min_rate"),
        (format!("{SESSIONS}?sort=age"), "sort"),
    ] {
        let (status, error) = api.ask("DELETE", &target, None).error();
        assert!(status == 400 && error.contains(words), "{target}: {status} {error}");
    }
}

/// Every key sorts both ways, what is unknown comes last, and pages meet every session once.
#[test]
fn sessions_are_sorted_and_paged() {
    let (relay, api) = Api::serve(Relay::builder().workers(2));
    let origin = Origin::echo();
    let live: Vec<Client> = (0..7_usize)
        .map(|nth| {
            let mut client = Client::through(relay.addr(), origin.addr);
            let payload = vec![0; 100 * ((nth * 3) % 7 + 1)];
            client.send(&payload);
            client.expect(&payload);
            client
        })
        .collect();
    let _waiting = Client::greeted(relay.addr());
    wait::until_true("all are told of", PATIENCE, || api.sessions("").len() == live.len() + 1);
    let column = |sort: &str, field: &str| -> Vec<Value> {
        api.sessions(&format!("?sort={sort}")).iter().map(|session| session[field].clone()).collect()
    };
    for (sort, field) in
        [("age", "age_ms"), ("bytes", "bytes_up"), ("bytes_up", "bytes_up"), ("bytes_down", "bytes_down")]
    {
        let numbers =
            |sort: &str| -> Vec<u64> { column(sort, field).iter().filter_map(Value::as_u64).collect() };
        assert!(numbers(sort).is_sorted(), "{sort}: {:?}", numbers(sort));
        let mut reversed = numbers(&format!("-{sort}"));
        reversed.reverse();
        assert!(reversed.len() == 8 && reversed.is_sorted(), "-{sort}: {reversed:?}");
    }
    assert!(column("target", "target").last().is_some_and(Value::is_null));
    assert!(column("-target", "target").last().is_some_and(Value::is_null));
    let oldest = column("-age", "client");
    assert_eq!(api.sessions("").iter().map(|session| session["client"].clone()).collect::<Vec<_>>(), oldest);

    let mut paged = Vec::new();
    for offset in [0, 3, 6, 9] {
        let page = api.sessions(&format!("?sort=client&limit=3&offset={offset}"));
        paged.extend(page.iter().map(|session| session["client"].as_str().expect("a client").to_owned()));
    }
    assert_eq!(paged.len(), 8);
    assert_eq!(paged.iter().cloned().collect::<BTreeSet<_>>(), clients(api, ""));
    let list = api.get(&format!("{SESSIONS}?limit=0"));
    assert_eq!((&list["matched"], &list["sessions"]), (&json!(8), &json!([])));
}

/// The rate is what a session moves now: it is found at the first look that sorts by it.
#[test]
fn the_fastest_is_found_at_the_first_look() {
    let (relay, api) = Api::serve(Relay::builder());
    let origin = Origin::echo();
    let (idle, mut busy) =
        (Client::through(relay.addr(), origin.addr), Client::through(relay.addr(), origin.addr));
    let name = busy.local().to_string();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            while !stop.load(Relaxed) {
                busy.send(&[0; 1_000]);
                busy.expect(&[0; 1_000]);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let fastest = api.sessions("?sort=-rate");
        let fast_ones = clients(api, "?min_rate=1000");
        stop.store(true, Relaxed);
        assert_eq!(fastest[0]["client"], *name, "{fastest:?}");
        let rates = ["rate_up", "rate_down"].map(|field| fastest[0][field].as_f64().expect("a rate"));
        assert!(rates.iter().all(|rate| *rate > 1_000.0 && *rate < 1_000_000.0), "{rates:?}");
        assert_eq!(fastest[1]["rate_up"], 0.0, "{fastest:?}");
        assert_eq!(fast_ones, BTreeSet::from([name.clone()]));
    });
    drop(idle);
}

/// A list that needs no rate does not wait for one: it has those since the look before.
#[test]
fn a_second_look_tells_rates_and_a_first_one_none() {
    let (relay, api) = Api::serve(Relay::builder());
    let origin = Origin::echo();
    let mut client = Client::through(relay.addr(), origin.addr);
    let first = session_of(api, client.local(), "relaying");
    assert_eq!((&first["rate_up"], &first["rate_down"]), (&Value::Null, &Value::Null));
    client.send(&[0; 10_000]);
    client.recv(10_000);
    let rate =
        wait::until("a rate", PATIENCE, || session_of(api, client.local(), "relaying")["rate_up"].as_f64());
    assert!(rate > 100.0 && rate <= 25_000.0, "{rate}");
}

/// One session is ended by its id, both its ends are told, its record says so, and nobody else's session is touched.
fn a_session_is_ended_by_its_id(engine: Engine) {
    let (relay, api) = Api::serve(Relay::builder().engine(engine).workers(2));
    let origin = Origin::echo();
    let mut live: Vec<Client> = (0..6).map(|_| Client::through(relay.addr(), origin.addr)).collect();
    let mut victim = live.remove(2);
    victim.send(b"before");
    victim.expect(b"before");
    let id = session_of(api, victim.local(), "relaying")["id"].as_str().expect("an id").to_owned();
    let answer = api.ask("DELETE", &format!("{SESSIONS}/{id}"), None);
    assert_eq!((answer.status, answer.json()), (200, json!({"ended": 1})));
    victim.expect_closed();
    let record = relay.record();
    assert_eq!(
        (&record["id"], &record["reason"], &record["bytes_up"]),
        (&json!(id), &json!("killed"), &json!(6))
    );
    assert_eq!(api.ask("DELETE", &format!("{SESSIONS}/{id}"), None).status, 404);
    for client in &mut live {
        client.send(b"still here");
        client.expect(b"still here");
    }
    for unknown in ["0", "zz", "00c0ffee00000000000", "ffffffff000000000001", "00c0ffeeffff0000000001"] {
        let answer = api.ask("DELETE", &format!("{SESSIONS}/{unknown}"), None);
        assert_eq!(answer.status, 404, "{unknown}: {answer:?}");
    }
    assert_eq!(api.sessions("").len(), 5);
    relay.logged(&["sessions were ended", "ended=1"]);
}
engines!(a_session_is_ended_by_its_id);

/// All sessions that are meant are ended, in whatever state they are, and no other.
#[test]
fn sessions_are_ended_by_what_they_are() {
    let builder = Relay::builder().workers(2).users(&[("ann", b"secret"), ("bob", b"secret")]);
    let (relay, api) = Api::serve(builder);
    let (origin, hole) = (Origin::echo(), BlackHole::new());
    let enter = |user: &[u8]| {
        let mut client = Client::connect(relay.addr());
        assert_eq!(client.login(user, b"secret"), 0);
        client
    };
    let relayed = |user: &[u8]| {
        let mut client = enter(user);
        assert_eq!(client.request_ip(origin.addr).rep, 0);
        client
    };
    let mut anns = [relayed(b"ann"), relayed(b"ann"), enter(b"ann"), enter(b"ann")];
    anns[3].send(&request(1, hole.addr));
    let mut bob = relayed(b"bob");
    wait::until_true("all are there", PATIENCE, || {
        api.sessions("?user=ann").len() == 4 && api.sessions("?user=ann&state=connecting").len() == 1
    });
    let answer = api.ask("DELETE", &format!("{SESSIONS}?user=ann"), None);
    assert_eq!((answer.status, answer.json()), (200, json!({"ended": 4})));
    anns.iter_mut().for_each(Client::expect_closed);
    let records = relay.records(4);
    assert!(
        records.iter().all(|record| record["reason"] == "killed" && record["user"] == "ann"),
        "{records:#?}"
    );
    bob.send(b"still here");
    bob.expect(b"still here");
    let none = api.ask("DELETE", &format!("{SESSIONS}?user=ann"), None);
    assert_eq!((none.status, none.json()), (200, json!({"ended": 0})));
    let answer = api.ask("DELETE", &format!("{SESSIONS}?target={}&source=127.0.0.0/8", origin.addr), None);
    assert_eq!(answer.json(), json!({"ended": 1}));
    bob.expect_closed();
}

/// An association and a BIND that waits are ended with all that is theirs.
#[test]
fn an_association_and_a_listener_are_ended() {
    let (relay, api) = Api::serve(Relay::builder());
    let mut association = Association::open(relay.addr());
    let mut waiting = Client::greeted(relay.addr());
    waiting.send(&request(BIND, zeros(V4)));
    let bound = waiting.reply().bound;
    wait::until_true("both are there", PATIENCE, || api.sessions("").len() == 2);
    assert_eq!(api.ask("DELETE", &format!("{SESSIONS}?max_age=1h"), None).json(), json!({"ended": 2}));
    association.control.expect_closed();
    waiting.expect_closed();
    let records = relay.records(2);
    assert!(records.iter().all(|record| record["reason"] == "killed"), "{records:#?}");
    wait::until_true("the port is free", PATIENCE, || std::net::TcpListener::bind(bound).is_ok());
}

/// A sealed session is told of and ended as any other, and neither end takes what it has for the whole.
#[test]
fn a_sealed_session_is_ended() {
    let realm = realm!();
    let (relay, api) = Api::serve(demand(Relay::builder(), realm));
    let origin = Origin::echo();
    let mut client = GssClient::through(relay.addr(), realm, 2, origin.addr);
    client.send(b"before");
    client.expect(b"before");
    let session = session_of(api, client.client.local(), "relaying");
    let told = ["user", "method", "engine", "bytes_up", "bytes_down"].map(|field| session[field].clone());
    assert_eq!(told, [json!("alice"), json!("gssapi"), json!("sealed"), json!(6), json!(6)]);
    let id = session["id"].as_str().expect("an id");
    assert_eq!(api.ask("DELETE", &format!("{SESSIONS}/{id}"), None).json(), json!({"ended": 1}));
    client.client.expect_reset();
    let record = relay.record();
    assert_eq!((&record["reason"], &record["bytes_up"]), (&json!("killed"), &json!(6)));
}

/// Questions side by side each get the whole answer.
#[test]
fn questions_side_by_side_are_all_answered() {
    let (relay, api) = Api::serve(Relay::builder().workers(2));
    let origin = Origin::echo();
    let live: Vec<Client> = (0..200).map(|_| Client::through(relay.addr(), origin.addr)).collect();
    wait::until_true("all are told of", PATIENCE, || api.get(SESSIONS)["matched"] == 200);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let sessions = api.sessions("?limit=1000");
                    let names: BTreeSet<&str> =
                        sessions.iter().filter_map(|session| session["id"].as_str()).collect();
                    assert_eq!((sessions.len(), names.len()), (200, 200));
                }
            });
        }
    });
    drop(live);
}
