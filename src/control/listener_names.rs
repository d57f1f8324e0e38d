//! What listeners are called, by rules and by records. Both lists, of the configuration and of those that there are, have one
//! order.

use std::sync::Arc;

use crate::config::{Config, ConfiguredListener, Protocol};
use crate::worker::ListenerName;

/// What rules call the listeners, by their numbers.
pub(super) fn called(config: &Config, names: &[Arc<ListenerName>]) -> Vec<(u16, Arc<str>)> {
    names.iter().map(|name| name.number).zip(config.all_listeners().map(|one| one.name())).collect()
}

/// What records and metrics call the listeners: an address as it is bound, where they have no other name. Each is in memory of
/// its own.
pub(super) fn recorded(config: &Config, names: &[Arc<ListenerName>]) -> Box<[Arc<str>]> {
    let recorded =
        |(one, name): (ConfiguredListener<'_>, &Arc<ListenerName>)| match (one.called(), name.address) {
            (Some(called), _) => Arc::from(called),
            (None, Some(address)) => address.to_string().into(),
            (None, None) => one.address().to_string().into(),
        };
    config.all_listeners().zip(names).map(recorded).collect()
}

/// The listeners: their numbers, what records call them, and what may be spoken there.
pub(super) fn spoken(
    config: &Config,
    names: &[Arc<ListenerName>],
) -> impl Iterator<Item = (u16, Arc<str>, Vec<Protocol>)> {
    let protocols = config.all_listeners().map(|one| config.protocols_of(one.table()).to_vec());
    let numbers = names.iter().map(|name| name.number);
    let of_each = numbers.zip(recorded(config, names)).zip(protocols);
    of_each.map(|((number, name), protocols)| (number, name, protocols))
}
