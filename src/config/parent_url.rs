//! The URL of a parent: what it speaks, where it is and as whom it is asked. No message and no page shows a password.

use std::net::IpAddr;

use super::nearest::{unknown_value, with_nearest};
use super::problem::quoted;
use super::value::SOCKS_PORT;
use crate::limits;
use crate::policy::parents::{HopSecret, ParentHop};
use crate::proto::address::{Host, Target};
use crate::proto::client::ClientProtocol;

/// What stands for a password where a configuration is printed.
const MASK: &str = "***";

/// Each scheme, what is spoken, and whether names are given to the proxy.
const SCHEMES: [(&str, ClientProtocol, bool); 5] = [
    ("socks5", ClientProtocol::Socks5, false),
    ("socks5h", ClientProtocol::Socks5, true),
    ("socks4", ClientProtocol::Socks4, false),
    ("socks4a", ClientProtocol::Socks4a, true),
    ("http", ClientProtocol::Http, true),
];

/// A proxy by its URL.
pub(super) fn parent_url(typed: &str) -> Result<ParentHop, String> {
    let shown = || quoted(&masked(typed));
    if typed.len() > limits::PARENT_URL_MAX {
        return Err(format!("{} is longer than {} bytes", shown(), limits::PARENT_URL_MAX));
    }
    let Some((scheme, rest)) = typed.split_once("://") else {
        let what = format!("{} is no URL such as \"socks5://192.0.2.1:1080\"", shown());
        let place = in_brackets(typed).and_then(|mut forms| forms.pop()).unwrap_or_else(|| typed.to_owned());
        let meant = format!("socks5://{place}");
        let is_meant = !typed.contains('@') && parent_url(&meant).is_ok();
        return Err(with_nearest(what, is_meant.then(|| quoted(&meant))));
    };
    let (protocol, names) = protocol(scheme)?;
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    let place = place.strip_suffix('/').unwrap_or(place);
    if place.contains(['/', '?', '#']) {
        return Err(format!("{} has a path, and a proxy has none", shown()));
    }
    let target = place_of(place, protocol).map_err(|what| format!("{}: {what}", shown()))?;
    let (user, password) = login
        .map_or(Ok((None, None)), |login| login_of(login, protocol))
        .map_err(|what| format!("{}: {what}", shown()))?;
    Ok(ParentHop { protocol, names, target, user, password, password_file: None })
}

fn protocol(scheme: &str) -> Result<(ClientProtocol, bool), String> {
    let lower = scheme.to_ascii_lowercase();
    match SCHEMES.iter().find(|(name, ..)| *name == lower) {
        Some((_, protocol, names)) => Ok((*protocol, *names)),
        None if lower == "https" => Err(
            "\"https\" would be TLS to a parent, which is not there: \"http\" asks it for tunnels without, in which clients may \
             speak TLS to their targets"
                .to_owned(),
        ),
        None => Err(format!("scheme {}", unknown_value(scheme, SCHEMES.iter().map(|(name, ..)| *name)))),
    }
}

