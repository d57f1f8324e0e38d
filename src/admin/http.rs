//! HTTP/1.1 requests from bytes (RFC 9112): heads by httparse, bodies by their Content-Length and by nothing else.
//!
//! What says the length of a body in two ways, or in a way that is not needed here, is refused and its connection closed:
//! where one request ends and the next begins is never a guess.

use std::fmt;
use std::str::FromStr;

use httparse::{Header, Status as Parsed};
use zeroize::Zeroizing;

use super::status::HttpStatus;
use super::token::AdminToken;
use crate::limits;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// Tell.
    Get,
    /// Tell how long what GET gives is, and of what type.
    Head,
    /// Do.
    Post,
    /// Put in the place of what is there.
    Put,
    /// Remove.
    Delete,
    /// Known, and asked for in vain.
    Other(&'static str),
}

impl HttpMethod {
    /// The method of this name, if it is one of RFC 9110 or RFC 5789 but CONNECT.
    fn of(name: &str) -> Option<HttpMethod> {
        Some(match name {
            "GET" => HttpMethod::Get,
            "HEAD" => HttpMethod::Head,
            "POST" => HttpMethod::Post,
            "PUT" => HttpMethod::Put,
            "DELETE" => HttpMethod::Delete,
            "OPTIONS" => HttpMethod::Other("OPTIONS"),
            "PATCH" => HttpMethod::Other("PATCH"),
            "TRACE" => HttpMethod::Other("TRACE"),
            _ => return None,
        })
    }

    /// As it is sent.
    pub fn name(self) -> &'static str {
        match self {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Delete => "DELETE",
            HttpMethod::Other(name) => name,
        }
    }

    /// Whether it changes nothing.
    pub fn is_safe(self) -> bool {
        matches!(self, HttpMethod::Get | HttpMethod::Head | HttpMethod::Other(_))
    }
}

/// The line and the fields of a request, as far as anything here goes by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpHead {
    /// What is asked for.
    pub method: HttpMethod,
    /// Of what: as it was sent, with a slash in front and without its query.
    pub path: String,
    /// What stands behind the path's question mark, as it was sent.
    pub query: Option<String>,
    /// The authority of the target, or of Host.
    pub(super) host: Option<String>,
    pub(super) origin: Option<String>,
    pub(super) fetch_site: Option<String>,
    /// Whether a person follows a link to a page of its own.
    pub(super) navigates: bool,
    pub(super) bearer: Option<AdminToken>,
    /// The type of the body without its parameters, in lower case.
    pub(super) content_type: Option<String>,
    pub(super) content_encoded: bool,
    pub(super) content_length: usize,
    /// Whether the client waits to be told to send the body.
    pub(super) expects_continue: bool,
    pub(super) keep_alive: bool,
}

/// A whole request that may be answered.
#[derive(Clone)]
pub struct HttpRequest {
    /// Its line and fields.
    pub head: HttpHead,
    /// Its body.
    pub body: Zeroizing<Vec<u8>>,
}

/// Without its body, which may be a password.
impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpRequest").field(&self.head).finish()
    }
}

/// Why a request is not one that is answered; the connection ends with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) status: HttpStatus,
    pub(super) why: &'static str,
}

/// What there is at the begin of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadRead {
    /// Not yet all of a head.
    More,
    /// A head, in so many bytes.
    Head(Box<HttpHead>, usize),
    /// None, whatever follows.
    Malformed(Malformed),
}

fn malformed<T>(status: HttpStatus, why: &'static str) -> Result<T, Malformed> {
    Err(Malformed { status, why })
}

