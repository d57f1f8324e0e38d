//! What an operator sees and changes while the server runs: the admin endpoint, on a thread of its own.
//!
//! It reads what workers count and asks them by mail; what changes the server is an [`Order`] to the control thread. It
//! knows nothing of how either is done, and no worker ever waits for it.

mod dashboard;
mod latencies;
mod orders;
mod process;

pub use dashboard::Dashboard;
pub use latencies::WorkerLatencies;
pub use orders::{Actor, Done, KeyChange, Order, OrderError, OrderLetter, ReloadReport};
pub use process::process_use;
