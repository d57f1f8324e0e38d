//! The data plane: one [`Half`] per direction over a transport that varies (copy or splice).
//!
//! It moves bytes and returns counts; it knows no slab, no timer, no clock and no log. The memory and the pipes
//! that it needs for a moment are lent by the worker's [`Kit`] and go back as soon as nothing is pending.

pub mod datagram;
mod edge;
mod half;
mod kit;
mod moved;
#[cfg(test)]
mod scripted;
mod sealed;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub use edge::Edge;
pub use kit::Kit;
pub use moved::{Engine, Moved};
pub use stream::{Driven, Finish, Relay, Side};
