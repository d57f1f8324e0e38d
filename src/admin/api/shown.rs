//! A list of sessions as JSON, written straight into the answer.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::history::{tenths, time_text};
use super::question::Seen;
use crate::observe::live::{LiveEgress, Proxied, SessionId};
use crate::observe::writable;
use crate::proto::address::Target;

/// The answer to a question for sessions.
#[derive(Serialize)]
struct ShownSessions<'a> {
    time: String,
    total: u64,
    matched: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'a str>,
    sessions: Shown<'a>,
}

/// Sessions that are made one by one as they are written.
struct Shown<'a>(&'a [Seen]);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ShownSession::of))
    }
}

/// The fields of the access record so far, where the session stands, and how fast it is.
#[derive(Serialize)]
struct ShownSession<'a> {
    #[serde(serialize_with = "as_text")]
    id: SessionId,
    #[serde(serialize_with = "as_text")]
    time: humantime::Rfc3339Timestamp,
    worker: u16,
    client: SocketAddr,
    listener: Option<&'a str>,
    user: Option<&'a str>,
    user_typed: Option<&'a str>,
    method: Option<&'static str>,
    command: Option<&'static str>,
    #[serde(serialize_with = "as_text_if_any")]
    target: Option<&'a Target>,
    address: Option<SocketAddr>,
    local: Option<SocketAddr>,
    protocol: Option<&'static str>,
    proxy_peer: Option<SocketAddr>,
    proxy_id: Option<String>,
    proxy_authority: Option<&'a str>,
    rule: Option<&'a str>,
    verdict: Option<&'static str>,
    would_deny: Option<&'a str>,
    limit: Option<&'a str>,
    egress: Option<&'a str>,
    egress_address: Option<IpAddr>,
    session_key: Option<String>,
    parent: Option<&'a str>,
    parent_server: Option<&'a str>,
    parent_cause: Option<&'static str>,
    reply: Option<u16>,
    engine: Option<&'static str>,
    bytes_up: u64,
    bytes_down: u64,
    datagrams_up: u64,
    datagrams_down: u64,
    handshake_ms: Option<u32>,
    dns_ms: Option<u32>,
    connect_ms: Option<u32>,
    state: &'static str,
    age_ms: u64,
    idle_ms: u64,
    rate_up: Option<f64>,
    rate_down: Option<f64>,
}

impl ShownSession<'_> {
    fn of(seen: &Seen) -> ShownSession<'_> {
        let Seen { session, speed } = seen;
        let (proxied, egress) = (session.proxied.as_deref(), session.egress.as_deref());
        ShownSession {
            id: session.id,
            time: humantime::format_rfc3339_millis(writable(session.time)),
            worker: session.id.worker,
            client: session.client,
            listener: session.listener.as_deref(),
            user: session.user.as_deref(),
            user_typed: session.user_typed.as_deref(),
            method: session.method,
            command: session.command,
            target: session.target.as_ref(),
            address: session.address,
            local: session.local,
            protocol: session.protocol,
            proxy_peer: proxied.map(|proxied| proxied.peer),
            proxy_id: proxied.and_then(Proxied::id),
            proxy_authority: proxied.and_then(|proxied| proxied.authority.as_deref()),
            rule: session.rule.as_deref(),
            verdict: session.verdict,
            would_deny: session.would_deny.as_deref(),
            limit: session.limit.as_deref(),
            egress: egress.map(|egress| &*egress.name),
            egress_address: egress.and_then(|egress| egress.address),
            session_key: egress.and_then(LiveEgress::key),
            parent: session.parent.as_deref(),
            parent_server: session.parent_server.as_deref(),
            parent_cause: session.parent_cause,
            reply: session.reply,
            engine: session.engine,
            bytes_up: session.bytes_up,
            bytes_down: session.bytes_down,
            datagrams_up: session.datagrams_up,
            datagrams_down: session.datagrams_down,
            handshake_ms: session.handshake_ms,
            dns_ms: session.dns_ms,
            connect_ms: session.connect_ms,
            state: session.state.name(),
            age_ms: session.age_ms,
            idle_ms: session.idle_ms,
            rate_up: speed.map(|speed| tenths(speed.up)),
            rate_down: speed.map(|speed| tenths(speed.down)),
        }
    }
}

fn as_text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_text_if_any<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Bytes that a session takes as JSON, more or less.
const SESSION_BYTES: usize = 800;

