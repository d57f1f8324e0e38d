//! Pools of addresses that connections leave from: `[[egress]]`.

pub mod health;
mod known;
pub mod ledger;
mod marks;
pub mod ports;
pub mod standing;
mod suspicion;
