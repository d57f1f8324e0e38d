//! What a decoder says, and why bytes are no message.

use std::fmt;

use super::http::HeadError;
use super::name_error::NameError;

/// What a decoder says: `Ok(None)` asks for more bytes, `Ok(Some((value, used)))` took `used` bytes from the
/// front of the input, `Err` is final whatever follows.
pub type Decoded<T> = Result<Option<(T, usize)>, ProtoError>;

/// Why bytes from a client are no message. The client is at fault in every case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtoError {
    /// VER of a greeting or request is not 5 (RFC 1928 sections 3 and 4), or VN of a SOCKS4 request not 4.
    Version(u8),
    /// The first byte of the greeting begins an HTTP method: a client that takes us for an HTTP proxy.
    Http(u8),
    /// The head of an HTTP request that is not taken.
    Head(HeadError),
    /// The first byte is that of a TLS handshake, where none is spoken.
    Tls,
    /// The first byte is that of another protocol, where TLS is spoken and nothing else.
    NotTls,
    /// A protocol that is not spoken where the client came in.
    NotSpoken,
    /// The first bytes begin no header of the PROXY protocol.
    NoProxyHeader,
    /// A header of the PROXY protocol that is broken, and where.
    ProxyHeader(&'static str),
    /// VER of a username/password request is not 1 (RFC 1929 section 2).
    UserpassVersion(u8),
    /// ULEN is 0, and RFC 1929 section 2 wants 1 to 255.
    EmptyUser,
    /// A SOCKS4 user id of more than 255 bytes.
    UserTooLong,
    /// PLEN is 0, and RFC 1929 section 2 wants 1 to 255.
    EmptyPassword,
    /// The version octet of a GSSAPI message is not 1 (RFC 1961 section 3.4).
    GssVersion(u8),
    /// A GSSAPI message of another type than is due (RFC 1961 sections 3.4, 4.3 and 5).
    GssType(u8),
    /// The client gave the negotiation of GSSAPI up (RFC 1961 section 3.8).
    GssAbort,
    /// RSV of a request is not 0 (RFC 1928 section 4).
    Reserved(u8),
    /// CMD is none of CONNECT, BIND and UDP ASSOCIATE (RFC 1928 section 4), or CD of a SOCKS4 request none of its own.
    Command(u8),
    /// ATYP is none of 1, 3 and 4 (RFC 1928 section 5).
    AddressType(u8),
    /// CONNECT to port 0, which no target can listen on.
    PortZero,
    /// The target's name is neither a host name nor an address.
    Name(NameError),
}

impl fmt::Display for ProtoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(got) => write!(f, "SOCKS version {got}, which is not due"),
            Self::Http(first) => {
                write!(f, "an HTTP request (first byte {:?}) where SOCKS5 is due", char::from(*first))
            }
            Self::Head(_) => f.write_str("bad HTTP request"),
            Self::Tls => f.write_str("a TLS handshake where none is spoken"),
            Self::NotTls => f.write_str("no TLS, where it is spoken"),
            Self::NotSpoken => f.write_str("a protocol that is not spoken at this listener"),
            Self::NoProxyHeader => f.write_str("no PROXY header where one is due"),
            Self::ProxyHeader(what) => write!(f, "broken PROXY header: {what}"),
            Self::UserpassVersion(got) => write!(f, "username/password version {got} where 1 is due"),
            Self::EmptyUser => f.write_str("empty user name"),
            Self::UserTooLong => f.write_str("user id over 255 bytes"),
            Self::EmptyPassword => f.write_str("empty password"),
            Self::GssVersion(got) => write!(f, "GSSAPI message version {got} where 1 is due"),
            Self::GssType(got) => write!(f, "GSSAPI message of type {got:#04x}, which is not due"),
            Self::GssAbort => f.write_str("GSSAPI negotiation given up by the client"),
            Self::Reserved(got) => write!(f, "reserved byte {got:#04x} where 0 is due"),
            Self::Command(got) => write!(f, "unknown command {got}"),
            Self::AddressType(got) => write!(f, "unknown address type {got}"),
            Self::PortZero => f.write_str("port 0"),
            Self::Name(_) => f.write_str("bad host name"),
        }
    }
}

impl std::error::Error for ProtoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Name(cause) => Some(cause),
            Self::Head(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<NameError> for ProtoError {
    fn from(cause: NameError) -> Self {
        Self::Name(cause)
    }
}
