//! Which of the sessions that are there somebody means.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use super::live::{LiveState, SessionId};
use crate::config::Protocol;
use crate::proto::address::{Host, Name, Target};
use crate::proto::request::RequestCommand;

/// What a session has to be to pass. What is `None` lets every session through.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Of this verified user. A name that was claimed with wrong credentials is nobody's.
    pub user: Option<String>,
    /// Its client's address lies in this block.
    pub source: Option<IpNet>,
    /// It is for this target.
    pub target: Option<TargetPattern>,
    /// It asked for this.
    pub command: Option<RequestCommand>,
    /// This was spoken.
    pub protocol: Option<Protocol>,
    /// It came by this listener.
    pub listener: Option<String>,
    /// This rule decided about it.
    pub rule: Option<String>,
    /// It leaves from this pool.
    pub egress: Option<String>,
    /// It stands here.
    pub state: Option<LiveState>,
    /// It is that old at least, in milliseconds.
    pub min_age_ms: Option<u64>,
    /// It is that old at most, in milliseconds.
    pub max_age_ms: Option<u64>,
    /// It has moved so many bytes at least, both ways together.
    pub min_bytes: Option<u64>,
    /// It has moved so many bytes at most, both ways together.
    pub max_bytes: Option<u64>,
}

/// What a filter judges a session by.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The verified user.
    pub user: Option<&'a str>,
    /// The client's address.
    pub client: IpAddr,
    /// The target as asked.
    pub target: Option<&'a Target>,
    /// The address dialled.
    pub address: Option<SocketAddr>,
    /// What was asked for.
    pub command: Option<RequestCommand>,
    /// What was spoken.
    pub protocol: Option<Protocol>,
    /// The listener that it came by.
    pub listener: Option<&'a str>,
    /// The rule that decided about it.
    pub rule: Option<&'a str>,
    /// The pool that it leaves from.
    pub egress: Option<&'a str>,
    /// Where it stands.
    pub state: LiveState,
    /// Milliseconds since it was accepted.
    pub age_ms: u64,
    /// Bytes both ways.
    pub bytes: u64,
}

impl SessionFilter {
    /// Whether a session passes.
    pub fn passes(&self, session: &Candidate<'_>) -> bool {
        self.user.as_deref().is_none_or(|user| session.user == Some(user))
            && self.source.is_none_or(|block| block.contains(&session.client.to_canonical()))
            && self.command.is_none_or(|command| session.command == Some(command))
            && self.protocol.is_none_or(|protocol| session.protocol == Some(protocol))
            && self.listener.as_deref().is_none_or(|listener| session.listener == Some(listener))
            && self.rule.as_deref().is_none_or(|rule| session.rule == Some(rule))
            && self.egress.as_deref().is_none_or(|egress| session.egress == Some(egress))
            && self.state.is_none_or(|state| session.state == state)
            && self.min_age_ms.is_none_or(|least| session.age_ms >= least)
            && self.max_age_ms.is_none_or(|most| session.age_ms <= most)
            && self.min_bytes.is_none_or(|least| session.bytes >= least)
            && self.max_bytes.is_none_or(|most| session.bytes <= most)
            && self.target.as_ref().is_none_or(|pattern| pattern.is_of(session.target, session.address))
    }
}

/// Which sessions are to end.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Those with these ids; another worker's are none of a worker's.
    Ids(HashSet<SessionId>),
    /// Those that this lets through.
    Filter(SessionFilter),
}

/// Targets by host, by port or by both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPattern {
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    /// This name.
    Name(Name),
    /// Every name below this one, and not itself.
    Below(Name),
    /// An address in this block, asked for or dialled.
    Block(IpNet),
}

