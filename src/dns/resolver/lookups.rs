//! What is asked of the resolver: the addresses of a name, or the name of an address. The hosts file comes first.

use std::net::IpAddr;
use std::time::Instant;

use super::Resolver;
use crate::dns::message::RecordKind;
use crate::dns::reverse::reverse_name;
use crate::dns::{Answer, DnsData, DnsError, PointerAnswer, Settings, sort};
use crate::shares::Source;

impl Resolver {
    /// Resolves a canonical name (lower case, no trailing dot) for `client`. `Some` is the answer at once,
    /// from the hosts file, the cache or for want of room; otherwise a [`ResolverAction::Answer`] with `ticket`, a
    /// number that no other waiting lookup has, follows within the timeout.
    pub fn lookup(&mut self, name: &str, client: Source, ticket: u64, now: Instant) -> Option<Answer> {
        self.latest = Some(now);
        let listed = self.settings.hosts.lookup(name);
        if !listed.is_empty() {
            return Some(answer_of_hosts(listed, &self.settings));
        }
        let kinds = RecordKind::addresses(self.settings.prefer);
        self.learn(name, kinds, client, ticket, now).map(DnsData::addresses)
    }

    /// Asks for the name of an address for `client`. `Some` is the answer at once, as with [`Resolver::lookup`];
    /// otherwise a [`ResolverAction::Named`] with `ticket` follows within the timeout.
    pub fn reverse(
        &mut self,
        ip: IpAddr,
        client: Source,
        ticket: u64,
        now: Instant,
    ) -> Option<PointerAnswer> {
        self.latest = Some(now);
        if let Some(name) = self.settings.hosts.name_of(ip) {
            return Some(Ok(name));
        }
        let name = reverse_name(ip);
        self.learn(&name, &[RecordKind::Pointer], client, ticket, now).map(DnsData::name)
    }
}

/// A name of the hosts file is the file's alone: no other family is asked for elsewhere.
fn answer_of_hosts(listed: &[IpAddr], settings: &Settings) -> Answer {
    let sorted = sort(listed, settings.prefer);
    if sorted.is_empty() { Err(DnsError::NoAddress) } else { Ok(sorted.into()) }
}
