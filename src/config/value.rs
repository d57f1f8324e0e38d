//! Single values from their text; an error says what is wrong and the nearest right form.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::choice::{Access, Choice, Congestion};
use super::endpoint::Endpoint;
use super::nearest::{nearest, unknown_value, with_nearest};
use super::problem::{escaped, quoted};
use super::variables::taken_literally;
use crate::limits;

/// The port of SOCKS (IANA).
pub(super) const SOCKS_PORT: u16 = 1080;
/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// One word out of a fixed few.
pub(super) fn choice<C: Choice>(typed: &str) -> Result<C, String> {
    C::from_name(typed).ok_or_else(|| unknown_value(typed, C::ALL.iter().map(|(name, _)| *name)))
}

/// A congestion control: the kernel decides at start whether it has one of this name.
pub(super) fn congestion(typed: &str) -> Result<Congestion, String> {
    let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match typed {
        "auto" => Ok(Congestion::Auto),
        "system" => Ok(Congestion::System),
        _ if (1..=limits::CONGESTION_NAME_MAX).contains(&typed.len()) && typed.bytes().all(of_a_name) => {
            Ok(Congestion::Named(typed.to_owned()))
        }
        _ => Err(format!(
            "{} is neither \"auto\", \"system\" nor the name of a congestion control, such as \"cubic\"",
            quoted(typed)
        )),
    }
}

/// A duration as people write it: "10s", "2h 4m", "500ms".
pub(crate) fn duration(typed: &str) -> Result<Duration, String> {
    let bare_zero = typed.trim() == "0";
    match humantime::parse_duration(typed) {
        Ok(duration) if !bare_zero => Ok(duration),
        _ => Err(with_nearest(
            format!("{} is not a duration such as \"10s\", \"2h\" or \"500ms\"", quoted(typed)),
            nearest_duration(typed),
        )),
    }
}

/// What a number with a wrong unit, or none, was probably meant to say; quoted.
pub(super) fn nearest_duration(typed: &str) -> Option<String> {
    const UNITS: &[(&str, &str)] = &[
        ("us", "us"),
        ("microseconds", "us"),
        ("ms", "ms"),
        ("milliseconds", "ms"),
        ("s", "s"),
        ("seconds", "s"),
        ("m", "m"),
        ("minutes", "m"),
        ("h", "h"),
        ("hours", "h"),
        ("d", "d"),
        ("days", "d"),
    ];
    let typed = typed.trim();
    let digits = typed.find(|c: char| !c.is_ascii_digit()).unwrap_or(typed.len());
    let (number, unit) = (&typed[..digits], typed[digits..].trim());
    if number.is_empty() || number.len() > 9 {
        return None;
    }
    let short = match unit {
        "" => "s",
        _ => {
            let word = nearest(unit, UNITS.iter().map(|(word, _)| *word))?;
            UNITS.iter().find(|(long, _)| *long == word).map(|(_, short)| *short)?
        }
    };
    Some(format!("\"{number}{short}\""))
}

/// A time that sessions are given, or 0, which is as long as they take.
pub(super) fn or_without_end() -> RangeInclusive<Duration> {
    Duration::ZERO..=Duration::from_secs(limits::MAX_RELAY_TIMEOUT_S)
}

/// What may be waited for before bytes are relayed.
pub(super) fn setup() -> RangeInclusive<Duration> {
    Duration::from_millis(limits::MIN_TIMEOUT_MS)..=Duration::from_secs(limits::MAX_SETUP_TIMEOUT_S)
}

