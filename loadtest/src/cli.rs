//! The command line: what was typed, checked word by word. Whether an address may be used is for `scope`.

mod common;
mod hostile;
mod overload;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::common::Common;
use self::common::{per_cent, rate, seconds};
pub(crate) use self::hostile::HostileArgs;
pub(crate) use self::overload::OverloadArgs;
use crate::compare::guard;
use crate::kernel_memory::Source;
use crate::origin::Supply;
use crate::protocol::Protocol;
use crate::scenario::churn::Action;
use crate::scenario::pages::Pages;
use crate::scenario::starts::Extent;
use crate::scenario::stream::Direction;
use crate::udp;

/// The most rounds of a comparison.
pub(crate) const ROUNDS_MAX: u32 = 1000;

/// Load generator and cost meter for SOCKS and HTTP proxies on this machine.
#[derive(Debug, Parser)]
#[command(name = "outflow-load", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Allow servers, targets and names of targets on other hosts than this one.
    #[arg(long, global = true)]
    pub(crate) i_own_this_host: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the targets: echo, sink, source, duplex, page, http and udp, each on a port of its own.
    Origin(OriginArgs),
    /// Whole sessions: handshake, one request, one answer, close by the client.
    Connect(ConnectArgs),
    /// Requests through an HTTP proxy, over connections that are kept.
    Http(HttpArgs),
    /// Bulk flows up, down or both ways.
    Stream(StreamArgs),
    /// Ping-pong of small messages.
    Echo(EchoArgs),
    /// Open sessions and hold them in silence.
    Idle(IdleArgs),
    /// A scraping fleet: sessions like HTTPS, pages of all sizes, clients that stall and break off.
    Mix(MixArgs),
    /// A soak: sessions that half-close, reset, pause and are killed at random, with every byte checked.
    Churn(ChurnArgs),
    /// Datagrams through UDP associations, echoed by the origin.
    Udp(UdpArgs),
    /// A hostile client, and what it costs others: their sessions alone and beside an attack.
    Hostile(HostileArgs),
    /// More clients than a server can serve: what it serves all the same, and what flows that stand already wait.
    Overload(OverloadArgs),
    /// Many servers under the same loads, side by side, as a file says.
    Compare(CompareArgs),
    /// Kill whoever carries a killed comparison's mark.
    #[command(name = guard::SUBCOMMAND, hide = true)]
    Guard { mark: String },
}

impl Command {
    /// Whether it puts a load on one server.
    pub(crate) fn is_scenario(&self) -> bool {
        !matches!(self, Self::Origin(_) | Self::Compare(_) | Self::Guard { .. })
    }

    /// Whether it asks an HTTP proxy for pages, in place of sessions through one.
    pub(crate) fn is_of_requests(&self) -> bool {
        matches!(self, Self::Http(_) | Self::Idle(IdleArgs { fetch: Some(_), .. }))
    }

    /// What its sessions speak to the server.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            _ if self.is_of_requests() => Protocol::Http,
            Self::Connect(args) => args.protocol,
            Self::Stream(args) => args.protocol,
            Self::Idle(args) => args.protocol,
            _ => Protocol::Socks5,
        }
    }

    /// Every address that the command would call or listen on.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        match (self, self.common()) {
            (Self::Origin(args), _) => vec![SocketAddr::new(args.address, 0)],
            (Self::Hostile(args), _) => {
                let common = &args.common;
                common.server.into_iter().chain([common.target]).chain(args.dns).collect()
            }
            (Self::Overload(args), _) => {
                let common = &args.common;
                common.server.into_iter().chain([common.target, args.echo]).collect()
            }
            (_, Some(common)) => common.server.into_iter().chain([common.target]).collect(),
            (_, None) => Vec::new(),
        }
    }

    /// The name that the server is to call.
    pub(crate) fn target_name(&self) -> Option<&str> {
        self.common()?.target_name.as_deref()
    }

    fn common(&self) -> Option<&Common> {
        Some(match self {
            Self::Connect(args) => &args.common,
            Self::Http(args) => &args.common,
            Self::Stream(args) => &args.common,
            Self::Echo(args) => &args.common,
            Self::Idle(args) => &args.common,
            Self::Mix(args) => &args.common,
            Self::Churn(args) => &args.common,
            Self::Udp(args) => &args.common,
            Self::Hostile(args) => &args.common,
            Self::Overload(args) => &args.common,
            // Origin and servers of a comparison are on loopback, and each of its runs is checked as one.
            Self::Origin(_) | Self::Compare(_) | Self::Guard { .. } => return None,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct OriginArgs {
    /// Address of this machine to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) address: IpAddr,
    /// Serve TCP at every address of 127.0.0.0/8, over the loopback interface alone.
    #[arg(long, conflicts_with = "address")]
    pub(crate) whole_loopback: bool,
    /// And at every address of IPv6 that this machine has, over that interface as well.
    #[arg(long, requires = "whole_loopback")]
    pub(crate) both_families: bool,
    /// CPU to run on.
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
    /// How source and duplex get their bytes into the socket.
    #[arg(long, value_enum, default_value = "sendfile")]
    pub(crate) supply: Supply,
    /// Bytes of a page when the request does not say (`GET /SIZE`).
    #[arg(long, default_value_t = 1024)]
    pub(crate) page_size: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How sessions introduce themselves to the server.
    #[arg(long, value_enum, default_value = "socks5")]
    pub(crate) protocol: Protocol,
    /// Sessions (default 1000).
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) count: Option<u64>,
    /// Seconds to go on for, instead of a count.
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Sessions in flight; with --rate, the most of them.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) in_flight: u64,
    /// Start so many sessions a second, whatever becomes of them (open loop); latency then counts from when
    /// a session was due.
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Bytes of the answer.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) size: u32,
    /// Count the server's system calls with strace instead of its CPU time, which that distorts.
    #[arg(long, requires = "pid")]
    pub(crate) strace: bool,
    /// Failed sessions that the run may have.
    #[arg(long, default_value_t = 0)]
    pub(crate) max_errors: u64,
}

