//! The guard: which addresses no client may reach, whatever the rules say.
//!
//! Two refusals. Special-purpose destinations (loopback, private, link-local and so on, in every form that an
//! address can take, and the addresses of this machine, whose firewall a client must not be let past) are refused
//! unless the operator exempts them. Our own listeners are refused always: a relay to itself is a loop. The guard
//! judges addresses after resolution and never names; it reads no interface and no clock.
//!
//! Which addresses are this machine's it is told ([`Guard::with_locals`]), and no list is ever quite new. What a
//! connection shows once it stands needs none: `Guard::check_same_host`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::carried::{carried, may_carry};
use super::locals::{Locals, unmapped};
use super::nat64::Nat64;
use super::own_ports::OwnPorts;
use super::special::{MAPPED, special_v4, special_v6};

/// Why the guard refuses an address. Policy is at fault in the reply's sense, except for `SelfConnect`, which
/// stands for a port that nobody listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The address is of a special-purpose range; which one.
    SpecialPurpose(&'static str),
    /// The address is one of our listeners, by whatever alias.
    OwnListener,
    /// The address is a UDP socket of ours, on its way to or from a target: a loop.
    OwnPort,
    /// The connection that was made leads to itself: a socket whose local port was the one it dialled.
    SelfConnect,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpecialPurpose(range) => write!(f, "special-purpose destination ({range})"),
            Self::OwnListener => f.write_str("our own listener"),
            Self::OwnPort => f.write_str("our own UDP port"),
            Self::SelfConnect => f.write_str("the socket connected to itself"),
        }
    }
}

impl std::error::Error for Refusal {}

/// What an address of this machine is refused as, where it is of no special range.
const LOCAL: &str = "this host";

/// Judges addresses. Immutable once built: a reload or a change of interfaces builds another.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allow_private: bool,
    allow: Vec<IpNet>,
    own: Vec<SocketAddr>,
    /// `None` where they could not be read.
    locals: Option<Locals>,
    translators: Vec<Translator>,
}

/// A NAT64 whose prefix is known: its addresses are judged by what they carry.
#[derive(Clone, Copy, Debug)]
struct Translator {
    prefix: Nat64,
    /// The operator named it; others are what name servers show.
    named: bool,
}

impl Translator {
    /// Whether its addresses are no special-purpose ones by themselves.
    fn opens(&self) -> bool {
        self.named || self.prefix.is_well_known()
    }
}

impl Guard {
    /// A guard that exempts what `allow` covers from the special-purpose refusal, or everything with
    /// `allow_private`. `own` are the addresses that we listen on as they are bound (real ports, wildcards
    /// included); nothing exempts them.
    pub fn new(allow_private: bool, allow: Vec<IpNet>, own: Vec<SocketAddr>) -> Self {
        Self {
            allow_private,
            allow: allow.into_iter().map(unmapped).collect(),
            own: own.into_iter().map(|listener| canonical(listener.ip(), listener.port())).collect(),
            locals: None,
            translators: Vec::new(),
        }
    }

    /// Adds the addresses at which this machine answers, and with them a wildcard listener.
    #[must_use]
    pub fn with_locals(mut self, locals: Locals) -> Self {
        self.locals = Some(locals);
        self
    }

    /// Adds translators whose prefixes the operator names: what is behind one is judged as if it were dialled itself.
    #[must_use]
    pub fn with_nat64(mut self, prefixes: &[Nat64]) -> Self {
        self.translators.extend(prefixes.iter().map(|&prefix| Translator { prefix, named: true }));
        self
    }

    /// Takes translators that name servers show, in place of those that they showed before. Those that might open what
    /// is closed are left out: see [`Nat64::is_credible`].
    #[must_use]
    pub fn with_shown_nat64(mut self, prefixes: &[Nat64]) -> Self {
        self.translators.retain(|translator| translator.named);
        let credible = prefixes.iter().filter(|prefix| prefix.is_credible());
        self.translators.extend(credible.map(|&prefix| Translator { prefix, named: false }));
        self
    }

    /// Whether it was told which addresses are this machine's.
    pub(super) fn knows_locals(&self) -> bool {
        self.locals.is_some()
    }

    /// Whether a client may reach `address`.
    ///
    /// # Errors
    /// [`Refusal::OwnListener`] first, then [`Refusal::SpecialPurpose`]; never [`Refusal::SelfConnect`],
    /// which only a connection shows.
    pub fn check(&self, address: SocketAddr) -> Result<(), Refusal> {
        if self.is_own(address) {
            return Err(Refusal::OwnListener);
        }
        self.check_purpose(address.ip())
    }