/// This duration as people write it, "2h 4m" or "7d"; read again it is the same.
pub(super) fn duration_text(duration: Duration) -> String {
    const UNITS: [(u128, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let mut rest = duration.as_nanos();
    let mut parts = Vec::new();
    for (length, unit) in UNITS {
        if rest >= length {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if parts.is_empty() { "0us".to_owned() } else { parts.join(" ") }
}

/// An address and port that the relay listens on.
pub(super) fn relay_address(typed: &str) -> Result<Endpoint, String> {
    if typed.starts_with("unix:") {
        return Err(format!("{} is a unix socket: it needs a [[listener]] of its own", quoted(typed)));
    }
    listen_address(typed, SOCKS_PORT)
}

/// An address and port to listen on; port 0 lets the kernel choose.
///
/// `usual` is the port that is meant where none is typed.
pub(super) fn listen_address(typed: &str, usual: u16) -> Result<Endpoint, String> {
    let endpoint = Endpoint::parse(typed, None).ok_or_else(|| {
        let what = format!("{} is not an address and port such as \"127.0.0.1:{usual}\"", quoted(typed));
        with_nearest(what, nearest_address(typed, usual))
    })?;
    let ip = endpoint.ip();
    match ip.is_multicast() || ip == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
        true => Err(format!("{} is not an address that one host can listen on", quoted(typed))),
        false => Ok(endpoint),
    }
}

/// What an address without its port, brackets or digits was probably meant to say; quoted.
fn nearest_address(typed: &str, usual: u16) -> Option<String> {
    let typed = typed.trim();
    if let Ok(address) = typed.parse::<SocketAddr>() {
        return Some(format!("\"{address}\""));
    }
    let (host, port) = match typed.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) if host != ":" => (host, port),
        _ if typed.parse::<u16>().is_ok() => ("localhost", typed.parse().ok()?),
        _ => (typed, usual),
    };
    let ip = match host.trim_matches(['[', ']']) {
        "" | "localhost" => IpAddr::from([127, 0, 0, 1]),
        "*" => IpAddr::from([0, 0, 0, 0]),
        ip => ip.parse().ok()?,
    };
    Some(format!("\"{}\"", SocketAddr::new(ip, port)))
}

/// A DNS server's address, with or without a port.
pub(super) fn dns_server(typed: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::parse(typed, Some(DNS_PORT)).ok_or_else(|| {
        format!("{} is not an address such as \"192.0.2.53\" or \"[2001:db8::53]:53\"", quoted(typed))
    })?;
    let ip = endpoint.ip();
    if endpoint.address.port() == 0 || ip.is_multicast() || ip.is_unspecified() {
        return Err(format!("{} is not an address that one can ask", quoted(typed)));
    }
    Ok(endpoint)
}

/// A block of addresses. Host bits must be zero: a block wider than it reads is a hole in the guard.
pub(crate) fn block(typed: &str) -> Result<IpNet, String> {
    let example = |nearest| {
        let what = format!("{} is not a block of addresses such as \"10.0.0.0/8\"", quoted(typed));
        Err(with_nearest(what, nearest))
    };
    let Ok(net) = typed.parse::<IpNet>() else {
        let single = typed.trim().parse::<IpAddr>().ok().map(IpNet::from);
        return example(single.or_else(|| typed.trim().parse().ok()).map(|net| format!("\"{net}\"")));
    };
    if let (IpAddr::V4(ip), IpAddr::V6(_), 96..) = (net.addr().to_canonical(), net.addr(), net.prefix_len()) {
        let plain = IpNet::new(IpAddr::V4(ip), net.prefix_len() - 96).ok().map(|net| net.trunc());
        let what = format!("{} is an IPv4 block written as IPv6", quoted(typed));
        return Err(with_nearest(what, plain.map(|net| format!("\"{net}\""))));
    }
    match net == net.trunc() {
        true => Ok(net),
        false => Err(with_nearest(
            format!("{} has bits set beyond its prefix", quoted(typed)),
            Some(format!("\"{}\"", net.trunc())),
        )),
    }
}

/// A path; a relative one starts at `base`.
pub(super) fn path(typed: &str, base: &Path) -> Result<PathBuf, String> {
    if typed.is_empty() || typed.contains('\0') {
        return Err(format!("{} is not a path", quoted(typed)));
    }
    let joined = base.join(typed);
    Ok(std::path::absolute(&joined).unwrap_or(joined))
}

/// A host-based service, "rcmd" or "rcmd@proxy.example.org".
pub(super) fn service(typed: &str) -> Result<String, String> {
    let wrong = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    if (1..=limits::GSS_SERVICE_MAX).contains(&typed.len()) && !typed.contains(wrong) {
        return Ok(typed.to_owned());
    }
    let what = format!(
        "{} is not a service such as \"rcmd\" or \"rcmd@proxy.example.org\", of {} bytes at most",
        quoted(typed),
        limits::GSS_SERVICE_MAX
    );
    let at_host = typed
        .trim()
        .split_once('/')
        .map(|(name, host)| format!("\"{}\"", escaped(&format!("{name}@{host}"))));
    Err(with_nearest(what, at_host.filter(|meant| !meant.contains(['/', ' ', '\\']))))
}

/// Where access records go. A name that is all but one of the two words is taken for a slip, since
/// what it would do otherwise, to create a file of that name, shows only later.
pub(super) fn access(typed: &str, base: &Path) -> Result<Access, String> {
    match typed {
        "off" => return Ok(Access::Off),
        "stdout" => return Ok(Access::Stdout),
        _ => {}
    }
    let start: String = typed.chars().take(16).collect::<String>().to_lowercase();
    let slip = ["off", "stdout"].into_iter().find(|word| strsim::osa_distance(&start, word) <= 1);
    match slip {
        Some(word) => {
            let what = format!(
                "{} is neither \"off\" nor \"stdout\"; a file is written as \"./NAME\"",
                quoted(typed)
            );
            Err(with_nearest(what, Some(format!("\"{word}\""))))
        }
        None => path(typed, base).map(Access::Path),
    }
}

/// A destination of access records as it is typed.
pub(super) fn access_text(access: &Access) -> String {
    match access {
        Access::Off => "off".to_owned(),
        Access::Stdout => "stdout".to_owned(),
        Access::Path(path) => path_text(path),
    }
}

/// A path as it is typed: every one was read as UTF-8 and stays so.
pub(super) fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A value as a TOML string on one line, with its quotes.
pub(super) fn string(value: &str) -> String {
    quoted_key(&taken_literally(value))
}

/// A key as a TOML string, in which no variable of the environment is looked for.
pub(super) fn quoted_key(value: &str) -> String {
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
