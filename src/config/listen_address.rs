//! Where something listens: at an address and port, or on a unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::at::Typed;
use super::endpoint::Endpoint;
use super::form::ValueReader;
use super::list_form::distinct;
use super::nearest::with_nearest;
use super::problem::{escaped, quoted};
use super::value;
use crate::limits;

/// What a unix socket begins with where it is typed.
const UNIX: &str = "unix:";
/// The port of the admin endpoint that is meant where none is typed: what the documentation uses.
const ADMIN_PORT: u16 = 9180;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A unix socket; the path is absolute.
    Unix(PathBuf),
    /// An address and port; port 0: a free one.
    Tcp(Endpoint),
}

impl ListenAddress {
    /// Whether others than this machine's processes may reach it.
    pub fn is_beyond(&self) -> bool {
        match self {
            ListenAddress::Unix(_) => false,
            ListenAddress::Tcp(endpoint) => !endpoint.ip().is_loopback(),
        }
    }
}

impl ListenAddress {
    /// The address and port, where it has one.
    pub fn tcp(&self) -> Option<&Endpoint> {
        match self {
            ListenAddress::Tcp(endpoint) => Some(endpoint),
            ListenAddress::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Unix(path) => write!(f, "{UNIX}{}", value::path_text(path)),
            ListenAddress::Tcp(endpoint) => endpoint.fmt(f),
        }
    }
}

/// Reads an address of the admin endpoint as typed.
pub(super) fn admin_address(typed: &str) -> Result<ListenAddress, String> {
    address(typed, ADMIN_PORT)
}

/// Reads an address as typed; `usual` is the port that is meant where there is none.
pub(super) fn address(typed: &str, usual: u16) -> Result<ListenAddress, String> {
    if let Some(path) = typed.strip_prefix(UNIX) {
        return unix(typed, path).map(ListenAddress::Unix);
    }
    let behind = typed.split_once(':').map_or(typed, |(_, behind)| behind);
    if behind.starts_with('/') && !behind.starts_with("//") {
        let what = format!("{} is neither \"unix:PATH\" nor an address and port", quoted(typed));
        return Err(with_nearest(what, Some(format!("\"{UNIX}{}\"", escaped(behind)))));
    }
    let bare = typed.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    match bare {
        Some(bare) => {
            let what = format!("{} is not an address and port such as \"127.0.0.1:{usual}\"", quoted(typed));
            let meant = value::listen_address(bare, usual).ok().map(|address| format!("\"{address}\""));
            Err(with_nearest(what, meant))
        }
        None => value::listen_address(typed, usual).map(ListenAddress::Tcp),
    }
}

fn unix(typed: &str, path: &str) -> Result<PathBuf, String> {
    let path = Path::new(path);
    if !path.is_absolute() || path.as_os_str().as_bytes().contains(&0) || path.file_name().is_none() {
        return Err(format!(
            "{} is not an absolute path such as \"unix:/run/outflow/admin.sock\"",
            quoted(typed)
        ));
    }
    match path.as_os_str().len() > limits::UNIX_PATH_MAX {
        true => {
            let most = limits::UNIX_PATH_MAX;
            Err(format!("{} is too long for a unix socket: a path of {most} bytes at most", quoted(typed)))
        }
        false => Ok(path.to_owned()),
    }
}

impl From<Endpoint> for ListenAddress {
    fn from(endpoint: Endpoint) -> ListenAddress {
        ListenAddress::Tcp(endpoint)
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> ListenAddress {
        Endpoint::from(address).into()
    }
}

/// No two addresses alike, but for port 0.
pub(super) fn listeners(list: &[Typed<ListenAddress>], reader: &mut ValueReader) {
    let key = |address: &ListenAddress| match address {
        ListenAddress::Tcp(endpoint) if endpoint.address.port() == 0 => None,
        ListenAddress::Tcp(endpoint) => Some(endpoint.canonical().to_string()),
        ListenAddress::Unix(_) => Some(address.to_string()),
    };
    distinct(list, key, reader);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_sockets_read_back_as_they_are_written() {
        for typed in ["unix:/run/outflow/admin.sock", "127.0.0.1:9180", "[::1]:0", "0.0.0.0:9180"] {
            assert_eq!(admin_address(typed).unwrap().to_string(), typed);
        }
        let beyond = |typed| admin_address(typed).unwrap().is_beyond();
        assert!(
            !beyond("unix:/a")
                && !beyond("127.9.9.9:1")
                && !beyond("[::1]:1")
                && !beyond("[::ffff:127.0.0.1]:1")
        );
        assert!(beyond("0.0.0.0:1") && beyond("[::]:1") && beyond("192.0.2.1:1"));
    }

    #[test]
    fn what_is_no_address_is_told_what_was_meant() {
        for (typed, meant) in [
            ("/run/admin.sock", "\"unix:/run/admin.sock\""),
            ("unx:/run/admin.sock", "\"unix:/run/admin.sock\""),
            ("9180", "\"127.0.0.1:9180\""),
            ("localhost", "\"127.0.0.1:9180\""),
            ("http://127.0.0.1:9180/", "\"127.0.0.1:9180\""),
            ("unix:admin.sock", "\"unix:/run/outflow/admin.sock\""),
            ("unix:", "\"unix:/run/outflow/admin.sock\""),
            ("unix:/", "\"unix:/run/outflow/admin.sock\""),
        ] {
            let what = admin_address(typed).unwrap_err();
            assert!(what.contains(meant), "{typed}: {what}");
        }
        let long = format!("unix:/{}", "a".repeat(limits::UNIX_PATH_MAX - 1));
        assert!(admin_address(&long).is_ok());
        assert!(admin_address(&format!("{long}a")).unwrap_err().contains("107 bytes at most"));
    }
}
