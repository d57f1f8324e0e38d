//! resolv.conf(5): which servers to ask, and how.
//!
//! `nameserver` and the options `timeout`, `attempts` and `use-vc` are heeded. EDNS is used whether `edns0` says so or
//! not. `search`, `domain` and `ndots` are left alone on purpose. A relay resolves the name that its client
//! asked for: with a search list `intranet` could become `intranet.corp.example` behind the client's
//! back, policy would judge one name and the wire would see another, and each miss would cost further
//! queries. So every name is absolute. `rotate`, `sortlist`, `single-request` and `trust-ad` are left alone, too.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::hosts;
use crate::config::Endpoint;
use crate::limits::{DNS_ATTEMPTS, DNS_ATTEMPTS_MAX, DNS_FILE_PROBLEMS, DNS_SERVERS, DNS_TRY, DNS_TRY_MAX};

/// What the file says, with its own defaults where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// The servers in order; never empty.
    pub servers: Vec<SocketAddr>,
    /// Whether the file named any of them.
    pub names_servers: bool,
    /// `options timeout:N`, the time of the first try; [`DNS_TRY`] if it is not given.
    pub timeout: Duration,
    /// `options attempts:N`, rounds over the servers; [`DNS_ATTEMPTS`] if it is not given.
    pub attempts: u32,
    /// `options use-vc`: questions go by TCP.
    pub tcp: bool,
    /// What its author should know, a line each: servers that are not asked.
    pub problems: Vec<String>,
}

/// resolv.conf(5): with no nameserver line, the server on this machine.
impl Default for ResolvConf {
    fn default() -> Self {
        ResolvConf {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))],
            names_servers: false,
            timeout: DNS_TRY,
            attempts: DNS_ATTEMPTS,
            tcp: false,
            problems: Vec::new(),
        }
    }
}

impl ResolvConf {
    /// Reads `path`; a file that is not there is an empty one. `index_of` knows the interfaces by name.
    ///
    /// # Errors
    /// What keeps the file from being read.
    pub fn load(path: &Path, index_of: &dyn Fn(&str) -> Option<u32>) -> io::Result<ResolvConf> {
        let Some(text) = hosts::read(path)? else {
            let problems = vec!["there is no such file".to_owned()];
            return Ok(ResolvConf { problems, ..ResolvConf::default() });
        };
        Ok(ResolvConf::parse(&text, index_of))
    }

    /// Takes the file's text. What cannot be read is skipped, as the C library does, and said.
    pub fn parse(text: &str, index_of: &dyn Fn(&str) -> Option<u32>) -> ResolvConf {
        let mut conf = ResolvConf { servers: Vec::new(), ..ResolvConf::default() };
        for line in text.lines() {
            // A comment stands on a line of its own or behind the values.
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.add_server(words.next().unwrap_or_default(), index_of),
                Some("options") => words.for_each(|option| conf.set_option(option)),
                _ => {}
            }
        }
        conf.names_servers = !conf.servers.is_empty();
        if !conf.names_servers {
            conf.servers = ResolvConf::default().servers;
        }
        conf
    }

    fn add_server(&mut self, word: &str, index_of: &dyn Fn(&str) -> Option<u32>) {
        let Some(server) = Endpoint::parse(word, Some(53)) else {
            return self.complain(format!("nameserver {:?} is not an address", shown(word)));
        };
        let Some(address) = server.scoped(index_of) else {
            return self.complain(format!("nameserver {:?}: there is no such interface", shown(word)));
        };
        if self.servers.len() < DNS_SERVERS && !self.servers.contains(&address) {
            self.servers.push(address);
        }
    }

    fn complain(&mut self, what: String) {
        if self.problems.len() < DNS_FILE_PROBLEMS {
            self.problems.push(what);
        }
    }

    fn set_option(&mut self, option: &str) {
        self.tcp |= option == "use-vc";
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

/// As much of a word as a line of the log has room for.
fn shown(word: &str) -> String {
    word.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(text, &|name| (name == "eth0").then_some(7))
    }

    #[test]
    fn servers_options_and_comments() {
        let conf = parse(
            "; made by hand\n# and again\nsearch corp.example\ndomain corp.example\n\
             nameserver 192.0.2.53   # first\n\
             nameserver\t2001:db8::53\r\n\
             nameserver 192.0.2.53\n\
             nameserver fe80::1%2\n\
             nameserver fe80::1%eth0\n\
             nameserver dns.example\n\
             nameserver\n\
             nameserver fe80::2%eth1\n\
             options edns0 ndots:5 timeout:2 attempts:4 timeout:x rotate\n",
        );
        assert_eq!(
            conf.problems,
            [
                "nameserver \"dns.example\" is not an address",
                "nameserver \"\" is not an address",
                "nameserver \"fe80::2%eth1\": there is no such interface",
            ]
        );
        assert!(!conf.tcp && parse("options use-vc").tcp);
        assert_eq!(
            conf.servers,
            [
                "192.0.2.53:53".parse().unwrap(),
                "[2001:db8::53]:53".parse().unwrap(),
                "[fe80::1%2]:53".parse().unwrap(),
                "[fe80::1%7]:53".parse().unwrap(),
            ]
        );
        assert_eq!(conf.timeout, Duration::from_secs(2));
        assert_eq!(conf.attempts, 4);
    }

    #[test]
    fn an_empty_file_means_the_local_server_and_the_defaults() {
        let conf = parse("");
        assert_eq!(conf.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!((conf.timeout, conf.attempts), (DNS_TRY, DNS_ATTEMPTS));
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(
            ResolvConf::load(&directory.path().join("none"), &|_| None).unwrap().servers,
            conf.servers
        );
        assert!(ResolvConf::load(directory.path(), &|_| None).is_err());
        assert!(conf.problems.is_empty() && !conf.names_servers);
    }

    #[test]
    fn values_and_lists_are_bounded() {
        let mut text = String::from("options timeout:0 attempts:0\n");
        assert_eq!(parse(&text).timeout, Duration::from_secs(1));
        assert_eq!(parse(&text).attempts, 1);
        text = "options timeout:4000000000 attempts:99\n".into();
        for n in 0..100 {
            text += &format!("nameserver 192.0.2.{n}\n");
        }
        let conf = parse(&text);
        assert_eq!((conf.timeout, conf.attempts), (DNS_TRY_MAX, DNS_ATTEMPTS_MAX));
        assert_eq!(conf.servers.len(), DNS_SERVERS);
    }
}
