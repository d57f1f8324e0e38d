//! The words that scenarios have in common, and how single words are read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// What every scenario needs to know.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The server, on this machine.
    #[arg(long, required_unless_present = "direct", conflicts_with = "direct")]
    pub(crate) server: Option<SocketAddr>,
    /// Call the target with no server between.
    #[arg(long)]
    pub(crate) direct: bool,
    /// The origin's port for this scenario, on this machine.
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// Ask the server for this name instead of the target's address (ATYP 3; the port is the target's).
    #[arg(long, value_name = "NAME", value_parser = short_text, conflicts_with = "direct")]
    pub(crate) target_name: Option<String>,
    /// User name: SOCKS5 switches to method password, HTTP sends it with each request.
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
    /// The origin's process, to see that it costs little.
    #[arg(long, value_name = "PID")]
    pub(crate) origin_pid: Option<i32>,
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

impl Common {
    /// User and password, when both are given.
    pub(crate) fn credentials(&self) -> Option<(&str, &str)> {
        self.user.as_deref().zip(self.password.as_deref())
    }
}

/// RFC 1928 section 5 and RFC 1929 section 2: 1 to 255 bytes.
pub(super) fn short_text(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) { Ok(text.to_owned()) } else { Err("1 to 255 bytes".to_owned()) }
}

/// Anything beyond a million a second is a slip.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if rate > 0.0 && rate <= 1e6 { Ok(rate) } else { Err("above 0, at most 1000000".to_owned()) }
}

pub(super) fn per_cent(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=100.0).contains(&share) { Ok(share) } else { Err("expected 0 to 100".to_owned()) }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_positive_number() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "NaN", "inf", "2e6", "x"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
