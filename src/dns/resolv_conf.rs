//! resolv.conf(5): which servers to ask, and how patiently.
//!
//! `search`, `domain` and `ndots` are left alone on purpose. A relay resolves the name that its client
//! asked for: with a search list `intranet` could become `intranet.corp.example` behind the client's
//! back, policy would judge one name and the wire would see another, and each miss would cost further
//! queries. So every name is absolute. `rotate` and `use-vc` are left alone too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::Duration;

use super::hosts;
use crate::limits::{DNS_ATTEMPTS, DNS_ATTEMPTS_MAX, DNS_SERVERS, DNS_TRY, DNS_TRY_MAX};

/// What the file says, with its own defaults where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// The servers in order; never empty.
    pub servers: Vec<SocketAddr>,
    /// `options timeout:N`, the time of the first try; [`DNS_TRY`] if it is not given.
    pub timeout: Duration,
    /// `options attempts:N`, rounds over the servers; [`DNS_ATTEMPTS`] if it is not given.
    pub attempts: u32,
}

impl ResolvConf {
    /// Reads `path` at start; a file that is not there is an empty one.
    ///
    /// # Errors
    /// Those of the read.
    pub fn load(path: &Path) -> io::Result<ResolvConf> {
        Ok(ResolvConf::parse(&hosts::read(path)?.unwrap_or_default()))
    }

    /// Takes the file's text. What cannot be read is skipped, as the C library does.
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf { servers: Vec::new(), timeout: DNS_TRY, attempts: DNS_ATTEMPTS };
        for line in text.lines() {
            // A comment stands on a line of its own or behind the values.
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.add_server(words.next().unwrap_or_default()),
                Some("options") => words.for_each(|option| conf.set_option(option)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            // resolv.conf(5): with no nameserver line, the server on this machine.
            conf.servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
        }
        conf
    }

    fn add_server(&mut self, word: &str) {
        if self.servers.len() == DNS_SERVERS {
            return;
        }
        if let Some(server) = parse_server(word).filter(|server| !self.servers.contains(server)) {
            self.servers.push(server);
        }
    }

    fn set_option(&mut self, option: &str) {
        let Some((key, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match key {
            "timeout" => {
                self.timeout = Duration::from_secs(value.into()).clamp(Duration::from_secs(1), DNS_TRY_MAX);
            }
            "attempts" => self.attempts = value.clamp(1, DNS_ATTEMPTS_MAX),
            _ => {}
        }
    }
}

/// An address with port 53. A zone is taken as a number only: the index of a named interface would
/// need a system call.
fn parse_server(word: &str) -> Option<SocketAddr> {
    match word.split_once('%') {
        Some((address, zone)) => {
            Some(SocketAddr::V6(SocketAddrV6::new(address.parse().ok()?, 53, 0, zone.parse().ok()?)))
        }
        None => Some(SocketAddr::new(word.parse::<IpAddr>().ok()?, 53)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_options_and_comments() {
        let conf = ResolvConf::parse(
            "; made by hand\n# and again\nsearch corp.example\ndomain corp.example\n\
             nameserver 192.0.2.53   # first\n\
             nameserver\t2001:db8::53\r\n\
             nameserver 192.0.2.53\n\
             nameserver fe80::1%2\n\
             nameserver fe80::1%eth0\n\
             nameserver dns.example\n\
             nameserver\n\
             options edns0 ndots:5 timeout:2 attempts:4 timeout:x rotate\n",
        );
        assert_eq!(
            conf.servers,
            [
                "192.0.2.53:53".parse().unwrap(),
                "[2001:db8::53]:53".parse().unwrap(),
                SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 0, 2)),
            ]
        );
        assert_eq!(conf.timeout, Duration::from_secs(2));
        assert_eq!(conf.attempts, 4);
    }

    #[test]
    fn an_empty_file_means_the_local_server_and_the_defaults() {
        let conf = ResolvConf::parse("");
        assert_eq!(conf.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!((conf.timeout, conf.attempts), (DNS_TRY, DNS_ATTEMPTS));
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(ResolvConf::load(&directory.path().join("none")).unwrap(), conf);
    }

    #[test]
    fn values_and_lists_are_bounded() {
        let mut text = String::from("options timeout:0 attempts:0\n");
        assert_eq!(ResolvConf::parse(&text).timeout, Duration::from_secs(1));
        assert_eq!(ResolvConf::parse(&text).attempts, 1);
        text = "options timeout:4000000000 attempts:99\n".into();
        for n in 0..100 {
            text += &format!("nameserver 192.0.2.{n}\n");
        }
        let conf = ResolvConf::parse(&text);
        assert_eq!((conf.timeout, conf.attempts), (DNS_TRY_MAX, DNS_ATTEMPTS_MAX));
        assert_eq!(conf.servers.len(), DNS_SERVERS);
    }
}
