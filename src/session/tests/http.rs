//! HTTP: tunnels, requests in absolute form, Basic, and what each failure is told as.

use super::*;
use crate::outcome::Reason;
use crate::policy::accounts::{Exceeded, LimitId, Reached};
use crate::policy::guard::Refusal;
use crate::proto::NameError;
use crate::proto::http::{Framing, HeadError, HttpVersion};
use crate::session::http_status::status_of;
use crate::session::socks5::rep_of;

/// CONNECT a.example:443.
const TUNNEL: &[u8] = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
/// The same with "alice:secret".
const AS_ALICE: &[u8] = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\
                          Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n";
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const CHALLENGE: &str = "Proxy-Authenticate: Basic realm=\"outflow\", charset=\"UTF-8\"\r\n";

fn resolve() -> Event {
    Event::Resolve("a.example".into())
}

fn text(event: &Event) -> &str {
    let Says(said) = event else { panic!("{event:?} where something was to be said") };
    std::str::from_utf8(said).expect("text")
}

/// What was said, as a status line, fields and a body whose length is right.
fn answer(event: &Event) -> (&str, &str) {
    let (head, body) = text(event).split_once("\r\n\r\n").expect("an empty line");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    (head, body)
}

#[test]
fn a_tunnel_at_every_split() {
    let bytes = [TUNNEL, b"\x16\x03\x01GET / HTTP/1.1\r\n"].concat();
    let seen = World::open().every_split(&bytes);
    assert_eq!(seen.events, [resolve(), dial("203.0.113.7:443"), says(ESTABLISHED), Relay]);
    assert_eq!(seen.pending, b"\x16\x03\x01GET / HTTP/1.1\r\n");
    for known in ["Some(Anonymous)", "reply: Some(Succeeded), status: Some(200)", "method: Some(None)"] {
        assert!(seen.facts.contains(known), "{}", seen.facts);
    }
    let old = World::open().every_split(b"CONNECT [2001:db8::1]:443 HTTP/1.0\r\n\r\n");
    assert!(matches!(old.events[..], [Says(_), Close(Failure::Denied(_))]), "{old:?}");
    let address = World::open().every_split(b"CONNECT 203.0.113.7:443 HTTP/1.0\r\n\r\n");
    assert_eq!(address.events, [dial("203.0.113.7:443"), says(ESTABLISHED), Relay]);
}

#[test]
fn a_request_in_absolute_form_goes_on_in_origin_form_at_every_split() {
    let bytes = b"POST http://a.example/b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhelloGET";
    let seen = World::open().every_split(bytes);
    let [asked, dialled, Event::Exchange(forward)] = &seen.events[..] else { panic!("{seen:?}") };
    assert_eq!((asked, dialled), (&resolve(), &dial("203.0.113.7:80")));
    let head = b"POST /b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nVia: 1.1 outflow\r\n\r\n";
    assert_eq!(forward.head, head);
    assert_eq!((forward.framing, forward.version), (Framing::Length(5), HttpVersion::Http11));
    assert!(forward.keep_alive && !forward.is_head && forward.via);
    assert_eq!(seen.pending, b"helloGET");
    assert!(seen.facts.contains("reply: Some(Succeeded), status: None"), "{}", seen.facts);
}

