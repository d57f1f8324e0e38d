//! Sessions that are led through a parent: what it is told, what the client is told, and what moves behind that.

use std::io::{Read, Write};
use std::net::SocketAddr;

use crate::support::api::Api;
use crate::support::client::{connect_ip, request as asks};
use crate::support::origin::{drain, pattern};
use crate::support::parent::{BOUND, FakeParent, Habits, greet, lead, request, through};
use crate::support::relay::Builder;
use crate::support::wait::timed;
use crate::support::web::{Peer, web};
use crate::support::{Client, DnsServer, Engine, Origin, Relay, wait};

engines!(
    a_session_goes_through_a_parent_of_each_protocol,
    a_chain_is_led_through_one_proxy_after_the_other,
    a_chain_without_its_next_proxy_is_away,
    what_comes_behind_a_reply_is_the_targets,
    a_parent_that_answers_byte_by_byte_is_understood,
    clients_of_socks4_and_http_go_through_a_parent_alike,
    requests_of_http_go_over_one_tunnel,
    a_stream_through_a_parent_is_whole,
);

fn socks5_url(parent: &FakeParent) -> String {
    format!("socks5://{}", parent.addr())
}

/// A relay whose sessions go through these servers.
fn led(engine: Engine, servers: &[String], keys: &[(&str, &str)]) -> Relay {
    through(Relay::builder().engine(engine), servers, keys).start()
}

fn quick(servers: &[String], keys: &[(&str, &str)]) -> Relay {
    through(Relay::builder(), servers, keys).start()
}

/// Insists that a client speaks with an echo.
fn echoes(client: &mut Client) {
    client.send(b"ping");
    client.expect(b"ping");
}

fn a_session_goes_through_a_parent_of_each_protocol(engine: Engine) {
    let target = Origin::echo();
    let parents = [
        ("socks5", FakeParent::socks5(target.addr)),
        ("socks4a", FakeParent::socks4a(target.addr)),
        ("http", FakeParent::http(target.addr)),
    ];
    for (scheme, parent) in parents {
        let relay = led(engine, &[format!("{scheme}://{}", parent.addr())], &[("resolve", "\"here\"")]);
        let mut client = Client::greeted(relay.addr());
        let asked: SocketAddr = "127.0.0.77:7".parse().expect("an address");
        let reply = client.request_ip(asked);
        assert_eq!(reply.rep, 0, "{scheme}");
        echoes(&mut client);
        assert_eq!(parent.told_once().target, "127.0.0.77:7", "{scheme}");
        drop(client);
        let record = relay.relayed_record();
        assert_eq!((&record["parent"], &record["address"]), (&"up".into(), &"127.0.0.77:7".into()));
        assert_eq!(record["parent_server"], format!("{scheme}://{}", parent.addr()), "{record}");
        match scheme {
            // What the target sees is told where it is known.
            "socks5" => assert_eq!(reply.bound, SocketAddr::from(([192, 0, 2, 9], 0x1234))),
            _ => assert_eq!(reply.bound.to_string(), record["local"], "{record}"),
        }
    }
}

fn a_chain_is_led_through_one_proxy_after_the_other(engine: Engine) {
    let target = Origin::echo();
    let last = FakeParent::http(target.addr);
    let first = FakeParent::socks5(last.addr());
    let chain = format!("socks5h://{}\", \"http://ann:secret@{}", first.addr(), last.addr());
    let builder = Relay::builder().engine(engine);
    let relay = through(builder, &[], &[("servers", &format!("[{{ url = [\"{chain}\"] }}]"))]).start();
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_name(b"far.example", 80).rep, 0);
    echoes(&mut client);
    assert_eq!(first.told_once().target, last.addr().to_string());
    let told = last.told_once();
    assert_eq!(
        (told.target.as_str(), told.login),
        ("far.example:80", Some((b"YW5uOnNlY3JldA==".to_vec(), vec![])))
    );
    drop(client);
    let record = relay.relayed_record();
    let both = format!("socks5h://{}>http://{}", first.addr(), last.addr());
    assert_eq!((&record["parent_server"], &record["address"]), (&both.into(), &serde_json::Value::Null));
    assert!(!relay.log().contains("secret"), "{}", relay.log());
}

