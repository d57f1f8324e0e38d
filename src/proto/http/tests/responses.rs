//! Responses as they come and as they go on.

use super::*;

fn asked(typed: &str) -> ForwardRequest {
    let bytes = format!("{typed}\r\nHost: a\r\n\r\n");
    request(bytes.as_bytes()).unwrap().unwrap().1.unwrap()
}

fn get() -> ForwardRequest {
    asked("GET http://a/ HTTP/1.1")
}

/// The response at every split: its framing, whether the target's connection is kept, and the head for the client.
fn response(bytes: &[u8], request: &ForwardRequest) -> Result<(Framing, bool, String), HeadError> {
    let read = |end: usize, scanned: &mut usize| {
        let mut room = FieldRoom::new();
        let read = read_response(&bytes[..end], scanned, &mut room, request)?;
        Ok(read.map(|(head, used)| {
            assert_eq!(&bytes[used - 4..used], b"\r\n\r\n");
            let mut out = Vec::new();
            let framing = head.framing_to(request);
            let keep_alive = request.keep_alive && framing != Framing::UntilClose;
            head.write(&mut out, request, ToClient { framing, keep_alive });
            (head.framing, head.keep_alive, String::from_utf8(out).unwrap())
        }))
    };
    let whole = read(bytes.len(), &mut 0);
    for step in [1, 2, 5] {
        let mut scanned = 0;
        let mut last = Ok(None);
        for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
            last = read(end, &mut scanned);
            if last != Ok(None) {
                break;
            }
        }
        assert_eq!(last, whole, "in steps of {step}: {}", bytes.escape_ascii());
    }
    whole.map(|read| read.expect("a whole head"))
}

#[test]
fn the_body_ends_where_the_head_says() {
    for (bytes, framing, keeps) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Framing::Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", Framing::Length(5), false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", Framing::Length(5), true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::Chunked, true),
        ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose, false),
        ("HTTP/1.1 204 No Content\r\n\r\n", Framing::None, true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Framing::None, true),
        ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", Framing::None, true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), true),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Framing::Length(0), true),
    ] {
        let (read, keep_alive, _) = response(bytes.as_bytes(), &get()).expect(bytes);
        assert_eq!((read, keep_alive), (framing, keeps), "{bytes}");
    }
    let to_head =
        response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", &asked("HEAD http://a/ HTTP/1.1"));
    let (framing, _, head) = to_head.unwrap();
    assert_eq!(framing, Framing::None);
    assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVia: 1.1 outflow\r\n\r\n");
}

#[test]
fn what_is_of_the_targets_connection_does_not_go_on() {
    let bytes = b"HTTP/1.1 200 Fine\r\nServer: x\r\nConnection: close, X-Gone\r\nX-Gone: 1\r\nKeep-Alive: max=1\r\n\
                  Proxy-Authenticate: Basic\r\nProxy-Status: other\r\nUpgrade: h2c\r\nTrailer: y\r\nContent-Length: 02\r\n\r\n";
    let expected = "HTTP/1.1 200 Fine\r\nServer: x\r\nProxy-Status: other\r\nContent-Length: 2\r\nVia: 1.1 outflow\r\n\r\n";
    assert_eq!(response(bytes, &get()).unwrap().2, expected);
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nVia: 1.1 outflow\r\n\r\n";
    assert_eq!(response(chunks, &get()).unwrap().2, expected);
    // HTTP/1.0 has no chunks.
    let expected = "HTTP/1.1 200 OK\r\nConnection: close\r\nVia: 1.1 outflow\r\n\r\n";
    let old = asked("GET http://a/ HTTP/1.0\r\nConnection: keep-alive");
    assert_eq!(response(chunks, &old).unwrap().2, expected);
    let expected = "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\nVia: 1.0 outflow\r\n\r\n";
    assert_eq!(response(b"HTTP/1.0 204 No Content\r\n\r\n", &old).unwrap().2, expected);
}

#[test]
fn an_upgrade_is_taken_where_it_was_asked_for() {
    let bytes =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX: 1\r\n\r\n";
    assert_eq!(response(bytes, &get()), Err(HeadError::Unasked));
    let upgrades = asked("GET http://a/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket");
    let (framing, _, head) = response(bytes, &upgrades).unwrap();
    assert_eq!(framing, Framing::None);
    assert_eq!(
        head,
        "HTTP/1.1 101 Switching Protocols\r\nX: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nVia: 1.1 outflow\r\n\r\n"
    );
    assert_eq!(response(b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", &upgrades), Err(HeadError::Unasked));
}

#[test]
fn a_response_that_is_read_in_two_ways_is_refused() {
    for (bytes, error) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"[..], HeadError::LengthTwice),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", HeadError::Length),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", HeadError::Length),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            HeadError::CodingAndLength,
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", HeadError::Coding),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::CodingInHttp10),
        (b"HTTP/1.1 200 OK\r\nX : 1\r\n\r\n", HeadError::FieldName),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n", HeadError::FieldName),
        (b"HTTP/1.1 200 OK\nX: 1\n\n", HeadError::LineEnd),
        (b"HTTP/2.0 200 OK\r\n\r\n", HeadError::OtherVersion),
        (b"HTTP/1.1 099 x\r\n\r\n", HeadError::StatusLine),
        (b"HTTP/1.1 20 x\r\n\r\n", HeadError::StatusLine),
        (b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n", HeadError::Unasked),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", HeadError::StatusLine),
        (b"SSH-2.0-x\r\n", HeadError::StatusLine),
    ] {
        assert_eq!(response(bytes, &get()), Err(error), "{}", bytes.escape_ascii());
    }
}
