//! Which server to ask next.
//!
//! Servers are asked in the configured order. One that did not answer rests for
//! [`DNS_SERVER_REST`]: it is asked only after the others. When its rest is over a single question
//! tries it out, and the others follow once that was answered, so a dead first server costs one lookup
//! in ten seconds its first try, not all of them. One that answers without EDNS alone is asked without for
//! [`DNS_PLAIN`].

use std::net::SocketAddr;
use std::time::Instant;

use crate::limits::{DNS_PLAIN, DNS_SERVER_REST, DNS_SERVERS};

/// The servers that one question has been to in this round, as bits.
pub(super) type Tried = u8;

const _: () = assert!(DNS_SERVERS <= Tried::BITS as usize);

#[derive(Debug)]
struct NameServer {
    address: SocketAddr,
    rests_until: Option<Instant>,
    /// Until when it is asked without EDNS.
    plain_until: Option<Instant>,
}

/// The configured servers and their health.
#[derive(Debug)]
pub(super) struct Servers {
    list: Vec<NameServer>,
}

impl Servers {
    pub(super) fn new(addresses: &[SocketAddr]) -> Servers {
        let list = addresses.iter().take(DNS_SERVERS);
        Servers {
            list: list.map(|&address| NameServer { address, rests_until: None, plain_until: None }).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn address(&self, server: usize) -> SocketAddr {
        self.list[server].address
    }

    /// The next server for a question that has been to `tried`, or `None` when the round is over.
    pub(super) fn pick(&mut self, tried: Tried, now: Instant) -> Option<usize> {
        let fresh = |server: &usize| tried & (1 << server) == 0;
        let rested = |server: &NameServer| server.rests_until.is_none_or(|until| until <= now);
        let choice = (0..self.list.len())
            .filter(fresh)
            .find(|&server| rested(&self.list[server]))
            .or_else(|| (0..self.list.len()).filter(fresh).min_by_key(|&s| self.list[s].rests_until))?;
        let server = &mut self.list[choice];
        if server.rests_until.is_some_and(|until| until <= now) {
            // This question is the trial; until it is answered the server rests for the others.
            server.rests_until = Some(now + DNS_SERVER_REST);
        }
        Some(choice)
    }

    /// Whether the server is to be asked with EDNS.
    pub(super) fn takes_edns(&self, server: usize, now: Instant) -> bool {
        self.list[server].plain_until.is_none_or(|until| until <= now)
    }

    /// Notes that the server answered a question with EDNS.
    pub(super) fn took_edns(&mut self, server: usize) {
        self.list[server].plain_until = None;
    }

    /// Notes that the server answered a question without EDNS, and did not with it.
    pub(super) fn took_plain(&mut self, server: usize, now: Instant) {
        self.list[server].plain_until = Some(now + DNS_PLAIN);
    }

    /// Notes that the server answered, whatever it said.
    pub(super) fn answered(&mut self, server: usize) {
        self.list[server].rests_until = None;
    }

    /// Notes that the server was silent or unreachable.
    pub(super) fn failed(&mut self, server: usize, now: Instant) {
        self.list[server].rests_until = Some(now + DNS_SERVER_REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_rest_trial_and_recovery() {
        let addresses: Vec<SocketAddr> = (1..=3).map(|n| SocketAddr::from(([192, 0, 2, n], 53))).collect();
        let mut servers = Servers::new(&addresses);
        let now = Instant::now();
        assert_eq!(servers.pick(0b000, now), Some(0));
        assert_eq!(servers.pick(0b001, now), Some(1));
        assert_eq!(servers.pick(0b111, now), None);
        servers.failed(0, now);
        assert_eq!(servers.pick(0b000, now), Some(1));
        assert_eq!(servers.pick(0b110, now), Some(0), "a resting server is the last resort");
        let later = now + DNS_SERVER_REST;
        assert_eq!(servers.pick(0b000, later), Some(0), "one question tries it out");
        assert_eq!(servers.pick(0b000, later), Some(1), "the next does not wait for that");
        servers.answered(0);
        assert_eq!(servers.pick(0b000, later), Some(0));
    }

    #[test]
    fn the_list_is_bounded() {
        let addresses = vec![SocketAddr::from(([192, 0, 2, 1], 53)); 100];
        let servers = Servers::new(&addresses);
        assert_eq!(servers.len(), DNS_SERVERS);
        assert_eq!(servers.address(0), addresses[0]);
    }
}
