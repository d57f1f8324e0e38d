//! What is done for pools once a second: ports are given back whose TIME_WAIT is over, and the log says which addresses are left
//! alone and which serve again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::limits;
use crate::observe::{EgressInEffect, network_text};
use crate::outbound::NetworkNamespace;
use crate::policy::egress::health::{AddressState, Fault};
use crate::policy::egress::ports::TimeWaitReuse;
use crate::policy::egress::{AddressPool, Egress};
use crate::sys::{machine, outbound, sysctl};

/// What the log has said of addresses.
#[derive(Debug, Default)]
pub(super) struct EgressWatch {
    /// What had changed when it last looked.
    changes: u64,
    left_alone: HashMap<(Arc<str>, IpNet), Fault>,
    /// Of which pools it has read what their networks say of ports, and when.
    networks: Option<(Weak<Egress>, Instant)>,
    /// The pools that leave by an interface and the interface of each, and whether it is not there.
    interfaces: HashMap<PoolInterface, bool>,
}

/// The name of a pool, and that of its interface.
type PoolInterface = (Arc<str>, Arc<str>);

/// Where an interface is looked for: in which network namespace, and by which name.
type InterfaceAt<'a> = (Option<&'a Path>, &'a str);

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
        for ((pool, interface), is_missing) in self.interface_news(egress, is_there) {
            match is_missing {
                true => {
                    tracing::warn!(egress = %pool, %interface, "nothing leaves from a pool: its interface is gone");
                }
                false => tracing::info!(egress = %pool, %interface, "the interface of a pool is there again"),
            }
        }
        let is_known = |(known, at): &(Weak<Egress>, Instant)| {
            std::ptr::eq(known.as_ptr(), Arc::as_ptr(egress))
                && now.saturating_duration_since(*at) < limits::SYSCTLS_REFRESH
        };
        if !self.networks.as_ref().is_some_and(is_known) {
            self.networks = Some((Arc::downgrade(egress), now));
            read_networks(egress);
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

    /// The pools whose interface has gone or come back, and whether it has gone. What was not there at a start or a reload was said
    /// by that.
    fn interface_news(
        &mut self,
        egress: &Egress,
        is_there: impl Fn(&AddressPool, &str) -> Option<bool>,
    ) -> Vec<(PoolInterface, bool)> {
        let (mut looked, mut found) = (HashMap::<InterfaceAt<'_>, Option<bool>>::new(), HashMap::new());
        let mut news = Vec::new();
        for pool in egress.pools() {
            let sockets = &pool.spec().sockets;
            let Some(interface) = &sockets.interface else { continue };
            // Many pools may leave by one.
            let there = looked
                .entry((sockets.netns.as_deref(), interface))
                .or_insert_with(|| is_there(pool, interface));
            let key = (Arc::clone(pool.name()), Arc::clone(interface));
            let before = self.interfaces.get(&key).copied();
            let Some(is_missing) = there.map(|there| !there).or(before) else { continue };
            pool.note_interface(is_missing);
            if before.is_some_and(|before| before != is_missing) {
                news.push((key.clone(), is_missing));
            }
            found.insert(key, is_missing);
        }
        self.interfaces = found;
        news.truncate(limits::EGRESS_NEWS_TOLD);
        news
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

/// Whether the network of a pool's sockets has an interface of this name; `None` where it cannot be entered.
fn is_there(pool: &AddressPool, interface: &str) -> Option<bool> {
    outbound::within(pool.options(), || Ok(machine::interface_index(interface).is_some())).ok()
}

/// Reads what the network of each pool says of ports: that of another namespace is set by itself.
fn read_networks(egress: &Egress) {
    let read = || {
        let range = sysctl::local_ports().ok().map(|ports| ports.len() as u32);
        Ok((range, TimeWaitReuse::of(sysctl::number("net/ipv4/tcp_tw_reuse"))))
    };
    let mut of_networks: Vec<(Option<Arc<NetworkNamespace>>, Option<_>)> = Vec::new();
    for pool in egress.pools() {
        let options = pool.options();
        let known = of_networks.iter().find(|(netns, _)| *netns == options.netns).map(|(_, said)| *said);
        let said = known.unwrap_or_else(|| {
            let said = outbound::within(options, read).ok();
            of_networks.push((options.netns.clone(), said));
            said
        });
        said.into_iter().for_each(|(range, reuse)| pool.set_network(range, reuse));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::outbound::OutboundOptions;
    use crate::policy::EgressId;
    use crate::policy::egress::health::Outcome;
    use crate::policy::egress::{PoolClient, PoolSockets, PoolSpec, by_hand};

    #[test]
    fn an_address_that_is_left_alone_is_said_once_and_once_more_when_it_serves() {
        let now = Instant::now();
        let egress = by_hand::egress(&[("fleet", &["192.0.2.1/32", "192.0.2.2/32"])], now);
        let pool = egress.pool(EgressId(1)).unwrap();
        let (source, target) = ([192, 0, 2, 1].into(), [198, 51, 100, 1].into());
        let (mut watch, by) = (EgressWatch::default(), PoolClient::default());
        assert!(watch.news(&egress, now).is_empty());
        pool.note(by, (source, target), Outcome::AddressMissing, now);
        let key = (Arc::from("fleet"), IpNet::from(source));
        let said = EgressNews::LeftAlone(Fault::Missing, limits::COOLDOWN_FIRST);
        assert_eq!(watch.news(&egress, now), [(key.clone(), said)]);
        assert!(watch.news(&egress, now).is_empty());
        // The probe fails, and the address goes on to be left alone.
        let later = now + limits::COOLDOWN_FIRST;
        assert!(pool.standing(source).unwrap().take(source, by, later));
        pool.note(by, (source, target), Outcome::AddressMissing, later);
        assert!(watch.news(&egress, later).is_empty());
        let later = later + 2 * limits::COOLDOWN_FIRST;
        pool.note(by, (source, target), Outcome::Connected, later);
        assert_eq!(watch.news(&egress, later), [(key, EgressNews::Serves)]);
        pool.note(by, (source, target), Outcome::AddressMissing, later);
        watch.news(&egress, later);
        let in_effect = EgressInEffect(Some(Arc::clone(&egress)));
        in_effect.set_drained("fleet", source.into(), true, later).unwrap();
        assert!(watch.news(&egress, later).is_empty(), "whoever drained it knows");
    }

    #[test]
    fn an_interface_that_goes_or_comes_back_is_said_once_and_the_pool_knows_of_it() {
        let pool = |number: u16, name: &str, address: &str| {
            let sockets = PoolSockets { interface: Some("eth9".into()), ..PoolSockets::default() };
            let addresses = vec![address.parse().unwrap()];
            let spec = PoolSpec { name: name.into(), addresses, sockets, ..PoolSpec::default() };
            (EgressId(number), spec, OutboundOptions::default())
        };
        let both = [pool(1, "a", "192.0.2.1/32"), pool(2, "b", "192.0.2.2/32")];
        let egress = Egress::new(both, None, Instant::now());
        let asked = Cell::new(0);
        let mut watch = EgressWatch::default();
        let mut look = |there: Option<bool>| {
            let answer = |_: &AddressPool, _: &str| {
                asked.set(asked.get() + 1);
                there
            };
            let news = watch.interface_news(&egress, answer);
            let told: Vec<(String, bool)> =
                news.into_iter().map(|((pool, _), is_missing)| (pool.to_string(), is_missing)).collect();
            (told, egress.pools().all(|pool| pool.missing_interface().is_some()))
        };
        // Whoever started with it was told.
        assert_eq!(look(Some(false)), (vec![], true));
        assert_eq!(look(Some(true)), (vec![("a".into(), false), ("b".into(), false)], false));
        assert_eq!(look(None), (vec![], false), "nothing is known");
        assert_eq!(look(Some(true)), (vec![], false));
        assert_eq!(look(Some(false)), (vec![("a".into(), true), ("b".into(), true)], true));
        assert_eq!(asked.get(), 5, "pools share what they leave by");
    }
}
