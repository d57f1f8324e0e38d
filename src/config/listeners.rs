//! The one list of listeners: the addresses of `[server] listen`, then the tables `[[listener]]`. A listener's place in it is
//! what everything else goes by.

use std::sync::Arc;

use super::at::{At, TablePath};
use super::choice::{AuthMethod, Choice, Protocol, ProxyProtocol};
use super::endpoint::Endpoint;
use super::listen_address::ListenAddress;
use super::listener_table::ListenerConfig;
use super::problem::{Problems, quoted};
use super::reach::{collide, covered};
use super::tables::Config;
use super::value::relay_address;
use crate::limits;
use crate::proto::request::RequestCommand;

/// A listener of a configuration, wherever it was typed.
#[derive(Clone, Copy, Debug)]
pub enum ConfiguredListener<'a> {
    /// An address of `[server] listen`.
    Short(&'a Endpoint),
    /// A table.
    Table(&'a ListenerConfig),
}

impl<'a> ConfiguredListener<'a> {
    /// Its table; `None` for an address of `[server] listen`.
    pub fn table(&self) -> Option<&'a ListenerConfig> {
        match self {
            ConfiguredListener::Short(_) => None,
            ConfiguredListener::Table(table) => Some(table),
        }
    }

    /// The address and port, as typed; `None` for a unix socket.
    pub fn endpoint(&self) -> Option<&'a Endpoint> {
        match self {
            ConfiguredListener::Short(endpoint) => Some(endpoint),
            ConfiguredListener::Table(table) => table.address.tcp(),
        }
    }

    /// Where it listens, as typed.
    pub fn address(&self) -> ListenAddress {
        match self {
            ConfiguredListener::Short(endpoint) => ListenAddress::Tcp((*endpoint).clone()),
            ConfiguredListener::Table(table) => table.address.clone(),
        }
    }

    /// Its name; one that has none is called by its address.
    pub fn name(&self) -> Arc<str> {
        match self.table() {
            Some(table) if !table.name.is_empty() => table.name.clone(),
            _ => self.address().to_string().into(),
        }
    }

    /// Its name, where it has another than its address.
    pub fn called(&self) -> Option<&'a str> {
        let name = self.table().map(|table| &*table.name)?;
        (!name.is_empty() && name != self.address().to_string()).then_some(name)
    }

    /// Whether it is called so, by its name or by its address.
    pub fn is_called(&self, called: &str) -> bool {
        *self.name() == *called || self.address().to_string() == called
    }
}

impl Config {
    /// Every listener, each at its place.
    pub fn all_listeners(&self) -> impl Iterator<Item = ConfiguredListener<'_>> + Clone {
        let short = self.server.listen.iter().map(ConfiguredListener::Short);
        short.chain(self.listeners.iter().map(ConfiguredListener::Table))
    }

    /// How many listeners there are.
    pub fn listener_count(&self) -> usize {
        self.server.listen.len() + self.listeners.len()
    }

    /// The table of the listener at this place, where it has one.
    pub fn listener_table(&self, nth: usize) -> Option<&ListenerConfig> {
        self.listeners.get(nth.checked_sub(self.server.listen.len())?)
    }

    /// The name of the listener that is called so, by its name before another by its address.
    pub fn listener_named(&self, called: &str) -> Option<Arc<str>> {
        let by_name = self.all_listeners().map(|one| one.name()).find(|name| **name == *called);
        by_name.or_else(|| Some(self.all_listeners().find(|one| one.is_called(called))?.name()))
    }

    /// What may be spoken to the listener that has this table, or none.
    pub fn protocols_of<'a>(&'a self, table: Option<&'a ListenerConfig>) -> &'a [Protocol] {
        table.map_or(&[Protocol::Socks5], |table| &table.protocols)
    }

    /// What may be asked for of the listener that has this table, or none; empty: everything.
    pub fn commands_of<'a>(&'a self, table: Option<&'a ListenerConfig>) -> &'a [RequestCommand] {
        match table {
            // Neither peers nor datagrams could come to it.
            Some(ListenerConfig { address: ListenAddress::Unix(_), commands, .. }) if commands.is_empty() => {
                &[RequestCommand::Connect, RequestCommand::Resolve, RequestCommand::ResolvePtr]
            }
            Some(table) => &table.commands,
            None => &[],
        }
    }

    /// Whether this may be asked for of the listener that has this table, or none.
    ///
    /// # Errors
    /// What to say where it may not.
    pub fn takes(&self, table: Option<&ListenerConfig>, command: RequestCommand) -> Result<(), String> {
        let commands = self.commands_of(table);
        match commands.is_empty() || commands.contains(&command) {
            true => Ok(()),
            false => Err(format!(
                "`command`: the listener does not take {}, whatever the rules say",
                command.name()
            )),
        }
    }

    /// The methods of who comes by the listener that has this table, or none.
    pub fn methods_of<'a>(&'a self, table: Option<&'a ListenerConfig>) -> &'a [AuthMethod] {
        table.and_then(|table| table.methods.as_deref()).unwrap_or(&self.auth.methods)
    }

    /// Whether a listener has this method.
    pub fn asks(&self, method: AuthMethod) -> bool {
        self.all_listeners().any(|one| self.methods_of(one.table()).contains(&method))
    }

    /// Whether anybody is let in by the users file.
    pub fn asks_users(&self) -> bool {
        self.asks(AuthMethod::Password) || self.auth.socks4_ident
    }

    /// All that listeners are called, each beside its place: the names, then the addresses of those that have another name.
    pub fn listener_calls(&self) -> impl Iterator<Item = (String, usize)> {
        let names = self.all_listeners().enumerate().map(|(nth, one)| (one.name().to_string(), nth));
        let named = self.all_listeners().enumerate().filter_map(|(nth, one)| {
            let address = one.address().to_string();
            (*one.name() != *address).then_some((address, nth))
        });
        names.chain(named)
    }

    /// Adds a problem with where the listener at this place listens. `what` is a single line.
    pub fn blame_listener(&self, problems: &mut Problems, nth: usize, what: String) {
        match nth.checked_sub(self.server.listen.len()) {
            None => self.places.blame_entry(problems, ("server", "listen"), nth, what),
            Some(table) => self.places.blame_in(problems, ("listener", table, "address"), what),
        }
    }
}