/// Reads a head from all bytes that have arrived.
pub(super) fn read_head(bytes: &[u8]) -> HeadRead {
    let mut fields = [httparse::EMPTY_HEADER; limits::ADMIN_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let result = match request.parse(bytes) {
        Ok(Parsed::Complete(length)) => head_of(&request).map(|head| (head, length)),
        Ok(Parsed::Partial) if bytes.len() < limits::ADMIN_HEAD_BYTES_MAX => return HeadRead::More,
        Ok(Parsed::Partial) if request.path.is_none() => {
            malformed(HttpStatus::URI_TOO_LONG, "the target is too long")
        }
        Ok(Parsed::Partial) => malformed(HttpStatus::FIELDS_TOO_LARGE, "the fields are too long"),
        Err(error) => Err(Malformed::of(error, bytes)),
    };
    match result {
        Ok((_, length)) if length > limits::ADMIN_HEAD_BYTES_MAX => HeadRead::Malformed(Malformed {
            status: HttpStatus::FIELDS_TOO_LARGE,
            why: "the fields are too long",
        }),
        Ok((head, length)) => HeadRead::Head(Box::new(head), length),
        Err(malformed) => HeadRead::Malformed(malformed),
    }
}

impl Malformed {
    fn of(error: httparse::Error, bytes: &[u8]) -> Malformed {
        let (status, why) = match error {
            httparse::Error::TooManyHeaders => (HttpStatus::FIELDS_TOO_LARGE, "there are too many fields"),
            httparse::Error::Version if names_a_version(bytes) => {
                (HttpStatus::VERSION_NOT_SUPPORTED, "HTTP/1.1 and HTTP/1.0 are spoken here")
            }
            _ => (HttpStatus::BAD_REQUEST, "this is no request of HTTP/1.1"),
        };
        Malformed { status, why }
    }
}

/// Whether the first line ends with a version of HTTP.
fn names_a_version(bytes: &[u8]) -> bool {
    let line =
        bytes.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let version = line.rsplit(|byte| *byte == b' ').next().and_then(|word| word.strip_prefix(b"HTTP/"));
    version.is_some_and(|version| matches!(version, [a, b'.', b] if a.is_ascii_digit() && b.is_ascii_digit()))
}

fn head_of(request: &httparse::Request<'_, '_>) -> Result<HttpHead, Malformed> {
    let fields = HeadFields(request.headers);
    let modern = request.version == Some(1);
    let length = content_length(&fields, modern)?;
    let Some(method) = request.method.and_then(HttpMethod::of) else {
        return malformed(HttpStatus::NOT_IMPLEMENTED, "there is no such method here");
    };
    let host = fields.one("host")?;
    let (authority, target) = split_target(request.path.unwrap_or_default())?;
    // The target's own authority is what counts (RFC 9112 section 3.2.2); Host has to be there all the same.
    if host.is_none() && modern {
        return malformed(HttpStatus::BAD_REQUEST, "there is no Host");
    }
    if length > 0 && matches!(method, HttpMethod::Get | HttpMethod::Head | HttpMethod::Other(_)) {
        return malformed(HttpStatus::BAD_REQUEST, "this method takes no body");
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let text = |name| fields.one(name).map(|value| value.map(str::to_owned));
    let mode = (fields.one("sec-fetch-mode")?, fields.one("sec-fetch-dest")?);
    Ok(HttpHead {
        method,
        path: path.to_owned(),
        query,
        host: authority.or(host).map(str::to_owned),
        origin: text("origin")?,
        fetch_site: text("sec-fetch-site")?,
        navigates: mode == (Some("navigate"), Some("document")),
        bearer: bearer(fields.one("authorization")?),
        content_type: fields.one("content-type")?.map(essence),
        content_encoded: fields.one("content-encoding")?.is_some(),
        content_length: length,
        expects_continue: expects_continue(&fields, modern)?,
        keep_alive: fields.keep_alive(modern)?,
    })
}

/// How long the body is: only Content-Length may say so, once (RFC 9112 section 6.3).
fn content_length(fields: &HeadFields<'_, '_>, modern: bool) -> Result<usize, Malformed> {
    let length = fields.one("content-length")?;
    if fields.has("transfer-encoding") {
        return match length.is_none() && modern {
            true => malformed(HttpStatus::LENGTH_REQUIRED, "a body needs a Content-Length here"),
            false => {
                malformed(HttpStatus::BAD_REQUEST, "Transfer-Encoding does not go with what else is said")
            }
        };
    }
    let Some(length) = length else { return Ok(0) };
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return malformed(HttpStatus::BAD_REQUEST, "Content-Length is no number");
    }
    // What has more digits than a number may have is longer than any body here.
    match length.parse().unwrap_or(usize::MAX) {
        length if length > limits::ADMIN_BODY_BYTES_MAX => {
            malformed(HttpStatus::CONTENT_TOO_LARGE, "the body is too long")
        }
        length => Ok(length),
    }
}

fn expects_continue(fields: &HeadFields<'_, '_>, modern: bool) -> Result<bool, Malformed> {
    match fields.one("expect")? {
        None => Ok(false),
        Some(word) if word.eq_ignore_ascii_case("100-continue") => Ok(modern),
        Some(_) => malformed(HttpStatus::EXPECTATION_FAILED, "nothing but 100-continue can be expected"),
    }
}

/// The authority and the path of a target in origin-form or absolute-form (RFC 9112 section 3.2).
fn split_target(target: &str) -> Result<(Option<&str>, &str), Malformed> {
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let rest = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).map(|_| &target[7..]);
    match rest {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let path = &rest[end..];
            match path.starts_with('/') {
                true => Ok((Some(&rest[..end]), path)),
                false if path.is_empty() => Ok((Some(&rest[..end]), "/")),
                false => malformed(HttpStatus::BAD_REQUEST, "the target has no path"),
            }
        }
        None => malformed(HttpStatus::BAD_REQUEST, "the target is no path"),
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750 section 2.1).
fn bearer(authorization: Option<&str>) -> Option<AdminToken> {
    let (scheme, token) = authorization?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| AdminToken::of(token.trim()))
}