/// Host and port; an IPv6 address in brackets.
fn place_of(place: &str, protocol: ClientProtocol) -> Result<Target, String> {
    let begin = if place.starts_with('[') { place.find(']').map_or(place.len(), |at| at + 1) } else { 0 };
    let (host, port) = match place[begin..].find(':') {
        Some(at) => (&place[..begin + at], Some(&place[begin + at + 1..])),
        None => (place, None),
    };
    if port.is_some_and(|port| port.contains(':')) {
        let meant = in_brackets(place).map(|forms| forms.join(" or "));
        return Err(with_nearest("an IPv6 address stands in brackets".to_owned(), meant));
    }
    let port = match port {
        Some(port) => port
            .parse::<u16>()
            .ok()
            .filter(|number| *number != 0 && port.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(|| format!("{} is no port", quoted(port)))?,
        None if protocol == ClientProtocol::Http => {
            return Err("needs a port: proxies of HTTP listen on 3128, 8080 and many others".to_owned());
        }
        None => SOCKS_PORT,
    };
    let host =
        Host::parse(host.as_bytes()).map_err(|error| format!("{} is no host: {error}", quoted(host)))?;
    match host {
        Host::Ip(ip) if !is_one(ip) => Err(format!("{ip} is not an address that one can connect to")),
        host => Ok(Target { host, port }),
    }
}

fn is_one(ip: IpAddr) -> bool {
    !(ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(std::net::Ipv4Addr::BROADCAST))
}

/// An IPv6 address that was typed without brackets, in each form that it may be meant as: the digits behind the last colon may be a
/// port, and a part of the address.
pub(super) fn in_brackets(place: &str) -> Option<Vec<String>> {
    let is_v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
    let with_port = place
        .rsplit_once(':')
        .filter(|(host, port)| is_v6(host) && port.parse::<u16>().is_ok_and(|port| port != 0));
    let with_port = with_port.map(|(host, port)| format!("[{host}]:{port}"));
    let forms: Vec<String> =
        with_port.into_iter().chain(is_v6(place).then(|| format!("[{place}]"))).collect();
    (!forms.is_empty()).then_some(forms)
}

/// A name and a password.
type UrlLogin = (Option<Box<[u8]>>, Option<HopSecret>);

fn login_of(login: &str, protocol: ClientProtocol) -> Result<UrlLogin, String> {
    // Else a path behind another host would be a password for this one.
    if login.contains(['/', '?', '#']) {
        return Err("in a login \"/\" is written \"%2F\", \"?\" \"%3F\" and \"#\" \"%23\"".to_owned());
    }
    let (user, password) =
        login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    if password == Some(MASK) {
        return Err(format!("\"{MASK}\" stands where a password is printed: type the password itself"));
    }
    let part = |what: &str, text: &str| {
        let bytes = decoded(text).ok_or_else(|| {
            format!("the {what} has a \"%\" without two hexadecimal digits: \"%\" itself is written \"%25\"")
        })?;
        match bytes.len() <= usize::from(u8::MAX) {
            true => Ok(bytes),
            false => Err(format!("the {what} is longer than 255 bytes")),
        }
    };
    let user = part("name", user)?;
    let password = password.map(|password| part("password", password)).transpose()?;
    login_fits(protocol, &user, password.is_some())?;
    let user = Some(user.into_boxed_slice()).filter(|user| !user.is_empty());
    Ok((user, password.map(HopSecret::new)))
}

/// Whether a protocol has words for a login.
pub(super) fn login_fits(protocol: ClientProtocol, user: &[u8], has_password: bool) -> Result<(), String> {
    let what = match protocol {
        ClientProtocol::Socks4 | ClientProtocol::Socks4a if has_password => "SOCKS4 has no password",
        ClientProtocol::Socks4 | ClientProtocol::Socks4a if user.contains(&0) => {
            "a name of SOCKS4 has no NUL"
        }
        // RFC 7617 section 2: a colon in the name would begin the password.
        ClientProtocol::Http if user.contains(&b':') => "a name of HTTP's Basic scheme has no colon",
        _ => return Ok(()),
    };
    Err(what.to_owned())
}

/// What was written with "%" and two hexadecimal digits for a byte (RFC 3986 section 2.1).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match first {
            b'%' => {
                let ([high, low], behind) = behind.split_first_chunk::<2>()?;
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
                rest = behind;
            }
            byte => bytes.push(*byte),
        }
    }
    Some(bytes)
}

/// The URL as it is printed: read again it is the same, but for its password.
pub(super) fn url_text(hop: &ParentHop) -> String {
    let (scheme, place) = match hop.to_string().split_once("://") {
        Some((scheme, place)) => (scheme.to_owned(), place.to_owned()),
        None => return String::new(),
    };
    let user = hop.user.as_deref().map(encoded).unwrap_or_default();
    match (&hop.user, &hop.password) {
        (None, None) => format!("{scheme}://{place}"),
        (_, None) => format!("{scheme}://{user}@{place}"),
        (_, Some(_)) => format!("{scheme}://{user}:{MASK}@{place}"),
    }
}

