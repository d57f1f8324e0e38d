//! BIND requests for names with many addresses while every port of the server's range is taken: each makes it try
//! ports, and others wait meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::armed::{Armed, Who};
use super::attack::{AttackScript, Attempt};
use super::nameserver::{Answer, evil};
use super::plan::HostilePlan;
use super::wire::{BIND, METHOD_AND_REPLY, session};

/// The first address of such a name.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 5, 10);
/// A peer that never comes.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7);
/// How long sessions that hold ports stay: until the server has had enough of them.
const FOR_GOOD: Duration = Duration::from_secs(3600);

struct Binds {
    ports: u64,
}

pub(crate) fn arm(plan: &HostilePlan) -> Armed {
    let all = (0..u32::from(plan.force.addresses)).map(|number| Ipv4Addr::from(u32::from(FIRST) + number));
    let armed = Armed::new(Binds { ports: plan.force.ports }, Who::Anybody);
    Armed { names: Some(Answer::Addresses(all.collect())), ..armed }
}

impl AttackScript for Binds {
    /// The first ones take the ports.
    fn attempt(&mut self, number: u64) -> Attempt {
        if number < self.ports {
            let opening = session(BIND, PEER, None);
            return Attempt { opening, hold: Some(FOR_GOOD), ..Attempt::default() };
        }
        let opening = session(BIND, PEER, Some(&evil(number)));
        Attempt { opening, answer: Some(METHOD_AND_REPLY), ..Attempt::default() }
    }
}
