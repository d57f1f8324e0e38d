//! The access record: one JSON line a session.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::live::{LiveEgress, LiveSession, Proxied};
use crate::limits;
use crate::outcome::Reason;
use crate::proto::address::{Host, Target};
use crate::relay::datagram::Tallied;

/// Everything that a session leaves behind. What never came to be is null.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'a> {
    /// How it stood in the end; its age is how long it lasted.
    pub session: &'a LiveSession,
    /// Why the session ended.
    pub reason: Reason,
}

/// Bytes that the record of a session with this user, by the bare name and as it was typed, and this target, behind this balancer, takes at most, with its share of a batch:
/// each byte of a name may need six (`\u001b`).
pub fn record_room(user: [Option<&str>; 2], target: Option<&Target>, proxied: Option<&Proxied>) -> usize {
    let escaped = |bytes: usize| 6 * bytes;
    let target = match target.map(|target| &target.host) {
        Some(Host::Name(name)) => escaped(name.as_str().len()),
        Some(Host::Ip(_)) | None => 0,
    };
    let proxied = proxied.map_or(0, |Proxied { unique_id, authority, .. }| {
        2 * unique_id.as_ref().map_or(0, |id| id.len())
            + escaped(authority.as_ref().map_or(0, |name| name.len()))
    });
    limits::RECORD_BYTES_PLAIN_MAX
        + escaped(user.into_iter().flatten().map(str::len).sum())
        + target
        + proxied
}

impl AccessRecord<'_> {
    /// Appends the record and a line feed. Whatever a client sent is escaped: it stays one line.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let AccessRecord { session, reason } = self;
        let mut line = Line { out, separator: b'{' };
        line.text("time", &humantime::format_rfc3339_millis(writable(session.time)).to_string());
        line.text("id", &session.id.to_string());
        line.number("worker", Some(session.id.worker));
        line.text("client", &session.client.to_string());
        line.optional("user", session.user.as_deref());
        line.optional("user_typed", session.user_typed.as_deref());
        line.optional("method", session.method);
        line.optional("command", session.command);
        line.optional("target", session.target.as_ref().map(|target| target.to_string()).as_deref());
        line.optional("address", session.address.map(|a| a.to_string()).as_deref());
        line.optional("local", session.local.map(|a| a.to_string()).as_deref());
        line.optional("protocol", session.protocol);
        line.optional("listener", session.listener.as_deref());
        let proxied = session.proxied.as_deref();
        line.optional("proxy_peer", proxied.map(|proxied| proxied.peer.to_string()).as_deref());
        line.optional("proxy_id", proxied.and_then(Proxied::id).as_deref());
        line.optional("proxy_authority", proxied.and_then(|proxied| proxied.authority.as_deref()));
        line.optional("rule", session.rule.as_deref());
        line.optional("verdict", session.verdict);
        line.optional("would_deny", session.would_deny.as_deref());
        line.optional("limit", session.limit.as_deref());
        let egress = session.egress.as_deref();
        line.optional("egress", egress.map(|egress| &*egress.name));
        line.optional(
            "egress_address",
            egress.and_then(|egress| Some(egress.address?.to_string())).as_deref(),
        );
        line.optional("session_key", egress.and_then(LiveEgress::key).as_deref());
        line.optional("egress_refused", session.egress_refused.as_deref());
        line.optional("parent", session.parent.as_deref());
        line.optional("parent_server", session.parent_server.as_deref());
        line.optional("parent_cause", session.parent_cause);
        line.number("reply", session.reply);
        line.text("reason", reason.name());
        line.optional("engine", session.engine);
        line.number("bytes_up", Some(session.bytes_up));
        line.number("bytes_down", Some(session.bytes_down));
        line.number("datagrams_up", Some(session.datagrams_up));
        line.number("datagrams_down", Some(session.datagrams_down));
        line.number("handshake_ms", session.handshake_ms);
        line.number("dns_ms", session.dns_ms);
        line.number("connect_ms", session.connect_ms);
        line.number("duration_ms", Some(session.age_ms));
        out.extend_from_slice(b"}\n");
    }
}

