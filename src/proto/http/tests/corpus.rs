//! Requests by which others were smuggled past proxies, as they are public knowledge (RFC 9112 section 11.2; the research of
//! 2005, 2019 and since): each is refused, or goes on as bytes that are read in one way.

use super::*;

/// A request with these fields between Host and a body.
fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes()
}

#[test]
fn lengths_that_differ_or_are_none_are_refused() {
    for (fields, error) in [
        // CL.CL
        ("Content-Length: 5\r\nContent-Length: 6\r\n", HeadError::LengthTwice),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", HeadError::LengthTwice),
        ("content-length: 5\r\nCONTENT-LENGTH: 0\r\n", HeadError::LengthTwice),
        ("Content-Length: 5, 5\r\n", HeadError::Length),
        ("Content-Length: 5,6\r\n", HeadError::Length),
        ("Content-Length: +5\r\n", HeadError::Length),
        ("Content-Length: -5\r\n", HeadError::Length),
        ("Content-Length: 0x5\r\n", HeadError::Length),
        ("Content-Length: 5e0\r\n", HeadError::Length),
        ("Content-Length: 5 5\r\n", HeadError::Length),
        ("Content-Length: \"5\"\r\n", HeadError::Length),
        ("Content-Length: 5_0\r\n", HeadError::Length),
        ("Content-Length: 5;x\r\n", HeadError::Length),
        ("Content-Length:\r\n", HeadError::Length),
        ("Content-Length: \u{665}\r\n", HeadError::Length),
        ("Content-Length: 9223372036854775808\r\n", HeadError::Length),
        ("Content-Length: 18446744073709551621\r\n", HeadError::Length),
        // CL.TE and TE.CL
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", HeadError::CodingAndLength),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", HeadError::CodingAndLength),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", HeadError::CodingAndLength),
        // TE.TE
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", HeadError::Coding),
        ("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", HeadError::Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", HeadError::Coding),
        ("Transfer-Encoding: xchunked\r\n", HeadError::Coding),
        ("Transfer-Encoding: chunked, identity\r\n", HeadError::Coding),
        ("Transfer-Encoding: identity, chunked\r\n", HeadError::Coding),
        ("Transfer-Encoding: gzip, chunked\r\n", HeadError::Coding),
        ("Transfer-Encoding: identity\r\n", HeadError::Coding),
        ("Transfer-Encoding: \"chunked\"\r\n", HeadError::Coding),
        ("Transfer-Encoding: chunked;q=1\r\n", HeadError::Coding),
        ("Transfer-Encoding: chunked,\r\n", HeadError::Coding),
        ("Transfer-Encoding: \u{b}chunked\r\n", HeadError::Control(0x0b)),
        ("Transfer-Encoding: \u{a0}chunked\r\n", HeadError::Coding),
        ("Transfer-Encoding:\r\n", HeadError::Coding),
        ("Transfer-Encoding : chunked\r\n", HeadError::FieldName),
        ("Transfer-Encoding\t: chunked\r\n", HeadError::FieldName),
        (" Transfer-Encoding: chunked\r\n", HeadError::FieldName),
        ("Transfer-Encoding:\r\n chunked\r\n", HeadError::FieldName),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", HeadError::FieldName),
        ("X: y\n Transfer-Encoding: chunked\r\n", HeadError::LineEnd),
        ("X: y\nTransfer-Encoding: chunked\r\n", HeadError::LineEnd),
        ("X: y\rTransfer-Encoding: chunked\r\n", HeadError::LineEnd),
        ("X: y\r\rTransfer-Encoding: chunked\r\n", HeadError::LineEnd),
        ("X\0: y\r\nTransfer-Encoding: chunked\r\n", HeadError::Control(0)),
        ("Transfer-Encoding: chunked\0\r\n", HeadError::Control(0)),
        ("Transfer\u{7f}Encoding: chunked\r\n", HeadError::Control(0x7f)),
        (": chunked\r\n", HeadError::FieldName),
        ("Foo\r\n", HeadError::FieldName),
        ("[Content-Length]: 5\r\n", HeadError::FieldName),
        // An option that would take away what says where the body ends, or for whom it is.
        ("Connection: Content-Length\r\nContent-Length: 5\r\n", HeadError::ConnectionOption),
        ("Connection: close, transfer-encoding\r\n", HeadError::ConnectionOption),
        ("Connection: host\r\n", HeadError::ConnectionOption),
    ] {
        assert_eq!(refused(&post(fields, "0\r\n\r\nG")), error, "{fields:?}");
    }
    let old = b"POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(refused(old), HeadError::CodingInHttp10);
}

