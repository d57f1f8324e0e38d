//! The head of a response (RFC 9112 sections 4 to 6).

use httparse::{Header, ParserConfig, Response, Status};

use super::error::HeadError;
use super::fields::{self, FieldsRead};
use super::forward::ForwardRequest;
use super::head::{FieldRoom, find_end};
use super::{Framing, HttpVersion};

/// 101, 204, 304 and 407.
const SWITCHING_PROTOCOLS: u16 = 101;
const NO_CONTENT: u16 = 204;
const NOT_MODIFIED: u16 = 304;
const PROXY_AUTHENTICATION_REQUIRED: u16 = 407;

/// The head of a response, as far as it is known to be read alike by everybody.
#[derive(Debug)]
pub struct ResponseHead<'b, 'r> {
    /// Its status: 100 to 999.
    pub status: u16,
    /// The target's version.
    pub version: HttpVersion,
    /// How long its body is, as the target sends it.
    pub framing: Framing,
    /// Whether the target keeps its connection.
    pub keep_alive: bool,
    reason: &'b str,
    fields: &'r [Header<'b>],
    read: FieldsRead<'b>,
}

/// How a response goes on to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToClient {
    /// How its body goes on: as it came, or until close where the client reads no chunks.
    pub framing: Framing,
    /// Whether the client's connection is kept behind it.
    pub keep_alive: bool,
}

/// The status, 100 to 999, the whole and the length of a response's head at the front of `bytes`, where all of it is there.
pub(super) fn parse<'b, 'r>(
    bytes: &'b [u8],
    scanned: &mut usize,
    room: &'r mut FieldRoom<'b>,
) -> Result<Option<(u16, Response<'r, 'b>, usize)>, HeadError> {
    let Some(end) = find_end(bytes, scanned)? else { return Ok(None) };
    let mut parsed = Response::new(&mut []);
    let complete = ParserConfig::default().parse_response_with_uninit_headers(
        &mut parsed,
        &bytes[..end],
        &mut room.0,
    )?;
    let (Status::Complete(length), Some(status)) = (complete, parsed.code) else {
        return Err(HeadError::StatusLine);
    };
    match length == end && status >= 100 {
        true => Ok(Some((status, parsed, end))),
        false => Err(HeadError::StatusLine),
    }
}

/// Reads the head of a response to `request` at the front of all bytes that have arrived, of which `scanned` were looked at
/// before. What it gives is how many bytes the head has, too.
///
/// # Errors
/// [`HeadError`], final whatever follows: the client gets a 502, and nothing of it.
pub fn read_response<'b, 'r>(
    bytes: &'b [u8],
    scanned: &mut usize,
    room: &'r mut FieldRoom<'b>,
    request: &ForwardRequest,
) -> Result<Option<(ResponseHead<'b, 'r>, usize)>, HeadError> {
    // An empty line in front is taken in requests alone.
    if bytes.first().is_some_and(|first| *first != b'H') {
        return Err(HeadError::StatusLine);
    }
    let Some((status, parsed, end)) = parse(bytes, scanned, room)? else { return Ok(None) };
    let version = HttpVersion::of(parsed.version);
    let fields: &'r [Header<'b>] = parsed.headers;
    let read = fields::of_response(fields, version)?;
    // A target that asks for a proxy's credentials would be told ours; one that goes over to what nobody asked for would be
    // read in two ways.
    let unasked = status == SWITCHING_PROTOCOLS && (!request.upgrades || read.protocols().is_none());
    if unasked || status == PROXY_AUTHENTICATION_REQUIRED {
        return Err(HeadError::Unasked);
    }
    let framing = framing_of(status, &read, request.is_head);
    let keep_alive = framing != Framing::UntilClose && read.keeps(version);
    let reason = parsed.reason.unwrap_or_default();
    Ok(Some((ResponseHead { status, version, framing, keep_alive, reason, fields, read }, end)))
}

/// RFC 9112 section 6.3.
fn framing_of(status: u16, read: &FieldsRead<'_>, to_head: bool) -> Framing {
    match status {
        100..=199 | NO_CONTENT | NOT_MODIFIED => Framing::None,
        _ if to_head => Framing::None,
        _ => read.framing().unwrap_or(Framing::UntilClose),
    }
}

impl ResponseHead<'_, '_> {
    /// Whether another response follows: 1xx but 101 (RFC 9110 section 15.2).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && !self.switches()
    }

    /// Whether what follows is no HTTP.
    pub fn switches(&self) -> bool {
        self.status == SWITCHING_PROTOCOLS
    }

    /// How a body goes on to the client of `request`.
    pub fn framing_to(&self, request: &ForwardRequest) -> Framing {
        match self.framing {
            Framing::Chunked if request.version == HttpVersion::Http10 => Framing::UntilClose,
            framing => framing,
        }
    }

    /// Writes the head as it goes on to the client of `request`.
    pub fn write(&self, out: &mut Vec<u8>, request: &ForwardRequest, to: ToClient) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.to_string().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        for field in fields::passed(self.fields, &self.read) {
            fields::write(out, field.name, field.value);
        }
        // RFC 9110 section 8.6: in a response to HEAD and in 304 it says how long the body would be.
        match self.read.length {
            Some(length)
                if to.framing == Framing::None && (request.is_head || self.status == NOT_MODIFIED) =>
            {
                fields::write_framing(out, Framing::Length(length));
            }
            _ => fields::write_framing(out, to.framing),
        }
        if self.switches() {
            fields::write(out, "Connection", b"Upgrade");
            fields::write(out, "Upgrade", self.read.protocols().unwrap_or_default());
        } else if !self.is_interim() {
            // RFC 9112 section 9.3: kept unless one says close; with HTTP/1.0 closed unless both say keep-alive.
            match (to.keep_alive, request.version) {
                (false, _) => fields::write(out, "Connection", b"close"),
                (true, HttpVersion::Http10) => fields::write(out, "Connection", b"keep-alive"),
                (true, HttpVersion::Http11) => {}
            }
        }
        if request.via {
            fields::write_via(out, self.version);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Whether a field of this name is there.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name.eq_ignore_ascii_case(name))
    }
}