/// Fills in what follows from other keys. `typed`: whether `[server] listen` was.
pub(super) fn complete(config: &mut Config, typed: bool) {
    if !typed && !config.listeners.is_empty() {
        config.server.listen.clear();
    }
    for table in &mut config.listeners {
        if table.name.is_empty() {
            table.name = table.address.to_string().into();
        }
    }
}

/// Reports what does not go together.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    let (count, most) = (config.listener_count(), limits::MAX_LISTEN);
    if count == 0
        && !problems.touch("server", "listen")
        && !problems.touch_any_of("listener")
        && let Some(at) = problems.places().at("server", "listen").cloned()
    {
        problems.push(at, "is empty: it needs an address, where there is no [[listener]]".to_owned());
    }
    if count > most && !config.listeners.is_empty() {
        let at = begins(problems, config.listeners.len() - 1);
        problems.push(at, format!("{count} listeners are too many: at most {most}"));
    }
    for nth in 0..config.listeners.len() {
        check_name(config, nth, problems);
        check_address(config, nth, problems);
        check_balancers(config, nth, problems);
        check_file(config, nth, problems);
    }
    check_short_form(config, problems);
}

fn path(nth: usize) -> TablePath {
    TablePath { name: "listener", nth: Some(nth) }
}

/// Where the table begins.
fn begins(problems: &mut Problems, nth: usize) -> At {
    problems.places().table(path(nth)).cloned().unwrap_or(At::File)
}

/// Where a key of the table was typed, or the table begins.
pub(super) fn key_of(problems: &mut Problems, nth: usize, key: &str) -> At {
    let typed = problems.places().at(path(nth), key).cloned();
    typed.unwrap_or_else(|| begins(problems, nth))
}

/// A name is one listener's alone, and one that is an address is its own.
fn check_name(config: &Config, nth: usize, problems: &mut Problems) {
    let ListenerConfig { name, address, .. } = &config.listeners[nth];
    let is_own = **name == *address.to_string();
    if problems.touch(path(nth), "name") || problems.touch(path(nth), "address") {
        return;
    }
    let at = key_of(problems, nth, "name");
    if !is_own && (relay_address(name).is_ok() || name.contains(':')) {
        return problems.push(at, format!("{} is an address, and another than its own", quoted(name)));
    }
    let place = config.server.listen.len() + nth;
    // Where one address stands twice, that is what is said.
    let twice = is_own && address.tcp().is_none_or(|endpoint| endpoint.address.port() != 0);
    if !twice && config.all_listeners().take(place).any(|earlier| earlier.name() == *name) {
        let what =
            format!("{} is what another listener is called: it needs a `name` of its own", quoted(name));
        problems.push(at, what);
    }
}

