//! What `outflow doctor` looks at: a pool may have more addresses than anyone reads about.

use std::time::Duration;

/// Addresses of a pool that are looked at one by one: each is a question to the kernel, of some microseconds.
pub const DOCTOR_ADDRESSES_MAX: usize = 4096;
/// Addresses that a finding names; how many more there are it says.
pub const DOCTOR_NAMED_MAX: usize = 3;
/// Addresses of a pool that a target is tried from, all at once: each is a thread while it lasts.
pub const DOCTOR_PROBES_MAX: usize = 64;
/// How long a target may take to answer: a SYN that was lost is sent again after one second and after three.
pub const DOCTOR_PROBE_PATIENCE: Duration = Duration::from_secs(4);
/// How long a server of a parent may take for all that it is asked: each proxy of a chain as long as a target.
pub const DOCTOR_PARENT_PATIENCE: Duration = Duration::from_secs(16);
/// Bytes that a server's answers may have in all: it is asked for no more than a connection.
pub const DOCTOR_PARENT_BYTES_MAX: usize = 64 * 1024;
