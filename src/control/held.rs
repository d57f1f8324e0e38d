//! The listeners that there are, and those of a configuration that is to take the place of another.

use std::io;
use std::net::SocketAddr;

use super::listener_kind::{ListenerKind, kind_of, options, scoped};
use super::opening::{OpenedSockets, open_one};
use super::unix_listener;
use crate::config::{Config, ListenAddress, overlap};
use crate::sys::congestion::CongestionControl;
use crate::sys::listener::Listener;

/// A listener that there is, and where it is bound; a unix socket is nowhere.
pub(super) type HeldListener = (ListenerKind, Option<SocketAddr>);

/// The listeners that there are, for who prepares others. It holds no socket: who holds one keeps it open.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldListeners {
    pub(super) groups: Vec<HeldListener>,
    pub(super) closed: bool,
    /// Where workers have sockets yet that go.
    pub(super) leaving: Vec<SocketAddr>,
}

/// The listeners of a configuration that is to take the place of another, in their order.
#[derive(Debug)]
pub(super) struct NextListeners(pub(super) Vec<NextListener>);

#[derive(Debug)]
pub(super) enum NextListener {
    /// It stays what it is: by its place among those held.
    Kept(usize, ListenerKind),
    /// It was opened; without sockets where the server drains.
    Opened(ListenerKind, Option<SocketAddr>, OpenedSockets),
}

impl HeldListeners {
    /// Opens what the configuration has beside these. Nothing is opened before each address was found free.
    ///
    /// # Errors
    /// Which of the addresses, and what the kernel said of it.
    pub(super) fn open_others(
        &self,
        config: &Config,
        congestion: CongestionControl,
    ) -> Result<NextListeners, (usize, io::Error)> {
        let places = self.places(config);
        self.probe_others(config, congestion, &places)?;
        let mut listeners = Vec::with_capacity(places.len());
        for (nth, (one, place)) in config.all_listeners().zip(places).enumerate() {
            let kind = kind_of(one, config);
            listeners.push(match place {
                Some(at) => NextListener::Kept(at, kind),
                None => {
                    let opened = match self.closed {
                        true => one
                            .endpoint()
                            .map(scoped)
                            .transpose()
                            .map(|address| (OpenedSockets::default(), address)),
                        false => open_one(one, config, congestion),
                    };
                    let (opened, address) = opened.map_err(|error| (nth, error))?;
                    NextListener::Opened(kind, address, opened)
                }
            });
        }
        Ok(NextListeners(listeners))
    }

    /// Whether what the configuration has beside these could be opened, and which could not.
    pub(super) fn try_others(
        &self,
        config: &Config,
        congestion: CongestionControl,
    ) -> Vec<(usize, io::Error)> {
        let places = self.places(config);
        let others = places.iter().enumerate().filter(|(_, place)| place.is_none());
        others.filter_map(|(nth, _)| Some((nth, self.probe_one(config, congestion, nth).err()?))).collect()
    }

    fn probe_others(
        &self,
        config: &Config,
        congestion: CongestionControl,
        places: &[Option<usize>],
    ) -> Result<(), (usize, io::Error)> {
        let mut others = places.iter().enumerate().filter(|(_, place)| place.is_none());
        others.try_for_each(|(nth, _)| self.probe_one(config, congestion, nth).map_err(|error| (nth, error)))
    }

    fn probe_one(&self, config: &Config, congestion: CongestionControl, nth: usize) -> io::Result<()> {
        let Some(one) = config.all_listeners().nth(nth) else { return Ok(()) };
        let address = match (one.endpoint(), one.address()) {
            (Some(endpoint), _) => scoped(endpoint)?,
            (None, ListenAddress::Unix(path)) => return unix_listener::probe(&path),
            (None, ListenAddress::Tcp(_)) => return Ok(()),
        };
        // One of ours that has the port may go with this very change, or be on its way; the kernel has the last word when
        // it is opened.
        let held = self.groups.iter().filter_map(|(_, held)| held.as_ref()).filter(|_| !self.closed);
        match held.chain(&self.leaving).any(|ours| overlap(*ours, address)) {
            true => Ok(()),
            // SO_REUSEPORT would let two servers of one user share the address unnoticed: ask without it first.
            false => Listener::probe(address, &options(address, config, congestion)),
        }
    }

    /// For each address of the configuration which of these it is, if it is one: each at most once.
    fn places(&self, config: &Config) -> Vec<Option<usize>> {
        let mut free: Vec<bool> = vec![true; self.groups.len()];
        let mut take = |fits: &dyn Fn(&HeldListener) -> bool| {
            let at = self.groups.iter().enumerate().position(|(at, held)| free[at] && fits(held))?;
            free[at] = false;
            Some(at)
        };
        let kinds: Vec<_> = config.all_listeners().map(|one| kind_of(one, config)).collect();
        let mut places: Vec<_> = kinds.iter().map(|kind| take(&|(held, _)| held == kind)).collect();
        for (kind, place) in kinds.iter().zip(&mut places) {
            *place = place.or_else(|| take(&|(held, _)| held.has_address_of(kind)));
        }
        for (kind, place) in kinds.iter().zip(&mut places) {
            // Written otherwise, it may still be the same address.
            *place = place.or_else(|| {
                let address = scoped(kind.address.tcp()?).ok().filter(|address| address.port() != 0)?;
                take(&|(held, bound)| *bound == Some(address) && held.only_v6 == kind.only_v6)
            });
        }
        places
    }
}
