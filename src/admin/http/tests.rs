//! Heads in bytes written by hand.

use super::*;

fn read(text: &str) -> Result<HttpHead, (u16, &'static str)> {
    match read_head(text.as_bytes()) {
        HeadRead::Head(head, length) => {
            assert_eq!(length, text.len(), "{text:?}");
            Ok(*head)
        }
        HeadRead::Malformed(malformed) => Err((malformed.status.code(), malformed.why)),
        HeadRead::More => panic!("more: {text:?}"),
    }
}

#[track_caller]
fn refused(text: &str) -> u16 {
    match read(text) {
        Err((code, _)) => code,
        Ok(head) => panic!("taken: {text:?} {head:?}"),
    }
}

#[test]
fn a_request_is_told_by_what_it_goes_by() {
    let head = read(
        "PUT /api/v1/log?a=b&c HTTP/1.1\r\nHost: LocalHost:9180\r\nContent-Length: 16384\r\nOrigin: http://a\r\n\
         Content-Type: Application/JSON ; charset=utf-8\r\nAuthorization: bearer  abc \r\nExpect: 100-Continue\r\n\
         Sec-Fetch-Site: none\r\nX-Other: ü\r\n\r\n",
    )
    .unwrap();
    assert_eq!(
        (head.method, &*head.path, head.query.as_deref()),
        (HttpMethod::Put, "/api/v1/log", Some("a=b&c"))
    );
    assert_eq!((head.host.as_deref(), head.origin.as_deref()), (Some("LocalHost:9180"), Some("http://a")));
    assert_eq!((head.content_type.as_deref(), head.content_length), (Some("application/json"), 16384));
    assert_eq!(head.bearer, Some(AdminToken::of("abc")));
    assert!(head.expects_continue && head.keep_alive && !head.navigates && !head.content_encoded);
}

#[test]
fn connections_are_kept_as_each_version_has_it() {
    let keeps = |version: &str, fields: &str| {
        read(&format!("GET / {version}\r\nHost: a\r\n{fields}\r\n")).unwrap().keep_alive
    };
    assert!(keeps("HTTP/1.1", "") && keeps("HTTP/1.1", "Connection: Upgrade, x\r\n"));
    assert!(!keeps("HTTP/1.1", "Connection: x, CLOSE\r\nConnection: keep-alive\r\n"));
    assert!(!keeps("HTTP/1.0", "") && keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
}

#[test]
fn a_target_is_a_path_or_an_address_with_one() {
    let target = |target: &str| read(&format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n"));
    let absolute = target("HTTP://127.0.0.1:80/a?b").unwrap();
    assert_eq!((absolute.host.as_deref(), &*absolute.path), (Some("127.0.0.1:80"), "/a"));
    assert_eq!(target("http://example.com").unwrap().path, "/");
    assert_eq!(target("//a/b").unwrap().path, "//a/b");
    for bad in ["*", "a:443", "ftp://a/", "http://a?b", "https://a/"] {
        assert_eq!(target(bad).unwrap_err().0, 400, "{bad}");
    }
}

/// Whatever could be understood in two ways ends the connection: nothing behind it is taken for a request.
#[test]
fn what_could_be_understood_in_two_ways_is_refused() {
    let post = |fields: &str| refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!(post("Content-Length: 1\r\nContent-Length: 1\r\n"), 400);
    assert_eq!(post("Content-Length: 1, 1\r\n"), 400);
    for length in ["+1", "-1", "1 ", " 0x1", "", "1;", "\u{661}"] {
        let field = format!("Content-Length:{length}x\r\n");
        assert_eq!(post(&field), 400, "{length}");
    }
    assert_eq!(post("Content-Length: \r\n"), 400);
    assert_eq!(post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), 400);
    assert_eq!(post("Transfer-Encoding: chunked\r\n"), 411);
    assert_eq!(post("transfer-encoding: identity\r\n"), 411);
    assert_eq!(post("Content-Length: 16385\r\n"), 413);
    assert_eq!(post("Content-Length: 99999999999999999999999999\r\n"), 413);
    assert_eq!(post("Host: b\r\n"), 400);
    assert_eq!(post("Host : b\r\n"), 400);
    assert_eq!(post("A: b\r\n c\r\n"), 400, "a folded line");
    assert_eq!(post("A: b\rc\r\n"), 400);
    assert_eq!(post("A\0: b\r\n"), 400);
    assert_eq!(post("Origin: a\r\nOrigin: a\r\n"), 400);
    assert_eq!(post("Expect: 200-ok\r\n"), 417);
    assert_eq!(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"), 400);
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
    assert!(read("GET / HTTP/1.0\r\n\r\n").unwrap().host.is_none());
}

#[test]
fn methods_and_versions_that_there_are_not_are_named() {
    assert_eq!(refused("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    assert_eq!(refused("BREW / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    assert_eq!(refused("get / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    assert_eq!(refused("GET / HTTP/1.2\r\n\r\n"), 505);
    assert_eq!(refused("GET / HTTP/x\r\n\r\n"), 400);
    assert_eq!(refused("GET /\r\n\r\n"), 400);
    assert_eq!(refused("\u{5}\u{1}\u{0}"), 400);
    assert_eq!(read("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().method, HttpMethod::Other("TRACE"));
}

#[test]
fn long_heads_are_refused_where_the_bound_is() {
    let fields = |count: usize| "A: b\r\n".repeat(count);
    assert!(
        read(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(limits::ADMIN_FIELDS_MAX - 1))).is_ok()
    );
    assert_eq!(
        refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(limits::ADMIN_FIELDS_MAX))),
        431
    );
    let whole = |length: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(length - rest))
    };
    assert!(read(&whole(limits::ADMIN_HEAD_BYTES_MAX)).is_ok());
    assert_eq!(refused(&whole(limits::ADMIN_HEAD_BYTES_MAX + 1)), 431);
    assert_eq!(refused(&whole(limits::ADMIN_HEAD_BYTES_MAX + 1)[..limits::ADMIN_HEAD_BYTES_MAX]), 431);
    assert_eq!(refused(&format!("GET /{}", "a".repeat(limits::ADMIN_HEAD_BYTES_MAX))), 414);
}

/// A head that has not arrived as a whole is waited for, at every length.
#[test]
fn a_head_is_the_same_wherever_it_is_cut() {
    let text = "\r\nDELETE /a%20b?c HTTP/1.1\nHost: [::1]:9\nConnection: close\r\n\nrest";
    let end = text.len() - "rest".len();
    for length in 0..end {
        assert_eq!(read_head(&text.as_bytes()[..length]), HeadRead::More, "{length}");
    }
    let HeadRead::Head(head, length) = read_head(text.as_bytes()) else { panic!("no head") };
    assert_eq!((length, head.method, &*head.path), (end, HttpMethod::Delete, "/a%20b"));
}

#[test]
fn authorities_are_hosts_with_or_without_a_port() {
    let read = |typed: &str| typed.parse::<Authority>().map(|authority| (authority.host, authority.port));
    assert_eq!(read("LocalHost"), Ok(("localhost".to_owned(), None)));
    assert_eq!(read("127.0.0.1:9180"), Ok(("127.0.0.1".to_owned(), Some(9180))));
    assert_eq!(read("[::1]:80"), Ok(("[::1]".to_owned(), Some(80))));
    for bad in ["", ":80", "a:", "a:b", "a:99999", "[::1", "[::1]x", "a@b", "a/b", "a b", "é"] {
        assert_eq!(read(bad), Err(()), "{bad}");
    }
}
