//! Proxies that lie, stammer and babble: each handshake ends, and none holds more than its bound.

use super::*;
use crate::limits::{PARENT_HEAD_BYTES_MAX, PARENT_INTERIM_MAX};
use crate::proto::http::HeadError;

fn failed(protocol: ClientProtocol, said: &[u8]) -> TalkError {
    match talk(protocol, login(b"ann", b"p"), &at("192.0.2.7", 80), said).talked {
        Talked::Failed(error) => error,
        other => panic!("{protocol:?}: {}: {other:?}", said[..said.len().min(80)].escape_ascii()),
    }
}

#[test]
fn other_protocols_are_found_by_their_first_byte() {
    for babble in [
        &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        &[0xff; 100],
    ] {
        let first = babble[0];
        assert_eq!(failed(ClientProtocol::Socks5, babble), TalkError::Version(first));
        assert_eq!(failed(ClientProtocol::Socks4, babble), TalkError::Version(first));
        assert_eq!(failed(ClientProtocol::Http, babble), TalkError::Head(HeadError::StatusLine));
    }
    assert_eq!(failed(ClientProtocol::Socks5, b"HTTP/1.1 400 Bad Request\r\n"), TalkError::Version(b'H'));
    assert_eq!(failed(ClientProtocol::Socks5, b"\x00\x5b"), TalkError::Version(0));
    assert_eq!(failed(ClientProtocol::Socks4, b"\x05\xff"), TalkError::Version(5));
    assert_eq!(failed(ClientProtocol::Http, b"\x05\xff"), TalkError::Head(HeadError::StatusLine));
}

#[test]
fn methods_that_were_not_offered_are_not_taken() {
    assert_eq!(failed(ClientProtocol::Socks5, b"\x05\xff"), TalkError::NoMethod);
    for code in [1, 3, 0x80, 0xfe] {
        assert_eq!(failed(ClientProtocol::Socks5, &[5, code]), TalkError::Method(code));
    }
    // A password is nobody's to ask for where there is none.
    let asked = talk(ClientProtocol::Socks5, None, &at("192.0.2.7", 80), b"\x05\x02").talked;
    assert_eq!(asked, Talked::Failed(TalkError::Method(2)));
    assert_eq!(failed(ClientProtocol::Socks5, b"\x05\x02\x02\x00"), TalkError::Version(2));
}

/// Its word is taken for the answer: where the bytes were split cannot decide whether there is a tunnel.
#[test]
fn success_before_the_request_is_success() {
    let said = b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0early";
    let outcome = talk(ClientProtocol::Socks5, login(b"ann", b"p"), &at("192.0.2.7", 80), said);
    assert_eq!((outcome.talked, &outcome.rest[..]), (done("0.0.0.0", 0), &b"early"[..]));
    assert!(outcome.sent.ends_with(b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"), "it was asked all the same");
}

#[test]
fn addresses_of_no_type_end_a_reply() {
    for kind in [0, 2, 5, 0xff] {
        assert_eq!(failed(ClientProtocol::Socks5, &[5, 0, 5, 0, 0, kind]), TalkError::AddressType(kind));
    }
}

#[test]
fn a_head_without_end_ends_at_its_bound() {
    let endless = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(10_000)].concat();
    assert_eq!(failed(ClientProtocol::Http, &endless), TalkError::Head(HeadError::TooLong));
    let one_line = [&b"HTTP/1.1 200 "[..], &[b'x'; 100_000]].concat();
    assert_eq!(failed(ClientProtocol::Http, &one_line), TalkError::Head(HeadError::TooLong));
    // The longest head that is taken, and one byte more.
    let head = |length: usize| {
        let (front, back) = (&b"HTTP/1.1 200 OK\r\nX: "[..], &b"\r\n\r\n"[..]);
        [front, &vec![b'x'; length - front.len() - back.len()], back].concat()
    };
    let longest = head(PARENT_HEAD_BYTES_MAX);
    let outcome = talk(ClientProtocol::Http, None, &at("192.0.2.7", 80), &longest);
    assert_eq!(outcome.talked, Talked::Done(ProxyBound(None)));
    let longer = head(PARENT_HEAD_BYTES_MAX + 1);
    assert_eq!(failed(ClientProtocol::Http, &longer), TalkError::Head(HeadError::TooLong));
    let fields = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(200), b"\r\n"].concat();
    assert_eq!(failed(ClientProtocol::Http, &fields), TalkError::Head(HeadError::TooManyFields));
}

