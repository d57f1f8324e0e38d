//! The parent that the datagrams of an association go through.

use std::net::SocketAddr;

/// The parent of an association.
#[derive(Clone, Copy, Debug)]
pub struct LedDatagrams {
    /// Where it takes datagrams; `None` where it is away, and targets are sent to without it.
    pub relay: Option<SocketAddr>,
    /// It resolves names.
    pub by_name: bool,
}
