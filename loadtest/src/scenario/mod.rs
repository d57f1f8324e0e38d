//! The loads that a server is put under. Each file is one scenario: what its connections do, what is
//! timed, and the record that it leaves.

pub(crate) mod connect;
pub(crate) mod echo;
pub(crate) mod idle;
pub(crate) mod stream;
