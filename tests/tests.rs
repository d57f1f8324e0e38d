//! The integration suite, one binary: real sockets, bytes written by hand.
//!
//! Each module below names what it holds; HAZARDS are numbered in the comments of the tests.

/// The project's own text: sizes, layers, unsafe code, clocks, markers, dependencies, CONFORMANCE.md.
mod tidy;

/// What every test stands on: the server as a child process, clients, origins, a name server.
#[macro_use]
mod support;

/// The helpers themselves hold without a server.
mod selftest;

/// Greeting and sub-negotiation: splits, floods, foreign protocols, slowness (1, 2, 5, 6, 10).
mod handshake;

/// Passwords, right and wrong, and the price of guessing (3, 4, 8).
mod login;

/// Parameters of the session beside the name or the password.
mod username;

/// What the environment has to do with the configuration.
mod environment;

/// Malformed requests and strange names (11, 12, 13).
mod request;

/// Reply codes, BND, and which family is dialled (14).
mod replies;

/// Names with many addresses: which are tried, for how long and with how many descriptors.
mod dialling;

/// Sessions that leave from a pool of addresses, by each command and protocol: ports used up, families, reloads, ends.
mod egress;

/// Clients that leave before there is a relay (15).
mod leaving;

/// Requests, payload and end in one segment: phases that end in the turn in which they begin.
mod at_once;

/// Listeners with settings of their own.
mod listeners;

/// Clients behind a load balancer, which says who they are.
mod proxy_in;

/// The balancers of packaging/ in front of relays, each in a machine of its own.
mod in_front;

/// Requests of HTTP in absolute form, and their responses.
mod http_exchange;

/// Connections of HTTP clients between two requests.
mod http_kept;

/// Clients that come by a unix socket.
mod unix_listener;

/// A new server in the place of one that serves (37, 61).
mod handover;
mod handover_ends;
mod handover_limits;
mod handover_load;
mod handover_older;
mod handover_rights;
mod handover_signal;
mod handover_users;
mod handover_waits;

/// Rules: who may go where, by name and by address, and what is told of it.
mod policy;

/// What live traffic needed, and the rules that are made of it.
mod learn;

/// What would come of a request, and why: asked of a file or of a running server.
mod explain;
mod explain_limits;

/// Rules by group: whom the users file puts where, and when that is obeyed.
mod policy_users;

/// What breaks at a reload, and what is lowered below what there is.
mod policy_faults;

/// Which addresses are dialled: special-purpose ones, our own, rebound names (16, 17, 18).
mod guard;

/// This machine's own services, and the relay's listeners at addresses that it was not told of (17, 55).
mod guard_host;

/// Where sessions leave from, as targets see it.
mod egress_net;

/// Addresses of a pool that die, and come back.
mod egress_dead;

/// What sockets of a pool are given: blocks, an interface, a mark, another network namespace.
mod egress_sockets;

/// What leaves from a pool, packet by packet: its class of service, and the way of its mark.
mod egress_packets;

/// Targets of both families through a pool.
mod egress_families;

/// Pools and parents that change under sessions.
mod egress_reload;

/// Passwords of parents, in files and in URLs, over reloads.
mod parents_secrets;

/// Pools in other network namespaces: what is read there, and another namespace at the path of one.
mod egress_netns;

/// NAT64: what is behind a translator, and prefixes that are shown, made up or named.
mod dns64;

/// Name servers that lie, stutter or are dead (19, 20).
mod resolver;
mod resolver_files;

/// SOCKS4 and SOCKS4a, also by curl (1, 6, 10, 11, 14, 16).
mod socks4;

/// PROXY headers for targets, also for nginx and HAProxy.
mod proxy_out;

/// Tor's RESOLVE and RESOLVE_PTR, also by `tor-resolve` and torsocks (16, 18).
mod tor;

/// BIND: two replies, one peer and no other, its time, clients that leave, the guard (50).
mod bind;

/// The relay behind BIND: bulk, half-closes, resets, pipelined bytes.
mod bind_bytes;

/// BIND's ports, addresses and routes; no descriptor left to accept with.
mod bind_ports;

/// Sessions of one source, over all workers (40, 56).
mod per_source;

/// What subjects may have and move: users, sources, rules (40).
mod limits;
mod limits_counted;
mod limits_users;

/// Bytes of a period (40).
mod quotas;

/// No descriptor left, no local port left (36, 39).
mod accept;

/// The ready line, what must not start, the drain (41).
mod lifecycle;

/// `/healthz` and `/readyz`, as `outflow health` tells them.
mod health;

/// What a service manager is told.
mod systemd;

/// Sockets that a service manager passes.
mod activation;

/// The packaged units, as systemd's tools read them and under a real one.
mod service;
mod units;

/// Reloads: each key obeyed, nobody cut off (37, 61).
mod reload;
mod reload_keys;

/// Access records and logs: every field, one line, nothing forged (9).
mod records;

/// Sinks of logs and records that fail, stall, fill and move (51, 52); signals.
mod logs;

/// The admin endpoint: requests, right and wrong.
/// CONNECT over HTTP, under the users, rules, limits and records of SOCKS5.
mod http_connect;