/// Bytes of a name as a URL has them.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'-' | b'.' | b'_' | b'~' => text.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => text.push(char::from(*byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// What was typed, without anything that may be a login.
fn masked(typed: &str) -> String {
    let (scheme, rest) = match typed.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), typed),
    };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}{MASK}@{place}"),
        None => format!("{scheme}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(typed: &str) -> String {
        url_text(&parent_url(typed).unwrap_or_else(|what| panic!("{typed}: {what}")))
    }

    #[test]
    fn urls_are_read_in_one_form_and_print_as_they_are_read() {
        for (typed, expected) in [
            ("socks5://192.0.2.1", "socks5://192.0.2.1:1080"),
            ("SOCKS5H://Proxy.Example.:1081/", "socks5h://proxy.example:1081"),
            ("socks4://192.0.2.1:9050", "socks4://192.0.2.1:9050"),
            ("socks4a://ann@tor.example", "socks4a://ann@tor.example:1080"),
            ("http://[2001:DB8::1]:3128", "http://[2001:db8::1]:3128"),
            ("socks5://[2001:db8::1]", "socks5://[2001:db8::1]:1080"),
            ("socks5://ann@proxy.example", "socks5://ann@proxy.example:1080"),
            ("http://a%40b%2fc%20%25@p.example:8080", "http://a%40b%2Fc%20%25@p.example:8080"),
            ("socks5://b\u{fc}cher.example", "socks5://xn--bcher-kva.example:1080"),
        ] {
            assert_eq!(printed(typed), expected, "{typed}");
            assert_eq!(parent_url(expected), parent_url(typed), "{typed}");
        }
    }

    #[test]
    fn logins_are_decoded_and_passwords_are_not_shown() {
        let hop = parent_url("socks5://a%3Ab%00:p%3a%40ss:@%@p.example");
        assert!(hop.unwrap_err().contains("hexadecimal"));
        let hop = parent_url("socks5://a%3Ab%00:p%3a%40ss:@p.example").unwrap();
        assert_eq!(hop.user.as_deref(), Some(&b"a:b\0"[..]));
        assert_eq!(hop.password.as_ref().map(HopSecret::bytes), Some(&b"p:@ss:"[..]));
        assert_eq!(url_text(&hop), "socks5://a%3Ab%00:***@p.example:1080");
        let empty = parent_url("http://ann:@p.example:80").unwrap();
        assert_eq!(empty.password.as_ref().map(HopSecret::bytes), Some(&b""[..]));
        let nobody = parent_url("http://:secret@p.example:80").unwrap();
        assert_eq!((nobody.user.as_deref(), url_text(&nobody).as_str()), (None, "http://:***@p.example:80"));
        // The last @ is the one behind a login.
        let hop = parent_url("socks5://ann:p@ss@p.example").unwrap();
        assert_eq!(hop.password.as_ref().map(HopSecret::bytes), Some(&b"p@ss"[..]));
    }

    #[test]
    fn what_is_no_url_is_told_what_was_meant() {
        for (typed, what) in [
            ("", "\"\" is no URL such as"),
            ("192.0.2.1:1080", "did you mean \"socks5://192.0.2.1:1080\"?"),
            ("sock5://192.0.2.1", "scheme \"sock5\" is none of \"socks5\""),
            ("sock5://192.0.2.1", "did you mean \"socks5\"?"),
            ("https://192.0.2.1:443", "TLS to a parent, which is not there"),
            ("http://192.0.2.1", "needs a port"),
            ("socks5://192.0.2.1:0", "\"0\" is no port"),
            ("socks5://192.0.2.1:+1", "\"+1\" is no port"),
            ("socks5://192.0.2.1:65536", "\"65536\" is no port"),
            ("socks5://192.0.2.1:", "\"\" is no port"),
            ("socks5://2001:db8::1:1080", "did you mean [2001:db8::1]:1080 or [2001:db8::1:1080]?"),
            ("socks5://2001:db8:0:1:2:3:4:5:1080", "did you mean [2001:db8:0:1:2:3:4:5]:1080?"),
            ("socks5://1:2:3", "an IPv6 address stands in brackets"),
            ("2001:db8::1", "did you mean \"socks5://[2001:db8::1]\"?"),
            ("socks5://2001:db8::1", "did you mean [2001:db8::1]?"),
            ("socks5://a b.example", "is no host: character ' '"),
            ("socks5://", "\"\" is no host: empty"),
            ("socks5://192.0.2.1/path", "has a path, and a proxy has none"),
            ("socks5://0.0.0.0", "0.0.0.0 is not an address that one can connect to"),
            ("socks5://224.0.0.1", "224.0.0.1 is not an address"),
            ("socks4://ann:secret@192.0.2.1", "SOCKS4 has no password"),
            ("socks4://a%00@192.0.2.1", "no NUL"),
            ("http://a%3ab@192.0.2.1:80", "no colon"),
            ("socks5://ann:***@192.0.2.1", "type the password itself"),
            ("socks5://ann:a/b@192.0.2.1", "\"/\" is written \"%2F\""),
            ("socks5://192.0.2.1/x@192.0.2.2", "\"/\" is written \"%2F\""),
            ("socks5://a%4@192.0.2.1", "hexadecimal"),
            ("socks5://a%zz@192.0.2.1", "hexadecimal"),
        ] {
            let said = parent_url(typed).expect_err(typed);
            assert!(said.contains(what), "{typed}: {said}");
        }
        let long = |count| format!("socks5://{}@192.0.2.1", "u".repeat(count));
        assert!(parent_url(&long(255)).is_ok());
        assert!(parent_url(&long(256)).unwrap_err().contains("longer than 255 bytes"));
        assert!(parent_url(&long(3_000)).unwrap_err().contains("longer than 2048 bytes"));
    }

    #[test]
    fn no_message_has_a_password() {
        for typed in [
            "hunter2@192.0.2.1",
            "ann:hunter2@192.0.2.1:1080",
            "sock5://ann:hunter2@192.0.2.1",
            "https://ann:hunter2@192.0.2.1:1",
            "http://ann:hunter2@192.0.2.1",
            "socks5://ann:hunter2%@192.0.2.1",
            "socks5://ann:hunter2@a b",
            "socks5://ann:hunter2@192.0.2.1/x@y",
            "socks4://ann:hunter2@192.0.2.1",
        ] {
            let said = parent_url(typed).expect_err(typed);
            assert!(!said.contains("hunter2"), "{typed}: {said}");
        }
    }
}