#[test]
fn via_is_left_out_where_it_is_not_wanted() {
    let mut world = World::open();
    world.rules.http.via = false;
    let seen = world.whole(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let Some(Event::Exchange(forward)) = seen.events.last() else { panic!("{seen:?}") };
    assert_eq!(forward.head, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(!forward.via);
}

#[test]
fn credentials_that_come_unasked_are_verified() {
    let seen = World::locked().every_split(&[AS_ALICE, b"payload"].concat());
    let login = verify(b"alice", b"secret");
    assert_eq!(seen.events, [login, resolve(), dial("203.0.113.7:443"), says(ESTABLISHED), Relay]);
    assert_eq!(seen.pending, b"payload");
    assert!(seen.facts.contains(r#"identity: Some(User("alice")), claimed_user: None"#), "{}", seen.facts);
    assert!(seen.facts.contains("method: Some(Password)"), "{}", seen.facts);
    // Where nobody needs any, who gives them is still who they say.
    let either = World::new(&[AuthMethod::None, AuthMethod::Password]);
    assert!(either.every_split(AS_ALICE).facts.contains(r#"Some(User("alice"))"#));
    assert!(either.every_split(TUNNEL).facts.contains("Some(Anonymous)"));
    // Where no password is taken, nobody is asked whether it is right.
    let open = World::open().every_split(AS_ALICE);
    assert_eq!(open.events[0], resolve());
    assert!(open.facts.contains("Some(Anonymous)"), "{}", open.facts);
}

#[test]
fn a_client_without_credentials_is_asked_and_tries_again_where_it_is() {
    let bytes = [TUNNEL, AS_ALICE, b"payload"].concat();
    let seen = World::locked().every_split(&bytes);
    let (head, body) = answer(&seen.events[0]);
    assert!(head.starts_with("HTTP/1.1 407 Proxy Authentication Required\r\n"), "{head}");
    assert!(head.contains(CHALLENGE) && !head.contains("Connection"), "{head}");
    assert!(body.starts_with("This proxy asks for a name and a password"), "{body}");
    let login = verify(b"alice", b"secret");
    assert_eq!(seen.events[1..], [login, resolve(), dial("203.0.113.7:443"), says(ESTABLISHED), Relay]);
    assert_eq!(seen.pending, b"payload");
}

#[test]
fn an_answer_to_head_has_no_body_and_one_to_http_1_0_says_that_it_is_kept() {
    let seen = World::locked().every_split(b"HEAD http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(
        text(&seen.events[0]).ends_with("\r\n\r\n") && text(&seen.events[0]).contains("Content-Length: ")
    );
    let mut denied = World::open();
    denied.dialed = Err(DialError::Refused);
    let seen = denied.every_split(b"HEAD http://203.0.113.7/ HTTP/1.1\r\nHost: 203.0.113.7\r\n\r\n");
    assert!(
        text(&seen.events[1]).starts_with("HTTP/1.1 502 ") && text(&seen.events[1]).ends_with("\r\n\r\n")
    );
    let kept = b"CONNECT a.example:443 HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n";
    let seen = World::locked().every_split(kept);
    assert!(answer(&seen.events[0]).0.contains("Connection: keep-alive\r\n"));
    assert_eq!(seen.events.len(), 1, "it waits for another request");
    assert!(seen.facts.contains("status: Some(407)"), "a client that leaves now was told so");
}

#[test]
fn a_challenge_ends_the_connection_where_the_next_request_cannot_be_told() {
    let with_body = b"POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
    let closing = b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let old = b"CONNECT a.example:443 HTTP/1.0\r\n\r\n";
    for bytes in [&with_body[..], closing, old] {
        let seen = World::locked().every_split(&[bytes, AS_ALICE].concat());
        assert_eq!(seen.events[1..], [Close(Failure::NoMethod)]);
        let (head, _) = answer(&seen.events[0]);
        assert!(head.starts_with("HTTP/1.1 407 ") && head.contains("Connection: close"), "{head}");
        assert!(head.contains(CHALLENGE) && seen.facts.contains("status: Some(407)"), "{head}");
    }
    // One that never says who it is.
    let seen = World::locked().whole(&TUNNEL.repeat(9));
    assert_eq!(text(&seen.events[0]).matches("HTTP/1.1 407 ").count(), 4);
    assert_eq!(seen.events[1..], [Close(Failure::NoMethod)]);
}

// HAZARD 3.
#[test]
fn wrong_credentials_end_the_connection_whatever_stands_behind_them() {
    // "alice:secreT", and what is no pair at all.
    for (given, asked) in [("Basic YWxpY2U6c2VjcmVU", true), ("Basic ?", false), ("Basic YWxpY2U=", false)] {
        let bytes = format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nProxy-Authorization: {given}\r\n\r\n");
        let seen = World::locked().every_split(&[bytes.as_bytes(), AS_ALICE].concat());
        assert_eq!(seen.events.len(), if asked { 3 } else { 2 }, "{seen:?}");
        assert_eq!(seen.events.last(), Some(&Close(Failure::AuthFailed)));
        let (head, _) = answer(&seen.events[seen.events.len() - 2]);
        assert!(head.starts_with("HTTP/1.1 407 ") && head.contains("Connection: close"), "{head}");
        assert!(seen.facts.contains("identity: None"), "{}", seen.facts);
        assert!(seen.facts.contains("command: None, target: None, reply: None"), "{}", seen.facts);
        assert!(!seen.facts.contains("secre"), "{}", seen.facts);
    }
}

#[test]
fn another_scheme_is_asked_for_the_one_that_is_spoken() {
    let bytes = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nProxy-Authorization: Negotiate YII=\r\n\r\n";
    let seen = World::locked().every_split(&[bytes, AS_ALICE].concat());
    assert!(text(&seen.events[0]).contains(CHALLENGE));
    assert_eq!(seen.events.last(), Some(&Relay));
}

#[test]
fn where_only_gssapi_is_taken_the_client_is_told_so() {
    for bytes in [TUNNEL, AS_ALICE] {
        let seen = World::new(&[AuthMethod::Gssapi]).every_split(bytes);
        let (head, body) = answer(&seen.events[0]);
        assert!(head.starts_with("HTTP/1.1 403 ") && !head.contains("Proxy-Authenticate"), "{head}");
        assert!(body.contains("GSSAPI") && body.contains("socks5://"), "{body}");
        assert_eq!(seen.events[1..], [Close(Failure::NoMethod)]);
    }
}

#[test]
fn what_is_not_spoken_is_said() {
    let seen = World::open().speaking(&[Protocol::Socks4]).every_split(TUNNEL);
    let (head, body) = answer(&seen.events[0]);
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(body, "This port speaks SOCKS and no HTTP: use it as socks5h://HOST:PORT.\r\n");
    assert_eq!(seen.events[1..], [closed_by(ProtoError::NotSpoken)]);
}

#[test]
fn what_the_listener_does_not_take_is_refused() {
    let mut world = World::open();
    world.rules.commands = vec![RequestCommand::Bind];
    let seen = world.every_split(TUNNEL);
    assert!(answer(&seen.events[0]).0.starts_with("HTTP/1.1 403 "), "{seen:?}");
    assert_eq!(seen.events[1..], [Close(Failure::NotTaken)]);
}

#[test]
fn a_request_that_is_none_is_refused_in_words_and_asks_nobody() {
    for (bytes, status, error) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], 400, HeadError::TargetForm),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400, HeadError::TargetForm),
        (b"GET /proxy.pac HTTP/1.1\r\nHost: a\r\n\r\n", 400, HeadError::TargetForm),
        (b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400, HeadError::HostDiffers),
        (b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, HeadError::NoPort),
        (b"GET http://a/ HTTP/1.1\nHost: a\n\n", 400, HeadError::LineEnd),
        (b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, HeadError::Scheme),
        (b"CONNECT a..b:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, HeadError::HostName(NameError::EmptyLabel)),
        (&[TUNNEL, b"x"].concat()[..0], 0, HeadError::TooLong),
    ] {
        let seen = World::locked().every_split(bytes);
        if status == 0 {
            assert!(seen.events.is_empty(), "nothing came, and nothing is said");
            continue;
        }
        let (head, body) = answer(&seen.events[0]);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(body.contains(&error.to_string()), "{body}");
        assert_eq!(seen.events[1..], [closed_by(ProtoError::Head(error))]);
        assert!(seen.facts.contains(&format!("status: Some({status})")), "{}", seen.facts);
    }
    let long = [b"GET http://a/ HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 70_000]].concat();
    let seen = World::open().play(long.chunks(1000), Answers::AtOnce);
    assert!(text(&seen.events[0]).starts_with("HTTP/1.1 431 "), "{seen:?}");
    assert_eq!(seen.events[1..], [closed_by(ProtoError::Head(HeadError::TooLong))]);
}

#[test]
fn a_file_for_browsers_names_this_listener() {
    let ask = |world: &World, line: &str, host: &str| {
        let bytes = format!("{line}\r\nHost: {host}\r\n\r\n");
        world.every_split(bytes.as_bytes())
    };
    let mut world = World::locked();
    world.rules.http.pac = true;
    for path in ["/proxy.pac", "/wpad.dat?x"] {
        let seen = ask(&world, &format!("GET {path} HTTP/1.1"), "Gate.example:3128");
        let (head, body) = answer(&seen.events[0]);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/x-ns-proxy-autoconfig\r\n"));
        assert_eq!(
            body,
            "function FindProxyForURL(url, host) {\n  \
             return \"PROXY gate.example:3128; SOCKS5 gate.example:3128\";\n}\n"
        );
        assert_eq!(seen.events[1..], [Event::Answered]);
        assert!(seen.facts.contains("command: None, target: None, reply: None, status: Some(200)"));
    }
    let seen = ask(&world, "HEAD /proxy.pac HTTP/1.1", "[2001:db8::1]:80");
    assert!(text(&seen.events[0]).ends_with("\r\n\r\n"), "{seen:?}");
    for (line, host) in [
        ("POST /proxy.pac HTTP/1.1", "a"),
        ("GET /other HTTP/1.1", "a"),
        ("GET /proxy.pac HTTP/1.1", ""),
        ("GET /proxy.pac HTTP/1.1", "a\"b"),
    ] {
        let seen = ask(&world, line, host);
        assert!(text(&seen.events[0]).starts_with("HTTP/1.1 400 "), "{line} {host}: {seen:?}");
    }
    let world = world.speaking(&[Protocol::Http]);
    let seen = ask(&world, "GET /proxy.pac HTTP/1.0", "a");
    assert!(answer(&seen.events[0]).1.contains("return \"PROXY a:80\";"), "{seen:?}");
}

/// Browsers that were told of a PROXY sent plain requests to a port that speaks TLS.
#[test]
fn a_file_for_browsers_behind_tls_names_an_https_proxy() {
    let mut world = World::locked();
    (world.rules.http.pac, world.rules.protected) = (true, true);
    for (host, says) in [("Gate.example:3128", "HTTPS gate.example:3128"), ("a", "HTTPS a:443")] {
        let seen = world.every_split(format!("GET /proxy.pac HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert!(answer(&seen.events[0]).1.contains(&format!("return \"{says}\";")), "{seen:?}");
    }
}

/// Failures with their statuses and the errors of RFC 9209.
fn failures() -> Vec<(Failure, u16, Option<&'static str>)> {
    let dial = |error, status, word| (Failure::Dial(error), status, Some(word));
    let name = |error, status, word| (Failure::Dns(error), status, Some(word));
    let limit = |reached| Failure::Limit(Exceeded { limit: LimitId::PER_SOURCE, reached });
    vec![
        (Failure::Denied(Refusal::SpecialPurpose("private").into()), 403, Some("destination_ip_prohibited")),
        (Failure::Denied(Refusal::OwnListener.into()), 403, Some("proxy_loop_detected")),
        (
            Failure::Denied(crate::policy::Denial::Rule(crate::policy::rules::RuleId::DEFAULT)),
            403,
            Some("http_request_denied"),
        ),
        (Failure::NotTaken, 403, Some("http_request_denied")),
        (Failure::SourceLimit, 429, Some("http_request_denied")),
        (limit(Reached::Connections), 429, Some("http_request_denied")),
        (limit(Reached::Quota), 429, Some("http_request_denied")),
        (Failure::Unrecorded, 503, Some("http_request_denied")),
        name(DnsError::NotFound, 502, "dns_error"),
        name(DnsError::NoAddress, 502, "dns_error"),
        name(DnsError::ServerFailure, 502, "dns_error"),
        name(DnsError::Timeout, 504, "dns_timeout"),
        name(DnsError::Busy, 503, "proxy_internal_error"),
        name(DnsError::NoServers, 500, "proxy_configuration_error"),
        dial(DialError::Refused, 502, "connection_refused"),
        dial(DialError::SelfConnect, 502, "connection_refused"),
        dial(DialError::TimedOut, 504, "connection_timeout"),
        dial(DialError::NobodyCame, 504, "connection_timeout"),
        dial(DialError::HostUnreachable, 502, "destination_ip_unroutable"),
        dial(DialError::NetworkUnreachable, 502, "destination_ip_unroutable"),
        dial(DialError::Forbidden, 403, "destination_ip_prohibited"),
        dial(DialError::Ourselves, 403, "proxy_loop_detected"),
        dial(DialError::OtherFamily { by_name: false }, 502, "destination_ip_unroutable"),
        dial(DialError::NoLocalPort, 503, "proxy_internal_error"),
        dial(DialError::Local(24), 503, "proxy_internal_error"),
        (Failure::Internal("a test"), 500, Some("proxy_internal_error")),
        (Failure::HandshakeTimeout, 408, None),
        (Failure::AuthFailed, 407, None),
        (Failure::NoMethod, 403, None),
        (Failure::Protocol(ProtoError::NotSpoken), 400, None),
        (Failure::Protocol(ProtoError::Head(HeadError::Length)), 400, None),
        (Failure::Protocol(ProtoError::Head(HeadError::TooManyFields)), 431, None),
    ]
}

#[test]
fn every_failure_has_its_status_and_its_error() {
    for (failure, status, error) in failures() {
        assert_eq!(status_of(&failure), (status, error), "{failure:?}");
        // What SOCKS5 calls not allowed is a 4xx or 503 here, and a target that fails is a 5xx.
        match rep_of(&failure).code() {
            0x02 => assert!(matches!(status, 403 | 429 | 503), "{failure:?}"),
            0x03..=0x06 if failure.reason() != Reason::HandshakeTimeout => {
                assert!(matches!(status, 502 | 504), "{failure:?}");
            }
            _ => {}
        }
    }
}

#[test]
fn a_failure_is_said_with_its_error_and_without_a_name_of_ours() {
    for (failure, status, error) in failures() {
        let Failure::Dial(cause) = failure else { continue };
        let mut world = World::open();
        world.dialed = Err(cause);
        let seen = world.every_split(b"CONNECT 203.0.113.7:443 HTTP/1.1\r\nHost: 203.0.113.7\r\n\r\n");
        let (head, body) = answer(&seen.events[1]);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let said = format!("\r\nProxy-Status: outflow; error={}\r\n", error.unwrap());
        assert!(head.contains(&said) && head.contains("\r\nConnection: close\r\n"), "{head}");
        assert!(!body.contains("203.0.113.7") && body.ends_with(".\r\n"), "{body}");
        assert_eq!(seen.events[2..], [Close(failure)]);
        assert!(seen.facts.contains(&format!("status: Some({status})")), "{}", seen.facts);
    }
    let mut world = World::open();
    world.addresses = Err(DnsError::NotFound);
    let seen = world.every_split(TUNNEL);
    let (head, body) = answer(&seen.events[1]);
    assert!(head.contains("502 Bad Gateway\r\nProxy-Status: outflow; error=dns_error\r\n"), "{head}");
    assert_eq!(body, "There is no host of this name.\r\n");
}

#[test]
fn who_is_given_up_on_is_told_once() {
    let session = |world: &World, bytes: &[u8]| {
        let mut session = Session::new(INCOMING);
        session.handle(Input::Bytes(bytes), world.rules.lend());
        session
    };
    let (open, locked) = (World::open(), World::locked());
    let half = &TUNNEL[..20];
    for (bytes, failure, status) in [
        (half, Failure::HandshakeTimeout, "408 Request Timeout"),
        (TUNNEL, Failure::SourceLimit, "429 Too Many Requests"),
        (TUNNEL, Failure::Unrecorded, "503 Service Unavailable"),
        (half, Failure::Internal("a test"), "500 Internal Server Error"),
        (AS_ALICE, Failure::HandshakeTimeout, "503 Service Unavailable"),
    ] {
        let mut session = session(if bytes == AS_ALICE { &locked } else { &open }, bytes);
        let said = session.give_up(&failure);
        assert!(said.starts_with(format!("HTTP/1.1 {status}\r\n").as_bytes()), "{}", said.escape_ascii());
        assert_eq!(session.give_up(&failure), b"", "a second farewell");
    }
    for failure in [Failure::ClientLeft, Failure::ClientReset] {
        assert_eq!(session(&open, TUNNEL).give_up(&failure), b"");
    }
    // Nobody has said yet which protocol this is.
    assert_eq!(Session::new(INCOMING).give_up(&Failure::HandshakeTimeout), b"");
}

/// RFC 9110 section 7.6.2: with no hop left the proxy is who answers, behind the same login as for any other request.
#[test]
fn a_request_that_may_go_no_further_is_answered_here() {
    for (method, status) in [("OPTIONS", 200), ("TRACE", 501)] {
        let line = |hops| {
            format!("{method} http://a.example/ HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: {hops}\r\n\r\n")
        };
        let seen = World::open().every_split(line(0).as_bytes());
        let said = format!("HTTP/1.1 {status} ");
        assert!(text(&seen.events[0]).starts_with(&said), "{seen:?}");
        assert!(text(&seen.events[0]).contains("\r\nContent-Length: 0\r\n"), "{seen:?}");
        assert_eq!(seen.events[1..], [Event::Answered]);
        assert!(seen.facts.contains(&format!("status: Some({status})")), "{}", seen.facts);
        let seen = World::open().every_split(line(1).as_bytes());
        assert!(matches!(seen.events.last(), Some(Event::Exchange(_))), "{seen:?}");
        let seen = World::locked().every_split(line(0).as_bytes());
        assert!(text(&seen.events[0]).starts_with("HTTP/1.1 407 "), "{seen:?}");
    }
}