/// A media type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The fields of a head.
struct HeadFields<'h, 'b>(&'h [Header<'b>]);

impl<'b> HeadFields<'_, 'b> {
    fn named(&self, name: &'static str) -> impl Iterator<Item = &Header<'b>> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name))
    }

    fn has(&self, name: &'static str) -> bool {
        self.named(name).next().is_some()
    }

    /// The value of a field that may be there once.
    fn one(&self, name: &'static str) -> Result<Option<&'b str>, Malformed> {
        let mut found = self.named(name);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(field), None) => match std::str::from_utf8(field.value) {
                Ok(value) => Ok(Some(value.trim_ascii())),
                Err(_) => malformed(HttpStatus::BAD_REQUEST, "a field is not UTF-8"),
            },
            (Some(_), Some(_)) => {
                malformed(HttpStatus::BAD_REQUEST, "a field that may be there once is there twice")
            }
        }
    }

    /// Whether the connection is to be kept (RFC 9112 section 9.3).
    fn keep_alive(&self, modern: bool) -> Result<bool, Malformed> {
        let mut keep = modern;
        for field in self.named("connection") {
            let Ok(value) = std::str::from_utf8(field.value) else {
                return malformed(HttpStatus::BAD_REQUEST, "a field is not UTF-8");
            };
            for word in value.split(',').map(str::trim) {
                if word.eq_ignore_ascii_case("close") {
                    return Ok(false);
                }
                keep |= word.eq_ignore_ascii_case("keep-alive");
            }
        }
        Ok(keep)
    }
}

/// A host and port as Host and Origin have them, the host in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl FromStr for Authority {
    type Err = ();

    fn from_str(typed: &str) -> Result<Authority, ()> {
        let end = if typed.starts_with('[') {
            typed.find(']').ok_or(())? + 1
        } else {
            typed.find(':').unwrap_or(typed.len())
        };
        let (host, rest) = typed.split_at(end);
        let of_a_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        let port = match rest.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| ())?)
            }
            None if rest.is_empty() => None,
            _ => return Err(()),
        };
        match !host.is_empty() && host.chars().all(of_a_host) {
            true => Ok(Authority { host: host.to_ascii_lowercase(), port }),
            false => Err(()),
        }
    }
}

#[cfg(test)]
mod tests;
