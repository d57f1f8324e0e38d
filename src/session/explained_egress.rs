//! From where a session would leave: the pool that its verdict says, and the address where that is settled.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::explanation::{ExplainedEgress, Explanation};
use super::failure::{DialError, Failure};
use super::socks5::rep_of;
use crate::policy::egress::health::AddressState;
use crate::policy::egress::{AddressPool, Egress, LeavingAsked};
use crate::policy::explain::Explained;
use crate::policy::{Denial, Verdict};
use crate::proto::address::Host;
use crate::proto::request::RequestCommand;

impl Explanation {
    /// Says from where it would leave; nothing where it would by the kernel's own choice, or not at all.
    pub fn tell_egress(&mut self, egress: Option<&Egress>, now: Instant) {
        let Some(leaving) = self.leaves_by() else { return };
        let pool = match leaving {
            Verdict::Deny(Denial::NoPool(_), _) => {
                self.egress = Some(ExplainedEgress::Missing);
                return;
            }
            Verdict::Deny(..) => None,
            Verdict::Allow(allowed) => allowed.way.egress.and_then(|id| egress?.pool(id)),
        };
        let Some(pool) = pool else { return };
        let allowed =
            |(_, explained): &&(SocketAddr, Explained)| matches!(explained.verdict, Verdict::Allow(_));
        let targets = || self.addresses.iter().filter(allowed).map(|(address, _)| address.ip());
        let target = targets().find(|target| pool.leads_to(*target)).or_else(|| targets().next());
        // What goes through a parent leaves towards that, of whichever family it is; and a datagram is told nothing.
        let dials = self.supposed.command == RequestCommand::Connect && self.parent.is_none();
        let leads = !dials || target.is_none_or(|target| pool.leads_to(target));
        if !leads {
            let by_name = matches!(self.supposed.target.host, Host::Name(_));
            self.reply = rep_of(&Failure::Dial(DialError::OtherFamily { by_name }));
        }
        let supposed = &self.supposed;
        let parameters = supposed.parameters.as_deref();
        let asked = LeavingAsked {
            user: supposed.identity.user().map(|user| &**user),
            session: parameters.and_then(|parameters| parameters.session.as_deref()),
            ttl: parameters.and_then(|parameters| parameters.ttl),
            source: supposed.client,
            reached: None,
            target: Some(&supposed.target.host),
            unix_seconds: supposed.at.unwrap_or_else(Timestamp::now).as_second().unsigned_abs(),
        };
        let (entries, serving) = entries_towards(pool, target.filter(|_| dials && leads), now);
        let target = target.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        self.egress = Some(ExplainedEgress::Pool {
            name: Arc::clone(pool.name()),
            select: pool.spec().choosing.select,
            address: pool.settled(&asked, target, now).filter(|_| leads),
            entries,
            serving,
            missing_interface: pool.missing_interface().cloned(),
            leads,
        });
    }
}

/// How many entries a pool has for a target, of either family where that is not known, and how many of them serve.
fn entries_towards(pool: &AddressPool, target: Option<IpAddr>, now: Instant) -> (usize, usize) {
    let v6 = target.map(|target| target.to_canonical().is_ipv6());
    let all = pool.entries().iter().zip(pool.standings());
    let of = all.filter(|(entry, _)| v6.is_none_or(|v6| entry.addr().is_ipv6() == v6));
    of.fold((0, 0), |(entries, serving), (_, standing)| {
        (entries + 1, serving + usize::from(standing.state(now) == AddressState::Serving))
    })
}