/// What an association moved to and from one target, written behind the association's own record.
#[derive(Clone, Copy, Debug)]
pub struct TargetRecord<'a> {
    /// The association.
    pub session: &'a LiveSession,
    /// The target and what moved; without an address, all targets that had no record of their own.
    pub tallied: Tallied<'a>,
    /// The name of the rule that let its datagrams pass.
    pub rule: Option<&'a str>,
    /// The name of the rule that would have denied them.
    pub would_deny: Option<&'a str>,
}

impl TargetRecord<'_> {
    /// Appends the record and a line feed, escaped as any record is.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let TargetRecord { session, tallied, rule, would_deny } = self;
        let Tallied { name, address, up, down, .. } = tallied;
        let mut line = Line { out, separator: b'{' };
        line.text("time", &humantime::format_rfc3339_millis(writable(session.time)).to_string());
        line.text("id", &session.id.to_string());
        line.text("record", "udp_target");
        line.number("worker", Some(session.id.worker));
        line.text("client", &session.client.to_string());
        line.optional("user", session.user.as_deref());
        line.text("command", "udp_associate");
        let target = address.map(|address| match name {
            Some(name) => format!("{name}:{}", address.port()),
            None => address.to_string(),
        });
        line.optional("target", target.as_deref());
        line.optional("address", address.map(|address| address.to_string()).as_deref());
        line.optional("rule", *rule);
        line.optional("verdict", rule.map(|_| "allow"));
        line.optional("would_deny", *would_deny);
        line.number("bytes_up", Some(up.bytes));
        line.number("bytes_down", Some(down.bytes));
        line.number("datagrams_up", Some(up.datagrams));
        line.number("datagrams_down", Some(down.datagrams));
        out.extend_from_slice(b"}\n");
    }
}

/// The nearest moment that RFC 3339 can write and its formatter does not panic of: a machine without a battery starts
/// before 1970, and a clock that jumps may be anywhere.
pub fn writable(time: SystemTime) -> SystemTime {
    time.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST_MOMENT)
}

/// The last millisecond of the year 9999, since the epoch.
const LAST_MOMENT: Duration = Duration::from_millis(253_402_300_799_999);