    /// Whether a client may reach `ip` at any port: for datagrams, which never reach our listeners, as those are TCP's.
    ///
    /// # Errors
    /// [`Refusal::SpecialPurpose`].
    pub(super) fn check_purpose(&self, ip: IpAddr) -> Result<(), Refusal> {
        if self.allow_private {
            return Ok(());
        }
        match ip {
            IpAddr::V4(v4) => self.check_v4(v4),
            IpAddr::V6(v6) => self.check_v6(v6),
        }
        .map_err(Refusal::SpecialPurpose)
    }

    /// Whether a datagram may go to `to`. It has no connection that would show where it came out: what the list of this
    /// machine's addresses does not tell `leads_here` is asked for.
    ///
    /// # Errors
    /// [`Refusal::OwnPort`] first, then [`Refusal::SpecialPurpose`].
    pub(super) fn check_datagram(
        &self,
        to: SocketAddr,
        own_ports: &OwnPorts,
        leads_here: impl Fn(SocketAddr) -> bool,
    ) -> Result<(), Refusal> {
        // What is sent to a group this machine hears, too.
        if own_ports.has(to) && (to.ip().is_multicast() || self.is_here(to, &leads_here)) {
            return Err(Refusal::OwnPort);
        }
        self.check_purpose(to.ip())?;
        if !self.knows_locals() && !self.exempts(to.ip()) && self.is_here(to, &leads_here) {
            return Err(Refusal::SpecialPurpose(LOCAL));
        }
        Ok(())
    }

    /// Whether a datagram from `from` is an answer, and not one of our own that came back. Where there is a list it is
    /// believed, as this is asked for each datagram that comes.
    ///
    /// # Errors
    /// [`Refusal::OwnPort`].
    pub(super) fn check_answer(
        &self,
        from: SocketAddr,
        own_ports: &OwnPorts,
        leads_here: impl Fn(SocketAddr) -> bool,
    ) -> Result<(), Refusal> {
        let here = || match self.knows_locals() {
            true => self.is_local(from.ip()),
            false => self.is_here(from, &leads_here),
        };
        if own_ports.has(from) && here() { Err(Refusal::OwnPort) } else { Ok(()) }
    }

    /// Whether packets to `address` stay on this machine. The list may be old or missing: what it does not have the kernel
    /// is asked for, by `leads_here`.
    pub(super) fn is_here(&self, address: SocketAddr, leads_here: impl FnOnce(SocketAddr) -> bool) -> bool {
        let address = canonical(address.ip(), address.port());
        self.is_local(address.ip()) || leads_here(address)
    }

    /// Whether a connection to `address` would reach one of our listeners, by any alias. The unspecified
    /// address is one of every listener's: the kernel takes it for loopback, or for the source address that
    /// the socket is bound to.
    pub(super) fn is_own(&self, address: SocketAddr) -> bool {
        if self.own.iter().all(|listener| listener.port() != address.port()) {
            return false;
        }
        let plain = canonical(address.ip(), address.port());
        let carries_one = |listener: SocketAddr| match plain.ip() {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => carried(v6, self.translator(v6).map(|one| one.prefix))
                .any(|inner| self.reaches(SocketAddr::new(inner.v4.into(), plain.port()), listener)),
        };
        self.own.iter().any(|listener| self.reaches(plain, *listener) || carries_one(*listener))
    }

    /// Whether a connection to `address` is worth a look at where it leads: it might be to one of our listeners, or
    /// anywhere on this machine where there is no list.
    pub(super) fn might_miss(&self, address: SocketAddr) -> bool {
        self.locals.is_none() || self.own.iter().any(|listener| listener.port() == address.port())
    }

    /// Judges an address that turned out to be this machine's, whatever the list says of it.
    ///
    /// # Errors
    /// As [`Guard::check`].
    pub(super) fn check_same_host(&self, address: SocketAddr) -> Result<(), Refusal> {
        let address = canonical(address.ip(), address.port());
        let listens = |listener: &SocketAddr| {
            listener.port() == address.port()
                && (listener.ip().is_unspecified() || listener.ip() == address.ip())
        };
        if self.own.iter().any(listens) {
            return Err(Refusal::OwnListener);
        }
        if self.exempts(address.ip()) { Ok(()) } else { Err(Refusal::SpecialPurpose(LOCAL)) }
    }