impl TargetPattern {
    /// Whether a session for this target is meant, whose name led to this address.
    pub fn is_of(&self, target: Option<&Target>, address: Option<SocketAddr>) -> bool {
        let Some(Target { host, port }) = target else { return false };
        if self.port.is_some_and(|wanted| wanted != *port) {
            return false;
        }
        match &self.host {
            HostPattern::Any => true,
            HostPattern::Name(name) => matches!(host, Host::Name(asked) if asked == name),
            HostPattern::Below(name) => matches!(host, Host::Name(asked) if is_below(asked, name)),
            HostPattern::Block(block) => {
                let asked = if let Host::Ip(ip) = host { Some(*ip) } else { None };
                let of = |ip: IpAddr| block.contains(&ip.to_canonical());
                asked.is_some_and(of) || address.is_some_and(|address| of(address.ip()))
            }
        }
    }
}

/// Whether the labels of `name` end with all those of `above`, and there are more.
fn is_below(name: &Name, above: &Name) -> bool {
    let labels = name.as_str().strip_suffix(above.as_str());
    labels.is_some_and(|labels| labels.ends_with('.'))
}

/// A text that names no targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoTarget(String);

impl fmt::Display for NoTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = "expected a host name, `*.NAME`, an address or a block of them, with or without `:PORT`";
        write!(f, "`{}` names no target: {wanted}", self.0.escape_debug())
    }
}

impl std::error::Error for NoTarget {}

impl FromStr for TargetPattern {
    type Err = NoTarget;

    /// Reads a host, in any spelling that a client may use, `*.NAME`, an address or a block, each with or without
    /// `:PORT`, or `*:PORT`. With a port an IPv6 address or block stands in brackets.
    fn from_str(text: &str) -> Result<TargetPattern, NoTarget> {
        let wrong = || NoTarget(text.chars().take(crate::limits::MAX_QUOTED_CHARS).collect());
        let (host, port) = match text.rsplit_once(':') {
            // More colons belong to an IPv6 address, unless it stands in brackets.
            Some((host, port)) if !host.contains(':') || host.starts_with('[') && !text.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| wrong())?))
            }
            _ => (text, None),
        };
        let host = host_pattern(host, port).ok_or_else(wrong)?;
        Ok(TargetPattern { host, port })
    }
}

fn host_pattern(text: &str, port: Option<u16>) -> Option<HostPattern> {
    if text.is_empty() || text == "*" {
        // Everything is no target, but every host with a port is one.
        return port.map(|_| HostPattern::Any);
    }
    if let Some((address, length)) = text.split_once('/') {
        let address: IpAddr = without_brackets(address).parse().ok()?;
        return IpNet::new(address, length.parse().ok()?).ok().map(HostPattern::Block);
    }
    let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
    match (Host::parse(name.as_bytes()).ok()?, below) {
        (Host::Name(name), true) => Some(HostPattern::Below(name)),
        (Host::Name(name), false) => Some(HostPattern::Name(name)),
        (Host::Ip(ip), false) => Some(HostPattern::Block(ip.to_canonical().into())),
        (Host::Ip(_), true) => None,
    }
}

