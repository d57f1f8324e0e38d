//! Parents as an operator means them: checked values.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::proto::address::{Host, Target};
use crate::proto::client::{ChainLeg, ClientProtocol};
use crate::proto::request::RequestCommand;
use crate::proto::userpass::Credentials;

/// A parent.
#[derive(Clone, Debug, PartialEq)]
pub struct ParentSpec {
    /// Its name, which no other parent has.
    pub name: Arc<str>,
    /// Its servers, of which there is one at least and not all are backups.
    pub servers: Vec<ParentServer>,
    /// How one of them is chosen.
    pub select: ParentSelect,
    /// After so many fails within `fail_timeout` a server is away; 0: never.
    pub max_fails: u32,
    /// Within which time fails are counted, and for how long a server is away.
    pub fail_timeout: Duration,
    /// What is asked for through each server to see whether it is well; `None`: sessions show it.
    pub check: Option<ParentCheck>,
    /// Who resolves the names of targets.
    pub resolve: ResolveAt,
    /// Whether datagrams go through it, too.
    pub udp: bool,
    /// As whom clients are known there.
    pub user_from: UserFrom,
    /// Whether it is told of the client by a PROXY header in front of everything.
    pub send_proxy: SendProxy,
    /// What becomes of sessions where no server can be had.
    pub fallback: Fallback,
    /// Connections that each worker keeps idle to each server.
    pub warm: usize,
}

/// A server of a parent: a proxy, or one behind the other.
#[derive(Clone, Debug, PartialEq)]
pub struct ParentServer {
    /// Those of the chain in their order: the last one connects to targets. One at least.
    pub hops: Vec<ParentHop>,
    /// Its share of the sessions; 0: only where no other can be had.
    pub weight: u32,
    /// The number that it has in this process, by which workers count for it.
    pub number: u16,
}

/// A proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct ParentHop {
    /// What it speaks.
    pub protocol: ClientProtocol,
    /// Whether its URL says that names are its to resolve.
    pub names: bool,
    /// Where it is.
    pub target: Target,
    /// As whom; `None`: without a login.
    pub user: Option<Box<[u8]>>,
    /// With which password; `None`: an empty one.
    pub password: Option<HopSecret>,
    /// The file that the password is read from, where it does not stand in the URL.
    pub password_file: Option<PathBuf>,
}

/// A password. It is shown nowhere, and wiped when the last who has it lets go.
#[derive(Clone, PartialEq, Eq)]
pub struct HopSecret(Arc<Zeroizing<Vec<u8>>>);

/// What is asked for through a server to see whether it is well.
#[derive(Clone, Debug, PartialEq)]
pub struct ParentCheck {
    /// A target that can be connected to.
    pub target: Target,
    /// How often.
    pub every: Duration,
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParentSelect {
    /// By turns, each as often as its weight says.
    #[default]
    RoundRobin,
    /// The same one for the same session parameter, user or source, whichever of them there is first.
    Sticky,
    /// Any, each as often as its weight says.
    Random,
    /// That with the fewest of a worker's sessions for its weight.
    LeastUsed,
}

/// Who resolves the names of targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResolveAt {
    /// The parent: it is given names.
    There,
    /// We: it is given addresses, which rules and guard have judged.
    #[default]
    Here,
}

/// As whom clients are known to a parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserFrom {
    /// As the URL says.
    #[default]
    Url,
    /// By the client's own name, with the password of the URL; who has no name is known as the URL says.
    Client,
}

/// Whether a parent is told of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendProxy {
    /// It is not.
    #[default]
    Off,
    /// By a line of text.
    Version1,
    /// In binary.
    Version2,
}

/// What becomes of sessions where no server of a parent can be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// They fail.
    #[default]
    Fail,
    /// They go to their targets without it.
    Direct,
}

impl HopSecret {
    /// This password.
    pub fn new(password: Vec<u8>) -> HopSecret {
        HopSecret(Arc::new(Zeroizing::new(password)))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Shows nothing of it, not even its length.
impl fmt::Debug for HopSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HopSecret")
    }
}

impl ParentHop {
    /// Its login, for a client of this name where clients are known by their own.
    pub fn login(&self, client: Option<&[u8]>) -> Option<Credentials> {
        let user = client.or(self.user.as_deref())?.to_vec();
        let password = self.password.as_ref().map(|secret| Zeroizing::new(secret.bytes().to_vec()));
        Some(Credentials { user, password })
    }
}

/// What records and metrics call it: the protocol and where it is, of a login nothing.
impl fmt::Display for ParentHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.protocol, self.names) {
            (ClientProtocol::Socks5, true) => "socks5h",
            (ClientProtocol::Socks5, false) => "socks5",
            (ClientProtocol::Socks4, _) => "socks4",
            (ClientProtocol::Socks4a, _) => "socks4a",
            (ClientProtocol::Http, _) => "http",
        };
        write!(f, "{scheme}://{}", self.target)
    }
}

/// Its proxies, with a ">" between one and the one behind it.
impl fmt::Display for ParentServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, hop) in self.hops.iter().enumerate() {
            if nth > 0 {
                f.write_str(">")?;
            }
            hop.fmt(f)?;
        }
        Ok(())
    }
}

impl ParentServer {
    /// Where the connection goes that everything else goes through.
    pub fn first(&self) -> Option<&ParentHop> {
        self.hops.first()
    }

    /// The proxy that connects to targets.
    pub fn last(&self) -> Option<&ParentHop> {
        self.hops.last()
    }

    /// What is said to each proxy of the chain, where the last one is asked for this. Who a client is concerns that one alone, by this
    /// name where clients are known by their own.
    pub fn legs(&self, asked: (RequestCommand, Target), user: Option<&[u8]>) -> Vec<ChainLeg> {
        let next = self.hops.iter().skip(1).map(|hop| (RequestCommand::Connect, hop.target.clone()));
        let last = self.hops.len().saturating_sub(1);
        let leg = |(place, (hop, (command, target))): (usize, (&ParentHop, _))| ChainLeg {
            protocol: hop.protocol,
            login: hop.login(user.filter(|_| place == last)),
            command,
            target,
        };
        self.hops.iter().zip(next.chain([asked])).enumerate().map(leg).collect()
    }

    /// Whether all that a chain asks of its proxies can be said: a target at an IPv6 address is no SOCKS4 server's.
    pub fn reaches(&self, target: &Target) -> bool {
        let Some(last) = self.last() else { return false };
        match &target.host {
            Host::Name(_) => last.protocol.takes_names(),
            Host::Ip(ip) => last.protocol.takes_ipv6() || ip.to_canonical().is_ipv4(),
        }
    }
}
