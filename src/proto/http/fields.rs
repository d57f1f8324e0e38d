//! What the fields of a head say of its message and of the connection, and which of them go on.

use httparse::Header;

use super::error::HeadError;
use super::{Framing, HttpVersion};

/// Fields that a proxy goes by or keeps to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownField {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    ProxyConnection,
    Upgrade,
    Expect,
    MaxForwards,
    ProxyAuthorization,
    /// Of this connection alone, or of a part of the message that is left out.
    Hop,
    /// Any other field, which goes on.
    Other,
}

impl KnownField {
    /// The field of this name.
    pub(super) fn of(name: &str) -> KnownField {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is("host") => KnownField::Host,
            6 if is("expect") => KnownField::Expect,
            7 if is("upgrade") => KnownField::Upgrade,
            10 if is("connection") => KnownField::Connection,
            12 if is("max-forwards") => KnownField::MaxForwards,
            14 if is("content-length") => KnownField::ContentLength,
            17 if is("transfer-encoding") => KnownField::TransferEncoding,
            19 if is("proxy-authorization") => KnownField::ProxyAuthorization,
            16 if is("proxy-connection") => KnownField::ProxyConnection,
            // RFC 9110 section 7.6.1; trailers are left out, and so is what announces them.
            2 if is("te") => KnownField::Hop,
            7 if is("trailer") => KnownField::Hop,
            10 if is("keep-alive") => KnownField::Hop,
            14 if is("http2-settings") => KnownField::Hop,
            // "Proxy" becomes HTTP_PROXY in the environment of programs that a web server starts.
            5 if is("proxy") => KnownField::Hop,
            // RFC 9209: every proxy on the way adds its own.
            12 if is("proxy-status") => KnownField::Other,
            6.. if name.as_bytes()[..6].eq_ignore_ascii_case(b"proxy-") => KnownField::Hop,
            _ => KnownField::Other,
        }
    }
}

/// What the fields of a head say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FieldsRead<'b> {
    pub(super) host: Option<&'b [u8]>,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    /// The connection is to be closed, or kept.
    pub(super) close: bool,
    pub(super) keep: bool,
    /// Connection has "upgrade".
    pub(super) upgrades: bool,
    pub(super) upgrade: Option<&'b [u8]>,
    pub(super) expects: bool,
    /// Connection names fields that must not go on.
    pub(super) nominates: bool,
    pub(super) authorization: Option<&'b [u8]>,
    pub(super) max_forwards: Option<&'b [u8]>,
}

/// Reads the fields of a request.
///
/// # Errors
/// Whatever says in two ways where the message ends or for whom it is.
pub(super) fn of_request<'b>(
    fields: &[Header<'b>],
    version: HttpVersion,
) -> Result<FieldsRead<'b>, HeadError> {
    let mut read = FieldsRead::default();
    for field in fields {
        let known = KnownField::of(field.name);
        match known {
            KnownField::Host if read.host.replace(field.value).is_some() => return Err(HeadError::HostTwice),
            // RFC 9112 section 6.3, rule 5 lets two that are equal be taken as one or refused. No client sends two.
            KnownField::ContentLength if read.length.replace(length_of(field.value)?).is_some() => {
                return Err(HeadError::LengthTwice);
            }
            KnownField::MaxForwards if read.max_forwards.replace(field.value).is_some() => {
                return Err(HeadError::MaxForwards);
            }
            KnownField::ProxyAuthorization if read.authorization.replace(field.value).is_some() => {
                return Err(HeadError::CredentialsTwice);
            }
            _ => read.note(known, field.value)?,
        }
    }
    // Upgrades are the connection's: without its word the field means nothing (RFC 9110 section 7.8).
    read.check_coding(version)?;
    if read.nominates {
        options(fields).try_for_each(|option| match KnownField::of(option) {
            KnownField::Host | KnownField::ContentLength | KnownField::TransferEncoding => {
                Err(HeadError::ConnectionOption)
            }
            _ => Ok(()),
        })?;
    }
    Ok(read)
}

/// Reads the fields of a response.
///
/// # Errors
/// Whatever says in two ways where the message ends.
pub(super) fn of_response<'b>(
    fields: &[Header<'b>],
    version: HttpVersion,
) -> Result<FieldsRead<'b>, HeadError> {
    let mut read = FieldsRead::default();
    for field in fields {
        let known = KnownField::of(field.name);
        if known == KnownField::ContentLength {
            // Servers do send it twice: where both say the same, one goes on (RFC 9112 section 6.3, rule 5).
            let length = length_of(field.value)?;
            if read.length.replace(length).is_some_and(|before| before != length) {
                return Err(HeadError::LengthTwice);
            }
        } else {
            read.note(known, field.value)?;
        }
    }
    read.check_coding(version)?;
    Ok(read)
}

