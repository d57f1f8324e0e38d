//! Requests of HTTP in absolute form: what an origin sees of them, and what a client gets back.

use crate::support::origin::{Once, once, pattern};
use crate::support::web::{Peer, get, web};
use crate::support::{Engine, Relay};

engines!(
    requests_of_one_connection_go_to_one_upstream_and_are_sessions_of_their_own,
    another_host_has_another_upstream,
    long_bodies_of_known_length_pass_both_ways,
    chunks_pass_both_ways_without_their_trailer_fields,
    responses_without_a_body_leave_the_connection_where_it_is,
    a_response_that_ends_with_the_connection_ends_the_clients,
    a_client_that_expects_100_is_told_it_by_the_target,
    a_response_before_the_end_of_its_request_ends_the_connection,
    an_upgraded_connection_carries_what_comes,
    a_client_of_http_1_0_gets_what_it_can_read,
    a_client_that_ends_its_side_behind_a_request_gets_the_response,
    a_client_that_goes_takes_the_upstream_along,
    a_request_that_is_cut_off_resets_the_upstream,
    a_response_that_is_cut_off_resets_the_client,
    pipelined_requests_are_answered_in_their_order,
    what_comes_behind_chunks_is_the_next_request,
    what_is_no_response_is_a_502,
    a_target_that_does_not_respond_in_time_is_a_504,
    a_body_in_chunks_that_are_none_is_a_400,
);

/// A server that speaks HTTP alone and moves bytes so.
fn serving(engine: Engine) -> Relay {
    web(Relay::builder().engine(engine)).start()
}

/// An origin that answers the one connection that it takes with these bytes, whatever is asked, and gives what it read before
/// the end of the connection.
fn answering(answers: &'static [&'static str]) -> Once<Vec<String>> {
    once(move |stream| {
        let mut peer = Peer::over(stream);
        let mut heads = Vec::new();
        for answer in answers {
            heads.push(peer.head());
            peer.send(answer.as_bytes());
        }
        heads
    })
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn requests_of_one_connection_go_to_one_upstream_and_are_sessions_of_their_own(engine: Engine) {
    let relay = serving(engine);
    let origin = answering(&[OK, OK, OK]);
    let mut client = Peer::connect(relay.addr());
    for path in ["/a", "/b?c=d", ""] {
        client.send(get(origin.addr, path).as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(client.body(2), b"ok");
    }
    let heads = {
        let addr = origin.addr;
        let heads = origin.join();
        assert!(heads[0].starts_with(&format!("GET /a HTTP/1.1\r\nHost: {addr}\r\n")), "{}", heads[0]);
        heads
    };
    assert!(heads[1].starts_with("GET /b?c=d HTTP/1.1\r\n") && heads[2].starts_with("GET / HTTP/1.1\r\n"));
    drop(client);
    let records = relay.records(3);
    let ids: std::collections::HashSet<_> = records.iter().map(|record| record["id"].to_string()).collect();
    assert_eq!(ids.len(), 3);
    for record in &records {
        assert_eq!((record["reply"].as_u64(), record["reason"].as_str()), (Some(200), Some("completed")));
        assert_eq!(record["command"], "connect");
        assert!(record["bytes_down"].as_u64() > Some(2), "{record}");
    }
}

fn another_host_has_another_upstream(engine: Engine) {
    let relay = serving(engine);
    let (one, other) = (answering(&[OK]), answering(&[OK]));
    let mut client = Peer::connect(relay.addr());
    for addr in [one.addr, other.addr] {
        client.send(get(addr, "/").as_bytes());
        client.head();
        assert_eq!(client.body(2), b"ok");
    }
    assert_eq!((one.join().len(), other.join().len()), (1, 1));
}

fn long_bodies_of_known_length_pass_both_ways(engine: Engine) {
    const LENGTH: usize = 3_000_001;
    let relay = serving(engine);
    let origin = once(|stream| {
        let mut peer = Peer::over(stream);
        for _ in 0..2 {
            peer.head();
            let body = peer.body(LENGTH);
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes());
            peer.send(&body);
        }
    });
    let mut client = Peer::connect(relay.addr());
    let body = pattern(0, LENGTH);
    for _ in 0..2 {
        let head = format!(
            "PUT http://{0}/x HTTP/1.1\r\nHost: {0}\r\nContent-Length: {LENGTH}\r\n\r\n",
            origin.addr
        );
        client.send(head.as_bytes());
        client.send(&body);
        client.head();
        assert!(client.body(LENGTH) == body);
    }
    origin.join();
    let records = relay.records(2);
    assert!(records.iter().all(|record| record["engine"] == engine.name()), "{records:?}");
    assert!(records.iter().all(|record| record["bytes_up"].as_u64() > Some(LENGTH as u64)));
}

fn chunks_pass_both_ways_without_their_trailer_fields(engine: Engine) {
    let relay = serving(engine);
    const BODY: &str = "3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n";
    let origin = once(|stream| {
        let mut peer = Peer::over(stream);
        for _ in 0..2 {
            let head = peer.head();
            assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
            let body = peer.body(BODY.len() + 2);
            assert_eq!(body, format!("{BODY}\r\n").as_bytes());
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            peer.send(format!("{BODY}T: t\r\n\r\n").as_bytes());
        }
    });
    let mut client = Peer::connect(relay.addr());
    for _ in 0..2 {
        let head = format!(
            "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\n\r\n",
            origin.addr
        );
        client.send(head.as_bytes());
        client.send(format!("{}Trailer: x\r\n\r\n", BODY.replace("10\r", "10;x=y\r")).as_bytes());
        client.head();
        assert_eq!(client.body(BODY.len() + 2), format!("{BODY}\r\n").as_bytes());
    }
    origin.join();
}

fn responses_without_a_body_leave_the_connection_where_it_is(engine: Engine) {
    let relay = serving(engine);
    let origin = answering(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
        OK,
    ]);
    let mut client = Peer::connect(relay.addr());
    for method in ["HEAD", "GET", "GET", "GET"] {
        client.send(get(origin.addr, "/").replacen("GET", method, 1).as_bytes());
        client.head();
    }
    assert_eq!(client.body(2), b"ok");
    origin.join();
}

