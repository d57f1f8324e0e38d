//! The data plane: a [`Relay`] for each TCP session, and the datagrams of associations ([`datagram`]).
//!
//! It moves bytes and returns counts; it knows no slab, no timer, no clock and no log. The memory and the pipes
//! that it needs for a moment are lent by the worker's [`Kit`] and go back as soon as nothing is pending.

mod budget;
pub mod datagram;
mod driven;
mod gear;
mod half;
mod halves;
mod kit;
mod moved;
#[cfg(test)]
mod scripted;
mod sealed;
mod side;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub use budget::{Budget, Budgets, Resume};
pub use driven::{Driven, Finish};
pub use kit::Kit;
pub use moved::{Engine, Moved};
pub use side::{Edge, Side};
pub use stream::Relay;
