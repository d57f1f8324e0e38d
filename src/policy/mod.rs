//! Whether an identity may reach an address. Policy sees addresses as they will be dialled, after resolution,
//! and each of them before it is tried: what was checked is not resolved again. The [`guard`] comes first and
//! no rule overrides it. Rules by user, source and target, limits and the choice of an egress address belong
//! between the guard's answer and the dial, as further modules here: `(Identity, Request, address)` to a
//! verdict, without I/O.

mod carried;
pub mod guard;
pub mod locals;
pub mod nat64;
pub mod own_ports;
pub mod sources;
mod special;

pub use guard::{Guard, Refusal, check_connected};
pub use locals::Locals;
pub use nat64::Nat64;
