//! The loads that a server is put under. Each file is one scenario: what its connections do, what is
//! timed, and the record that it leaves. `starts`, `deadline`, `request`, `exchange` and `pages` are what several
//! of them use.

pub(crate) mod churn;
pub(crate) mod connect;
pub(crate) mod deadline;
pub(crate) mod echo;
pub(crate) mod exchange;
pub(crate) mod hostile;
pub(crate) mod http;
pub(crate) mod idle;
pub(crate) mod mix;
pub(crate) mod overload;
pub(crate) mod pages;
pub(crate) mod request;
pub(crate) mod starts;
pub(crate) mod stream;
