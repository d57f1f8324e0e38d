//! What is done for pools once a second: ports are given back whose TIME_WAIT is over, and the log says which addresses are left
//! alone and which serve again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::limits;
use crate::observe::{EgressInEffect, network_text};
use crate::policy::egress::Egress;
use crate::policy::egress::health::{AddressState, Fault};
use crate::policy::egress::ports::TimeWaitReuse;
use crate::sys::sysctl;

/// What the log has said of addresses.
#[derive(Debug, Default)]
pub(super) struct EgressWatch {
    /// What had changed when it last looked.
    changes: u64,
    left_alone: HashMap<(Arc<str>, IpNet), Fault>,
    machine_at: Option<Instant>,
}

/// An address of which there is something new.
#[derive(Debug, PartialEq, Eq)]
enum EgressNews {
    LeftAlone(Fault, Duration),
    Serves,
}

impl EgressWatch {
    /// Does what is due; to be called once a second.
    pub(super) fn look(&mut self, egress: Option<&Arc<Egress>>, now: Instant) {
        let Some(egress) = egress else { return };
        if self.machine_at.is_none_or(|at| now.saturating_duration_since(at) >= limits::SYSCTLS_REFRESH) {
            self.machine_at = Some(now);
            let range = sysctl::local_ports().ok().map(|ports| ports.len() as u32);
            let reuse = sysctl::number("net/ipv4/tcp_tw_reuse");
            egress.ledger().ports().set_machine(range, TimeWaitReuse::of(reuse));
        }
        egress.ledger().fade(now);
        let news = self.news(egress, now);
        let more = news.len().saturating_sub(limits::EGRESS_NEWS_TOLD);
        for ((pool, address), what) in news.into_iter().take(limits::EGRESS_NEWS_TOLD) {
            let address = network_text(&address);
            match what {
                EgressNews::LeftAlone(fault, left) => {
                    let (cause, seconds) = (fault.name(), left.as_secs_f64());
                    tracing::warn!(egress = %pool, address, cause, seconds, "an address is left alone");
                }
                EgressNews::Serves => tracing::info!(egress = %pool, address, "an address serves again"),
            }
        }
        if more > 0 {
            tracing::warn!(more, "other addresses are left alone, or serve again");
        }
    }

    /// What is new since it last looked: nothing is looked at while nothing changes.
    fn news(&mut self, egress: &Arc<Egress>, now: Instant) -> Vec<((Arc<str>, IpNet), EgressNews)> {
        let changes = egress.ledger().changes();
        if std::mem::replace(&mut self.changes, changes) == changes {
            return Vec::new();
        }
        let told = EgressInEffect(Some(Arc::clone(egress))).addresses(None, now);
        let fault = |state: AddressState| state.fault().map(|(fault, _)| fault);
        let found = told
            .iter()
            .filter_map(|one| Some(((Arc::clone(&one.pool), one.address), one, fault(one.state)?)));
        let (mut news, mut left_alone) = (Vec::new(), HashMap::new());
        for (key, one, fault) in found {
            if self.left_alone.remove(&key).is_none() {
                let left = Duration::from_millis(one.left_ms.unwrap_or_default());
                news.push((key.clone(), EgressNews::LeftAlone(fault, left)));
            }
            left_alone.insert(key, fault);
        }
        // Of a pool that is gone nothing is said, nor of an address that an operator has drained meanwhile.
        let is_told = |key: &(Arc<str>, IpNet)| {
            !told
                .iter()
                .any(|one| one.state == AddressState::Drained && (&one.pool, one.address) == (&key.0, key.1))
                && egress
                    .named(&key.0)
                    .and_then(|id| egress.pool(id))
                    .is_some_and(|pool| pool.entry_of(key.1.addr()).is_some())
        };
        let back = std::mem::replace(&mut self.left_alone, left_alone).into_keys().filter(is_told);
        news.extend(back.map(|key| (key, EgressNews::Serves)));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::EgressId;
    use crate::policy::egress::by_hand;
    use crate::policy::egress::health::Outcome;

    #[test]
    fn an_address_that_is_left_alone_is_said_once_and_once_more_when_it_serves() {
        let now = Instant::now();
        let egress = by_hand::egress(&[("fleet", &["192.0.2.1/32", "192.0.2.2/32"])], now);
        let pool = egress.pool(EgressId(1)).unwrap();
        let (source, target) = ([192, 0, 2, 1].into(), [198, 51, 100, 1].into());
        let mut watch = EgressWatch::default();
        assert!(watch.news(&egress, now).is_empty());
        pool.note(source, target, Outcome::AddressMissing, now);
        let key = (Arc::from("fleet"), IpNet::from(source));
        let said = EgressNews::LeftAlone(Fault::Missing, limits::COOLDOWN_FIRST);
        assert_eq!(watch.news(&egress, now), [(key.clone(), said)]);
        assert!(watch.news(&egress, now).is_empty());
        // The probe fails, and the address goes on to be left alone.
        let later = now + limits::COOLDOWN_FIRST;
        assert!(pool.standing(source).unwrap().take(source, later));
        pool.note(source, target, Outcome::AddressMissing, later);
        assert!(watch.news(&egress, later).is_empty());
        let later = later + 2 * limits::COOLDOWN_FIRST;
        pool.note(source, target, Outcome::Connected, later);
        assert_eq!(watch.news(&egress, later), [(key, EgressNews::Serves)]);
        pool.note(source, target, Outcome::AddressMissing, later);
        watch.news(&egress, later);
        let in_effect = EgressInEffect(Some(Arc::clone(&egress)));
        in_effect.set_drained("fleet", source.into(), true, later).unwrap();
        assert!(watch.news(&egress, later).is_empty(), "whoever drained it knows");
    }
}
