//! What is said to a proxy, byte by byte, and what comes of what it says: at every split the same.

mod lying;
mod random;

use zeroize::Zeroizing;

use super::*;
use crate::proto::address::{Host, Target};
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;
use crate::proto::userpass::Credentials;

/// What came of a handshake: the bytes that were sent, the outcome, and what was left for the target.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    sent: Vec<u8>,
    talked: Talked,
    rest: Vec<u8>,
}

fn at(host: &str, port: u16) -> Target {
    Target { host: Host::parse(host.as_bytes()).unwrap(), port }
}

fn login(user: &[u8], password: &[u8]) -> Option<Credentials> {
    Some(Credentials { user: user.to_vec(), password: Some(Zeroizing::new(password.to_vec())) })
}

/// Feeds what a proxy says in pieces of `step` bytes, each with what was not used of those before. What follows an end is the
/// target's.
fn fed(
    mut feed: impl FnMut(&[u8], &mut TalkOutput) -> Fed,
    said: &[u8],
    step: usize,
) -> (Vec<u8>, Talked, Vec<u8>) {
    let (mut out, mut held) = (TalkOutput::default(), Vec::new());
    let mut pieces = said.chunks(step);
    loop {
        let (used, talked) = feed(&held, &mut out);
        assert!(used <= held.len());
        held.drain(..used);
        assert!(held.len() < crate::limits::PARENT_UNUSED_BYTES_MAX + step, "{} bytes are held", held.len());
        match (talked, pieces.next()) {
            (Talked::Pending, Some(piece)) => held.extend_from_slice(piece),
            (Talked::Failed(error), _) => return (out.to_vec(), Talked::Failed(error), Vec::new()),
            (talked, left) => {
                held.extend(left.into_iter().chain(pieces).flatten());
                return (out.to_vec(), talked, held);
            }
        }
    }
}

/// A handshake with a proxy that says this, at every split.
fn talk(protocol: ClientProtocol, login: Option<Credentials>, target: &Target, said: &[u8]) -> Outcome {
    talk_for(protocol, login, (RequestCommand::Connect, target), said)
}

fn talk_for(
    protocol: ClientProtocol,
    login: Option<Credentials>,
    (command, target): (RequestCommand, &Target),
    said: &[u8],
) -> Outcome {
    let whole = |step: usize| {
        let mut first = TalkOutput::default();
        let mut talk = ClientTalk::begin(protocol, login.clone(), &mut first);
        talk.ask(command, target.clone(), &mut first).expect("it can be asked");
        let (sent, talked, rest) = fed(|input, out| talk.feed(input, out), said, step);
        Outcome { sent: [first.to_vec(), sent].concat(), talked, rest }
    };
    let at_once = whole(said.len().max(1));
    for step in [1, 2, 3, 5, 11] {
        assert_eq!(whole(step), at_once, "in steps of {step}: {}", said.escape_ascii());
    }
    at_once
}

fn done(bound: &str, port: u16) -> Talked {
    Talked::Done(ProxyBound(Some(at(bound, port))))
}