/// The answer: so many sessions are there, so many of them are meant, and these are shown.
/// A warning says what is missing.
pub(super) fn sessions(total: u64, matched: u64, warning: Option<&str>, page: &[Seen]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + SESSION_BYTES * page.len());
    let time = time_text(SystemTime::now());
    // Writing to a Vec cannot fail, and no key is anything but text.
    let _ = serde_json::to_writer(
        &mut out,
        &ShownSessions { time, total, matched, warning, sessions: Shown(page) },
    );
    out
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant, UNIX_EPOCH};

    use super::*;
    use crate::admin::api::rates::Speed;
    use crate::observe::live::{LiveSession, LiveState};
    use crate::proto::address::Host;

    pub(in crate::admin::api) fn session(serial: u64) -> LiveSession {
        LiveSession {
            time: UNIX_EPOCH + Duration::from_millis(1_767_323_045_006),
            began: Instant::now(),
            id: SessionId { boot: 0xc0ffee, worker: 1, serial },
            client: "127.0.0.1:40000".parse().unwrap(),
            listener: Some("127.0.0.1:1080".into()),
            protocol: Some("socks5"),
            proxied: None,
            user: Some("\"><script>\u{202e}\n".into()),
            user_typed: None,
            method: Some("password"),
            command: Some("connect"),
            target: Some(Target { host: Host::parse(b"example.com").unwrap(), port: 443 }),
            address: Some("[2001:db8::1]:443".parse().unwrap()),
            local: None,
            rule: Some("default".into()),
            verdict: Some("allow"),
            would_deny: Some("no-ads".into()),
            limit: None,
            egress: None,
            egress_refused: None,
            parent: None,
            parent_server: None,
            parent_cause: None,
            reply: Some(0),
            engine: Some("copy"),
            bytes_up: serial,
            bytes_down: u64::MAX,
            datagrams_up: 0,
            datagrams_down: 0,
            handshake_ms: Some(1),
            dns_ms: None,
            connect_ms: Some(2),
            state: LiveState::Relaying,
            age_ms: 12_345,
            idle_ms: 10,
        }
    }

    #[test]
    fn a_session_has_every_field_of_its_record_and_what_it_is_now() {
        let fast = Seen { session: session(10), speed: Some(Speed { up: 1.26, down: 0.0 }) };
        let text = String::from_utf8(sessions(5, 2, None, &[fast])).unwrap();
        let (time, rest) = text.split_at(text.find(",\"total\"").unwrap());
        assert!(time.starts_with("{\"time\":\"2"), "{time}");
        assert_eq!(
            rest,
            ",\"total\":5,\"matched\":2,\"sessions\":[{\"id\":\"00c0ffee01000000000a\",\
             \"time\":\"2026-01-02T03:04:05.006Z\",\"worker\":1,\"client\":\"127.0.0.1:40000\",\
             \"listener\":\"127.0.0.1:1080\",\"user\":\"\\\"><script>\u{202e}\\n\",\"user_typed\":null,\"method\":\"password\",\
             \"command\":\"connect\",\"target\":\"example.com:443\",\"address\":\"[2001:db8::1]:443\",\"local\":null,\
             \"protocol\":\"socks5\",\"proxy_peer\":null,\"proxy_id\":null,\"proxy_authority\":null,\"rule\":\"default\",\"verdict\":\"allow\",\"would_deny\":\"no-ads\",\"limit\":null,\"egress\":null,\"egress_address\":null,\"session_key\":null,\"parent\":null,\"parent_server\":null,\"parent_cause\":null,\"reply\":0,\"engine\":\"copy\",\"bytes_up\":10,\"bytes_down\":18446744073709551615,\"datagrams_up\":0,\
             \"datagrams_down\":0,\"handshake_ms\":1,\"dns_ms\":null,\"connect_ms\":2,\"state\":\"relaying\",\
             \"age_ms\":12345,\"idle_ms\":10,\"rate_up\":1.3,\"rate_down\":0.0}]}"
        );
        let none = String::from_utf8(sessions(0, 0, None, &[])).unwrap();
        assert!(none.ends_with(",\"total\":0,\"matched\":0,\"sessions\":[]}"), "{none}");
    }

    /// Prints what 20,000 sessions cost: `cargo test --release --lib twenty_thousand -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn twenty_thousand_sessions_are_written() {
        let page: Vec<Seen> =
            (0..20_000).map(|n| Seen { session: session(n), speed: Some(Speed::default()) }).collect();
        let began = Instant::now();
        let bytes = sessions(20_000, 20_000, None, &page).len();
        println!("{bytes} bytes in {:?}", began.elapsed());
        assert!(bytes > 20_000 * 500);
    }
}
