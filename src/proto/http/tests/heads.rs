//! Requests that are taken, and as what.

use super::super::basic::credentials;
use super::*;
use crate::limits::{HTTP_FIELDS_MAX, HTTP_HEAD_BYTES_MAX};
use crate::proto::NameError;

fn seen(bytes: &[u8]) -> String {
    request(bytes).expect("taken").expect("whole").0
}

#[test]
fn a_tunnel_to_a_name_or_an_address() {
    for (authority, host, is) in [
        ("Example.COM:443", "example.com:443", "Name(Name(\"example.com\")), port: 443"),
        ("203.0.113.7:80", "203.0.113.7", "Ip(203.0.113.7), port: 80"),
        ("127.1:8080", "127.0.0.1:8080", "Ip(127.0.0.1), port: 8080"),
        ("[2001:DB8::1]:443", "[2001:db8::1]:443", "Ip(2001:db8::1), port: 443"),
    ] {
        let seen = seen(format!("CONNECT {authority} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(
            seen,
            format!("CONNECT Http11 Tunnel(Target {{ host: {is} }}) None keep true"),
            "{authority}"
        );
    }
    let old = seen(b"CONNECT a:1 HTTP/1.0\r\n\r\n\x16\x03\x01");
    assert_eq!(old, "CONNECT Http10 Tunnel(Target { host: Name(Name(\"a\")), port: 1 }) None keep false");
}

#[test]
fn an_absolute_form_becomes_an_origin_form() {
    for (typed, line, host) in [
        ("GET http://a.example/b?c=d", "GET /b?c=d", "a.example"),
        ("GET HTTP://A.Example:80/", "GET /", "a.example"),
        ("GET http://a.example", "GET /", "a.example"),
        ("GET http://a.example?q", "GET /?q", "a.example"),
        ("OPTIONS http://a.example:8080", "OPTIONS *", "a.example:8080"),
        ("OPTIONS http://a.example/", "OPTIONS /", "a.example"),
        ("BREW http://[2001:db8::1]:81//x", "BREW //x", "[2001:db8::1]:81"),
        ("GET http://[2001:db8::1]/", "GET /", "[2001:db8::1]"),
        ("GET http://0x7f.1/http://b/", "GET /http://b/", "127.0.0.1"),
    ] {
        let authority = typed.split("//").nth(1).unwrap().split(['/', '?']).next().unwrap();
        let head = forwarded(format!("{typed} HTTP/1.1\r\nhost:{authority}\r\n\r\n").as_bytes());
        assert_eq!(head, format!("{line} HTTP/1.1\r\nHost: {host}\r\nVia: 1.1 outflow\r\n\r\n"), "{typed}");
    }
}

/// RFC 9110 section 7.6.1.
#[test]
fn what_is_for_this_proxy_or_this_connection_alone_does_not_go_on() {
    let head = forwarded(
        b"POST http://a/ HTTP/1.1\r\nX-A: 1\r\nHost: a\r\nConnection: X-Gone, keep-alive\r\nx-gone: 1\r\n\
          Proxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\nProxy-Thing: 1\r\nProxy: x\r\n\
          Keep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\
          Content-Length: 0005\r\nExpect: 100-continue\r\nX-B:  2 \t\r\nVia: 1.0 before\r\nX-Empty:\r\n\r\nhello",
    );
    assert_eq!(
        head,
        "POST / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nExpect: 100-continue\r\nX-B: 2\r\nVia: 1.0 before\r\nX-Empty: \r\n\
         Content-Length: 5\r\nVia: 1.1 outflow\r\n\r\n"
    );
}

#[test]
fn an_upgrade_goes_on_unless_it_is_to_http() {
    let ask = |connection: &str, upgrade: &str, more: &str| {
        forwarded(
            format!(
                "GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\nUpgrade: {upgrade}\r\n{more}\r\n"
            )
            .as_bytes(),
        )
    };
    let upgraded =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nVia: 1.1 outflow\r\n\r\n";
    assert_eq!(ask("upgrade", "websocket", ""), upgraded);
    assert_eq!(ask("keep-alive, Upgrade", "websocket", ""), upgraded);
    let plain = "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 outflow\r\n\r\n";
    assert_eq!(ask("keep-alive", "websocket", ""), plain);
    assert_eq!(ask("upgrade, HTTP2-Settings", "h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), plain);
    assert_eq!(ask("upgrade", "websocket, H2C", ""), plain);
    assert_eq!(ask("upgrade", "HTTP/2.0", ""), plain);
    assert_eq!(ask("upgrade, close", "websocket", ""), plain);
    assert!(!ask("upgrade", "websocket", "Content-Length: 3\r\n").contains("Upgrade"));
}

#[test]
fn what_the_client_keeps_is_told() {
    for (version, fields, keeps) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: x,CLOSE\r\n", false),
        ("1.1", "Proxy-Connection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Proxy-Connection: keep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let bytes = format!("GET http://a/ HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        let (_, forward, _) = request(bytes.as_bytes()).unwrap().unwrap();
        assert_eq!(forward.unwrap().keep_alive, keeps, "{version} {fields}");
    }
}

#[test]
fn a_client_of_http_1_0_is_served_and_expects_nothing() {
    let bytes = b"POST http://a/ HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
    let (seen, forward, _) = request(bytes).unwrap().unwrap();
    assert!(seen.starts_with("POST Http10 Absolute"), "{seen}");
    let forward = forward.unwrap();
    assert!(!forward.expects_continue && forward.framing == Framing::Length(1));
    assert_eq!(forward.head, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nVia: 1.0 outflow\r\n\r\n");
}

#[test]
fn whether_a_request_may_be_sent_again_is_told() {
    for (method, again) in [("GET", true), ("PUT", true), ("POST", false), ("PATCH", false), ("get", false)] {
        let bytes = format!("{method} http://a/ HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(request(bytes.as_bytes()).unwrap().unwrap().1.unwrap().idempotent, again, "{method}");
    }
}

#[test]
fn an_empty_line_in_front_is_left_out() {
    let line = forwarded(b"\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(line.starts_with("GET / HTTP/1.1\r\n"));
    assert_eq!(refused(b"\r\n\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), HeadError::RequestLine);
    assert_eq!(refused(b"\nGET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), HeadError::LineEnd);
}

#[test]
fn heads_have_bounds_and_reach_them() {
    let head = |filling: usize| {
        [b"GET http://a/ HTTP/1.1\r\nHost: a\r\nX: ".as_slice(), &vec![b'x'; filling], b"\r\n\r\n"].concat()
    };
    let room = HTTP_HEAD_BYTES_MAX - head(0).len();
    assert_eq!(at_once(&head(room)).unwrap().unwrap().2, HTTP_HEAD_BYTES_MAX);
    assert_eq!(at_once(&head(room + 1)), Err(HeadError::TooLong));
    assert_eq!(in_steps(&head(room + 1), 100), Err(HeadError::TooLong));
    let many =
        |count: usize| format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(count));
    assert!(at_once(many(HTTP_FIELDS_MAX - 1).as_bytes()).unwrap().is_some());
    assert_eq!(at_once(many(HTTP_FIELDS_MAX).as_bytes()), Err(HeadError::TooManyFields));
}

/// A head of which each byte was once looked at again with every byte that came cost the square of its length.
#[test]
fn slow_heads_cost_no_more_than_others() {
    let bytes = [b"GET http://a/ HTTP/1.1\r\nHost: a\r\nX: ".as_slice(), &[b'x'; 60_000]].concat();
    let mut scanned = 0;
    for end in 0..bytes.len() {
        let mut room = FieldRoom::new();
        assert!(read_request(&bytes[..end], &mut scanned, &mut room).unwrap().is_none());
        assert_eq!(scanned, end, "bytes would be looked at again");
    }
}

#[test]
fn the_authority_is_one_or_refused() {
    for (authority, error) in [
        ("a", HeadError::NoPort),
        ("[::1]", HeadError::NoPort),
        ("a:", HeadError::Port),
        ("a:0", HeadError::Port),
        ("a:65536", HeadError::Port),
        ("a:+1", HeadError::Port),
        ("a:000080", HeadError::Port),
        ("a:1:2", HeadError::Port),
        ("::1:443", HeadError::Port),
        ("[::1]443:1", HeadError::HostName(NameError::NotAnAddress)),
        ("u@a:1", HeadError::Userinfo),
        ("u:p@a:1", HeadError::Userinfo),
        (":1", HeadError::HostName(NameError::Empty)),
        ("a..b:1", HeadError::HostName(NameError::EmptyLabel)),
        ("a%2eb:1", HeadError::HostName(NameError::Character(b'%'))),
        ("1.2.3.256:1", HeadError::HostName(NameError::NotAnAddress)),
        ("[fe80::1%25eth0]:1", HeadError::HostName(NameError::Zone)),
        ("http://a:1/", HeadError::TargetForm),
        ("/", HeadError::TargetForm),
        ("a:1#x", HeadError::Fragment),
        ("a:1?x", HeadError::Port),
        ("\u{e4}:1", HeadError::RequestLine),
    ] {
        let bytes = format!("CONNECT {authority} HTTP/1.1\r\nHost: a:1\r\n\r\n");
        assert_eq!(refused(bytes.as_bytes()), error, "{authority}");
    }
    for (target, error) in [
        ("http://a:/", HeadError::Port),
        ("http://u:p@a/", HeadError::Userinfo),
        ("http://a@b/", HeadError::Userinfo),
        ("http:///x", HeadError::HostName(NameError::Empty)),
        ("http://a\\b/", HeadError::HostName(NameError::Character(b'\\'))),
        ("http://a/#x", HeadError::Fragment),
        ("https://a/", HeadError::Scheme),
        ("ftp://a/", HeadError::Scheme),
        ("a:80", HeadError::TargetForm),
        ("*", HeadError::TargetForm),
        ("http:/a", HeadError::TargetForm),
        ("http://a/\u{e4}", HeadError::RequestLine),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused(bytes.as_bytes()), error, "{target}");
    }
}

#[test]
fn basic_credentials_are_read_or_nobodys() {
    let read = |value: &str| {
        credentials(value.as_bytes())
            .map(|given| given.map(|given| (given.user, given.password.expect("a password").to_vec())))
    };
    let pair = |user: &[u8], password: &[u8]| Some(Some((user.to_vec(), password.to_vec())));
    // RFC 7617 section 2 and 2.1: its own examples.
    assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair(b"Aladdin", b"open sesame"));
    assert_eq!(read("basic dGVzdDoxMjPCow=="), pair(b"test", "123\u{a3}".as_bytes()));
    assert_eq!(read("BASIC   YTpiOmM=  "), pair(b"a", b"b:c"));
    // No colon, no name, no password, no base64, no padding.
    for nobody in ["Basic YQ==", "Basic OmI=", "Basic YTo=", "Basic ?", "Basic YTpiOmM", "Basic  "] {
        assert_eq!(read(nobody), Some(None), "{nobody}");
    }
    for other in ["", "Basic", "Bearer abc", "Negotiate YII=", "BasicYTpi"] {
        assert_eq!(read(other), None, "{other}");
    }
}

/// A request that is to go round a circle no more than so often was once passed on with the number as it came.
#[test]
fn who_may_pass_a_request_on_is_counted() {
    let fields = |method: &str, value: &str| {
        let line = format!("{method} http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: {value}\r\n\r\n");
        forwarded(line.as_bytes())
    };
    for (method, value, goes_on) in [
        ("TRACE", "3", "2"),
        ("OPTIONS", "1", "0"),
        ("OPTIONS", "0010", "9"),
        ("TRACE", "99999999999999999999", "4294967294"),
        // RFC 9110 section 7.6.2: it may be ignored in others.
        ("GET", "3", "3"),
        ("GET", "x", "x"),
    ] {
        assert!(
            fields(method, value).contains(&format!("\r\nMax-Forwards: {goes_on}\r\n")),
            "{method} {value}"
        );
        assert_eq!(fields(method, value).matches("Max-Forwards").count(), 1);
    }
    for value in ["", "x", "-1", "+1", "1, 1", "1\r\nMax-Forwards: 1"] {
        let line = format!("TRACE http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: {value}\r\n\r\n");
        assert_eq!(refused(line.as_bytes()), HeadError::MaxForwards, "{value:?}");
    }
}
