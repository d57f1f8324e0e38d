//! How success and failure are said in HTTP. The only place that maps a failure to a status (RFC 9110 section 15) and to an
//! error of Proxy-Status (RFC 9209 section 2.3), as `socks5::rep_of` maps it to a REP.

use std::io::Write;

use super::command::Output;
use super::facts::Facts;
use super::failure::{DialError, Failure, ResponseError};
use super::socks5::rep_of;
use super::state::Due;
use crate::config::AuthMethod;
use crate::dns::DnsError;
use crate::policy::accounts::Reached;
use crate::policy::{Denial, NoPool, Refusal};
use crate::proto::ProtoError;
use crate::proto::http::{HeadError, HttpVersion, PSEUDONYM};
use crate::proto::reply::Rep;

/// An HTTP client that was pointed at a SOCKS port deserves a hint.
const HTTP_HINT: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
This is a SOCKS5 proxy, not an HTTP proxy. Use it as socks5://HOST:PORT or socks5h://HOST:PORT.\r\n";

/// RFC 9110 section 9.3.6: no field says anything of a body, for there is none.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// RFC 7617 section 2.
const CHALLENGE: &[u8] = b"Proxy-Authenticate: Basic realm=\"outflow\", charset=\"UTF-8\"\r\n";

/// The error of Proxy-Status, where the failure is one of the way to the target and not of the request.
type ProxyError = Option<&'static str>;

/// Writes that a tunnel stands.
pub(super) fn succeed(facts: &mut Facts, output: &mut Output) {
    (facts.reply, facts.status) = (Some(Rep::Succeeded), Some(200));
    output.extend_from_slice(ESTABLISHED);
}

