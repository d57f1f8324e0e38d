//! The values that are one word out of a fixed few.

use std::fmt;
use std::path::PathBuf;

use super::listed::AsList;
use crate::policy::accounts::Per;
use crate::policy::rules::spec::{Action, Logged, Mode};
use crate::proto::request::RequestCommand;

/// A type whose values are written as one word each.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every value with its word, in the order in which messages list them.
    const ALL: &'static [(&'static str, Self)];

    /// The word for this value.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }

    /// The value for this word, if it is one.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(word, _)| *word == name).map(|(_, value)| *value)
    }
}

/// A protocol in which a client may ask, which its first byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 1928.
    Socks5,
    /// The SOCKS4 memo, with 4a's names.
    Socks4,
    /// HTTP/1.1 (RFC 9112): CONNECT and requests in absolute form.
    Http,
}

impl Choice for Protocol {
    const ALL: &'static [(&'static str, Self)] =
        &[("socks5", Self::Socks5), ("socks4", Self::Socks4), ("http", Self::Http)];
}

/// Whether a load balancer says who a client is, by the PROXY protocol in front of its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// It does not.
    #[default]
    Off,
    /// It may. Who is no balancer is a client.
    Optional,
    /// It does. Who is no balancer is let in by nothing.
    Required,
}

impl Choice for ProxyProtocol {
    const ALL: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

/// Which name in a client's certificate is the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsersFrom {
    /// The common name of its subject.
    CommonName,
    /// Its first other name that is a mail address or a host name (RFC 5280 section 4.2.1.6).
    AlternativeName,
}

impl Choice for UsersFrom {
    const ALL: &'static [(&'static str, Self)] = &[("cn", Self::CommonName), ("san", Self::AlternativeName)];
}

/// The engine that moves CONNECT bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayMode {
    /// Copies, and splices the halves that keep filling large reads.
    #[default]
    Auto,
    /// Splices from the first byte, wherever a pipe can be had.
    Splice,
    /// Copies only.
    Copy,
}

impl Choice for RelayMode {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("splice", Self::Splice), ("copy", Self::Copy)];
}

impl RelayMode {
    /// Whether bytes may go through pipes, of which there must be some then.
    pub fn splices(self) -> bool {
        matches!(self, Self::Auto | Self::Splice)
    }
}

/// How a new connection finds its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Steer {
    /// Its worker is chosen by the kernel's hash of the addresses and ports.
    #[default]
    Hash,
    /// It goes to the worker of the CPU that took the packet.
    Cpu,
}

impl Choice for Steer {
    const ALL: &'static [(&'static str, Self)] = &[("hash", Self::Hash), ("cpu", Self::Cpu)];
}

/// The TCP congestion control that a session's sockets are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// The kernel's default, but one that does not pace where the peer is on loopback.
    #[default]
    Auto,
    /// The kernel's default, everywhere.
    System,
    /// The control of this name, everywhere; the name is as long as the kernel's may be.
    Named(String),
}

/// Writes the choice as it stands in a file.
impl fmt::Display for Congestion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Auto => "auto",
            Self::System => "system",
            Self::Named(name) => name,
        })
    }
}

/// A SOCKS authentication method (RFC 1928 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// X'00', no authentication required.
    None,
    /// X'01', GSSAPI (RFC 1961).
    Gssapi,
    /// X'02', user name and password (RFC 1929).
    Password,
}

impl Choice for AuthMethod {
    const ALL: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("password", Self::Password), ("gssapi", Self::Gssapi)];
}

/// How far what follows the negotiation of method GSSAPI is protected (RFC 1961 section 4.3). The order is that of
/// strength; it is not that of the octets on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProtectionLevel {
    /// Nothing is wrapped. RFC 1961 does not define it; X'00' asks for it.
    None,
    /// Every message is signed: X'01', required per-message integrity.
    Integrity,
    /// Each side chooses for each message: X'03', selective per-message integrity or confidentiality.
    PerMessage,
    /// Every message is encrypted: X'02', required per-message integrity and confidentiality.
    Confidentiality,
}