fn a_response_that_ends_with_the_connection_ends_the_clients(engine: Engine) {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        let relay = serving(engine);
        let origin = once(move |stream| {
            let mut peer = Peer::over(stream);
            peer.head();
            peer.send(head.as_bytes());
            peer.send(&pattern(0, 500_000));
        });
        let mut client = Peer::connect(relay.addr());
        client.send(get(origin.addr, "/").as_bytes());
        assert!(client.head().contains("Connection: close\r\n"));
        assert!(client.until_end() == pattern(0, 500_000));
        origin.join();
        assert_eq!(relay.record()["reason"], "completed");
    }
}

fn a_client_that_expects_100_is_told_it_by_the_target(engine: Engine) {
    let relay = serving(engine);
    let origin = once(|stream| {
        let mut peer = Peer::over(stream);
        assert!(peer.head().contains("Expect: 100-continue\r\n"));
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(peer.body(4), b"body");
        peer.send(OK.as_bytes());
    });
    let mut client = Peer::connect(relay.addr());
    let head = format!(
        "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        origin.addr
    );
    client.send(head.as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 100 "));
    client.send(b"body");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    assert_eq!(client.body(2), b"ok");
    origin.join();
}

/// The client gets all of the response, and its connection is not used again: where its body ends cannot be waited for.
fn a_response_before_the_end_of_its_request_ends_the_connection(engine: Engine) {
    let relay = serving(engine);
    let origin = answering(&["HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!"]);
    let mut client = Peer::connect(relay.addr());
    let head =
        format!("POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 100000\r\n\r\nbegin", origin.addr);
    client.send(head.as_bytes());
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 413 ") && head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(client.until_end(), b"no!");
    origin.join();
}

fn an_upgraded_connection_carries_what_comes(engine: Engine) {
    let relay = serving(engine);
    let origin = once(|stream| {
        let mut peer = Peer::over(stream);
        let head = peer.head();
        assert!(head.contains("Connection: Upgrade\r\nUpgrade: websocket\r\n"), "{head}");
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst",
        );
        assert_eq!(peer.body(7), b"earlyup");
        peer.send(b"down");
        assert_eq!(peer.until_end(), b"");
        peer.send(b"last");
    });
    let mut client = Peer::connect(relay.addr());
    let head = format!(
        "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly",
        origin.addr
    );
    client.send(head.as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.body(5), b"first");
    client.send(b"up");
    assert_eq!(client.body(4), b"down");
    client.finish();
    assert_eq!(client.until_end(), b"last");
    origin.join();
    let record = relay.record();
    assert_eq!((record["reply"].as_u64(), record["reason"].as_str()), (Some(101), Some("completed")));
}

