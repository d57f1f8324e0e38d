//! Connections of HTTP clients between two requests: what is kept, what is counted, and what ends it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::api::Api;
use crate::support::origin::once;
use crate::support::socket_table::towards;
use crate::support::web::{Peer, get, web};
use crate::support::{Engine, Origin, Relay, wait};

engines!(
    a_kept_upstream_that_ends_is_not_used_again,
    what_comes_behind_a_response_is_not_taken_for_another,
    a_request_that_may_be_sent_again_is_where_its_kept_connection_fails,
    a_request_that_may_not_be_sent_again_is_answered,
    a_drain_ends_what_is_kept_and_lets_requests_end,
    an_empty_line_behind_a_body_is_no_request,
    a_target_that_answers_as_it_accepts_is_heard_at_a_second_try,
);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An origin that answers every request, over any number of connections; it counts them.
fn answering() -> Origin {
    Origin::serve(|stream| {
        let mut peer = Peer::over(stream);
        while peer.try_head().is_some() {
            peer.send(OK.as_bytes());
        }
    })
}

fn ask(client: &mut Peer, origin: SocketAddr) -> String {
    client.send(get(origin, "/").as_bytes());
    let head = client.head();
    if head.starts_with("HTTP/1.1 200 ") {
        assert_eq!(client.body(2), b"ok");
    }
    head
}

/// An origin whose first connection answers once and then does `then` with it; others answer whatever comes.
fn faithless(then: fn(Peer)) -> Origin {
    let first = std::sync::atomic::AtomicBool::new(true);
    Origin::serve(move |stream| {
        let mut peer = Peer::over(stream);
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            peer.head();
            peer.send(OK.as_bytes());
            return then(peer);
        }
        while let Some(head) = peer.try_head() {
            assert!(head.starts_with("GET "), "{head}");
            peer.send(OK.as_bytes());
        }
    })
}

fn a_kept_upstream_that_ends_is_not_used_again(engine: Engine) {
    let relay = web(Relay::builder().engine(engine)).start();
    let origin = faithless(drop);
    let mut client = Peer::connect(relay.addr());
    ask(&mut client, origin.addr);
    // The relay's two sockets to the origin, of which the first closes as soon as its FIN is seen.
    wait::until_true("the end is seen", wait::PATIENCE, || towards(origin.addr).is_empty());
    ask(&mut client, origin.addr);
    assert_eq!(origin.accepted(), 2);
}

fn what_comes_behind_a_response_is_not_taken_for_another(engine: Engine) {
    let relay = web(Relay::builder().engine(engine)).start();
    let first = std::sync::atomic::AtomicBool::new(true);
    let origin = Origin::serve(move |stream| {
        let mut peer = Peer::over(stream);
        let smuggles = first.swap(false, std::sync::atomic::Ordering::Relaxed);
        while peer.try_head().is_some() {
            let more = if smuggles { "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad" } else { "" };
            peer.send(format!("{OK}{more}").as_bytes());
        }
    });
    let mut client = Peer::connect(relay.addr());
    ask(&mut client, origin.addr);
    ask(&mut client, origin.addr);
    assert_eq!(origin.accepted(), 2);
}

/// It takes the next request, and closes without a word of an answer.
fn take_and_close(mut peer: Peer) {
    peer.head();
}

