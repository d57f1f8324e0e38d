//! The head of a request (RFC 9112 sections 3, 5 and 6).

use std::io::Write;

use httparse::{Header, ParserConfig, Request, Status};

use super::error::HeadError;
use super::fields::{self, FieldsRead, KnownField};
use super::forward::ForwardRequest;
use super::head::{FieldRoom, find_end};
use super::{Framing, HttpVersion, authority};
use crate::proto::address::{Host, Target};

/// The port of an http URI without one.
const HTTP_PORT: u16 = 80;
/// That of https.
const HTTPS_PORT: u16 = 443;

/// What a request is for (RFC 9112 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestTarget<'b> {
    /// Authority form: the host and port to which CONNECT opens a tunnel.
    Tunnel(Target),
    /// Absolute form: of whom, and what: empty, or with a slash or question mark in front.
    Absolute(Target, &'b str),
    /// Origin form: something of ours.
    Origin(&'b str),
    /// Asterisk form: OPTIONS of ours.
    Ours,
}

/// The head of a request, as far as it is known to be read alike by everybody.
#[derive(Debug)]
pub struct RequestHead<'b, 'r> {
    /// As it was sent; methods are case-sensitive.
    pub method: &'b str,
    /// The client's version.
    pub version: HttpVersion,
    /// What it is for.
    pub target: RequestTarget<'b>,
    /// How long its body is.
    pub framing: Framing,
    /// Whether the client keeps its connection.
    pub keep_alive: bool,
    /// How many may pass it on, where its method has that counted (RFC 9110 section 7.6.2): with 0 it is for this proxy.
    pub hops_left: Option<u32>,
    fields: &'r [Header<'b>],
    read: FieldsRead<'b>,
}

/// Reads the head at the front of all bytes that have arrived, of which `scanned` were looked at before. What it gives is
/// how many bytes the head has, too.
///
/// # Errors
/// [`HeadError`], final whatever follows.
pub fn read_request<'b, 'r>(
    bytes: &'b [u8],
    scanned: &mut usize,
    room: &'r mut FieldRoom<'b>,
) -> Result<Option<(RequestHead<'b, 'r>, usize)>, HeadError> {
    let Some(end) = find_end(bytes, scanned)? else { return Ok(None) };
    let mut parsed = Request::new(&mut []);
    let status =
        ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, &bytes[..end], &mut room.0)?;
    // An empty line may stand in front (RFC 9112 section 2.2), but nothing else ends before the head does.
    if status != Status::Complete(end) {
        return Err(HeadError::RequestLine);
    }
    let Request { method: Some(method), path: Some(path), version, headers } = parsed else {
        return Err(HeadError::RequestLine);
    };
    let version = HttpVersion::of(version);
    let read = fields::of_request(headers, version)?;
    let target = target_of(method, path)?;
    check_host(&target, &read, version)?;
    let framing = read.framing().unwrap_or(Framing::None);
    // RFC 9110 sections 9.3.6 and 9.3.8: what follows CONNECT is the tunnel's, and TRACE has no body.
    if matches!(method, "CONNECT" | "TRACE") && !matches!(framing, Framing::None | Framing::Length(0)) {
        return Err(HeadError::Body);
    }
    let hops_left = match method {
        "OPTIONS" | "TRACE" => read.max_forwards.map(fields::hops_of).transpose()?,
        _ => None,
    };
    let keep_alive = read.keeps(version);
    let head = RequestHead { method, version, target, framing, keep_alive, hops_left, fields: headers, read };
    Ok(Some((head, end)))
}

fn target_of<'b>(method: &str, typed: &'b str) -> Result<RequestTarget<'b>, HeadError> {
    if !typed.is_ascii() {
        return Err(HeadError::RequestLine);
    }
    if typed.contains('#') {
        return Err(HeadError::Fragment);
    }
    if method == "CONNECT" {
        return match typed.contains('/') {
            true => Err(HeadError::TargetForm),
            false => authority::parse(typed.as_bytes(), None).map(RequestTarget::Tunnel),
        };
    }
    if typed.starts_with('/') {
        return Ok(RequestTarget::Origin(typed));
    }
    if typed == "*" && method == "OPTIONS" {
        return Ok(RequestTarget::Ours);
    }
    let Some((scheme, rest)) = typed.split_once("://") else { return Err(HeadError::TargetForm) };
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(HeadError::Scheme);
    }
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Ok(RequestTarget::Absolute(authority::parse(host.as_bytes(), Some(HTTP_PORT))?, path))
}

