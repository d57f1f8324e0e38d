//! Whether a subject may have what it asks for: the [`verdict`]. Policy sees addresses as they will be dialled, after
//! resolution, and each of them before it is tried: what was judged is not resolved again. The [`guard`] comes first and
//! no rule overrides it. No I/O.

mod carried;
pub mod guard;
pub mod locals;
pub mod nat64;
pub mod own_ports;
pub mod sources;
mod special;
pub mod verdict;

pub use guard::{Guard, Refusal};
pub use locals::Locals;
pub use nat64::Nat64;
pub use verdict::{Denial, Incoming, Object, Policy, Route, RoutedAddress, Subject, Verdict};
