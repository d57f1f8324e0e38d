//! The values that are one word out of a fixed few.

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

/// How a new connection finds its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Steer {
    /// By the kernel's hash of the addresses and ports.
    #[default]
    Hash,
    /// To the worker of the CPU that took the packet.
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
    /// This one, everywhere; the name is as long as the kernel's may be.
    Named(String),
}

impl Congestion {
    /// As it is written in a file.
    pub fn name(&self) -> &str {
        match self {
            Self::Auto => "auto",
            Self::System => "system",
            Self::Named(name) => name,
        }
    }
}

/// A SOCKS authentication method (RFC 1928 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// X'00', no authentication required.
    None,
    /// X'02', user name and password (RFC 1929).
    Password,
}

impl Choice for AuthMethod {
    const ALL: &'static [(&'static str, Self)] = &[("none", Self::None), ("password", Self::Password)];
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