fn a_request_that_may_be_sent_again_is_where_its_kept_connection_fails(engine: Engine) {
    let relay = web(Relay::builder().engine(engine)).start();
    let origin = faithless(take_and_close);
    let mut client = Peer::connect(relay.addr());
    for _ in 0..3 {
        assert!(ask(&mut client, origin.addr).starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(origin.accepted(), 2);
    drop(client);
    let records = relay.records(3);
    assert!(records.iter().all(|record| record["reason"] == "completed"), "{records:?}");
}

fn a_request_that_may_not_be_sent_again_is_answered(engine: Engine) {
    for method in ["POST", "GET"] {
        let relay = web(Relay::builder().engine(engine)).start();
        let origin = faithless(take_and_close);
        let mut client = Peer::connect(relay.addr());
        ask(&mut client, origin.addr);
        let body = if method == "GET" { "Content-Length: 1\r\n\r\nx" } else { "\r\n" };
        client.send(format!("{method} http://{0}/ HTTP/1.1\r\nHost: {0}\r\n{body}", origin.addr).as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 502 "), "{method}");
        client.until_end();
        assert_eq!(origin.accepted(), 1);
    }
}

#[test]
fn an_idle_connection_ends_on_time_and_leaves_no_record() {
    let relay = web(Relay::builder().set("http", "keep_alive", "\"200ms\"")).start();
    let origin = answering();
    let mut client = Peer::connect(relay.addr());
    ask(&mut client, origin.addr);
    ask(&mut client, origin.addr);
    assert_eq!(client.until_end(), b"");
    relay.records(2);
    // One that never asked anything is a session that failed, as before.
    drop(Peer::connect(relay.addr()));
    assert_eq!(relay.records(3)[2]["reason"], "client_left");
}

#[test]
fn what_was_accepted_is_closed_or_active_at_any_time() {
    let (relay, api) = Api::serve(web(Relay::builder()));
    let origin = answering();
    let counts = || {
        let stats = api.get("/api/v1/stats");
        let count =
            |name: &str| stats["counters"][name].as_u64().unwrap_or_else(|| panic!("{name}: {stats}"));
        (count("accepted"), count("closed_completed"), count("active"))
    };
    let mut clients: Vec<Peer> = (0..3).map(|_| Peer::connect(relay.addr())).collect();
    wait::until_true("three sessions", wait::PATIENCE, || counts() == (3, 0, 3));
    for client in &mut clients {
        ask(client, origin.addr);
    }
    wait::until_true("three are over", wait::PATIENCE, || counts() == (3, 3, 0));
    assert!(api.sessions("").is_empty(), "what is kept is no session");
    for client in &mut clients {
        ask(client, origin.addr);
    }
    wait::until_true("six are over", wait::PATIENCE, || counts() == (6, 6, 0));
    drop(clients);
    wait::until_true("they are gone", wait::PATIENCE, || towards(origin.addr).is_empty());
    assert_eq!(counts(), (6, 6, 0));
    relay.records(6);
}

/// Each request is judged anew, over a connection to its target that is there already, too.
#[test]
fn a_kept_connection_opens_nothing_that_rules_deny_by_now() {
    let origin = answering();
    let rule = |action: &str| format!("name = \"one\"\nto = [\"127.0.0.0/8\"]\naction = \"{action}\"");
    let mut relay = web(Relay::builder()).rules(&[&rule("allow")]).start();
    let mut client = Peer::connect(relay.addr());
    ask(&mut client, origin.addr);
    relay.put_rules(&[&rule("deny")]);
    relay.reload(&[]);
    assert!(ask(&mut client, origin.addr).starts_with("HTTP/1.1 403 "));
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_kept_connection_is_used_for_its_own_user_alone() {
    let relay = web(Relay::builder()).users(&[("ann", b"a"), ("bob", b"b")]).start();
    let origin = answering();
    let mut client = Peer::connect(relay.addr());
    // ann:a, bob:b
    for credentials in ["YW5uOmE=", "YW5uOmE=", "Ym9iOmI="] {
        let request = get(origin.addr, "/").replacen(
            "\r\n\r\n",
            &format!("\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"),
            1,
        );
        client.send(request.as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(client.body(2), b"ok");
    }
    assert_eq!(origin.accepted(), 2);
    let records = relay.records(3);
    let users: Vec<_> = records.iter().map(|record| record["user"].as_str().unwrap_or_default()).collect();
    assert_eq!(users, ["ann", "ann", "bob"]);
}

/// A tunnel is never one that carried a request.
#[test]
fn a_tunnel_has_a_connection_of_its_own() {
    let relay = web(Relay::builder()).start();
    let origin = answering();
    let mut client = Peer::connect(relay.addr());
    ask(&mut client, origin.addr);
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.addr).as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    client.head();
    assert_eq!(client.body(2), b"ok");
    assert_eq!(origin.accepted(), 2);
}

/// Empty lines behind a request begin none (RFC 9112 section 2.2).
#[test]
fn empty_lines_between_requests_are_nothing() {
    let relay = web(Relay::builder()).start();
    let origin = answering();
    let mut client = Peer::connect(relay.addr());
    ask(&mut client, origin.addr);
    client.send(b"\r\n");
    client.send(format!("\r\n{}", get(origin.addr, "/")).as_bytes());
    client.head();
    assert_eq!(client.body(2), b"ok");
    drop(client);
    relay.records(2);
}

fn a_drain_ends_what_is_kept_and_lets_requests_end(engine: Engine) {
    let mut relay = web(Relay::builder().engine(engine)).start();
    let (say, said) = std::sync::mpsc::channel::<()>();
    let slow = once(move |stream| {
        let mut peer = Peer::over(stream);
        peer.head();
        said.recv().expect("a word");
        peer.send(OK.as_bytes());
    });
    let origin = answering();
    let (mut idle, mut busy) = (Peer::connect(relay.addr()), Peer::connect(relay.addr()));
    ask(&mut idle, origin.addr);
    busy.send(get(slow.addr, "/").as_bytes());
    wait::until_true("the request is under way", wait::PATIENCE, || towards(slow.addr).len() == 1);
    relay.signal("TERM");
    assert_eq!(idle.until_end(), b"");
    say.send(()).expect("it listens");
    assert!(busy.head().contains("Connection: close\r\n"));
    assert_eq!(busy.until_end(), b"ok");
    slow.join();
    drop(busy);
    assert_eq!(relay.wait_exit(wait::PATIENCE), Some(0));
    relay.records(2);
}

/// Who comes is served before who may come again.
#[test]
fn what_is_kept_makes_room() {
    let relay = web(Relay::builder().set("server", "max_connections", "4")).start();
    let origin = answering();
    let mut clients: Vec<Peer> = Vec::new();
    for _ in 0..12 {
        let mut client = Peer::connect(relay.addr());
        ask(&mut client, origin.addr);
        clients.push(client);
    }
    relay.records(12);
}

/// The source has its share back with the end of each session.
#[test]
fn a_source_has_its_place_back_between_two_requests() {
    let relay = web(Relay::builder().set("limits.per_source", "connections", "2")).start();
    let origin = answering();
    let mut clients: Vec<Peer> = (0..4).map(|_| Peer::connect(relay.addr())).collect();
    for _ in 0..3 {
        for client in &mut clients {
            assert!(ask(client, origin.addr).starts_with("HTTP/1.1 200 "));
        }
    }
    relay.records(12);
}

#[test]
fn a_quota_holds_for_requests() {
    let limit = "name = \"one\"\nper = \"source\"\nquota = { bytes = \"1KB\", period = \"day\", zone = \"UTC\" }\non_reached = \"close\"";
    let relay = web(Relay::builder().keeping()).limits(&[limit]).rules(&[
        "name = \"all\"\naction = \"allow\"\nlimits = [\"one\"]\nallow_private = true\nto = [\"127.0.0.0/8\"]",
    ]);
    let relay = relay.start();
    let origin = Origin::serve(|stream| {
        let mut peer = Peer::over(stream);
        while peer.try_head().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
            // The relay ends before it has taken this.
            peer.send_until_end(&[b'x'; 100_000]);
        }
    });
    let mut client = Peer::connect(relay.addr());
    client.send(get(origin.addr, "/").as_bytes());
    client.expect_reset();
    assert_eq!(relay.record()["reason"], "quota");
    let mut client = Peer::connect(relay.addr());
    client.send(get(origin.addr, "/").as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 429 "));
    assert_eq!(relay.records(2)[1]["limit"], "one");
}

#[test]
fn a_request_that_is_killed_is_reset() {
    let (relay, api) = Api::serve(web(Relay::builder()));
    let origin = once(|stream| {
        let mut peer = Peer::over(stream);
        peer.head();
        peer.send(OK.as_bytes());
        peer.head();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
        peer.expect_reset();
    });
    let mut client = Peer::connect(relay.addr());
    ask(&mut client, origin.addr);
    client.send(get(origin.addr, "/").as_bytes());
    client.head();
    let sessions = api.sessions("");
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let id = sessions[0]["id"].as_str().expect("an id").to_owned();
    assert_ne!(relay.records(1)[0]["id"].as_str(), Some(&*id));
    assert_eq!(api.ask("DELETE", &format!("/api/v1/sessions/{id}"), None).status, 200);
    client.expect_reset();
    origin.join();
    assert_eq!(relay.records(2)[1]["reason"], "killed");
}

/// Only the last moments of a request are waited for where nothing comes: the connection that is kept goes by a timer of
/// its own.
#[test]
fn a_slow_head_is_given_the_time_of_a_handshake() {
    let relay = web(Relay::builder().timeout("handshake", 300)).start();
    let origin = answering();
    let mut client = Peer::connect(relay.addr());
    ask(&mut client, origin.addr);
    std::thread::sleep(Duration::from_millis(400));
    ask(&mut client, origin.addr);
    client.send(b"GET http://");
    assert!(client.head().starts_with("HTTP/1.1 408 "));
    assert_eq!(relay.records(3)[2]["reason"], "handshake_timeout");
}

/// The rules of a reload end a request that is under way, where that is asked for, and leave alone what is kept.
#[test]
fn rules_that_revoke_end_requests() {
    let rule = |action: &str| format!("name = \"one\"\nto = [\"127.0.0.0/8\"]\naction = \"{action}\"");
    let builder = web(Relay::builder()).set("policy", "on_reload", "\"revoke\"");
    let mut relay = builder.rules(&[&rule("allow")]).start();
    let slow = once(|stream| {
        let mut peer = Peer::over(stream);
        peer.head();
        peer.expect_reset();
    });
    let origin = answering();
    let (mut idle, mut busy) = (Peer::connect(relay.addr()), Peer::connect(relay.addr()));
    ask(&mut idle, origin.addr);
    busy.send(get(slow.addr, "/").as_bytes());
    wait::until_true("the request is under way", wait::PATIENCE, || towards(slow.addr).len() == 1);
    relay.put_rules(&[&rule("deny")]);
    relay.reload(&[]);
    busy.expect_reset();
    slow.join();
    assert!(ask(&mut idle, origin.addr).starts_with("HTTP/1.1 403 "));
    let records = relay.records(3);
    assert_eq!(records[1]["reason"], "revoked");
}

/// What a limit lets pass in a second holds for a response as for any other bytes.
#[test]
fn a_response_keeps_to_the_rate() {
    let relay = web(Relay::builder())
        .limits(&["name = \"slow\"\nper = \"source\"\ndownload = { rate = \"200KB\", burst = \"50KB\" }"])
        .rules(&["name = \"all\"\naction = \"allow\"\nlimits = [\"slow\"]\nto = [\"127.0.0.0/8\"]"])
        .start();
    let origin = once(|stream| {
        let mut peer = Peer::over(stream);
        peer.head();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 250000\r\n\r\n");
        peer.send(&[b'x'; 250_000]);
    });
    let mut client = Peer::connect(relay.addr());
    client.send(get(origin.addr, "/").as_bytes());
    let (body, took) = wait::timed(|| {
        client.head();
        client.body(250_000)
    });
    assert_eq!(body.len(), 250_000);
    assert!(took > Duration::from_millis(800), "{took:?}");
    origin.join();
}

/// Old clients send an empty line behind each body (RFC 9112 section 2.2). Where it came with the body it was once taken for a
/// request that is none, which ended the connection and stood in the records.
fn an_empty_line_behind_a_body_is_no_request(engine: Engine) {
    let relay = web(Relay::builder().engine(engine)).start();
    let origin = Origin::serve(|stream| {
        let mut peer = Peer::over(stream);
        while peer.try_head().is_some() {
            assert_eq!(peer.body(3), b"abc");
            peer.send(OK.as_bytes());
        }
    });
    let mut client = Peer::connect(relay.addr());
    let post =
        format!("POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 3\r\n\r\nabc\r\n", origin.addr);
    for _ in 0..2 {
        client.send(post.as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(client.body(2), b"ok");
    }
    client.send(format!("{post}{post}").as_bytes());
    for _ in 0..2 {
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(client.body(2), b"ok");
    }
    client.finish();
    client.expect_end();
    let records = relay.records(4);
    assert!(records.iter().all(|record| record["reason"] == "completed"), "{records:?}");
}

/// What comes of the target together with the word that it is connected was once never read, and the client waited for it until
/// its time was up.
fn a_target_that_answers_as_it_accepts_is_heard_at_a_second_try(engine: Engine) {
    let relay = web(Relay::builder().engine(engine).workers(1)).start();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let origin = Origin::serve(move |stream| {
        let mut peer = Peer::over(stream);
        if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(2) {
            peer.head();
            peer.send(OK.as_bytes());
            peer.head();
            return;
        }
        peer.send(OK.as_bytes());
        peer.expect_end_behind_anything();
    });
    // Their bytes keep the worker in its turn for as long as the target needs to answer.
    let sink = Origin::serve(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    let tunnels: Vec<_> = (0..4)
        .map(|_| {
            let mut tunnel = Peer::connect(relay.addr());
            tunnel.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", sink.addr).as_bytes());
            assert!(tunnel.head().starts_with("HTTP/1.1 200 "));
            tunnel
        })
        .collect();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for mut tunnel in tunnels {
            let over = &over;
            scope.spawn(move || {
                let block = vec![0; 1 << 20];
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    tunnel.send(&block);
                }
            });
        }
        for _ in 0..10 {
            let mut client = Peer::connect(relay.addr());
            for _ in 0..2 {
                assert!(ask(&mut client, origin.addr).starts_with("HTTP/1.1 200 "));
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