/// The kernel gives nobody an address that another has.
fn check_address(config: &Config, nth: usize, problems: &mut Problems) {
    let address = &config.listeners[nth].address;
    if problems.touch(path(nth), "address") {
        return;
    }
    if problems.places().at(path(nth), "address").is_none() {
        let at = begins(problems, nth);
        return problems.push(at, "needs an `address`, such as \"127.0.0.1:1080\"".to_owned());
    }
    let place = config.server.listen.len() + nth;
    let at = key_of(problems, nth, "address");
    let mut earlier = config.all_listeners().take(place);
    let endpoint = match address {
        ListenAddress::Tcp(endpoint) => endpoint,
        ListenAddress::Unix(_) => {
            if earlier.any(|one| one.address() == *address) {
                problems.push(at, format!("\"{address}\" is listened on twice"));
            }
            return;
        }
    };
    let others = config.all_listeners().filter_map(|one| one.endpoint());
    if endpoint.address.port() != 0
        && earlier.any(|one| one.endpoint().is_some_and(|one| one.canonical() == endpoint.canonical()))
    {
        problems.push(at, format!("\"{address}\" is listened on twice"));
    } else if let Some(what) = covered(endpoint, others) {
        problems.push(at, what);
    }
}

/// A unix socket has a file, and nothing that peers or datagrams could come to; what has an address has no file.
fn check_file(config: &Config, nth: usize, problems: &mut Problems) {
    let ListenerConfig { address, commands, .. } = &config.listeners[nth];
    let needs_address =
        |command: &&RequestCommand| matches!(command, RequestCommand::Bind | RequestCommand::UdpAssociate);
    let wrong: &[(&str, &str)] = match address {
        ListenAddress::Tcp(_) => &[
            ("mode", "is of the file of a unix socket, and this listener has none: leave it out"),
            ("owner", "is of the file of a unix socket, and this listener has none: leave it out"),
        ],
        ListenAddress::Unix(_) if commands.iter().any(|command| needs_address(&command)) => {
            &[("commands", "at a unix socket there is no address for peers and datagrams to come to")]
        }
        ListenAddress::Unix(_) => &[
            ("advertise", "at a unix socket there are no datagrams: leave it out"),
            ("udp_ports", "at a unix socket there are no datagrams: leave it out"),
        ],
    };
    if problems.touch(path(nth), "address") {
        return;
    }
    for (key, what) in wrong {
        if let Some(at) = problems.places().at(path(nth), key).cloned() {
            problems.push(at, (*what).to_owned());
        }
    }
}

/// Who says who clients are has to be named: whoever may say so is whoever he likes.
fn check_balancers(config: &Config, nth: usize, problems: &mut Problems) {
    let ListenerConfig { proxy_protocol, proxy_from, .. } = &config.listeners[nth];
    let (key, what) = match (proxy_protocol, proxy_from.is_empty()) {
        (ProxyProtocol::Off, false) => (
            "proxy_from",
            "says whose word is taken, and proxy_protocol is \"off\": set it, or leave this out",
        ),
        (ProxyProtocol::Optional | ProxyProtocol::Required, true) => (
            "proxy_protocol",
            "needs `proxy_from`: the balancers whose word is taken, such as [\"10.0.0.0/28\"]",
        ),
        _ => return,
    };
    if !["proxy_protocol", "proxy_from"].iter().any(|key| problems.touch(path(nth), key)) {
        let at = key_of(problems, nth, key);
        problems.push(at, what.to_owned());
    }
}

/// An address of `[server] listen` that a table takes the connections of.
fn check_short_form(config: &Config, problems: &mut Problems) {
    let places = problems.places().entries("server", "listen").to_vec();
    let tables = config.listeners.iter().filter_map(|table| table.address.tcp());
    for (one, at) in config.server.listen.iter().zip(places) {
        if let Some(what) = covered(one, tables.clone()) {
            problems.push(at, what);
        }
    }
}

/// What a listener is called that has an address already.
pub(super) fn taken_by(config: &Config, wanted: &ListenAddress) -> Option<String> {
    let takes = |one: ConfiguredListener<'_>| match (one.endpoint(), wanted) {
        (Some(ours), ListenAddress::Tcp(endpoint)) => collide(ours, endpoint),
        _ => one.address() == *wanted,
    };
    let place = config.all_listeners().position(takes)?;
    let taken = config.all_listeners().nth(place)?.address();
    Some(match config.listener_table(place) {
        None => format!("\"{taken}\" of [server] listen"),
        Some(_) => format!("\"{taken}\" of [[listener]] {}", place - config.server.listen.len() + 1),
    })
}
