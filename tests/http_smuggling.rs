//! Requests by which others were smuggled past proxies, over real sockets: each is refused before anything is dialled, or its
//! origin sees exactly the bytes that are written here, and not one more.

use std::io::{Read, Write};

use crate::support::http::Http;
use crate::support::origin;
use crate::support::relay::Builder;
use crate::support::{Client, Origin, Relay};

fn relay() -> Relay {
    builder().start()
}

fn builder() -> Builder {
    Relay::builder().listeners(&["name = \"web\"\naddress = \"127.0.0.1:0\"\nprotocols = [\"http\"]"])
}

/// What is hidden in a body, or stands behind a request, for another host.
const HIDDEN: &str = "GET http://127.0.0.9:9/hidden HTTP/1.1\r\nHost: 127.0.0.9:9\r\n\r\n";

/// Fields and a body of a POST to the origin, by the ways in which two parsers once differed.
const REFUSED: &[(&str, &str, &str)] = &[
    ("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"),
    (
        "TE.CL",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n",
    ),
    ("TE.TE", "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n", "0\r\n\r\n"),
    ("TE, a space before the colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
    ("TE, a tab in front", "X: y\r\n\tTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("TE behind LF", "X: y\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("TE behind CR", "X: y\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("TE, a vertical tab", "Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n"),
    ("TE, another in front", "Transfer-Encoding: x, chunked\r\n", "0\r\n\r\n"),
    ("TE, another behind", "Transfer-Encoding: chunked, x\r\n", "0\r\n\r\n"),
    ("CL.CL", "Content-Length: 0\r\nContent-Length: 5\r\n", "hello"),
    ("CL, a list", "Content-Length: 5, 5\r\n", "hello"),
    ("CL, a sign", "Content-Length: +5\r\n", "hello"),
    ("CL, NUL", "Content-Length: 5\0\r\n", "hello"),
    ("CL nominated", "Connection: Content-Length\r\nContent-Length: 5\r\n", "hello"),
    ("Host twice", "Host: 127.0.0.9\r\n", ""),
    ("a field without a colon", "GET / HTTP/1.1\r\n", ""),
];

#[test]
fn what_is_read_in_two_ways_reaches_nobody() {
    let (relay, origin) = (relay(), Origin::echo());
    for (name, fields, body) in REFUSED {
        let at = origin.addr;
        let mut http = Http::connect(relay.addr());
        http.send(
            format!("POST http://{at}/ HTTP/1.1\r\nHost: {at}\r\n{fields}\r\n{body}{HIDDEN}").as_bytes(),
        );
        assert_eq!(http.answer().status, 400, "{name}");
        http.expect_end();
    }
    assert_eq!(origin.accepted(), 0);
    let records = relay.records(REFUSED.len());
    assert!(records.iter().all(|record| record["reason"] == "protocol"), "{records:?}");
}

/// What an origin sees of a POST with these fields and bytes behind its head, all of which come at once.
fn seen(fields: &str, behind: &str, awaited: usize) -> String {
    let relay = builder().set("http", "via", "false").start();
    let target = origin::once(move |mut stream| {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let head = seen.windows(4).position(|end| end == b"\r\n\r\n");
            if head.is_some_and(|at| seen.len() >= at + 4 + awaited) {
                break;
            }
            let count = stream.read(&mut buffer).expect("read");
            assert!(count > 0, "the end after {}", seen.escape_ascii());
            seen.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("answer");
        // Whatever else there is comes before the end.
        stream.read_to_end(&mut seen).expect("read to the end");
        String::from_utf8(seen).expect("text")
    });
    let at = target.addr;
    let mut client = Client::connect(relay.addr());
    client.send(
        format!("POST http://{at}/ HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{fields}\r\n{behind}")
            .as_bytes(),
    );
    let answer = String::from_utf8(client.recv_to_eof()).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let seen = target.join();
    seen.replace(&at.to_string(), "ORIGIN")
}

#[test]
fn what_is_hidden_in_a_body_stays_in_it_and_what_stands_behind_is_nobodys() {
    let hidden = HIDDEN.len();
    let length = format!("Content-Length: {hidden}\r\n");
    assert_eq!(
        seen(&length, &format!("{HIDDEN}{HIDDEN}"), hidden),
        format!("POST / HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: {hidden}\r\n\r\n{HIDDEN}")
    );
    // Extensions and trailer fields are left out.
    let chunks = format!("{hidden:x};a=\"b\r\n{HIDDEN}\r\n0;x\r\nContent-Length: 9\r\n\r\n{HIDDEN}");
    let goes_on = format!("{hidden:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
    assert_eq!(
        seen("Transfer-Encoding: chunked\r\n", &chunks, goes_on.len()),
        format!("POST / HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: chunked\r\n\r\n{goes_on}")
    );
    assert_eq!(
        seen("X-Content-Length: 5\r\n", HIDDEN, 0),
        "POST / HTTP/1.1\r\nHost: ORIGIN\r\nX-Content-Length: 5\r\n\r\n"
    );
}
