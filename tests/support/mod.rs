//! The bench on which the integration tests stand.
//!
//! `relay` runs the server as a child process, `client` speaks SOCKS in bytes written by hand, `origin` and
//! `dns` play the far side, `udp` both sides of an association, `crowd` many sessions and a target that knows whence they came,
//! `wait` turns conditions into deadlines, `netns` gives a test a network of its own, `skip` counts the tests that this machine
//! cannot run, `realm` and `gss` a Kerberos realm and clients of it, `web` either end of a request of HTTP,
//! `parent` proxies that sessions are led through, `packets` what goes over the wires of a namespace, `cgroup` a control
//! group for a server.
//! Nothing here uses the server's own code: a codec is not tested with itself.
#![allow(dead_code, reason = "a bench of helpers: which of them are in use changes with the tests")]

pub(crate) mod api;
pub(crate) mod cgroup;
pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod dns;
mod engine;
pub(crate) mod gss;
pub(crate) mod http;
pub(crate) mod keyed;
pub(crate) mod manager;
pub(crate) mod netns;
pub(crate) mod origin;
pub(crate) mod packets;
#[macro_use]
pub(crate) mod pairs;
pub(crate) mod parent;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod realm;
pub(crate) mod relay;
#[macro_use]
pub(crate) mod sealed;
pub(crate) mod skip;
pub(crate) mod socket_table;
pub(crate) mod svg;
pub(crate) mod tables;
pub(crate) mod terminal;
pub(crate) mod tls;
#[macro_use]
pub(crate) mod udp;
pub(crate) mod users;
pub(crate) mod wait;
pub(crate) mod web;

pub(crate) use client::Client;
pub(crate) use dns::DnsServer;
pub(crate) use origin::{BlackHole, Origin};
pub(crate) use relay::{Engine, Relay};

/// Makes two tests of each function named: one over the copy path and one over splice.
///
/// `engines!(half_close)` needs `fn half_close(engine: Engine)` beside it and gives the tests
/// `half_close::copy` and `half_close::splice`.
macro_rules! engines {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn copy() {
                super::$name($crate::support::Engine::Copy);
            }

            #[test]
            fn splice() {
                super::$name($crate::support::Engine::Splice);
            }
        }
    )+};
}

/// The path by which the test harness knows the enclosing test function.
macro_rules! test_name {
    () => {{
        fn here() {}
        $crate::support::netns::test_path(std::any::type_name_of_val(&here))
    }};
}