/// What the first proxy said of the next one was taken for what it says of the target: the backup was never asked.
fn a_chain_without_its_next_proxy_is_away(engine: Engine) {
    let target = Origin::echo();
    let first = FakeParent::serve(|mut stream, _| {
        greet(&mut stream)?;
        request(&mut stream)?;
        stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0])
    });
    let backup = FakeParent::socks5(target.addr);
    let (chain, last) = (first.addr(), backup.addr());
    let servers = format!(
        "[{{ url = [\"socks5h://{chain}\", \"socks5h://192.0.2.1\"] }}, {{ url = \"socks5h://{last}\", weight = 0 }}]"
    );
    let keys = [("servers", &*servers), ("max_fails", "1")];
    let relay = through(Relay::builder().engine(engine), &[], &keys).start();
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_name(b"far.example", 80).rep, 0);
    echoes(&mut client);
    assert_eq!(backup.told_once().target, "far.example:80");
}

/// The first bytes of a target may come in one segment with the parent's reply.
fn what_comes_behind_a_reply_is_the_targets(engine: Engine) {
    let parent = FakeParent::serve(|mut stream, _| {
        greet(&mut stream)?;
        request(&mut stream)?;
        stream.write_all(&[&BOUND[..], b"220 ready\r\n"].concat())
    });
    let relay = led(engine, &[socks5_url(&parent)], &[]);
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_ip(parent.addr()).rep, 0);
    client.expect(b"220 ready\r\n");
    client.expect_eof();
    drop(client);
    let record = relay.relayed_record();
    assert_eq!((&record["bytes_down"], &record["bytes_up"]), (&11.into(), &0.into()), "{record}");
}

fn a_parent_that_answers_byte_by_byte_is_understood(engine: Engine) {
    let target = Origin::echo();
    let habits = Habits { asks_login: true, slow: true, headed: false };
    let parent = FakeParent::socks5_with(target.addr, habits);
    let relay = led(engine, &[format!("socks5h://ann:secret@{}", parent.addr())], &[]);
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_name(b"slow.example", 7).rep, 0);
    echoes(&mut client);
    let told = parent.told_once();
    assert_eq!(told.login, Some((b"ann".to_vec(), b"secret".to_vec())));
    assert_eq!(told.target, "slow.example:7");
}

fn clients_of_socks4_and_http_go_through_a_parent_alike(engine: Engine) {
    let target = Origin::echo();
    let parent = FakeParent::socks5(target.addr);
    let listener = "name = \"all\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"socks4\", \"http\"]";
    let builder = Relay::builder().engine(engine).listeners(&[listener]);
    let relay = through(builder, &[format!("socks5h://{}", parent.addr())], &[]).start();
    let mut client = Client::connect(relay.addr());
    client.send(b"\x04\x01\x00\x07\x00\x00\x00\x01\x00four.example\x00");
    assert_eq!(client.recv(8)[..2], [0, 90]);
    echoes(&mut client);
    let mut client = Client::connect(relay.addr());
    client.send(b"CONNECT web.example:7 HTTP/1.1\r\nHost: web.example:7\r\n\r\n");
    client.expect(b"HTTP/1.1 200 Connection established\r\n\r\n");
    echoes(&mut client);
    let told: Vec<String> = parent.told().into_iter().map(|told| told.target).collect();
    assert_eq!(told, ["four.example:7", "web.example:7"]);
}

/// Two requests for one target take one tunnel; one for another takes its own.
fn requests_of_http_go_over_one_tunnel(engine: Engine) {
    let target = Origin::serve(|stream| {
        let mut peer = Peer::over(stream);
        while peer.try_head().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    for (url, by_name) in [("socks5", false), ("socks5h", true)] {
        let parent = FakeParent::socks5(target.addr);
        let dns = DnsServer::zone(&[("one.example", &["127.0.0.1"]), ("two.example", &["127.0.0.1"])]);
        let builder = web(Relay::builder().engine(engine)).dns(&dns);
        let relay = through(builder, &[format!("{url}://{}", parent.addr())], &[]).start();
        let mut client = Peer::connect(relay.addr());
        for host in ["one.example", "one.example", "two.example"] {
            client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
            assert!(client.head().starts_with("HTTP/1.1 200 "), "{host}");
            assert_eq!(client.body(2), b"ok");
        }
        assert_eq!(parent.told().len(), 2, "{:?}", parent.told());
        let told = if by_name { "one.example:80" } else { "127.0.0.1:80" };
        assert_eq!(parent.told()[0].target, told);
        assert_eq!(dns.queries().is_empty(), by_name);
        drop(client);
        assert!(relay.records(3).iter().all(|record| record["parent"] == "up"));
    }
}

fn a_stream_through_a_parent_is_whole(engine: Engine) {
    const LENGTH: u64 = 8 << 20;
    let target = Origin::source(LENGTH);
    let parent = FakeParent::socks5(target.addr);
    let relay = led(engine, &[socks5_url(&parent)], &[]);
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_ip(parent.addr()).rep, 0);
    client.finish();
    let got = client.recv_to_eof();
    assert!(got == pattern(0, LENGTH as usize), "{} bytes", got.len());
    drop(client);
    assert_eq!(relay.relayed_record()["bytes_down"], LENGTH);
}

#[test]
fn a_name_that_the_parent_resolves_is_asked_of_nobody_here() {
    let target = Origin::echo();
    let parent = FakeParent::socks5(target.addr);
    let dns = DnsServer::zone(&[("far.example", &["127.0.0.1"])]);
    let relay = through(Relay::builder().dns(&dns), &[format!("socks5h://{}", parent.addr())], &[]).start();
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_name(b"far.example", 7).rep, 0);
    echoes(&mut client);
    assert_eq!((parent.told_once().target.as_str(), dns.queries().len()), ("far.example:7", 0));
}

