//! Parents: proxies that sessions are led through, each a few servers of which one is chosen. No I/O and no clock: what became
//! of a try is told here ([`Parent::failed`], [`Parent::succeeded`]), and what is chosen next goes by it.
//!
//! A [`Parent`] is what an operator called so. A reload makes another of it and keeps the [`ServerHealth`] of servers that stay, so
//! that a server which is away is not tried again by everybody because of a key that changed.

#[cfg(test)]
pub(crate) mod by_hand;
mod choose;
mod doubt;
mod drained;
mod hash;
mod health;
mod parent;
mod spec;
mod triers;
mod turns;

pub use choose::{ParentAsked, Trying};
pub use doubt::ClosedOn;
pub use drained::ParentServerState;
pub use health::ServerHealth;
pub use parent::{Parent, Parents};
pub use spec::{
    Fallback, HopSecret, ParentCheck, ParentHop, ParentSelect, ParentServer, ParentSpec, ResolveAt,
    SendProxy, UserFrom,
};
pub use turns::ParentTurns;

#[cfg(test)]
mod tests;
