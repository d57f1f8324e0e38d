//! What a handshake with a proxy is told and tells.

use zeroize::Zeroizing;

use super::error::TalkError;
use crate::proto::address::Target;

/// What is spoken to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientProtocol {
    /// RFC 1928, with RFC 1929 where there is a login.
    Socks5,
    /// The SOCKS4 memo: IPv4 addresses alone.
    Socks4,
    /// SOCKS4 with names.
    Socks4a,
    /// CONNECT of HTTP/1.1, with the Basic scheme where there is a login.
    Http,
}

impl ClientProtocol {
    /// Whether a proxy can be given a name.
    pub fn takes_names(self) -> bool {
        self != ClientProtocol::Socks4
    }

    /// Whether a proxy can be given an IPv6 address.
    pub fn takes_ipv6(self) -> bool {
        matches!(self, ClientProtocol::Socks5 | ClientProtocol::Http)
    }

    /// Whether a proxy can be asked for an association.
    pub fn associates(self) -> bool {
        self == ClientProtocol::Socks5
    }
}

/// Bytes for a proxy. Credentials may be among them: they are wiped when it is dropped.
pub type TalkOutput = Zeroizing<Vec<u8>>;

/// What came of the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Talked {
    /// More has to arrive.
    Pending,
    /// The proxy waits for the request, which [`ClientTalk::ask`](super::ClientTalk::ask) sends.
    Ready,
    /// The proxy has done what it was asked for.
    Done(ProxyBound),
    /// It has not, and the connection is of no use any more.
    Failed(TalkError),
}

/// What a proxy tells of its side: BND of SOCKS, which CONNECT of HTTP has no place for. `None` also where it tells what is
/// neither an address nor a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyBound(pub Option<Target>);

/// How many bytes were used, and what came of them.
pub type Fed = (usize, Talked);
