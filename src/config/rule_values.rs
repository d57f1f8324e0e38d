//! What stands in rules and lists, value by value: names, blocks, lists, ports, users.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::nearest::with_nearest;
use super::problem::{escaped, quoted};
use super::reach::{PortRange, nearest_ports};
use super::value::block;
use crate::limits;
use crate::policy::rules::spec::NamePattern;
use crate::proto::address::Host;

/// Where a rule leads, as it is typed.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleDestination {
    /// To addresses of this block.
    Network(IpNet),
    /// To names of this pattern.
    Name(NamePattern),
    /// To what stands in the list of this name.
    List(Arc<str>),
}

impl fmt::Display for RuleDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleDestination::Network(net) => net.fmt(f),
            RuleDestination::Name(pattern) => pattern.fmt(f),
            RuleDestination::List(name) => write!(f, "@{name}"),
        }
    }
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum ListEntry {
    /// Addresses of this block.
    Network(IpNet),
    /// Names of this pattern.
    Name(NamePattern),
}

/// Ports of a rule, as they are typed: one, or a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePorts(pub RangeInclusive<u16>);

impl fmt::Display for RulePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.start() == self.0.end() {
            true => self.0.start().fmt(f),
            false => write!(f, "{}-{}", self.0.start(), self.0.end()),
        }
    }
}

/// Where a rule leads.
pub(super) fn destination(typed: &str) -> Result<RuleDestination, String> {
    if let Some(list) = typed.strip_prefix('@') {
        return own_name(list).map(RuleDestination::List);
    }
    if typed == "*" {
        return Err("\"*\" is every destination, as a rule has where the key is left out".to_owned());
    }
    Ok(match entry(typed)? {
        ListEntry::Network(net) => RuleDestination::Network(net),
        ListEntry::Name(pattern) => RuleDestination::Name(pattern),
    })
}

/// An entry of a list: a name, an address or a block.
///
/// # Errors
/// What is wrong with it, and what was probably meant.
pub fn entry(typed: &str) -> Result<ListEntry, String> {
    if typed.contains('/') && !typed.contains("://") {
        return block(typed).map(ListEntry::Network);
    }
    let pattern: fn(_) -> _ = match typed.as_bytes() {
        [b'*', b'.', ..] => NamePattern::Below,
        [b'.', _, ..] => NamePattern::Under,
        _ => NamePattern::Exact,
    };
    let bare = typed.strip_prefix("*.").or_else(|| typed.strip_prefix('.')).unwrap_or(typed);
    match Host::parse(bare.as_bytes()) {
        Ok(Host::Name(name)) => Ok(ListEntry::Name(pattern(name))),
        Ok(Host::Ip(ip)) if bare.len() == typed.len() => Ok(ListEntry::Network(host(ip))),
        Ok(Host::Ip(_)) => {
            let what = format!("{}: no name is below an address", quoted(typed));
            Err(with_nearest(what, Some(format!("\"{}\"", escaped(bare)))))
        }
        Err(error) => {
            let what = format!("{} is no name, address or block of addresses: {error}", quoted(typed));
            Err(with_nearest(what, nearest_entry(typed).map(|meant| format!("\"{}\"", escaped(&meant)))))
        }
    }
}

/// A name, and not an address.
pub(super) fn domain(typed: &str) -> Result<NamePattern, String> {
    match entry(typed)? {
        ListEntry::Name(pattern) => Ok(pattern),
        ListEntry::Network(net) => {
            Err(format!("{} is an address or block: it belongs into `cidrs`", quoted(&net.to_string())))
        }
    }
}

/// A block of addresses, or one address.
pub(crate) fn network(typed: &str) -> Result<IpNet, String> {
    match typed.parse::<IpAddr>() {
        Ok(ip) => Ok(host(ip)),
        Err(_) => block(typed),
    }
}

/// The block of one address; an IPv4-mapped one is an IPv4 address.
fn host(ip: IpAddr) -> IpNet {
    IpNet::from(ip.to_canonical())
}

/// What an entry in another notation was probably meant to say: of a URL its host, of a line of a hosts file its name, of a
/// filter what it is about.
fn nearest_entry(typed: &str) -> Option<String> {
    let last = typed.split_whitespace().next_back()?;
    let below = last.strip_prefix("||").and_then(|rest| rest.strip_suffix('^'));
    let host = last.split_once("://").map_or(last, |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or(host);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let meant = match (below, without_port.strip_prefix('*')) {
        (Some(below), _) => format!(".{below}"),
        (None, Some(rest)) => format!("*.{}", rest.trim_start_matches('.')),
        (None, None) => without_port.to_owned(),
    };
    (meant != typed).then_some(meant).filter(|meant| {
        let bare = meant.strip_prefix("*.").or_else(|| meant.strip_prefix('.')).unwrap_or(meant);
        Host::parse(bare.as_bytes()).is_ok()
    })
}

/// A port, or a range of them.
pub(super) fn ports(typed: &str) -> Result<RulePorts, String> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (first, last) = typed.split_once('-').unwrap_or((typed, typed));
    match port(first).zip(port(last)) {
        Some((first, last)) if PortRange::new(first, last).is_some() => Ok(RulePorts(first..=last)),
        _ => {
            let what =
                format!("{} is no port from 1 to 65535 and no range such as \"8000-8099\"", quoted(typed));
            Err(with_nearest(what, nearest_ports(typed).map(|range| format!("\"{range}\""))))
        }
    }
}

