//! Where an admin endpoint listens, as it is typed.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where `outflow run` has its endpoint when it is a service.
const USUAL_SOCKET: &str = "/run/outflow/admin.sock";
/// Where it has one otherwise.
const USUAL_PORT: u16 = 9180;

/// The address of an admin endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum EndpointAddress {
    /// A unix socket.
    Unix(PathBuf),
    /// TCP.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl EndpointAddress {
    /// Reads `unix:PATH`, an absolute path, `HOST:PORT`, `[IPV6]:PORT`, or any of the last two as `http://HOST:PORT/`.
    ///
    /// # Errors
    /// It is none of these: in words for who typed it.
    pub(in crate::cli) fn parse(typed: &str) -> Result<EndpointAddress, String> {
        if typed.starts_with('/') {
            return Ok(EndpointAddress::Unix(typed.into()));
        }
        if let Some(path) = typed.strip_prefix("unix:") {
            // As curl and others write it, with two slashes before the path's own.
            let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
            if path.is_empty() {
                return Err("unix: is followed by the path of the socket".into());
            }
            return Ok(EndpointAddress::Unix(path.into()));
        }
        if typed.starts_with("https:") {
            return Err("the endpoint speaks no TLS: http://HOST:PORT".into());
        }
        let plain = typed.strip_prefix("http://").unwrap_or(typed);
        let plain = plain.strip_suffix('/').unwrap_or(plain);
        let expected = || "expected HOST:PORT or unix:PATH".to_owned();
        let (host, port) = plain.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(expected)?;
        let in_host = |c: char| c.is_ascii_alphanumeric() || ".:-_%[]".contains(c);
        if !host.chars().all(in_host) {
            return Err(expected());
        }
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(bracketed) => bracketed,
            None if host.contains(':') => return Err(format!("an IPv6 address has brackets: [::1]:{port}")),
            None => host,
        };
        if host.is_empty() || host.contains(['[', ']']) {
            return Err(expected());
        }
        Ok(EndpointAddress::Tcp { host: host.to_owned(), port })
    }

    /// Where to look when nothing is said: the service's socket if there is one, else the usual port.
    pub(in crate::cli) fn usual() -> EndpointAddress {
        // One that we may not look at is there.
        match Path::new(USUAL_SOCKET).try_exists() {
            Ok(false) => EndpointAddress::Tcp { host: "127.0.0.1".into(), port: USUAL_PORT },
            Ok(true) | Err(_) => EndpointAddress::Unix(USUAL_SOCKET.into()),
        }
    }

    /// What the Host field of a request says.
    pub(super) fn authority(&self) -> String {
        match self {
            EndpointAddress::Unix(_) => "localhost".into(),
            EndpointAddress::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            EndpointAddress::Tcp { host, port } => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            EndpointAddress::Tcp { .. } => f.write_str(&self.authority()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_every_form() {
        for (typed, shown) in [
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("unix:a.sock", "unix:a.sock"),
            ("/run/a.sock", "unix:/run/a.sock"),
            ("127.0.0.1:9180", "127.0.0.1:9180"),
            ("localhost:1", "localhost:1"),
            ("http://127.0.0.1:9180/", "127.0.0.1:9180"),
            ("http://gate-way.example_1:65535", "gate-way.example_1:65535"),
            ("[::1]:9180", "[::1]:9180"),
            ("http://[fe80::1%eth0]:80", "[fe80::1%eth0]:80"),
        ] {
            assert_eq!(EndpointAddress::parse(typed).unwrap().to_string(), shown, "{typed}");
        }
    }

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        let expected = "expected HOST:PORT or unix:PATH";
        for (typed, said) in [
            ("", expected),
            ("9180", expected),
            ("127.0.0.1", expected),
            ("127.0.0.1:0", expected),
            ("127.0.0.1:65536", expected),
            ("http://127.0.0.1:9180/api", expected),
            ("a b:1", expected),
            ("user@host:1", expected),
            ("host\r\nX: y:1", expected),
            (":9180", expected),
            ("[]:9180", expected),
            ("[[::1]]:9180", expected),
            ("::1:9180", "an IPv6 address has brackets: [::1]:9180"),
            ("unix:", "unix: is followed by the path of the socket"),
            ("https://127.0.0.1:9180", "the endpoint speaks no TLS: http://HOST:PORT"),
        ] {
            assert_eq!(EndpointAddress::parse(typed), Err(said.to_owned()), "{typed:?}");
        }
    }
}