impl Choice for ProtectionLevel {
    const ALL: &'static [(&'static str, Self)] = &[
        ("confidentiality", Self::Confidentiality),
        ("integrity", Self::Integrity),
        ("per-message", Self::PerMessage),
        ("none", Self::None),
    ];
}

impl ProtectionLevel {
    /// The octet that asks for it and grants it (RFC 1961 section 4.3).
    pub fn wire(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Integrity => 1,
            Self::Confidentiality => 2,
            Self::PerMessage => 3,
        }
    }

    /// The level of an octet, if one is defined for it.
    pub fn from_wire(octet: u8) -> Option<Self> {
        Self::ALL.iter().map(|(_, level)| *level).find(|level| level.wire() == octet)
    }
}

/// The levels of protection that clients may have; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// By strength.
    listed: [bool; ProtectionLevel::ALL.len()],
}

impl Protection {
    /// The levels of a list; `None` where it is empty.
    pub fn new(levels: &[ProtectionLevel]) -> Option<Protection> {
        let mut listed = [false; ProtectionLevel::ALL.len()];
        levels.iter().for_each(|level| listed[*level as usize] = true);
        (!levels.is_empty()).then_some(Protection { listed })
    }

    /// Whether this level is among them.
    pub fn has(&self, level: ProtectionLevel) -> bool {
        self.listed[level as usize]
    }

    /// The levels, in the order of [`ProtectionLevel::ALL`](Choice::ALL).
    pub fn levels(&self) -> impl Iterator<Item = ProtectionLevel> + '_ {
        ProtectionLevel::ALL.iter().map(|(_, level)| *level).filter(|level| self.has(*level))
    }

    /// What a client that asks for this octet gets: what it asked for, else the strongest level that is weaker, for it
    /// can refuse what it finds too weak (RFC 1961 section 4.2). `None`: the negotiation has failed.
    pub fn answer(&self, asked: u8) -> Option<ProtectionLevel> {
        let asked = ProtectionLevel::from_wire(asked)?;
        self.levels().filter(|level| *level <= asked).max()
    }
}

impl AsList<ProtectionLevel> for Protection {
    fn of(levels: Vec<ProtectionLevel>) -> Option<Protection> {
        Protection::new(&levels)
    }

    fn values(&self) -> Vec<ProtectionLevel> {
        self.levels().collect()
    }
}

impl Default for Protection {
    /// Every level but per-message.
    fn default() -> Protection {
        let mut listed = [true; ProtectionLevel::ALL.len()];
        listed[ProtectionLevel::PerMessage as usize] = false;
        Protection { listed }
    }
}

/// Which address families are asked for, and which is dialled first when a name has both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// Both, alternating from IPv6 and staggered (RFC 8305 sections 4 and 5).
    #[default]
    HappyEyeballs,
    /// Both, every IPv4 address before the first IPv6 one.
    Ipv4,
    /// Both, every IPv6 address before the first IPv4 one.
    Ipv6,
    /// Only A is asked.
    Ipv4Only,
    /// Only AAAA is asked.
    Ipv6Only,
}

impl Choice for Prefer {
    const ALL: &'static [(&'static str, Self)] = &[
        ("happy-eyeballs", Self::HappyEyeballs),
        ("ipv4", Self::Ipv4),
        ("ipv6", Self::Ipv6),
        ("ipv4-only", Self::Ipv4Only),
        ("ipv6-only", Self::Ipv6Only),
    ];
}

/// Who may send to the client of an association, beside those it has sent to (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filtering {
    /// Nobody: an address must have been sent to, whatever its port.
    #[default]
    Address,
    /// Everybody.
    EndpointIndependent,
}

impl Choice for Filtering {
    const ALL: &'static [(&'static str, Self)] =
        &[("address", Self::Address), ("endpoint-independent", Self::EndpointIndependent)];
}