impl<'b> FieldsRead<'b> {
    /// Takes note of a field that may be there more than once, or that requests and responses share.
    fn note(&mut self, known: KnownField, value: &'b [u8]) -> Result<(), HeadError> {
        match known {
            // RFC 9112 section 6.1. Another coding is none that could be undone here, and "chunked" twice or in two lines is
            // read in two ways.
            KnownField::TransferEncoding if self.chunked || !value.eq_ignore_ascii_case(b"chunked") => {
                return Err(HeadError::Coding);
            }
            KnownField::TransferEncoding => self.chunked = true,
            KnownField::Connection => words(value).for_each(|word| self.note_option(word)),
            // What clients of before 1999 and curl say to proxies; only about keeping the connection.
            KnownField::ProxyConnection => {
                for word in words(value) {
                    self.close |= word.eq_ignore_ascii_case("close");
                    self.keep |= word.eq_ignore_ascii_case("keep-alive");
                }
            }
            KnownField::Upgrade => self.upgrade = Some(value),
            KnownField::Expect => self.expects |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        Ok(())
    }

    fn note_option(&mut self, word: &str) {
        match word {
            word if word.eq_ignore_ascii_case("close") => self.close = true,
            word if word.eq_ignore_ascii_case("keep-alive") => self.keep = true,
            word if word.eq_ignore_ascii_case("upgrade") => self.upgrades = true,
            _ => self.nominates = true,
        }
    }

    fn check_coding(&self, version: HttpVersion) -> Result<(), HeadError> {
        if self.chunked && self.length.is_some() {
            return Err(HeadError::CodingAndLength);
        }
        if self.chunked && version == HttpVersion::Http10 {
            return Err(HeadError::CodingInHttp10);
        }
        Ok(())
    }

    /// Where a body ends by the fields; absent where they do not say it.
    pub(super) fn framing(&self) -> Option<Framing> {
        match self.chunked {
            true => Some(Framing::Chunked),
            false => self.length.map(Framing::Length),
        }
    }

    /// Whether the connection is to be kept (RFC 9112 section 9.3).
    pub(super) fn keeps(&self, version: HttpVersion) -> bool {
        !self.close && (self.keep || version == HttpVersion::Http11)
    }

    /// The protocols to go over to, where Connection says so and none of them is HTTP/2: what was sent behind such an upgrade
    /// would be a connection of requests that nobody judges.
    pub(super) fn protocols(&self) -> Option<&'b [u8]> {
        let asked = self.upgrade.filter(|_| self.upgrades)?;
        let is_http = |word: &str| {
            word.len() >= 2 && word.as_bytes()[..2].eq_ignore_ascii_case(b"h2")
                || word.len() >= 4 && word.as_bytes()[..4].eq_ignore_ascii_case(b"http")
        };
        (words(asked).next().is_some() && !words(asked).any(is_http)).then_some(asked)
    }
}

/// Content-Length: digits alone, no sign and no list (RFC 9110 section 8.6).
fn length_of(value: &[u8]) -> Result<u64, HeadError> {
    let digits = std::str::from_utf8(value).map_err(|_| HeadError::Length)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HeadError::Length);
    }
    // A number that others would read as negative is none.
    digits.parse().ok().filter(|length| *length <= i64::MAX as u64).ok_or(HeadError::Length)
}

/// Max-Forwards: how many may pass a message on, at most as many as can be counted here (RFC 9110 section 7.6.2).
pub(super) fn hops_of(value: &[u8]) -> Result<u32, HeadError> {
    match std::str::from_utf8(value) {
        Ok(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(digits.parse().unwrap_or(u32::MAX))
        }
        _ => Err(HeadError::MaxForwards),
    }
}

/// The words of a list. One that is not UTF-8 is no token, and means nothing to anybody.
fn words(value: &[u8]) -> impl Iterator<Item = &str> {
    let words = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|word| !word.is_empty());
    words.filter_map(|word| std::str::from_utf8(word).ok())
}

/// The options of the connection.
fn options<'f>(fields: &'f [Header<'_>]) -> impl Iterator<Item = &'f str> {
    let lists = fields.iter().filter(|field| KnownField::of(field.name) == KnownField::Connection);
    lists.flat_map(|field| words(field.value))
}

/// The fields that go on whoever sent them: none of this connection (RFC 9110 section 7.6.1) and none that is written anew.
pub(super) fn passed<'f, 'b>(
    fields: &'f [Header<'b>],
    read: &'f FieldsRead<'b>,
) -> impl Iterator<Item = &'f Header<'b>> {
    fields.iter().filter(move |field| {
        let known = KnownField::of(field.name);
        let goes_on = matches!(known, KnownField::Other | KnownField::Expect | KnownField::MaxForwards);
        goes_on && !(read.nominates && options(fields).any(|option| option.eq_ignore_ascii_case(field.name)))
    })
}

/// Writes a field.
pub(super) fn write(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes how long the body is.
pub(super) fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => write(out, "Content-Length", length.to_string().as_bytes()),
        Framing::Chunked => write(out, "Transfer-Encoding", b"chunked"),
        Framing::None | Framing::UntilClose => {}
    }
}

/// Writes who the message came by (RFC 9110 section 7.6.3).
pub(super) fn write_via(out: &mut Vec<u8>, version: HttpVersion) {
    out.extend_from_slice(b"Via: ");
    out.extend_from_slice(version.number().as_bytes());
    out.push(b' ');
    out.extend_from_slice(super::PSEUDONYM.as_bytes());
    out.extend_from_slice(b"\r\n");
}
