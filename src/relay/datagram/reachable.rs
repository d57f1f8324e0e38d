//! To which addresses there is a way, for a datagram cannot try them in turn as a connection does.

use std::net::{IpAddr, SocketAddr};

use super::association::Family;
use super::outward::Outward;
use crate::limits;
use crate::policy::egress::SessionPool;

/// To which of a name's addresses there is a way by a route. Each is asked for once, whatever the ports, and no more than
/// a few of a family: to ask costs system calls, and a name may have dozens of addresses and dozens of datagrams that wait
/// for it.
#[derive(Debug, Default)]
pub(super) struct Reachable {
    pub(super) outward: Outward,
    /// The pool, whose addresses lead to a family or do not.
    pool: Option<SessionPool>,
    /// A parent knows the way.
    pub(super) anywhere: bool,
    asked: [Vec<(IpAddr, bool)>; 2],
}

impl Reachable {
    pub(super) fn by(outward: Outward, pool: Option<SessionPool>) -> Reachable {
        Reachable { outward, pool, ..Reachable::default() }
    }

    /// Whether there is a way to `to`, as `ask` says of an address and the mark of the route.
    pub(super) fn has(&mut self, to: SocketAddr, ask: impl FnOnce(SocketAddr, Option<u32>) -> bool) -> bool {
        if self.anywhere {
            return true;
        }
        if let Some(pool) = &self.pool {
            return pool.leads_to(to.ip());
        }
        let route = self.outward.route;
        if !route.serves(to.ip()) {
            return false;
        }
        let asked = &mut self.asked[Family::of(to.ip().to_canonical()) as usize];
        if let Some((_, leads)) = asked.iter().find(|(ip, _)| *ip == to.ip()) {
            return *leads;
        }
        if asked.len() >= limits::UDP_ROUTES_ASKED {
            return false;
        }
        let leads = ask(to, route.mark);
        asked.push((to.ip(), leads));
        leads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_asked_for_once_and_few_of_a_family() {
        let mut reachable = Reachable::default();
        let mut asked = 0;
        for port in 1..=64 {
            for last in 1..=64 {
                let to = SocketAddr::from(([192, 0, 2, last], port));
                assert!(!reachable.has(to, |_, _| {
                    asked += 1;
                    false
                }));
            }
        }
        assert_eq!(asked, limits::UDP_ROUTES_ASKED);
        // The other family is none of theirs.
        assert!(reachable.has("[2001:db8::1]:1".parse().unwrap(), |_, _| true));
        assert!(reachable.has("[2001:db8::1]:2".parse().unwrap(), |_, _| false));
    }
}