/// What a parent says of the target is what the client is told, and is no fault of the parent's.
#[test]
fn a_parents_reply_code_becomes_ours() {
    for code in [1, 2, 3, 4, 5, 6, 7, 8] {
        let parent = FakeParent::serve(move |mut stream, _| {
            greet(&mut stream)?;
            request(&mut stream)?;
            stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0])
        });
        let relay = quick(&[socks5_url(&parent)], &[("max_fails", "1")]);
        for _ in 0..2 {
            let mut client = Client::greeted(relay.addr());
            client.send(&connect_ip(parent.addr()));
            client.expect_refusal(code);
        }
        assert_eq!(parent.accepted(), 2, "code {code}");
        assert!(!relay.log().contains("is away"), "{}", relay.log());
        let record = relay.records(2).remove(0);
        let reason = if code == 6 { "connect_timeout" } else { "connect_failed" };
        assert_eq!((&record["reply"], &record["reason"]), (&code.into(), &reason.into()), "{record}");
        assert_eq!(record["parent"], "up");
    }
}

/// Whatever a server does wrong, the next one serves, and the record has which.
#[test]
fn a_session_goes_to_the_next_server_where_one_is_of_no_use() {
    type Fault = fn(std::net::TcpStream) -> std::io::Result<()>;
    let faults: [(&str, Fault); 5] = [
        ("closes", |_| Ok(())),
        ("rubbish", |mut stream| stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n")),
        ("refuses", |mut stream| {
            stream.read_exact(&mut [0; 3])?;
            stream.write_all(&[5, 0xff])
        }),
        ("cut short", |mut stream| {
            greet(&mut stream)?;
            request(&mut stream)?;
            stream.write_all(&BOUND[..7])
        }),
        ("silent", |stream| {
            let _ = stream.peek(&mut [0; 64]);
            drain(stream);
            Ok(())
        }),
    ];
    let target = Origin::echo();
    let good = FakeParent::socks5(target.addr);
    for (what, fault) in faults {
        let bad = FakeParent::serve(move |stream, _| fault(stream));
        let servers = format!(
            "[{{ url = \"{}\", weight = 1 }}, {{ url = \"{}\", weight = 0 }}]",
            socks5_url(&bad),
            socks5_url(&good)
        );
        let builder = Relay::builder().timeout("connect", 3000);
        let relay = through(builder, &[], &[("servers", &servers), ("max_fails", "1")]).start();
        let mut client = Client::greeted(relay.addr());
        assert_eq!(client.request_ip(target.addr).rep, 0, "{what}");
        echoes(&mut client);
        relay.logged(&["is away"]);
        // It is not tried again before its time.
        let mut client = Client::greeted(relay.addr());
        assert_eq!(client.request_ip(target.addr).rep, 0, "{what}");
        assert_eq!(bad.accepted(), 1, "{what}");
        drop(client);
        let record = relay.relayed_record();
        assert_eq!(record["parent_server"], format!("socks5://{}", good.addr()), "{what}");
    }
}

#[test]
fn a_parent_of_which_no_server_serves_fails_with_a_cause_of_its_own() {
    let gone = Origin::echo().addr;
    let relay = through(Relay::builder(), &[format!("socks5://{gone}")], &[]).start();
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_ip(gone));
    client.expect_refusal(1);
    let record = relay.record();
    assert_eq!((&record["reason"], &record["parent"]), (&"parent_failed".into(), &"up".into()), "{record}");
}