/// The name of a rule, a list or a group.
pub(super) fn own_name(typed: &str) -> Result<Arc<str>, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=limits::RULE_NAME_MAX).contains(&typed.len()) && typed.chars().all(fits) {
        return Ok(typed.into());
    }
    let what = format!(
        "{} is no name of 1 to {} letters, digits, \"-\", \"_\" and \".\"",
        quoted(typed),
        limits::RULE_NAME_MAX
    );
    let meant: String = typed.trim().chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let fits = (1..=limits::RULE_NAME_MAX).contains(&meant.len()) && meant.chars().any(|c| c != '-');
    Err(with_nearest(what, fits.then(|| format!("\"{meant}\""))))
}

/// The name of a user, as a login or a ticket may give it.
pub(super) fn user(typed: &str) -> Result<Arc<str>, String> {
    match (1..=limits::USER_NAME_MAX).contains(&typed.len()) && !typed.contains(char::is_control) {
        true => Ok(typed.into()),
        false => Err(format!(
            "{} is no user's name of 1 to {} bytes without control characters",
            quoted(typed),
            limits::USER_NAME_MAX
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_in_one_form_and_print_as_they_are_read() {
        for (typed, printed) in [
            ("example.com", "example.com"),
            ("Example.COM.", "example.com"),
            ("*.Example.com", "*.example.com"),
            (".example.com.", ".example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.BÜCHER.example", "*.xn--bcher-kva.example"),
            ("com", "com"),
            (".com", ".com"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("0xc0.2.7", "192.2.0.7/32"),
            ("3221225991", "192.0.2.7/32"),
            ("[2001:DB8::1]", "2001:db8::1/128"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("@partners", "@partners"),
        ] {
            let read = destination(typed).unwrap_or_else(|what| panic!("{typed}: {what}"));
            assert_eq!(read.to_string(), printed, "{typed}");
            assert_eq!(destination(printed), Ok(read), "{typed}");
        }
    }

    #[track_caller]
    fn meant(typed: &str) -> Option<String> {
        let what = destination(typed).expect_err(typed);
        what.split_once("did you mean \"").map(|(_, meant)| meant.trim_end_matches("\"?").to_owned())
    }

    #[test]
    fn other_notations_are_told_what_was_meant() {
        for (typed, expected) in [
            ("https://example.com/path?q", "example.com"),
            ("example.com:443", "example.com"),
            ("192.0.2.7:80", "192.0.2.7"),
            ("*example.com", "*.example.com"),
            ("||ads.example.com^", ".ads.example.com"),
            ("0.0.0.0 ads.example.com", "ads.example.com"),
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("*.10.0.0.1", "10.0.0.1"),
            ("@my list", "my-list"),
        ] {
            assert_eq!(meant(typed).as_deref(), Some(expected), "{typed}");
        }
        for typed in ["", ".", "*.", "a..b", "www.*.example", "a b", "@", "1.2.3.4.5"] {
            assert!(destination(typed).is_err(), "{typed}");
        }
        assert_eq!(
            destination("*").unwrap_err(),
            "\"*\" is every destination, as a rule has where the key is left out"
        );
        assert!(domain("10.0.0.1").unwrap_err().ends_with("it belongs into `cidrs`"));
    }

    #[test]
    fn ports_are_numbers_and_ranges() {
        for (typed, printed) in [("443", "443"), ("1-65535", "1-65535"), ("80-80", "80")] {
            assert_eq!(ports(typed).unwrap().to_string(), printed);
        }
        for bad in ["0", "0-5", "65536", "", "-", "-1", "1-", "+1", "http", "1-2-3"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
        assert!(ports("90-80").unwrap_err().ends_with("did you mean \"80-90\"?"));
    }

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!(own_name("a.B-c_9").as_deref(), Ok("a.B-c_9"));
        assert!(own_name(&"a".repeat(64)).is_ok() && own_name(&"a".repeat(65)).is_err());
        for bad in ["", "a b", "a/b", "ä", "\"", "a\nb"] {
            assert!(own_name(bad).is_err(), "{bad:?}");
        }
        assert!(user(&"u".repeat(255)).is_ok() && user(&"u".repeat(256)).is_err());
        assert!(user("carol/admin@EXAMPLE.COM").is_ok() && user("").is_err() && user("a\nb").is_err());
    }
}
