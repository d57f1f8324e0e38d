//! The datagrams of UDP ASSOCIATE (RFC 1928 section 7), in batches.
//!
//! A batch is received into the worker's [`Inbox`](crate::sys::mmsg::Inbox), each datagram is judged where it lies, and
//! what may go on leaves as pieces of that memory: the header is skipped on the way to a target and written beside it on
//! the way to a client. No payload is copied but that of a fragment, of a datagram that waits for a name, and of a sealed
//! one.

mod association;
mod drops;
mod fragments;
mod kit;
mod led;
mod led_by;
mod names;
mod outbox;
mod outward;
mod peers;
mod reachable;
mod sealed;
mod tally;
mod terms;
mod up;
mod verdicts;

#[cfg(test)]
mod tests;

pub use association::{Association, Expected, Family, Pumped};
pub use drops::{Drop, Drops};
pub use kit::DatagramKit;
pub use led_by::LedDatagrams;
pub use outward::Outward;
pub use tally::{Flow, Tallied, Tally};
pub use terms::Terms;