    /// Whether the operator permits `ip` even where it is of a special purpose.
    pub(super) fn exempts(&self, ip: IpAddr) -> bool {
        self.allow_private || self.exemption(ip.to_canonical()).is_some()
    }

    /// Whether packets to `ip` stay on this machine, whatever listens there.
    pub(super) fn is_local(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_unspecified() || ip.is_loopback() || self.lists(ip)
    }

    /// Whether canonical `ip` is on the list of this machine's addresses.
    fn lists(&self, ip: IpAddr) -> bool {
        self.locals.as_ref().is_some_and(|locals| locals.contains(ip))
    }

    /// Whether canonical `address` ends at canonical `listener`.
    fn reaches(&self, address: SocketAddr, listener: SocketAddr) -> bool {
        if address.port() != listener.port() {
            return false;
        }
        let ip = address.ip();
        if ip.is_unspecified() || ip == listener.ip() {
            return true;
        }
        listener.ip().is_unspecified() && (ip.is_loopback() || self.lists(ip))
    }

    fn check_v4(&self, address: Ipv4Addr) -> Result<(), &'static str> {
        match special_v4(address).or_else(|| self.lists(address.into()).then_some(LOCAL)) {
            Some(range) if self.exemption(address.into()).is_none() => Err(range),
            _ => Ok(()),
        }
    }

    fn check_v6(&self, address: Ipv6Addr) -> Result<(), &'static str> {
        if let Some(v4) = address.to_ipv4_mapped() {
            // The kernel connects to the IPv4 address: an exemption of that is one of this.
            return match self.exemption(v4.into()) {
                Some(_) => Ok(()),
                None => Err(special_v4(v4).unwrap_or(MAPPED)),
            };
        }
        let translator = self.translator(address);
        let range = match translator {
            Some(translator) if translator.opens() => None,
            _ => special_v6(address),
        };
        let local = || self.lists(address.into()).then_some(LOCAL);
        if let Some(range) = range.or_else(local)
            && self.exemption(address.into()).is_none()
        {
            return Err(range);
        }
        if translator.is_none() && !may_carry(address) {
            return Ok(());
        }
        for inner in carried(address, translator.map(|one| one.prefix)) {
            // To exempt a translator's prefix is not to exempt the private addresses behind it; a CIDR longer than that
            // prefix names them and does.
            let named =
                || self.exemption(address.into()).is_some_and(|length| u32::from(length) > inner.prefix);
            if let Err(range) = self.check_v4(inner.v4)
                && !named()
            {
                return Err(range);
            }
        }
        Ok(())
    }

    /// What a known translator reaches for this address.
    pub(super) fn behind_translator(&self, ip: IpAddr) -> Option<Ipv4Addr> {
        let IpAddr::V6(v6) = ip else { return None };
        Some(self.translator(v6)?.prefix.carried(v6)?.v4)
    }

    /// The IPv4 addresses that one carries for a tunnel or a translator: its packets may come out there.
    pub(super) fn carried_by(&self, ip: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
        let carrier = match ip {
            IpAddr::V6(v6) if may_carry(v6) => Some(v6),
            IpAddr::V6(_) | IpAddr::V4(_) => None,
        };
        let prefix = |v6| self.translator(v6).map(|one| one.prefix);
        carrier.into_iter().flat_map(move |v6| carried(v6, prefix(v6))).map(|inner| inner.v4)
    }

    /// The known translator that an address is of: one that the operator named before others, the longest prefix first.
    fn translator(&self, address: Ipv6Addr) -> Option<Translator> {
        let covering = self.translators.iter().filter(|translator| translator.prefix.covers(address));
        covering.max_by_key(|translator| (translator.named, translator.prefix.length())).copied()
    }

    /// The length of the longest exempt prefix that covers canonical `address`.
    fn exemption(&self, address: IpAddr) -> Option<u8> {
        self.allow.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).max()
    }
}

/// Finds a connection that leads to itself: dialling a port of the ephemeral range on a local address can
/// take that very port for the local end, and TCP's simultaneous open does the rest.
///
/// # Errors
/// [`Refusal::SelfConnect`] when the two ends are one.
pub(super) fn check_connected(local: SocketAddr, peer: SocketAddr) -> Result<(), Refusal> {
    if canonical(local.ip(), local.port()) == canonical(peer.ip(), peer.port()) {
        return Err(Refusal::SelfConnect);
    }
    Ok(())
}

/// The address without flow label and scope, IPv4 where it is mapped.
fn canonical(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

#[cfg(test)]
mod tests;
