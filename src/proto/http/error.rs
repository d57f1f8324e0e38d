//! Why a head is not taken.

use std::fmt;

use crate::proto::name_error::NameError;

/// Why a head is not taken, whichever of the two sides sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// More bytes than a head may have.
    TooLong,
    /// More fields than a head may have.
    TooManyFields,
    /// CR without LF, or LF without CR (RFC 9112 section 2.2).
    LineEnd,
    /// NUL, or another byte that stands in no head.
    Control(u8),
    /// The first line is none of a request.
    RequestLine,
    /// The first line is none of a response.
    StatusLine,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    OtherVersion,
    /// A field with whitespace before its colon, in front of its name or in it, or with a line folded (RFC 9112 section 5).
    FieldName,
    /// A field with a value that no field has.
    FieldValue,
    /// Content-Length is no number (RFC 9110 section 8.6).
    Length,
    /// Content-Length more than once.
    LengthTwice,
    /// Transfer-Encoding is not "chunked" alone.
    Coding,
    /// Transfer-Encoding beside Content-Length (RFC 9112 section 6.1).
    CodingAndLength,
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1).
    CodingInHttp10,
    /// A request of HTTP/1.1 without Host (RFC 9112 section 3.2).
    NoHost,
    /// Host more than once.
    HostTwice,
    /// Host names another than the target.
    HostDiffers,
    /// A scheme other than http.
    Scheme,
    /// User information in front of a host (RFC 9110 section 4.2.4).
    Userinfo,
    /// A fragment, which no client sends (RFC 9112 section 3.2).
    Fragment,
    /// CONNECT to a host without a port (RFC 9110 section 9.3.6).
    NoPort,
    /// A port that is none.
    Port,
    /// A host that is none.
    HostName(NameError),
    /// The target has a form that its method does not have.
    TargetForm,
    /// Connection names a field that says where a message ends or for whom it is.
    ConnectionOption,
    /// A body where the method has none.
    Body,
    /// Proxy-Authorization more than once.
    CredentialsTwice,
    /// Max-Forwards is no number, or there more than once (RFC 9110 section 7.6.2).
    MaxForwards,
    /// A response that its request does not have.
    Unasked,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the head is too long",
            Self::TooManyFields => "there are too many fields",
            Self::LineEnd => "a line does not end with CR and LF",
            Self::Control(byte) => return write!(f, "a byte {byte:#04x} in the head"),
            Self::RequestLine => "the first line is no request of HTTP/1.1",
            Self::StatusLine => "the first line is no status of HTTP/1.1",
            Self::OtherVersion => "neither HTTP/1.1 nor HTTP/1.0",
            Self::FieldName => "a field's name is none, or a line is folded",
            Self::FieldValue => "a field's value is none",
            Self::Length => "Content-Length is no number",
            Self::LengthTwice => "Content-Length more than once",
            Self::Coding => "Transfer-Encoding is not \"chunked\" alone",
            Self::CodingAndLength => "Transfer-Encoding beside Content-Length",
            Self::CodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Self::NoHost => "there is no Host",
            Self::HostTwice => "Host more than once",
            Self::HostDiffers => "Host is not that of the target",
            Self::Scheme => "the target's scheme is not http; for others there is CONNECT",
            Self::Userinfo => "user information in the target",
            Self::Fragment => "a fragment in the target",
            Self::NoPort => "CONNECT without a port",
            Self::Port => "the port is none",
            Self::HostName(error) => return write!(f, "bad host name: {error}"),
            Self::TargetForm => "the target is neither HOST:PORT of CONNECT nor http://HOST/PATH",
            Self::ConnectionOption => "Connection names a field that cannot be left out",
            Self::Body => "a body where the method has none",
            Self::CredentialsTwice => "Proxy-Authorization more than once",
            Self::MaxForwards => "Max-Forwards is no number, or there more than once",
            Self::Unasked => "a response that was not asked for",
        })
    }
}

impl std::error::Error for HeadError {}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            httparse::Error::HeaderName => Self::FieldName,
            httparse::Error::HeaderValue => Self::FieldValue,
            httparse::Error::Version => Self::OtherVersion,
            httparse::Error::Status => Self::StatusLine,
            httparse::Error::NewLine => Self::LineEnd,
            httparse::Error::Token => Self::RequestLine,
        }
    }
}
