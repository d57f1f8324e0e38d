//! The words of `outflow-load hostile`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Args};

use super::common::{Common, rate, seconds};
use crate::scenario::hostile::{AttackKind, Force, HostilePlan, Thresholds};

/// Addresses of the others, where the command line does not say.
const SOURCES: u32 = 16;
/// The most of them: so many /24s are left of 127.0.0.0/8.
const SOURCES_MAX: u32 = 14_000;

/// What the words of every scenario mean here, where that is something else.
fn without_server(direct: Arg) -> Arg {
    direct.hide(true)
}

fn of_others(sources: Arg) -> Arg {
    sources.help("Addresses of those who come beside the attack, each in a /24 of its own; 0: 16 of them")
}

fn until_failed(patience: Arg) -> Arg {
    patience.help("Seconds after which a session of theirs has failed")
}

#[derive(Debug, Args)]
#[command(
    mut_arg("direct", without_server),
    mut_arg("sources", of_others),
    mut_arg("patience", until_failed)
)]
pub(crate) struct HostileArgs {
    pub(crate) kind: AttackKind,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Sessions a second of those who come beside the attack (open loop).
    #[arg(long, default_value = "20", value_parser = rate)]
    pub(crate) rate: f64,
    /// How long they come, first alone and then beside the attack.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds for which the attack goes on before they come.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub(crate) lead: Duration,
    /// Serve names here, on this machine; the server under attack has to ask here alone. Names end in `.test`.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) dns: Option<SocketAddr>,
    /// Users of the server: NAME:PASSWORD, one a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,
    /// Connections a second of the attack; 0: each that ends is followed by another. Here and below each attack has
    /// defaults of its own.
    #[arg(long, value_name = "RATE", value_parser = rate_or_none)]
    pub(crate) attack_rate: Option<f64>,
    /// Its connections at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=15_000))]
    pub(crate) attack_in_flight: Option<u64>,
    /// Its connections in all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) attack_count: Option<u64>,
    /// The addresses that it comes from: 127.1.0.1 and up.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4000))]
    pub(crate) attack_sources: Option<u32>,
    /// From one of them to the next; 256 gives each a /24 of its own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) attack_stride: Option<u32>,
    /// Seconds for which it keeps a connection that gets no answer.
    #[arg(long, value_parser = seconds)]
    pub(crate) hold: Option<Duration>,
    /// Addresses of a name of the attack.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) addresses: Option<u8>,
    /// Seconds after which a name of the attack is answered; without it never.
    #[arg(long, value_parser = seconds)]
    pub(crate) delay: Option<Duration>,
    /// Ports of the server's range for BIND.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=4096))]
    pub(crate) ports: Option<u64>,
    /// Fail when p99 beside the attack is more than so many times the quiet one.
    #[arg(long, value_name = "RATIO")]
    pub(crate) max_ratio: Option<f64>,
    /// Fail when more sessions than this fail beside the attack.
    #[arg(long, value_name = "N")]
    pub(crate) max_failures: Option<u64>,
}

impl HostileArgs {
    /// What was asked for, with the attack's own numbers where nothing was, and the users of the file.
    pub(crate) fn plan(&self) -> Result<HostilePlan, String> {
        let (common, usual) = (&self.common, self.kind.usual());
        if common.sources > SOURCES_MAX {
            return Err(format!("--sources {}: at most {SOURCES_MAX} of the others", common.sources));
        }
        let rate = self.attack_rate.map_or(usual.rate, |rate| (rate > 0.0).then_some(rate));
        Ok(HostilePlan {
            kind: self.kind,
            server: common.server.ok_or("there is nobody to attack without --server")?,
            target: common.target,
            target_name: common.target_name.clone(),
            credentials: common.user.clone().zip(common.password.clone()),
            pid: common.pid,
            origin_pid: common.origin_pid,
            sources: if common.sources == 0 { SOURCES } else { common.sources },
            rate: self.rate,
            seconds: self.seconds,
            lead: self.lead,
            patience: common.patience,
            force: Force {
                rate,
                in_flight: self.attack_in_flight.unwrap_or(usual.in_flight),
                count: self.attack_count.unwrap_or(usual.count),
                sources: self.attack_sources.unwrap_or(usual.sources),
                stride: self.attack_stride.unwrap_or(usual.stride),
                hold: self.hold.unwrap_or(usual.hold),
                addresses: self.addresses.unwrap_or(usual.addresses),
                delay: self.delay.or(usual.delay),
                ports: self.ports.unwrap_or(usual.ports),
            },
            dns: self.dns,
            users: self.users.as_deref().map_or(Ok(Vec::new()), read_users)?,
            thresholds: Thresholds { ratio: self.max_ratio, failures: self.max_failures },
        })
    }
}

fn read_users(file: &std::path::Path) -> Result<Vec<(String, String)>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    parse_users(&text).map_err(|line| format!("{}:{line}: expected NAME:PASSWORD", file.display()))
}

/// `Err` is the number of the first line that is wrong. Both words are 1 to 255 bytes long (RFC 1929 section 2).
fn parse_users(text: &str) -> Result<Vec<(String, String)>, usize> {
    let fits = |word: &str| (1..=255).contains(&word.len());
    let user = |(at, line): (usize, &str)| {
        let (name, password) =
            line.split_once(':').filter(|(name, word)| fits(name) && fits(word)).ok_or(at + 1)?;
        Ok((name.to_owned(), password.to_owned()))
    };
    text.lines().enumerate().map(user).collect()
}

/// 0 stands for none.
fn rate_or_none(text: &str) -> Result<f64, String> {
    if text == "0" { Ok(0.0) } else { rate(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_a_password() {
        let user = |name: &str, password: &str| (name.to_owned(), password.to_owned());
        assert_eq!(parse_users("a:b\nc:d:e\n"), Ok(vec![user("a", "b"), user("c", "d:e")]));
        assert_eq!(parse_users(""), Ok(Vec::new()));
        assert_eq!(parse_users("a:b\n:c\n"), Err(2));
        assert_eq!(parse_users("a:\n"), Err(1));
        assert_eq!(parse_users("a\n"), Err(1));
    }

    #[test]
    fn no_rate_is_a_rate() {
        assert_eq!((rate_or_none("0"), rate_or_none("2.5")), (Ok(0.0), Ok(2.5)));
        assert!(rate_or_none("-1").is_err());
    }
}