/// The fields of one JSON object in the making.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl Line<'_> {
    fn key(&mut self, key: &str) {
        let separator = std::mem::replace(&mut self.separator, b',');
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "{}\"{key}\":", char::from(separator));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        let _ = serde_json::to_writer(&mut *self.out, value);
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.number::<u8>(key, None),
        }
    }

    fn number<N: std::fmt::Display>(&mut self, key: &str, value: Option<N>) {
        self.key(key);
        let _ = match value {
            Some(value) => write!(self.out, "{value}"),
            None => write!(self.out, "null"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::live::{LiveState, SessionId};
    use crate::relay::datagram::Flow;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    fn session(user: Option<&str>, time: SystemTime) -> LiveSession {
        LiveSession {
            time,
            began: Instant::now(),
            id: SessionId { boot: 0xc0ffee, worker: 1, serial: 2 },
            client: "127.0.0.1:5000".parse().unwrap(),
            listener: Some("office".into()),
            protocol: Some("socks5"),
            proxied: None,
            user: user.map(Into::into),
            user_typed: None,
            method: Some("password"),
            command: Some("connect"),
            target: Some(Target { host: Host::parse(b"example.com").unwrap(), port: 80 }),
            address: Some("[2001:db8::1]:80".parse().unwrap()),
            local: None,
            rule: Some("office".into()),
            verdict: Some("allow"),
            would_deny: None,
            limit: None,
            egress: None,
            egress_refused: None,
            parent: None,
            parent_server: None,
            parent_cause: None,
            reply: Some(0),
            engine: Some("splice"),
            bytes_up: 5,
            bytes_down: 6,
            datagrams_up: 0,
            datagrams_down: 0,
            handshake_ms: Some(1),
            dns_ms: None,
            connect_ms: Some(2),
            state: LiveState::Relaying,
            age_ms: 9,
            idle_ms: 3,
        }
    }

    fn record(user: &str) -> String {
        record_of(user, UNIX_EPOCH + Duration::from_millis(1_767_323_045_006))
    }

    fn record_of(user: &str, time: SystemTime) -> String {
        let session = &session(Some(user), time);
        let mut out = Vec::new();
        AccessRecord { session, reason: Reason::Completed }.write_line(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_one_line_with_every_field_in_order() {
        assert_eq!(
            record("alice"),
            "{\"time\":\"2026-01-02T03:04:05.006Z\",\"id\":\"00c0ffee010000000002\",\"worker\":1,\"client\":\"127.0.0.1:5000\",\
             \"user\":\"alice\",\"user_typed\":null,\"method\":\"password\",\"command\":\"connect\",\"target\":\"example.com:80\",\
             \"address\":\"[2001:db8::1]:80\",\"local\":null,\"protocol\":\"socks5\",\"listener\":\"office\",\"proxy_peer\":null,\"proxy_id\":null,\"proxy_authority\":null,\"rule\":\"office\",\"verdict\":\"allow\",\
             \"would_deny\":null,\"limit\":null,\"egress\":null,\"egress_address\":null,\"session_key\":null,\"egress_refused\":null,\"parent\":null,\"parent_server\":null,\"parent_cause\":null,\"reply\":0,\"reason\":\"completed\",\
             \"engine\":\"splice\",\"bytes_up\":5,\"bytes_down\":6,\"datagrams_up\":0,\"datagrams_down\":0,\
             \"handshake_ms\":1,\"dns_ms\":null,\"connect_ms\":2,\"duration_ms\":9}\n"
        );
    }

    #[test]
    fn a_record_names_the_pool_its_address_and_the_key_in_digits() {
        let egress = LiveEgress {
            name: "fleet".into(),
            address: "2001:db8::7".parse().ok(),
            session_key: Some(0xbeef),
        };
        let session = LiveSession { egress: Some(Box::new(egress)), ..session(None, UNIX_EPOCH) };
        let mut out = Vec::new();
        AccessRecord { session: &session, reason: Reason::NoLocalPort }.write_line(&mut out);
        let line = String::from_utf8(out).unwrap();
        let pool = r#""egress":"fleet","egress_address":"2001:db8::7","session_key":"000000000000beef","#;
        assert!(line.contains(pool) && line.contains(r#""reason":"no_local_port""#), "{line}");
    }

    #[test]
    fn what_a_balancer_says_is_told_as_text_of_one_line() {
        let unique_id: Option<Box<[u8]>> = Some(b"\x00\n\xffz".as_slice().into());
        let authority = Some("a\n\"b".into());
        let proxied = Proxied { peer: "192.0.2.9:7".parse().unwrap(), unique_id, authority };
        let session = LiveSession { proxied: Some(Arc::new(proxied)), ..session(None, UNIX_EPOCH) };
        let mut out = Vec::new();
        AccessRecord { session: &session, reason: Reason::Completed }.write_line(&mut out);
        let line = String::from_utf8(out).unwrap();
        assert!(
            line.contains(r#""proxy_peer":"192.0.2.9:7","proxy_id":"000aff7a","proxy_authority":"a\n\"b","#),
            "{line}"
        );
    }

    /// HAZARD 52: a clock before 1970 once ended the thread of the worker that wrote a record.
    #[test]
    fn a_time_that_cannot_be_written_is_the_nearest_that_can() {
        let time = |time| record_of("alice", time).split('"').nth(3).map(str::to_owned).unwrap();
        let years = |count: u64| Duration::from_secs(count * 365 * 86_400);
        assert_eq!(time(UNIX_EPOCH - Duration::from_nanos(1)), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(UNIX_EPOCH - years(1_000)), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(UNIX_EPOCH + LAST_MOMENT), "9999-12-31T23:59:59.999Z");
        assert_eq!(time(UNIX_EPOCH + years(20_000)), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_target_has_a_line_and_what_had_no_place_another() {
        let flow = |datagrams, bytes| Flow { datagrams, bytes };
        let line = |name, address: Option<&str>| {
            let address = address.map(|text| text.parse().unwrap());
            let (up, down) = (flow(2, 30), flow(1, 10));
            let tallied = Tallied { name, address, rule: None, would_deny: None, up, down };
            let session = &session(None, UNIX_EPOCH + Duration::from_millis(1_767_323_045_006));
            let (rule, would_deny) = (name.map(|_| "dns"), name.map(|_| "strict"));
            let record = TargetRecord { session, tallied, rule, would_deny };
            let mut out = Vec::new();
            record.write_line(&mut out);
            String::from_utf8(out).unwrap()
        };
        let begin = "{\"time\":\"2026-01-02T03:04:05.006Z\",\"id\":\"00c0ffee010000000002\",\"record\":\"udp_target\",\"worker\":1,\
                     \"client\":\"127.0.0.1:5000\",\"user\":null,\"command\":\"udp_associate\",";
        let end = "\"bytes_up\":30,\"bytes_down\":10,\"datagrams_up\":2,\"datagrams_down\":1}\n";
        for (name, address, middle) in [
            (
                Some("a.example"),
                Some("192.0.2.1:53"),
                "\"target\":\"a.example:53\",\"address\":\"192.0.2.1:53\",\
                 \"rule\":\"dns\",\"verdict\":\"allow\",\"would_deny\":\"strict\",",
            ),
            (
                None,
                Some("[2001:db8::1]:53"),
                "\"target\":\"[2001:db8::1]:53\",\"address\":\"[2001:db8::1]:53\",\
                 \"rule\":null,\"verdict\":null,\"would_deny\":null,",
            ),
            (
                None,
                None,
                "\"target\":null,\"address\":null,\"rule\":null,\"verdict\":null,\"would_deny\":null,",
            ),
        ] {
            assert_eq!(line(name, address), format!("{begin}{middle}{end}"));
        }
    }

    /// HAZARD: CR, LF, ESC and quotes in a user name.
    #[test]
    fn a_user_name_cannot_forge_a_second_line() {
        let line = record("a\r\n{\"forged\":1}\u{1b}[31m\"");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(r#""user":"a\r\n{\"forged\":1}\u001b[31m\"""#), "{line}");
    }

    /// The longest of everything: what is reserved for a record is enough for it.
    #[test]
    fn no_record_takes_more_than_the_room_reserved_for_it() {
        let user = "\u{1}".repeat(limits::USER_NAME_MAX);
        let typed = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        let host = Host::parse(typed.as_bytes()).expect("a name");
        let target = Target { host, port: u16::MAX };
        let longest: SocketAddr =
            "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".parse().expect("an address");
        let proxied = Arc::new(Proxied {
            peer: longest,
            unique_id: Some(vec![0xff; limits::PROXY_ID_MAX].into()),
            authority: Some("\u{1}".repeat(limits::PROXY_AUTHORITY_MAX).into()),
        });
        let session = LiveSession {
            id: SessionId { boot: u32::MAX, worker: u16::MAX, serial: u64::MAX },
            client: longest,
            user_typed: Some(user.as_str().into()),
            command: Some("udp_associate"),
            protocol: Some("socks5"),
            listener: Some("l".repeat("unix:".len() + limits::UNIX_PATH_MAX).into()),
            proxied: Some(proxied.clone()),
            address: Some(longest),
            local: Some(longest),
            rule: Some("r".repeat(limits::RULE_NAME_MAX).into()),
            would_deny: Some("w".repeat(limits::RULE_NAME_MAX).into()),
            limit: Some("l".repeat(limits::RULE_NAME_MAX).into()),
            egress: Some(Box::new(LiveEgress {
                name: "e".repeat(limits::RULE_NAME_MAX).into(),
                address: Some(longest.ip()),
                session_key: Some(u64::MAX),
            })),
            egress_refused: Some("p".repeat(limits::NO_POOL_TOLD_MAX).into()),
            reply: Some(u16::MAX),
            engine: Some("datagram"),
            target: Some(target.clone()),
            bytes_up: u64::MAX,
            bytes_down: u64::MAX,
            datagrams_up: u64::MAX,
            datagrams_down: u64::MAX,
            handshake_ms: Some(u32::MAX),
            dns_ms: Some(u32::MAX),
            connect_ms: Some(u32::MAX),
            age_ms: u64::MAX,
            ..session(Some(&user), UNIX_EPOCH + Duration::from_secs(253_402_300_799))
        };
        let record = AccessRecord { session: &session, reason: Reason::HandshakeTimeout };
        let mut out = Vec::new();
        record.write_line(&mut out);
        let room = record_room([Some(&user), Some(&user)], Some(&target), Some(&proxied));
        assert!(out.len() + limits::LINES_BATCH_OVERHEAD_BYTES <= room, "{} in {room}", out.len());
        assert!(room <= limits::RECORD_BYTES_MAX);
    }
}
