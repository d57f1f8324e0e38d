//! What an operator sees and changes while the server runs: the admin endpoint, on a thread of its own.
//!
//! It reads what workers count and asks them by mail; what changes the server is an [`Order`] to the control thread. It
//! knows nothing of how either is done, and no worker ever waits for it.

mod dashboard;
mod orders;

pub use dashboard::Dashboard;
pub use orders::{Actor, Done, KeyChange, Order, OrderError, OrderLetter, ReloadReport};
