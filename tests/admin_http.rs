//! The admin endpoint's HTTP: what is answered, what is refused, and that nothing is taken for what it is not.

use std::os::unix::fs::PermissionsExt;

use crate::support::Relay;
use crate::support::http::Http;

#[test]
fn it_answers_on_addresses_and_on_sockets() {
    let builder = Relay::builder();
    let path = builder.socket_path();
    let relay = builder
        .set("admin", "listen", &format!("[\"unix:{}\", \"127.0.0.1:0\", \"[::1]:0\"]", path.display()))
        .start();
    relay.logged(&["admin endpoint on unix:", "admin.sock"]);
    relay.logged(&["admin endpoint on http://[::1]:"]);
    assert_eq!(std::fs::metadata(&path).expect("the socket").permissions().mode() & 0o7777, 0o600);
    for mut http in [Http::unix(&path), relay.admin()] {
        for _ in 0..3 {
            let answer = http.get("/healthz");
            assert_eq!((answer.status, &*answer.body), (200, "alive\n"));
            assert_eq!(answer.field("connection"), Some("keep-alive"));
        }
        let head = http.ask("HEAD", "/healthz", None);
        assert_eq!((head.status, head.field("content-length")), (200, Some("6")));
        let wrong = http.ask("DELETE", "/healthz", None);
        assert_eq!((wrong.status, wrong.field("allow")), (405, Some("GET, HEAD")));
        assert_eq!(http.get("/healthz").status, 200, "the connection lives on");
        assert_eq!(http.ask("PUT", "/nothing", Some("{}")).status, 404);
        http.expect_end();
    }
}

#[test]
fn the_dashboard_has_its_own_policy_and_every_other_answer_the_least() {
    let relay = Relay::builder().admin().start();
    let page = relay.get("/");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.starts_with("<!doctype html>"), "{}", &page.body[..50]);
    let policy = page.field("content-security-policy").expect("a policy");
    assert!(policy.contains("script-src 'sha256-") && policy.contains("frame-ancestors 'none'"), "{policy}");
    for other in [relay.get("/healthz"), relay.get("/nothing")] {
        let policy = other.field("content-security-policy");
        assert_eq!(policy, Some("default-src 'none'; frame-ancestors 'none'"));
    }
    for answer in [page, relay.get("/api/v1/nothing")] {
        for (field, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.field(field), Some(value), "{field}");
        }
    }
}

/// What cannot be taken for one request ends the connection: what stands behind it is never answered.
#[test]
fn what_is_malformed_is_refused_and_nothing_behind_it_is_taken() {
    let builder = Relay::builder().admin_socket();
    let path = builder.socket_path();
    let _relay = builder.start();
    let get = |fields: &str| format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let post = |fields: &str| format!("POST /healthz HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    for (request, status) in [
        (post("Content-Length: 5\r\nContent-Length: 5\r\n"), 400),
        (post("Content-Length: 5\r\nContent-Length: 6\r\n"), 400),
        (post("Content-Length: 0x5\r\n"), 400),
        (post("Content-Length: +5\r\n"), 400),
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n"), 411),
        (post("Transfer-Encoding: chunked, identity\r\n"), 411),
        (post("Content-Length: 16385\r\n"), 413),
        (post("Content-Length: 99999999999999999999\r\n"), 413),
        (post("Expect: something\r\n"), 417),
        (get("Content-Length: 5\r\n"), 400),
        (get("Host: localhost\r\n"), 400),
        (get("Folded: a\r\n b\r\n"), 400),
        (get("Space : a\r\n"), 400),
        (get("Carriage: a\rb\r\n"), 400),
        (get(&format!("Long: {}\r\n", "a".repeat(8192))), 431),
        (get(&"A: b\r\n".repeat(64)), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(9000)), 414),
        ("GET /healthz HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/2.0\r\n\r\n".to_owned(), 505),
        ("GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET /healthz\r\n\r\n".to_owned(), 400),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 501),
        ("BREW /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 501),
        ("\x05\x01\x00\r\n".to_owned(), 400),
    ] {
        let mut http = Http::unix(&path);
        http.try_send(format!("{request}{}", get("")).as_bytes());
        let answer = http.answer();
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{request:?}");
        assert!(answer.json()["error"].is_string() && answer.field("x-content-type-options").is_some());
        http.expect_end();
    }
}

#[test]
fn requests_in_one_segment_are_answered_in_their_order() {
    let builder = Relay::builder().admin_socket();
    let path = builder.socket_path();
    let _relay = builder.start();
    let mut http = Http::unix(&path);
    let all = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
               \r\nHEAD /healthz HTTP/1.1\nHost: localhost\n\n\
               OPTIONS /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\
               GET http://127.0.0.1/nothing HTTP/1.1\r\nHost: elsewhere\r\n\r\n\
               GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
               GET /healthz HTTP/1.0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    http.send(all.as_bytes());
    assert_eq!(http.answer().status, 200);
    assert_eq!(http.answer_to_head().status, 200);
    let statuses: Vec<u16> = (0..4).map(|_| http.answer().status).collect();
    assert_eq!(statuses, [405, 404, 200, 200]);
    // HTTP/1.0 without keep-alive: it was the last.
    http.expect_end();
    let mut http = Http::unix(&path);
    all.bytes().for_each(|byte| http.try_send(&[byte]));
    assert_eq!((http.answer().status, http.answer_to_head().status), (200, 200));
    assert_eq!((http.answer().status, http.answer().status), (405, 404));
    let mut many = Http::unix(&path);
    many.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100).as_bytes());
    assert!((0..100).all(|_| many.answer().status == 200));
}
