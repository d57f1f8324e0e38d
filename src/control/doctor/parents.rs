//! Servers of parents: whether a way leads to each from where sessions leave to it, and where targets are to be tried, whether it can be
//! reached, takes the login, and connects on.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::slice;
use std::thread;
use std::time::Instant;

use ipnet::IpNet;

use super::addresses::listed;
use super::finding::{Finding, Severity};
use super::pool::{ExaminedPool, is_prefix};
use super::targets::{Probes, addresses_of, unresolved};
use crate::config::{Config, ParentConfig};
use crate::control::parent_passwords::with_passwords;
use crate::limits::{
    DOCTOR_PARENT_BYTES_MAX, DOCTOR_PARENT_PATIENCE, DOCTOR_PROBE_PATIENCE, PARENT_UNUSED_BYTES_MAX,
};
use crate::outbound::OutboundOptions;
use crate::policy::parents::{ParentServer, ResolveAt, SendProxy, UserFrom};
use crate::proto::address::{Host, Target};
use crate::proto::client::{ChainTalk, TalkError, TalkOutput, Talked};
use crate::proto::proxy_protocol::{Tlvs, encode_v1, encode_v2};
use crate::proto::request::RequestCommand;
use crate::sys::{attempt, machine};

/// From where sessions leave to a parent's servers.
#[derive(Clone, Debug)]
struct LeavingFrom {
    /// The pool, where it is one.
    pool: Option<String>,
    options: OutboundOptions,
    /// Its addresses, one of each family at most; none where the kernel chooses.
    sources: Vec<IpAddr>,
}

/// A server that is looked at.
#[derive(Clone, Copy)]
struct ExaminedServer<'a> {
    config: &'a Config,
    parent: &'a ParentConfig,
    server: &'a ParentServer,
    probes: &'a Probes,
}

/// Why nothing came of asking a server for a target.
enum AskFailure {
    /// What it said, or that it said nothing, and which of its proxies that was.
    Talk(TalkError, usize),
    /// What the connection came to.
    Io(io::Error),
}

/// What is found of all parents. Their servers are tried where targets are to be.
pub(super) fn findings(config: &Config, pools: &[ExaminedPool], probes: &Probes) -> Vec<Finding> {
    let look = |parent: &ParentConfig| match with_passwords(slice::from_ref(parent)) {
        Ok(parents) => parents.iter().flat_map(|parent| of_parent(config, parent, pools, probes)).collect(),
        Err((_, what)) => {
            let subject = format!("parent {}", parent.name);
            vec![Finding {
                severity: Severity::Error,
                check: "parent_login",
                subject,
                what,
                mend: Vec::new(),
            }]
        }
    };
    config.parents.iter().flat_map(look).collect()
}

fn of_parent(
    config: &Config,
    parent: &ParentConfig,
    pools: &[ExaminedPool],
    probes: &Probes,
) -> Vec<Finding> {
    let from = leaving(config, parent, pools);
    thread::scope(|scope| {
        let looks: Vec<_> = parent
            .servers
            .iter()
            .map(|server| {
                let examined = ExaminedServer { config, parent, server, probes };
                let from = &from;
                scope.spawn(move || examined.findings(from))
            })
            .collect();
        looks.into_iter().filter_map(|look| look.join().ok()).flatten().collect()
    })
}