#[derive(Debug, Args)]
pub(crate) struct HttpArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Requests of all connections together (default 1000).
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) count: Option<u64>,
    /// Seconds to go on for, instead of a count.
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Connections at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) connections: u64,
    /// Requests after which a client takes a new connection; 0: as many as the server allows.
    #[arg(long, default_value_t = 0)]
    pub(crate) per_connection: u64,
    /// Bytes of an answer.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub(crate) size: u32,
    /// Count the server's system calls with strace instead of its CPU time, which that distorts.
    #[arg(long, requires = "pid")]
    pub(crate) strace: bool,
    /// Failed requests that the run may have.
    #[arg(long, default_value_t = 0)]
    pub(crate) max_errors: u64,
}

#[derive(Debug, Args)]
pub(crate) struct StreamArgs {
    pub(crate) direction: Direction,
    #[command(flatten)]
    pub(crate) common: Common,
    /// How flows introduce themselves to the server.
    #[arg(long, value_enum, default_value = "socks5")]
    pub(crate) protocol: Protocol,
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) flows: u64,
    /// Length of the measured window.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// End the window after so many bytes of all flows together.
    #[arg(long)]
    pub(crate) bytes: Option<u64>,
    /// Seconds of flow before the window begins.
    #[arg(long, default_value = "0.5", value_parser = seconds)]
    pub(crate) warmup: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) connections: u64,
    /// Bytes of a ping.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) size: u32,
    /// Round trips of all connections together (default 100000).
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) count: Option<u64>,
    /// Seconds to go on for, instead of a count.
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Count the server's system calls with strace instead of its CPU time, which that distorts.
    #[arg(long, requires = "pid")]
    pub(crate) strace: bool,
    /// Seconds of ping-pong before the measurement begins.
    #[arg(long, default_value = "0.2", value_parser = seconds)]
    pub(crate) warmup: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How sessions introduce themselves to the server.
    #[arg(long, value_enum, default_value = "socks5", conflicts_with = "fetch")]
    pub(crate) protocol: Protocol,
    /// Sessions to open and hold.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) connections: u64,
    /// Handshakes in flight while opening.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) in_flight: u64,
    /// Bytes that each session has echoed before it falls silent (the target is then echo).
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=16_384))]
    pub(crate) touch: u32,
    /// Bytes that each connection fetches through an HTTP proxy before it falls silent (the target is then http): these
    /// are clients that keep their connection.
    #[arg(long, conflicts_with = "touch", value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub(crate) fetch: Option<u32>,
    /// Where to read what the sessions take of the kernel's memory (with --pid).
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) kernel_memory: Source,
    /// Seconds to hold; without it, until standard input closes.
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct MixArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Sessions (default 1000).
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) count: Option<u64>,
    /// Seconds to go on for, instead of a count.
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Sessions in flight; with --rate, the most of them.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) in_flight: u64,
    /// Start so many sessions a second, whatever becomes of them (open loop); latency then counts from when
    /// a session was due.
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Sizes of the pages with their weights.
    #[arg(long, default_value = "2k:30,16k:40,100k:20,1m:8,5m:2")]
    pub(crate) pages: Pages,
    /// Per cent of the sessions that stop reading within their page.
    #[arg(long, default_value_t = 5.0, value_parser = per_cent)]
    pub(crate) stalls: f64,
    /// Seconds for which they stop.
    #[arg(long, default_value = "0.5", value_parser = seconds)]
    pub(crate) stall_for: Duration,
    /// Per cent of the sessions that reset within their page.
    #[arg(long, default_value_t = 2.0, value_parser = per_cent)]
    pub(crate) aborts: f64,
    /// Decides which session does what.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Failed sessions that the run may have.
    #[arg(long, default_value_t = 0)]
    pub(crate) max_errors: u64,
}