/// Writes that credentials are asked for, on a connection that stays.
pub(super) fn challenge(to_head: bool, version: HttpVersion, output: &mut Output) {
    let text = body_of(407, &Failure::NoMethod);
    write_line(407, output);
    output.extend_from_slice(CHALLENGE);
    if version == HttpVersion::Http10 {
        output.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    write_body(&text, !to_head, output);
}

/// Writes what becomes of a request that goes no further than here, and gives its status. TRACE would tell whoever can have a
/// browser send one which credentials it sends.
pub(super) fn answer_ourselves(method: &str, output: &mut Output) -> u16 {
    let status = if method == "OPTIONS" { 200 } else { 501 };
    write_line(status, output);
    output.extend_from_slice(b"Content-Length: 0\r\nConnection: close\r\n\r\n");
    status
}

/// What a client is told whose request went to its target, in place of a response. Its connection is closed behind it.
pub fn refuse_exchange(cause: &Failure, to_head: bool, facts: &mut Facts) -> Output {
    let mut output = Output::new();
    refuse(Due::Reply, cause, to_head, facts, &mut output);
    output
}

/// Writes what a client is told whose session failed while this was due. Its connection is closed behind it.
pub(super) fn refuse(due: Due, cause: &Failure, to_head: bool, facts: &mut Facts, output: &mut Output) {
    if due == Due::Nothing || matches!(cause, Failure::ClientLeft | Failure::ClientReset) {
        return;
    }
    if matches!(cause, Failure::Protocol(ProtoError::Http(_))) {
        return output.extend_from_slice(HTTP_HINT);
    }
    let (status, error) = match cause {
        // Without the method it is a client that came with nothing, to a listener that takes no password.
        Failure::NoMethod if facts.method == Some(AuthMethod::Password) => (407, None),
        // The request came in time, and waits for us.
        Failure::HandshakeTimeout if due == Due::Login => (503, Some("proxy_internal_error")),
        cause => status_of(cause),
    };
    facts.status = Some(status);
    if facts.command.is_some() || matches!(cause, Failure::Protocol(_)) {
        facts.reply = Some(rep_of(cause));
    }
    write_line(status, output);
    if status == 407 {
        output.extend_from_slice(CHALLENGE);
    }
    if let Some(error) = error {
        // Writing to memory does not fail.
        let _ = write!(output, "Proxy-Status: {PSEUDONYM}; error={error}\r\n");
    }
    output.extend_from_slice(b"Connection: close\r\n");
    write_body(&body_of(status, cause), !to_head, output);
}

/// The status of a failure, and its error of Proxy-Status.
pub(super) fn status_of(failure: &Failure) -> (u16, ProxyError) {
    match failure {
        Failure::Protocol(ProtoError::Head(HeadError::TooLong | HeadError::TooManyFields)) => (431, None),
        Failure::Protocol(_) => (400, None),
        Failure::AuthFailed | Failure::Parameters(_) => (407, None),
        Failure::NoMethod | Failure::Certificate(_) => (403, None),
        // RFC 9209 section 2.3.5 and 2.3.23: its own status, unless the proxy has a better one.
        Failure::Denied(Denial::Guard(Refusal::SpecialPurpose(_))) => {
            (403, Some("destination_ip_prohibited"))
        }
        Failure::Denied(Denial::Guard(_)) | Failure::Dial(DialError::Ourselves) => {
            (403, Some("proxy_loop_detected"))
        }
        Failure::Denied(_) | Failure::NotTaken | Failure::NotThrough(_) => (403, Some("http_request_denied")),
        Failure::SourceLimit | Failure::Limit(_) => (429, Some("http_request_denied")),
        Failure::Unrecorded => (503, Some("http_request_denied")),
        Failure::Dns(error) => status_of_name(error),
        Failure::Dial(error) => status_of_dial(*error),
        Failure::Response(error) => status_of_response(error),
        Failure::Body(_) => (400, None),
        // RFC 9110 section 15.5.9: no whole request in time.
        Failure::HandshakeTimeout => (408, None),
        _ => (500, Some("proxy_internal_error")),
    }
}

fn status_of_name(error: &DnsError) -> (u16, ProxyError) {
    match error {
        DnsError::Timeout => (504, Some("dns_timeout")),
        DnsError::NotFound | DnsError::NoAddress | DnsError::ServerFailure => (502, Some("dns_error")),
        DnsError::Busy => (503, Some("proxy_internal_error")),
        DnsError::NoServers => (500, Some("proxy_configuration_error")),
    }
}

fn status_of_dial(error: DialError) -> (u16, ProxyError) {
    match error {
        DialError::Refused | DialError::SelfConnect => (502, Some("connection_refused")),
        DialError::TimedOut | DialError::NobodyCame => (504, Some("connection_timeout")),
        DialError::HostUnreachable | DialError::NetworkUnreachable | DialError::OtherFamily { .. } => {
            (502, Some("destination_ip_unroutable"))
        }
        DialError::Forbidden => (403, Some("destination_ip_prohibited")),
        DialError::Ourselves => (403, Some("proxy_loop_detected")),
        DialError::NoLocalPort | DialError::Local(_) => (503, Some("proxy_internal_error")),
        DialError::Replied(rep) => status_of_reply(rep),
        // RFC 9209 section 2.3.3: the next hop is no destination that the client knows.
        DialError::ParentAway => (502, Some("destination_unavailable")),
    }
}

/// What a parent said in the words of SOCKS5.
fn status_of_reply(rep: Rep) -> (u16, ProxyError) {
    match rep {
        Rep::NotAllowed => (403, Some("destination_ip_prohibited")),
        Rep::ConnectionRefused => (502, Some("connection_refused")),
        Rep::TtlExpired => (504, Some("connection_timeout")),
        Rep::HostUnreachable | Rep::NetworkUnreachable => (502, Some("destination_ip_unroutable")),
        _ => (502, Some("destination_unavailable")),
    }
}

fn status_of_response(error: &ResponseError) -> (u16, ProxyError) {
    match error {
        ResponseError::Missing => (502, Some("connection_terminated")),
        ResponseError::Head(HeadError::TooLong) => (502, Some("http_response_header_section_size")),
        ResponseError::Head(_) => (502, Some("http_protocol_error")),
        ResponseError::TimedOut => (504, Some("http_response_timeout")),
    }
}

fn write_line(status: u16, output: &mut Output) {
    for part in ["HTTP/1.1 ", line_of(status), "\r\n"] {
        output.extend_from_slice(part.as_bytes());
    }
}

fn line_of(status: u16) -> &'static str {
    match status {
        200 => "200 OK",
        400 => "400 Bad Request",
        403 => "403 Forbidden",
        407 => "407 Proxy Authentication Required",
        408 => "408 Request Timeout",
        429 => "429 Too Many Requests",
        431 => "431 Request Header Fields Too Large",
        501 => "501 Not Implemented",
        502 => "502 Bad Gateway",
        503 => "503 Service Unavailable",
        504 => "504 Gateway Timeout",
        _ => "500 Internal Server Error",
    }
}

