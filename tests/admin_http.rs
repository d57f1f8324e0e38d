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