/// A server that takes the connection and says nothing is left after its share of the time.
#[test]
fn a_silent_parent_costs_its_share_of_the_time() {
    let silent = FakeParent::serve(|stream, _| {
        drain(stream);
        Ok(())
    });
    let builder = Relay::builder().timeout("connect", 1000);
    let relay = through(builder, &[socks5_url(&silent)], &[]).start();
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_ip(silent.addr()));
    let ((), lasted) = timed(|| client.expect_refusal(1));
    assert!((900..4000).contains(&lasted.as_millis()), "{lasted:?}");
    assert_eq!(relay.record()["reason"], "parent_failed");
}

#[test]
fn sessions_go_without_a_parent_that_is_away_where_they_may() {
    let target = Origin::echo();
    let gone = Origin::echo().addr;
    let dns = DnsServer::zone(&[("near.example", &["127.0.0.1"])]);
    for url in ["socks5", "socks5h"] {
        let builder = Relay::builder().dns(&dns);
        let relay = through(builder, &[format!("{url}://{gone}")], &[("fallback", "\"direct\"")]).start();
        let mut client = Client::greeted(relay.addr());
        let reply = client.request_name(b"near.example", target.addr.port());
        assert_eq!(reply.rep, 0, "{url}");
        echoes(&mut client);
        drop(client);
        let record = relay.relayed_record();
        let told = ["parent", "parent_server", "parent_cause", "address"].map(|field| record[field].as_str());
        assert_eq!(told, [Some("up"), None, Some("refused"), Some(&*target.addr.to_string())]);
    }
}

#[test]
fn what_a_parent_does_not_do_is_refused_with_07() {
    let parent = FakeParent::socks5(Origin::echo().addr);
    let relay = quick(&[socks5_url(&parent)], &[]);
    let mut client = Client::greeted(relay.addr());
    client.send(&asks(2, parent.addr()));
    client.expect_refusal(7);
    let mut client = Client::greeted(relay.addr());
    client.send(&asks(2, "0.0.0.0:0".parse().expect("an address")));
    client.expect_refusal(7);
    let dns = DnsServer::zone(&[("far.example", &["127.0.0.1"])]);
    let resolves = through(
        Relay::builder().dns(&dns).set("tor", "resolve", "true"),
        &[format!("socks5h://{}", parent.addr())],
        &[],
    )
    .start();
    let mut client = Client::greeted(resolves.addr());
    client.send(b"\x05\xf0\x00\x03\x0bfar.example\x00\x00");
    client.expect_refusal(7);
    assert!(dns.queries().is_empty());
    let mut client = Client::greeted(relay.addr());
    client.send(&asks(3, "0.0.0.0:0".parse().expect("an address")));
    client.expect_refusal(7);
    assert_eq!(parent.accepted(), 0);
}

/// A parent that is our own listener by an address of which the configuration does not tell.
#[test]
fn a_parent_that_leads_back_to_us_is_not_dialled() {
    let dns = DnsServer::zone(&[("up.example", &["127.0.0.1"])]);
    let free = Origin::echo().addr.port();
    let builder = Relay::builder().dns(&dns).listen(&[&format!("127.0.0.1:{free}")]);
    let relay = through(builder, &[format!("socks5://up.example:{free}")], &[]).start();
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_ip("127.0.0.9:9".parse().expect("an address")));
    client.expect_refusal(1);
    assert_eq!(relay.records(1).len(), 1, "no session came of it");
}

#[test]
fn a_client_is_known_to_the_parent_as_it_is_configured() {
    let target = Origin::echo();
    let habits = Habits { asks_login: true, headed: true, slow: false };
    let parent = FakeParent::socks5_with(target.addr, habits);
    let builder = Relay::builder().users(&[("ann", b"her own")]);
    let keys = [("user_from", "\"client\""), ("send_proxy", "1")];
    let relay = through(builder, &[format!("socks5h://any:shared@{}", parent.addr())], &keys).start();
    let mut client = Client::connect(relay.addr());
    assert_eq!(client.login(b"ann", b"her own"), 0);
    assert_eq!(client.request_name(b"far.example", 7).rep, 0);
    echoes(&mut client);
    let told = parent.told_once();
    assert_eq!(told.login, Some((b"ann".to_vec(), b"shared".to_vec())));
    let ours = client.local();
    let wanted = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", ours.port(), parent.addr().port());
    assert_eq!(told.header, wanted);
}

