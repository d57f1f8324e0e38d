//! Sockets that a service manager passed: which listener each of them is. What is none is closed, and said.
//!
//! Some it opened itself, and they stay its own; others this server's predecessor opened and had it keep (`stored`).

use std::fmt;
use std::net::SocketAddr;

use super::given::GivenListener;
use super::listener_kind::scoped;
use super::stored::is_stored;
use crate::admin::{GivenDoor, SocketFile};
use crate::config::{Config, ConfiguredListener, Endpoint, ListenAddress};
use crate::sys::passed::{DescriptorKind, PassedDescriptor};
use crate::sys::unix::{self, Found, SocketKind};

/// The name of one that is the admin endpoint's, wherever it is bound.
const ADMIN: &str = "admin";

/// What was passed, by what it is for.
#[derive(Debug, Default)]
pub(super) struct Activation {
    /// Listeners of clients.
    pub(super) clients: Vec<GivenListener>,
    /// Listeners of the admin endpoint.
    pub(super) doors: Vec<GivenDoor>,
    /// Names of what the manager keeps and nobody wants any more.
    pub(super) unwanted: Vec<String>,
}

/// The sockets that are bound to one place and have one name.
struct PassedGroup {
    name: String,
    place: ListenAddress,
    sockets: Vec<PassedDescriptor>,
}

impl Activation {
    /// What these are to the configuration.
    pub(super) fn of(passed: Vec<PassedDescriptor>, config: &Config) -> Activation {
        let mut activation = Activation::default();
        // A name is for what no address tells.
        let (placed, named): (Vec<_>, Vec<_>) =
            activation.by_place(passed).into_iter().partition(|group| group.is_placed(config));
        for group in placed.into_iter().chain(named) {
            activation.assign(group, config);
        }
        activation
    }

    /// Those that listen, each with the others of its name and place.
    fn by_place(&mut self, passed: Vec<PassedDescriptor>) -> Vec<PassedGroup> {
        let mut groups: Vec<PassedGroup> = Vec::new();
        for one in passed {
            let place = match one.kind() {
                DescriptorKind::Listening => place_of(&one),
                _ => None,
            };
            let Some(place) = place else {
                let kind = one.kind();
                tracing::warn!(
                    "{one}, which was passed, is {kind} and no listener at an address or a path: closed"
                );
                self.let_go(&one.name);
                continue;
            };
            match groups.iter_mut().find(|group| group.place == place && group.name == one.name) {
                Some(group) => group.sockets.push(one),
                None => groups.push(PassedGroup { name: one.name.clone(), place, sockets: vec![one] }),
            }
        }
        groups
    }

    fn assign(&mut self, group: PassedGroup, config: &Config) {
        if let Some(address) = group.door(config, &self.doors) {
            return self.assign_door(group, address);
        }
        let Some(one) = group.listener(config) else {
            match is_stored(&group.name) {
                true => {
                    tracing::info!("{group} was kept for this server, and is not configured any more: closed")
                }
                false => tracing::warn!(
                    "{group} was passed and is no listener of the configuration: closed; whoever connects there waits in vain"
                ),
            }
            return self.let_go(&group.name);
        };
        if self.clients.iter().any(|given| given.address == one.address() && given.called == one.name()) {
            tracing::warn!("{group} is a listener that another socket was passed for: closed");
            return self.let_go(&group.name);
        }
        match group.give(one) {
            Ok(given) => self.clients.push(given),
            Err((name, what)) => {
                tracing::warn!("{what}: closed");
                self.let_go(&name);
            }
        }
    }

    /// The endpoint has one socket for each address.
    fn assign_door(&mut self, group: PassedGroup, address: ListenAddress) {
        let mut sockets = group.sockets.into_iter();
        let first = sockets.next().map(|passed| GivenDoor::checked(passed.descriptor));
        for more in sockets {
            tracing::warn!("{more} is where the admin endpoint has another socket: closed");
        }
        match first {
            Some(Ok(socket)) => {
                self.doors.push(GivenDoor { number: None, address, socket, kept: true, file: None });
            }
            Some(Err(error)) => tracing::warn!("the socket of the admin endpoint cannot be taken: {error}"),
            None => {}
        }
    }

