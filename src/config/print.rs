//! A configuration as TOML: every key with its value, in the order of the documentation.

use std::fmt::Display;
use std::path::Path;

use super::value::duration_text;
use super::{Access, Choice, Config, Dns64, PortRange};

/// The whole configuration; reading it gives the same one.
pub(super) fn to_toml(config: &Config) -> String {
    let Config { server, timeouts, auth, dns, guard, bind, udp, per_source, log, places: _ } = config;
    let mut page = Page(String::new());
    page.table("server");
    page.list("listen", &server.listen);
    page.plain("workers", server.workers);
    page.plain("pin", server.pin);
    page.text("relay", server.relay.name());
    page.plain("max_connections", server.max_connections);
    page.plain("backlog", server.backlog);
    page.text("busy_poll", &duration_text(server.busy_poll));
    page.plain("open_proxy", server.open_proxy);
    page.text("congestion", server.congestion.name());
    page.text("steer", server.steer.name());
    page.table("timeouts");
    page.text("handshake", &duration_text(timeouts.handshake));
    page.text("connect", &duration_text(timeouts.connect));
    page.text("dns", &duration_text(timeouts.dns));
    page.text("idle", &duration_text(timeouts.idle));
    page.text("half_close", &duration_text(timeouts.half_close));
    page.text("drain", &duration_text(timeouts.drain));
    page.text("unacked", &duration_text(timeouts.unacked));
    page.text("bind", &duration_text(timeouts.bind));
    page.text("udp_idle", &duration_text(timeouts.udp_idle));
    page.table("auth");
    page.list("methods", auth.methods.iter().map(|method| method.name()));
    if let Some(users) = &auth.users {
        page.path("users", users);
    }
    page.table("auth.gssapi");
    page.path("keytab", &auth.gssapi.keytab);
    page.text("service", &auth.gssapi.service);
    page.list("protection", auth.gssapi.protection.levels().map(Choice::name));
    page.plain("nec", auth.gssapi.nec);
    page.table("dns");
    page.list("servers", &dns.servers);
    page.plain("hosts", dns.hosts);
    page.plain("cache_entries", dns.cache_entries);
    page.text("prefer", dns.prefer.name());
    match &dns.dns64 {
        Dns64::Auto => page.text("dns64", "auto"),
        Dns64::Off => page.text("dns64", "off"),
        Dns64::Prefixes(prefixes) => page.list("dns64", prefixes),
    }
    page.table("guard");
    page.list("allow", &guard.allow);
    page.plain("allow_private", guard.allow_private);
    page.table("bind");
    page.text("ports", &ports_text(bind.ports));
    page.list("advertise", bind.advertise.addresses());
    page.table("udp");
    page.text("ports", &ports_text(udp.ports));
    page.list("advertise", udp.advertise.addresses());
    page.plain("fragments", udp.fragments);
    page.text("filtering", udp.filtering.name());
    page.table("limits.per_source");
    page.plain("connections", per_source.connections);
    page.table("log");
    page.text("level", log.level.name());
    page.text("format", log.format.name());
    match &log.access {
        Access::Off => page.text("access", "off"),
        Access::Stdout => page.text("access", "stdout"),
        Access::Path(path) => page.path("access", path),
    }
    page.text("on_full", log.on_full.name());
    page.plain("udp_targets", log.udp_targets);
    page.0
}

/// As `reach::ports` reads it: nothing is any port.
fn ports_text(ports: Option<PortRange>) -> String {
    ports.map(|range| range.to_string()).unwrap_or_default()
}

/// The text so far.
struct Page(String);

impl Page {
    fn table(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&format!("[{name}]\n"));
    }

    fn plain(&mut self, key: &str, value: impl Display) {
        self.0.push_str(&format!("{key} = {value}\n"));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.plain(key, string(value));
    }

    /// Every path was typed as UTF-8 and stays so.
    fn path(&mut self, key: &str, value: &Path) {
        self.text(key, &value.to_string_lossy());
    }

    fn list(&mut self, key: &str, values: impl IntoIterator<Item = impl Display>) {
        let all: Vec<_> = values.into_iter().map(|value| string(&value.to_string())).collect();
        self.plain(key, format_args!("[{}]", all.join(", ")));
    }
}

/// A TOML string on one line, with its quotes.
fn string(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