fn a_client_of_http_1_0_gets_what_it_can_read(engine: Engine) {
    let relay = serving(engine);
    let chunked = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let origin = once(move |stream| {
        let mut peer = Peer::over(stream);
        for answer in [OK, chunked] {
            assert!(peer.head().contains(" HTTP/1.1\r\n"));
            peer.send(answer.as_bytes());
        }
    });
    let mut client = Peer::connect(relay.addr());
    let request = format!("GET http://{}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", origin.addr);
    client.send(request.as_bytes());
    assert!(client.head().contains("Connection: keep-alive\r\n"));
    assert_eq!(client.body(2), b"ok");
    client.send(request.as_bytes());
    let head = client.head();
    assert!(head.contains(" 200 ") && !head.contains("chunked"), "{head}");
    assert_eq!(client.until_end(), b"abcde");
    origin.join();
}

fn a_client_that_ends_its_side_behind_a_request_gets_the_response(engine: Engine) {
    let relay = serving(engine);
    let origin = answering(&[OK]);
    let mut client = Peer::connect(relay.addr());
    client.send(get(origin.addr, "/").as_bytes());
    client.finish();
    client.head();
    assert_eq!(client.until_end(), b"ok");
    origin.join();
    assert_eq!(relay.record()["reason"], "completed");
}

fn a_client_that_goes_takes_the_upstream_along(engine: Engine) {
    let relay = serving(engine);
    let origin = once(|stream| {
        let mut peer = Peer::over(stream);
        peer.head();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nsome");
        peer.expect_end();
    });
    let mut client = Peer::connect(relay.addr());
    client.send(get(origin.addr, "/").as_bytes());
    client.head();
    assert_eq!(client.body(4), b"some");
    client.reset();
    origin.join();
    assert_eq!(relay.record()["reason"], "client_reset");
}

/// Half a request is never taken for a whole one.
fn a_request_that_is_cut_off_resets_the_upstream(engine: Engine) {
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let relay = serving(engine);
        let origin = once(|stream| {
            let mut peer = Peer::over(stream);
            peer.head();
            assert_eq!(peer.body(5), b"5\r\nab");
            peer.expect_reset();
        });
        let mut client = Peer::connect(relay.addr());
        let head = format!("POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\n{framing}\r\n\r\n5\r\nab", origin.addr);
        client.send(head.as_bytes());
        client.finish();
        origin.join();
        assert_eq!(relay.record()["reason"], "client_reset", "{framing}");
    }
}

/// Nor is half a response, whatever it is that says its length.
fn a_response_that_is_cut_off_resets_the_client(engine: Engine) {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ] {
        let relay = serving(engine);
        let origin = answering(std::slice::from_ref(Box::leak(Box::new(answer))));
        let mut client = Peer::connect(relay.addr());
        client.send(get(origin.addr, "/").as_bytes());
        client.head();
        client.expect_reset();
        origin.join();
        assert_eq!(relay.record()["reason"], "target_reset");
    }
}

