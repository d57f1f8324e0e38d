//! What an operator sees and changes while the server runs: the admin endpoint, on a thread of its own.
//!
//! It reads what workers count and asks them by mail; what changes the server is an [`Order`] to the control thread. It
//! knows nothing of how either is done, and no worker ever waits for it.

mod access;
mod answer;
mod api;
mod connection;
mod dashboard;
mod doors;
mod effort;
mod handle;
mod health;
mod holders;
mod http;
mod latencies;
mod metrics;
mod older;
mod orders;
mod pages;
mod process;
mod refused;
mod rights;
mod server;
mod service;
mod socket_file;
mod standing;
mod status;
mod stream;
mod token;
mod token_file;
mod watched;

pub use answer::HttpAnswer;
pub(crate) use api::explanation_json;
pub use dashboard::Dashboard;
pub use doors::{GivenDoor, OfferedDoor};
pub use handle::{Admin, AdminError, AdminOpening, probe_admin};
pub use health::{StalledWorker, Vitals};
pub use http::{HttpHead, HttpMethod, HttpRequest};
pub use latencies::WorkerLatencies;
pub use metrics::Beside;
pub use older::{OlderServer, OlderServers, unix_seconds};
pub use orders::{Actor, Done, Order, OrderError, OrderLetter, ReloadReport};
pub use process::process_use;
pub use rights::{all_with_whom, cannot_bind, with_whom};
pub use socket_file::{SocketFile, SocketFileError};
pub use standing::{InEffect, ServerState, Standing};
pub use status::HttpStatus;
pub use token_file::token_concerns;
pub use watched::{Watched, WatchedWorker};