/// RFC 9112 section 3.2: exactly one Host in HTTP/1.1, and it is that of the target. Section 3.2.2 has a proxy ignore one that
/// differs; who stands behind us may go by it, so it is refused.
fn check_host(
    target: &RequestTarget<'_>,
    read: &FieldsRead<'_>,
    version: HttpVersion,
) -> Result<(), HeadError> {
    let Some(given) = read.host else {
        return if version == HttpVersion::Http10 { Ok(()) } else { Err(HeadError::NoHost) };
    };
    let same = match target {
        RequestTarget::Absolute(target, _) => authority::parse(given, Some(HTTP_PORT))? == *target,
        // Some clients leave the port out here.
        RequestTarget::Tunnel(target) => authority::parse(given, Some(target.port))? == *target,
        RequestTarget::Origin(_) | RequestTarget::Ours => {
            given.is_empty() || authority::parse(given, Some(HTTP_PORT)).is_ok()
        }
    };
    if same { Ok(()) } else { Err(HeadError::HostDiffers) }
}

impl RequestHead<'_, '_> {
    /// The host and port that Host says, if it says any; the port that is meant where there is none is that of https behind
    /// TLS (RFC 9110 section 4.2.2).
    pub fn authority(&self, protected: bool) -> Option<Target> {
        let usual = if protected { HTTPS_PORT } else { HTTP_PORT };
        self.read.host.and_then(|host| authority::parse(host, Some(usual)).ok())
    }

    /// The value of Proxy-Authorization.
    pub fn authorization(&self) -> Option<&[u8]> {
        self.read.authorization
    }

    /// The request as it goes to its target: in origin form, with a Host that is the target's, without what was said to this
    /// proxy alone; absent where it is not in absolute form. The connection to the target is asked to be kept.
    pub fn forward(&self, via: bool) -> Option<ForwardRequest> {
        let RequestTarget::Absolute(target, path) = &self.target else { return None };
        let bodiless = matches!(self.framing, Framing::None | Framing::Length(0));
        let protocols = self
            .read
            .protocols()
            .filter(|_| bodiless && self.keep_alive && self.version == HttpVersion::Http11);
        let mut head = Vec::with_capacity(256);
        self.write_line(&mut head, path);
        write_host(&mut head, target);
        for field in fields::passed(self.fields, &self.read) {
            match KnownField::of(field.name) {
                // RFC 9110 section 10.1.1: in HTTP/1.0 nothing is expected.
                KnownField::Expect if self.version == HttpVersion::Http10 => {}
                // Written anew below.
                KnownField::MaxForwards if self.hops_left.is_some() => {}
                _ => fields::write(&mut head, field.name, field.value),
            }
        }
        if let Some(hops) = self.hops_left {
            fields::write(&mut head, "Max-Forwards", hops.saturating_sub(1).to_string().as_bytes());
        }
        fields::write_framing(&mut head, self.framing);
        if let Some(protocols) = protocols {
            fields::write(&mut head, "Connection", b"Upgrade");
            fields::write(&mut head, "Upgrade", protocols);
        }
        if via {
            fields::write_via(&mut head, self.version);
        }
        head.extend_from_slice(b"\r\n");
        Some(ForwardRequest {
            head,
            version: self.version,
            framing: self.framing,
            keep_alive: self.keep_alive,
            is_head: self.method == "HEAD",
            // RFC 9110 section 9.2.2.
            idempotent: matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"),
            upgrades: protocols.is_some(),
            expects_continue: self.read.expects && self.version == HttpVersion::Http11,
            via,
        })
    }

    /// RFC 9112 section 3.2.1 and, for OPTIONS of the host as a whole, 3.2.4.
    fn write_line(&self, head: &mut Vec<u8>, path: &str) {
        let slash = match path.chars().next() {
            None if self.method == "OPTIONS" => "*",
            None | Some('?') => "/",
            Some(_) => "",
        };
        for part in [self.method, " ", slash, path, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
    }
}

fn write_host(head: &mut Vec<u8>, target: &Target) {
    // Writing to memory does not fail.
    let _ = match (&target.host, target.port) {
        (Host::Ip(std::net::IpAddr::V6(address)), HTTP_PORT) => write!(head, "Host: [{address}]\r\n"),
        (host, HTTP_PORT) => write!(head, "Host: {host}\r\n"),
        _ => write!(head, "Host: {target}\r\n"),
    };
}
