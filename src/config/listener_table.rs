//! What `[[listener]]` says of one listener.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::choice::{AuthMethod, Protocol, ProxyProtocol};
use super::endpoint::Endpoint;
use super::entry::tables;
use super::form::{choice, choices, condition, duration, list, optional, text};
use super::reach::{self, Advertise, PortRange};
use super::rule_values::{network, own_name};
use super::value::{relay_address, setup};
use crate::limits;
use crate::proto::request::RequestCommand;

tables! {
    /// Listeners with settings of their own, beside those of [server] listen.
    pub struct ListenerConfig {
        /// Its name in rules; without it the address.
        ///
        /// Never empty.
        name: Arc<str> = Arc::from(""), text(called, ToString::to_string), Reload;
        /// Where it listens; port 0: a free one; never left out.
        address: Endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, 1080)).into(),
            text(relay_address, Endpoint::to_string), Reload;
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
    }
}

/// What a listener may be called by: its name, or its address in the one form that it is printed in.
pub(super) fn called(typed: &str) -> Result<Arc<str>, String> {
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
    typed.parse::<IpAddr>().is_ok() || typed.bytes().all(|byte| byte.is_ascii_digit())
}