#[test]
fn first_lines_that_are_read_in_two_ways_are_refused() {
    for (line, error) in [
        ("GET  http://a/ HTTP/1.1", HeadError::RequestLine),
        ("GET http://a/  HTTP/1.1", HeadError::OtherVersion),
        ("GET\thttp://a/ HTTP/1.1", HeadError::RequestLine),
        ("GET http://a/\tHTTP/1.1", HeadError::RequestLine),
        (" GET http://a/ HTTP/1.1", HeadError::RequestLine),
        ("GET http://a/ HTTP/1.1 ", HeadError::LineEnd),
        ("GET http://a/ b HTTP/1.1", HeadError::OtherVersion),
        ("GET http://a/ http/1.1", HeadError::OtherVersion),
        ("GET http://a/ HTTP/01.1", HeadError::OtherVersion),
        ("GET http://a/ HTTP/1.2", HeadError::OtherVersion),
        ("GET http://a/ HTTP/2.0", HeadError::OtherVersion),
        ("GET http://a/ HTTP/1", HeadError::OtherVersion),
        ("GET http://a/", HeadError::RequestLine),
        ("G@T http://a/ HTTP/1.1", HeadError::RequestLine),
        ("PRI * HTTP/2.0", HeadError::OtherVersion),
        ("GET http://a/\r\nX: HTTP/1.1", HeadError::RequestLine),
        ("GET http://a/\0 HTTP/1.1", HeadError::Control(0)),
    ] {
        assert_eq!(refused(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), error, "{line:?}");
    }
}

#[test]
fn a_host_that_is_not_the_targets_is_refused() {
    for (target, fields, error) in [
        ("http://a/", "", HeadError::NoHost),
        ("http://a/", "Host: b\r\n", HeadError::HostDiffers),
        ("http://a/", "Host: a:81\r\n", HeadError::HostDiffers),
        ("http://a:81/", "Host: a\r\n", HeadError::HostDiffers),
        ("http://a/", "Host: a\r\nHost: a\r\n", HeadError::HostTwice),
        ("http://a/", "Host: a\r\nHost: b\r\n", HeadError::HostTwice),
        ("http://a/", "Host: a, b\r\n", HeadError::HostName(crate::proto::NameError::Character(b','))),
        ("http://a/", "Host: u@a\r\n", HeadError::Userinfo),
        ("http://a/", "Host: a/\r\n", HeadError::HostName(crate::proto::NameError::Character(b'/'))),
        ("http://a/", "Host:\r\n", HeadError::HostName(crate::proto::NameError::Empty)),
        ("http://a/", "Host: a:\r\n", HeadError::Port),
        ("http://a/", "Host : a\r\n", HeadError::FieldName),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(refused(bytes.as_bytes()), error, "{target} {fields:?}");
    }
    assert_eq!(refused(b"CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n"), HeadError::HostDiffers);
    assert_eq!(refused(b"CONNECT a:443 HTTP/1.1\r\nHost: a:80\r\n\r\n"), HeadError::HostDiffers);
    assert_eq!(refused(b"CONNECT a:443 HTTP/1.1\r\n\r\n"), HeadError::NoHost);
    // One host in two spellings is one host.
    let head = forwarded(b"GET http://127.1/ HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n");
    assert!(head.starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"), "{head}");
}

#[test]
fn a_body_is_refused_where_there_is_none() {
    let connect = |fields: &str| format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n{fields}\r\n");
    assert_eq!(refused(connect("Content-Length: 5\r\n").as_bytes()), HeadError::Body);
    assert_eq!(refused(connect("Transfer-Encoding: chunked\r\n").as_bytes()), HeadError::Body);
    assert!(request(connect("Content-Length: 0\r\n").as_bytes()).is_ok());
    let trace = b"TRACE http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(refused(trace), HeadError::Body);
}

/// A body on a GET is taken as one; what stands behind it is another request.
#[test]
fn what_is_taken_goes_on_in_one_way() {
    let hidden = "GET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n";
    for method in ["GET", "HEAD", "DELETE", "POST"] {
        let bytes = format!(
            "{method} http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{hidden}",
            hidden.len()
        );
        let expected = format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nVia: 1.1 outflow\r\n\r\n",
            hidden.len()
        );
        assert_eq!(forwarded(bytes.as_bytes()), expected);
    }
    let chunked =
        post("transfer-encoding:\tCHUNKED \r\nX-Content-Length: 5\r\nContent_Length: 7\r\n", "0\r\n\r\n");
    assert_eq!(
        forwarded(&chunked),
        "POST / HTTP/1.1\r\nHost: a\r\nX-Content-Length: 5\r\nContent_Length: 7\r\nTransfer-Encoding: chunked\r\n\
         Via: 1.1 outflow\r\n\r\n"
    );
}

#[test]
fn credentials_stand_once() {
    let twice = post("Proxy-Authorization: Basic YTpi\r\nProxy-Authorization: Basic Yzpk\r\n", "");
    assert_eq!(refused(&twice), HeadError::CredentialsTwice);
}