fn pipelined_requests_are_answered_in_their_order(engine: Engine) {
    let relay = serving(engine);
    let origin = once(|stream| {
        let mut peer = Peer::over(stream);
        for _ in 0..5 {
            let head = peer.head();
            let path = head.split(' ').nth(1).expect("a path").to_owned();
            let body = if head.starts_with("POST") { peer.body(3) } else { Vec::new() };
            let text = format!("{path}{}", String::from_utf8_lossy(&body));
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).as_bytes());
        }
    });
    let post =
        |path, body: &str| format!("POST http://{0}{path} HTTP/1.1\r\nHost: {0}\r\n{body}", origin.addr);
    let requests = [
        get(origin.addr, "/1"),
        post("/2", "Content-Length: 3\r\n\r\nabc"),
        get(origin.addr, "/3"),
        post("/4", "Content-Length: 3\r\n\r\ndef"),
        get(origin.addr, "/5"),
    ];
    let mut client = Peer::connect(relay.addr());
    client.send(requests.concat().as_bytes());
    for wanted in ["/1", "/2abc", "/3", "/4def", "/5"] {
        client.head();
        assert_eq!(client.body(wanted.len()), wanted.as_bytes());
    }
    origin.join();
    relay.records(5);
}

/// What a chunked request brings along behind its end begins the next one.
fn what_comes_behind_chunks_is_the_next_request(engine: Engine) {
    let relay = serving(engine);
    let origin = once(|stream| {
        let mut peer = Peer::over(stream);
        peer.head();
        peer.body(14);
        peer.send(OK.as_bytes());
        assert!(peer.head().starts_with("GET /next "));
        peer.send(OK.as_bytes());
    });
    let mut client = Peer::connect(relay.addr());
    let first = format!(
        "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        origin.addr
    );
    client.send((first + &get(origin.addr, "/next")).as_bytes());
    for _ in 0..2 {
        client.head();
        assert_eq!(client.body(2), b"ok");
    }
    origin.join();
}

fn failing(engine: Engine, answer: &'static str) -> (String, serde_json::Value) {
    let relay = serving(engine);
    let origin = once(move |stream| {
        let mut peer = Peer::over(stream);
        peer.head();
        peer.send(answer.as_bytes());
    });
    let mut client = Peer::connect(relay.addr());
    client.send(get(origin.addr, "/").as_bytes());
    let head = client.head();
    client.until_end();
    origin.join();
    (head, relay.record())
}

fn what_is_no_response_is_a_502(engine: Engine) {
    let long = Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000)).into_boxed_str());
    for (answer, error, reason) in [
        ("SSH-2.0-x\r\n", "http_protocol_error", "bad_response"),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "http_protocol_error", "bad_response"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "http_protocol_error",
            "bad_response",
        ),
        (&*long, "http_response_header_section_size", "bad_response"),
        ("HTTP/1.1 200 OK\r\nConten", "connection_terminated", "target_reset"),
        ("", "connection_terminated", "target_reset"),
    ] {
        let (head, record) = failing(engine, answer);
        assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
        assert!(head.contains(&format!("Proxy-Status: outflow; error={error}\r\n")), "{head}");
        assert_eq!((record["reply"].as_u64(), record["reason"].as_str()), (Some(502), Some(reason)));
    }
}

fn a_target_that_does_not_respond_in_time_is_a_504(engine: Engine) {
    let relay = web(Relay::builder().engine(engine).timeout("idle", 200)).start();
    let origin = once(|stream| {
        let mut peer = Peer::over(stream);
        peer.head();
        peer.expect_end();
    });
    let mut client = Peer::connect(relay.addr());
    client.send(get(origin.addr, "/").as_bytes());
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{head}");
    client.until_end();
    origin.join();
    assert_eq!(relay.record()["reason"], "idle");
}

fn a_body_in_chunks_that_are_none_is_a_400(engine: Engine) {
    for body in ["x\r\n", "1\r\nab\r\n"] {
        let relay = serving(engine);
        let origin = once(|stream| Peer::over(stream).expect_end_behind_anything());
        let mut client = Peer::connect(relay.addr());
        let head = format!(
            "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\n\r\n{body}",
            origin.addr
        );
        client.send(head.as_bytes());
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        client.until_end();
        origin.join();
    }
}
