//! The system's GSSAPI library (RFC 2743, RFC 2744), MIT's or Heimdal's, loaded at run time: the program starts and
//! works where neither is there.
//!
//! Handles are owned values that give themselves back when dropped. Thread rules:
//!
//! - [`Library`] is a table of functions, read by every thread. It is loaded once and never unloaded: both libraries
//!   keep data by thread that they free, with code of their own, when the thread ends.
//! - [`ServiceCredentials`] are `Send` and `Sync`: the mechanism locks them, several threads may accept with one.
//! - A [`Context`] is `Send`, not `Sync`: neither library locks one (its sequence numbers are plain memory), so one
//!   thread at a time, and any thread. Its methods take `&mut self` where the library writes to it.
//! - [`Context::accept`] and [`ServiceCredentials::acquire`] read files and take locks on them (keytab, replay cache): not on
//!   a worker. `wrap`, `unwrap` and `wrap_size_limit` compute and allocate, nothing else.
//! - The words for a status are kept by thread: [`GssError`] takes them at once.
//! - The libraries read the environment (KRB5_CONFIG, KRB5RCACHENAME), which nothing of ours changes once threads run.

mod context;
mod credentials;
mod ffi;
mod library;
mod name;
mod status;

#[cfg(test)]
mod tests;

pub use context::{Accepted, Context, Established, MessageOrder, Unwrapped};
pub use credentials::ServiceCredentials;
pub use library::Library;
pub use status::GssError;
