//! The words of `outflow-load overload`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Arg, Args};

use super::common::{Common, rate, seconds};
use crate::scenario::overload::{OverloadBars, OverloadPlan};

/// What the words of every scenario mean here, where that is something else.
fn without_server(direct: Arg) -> Arg {
    direct.hide(true)
}

fn until_left(patience: Arg) -> Arg {
    patience.default_value("2").help("Seconds after which a client leaves")
}

#[derive(Debug, Args)]
#[command(mut_arg("direct", without_server), mut_arg("patience", until_left))]
pub(crate) struct OverloadArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The origin's port for the pings of flows that stand already.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) echo: SocketAddr,
    /// Multiples of the peak at which sessions come, in this order. What lies below 1 is what flows are compared with.
    #[arg(long, value_delimiter = ',', default_value = "0.9,2,10", value_parser = rate)]
    pub(crate) multiples: Vec<f64>,
    /// Sessions a second at the peak (default: those of a closed loop, measured first).
    #[arg(long, value_parser = rate)]
    pub(crate) peak: Option<f64>,
    /// How long each part is measured.
    #[arg(long, default_value = "8", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How long it goes on before.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Bytes of a page.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) size: u32,
    /// Flows that stand already.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) flows: u64,
    /// Pings a second of each.
    #[arg(long, default_value = "10", value_parser = rate)]
    pub(crate) pings: f64,
    /// Fail when less than this share of the peak is served in time above it.
    #[arg(long, value_name = "SHARE")]
    pub(crate) min_goodput: Option<f64>,
    /// Fail when p99 of the flows above the peak is more than so many times what it is below.
    #[arg(long, value_name = "RATIO")]
    pub(crate) max_ratio: Option<f64>,
}

impl OverloadArgs {
    pub(crate) fn plan(&self) -> Result<OverloadPlan, String> {
        let common = &self.common;
        Ok(OverloadPlan {
            server: common.server.ok_or("there is nobody to overload without --server")?,
            target: common.target,
            echo: self.echo,
            target_name: common.target_name.clone(),
            credentials: common.user.clone().zip(common.password.clone()),
            sources: common.sources,
            pid: common.pid,
            origin_pid: common.origin_pid,
            size: self.size as usize,
            peak: self.peak,
            multiples: self.multiples.clone(),
            give_up: common.patience,
            warmup: self.warmup,
            seconds: self.seconds,
            flows: self.flows,
            pings: self.pings,
            bars: OverloadBars { goodput: self.min_goodput, ratio: self.max_ratio },
        })
    }
}
