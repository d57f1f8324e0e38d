//! What `[[listener]]` says of one listener.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::choice::{AuthMethod, Protocol, ProxyProtocol};
use super::entry::tables;
use super::form::{choice, duration, optional, shown, text};
use super::list_form::{choices, condition, list};
use super::listen_address::{self, ListenAddress};
use super::problem::quoted;
use super::reach::{self, Advertise, PortRange};
use super::rule_values::{network, own_name};
use super::tls::{EXAMPLE, ListenerTls, listener_tls};
use super::value::{SOCKS_PORT, relay_address, setup};
use crate::limits;
use crate::proto::request::RequestCommand;

tables! {
    /// Listeners with settings of their own, beside those of [server] listen.
    pub struct ListenerConfig {
        /// Its name in rules; without it the address.
        ///
        /// Never empty.
        name: Arc<str> = Arc::from(""), shown(text(called, ToString::to_string), "\"office\""), Reload;
        /// Where it listens: an address and port, port 0 for a free one, or "unix:PATH"; never left out.
        address: ListenAddress = SocketAddr::from((Ipv4Addr::LOCALHOST, 1080)).into(),
            text(listened_on, ListenAddress::to_string), Reload;
        /// Who may connect to a unix socket: the mode of its file; without it "0600".
        mode: Option<SocketMode> = None, optional(text(mode, SocketMode::to_string), "\"0660\""), Reload;
        /// Whose the file of a unix socket is; without it the server's own user's.
        owner: Option<Arc<str>> = None, optional(text(owner, ToString::to_string), "\"USER:GROUP\""), Reload;
        /// What clients may speak there; the first byte says which it is.
        // A session keeps what it began with.
        protocols: Vec<Protocol> = vec![Protocol::Socks5], choices().needs("a protocol"), Reload;
        /// Methods of its clients, the preferred one first; without it those of [auth].
        ///
        /// See [`Config::methods_of`](super::Config::methods_of).
        methods: Option<Vec<AuthMethod>> = None,
            optional(choices().needs("a method"), "[\"password\"]"), Reload;
        /// What may be asked for there; without it everything.
        commands: Vec<RequestCommand> = Vec::new(),
            condition(choices().needs("a command"), "[\"connect\"]"), Reload;
        /// Behind NAT: where its clients send datagrams to; without it as [udp] says.
        advertise: Option<Advertise> = None, optional(reach::advertise(), "\"203.0.113.7\""), Reload;
        /// Ports that its clients send datagrams to; without it as [udp] says.
        udp_ports: Option<PortRange> = None,
            optional(text(reach::range, PortRange::to_string), "\"50000-59999\""), Reload;
        /// From accept to the first byte of a client; without it as long as the handshake may take.
        first_byte: Option<Duration> = None, optional(duration(setup()), "\"2s\""), Reload;
        /// Whether balancers say who a client is, by the PROXY protocol (versions 1 and 2).
        proxy_protocol: ProxyProtocol = ProxyProtocol::Off, choice(), Reload;
        /// The balancers whose word is taken for it; "required" closes whoever else comes, "optional" takes him for a client.
        proxy_from: Vec<IpNet> = Vec::new(),
            condition(list(limits::PROXY_FROM_MAX, network).needs("a block of addresses"), "[\"10.0.0.0/28\"]"), Reload;
        /// The pool of [[egress]] that its clients leave from, where neither a rule nor the user has another.
        egress: Option<Arc<str>> = None, optional(text(own_name, ToString::to_string), "\"carrier\""), Reload;
        /// TLS below the protocols: PEM files, relative to this one; client_ca and users_from ask clients for certificates.
        tls: Option<ListenerTls> = None, optional(listener_tls(), EXAMPLE), Reload;
    }
}

/// The permissions of a file, as of chmod(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketMode(pub u32);

/// Writes them as `chmod` takes them.
impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Permissions in octal digits.
fn mode(typed: &str) -> Result<SocketMode, String> {
    let is_octal = (3..=4).contains(&typed.len()) && typed.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(typed, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.map(SocketMode).ok_or_else(|| format!("{} is no mode of a file such as \"0660\"", quoted(typed)))
}

/// A user, a group behind a colon, or both, each by its name or its number.
fn owner(typed: &str) -> Result<Arc<str>, String> {
    let fits = |name: &str| {
        !name.contains([':', '/']) && !name.contains(|c: char| c.is_control() || c.is_whitespace())
    };
    let right = match typed.split_once(':') {
        Some((user, group)) => fits(user) && fits(group) && !group.is_empty(),
        None => fits(typed) && !typed.is_empty(),
    };
    match right && typed.len() <= limits::OWNER_MAX {
        true => Ok(typed.into()),
        false => Err(format!("{} is no owner such as \"USER\", \"USER:GROUP\" or \":GROUP\"", quoted(typed))),
    }
}

/// An address, or a unix socket whose path is as it stands in records and metrics: nothing in it needs an escape.
fn listened_on(typed: &str) -> Result<ListenAddress, String> {
    let address = listen_address::address(typed, SOCKS_PORT)?;
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    match &address {
        ListenAddress::Unix(_) if !typed.chars().all(plain) => {
            Err(format!("{} has characters other than letters, digits and plain signs", quoted(typed)))
        }
        _ => Ok(address),
    }
}

/// What a listener may be called by: its name, or its address in the one form that it is printed in.
pub(super) fn called(typed: &str) -> Result<Arc<str>, String> {
    if typed.starts_with("unix:") {
        return listened_on(typed).map(|address| address.to_string().into());
    }
    let address = relay_address(typed);
    match (address, own_name(typed)) {
        (Ok(address), _) => Ok(address.to_string().into()),
        (Err(_), Ok(name)) if !is_nearly_an_address(typed) => Ok(name),
        (Err(what), _) if typed.contains([':', '[']) || is_nearly_an_address(typed) => Err(what),
        (Err(_), name) => name,
    }
}

/// An address without its port, or a port without its address.
fn is_nearly_an_address(typed: &str) -> bool {
    let is_number = !typed.is_empty() && typed.bytes().all(|byte| byte.is_ascii_digit());
    is_number || typed.parse::<IpAddr>().is_ok()
}
