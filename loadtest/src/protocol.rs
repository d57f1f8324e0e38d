//! How sessions introduce themselves to the server under test.

use serde::{Deserialize, Serialize};

/// A protocol of sessions through a proxy, each to one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    /// RFC 1928.
    #[default]
    Socks5,
    /// SOCKS4, and 4A where the target has a name.
    Socks4,
    /// CONNECT of HTTP/1.1 (RFC 9110 section 9.3.6).
    Http,
    /// The same, with the client's connection to the proxy under TLS.
    HttpsConnect,
    /// RFC 1928 under TLS.
    Socks5Tls,
}

impl Protocol {
    /// Whether the client's connection to the server is under TLS.
    pub(crate) fn under_tls(self) -> bool {
        matches!(self, Self::HttpsConnect | Self::Socks5Tls)
    }
}