#[test]
fn interim_responses_are_counted() {
    let said = |count: u8| {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(usize::from(count));
        [&interim[..], b"HTTP/1.1 200 OK\r\n\r\n"].concat()
    };
    let few = talk(ClientProtocol::Http, None, &at("192.0.2.7", 80), &said(PARENT_INTERIM_MAX));
    assert_eq!(few.talked, Talked::Done(ProxyBound(None)));
    let many = failed(ClientProtocol::Http, &said(PARENT_INTERIM_MAX + 1));
    assert_eq!(many, TalkError::Head(HeadError::Unasked));
    let switched = failed(ClientProtocol::Http, b"HTTP/1.1 101 x\r\nUpgrade: y\r\n\r\n");
    assert_eq!(switched, TalkError::Head(HeadError::Unasked));
}

#[test]
fn heads_that_are_none_are_refused() {
    for (said, error) in [
        (&b"HTTP/1.1 200 OK\n\n"[..], HeadError::LineEnd),
        (b"HTTP/1.1 200 OK\r\nX\r\n\r\n", HeadError::FieldName),
        (b"HTTP/1.1 200 OK\r\n folded\r\n\r\n", HeadError::FieldName),
        (b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", HeadError::Control(0)),
        (b"HTTP/1.1 20 x\r\n\r\n", HeadError::StatusLine),
        (b"HTTP/1.1 099 x\r\n\r\n", HeadError::StatusLine),
        (b"HTTP/2.0 200 OK\r\n\r\n", HeadError::StatusLine),
        (b"HTTP/1.12 200 OK\r\n\r\n", HeadError::OtherVersion),
        (b"ICY 200 OK\r\n\r\n", HeadError::StatusLine),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", HeadError::StatusLine),
    ] {
        let found = failed(ClientProtocol::Http, said);
        assert!(matches!(found, TalkError::Head(_)), "{}", said.escape_ascii());
        assert_eq!(found, TalkError::Head(error), "{}", said.escape_ascii());
        assert!(found.is_the_proxys());
    }
}

/// A proxy may close anywhere: what it did before says when.
#[test]
fn an_end_anywhere_says_what_was_due() {
    let whole = b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0";
    for end in 0..whole.len() {
        let mut out = TalkOutput::default();
        let mut talk = ClientTalk::begin(ClientProtocol::Socks5, login(b"ann", b"p"), &mut out);
        talk.ask(RequestCommand::Connect, at("192.0.2.7", 80), &mut out).unwrap();
        let (_, talked) = talk.feed(&whole[..end], &mut out);
        assert_eq!(talked, Talked::Pending, "after {end}");
        let when = match end {
            0 | 1 => "before it chose a method",
            2 | 3 => "in place of an answer to the login",
            _ => "in place of a reply",
        };
        let error = talk.closed();
        assert_eq!(error, TalkError::Closed(when), "after {end}");
        assert!(error.is_the_proxys() && error.rep() == Rep::GeneralFailure);
    }
    let mut out = TalkOutput::default();
    let mut talk = ClientTalk::begin(ClientProtocol::Http, None, &mut out);
    talk.ask(RequestCommand::Connect, at("192.0.2.7", 80), &mut out).unwrap();
    assert_eq!(talk.feed(b"HTTP/1.1 200", &mut out), (0, Talked::Pending));
    assert_eq!(talk.closed(), TalkError::Closed("in place of a response"));
}

/// Once it has failed, what comes behind changes nothing.
#[test]
fn a_failure_is_final() {
    let mut out = TalkOutput::default();
    let mut talk = ClientTalk::begin(ClientProtocol::Socks5, None, &mut out);
    assert_eq!(talk.feed(b"\x05\xff", &mut out), (0, Talked::Failed(TalkError::NoMethod)));
    assert_eq!(talk.feed(b"\x05\x00", &mut out), (0, Talked::Failed(TalkError::NoMethod)));
    assert_eq!(talk.closed(), TalkError::NoMethod);
}

/// No error has a byte of what was said or of a login in its words, but for single ones.
#[test]
fn errors_tell_no_secret() {
    let error = failed(ClientProtocol::Http, b"HTTP/1.1 407 hunter2\r\n\r\n");
    assert_eq!((error.to_string(), error.clone()), ("it refuses our login".to_owned(), TalkError::Login));
    let mut out = TalkOutput::default();
    let talk = ClientTalk::begin(ClientProtocol::Socks5, login(b"ann", b"hunter2"), &mut out);
    assert!(!format!("{talk:?}").contains("hunter2"));
}