#[test]
fn socks5_without_a_login() {
    let granted = b"\x05\x00\x05\x00\x00\x01\xc0\x00\x02\x09\x12\x34hello";
    let outcome = talk(ClientProtocol::Socks5, None, &at("example.com", 443), granted);
    assert_eq!(outcome.sent, b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x01\xbb");
    assert_eq!((outcome.talked, &outcome.rest[..]), (done("192.0.2.9", 0x1234), &b"hello"[..]));
    let outcome = talk(ClientProtocol::Socks5, None, &at("192.0.2.7", 80), granted);
    assert_eq!(outcome.sent, b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50");
    let outcome = talk(ClientProtocol::Socks5, None, &at("2001:db8::1", 80), granted);
    assert_eq!(
        outcome.sent,
        b"\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50"
    );
    let mapped = talk(ClientProtocol::Socks5, None, &at("::ffff:192.0.2.7", 80), granted);
    assert_eq!(mapped.sent, b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50");
}

#[test]
fn socks5_with_a_login() {
    let ann = || login(b"ann", b"hunter2");
    let target = at("192.0.2.7", 80);
    let request = b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50";
    let outcome =
        talk(ClientProtocol::Socks5, ann(), &target, b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\x00\x00");
    assert_eq!(outcome.sent, [&b"\x05\x02\x00\x02\x01\x03ann\x07hunter2"[..], request].concat());
    assert_eq!(outcome.talked, done("0.0.0.0", 0));
    // A proxy that lets everybody in is told no password.
    let outcome = talk(ClientProtocol::Socks5, ann(), &target, b"\x05\x00\x05\x00\x00\x01\0\0\0\0\x00\x00");
    assert_eq!(outcome.sent, [&b"\x05\x02\x00\x02"[..], request].concat());
    for refusal in [&b"\x05\x02\x01\x01"[..], b"\x05\x02\x01\xff", b"\x05\x02\x05\x02"] {
        let outcome = talk(ClientProtocol::Socks5, ann(), &target, refusal);
        assert_eq!(outcome.talked, Talked::Failed(TalkError::Login));
    }
    let empty = Some(Credentials { user: b"ann".to_vec(), password: None });
    let outcome = talk(ClientProtocol::Socks5, empty, &target, b"\x05\x02");
    assert_eq!(outcome.sent, b"\x05\x02\x00\x02\x01\x03ann\x00");
    let longest = talk(ClientProtocol::Socks5, login(&[b'u'; 255], &[b'p'; 255]), &target, b"\x05\x02");
    assert_eq!(longest.sent.len(), 4 + crate::limits::USERPASS_MAX);
    // Cut at what a length octet can say it might be another's.
    for long in [login(&[b'u'; 256], b"p"), login(b"u", &[b'p'; 256])] {
        let outcome = talk(ClientProtocol::Socks5, long, &target, b"\x05\x02");
        let what = TalkError::Unspeakable("a login of more than 255 bytes");
        assert_eq!((outcome.sent.len(), outcome.talked), (4, Talked::Failed(what)));
    }
}

#[test]
fn socks5_for_datagrams() {
    let said = b"\x05\x00\x05\x00\x00\x01\xc0\x00\x02\x09\x12\x34";
    let asked = (RequestCommand::UdpAssociate, &at("0.0.0.0", 0));
    let outcome = talk_for(ClientProtocol::Socks5, None, asked, said);
    assert_eq!(outcome.sent, b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\x00\x00");
    assert_eq!(outcome.talked, done("192.0.2.9", 0x1234));
}

/// RFC 1928 section 6: what a proxy says of a target a client is told as it is.
#[test]
fn socks5_replies_go_on_as_they_are() {
    let reply = |code| {
        let said = [5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        match talk(ClientProtocol::Socks5, None, &at("a.example", 80), &said).talked {
            Talked::Failed(error) => error,
            other => panic!("{code}: {other:?}"),
        }
    };
    let known = [
        Rep::GeneralFailure,
        Rep::NotAllowed,
        Rep::NetworkUnreachable,
        Rep::HostUnreachable,
        Rep::ConnectionRefused,
        Rep::TtlExpired,
        Rep::CommandNotSupported,
        Rep::AddressTypeNotSupported,
    ];
    for (code, rep) in (1..).zip(known) {
        let error = reply(code);
        assert_eq!(
            (error.clone(), error.rep(), error.is_the_proxys()),
            (TalkError::Refused(rep), rep, false)
        );
    }
    for code in [9, 0x5b, 0xff] {
        assert_eq!((reply(code), reply(code).rep()), (TalkError::UnknownReply(code), Rep::GeneralFailure));
    }
    // Some send no more than this.
    let short = talk(ClientProtocol::Socks5, None, &at("a.example", 80), b"\x05\x00\x05\x05");
    assert_eq!(short.talked, Talked::Failed(TalkError::Refused(Rep::ConnectionRefused)));
}

#[test]
fn a_name_in_a_reply_is_no_harm() {
    let named = |name: &[u8]| {
        let length = u8::try_from(name.len()).unwrap();
        let said = [&[5, 0, 5, 0, 0, 3, length][..], name, b"\x00\x50tunnel"].concat();
        let outcome = talk(ClientProtocol::Socks5, None, &at("a.example", 80), &said);
        assert_eq!(outcome.rest, b"tunnel");
        outcome.talked
    };
    assert_eq!(named(b"proxy.example"), done("proxy.example", 80));
    assert_eq!(named(b"192.0.2.1"), done("192.0.2.1", 80));
    for odd in [&b""[..], b"\0\x01", &[0xff; 255], b"a b"] {
        assert_eq!(named(odd), Talked::Done(ProxyBound(None)));
    }
    let six = b"\x05\x00\x05\x00\xff\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50";
    assert_eq!(talk(ClientProtocol::Socks5, None, &at("a.example", 80), six).talked, done("2001:db8::1", 80));
}

#[test]
fn socks4_and_4a() {
    let granted = b"\x00\x5a\x12\x34\xc0\x00\x02\x09hello";
    let outcome = talk(ClientProtocol::Socks4, None, &at("192.0.2.7", 80), granted);
    assert_eq!(outcome.sent, b"\x04\x01\x00\x50\xc0\x00\x02\x07\x00");
    assert_eq!((outcome.talked, &outcome.rest[..]), (done("192.0.2.9", 0x1234), &b"hello"[..]));
    let outcome = talk(ClientProtocol::Socks4a, login(b"ann", b"secret"), &at("example.com", 443), granted);
    assert_eq!(outcome.sent, b"\x04\x01\x01\xbb\x00\x00\x00\x01ann\x00example.com\x00");
    for (code, error) in [
        (91, TalkError::Rejected(91)),
        (92, TalkError::Login),
        (93, TalkError::Login),
        (0, TalkError::Rejected(0)),
    ] {
        let outcome = talk(ClientProtocol::Socks4, None, &at("192.0.2.7", 80), &[0, code, 0, 0, 0, 0, 0, 0]);
        assert_eq!(outcome.talked, Talked::Failed(error.clone()));
        assert_eq!(error.rep(), Rep::GeneralFailure);
    }
    let other = talk(ClientProtocol::Socks4, None, &at("192.0.2.7", 80), b"\x04\x5a");
    assert_eq!(other.talked, Talked::Failed(TalkError::Version(4)));
}

#[test]
fn what_a_protocol_has_no_words_for_is_not_asked() {
    let ask = |protocol, command, target: &str| {
        let mut out = TalkOutput::default();
        let login = match target {
            "192.0.2.66" => login(b"a\0b", b"p"),
            "192.0.2.67" => login(b"ann:b", b"p"),
            _ => None,
        };
        let mut talk = ClientTalk::begin(protocol, login, &mut out);
        let begun = out.len();
        let asked = talk.ask(command, at(target, 80), &mut out);
        assert!(asked.is_ok() || out.len() == begun, "something was sent");
        asked
    };
    let connect = RequestCommand::Connect;
    for (protocol, command, target, what) in [
        (ClientProtocol::Socks4, connect, "a.example", "a name"),
        (ClientProtocol::Socks4, connect, "2001:db8::1", "an IPv6 address"),
        (ClientProtocol::Socks4a, connect, "2001:db8::1", "an IPv6 address"),
        (ClientProtocol::Socks4a, connect, "0.0.0.7", "an address of 0.0.0.0/24"),
        (ClientProtocol::Socks4, connect, "192.0.2.66", "a user id with a NUL"),
        (ClientProtocol::Socks4a, RequestCommand::UdpAssociate, "192.0.2.1", "UDP ASSOCIATE"),
        (ClientProtocol::Http, RequestCommand::UdpAssociate, "192.0.2.1", "UDP ASSOCIATE"),
        (ClientProtocol::Http, connect, "192.0.2.67", "a name with a colon"),
        (
            ClientProtocol::Socks5,
            RequestCommand::Bind,
            "192.0.2.1",
            "a command other than CONNECT and UDP ASSOCIATE",
        ),
    ] {
        let error = ask(protocol, command, target).expect_err(what);
        assert_eq!(error, TalkError::Unspeakable(what));
        assert!(!error.is_the_proxys() && error.rep() == Rep::AddressTypeNotSupported);
    }
    assert_eq!(ask(ClientProtocol::Socks4, connect, "::ffff:192.0.2.1"), Ok(()));
    assert_eq!(ask(ClientProtocol::Http, connect, "2001:db8::1"), Ok(()));
}

#[test]
fn http_connect() {
    let outcome = talk(
        ClientProtocol::Http,
        None,
        &at("example.com", 443),
        b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello",
    );
    assert_eq!(outcome.sent, b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    assert_eq!((outcome.talked, &outcome.rest[..]), (Talked::Done(ProxyBound(None)), &b"hello"[..]));
    // RFC 7617 section 2: "Aladdin" and "open sesame".
    let outcome = talk(
        ClientProtocol::Http,
        login(b"Aladdin", b"open sesame"),
        &at("2001:db8::1", 80),
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    );
    assert_eq!(
        outcome.sent.escape_ascii().to_string(),
        "CONNECT [2001:db8::1]:80 HTTP/1.1\\r\\nHost: [2001:db8::1]:80\\r\\n\
         Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\\r\\n\\r\\n"
    );
    // RFC 9110 section 9.3.6: a length or coding in 2xx means nothing.
    assert_eq!((outcome.talked, &outcome.rest[..]), (Talked::Done(ProxyBound(None)), &b"hello"[..]));
    for status in ["201 x", "204 No Content", "299"] {
        let said = format!("HTTP/1.1 {status}\r\n\r\n");
        let outcome = talk(ClientProtocol::Http, None, &at("a.example", 1), said.as_bytes());
        assert_eq!(outcome.talked, Talked::Done(ProxyBound(None)), "{status}");
    }
    let interim =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhi";
    let outcome = talk(ClientProtocol::Http, None, &at("a.example", 1), interim);
    assert_eq!((outcome.talked, &outcome.rest[..]), (Talked::Done(ProxyBound(None)), &b"hi"[..]));
}

#[test]
fn http_statuses_are_told_as_what_they_mean() {
    let failed = |head: &str| {
        let said = format!("HTTP/1.1 {head}\r\n\r\nsome page");
        match talk(ClientProtocol::Http, None, &at("a.example", 1), said.as_bytes()).talked {
            Talked::Failed(error) => (error.rep(), error.is_the_proxys()),
            other => panic!("{head}: {other:?}"),
        }
    };
    for (head, rep, own) in [
        ("403 Forbidden", Rep::NotAllowed, false),
        ("404 Not Found", Rep::HostUnreachable, false),
        ("405 No", Rep::CommandNotSupported, false),
        ("407 Proxy Authentication Required\r\nProxy-Authenticate: Basic", Rep::GeneralFailure, true),
        ("500 Oops", Rep::GeneralFailure, true),
        ("502 Bad Gateway", Rep::HostUnreachable, false),
        ("503 Service Unavailable", Rep::GeneralFailure, false),
        ("504 Gateway Timeout", Rep::TtlExpired, false),
        ("302 Found\r\nLocation: http://a/", Rep::GeneralFailure, false),
        ("502 x\r\nProxy-Status: p; error=connection_refused", Rep::ConnectionRefused, false),
        ("502 x\r\nProxy-Status: p;error=destination_ip_unroutable;x=1", Rep::NetworkUnreachable, false),
        ("502 x\r\nProxy-Status: p; error=dns_error", Rep::HostUnreachable, false),
        ("502 x\r\nProxy-Status: p; error=connection_timeout", Rep::TtlExpired, false),
        ("403 x\r\nproxy-status: p; error=destination_ip_prohibited", Rep::NotAllowed, false),
        ("503 x\r\nProxy-Status: p; error=proxy_internal_error", Rep::GeneralFailure, true),
        // The first member is the proxy that is closest to the target.
        (
            "502 x\r\nProxy-Status: far; error=connection_refused, near; error=http_protocol_error",
            Rep::ConnectionRefused,
            false,
        ),
        ("502 x\r\nProxy-Status: \"a; error=connection_refused\"", Rep::HostUnreachable, false),
        ("502 x\r\nProxy-Status: \"a\\\", b;\"; error=connection_refused", Rep::ConnectionRefused, false),
        ("502 x\r\nProxy-Status: p; error=what_nobody_knows", Rep::HostUnreachable, false),
        ("502 x\r\nProxy-Status: p; error=\"connection_refused\"", Rep::HostUnreachable, false),
    ] {
        assert_eq!(failed(head), (rep, own), "{head}");
    }
}

/// A connection that waits for a request has the greeting and the login behind it.
#[test]
fn a_handshake_can_be_had_up_to_the_request() {
    let mut out = TalkOutput::default();
    let mut talk = ClientTalk::begin(ClientProtocol::Socks5, login(b"ann", b"p"), &mut out);
    assert_eq!(**out, b"\x05\x02\x00\x02"[..]);
    assert!(!talk.takes_early_bytes());
    out.clear();
    assert_eq!(talk.feed(b"\x05\x02", &mut out), (2, Talked::Pending));
    assert_eq!(**out, b"\x01\x03ann\x01p"[..]);
    assert_eq!(talk.feed(b"\x01\x00", &mut out), (2, Talked::Ready));
    assert_eq!(talk.feed(b"", &mut out), (0, Talked::Ready));
    assert!(!talk.takes_early_bytes());
    assert_eq!(talk.closed(), TalkError::Closed("before it was asked for anything"));
    out.clear();
    talk.ask(RequestCommand::Connect, at("192.0.2.7", 80), &mut out).unwrap();
    assert_eq!(**out, b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"[..]);
    assert!(talk.takes_early_bytes());
    assert_eq!(talk.feed(b"\x05\x00\x00\x01\0\0\0\0\x00\x00", &mut out), (10, done("0.0.0.0", 0)));
    // The others have nothing to say before a request.
    for protocol in [ClientProtocol::Socks4, ClientProtocol::Socks4a, ClientProtocol::Http] {
        out.clear();
        let mut talk = ClientTalk::begin(protocol, None, &mut out);
        assert_eq!((talk.feed(b"", &mut out), out.len()), ((0, Talked::Ready), 0));
        talk.ask(RequestCommand::Connect, at("192.0.2.7", 80), &mut out).unwrap();
        assert_eq!(talk.takes_early_bytes(), protocol != ClientProtocol::Http);
    }
}

#[test]
fn a_chain_is_one_handshake_behind_the_other() {
    let leg = |protocol, login, target: Target| ChainLeg {
        protocol,
        login,
        command: RequestCommand::Connect,
        target,
    };
    let legs = || {
        [
            leg(ClientProtocol::Socks5, None, at("second.example", 3128)),
            leg(ClientProtocol::Http, login(b"a", b"b"), at("192.0.2.3", 1080)),
            leg(ClientProtocol::Socks4a, None, at("third.example", 1080)),
            leg(ClientProtocol::Socks5, None, at("target.example", 443)),
        ]
    };
    let said = b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0HTTP/1.1 200 OK\r\n\r\n\x00\x5a\0\0\0\0\0\0\
                 \x05\x00\x05\x00\x00\x01\xc0\x00\x02\x09\x12\x34hello";
    let run = |said: &[u8], step| {
        let mut first = TalkOutput::default();
        let mut chain = ChainTalk::begin(legs(), &mut first).unwrap().unwrap();
        let (sent, talked, rest) = fed(|input, out| chain.feed(input, out), said, step);
        ([first.to_vec(), sent].concat(), talked, rest, chain.hop(), chain.takes_early_bytes())
    };
    let (sent, talked, rest, hop, early) = run(said, said.len());
    assert_eq!(
        sent.escape_ascii().to_string(),
        "\\x05\\x01\\x00\\x05\\x01\\x00\\x03\\x0esecond.example\\x0c8\
         CONNECT 192.0.2.3:1080 HTTP/1.1\\r\\nHost: 192.0.2.3:1080\\r\\nProxy-Authorization: Basic YTpi\\r\\n\\r\\n\
         \\x04\\x01\\x048\\x00\\x00\\x00\\x01\\x00third.example\\x00\
         \\x05\\x01\\x00\\x05\\x01\\x00\\x03\\x0etarget.example\\x01\\xbb"
    );
    assert_eq!((talked, &rest[..], hop, early), (done("192.0.2.9", 0x1234), &b"hello"[..], 3, true));
    for step in [1, 2, 3, 7] {
        assert_eq!(run(said, step), run(said, said.len()));
    }
    let (_, talked, _, hop, early) = run(b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0HTTP/1.1 502 x\r\n\r\n", 4);
    assert_eq!((talked, hop, early), (Talked::Failed(TalkError::Status(502, None)), 1, false));
    assert!(ChainTalk::begin([], &mut TalkOutput::default()).unwrap().is_none());
}

#[test]
fn a_connection_that_waited_is_the_first_of_a_chain() {
    let mut out = TalkOutput::default();
    let mut talk = ClientTalk::begin(ClientProtocol::Socks5, None, &mut out);
    assert_eq!(talk.feed(b"\x05\x00", &mut out), (2, Talked::Ready));
    out.clear();
    let last = ChainLeg {
        protocol: ClientProtocol::Socks4a,
        login: None,
        command: RequestCommand::Connect,
        target: at("t.example", 80),
    };
    let asked = (RequestCommand::Connect, at("192.0.2.3", 1080));
    let mut chain = ChainTalk::resume(talk, asked, [last], &mut out).unwrap();
    assert_eq!(**out, b"\x05\x01\x00\x01\xc0\x00\x02\x03\x04\x38"[..]);
    out.clear();
    assert_eq!(chain.feed(b"\x05\x00\x00\x01\0\0\0\0\0\0\x00\x5a", &mut out), (10, Talked::Pending));
    assert_eq!(**out, b"\x04\x01\x00\x50\x00\x00\x00\x01\x00t.example\x00"[..]);
    assert_eq!(chain.feed(b"\x00\x5a\0\0\0\0\0\0", &mut out), (8, done("0.0.0.0", 0)));
    assert_eq!(chain.hop(), 1);
}