/// What a person reads who sees the answer: what is wrong, and where that helps what to do. No rule, limit or address of the
/// configuration is told.
fn body_of(status: u16, cause: &Failure) -> String {
    let advice = match cause {
        Failure::Protocol(ProtoError::NotSpoken) => {
            "This port speaks SOCKS and no HTTP: use it as socks5h://HOST:PORT."
        }
        Failure::Protocol(ProtoError::Head(error)) => {
            return format!("This proxy does not take the request: {error}.\r\n");
        }
        Failure::Body(error) => return format!("This proxy does not take the request: {error}.\r\n"),
        Failure::Response(ResponseError::Missing) => "The target closed the connection without a response.",
        Failure::Response(ResponseError::Head(error)) => {
            return format!("The target's response is none that this proxy passes on: {error}.\r\n");
        }
        Failure::Response(ResponseError::TimedOut) => "The target did not respond in time.",
        Failure::Dial(DialError::OtherFamily { .. }) => {
            "The addresses that this proxy leaves from lead to no address of the target's family."
        }
        Failure::AuthFailed => "The name or the password is wrong.",
        Failure::Parameters(fault) => {
            return format!("The session parameters beside the name are not taken: {fault}.\r\n");
        }
        Failure::NoMethod if status == 407 => {
            "This proxy asks for a name and a password, as in http://NAME:PASSWORD@HOST:PORT."
        }
        Failure::NoMethod => {
            "This proxy asks for GSSAPI, which it takes in SOCKS5 alone: use it as socks5://HOST:PORT."
        }
        Failure::Limit(exceeded) => match exceeded.reached {
            Reached::Quota => "You have used up what you may use for now.",
            _ => "You have as many connections as you may have for now.",
        },
        Failure::SourceLimit => "There are as many connections from your address as there may be.",
        Failure::Unrecorded | Failure::Internal(_) => "This proxy cannot serve the request now.",
        Failure::Denied(Denial::NoPool(NoPool::OwnMissing)) => {
            "The pool of addresses that you are to leave from is not there."
        }
        Failure::Denied(Denial::NoPool(_)) => "No pool of addresses is the one that the name asks for.",
        Failure::Denied(_) | Failure::NotTaken => "This proxy may not go there for you.",
        Failure::HandshakeTimeout if status == 408 => "The request did not come in time.",
        Failure::Dns(_) | Failure::Dial(_) => return format!("{}.\r\n", what_failed(cause)),
        _ => "This proxy cannot serve the request.",
    };
    format!("{advice}\r\n")
}

/// What kept the proxy from its target.
fn what_failed(cause: &Failure) -> &'static str {
    match cause {
        Failure::Dns(DnsError::NotFound) => "There is no host of this name",
        Failure::Dns(DnsError::NoAddress) => "The host of this name has no address",
        Failure::Dns(DnsError::Timeout) => "No name server answered in time",
        Failure::Dns(_) => "The name could not be resolved",
        Failure::Dial(DialError::Refused | DialError::SelfConnect) => "The target refused the connection",
        Failure::Dial(DialError::TimedOut | DialError::NobodyCame) => "The target did not answer in time",
        Failure::Dial(DialError::HostUnreachable | DialError::NetworkUnreachable) => {
            "There is no way to the target"
        }
        Failure::Dial(DialError::Forbidden | DialError::Ourselves | DialError::Replied(Rep::NotAllowed)) => {
            "This proxy may not go there for you"
        }
        Failure::Dial(DialError::Replied(Rep::ConnectionRefused)) => "The target refused the connection",
        Failure::Dial(DialError::Replied(Rep::TtlExpired)) => "The target did not answer in time",
        Failure::Dial(DialError::Replied(Rep::HostUnreachable | Rep::NetworkUnreachable)) => {
            "There is no way to the target"
        }
        _ => "This proxy cannot reach the target now",
    }
}

fn write_body(text: &str, with: bool, output: &mut Output) {
    // Writing to memory does not fail.
    let _ = write!(output, "Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text.len());
    if with {
        output.extend_from_slice(text.as_bytes());
    }
}
