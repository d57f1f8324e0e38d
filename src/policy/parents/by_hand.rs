//! Parents for tests that are about something else than how parents are made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Fallback, Parent, ParentHop, ParentSelect, ParentServer, ParentSpec, Parents, ResolveAt, SendProxy,
    UserFrom,
};
use crate::policy::way::ParentId;
use crate::proto::address::{Host, Target};
use crate::proto::client::ClientProtocol;

/// Parents of these names and of servers with these weights, at 192.0.2.1 and on. One fail puts a server away for half a minute;
/// numbers are places from 1 on.
pub(crate) fn parents(parents: &[(&str, &[u32])], now: Instant) -> Parents {
    let servers = |weights: &[u32]| -> Vec<(String, u32)> {
        weights
            .iter()
            .enumerate()
            .map(|(place, weight)| (format!("192.0.2.{}", place + 1), *weight))
            .collect()
    };
    let all: Vec<_> = parents.iter().map(|(name, weights)| (*name, servers(weights))).collect();
    of(&all, now)
}

/// The same of servers at these hosts.
pub(crate) fn parents_of(parents: &[(&str, &[&str])], now: Instant) -> Parents {
    let servers = |hosts: &[&str]| hosts.iter().map(|host| ((*host).to_owned(), 1)).collect();
    let all: Vec<_> = parents.iter().map(|(name, hosts)| (*name, servers(hosts))).collect();
    of(&all, now)
}

/// A server that speaks SOCKS5 at this host.
pub(crate) fn server(host: &str, number: u16, weight: u32) -> ParentServer {
    let target = Target { host: Host::parse(host.as_bytes()).expect("a host"), port: 1080 };
    let protocol = ClientProtocol::Socks5;
    let hop = ParentHop { protocol, names: true, target, user: None, password: None, password_file: None };
    ParentServer { hops: vec![hop], weight, number }
}

/// A parent of these servers, of which nothing else is said. One fail puts a server away for half a minute.
pub(crate) fn spec(name: &str, servers: Vec<ParentServer>) -> ParentSpec {
    ParentSpec {
        name: name.into(),
        servers,
        select: ParentSelect::RoundRobin,
        max_fails: 1,
        fail_timeout: Duration::from_secs(30),
        check: None,
        resolve: ResolveAt::There,
        udp: false,
        user_from: UserFrom::Url,
        send_proxy: SendProxy::Off,
        fallback: Fallback::Fail,
        warm: 0,
    }
}

fn of(parents: &[(&str, Vec<(String, u32)>)], now: Instant) -> Parents {
    let mut numbers = 1..;
    let mut number = || numbers.next().expect("a number");
    let made = parents.iter().zip(1..).map(|((name, servers), id)| {
        let servers = servers.iter().map(|(host, weight)| server(host, number(), *weight)).collect();
        (ParentId(id), Arc::new(Parent::new(spec(name, servers), None, now)))
    });
    Parents::new(made.collect::<Vec<_>>())
}