/// Requests that were smuggled past others, and what an origin sees of them.
mod http_smuggling;

/// HTTP as a strict parser of others reads it: what goes on is what that finds.
mod http_reference;

mod admin_http;

/// Slow, greedy and hostile clients of it.
mod admin_bounds;

/// Who may ask it for what, by which way; its socket's file (17).
mod admin_access;

/// Requests bent at random, beside live sessions.
mod admin_fuzz;

/// The admin API: reloads and drains, sessions listed and ended, users, and the numbers of the server as a whole.
mod admin_api_orders;
mod admin_api_sessions;
mod admin_api_stats;
mod admin_api_users;

/// Reloads that change the admin endpoint itself.
mod admin_reload;

/// What was used of quotas, over ends, crashes, full disks and files that are damaged.
mod quota_store;

/// The subcommands that need no running server: `check`, `user`, `completions`, `man`.
mod commands;

/// The subcommands that ask a running server: `sessions`, `stats`, `reload`, `drain`, `health`.
mod cli_admin;

/// The addresses of a pool: which are left alone, how they come back, what is set by hand, the ports in use.
mod egress_health;

/// `outflow top` on a terminal: keys, signals, an endpoint that goes and comes, the terminal afterwards.
mod top;

/// `outflow top` before a real server, and the picture of it in docs/.
mod top_live;

/// What `doctor` finds in networks that lack something, and that it is true.
mod doctor;

/// What `check` tries and `run` refuses: the same, with file, line and key.
mod check;

/// What the pages of the documentation show, tried as it stands there.
mod pages;

/// Bytes: pipelined payload, odd chunks, both directions at once, urgent data.
mod relay_bytes;

/// Sessions that end at the worst moment: foreign bytes, old events, leaks, records.
mod relay_churn;

/// A kernel that says no: splice and pipe2 that fail, pipes that shrink.
mod relay_faults;

/// Full pipes, slow readers, fairness.
mod relay_flow;

/// Half-close.
mod relay_half_close;

/// Resets.
mod relay_reset;

/// Idle limits and peers that are gone.
mod relay_timers;

/// UDP ASSOCIATE: the reply, and whose datagrams an association takes (42).
mod udp_associate;

/// How long an association lives, what does not end it, and its record (41, 43).
mod udp_lifetime;

/// The header of a datagram, and payloads of every size (44).
mod udp_header;

/// One port for all targets, who may answer, and names (20, 46).
mod udp_targets;

/// Fragments (48).
mod udp_fragments;

/// Records of where datagrams went.
mod udp_records;

/// What waits in associations has a share by source (56).
mod udp_shares;

/// Policy by the datagram, and loops (16, 17, 18, 21, 47).
mod udp_guard;

/// Bursts with bad datagrams among them, and UDP_SEGMENT (45).
mod udp_batches;

/// Random bytes and floods (49).
mod udp_chaos;

/// A random mix of all that may be sent, against a model.
mod udp_model;

/// The tests' own Kerberos realm and client hold without a server.
mod gssapi_realm;

/// GSSAPI contexts: who comes in, as whom, and what ends them (1, 7, 10).
mod gssapi_context;

/// Levels of protection: asked for, granted, refused; curl's and NEC's bytes (7).
mod gssapi_levels;

/// Limits and rules of users who come with a ticket.
mod gssapi_limits;

/// Requests, replies and messages under protection, and what a recording shows of them.
mod gssapi_session;

/// Bulk under protection: both ways, slow readers, half-closes, resets.
mod gssapi_bytes;

/// Messages that are not the client's, or not under what was agreed on (7).
mod gssapi_faults;

/// Datagrams under protection.
mod gssapi_udp;

/// The keytab at the start, and what no log holds.
mod gssapi_setup;

/// TLS at a listener: handshakes, certificates, what clients say below the protocols, and the files.
mod tls;

/// Requests in absolute form behind TLS: what is kept, pipelined, cut off, upgraded, refused; curl.
mod tls_exchange;

/// Bytes behind TLS: every split, ends, resets, bulk; foreign clients.
mod tls_bytes;

/// Sessions that are led through another proxy: what it is told, and what becomes of them where it fails.
mod parents;

/// Parents that fail and come back under load.
mod parents_load;

/// What is told of parents and their servers, and what is set of them by hand.
mod parents_seen;

/// Connections to parents that wait for a session: the round trips that they spare.
mod parents_warm;

/// Whose fault it is that a session through a parent fails.
mod parents_faults;

/// Datagrams that are led through another proxy.
mod parents_udp;

/// What clients, names and parents can do to others by way of a parent.
mod parents_rules;

/// What Prometheus makes of the metrics, and Grafana and the alerts of their names.
mod metrics;

/// The page of all metrics.
mod metrics_page;

/// What the server gives up as it starts, and what nobody within it can do.
mod sandbox;

/// What a control group allows: CPU for workers, memory for sessions.
mod overload;

/// Files that are open to it, and others.
mod sandbox_files;

/// What a worker cannot do that somebody has taken over.
mod escape;

/// Counters, panics and ceilings of a server in this very process (29, 38).
mod in_process;

/// The files of packaging/ against the program and each other.
mod packaging;