    fn let_go(&mut self, name: &str) {
        if is_stored(name) && !self.unwanted.iter().any(|unwanted| unwanted == name) {
            self.unwanted.push(name.to_owned());
        }
    }
}

impl PassedGroup {
    /// Whether something of the configuration has this address.
    fn is_placed(&self, config: &Config) -> bool {
        let addresses =
            config.all_listeners().map(|one| one.address()).chain(config.admin.listen.iter().cloned());
        addresses.into_iter().any(|address| self.is_at(&address))
    }

    fn is_at(&self, address: &ListenAddress) -> bool {
        match (address.tcp(), self.bound()) {
            (Some(endpoint), Some(bound)) => is_at(endpoint, bound),
            _ => *address == self.place,
        }
    }

    /// The listener of the configuration that has this address, or else this name.
    fn listener<'c>(&self, config: &'c Config) -> Option<ConfiguredListener<'c>> {
        let by_place = config.all_listeners().find(|one| self.is_at(&one.address()));
        by_place.or_else(|| config.all_listeners().find(|one| one.called() == Some(&*self.name)))
    }

    /// The address of the admin endpoint that this is, if it is one and no other is it: by the address, or else by the name.
    fn door(&self, config: &Config, taken: &[GivenDoor]) -> Option<ListenAddress> {
        let is_free = |one: &&ListenAddress| !taken.iter().any(|door| door.address == **one);
        let mut free = config.admin.listen.iter().filter(is_free);
        let by_place = free.clone().find(|one| self.is_at(one));
        by_place.or_else(|| free.next().filter(|_| self.name == ADMIN)).cloned()
    }

    fn bound(&self) -> Option<SocketAddr> {
        self.place.tcp().map(|endpoint| endpoint.address)
    }

    /// This listener, with these sockets.
    fn give(self, one: ConfiguredListener<'_>) -> Result<GivenListener, (String, String)> {
        let (said, name) = (self.to_string(), self.name.clone());
        let fail = |what: &dyn fmt::Display| (name.clone(), format!("{said}: {what}"));
        let stored = is_stored(&self.name);
        let file = match &self.place {
            // Its file may be gone with the folder that it was in.
            ListenAddress::Unix(path) if stored => match unix::look(SocketKind::Stream, path) {
                Ok(Found::Live) => {
                    let file = unix::identity(path).map_err(|error| fail(&error))?;
                    Some(SocketFile::given(path, file))
                }
                _ => return Err(fail(&"nobody can reach it at its path any more")),
            },
            _ => None,
        };
        let sockets = self.sockets.into_iter().map(|passed| passed.descriptor).collect();
        let mut given = GivenListener::of(sockets).map_err(|error| fail(&error))?;
        (given.called, given.address) = (one.name(), one.address());
        (given.kept, given.file) = (!stored, file);
        Ok(given)
    }
}

/// What the log calls it.
impl fmt::Display for PassedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        match &self.sockets[..] {
            [one] => write!(f, "{one}, which listens on {}", self.place),
            several => write!(f, "{} descriptors ({name}), which listen on {}", several.len(), self.place),
        }
    }
}

fn place_of(passed: &PassedDescriptor) -> Option<ListenAddress> {
    let path = || passed.path().map(ListenAddress::Unix);
    passed.address().map(|bound| ListenAddress::Tcp(bound.into())).or_else(path)
}

/// Whether an address, as typed, is where something is bound. Port 0 is nowhere in particular.
fn is_at(endpoint: &Endpoint, bound: SocketAddr) -> bool {
    endpoint.address.port() != 0 && scoped(endpoint).is_ok_and(|address| address == bound)
}

#[cfg(test)]
mod tests;
