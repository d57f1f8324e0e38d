//! What `[[listener]]` says of one listener.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::choice::Protocol;
use super::endpoint::Endpoint;
use super::entry::tables;
use super::form::{choices, text};
use super::rule_values::own_name;
use super::value::relay_address;

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
    typed.parse::<std::net::IpAddr>().is_ok() || typed.bytes().all(|byte| byte.is_ascii_digit())
}
