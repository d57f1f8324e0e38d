//! What `[[proxy_out]]` says: the targets that are told of their clients by a PROXY header, and how.

use std::fmt;
use std::net::SocketAddr;

use super::choice::Choice;
use super::entry::tables;
use super::form::{number, shown};
use super::list_form::{choices, condition, list};
use super::rule_values::{self, ListEntry, RulePorts};
use crate::limits;
use crate::proto::address::Name;

tables! {
    /// Targets that are told of their clients by a header of the PROXY protocol; of several tables the first that matches.
    pub struct ProxyOutConfig {
        /// Targets, which must expect it: names, addresses, blocks: "example.com", "*.example.com", ".example.com", "10.0.0.0/8".
        to: Vec<ProxiedTarget> = Vec::new(),
            condition(list(limits::RULE_VALUES_MAX, target).needs("a target"), "[\"192.0.2.7\"]"), Reload;
        /// Ports of the target.
        ports: Vec<RulePorts> = Vec::new(),
            condition(list(limits::RULE_VALUES_MAX, rule_values::ports).or_digits().needs("a port"), "[25, 443]"), Reload;
        /// Version 1 is a line of text, version 2 is binary.
        version: u8 = 2, number(1..=2), Reload;
        /// What version 2 tells beside the addresses: the record's id, the name asked for, a checksum.
        tlvs: Vec<ProxyTlv> = Vec::new(), shown(choices(), "[\"unique_id\", \"authority\"]"), Reload;
    }
}

/// What version 2 tells beside the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyTlv {
    /// The id of the session, as its record has it.
    UniqueId,
    /// The name that the client asked for.
    Authority,
    /// A checksum over the header.
    Crc32c,
}

impl Choice for ProxyTlv {
    const ALL: &'static [(&'static str, Self)] =
        &[("unique_id", Self::UniqueId), ("authority", Self::Authority), ("crc32c", Self::Crc32c)];
}

/// A target, as it is typed.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxiedTarget(ListEntry);

impl fmt::Display for ProxiedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ListEntry::Network(net) => net.fmt(f),
            ListEntry::Name(pattern) => pattern.fmt(f),
        }
    }
}

impl ProxyOutConfig {
    /// Whether a connection to this address, to which this name led, is told of its client.
    pub fn has(&self, name: Option<&Name>, address: SocketAddr) -> bool {
        let to = |target: &ProxiedTarget| match &target.0 {
            ListEntry::Network(net) => net.contains(&address.ip().to_canonical()),
            ListEntry::Name(pattern) => name.is_some_and(|name| pattern.has(name)),
        };
        self.has_port(address.port()) && self.to.iter().any(to)
    }

    /// The same of a connection to what this name leads to, which nobody here knows.
    pub fn has_name(&self, name: &Name, port: u16) -> bool {
        let to = |target: &ProxiedTarget| matches!(&target.0, ListEntry::Name(pattern) if pattern.has(name));
        self.has_port(port) && self.to.iter().any(to)
    }

    fn has_port(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|ports| ports.0.contains(&port))
    }

    /// Whether it has targets that are known by their addresses alone, and whether it has some that are known by name.
    pub fn kinds(&self) -> (bool, bool) {
        let by_name = |target: &&ProxiedTarget| matches!(target.0, ListEntry::Name(_));
        let names = self.to.iter().filter(by_name).count();
        (names < self.to.len(), names > 0)
    }
}

/// A name, an address or a block. Lists are for rules: they may have a million entries, of which those who trust a header are
/// few.
fn target(typed: &str) -> Result<ProxiedTarget, String> {
    match typed.starts_with('@') {
        true => Err("lists are for rules: a target is a name, an address or a block of addresses".to_owned()),
        false => rule_values::entry(typed).map(ProxiedTarget),
    }
}