#[derive(Debug, Args)]
pub(crate) struct ChurnArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Sessions (default 1000).
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) count: Option<u64>,
    /// Seconds to go on for, instead of a count.
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Sessions in flight.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) in_flight: u64,
    /// What sessions may do, each as likely as the others (default: all).
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) actions: Vec<Action>,
    /// Decides which session does what (default: a new one; the record names it).
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct UdpArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) associations: u32,
    /// Bytes of a datagram, without the header that goes to the server.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(udp::STAMP_BYTES as i64..=65_000))]
    pub(crate) size: u32,
    /// Closed loop: datagrams under way per association.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) window: u32,
    /// Open loop: datagrams a second over all associations; round trips count from the intended start.
    #[arg(long, value_parser = rate, conflicts_with = "window")]
    pub(crate) rate: Option<f64>,
    /// Send datagrams joined, for the kernel to cut (UDP_SEGMENT), as senders of QUIC do.
    #[arg(long)]
    pub(crate) joined: bool,
    /// Seconds after which a datagram that is not back counts as lost.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub(crate) loss_after: Duration,
    /// Echoed datagrams of all associations together (default 100000).
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) count: Option<u64>,
    /// Seconds to go on for, instead of a count.
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Seconds of datagrams before the measurement begins.
    #[arg(long, default_value = "0.2", value_parser = seconds)]
    pub(crate) warmup: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The plan: servers, scenarios, figures and thresholds, in TOML.
    #[arg(required_unless_present = "report_only")]
    pub(crate) file: Option<PathBuf>,
    /// Only these scenarios, and those whose peaks they need.
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Only these servers.
    #[arg(long, value_name = "SERVER", value_delimiter = ',')]
    pub(crate) servers: Vec<String>,
    /// Rounds of every scenario, whatever the plan says.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUNDS_MAX)))]
    pub(crate) rounds: Option<u32>,
    /// Folder of the results, instead of the plan's.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Measure nothing: render the results in DIR again.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "only", "servers", "rounds", "output"])]
    pub(crate) report_only: Option<PathBuf>,
}

/// `--count` or `--seconds`, or `default` round trips or sessions.
pub(crate) fn extent(count: Option<u64>, seconds: Option<Duration>, default: u64) -> Extent {
    seconds.map_or(Extent::Count(count.unwrap_or(default)), Extent::Time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_address_is_shown_to_the_scope() {
        let parsed = |words: &str| Cli::try_parse_from(words.split(' ')).expect("a command line").command;
        let addresses = |words: &str| {
            let command = parsed(words);
            command.addresses().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(addresses("outflow-load origin --address 192.0.2.1"), ["192.0.2.1:0"]);
        let overload = "outflow-load overload --server 192.0.2.1:1 --target 192.0.2.2:2 --echo 192.0.2.3:3";
        assert_eq!(addresses(overload), ["192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3"]);
        let ends = "--server 192.0.2.1:1 --target 192.0.2.2:2";
        for scenario in
            ["connect", "http", "stream up", "echo", "idle", "mix", "churn", "udp", "hostile garbage"]
        {
            let words = format!("outflow-load {scenario} {ends}");
            assert_eq!(addresses(&words), ["192.0.2.1:1", "192.0.2.2:2"], "{scenario}");
            assert_eq!(parsed(&words).target_name(), None, "{scenario}");
            let named = parsed(&format!("{words} --target-name host.test"));
            assert_eq!(named.target_name(), Some("host.test"), "{scenario}");
        }
    }

    #[test]
    fn a_password_needs_its_user() {
        let base = ["outflow-load", "connect", "--server", "127.0.0.1:1", "--target", "127.0.0.1:2"];
        let with = |more: &[&str]| Cli::try_parse_from(base.iter().chain(more)).is_ok();
        assert!(with(&[]));
        assert!(with(&["--user", "u", "--password", "p"]));
        assert!(!with(&["--user", "u"]));
        assert!(!with(&["--direct"]));
    }
}
