//! The command line, and what it forbids: anything that is not on this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::origin::Supply;
use crate::scenario::connect::Extent;
use crate::scenario::stream::Direction;

/// Load generator and cost meter for SOCKS5 servers on this machine.
#[derive(Debug, Parser)]
#[command(name = "outflow-load", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the targets: echo, sink, source, duplex and page, each on a port of its own.
    Origin(OriginArgs),
    /// Whole sessions: handshake, one request, one answer, close by the client.
    Connect(ConnectArgs),
    /// Bulk flows up, down or both ways.
    Stream(StreamArgs),
    /// Ping-pong of small messages.
    Echo(EchoArgs),
    /// Open sessions and hold them in silence.
    Idle(IdleArgs),
}

#[derive(Debug, Args)]
pub(crate) struct OriginArgs {
    /// Loopback address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_parser = loopback_ip)]
    pub(crate) address: IpAddr,
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

/// What every scenario needs to know.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The SOCKS5 server, on loopback.
    #[arg(long, value_parser = loopback, required_unless_present = "direct", conflicts_with = "direct")]
    pub(crate) server: Option<SocketAddr>,
    /// Call the target with no server between.
    #[arg(long)]
    pub(crate) direct: bool,
    /// The origin's port for this scenario, on loopback.
    #[arg(long, value_parser = loopback)]
    pub(crate) target: SocketAddr,
    /// User name: switches to method password.
    #[arg(long, value_parser = short_text, requires = "password")]
    pub(crate) user: Option<String>,
    #[arg(long, value_parser = short_text, requires = "user")]
    pub(crate) password: Option<String>,
    /// CPU to run on.
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
    /// Process whose tree is measured: the server's.
    #[arg(long)]
    pub(crate) pid: Option<i32>,
    /// Spread the clients over so many addresses of 127.0.0.0/8, so that ports do not run out.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=60_000))]
    pub(crate) sources: u32,
    /// Seconds in which nothing moves before the run is given up.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) patience: Duration,
    /// Write each latency distribution to PREFIX.handshake.hgrm and so on, in microseconds.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) hgrm: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
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
    /// Bytes of the answer.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) size: u32,
    /// Failed sessions that the run may have.
    #[arg(long, default_value_t = 0)]
    pub(crate) max_errors: u64,
}

#[derive(Debug, Args)]
pub(crate) struct StreamArgs {
    pub(crate) direction: Direction,
    #[command(flatten)]
    pub(crate) common: Common,
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
    /// Seconds of ping-pong before the measurement begins.
    #[arg(long, default_value = "0.2", value_parser = seconds)]
    pub(crate) warmup: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Sessions to open and hold.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) connections: u64,
    /// Handshakes in flight while opening.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) in_flight: u64,
    /// Bytes that each session has echoed before it falls silent (the target is then echo).
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=16_384))]
    pub(crate) touch: u32,
    /// Seconds to hold; without it, until standard input closes.
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
}

/// `--count` or `--seconds`, or `default` round trips or sessions.
pub(crate) fn extent(count: Option<u64>, seconds: Option<Duration>, default: u64) -> Extent {
    seconds.map_or(Extent::Count(count.unwrap_or(default)), Extent::Time)
}

/// Load is only ever put on this machine.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "expected ADDRESS:PORT".to_owned())?;
    loopback_ip(&address.ip().to_string()).map(|_| address)
}

fn loopback_ip(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text.parse().map_err(|_| "expected an IP address".to_owned())?;
    if ip.is_loopback() { Ok(ip) } else { Err("only loopback addresses are accepted".to_owned()) }
}

/// RFC 1929 section 2: 1 to 255 bytes.
fn short_text(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) { Ok(text.to_owned()) } else { Err("1 to 255 bytes".to_owned()) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
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
    fn only_this_machine() {
        assert!(loopback("127.9.9.9:80").is_ok());
        assert!(loopback("[::1]:80").is_ok());
        for elsewhere in ["192.0.2.1:80", "0.0.0.0:80", "[::ffff:127.0.0.1]:80", "localhost:80"] {
            assert!(loopback(elsewhere).is_err(), "{elsewhere}");
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
