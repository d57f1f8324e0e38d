//! Requests of SOCKS4, SOCKS4A and HTTP's CONNECT, and what their answers say.

use std::net::{Ipv4Addr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// VN and CD of a SOCKS4 request.
const VERSION: u8 = 4;
const CONNECT: u8 = 1;
/// The address of SOCKS4A that says that a name follows.
const NAME_FOLLOWS: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);
/// `HTTP/1.1 200 `
const STATUS_AT: usize = 9;
const STATUS_DIGITS: usize = 3;

/// VN, CD, DSTPORT, DSTIP, an empty USERID; the name behind it where one is given. `None` for IPv6, of which SOCKS4
/// knows nothing.
pub(super) fn socks4(target: SocketAddr, name: Option<&str>) -> Option<Vec<u8>> {
    let address = match (name, target) {
        (Some(_), _) => NAME_FOLLOWS,
        (None, SocketAddr::V4(target)) => *target.ip(),
        (None, SocketAddr::V6(_)) => return None,
    };
    let mut request = vec![VERSION, CONNECT];
    request.extend_from_slice(&target.port().to_be_bytes());
    request.extend_from_slice(&address.octets());
    request.push(0);
    if let Some(name) = name {
        request.extend_from_slice(name.as_bytes());
        request.push(0);
    }
    Some(request)
}

/// The head of a CONNECT with the target in authority form (RFC 9112 section 3.2.3).
pub(super) fn connect(target: SocketAddr, name: Option<&str>, credentials: Option<(&str, &str)>) -> Vec<u8> {
    let authority = authority(target, name);
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some((user, password)) = credentials {
        head.push_str(&format!("Proxy-Authorization: {}\r\n", basic(user, password)));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// The target as a URI names it, always with its port.
pub(crate) fn authority(target: SocketAddr, name: Option<&str>) -> String {
    name.map_or_else(|| target.to_string(), |name| format!("{name}:{}", target.port()))
}

/// The value of Authorization and of Proxy-Authorization (RFC 7617 section 2).
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// What an HTTP answer says so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HttpAnswer {
    Incomplete,
    /// A status of 200 to 299, and the length of the head.
    Success(usize),
    /// Any other status.
    Refused(u16),
    /// A first line that is none.
    Malformed(u8),
}

/// Reads the head of an answer. A refusal is known by its first line; how long its body is does not matter.
pub(super) fn http_answer(bytes: &[u8]) -> HttpAnswer {
    let known = bytes.len().min(b"HTTP/1.".len());
    if bytes[..known] != b"HTTP/1."[..known] {
        return HttpAnswer::Malformed(bytes[0]);
    }
    let Some(digits) = bytes.get(STATUS_AT..STATUS_AT + STATUS_DIGITS) else { return HttpAnswer::Incomplete };
    let status = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
    match status {
        None => HttpAnswer::Malformed(digits[0]),
        Some(200..=299) => match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(at) => HttpAnswer::Success(at + 4),
            None => HttpAnswer::Incomplete,
        },
        Some(other) => HttpAnswer::Refused(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn socks4_has_an_address_and_4a_a_name() {
        let v4 = target("127.0.0.9:258");
        assert_eq!(socks4(v4, None), Some(vec![4, 1, 1, 2, 127, 0, 0, 9, 0]));
        assert_eq!(socks4(v4, Some("a.b")), Some(vec![4, 1, 1, 2, 0, 0, 0, 1, 0, b'a', b'.', b'b', 0]));
        assert_eq!(socks4(target("[::1]:1"), None), None);
    }

    #[test]
    fn a_connect_names_its_target_twice() {
        assert_eq!(
            connect(target("[::1]:443"), None, None),
            b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"
        );
        // The example of RFC 7617 section 2.
        let named = connect(target("127.0.0.1:80"), Some("a.test"), Some(("Aladdin", "open sesame")));
        let expected = "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\
                        Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&named), expected);
    }

    #[test]
    fn an_answer_is_read_from_any_number_of_its_bytes() {
        let good = b"HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n";
        for cut in 0..good.len() {
            assert_eq!(http_answer(&good[..cut]), HttpAnswer::Incomplete, "{cut} bytes");
        }
        assert_eq!(http_answer(good), HttpAnswer::Success(good.len()));
        assert_eq!(http_answer(b"HTTP/1.1 407 Proxy"), HttpAnswer::Refused(407));
        assert_eq!(http_answer(&[5, 0xFF]), HttpAnswer::Malformed(5));
        assert_eq!(http_answer(b"HTTP/1.1 2x0 "), HttpAnswer::Malformed(b'2'));
    }
}