impl Choice for Action {
    const ALL: &'static [(&'static str, Self)] = &[("allow", Self::Allow), ("deny", Self::Deny)];
}

impl Choice for Per {
    const ALL: &'static [(&'static str, Self)] = &[
        ("user", Self::User),
        ("group", Self::Group),
        ("source", Self::Source),
        ("source/24", Self::Network),
        ("source/64", Self::Source),
        ("session", Self::Session),
        ("rule", Self::Rule),
        ("listener", Self::Listener),
        ("global", Self::Global),
    ];
}

impl Choice for Mode {
    const ALL: &'static [(&'static str, Self)] = &[("enforce", Self::Enforce), ("report", Self::Report)];
}

impl Choice for Logged {
    const ALL: &'static [(&'static str, Self)] =
        &[("deny", Self::Deny), ("all", Self::All), ("none", Self::Nothing)];
}

/// By the words of access records; `resolve` stands for both directions.
impl Choice for RequestCommand {
    const ALL: &'static [(&'static str, Self)] = &[
        ("connect", Self::Connect),
        ("bind", Self::Bind),
        ("udp_associate", Self::UdpAssociate),
        ("resolve", Self::Resolve),
    ];
}

/// What becomes of live sessions that other rules would deny.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReload {
    /// They go on.
    #[default]
    Keep,
    /// They are ended.
    Revoke,
}

impl Choice for OnReload {
    const ALL: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("revoke", Self::Revoke)];
}

/// How grave a message must be to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// What an operator must act on.
    Error,
    /// What an operator should look at.
    Warn,
    /// What happened to the server.
    #[default]
    Info,
    /// What happened to sessions; may name hosts and client addresses.
    Debug,
    /// What happened to single datagrams and events.
    Trace,
}

impl Choice for Level {
    const ALL: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// Where access records go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// Appended to this file (absolute).
    Path(PathBuf),
}

/// What happens to sessions where there is no room for their access records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// Sessions go on; their records are dropped and counted.
    #[default]
    Drop,
    /// No new session is admitted whose record could not be kept.
    Refuse,
}

impl Choice for OnFull {
    const ALL: &'static [(&'static str, Self)] = &[("drop", Self::Drop), ("refuse", Self::Refuse)];
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Choice for Format {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

#[cfg(test)]
mod tests {
    use super::ProtectionLevel::{Confidentiality, Integrity, None as Unwrapped, PerMessage};
    use super::*;

    #[test]
    fn a_client_is_given_a_listed_level_that_holds_what_it_asked_for() {
        let all = [Confidentiality, Integrity, PerMessage, Unwrapped];
        let answers = |levels: &[ProtectionLevel]| {
            let protection = Protection::new(levels).unwrap();
            [0, 1, 2, 3].map(|asked| protection.answer(asked))
        };
        let (none, one, two, three) =
            (Some(Unwrapped), Some(Integrity), Some(Confidentiality), Some(PerMessage));
        assert_eq!(answers(&all), [none, one, two, three]);
        assert_eq!(answers(&[Confidentiality, Integrity, Unwrapped]), [none, one, two, one]);
        assert_eq!(answers(&[Unwrapped]), [none; 4]);
        assert_eq!(answers(&[Integrity]), [None, one, one, one]);
        assert_eq!(answers(&[Confidentiality]), [None, None, two, None]);
        assert_eq!(answers(&[PerMessage]), [None, None, three, three]);
        assert_eq!(answers(&[PerMessage, Unwrapped]), [none, none, three, three]);
        assert_eq!(answers(&[Confidentiality, Integrity]), [None, one, two, one]);
        for undefined in 4..=u8::MAX {
            assert_eq!(Protection::new(&all).unwrap().answer(undefined), None);
        }
        assert_eq!(Protection::new(&[]), None);
    }

    #[test]
    fn the_default_is_what_is_documented() {
        assert_eq!(Protection::default(), Protection::new(&[Confidentiality, Integrity, Unwrapped]).unwrap());
    }
}