/// The pools from which sessions leave to the servers of a parent, `None` among them where the kernel chooses: as its rules say, and
/// where one says nothing, as listeners do.
fn pools_of<'a>(config: &'a Config, parent: &ParentConfig) -> Vec<Option<&'a str>> {
    let rules = config.rules.iter().filter(|rule| rule.parent.as_ref() == Some(&parent.name));
    let mut names: Vec<Option<&str>> = rules.map(|rule| rule.egress.as_deref()).collect();
    if names.is_empty() || names.contains(&None) {
        names.retain(Option::is_some);
        names.extend(config.all_listeners().map(|one| one.table().and_then(|table| table.egress.as_deref())));
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn leaving(config: &Config, parent: &ParentConfig, pools: &[ExaminedPool]) -> Vec<LeavingFrom> {
    let of = |name: Option<&str>| match name {
        None => Some(LeavingFrom { pool: None, options: OutboundOptions::default(), sources: Vec::new() }),
        Some(name) => pools.iter().find(|pool| *pool.name == *name).and_then(of_pool),
    };
    pools_of(config, parent).into_iter().filter_map(of).collect()
}

/// The servers of parents to which sessions leave from this pool, as far as they are named by their addresses.
pub(super) fn servers_from(config: &Config, pool: &str) -> Vec<IpAddr> {
    let led = config.parents.iter().filter(|parent| pools_of(config, parent).contains(&Some(pool)));
    let first = led.flat_map(|parent| &parent.servers).filter_map(ParentServer::first);
    let mut addresses: Vec<IpAddr> = first
        .filter_map(|hop| match &hop.target.host {
            Host::Ip(ip) => Some(*ip),
            Host::Name(_) => None,
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// `None` where its sockets cannot be opened: that is told of the pool.
fn of_pool(pool: &ExaminedPool) -> Option<LeavingFrom> {
    let whole = pool.blocks.iter().filter(|net| is_prefix(net)).filter_map(|net| IpNet::hosts(net).nth(1));
    let all: Vec<IpAddr> = listed(pool).chain(whole).collect();
    let first = |v6: bool| all.iter().copied().find(|source| source.is_ipv6() == v6);
    let sources = first(false).into_iter().chain(first(true)).collect();
    Some(LeavingFrom { pool: Some(pool.name.to_string()), options: pool.options_anywhere()?, sources })
}

impl ExaminedServer<'_> {
    fn findings(self, from: &[LeavingFrom]) -> Vec<Finding> {
        let Some(first) = self.server.first() else { return Vec::new() };
        let is_tried = !self.probes.targets.is_empty();
        let addresses = match &first.target.host {
            // Whoever names no target has no packet sent.
            Host::Name(_) if !is_tried => return Vec::new(),
            _ => addresses_of(self.config, &first.target),
        };
        match addresses {
            Err(what) => vec![unresolved(self.subject(), &first.target, &what)],
            Ok(addresses) if is_tried => from.iter().flat_map(|from| self.tried(from, &addresses)).collect(),
            Ok(addresses) => from.iter().filter_map(|from| self.way(from, &addresses)).collect(),
        }
    }

    /// Whether the kernel has a way to it. Of pools ways are asked for beside.
    fn way(self, from: &LeavingFrom, addresses: &[SocketAddr]) -> Option<Finding> {
        if from.pool.is_some() {
            return self.lacks_family(from, addresses);
        }
        let address = *addresses.first()?;
        let errno = machine::source_towards(address, None).err()?;
        let what = format!("no way leads to {}: {}", self.server, errno.desc());
        let flag = if address.is_ipv6() { "-6 " } else { "" };
        let mend = format!("ip {flag}route add {} via ROUTER dev INTERFACE", address.ip());
        Some(self.finding(Severity::Error, "parent_route", what, mend))
    }

    /// A pool has to have an address of the family that a server has one of.
    fn lacks_family(self, from: &LeavingFrom, addresses: &[SocketAddr]) -> Option<Finding> {
        let pool = from.pool.as_ref()?;
        let serves = addresses.iter().any(|address| from.source_for(*address).is_some());
        let family = if addresses.first()?.is_ipv6() { "IPv6" } else { "IPv4" };
        let what =
            format!("{} cannot be reached from pool {pool}, which has no {family} address", self.server);
        let mend = format!(
            "an {family} address in `addresses` of [[egress]] {pool}, or a server of the other family"
        );
        (!serves).then(|| self.finding(Severity::Error, "parent_route", what, mend))
    }

    /// Connects to it, and through it to each target that it can be asked for.
    fn tried(self, from: &LeavingFrom, addresses: &[SocketAddr]) -> Vec<Finding> {
        if let Some(finding) = self.lacks_family(from, addresses) {
            return vec![finding];
        }
        let mut unreached = None;
        for address in addresses {
            match from.connected(*address) {
                Some(Ok(_)) => {
                    let ask = |target| self.asked(from, *address, target);
                    return self.probes.targets.iter().filter_map(ask).collect();
                }
                Some(Err(error)) => unreached = Some(error),
                // Of the other family.
                None => {}
            }
        }
        let Some(error) = unreached else { return Vec::new() };
        let what = format!("{} cannot be reached{}: {error}", self.server, from.words());
        let mend = "its machine up and its port open to us, or another of `servers` in its place".to_owned();
        vec![self.finding(Severity::Error, "parent_reach", what, mend)]
    }

    /// Asks it for a target; `None` where it connects there.
    fn asked(self, from: &LeavingFrom, address: SocketAddr, target: &Target) -> Option<Finding> {
        if self.parent.user_from == UserFrom::Client {
            // By which name clients come, and whether it is let in, is not known here.
            return None;
        }
        let target = self.speakable(target)?;
        let stream = from.connected(address)?.map_err(AskFailure::Io);
        let failure = stream.and_then(|stream| self.ask(stream, address, target.clone())).err()?;
        Some(self.failed(&failure, &target, from))
    }

    /// The target as the server is asked for it: by its name, or where names are resolved here by the first address that its
    /// protocol has words for.
    fn speakable(self, target: &Target) -> Option<Target> {
        if self.parent.resolves() == ResolveAt::There && self.server.reaches(target) {
            return Some(target.clone());
        }
        let addresses = addresses_of(self.config, target).unwrap_or_default();
        let each = addresses.into_iter().map(|at| Target { host: Host::Ip(at.ip()), port: at.port() });
        each.into_iter().find(|target| self.server.reaches(target))
    }

    /// The handshake with each of its proxies.
    fn ask(self, mut stream: TcpStream, address: SocketAddr, target: Target) -> Result<(), AskFailure> {
        let until = Instant::now() + DOCTOR_PARENT_PATIENCE;
        let mut out = TalkOutput::default();
        let ends = stream.local_addr().ok().map(|own| (own, address));
        match self.parent.send_proxy {
            SendProxy::Off => {}
            SendProxy::Version1 => encode_v1(ends, &mut out),
            SendProxy::Version2 => {
                encode_v2(ends, Tlvs { authority: None, unique_id: None, crc32c: false }, &mut out);
            }
        }
        let legs = self.server.legs((RequestCommand::Connect, target), None);
        let talk = ChainTalk::begin(legs, &mut out).map_err(|error| AskFailure::Talk(error, 0))?;
        let Some(mut talk) = talk else { return Ok(()) };
        let (mut held, mut taken, mut buffer) = (Vec::new(), 0, [0; PARENT_UNUSED_BYTES_MAX]);
        loop {
            stream.write_all(&out).map_err(AskFailure::Io)?;
            let count = stream.read(&mut buffer).map_err(AskFailure::Io)?;
            taken += count;
            if count == 0 || taken > DOCTOR_PARENT_BYTES_MAX || Instant::now() > until {
                return Err(AskFailure::Talk(talk.closed(), talk.hop()));
            }
            held.extend_from_slice(&buffer[..count]);
            out = TalkOutput::default();
            loop {
                let (used, talked) = talk.feed(&held, &mut out);
                held.drain(..used);
                match talked {
                    Talked::Done(_) => return Ok(()),
                    Talked::Failed(error) => return Err(AskFailure::Talk(error, talk.hop())),
                    Talked::Ready | Talked::Pending if used == 0 => break,
                    Talked::Ready | Talked::Pending => {}
                }
            }
        }
    }

    fn failed(self, failure: &AskFailure, target: &Target, from: &LeavingFrom) -> Finding {
        let (server, words) = (self.server, from.words());
        let (error, hop) = match failure {
            AskFailure::Io(error) => {
                let error = match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not answer".to_owned(),
                    _ => error.to_string(),
                };
                let what = format!("{server} was asked for {target}{words}: {error}");
                let mend = "a server that speaks what its URL says, or another target of --probe".to_owned();
                return self.finding(Severity::Error, "parent_answer", what, mend);
            }
            AskFailure::Talk(error, hop) => (error, *hop),
        };
        let next = self.server.hops.get(hop + 1);
        let hop = self.server.hops.get(hop).map(ToString::to_string).unwrap_or_default();
        let (scheme, place) = hop.split_once("://").unwrap_or(("socks5h", &hop));
        match error {
            TalkError::Login | TalkError::NoMethod => {
                let what = format!("{hop} does not let us in{words}: {error}");
                let mend = format!("in `servers` \"{scheme}://USER:PASSWORD@{place}\", as it knows them");
                self.finding(Severity::Error, "parent_login", what, mend)
            }
            error if error.is_the_proxys() => {
                let what = format!("{hop} was asked for {target}{words}: {error}");
                let mend = format!("in `servers` the scheme that is spoken at {place}");
                self.finding(Severity::Error, "parent_answer", what, mend)
            }
            // No target was asked for yet, and none can be had.
            error if next.is_some() => {
                let next = next.map(ToString::to_string).unwrap_or_default();
                let what = format!("{hop} does not connect to {next} behind it{words}: {error}");
                let mend = format!("in `servers` another chain, or {next} up and open to {hop}");
                self.finding(Severity::Error, "parent_answer", what, mend)
            }
            // What it says of the target may be so.
            error => {
                let what = format!("{hop} connects nobody to {target}{words}: {error}");
                let mend =
                    "a target of --probe that may be had through it, or leave there by rules".to_owned();
                self.finding(Severity::Warning, "parent_target", what, mend)
            }
        }
    }

    fn subject(self) -> String {
        format!("parent {}", self.parent.name)
    }

    fn finding(self, severity: Severity, check: &'static str, what: String, mend: String) -> Finding {
        Finding { severity, check, subject: self.subject(), what, mend: vec![mend] }
    }
}

impl LeavingFrom {
    /// The address from which it leaves to one of this family; `None` too where the kernel chooses.
    fn source_for(&self, address: SocketAddr) -> Option<IpAddr> {
        self.sources.iter().copied().find(|source| source.is_ipv6() == address.is_ipv6())
    }

    /// A connection, or `None` where there is no address to leave from.
    fn connected(&self, address: SocketAddr) -> Option<io::Result<TcpStream>> {
        let source = self.source_for(address);
        (source.is_some() || self.pool.is_none())
            .then(|| attempt::connected(&self.options, source, address, DOCTOR_PROBE_PATIENCE))
    }

    fn words(&self) -> String {
        self.pool.as_ref().map(|pool| format!(" from pool {pool}")).unwrap_or_default()
    }
}
