//! The load generator from outside: its own binary against small servers written here by hand.

mod cost;
mod options;
mod support;

/// Tests that this machine cannot run are counted, as those of the relay are.
#[path = "../../tests/support/skip.rs"]
mod skip;

/// The origin as a child process, and relays with a manner between it and the clients.
mod world;

/// Datagrams: loss, copies and order are counted; lies and deaths end the run.
mod udp;

/// Other protocols than SOCKS5, TLS, and requests over kept connections.
mod proxies;

/// Ping-pong: good servers and bad ones.
mod echo;

/// The scraping fleet: its habits are kept, and bad servers end it.
mod mix;

/// The soak: every action, and every byte that is not as it was sent.
mod churn;

/// Attacks: what they are made of, and that others are seen to suffer where they do.
mod hostile;

/// More sessions than a server serves: what counts as served, and the bars.
mod overload;

/// Comparisons: bad servers end their own part alone, and no process is left.
mod compare;