/// A client that does not wait for the reply spares its first bytes a round trip: a SOCKS5 parent has them with the request.
#[test]
fn early_bytes_go_with_the_request() {
    let parent = FakeParent::serve(|mut stream, _| {
        greet(&mut stream)?;
        request(&mut stream)?;
        let mut early = [0; 5];
        stream.read_exact(&mut early)?;
        stream.write_all(&[&BOUND[..], &early].concat())
    });
    let relay = quick(&[socks5_url(&parent)], &[]);
    let mut client = Client::greeted(relay.addr());
    client.send(&[&connect_ip(parent.addr())[..], b"early"].concat());
    assert_eq!(client.reply().rep, 0);
    client.expect(b"early");
    client.expect_eof();
    drop(client);
    let record = relay.relayed_record();
    assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&5.into(), &5.into()), "{record}");
}

/// What a parent was given may have reached the target: it is given to no other server.
#[test]
fn early_bytes_go_to_one_server_alone() {
    let parents = [(); 2].map(|()| {
        FakeParent::serve(|mut stream, _| {
            greet(&mut stream)?;
            request(&mut stream)?;
            stream.read_exact(&mut [0; 5])
        })
    });
    let relay = quick(&[socks5_url(&parents[0]), socks5_url(&parents[1])], &[("fallback", "\"direct\"")]);
    let target = Origin::echo();
    let mut client = Client::greeted(relay.addr());
    client.send(&[&connect_ip(target.addr)[..], b"early"].concat());
    client.expect_refusal(1);
    assert_eq!((parents[0].accepted() + parents[1].accepted(), target.accepted()), (1, 0));
}

/// With a connection that is ready, a session costs the parent one message: its request.
#[test]
fn an_idle_connection_spares_a_session_its_round_trips() {
    let target = Origin::echo();
    let parent = FakeParent::socks5(target.addr);
    let relay = quick(&[socks5_url(&parent)], &[("warm", "2")]);
    let mut first = Client::greeted(relay.addr());
    assert_eq!(first.request_ip(target.addr).rep, 0);
    echoes(&mut first);
    // The session's own, and two that wait, which have greeted already.
    wait::until_true("two that wait", wait::PATIENCE, || parent.accepted() == 3);
    let mut second = Client::greeted(relay.addr());
    assert_eq!(second.request_ip(target.addr).rep, 0);
    echoes(&mut second);
    wait::until_true("one in place of that", wait::PATIENCE, || parent.accepted() == 4);
    assert_eq!(parent.told().len(), 2);
}

/// Parents close idle connections when they like: a session that meets one of them is served all the same.
#[test]
fn an_idle_connection_that_has_died_costs_no_session() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    let target = Origin::echo();
    let to = target.addr;
    let parent = FakeParent::serve(move |mut stream, _| {
        // The first serves a session at once, the second, which waits, closes with its request, others serve.
        let nth = BEGUN.fetch_add(1, SeqCst);
        greet(&mut stream)?;
        if nth == 1 {
            return stream.peek(&mut [0]).map(drop);
        }
        request(&mut stream)?;
        stream.write_all(&BOUND)?;
        lead(stream, to)
    });
    let relay = quick(&[socks5_url(&parent)], &[("warm", "1"), ("max_fails", "1")]);
    for session in 0..3 {
        let mut client = Client::greeted(relay.addr());
        assert_eq!(client.request_ip(target.addr).rep, 0, "session {session}");
        echoes(&mut client);
        wait::until_true("one that waits", wait::PATIENCE, || BEGUN.load(SeqCst) >= session + 2);
    }
    assert!(!relay.log().contains("is away"), "{}", relay.log());
}

/// What came of each parent is told to whoever scrapes.
#[test]
fn metrics_tell_of_each_parent() {
    let target = Origin::echo();
    let (parent, gone) = (FakeParent::socks5(target.addr), Origin::echo().addr);
    let servers = [format!("socks5://{gone}"), socks5_url(&parent)];
    let builder: Builder = through(Relay::builder(), &servers, &[("max_fails", "1"), ("warm", "1")]);
    let (relay, api) = Api::serve(builder);
    for _ in 0..4 {
        let mut client = Client::greeted(relay.addr());
        assert_eq!(client.request_ip(target.addr).rep, 0);
    }
    let has = |line: &str| api.ask("GET", "/metrics", None).body.contains(line);
    for line in [
        "outflow_parent_sessions_total{parent=\"up\"} 4\n",
        "outflow_parent_failures_total{parent=\"up\",cause=\"refused\"} 1\n",
        "outflow_parent_up{parent=\"up\"} 1\n",
        "outflow_parent_warm 1\n",
    ] {
        wait::until_true(line, wait::PATIENCE, || has(line));
    }
}