fn without_brackets(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

/// Reads an address as a block of one, or a block.
pub fn block_of(text: &str) -> Option<IpNet> {
    let alone = || text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical().into());
    text.parse().ok().or_else(alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        let (host, port) = text.rsplit_once(':').unwrap();
        Target { host: Host::parse(host.as_bytes()).unwrap(), port: port.parse().unwrap() }
    }

    #[test]
    fn a_pattern_is_of_the_targets_that_it_names() {
        let dialled: Option<SocketAddr> = Some("192.0.2.7:443".parse().unwrap());
        for (pattern, asked, address, is) in [
            ("example.com", "example.com:443", dialled, true),
            ("EXAMPLE.com.", "example.com:80", None, true),
            ("example.com:443", "example.com:443", None, true),
            ("example.com:443", "example.com:80", None, false),
            ("example.com", "www.example.com:443", None, false),
            ("*.example.com", "www.example.com:443", None, true),
            ("*.example.com:443", "a.b.example.com:443", None, true),
            ("*.example.com", "example.com:443", None, false),
            ("*.example.com", "notexample.com:443", None, false),
            ("192.0.2.7", "example.com:443", dialled, true),
            ("192.0.2.0/24", "example.com:443", dialled, true),
            ("192.0.2.0/24:80", "example.com:443", dialled, false),
            ("198.51.100.0/24", "example.com:443", dialled, false),
            ("192.0.2.7", "192.0.2.7:443", None, true),
            ("3221225991", "192.0.2.7:443", None, true),
            ("192.0.2.7", "[::ffff:192.0.2.7]:443", None, true),
            ("2001:db8::1", "[2001:db8::1]:443", None, true),
            ("[2001:db8::1]", "[2001:db8::1]:443", None, true),
            ("[2001:db8::1]:443", "[2001:db8::1]:443", None, true),
            ("2001:db8::/32", "[2001:db8::1]:443", None, true),
            ("[2001:db8::]/32:80", "[2001:db8::1]:443", None, false),
            ("*:443", "example.com:443", None, true),
            (":443", "[2001:db8::1]:443", None, true),
            ("*:443", "example.com:80", None, false),
        ] {
            let pattern: TargetPattern = pattern.parse().unwrap();
            assert_eq!(pattern.is_of(Some(&target(asked)), address), is, "{pattern:?} of {asked}");
            assert!(!pattern.is_of(None, None), "{pattern:?} of a session without a request");
        }
    }

    #[test]
    fn what_names_no_target_is_said_to() {
        for text in [
            "",
            "*",
            "*.",
            "*.192.0.2.1",
            "a b",
            "example.com:",
            "example.com:65536",
            "a/8",
            "192.0.2.1/33",
            "a.*",
        ] {
            let error = text.parse::<TargetPattern>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{text}` names no target")), "{error}");
        }
    }

    #[test]
    fn a_block_may_be_one_address() {
        let block = |text: &str| block_of(text).map(|block| block.to_string());
        assert_eq!(block("192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(block("::ffff:192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(block("2001:db8::/32").as_deref(), Some("2001:db8::/32"));
        assert_eq!(block("example.com"), None);
    }

    fn candidate(target: &Target) -> Candidate<'_> {
        Candidate {
            user: Some("ann"),
            client: "::ffff:127.0.0.1".parse().unwrap(),
            target: Some(target),
            address: None,
            command: Some(RequestCommand::Connect),
            protocol: Some(Protocol::Http),
            listener: Some("web"),
            rule: Some("office"),
            egress: Some("fleet"),
            state: LiveState::Relaying,
            age_ms: 1000,
            bytes: 50,
        }
    }

    #[test]
    fn every_part_of_a_filter_must_agree() {
        let target = target("example.com:443");
        let session = candidate(&target);
        let all = || SessionFilter {
            user: Some("ann".into()),
            source: block_of("127.0.0.0/8"),
            target: "example.com".parse().ok(),
            command: Some(RequestCommand::Connect),
            protocol: Some(Protocol::Http),
            listener: Some("web".into()),
            rule: Some("office".into()),
            egress: Some("fleet".into()),
            state: Some(LiveState::Relaying),
            min_age_ms: Some(1000),
            max_age_ms: Some(1000),
            min_bytes: Some(50),
            max_bytes: Some(50),
        };
        assert!(SessionFilter::default().passes(&session) && all().passes(&session));
        for other in [
            SessionFilter { user: Some("an".into()), ..all() },
            SessionFilter { source: block_of("127.0.0.2"), ..all() },
            SessionFilter { target: "example.org".parse().ok(), ..all() },
            SessionFilter { command: Some(RequestCommand::Bind), ..all() },
            SessionFilter { protocol: Some(Protocol::Socks5), ..all() },
            SessionFilter { listener: Some("we".into()), ..all() },
            SessionFilter { rule: Some("offic".into()), ..all() },
            SessionFilter { egress: Some("flee".into()), ..all() },
            SessionFilter { state: Some(LiveState::Lingering), ..all() },
            SessionFilter { min_age_ms: Some(1001), ..all() },
            SessionFilter { max_age_ms: Some(999), ..all() },
            SessionFilter { min_bytes: Some(51), ..all() },
            SessionFilter { max_bytes: Some(49), ..all() },
        ] {
            assert!(!other.passes(&session), "{other:?}");
        }
        assert!(!all().passes(&Candidate { user: None, ..session }), "a name that was only claimed");
    }
}
